"""Writes files with values of edits or metadata: readable by their owner only, and atomically.

Each is first written as a *draft* beside its target: `.NAME.1a2b3c4d.bulkedit-draft`, a file or a folder. The writing
process locks the draft (flock). The operating system releases the lock if the process dies, even by SIGKILL. So an
unlocked draft is a leftover, and the next draft in the same folder removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import filecmp
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
from bulkedit.errors import BulkeditError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

_SUFFIX: Final = ".bulkedit-draft"
_DRAFT: Final = re.compile(r"\..+\.[0-9a-f]{8}\.bulkedit-draft", re.DOTALL)
_LONGEST_NAME: Final = 200  # bytes of the target's name in the draft's name; file systems allow 255 in all


# Faults of a path, which the user has chosen. All others are faults of the disk or the system.
_OF_THE_PATH: Final = frozenset(
    {
        *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY),
        *(errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL),
    }
)
_LIKELY: Final = {
    errno.ENOSPC: "The disk is full.",
    errno.EDQUOT: "Your share of the disk is used up.",
    errno.EFBIG: "The file would be larger than this disk, or a limit of this process, allows.",
    errno.EIO: "The disk, or the connection to it, has failed.",
    errno.EROFS: "The disk is read-only. A disk can become read-only when it fails.",
    errno.ESTALE: "The network file system was restarted, or the folder was replaced.",
}


def errno_of(error: BaseException) -> int | None:
    """The operating system's number of a failed write. polars gives it only in its text."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"os error (\d+)", str(error))
    return int(found[1]) if found else None


def reason_of(error: BaseException) -> str:
    """The operating system's reason for a failed write."""
    number = errno_of(error)
    return type(error).__name__ if number is None else os.strerror(number)


def is_of_the_path(error: BaseException) -> bool:
    """Whether a file cannot be written because of its path, not because of the disk or the system."""
    return errno_of(error) in _OF_THE_PATH


def not_written(
    what: str, path: Path, error: BaseException, *, of_the_path: type[BulkeditError] = UsageError
) -> BulkeditError:
    """The error for a file or folder that cannot be written. This is the only place that decides about its class.

    ``what``: for example "the plan". ``of_the_path``: the class if its path is at fault; else it is StorageError.
    """
    text = f"{what} cannot be written ({reason_of(error)})."
    if is_of_the_path(error):
        return of_the_path(text, where=str(path))
    number = errno_of(error)
    then = "Make room" if number in {errno.ENOSPC, errno.EDQUOT} else "Repair that"
    hint = f"{then}, then type the same command again."
    return StorageError(text, where=str(path), likely=_LIKELY.get(number or 0), hint=hint)


def fault_of_the_disk(error: BaseException) -> StorageError | None:
    """The error for an exception of a full or faulty disk that no other place has turned into one; else None."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, OSError) or error.errno not in _LIKELY:
        return None
    found = not_written("a file", Path(os.fsdecode(error.filename or "")), error)
    found.where = found.where if error.filename else None
    return found if isinstance(found, StorageError) else None


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
def draft_folder(target: Path, *, replace: bool = False, synced: bool = False) -> Iterator[Path]:
    """A private folder that is renamed to ``target`` when the block ends; after an error it is removed.

    ``replace``: remove the folder that is there. A kill in between can leave none. ``synced``: write its files to the
    disk before it is renamed, so that it is whole after a power failure too. Raises OSError, and without ``replace``
    also if the target exists by then.
    """
    with draft(target, folder=True, replace=replace) as path:
        yield path
        if synced:
            _sync_files(path)


@contextlib.contextmanager
def draft_file(target: Path, *, replace: bool = False, or_same: bool = False) -> Iterator[IO[bytes]]:
    """A private file that is synced and renamed to ``target`` when the block ends; after an error it is removed.

    ``or_same``: also replace a target with the same content, so that a killed command can be typed again. Raises
    OSError, and without ``replace`` FileExistsError if the target exists by then.
    """
    with draft(target, replace=replace, or_same=or_same) as path, path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def draft(target: Path, *, folder: bool = False, replace: bool = False, or_same: bool = False) -> Iterator[Path]:
    """Like `draft_file` and `draft_folder`, but yields the path of the draft. Raises OSError."""
    remove_leftovers(target.parent)
    if folder:
        if target.parent.is_file():  # mkdir would raise the misleading FileExistsError
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target.parent))
        target.parent.mkdir(parents=True, exist_ok=True)
    path, descriptor = _new_draft(target, folder=folder)
    try:
        yield path
        if folder and replace and target.exists():
            _replace_folder(path, target)
        elif folder or replace or (or_same and _is_equal(path, target)):
            path.rename(target)
        else:
            _rename_new(path, target)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if folder else path.unlink()
        os.close(descriptor)


@contextlib.contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """A private folder for work, which is removed when the block ends. It is a draft, so a leftover is found.

    ``beside``: a file in whose folder it is made. Raises OSError.
    """
    remove_leftovers(beside.parent)
    path, descriptor = _new_draft(beside, folder=True)
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(path)
        os.close(descriptor)


def _new_draft(target: Path, *, folder: bool) -> tuple[Path, int]:
    """Create a draft. Returns its path and the descriptor that locks it until it is closed."""
    while True:
        path = _draft_of(target)
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


def _draft_of(target: Path) -> Path:
    """A new name for a draft."""
    name = target.name.encode(errors="surrogateescape")[:_LONGEST_NAME].decode(errors="ignore")
    return target.with_name(f".{name}.{secrets.token_hex(4)}{_SUFFIX}")


def _sync_files(folder: Path) -> None:
    for place, _, names in os.walk(folder):
        for path in (Path(place), *(Path(place, name) for name in names)):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _replace_folder(path: Path, target: Path) -> None:
    """Rename a folder to a target that exists. The former one becomes a draft, and is removed."""
    former, descriptor = _new_draft(target, folder=True)
    try:
        target.rename(former)
        try:
            path.rename(target)
        except OSError:
            former.rename(target)
            raise
    finally:
        shutil.rmtree(former, ignore_errors=True)  # what is left is removed by the next command
        os.close(descriptor)


def target_of(path: Path) -> Path:
    """The path that a draft will have when it is complete; other paths are returned as they are."""
    return path.with_name(path.name[1 : -len(_SUFFIX) - 9]) if _DRAFT.fullmatch(path.name) else path


def _is_equal(path: Path, target: Path) -> bool:
    """Whether the target is a file, not a link to one, with the same content."""
    with contextlib.suppress(OSError):
        return not target.is_symlink() and filecmp.cmp(path, target, shallow=False)
    return False


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
        folders[:] = sorted(name for name in folders if not is_draft(name))
        yield from drafts_in(Path(place))


def is_draft(name: str) -> bool:
    """Whether a file or folder with this name is a draft."""
    return _DRAFT.fullmatch(name) is not None


def _is_draft(entry: os.DirEntry[str]) -> bool:
    if not is_draft(entry.name):
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


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it. It becomes a draft first, so a kill leaves no part of it under its name.

    Raises OSError, also if the path is a link.
    """
    descriptor = _open(path, folder=True)
    try:
        lock(descriptor)  # so that no other process removes the draft as a leftover
        draft_ = _draft_of(path)
        path.rename(draft_)
        shutil.rmtree(draft_)
    finally:
        os.close(descriptor)


def new_id(now: datetime) -> str:
    """An id that sorts by time. Random digits keep two ids of the same second apart."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
