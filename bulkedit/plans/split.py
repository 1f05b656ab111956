"""Splits a refused call in two, to find the edits that the service refuses.

Halving isolates g guilty units among n in at most 2·g·⌈log2 n⌉ calls after the refused one. If the guilty units are
already known, they are one part, and all others the other part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import polars as pl

from bulkedit.plans.calls import PlannedCall
from bulkedit.plans.documents import documents
from bulkedit.plans.merge import stages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bulkedit.plans.schema import PlannedEdit


def halves(
    call: PlannedCall, edits: pl.DataFrame, guilty: Callable[[PlannedEdit], bool] | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split the edits of a call (`PLANNED_EDITS`) in two, by units, in list order.

    ``guilty``: whether an edit is known to be refused. The units of these edits are the first part, so that they are
    sent to the version that they were checked against. If no unit is guilty, or all are, the call is halved. Raises
    ValueError if the call has one unit.
    """
    edits = edits.sort("edit")
    if edits.get_column("force").n_unique() > 1:  # edits that a removal supersedes come before it
        guilty = lambda edit: edit["force"] != call.force  # noqa: E731
    units = edits.get_column("unit").unique(maintain_order=True)
    if len(units) < 2:
        raise ValueError(f"call {call.call} has one unit, which cannot be split")
    first = units.head((len(units) + 1) // 2)
    if guilty is not None:
        rows = cast("Iterator[PlannedEdit]", edits.iter_rows(named=True))
        to_blame = {edit["unit"] for edit in rows if guilty(edit)}
        first = units.filter(units.is_in(to_blame)) if 0 < len(to_blame) < len(units) else first
    inside = pl.col("unit").is_in(first.implode())
    return edits.filter(inside), edits.filter(~inside)


def part_of(call: PlannedCall, edits: pl.DataFrame, number: int) -> PlannedCall:
    """Return call ``number``, made of some of the edits of another call.

    All edits of a call are of one stage, and so is any part of them. An edit that was superseded may now be sent.
    """
    # the edits of a study-wide call that are sent may name different image sets
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
        force=bool(merged.get_column("force").any()),
        study_wide=call.study_wide,
        lookup=text["lookup"],
        edits=edits.height,
        units=edits.get_column("unit").n_unique(),
        bytes=max(sizes),
        copy_step=call.copy_step,
    )


def parts(
    call: PlannedCall,
    edits: pl.DataFrame,
    number: Callable[[], int],
    *,
    guilty: Callable[[PlannedEdit], bool] | None = None,
) -> list[tuple[PlannedCall, list[int]]]:
    """Return the two parts of a refused call (`halves`), each with the numbers of its edits."""
    return [
        (part_of(call, half, number()), half.sort("edit").get_column("edit").to_list())
        for half in halves(call, edits, guilty)
    ]
