"""The numbers of a plan, and its manifest, as records."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final, NotRequired, TypedDict, cast

# the pricing page, us-east-1
DOLLARS_PER_GB_MOVED: Final = 0.099  # 0.105 - 0.006: the tier's 30 days in Frequent, not Archive Instant Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Counts, and what follows from them.

    Calls and the three kinds saved add up to one for each row and image set; to two where a part of the row's edits of
    an image set is made of the whole study.
    """

    edits: int
    image_sets: int
    studies: int | None  # of these image sets; None where one of them is of a study that is not known
    calls: int
    saved_by_merging: int  # calls: edits of an image set that share one
    saved_by_study_wide: int  # calls: image sets that share one with others of their study
    saved_by_superseding: int  # calls: rows that a later one has taken the place of whole
    longest_lane: int  # calls that can only run one after another
    seconds: float  # at `rate_per_second`; waiting for unlocks comes on top where one lane is most of the plan
    rate_per_second: float
    raised_seconds: float
    raised_rate_per_second: float
    api_dollars: float  # of the updates themselves
    archived_image_sets: int | None  # an update moves them to the frequent tier; None where no storage tier is known
    unknown_tier_image_sets: int
    tier_dollars_at_least: float | None  # of that move, image sets of 5 MB or less taken
    tier_dollars_per_gb: float = DOLLARS_PER_GB_MOVED
    via_copy: int = 0  # image sets that are changed by way of a copy
    copies: int = 0  # CopyImageSet requests among the calls: of each such image set one to edit and one to promote
    deletions: int = 0  # DeleteImageSet requests among the calls
    originals_deleted: int = 0  # image sets that are deleted for good, once their copies are promoted
    copy_dollars_at_least: float = 0.0  # storage of those copies for 30 days, the least time that is billed

    def as_json(self) -> EstimateCounts:
        """Fields as they stand in the manifest."""
        return cast("EstimateCounts", asdict(self))


class EstimateCounts(TypedDict):
    """An `Estimate` in a manifest; what earlier versions have not estimated may be absent."""

    edits: int
    image_sets: int
    studies: int | None
    calls: int
    saved_by_merging: int
    saved_by_study_wide: int
    saved_by_superseding: int
    longest_lane: int
    seconds: float
    rate_per_second: float
    raised_seconds: float
    raised_rate_per_second: float
    api_dollars: float
    archived_image_sets: int | None
    unknown_tier_image_sets: int
    tier_dollars_at_least: float | None
    tier_dollars_per_gb: NotRequired[float]
    via_copy: NotRequired[int]
    copies: NotRequired[int]
    deletions: NotRequired[int]
    originals_deleted: NotRequired[int]
    copy_dollars_at_least: NotRequired[float]


class PlanCounts(EstimateCounts):
    """``counts`` of a manifest: the estimate, and what is said of the list."""

    rows: int
    set_aside: int  # rows
    skipped: int  # rows
    empty: int  # rows
    searches: NotRequired[int]
    edits_of_unknown_study: NotRequired[int]  # edits
    already_satisfied: NotRequired[int]  # edits
    image_sets_read: NotRequired[int]
    image_sets_not_read: NotRequired[int]
    inconsistent_studies: NotRequired[int]


class ListRecord(TypedDict):
    """The edit list that a plan was made of."""

    name: NotRequired[str]
    sha256: str
    form: str
    rows: int


class PlanSettings(TypedDict):
    """What a plan was made with."""

    service_version: NotRequired[str]
    payload_limit: int
    force: NotRequired[bool]
    merge: NotRequired[bool]
    study_wide: NotRequired[str]
    via_copy: NotRequired[bool]
    skip_satisfied: NotRequired[bool]


class WarningRecord(TypedDict):
    """Something that a plan does and that is seldom meant."""

    code: str
    problem: str
    likely: str
    hint: str
    rows: list[int]
    more: int  # rows that are not named


class FileRecord(TypedDict):
    """A file of a plan."""

    rows: int
    sha256: str


class PlanAbout(TypedDict):
    """What a manifest says of list, settings and numbers."""

    tool: NotRequired[str]
    created: NotRequired[str]
    datastore_id: str
    list: ListRecord
    settings: PlanSettings
    counts: PlanCounts
    warnings: NotRequired[list[WarningRecord]]


class PlanManifest(PlanAbout):
    """`manifest.json` of a plan."""

    digest: str
    format: int
    files: dict[str, FileRecord]
