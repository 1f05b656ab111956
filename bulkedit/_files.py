"""Writes files with values of edits or metadata: readable by their owner only, and atomically.

Each is first written as a *draft* beside its target: `.NAME.1a2b3c4d.bulkedit-draft`, a file or a folder. The writing
process locks the draft (flock). The operating system releases the lock if the process dies, even by SIGKILL. So an
unlocked draft is a leftover, and the next draft in the same folder removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from bulkedit import _received as received
from bulkedit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

_SUFFIX: Final = ".bulkedit-draft"
_DRAFT: Final = re.compile(r"\..+\.[0-9a-f]{8}\.bulkedit-draft", re.DOTALL)
_LONGEST_NAME: Final = 200  # bytes of the target's name in the draft's name; file systems allow 255 in all


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises as `bulkedit._received.opened`."""
    with received.opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_private(path: Path) -> IO[bytes]:
    """Create a new file (mode 0600) and open it for writing bytes. Raises OSError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def write_private_json(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON to a private file, atomically. Replaces the file. Raises OSError."""
    with draft_file(path, replace=True) as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")


@contextlib.contextmanager
def draft_folder(target: Path) -> Iterator[Path]:
    """A private folder that is renamed to ``target`` when the block ends; after an error it is removed.

    Raises OSError, also if the target exists by then.
    """
    with draft(target, folder=True) as path:
        yield path


@contextlib.contextmanager
def draft_file(target: Path, *, replace: bool = False) -> Iterator[IO[bytes]]:
    """A private file that is synced and renamed to ``target`` when the block ends; after an error it is removed.

    Raises OSError, and without ``replace`` FileExistsError if the target exists by then.
    """
    with draft(target, replace=replace) as path, path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def draft(target: Path, *, folder: bool = False, replace: bool = False) -> Iterator[Path]:
    """Like `draft_file` and `draft_folder`, but yields the path of the draft. Raises OSError."""
    remove_leftovers(target.parent)
    if folder:
        if target.parent.is_file():  # mkdir would raise the misleading FileExistsError
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target.parent))
        target.parent.mkdir(parents=True, exist_ok=True)
    path, descriptor = _new_draft(target, folder=folder)
    try:
        yield path
        if folder or replace:
            path.rename(target)
        else:
            _rename_new(path, target)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if folder else path.unlink()
        os.close(descriptor)


def _new_draft(target: Path, *, folder: bool) -> tuple[Path, int]:
    """Create a draft. Returns its path and the descriptor that locks it until it is closed."""
    name = target.name.encode(errors="surrogateescape")[:_LONGEST_NAME].decode(errors="ignore")
    while True:
        path = target.with_name(f".{name}.{secrets.token_hex(4)}{_SUFFIX}")
        if folder:
            path.mkdir(mode=0o700)
        else:
            open_private(path).close()
        # before it is locked, another process may remove it as a leftover; then try again
        with contextlib.suppress(FileNotFoundError):
            descriptor = _open(path, folder=folder)
            if _lock_draft(descriptor) is not Holder.OTHER and _is_same(path, descriptor):
                return path, descriptor
            os.close(descriptor)


def _rename_new(path: Path, target: Path) -> None:
    """Rename a file without replacing another. A plain rename would replace it."""
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError as error:  # no hard links on this file system
        if os.path.lexists(target):
            raise FileExistsError(str(target)) from error
        path.rename(target)


# -- locks -----------------------------------------------------------------------------------------------------------


def lock(file: IO[bytes] | int, *, shared: bool = False) -> None:
    """Lock an open file or folder until it is closed. The operating system releases the lock of a dead process.

    Raises BlockingIOError if another process has the lock, and OSError if the file system does not support locks.
    """
    fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


@contextlib.contextmanager
def held_folder(folder: Path, busy: str) -> Iterator[None]:
    """Lock a folder for the block. Raises UsageError with the text ``busy`` if another process has locked it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            lock(descriptor)
        except BlockingIOError:
            raise UsageError(busy, where=str(folder), hint="Wait for it, or stop it.") from None
        yield
    finally:
        os.close(descriptor)


# -- leftovers -------------------------------------------------------------------------------------------------------


class Holder(StrEnum):
    """Which process uses a draft."""

    NO_PROCESS = "no process"
    OTHER = "a process that runs"
    UNKNOWN = "not known"  # the file system has no locks, or the draft belongs to another user


def drafts_in(folder: Path) -> list[Path]:
    """The drafts in a folder, sorted by name, without symbolic links. Empty if the folder cannot be read."""
    try:
        with os.scandir(folder) as entries:
            found = [folder / entry.name for entry in entries if _is_draft(entry)]
    except OSError:
        return []
    return sorted(found)


def drafts_under(folder: Path) -> Iterator[Path]:
    """The drafts in a folder and its subfolders. Links are not followed, and drafts inside drafts not listed."""
    for place, folders, _ in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _DRAFT.fullmatch(name))
        yield from drafts_in(Path(place))


def _is_draft(entry: os.DirEntry[str]) -> bool:
    if not _DRAFT.fullmatch(entry.name):
        return False
    return entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove the drafts in a folder that no process uses. Returns the removed ones."""
    return [path for path in drafts_in(folder) if remove_leftover(path) is Holder.NO_PROCESS]


def remove_leftover(path: Path, *, dry_run: bool = False) -> Holder:
    """Remove a draft if no process uses it. Returns which process does. ``dry_run``: remove nothing."""
    try:
        found = path.lstat()
        folder = stat.S_ISDIR(found.st_mode)
        if found.st_uid != os.geteuid() or not (folder or stat.S_ISREG(found.st_mode)):
            return Holder.UNKNOWN
        descriptor = _open(path, folder=folder)
    except OSError:
        return Holder.UNKNOWN
    try:
        holder = _lock_draft(descriptor)
        if holder is Holder.NO_PROCESS and not _is_same(path, descriptor):
            return Holder.OTHER  # its process has just renamed it
        if holder is Holder.NO_PROCESS and not dry_run:
            shutil.rmtree(path) if folder else path.unlink()
    except OSError:
        return Holder.UNKNOWN
    else:
        return holder
    finally:
        os.close(descriptor)


def _open(path: Path, *, folder: bool) -> int:
    """Open a draft, in order to lock it. Raises OSError."""
    # NFS locks only files that are open for writing, so draft folders cannot be locked there
    return os.open(path, os.O_NOFOLLOW | (os.O_RDONLY | os.O_DIRECTORY if folder else os.O_RDWR))


def _lock_draft(descriptor: int) -> Holder:
    """Lock a draft if no other process has. Returns which process had locked it."""
    try:
        lock(descriptor)
    except BlockingIOError:
        return Holder.OTHER
    except OSError:
        return Holder.UNKNOWN
    return Holder.NO_PROCESS


def _is_same(path: Path, descriptor: int) -> bool:
    """Whether the path still refers to the opened file."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False


def new_id(now: datetime) -> str:
    """An id that sorts by time. Random digits keep two ids of the same second apart."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
