"""The counters of a run, for progress, summary and tests."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bulkedit.client.responses import CallState, Outcome, outcome_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulkedit.runs.scheduler import WaitReason

_WINDOW_S: Final = 60.0


@dataclass(slots=True)
class RunCounters:
    """Counters of one run; calls and edits include those of earlier processes."""

    calls: int  # in the plan
    edits: int  # in the plan
    completed_calls: int = 0
    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))  # edits
    requests: int = 0  # updates sent by this process
    throttled: int = 0  # requests of any operation refused for a quota
    updates_throttled: int = 0
    reads: int = 0
    faults: int = 0
    conflicts: int = 0
    in_flight: int = 0  # image sets with an update under way
    unresolved: int = 0  # lanes that ended with calls left: locked for too long, or not readable
    started: float = 0.0  # monotonic
    delayed_s: dict[WaitReason, float] = field(default_factory=dict)  # seconds that lanes were delayed, by reason
    # [second, calls completed in it] of the last minute
    _completed_in: deque[list[int]] = field(default_factory=deque, repr=False)

    def completed(self, state: CallState, edits: int, now: float | None = None, *, calls: int = 1) -> None:
        """Count completed calls and their edits; ``now`` (monotonic seconds) is None for an earlier process."""
        self.completed_calls += calls
        self.outcomes[outcome_of(state)] += edits
        if now is None:
            return
        second = math.floor(now)
        if self._completed_in and self._completed_in[-1][0] == second:
            self._completed_in[-1][1] += 1
        else:
            self._completed_in.append([second, 1])
            self._forget(now)

    def waited(self, reasons: Iterable[WaitReason], seconds: float) -> None:
        """Nothing was sent for ``seconds``, because ``reasons`` delayed all lanes that were due."""
        for reason in reasons:
            self.delayed_s[reason] = self.delayed_s.get(reason, 0.0) + seconds

    @property
    def bottleneck(self) -> WaitReason | None:
        """What delayed lanes for longest; None if nothing did."""
        return max(self.delayed_s, key=self.delayed_s.__getitem__, default=None)

    @property
    def applied(self) -> int:
        """Edits applied."""
        return self.outcomes[Outcome.APPLIED]

    @property
    def unprocessed(self) -> int:
        """Edits without an outcome."""
        return self.edits - sum(self.outcomes.values())

    def rate(self, now: float) -> float:
        """Calls completed per second over the last minute."""
        self._forget(now)
        span = min(_WINDOW_S, now - self.started)
        return sum(count for _, count in self._completed_in) / span if span > 0 else 0.0

    def _forget(self, now: float) -> None:
        while self._completed_in and self._completed_in[0][0] < now - _WINDOW_S:
            self._completed_in.popleft()
