"""What an edit is: its actions, its selectors, and the frame that holds many."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypedDict

import polars as pl

from bulkedit.dicom.dictionary import Level
from bulkedit.options.shared import SELECTORS

if TYPE_CHECKING:
    from bulkedit._json import Json


class Action(StrEnum):
    """What an edit does to its image set."""

    SET = "set"  # insert or overwrite one attribute
    REMOVE = "remove"  # remove one attribute
    REMOVE_INSTANCE = "remove-instance"
    REMOVE_SERIES = "remove-series"
    REVERT = "revert"  # back to an earlier version, whole


SELECTOR: Final = pl.Enum(list(SELECTORS))
ACTION: Final = pl.Enum([str(a) for a in Action])
LEVEL: Final = pl.Enum([str(x) for x in Level])

# A remove that names no value: the engine reads the stored one just before the call, because key and value must
# match (update-image-set-metadata). An empty object is no value of any VR, so it cannot be mistaken for one.
STORED_VALUE: Final = "{}"

EDITS: Final = pl.Schema(
    {
        "row": pl.UInt32(),  # as a spreadsheet shows it, header counted; JSON lines: line; Parquet: record from 1
        "edit_id": pl.String(),  # the user's own name of the row, null where the list has none
        "selector": SELECTOR,
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
        "order": pl.UInt32(),  # see `IN_ORDER`; null if the row gives none
        "version": pl.UInt32(),  # the version the row insists on (latestVersionId), null where it does not care
        "study_wide": pl.Boolean(),  # the row asks for includeStudyImageSets
    }
)


# What the edits of one image set are applied by, the first column first (docs/edit-lists.md, "Which row comes last").
IN_ORDER: Final = ("version", "order", "row")


class EditFields(TypedDict):
    """What an edit asks for: some of a row of `EDITS`, as a mapping. Holds values: never log it."""

    action: str
    level: str | None
    series_uid: str | None
    instance_uid: str | None
    attribute: str | None
    value: str | None
    vr: str | None
    revert_to: int | None


class EditRow(EditFields):
    """`EditFields`, and whether the edit is forced."""

    force: bool


def in_order(edits: pl.DataFrame) -> pl.DataFrame:
    """Edits in the one order in which a list is applied: by version, then by ``order``, then by row.

    A row without a version comes after the rows with one, and a row without an ``order`` after those with one. The
    edits of a row keep their places, side by side. This is the only definition: the planner numbers edits by it
    (``edit`` of `bulkedit.plans.PLANNED_EDITS`), and planning, verification and resume compare only those numbers.
    ``edits``: columns `EDITS`, the edits of each row as the list has them.
    """
    filled = [name for name in IN_ORDER if edits.get_column(name).null_count() < edits.height]
    if filled == ["row"] and edits.get_column("row").is_sorted():
        return edits
    return edits.sort(filled, nulls_last=True, maintain_order=True) if filled else edits


def json_text(value: Json) -> str:
    """A value as compact JSON text: every byte of a payload is scarce."""
    return _ENCODER.encode(value)


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
