"""Records as rows with checksums, and what the anchor records of them: their numbers and the digest of the events."""

from __future__ import annotations

import json
import zlib
from hashlib import blake2b
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from bulkedit.runs.ledger.records import Event, Pace, Part, ProcessRecord, Record, RequestRecord, SettingRecord
from bulkedit.runs.ledger.schema import EVENT_NAMES, FRACTION, TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkedit.runs.anchor import LedgerContents


_values: Final = attrgetter(*EVENT_NAMES)


class AnchoredRows:
    """The contents of a ledger, as its anchor records them."""

    def __init__(self) -> None:
        self.events = 0
        self.rows = dict.fromkeys(TABLES[1:], 0)
        self.digest = blake2b(digest_size=16)

    def copy(self) -> AnchoredRows:
        """An independent copy."""
        other = AnchoredRows()
        other.events, other.rows, other.digest = self.events, dict(self.rows), self.digest.copy()
        return other

    def contents(self) -> LedgerContents:
        """The fields for the anchor."""
        return {"events": self.events, "digest": self.digest.hexdigest(), "rows": dict(self.rows)}

    def take(self, records: Sequence[Record]) -> dict[str, list[tuple[Any, ...]]]:
        """Add records; return them as rows by table."""
        found: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}
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
    """As `schema._EVENT_TEXT`. ``values``: seq, and those of an event."""
    seq, at, *others, updated_at = values
    text = "|".join("" if other is None else str(other) for other in (seq, *others))
    return f"{text}|{_exact_text(at)}|{'.' if updated_at is None else _exact_text(updated_at)}".encode()


def _exact_text(real: float) -> str:
    """As `schema._exact`."""
    return f"{int(real)}.{int((real - int(real)) * FRACTION)}"
