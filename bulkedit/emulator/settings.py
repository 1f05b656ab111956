"""The emulator's settings.

A `ServiceProfile` has one switch for each behaviour that AWS's documentation has changed or does not define. Two
versions of the documentation are predefined: ``2025`` (the pages of mid-2025) and ``2026`` (the pages since 31 March
2026, the default). `Settings` adds quotas, times, names and access.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from bulkedit.emulator.http.gate import check_host_name
from bulkedit.emulator.state.quota import LIMITS

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from bulkedit.emulator.http.signing import Credentials
    from bulkedit.emulator.state.faults import Fault

ACCOUNT: Final = "000000000000"
REGION: Final = "us-east-1"
DEFAULT_DATASTORE_ID: Final = "emulated000000000000000000000001"
DEFAULT_DATASTORE_NAME: Final = "emulated"

ServiceYear = Literal["2025", "2026"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceProfile:
    """The emulated behaviour for each question that the documentation answers differently by version, or not at all."""

    service_version: ServiceYear = "2026"

    # The error of a write that names a version other than the latest. The real service returned 404; 409 would be the
    # natural reading of the documentation, which does not define it.
    stale_version: Literal["not-found", "conflict"] = "not-found"
    # Whether a violated constraint (dicom-metadata-constraints) is refused at once, or accepted and fails later.
    constraints: Literal["async", "sync"] = "async"
    # Which error comes first if an update has two: the version is not the latest, or the content is not valid. With
    # "content", invalid content is refused at once, whatever `constraints` says. A LOCKED image set precedes both.
    checked_first: Literal["version", "content"] = "version"
    # Whether a failed update leaves a version (UPDATE_FAILED); list-image-set-versions shows one of a failed copy.
    failed_version: Literal["consumed", "kept"] = "consumed"
    # The value that a removal must name: the stored one ("key and value must match", update-image-set-metadata), the
    # empty string, or any.
    removal_match: Literal["exact", "empty", "any"] = "exact"
    # The result of removing an attribute that does not exist.
    removal_absent: Literal["fail", "ignore"] = "fail"
    # The largest attributes blob, and whether its bytes are counted before or after base64.
    payload_limit: int = 10_000
    payload_counted: Literal["raw", "base64"] = "raw"
    # `force` on a primary image set. The documentation excludes only the three UIDs, and does not define the rest.
    force_on_primary: Literal["refuse-uids", "refuse", "allow"] = "refuse-uids"
    # Whether a primary image set's Patient, Study and Series level can be edited without includeStudyImageSets: never,
    # only if it is the study's single primary image set, or always.
    primary_patient: Literal["refuse", "single", "allow"] = "single"
    primary_study: Literal["refuse", "single", "allow"] = "single"
    primary_series: Literal["refuse", "single", "allow"] = "allow"
    # Whether removing an instance needs `force`, and whether a series can be removed.
    instance_removal: Literal["forced", "free"] = "forced"
    series_removal: Literal["refuse", "allow"] = "refuse"
    # Whether includeStudyImageSets is known (released 2026-03-31); an older service ignores it.
    study_wide: Literal["known", "ignored"] = "known"
    # The result of GetImageSetMetadata without a version during an update.
    metadata_while_updating: Literal["previous", "conflict", "new"] = "previous"
    # Whether file meta information (group 0002) can be edited; the documentation does not mention it.
    group_2: Literal["editable", "refuse"] = "editable"
    # Whether the keys of Series and Instances change with a changed UID.
    uid_keys: Literal["renamed", "kept"] = "renamed"
    # The error of image set operations if the data store does not exist; both have been observed.
    unknown_datastore: Literal["not-found", "access-denied"] = "not-found"
    # Whether GetImageSet and ListImageSetVersions find a deleted image set.
    deleted: Literal["shown", "gone"] = "shown"

    def __post_init__(self) -> None:
        if not 1 <= self.payload_limit <= 30_000:
            raise ValueError("payload_limit must be 1 to 30000, the largest attributes blob of the service's model")
        for name, choices in switches().items():
            if choices and getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}")


@functools.cache
def switches() -> dict[str, tuple[str, ...]]:
    """The choices of each switch by name; a switch that is a number has an empty tuple."""
    hints = typing.get_type_hints(ServiceProfile)
    return {f.name: typing.get_args(hints[f.name]) for f in dataclasses.fields(ServiceProfile)}


PROFILES: Final[dict[str, ServiceProfile]] = {
    "2025": ServiceProfile(
        service_version="2025",
        primary_patient="refuse",
        primary_study="allow",
        primary_series="refuse",
        instance_removal="free",
        series_removal="allow",
        study_wide="ignored",
    ),
    "2026": ServiceProfile(),
}


def profile(service_version: str = "2026", /, **changes: str | int) -> ServiceProfile:
    """The profile of a service version ("2025" or "2026") with changed switches.

    Raises ValueError for an unknown version, switch or choice. Example: ``profile("2025", removal_match="any")``.
    """
    if service_version not in PROFILES:
        raise ValueError(f"service_version must be one of {', '.join(PROFILES)}")
    if unknown := sorted(changes.keys() - switches().keys() | ({"service_version"} & changes.keys())):
        raise ValueError(f"unknown switch: {', '.join(unknown)}. Switches: {', '.join(sorted(switches()))}")
    return ServiceProfile(**{**dataclasses.asdict(PROFILES[service_version]), **changes})


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionTime:
    """How long an action takes: ``seconds`` with a lognormal spread ``sigma``, plus a time that grows with the size."""

    seconds: float = 0.5
    sigma: float = 0.0  # standard deviation of the logarithm; 0: always ``seconds``
    seconds_per_mb: float = 0.0  # per megabyte of the metadata document

    def draw(self, rng: random.Random, size: int) -> float:
        """Seconds until an action on a document of ``size`` bytes completes."""
        spread = rng.lognormvariate(0.0, self.sigma) if self.sigma else 1.0
        return self.seconds * spread + self.seconds_per_mb * size / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one emulator. Raises ValueError if one is not valid."""

    profile: ServiceProfile = field(default_factory=ServiceProfile)
    completion_time: CompletionTime = field(default_factory=CompletionTime)
    scale: float = 1.0  # factor for the documented request rates and bursts; math.inf: no throttling
    # operation -> (requests per second, burst), to replace single documented quotas
    quotas: dict[str, tuple[float, float]] = field(default_factory=dict)
    concurrent: int = 100  # per data store, for updates, copies and deletions each (endpoints-quotas)
    search_lag: float = 0.0  # seconds until SearchImageSets shows a completed change
    account: str = ACCOUNT
    region: str = REGION
    seed: int = 0  # for ids, completion times and faults
    journal_limit: int = 1_000_000  # entries; older ones are dropped
    faults: tuple[Fault, ...] = ()  # active from the start
    credentials: Credentials | None = None  # requests must be signed with these; None: signatures are not checked
    allowed_hosts: tuple[str, ...] = ()  # host names to serve, in addition to localhost and this machine's addresses
    state: Path | None = None  # a SQLite file that survives a kill; None: in memory
    import_roots: tuple[Path, ...] = ()  # import jobs read and write only below these folders

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ValueError("scale must be above 0; math.inf disables throttling")
        if unknown := self.quotas.keys() - LIMITS.keys():
            raise ValueError(f"unknown operation in quotas: {', '.join(sorted(unknown))}")
        for host in self.allowed_hosts:
            check_host_name(host)


UNTHROTTLED: Final = math.inf
