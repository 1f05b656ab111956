"""The lock of a run: at most one process works on it.

The run's folder and the anchor of its ledger (`bulkedit.runs.anchor`) are locked. A file that exists only for the lock
could be deleted or replaced, and then another process would lock the new one. A folder stays the same when it is
renamed, and what is put in its place is a copy, which the anchor shows. NFS cannot lock folders, so there the anchor
alone is locked. The operating system releases the locks of a dead process.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final, Self

from bulkedit import _received as received
from bulkedit._files import lock
from bulkedit._log import utc
from bulkedit._printable import printable
from bulkedit.errors import LedgerError, ReceivedError, RunHeldError
from bulkedit.runs import anchor as anchors
from bulkedit.runs.ledger.faults import explained
from bulkedit.runs.ledger.opening import guarded
from bulkedit.runs.ledger.records import ProcessState
from bulkedit.runs.ledger.schema import NEWEST_PROCESS

if TYPE_CHECKING:
    from pathlib import Path

_AGAIN_S: Final = 0.05  # longer than `is_held` keeps its shared locks


class RunLock:
    """The locks that this process has on a run, until they are released or the block ends."""

    def __init__(self, ledger: Path) -> None:
        """Lock the run of a ledger.

        Raises BlockingIOError if another process has locked it, ReceivedError if the anchor is not a plain file, and
        OSError if the file system has no locks.
        """
        self._anchor = anchors.beside(ledger)
        self._descriptors: list[int] = []
        try:
            self._take_folder(ledger.parent)
            self.take_anchor()
        except BaseException:
            self.release()
            raise

    def _take_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._descriptors.append(descriptor)
        try:
            _lock(descriptor)
        except BlockingIOError:
            raise
        except OSError:  # NFS; the anchor is locked
            return

    def take_anchor(self) -> None:
        """Lock the anchor, unless there is none or it is locked already. Raises as `__init__`."""
        if not received.there(self._anchor):
            return
        received.require_file(self._anchor, own=True)
        if any(os.path.samestat(self._anchor.stat(), os.fstat(descriptor)) for descriptor in self._descriptors):
            return
        # NFS locks only what is open for writing
        descriptor = os.open(self._anchor, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._descriptors.append(descriptor)
        _lock(descriptor)
        if not os.path.samestat(self._anchor.stat(), os.fstat(descriptor)):  # it was replaced at this moment
            raise BlockingIOError

    def release(self) -> None:
        """Let other processes work on the run."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _lock(descriptor: int) -> None:
    """Take a lock; try twice, because `is_held` may have it for a moment. Raises BlockingIOError."""
    try:
        lock(descriptor)
    except BlockingIOError:
        time.sleep(_AGAIN_S)
        lock(descriptor)


def is_held(ledger: Path) -> bool:
    """Whether a process works on the run of this ledger."""
    return _is_locked(ledger.parent, os.O_DIRECTORY) or _is_locked(anchors.beside(ledger), os.O_NONBLOCK)


def _is_locked(path: Path, flag: int) -> bool:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW * (flag != os.O_DIRECTORY) | os.O_CLOEXEC | flag)
        try:
            lock(descriptor, shared=True)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


def held(path: Path) -> RunLock:
    """Lock the run of a ledger. Raises RunHeldError, LedgerError."""
    with explained(path):
        try:
            return RunLock(path)
        except BlockingIOError as error:
            raise RunHeldError(
                f"this run is in use by {_holder(path)}.",
                where=str(path.parent),
                hint="Wait until it ends, or stop it with one Ctrl-C there: it then finishes what it has begun.",
            ) from error


def _holder(path: Path) -> str:
    """The process that works on a run, in words, by its ledger."""
    with contextlib.suppress(LedgerError, ReceivedError, sqlite3.Error, OSError, ValueError):
        with contextlib.closing(guarded(path, "mode=ro")) as connection:
            found = connection.execute(NEWEST_PROCESS).fetchone()
        if found is not None and found[1] == ProcessState.STARTED:
            return named_process(found)
    return "another process"


def named_process(row: tuple[Any, ...]) -> str:
    """A process in words. ``row``: as `NEWEST_PROCESS`."""
    _, _, pid, host, at = row
    return f"process {pid} on {printable(host)[:_HOST]} since {utc(at)}"


_HOST: Final = 253  # characters of a host's name, at most
