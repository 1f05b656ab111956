"""Checks that the calls of a plan agree with its edits.

A plan contains everything twice: the edits, which reports show, and the calls, which are sent. This module makes each
call again from its edits, as `bulkedit.plans.build` does, and compares the two. It cannot check that the edits are the
intended ones: for that, compare the plan's digest with one that you received separately.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from bulkedit._concurrency import concurrently
from bulkedit.plans import unchecked
from bulkedit.plans.build import written
from bulkedit.plans.calls import CopyStep
from bulkedit.plans.schema import CALLS

if TYPE_CHECKING:
    from collections.abc import Iterator

_CALLS: Final = 2**15  # per batch
_NUMBER: Final = pl.lit(1, pl.UInt32)
# columns of every copy step that carries no edit (`bulkedit.plans.via_copy`)
_STEP: Final = {
    **dict.fromkeys(("version", "updatable", "removable", "revert_to")),
    **dict.fromkeys(("force", "study_wide", "lookup"), False),
    "edits": 0,
    "units": 1,
    "bytes": 0,
}
_MADE: Final = (*_STEP,)
_ORDER: Final = {str(step): place for place, step in enumerate(CopyStep)}


@dataclass(frozen=True, slots=True)
class Disagreement:
    """The first call that differs from its edits."""

    call: int
    row: int | None  # first row of the edit list in the call; None if the call carries no edit
    what: str  # a sentence without values


class _FoundError(Exception):
    def __init__(self, call: int, row: int | None, what: str) -> None:
        super().__init__(what)
        self.found = Disagreement(call, row, what)


def disagreement(calls: pl.LazyFrame, edits: pl.LazyFrame) -> Disagreement | None:
    """Return the first call that differs from its edits, or None if all agree.

    ``calls`` and ``edits``: columns `CALLS` and `PLANNED_EDITS` of a whole plan. At most two batches are in memory.
    """
    try:
        for _ in concurrently(_compare, _batches(calls, edits)):
            pass
        _require_lanes(calls, edits)
    except _FoundError as error:
        return error.found
    return None


def counts(calls: pl.LazyFrame, edits: pl.LazyFrame) -> dict[str, int]:
    """Count calls and edits again, under the names of `bulkedit.plans.counts.Estimate`."""
    steps = dict(calls.group_by("copy_step").len().collect().iter_rows())
    deleted = steps.get(CopyStep.DELETE_ORIGINAL, 0)
    longest = calls.group_by("lane").len().select(pl.col("len").max()).collect().item()
    touched = edits.filter("study_wide").select("image_set_id"), calls.select("image_set_id")
    return {
        "calls": sum(steps.values()),
        "edits": edits.select(pl.len()).collect().item(),
        "image_sets": pl.concat(touched).select(pl.col("image_set_id").hash().n_unique()).collect().item(),
        "longest_lane": longest or 0,
        "via_copy": steps.get(CopyStep.COPY, 0),
        "copies": steps.get(CopyStep.COPY, 0) + steps.get(CopyStep.PROMOTE, 0),
        "deletions": steps.get(CopyStep.DELETE_COPY, 0) + deleted,
        "originals_deleted": deleted,
        "unchecked_values": sum(unchecked.counted(edits).values()),
    }


# -- calls


def _batches(calls: pl.LazyFrame, edits: pl.LazyFrame) -> Iterator[tuple[int, pl.DataFrame, pl.DataFrame]]:
    """Yield the expected number of the first call, a batch of calls, and the edits that the batch claims to carry."""
    total = edits.select(pl.len()).collect().item()
    begin = 0
    for first in itertools.count(0, _CALLS):
        batch = calls.slice(first, _CALLS).collect()
        if not batch.height:
            break
        length = int(batch.get_column("edits").cast(pl.UInt64).sum())
        if begin + length > total:
            raise _FoundError(int(batch.item(0, "call")), None, "the calls count more edits than the plan has")
        yield first, batch, edits.slice(begin, length).collect()
        begin += length
    if begin != total:
        raise _FoundError(first, None, "some edits belong to no call")


def _compare(batch: tuple[int, pl.DataFrame, pl.DataFrame]) -> None:
    """Raise _FoundError for the first call of a batch that differs from its edits."""
    first, calls, edits = batch
    numbers = pl.int_range(first, first + calls.height, dtype=pl.UInt32, eager=True)
    _require(calls, edits, calls.get_column("call") == numbers, "calls are not numbered in order")
    step = pl.col("copy_step").is_not_null() & (pl.col("copy_step") != CopyStep.EDIT)
    empty = pl.all_horizontal(pl.col(name).eq_missing(pl.lit(value, CALLS[name])) for name, value in _STEP.items())
    _require(calls, edits, calls.select(~step | empty).to_series(), "a copy step without edits has content")
    carrying = calls.filter(~step)
    number = edits.get_column("call")
    if not number.is_sorted() or not number.unique(maintain_order=True).equals(carrying.get_column("call")):
        raise _FoundError(first, _row(edits), "edits are not in the order of their calls")
    made = written(edits, [])
    for name in _MADE:
        same = made.get_column(name).cast(CALLS[name]).eq_missing(carrying.get_column(name))
        _require(carrying, edits, same, f"{_NAMES.get(name, name)} differs from that of the edits")
    _require_target(carrying, edits)


_NAMES: Final = {
    "updatable": "the document of attributes to set",
    "removable": "the document of attributes to remove",
    "revert_to": "the version to revert to",
    "study_wide": "the flag for the whole study",
    "lookup": "the flag for reading stored values first",
    "edits": "the number of edits",
    "units": "the number of units",
    "bytes": "the size",
}


def _require_target(carrying: pl.DataFrame, edits: pl.DataFrame) -> None:
    """Raise _FoundError if a call and its edits name different image sets. Study-wide calls: `_require_leads`."""
    counted = carrying.get_column("edits")
    places = pl.int_range(carrying.height, dtype=pl.UInt32, eager=True).repeat_by(counted).explode()
    named = carrying.get_column("image_set_id").gather(places)
    same = edits.select((pl.col("image_set_id") == named) | pl.col("study_wide")).to_series()
    if not same.all():
        call, row = edits.select("call", "row").row(int((~same.fill_null(value=False)).arg_true()[0]))
        raise _FoundError(call, row, "its image set is not the one of its edits")


def _require(calls: pl.DataFrame, edits: pl.DataFrame, good: pl.Series, what: str) -> None:
    if good.all() and not good.null_count():
        return
    call = calls.item(int((~good.fill_null(value=False)).arg_true()[0]), "call")
    raise _FoundError(call, _row(edits.filter(pl.col("call") == call)), what)


def _row(edits: pl.DataFrame) -> int | None:
    found: Any = edits.get_column("row").min()
    return None if found is None else int(found)


# -- lanes


def _require_lanes(calls: pl.LazyFrame, edits: pl.LazyFrame) -> None:
    """Raise _FoundError if calls of one image set could run at once, or if copy steps are out of order."""
    image_set = pl.col("image_set_id").hash().alias("image_set")
    laned = calls.select("call", "lane", image_set, "study_wide", step="copy_step").collect()
    lane = laned.get_column("lane")
    rises = (lane.cast(pl.Int64).diff().fill_null(0)).is_between(0, 1)
    no_edits = edits.clear().collect()
    _require(laned, no_edits, rises & (lane.first() in {0, None}), "lanes are not numbered in order")
    pairs = laned.select("call", "lane", "image_set")
    if laned.get_column("study_wide").any():
        wide = edits.filter("study_wide").select("call", "edit", "version", image_set).collect()
        wide = wide.join(laned.select("call", "lane"), on="call")
        _require_leads(laned, wide)
        pairs = pl.concat([pairs, wide.select("call", "lane", "image_set")])
    parted = pairs.select(good=pl.col("lane").min().over("image_set") == pl.col("lane")).to_series()
    _require(pairs, no_edits, parted, "calls of one image set are in two lanes, so they would run at once")
    _require_via_copy(laned.filter(pl.col("step").is_not_null().any().over("lane")), no_edits)


def _require_leads(laned: pl.DataFrame, wide: pl.DataFrame) -> None:
    """Raise _FoundError if a study-wide call does not name the image set of the first such edit of its lane."""
    # if rows name a version, the call names the image set of that version
    own = pl.when(pl.col("version").is_not_null()).then("image_set")
    leads = wide.with_columns(own=own).select(
        "call", lead=pl.col("image_set").sort_by("edit").first().over("lane", "own")
    )
    named = laned.filter("study_wide").join(leads.unique("call"), on="call", how="left")
    good = named.get_column("image_set").eq_missing(named.get_column("lead"))
    _require(named, laned.clear().with_columns(row=_NUMBER), good, "its image set is not the study's first in the lane")


def _require_via_copy(steps: pl.DataFrame, no_edits: pl.DataFrame) -> None:
    """Raise _FoundError if the steps of a lane do not copy, edit, promote and delete one image set in that order."""
    if not steps.height:
        return
    place = pl.col("step").replace_strict(_ORDER, default=None, return_dtype=pl.Int8)
    judged = steps.with_columns(place=place).with_columns(
        good=pl.col("place").is_not_null().all().over("lane")
        & (pl.col("place").diff().fill_null(0) >= 0).all().over("lane")
        & (pl.col("image_set").n_unique().over("lane") == 1)
        & pl.all_horizontal(
            (pl.col("step") == str(one)).sum().over("lane") == 1
            for one in (CopyStep.COPY, CopyStep.PROMOTE, CopyStep.DELETE_COPY)
        )
        & ((pl.col("step") == str(CopyStep.DELETE_ORIGINAL)).sum().over("lane") <= 1)
    )
    _require(judged, no_edits, judged.get_column("good"), "its copy steps are out of order")
