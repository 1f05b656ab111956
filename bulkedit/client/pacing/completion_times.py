"""Learns from polls how long updates take to complete, and decides when to poll next."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

_KEPT: Final = 128  # latest completion times that are remembered
_FIRST_POLL: Final = 0.9  # share of updates that the first poll should find completed
_UNKNOWN_S: Final = 0.25  # before anything was observed
# An update that the first poll finds completed did so earlier. So polls move earlier, until one comes too early:
_EARLIER: Final = 0.995  # factor for each such update
_FAR_EARLIER: Final = 0.9  # factor if no lock was seen to last nearly as long: those polls were late
_NEARLY: Final = 0.8  # share of the time of the poll
_BETWEEN: Final = 0.35  # assumed completion between the last poll that found a lock (0) and the first that did not (1)
_STEP: Final = 0.05  # share of the learned time between the first and the second poll
_SHORTEST_STEP_S: Final = 0.05
_LONGEST_STEP_S: Final = 15.0


@dataclass(slots=True)
class CompletionTimes:
    """Seconds from an update's acceptance to its completion, as polls of this run have shown."""

    _latest: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _ordered: list[float] = field(default_factory=list)  # cache: `_latest`, sorted
    _longest_lock_s: float = 0.0  # longest lock that a poll has seen

    def __len__(self) -> int:
        return len(self._latest)

    def completed(self, seconds: float, locked_s: float | None) -> None:
        """Record that a poll, sent ``seconds`` after the acceptance, found the update completed.

        ``locked_s``: when the last poll before it found the image set locked. None: this was the first poll.
        """
        if locked_s is not None:
            self._add(locked_s + _BETWEEN * (seconds - locked_s))
            return
        polled = min(seconds, self.first_poll())  # without the time that the poll has waited for a quota
        if polled * _NEARLY < self._longest_lock_s < polled:  # no update was seen to take as long as this poll assumed
            self._add(self._longest_lock_s + _BETWEEN * (polled - self._longest_lock_s))
        else:
            self._add(polled * (_EARLIER if self._longest_lock_s >= polled else _FAR_EARLIER))

    def _add(self, seconds: float) -> None:
        self._latest.append(seconds)
        self._ordered = []

    def still_locked(self, seconds: float) -> None:
        """Record that a poll, sent ``seconds`` after the acceptance, found the image set locked."""
        self._longest_lock_s = max(self._longest_lock_s, seconds)

    def quantile(self, share: float) -> float | None:
        """Seconds within which this share of the latest updates completed; None before the first."""
        if not self._latest:
            return None
        ordered = self._ordered = self._ordered or sorted(self._latest)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def first_poll(self) -> float:
        """Seconds from the acceptance to the first poll."""
        learned = self.quantile(_FIRST_POLL)
        return max(_UNKNOWN_S, self._longest_lock_s) if learned is None else learned

    def next_poll(self, polls: int, locked_s: float, rng: random.Random) -> float:
        """Seconds to the next poll, with jitter.

        ``polls``: polls so far, all of which found a lock. ``locked_s``: seconds from the acceptance to the last one.
        """
        learned = self.quantile(_FIRST_POLL)
        if learned is None:
            step = max(_UNKNOWN_S, self._longest_lock_s - locked_s, locked_s)
        else:
            step = max(_SHORTEST_STEP_S, learned * _STEP) * 2 ** min(polls - 1, 32)
        step = min(_LONGEST_STEP_S, step)
        return rng.uniform(step / 2, step)
