"""The progress of a run: a snapshot of its numbers, and an estimate of the time left."""

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
    """A snapshot of a run; rates per second, times in seconds."""

    calls: int
    completed: int  # calls
    outcomes: dict[Outcome, int]  # edits
    in_flight: int  # image sets with an update under way
    per_second: float  # calls completed, over the last minute
    quota_per_second: float  # of updates, given or measured
    requests: int  # of this process, including reads
    throttled: int  # throttled requests among them
    limited_by: WaitReason | None  # what has delayed calls for longest
    longest_lane: int  # calls left in the longest lane that is open
    longest_ahead: int  # calls of the longest lane that is not open yet, at most
    completion_p50_s: float | None  # from acceptance to completion, of the latest 128 updates
    completion_p95_s: float | None

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
    def throttled_share(self) -> float:
        """Throttled requests as a share of all requests."""
        return self.throttled / self.requests if self.requests else 0.0

    @property
    def seconds_left(self) -> float | None:
        """The longer of two: all calls at the current rate, and the longest lane, call after call.

        The rate is the quota if that delays calls, else the rate of the last minute. None while no rate is known.
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
