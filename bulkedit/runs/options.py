"""What a run is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bulkedit.client.pacing import DOCUMENTED, Auto, Operation, Rate
from bulkedit.runs.budget import Halt, MaxErrors

if TYPE_CHECKING:
    from collections.abc import Mapping

UPDATES_IN_FLIGHT: Final = 100  # endpoints-quotas: concurrent updates per data store


class OnConflict(StrEnum):
    """What to do where another writer has made a version in between."""

    REBASE = "rebase"  # take the new version and go on, unless the row named its own; the ledger says that it happened
    STOP = "stop"  # leave the image set as it is now; its edits are conflicted


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a run goes about its plan; times in seconds."""

    rates: Mapping[Operation, Rate | Auto] = field(
        default_factory=lambda: {operation: Auto(rate) for operation, rate in DOCUMENTED.items()}
    )
    workers: int = 128  # requests under way at once
    max_in_flight: int = UPDATES_IN_FLIGHT  # image sets with an update under way at once
    on_conflict: OnConflict = OnConflict.REBASE
    unlock_timeout_s: float = 3600  # an image set locked for longer is left alone, and reported
    max_attempts: int = 10  # updates of one call that may meet faults; throttles do not count
    retry_for_s: float = 3600  # from the first fault of a call to its last attempt; or of the service, for the run
    max_errors: MaxErrors | None = None  # edits that may be rejected or fail before the run stops
    min_sample: int = 100  # edits settled before a share of errors counts
    halt: Halt = Halt.SOON
