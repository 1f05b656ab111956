"""The durable record of every call: intent, replies, call_outcomes.

One SQLite file in WAL mode, `synchronous=FULL`, written by one process. Rows are only ever appended; where a call
stands is the state of its last row. So a kill at any instant leaves a prefix of the truth, never a half-truth. The
ledger holds no value of an edit or of metadata: of a payload it keeps a keyed digest, whose key stays in the run.

Writes are committed in groups: while one commit is under way, all that arrives waits for the next one, so a call pays
for durability once, with all the calls beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sqlite3
import time
import zlib
from dataclasses import dataclass, fields
from enum import StrEnum
from hashlib import blake2b
from operator import attrgetter
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final, Self

import anyio
from anyio import to_thread

from bulkedit import _received as received
from bulkedit._files import draft, lock
from bulkedit.client.responses import CallState
from bulkedit.errors import LedgerError, ReceivedError, RunHeldError, UnprovenLedgerError
from bulkedit.runs import anchor as anchors
from bulkedit.runs.anchor import Anchor, AnchorMark

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from bulkedit.runs.anchor import LedgerContents

SCHEMA: Final = 3
_LOOK_S: Final = 0.05  # longer than a look at the lock takes
SETUP: Final = """
BEGIN;
CREATE TABLE event (
    seq        INTEGER PRIMARY KEY,  -- order of writing
    at         REAL NOT NULL,        -- epoch seconds
    call       INTEGER NOT NULL,     -- number of the call in the plan
    state      TEXT NOT NULL,        -- state of the call from here on
    expected_version INTEGER,        -- version that the request took for the latest
    version    INTEGER,              -- made by its update: an applied call's result, else what a failed update left
    attempts   INTEGER NOT NULL,     -- update requests sent so far
    throttles  INTEGER NOT NULL,     -- of these, refused for the quota
    faults     INTEGER NOT NULL,     -- lost answers and failed reads so far
    conflicts  INTEGER NOT NULL,     -- times another writer was there first
    reason     TEXT,                 -- error code or finding behind the state
    message    TEXT,                 -- the service's words, without values
    digest     TEXT,                 -- keyed digest of the payload, on intents
    expected_version_updated_at REAL, -- its updatedAt when the request left, epoch seconds
    checksum   INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
CREATE TABLE part (
    call       INTEGER PRIMARY KEY,  -- number of a call that is part of another; beyond those of the plan
    parent     INTEGER NOT NULL,     -- the call that was split
    edits      TEXT NOT NULL,        -- numbers of its edits in the plan, as a JSON array
    checksum   INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
CREATE TABLE pace (
    at         REAL NOT NULL,        -- epoch seconds
    quota      REAL NOT NULL,        -- updates a second that the run took for the quota from then on
    checksum   INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
CREATE TABLE made (
    call         INTEGER NOT NULL,  -- number of a call that copies an image set to a new one
    image_set_id TEXT NOT NULL,     -- the image set
    ours         INTEGER NOT NULL,  -- 1: what the call made; 0: was there before it, so it is not what the call made
    checksum     INTEGER NOT NULL DEFAULT 0  -- CRC-32 of the other columns
) STRICT;
PRAGMA user_version = 3;
COMMIT;
"""
_TABLES: Final = ("event", "part", "pace", "made")


def _exact(real: str) -> str:
    """A real number as two whole ones, which every version of SQLite writes alike."""
    return f"CAST({real} AS INTEGER), CAST(({real} - CAST({real} AS INTEGER)) * {_FRACTION}.0 AS INTEGER)"


_FRACTION: Final = 2**62
# the text of a row that its checksum is of; `_text_of_event` and others write the same
_EVENT_TEXT: Final = f"""'%d|%d|%s|%s|%s|%d|%d|%d|%d|%s|%s|%s|%d.%d|%s.%s', seq, call, state, expected_version,
    version, attempts, throttles, faults, conflicts, reason, message, digest, {_exact("at")},
    {_exact("expected_version_updated_at")}"""
_TEXTS: Final = {
    "event": f"CAST(printf({_EVENT_TEXT}) AS BLOB)",
    "part": "CAST(printf('%d|%d|%s', call, parent, edits) AS BLOB)",
    "pace": f"CAST(printf('%d.%d|%d.%d', {_exact('at')}, {_exact('quota')}) AS BLOB)",
    "made": "CAST(printf('%d|%s|%d', call, image_set_id, ours) AS BLOB)",
}
# what the digest of the events is of; one printf and not `||`, which takes twice as long
_SEALED: Final = f"CAST(printf('%d|' || {_EVENT_TEXT.replace(', seq', ', checksum, seq', 1)}) AS BLOB)"
# what a damaged ledger is read through: rows that are as they were written
_WHOLE_ROWS: Final = {
    table: f"SELECT rowid AS rowid, * FROM main.{table} WHERE checksum = crc32({text})"  # noqa: S608 - our names
    for table, text in _TEXTS.items()
}
_CHECKPOINT_PAGES: Final = 100  # of the log, after which it is written to the ledger itself
# rows that no ledger has, by table: what reads them takes numbers of 32 bits, and words of `CallState`
_LARGEST: Final = 2**32 - 1
_COUNTED: Final = ("expected_version", "version", "attempts", "throttles", "faults", "conflicts")
_STRANGE: Final = {
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
}
_TABLES_AT_MOST: Final = 2 * len(_STRANGE)
_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: 2**28,  # bytes of a row or a parameter; a resume names all calls in one
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
}
_STEPS: Final = 100_000  # of SQLite's machine, between two looks at how many there were
_STEPS_PER_BYTE: Final = 100  # of a file that is checked; an honest one takes about two
_LOCK_BYTES: Final = 4096
_LOCKED: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
ASSUME_UNKNOWN: Final = (
    "bulkedit resume RUN --assume-unknown: it keeps this ledger under another name, and compares each call without "
    "proof with its image set before anything is sent"
)
_WITHOUT: Final = (
    "Nothing was sent. If a newer ledger.sqlite and ledger.sqlite-wal are still somewhere, put both back. Without "
    f"them: {ASSUME_UNKNOWN}."
)


class LedgerState(StrEnum):
    """What a ledger is worth, held against the anchor beside it (`bulkedit.runs.anchor`)."""

    NOT_BEGUN = "not begun"
    WHOLE = "whole"
    BEHIND = "behind"  # events that were written are not in it
    DAMAGED = "damaged"  # rows of it are not as they were written
    MISSING = "missing"
    UNANCHORED = "unanchored"  # without an anchor nothing tells what should be in it
    COPIED = "copied"  # whole, but what the run did elsewhere after it was copied is not in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of the ledger: from here on the call stands so."""

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
    """A call that is part of a split one."""

    call: int
    parent: int
    edits: list[int]


@dataclass(frozen=True, slots=True)
class Pace:
    """From here on the run takes this for the quota of updates."""

    at: float  # epoch seconds
    quota: float  # a second


@dataclass(frozen=True, slots=True)
class Made:
    """An image set that a call made; or, where it is not ``ours``, one of the same series that was there before."""

    call: int
    image_set_id: str
    ours: bool = True


Record = Event | Part | Pace | Made


_CHUNK: Final = 50_000  # rows
_NAMES: Final = [field.name for field in fields(Event)]
_COLUMNS: Final = ", ".join(_NAMES)
_values: Final = attrgetter(*_NAMES)


def _insert(table: str, *columns: str) -> str:
    places = ", ".join("?" * (len(columns) + 1))
    return f"INSERT INTO {table} ({', '.join(columns)}, checksum) VALUES ({places})"  # noqa: S608 - names of our own


_INSERTS: Final = {
    "event": _insert("event", "seq", *_NAMES),
    "part": _insert("part", "call", "parent", "edits"),
    "pace": _insert("pace", "at", "quota"),
    "made": _insert("made", "call", "image_set_id", "ours"),
}

# what is asked of the last row of a call
LAST_ROW: Final = (
    *(
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
    ),
    "expected_version_updated_at",
)


@dataclass(frozen=True, slots=True)
class Codes:
    """The state of every call as a code: 0 for one that was never begun."""

    names: dict[int, str]  # code to `CallState`
    of_call: bytearray


class Ledger:
    """The ledger of one run. Its methods block; `GroupCommit` carries them off the event loop."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        lock: IO[bytes] | None,
        content: _Content | None = None,
        anchor: Anchor | None = None,
    ) -> None:
        self.path = path
        self.damage: str | None = None  # what is wrong with a ledger that was opened to be read all the same
        self.state = LedgerState.WHOLE
        self.words = ""  # about the state, if it is not whole
        self._connection = connection
        self._lock = lock
        self._file = _identity(path)
        self._content = content or _Content()
        self._anchor = anchor
        self._read_once: tuple[int, Codes] | None = None  # changes made so far, and `last_codes` then

    @classmethod
    def create(cls, path: Path) -> Ledger:
        """Start a new ledger and hold it, with an anchor if there is none yet.

        Raises RunHeldError, UnprovenLedgerError if there was a ledger before, LedgerError.
        """
        with contextlib.ExitStack() as undo:
            lock = undo.enter_context(_hold(path))
            anchor = undo.enter_context(contextlib.closing(_anchor_of(path, anchors.new_run())))
            if anchor.mark.begun and not received.there(path):
                raise missing(path)
            with _explained(path):
                _make(path)
                connection = undo.enter_context(contextlib.closing(_connect(path)))
                anchor.write(begun=True)
            undo.pop_all()
        return cls(path, connection, lock, anchor=anchor)

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """Go on with a ledger and hold it.

        Raises RunHeldError, UnprovenLedgerError if it does not hold what its anchor tells, LedgerError.
        """
        with contextlib.ExitStack() as undo:
            lock = undo.enter_context(_hold(path))
            told = _told(path)
            if not received.there(path):
                raise missing(path)
            connection, _ = _checked(path)
            undo.enter_context(contextlib.closing(connection))
            if told is None:
                raise _unproven(path, LedgerState.UNANCHORED)
            with _explained(path):
                content, state, words = _compared(connection, told.mark, path)
            if told.is_copy:
                state = LedgerState.COPIED
            if state is not LedgerState.WHOLE:
                raise _unproven(path, state, words)
            anchor = undo.enter_context(contextlib.closing(_anchor_of(path, anchors.new_run())))
            with _explained(path):
                anchor.write(begun=True, **content.told())
            undo.pop_all()
        return cls(path, connection, lock, content, anchor)

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Look into a ledger, also while another process writes it. Raises LedgerError.

        `state` says what it is worth. Of one that is damaged, `damage` says how, and what can still be read is read.
        """
        told = _told(path)  # before the ledger, which may go on meanwhile
        connection, damage = _checked(path, tolerant=True)
        ledger = cls(path, connection, None)
        try:
            with _explained(path):
                ledger._look_through(told, damage)
        except BaseException:
            connection.close()
            raise
        return ledger

    _last_look: ClassVar[tuple[Any, LedgerState, str] | None] = None

    def _worth(self, mark: AnchorMark | None) -> tuple[LedgerState, str]:
        """As `_compared`; one command reads a ledger several times, and a large one takes seconds."""
        files = [self.path, self.path.with_name(self.path.name + "-wal")]
        found = [(file.stat().st_ino, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
        key = (self.path.absolute(), repr(mark), found)
        if Ledger._last_look is None or Ledger._last_look[0] != key:
            _, state, words = _compared(self._connection, mark, self.path)
            Ledger._last_look = key, state, words
        return Ledger._last_look[1], Ledger._last_look[2]

    def require_whole(self) -> None:
        """Raises UnprovenLedgerError if something that was written is not in it."""
        if self.state in {LedgerState.BEHIND, LedgerState.DAMAGED}:
            raise _unproven(self.path, self.state, self.words)

    def _look_through(self, told: anchors.Told | None, damage: str | None) -> None:
        if damage is None:
            self.state, self.words = self._worth(told.mark if told else None)
            if self.state is LedgerState.WHOLE:
                self.state = LedgerState.COPIED if told and told.is_copy else self.state
                self.state = LedgerState.UNANCHORED if told is None else self.state
            damage = self.words if self.state is LedgerState.DAMAGED else None
        if damage is None:
            self._connection.execute("PRAGMA query_only = ON")
            return
        self.damage, self.state, self.words = damage, LedgerState.DAMAGED, damage
        _view(self._connection, _WHOLE_ROWS)

    def append(self, records: Sequence[Record]) -> None:
        """Write records; they are durable when this returns. Raises LedgerError: then nothing may rest on them."""
        new = self._content.copy()
        rows = new.take(records)
        with _explained(self.path):
            with self._connection:
                if _identity(self.path) != self._file:
                    # SQLite would go on writing to a file that nobody can find any more
                    raise FileNotFoundError("it is not in its folder any more")
                for table, values in rows.items():
                    self._connection.executemany(_INSERTS[table], values)
            if self._anchor is not None:
                self._anchor.write(**new.told())
        self._content = new

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
            raise _strange(self.path, "part") from None

    def require_calls(self, planned: int) -> None:
        """Raises LedgerError if it has calls that are neither of a plan with so many, nor parts of such."""
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
                likely="The ledger is of another run.",
                hint=_WITHOUT,
            )

    def made(self) -> list[Made]:
        """What calls have made by copying, and what was there before them, in the order of writing."""
        query = "SELECT call, image_set_id, ours FROM made ORDER BY rowid"
        with _explained(self.path):
            rows = self._readable(query) if self.damage else self._connection.execute(query).fetchall()
        return [Made(call, image_set_id, bool(ours)) for call, image_set_id, ours in rows]

    def last_rows(self, columns: Collection[str] = LAST_ROW) -> Iterator[list[tuple[Any, ...]]]:
        """The last event of every call that was ever begun, in batches: ``columns`` of `LAST_ROW`; any order."""
        names = ", ".join(name for name in LAST_ROW if name in columns)
        if self.damage:
            found = self._readable(f"SELECT call, {names} FROM event ORDER BY seq")  # noqa: S608 - constant names
            yield list({row[0]: row[1:] for row in found}.values())
            return
        # SQLite takes the other columns from the row that holds the maximum
        query = f"SELECT {names}, max(seq) FROM event GROUP BY call ORDER BY call"  # noqa: S608 - constant names
        for rows in self.batches(query):
            yield [row[:-1] for row in rows]

    def batches(self, query: str) -> Iterator[list[tuple[Any, ...]]]:
        """What a query finds, fetched in batches: all rows at once take ten times as much memory as a frame of them.

        Of a damaged ledger, what can be read of it.
        """
        if self.damage:
            yield self._readable(query)
            return
        with _explained(self.path):
            cursor = self._connection.execute(query)
            while rows := cursor.fetchmany(_CHUNK):
                yield rows

    def last_codes(self) -> Codes:
        """Where every call stands that was ever begun, and nothing more.

        One pass over the ledger that holds a byte a call, so that a run of millions goes on in seconds.
        """
        kept, self._read_once = self._read_once, None
        changes = self._connection.total_changes
        if kept is not None and kept[0] == changes and self._lock is not None:
            return kept[1]  # a resume asks twice, and nobody else writes
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

    def versions_told(
        self, calls: Collection[int], *, reason: str
    ) -> Iterator[tuple[int, str, int | None, int | None, bool]]:
        """Of each event of these calls, in order: call, state, expected version, version, has it this ``reason``."""
        query = """SELECT call, state, expected_version, version, reason IS ? FROM event
                   WHERE call IN (SELECT value FROM json_each(?)) ORDER BY seq"""
        with _explained(self.path):
            for call, state, expected_version, version, caused in self._connection.execute(
                query, (reason, json.dumps(sorted(calls)))
            ):
                yield call, state, expected_version, version, bool(caused)

    def has_reused_versions(self) -> bool:
        """Whether a failed update has left the version that it was built on, so that its number goes to the next."""
        query = "SELECT EXISTS (SELECT 1 FROM event WHERE version = expected_version)"
        with _explained(self.path):
            return bool(self._connection.execute(query).fetchone()[0])

    def told(self) -> LedgerContents:
        """What the anchor of this ledger has to tell."""
        return self._content.told()

    def whole_events(self) -> Iterator[Event]:
        """The events that are as they were written, in their order; others are left out."""
        query = f"SELECT {_COLUMNS} FROM event ORDER BY seq"  # noqa: S608 - our names
        with contextlib.suppress(sqlite3.DatabaseError):
            for row in self._connection.execute(query):
                found = dict(zip(_NAMES, row, strict=True))
                yield Event(**{**found, "state": CallState(found["state"])})

    def _readable(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a damaged ledger, up to where it cannot be read."""
        rows: list[tuple[Any, ...]] = []
        most = _size(self.path)  # a row has more than one byte
        with contextlib.suppress(sqlite3.DatabaseError):
            for row in self._connection.execute(query):
                if row[0] is None:  # what was overwritten with zeros can look like rows; no row begins with NULL
                    break
                rows.append(row)
                if len(rows) > most:  # pages that lead back to one another
                    break
        return rows

    def events(self) -> Iterator[dict[str, Any]]:
        """Every row in the order of writing."""
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
        """Let go of the run."""
        with _explained(self.path):
            self._connection.close()
        if self._anchor is not None:
            self._anchor.close()
            self._anchor = None
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Content:
    """What a ledger holds, as its anchor tells it."""

    def __init__(self) -> None:
        self.events = 0
        self.rows = dict.fromkeys(_TABLES[1:], 0)
        self.digest = blake2b(digest_size=16)

    def copy(self) -> _Content:
        """The same, which goes its own way."""
        other = _Content()
        other.events, other.rows, other.digest = self.events, dict(self.rows), self.digest.copy()
        return other

    def told(self) -> LedgerContents:
        """What an anchor tells of it."""
        return {"events": self.events, "digest": self.digest.hexdigest(), "rows": dict(self.rows)}

    def take(self, records: Sequence[Record]) -> dict[str, list[tuple[Any, ...]]]:
        """Count records in, and return them as rows by table."""
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


def _row(record: Part | Pace | Made) -> tuple[str, tuple[Any, ...], bytes]:
    """Table, values, and the text that the checksum is of."""
    if isinstance(record, Part):
        edits = json.dumps(record.edits)
        return "part", (record.call, record.parent, edits), f"{record.call}|{record.parent}|{edits}".encode()
    if isinstance(record, Pace):
        return "pace", (record.at, record.quota), f"{_whole(record.at)}|{_whole(record.quota)}".encode()
    values = (record.call, record.image_set_id, int(record.ours))
    return "made", values, "|".join(map(str, values)).encode()


def _text_of_event(values: tuple[Any, ...]) -> bytes:
    """As `_EVENT_TEXT`. ``values``: seq, and those of an event."""
    seq, at, *others, updated_at = values
    text = "|".join("" if other is None else str(other) for other in (seq, *others))
    return f"{text}|{_whole(at)}|{'.' if updated_at is None else _whole(updated_at)}".encode()


def _whole(real: float) -> str:
    """As `_exact`."""
    return f"{int(real)}.{int((real - int(real)) * _FRACTION)}"


def _compared(connection: sqlite3.Connection, mark: AnchorMark | None, path: Path) -> tuple[_Content, LedgerState, str]:
    """What a ledger holds, and what it is worth; without an anchor each row is held against its own checksum only.

    Blocks for some seconds if there are millions of events.
    """
    content, expected = _Content(), 0 if mark is None else mark.events
    with _bounded(connection, path):
        cursor = connection.execute(f"SELECT {_SEALED} FROM event ORDER BY seq")  # noqa: S608 - our names
        while content.events < expected:
            rows = cursor.fetchmany(min(_SEALED_AT_ONCE, expected - content.events))
            if not rows:
                return content, LedgerState.BEHIND, f"it has {content.events:,} of {expected:,} events"
            content.digest.update(b"".join([row[0] + b"\n" for row in rows]))
            content.events += len(rows)
        if mark is not None and content.digest.hexdigest() != mark.digest:
            return content, LedgerState.DAMAGED, "its events are not those that were written"
        for (row,) in cursor:  # at most what a kill kept from the anchor, unless there was none
            content.events += 1
            content.digest.update(row + b"\n")
            number, _, text = row.partition(b"|")
            if int(number) != zlib.crc32(text) or not text.startswith(b"%d|" % content.events):
                return content, LedgerState.DAMAGED, f"event {content.events:,} is not as it was written"
        for table in _TABLES[1:]:
            damage, content.rows[table] = _rows_of(connection, table)
            if damage:
                return content, LedgerState.DAMAGED, f"a row of table {table} is not as it was written"
            if mark is not None and content.rows[table] < mark.rows.get(table, 0):
                return (
                    content,
                    LedgerState.BEHIND,
                    f"table {table} has {content.rows[table]:,} of {mark.rows[table]:,} rows",
                )
    return content, LedgerState.WHOLE, ""


_SEALED_AT_ONCE: Final = 4096  # rows


def _rows_of(connection: sqlite3.Connection, table: str) -> tuple[bool, int]:
    """Whether a row of a table is damaged, and how many rows it has."""
    query = f"SELECT coalesce(sum(checksum IS NOT crc32({_TEXTS[table]})), 0), count(*) FROM {table}"  # noqa: S608
    damaged, count = connection.execute(query).fetchone()
    return bool(damaged), int(count)


def _view(connection: sqlite3.Connection, views: dict[str, str]) -> None:
    """Put views in the place of tables, for this connection only."""
    for table, query in views.items():
        connection.execute(f"CREATE TEMP VIEW {table} AS {query}")


def _anchor_of(path: Path, run: str) -> Anchor:
    """The anchor of a ledger; a new one of this run if there is none. Raises UnprovenLedgerError, LedgerError."""
    beside = anchors.beside(path)
    with _explained(beside):
        try:
            return Anchor.open(beside) if received.there(beside) else Anchor.create(beside, run)
        except anchors.IllegibleError:
            raise _unproven(path, LedgerState.UNANCHORED) from None


def _told(path: Path) -> anchors.Told | None:
    """What the anchor of a ledger tells; None if there is none, or none that can be read. Raises LedgerError."""
    beside = anchors.beside(path)
    with _explained(beside):
        try:
            return anchors.read(beside)
        except anchors.IllegibleError:
            return None


def missing(path: Path) -> UnprovenLedgerError:
    """The error for the ledger of a run that was begun, and that is not there."""
    return _unproven(path, LedgerState.MISSING)


def _unproven(path: Path, state: LedgerState, words: str = "") -> UnprovenLedgerError:
    what, likely, hint = _UNPROVEN[state]
    return UnprovenLedgerError(what.format(words or state), where=str(path), likely=likely, hint=hint, state=str(state))


_UNPROVEN: Final = {
    LedgerState.MISSING: (
        "the ledger of this run is missing, so nothing tells which calls were sent.",
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
        "ledger.anchor, which tells what the ledger has to hold, is missing or cannot be read.",
        "It was deleted, or it was left out when the folder was copied.",
        f"Nothing was sent. If it is still somewhere, put it back. Without it: {ASSUME_UNKNOWN}.",
    ),
    LedgerState.COPIED: (
        "this folder is a copy: the run was begun in another place.",
        (
            "It was copied, put back from a backup, or moved to another disk. What the run sent from the other place "
            "since is not in this ledger."
        ),
        (
            "Nothing was sent. Go on in the other place. If you have moved the run, delete what is left of it there, "
            f"so that only one goes on, and type: {ASSUME_UNKNOWN}."
        ),
    ),
}


def _make(path: Path) -> None:
    """Write an empty ledger; it appears under its name only when it is whole, so a kill leaves all of it or none."""
    if received.there(path):
        raise FileExistsError(path)
    with draft(path) as new:
        _set_up(new)


def _set_up(new: Path) -> None:
    with contextlib.closing(sqlite3.connect(new)) as connection:
        connection.execute("PRAGMA journal_mode = MEMORY")  # no second file that a kill could leave
        connection.executescript(SETUP)
        # of a ledger under its own name there is never a rollback journal (`_require_files`)
        connection.execute("PRAGMA journal_mode = WAL")


@contextlib.contextmanager
def rebuilt(path: Path, *, run: str, stamp: str) -> Iterator[tuple[Ledger | None, Ledger]]:
    """What is left of a ledger, None if nothing is, and an empty one that takes its place when the block ends well.

    The run is held meanwhile. The former ledger is kept, with ``stamp`` in its name. ``run``: name of the run, for an
    anchor that is missing. After a kill in it the ledger is as unproven as before, and the same can be done again.
    Raises RunHeldError, LedgerError.
    """
    with contextlib.ExitStack() as undo:
        undo.enter_context(_hold(path))
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
        if _told(path) is None and received.there(beside := anchors.beside(path)):
            _put_aside(beside, stamp)
        anchor = undo.enter_context(contextlib.closing(_anchor_of(path, run)))
        with _explained(path):
            anchor.adopt(begun=True, **ledger.told())


def _left_of(path: Path) -> Ledger | None:
    if not received.there(path):
        return None
    try:
        return Ledger.read(path)
    except UnprovenLedgerError:  # there is nothing to read
        return None


def _put_aside(path: Path, stamp: str) -> None:
    """Give a file and what SQLite has beside it another name, the log first: it must not be read into another file."""
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
    """Where nothing may be written, SQLite reads a ledger whose log is beside it, or one that nobody is writing."""
    try:
        return _connect(path)
    except sqlite3.OperationalError:
        log = path.with_name(path.name + "-wal")
        return _guarded(path, "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1")


def _guarded(path: Path, way: str) -> sqlite3.Connection:
    """Open a file of SQLite that may come from anywhere: nothing that its schema holds is run.

    This is what SQLite advises for such files (https://www.sqlite.org/security.html). Raises LedgerError if its tables
    are not exactly ours, so that no query meets a view, a trigger or an expression of others.
    """
    _require_files(path)
    # writes happen on worker threads, one at a time
    connection = sqlite3.connect(path.absolute().as_uri() + "?" + way, uri=True, check_same_thread=False)
    try:
        connection.create_function("crc32", 1, zlib.crc32, deterministic=True)
        # of a damaged ledger texts can be anything
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
    """Raises ReceivedError if one of the files that SQLite would open by its path is not as a ledger has it."""
    received.require_file(path, own=own)
    for name in ("-wal", "-shm"):
        beside = path.with_name(path.name + name)
        if received.there(beside):
            received.require_file(beside, own=own)
    # a rollback journal can name any file, and SQLite would delete that one after playing the journal back
    if received.there(journal := path.with_name(path.name + "-journal")):
        raise LedgerError(
            "there is a rollback journal beside the ledger, and bulkedit makes none.",
            where=str(journal),
            likely="Someone has put it there: SQLite would write to the ledger what is in it.",
            hint="Ask who made the folder.",
        )


def _require_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Raises LedgerError if this is no ledger of this version, or if it has more or other tables than one."""
    found = _version(connection)
    if found == 0:
        raise UnprovenLedgerError(
            "this file is no ledger.",
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
    # the name that no entry of a schema can take from SQLite: sqlite_schema is only an alias
    there = _tables(connection)
    if there != ours:
        names = [table[1] for table in (*there, *ours) if table not in ours or table not in there]
        raise LedgerError(
            f"the tables of this file are not those of a ledger: {names[0] if names else 'event'!a:.40}.",
            where=str(path),
            likely="Someone has changed it: a view or a trigger in it would run what they wrote.",
            hint="Nothing of it was run. Ask who made the folder.",
        )


def _version(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    return int(found)


def _tables(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    """Kind, name, table and statement of all that a database has, by name; statements without comments and blanks."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM main.sqlite_master").fetchmany(_TABLES_AT_MOST + 1)
    return sorted((str(kind), str(name), str(table), _plain(str(sql))) for kind, name, table, sql in rows)


def _plain(sql: str) -> str:
    """A statement without comments to the end of the line, and without blanks.

    Whatever else could hide a comment's signs (quotes, comments of other kinds) is still there, and in no statement of
    ours.
    """
    return re.sub(r"\s+", "", re.sub(r"--[^\n]*", "", sql))


@contextlib.contextmanager
def _bounded(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """End what takes far more steps than a file of this size is worth: pages can lead back to one another."""
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
            "this file would take SQLite for ever to read.",
            where=str(path),
            likely="It was damaged, or made to.",
            hint=_WITHOUT,
        ) from None
    finally:
        connection.set_progress_handler(None, 0)


def _size(path: Path) -> int:
    """Bytes of a ledger and its log."""
    log = path.with_name(path.name + "-wal")
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _checked(path: Path, *, tolerant: bool = False) -> tuple[sqlite3.Connection, str | None]:
    """Open an existing ledger of this version; what is wrong with it where that is tolerated."""
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
        return "a text in it is no UTF-8"
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if verdict == "ok" else str(verdict).replace("\n", " ")


def _require_rows(connection: sqlite3.Connection, path: Path) -> str | None:
    """What is wrong with rows that were damaged. Raises LedgerError for rows that were made so, which no ledger has."""
    damage = None
    for table in (name for _, name, *_ in _tables(connection)):
        query = f"SELECT EXISTS (SELECT 1 FROM {table} WHERE {_STRANGE[table]})"  # noqa: S608 - names of our own
        if connection.execute(query).fetchone() == (0,):
            continue
        made = query[:-1].replace("WHERE ", "WHERE (") + f") AND checksum = crc32({_TEXTS[table]}))"
        if connection.execute(made).fetchone() != (0,):
            raise _strange(path, table)
        damage = f"a row of table {table} is not as it was written"
    return damage


def _strange(path: Path, table: str) -> UnprovenLedgerError:
    return UnprovenLedgerError(
        f"table {table} has a row that no ledger has.",
        where=str(path),
        likely="The file was damaged, or changed by hand.",
        hint=_WITHOUT,
        state=str(LedgerState.DAMAGED),
    )


class _explained:  # noqa: N801 - reads as a statement
    """Turns faults of disk and database into LedgerError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, FileExistsError):
            raise LedgerError("there is a ledger already.", where=str(self._path)) from error
        if isinstance(error, ReceivedError):
            raise LedgerError(error.what, where=error.where, likely=error.likely, hint=error.hint) from error
        # SQLite's own words about a damaged file may quote it, and what is in it can be anything
        no_text = isinstance(error, UnicodeDecodeError)
        if no_text or (isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)):
            raise UnprovenLedgerError(
                f"the ledger is damaged ({'a text in it is no UTF-8' if no_text else error}).",
                where=str(self._path),
                likely="The disk failed, or the file was changed by hand.",
                hint=f"What can still be read of it: bulkedit report RUN\n{_WITHOUT}",
                state=str(LedgerState.DAMAGED),
            ) from error
        if isinstance(error, sqlite3.Error) and _is_locked(error):
            raise LedgerError(
                f"another program has the ledger open ({error}).",
                where=str(self._path),
                likely="A backup is copying it, or a program that shows databases has it open.",
                hint="Nothing that was recorded is lost. Close that program, then go on with: bulkedit resume RUN",
            ) from error
        if isinstance(error, sqlite3.Error | OSError):
            raise LedgerError(
                f"the ledger cannot be used ({getattr(error, 'strerror', None) or error}).",
                where=str(self._path),
                likely="The disk may be full or read-only, or the folder may be gone.",
                hint="Nothing that was recorded is lost. Make room, then go on with: bulkedit resume RUN",
            ) from error


def _is_locked(error: sqlite3.Error) -> bool:
    """Whether another program holds the file: the last byte of a code is its kind (sqlite.org/rescode.html)."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _LOCKED


def _hold(path: Path) -> IO[bytes]:
    """Hold the run: the operating system lets go of a dead process's lock by itself. Raises RunHeldError."""
    with _explained(path), contextlib.ExitStack() as undo:
        file = undo.enter_context(received.opened_to_write(path.with_name("run.lock")))
        try:
            _lock(file)
        except BlockingIOError as error:
            raise RunHeldError(
                f"this run is held by {_holder(file)}.",
                where=str(path.parent),
                hint="Wait for it to end, or stop it (a first Ctrl-C there lets it finish what it has begun).",
            ) from error
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), json.dumps(holder).encode())
        undo.pop_all()
    return file


def _lock(file: IO[bytes]) -> None:
    """Take the lock; once more after a moment, because `is_held` may be looking. Raises BlockingIOError."""
    try:
        lock(file)
    except BlockingIOError:
        time.sleep(_LOOK_S)
        lock(file)


def is_held(path: Path) -> bool:
    """Whether a process works on the run of this ledger now."""
    try:
        with received.opened(path.with_name("run.lock")) as file:
            lock(file, shared=True)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _holder(file: IO[bytes]) -> str:
    try:
        found = received.json_object(file.read(_LOCK_BYTES), "run.lock")
        text = f"process {found['pid']} on {found['host']} since {found['since']}"
    except (ReceivedError, KeyError):
        return "another process"
    return text if text.isprintable() and len(text) < _LOCK_BYTES // 16 else "another process"


class GroupCommit:
    """Commits events in groups, off the event loop, in the order in which they were handed over.

    `run` is a task of its own, started once. `note` hands an event over and goes on; `write` returns once it is
    durable. After a fault of the ledger both raise it, and nothing more is written.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        noted: Callable[[Record], None] = lambda _: None,
        committed: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._noted = noted  # told each record that is handed over
        self._committed = committed  # told the size of each group
        self._waiting: list[Record] = []
        self._wake = anyio.Event()
        self._durable = anyio.Event()  # of the events that are waiting now
        self._fault: LedgerError | None = None

    async def run(self) -> None:
        """Commit until cancelled; a group that is on its way is finished first."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            events, self._waiting = self._waiting, []
            durable, self._durable = self._durable, anyio.Event()
            if not events:
                continue
            await self._commit(events)
            durable.set()

    async def _commit(self, events: list[Record]) -> None:
        if self._fault is not None:
            return
        try:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self._ledger.append, events)
        except LedgerError as error:
            self._fault = error
        else:
            self._committed(len(events))

    def note(self, event: Record) -> None:
        """Hand a record over; it is durable before any later `write` returns."""
        if self._fault is not None:
            raise self._fault
        self._waiting.append(event)
        self._noted(event)
        self._wake.set()

    async def write(self, event: Event) -> None:
        """Hand an event over and wait until it is durable."""
        self.note(event)
        durable = self._durable
        await durable.wait()
        if self._fault is not None:
            raise self._fault

    async def finish(self) -> None:
        """Commit what is left, once `run` has ended. Raises LedgerError where something is not durable."""
        if self._waiting:
            events, self._waiting = self._waiting, []
            await self._commit(events)
        if self._fault is not None:
            raise self._fault
