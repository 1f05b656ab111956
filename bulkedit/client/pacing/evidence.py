"""What answers show about a quota that is a token bucket: ``rate`` tokens per second, at most ``burst`` of them."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from bulkedit.client.pacing.rates import Rate

_KEPT: Final = 64  # throttles, and times of successes, that are remembered
_FEWEST: Final = 8  # successes whose times say something about a rate
_FEWEST_TO_CONFIRM: Final = 4  # successes: a smaller bucket is empty at once, whatever its rate
_ALIKE: Final = 1.2  # times: by so much two numbers of successes may differ
_USUAL: Final = 2.5  # times `guess`: a burst is seldom less than one second of its rate
_SLACK: Final = 1.5  # successes: a throttle shows the bucket's level to within one request
_BURST_S: Final = 2.0  # seconds of its rate that a quota's burst usually is (throttling-limits)
_UNEVEN: Final = 2.0  # deviations of a round trip by which answers may be out of step with the service's count
SHORTEST_S: Final = 1e-6  # shorter times come from rounding


class Found(NamedTuple):
    """A rate per second that agrees with what was seen, and its bounds."""

    rate: float
    low: float
    high: float
    successes: int  # on which it is based


@dataclass(slots=True)
class _Stretch:
    """The time since a throttle, and the successes in it."""

    began: float
    successes: int = 0
    idle_s: float = 0.0  # seconds of it in which nothing was waiting to be sent

    def busy_s(self, now: float) -> float:
        return max(now - self.began - self.idle_s, SHORTEST_S)


@dataclass(slots=True)
class Evidence:
    """The successes and throttles of one operation.

    A throttle shows that the bucket was empty at that moment. So the successes between two throttles are the tokens
    that were refilled between them, to within one, whatever the burst: their number divided by the seconds is the rate.
    That is too low if the bucket was full for a while, because tokens were lost. But a bucket gives no more than its
    burst and what was refilled: so the rate is at least the latest successes without the burst, by their seconds.
    """

    _stretches: list[_Stretch] = field(default_factory=list)  # oldest first; all end now. The first one begins full
    # successes, and the seconds since the first of them, at the first throttle
    _opening: list[tuple[int, float]] = field(default_factory=list)
    _latest: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))  # times of successes

    def begin(self, now: float) -> None:
        """Record that the first request is sent."""
        self._stretches = [_Stretch(now)]

    def idle(self, seconds: float) -> None:
        """Record that for so long nothing was waiting to be sent."""
        for stretch in self._stretches:
            stretch.idle_s += seconds

    def success(self, now: float) -> None:
        """Record that a request was not throttled."""
        self._latest.append(now)
        for stretch in self._stretches:
            stretch.successes += 1

    @property
    def last_success(self) -> float:
        """When the answer to the latest success came."""
        return self._latest[-1] if self._latest else -math.inf

    def guess(self, now: float) -> float:
        """What the rate may be, as far as the successes since the first request show: 0 if there are none."""
        if not self._stretches:
            return 0.0
        first = self._stretches[0]
        return max(0, first.successes - 1) / (now - first.began + _BURST_S)

    def confirms(self, now: float, known: Rate, guess: float) -> bool:
        """Whether the successes before the first throttle, now, are those that a full bucket like this would give.

        They show its size rather than its rate. So the rate must also be about what is usual for such a size, which
        ``guess`` is.
        """
        first = self._stretches[0]
        seen, due = first.successes, known.burst + known.per_second * first.busy_s(now)
        alike = due / _ALIKE <= seen <= due * _ALIKE
        return seen >= _FEWEST_TO_CONFIRM and alike and guess <= known.per_second <= _USUAL * guess

    def opened(self, now: float) -> None:
        """Record the first throttle."""
        first = self._stretches[0]
        latest = [(n, now - at) for n, at in enumerate(reversed(self._latest), 1)]
        self._opening = [*latest, (first.successes, first.busy_s(now))]
        self._stretches = [_Stretch(now)]

    def burst(self, rate: float) -> float:
        """The bucket's size, if this is its rate: the successes before the first throttle, without the refill."""
        return max([1.0, *(successes - rate * seconds for successes, seconds in self._opening)])

    def emptied(self, now: float, rate: float, burst: float, uneven_s: float) -> Found:
        """Record a throttle. Returns the rate over the longest time that agrees with what is newer.

        ``rate``, ``burst``: the present estimates. ``uneven_s``: by how much round trips deviate. Stretches that
        disagree are dropped: the quota has changed, another tenant uses part of it, or the bucket was full for long.
        """
        uneven = _UNEVEN * rate * uneven_s
        low, high = self._least(now, burst - 1 + uneven), math.inf
        found = Found(low, low, high, self._stretches[-1].successes)
        for place in reversed(range(len(self._stretches))):
            stretch = self._stretches[place]
            seconds, slack = stretch.busy_s(now), _SLACK + uneven
            low = max(low, (stretch.successes - slack) / seconds)
            high = min(high, (stretch.successes + slack) / seconds)
            if low > high:
                del self._stretches[: place + 1]
                break
            found = Found(max(stretch.successes / seconds, low), low, high, stretch.successes)
        self._stretches = [*self._stretches[-_KEPT:], _Stretch(now)]
        return found

    def _least(self, now: float, at_hand: float) -> float:
        """The most that any of the latest successes since the last throttle show. ``at_hand``: tokens at its begin."""
        since = self._stretches[-1].began
        times = [at for at in self._latest if at >= since]
        rates = ((n - at_hand) / max(now - times[-n], SHORTEST_S) for n in range(_FEWEST, len(times) + 1))
        return max(rates, default=0.0)

    @property
    def newest(self) -> int:
        """Successes since the last throttle."""
        return self._stretches[-1].successes

    def again(self, at: float) -> None:
        """Record a throttle soon after another: the bucket is, or will be at that time, as it was then."""
        self._stretches[-1:] = [_Stretch(at)]
