"""The progress of a run: a snapshot of its numbers, and what it waits for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkedit._progress import Phase

if TYPE_CHECKING:
    from bulkedit._json import JsonObject
    from bulkedit.client.responses import Outcome
    from bulkedit.runs.scheduler import WaitReason
    from bulkedit.runs.waiting import Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A snapshot of a run; rates per second, times in seconds."""

    calls: int
    completed: int  # calls
    edits: int  # of the plan
    outcomes: dict[Outcome, int]  # edits
    in_flight: int  # image sets with an update under way
    per_second: float  # calls completed, over the last minute
    quota_per_second: float  # of updates, given or measured
    searching: bool  # the quota is not known yet, or has changed
    requests: int  # of this process, including reads
    throttled: int  # throttled requests among them
    limited_by: WaitReason | None  # what has delayed calls for longest
    seconds_left: float | None  # None if not known (`bulkedit.runs.time_left`)
    completion_p50_s: float | None  # from acceptance to completion, of the latest 128 updates
    completion_p95_s: float | None
    image_sets_in_flight: tuple[str, ...] = ()  # ids
    waiting: tuple[Waiting, ...] = ()  # if calls cannot be sent although the quota may allow it

    @property
    def phase(self) -> Phase:
        """The phase of the work; with `done` and `total` as in `bulkedit._progress.Advance`."""
        return Phase.SENDING

    @property
    def done(self) -> int:
        """Calls that are completed."""
        return self.completed

    @property
    def total(self) -> int:
        """Calls."""
        return self.calls

    @property
    def left(self) -> int:
        """Calls that are not completed."""
        return self.calls - self.completed

    @property
    def edits_done(self) -> int:
        """Edits that have an outcome."""
        return sum(self.outcomes.values())

    @property
    def percent(self) -> int:
        """Edits that have an outcome, in per cent; 100 only if every call is completed."""
        share = 100 * self.edits_done / self.edits if self.edits else 100.0
        return min(math.floor(share), 99 if self.left else 100)

    @property
    def throttled_share(self) -> float:
        """Throttled requests as a share of all requests."""
        return self.throttled / self.requests if self.requests else 0.0

    def as_json(self) -> JsonObject:
        """The line of type ``progress``."""
        left = self.seconds_left
        return {
            "type": "progress",
            "calls": self.calls,
            "completed": self.completed,
            "of_edits": self.edits,
            "edits": {str(outcome): count for outcome, count in self.outcomes.items() if count},
            "in_flight": self.in_flight,
            "per_second": round(self.per_second, 4),
            "quota_per_second": round(self.quota_per_second, 4),
            "searching": self.searching,
            "throttled_share": round(self.throttled_share, 4),
            "limited_by": self.limited_by.value if self.limited_by else None,
            "seconds_left": None if left is None else round(left, 1),
            "completion_p50_s": _rounded(self.completion_p50_s),
            "completion_p95_s": _rounded(self.completion_p95_s),
            "waiting": [one.as_json() for one in self.waiting],
        }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
