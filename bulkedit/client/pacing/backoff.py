"""Waits that grow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from ``first_s`` to ``longest_s``, each with full jitter above half of it."""

    first_s: float
    longest_s: float

    def wait(self, attempt: int, rng: random.Random) -> float:
        """Seconds before the attempt of this number (1 for the first repeat); jittered also at the cap."""
        cap = min(self.longest_s, self.first_s * 2 ** min(attempt - 1, 32))
        return rng.uniform(cap / 2, cap)


# What a server may ask for by Retry-After. To ask once more after a minute costs one request; to believe a server that
# names a year ends the run.
LONGEST_RETRY_AFTER_S: Final = 60.0


def asked_for(retry_after_s: float) -> float:
    """Seconds to wait where an answer asks for so many: no less than 0, no more than `LONGEST_RETRY_AFTER_S`."""
    return min(max(0.0, retry_after_s), LONGEST_RETRY_AFTER_S)  # NaN is 0


# A look at an image set that somebody else has locked: nothing is known of how long that takes
POLL: Final = Backoff(first_s=0.25, longest_s=15.0)
# A repeat after a fault that is not the quota's
FAULT: Final = Backoff(first_s=0.5, longest_s=30.0)
