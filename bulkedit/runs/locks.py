"""Image sets that another writer has locked, and the calls that wait for their unlock.

A call that waits for longer than `TOLD_AFTER_S` gets a row in the ledger with the reason `LOCKED`, and another one when
the wait ends. If the run stops meanwhile, the message stays in the call's last row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Self

from bulkedit._log import utc
from bulkedit.client.contract import IMAGE_SET_ID

if TYPE_CHECKING:
    from bulkedit.runs.ledger import Ledger

LOCKED: Final = "locked"  # reason of the rows
TOLD_AFTER_S: Final = 10.0  # a shorter lock is not recorded
_MESSAGE: Final = re.compile(
    rf"image set (?P<id>{IMAGE_SET_ID}|unknown), (?:refused as )?locked since (?P<since>[-0-9: ]+Z)"
)


@dataclass(frozen=True, slots=True)
class LockWait:
    """A wait for the unlock of an image set."""

    image_set_id: str | None  # None: its study is refused as locked, and no image set of it is seen locked
    since: float  # epoch seconds: the first poll, or the refusal, that showed the lock

    @property
    def message(self) -> str:
        """The message in the ledger."""
        what = "unknown, refused as" if self.image_set_id is None else f"{self.image_set_id},"
        return f"image set {what} locked since {utc(self.since)}"

    def ended(self, at: float) -> str:
        """The message in the ledger when the wait has ended. ``at``: epoch seconds."""
        return f"image set {self.image_set_id or 'unknown'}, no longer locked: from {utc(self.since)} to {utc(at)}"

    @classmethod
    def of(cls, message: str | None) -> Self | None:
        """The wait that a row's message tells of, if it has not ended; otherwise None."""
        found = _MESSAGE.fullmatch(message or "")
        if found is None:
            return None
        image_set_id = None if found["id"] == "unknown" else found["id"]
        return cls(image_set_id, datetime.fromisoformat(found["since"]).timestamp())


def waits(ledger: Ledger) -> dict[int, LockWait]:
    """The calls that wait for an unlock, in their order, by their last row. Blocks.

    If no process works on the run, they waited when it ended.
    """
    query = """SELECT call, message, max(seq) FROM event GROUP BY call
               HAVING message LIKE 'image set % locked since %' ORDER BY call"""
    rows = [row for batch in ledger.batches(query) for row in batch]
    return {call: found for call, message, _ in rows if (found := LockWait.of(message)) is not None}
