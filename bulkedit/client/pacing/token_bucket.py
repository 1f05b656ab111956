"""The pacer of a rate that is given: a token bucket."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from bulkedit.client.pacing.adaptive import Learner
from bulkedit.client.pacing.backoff import asked_for
from bulkedit.client.pacing.rates import Auto, Rate

if TYPE_CHECKING:
    import random


class Pacing(Protocol):
    """What paces one operation. ``now`` is any clock that only goes forward, in seconds.

    For each request: `wait` until it says 0, `take`, send, and then one of `answered` and `throttled`, with the time
    at which it was sent.
    """

    rng: random.Random

    @property
    def rate(self) -> Rate:
        """What is sent at present: the rate that was given, or the best estimate of the quota."""

    def wait(self, now: float) -> float:
        """Seconds until a request may go out; 0 when one may go now. Asked only where one is ready to go."""

    def take(self, now: float) -> None:
        """A request goes out now."""

    def answered(self, now: float, sent: float) -> None:
        """A request was not throttled."""

    def throttled(self, now: float, sent: float, retry_after_s: float | None = None) -> None:
        """A request was throttled: send nothing for a moment."""


def pacer(rate: Rate | Auto, rng: random.Random) -> Pacing:
    """The pacer of a rate that is given, or of one that is to be found."""
    return Learner(rate, rng) if isinstance(rate, Auto) else Pacer(rate, rng)


@dataclass(slots=True)
class Pacer:
    """A token bucket of one operation.

    After a throttle the bucket is held empty for a moment that grows while throttles go on and has full jitter, so
    that what was turned away does not come back together.
    """

    rate: Rate
    rng: random.Random
    _tokens: float = field(init=False)
    _at: float = field(default=float("-inf"), init=False)
    _held_until: float = field(default=float("-inf"), init=False)
    _throttled_in_a_row: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._tokens = self.rate.burst

    def wait(self, now: float) -> float:
        """Seconds until a request may go out; 0 when one may go now."""
        self._refill(now)
        held = self._held_until - now
        short = (1 - self._tokens) / self.rate.per_second
        wait = max(held, short)
        # a wait that rounding made, or that a clock of large numbers cannot count, is none
        return wait if wait > SHORTEST_WAIT_S else 0.0

    def take(self, now: float) -> None:
        """A request goes out now."""
        self._refill(now)
        self._tokens = max(0.0, self._tokens - 1)

    def answered(self, now: float, sent: float) -> None:  # noqa: ARG002 - as `Pacing` has it
        """A request was not throttled."""
        self._throttled_in_a_row = 0

    def throttled(self, now: float, sent: float, retry_after_s: float | None = None) -> None:  # noqa: ARG002
        """A request was throttled: send nothing for a moment."""
        self._refill(now)
        self._tokens = min(self._tokens, 0.0)
        self._throttled_in_a_row = min(self._throttled_in_a_row + 1, _LONGEST_ROW)
        interval = 1 / self.rate.per_second
        own = min(interval * 2 ** (self._throttled_in_a_row - 1), _LONGEST_PAUSE_S)
        pause = own if retry_after_s is None else asked_for(retry_after_s)
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
