"""The options of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from bulkedit.client.pacing.rates import AUTO
from bulkedit.options import shared
from bulkedit.options.declaring import Config, Group, Option, check

if TYPE_CHECKING:
    from bulkedit._json import JsonObject


class OnConflict(StrEnum):
    """What to do if another writer has changed the image set since its version was read."""

    RETRY = "retry"  # retry on the newer version, unless the row gives an expected version; the ledger records it
    STOP = "stop"  # leave the image set; its edits are conflicted


class Halt(StrEnum):
    """How a run stops once its error budget is spent. It can be resumed in both cases."""

    SOON = "soon"  # send nothing new, and wait for calls in flight
    NOW = "now"  # stop at once; calls in flight have an unknown outcome, which a resume checks first


class Strategy(StrEnum):
    """Which calls a resume sends, after those with an unknown outcome."""

    NEW = "new"  # calls without an outcome. Safe: edits with an outcome are not touched
    FAILED = "failed"  # calls that were rejected, conflicted or failed. Safe: they changed nothing
    ALL = "all"  # both


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of a run."""

    rate: Annotated[
        str,
        Option(
            "Rate of calls: auto finds the account's quota and follows it; 0.25/s, 15/m or 900/h is a fixed rate.",
            f"{AUTO}|{shared.RATE_UNIT}",
            group=Group.PACE,
            common=True,
        ),
    ] = AUTO
    max_rate: Annotated[
        str | None,
        Option(
            "Upper limit for --rate auto, to leave some of the quota to others. Default: no limit.",
            shared.RATE_UNIT,
            group=Group.PACE,
            common=True,
        ),
    ] = None
    burst: Annotated[
        float | None,
        Option(
            "Most calls to send at once after a pause. Default: 1 with a fixed rate; with auto, what the quota allows.",
            "N",
            group=Group.PACE,
            least=1,
        ),
    ] = None
    read_rate: shared.ReadRate = AUTO
    workers: Annotated[int, Option("Requests in flight at once.", "N", group=Group.PACE, least=1, most=1000)] = 128
    max_in_flight: Annotated[
        int,
        Option(
            "Updates in flight at once; the quota of a data store is 100.",
            "N",
            group=Group.PACE,
            least=1,
        ),
    ] = 100
    on_conflict: Annotated[
        OnConflict,
        Option(
            "If another writer has changed the image set: retry on the newer version, or leave the image set.",
            group=Group.TROUBLE,
            common=True,
        ),
    ] = OnConflict.RETRY
    unlock_timeout: Annotated[
        float,
        Option("Give up on an image set that stays locked for longer.", "SECONDS", group=Group.TROUBLE, least=1),
    ] = 3600
    max_errors: Annotated[
        str | None,
        Option(
            "Stop once more edits than this, a number or a share, are rejected or fail. Throttles, retried faults and "
            "conflicts do not count. Default: never.",
            "N|P%",
            group=Group.TROUBLE,
            common=True,
        ),
    ] = None
    min_sample: Annotated[
        int,
        Option("Completed edits before a share in --max-errors applies.", "N", group=Group.TROUBLE, least=1),
    ] = 100
    halt: Annotated[
        Halt,
        Option("How --max-errors stops: after calls in flight have completed, or at once.", group=Group.TROUBLE),
    ] = Halt.SOON
    max_attempts: Annotated[
        int,
        Option(
            "Give up on a call after this many requests with faults. Throttles do not count.",
            "N",
            group=Group.TROUBLE,
            least=1,
        ),
    ] = 10
    retry_for: Annotated[
        float,
        Option(
            "Retry a call that meets faults, or a service that does not respond, for this long.",
            "SECONDS",
            group=Group.TROUBLE,
            least=0,
        ),
    ] = 3600
    include_values: Annotated[
        bool,
        Option(
            "Also write the service's full messages, which can quote values, to RUN/plan/messages.jsonl.",
            group=Group.TROUBLE,
            config=Config.NEVER,
        ),
    ] = False

    def __post_init__(self) -> None:
        check(self)

    def as_settings(self) -> JsonObject:
        """The options as JSON values, for run.json."""
        return {name: str(value) if isinstance(value, StrEnum) else value for name, value in asdict(self).items()}
