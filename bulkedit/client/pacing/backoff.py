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


# Between polls of an image set at first, if it is not known how long its action takes
POLL: Final = Backoff(first_s=0.25, longest_s=15.0)
_OF_WAIT: Final = 0.05  # share of the time waited so far
_LONGEST_POLL_S: Final = 60.0
_POLLS_PER_S: Final = 5.0  # of all lanes that wait: a fifth of the documented quota of GetImageSet


def unlock_poll_in(polls: int, waited_s: float, waiting: int, rng: random.Random) -> float:
    """Seconds to the next poll of an image set that another writer has locked.

    ``polls``: polls since the last request. ``waited_s``: seconds since the first poll that found the lock.
    ``waiting``: lanes that wait for an unlock; the more, the rarer each of them polls.
    """
    long = rng.uniform(0.5, 1.0) * min(_LONGEST_POLL_S, waited_s * _OF_WAIT)
    return max(POLL.wait(polls, rng), long, min(waiting / _POLLS_PER_S, waited_s))


# Before an update of a study is sent again that was refused as locked, if no image set of the study is seen locked
UNSEEN_LOCK: Final = Backoff(first_s=60.0, longest_s=300.0)
# Before a retry after a fault that is not a throttle
FAULT: Final = Backoff(first_s=0.5, longest_s=30.0)
