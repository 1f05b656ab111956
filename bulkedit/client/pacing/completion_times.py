"""How long updates take to complete, learned from looks at image sets, and when to look."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

_KEPT: Final = 128  # of the latest completion times
_FIRST_POLL: Final = 0.9  # the share of updates that should be found completed by their first look
_UNKNOWN_S: Final = 0.25  # before anything was observed
_EARLIER: Final = (
    0.995  # what a first look found completed was completed before it; so looks move earlier until one fails
)
_FAR_EARLIER: Final = 0.9  # and faster where no lock has lasted nearly as long: looks that waited for a quota were late
_NEARLY: Final = 0.8
_BETWEEN: Final = 0.4  # of the way from the last look that found a lock to the one that did not: late costs more
_STEP: Final = 0.05  # of the learned time: how much later the second look is
_SHORTEST_STEP_S: Final = 0.05
_LONGEST_STEP_S: Final = 15.0


@dataclass(slots=True)
class CompletionTimes:
    """Seconds from an update's acceptance to its call_outcomes, as looks have shown it in this run."""

    _latest: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))
    _ordered: list[float] = field(default_factory=list)  # these, while none has been added: asked for more often
    _longest_lock_s: float = 0.0  # that was seen

    def __len__(self) -> int:
        return len(self._latest)

    def completed(self, seconds: float, locked_s: float | None) -> None:
        """A look that left ``seconds`` after the acceptance found an update completed; one at ``locked_s`` had not.

        Between the two it completed; where the first look found it, at some time before.
        """
        if locked_s is not None:
            self._add(locked_s + _BETWEEN * (seconds - locked_s))
            return
        looked = min(seconds, self.first_poll())  # what a look has waited for a quota tells nothing
        earlier = _EARLIER if self._longest_lock_s > looked * _NEARLY else _FAR_EARLIER
        self._add(looked * earlier)

    def _add(self, seconds: float) -> None:
        self._latest.append(seconds)
        self._ordered = []

    def still_locked(self, seconds: float) -> None:
        """A look that left so long after the acceptance found the image set locked."""
        self._longest_lock_s = max(self._longest_lock_s, seconds)

    def quantile(self, share: float) -> float | None:
        """Within which time this share of the latest updates had completed; None before any has."""
        if not self._latest:
            return None
        ordered = self._ordered = self._ordered or sorted(self._latest)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def first_poll(self) -> float:
        """Seconds from the acceptance to the first look."""
        learned = self.quantile(_FIRST_POLL)
        return max(_UNKNOWN_S, self._longest_lock_s) if learned is None else learned

    def next_poll(self, looks: int, locked_s: float, rng: random.Random) -> float:
        """Seconds to the next look, with jitter.

        The ``looks``-th left ``locked_s`` after the acceptance and found the image set still locked.
        """
        learned = self.quantile(_FIRST_POLL)
        if learned is None:
            step = max(_UNKNOWN_S, self._longest_lock_s - locked_s, locked_s)
        else:
            step = max(_SHORTEST_STEP_S, learned * _STEP) * 2 ** min(looks - 1, 32)
        step = min(_LONGEST_STEP_S, step)
        return rng.uniform(step / 2, step)
