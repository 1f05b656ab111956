"""Plans changes of primary image sets via a copy (`bulkedit.plans.CopyStep`), for edits that are refused in place.

This is the only way to change the UIDs of a primary image set (update-image-set-metadata). The original remains until
the copy is promoted, so this works only for image sets that move to another study. A copy with the StudyInstanceUID of
its original would conflict with it, and could be promoted only after the original is deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from bulkedit.dicom.dictionary import FORCED_UIDS
from bulkedit.edits import SET_ASIDE
from bulkedit.edits.edit import Action
from bulkedit.plans.calls import CopyStep
from bulkedit.plans.schema import CALLS, PLANNED_EDITS

_ID: Final = "image_set_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class ViaCopy:
    """Options for changing primary image sets via a copy."""

    delete_originals: bool = False  # after the copy is promoted; cannot be undone


def may_need_copy(edits: pl.DataFrame) -> pl.Series:
    """Return the image sets with edits of a UID; if they are primary, they can be changed only via a copy."""
    return edits.filter(pl.col("attribute").is_in([*FORCED_UIDS])).get_column(_ID).unique(maintain_order=True)


def originals(edits: pl.DataFrame, known: pl.DataFrame | None) -> pl.Series:
    """Return the image sets to change via a copy: those known to be primary that move to another study."""
    moves = (pl.col("attribute") == "StudyInstanceUID") & (pl.col("action") == Action.SET)
    moved = edits.filter(moves).select(_ID).unique(maintain_order=True)
    if known is None:
        return moved.head(0).get_column(_ID)
    primary = known.filter("primary").select(_ID).unique()
    return moved.join(primary, on=_ID, how="semi", maintain_order="left").get_column(_ID)


def as_copies(known: pl.DataFrame | None, chosen: pl.Series) -> pl.DataFrame | None:
    """Return ``known`` with the chosen image sets as not primary, because their edits are applied to the copy."""
    if known is None or not len(chosen):
        return known
    return known.with_columns(primary=pl.col("primary") & ~pl.col(_ID).is_in(chosen.implode()))


def restrictions(edits: pl.DataFrame, chosen: pl.Series) -> pl.DataFrame:
    """Return rows that cannot be applied to a copy: schema `SET_ASIDE`."""
    inside = edits.filter(pl.col(_ID).is_in(chosen.implode()))
    whole_study = pl.col("study_wide") & (pl.col("action") != Action.REVERT) & pl.col("version").is_null()
    of_version = (pl.col("action") == Action.REVERT) | pl.col("version").is_not_null()
    return pl.concat(
        [
            inside.filter(condition).select(
                "row",
                column=pl.lit(None, pl.String),
                code=pl.lit("via-copy"),
                problem=pl.lit(problem),
                likely=pl.lit("The list changes its StudyInstanceUID, so it is applied to a copy (`via_copy`)."),
                hint=pl.lit(hint),
            )
            for condition, problem, hint in (
                (of_version, "names a version of an image set that is changed via a copy.", _OWN_LIST),
                (whole_study, "is for a whole study, but its image set is changed via a copy.", _OWN_LIST),
            )
        ]
    ).cast(SET_ASIDE)


_OWN_LIST: Final = "Move the row to a list of its own, or clear its version or its column for the whole study."


def chained(
    calls: pl.DataFrame, edits: pl.DataFrame, chosen: pl.Series, asked: ViaCopy
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Add the copy steps to the lanes of the chosen image sets, and renumber: `CALLS` and `PLANNED_EDITS`."""
    inside = pl.col(_ID).is_in(chosen.implode())
    if not calls.filter(inside).height:
        return calls, edits
    marked = calls.with_columns(copy_step=pl.when(inside).then(pl.lit(str(CopyStep.EDIT))))
    after = [CopyStep.PROMOTE, *([CopyStep.DELETE_ORIGINAL] if asked.delete_originals else []), CopyStep.DELETE_COPY]
    lanes = calls.filter(inside).select("lane", _ID).unique("lane", keep="first", maintain_order=True)
    ordered = pl.concat(
        [
            marked.with_columns(place=pl.lit(1, pl.UInt8), before="call"),
            _step(lanes, CopyStep.COPY, 0),
            *(_step(lanes, step, place) for place, step in enumerate(after, 2)),
        ]
    ).sort("lane", "place", "before")
    # longer lanes come first, so that a run does not end with one long lane
    ordered = ordered.with_columns(length=pl.len().over("lane"))
    ordered = ordered.sort("length", "lane", "place", "before", descending=[True, False, False, False])
    ordered = ordered.with_columns(lane=pl.col("lane").rle_id()).drop("call").with_row_index("call")
    number = ordered.filter(pl.col("before").is_not_null()).select(pl.col("before").alias("call"), now="call")
    renumbered = edits.join(number, on="call", how="left").with_columns(call="now").sort("call", "edit")
    return ordered.select(CALLS.names()).cast(CALLS), renumbered.select(PLANNED_EDITS.names()).cast(PLANNED_EDITS)


def _step(lanes: pl.DataFrame, step: CopyStep, place: int) -> pl.DataFrame:
    """Return one call without edits for each lane."""
    empty = {name: pl.lit(None, dtype) for name, dtype in CALLS.items() if name not in {"lane", _ID}}
    filled = {"copy_step": str(step), "force": False, "study_wide": False, "lookup": False}
    counted = {"edits": 0, "units": 1, "bytes": 0}
    calls = lanes.with_columns(**{**empty, **{name: pl.lit(value) for name, value in {**filled, **counted}.items()}})
    numbered = calls.select(CALLS.names()).cast(CALLS)
    return numbered.with_columns(place=pl.lit(place, pl.UInt8), before=pl.lit(None, pl.UInt32))
