"""The engine's options, made from the user's options of a run (`bulkedit.options.running`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bulkedit.client.pacing import DOCUMENTED, WRITES, Auto, Operation, Rate, parse_pace, parse_read_pace
from bulkedit.options.running import Halt, OnConflict, RunOptions
from bulkedit.runs.budget import MaxErrors, parse_max_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFAULT: Final = RunOptions()
UPDATES_IN_FLIGHT: Final = _DEFAULT.max_in_flight  # endpoints-quotas: concurrent updates per data store


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Options of the engine; times in seconds."""

    rates: Mapping[Operation, Rate | Auto] = field(
        default_factory=lambda: {operation: Auto(rate) for operation, rate in DOCUMENTED.items()}
    )
    workers: int = _DEFAULT.workers  # requests under way at once
    max_in_flight: int = UPDATES_IN_FLIGHT  # image sets with an update under way at once
    on_conflict: OnConflict = _DEFAULT.on_conflict
    unlock_timeout_s: float = _DEFAULT.unlock_timeout  # a call is left unresolved if its image set is locked for longer
    max_attempts: int = _DEFAULT.max_attempts  # requests of one call after faults; throttles do not count
    # from a call's first fault to its last attempt; and how long the service may not answer before the run stops
    retry_for_s: float = _DEFAULT.retry_for
    max_errors: MaxErrors | None = None  # edits that may be rejected or fail before the run stops
    min_sample: int = _DEFAULT.min_sample  # edits completed before a share of errors counts
    halt: Halt = _DEFAULT.halt

    @classmethod
    def of(cls, wanted: RunOptions) -> EngineOptions:
        """Convert the user's options. Raises UsageError for an invalid rate or limit."""
        paces = {
            # the user's rate is that of updates; copies and deletions have their own quotas
            operation: Auto(quota) if operation in WRITES else parse_read_pace(wanted.read_rate, operation)
            for operation, quota in DOCUMENTED.items()
        }
        documented = DOCUMENTED[Operation.UPDATE]
        paces[Operation.UPDATE] = parse_pace(wanted.rate, documented, burst=wanted.burst, most=wanted.max_rate)
        return cls(
            rates=paces,
            workers=wanted.workers,
            max_in_flight=wanted.max_in_flight,
            on_conflict=wanted.on_conflict,
            unlock_timeout_s=wanted.unlock_timeout,
            max_attempts=wanted.max_attempts,
            retry_for_s=wanted.retry_for,
            max_errors=None if wanted.max_errors is None else parse_max_errors(wanted.max_errors),
            min_sample=wanted.min_sample,
            halt=wanted.halt,
        )
