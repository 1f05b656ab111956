"""The calls of a plan, and their lanes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bulkedit.client.contract import UpdateRequest


class CopyStep(StrEnum):
    """One step of the change of a primary image set via a copy; the steps run in this order."""

    COPY = "copy"  # CopyImageSet of the original to a new image set that is not primary
    EDIT = "edit"  # UpdateImageSetMetadata of that copy
    PROMOTE = "promote"  # CopyImageSet of the edited copy to a new primary image set
    DELETE_ORIGINAL = "delete-original"  # DeleteImageSet: cannot be undone, so only if the user asks for it
    DELETE_COPY = "delete-copy"  # DeleteImageSet of the copy, whose content the promoted image set has


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One row of `bulkedit.plans.schema.CALLS`. Contains health data: never log it."""

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
        """Return the request for the latest version ``expected_version``. Stored values are not filled in."""
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
    """Calls that are sent one after another."""

    number: int
    calls: tuple[PlannedCall, ...]
