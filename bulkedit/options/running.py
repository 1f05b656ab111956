"""The options of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

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


class RememberQuota(StrEnum):
    """Whether a run begins with the quotas that earlier runs of the account have found, and keeps those it finds."""

    AUTO = "auto"  # if the account is known; in the user's cache folder
    NEVER = "never"


class Strategy(StrEnum):
    """Which calls a resume sends, after those with an unknown outcome."""

    NEW = "new"  # calls without an outcome. Safe: edits with an outcome are not touched
    FAILED = "failed"  # calls that were rejected, conflicted or failed. Safe: they changed nothing
    ALL = "all"  # both


_NO_LIMIT: Final = "none"  # a limit that a resume takes away
_LIMITS: Final = ("max_rate", "max_errors")
_RATE: Final = Option(
    "Rate of calls: auto finds the quota and follows it; 0.25/s, 15/m or 900/h is a fixed rate.",
    f"{AUTO}|{shared.RATE_UNIT}",
    group=Group.PACE,
    common=True,
)
_MAX_RATE: Final = Option(
    "Upper limit for --rate auto, to leave some of the quota to others. Default: no limit.",
    shared.RATE_UNIT,
    group=Group.PACE,
    common=True,
)
_MAX_IN_FLIGHT: Final = Option(
    "Updates in flight at once; the quota of a data store is 100.",
    "N",
    group=Group.PACE,
    least=1,
)
_REMEMBER_QUOTA: Final = Option(
    "Whether auto begins with the quotas that earlier runs of the account have found. They are kept in your cache "
    "folder.",
    group=Group.PACE,
)
_ON_CONFLICT: Final = Option(
    "If another writer has changed the image set: retry on the newer version, or leave the image set.",
    group=Group.TROUBLE,
    common=True,
)
_UNLOCK_TIMEOUT: Final = Option(
    "Give up on an image set that stays locked for longer.", "SECONDS", group=Group.TROUBLE, least=1
)
_MAX_ERRORS: Final = Option(
    "Stop once more edits than this, a number or a share, are rejected or fail. Throttles, retried faults and "
    "conflicts do not count. Default: never.",
    "N|P%",
    group=Group.TROUBLE,
    common=True,
)
_RETRY_FOR: Final = Option(
    "Retry a call that meets faults, or a service that does not respond, for this long.",
    "SECONDS",
    group=Group.TROUBLE,
    least=0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of a run."""

    rate: Annotated[str, _RATE] = AUTO
    max_rate: Annotated[str | None, _MAX_RATE] = None
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
    remember_quota: Annotated[RememberQuota, _REMEMBER_QUOTA] = RememberQuota.AUTO
    workers: Annotated[int, Option("Requests in flight at once.", "N", group=Group.PACE, least=1, most=1000)] = 128
    max_in_flight: Annotated[int, _MAX_IN_FLIGHT] = 100
    on_conflict: Annotated[OnConflict, _ON_CONFLICT] = OnConflict.RETRY
    unlock_timeout: Annotated[float, _UNLOCK_TIMEOUT] = 3600
    max_errors: Annotated[str | None, _MAX_ERRORS] = None
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
    retry_for: Annotated[float, _RETRY_FOR] = 3600
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


def _change(option: Option, text: str | None = None) -> Option:
    """An option of a run as a resume takes it: with a variable of its own, so that those of `apply` change no run."""
    return replace(option, help=text or option.help, config=Config.NEVER, prefix="RESUME_")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunChanges:
    """Options of a run that a resume may change, from then on. None: as they are."""

    rate: Annotated[str | None, _change(_RATE)] = None
    max_rate: Annotated[
        str | None,
        _change(_MAX_RATE, "Upper limit for --rate auto, to leave some of the quota to others; none: no limit."),
    ] = None
    read_rate: Annotated[str | None, _change(shared.READ_RATE)] = None
    max_in_flight: Annotated[int | None, _change(_MAX_IN_FLIGHT)] = None
    on_conflict: Annotated[OnConflict | None, _change(_ON_CONFLICT)] = None
    unlock_timeout: Annotated[float | None, _change(_UNLOCK_TIMEOUT)] = None
    max_errors: Annotated[
        str | None,
        _change(
            _MAX_ERRORS,
            "Stop once more edits than this, a number or a share, are rejected or fail. Throttles, retried faults and "
            "conflicts do not count; none: never.",
        ),
    ] = None
    retry_for: Annotated[float | None, _change(_RETRY_FOR)] = None

    def __post_init__(self) -> None:
        check(self)

    def as_settings(self) -> JsonObject:
        """The changed options as JSON values; a limit that was taken away is null."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {
            name: None
            if name in _LIMITS and value == _NO_LIMIT
            else str(value)
            if isinstance(value, StrEnum)
            else value
            for name, value in given.items()
        }
