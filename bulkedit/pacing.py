"""How fast, and how many at once: pure decisions, with the clock passed in.

The documented quotas are far below one call per second (UpdateImageSetMetadata: 0.25/s, burst 1), so everything here
counts in seconds per request rather than in requests per second.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bulkedit.errors import UsageError

if TYPE_CHECKING:
    import random


class Operation(StrEnum):
    """The operations that have a quota of their own."""

    UPDATE = "update"  # UpdateImageSetMetadata
    GET = "get"  # GetImageSet
    METADATA = "metadata"  # GetImageSetMetadata
    VERSIONS = "versions"  # ListImageSetVersions
    SEARCH = "search"  # SearchImageSets


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: ``per_second`` requests in the long run, ``burst`` at once."""

    per_second: float
    burst: float = 1.0

    def __post_init__(self) -> None:
        if not self.per_second > 0 or self.burst < 1:
            raise ValueError("a rate is above 0 and its burst at least 1")

    def __str__(self) -> str:
        return f"{self.per_second:g}/s"


# throttling-limits: the defaults of an account
DOCUMENTED: Final[dict[Operation, Rate]] = {
    Operation.UPDATE: Rate(0.25, 1),
    Operation.GET: Rate(25, 50),
    Operation.METADATA: Rate(50, 100),
    Operation.VERSIONS: Rate(25, 50),
    Operation.SEARCH: Rate(25, 50),
}

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_rate(text: str, *, burst: float = 1.0) -> Rate:
    """Read ``0.25/s``, ``15/m``, ``900/h`` or a bare number of requests per second.

    Raises UsageError.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(?:/([smh]))?", text.strip())
    if match is None or float(match[1]) <= 0:
        raise UsageError("the rate is not understood.", hint="Write it as 0.25/s, 15/m or 900/h.")
    return Rate(float(match[1]) / _UNITS[match[2] or "s"], burst)


@dataclass(slots=True)
class Pacer:
    """A token bucket of one operation. ``now`` is any clock that only goes forward, in seconds.

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
        return wait if wait > _SHORTEST_WAIT_S else 0.0

    def take(self, now: float) -> None:
        """A request goes out now."""
        self._refill(now)
        self._tokens = max(0.0, self._tokens - 1)

    def answered(self) -> None:
        """A request was not throttled."""
        self._throttled_in_a_row = 0

    def throttled(self, now: float, retry_after_s: float | None = None) -> None:
        """A request was throttled: send nothing for a moment."""
        self._refill(now)
        self._tokens = min(self._tokens, 0.0)
        self._throttled_in_a_row = min(self._throttled_in_a_row + 1, _LONGEST_ROW)
        interval = 1 / self.rate.per_second
        pause = retry_after_s if retry_after_s is not None else interval * 2 ** (self._throttled_in_a_row - 1)
        jitter = self.rng.uniform(0, interval)
        self._held_until = max(self._held_until, now + min(pause, _LONGEST_PAUSE_S) + jitter)

    def _refill(self, now: float) -> None:
        if self._at > float("-inf"):
            earned = max(0.0, now - self._at) * self.rate.per_second
            self._tokens = min(self.rate.burst, self._tokens + earned)
        self._at = max(self._at, now)


_SHORTEST_WAIT_S: Final = 1e-6
_LONGEST_ROW: Final = 6
_LONGEST_PAUSE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from ``first_s`` to ``longest_s``, each with full jitter above half of it."""

    first_s: float
    longest_s: float

    def wait(self, attempt: int, rng: random.Random) -> float:
        """Seconds before the attempt of this number (1 for the first repeat); jittered also at the cap."""
        cap = min(self.longest_s, self.first_s * 2 ** min(attempt - 1, 32))
        return rng.uniform(cap / 2, cap)


# A look at an image set whose update was accepted: small documents settle within a second or so, large ones later
LOOK: Final = Backoff(first_s=0.25, longest_s=15.0)
# A repeat after a fault that is not the quota's
FAULT: Final = Backoff(first_s=0.5, longest_s=30.0)
