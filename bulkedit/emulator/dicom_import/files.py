"""Files and folders: what import jobs may touch; what the emulator makes is for its owner only, whatever the umask."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

from bulkedit._files import draft_file, open_private

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def is_below(path: Path, roots: Iterable[Path]) -> bool:
    """Whether a path, after all links in it and in the roots are followed, is a root or below one."""
    resolved = path.resolve()
    return any(resolved.is_relative_to(root.resolve()) for root in roots)


def make_private_folder(folder: Path) -> None:
    """Make a folder, and the folders above it that are missing, with mode 0700. One that exists stays as it is."""
    for each in reversed([folder, *folder.parents]):
        if not each.is_dir():
            each.mkdir(mode=0o700, exist_ok=True)


def replace_private(path: Path, text: str) -> None:
    """Write a file with mode 0600. It replaces an older file, or a link, which is never written through."""
    with draft_file(path, replace=True) as file:
        file.write(text.encode("utf-8"))


def create_private(path: Path) -> bool:
    """Create an empty file with mode 0600; False if there is a file of that name already."""
    try:
        open_private(path).close()
    except FileExistsError:
        return False
    return True


def shut_out_others(path: Path) -> bool:
    """Take from everyone but its owner the rights to a file; False if they had none, or there is no such file."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return False
    if not mode & _OTHERS:
        return False
    path.chmod(mode & ~_OTHERS)
    return True
