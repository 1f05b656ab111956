"""The pacer that finds a quota by itself, and follows it when it changes.

The service's quota is a token bucket with a rate and a burst. A throttled request changes nothing and costs one round
trip. The method follows from that; what answers show about the quota, `Evidence` says.

*   **Search.** Two requests are under way as soon as the first is answered, and more while requests wait for the rate,
    until the first throttle. That leaves a first guess: the burst of a quota is about two seconds of its rate, and the
    documented quota is the least that an account has. The rate climbs from the guess to the second throttle.
*   **Remembered.** A quota that an earlier run has measured is a guess too. A few more requests are under way at once
    in the search. If the successes until the first throttle agree with it, the search ends; if not, it is forgotten.
*   **Hold.** Then every throttle is a measurement. The rate continues a little below the estimate and rises slowly to a
    little above it. So about one request in fifty is throttled; with fewer, a change would go unnoticed. The less
    is known, the more often. While it agrees with what is seen, the documented quota is taken for the estimate.
*   **Change.** If a throttle is overdue, the quota was raised: the rate climbs. If measurements disagree, the newest
    count.
*   **Shared.** If less than the documented quota succeeds, another tenant uses the rest, request by request. A throttle
    says that it had its turn; one documented interval later there is a token again.
*   **Outage.** If nothing succeeds any more, one request at a time is sent, with jittered waits that double. What
    follows is a new search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bulkedit.client.pacing.backoff import capped_retry_after
from bulkedit.client.pacing.evidence import SHORTEST_S, Evidence
from bulkedit.client.pacing.rates import Rate

if TYPE_CHECKING:
    import random

    from bulkedit.client.pacing.rates import Auto

_TOGETHER: Final = 2.0  # requests under way at the start of the search: as many of them are throttled at its end
_REMEMBERED_TOGETHER: Final = 6.0  # the same, if a remembered quota asks for more; it may be too high by now
_CLIMB_S: Final = 2.0  # seconds in which a climbing rate grows by the factor e: throttles need time to arrive
_SHORTEST_TRIP_S: Final = 0.01
_FIRST_CYCLE: Final = 5  # successes between throttles, before much is known
_CONFIRMED_CYCLE: Final = 10  # the same, after a remembered quota was confirmed
_CYCLE: Final = 50  # the same, if much is known
_CYCLE_S: Final = 10.0  # or the successes of this many seconds, if that is more
_LONGER: Final = 3  # times as many successes as between the last two throttles: the next cycle, if it is not too long
_STEP: Final = 0.5  # of the rate around the estimate, divided by the cycle
_OVERDUE: Final = 1.5  # cycles without a throttle
_UNKNOWN: Final = 1.5  # times the estimate: if the rate has climbed so far, the quota is unknown again
_LOST: Final = 1.04  # times what was counted: the rate, if tokens were lost because requests came late to a full bucket
_SHARED: Final = 0.9  # share of the documented quota: if less succeeds, another tenant uses the rest
_SURE: Final = 1.05  # intervals after which a token is there, with something for unequal trips
_OUTAGE: Final = 3  # throttles in a row, each after a longer wait
_LONGEST_PAUSE_S: Final = 30.0  # and up to half as much again


@dataclass(slots=True)
class Learner:
    """Paces one operation at a quota that it has to find. Implements `Pacing`."""

    auto: Auto
    rng: random.Random
    _rate: float = field(init=False)  # at which requests are sent
    _quota: float | None = field(default=None, init=False)  # the estimate; None before the first throttle
    _size: float = field(default=1.0, init=False)  # estimate of the burst
    _evidence: Evidence = field(default_factory=Evidence, init=False)
    _documented: bool = field(default=True, init=False)  # whether the estimate is the documented quota
    _enough: bool = field(default=False, init=False)  # whether the estimate is based on a measurement
    _cycle: int = field(default=_FIRST_CYCLE, init=False)  # successes after which a throttle is due
    _tried: int = field(default=0, init=False)  # successes since the last throttle that the rate has held back
    _waited: tuple[bool, bool] = field(default=(False, False), init=False)  # for the rate: the last request, the next
    _tokens: float = field(default=1.0, init=False)  # of our own bucket, refilled at the rate
    _at: float = field(default=-math.inf, init=False)  # the time of `_tokens`
    _in_flight: int = field(default=0, init=False)  # requests
    _together: float = field(default=1.0, init=False)  # requests that may be in flight before the first throttle
    _trip_s: float = field(default=0.0, init=False)  # smoothed round-trip time
    _uneven_s: float = field(default=0.0, init=False)  # smoothed deviation from it
    _held_until: float = field(default=-math.inf, init=False)
    _noticed: float = field(default=-math.inf, init=False)  # the last throttle that was not part of an earlier one
    _in_a_row: int = field(default=0, init=False)  # throttles

    def __post_init__(self) -> None:
        self._rate = self.auto.per_second
        self._tokens = self._together = max(1.0, min(self.auto.start.burst, self.auto.burst))

    @property
    def rate(self) -> Rate:
        """The best estimate of the quota; if a throttle is overdue, the rate that is tried."""
        start, quota = self.auto.start, self._quota
        if quota is None:
            return Rate(min(max(start.per_second, self._evidence.guess(self._at)), self.auto.most), start.burst)
        found = max(quota, self._rate) if self.searching else quota
        return Rate(min(found, self.auto.most), self._size)

    @property
    def searching(self) -> bool:
        """Whether the quota is unknown: until the second throttle, after an outage, or after a rise."""
        return self._quota is None or self._cycle == 1 or self._rate > _UNKNOWN * self._quota

    @property
    def measured(self) -> Rate | None:
        """The quota, if it was measured. It is not while it is searched, or if a limit of ours is lower."""
        found = self.rate
        return found if self._enough and not self.searching and found.per_second < self.auto.most else None

    @property
    def _burst(self) -> float:
        """How many requests may be sent at once after a pause."""
        return self.auto.start.burst if self._quota is None else self._size

    # sending

    def wait(self, now: float) -> float:
        """Seconds until a request may be sent; 0 if now."""
        self._refill(now)
        wait = max(self._held_until - now, (1 - self._tokens) / self._rate)
        most = 1 if self._in_a_row > 1 else max(self._together, self._rate * self._trip_s)
        if self._in_flight >= most and (self.searching or self._in_a_row > 1):
            wait = max(wait, self._trip_s, _SHORTEST_TRIP_S)  # an answer comes first
        if wait <= SHORTEST_S:
            return 0.0
        self._waited = self._waited[0], True
        return wait

    def take(self, now: float) -> None:
        """Record that a request is sent now."""
        self._refill(now)
        self._tokens -= 1
        self._in_flight += 1
        self._waited = self._waited[1], False

    def _refill(self, now: float) -> None:
        if self._at == -math.inf:
            self._at = now
            self._evidence.begin(now)
        earned = max(0.0, now - max(self._at, self._held_until)) * self._rate
        over = max(0.0, self._tokens + earned - max(1.0, min(self._burst, self.auto.burst)))
        self._tokens += earned - over
        if over:
            self._evidence.idle(over / self._rate)
        self._at = max(self._at, now)

    # learning

    def answered(self, now: float, sent: float) -> None:
        """Record that a request was not throttled."""
        self._refill(now)
        self._in_flight = max(0, self._in_flight - 1)
        trip_s = max(now - sent, _SHORTEST_TRIP_S)
        if self._trip_s:
            self._uneven_s += (abs(trip_s - self._trip_s) - self._uneven_s) / 4  # both smoothed as in RFC 6298
        self._trip_s += (trip_s - self._trip_s) / (8 if self._trip_s else 1)
        self._evidence.success(now)
        if sent > self._noticed:
            self._in_a_row = 0
        if self._waited[0]:
            self._tried += 1
            self._change_rate()
        elif self._quota is None and self._evidence.newest == 1:
            self._change_rate()  # the first answer shows how far away the service is
            self._tokens = max(self._tokens, min(1.0, (now - sent) * self._rate))

    def _change_rate(self) -> None:
        """Raise the rate from one step below the estimate to one step above it within a cycle, and further."""
        more = 1 / _CLIMB_S
        if self._quota is None:
            together = min(_TOGETHER, self._evidence.newest) + max(0, self._tried - 1) * more * self._trip_s
            if (known := self.auto.remembered) is not None:
                doubled = min(1 + self._evidence.newest, known.per_second * self._trip_s)
                together = max(together, min(doubled, _REMEMBERED_TOGETHER))
            self._together = max(self._together, together)
            rate = max(self.auto.per_second, together / self._trip_s)
        else:
            cycles, step = self._tried / self._cycle, _STEP / self._cycle
            rate = self._quota * (1 + step * (2 * min(cycles, _OVERDUE) - 1))
            if cycles > _OVERDUE:
                rate = min(self._rate + more, rate * 4 ** min(cycles - _OVERDUE, 10))
        self._rate = min(rate, self.auto.most)

    def throttled(self, now: float, sent: float, retry_after_s: float | None = None) -> None:
        """Record that a request was throttled. Updates the estimate and pauses."""
        self._refill(now)
        self._in_flight = max(0, self._in_flight - 1)
        if retry_after_s is not None:
            pause = capped_retry_after(retry_after_s) + self.rng.uniform(0, 1 / self._rate)
            self._held_until = max(self._held_until, now + pause)
        if sent <= self._noticed:
            return  # it was sent before the throttle that is already counted
        self._noticed = now
        self._in_a_row += 1
        if self._in_a_row == 1:
            self._quota = self._measured(now)
            self._size = self._evidence.burst(self._quota)
        self._tried = 0
        self._change_rate()
        self._pause(now)

    def _measured(self, now: float) -> float:
        """The new estimate of the quota."""
        least = self.auto.start.per_second
        if self._quota is None:
            guess, known = max(least, self._evidence.guess(now)), self.auto.remembered
            confirmed = known is not None and self._evidence.confirms(now, known, guess)
            self._evidence.opened(now)
            self._documented = guess == least
            if known is not None and confirmed:
                self._documented, self._enough, self._cycle = False, True, _CONFIRMED_CYCLE
                return known.per_second
            self._cycle = _FIRST_CYCLE if self._documented else 1
            return guess
        last = self._evidence.newest
        found = self._evidence.emptied(now, self._quota, self._size, self._uneven_s)
        self._documented &= found.low <= least <= found.high * _LOST
        quota = found.rate
        self._enough |= found.successes >= _FIRST_CYCLE
        if self._documented or found.successes < _FIRST_CYCLE:
            quota = min(max(self._quota, found.low), found.high)
        # an account has at least the documented quota, and at least half of that if another tenant shares it
        quota = max(quota, least / 2)
        longest = max(_CYCLE, int(quota * _CYCLE_S))
        shortest = max(_FIRST_CYCLE, int(2 * quota * self._trip_s))
        self._cycle = max(shortest, min(longest, max(_LONGER * last, self._cycle // 2)))
        return quota

    def _pause(self, now: float) -> None:
        quota, least = self._quota or self._rate, self.auto.start.per_second
        self._tokens = 1.0  # no wait beyond the pause
        self._held_until = max(self._held_until, now + 1 / self.auto.most)  # throttled requests count for the limit
        if self._in_a_row > 1:
            interval = max(_SHORTEST_TRIP_S, 1 / max(quota, least))
            doublings = min(max(0, self._in_a_row - _OUTAGE), 32)
            pause = min(interval * 2**doublings, _LONGEST_PAUSE_S) * self.rng.uniform(1, 1.5)
            self._held_until = max(self._held_until, now + pause)
            self._documented = False
            self._evidence.again(now if self._in_a_row < _OUTAGE else self._held_until)
            if self._in_a_row < _OUTAGE:
                self._evidence.idle(pause - interval)  # the token is there before
            if self._in_a_row == _OUTAGE:
                self._cycle = 1
        elif self._burst >= 2 or quota * self._trip_s >= 1:
            self._tokens = -self.rng.uniform(0, 1)  # a small reserve
        elif quota < _SHARED * least:
            self._held_until = max(self._held_until, now + _SURE / least)
        else:
            due = self._evidence.last_success - self._trip_s + _SURE / quota
            self._held_until = max(self._held_until, due, now + (_SURE - 1) / quota)
