"""The states of a ledger, and its faults in words."""

from __future__ import annotations

import sqlite3
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bulkedit.errors import LedgerError, LedgerLockedError, ReceivedError, UnprovenLedgerError

if TYPE_CHECKING:
    from pathlib import Path


_LOCKED: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
ASSUME_UNKNOWN: Final = (
    "bulkedit resume RUN --assume-unknown: it keeps this ledger under another name, and compares each call without "
    "proof with its image set before anything is sent"
)
WITHOUT: Final = (
    "Nothing was sent. If you have a newer ledger.sqlite and ledger.sqlite-wal, put both back. Otherwise: "
    f"{ASSUME_UNKNOWN}."
)


class LedgerState(StrEnum):
    """Whether a ledger is complete, compared with its anchor (`bulkedit.runs.anchor`)."""

    NOT_BEGUN = "not begun"
    WHOLE = "whole"
    BEHIND = "behind"  # events that were written are missing
    DAMAGED = "damaged"  # rows have changed since they were written
    MISSING = "missing"
    UNANCHORED = "unanchored"  # no anchor, so it cannot be checked
    COPIED = "copied"  # whole, but the run may have continued elsewhere after the copy


def not_as_written(table: str) -> str:
    """The fault of a damaged row."""
    return f"a row of table {table} is not as it was written"


def missing(path: Path) -> UnprovenLedgerError:
    """The error if a run was begun and its ledger is missing."""
    return unproven(path, LedgerState.MISSING)


def unproven(path: Path, state: LedgerState, detail: str = "") -> UnprovenLedgerError:
    """The error for a ledger that is not whole. ``detail``: what is wrong with it."""
    what, likely, hint = _UNPROVEN[state]
    return UnprovenLedgerError(
        what.format(detail or state), where=str(path), likely=likely, hint=hint, state=str(state)
    )


_UNPROVEN: Final = {
    LedgerState.MISSING: (
        "the ledger of this run is missing, so it is not known which calls were sent.",
        "It was deleted, or it was left out when the folder was copied.",
        WITHOUT,
    ),
    LedgerState.BEHIND: (
        "the ledger lacks events that were written to it: {}.",
        "Its log (ledger.sqlite-wal) was lost or cut, or an older copy was put in its place.",
        WITHOUT,
    ),
    LedgerState.DAMAGED: (
        "the ledger is damaged: {}.",
        "The disk failed, the file was changed by hand, or the ledger of another run was put in its place.",
        WITHOUT,
    ),
    LedgerState.UNANCHORED: (
        "ledger.anchor, which records what the ledger must contain, is missing or cannot be read.",
        "It was deleted, or it was left out when the folder was copied.",
        f"Nothing was sent. If you have it, put it back. Otherwise: {ASSUME_UNKNOWN}.",
    ),
    LedgerState.COPIED: (
        "this folder is a copy: the run was begun in another place.",
        (
            "It was copied, put back from a backup, or moved to another disk. What the run sent from the other place "
            "since is not in this ledger."
        ),
        (
            "Nothing was sent. Continue in the other place. If you have moved the run, delete the old folder, so that "
            f"only one copy continues, and type: {ASSUME_UNKNOWN}."
        ),
    ),
}


def invalid_row(path: Path, table: str) -> UnprovenLedgerError:
    """The error for a row that no version of this package has written."""
    return UnprovenLedgerError(
        f"table {table} has an invalid row.",
        where=str(path),
        likely="The file was damaged, or changed by hand.",
        hint=WITHOUT,
        state=str(LedgerState.DAMAGED),
    )


class explained:  # noqa: N801 - reads as a statement
    """Turns errors of the disk and of SQLite into LedgerError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, FileExistsError):
            raise LedgerError("there is a ledger already.", where=str(self._path)) from error
        if isinstance(error, ReceivedError):
            raise LedgerError(error.what, where=error.where, likely=error.likely, hint=error.hint) from error
        # a text of a damaged file can be any bytes
        no_text = isinstance(error, UnicodeDecodeError)
        if no_text or (isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)):
            raise UnprovenLedgerError(
                f"the ledger is damaged ({'a text in it is not UTF-8' if no_text else error}).",
                where=str(self._path),
                likely="The disk failed, or the file was changed by hand.",
                hint=f"To report what can still be read: bulkedit report RUN\n{WITHOUT}",
                state=str(LedgerState.DAMAGED),
            ) from error
        if isinstance(error, sqlite3.Error) and _is_locked(error):
            raise LedgerLockedError(
                f"another program has locked the ledger ({error}).",
                where=str(self._path),
                likely="A backup program or a database viewer has it open.",
                hint="Nothing that was recorded is lost. Close that program, then continue with: bulkedit resume RUN",
            ) from error
        if isinstance(error, FileNotFoundError):
            raise LedgerError(
                f"the ledger cannot be used ({error.strerror or error}).",
                where=str(self._path),
                likely="A file of the run was deleted, or the folder was moved or deleted.",
                hint="Put it back, then continue with: bulkedit resume RUN (if the folder was moved, its new name)",
            ) from error
        if isinstance(error, sqlite3.Error | OSError):
            raise LedgerError(
                f"the ledger cannot be used ({getattr(error, 'strerror', None) or error}).",
                where=str(self._path),
                likely="The disk may be full or read-only, or the folder may be gone.",
                hint="Nothing that was recorded is lost. Free some space, then continue with: bulkedit resume RUN",
            ) from error


def _is_locked(error: sqlite3.Error) -> bool:
    """Whether another program has locked the file: the low byte is the primary code (sqlite.org/rescode.html)."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _LOCKED
