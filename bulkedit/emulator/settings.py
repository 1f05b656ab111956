"""What the emulator does where the documentation has changed or is silent.

A `ServiceProfile` holds one switch for each such decision. Two ages of the documentation are ready made: ``2025`` (the
pages of mid-2025) and ``2026`` (the pages since 31 March 2026, the default). `Settings` adds what has nothing to do
with rules: quotas, times, names.
"""

from __future__ import annotations

import dataclasses
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
    """One answer for each question that the documentation answers differently by version, or not at all."""

    service_version: ServiceYear = "2026"

    # What a write with a version that is not the latest gets. 404 was observed on the real service; 409 is documented
    # for nothing in particular and would be the natural reading.
    stale_version: Literal["not-found", "conflict"] = "not-found"
    # Whether a broken constraint (dicom-metadata-constraints) is refused at once, or accepted and ends as failed.
    constraints: Literal["async", "sync"] = "async"
    # Which of a refused update's faults is told: that its version is not the latest, or that its content cannot be
    # applied to the latest version. A service that looks at the content first has to refuse at once what breaks a
    # constraint, whatever `constraints` says. That the image set is LOCKED is told before both.
    checked_first: Literal["version", "content"] = "version"
    # Whether UPDATE_FAILED leaves a version behind: the history in list-image-set-versions shows a failed copy's.
    failed_version: Literal["consumed", "kept"] = "consumed"
    # What the value of an attribute to remove must be: the stored one ("key and value must match",
    # update-image-set-metadata), the empty string, or anything.
    removal_match: Literal["exact", "empty", "any"] = "exact"
    # Removing an attribute that is not there.
    removal_absent: Literal["fail", "ignore"] = "fail"
    # The largest attributes blob, and whether its bytes are counted before or after base64.
    payload_limit: int = 10_000
    payload_counted: Literal["raw", "base64"] = "raw"
    # `force` on a primary image set. Documented: not for the three UIDs. Everything else is open.
    force_on_primary: Literal["refuse-uids", "refuse", "allow"] = "refuse-uids"
    # Edits of a primary image set's own Patient, Study and Series level without includeStudyImageSets: never, only
    # where it is the study's single primary image set, or always.
    primary_patient: Literal["refuse", "single", "allow"] = "single"
    primary_study: Literal["refuse", "single", "allow"] = "single"
    primary_series: Literal["refuse", "single", "allow"] = "allow"
    # Whether removing an instance needs `force`; whether a whole series can be removed.
    instance_removal: Literal["forced", "free"] = "forced"
    series_removal: Literal["refuse", "allow"] = "refuse"
    # Whether includeStudyImageSets is known (released 2026-03-31); an older service ignores it.
    study_wide: Literal["known", "ignored"] = "known"
    # What GetImageSetMetadata without a version answers while an update is under way.
    metadata_while_updating: Literal["previous", "conflict", "new"] = "previous"
    # Elements of the file meta information (group 0002) are on no list of the documentation.
    group_2: Literal["editable", "refuse"] = "editable"
    # Whether the keys of Series and Instances follow a changed UID.
    uid_keys: Literal["renamed", "kept"] = "renamed"
    # Image set operations on a data store that does not exist: seen as either.
    unknown_datastore: Literal["not-found", "access-denied"] = "not-found"
    # GetImageSet and ListImageSetVersions of a deleted image set.
    deleted: Literal["shown", "gone"] = "shown"

    def __post_init__(self) -> None:
        if not 1 <= self.payload_limit <= 30_000:
            raise ValueError("payload_limit is from 1 to 30000, the largest attributes blob of the service's model")
        for name, choices in switches().items():
            if choices and getattr(self, name) not in choices:
                raise ValueError(f"{name} is one of {', '.join(choices)}")


def switches() -> dict[str, tuple[str, ...]]:
    """The name of every switch with its choices; none where it is a number."""
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
    """The profile of a service version, with some switches set otherwise. ValueError names a wrong switch or choice."""
    if service_version not in PROFILES:
        raise ValueError(f"service_version is one of {', '.join(PROFILES)}")
    if unknown := sorted(changes.keys() - switches().keys() | ({"service_version"} & changes.keys())):
        raise ValueError(f"no such switch: {', '.join(unknown)}. Switches: {', '.join(sorted(switches()))}")
    return ServiceProfile(**{**dataclasses.asdict(PROFILES[service_version]), **changes})


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionTime:
    """How long an action takes: ``seconds``, spread lognormally by ``sigma`` around it, plus time for the size."""

    seconds: float = 0.5
    sigma: float = 0.0  # standard deviation of the logarithm; 0 is fixed
    seconds_per_mb: float = 0.0  # of the metadata document

    def draw(self, rng: random.Random, size: int) -> float:
        """Seconds until an action on a document of ``size`` bytes is done."""
        spread = rng.lognormvariate(0.0, self.sigma) if self.sigma else 1.0
        return self.seconds * spread + self.seconds_per_mb * size / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one emulator behaves."""

    profile: ServiceProfile = field(default_factory=ServiceProfile)
    completion_time: CompletionTime = field(default_factory=CompletionTime)
    scale: float = 1.0  # of the documented request rates and bursts; math.inf is no throttling at all
    # action: (requests a second, burst), where AWS has raised one quota and left the others
    quotas: dict[str, tuple[float, float]] = field(default_factory=dict)
    concurrent: int = 100  # updates, copies and deletions each, under way in one data store (endpoints-quotas)
    search_lag: float = 0.0  # seconds until a completed change is found by SearchImageSets
    account: str = ACCOUNT
    region: str = REGION
    seed: int = 0  # of ids, completion times and faults
    journal_limit: int = 1_000_000  # entries kept; the oldest go first
    faults: tuple[Fault, ...] = ()  # that are set from the start
    credentials: Credentials | None = None  # with which requests must be signed; None takes any, also unsigned
    allowed_hosts: tuple[str, ...] = ()  # host names to answer for, beside localhost and this machine's addresses
    state: Path | None = None  # a SQLite file that survives a kill; None is memory
    import_roots: tuple[Path, ...] = ()  # import jobs read and write below these folders only

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ValueError("scale is above 0; math.inf switches throttling off")
        if unknown := self.quotas.keys() - LIMITS.keys():
            raise ValueError(f"no action with a quota: {', '.join(sorted(unknown))}")
        for host in self.allowed_hosts:
            check_host_name(host)


UNTHROTTLED: Final = math.inf
