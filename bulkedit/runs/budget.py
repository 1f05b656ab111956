"""The error budget of a run, which stops it, and its retry budget, which slows retries down.

The *error budget* counts edits that were rejected or have failed. Many of them mean that the list is wrong, so the run
stops early. Throttles, lost answers and conflicts with other writers do not count.

The *retry budget* works like the retry quota of AWS SDKs: each retry takes a token and each answer returns one. So
retries add little load to a service in trouble. It delays retries, and never ends a call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bulkedit.client.responses import Lost, Outcome
from bulkedit.client.unreached import wants_password
from bulkedit.errors import UsageError

if TYPE_CHECKING:
    from bulkedit.client.pacing import Operation

TOKENS: Final = 100.0  # retries in a row without a delay
TRICKLE_S: Final = 1.0  # seconds between two retries of the whole run once the tokens are spent
PASSWORD_S: Final = 10.0  # seconds for which a proxy may ask for a password; no retry gives it one


@dataclass(frozen=True, slots=True)
class MaxErrors:
    """How many edits may be rejected or fail: a number, or a share of the completed ones (0 to 1)."""

    limit: float
    share: bool = False

    def __str__(self) -> str:
        return f"{self.limit * 100:g} %" if self.share else f"{self.limit:,.0f}"


def parse_max_errors(text: str) -> MaxErrors:
    """Read ``20`` or ``5%``. Raises UsageError."""
    match = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?) ?%", text.strip())
    if match is None or (match[2] and float(match[2]) > 100):
        raise UsageError("`max_errors` is not understood.", hint="Give a number of edits or a share: 20 or 5%.")
    return MaxErrors(float(match[2]) / 100, share=True) if match[2] else MaxErrors(float(match[1]))


@dataclass(slots=True)
class ErrorBudget:
    """Edits completed by this process, and how many of them were rejected or failed. ``limit``: None for no limit."""

    limit: MaxErrors | None
    min_sample: int  # edits completed before a share counts
    completed: int = 0
    errors: int = 0

    def add(self, outcome: Outcome, edits: int) -> None:
        """Count completed edits."""
        self.completed += edits
        if outcome in {Outcome.REJECTED, Outcome.FAILED}:
            self.errors += edits

    @property
    def spent(self) -> str | None:
        """Why the run must stop, as a text; None while it may continue."""
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
    """Shared by all calls of a process; times are monotonic seconds."""

    tokens: float = TOKENS
    _free: float = field(default=float("-inf"), init=False)  # when the next retry without a token may be sent
    _silent_since: float | None = field(default=None, init=False)

    def repeat(self, now: float) -> float:
        """Reserve a retry; returns the seconds until it may be sent."""
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        self._free = max(self._free, now) + TRICKLE_S
        return self._free - now

    def answered(self) -> None:
        """The service has answered a request, even with a refusal."""
        self.tokens = min(TOKENS, self.tokens + 1)
        self._free = float("-inf")
        self._silent_since = None

    def lost(self, now: float) -> None:
        """An answer was lost."""
        if self._silent_since is None:
            self._silent_since = now

    def silent_s(self, now: float) -> float:
        """Seconds since the first of the lost answers in a row."""
        return 0.0 if self._silent_since is None else now - self._silent_since


@dataclass(slots=True)
class ForeignAnswers:
    """Answers that are not the service's own, by operation: a proxy may block updates and let reads pass."""

    _since: dict[Operation, tuple[float, Lost]] = field(default_factory=dict, init=False)

    def note(self, operation: Operation, reply: object, now: float) -> None:
        """Take a reply (monotonic seconds). An answer of the service itself ends a series."""
        if not isinstance(reply, Lost):
            self._since.pop(operation, None)
        elif reply.foreign_status is not None:
            self._since[operation] = self._since.get(operation, (now,))[0], reply

    def lasting(self, now: float, limit_s: float) -> Lost | None:
        """The last answer of a series that has lasted too long, if any. A demand for a password may not last long."""
        for since, last in self._since.values():
            if now - since >= (min(limit_s, PASSWORD_S) if wants_password(last) else limit_s):
                return last
        return None
