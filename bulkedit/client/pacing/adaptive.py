"""The pacer that finds a quota by itself, and stays at it while it changes.

The service's quota is a token bucket: so many requests a second, and a burst. A throttle says that it was empty at
that moment. What was let through between two throttles is therefore what was refilled between them, whatever the
burst: ``successes / seconds`` is the quota, to one request. That is the whole of the method:

*   **Search.** From the documented default the rate doubles, once a success and not faster than every two seconds,
    while requests are really waiting for it, until the first throttle.
*   **Hold.** From then on every throttle is a measurement: over the longest stretch of throttles that agree with one
    another. The rate goes on a little below the estimate and climbs slowly to a little above it, so that about one
    request in a hundred meets a throttle: less could not tell whether the quota is still the same. The less is known,
    the wider the step.
*   **Change.** Stretches that disagree with the newest are forgotten: the quota has changed, or somebody else takes
    part of it. Where more goes through than the estimate allows, the quota was raised, and the search goes on.
*   **Shared.** Every account has at least the documented quota. Where less goes through a bucket of one request,
    another tenant takes the rest: what it took is refilled one documented interval after a throttle, and asked for
    then.
*   **Outage.** Where nothing goes through any more, one request at a time asks, with waits that double to half a
    minute, each with jitter; nothing is learned from that, and afterwards the rate comes back in a few steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bulkedit.client.pacing.backoff import asked_for
from bulkedit.client.pacing.rates import Rate

if TYPE_CHECKING:
    import random

    from bulkedit.client.pacing.rates import Auto

_DOUBLING_S: Final = 2.0  # the search doubles its rate no faster
_DOUBLING_TRIPS: Final = 3.0  # nor than answers can tell
_SENT: Final = 0.4  # of the rate has to have gone through before it is doubled
_CYCLE: Final = 100  # successes between throttles, when the quota is known well
_CYCLE_S: Final = 10.0  # or what goes through in so many seconds, where that is more
_SMALLEST_STEP: Final = 0.005
_SHORTEST_CYCLE: Final = 5
_COUNT_SLACK: Final = 1.5  # successes: a throttle tells the bucket's level to one request only
_RATE_SLACK: Final = 0.03  # of requests whose way to the service takes unequal times
_RAISED: Final = 3.0  # successes beyond the estimate that prove it to be too low
_TIGHT_BURST: Final = 2.0  # a bucket that holds less keeps hardly anything
_TIGHT: Final = 0.85  # the quota is so far from the measured rate to the rate of now
_TIGHT_STEP: Final = 0.5  # of a cycle's reciprocal
_TIGHT_SEARCHING: Final = 0.5
_SHARED: Final = 0.9  # of the documented quota, which every account has: where less goes through, others take the rest
_REFILLED: Final = (1.04, 1.06)  # documented intervals after a throttle: what another has taken is refilled by then
_LESS_BURST: Final = 0.7
_PROMPT: Final = 1.5  # requests under way when an answer comes: it tells of the rate of now
_ANCHORS: Final = 64  # throttles that are remembered
_OUTAGE: Final = 3  # throttles in a row, each after a wait, without a success between them
_OUTAGE_S: Final = 20.0  # and for so long
_RETURN: Final = 8  # after an outage the rate begins at this part of what it was
_SHORTEST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 45.0
_ASK_AGAIN_S: Final = 1.0  # while an answer is awaited; the answer itself comes as news
_SHORTEST_WAIT_S: Final = 1e-6
_BURST_S: Final = 0.05  # of the rate may be made good at once where a request left late


@dataclass(slots=True)
class _Stretch:
    """From one throttle on: what has gone through since."""

    began: float
    successes: int = 0
    idle_s: float = 0.0  # of which so long nothing wanted to be sent


@dataclass(slots=True)
class Learner:
    """Paces one operation at a quota that it is not told. As `Pacing` has it."""

    auto: Auto
    rng: random.Random
    _rate: float = field(init=False)  # at which requests go out
    _quota: float | None = field(default=None, init=False)  # the estimate; None before the first throttle
    _before: float | None = field(default=None, init=False)  # and before the throttles that go on
    _cycle: int = field(default=_SHORTEST_CYCLE, init=False)
    _searching: bool = field(default=True, init=False)
    _burst: float | None = field(default=None, init=False)  # of the service's bucket, as far as it showed
    _tokens: float = field(init=False)  # of a bucket of our own, filled at the rate
    _at: float = field(default=float("-inf"), init=False)
    _stretches: list[_Stretch] = field(default_factory=list, init=False)  # oldest first, all to this moment
    _climb: list[tuple[float, float, int]] = field(default_factory=list, init=False)  # rate, from when, successes
    _successes: int = field(default=0, init=False)
    _grown_at: float = field(default=float("-inf"), init=False)
    _had_to_wait: bool = field(default=False, init=False)  # the next request, for the rate
    _limited_at: float = field(default=float("-inf"), init=False)  # the last request left that had had to
    _held_until: float = field(default=float("-inf"), init=False)
    _noticed: float = field(default=float("-inf"), init=False)  # the last throttle that was not part of an earlier one
    _noticed_first: float = field(default=float("-inf"), init=False)  # of those in a row
    _through: int = field(default=0, init=False)  # successes, when the rate was last looked at in a search
    _trip_s: float | None = field(default=None, init=False)  # from a request to its answer
    _uneven_s: float = field(default=0.0, init=False)
    _in_a_row: int = field(default=0, init=False)
    _under_way: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._rate = self.auto.per_second
        self._tokens = self._most_tokens()

    @property
    def rate(self) -> Rate:
        """The best estimate of the quota; before the first throttle the rate that has been reached."""
        return Rate(min(self._quota or self._rate, self.auto.most), max(1.0, self._burst or 1.0))

    @property
    def found(self) -> bool:
        """Whether a throttle has shown the quota."""
        return self._quota is not None

    # sending

    def wait(self, now: float) -> float:
        """Seconds until a request may go out; 0 when one may go now."""
        self._refill(now)
        wait = max(self._held_until - now, (1 - self._tokens) / self._rate)
        if self._in_a_row > 1 and self._under_way:
            wait = max(wait, _ASK_AGAIN_S)
        if wait <= _SHORTEST_WAIT_S:
            return 0.0
        self._had_to_wait = True
        return wait

    def take(self, now: float) -> None:
        """A request goes out now."""
        self._refill(now)
        self._tokens -= 1
        self._under_way += 1
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
        """What may go out at once after a lull."""
        known = max(self.auto.start.burst, self._rate * _BURST_S) if self._burst is None else self._burst
        return max(1.0, min(known, self.auto.burst))

    # learning

    def answered(self, now: float, sent: float) -> None:
        """A request was not throttled."""
        self._timed(now - sent)
        self._under_way = max(0, self._under_way - 1)
        self._successes += 1
        for stretch in self._stretches:
            stretch.successes += 1
        if sent >= self._noticed:
            if self._in_a_row >= _OUTAGE and now - self._noticed_first > _OUTAGE_S:
                self._come_back(now)
            self._in_a_row = 0
        if self._limited_at >= self._grown_at:
            self._grow(now)

    def _timed(self, trip_s: float) -> None:
        """How long answers take, and how unevenly, as RFC 6298 smooths it."""
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
        """Where the present rate has really been sent, and has gone through."""
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
        """From one step below the estimate to one step above it within a cycle, and on."""
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
        """Successes by which a count may be wrong because answers take unequal times."""
        return 2 * self._uneven_s * rate

    @property
    def _step(self) -> float:
        """How far below and above the estimate the rate goes, as a part of it."""
        return max((_TIGHT_STEP if self._tight else 1.0) / self._cycle, _SMALLEST_STEP)

    def throttled(self, now: float, sent: float, retry_after_s: float | None = None) -> None:
        """A request was throttled: learn from it, and send nothing for a moment."""
        self._refill(now)
        self._under_way = max(0, self._under_way - 1)
        if retry_after_s is not None:
            pause = asked_for(retry_after_s) + self.rng.uniform(0, 1 / self._rate)
            self._held_until = max(self._held_until, now + pause)
        if sent < self._noticed:
            return  # it was out already when the bucket was found empty
        self._noticed = now
        self._in_a_row += 1
        if self._in_a_row == 1:
            self._noticed_first = now
            self._before = self._quota
            self._measure(now)
        self._pause(now)

    def _pause(self, now: float) -> None:
        self._tokens = min(self._tokens, 0.0)
        interval = max(_SHORTEST_PAUSE_S, 1 / max(self._rate, self.auto.start.per_second))
        longest = min(_LONGEST_PAUSE_S, interval * 2 ** min(self._in_a_row - 1, 32))
        if self._in_a_row > 1:
            self._held_until = max(self._held_until, now + self.rng.uniform(longest / 2, longest))
            self._tokens = 1.0  # the wait is the pause, and nothing beside it
        elif self._shared:
            # whoever had the one request of the bucket had it before now, and seldom wants the next one at once
            refilled = now + self.rng.uniform(*_REFILLED) / self.auto.start.per_second
            self._held_until = max(self._held_until, refilled)
            self._tokens = 1.0
        else:
            # the bucket of one request was not quite full; a larger one gets a little reserve
            self._tokens = self.rng.uniform(0, 0.5) if self._tight else -self.rng.uniform(0, 1)

    def _measure(self, now: float) -> None:
        """The bucket is empty now. So it was at the throttles before: what has gone through is what was refilled."""
        successes, seconds = self._agreeing(now)
        if successes:
            self._quota = successes / seconds
            if self._tight:
                # a bucket of one request keeps nothing: it is empty as soon as the rate is above the quota
                above = max(0.0, self._rate - self._quota)
                self._quota += (_TIGHT_SEARCHING if self._searching else _TIGHT) * above
            if self._burst is None and successes >= _SHORTEST_CYCLE:
                self._learn_burst()
        elif self._quota is None or not self._stretches:
            self._quota = self._rate / 2
        # an account has at least the documented quota; half of it is left where another tenant takes the other half
        self._quota = max(self._quota or 0.0, self.auto.per_second / 2)
        self._correct_burst(now, self._quota)
        self._cycle = self._next_cycle(successes, self._quota)
        self._rate = self._quota * (1 - self._step)
        self._searching = False
        self._stretches = [*self._stretches[-_ANCHORS:], _Stretch(now)]

    def _agreeing(self, now: float) -> tuple[int, float]:
        """Successes and seconds of the longest of the stretches that agree with the newest; others are forgotten."""
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
            self._burst += 0.5  # the rate had not even come up to the estimate
        elif last.successes < refilled - _COUNT_SLACK - self._noise(self._rate):
            # throttled though little was sent: it holds less
            self._burst = max(min(_TIGHT_BURST, self._burst), self._burst * _LESS_BURST)

    def _next_cycle(self, known: int, quota: float) -> int:
        """Successes until the next throttle is due: as many as the estimate rests on."""
        if self._tight:
            fresh = self._searching or not self._stretches
            known = 0 if fresh else max(2 * self._stretches[-1].successes, self._cycle // 2)
        longest = max(_CYCLE, int(quota * _CYCLE_S))
        shortest = max(_SHORTEST_CYCLE, int(2 * quota * (self._trip_s or 0.0)))
        return max(shortest, min(longest, known))

    @property
    def _tight(self) -> bool:
        """Whether the service's bucket holds hardly more than one request."""
        prompt = self._rate * (self._trip_s or 0.0) < _PROMPT
        return prompt and (self._burst or self.auto.start.burst) < _TIGHT_BURST

    @property
    def _shared(self) -> bool:
        """Whether a bucket of one request seems to serve another tenant, too."""
        return self._tight and (self._quota or self._rate) < _SHARED * self.auto.start.per_second

    def _learn_burst(self) -> None:
        """What went through before the first throttle beyond the refill, from where the climb passed the quota."""
        quota = self._quota or self._rate
        end = self._stretches[0].began
        passed = next(((at, count) for rate, at, count in self._climb if rate > quota), None)
        if passed is not None and self._stretches:
            before = self._successes - self._stretches[0].successes
            self._burst = max(1.0, before - passed[1] - quota * (end - passed[0]))

    def _come_back(self, now: float) -> None:
        """Something goes through again after an outage: what lies before says nothing of what comes."""
        self._stretches.clear()
        self._rate = max(self._quota or 0.0, self._before or 0.0) / _RETURN
        self._searching = True
        self._grown_at, self._through = now, self._successes
