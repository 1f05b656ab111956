"""Edits: their actions, their selectors, and the schema of a frame of edits."""

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
    """The effect of an edit on its image set."""

    SET = "set"  # insert or overwrite one attribute
    REMOVE = "remove"  # remove one attribute
    REMOVE_INSTANCE = "remove-instance"
    REMOVE_SERIES = "remove-series"
    REVERT = "revert"  # the whole image set, to an earlier version


SELECTOR: Final = pl.Enum(list(SELECTORS))
ACTION: Final = pl.Enum([str(a) for a in Action])
LEVEL: Final = pl.Enum([str(x) for x in Level])

# The value of a remove without a value: the engine reads the stored one just before the call, because key and value
# must match (update-image-set-metadata). An empty object is not a value of any VR, so it is unambiguous.
STORED_VALUE: Final = "{}"

EDITS: Final = pl.Schema(
    {
        "row": pl.UInt32(),  # as a spreadsheet shows it, header counted; JSON lines: line; Parquet: record from 1
        "edit_id": pl.String(),  # the user's own name of the row, or null
        "selector": SELECTOR,
        "key": pl.String(),  # the selector's value
        "action": ACTION,
        "level": LEVEL,  # null for a revert
        "series_uid": pl.String(),
        "instance_uid": pl.String(),
        "attribute": pl.String(),  # keyword or eight upper-case hex digits; null if the action has no attribute
        "value": pl.String(),  # JSON text as in the metadata document; STORED_VALUE for a remove without value
        "vr": pl.String(),  # of a private element that is set, if the list has it; otherwise null
        "revert_to": pl.UInt32(),  # the version to revert to
        "force": pl.Boolean(),
        "unchecked": pl.Boolean(),  # the value breaks a rule of its VR or VM, and the row lets it pass
        "order": pl.UInt32(),  # see `IN_ORDER`; null if the row has none
        "version": pl.UInt32(),  # the version that the row requires (latestVersionId), or null
        "study_wide": pl.Boolean(),  # the row sets includeStudyImageSets
    }
)


# The sort keys of the edits of one image set (docs/edit-lists.md, "Which row comes last").
IN_ORDER: Final = ("version", "order", "row")


class EditFields(TypedDict):
    """The main fields of a row of `EDITS`. Contains values: never log it."""

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
    """Sort edits in the order in which a list is applied: by version, then by ``order``, then by row.

    Rows without a version come after rows with one, and rows without an ``order`` after rows with one. The edits of a
    row stay adjacent and in order. This is the only definition of the order: the planner numbers edits by it (``edit``
    of `bulkedit.plans.PLANNED_EDITS`), and planning, verify and resume compare only these numbers. ``edits``: columns
    `EDITS`, in list order.
    """
    filled = [name for name in IN_ORDER if edits.get_column(name).null_count() < edits.height]
    if filled == ["row"] and edits.get_column("row").is_sorted():
        return edits
    return edits.sort(filled, nulls_last=True, maintain_order=True) if filled else edits


def json_text(value: Json) -> str:
    """Return a value as compact JSON text, because the payload is limited."""
    return _ENCODER.encode(value)


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
