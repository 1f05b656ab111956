"""Estimates when a run will end. Pure; the clock is passed in.

What is left takes as long as the longer of two: every call at the rate of calls, and the longest lane, call after call.
The rate is that of the calls sent lately, together with the quota, which counts as if a few calls had been sent at it.
If far fewer calls are sent than the quota allows, something else limits the run, and if far more are, the quota is not
well known yet; then only the calls count. While the quota is searched for, or nothing moves, the end is not known. The
estimate follows slowly, so it does not swing.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_SAMPLE_S: Final = 0.5  # between two samples
_WINDOW_S: Final = 60.0  # calls sent lately: those of a minute,
_WINDOW_CALLS: Final = 30  # or the time that so many take at the quota, if that is longer
_QUOTA_CALLS: Final = 6.0  # the quota counts as much as so many calls
_BURST_S: Final = 2.0  # after the start and after a change: calls of a burst say nothing of the rate
_CHANGED: Final = 0.25  # share by which the quota must differ from the former one to count as changed
_OTHER: Final = 0.2  # share of what the quota allows: with so many calls more or fewer sent, only the calls count
_OTHER_CALLS: Final = 4.0  # at least, because counts are whole numbers
_STEADY_S: Final = 6.0  # the rate of a search is steady after so long, or after the duration of two calls,
_STEADY_CALLS: Final = 12  # and so many calls,
_UNEVEN: Final = 0.4  # if the halves of that time differ by at most this share of the calls
_STANDSTILL_S: Final = 10.0  # if no call is completed for so long, the rate is not known;
_STANDSTILL_CALLS: Final = 4.0  # or for as long as so many calls take at the quota, or two calls, if that is longer
_FOUND_CALLS: Final = 5  # so many calls must have been sent at a quota that was searched for
_KEPT: Final = 64  # durations of calls that are remembered
_FOLLOW: Final = 0.08  # the estimate takes so much of the time left to follow a change,
_FOLLOW_S: Final = (0.5, 60.0)  # at least and at most


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkLeft:
    """What a process has to do; numbers of calls."""

    done: int  # calls that are completed
    left: int  # calls that are not completed, and can be sent
    in_flight: int  # those of them that are sent
    quota: float  # of updates, per second
    searching: bool  # the quota is not known yet
    lanes: Mapping[int, int]  # calls left of the lanes that were begun, by number of the lane
    longest_ahead: int  # calls of the longest lane that was not begun


@dataclass(slots=True)
class TimeLeft:
    """The time left of one process of a run. ``now`` is monotonic."""

    _samples: deque[tuple[float, int]] = field(default_factory=deque)  # time, calls sent or completed
    _since: float | None = None  # what was sent before does not count
    _quota: float = 0.0  # at `_since`
    _searching: bool = False
    _searched: bool = False  # the quota was not given
    _moved: tuple[float, int] = (-math.inf, -1)  # when the last call was completed, and how many were by then
    _sent_at: dict[int, float] = field(default_factory=dict)  # by lane: when its present call was sent
    _took: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))  # seconds of completed calls
    _end: float | None = None  # the estimate
    _estimated_at: float = -math.inf

    def sent(self, lane: int, now: float) -> None:
        """A call of a lane is sent."""
        self._sent_at[lane] = now

    def completed(self, lane: int, now: float) -> None:
        """A call of a lane is completed."""
        if (sent := self._sent_at.pop(lane, None)) is not None:
            self._took.append(now - sent)

    def standstill_s(self, now: float) -> float:
        """How long no call has been completed; 0 if that is as usual."""
        still_s = now - self._moved[0]
        usual = max(_STANDSTILL_S, _STANDSTILL_CALLS / self._quota if self._quota else 0.0, 2 * self._call_s)
        return still_s if self._since is not None and still_s > usual else 0.0

    def observe(self, work: WorkLeft, now: float) -> float | None:
        """Seconds left; None if not known. To be called every few seconds."""
        self._sample(work, now)
        if not work.left:
            return 0.0
        chained = max([work.longest_ahead, *work.lanes.values()]) > 1
        if (rate := self._rate(work, now)) is None or (chained and not self._took):
            self._end = None
            return None
        return self._followed(self._end_at(rate, work, now), now)

    def _end_at(self, rate: float, work: WorkLeft, now: float) -> float:
        call_s = self._call_s
        ends = [self._sent_at.get(lane, now) + calls * call_s for lane, calls in work.lanes.items()]
        every = max(0, work.left - work.in_flight) / rate + call_s
        return max(now + every, now + work.longest_ahead * call_s, *ends)

    @property
    def _call_s(self) -> float:
        """Seconds from sending a call to its completion."""
        return sum(self._took) / len(self._took) if self._took else 0.0

    # the rate

    def _sample(self, work: WorkLeft, now: float) -> None:
        count = work.done + work.in_flight
        self._searched |= work.searching
        changed = abs(work.quota - self._quota) > _CHANGED * self._quota or work.searching is not self._searching
        if self._since is None or changed or (work.done != self._moved[1] and self.standstill_s(now)):
            self._samples.clear()
            self._since, self._quota, self._searching = now + _BURST_S, work.quota, work.searching
        if work.done != self._moved[1]:
            self._moved = now, work.done
        if now >= self._since and (not self._samples or now - self._samples[-1][0] >= _SAMPLE_S):
            self._samples.append((now, count))
        window = max(_WINDOW_S, _WINDOW_CALLS / work.quota if work.quota else 0.0)
        while len(self._samples) > 2 and self._samples[1][0] <= now - window:
            self._samples.popleft()

    def _rate(self, work: WorkLeft, now: float) -> float | None:
        """Calls per second; None if not known."""
        if self.standstill_s(now):
            return None
        seconds = calls = 0.0
        if len(self._samples) > 1:
            (first, before), (last, after) = self._samples[0], self._samples[-1]
            seconds, calls = last - first, after - before
        if work.searching:
            return calls / seconds if self._is_steady(seconds, calls) else None
        if self._searched and calls < min(_FOUND_CALLS, work.left):
            return None
        allowed = work.quota * seconds
        if abs(calls - allowed) > max(_OTHER * allowed, _OTHER_CALLS) and seconds > _BURST_S:
            return calls / seconds or None
        return (calls + _QUOTA_CALLS) / (seconds + _QUOTA_CALLS / work.quota) if work.quota else None

    def _is_steady(self, seconds: float, calls: float) -> bool:
        """Whether about as many calls were sent in the second half of the samples as in the first."""
        if seconds < max(_STEADY_S, 2 * self._call_s) or calls < _STEADY_CALLS:
            return False
        (first, before), (_, after) = self._samples[0], self._samples[-1]
        halfway = next(count for at, count in self._samples if at >= first + seconds / 2)
        return abs((after - halfway) - (halfway - before)) <= _UNEVEN * calls

    # the estimate

    def _followed(self, end: float, now: float) -> float:
        """The estimate moves towards ``end``, slowly."""
        if self._end is None:
            self._end = end
        else:
            least, most = _FOLLOW_S
            follow_s = min(most, max(least, _FOLLOW * (self._end - now)))
            self._end += (end - self._end) * -math.expm1(-(now - self._estimated_at) / follow_s)
        self._estimated_at = now
        return max(0.0, self._end - now)
