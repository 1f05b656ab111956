"""Retries of one request: the table of transitions asks for them, and tenacity limits and spaces them.

Tenacity's retrying object is stepped by hand, so that a waiting call occupies no worker: the lane is due again after
the wait. Reads outside lanes are retried by `bulkedit.client.reader`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import tenacity

from bulkedit.client.pacing import FAULT

if TYPE_CHECKING:
    import random

    from bulkedit.runs.budget import RetryBudget
    from bulkedit.runs.options import EngineOptions

_GIVE_UP: Final = -1.0


class Retries:
    """Counts the faults of one call and computes the wait before its next attempt."""

    def __init__(self, options: EngineOptions, budget: RetryBudget, rng: random.Random, *, reads: bool = False) -> None:
        """``reads``: reads change nothing, so their time is limited, but not their number."""
        self._budget = budget
        self._rng = rng
        stop: tenacity.stop.stop_base = _StopAfter(options.retry_for_s)
        if not reads:
            stop |= tenacity.stop_after_attempt(options.max_attempts)
        self._policy = tenacity.Retrying(
            stop=stop,
            wait=self._wait,
            retry=tenacity.retry_always,
            sleep=lambda _: None,
            retry_error_callback=lambda _: _GIVE_UP,
        )
        self._state: tenacity.RetryCallState | None = None

    def fault(self, now: float) -> float | None:
        """Count a fault at ``now`` (monotonic seconds); returns the seconds to wait, None to give up."""
        if self._state is None:
            self._policy.begin()
            self._state = tenacity.RetryCallState(self._policy, None, (), {})
            self._state.start_time = now
        else:
            self._state.prepare_for_next_attempt()
        self._state.set_result(None)
        self._state.outcome_timestamp = now
        todo = self._policy.iter(retry_state=self._state)
        return max(float(todo), self._budget.repeat(now)) if isinstance(todo, tenacity.DoSleep) else None

    def _wait(self, state: tenacity.RetryCallState) -> float:
        return FAULT.wait(state.attempt_number, self._rng)


class _StopAfter(tenacity.stop.stop_base):
    """As `tenacity.stop_after_delay`, on the clock that `Retries.fault` is given."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, state: tenacity.RetryCallState) -> bool:
        return (state.seconds_since_start or 0.0) >= self._seconds
