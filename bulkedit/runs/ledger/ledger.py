"""The ledger of one run: opened by one writer or by many readers."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from bulkedit import _received as received
from bulkedit.client.responses import CallState
from bulkedit.errors import LedgerError, RunHeldError, UnprovenLedgerError
from bulkedit.runs import anchor as anchors
from bulkedit.runs.ledger.comparison import anchor_of, compared, hide_damaged_rows, read_anchor
from bulkedit.runs.ledger.faults import WITHOUT, LedgerState, explained, invalid_row, missing, not_as_written, unproven
from bulkedit.runs.ledger.lock import RunLock, held, named_process
from bulkedit.runs.ledger.opening import (
    bounded,
    checked,
    connect,
    connect_to_read,
    log_of,
    make_file,
    place_of,
    size_of,
)
from bulkedit.runs.ledger.records import (
    Event,
    Made,
    Part,
    ProcessRecord,
    ProcessState,
    Record,
    RequestRecord,
    SettingRecord,
)
from bulkedit.runs.ledger.rows import AnchoredRows
from bulkedit.runs.ledger.schema import (
    EVENT_COLUMNS,
    EVENT_NAMES,
    INSERTS,
    INVALID,
    LAST_ROW,
    NEWEST_PROCESS,
    PROCESS_NAMES,
    REQUEST_NAMES,
    SETTING_NAMES,
    TEXTS,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from bulkedit.runs.anchor import Anchor, AnchorMark, LedgerContents


_CHUNK: Final = 50_000  # rows


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
        content: AnchoredRows | None = None,
        anchor: Anchor | None = None,
    ) -> None:
        self.path = path
        self.damage: str | None = None  # the fault of a damaged ledger that was opened for reading
        self.state = LedgerState.WHOLE
        self.detail = ""  # why it is not whole
        self._connection = connection
        self._lock = lock
        self._file = place_of(path)
        self._log: tuple[int, int] | None = None  # place of SQLite's log, once it was written
        self._content = content or AnchoredRows()
        self._anchor = anchor
        self._process: ProcessRecord | None = None  # this process, while it works on the run
        self._read_once: tuple[int, Codes] | None = None  # cache of `last_codes`, with the number of changes then

    @classmethod
    def create(cls, path: Path) -> Ledger:
        """Make a new ledger, and an anchor if it is missing, and lock the run.

        Raises RunHeldError, UnprovenLedgerError if the run had a ledger before, LedgerError.
        """
        with contextlib.ExitStack() as undo:
            lock = undo.enter_context(held(path))
            anchor = undo.enter_context(contextlib.closing(anchor_of(path, anchors.new_run(), lock)))
            if anchor.mark.begun and not received.there(path):
                raise missing(path)
            with explained(path):
                make_file(path)
                connection = undo.enter_context(contextlib.closing(connect(path)))
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
            lock = undo.enter_context(held(path))
            anchored = read_anchor(path)
            if not received.there(path):
                raise missing(path)
            connection, _ = checked(path)
            undo.enter_context(contextlib.closing(connection))
            if anchored is None:
                raise unproven(path, LedgerState.UNANCHORED)
            with explained(path):
                content, state, detail = compared(connection, anchored.mark, path)
            if anchored.is_copy:
                state = LedgerState.COPIED
            if state is not LedgerState.WHOLE:
                raise unproven(path, state, detail)
            anchor = undo.enter_context(contextlib.closing(anchor_of(path, anchors.new_run(), lock)))
            with explained(path):
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
        anchored = read_anchor(path)  # before the ledger, which another process may extend
        connection, damage = checked(path, tolerant=True)
        ledger = cls(path, connection, None)
        try:
            with explained(path):
                ledger._check(anchored, damage)
        except BaseException:
            connection.close()
            raise
        return ledger

    _last_comparison: ClassVar[tuple[Any, LedgerState, str] | None] = None

    def _compared_once(self, mark: AnchorMark | None) -> tuple[LedgerState, str]:
        """`compared`, cached: one command reads a ledger several times, and a large one takes seconds."""
        files = [self.path, log_of(self.path)]
        found = [(file.stat().st_ino, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
        key = (self.path.absolute(), repr(mark), found)
        if Ledger._last_comparison is None or Ledger._last_comparison[0] != key:
            _, state, detail = compared(self._connection, mark, self.path)
            Ledger._last_comparison = key, state, detail
        return Ledger._last_comparison[1], Ledger._last_comparison[2]

    def require_whole(self) -> None:
        """Raises UnprovenLedgerError if rows are missing or damaged."""
        if self.state in {LedgerState.BEHIND, LedgerState.DAMAGED}:
            raise unproven(self.path, self.state, self.detail)

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
        hide_damaged_rows(self._connection)

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
        with explained(self.path):
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")  # what is checked holds until the commit
                self._require_files_in_place()
                self._require_only_writer()
                for table, values in rows.items():
                    self._connection.executemany(INSERTS[table], values)
            if self._anchor is not None:
                self._anchor.write(**new.contents())
        self._content = new

    def _require_files_in_place(self) -> None:
        """Raises FileNotFoundError: SQLite would continue to write to a deleted file."""
        if place_of(self.path) != self._file:
            raise FileNotFoundError("it is not in its folder any more")
        log = place_of(log_of(self.path))
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
        found = self._connection.execute(NEWEST_PROCESS).fetchone()
        if found is None or found[0] != self._process.process:
            raise self._overtaken("another process" if found is None else named_process(found))

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
        with explained(self.path):
            query = "SELECT call, parent, edits FROM part ORDER BY call"
            rows = self._readable(query) if self.damage else self._connection.execute(query).fetchall()
        return [Part(call, parent, self._edits(edits)) for call, parent, edits in rows]

    def _edits(self, text: str) -> list[int]:
        numbers = text.strip().removeprefix("[").removesuffix("]").split(",")
        try:
            return [int(number) for number in numbers]
        except ValueError:
            raise invalid_row(self.path, "part") from None

    def require_calls(self, planned: int) -> None:
        """Raises LedgerError if it has calls that are not in the plan. ``planned``: number of calls in the plan."""
        query = """
            SELECT EXISTS (SELECT 1 FROM part WHERE call < :planned)
                OR EXISTS (SELECT 1 FROM part WHERE parent >= :planned AND parent NOT IN (SELECT call FROM part))
                OR EXISTS (SELECT 1 FROM event WHERE call >= :planned AND call NOT IN (SELECT call FROM part))
        """
        with explained(self.path):
            (strange,) = self._connection.execute(query, {"planned": planned}).fetchone()
        if strange:
            raise LedgerError(
                "this ledger has calls that the plan of its run does not have.",
                where=str(self.path),
                likely="The ledger belongs to another run.",
                hint=WITHOUT,
            )

    def made(self) -> list[Made]:
        """Image sets made by copying calls, and those that existed before, in the order of writing."""
        query = "SELECT call, image_set_id, ours FROM made ORDER BY rowid"
        with explained(self.path):
            rows = self._readable(query) if self.damage else self._connection.execute(query).fetchall()
        return [Made(call, image_set_id, bool(ours)) for call, image_set_id, ours in rows]

    def processes(self) -> list[ProcessRecord]:
        """The processes that worked on the run: when each has started and ended, in the order of writing."""
        found = [dict(zip(PROCESS_NAMES, row, strict=True)) for row in self._in_order("process", PROCESS_NAMES)]
        return [ProcessRecord(**{**row, "state": ProcessState(row["state"])}) for row in found]

    def settings(self) -> list[SettingRecord]:
        """The settings that resumes have changed, in the order of writing."""
        found = self._in_order("setting", SETTING_NAMES)
        return [SettingRecord(**dict(zip(SETTING_NAMES, row, strict=True))) for row in found]

    @classmethod
    def settings_in(cls, path: Path) -> list[SettingRecord]:
        """As `settings`, of a ledger that is not opened for more; empty if it is missing or damaged.

        Reads only this table: the rest of a large ledger takes seconds to check, and `open` checks it. Raises
        LedgerError.
        """
        if not received.there(path):
            return []
        columns, intact = ", ".join(SETTING_NAMES), f"checksum = crc32({TEXTS['setting']})"
        valid = f"NOT ({INVALID['setting']}) AND {intact}"
        query = f"SELECT {columns} FROM setting WHERE {valid} ORDER BY rowid"  # noqa: S608 - names of our own
        with contextlib.suppress(UnprovenLedgerError), explained(path), contextlib.ExitStack() as undo:
            connection = undo.enter_context(contextlib.closing(connect_to_read(path)))
            undo.enter_context(bounded(connection, path))
            return [SettingRecord(**dict(zip(SETTING_NAMES, row, strict=True))) for row in connection.execute(query)]
        return []

    def requests(self, *, tolerant: bool = False) -> Iterator[RequestRecord]:
        """The requests that were sent for calls, in the order of writing.

        Raises UnprovenLedgerError for a row that is not as it was written; if ``tolerant``, leaves it out.
        """
        columns, text = ", ".join(REQUEST_NAMES), TEXTS["request"]
        query = f"SELECT {columns}, checksum IS crc32({text}) FROM request ORDER BY rowid"  # noqa: S608 - our names
        for rows in self.batches(query):
            for *values, intact in rows:
                if intact:
                    yield RequestRecord(**dict(zip(REQUEST_NAMES, values, strict=True)))
                elif not tolerant:
                    raise unproven(self.path, LedgerState.DAMAGED, not_as_written("request"))

    def _in_order(self, table: str, names: Sequence[str]) -> list[tuple[Any, ...]]:
        query = f"SELECT {', '.join(names)} FROM {table} WHERE NOT ({INVALID[table]}) ORDER BY rowid"  # noqa: S608 - names of our own
        with explained(self.path):
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
        with explained(self.path):
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
        with explained(self.path):
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
        with explained(self.path):
            rows = self._connection.execute(query, (json.dumps(sorted(calls)),))
            last = {row[0]: dict(zip(LAST_ROW, row, strict=True)) for row in rows}
        return list(last.values())

    def version_events(
        self, calls: Collection[int], *, reason: str
    ) -> Iterator[tuple[int, str, int | None, int | None, bool]]:
        """These calls' events: call, state, expected version, version, and whether its reason is ``reason``."""
        query = """SELECT call, state, expected_version, version, reason IS ? FROM event
                   WHERE call IN (SELECT value FROM json_each(?)) ORDER BY seq"""
        with explained(self.path):
            for call, state, expected_version, version, caused in self._connection.execute(
                query, (reason, json.dumps(sorted(calls)))
            ):
                yield call, state, expected_version, version, bool(caused)

    def has_reused_versions(self) -> bool:
        """Whether the service gave the number of a failed update to the next one."""
        query = "SELECT EXISTS (SELECT 1 FROM event WHERE version = expected_version)"
        with explained(self.path):
            return bool(self._connection.execute(query).fetchone()[0])

    def contents(self) -> LedgerContents:
        """The contents that the anchor of this ledger must record."""
        return self._content.contents()

    def intact_events(self) -> Iterator[Event]:
        """The events with a correct checksum, in order."""
        query = f"SELECT {EVENT_COLUMNS} FROM event ORDER BY seq"  # noqa: S608 - our names
        with contextlib.suppress(sqlite3.DatabaseError):
            for row in self._connection.execute(query):
                found = dict(zip(EVENT_NAMES, row, strict=True))
                yield Event(**{**found, "state": CallState(found["state"])})

    def _readable(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a damaged ledger, up to the first that cannot be read."""
        rows: list[tuple[Any, ...]] = []
        most = size_of(self.path)  # a row has more than one byte
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
        with explained(self.path):
            cursor = self._connection.execute(f"SELECT seq, {EVENT_COLUMNS} FROM event ORDER BY seq")  # noqa: S608
            names = [column[0] for column in cursor.description]
            for row in cursor:
                yield dict(zip(names, row, strict=True))

    def span_s(self) -> float:
        """Seconds from the first event to the last."""
        if self.damage:
            times = [at for (at,) in self._readable("SELECT at FROM event ORDER BY seq")]
            return max(times) - min(times) if times else 0.0
        with explained(self.path):
            (span,) = self._connection.execute("SELECT max(at) - min(at) FROM event").fetchone()
        return float(span or 0.0)

    def close(self) -> None:
        """Close the files and unlock the run."""
        with explained(self.path):
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
