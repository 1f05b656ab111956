"""The numbers of a plan, as its manifest has them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

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

    def as_json(self) -> dict[str, Any]:
        """Fields as they stand in the manifest."""
        return asdict(self)
