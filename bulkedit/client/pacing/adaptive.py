"""The pacer that finds a quota by itself, and follows it when it changes.

The service's quota is a token bucket with a rate and a burst. A throttle shows that the bucket was empty at that
moment. So the successes between two throttles equal the tokens that were refilled between them, whatever the burst:
``successes / seconds`` is the quota, to within one request. The method follows from that:

*   **Search.** The rate starts at the documented default. It doubles at most every two seconds, if requests are waiting
    and the present rate goes through, until the first throttle.
*   **Hold.** After that, every throttle is a measurement, over the longest stretch of throttles that agree with each
    other. The rate continues a little below the estimate and rises slowly to a little above it. So about one request
    in a hundred is throttled; with fewer, a changed quota would go unnoticed. The less is known, the wider the step.
*   **Change.** Stretches that disagree with the newest are dropped: the quota has changed, or another writer uses part
    of it. If more requests succeed than the estimate allows, the quota was raised, and the search continues.
*   **Shared.** Every account has at least the documented quota. If less than that succeeds with a burst of one, another
    tenant uses the rest. Its token is refilled one documented interval after a throttle; the next request waits for it.
*   **Outage.** If nothing succeeds any more, one request at a time is sent, with jittered waits that double up to
    `_LONGEST_PAUSE_S`. Nothing is learned from those; afterwards the rate returns in a few steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bulkedit.client.pacing.backoff import capped_retry_after
from bulkedit.client.pacing.rates import Rate

if TYPE_CHECKING:
    import random

    from bulkedit.client.pacing.rates import Auto

_DOUBLING_S: Final = 2.0  # shortest time between two doublings of the search
_DOUBLING_TRIPS: Final = 3.0  # the same, in round trips: a throttle must have time to arrive
_SENT: Final = 0.4  # share of the rate that must have succeeded before it is doubled
_CYCLE: Final = 100  # successes between throttles, once the quota is well known
_CYCLE_S: Final = 10.0  # or the successes of this many seconds, if that is more
_SMALLEST_STEP: Final = 0.005
_SHORTEST_CYCLE: Final = 5
_COUNT_SLACK: Final = 1.5  # successes: a throttle shows the bucket's level to within one request
_RATE_SLACK: Final = 0.03  # share of the rate, because requests take unequal times to reach the service
_RAISED: Final = 3.0  # successes beyond the estimate that prove it too low
_TIGHT_BURST: Final = 2.0  # a smaller burst counts as a bucket of one request
_TIGHT: Final = 0.85  # bucket of one request: weight of the current rate when blended with the measured one
_TIGHT_STEP: Final = 0.5  # bucket of one request: step, in units of one divided by the cycle
_TIGHT_SEARCHING: Final = 0.5  # as `_TIGHT`, during the search
_SHARED: Final = 0.9  # share of the documented quota: if less succeeds, another tenant uses the rest
_REFILLED: Final = (1.04, 1.06)  # documented intervals after a throttle: the other tenant's token is refilled by then
_LESS_BURST: Final = 0.7  # factor by which the estimated burst shrinks
_PROMPT: Final = 1.5  # requests in flight when a response arrives: with fewer, it still reflects the current rate
_ANCHORS: Final = 64  # throttles that are remembered
_OUTAGE: Final = 3  # throttles in a row, each after a wait, that make an outage
_OUTAGE_S: Final = 20.0  # if they last longer than this
_RETURN: Final = 8  # after an outage, the rate starts at its former value divided by this
_SHORTEST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 45.0
_RECHECK_S: Final = 1.0  # shortest wait during an outage while a response is pending
_SHORTEST_WAIT_S: Final = 1e-6
_BURST_S: Final = 0.05  # seconds of the rate that may be sent at once after a late request


@dataclass(slots=True)
class _Stretch:
    """The time since one throttle, and the successes in it."""

    began: float
    successes: int = 0
    idle_s: float = 0.0  # seconds of it in which nothing was waiting to be sent


@dataclass(slots=True)
class Learner:
    """Paces one operation at a quota that it has to find. Implements `Pacing`."""

    auto: Auto
    rng: random.Random
    _rate: float = field(init=False)  # at which requests are sent
    _quota: float | None = field(default=None, init=False)  # the estimate; None before the first throttle
    _quota_before: float | None = field(default=None, init=False)  # the estimate before the present row of throttles
    _cycle: int = field(default=_SHORTEST_CYCLE, init=False)
    _searching: bool = field(default=True, init=False)
    _burst: float | None = field(default=None, init=False)  # estimate of the service's bucket size
    _tokens: float = field(init=False)  # of our own bucket, refilled at the rate
    _at: float = field(default=float("-inf"), init=False)
    _stretches: list[_Stretch] = field(default_factory=list, init=False)  # oldest first; all end now
    _climb: list[tuple[float, float, int]] = field(default_factory=list, init=False)  # rate, start time, successes
    _successes: int = field(default=0, init=False)
    _grown_at: float = field(default=float("-inf"), init=False)
    _had_to_wait: bool = field(default=False, init=False)  # the rate has delayed the next request
    _limited_at: float = field(default=float("-inf"), init=False)  # when the last delayed request was sent
    _held_until: float = field(default=float("-inf"), init=False)
    _noticed: float = field(default=float("-inf"), init=False)  # the last throttle that was not part of an earlier one
    _noticed_first: float = field(default=float("-inf"), init=False)  # the first throttle of the present row
    _through: int = field(default=0, init=False)  # successes when the search last checked the rate
    _trip_s: float | None = field(default=None, init=False)  # smoothed round-trip time
    _uneven_s: float = field(default=0.0, init=False)  # smoothed deviation of the round-trip time
    _in_a_row: int = field(default=0, init=False)  # throttles
    _in_flight: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._rate = self.auto.per_second
        self._tokens = self._most_tokens()

    @property
    def rate(self) -> Rate:
        """The best estimate of the quota. Before the first throttle, the current rate."""
        return Rate(min(self._quota or self._rate, self.auto.most), max(1.0, self._burst or 1.0))

    @property
    def searching(self) -> bool:
        """Whether the quota is still unknown: before the first throttle, after an outage, or after a rise."""
        return self._searching

    # sending

    def wait(self, now: float) -> float:
        """Seconds until a request may be sent; 0 if now."""
        self._refill(now)
        wait = max(self._held_until - now, (1 - self._tokens) / self._rate)
        if self._in_a_row > 1 and self._in_flight:
            wait = max(wait, _RECHECK_S)
        if wait <= _SHORTEST_WAIT_S:
            return 0.0
        self._had_to_wait = True
        return wait

    def take(self, now: float) -> None:
        """Record that a request is sent now."""
        self._refill(now)
        self._tokens -= 1
        self._in_flight += 1
        if self._had_to_wait:
            self._limited_at, self._had_to_wait = now, False

    def _refill(self, now: float) -> None:
        if self._at == float("-inf"):
            self._at = self._grown_at = now
            self._climb.append((self._rate, now, 0))
        earned = max(0.0, now - self._at) * self._rate
        over = max(0.0, self._tokens + earned - self._most_tokens())
        self._tokens += earned - over
        for stretch in self._stretches if over else ():
            stretch.idle_s += over / self._rate
        self._at = max(self._at, now)

    def _most_tokens(self) -> float:
        """How many requests may be sent at once after a pause."""
        known = max(self.auto.start.burst, self._rate * _BURST_S) if self._burst is None else self._burst
        return max(1.0, min(known, self.auto.burst))

    # learning

    def answered(self, now: float, sent: float) -> None:
        """Record that a request was not throttled."""
        self._measure_trip(now - sent)
        self._in_flight = max(0, self._in_flight - 1)
        self._successes += 1
        for stretch in self._stretches:
            stretch.successes += 1
        if sent >= self._noticed:
            if self._in_a_row >= _OUTAGE and now - self._noticed_first > _OUTAGE_S:
                self._end_outage(now)
            self._in_a_row = 0
        if self._limited_at >= self._grown_at:
            self._grow(now)

    def _measure_trip(self, trip_s: float) -> None:
        """Smooth the round-trip time and its deviation, as in RFC 6298."""
        if self._trip_s is None:
            self._trip_s = trip_s
        self._uneven_s += (abs(trip_s - self._trip_s) - self._uneven_s) / 4
        self._trip_s += (trip_s - self._trip_s) / 8

    def _grow(self, now: float) -> None:
        if not self._searching:
            self._refill(now)
            self._climb_slowly(now)
            self._grown_at = now
        else:
            self._double(now)
        self._rate = min(self._rate, self.auto.most)

    def _double(self, now: float) -> None:
        """Double the rate, if requests were really sent at it and succeeded."""
        passed = now - self._grown_at
        if passed < max(_DOUBLING_S, _DOUBLING_TRIPS * (self._trip_s or 0.0)):
            return
        self._refill(now)
        through, self._through = self._successes - self._through, self._successes
        self._grown_at = now
        if through >= 1 and through >= _SENT * self._rate * passed:
            self._rate *= 2
            self._climb.append((self._rate, now, self._successes))

    def _climb_slowly(self, now: float) -> None:
        """Raise the rate from one step below the estimate to one step above it within a cycle, and further."""
        quota = self._quota or self._rate
        last = self._stretches[-1] if self._stretches else _Stretch(now)
        beyond = last.successes - quota * (now - last.began - last.idle_s)
        if beyond > _RAISED + _RATE_SLACK * last.successes + self._noise(quota):
            self._searching = True
            self._grown_at, self._through = now, self._successes
            return
        cycles = last.successes / self._cycle
        slope, overdue = (1, 1.5) if self._tight else (2, 2)
        self._rate = quota * (1 - self._step + slope * self._step * min(cycles, overdue))
        if cycles > overdue:
            self._rate *= min(2.0, 2 ** (cycles - overdue))  # a throttle was due; the quota has probably been raised

    def _noise(self, rate: float) -> float:
        """Possible error of a count of successes, because round trips take unequal times."""
        return 2 * self._uneven_s * rate

    @property
    def _step(self) -> float:
        """How far the rate goes below and above the estimate, as a share of it."""
        return max((_TIGHT_STEP if self._tight else 1.0) / self._cycle, _SMALLEST_STEP)

    def throttled(self, now: float, sent: float, retry_after_s: float | None = None) -> None:
        """Record that a request was throttled. Updates the estimate and pauses."""
        self._refill(now)
        self._in_flight = max(0, self._in_flight - 1)
        if retry_after_s is not None:
            pause = capped_retry_after(retry_after_s) + self.rng.uniform(0, 1 / self._rate)
            self._held_until = max(self._held_until, now + pause)
        if sent < self._noticed:
            return  # it was sent before the throttle that is already counted
        self._noticed = now
        self._in_a_row += 1
        if self._in_a_row == 1:
            self._noticed_first = now
            self._quota_before = self._quota
            self._measure(now)
        self._pause(now)

    def _pause(self, now: float) -> None:
        self._tokens = min(self._tokens, 0.0)
        interval = max(_SHORTEST_PAUSE_S, 1 / max(self._rate, self.auto.start.per_second))
        longest = min(_LONGEST_PAUSE_S, interval * 2 ** min(self._in_a_row - 1, 32))
        if self._in_a_row > 1:
            self._held_until = max(self._held_until, now + self.rng.uniform(longest / 2, longest))
            self._tokens = 1.0  # no wait beyond the pause
        elif self._shared:
            # the other tenant took the token earlier, and rarely needs the next one at once
            refilled = now + self.rng.uniform(*_REFILLED) / self.auto.start.per_second
            self._held_until = max(self._held_until, refilled)
            self._tokens = 1.0
        else:
            # a bucket of one request was almost full; a larger one gets a small reserve
            self._tokens = self.rng.uniform(0, 0.5) if self._tight else -self.rng.uniform(0, 1)

    def _measure(self, now: float) -> None:
        """Estimate the quota: the bucket is empty now, as at earlier throttles, so successes equal the refill."""
        successes, seconds = self._agreeing(now)
        if successes:
            self._quota = successes / seconds
            if self._tight:
                # a bucket of one request has no reserve: it is empty as soon as the rate is above the quota
                above = max(0.0, self._rate - self._quota)
                self._quota += (_TIGHT_SEARCHING if self._searching else _TIGHT) * above
            if self._burst is None and successes >= _SHORTEST_CYCLE:
                self._learn_burst()
        elif self._quota is None or not self._stretches:
            self._quota = self._rate / 2
        # an account has at least the documented quota, and at least half of that if another tenant shares it
        self._quota = max(self._quota or 0.0, self.auto.per_second / 2)
        self._correct_burst(now, self._quota)
        self._cycle = self._next_cycle(successes, self._quota)
        self._rate = self._quota * (1 - self._step)
        self._searching = False
        self._stretches = [*self._stretches[-_ANCHORS:], _Stretch(now)]

    def _agreeing(self, now: float) -> tuple[int, float]:
        """Successes and seconds of the longest stretch that agrees with the newer ones; drops the others."""
        successes, seconds = 0, 0.0
        low, high = 0.0, float("inf")
        slack = _COUNT_SLACK + self._noise(self._rate)
        for place in range(len(self._stretches) - 1, -1, -1):
            stretch = self._stretches[place]
            busy = max(now - stretch.began - stretch.idle_s, _SHORTEST_WAIT_S)
            low = max(low, (stretch.successes - slack) / busy * (1 - _RATE_SLACK))
            high = min(high, (stretch.successes + slack) / busy * (1 + _RATE_SLACK))
            if low > high:
                del self._stretches[: place + 1]
                break
            successes, seconds = stretch.successes, busy
        return successes, seconds

    def _correct_burst(self, now: float, quota: float) -> None:
        if self._burst is None or not self._stretches:
            return
        last = self._stretches[-1]
        refilled = quota * (now - last.began - last.idle_s)
        if self._tight and _SHORTEST_CYCLE <= last.successes < self._cycle / 4:
            self._burst += 0.5  # the rate had not yet reached the estimate
        elif last.successes < refilled - _COUNT_SLACK - self._noise(self._rate):
            # throttled although little was sent, so the burst is smaller
            self._burst = max(min(_TIGHT_BURST, self._burst), self._burst * _LESS_BURST)

    def _next_cycle(self, known: int, quota: float) -> int:
        """Successes until the next throttle is due: as many as the estimate is based on."""
        if self._tight:
            fresh = self._searching or not self._stretches
            known = 0 if fresh else max(2 * self._stretches[-1].successes, self._cycle // 2)
        longest = max(_CYCLE, int(quota * _CYCLE_S))
        shortest = max(_SHORTEST_CYCLE, int(2 * quota * (self._trip_s or 0.0)))
        return max(shortest, min(longest, known))

    @property
    def _tight(self) -> bool:
        """Whether the service's bucket has room for hardly more than one request."""
        prompt = self._rate * (self._trip_s or 0.0) < _PROMPT
        return prompt and (self._burst or self.auto.start.burst) < _TIGHT_BURST

    @property
    def _shared(self) -> bool:
        """Whether another tenant seems to use the same bucket of one request."""
        return self._tight and (self._quota or self._rate) < _SHARED * self.auto.start.per_second

    def _learn_burst(self) -> None:
        """Estimate the burst: successes beyond the refill, from when the rate passed the quota until a throttle."""
        quota = self._quota or self._rate
        end = self._stretches[0].began
        passed = next(((at, count) for rate, at, count in self._climb if rate > quota), None)
        if passed is not None and self._stretches:
            before = self._successes - self._stretches[0].successes
            self._burst = max(1.0, before - passed[1] - quota * (end - passed[0]))

    def _end_outage(self, now: float) -> None:
        """Start again after an outage: older measurements no longer apply."""
        self._stretches.clear()
        self._rate = max(self._quota or 0.0, self._quota_before or 0.0) / _RETURN
        self._searching = True
        self._grown_at, self._through = now, self._successes
