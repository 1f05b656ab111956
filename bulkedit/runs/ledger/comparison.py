"""Compares a ledger with its anchor, which shows whether it is whole."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from bulkedit import _received as received
from bulkedit.runs import anchor as anchors
from bulkedit.runs.anchor import Anchor, AnchorMark
from bulkedit.runs.ledger.faults import LedgerState, explained, not_as_written, unproven
from bulkedit.runs.ledger.opening import bounded
from bulkedit.runs.ledger.rows import AnchoredRows
from bulkedit.runs.ledger.schema import DIGESTED, INTACT_ROWS, TABLES, TEXTS

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from bulkedit.runs.ledger.lock import RunLock


def compared(
    connection: sqlite3.Connection, mark: AnchorMark | None, path: Path
) -> tuple[AnchoredRows, LedgerState, str]:
    """The contents of a ledger, its state, and why it is not whole. Without an anchor only checksums are checked.

    Blocks for some seconds if there are millions of events.
    """
    content, expected = AnchoredRows(), 0 if mark is None else mark.events
    with bounded(connection, path):
        cursor = connection.execute(f"SELECT {DIGESTED} FROM event ORDER BY seq")  # noqa: S608 - our names
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
        for table in TABLES[1:]:
            damage, content.rows[table] = _rows_of(connection, table)
            if damage:
                return content, LedgerState.DAMAGED, not_as_written(table)
            if mark is not None and content.rows[table] < mark.rows.get(table, 0):
                return (
                    content,
                    LedgerState.BEHIND,
                    f"table {table} has {content.rows[table]:,} of {mark.rows[table]:,} rows",
                )
    return content, LedgerState.WHOLE, ""


_DIGESTED_AT_ONCE: Final = 4096  # rows


def _rows_of(connection: sqlite3.Connection, table: str) -> tuple[bool, int]:
    """Whether a row of a table is damaged, and how many rows it has.

    Requests are only counted: no decision depends on them, and `Ledger.requests` checks each row.
    """
    damaged = "0" if table == "request" else f"coalesce(sum(checksum IS NOT crc32({TEXTS[table]})), 0)"
    query = f"SELECT {damaged}, count(*) FROM {table}"  # noqa: S608 - our names
    wrong, count = connection.execute(query).fetchone()
    return bool(wrong), int(count)


def hide_damaged_rows(connection: sqlite3.Connection) -> None:
    """Replace the tables by views of their intact rows, for this connection only."""
    for table, query in INTACT_ROWS.items():
        connection.execute(f"CREATE TEMP VIEW {table} AS {query}")


def anchor_of(path: Path, run: str, lock: RunLock) -> Anchor:
    """The anchor of a ledger; if it is missing, a new one, locked. Raises UnprovenLedgerError, LedgerError."""
    beside = anchors.beside(path)
    with explained(beside):
        try:
            anchor = Anchor.open(beside) if received.there(beside) else Anchor.create(beside, run)
        except anchors.UnreadableAnchorError:
            raise unproven(path, LedgerState.UNANCHORED) from None
        try:
            lock.take_anchor()
        except BaseException:
            anchor.close()
            raise
    return anchor


def read_anchor(path: Path) -> anchors.AnchorReading | None:
    """The anchor of a ledger; None if it is missing or unreadable. Raises LedgerError."""
    beside = anchors.beside(path)
    with explained(beside):
        try:
            return anchors.read(beside)
        except anchors.UnreadableAnchorError:
            return None
