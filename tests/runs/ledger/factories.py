"""Events of a ledger, and a disk that is full."""

from __future__ import annotations

from typing import Any

from bulkedit.client.responses import CallState
from bulkedit.runs.ledger import (
    Event,
    Ledger,
)


def event(call: int, state: CallState = CallState.INTENDED, at: float = 0.0, **fields: Any) -> Event:
    return Event(at=at, call=call, state=state, **fields)


def calls_of(ledger: Ledger) -> list[int]:
    return [row["call"] for row in ledger.events()]


def fill_disk(ledger: Ledger) -> None:
    """From here on the file may not grow."""
    (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
