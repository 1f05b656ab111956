"""Files of the emulator. Import jobs have limits on paths; new files and folders are private despite the umask."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

from bulkedit._files import draft_file, open_private

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def is_below(path: Path, roots: Iterable[Path]) -> bool:
    """Whether a path is a root or below one, after all links are followed."""
    resolved = path.resolve()
    return any(resolved.is_relative_to(root.resolve()) for root in roots)


def make_private_folder(folder: Path) -> None:
    """Make a folder and its missing parents with mode 0700. Existing folders do not change."""
    for each in reversed([folder, *folder.parents]):
        if not each.is_dir():
            each.mkdir(mode=0o700, exist_ok=True)


def replace_private(path: Path, text: str) -> None:
    """Write a file with mode 0600, in place of an older file or link. Links are never followed."""
    with draft_file(path, replace=True) as file:
        file.write(text.encode("utf-8"))


def create_private(path: Path) -> bool:
    """Create an empty file with mode 0600; False if it exists already."""
    try:
        open_private(path).close()
    except FileExistsError:
        return False
    return True


def remove_others_access(path: Path) -> bool:
    """Remove all permissions of group and others; False if there were none, or the file does not exist."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return False
    if not mode & _OTHERS:
        return False
    path.chmod(mode & ~_OTHERS)
    return True
