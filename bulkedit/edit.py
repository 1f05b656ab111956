"""One edit, valid by construction, and the frame that holds many."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import polars as pl

from bulkedit import dicom
from bulkedit.dicom import Level

IMAGE_SET_ID: Final = r"[0-9a-z]{32}"  # also of data stores: the service's model, patterns DatastoreId and ImageSetId


class Action(StrEnum):
    """What an edit does to its image set."""

    SET = "set"  # insert or overwrite one attribute
    REMOVE = "remove"  # remove one attribute
    REMOVE_INSTANCE = "remove-instance"
    REMOVE_SERIES = "remove-series"
    REVERT = "revert"  # back to an earlier version, whole


SELECTORS: Final = (
    "image_set_id",
    "study_instance_uid",
    "series_instance_uid",
    "accession_number",
    "patient_id",
    "study_id",
)

ACTION: Final = pl.Enum([str(a) for a in Action])
LEVEL: Final = pl.Enum([str(x) for x in Level])

# A remove that names no value: the engine reads the stored one just before the call, because key and value must
# match (update-image-set-metadata). An empty object is no value of any VR, so it cannot be mistaken for one.
STORED_VALUE: Final = "{}"

EDITS: Final = pl.Schema(
    {
        "row": pl.UInt32(),  # as a spreadsheet shows it, header counted; JSON lines: line; Parquet: record from 1
        "edit_id": pl.String(),  # the user's own name of the row, null where the list has none
        "selector": pl.String(),  # one of SELECTORS
        "key": pl.String(),  # the selector's value
        "action": ACTION,
        "level": LEVEL,  # null for a revert
        "series_uid": pl.String(),
        "instance_uid": pl.String(),
        "attribute": pl.String(),  # keyword or eight upper-case hex digits; null where the action names none
        "value": pl.String(),  # JSON text as in the metadata document; STORED_VALUE for a remove without value
        "vr": pl.String(),  # of a private element that is set, where the list gives it; otherwise null
        "revert_to": pl.UInt32(),  # the version that a revert goes back to
        "force": pl.Boolean(),
        "version": pl.UInt32(),  # the version the row insists on (latestVersionId), null where it does not care
        "study_wide": pl.Boolean(),  # the row asks for includeStudyImageSets
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One change of one image set. Construction fails with ValueError on what no service could mean."""

    image_set_id: str
    action: Action
    attribute: str | None = None
    value: Any = None  # as it stands in the metadata document
    level: Level | None = None
    series_uid: str | None = None
    instance_uid: str | None = None
    vr: str | None = None
    revert_to: int | None = None
    force: bool = False
    version: int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(IMAGE_SET_ID, self.image_set_id):
            raise ValueError("image_set_id is not 32 characters of 0-9 a-z")
        if (self.action is Action.REVERT) != (self.revert_to is not None):
            raise ValueError("a revert, and nothing else, names the version it goes back to")
        if (self.action in {Action.SET, Action.REMOVE}) != (self.attribute is not None):
            raise ValueError("set and remove, and nothing else, name an attribute")
        if self.attribute is not None:
            self._check_place(self.attribute)
        if self.action is Action.REMOVE_INSTANCE and not (self.series_uid and self.instance_uid):
            raise ValueError("remove-instance needs series_uid and instance_uid")
        if self.action is Action.REMOVE_SERIES and not self.series_uid:
            raise ValueError("remove-series needs series_uid")

    def _check_place(self, name: str) -> None:
        known = dicom.attribute(name)
        if known is None:
            raise ValueError("attribute is neither a DICOM keyword nor a private element")
        if self.level is not known.level:
            raise ValueError(f"{known.name} is at {known.level} level")
        if known.level in {Level.SERIES, Level.INSTANCE} and not self.series_uid:
            raise ValueError(f"{known.name} is at {known.level} level, so series_uid is needed")
        if known.level is Level.INSTANCE and not self.instance_uid:
            raise ValueError(f"{known.name} is at Instance level, so instance_uid is needed")


def json_text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """A value as compact JSON text: every byte of a payload is scarce."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
