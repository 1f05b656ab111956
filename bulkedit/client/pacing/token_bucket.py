"""The pacer for a fixed rate: a token bucket."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from bulkedit.client.pacing.adaptive import Learner
from bulkedit.client.pacing.backoff import capped_retry_after
from bulkedit.client.pacing.rates import Auto, Rate

if TYPE_CHECKING:
    import random


class Pacing(Protocol):
    """The interface of pacers. Each paces one operation. ``now`` is a monotonic clock, in seconds.

    For each request: call `wait` until it returns 0, call `take`, send the request, then call `answered` or
    `throttled` with the time at which it was sent.
    """

    rng: random.Random

    @property
    def rate(self) -> Rate:
        """The fixed rate, or the best estimate of the quota."""

    @property
    def searching(self) -> bool:
        """Whether the quota is still unknown: `rate` is then what is tried, not what was found."""

    def wait(self, now: float) -> float:
        """Seconds until a request may be sent; 0 if now. Called only if a request is ready to be sent."""

    def take(self, now: float) -> None:
        """Record that a request is sent now."""

    def answered(self, now: float, sent: float) -> None:
        """Record that a request was not throttled."""

    def throttled(self, now: float, sent: float, retry_after_s: float | None = None) -> None:
        """Record that a request was throttled. Pauses sending."""


def pacer(rate: Rate | Auto, rng: random.Random) -> Pacing:
    """The pacer for a fixed rate, or for a quota that has to be found."""
    return Learner(rate, rng) if isinstance(rate, Auto) else Pacer(rate, rng)


@dataclass(slots=True)
class Pacer:
    """A token bucket for one operation.

    After a throttle the bucket stays empty for a while, longer after each further throttle. Jitter spreads the retries.
    """

    rate: Rate
    rng: random.Random
    _tokens: float = field(init=False)
    _at: float = field(default=float("-inf"), init=False)
    _held_until: float = field(default=float("-inf"), init=False)
    _throttled_in_a_row: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._tokens = self.rate.burst

    @property
    def searching(self) -> bool:
        """False: the rate is given."""
        return False

    def wait(self, now: float) -> float:
        """Seconds until a request may be sent; 0 if now."""
        self._refill(now)
        held = self._held_until - now
        short = (1 - self._tokens) / self.rate.per_second
        wait = max(held, short)
        # shorter waits come from rounding, or are too short for a clock with large numbers
        return wait if wait > SHORTEST_WAIT_S else 0.0

    def take(self, now: float) -> None:
        """Record that a request is sent now."""
        self._refill(now)
        self._tokens = max(0.0, self._tokens - 1)

    def answered(self, now: float, sent: float) -> None:  # noqa: ARG002 - part of `Pacing`
        """Record that a request was not throttled."""
        self._throttled_in_a_row = 0

    def throttled(self, now: float, sent: float, retry_after_s: float | None = None) -> None:  # noqa: ARG002
        """Record that a request was throttled. Pauses sending."""
        self._refill(now)
        self._tokens = min(self._tokens, 0.0)
        self._throttled_in_a_row = min(self._throttled_in_a_row + 1, _LONGEST_ROW)
        interval = 1 / self.rate.per_second
        backoff = min(interval * 2 ** (self._throttled_in_a_row - 1), _LONGEST_PAUSE_S)
        pause = backoff if retry_after_s is None else capped_retry_after(retry_after_s)
        jitter = self.rng.uniform(0, interval)
        self._held_until = max(self._held_until, now + pause + jitter)

    def _refill(self, now: float) -> None:
        if self._at > float("-inf"):
            earned = max(0.0, now - self._at) * self.rate.per_second
            self._tokens = min(self.rate.burst, self._tokens + earned)
        self._at = max(self._at, now)


SHORTEST_WAIT_S: Final = 1e-6
_LONGEST_ROW: Final = 6
_LONGEST_PAUSE_S: Final = 60.0
