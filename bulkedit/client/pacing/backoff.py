"""Exponential backoff with jitter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from ``first_s`` to ``longest_s`` seconds. Each is random, between half of it and all of it."""

    first_s: float
    longest_s: float

    def wait(self, attempt: int, rng: random.Random) -> float:
        """Seconds to wait after this attempt (from 1)."""
        cap = min(self.longest_s, self.first_s * 2 ** min(attempt - 1, 32))
        return rng.uniform(cap / 2, cap)


# The longest Retry-After that is obeyed. A retry after a minute costs one request; a Retry-After of a year would end
# the run.
LONGEST_RETRY_AFTER_S: Final = 60.0


def capped_retry_after(retry_after_s: float) -> float:
    """Retry-After in seconds, limited to the range 0 to `LONGEST_RETRY_AFTER_S`."""
    return min(max(0.0, retry_after_s), LONGEST_RETRY_AFTER_S)  # NaN is 0


# Between polls of an image set that another writer has locked: how long that takes is not known
POLL: Final = Backoff(first_s=0.25, longest_s=15.0)
# Before a retry after a fault that is not a throttle
FAULT: Final = Backoff(first_s=0.5, longest_s=30.0)
