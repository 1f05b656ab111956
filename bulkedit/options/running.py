"""How a run goes about its plan."""

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
    """What to do where another writer has made a version in between."""

    RETRY = "retry"  # take the new version and go on, unless the row named its own; the ledger says that it happened
    STOP = "stop"  # leave the image set as it is now; its edits are conflicted


class Halt(StrEnum):
    """How a run stops when its error budget is spent; either way it can go on later."""

    SOON = "soon"  # send nothing new, and wait for what is under way
    NOW = "now"  # leave at once; what was under way is in doubt, and looked at first when the run goes on


class Strategy(StrEnum):
    """Which calls a resume takes up, beside those in doubt."""

    NEW = "new"  # those never completed. Safe: no edit that has an outcome is touched
    FAILED = "failed"  # those that ended rejected, conflicted or failed. Safe: nothing of them was made
    ALL = "all"  # both


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run goes about its plan."""

    rate: Annotated[
        str,
        Option(
            "Calls to send: auto finds the account's quota and follows it. A rate, such as 0.25/s, 15/m or 900/h, is "
            "kept.",
            f"{AUTO}|{shared.RATE_UNIT}",
            group=Group.PACE,
            common=True,
        ),
    ] = AUTO
    max_rate: Annotated[
        str | None,
        Option(
            "The most that --rate auto sends, to leave some of the quota to others.",
            shared.RATE_UNIT,
            group=Group.PACE,
            common=True,
        ),
    ] = None
    burst: Annotated[
        float | None,
        Option(
            "The most calls to send at once after a lull; 1 with a rate, and with auto what the quota allows.",
            "N",
            group=Group.PACE,
            least=1,
        ),
    ] = None
    read_rate: shared.ReadRate = AUTO
    workers: Annotated[int, Option("Requests at once.", "N", group=Group.PACE, least=1, most=1000)] = 128
    max_in_flight: Annotated[
        int,
        Option(
            "Image sets with an update under way at once; the quota of a data store is 100.",
            "N",
            group=Group.PACE,
            least=1,
        ),
    ] = 100
    on_conflict: Annotated[
        OnConflict,
        Option(
            "Where another writer was first: take its version and go on, or leave the image set.",
            group=Group.TROUBLE,
            common=True,
        ),
    ] = OnConflict.RETRY
    unlock_timeout: Annotated[
        float,
        Option("Leave an image set alone that stays locked for longer.", "SECONDS", group=Group.TROUBLE, least=1),
    ] = 3600
    max_errors: Annotated[
        str | None,
        Option(
            "Stop once more edits are rejected or fail. Throttles, faults and conflicts do not count.",
            "N|P%",
            group=Group.TROUBLE,
            common=True,
        ),
    ] = None
    min_sample: Annotated[
        int,
        Option("Edits completed before a share given as --max-errors counts.", "N", group=Group.TROUBLE, least=1),
    ] = 100
    halt: Annotated[
        Halt,
        Option("How --max-errors stops: after waiting for what is under way, or at once.", group=Group.TROUBLE),
    ] = Halt.SOON
    max_attempts: Annotated[
        int,
        Option(
            "Requests of one call that may meet faults before it is given up; throttles do not count.",
            "N",
            group=Group.TROUBLE,
            least=1,
        ),
    ] = 10
    retry_for: Annotated[
        float,
        Option(
            "How long faults of one call, or silence of the service, are met with repeats.",
            "SECONDS",
            group=Group.TROUBLE,
            least=0,
        ),
    ] = 3600
    include_values: Annotated[
        bool,
        Option(
            "Also keep the service's full messages, which can quote values, in RUN/plan/messages.jsonl.",
            group=Group.TROUBLE,
            config=Config.NEVER,
        ),
    ] = False

    def __post_init__(self) -> None:
        check(self)

    def as_settings(self) -> JsonObject:
        """What a run keeps of it: values of JSON."""
        return {name: str(value) if isinstance(value, StrEnum) else value for name, value in asdict(self).items()}
