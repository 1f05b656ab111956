"""What can be wrong between rows, found before anything is sent."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import polars as pl

from bulkedit.edit import Action
from bulkedit.editlist import SET_ASIDE
from bulkedit.planner.merge import ATTRIBUTE, WHOLE

if TYPE_CHECKING:
    from collections.abc import Sequence


class Contradictions(StrEnum):
    """What to do where two rows want different things of one attribute and neither says which comes last."""

    FAIL = "fail"
    LAST = "last"  # the later row wins


def problems(edits: pl.DataFrame, contradictions: Contradictions) -> pl.DataFrame:
    """Rows that contradict others or come too late: schema `SET_ASIDE`, one line per row and kind.

    ``edits``: schema `EDITS` and image_set_id String, in the order of the list.
    """
    found = [_after_removal(edits)]
    if contradictions is Contradictions.FAIL:
        found.append(_contradictions(edits))
    return pl.concat(found).sort("row", maintain_order=True)


def _contradictions(edits: pl.DataFrame) -> pl.DataFrame:
    """Rows that want different things of one attribute of one image set, unless all of them say in which order.

    A version says it too: a row that names one is applied to that version.
    """
    free = edits.filter(pl.col("version").is_null() & pl.col("attribute").is_not_null())
    wanted = pl.struct("action", "value")
    crowded = free.filter(pl.struct(ATTRIBUTE).is_duplicated())
    unordered = pl.col("order").is_null().any().over(ATTRIBUTE)
    against = crowded.filter(unordered & (wanted.n_unique().over(ATTRIBUTE) > 1)).with_columns(
        others=pl.col("row").n_unique().over(ATTRIBUTE) - 1, first=pl.col("row").min().over(ATTRIBUTE)
    )
    problem = pl.format(
        "wants something else of {} in this image set than {} of the list (the first is row {}).",
        "attribute",
        pl.when(pl.col("others") == 1).then(pl.lit("another row")).otherwise(pl.format("{} other rows", "others")),
        "first",
    )
    return _set_aside(
        against,
        "contradiction",
        problem,
        "Nothing says which of them comes last.",
        "Take one out, give each its order or version, or let the later row win: --on-contradiction last",
        column="value",
    )


def _after_removal(edits: pl.DataFrame) -> pl.DataFrame:
    """Edits inside an instance or series that an earlier row of the list removes, unless a revert brings it back."""
    removing = edits.filter(pl.col("action").is_in(WHOLE)).select("image_set_id").unique()
    there = edits.with_row_index("position").join(removing, on="image_set_id", how="semi")
    there = there.sort("image_set_id", "version", "position", nulls_last=True)
    there = there.with_columns(reverts=(pl.col("action") == Action.REVERT).cum_sum().over("image_set_id"))
    series = ["image_set_id", "reverts", "series_uid"]
    late = _removed_before(Action.REMOVE_SERIES, series) | _removed_before(
        Action.REMOVE_INSTANCE, [*series, "instance_uid"]
    )
    return _set_aside(
        there.filter(pl.col("series_uid").is_not_null() & late),
        "inside-removed",
        pl.lit("is inside an instance or series that an earlier row removes."),
        None,
        "Take one of the two rows out.",
        column="instance_uid",
    )


def _removed_before(action: Action, place: Sequence[str]) -> pl.Expr:
    removals = (pl.col("action") == action).cast(pl.UInt32)
    return (removals.cum_sum() - removals).over(place) > 0


def _set_aside(
    rows: pl.DataFrame, code: str, problem: pl.Expr, likely: str | None, hint: str, *, column: str
) -> pl.DataFrame:
    return (
        rows.select(
            "row",
            column=pl.lit(column),
            code=pl.lit(code),
            problem=problem,
            likely=pl.lit(likely, pl.String),
            hint=pl.lit(hint),
        )
        .unique("row", keep="first", maintain_order=True)
        .cast(SET_ASIDE)
    )
