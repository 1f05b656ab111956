"""Typed records of a plan's estimate and manifest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final, NotRequired, TypedDict, cast

# the pricing page, us-east-1
DOLLARS_PER_GB_MOVED: Final = 0.099  # 0.105 - 0.006: 30 days of Frequent Access instead of Archive Instant Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Counts of a plan, and its least time and cost.

    ``calls`` and the three ``saved_by_…`` add up to one per row and image set, or to two if part of the row's edits of
    an image set is sent in a study-wide call.
    """

    edits: int
    image_sets: int
    studies: int | None  # of these image sets; None if the study of any of them is unknown
    patients: int | None = None  # the same, as far as searches tell patients apart
    calls: int
    saved_by_merging: int  # calls, because edits of one image set share a call
    saved_by_study_wide: int  # calls, because image sets of one study share a call
    saved_by_superseding: int  # calls, because later rows supersede all edits of a row
    longest_lane: int  # calls
    seconds: float  # at `rate_per_second`, without the time that image sets of a long lane are locked
    rate_per_second: float
    raised_seconds: float
    raised_rate_per_second: float
    api_dollars: float  # of the updates themselves
    archived_image_sets: int | None  # an update moves them to Frequent Access; None if no storage tier is known
    unknown_tier_image_sets: int
    tier_dollars_at_least: float | None  # of that move, if each image set has 5 MB, the least that is billed
    tier_dollars_per_gb: float = DOLLARS_PER_GB_MOVED
    via_copy: int = 0  # image sets that are changed via a copy
    copies: int = 0  # CopyImageSet requests among the calls: two per image set, one to edit and one to promote
    deletions: int = 0  # DeleteImageSet requests among the calls
    originals_deleted: int = 0  # image sets that are deleted for good once their copies are promoted
    rows_in_several_calls: int = 0  # rows whose edits of one image set are in several calls
    copy_dollars_at_least: float = 0.0  # storage of the copies for 30 days, the least time that is billed

    def as_json(self) -> EstimateCounts:
        """Return the fields as written to the manifest."""
        return cast("EstimateCounts", asdict(self))


class EstimateCounts(TypedDict):
    """An `Estimate` in a manifest; fields that earlier versions did not write may be missing."""

    edits: int
    image_sets: int
    studies: int | None
    patients: NotRequired[int | None]
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
    rows_in_several_calls: NotRequired[int]
    copy_dollars_at_least: NotRequired[float]


class PlanCounts(EstimateCounts):
    """``counts`` of a manifest: the estimate, and counts of the list."""

    rows: int
    set_aside: int  # rows
    skipped: int  # rows
    narrowed_rows: NotRequired[int]  # rows of which no image set meets `condition`
    narrowed_image_sets: NotRequired[int]  # that the list names, and that do not meet it
    empty: int  # rows
    searches: NotRequired[int]
    edits_of_unknown_study: NotRequired[int]  # edits
    already_satisfied: NotRequired[int]  # edits
    image_sets_read: NotRequired[int]
    image_sets_not_read: NotRequired[int]
    inconsistent_studies: NotRequired[int]
    unchecked_values: NotRequired[int]


def saved_calls(counts: PlanCounts) -> dict[str, int]:
    """Return the calls that a plan saves, by the way it saves them; ways that save none are left out."""
    kinds = {
        "by merging": counts["saved_by_merging"],
        "by study-wide calls": counts["saved_by_study_wide"],
        "by rows that later ones replace": counts["saved_by_superseding"],
    }
    return {kind: saved for kind, saved in kinds.items() if saved > 0}


def updates(counts: PlanCounts) -> int:
    """Return the calls of a plan that are updates, so without copies and deletions."""
    return counts["calls"] - counts.get("copies", 0) - counts.get("deletions", 0)


def calls_one_by_one(counts: PlanCounts) -> int:
    """Return the updates that there would be if each row and image set had its own (`Estimate`)."""
    saved = counts["saved_by_merging"] + counts["saved_by_study_wide"] + counts["saved_by_superseding"]
    return updates(counts) + saved


class ListRecord(TypedDict):
    """The edit list that a plan was made of."""

    name: NotRequired[str]
    sha256: str
    form: str
    rows: int


class PlanSettings(TypedDict):
    """The settings that a plan was made with."""

    service_version: NotRequired[str]
    payload_limit: int
    force: NotRequired[bool]
    unchecked: NotRequired[bool]
    merge: NotRequired[bool]
    study_wide: NotRequired[str]
    via_copy: NotRequired[bool]
    skip_satisfied: NotRequired[bool]
    narrowed: NotRequired[bool]  # by `condition`


class WarningRecord(TypedDict):
    """An effect of a plan that the user may not intend."""

    code: str
    problem: str
    likely: str
    hint: str
    rows: list[int]
    more: int  # further rows, not listed


class NoticeRecord(TypedDict):
    """What a list does that is planned, but may not be meant (`bulkedit.edits.notices.NOTICES`)."""

    code: str
    column: str | None
    text: str
    hint: str | None
    rows: int  # 0 if the notice is of the whole list
    first: int | None  # the first of the rows


class FileRecord(TypedDict):
    """A file of a plan."""

    rows: int
    sha256: str


class PlanAbout(TypedDict):
    """The part of a manifest about list, settings and counts."""

    tool: NotRequired[str]
    created: NotRequired[str]
    datastore_id: str
    list: ListRecord
    settings: PlanSettings
    counts: PlanCounts
    unchecked: NotRequired[dict[str, int]]  # values that are planned unchecked, by attribute
    warnings: NotRequired[list[WarningRecord]]
    notices: NotRequired[list[NoticeRecord]]


class PlanManifest(PlanAbout):
    """`manifest.json` of a plan."""

    digest: str
    format: int
    files: dict[str, FileRecord]
