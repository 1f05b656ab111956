"""The durable record of every call: its intent, the replies, its outcome.

One SQLite file in WAL mode with `synchronous=FULL`, written by one process. Rows are only appended, and the last row of
a call has its state. So a process that is killed leaves complete rows up to some point. The ledger has no value of an
edit or of metadata: for each payload it has a keyed digest, and the key is in `run.json`.

Writes are committed in groups: rows that arrive during a commit share the next one.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import os
import re
import secrets
import socket
import sqlite3
import time
import zlib
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import partial
from hashlib import blake2b
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar

import anyio

from bulkedit import _received as received
from bulkedit._concurrency import run_blocking
from bulkedit._files import draft
from bulkedit._log import log
from bulkedit._printable import printable
from bulkedit.client.responses import CallState
from bulkedit.errors import LedgerError, LedgerLockedError, ReceivedError, RunHeldError, UnprovenLedgerError
from bulkedit.runs import anchor as anchors
from bulkedit.runs import run_lock
from bulkedit.runs.anchor import Anchor, AnchorMark
from bulkedit.runs.run_lock import RunLock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from bulkedit.runs.anchor import LedgerContents

is_held = run_lock.is_held
_R = TypeVar("_R")
SCHEMA: Final = 4
SETUP: Final = """
BEGIN;
CREATE TABLE event (
    seq        INTEGER PRIMARY KEY,  -- row number, in the order of writing
    at         REAL NOT NULL,        -- epoch seconds
    call       INTEGER NOT NULL,     -- number of the call in the plan
    state      TEXT NOT NULL,        -- state of the call after this event
    expected_version INTEGER,        -- latestVersionId of the request
    version    INTEGER,              -- version made by an applied call, or left by a failed update
    attempts   INTEGER NOT NULL,     -- requests sent so far
    throttles  INTEGER NOT NULL,     -- of these, throttled
    faults     INTEGER NOT NULL,     -- lost answers and failed reads so far
    conflicts  INTEGER NOT NULL,     -- times that another writer was first
    reason     TEXT,                 -- error code, or why the call has this state
    message    TEXT,                 -- the service's message, without values
    digest     TEXT,                 -- keyed digest of the payload; intents only
    expected_version_updated_at REAL, -- updatedAt of the expected version before the request, epoch seconds
    checksum   INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
CREATE TABLE part (
    call       INTEGER PRIMARY KEY,  -- number of the part, higher than all numbers of the plan
    parent     INTEGER NOT NULL,     -- the call that was split
    edits      TEXT NOT NULL,        -- numbers of its edits in the plan, as a JSON array
    checksum   INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
CREATE TABLE pace (
    at         REAL NOT NULL,        -- epoch seconds
    quota      REAL NOT NULL,        -- updates per second that the run assumed as its quota from then on
    checksum   INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
CREATE TABLE made (
    call         INTEGER NOT NULL,  -- number of a call that copies an image set to a new one
    image_set_id TEXT NOT NULL,     -- the image set
    ours         INTEGER NOT NULL,  -- 1: made by the call; 0: existed before it
    checksum     INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
CREATE TABLE process (
    at         REAL NOT NULL,       -- epoch seconds
    process    TEXT NOT NULL,       -- random name of a process that works on the run
    state      TEXT NOT NULL,       -- started or ended
    pid        INTEGER NOT NULL,    -- its number on the host
    host       TEXT NOT NULL,       -- name of the host
    user       TEXT NOT NULL,       -- name of its user on the host
    reason     TEXT,                -- ended: completed, stopped, interrupted, or the name of an error
    checksum   INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
CREATE TABLE setting (
    at         REAL NOT NULL,       -- epoch seconds
    name       TEXT NOT NULL,       -- setting of the run that a resume changed
    before     TEXT NOT NULL,       -- its value before, as JSON
    after      TEXT NOT NULL,       -- its value from then on, as JSON
    user       TEXT NOT NULL,       -- name of the user who changed it, on the host
    checksum   INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
CREATE TABLE request (
    at         REAL NOT NULL,       -- epoch seconds of the answer, or of the request's loss
    call       INTEGER NOT NULL,    -- number of the call that it was sent for
    operation  TEXT NOT NULL,       -- such as UpdateImageSetMetadata
    request_id TEXT,                -- AWS's id of the request; missing if no answer came
    result     TEXT NOT NULL,       -- accepted, answered, an error code, or lost: CAUSE
    checksum   INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
PRAGMA user_version = 4;
COMMIT;
"""
_TABLES: Final = ("event", "part", "pace", "made", "process", "setting", "request")


def _exact(real: str) -> str:
    """A real number as two integers, which every version of SQLite prints alike."""
    return f"CAST({real} AS INTEGER), CAST(({real} - CAST({real} AS INTEGER)) * {_FRACTION}.0 AS INTEGER)"


_FRACTION: Final = 2**62
# the text that a row's checksum covers; `_text_of_event` and `_row` write the same text
_EVENT_TEXT: Final = f"""'%d|%d|%s|%s|%s|%d|%d|%d|%d|%s|%s|%s|%d.%d|%s.%s', seq, call, state, expected_version,
    version, attempts, throttles, faults, conflicts, reason, message, digest, {_exact("at")},
    {_exact("expected_version_updated_at")}"""
_TEXTS: Final = {
    "event": f"CAST(printf({_EVENT_TEXT}) AS BLOB)",
    "part": "CAST(printf('%d|%d|%s', call, parent, edits) AS BLOB)",
    "pace": f"CAST(printf('%d.%d|%d.%d', {_exact('at')}, {_exact('quota')}) AS BLOB)",
    "made": "CAST(printf('%d|%s|%d', call, image_set_id, ours) AS BLOB)",
    "process": f"""CAST(printf('%s|%s|%d|%s|%s|%s|%d.%d', process, state, pid, host, user, reason, {_exact("at")})
        AS BLOB)""",
    "setting": f"CAST(printf('%s|%s|%s|%s|%d.%d', name, before, after, user, {_exact('at')}) AS BLOB)",
    "request": f"CAST(printf('%d|%s|%s|%s|%d.%d', call, operation, request_id, result, {_exact('at')}) AS BLOB)",
}
# the text that the digest of the events covers; one printf, because `||` takes twice as long
_DIGESTED: Final = f"CAST(printf('%d|' || {_EVENT_TEXT.replace(', seq', ', checksum, seq', 1)}) AS BLOB)"
# views of a damaged ledger: only rows with a correct checksum
_INTACT_ROWS: Final = {
    table: f"SELECT rowid AS rowid, * FROM main.{table} WHERE checksum = crc32({text})"  # noqa: S608 - our names
    for table, text in _TEXTS.items()
}
_CHECKPOINT_PAGES: Final = 100  # of the write-ahead log
# conditions for invalid rows, by table: readers expect 32-bit numbers and values of `CallState`
_LARGEST: Final = 2**32 - 1
_COUNTED: Final = ("expected_version", "version", "attempts", "throttles", "faults", "conflicts")
_INVALID: Final = {
    "event": " OR ".join(
        [
            f"call NOT BETWEEN 0 AND {_LARGEST - 1}",
            f"state NOT IN ({', '.join(repr(str(state)) for state in CallState)})",
            "at NOT BETWEEN 0 AND 1e11",
            *(f"{name} NOT BETWEEN 0 AND {_LARGEST}" for name in _COUNTED),
        ]
    ),
    "part": f"parent < 0 OR parent >= call OR call >= {_LARGEST}",
    "pace": "at NOT BETWEEN 0 AND 1e11 OR quota NOT BETWEEN 0 AND 1e9",
    "made": f"call NOT BETWEEN 0 AND {_LARGEST - 1} OR ours NOT IN (0, 1)",
    "process": f"at NOT BETWEEN 0 AND 1e11 OR state NOT IN ('started', 'ended') OR pid NOT BETWEEN 0 AND {_LARGEST}",
    "setting": "at NOT BETWEEN 0 AND 1e11 OR NOT json_valid(before) OR NOT json_valid(after)",
    "request": f"at NOT BETWEEN 0 AND 1e11 OR call NOT BETWEEN 0 AND {_LARGEST - 1}",
}
_TABLES_AT_MOST: Final = 2 * len(_INVALID)
_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: 2**28,  # bytes of a row or a parameter; a resume passes all calls in one
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
}
_STEPS: Final = 100_000  # SQLite instructions between two checks of the limit
_STEPS_PER_BYTE: Final = 100  # limit when a file is checked; a normal file takes about two
_LOCKED: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
ASSUME_UNKNOWN: Final = (
    "bulkedit resume RUN --assume-unknown: it keeps this ledger under another name, and compares each call without "
    "proof with its image set before anything is sent"
)
_WITHOUT: Final = (
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of table event: a new state of a call."""

    at: float
    call: int
    state: CallState
    expected_version: int | None = None
    version: int | None = None
    attempts: int = 0
    throttles: int = 0
    faults: int = 0
    conflicts: int = 0
    reason: str | None = None
    message: str | None = None
    digest: str | None = None
    expected_version_updated_at: float | None = None  # epoch seconds


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a split call."""

    call: int
    parent: int
    edits: list[int]


@dataclass(frozen=True, slots=True)
class Pace:
    """The quota of updates that the run assumes from now on."""

    at: float  # epoch seconds
    quota: float  # per second


@dataclass(frozen=True, slots=True)
class Made:
    """An image set that a copying call made; if not ``ours``, one of the same series that existed before."""

    call: int
    image_set_id: str
    ours: bool = True


class ProcessState(StrEnum):
    """What a row of table process tells."""

    STARTED = "started"
    ENDED = "ended"


class Ending(StrEnum):
    """Why a process has ended without an error."""

    COMPLETED = "completed"  # every call has an outcome
    STOPPED = "stopped"  # some calls have none
    INTERRUPTED = "interrupted"  # by a second Ctrl-C or SIGTERM


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """A process that works on the run has started or ended."""

    at: float  # epoch seconds
    process: str  # random name
    state: ProcessState
    pid: int
    host: str
    user: str
    reason: str | None = None  # why it has ended: an `Ending`, or the name of an error's class

    @classmethod
    def of_this_process(cls) -> ProcessRecord:
        """This process has started to work on a run; each record has a random name of its own."""
        return cls(
            at=time.time(),
            process=secrets.token_hex(8),
            state=ProcessState.STARTED,
            pid=os.getpid(),
            host=printable(socket.gethostname()),
            user=user_name(),
        )

    def ended(self, reason: str) -> ProcessRecord:
        """The same process has ended."""
        return replace(self, at=time.time(), state=ProcessState.ENDED, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRecord:
    """A setting of the run that a resume changed."""

    at: float  # epoch seconds
    name: str
    before: str  # JSON
    after: str  # JSON
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """A request that was sent for a call."""

    at: float  # epoch seconds
    call: int
    operation: str
    request_id: str | None  # AWS's id of the request; None if no answer came
    result: str  # accepted, answered, an error code, or `lost: CAUSE`


Record = Event | Part | Pace | Made | ProcessRecord | SettingRecord | RequestRecord


def user_name() -> str:
    """The name of this process's user on this host; the user's number if it has no name."""
    try:
        return printable(getpass.getuser())
    except (ImportError, KeyError, OSError):
        return str(os.getuid())


_CHUNK: Final = 50_000  # rows
_NAMES: Final = [field.name for field in fields(Event)]
_COLUMNS: Final = ", ".join(_NAMES)
_values: Final = attrgetter(*_NAMES)
_PROCESS_NAMES: Final = [field.name for field in fields(ProcessRecord)]
_SETTING_NAMES: Final = [field.name for field in fields(SettingRecord)]
_REQUEST_NAMES: Final = [field.name for field in fields(RequestRecord)]


def _insert(table: str, *columns: str) -> str:
    places = ", ".join("?" * (len(columns) + 1))
    return f"INSERT INTO {table} ({', '.join(columns)}, checksum) VALUES ({places})"  # noqa: S608 - names of our own


_INSERTS: Final = {
    "event": _insert("event", "seq", *_NAMES),
    "part": _insert("part", "call", "parent", "edits"),
    "pace": _insert("pace", "at", "quota"),
    "made": _insert("made", "call", "image_set_id", "ours"),
    "process": _insert("process", *_PROCESS_NAMES),
    "setting": _insert("setting", *_SETTING_NAMES),
    "request": _insert("request", *_REQUEST_NAMES),
}

# columns of a call's last row that readers use
LAST_ROW: Final = (
    "call",
    "state",
    "expected_version",
    "version",
    "attempts",
    "throttles",
    "faults",
    "conflicts",
    "reason",
    "message",
    "at",
    "expected_version_updated_at",
)


@dataclass(frozen=True, slots=True)
class Codes:
    """The state of every call as a code; 0: never begun."""

    names: dict[int, str]  # code to `CallState`
    of_call: bytearray


class Ledger:
    """The ledger of one run. Its methods block; `GroupCommit` calls them on a worker thread."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        lock: RunLock | None,
        content: _Content | None = None,
        anchor: Anchor | None = None,
    ) -> None:
        self.path = path
        self.damage: str | None = None  # the fault of a damaged ledger that was opened for reading
        self.state = LedgerState.WHOLE
        self.detail = ""  # why it is not whole
        self._connection = connection
        self._lock = lock
        self._file = _identity(path)
        self._log: tuple[int, int] | None = None  # place of SQLite's log, once it was written
        self._content = content or _Content()
        self._anchor = anchor
        self._process: ProcessRecord | None = None  # this process, while it works on the run
        self._read_once: tuple[int, Codes] | None = None  # cache of `last_codes`, with the number of changes then

    @classmethod
    def create(cls, path: Path) -> Ledger:
        """Make a new ledger, and an anchor if it is missing, and lock the run.

        Raises RunHeldError, UnprovenLedgerError if the run had a ledger before, LedgerError.
        """
        with contextlib.ExitStack() as undo:
            lock = undo.enter_context(_held(path))
            anchor = undo.enter_context(contextlib.closing(_anchor_of(path, anchors.new_run(), lock)))
            if anchor.mark.begun and not received.there(path):
                raise missing(path)
            with _explained(path):
                _make(path)
                connection = undo.enter_context(contextlib.closing(_connect(path)))
                anchor.write(begun=True)
            ledger = cls(path, connection, lock, anchor=anchor)
            ledger._start()
            undo.pop_all()
        return ledger

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """Open a ledger for writing and lock the run.

        Raises RunHeldError, UnprovenLedgerError if it does not match its anchor, LedgerError.
        """
        with contextlib.ExitStack() as undo:
            lock = undo.enter_context(_held(path))
            anchored = _read_anchor(path)
            if not received.there(path):
                raise missing(path)
            connection, _ = _checked(path)
            undo.enter_context(contextlib.closing(connection))
            if anchored is None:
                raise _unproven(path, LedgerState.UNANCHORED)
            with _explained(path):
                content, state, detail = _compared(connection, anchored.mark, path)
            if anchored.is_copy:
                state = LedgerState.COPIED
            if state is not LedgerState.WHOLE:
                raise _unproven(path, state, detail)
            anchor = undo.enter_context(contextlib.closing(_anchor_of(path, anchors.new_run(), lock)))
            with _explained(path):
                anchor.write(begun=True, **content.contents())
            ledger = cls(path, connection, lock, content, anchor)
            ledger._start()
            undo.pop_all()
        return ledger

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Open a ledger for reading, even while another process writes it. Raises LedgerError.

        `state` says whether it is complete. If it is damaged, `damage` says why, and only intact rows are read.
        """
        anchored = _read_anchor(path)  # before the ledger, which another process may extend
        connection, damage = _checked(path, tolerant=True)
        ledger = cls(path, connection, None)
        try:
            with _explained(path):
                ledger._check(anchored, damage)
        except BaseException:
            connection.close()
            raise
        return ledger

    _last_comparison: ClassVar[tuple[Any, LedgerState, str] | None] = None

    def _compared_once(self, mark: AnchorMark | None) -> tuple[LedgerState, str]:
        """`_compared`, cached: one command reads a ledger several times, and a large one takes seconds."""
        files = [self.path, _log_of(self.path)]
        found = [(file.stat().st_ino, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
        key = (self.path.absolute(), repr(mark), found)
        if Ledger._last_comparison is None or Ledger._last_comparison[0] != key:
            _, state, detail = _compared(self._connection, mark, self.path)
            Ledger._last_comparison = key, state, detail
        return Ledger._last_comparison[1], Ledger._last_comparison[2]

    def require_whole(self) -> None:
        """Raises UnprovenLedgerError if rows are missing or damaged."""
        if self.state in {LedgerState.BEHIND, LedgerState.DAMAGED}:
            raise _unproven(self.path, self.state, self.detail)

    def _check(self, anchored: anchors.AnchorReading | None, damage: str | None) -> None:
        if damage is None:
            self.state, self.detail = self._compared_once(anchored.mark if anchored else None)
            if self.state is LedgerState.WHOLE:
                self.state = LedgerState.COPIED if anchored and anchored.is_copy else self.state
                self.state = LedgerState.UNANCHORED if anchored is None else self.state
            damage = self.detail if self.state is LedgerState.DAMAGED else None
        if damage is None:
            self._connection.execute("PRAGMA query_only = ON")
            return
        self.damage, self.state, self.detail = damage, LedgerState.DAMAGED, damage
        _hide_damaged_rows(self._connection)

    def _start(self) -> None:
        """Record that this process works on the run: from here on no other one can write. Raises RunHeldError."""
        started = ProcessRecord.of_this_process()
        self._write([started])
        self._process = started

    def end(self, reason: str) -> None:
        """Record that this process works on the run no more, and why. Raises LedgerError."""
        if self._process is not None:
            self._write([self._process.ended(reason)])
            self._process = None

    def append(self, records: Sequence[Record]) -> None:
        """Write records; they are durable when this returns. Raises LedgerError if they may not be durable."""
        self._write(records)

    def _write(self, records: Sequence[Record]) -> None:
        new = self._content.copy()
        rows = new.take(records)
        with _explained(self.path):
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")  # what is checked holds until the commit
                self._require_files_in_place()
                self._require_only_writer()
                for table, values in rows.items():
                    self._connection.executemany(_INSERTS[table], values)
            if self._anchor is not None:
                self._anchor.write(**new.contents())
        self._content = new

    def _require_files_in_place(self) -> None:
        """Raises FileNotFoundError: SQLite would continue to write to a deleted file."""
        if _identity(self.path) != self._file:
            raise FileNotFoundError("it is not in its folder any more")
        log = _identity(_log_of(self.path))
        if self._log is not None and log != self._log:
            raise FileNotFoundError("its log is not in its folder any more")
        self._log = log

    def _require_only_writer(self) -> None:
        """Raises RunHeldError if another process has begun to work on the run, although this one had locked it.

        File systems without working locks let it.
        """
        if self._process is None:
            (events,) = self._connection.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()
            if events != self._content.events:
                raise self._overtaken("another process")
            return
        found = self._connection.execute(_NEWEST).fetchone()
        if found is None or found[0] != self._process.process:
            raise self._overtaken("another process" if found is None else _named(found))

    def _overtaken(self, other: str) -> RunHeldError:
        return RunHeldError(
            f"{other} works on this run now, so this process has stopped.",
            where=str(self.path.parent),
            likely="The file system of the folder has no locks, or lost them, so the other process could begin.",
            hint="This process sends nothing more, and nothing that was recorded is lost. Let one process work on a "
            "run at a time. Once the other one has ended: bulkedit resume RUN",
        )

    def parts(self) -> list[Part]:
        """Every part of a split call, parents before their parts."""
        with _explained(self.path):
            query = "SELECT call, parent, edits FROM part ORDER BY call"
            rows = self._readable(query) if self.damage else self._connection.execute(query).fetchall()
        return [Part(call, parent, self._edits(edits)) for call, parent, edits in rows]

    def _edits(self, text: str) -> list[int]:
        numbers = text.strip().removeprefix("[").removesuffix("]").split(",")
        try:
            return [int(number) for number in numbers]
        except ValueError:
            raise _invalid_row(self.path, "part") from None

    def require_calls(self, planned: int) -> None:
        """Raises LedgerError if it has calls that are not in the plan. ``planned``: number of calls in the plan."""
        query = """
            SELECT EXISTS (SELECT 1 FROM part WHERE call < :planned)
                OR EXISTS (SELECT 1 FROM part WHERE parent >= :planned AND parent NOT IN (SELECT call FROM part))
                OR EXISTS (SELECT 1 FROM event WHERE call >= :planned AND call NOT IN (SELECT call FROM part))
        """
        with _explained(self.path):
            (strange,) = self._connection.execute(query, {"planned": planned}).fetchone()
        if strange:
            raise LedgerError(
                "this ledger has calls that the plan of its run does not have.",
                where=str(self.path),
                likely="The ledger belongs to another run.",
                hint=_WITHOUT,
            )

    def made(self) -> list[Made]:
        """Image sets made by copying calls, and those that existed before, in the order of writing."""
        query = "SELECT call, image_set_id, ours FROM made ORDER BY rowid"
        with _explained(self.path):
            rows = self._readable(query) if self.damage else self._connection.execute(query).fetchall()
        return [Made(call, image_set_id, bool(ours)) for call, image_set_id, ours in rows]

    def processes(self) -> list[ProcessRecord]:
        """The processes that worked on the run: when each has started and ended, in the order of writing."""
        found = [dict(zip(_PROCESS_NAMES, row, strict=True)) for row in self._in_order("process", _PROCESS_NAMES)]
        return [ProcessRecord(**{**row, "state": ProcessState(row["state"])}) for row in found]

    def settings(self) -> list[SettingRecord]:
        """The settings that resumes have changed, in the order of writing."""
        found = self._in_order("setting", _SETTING_NAMES)
        return [SettingRecord(**dict(zip(_SETTING_NAMES, row, strict=True))) for row in found]

    @classmethod
    def settings_in(cls, path: Path) -> list[SettingRecord]:
        """As `settings`, of a ledger that is not opened for more; empty if it is missing or damaged.

        Reads only this table: the rest of a large ledger takes seconds to check, and `open` checks it. Raises
        LedgerError.
        """
        if not received.there(path):
            return []
        columns, intact = ", ".join(_SETTING_NAMES), f"checksum = crc32({_TEXTS['setting']})"
        valid = f"NOT ({_INVALID['setting']}) AND {intact}"
        query = f"SELECT {columns} FROM setting WHERE {valid} ORDER BY rowid"  # noqa: S608 - names of our own
        with contextlib.suppress(UnprovenLedgerError), _explained(path), contextlib.ExitStack() as undo:
            connection = undo.enter_context(contextlib.closing(_connect_to_read(path)))
            undo.enter_context(_bounded(connection, path))
            return [SettingRecord(**dict(zip(_SETTING_NAMES, row, strict=True))) for row in connection.execute(query)]
        return []

    def requests(self, *, tolerant: bool = False) -> Iterator[RequestRecord]:
        """The requests that were sent for calls, in the order of writing.

        Raises UnprovenLedgerError for a row that is not as it was written; if ``tolerant``, leaves it out.
        """
        columns, text = ", ".join(_REQUEST_NAMES), _TEXTS["request"]
        query = f"SELECT {columns}, checksum IS crc32({text}) FROM request ORDER BY rowid"  # noqa: S608 - our names
        for rows in self.batches(query):
            for *values, intact in rows:
                if intact:
                    yield RequestRecord(**dict(zip(_REQUEST_NAMES, values, strict=True)))
                elif not tolerant:
                    raise _unproven(self.path, LedgerState.DAMAGED, _not_as_written("request"))

    def _in_order(self, table: str, names: Sequence[str]) -> list[tuple[Any, ...]]:
        query = f"SELECT {', '.join(names)} FROM {table} WHERE NOT ({_INVALID[table]}) ORDER BY rowid"  # noqa: S608 - names of our own
        with _explained(self.path):
            return self._readable(query) if self.damage else self._connection.execute(query).fetchall()

    def last_rows(self, columns: Collection[str] = LAST_ROW) -> Iterator[list[tuple[Any, ...]]]:
        """The last event of every call that was begun, in batches, in any order: ``columns`` of `LAST_ROW`."""
        names = ", ".join(name for name in LAST_ROW if name in columns)
        if self.damage:
            found = self._readable(f"SELECT call, {names} FROM event ORDER BY seq")  # noqa: S608 - constant names
            yield list({row[0]: row[1:] for row in found}.values())
            return
        # SQLite takes the other columns from the row with the maximum
        query = f"SELECT {names}, max(seq) FROM event GROUP BY call ORDER BY call"  # noqa: S608 - constant names
        for rows in self.batches(query):
            yield [row[:-1] for row in rows]

    def batches(self, query: str) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a query in batches: all rows at once take ten times the memory of a frame.

        If the ledger is damaged: one batch of the rows that can be read.
        """
        if self.damage:
            yield self._readable(query)
            return
        with _explained(self.path):
            cursor = self._connection.execute(query)
            while rows := cursor.fetchmany(_CHUNK):
                yield rows

    def last_codes(self) -> Codes:
        """The state of every call that was begun, and nothing else.

        Reads the ledger once and takes one byte a call, so that a run of millions is resumed in seconds.
        """
        kept, self._read_once = self._read_once, None
        changes = self._connection.total_changes
        if kept is not None and kept[0] == changes and self._lock is not None:
            return kept[1]  # a resume calls this twice, and this process is the only writer
        codes: dict[str, int] = {}
        last = bytearray()
        with _explained(self.path):
            for call, state in self._connection.execute("SELECT call, state FROM event ORDER BY seq"):
                if call >= len(last):
                    last.extend(bytes(max(call + 1 - len(last), len(last))))
                last[call] = codes.setdefault(state, len(codes) + 1)
        found = Codes({code: state for state, code in codes.items()}, last)
        self._read_once = changes, found
        return found

    def rows_of(self, calls: Collection[int]) -> list[dict[str, Any]]:
        """The last row of each of these calls, with the columns `LAST_ROW`."""
        columns = ", ".join(LAST_ROW)
        query = f"SELECT {columns} FROM event WHERE call IN (SELECT value FROM json_each(?)) ORDER BY seq"  # noqa: S608
        if not calls:
            return []
        with _explained(self.path):
            rows = self._connection.execute(query, (json.dumps(sorted(calls)),))
            last = {row[0]: dict(zip(LAST_ROW, row, strict=True)) for row in rows}
        return list(last.values())

    def version_events(
        self, calls: Collection[int], *, reason: str
    ) -> Iterator[tuple[int, str, int | None, int | None, bool]]:
        """These calls' events: call, state, expected version, version, and whether its reason is ``reason``."""
        query = """SELECT call, state, expected_version, version, reason IS ? FROM event
                   WHERE call IN (SELECT value FROM json_each(?)) ORDER BY seq"""
        with _explained(self.path):
            for call, state, expected_version, version, caused in self._connection.execute(
                query, (reason, json.dumps(sorted(calls)))
            ):
                yield call, state, expected_version, version, bool(caused)

    def has_reused_versions(self) -> bool:
        """Whether the service gave the number of a failed update to the next one."""
        query = "SELECT EXISTS (SELECT 1 FROM event WHERE version = expected_version)"
        with _explained(self.path):
            return bool(self._connection.execute(query).fetchone()[0])

    def contents(self) -> LedgerContents:
        """The contents that the anchor of this ledger must record."""
        return self._content.contents()

    def intact_events(self) -> Iterator[Event]:
        """The events with a correct checksum, in order."""
        query = f"SELECT {_COLUMNS} FROM event ORDER BY seq"  # noqa: S608 - our names
        with contextlib.suppress(sqlite3.DatabaseError):
            for row in self._connection.execute(query):
                found = dict(zip(_NAMES, row, strict=True))
                yield Event(**{**found, "state": CallState(found["state"])})

    def _readable(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a damaged ledger, up to the first that cannot be read."""
        rows: list[tuple[Any, ...]] = []
        most = _size(self.path)  # a row has more than one byte
        with contextlib.suppress(sqlite3.DatabaseError):
            for row in self._connection.execute(query):
                if row[0] is None:  # zeros can look like rows, but no row of ours begins with NULL
                    break
                rows.append(row)
                if len(rows) > most:  # the pages of the file form a circle
                    break
        return rows

    def events(self) -> Iterator[dict[str, Any]]:
        """Every event as a dictionary, in the order of writing."""
        with _explained(self.path):
            cursor = self._connection.execute(f"SELECT seq, {_COLUMNS} FROM event ORDER BY seq")  # noqa: S608
            names = [column[0] for column in cursor.description]
            for row in cursor:
                yield dict(zip(names, row, strict=True))

    def span_s(self) -> float:
        """Seconds from the first event to the last."""
        if self.damage:
            times = [at for (at,) in self._readable("SELECT at FROM event ORDER BY seq")]
            return max(times) - min(times) if times else 0.0
        with _explained(self.path):
            (span,) = self._connection.execute("SELECT max(at) - min(at) FROM event").fetchone()
        return float(span or 0.0)

    def close(self) -> None:
        """Close the files and unlock the run."""
        with _explained(self.path):
            self._connection.close()
        if self._anchor is not None:
            self._anchor.close()
            self._anchor = None
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Content:
    """The contents of a ledger, as its anchor records them."""

    def __init__(self) -> None:
        self.events = 0
        self.rows = dict.fromkeys(_TABLES[1:], 0)
        self.digest = blake2b(digest_size=16)

    def copy(self) -> _Content:
        """An independent copy."""
        other = _Content()
        other.events, other.rows, other.digest = self.events, dict(self.rows), self.digest.copy()
        return other

    def contents(self) -> LedgerContents:
        """The fields for the anchor."""
        return {"events": self.events, "digest": self.digest.hexdigest(), "rows": dict(self.rows)}

    def take(self, records: Sequence[Record]) -> dict[str, list[tuple[Any, ...]]]:
        """Add records; return them as rows by table."""
        found: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _TABLES}
        for record in records:
            if isinstance(record, Event):
                self.events += 1
                values = (self.events, *_values(record))
                table, text = "event", _text_of_event(values)
                self.digest.update(b"%d|%b\n" % (zlib.crc32(text), text))
            else:
                table, values, text = _row(record)
                self.rows[table] += 1
            found[table].append((*values, zlib.crc32(text)))
        return found


def _row(record: Record) -> tuple[str, tuple[Any, ...], bytes]:
    """Table, values, and the text that the checksum covers."""
    if isinstance(record, RequestRecord):
        return "request", *_timed(record.at, record.call, record.operation, record.request_id, record.result)
    if isinstance(record, ProcessRecord):
        others = record.process, str(record.state), record.pid, record.host, record.user, record.reason
        return "process", *_timed(record.at, *others)
    if isinstance(record, SettingRecord):
        return "setting", *_timed(record.at, record.name, record.before, record.after, record.user)
    if isinstance(record, Part):
        edits = json.dumps(record.edits)
        return "part", (record.call, record.parent, edits), f"{record.call}|{record.parent}|{edits}".encode()
    if isinstance(record, Pace):
        return "pace", (record.at, record.quota), f"{_exact_text(record.at)}|{_exact_text(record.quota)}".encode()
    if isinstance(record, Event):
        raise TypeError("an event needs its number")
    values = (record.call, record.image_set_id, int(record.ours))
    return "made", values, "|".join(map(str, values)).encode()


def _timed(at: float, *others: str | int | None) -> tuple[tuple[Any, ...], bytes]:
    """The values of a row that begins with a time, and the text that its checksum covers."""
    text = "|".join(["" if other is None else str(other) for other in others])
    return (at, *others), f"{text}|{_exact_text(at)}".encode()


def _text_of_event(values: tuple[Any, ...]) -> bytes:
    """As `_EVENT_TEXT`. ``values``: seq, and those of an event."""
    seq, at, *others, updated_at = values
    text = "|".join("" if other is None else str(other) for other in (seq, *others))
    return f"{text}|{_exact_text(at)}|{'.' if updated_at is None else _exact_text(updated_at)}".encode()


def _exact_text(real: float) -> str:
    """As `_exact`."""
    return f"{int(real)}.{int((real - int(real)) * _FRACTION)}"


def _compared(connection: sqlite3.Connection, mark: AnchorMark | None, path: Path) -> tuple[_Content, LedgerState, str]:
    """The contents of a ledger, its state, and why it is not whole. Without an anchor only checksums are checked.

    Blocks for some seconds if there are millions of events.
    """
    content, expected = _Content(), 0 if mark is None else mark.events
    with _bounded(connection, path):
        cursor = connection.execute(f"SELECT {_DIGESTED} FROM event ORDER BY seq")  # noqa: S608 - our names
        while content.events < expected:
            rows = cursor.fetchmany(min(_DIGESTED_AT_ONCE, expected - content.events))
            if not rows:
                return content, LedgerState.BEHIND, f"it has {content.events:,} of {expected:,} events"
            content.digest.update(b"".join([row[0] + b"\n" for row in rows]))
            content.events += len(rows)
        if mark is not None and content.digest.hexdigest() != mark.digest:
            return content, LedgerState.DAMAGED, "its events are not those that were written"
        for (row,) in cursor:  # events that are newer than the anchor
            content.events += 1
            content.digest.update(row + b"\n")
            number, _, text = row.partition(b"|")
            if int(number) != zlib.crc32(text) or not text.startswith(b"%d|" % content.events):
                return content, LedgerState.DAMAGED, f"event {content.events:,} is not as it was written"
        for table in _TABLES[1:]:
            damage, content.rows[table] = _rows_of(connection, table)
            if damage:
                return content, LedgerState.DAMAGED, _not_as_written(table)
            if mark is not None and content.rows[table] < mark.rows.get(table, 0):
                return (
                    content,
                    LedgerState.BEHIND,
                    f"table {table} has {content.rows[table]:,} of {mark.rows[table]:,} rows",
                )
    return content, LedgerState.WHOLE, ""


_DIGESTED_AT_ONCE: Final = 4096  # rows


def _not_as_written(table: str) -> str:
    return f"a row of table {table} is not as it was written"


def _rows_of(connection: sqlite3.Connection, table: str) -> tuple[bool, int]:
    """Whether a row of a table is damaged, and how many rows it has.

    Requests are only counted: no decision depends on them, and `Ledger.requests` checks each row.
    """
    damaged = "0" if table == "request" else f"coalesce(sum(checksum IS NOT crc32({_TEXTS[table]})), 0)"
    query = f"SELECT {damaged}, count(*) FROM {table}"  # noqa: S608 - our names
    wrong, count = connection.execute(query).fetchone()
    return bool(wrong), int(count)


def _hide_damaged_rows(connection: sqlite3.Connection) -> None:
    """Replace the tables by views of their intact rows, for this connection only."""
    for table, query in _INTACT_ROWS.items():
        connection.execute(f"CREATE TEMP VIEW {table} AS {query}")


def _anchor_of(path: Path, run: str, lock: RunLock) -> Anchor:
    """The anchor of a ledger; if it is missing, a new one, locked. Raises UnprovenLedgerError, LedgerError."""
    beside = anchors.beside(path)
    with _explained(beside):
        try:
            anchor = Anchor.open(beside) if received.there(beside) else Anchor.create(beside, run)
        except anchors.UnreadableAnchorError:
            raise _unproven(path, LedgerState.UNANCHORED) from None
        try:
            lock.take_anchor()
        except BaseException:
            anchor.close()
            raise
    return anchor


def _read_anchor(path: Path) -> anchors.AnchorReading | None:
    """The anchor of a ledger; None if it is missing or unreadable. Raises LedgerError."""
    beside = anchors.beside(path)
    with _explained(beside):
        try:
            return anchors.read(beside)
        except anchors.UnreadableAnchorError:
            return None


def missing(path: Path) -> UnprovenLedgerError:
    """The error if a run was begun and its ledger is missing."""
    return _unproven(path, LedgerState.MISSING)


def _unproven(path: Path, state: LedgerState, detail: str = "") -> UnprovenLedgerError:
    what, likely, hint = _UNPROVEN[state]
    return UnprovenLedgerError(
        what.format(detail or state), where=str(path), likely=likely, hint=hint, state=str(state)
    )


_UNPROVEN: Final = {
    LedgerState.MISSING: (
        "the ledger of this run is missing, so it is not known which calls were sent.",
        "It was deleted, or it was left out when the folder was copied.",
        _WITHOUT,
    ),
    LedgerState.BEHIND: (
        "the ledger lacks events that were written to it: {}.",
        "Its log (ledger.sqlite-wal) was lost or cut, or an older copy was put in its place.",
        _WITHOUT,
    ),
    LedgerState.DAMAGED: (
        "the ledger is damaged: {}.",
        "The disk failed, the file was changed by hand, or the ledger of another run was put in its place.",
        _WITHOUT,
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


def _make(path: Path) -> None:
    """Write an empty ledger. It gets its name once it is complete, so a killed process leaves a whole file or none."""
    if received.there(path):
        raise FileExistsError(path)
    with draft(path) as new:
        _set_up(new)


def _set_up(new: Path) -> None:
    with contextlib.closing(sqlite3.connect(new)) as connection:
        connection.execute("PRAGMA journal_mode = MEMORY")  # no journal file that a killed process could leave
        connection.executescript(SETUP)
        # so a named ledger never has a rollback journal (`_require_files`)
        connection.execute("PRAGMA journal_mode = WAL")


@contextlib.contextmanager
def rebuilt(path: Path, *, run: str, stamp: str) -> Iterator[tuple[Ledger | None, Ledger]]:
    """The old ledger (None if it is missing), and an empty one that replaces it if the block succeeds.

    The run is locked meanwhile. The old ledger is kept, with ``stamp`` in its name. ``run``: name of the run, for a
    missing anchor. If the process is killed, the old ledger is still there and this can be repeated. Raises
    RunHeldError, LedgerError.
    """
    with contextlib.ExitStack() as undo:
        lock = undo.enter_context(_held(path))
        left = _left_of(path)
        if left is not None:
            undo.enter_context(left)
        with _explained(path), draft(path, replace=True) as new:
            _set_up(new)
            with Ledger(new, _connect(new), None) as ledger:
                yield left, ledger
            if left is not None:
                left.close()
            _put_aside(path, stamp)
        if _read_anchor(path) is None and received.there(beside := anchors.beside(path)):
            _put_aside(beside, stamp)
        anchor = undo.enter_context(contextlib.closing(_anchor_of(path, run, lock)))
        with _explained(path):
            anchor.adopt(begun=True, **ledger.contents())


def _left_of(path: Path) -> Ledger | None:
    if not received.there(path):
        return None
    try:
        return Ledger.read(path)
    except UnprovenLedgerError:  # it cannot be read at all
        return None


def _put_aside(path: Path, stamp: str) -> None:
    """Rename a database and SQLite's files beside it, the log first, so that it is never replayed into a new file."""
    for suffix in ("-wal", "-shm", ""):
        file = path.with_name(path.name + suffix)
        if received.there(file):
            file.rename(path.with_name(f"{path.stem}-{stamp}{path.suffix}{suffix}"))


def _connect(path: Path) -> sqlite3.Connection:
    connection = _guarded(path, "mode=rw")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """Open for reading. In a read-only folder SQLite needs the log beside the ledger, or `immutable`."""
    try:
        return _connect(path)
    except sqlite3.OperationalError:
        log = _log_of(path)
        return _guarded(path, "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1")


def _guarded(path: Path, mode: str) -> sqlite3.Connection:
    """Open a SQLite file that may be hostile, without running anything in its schema.

    Follows SQLite's advice for untrusted files (https://www.sqlite.org/security.html). Raises LedgerError if its tables
    are not exactly ours, so that no query runs a foreign view, trigger or expression.
    """
    _require_files(path)
    # writes happen on worker threads, one at a time
    connection = sqlite3.connect(path.absolute().as_uri() + "?" + mode, uri=True, check_same_thread=False)
    try:
        connection.create_function("crc32", 1, zlib.crc32, deterministic=True)
        # texts of a damaged ledger can be any bytes
        connection.text_factory = lambda text: text.decode(errors="replace")
        for limit, most in _LIMITS.items():
            connection.setlimit(limit, most)
        for setting in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
            connection.execute(f"PRAGMA {setting}")
        with _bounded(connection, path):
            _require_tables(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _require_files(path: Path, *, own: bool = False) -> None:
    """Raises ReceivedError if a file that SQLite would open is not a plain file, LedgerError for a journal."""
    received.require_file(path, own=own)
    for name in ("-wal", "-shm"):
        beside = path.with_name(path.name + name)
        if received.there(beside):
            received.require_file(beside, own=own)
    # a rollback journal can name any file, and SQLite would delete that file after the rollback
    if received.there(journal := path.with_name(path.name + "-journal")):
        raise LedgerError(
            "there is a rollback journal beside the ledger, and bulkedit makes none.",
            where=str(journal),
            likely="Another program made it: SQLite would write its contents to the ledger.",
            hint="Ask who made the folder.",
        )


def _require_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Raises LedgerError if this is not a ledger of this version with exactly its tables."""
    found = _version(connection)
    if found == 0:
        raise UnprovenLedgerError(
            "this file is not a ledger.",
            where=str(path),
            likely="It was emptied or replaced.",
            hint=_WITHOUT,
            state=str(LedgerState.DAMAGED),
        )
    if found != SCHEMA:
        raise LedgerError(
            f"this ledger was written by {'an earlier' if found < SCHEMA else 'a later'} version of bulkedit.",
            where=str(path),
            hint="Use the version that began the run: run.json beside the ledger names it.",
        )
    with contextlib.closing(sqlite3.connect(":memory:")) as own:
        own.executescript(SETUP)
        ours = _tables(own)
    # read from sqlite_master: a file can define its own sqlite_schema, which is only an alias
    there = _tables(connection)
    if there != ours:
        names = [table[1] for table in (*there, *ours) if table not in ours or table not in there]
        raise LedgerError(
            f"the tables of this file are not those of a ledger: {names[0] if names else 'event'!a:.40}.",
            where=str(path),
            likely="Another program changed it: a view or a trigger in it could run foreign SQL.",
            hint="Nothing in it was run. Ask who made the folder.",
        )


def _version(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    return int(found)


def _tables(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    """Kind, name, table and statement of each schema entry, sorted; statements without comments and blanks."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM main.sqlite_master").fetchmany(_TABLES_AT_MOST + 1)
    return sorted((str(kind), str(name), str(table), _plain(str(sql))) for kind, name, table, sql in rows)


def _plain(sql: str) -> str:
    """A statement without `--` comments and blanks. Quotes and other comments remain, and ours have none."""
    return re.sub(r"\s+", "", re.sub(r"--[^\n]*", "", sql))


@contextlib.contextmanager
def _bounded(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Interrupt SQLite after far more steps than a file of this size needs: its pages may form a circle."""
    left = 100 * _STEPS + _STEPS_PER_BYTE * _size(path)

    def spent() -> bool:
        nonlocal left
        left -= _STEPS
        return left < 0

    connection.set_progress_handler(spent, _STEPS)
    try:
        yield
    except sqlite3.OperationalError:
        if left >= 0:
            raise
        raise LedgerError(
            "SQLite would never finish reading this file.",
            where=str(path),
            likely="It was damaged, or manipulated.",
            hint=_WITHOUT,
        ) from None
    finally:
        connection.set_progress_handler(None, 0)


def _size(path: Path) -> int:
    """Bytes of a ledger and its log."""
    log = _log_of(path)
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _checked(path: Path, *, tolerant: bool = False) -> tuple[sqlite3.Connection, str | None]:
    """Open an existing ledger of this version; with ``tolerant`` also a damaged one, and say what is wrong."""
    with _explained(path), contextlib.ExitStack() as undo:
        if not tolerant:
            _require_files(path, own=True)
        connection = undo.enter_context(contextlib.closing((_connect_to_read if tolerant else _connect)(path)))
        with _bounded(connection, path):
            damage = _damage(connection)
            if damage and not tolerant:
                raise sqlite3.DatabaseError(damage)
            if not damage:
                damage = _require_rows(connection, path)
                if damage and not tolerant:
                    raise sqlite3.DatabaseError(damage)
        undo.pop_all()
    return connection, damage


def _damage(connection: sqlite3.Connection) -> str | None:
    try:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        raise
    except UnicodeDecodeError:
        return "a text in it is not UTF-8"
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if verdict == "ok" else str(verdict).replace("\n", " ")


def _require_rows(connection: sqlite3.Connection, path: Path) -> str | None:
    """The fault of a damaged row. Raises LedgerError for an invalid row with a correct checksum."""
    damage = None
    for table in (name for _, name, *_ in _tables(connection)):
        query = f"SELECT EXISTS (SELECT 1 FROM {table} WHERE {_INVALID[table]})"  # noqa: S608 - names of our own
        if connection.execute(query).fetchone() == (0,):
            continue
        made = query[:-1].replace("WHERE ", "WHERE (") + f") AND checksum = crc32({_TEXTS[table]}))"
        if connection.execute(made).fetchone() != (0,):
            raise _invalid_row(path, table)
        damage = _not_as_written(table)
    return damage


def _invalid_row(path: Path, table: str) -> UnprovenLedgerError:
    return UnprovenLedgerError(
        f"table {table} has an invalid row.",
        where=str(path),
        likely="The file was damaged, or changed by hand.",
        hint=_WITHOUT,
        state=str(LedgerState.DAMAGED),
    )


class _explained:  # noqa: N801 - reads as a statement
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
                hint=f"To report what can still be read: bulkedit report RUN\n{_WITHOUT}",
                state=str(LedgerState.DAMAGED),
            ) from error
        if isinstance(error, sqlite3.Error) and _is_locked(error):
            raise LedgerLockedError(
                f"another program has locked the ledger ({error}).",
                where=str(self._path),
                likely="A backup program or a database viewer has it open.",
                hint="Nothing that was recorded is lost. Close that program, then continue with: bulkedit resume RUN",
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


def _held(path: Path) -> RunLock:
    """Lock the run of a ledger. Raises RunHeldError, LedgerError."""
    with _explained(path):
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
        with contextlib.closing(_guarded(path, "mode=ro")) as connection:
            found = connection.execute(_NEWEST).fetchone()
        if found is not None and found[1] == ProcessState.STARTED:
            return _named(found)
    return "another process"


# the newest row of table process
_NEWEST: Final = "SELECT process, state, pid, host, at FROM process ORDER BY rowid DESC LIMIT 1"


def _named(row: tuple[Any, ...]) -> str:
    """A process in words. ``row``: as `_NEWEST`."""
    _, _, pid, host, at = row
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    return f"process {pid} on {printable(host)[:_HOST]} since {since}"


_HOST: Final = 253  # characters of a host's name, at most


async def once_unlocked(work: Callable[[], _R], told: Callable[[float | None], None] = lambda _: None) -> _R:
    """Call a function that writes the ledger; if another program has locked it, again for `_LOCKED_FOR_S`.

    A call that has begun is finished although the task is cancelled. ``told`` is called with the time of the loop since
    when it waits, and with None when it waits no more. Raises LedgerLockedError, and what ``work`` raises.
    """
    since: float | None = None
    try:
        while True:
            try:
                done = await _at_once(work)
            except LedgerLockedError:
                now = anyio.current_time()
                if since is None:
                    log("ledger.locked", logging.WARNING)
                    told(since := now)
                if now - since >= _LOCKED_FOR_S:
                    raise
                await anyio.sleep(_LOCKED_AGAIN_S)  # and SQLite waits for some seconds in each call
            else:
                if since is not None:
                    log("ledger.unlocked", seconds=round(anyio.current_time() - since, 1))
                return done
    finally:
        if since is not None:
            told(None)


async def _at_once(work: Callable[[], _R], _: object = None) -> _R:
    """As `once_unlocked`, without waiting."""
    with anyio.CancelScope(shield=True):
        done = await run_blocking(work)
    return done  # noqa: RET504 - mypy does not know that the scope swallows nothing


_LOCKED_FOR_S: Final = 300.0
_LOCKED_AGAIN_S: Final = 1.0


class GroupCommit:
    """Commits records in groups on a worker thread, in the order in which they were given.

    Start `run` once, as a task. `note` queues a record and returns; `write` returns once it is durable. After an error
    of the ledger both raise it, and nothing more is written.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        noted: Callable[[Record], None] = lambda _: None,
        committed: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._noted = noted  # called with each record
        self._committed = committed  # called with the size of each group
        self._waiting: list[Record] = []
        self._wake = anyio.Event()
        self._durable = anyio.Event()  # set once the waiting records are durable
        self._fault: LedgerError | None = None
        self.locked_since: float | None = None  # time of the loop; another program has locked the ledger

    async def run(self) -> None:
        """Commit until cancelled; a commit that has begun is finished first."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            events, self._waiting = self._waiting, []
            durable, self._durable = self._durable, anyio.Event()
            if not events:
                continue
            try:
                await self._commit(events, once_unlocked)
            except anyio.get_cancelled_exc_class():
                self._waiting = events + self._waiting
                raise
            durable.set()

    async def _commit(self, events: list[Record], call: Callable[..., Awaitable[None]]) -> None:
        if self._fault is not None:
            return
        try:
            await call(partial(self._ledger.append, events), self._tell_locked)
        except LedgerError as error:
            self._fault = error
        else:
            self._committed(len(events))

    def _tell_locked(self, since: float | None) -> None:
        self.locked_since = since

    def note(self, event: Record) -> None:
        """Queue a record; it is durable before any later `write` returns."""
        if self._fault is not None:
            raise self._fault
        self._waiting.append(event)
        self._noted(event)
        self._wake.set()

    async def write(self, event: Event) -> None:
        """Queue an event and wait until it is durable."""
        self.note(event)
        durable = self._durable
        await durable.wait()
        if self._fault is not None:
            raise self._fault

    async def finish(self) -> None:
        """Commit the rest, after `run` has ended. Raises LedgerError if something is not durable."""
        if self._waiting:
            events, self._waiting = self._waiting, []
            await self._commit(events, _at_once)
        if self._fault is not None:
            raise self._fault
