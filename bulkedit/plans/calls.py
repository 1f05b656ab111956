"""The calls of a plan, and the lanes that they are in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bulkedit.client.contract import UpdateRequest


class CopyStep(StrEnum):
    """What a call is of the recipe that changes a primary image set through a copy of it, in this order."""

    COPY = "copy"  # CopyImageSet of the original to a new image set that is not primary
    EDIT = "edit"  # UpdateImageSetMetadata of that copy
    PROMOTE = "promote"  # CopyImageSet of the edited copy to a new primary image set
    DELETE_ORIGINAL = "delete-original"  # DeleteImageSet: not to be undone, so only where it was asked for by name
    DELETE_COPY = "delete-copy"  # DeleteImageSet of the copy, which the promoted image set holds


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One row of `bulkedit.plans.schema.CALLS`. Holds health data: never log it."""

    call: int
    lane: int
    image_set_id: str
    version: int | None
    updatable: str | None
    removable: str | None
    revert_to: int | None
    force: bool
    study_wide: bool
    lookup: bool
    edits: int
    units: int
    bytes: int
    copy_step: str | None = None

    def as_request(self, expected_version: int) -> UpdateRequest:
        """The request, if ``expected_version`` is the latest. Stored values are not filled in."""
        return UpdateRequest(
            image_set_id=self.image_set_id,
            expected_version=expected_version,
            updatable=self.updatable,
            removable=self.removable,
            revert_to=self.revert_to,
            force=self.force,
            include_study=self.study_wide,
        )


@dataclass(frozen=True, slots=True)
class Lane:
    """Calls that run one after another."""

    number: int
    calls: tuple[PlannedCall, ...]
