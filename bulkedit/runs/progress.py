"""Where a run stands and when it will be done: a snapshot of numbers, and what follows from them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkedit._progress import Phase
from bulkedit.runs.scheduler import WaitReason

if TYPE_CHECKING:
    from bulkedit._json import JsonObject
    from bulkedit.client.responses import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One moment of a run; rates per second, times in seconds."""

    calls: int
    completed: int  # calls
    outcomes: dict[Outcome, int]  # edits
    in_flight: int  # image sets with an update under way
    per_second: float  # calls completed, over the last minute
    quota_per_second: float  # of updates: as given, or as learned so far
    requests: int  # of this process, reads included
    throttled: int  # of these
    limited_by: WaitReason | None  # what has held calls back for longest
    longest_lane: int  # calls left in the longest lane that is open
    longest_ahead: int  # calls of the longest lane that may still be to open
    completion_p50_s: float | None  # from acceptance to call_outcomes, as observed; of the latest 128 updates
    completion_p95_s: float | None

    @property
    def phase(self) -> Phase:
        """What is being done; as `bulkedit._progress.Advance` has it, with `done` and `total`."""
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
    def throttled_share(self) -> float:
        """Of all requests, those that were refused for a quota."""
        return self.throttled / self.requests if self.requests else 0.0

    @property
    def seconds_left(self) -> float | None:
        """The longer of two: all calls at the rate that they go, and the longest lane one call after another.

        The rate is the quota's where that is what holds calls back, else what was reached in the last minute. None
        before anything can be said.
        """
        if not self.left:
            return 0.0
        reached = self.per_second if self.limited_by is not WaitReason.UPDATES else 0.0
        rate = min(reached, self.quota_per_second) if reached else self.quota_per_second
        if not rate:
            return None
        lane = max(self.longest_lane, self.longest_ahead) * (self.completion_p50_s or 0.0)
        return max(self.left / rate, lane)

    def as_json(self) -> JsonObject:
        """The line of type ``progress``."""
        left = self.seconds_left
        return {
            "type": "progress",
            "calls": self.calls,
            "completed": self.completed,
            "edits": {str(outcome): count for outcome, count in self.outcomes.items() if count},
            "in_flight": self.in_flight,
            "per_second": round(self.per_second, 4),
            "quota_per_second": round(self.quota_per_second, 4),
            "throttled_share": round(self.throttled_share, 4),
            "limited_by": self.limited_by.value if self.limited_by else None,
            "seconds_left": None if left is None else round(left, 1),
            "completion_p50_s": _rounded(self.completion_p50_s),
            "completion_p95_s": _rounded(self.completion_p95_s),
        }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
