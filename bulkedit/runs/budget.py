"""How much may go wrong before a run stops, and how fast what went wrong may be tried again. Pure; clock passed in.

Two books, kept apart. The *error budget* counts edits that ended rejected or failed: too many of them say that the list
is wrong, and the run should stop before it has worked through all of it. The *retry budget* is about the service: in
the manner of the retry quota of AWS SDKs, each repeat takes a token and each answer gives one back, so that repeats add
little to the load of a service that is in trouble; it slows repeats down and never ends a call by itself.
Throttles, transient faults and conflicts with other writers are in neither.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from bulkedit.client.responses import Outcome
from bulkedit.errors import UsageError

TOKENS: Final = 100.0  # repeats in a row that are not slowed down
TRICKLE_S: Final = 1.0  # between two repeats of the whole run, once the tokens are spent


@dataclass(frozen=True, slots=True)
class MaxErrors:
    """So many edits may be rejected or fail: a number, or a share of those completed (0 to 1)."""

    limit: float
    share: bool = False

    def __str__(self) -> str:
        return f"{self.limit * 100:g} %" if self.share else f"{self.limit:,.0f}"


def parse_max_errors(text: str) -> MaxErrors:
    """Read ``20`` or ``5%``. Raises UsageError."""
    match = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?) ?%", text.strip())
    if match is None or (match[2] and float(match[2]) > 100):
        raise UsageError("`max_errors` is not understood.", hint="Write a number of edits, or a share: 20 or 5%.")
    return MaxErrors(float(match[2]) / 100, share=True) if match[2] else MaxErrors(float(match[1]))


@dataclass(slots=True)
class ErrorBudget:
    """Edits completed by this process, and how many of them rejected or failed; None as the limit is no limit."""

    limit: MaxErrors | None
    min_sample: int  # edits completed before a share counts
    completed: int = 0
    errors: int = 0

    def add(self, outcome: Outcome, edits: int) -> None:
        """So many edits have come to this outcome."""
        self.completed += edits
        if outcome in {Outcome.REJECTED, Outcome.FAILED}:
            self.errors += edits

    @property
    def spent(self) -> str | None:
        """Why the run must stop, in words; None while it may go on."""
        if self.limit is None:
            return None
        if not self.limit.share:
            return (
                f"{self.errors:,} edits failed, the limit is {self.limit}" if self.errors > self.limit.limit else None
            )
        if self.completed < self.min_sample or self.errors <= self.limit.limit * self.completed:
            return None
        share = f"{self.errors / self.completed:.1%}".replace("%", " %")
        return f"{share} of {self.completed:,} edits failed, the limit is {self.limit} after {self.min_sample:,}"


@dataclass(slots=True)
class RetryBudget:
    """Shared by all calls of a process. Times are monotonic seconds."""

    tokens: float = TOKENS
    _free: float = field(default=float("-inf"), init=False)  # when the next repeat beyond the tokens may go out
    _silent_since: float | None = field(default=None, init=False)

    def repeat(self, now: float) -> float:
        """A repeat is wanted: seconds until it may go out."""
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        self._free = max(self._free, now) + TRICKLE_S
        return self._free - now

    def answered(self) -> None:
        """The service has answered a request, whatever it said."""
        self.tokens = min(TOKENS, self.tokens + 1)
        self._free = float("-inf")
        self._silent_since = None

    def lost(self, now: float) -> None:
        """An answer was lost."""
        if self._silent_since is None:
            self._silent_since = now

    def silent_s(self, now: float) -> float:
        """For how long nothing but faults has come back."""
        return 0.0 if self._silent_since is None else now - self._silent_since
