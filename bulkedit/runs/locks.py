"""Image sets that another writer has locked, and the calls that wait for their unlock.

A call that waits for longer than `TOLD_AFTER_S` gets a row in the ledger with the reason `LOCKED`, and another one when
the wait ends. If the run stops meanwhile, the message stays in the call's last row.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Self

from bulkedit._log import iso, utc
from bulkedit._words import plural
from bulkedit.client.contract import IMAGE_SET_ID

if TYPE_CHECKING:
    from collections.abc import Collection

    from bulkedit._json import JsonObject

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


@dataclass(frozen=True, slots=True)
class LockedImageSet:
    """An image set whose unlock calls of a run wait for, or waited for when the run ended."""

    wait: LockWait
    calls: int  # that wait

    @property
    def text(self) -> str:
        """In words."""
        return f"{self.wait.message} ({plural(self.calls, 'call')})"

    def as_json(self) -> JsonObject:
        """An object of the field ``locked``."""
        return {"image_set_id": self.wait.image_set_id, "since": iso(self.wait.since), "calls": self.calls}


def by_image_set(of_calls: Collection[LockWait]) -> list[LockedImageSet]:
    """The image sets that calls wait for, the oldest lock first."""
    counts = Counter(wait.image_set_id for wait in of_calls)
    since: dict[str | None, float] = {}
    for wait in of_calls:
        since[wait.image_set_id] = min(wait.since, since.get(wait.image_set_id, wait.since))
    found = [LockedImageSet(LockWait(one, since[one]), count) for one, count in counts.items()]
    return sorted(found, key=lambda one: (one.wait.since, one.wait.image_set_id or ""))
