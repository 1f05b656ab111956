"""A refused call in two halves, to find the edits that are to blame.

Halving isolates g guilty units among n in at most 2·g·⌈log2 n⌉ calls beyond the refused one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from bulkedit.planner.documents import documents
from bulkedit.planner.frames import PlannedCall
from bulkedit.planner.merge import stages

if TYPE_CHECKING:
    from collections.abc import Callable


def halves(call: PlannedCall, edits: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The edits of a call (`PLANNED_EDITS`) in two, by units, in the order of the list."""
    units = edits.sort("edit").get_column("unit").unique(maintain_order=True)
    first = units.head((len(units) + 1) // 2)
    if len(units) < 2:
        raise ValueError(f"call {call.call} has one unit, which is not parted")
    inside = pl.col("unit").is_in(first.implode())
    return edits.filter(inside), edits.filter(~inside)


def part_of(call: PlannedCall, edits: pl.DataFrame, number: int) -> PlannedCall:
    """The call that carries some of the edits of another.

    Edits of one call are of one stage, and so is any part of them; what another took the place of may be sent now.
    """
    # of a study-wide call's edits, those that are sent may name different image sets
    own = edits.filter(pl.col("same_as").is_null()).with_columns(image_set_id=pl.lit(call.image_set_id))
    merged = stages(own.drop("sent", "call")).filter("sent").with_columns(call=pl.lit(number, pl.UInt32))
    text = documents(merged).row(0, named=True)
    sizes = [len(text[name].encode()) for name in ("updatable", "removable") if text[name]]
    return PlannedCall(
        call=number,
        lane=call.lane,
        image_set_id=call.image_set_id,
        version=call.version,
        updatable=text["updatable"],
        removable=text["removable"],
        revert_to=None,
        force=call.force,
        study_wide=call.study_wide,
        lookup=text["lookup"],
        edits=edits.height,
        units=edits.get_column("unit").n_unique(),
        bytes=max(sizes),
        recipe=call.recipe,
    )


def parts(call: PlannedCall, edits: pl.DataFrame, number: Callable[[], int]) -> list[tuple[PlannedCall, list[int]]]:
    """The two halves of a refused call, each with the numbers of its edits."""
    return [
        (part_of(call, half, number()), half.sort("edit").get_column("edit").to_list()) for half in halves(call, edits)
    ]
