"""Files that hold values of edits or metadata: for their owner's eyes only, and written whole or not at all.

What is written whole begins as a *draft* beside its target: `.NAME.1a2b3c4d.bulkedit-draft`, a file or a folder. Its
maker holds a lock on it (flock), which the operating system drops if the maker dies, even by SIGKILL. So a draft that
no process holds is a leftover, and the next draft in the same folder removes it.
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
_LONGEST_NAME: Final = 200  # bytes of the target's name in that of its draft; file systems take 255 in all


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises as `bulkedit._received.opened`."""
    with received.opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_private(path: Path) -> IO[bytes]:
    """Create a file that only its owner can read, for writing bytes."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def write_private_json(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON for its owner's eyes; the file is replaced whole or not at all."""
    with draft_file(path, replace=True) as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")


@contextlib.contextmanager
def draft_folder(target: Path) -> Iterator[Path]:
    """A private folder that becomes ``target`` when the block ends well; otherwise nothing of it stays.

    Raises OSError, also if there is something at the target by then.
    """
    with draft(target, folder=True) as path:
        yield path


@contextlib.contextmanager
def draft_file(target: Path, *, replace: bool = False) -> Iterator[IO[bytes]]:
    """A private file that becomes ``target``, and is on the disk, when the block ends well; otherwise nothing stays.

    Raises OSError; without ``replace`` FileExistsError if there is something at the target by then.
    """
    with draft(target, replace=replace) as path, path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def draft(target: Path, *, folder: bool = False, replace: bool = False) -> Iterator[Path]:
    """As `draft_file` and `draft_folder`, for what is written by its path."""
    remove_leftovers(target.parent)
    if folder:
        if target.parent.is_file():  # mkdir would say that it exists
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target.parent))
        target.parent.mkdir(parents=True, exist_ok=True)
    path, descriptor = _begun(target, folder=folder)
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


def _begun(target: Path, *, folder: bool) -> tuple[Path, int]:
    """A new draft, and the descriptor that holds it until it is closed."""
    name = target.name.encode(errors="surrogateescape")[:_LONGEST_NAME].decode(errors="ignore")
    while True:
        path = target.with_name(f".{name}.{secrets.token_hex(4)}{_SUFFIX}")
        if folder:
            path.mkdir(mode=0o700)
        else:
            open_private(path).close()
        # between its making and the lock it may be taken for a leftover: then once more
        with contextlib.suppress(FileNotFoundError):
            descriptor = _open(path, folder=folder)
            if _hold(descriptor) is not Holder.OTHER and _is_there(path, descriptor):
                return path, descriptor
            os.close(descriptor)


def _rename_new(path: Path, target: Path) -> None:
    """Rename a file, but replace none: a plain rename would."""
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError as error:  # this file system has no hard links
        if os.path.lexists(target):
            raise FileExistsError(str(target)) from error
        path.rename(target)


# -- locks -----------------------------------------------------------------------------------------------------------


def lock(file: IO[bytes] | int, *, shared: bool = False) -> None:
    """Lock an open file or folder until it is closed; the operating system drops the lock of a dead process.

    Raises BlockingIOError if another process holds it, and OSError if the file system has no locks.
    """
    fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


@contextlib.contextmanager
def held_folder(folder: Path, busy: str) -> Iterator[None]:
    """Keep other processes out of a folder. Raises UsageError with the text ``busy`` if one works in it."""
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
    """Who works on a draft."""

    NO_PROCESS = "no process"
    OTHER = "a process that runs"
    UNKNOWN = "not known"  # the file system has no locks, or the draft is another user's


def drafts_in(folder: Path) -> list[Path]:
    """The drafts in a folder, by name; symbolic links are none. Empty if the folder cannot be read."""
    try:
        with os.scandir(folder) as entries:
            found = [folder / entry.name for entry in entries if _is_draft(entry)]
    except OSError:
        return []
    return sorted(found)


def drafts_under(folder: Path) -> Iterator[Path]:
    """The drafts in a folder and in all folders within it. Links are not followed, and drafts not looked into."""
    for place, folders, _ in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _DRAFT.fullmatch(name))
        yield from drafts_in(Path(place))


def _is_draft(entry: os.DirEntry[str]) -> bool:
    if not _DRAFT.fullmatch(entry.name):
        return False
    return entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove the drafts of a folder that no process works on. Returns those that were removed."""
    return [path for path in drafts_in(folder) if remove_leftover(path) is Holder.NO_PROCESS]


def remove_leftover(path: Path, *, dry_run: bool = False) -> Holder:
    """Remove a draft if no process works on it. Returns who does. With ``dry_run`` it stays."""
    try:
        found = path.lstat()
        folder = stat.S_ISDIR(found.st_mode)
        if found.st_uid != os.geteuid() or not (folder or stat.S_ISREG(found.st_mode)):
            return Holder.UNKNOWN
        descriptor = _open(path, folder=folder)
    except OSError:
        return Holder.UNKNOWN
    try:
        holder = _hold(descriptor)
        if holder is Holder.NO_PROCESS and not _is_there(path, descriptor):
            return Holder.OTHER  # it has just become its target
        if holder is Holder.NO_PROCESS and not dry_run:
            shutil.rmtree(path) if folder else path.unlink()
    except OSError:
        return Holder.UNKNOWN
    else:
        return holder
    finally:
        os.close(descriptor)


def _open(path: Path, *, folder: bool) -> int:
    """A descriptor to lock a draft by. Raises OSError."""
    # NFS locks only what is open for writing, and a folder never is: there, drafts of folders have no lock
    return os.open(path, os.O_NOFOLLOW | (os.O_RDONLY | os.O_DIRECTORY if folder else os.O_RDWR))


def _hold(descriptor: int) -> Holder:
    """Take the lock if no process has it."""
    try:
        lock(descriptor)
    except BlockingIOError:
        return Holder.OTHER
    except OSError:
        return Holder.UNKNOWN
    return Holder.NO_PROCESS


def _is_there(path: Path, descriptor: int) -> bool:
    """Whether the path still leads to what was opened."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False


def new_id(now: datetime) -> str:
    """An id that sorts by time and that two runs of one second do not share."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
