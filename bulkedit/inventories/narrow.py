"""Narrows an edit list to the image sets that meet a condition. Pure and vectorised.

The condition is applied to the inventory before rows are resolved, so a row that names ten image sets, of which one
meets it, names one. A row whose image sets all fail it is left out, and is no problem; a row that names no image set of
the inventory is one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from bulkedit.edits import SET_ASIDE
from bulkedit.inventories.condition import judged
from bulkedit.inventories.resolve import Resolved, ResolveOptions, resolve
from bulkedit.options.listing import OnMany, OnManyPatients, OnMissing

_ID: Final = "image_set_id"
_MISSING: Final = ("no-match", "no-primary-match", "no-match-in-series")  # codes of `resolve`


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A resolved list, and what a condition has left out of it."""

    resolved: Resolved
    left_out: pl.DataFrame  # SET_ASIDE: rows of which no image set meets the condition
    image_sets: int  # that the list names, and that do not meet the condition
    undecided: int  # of these: they lack a value that the condition compares


def resolve_narrowed(
    edits: pl.DataFrame, inventory: pl.DataFrame, condition: pl.Expr, options: ResolveOptions
) -> Narrowed:
    """Resolve ``edits`` (`EDITS`) to image sets of ``inventory`` (`INVENTORY`) that meet ``condition``.

    ``condition``: from `condition_of`. ``inventory`` has every image set that the list names, also by ``image_set_id``.
    """
    decided = judged(inventory.lazy(), condition)
    meeting = inventory.join(decided.filter("meets"), on=_ID, how="semi", maintain_order="left")
    by_id = edits.filter(pl.col("selector") == _ID)
    absent = by_id.join(inventory, left_on="key", right_on=_ID, how="anti")
    failing = by_id.join(meeting, left_on="key", right_on=_ID, how="anti")
    rest = _without(edits, failing)
    found = resolve(rest, meeting, options)
    named = resolve(rest, inventory, _every(options))
    missing = _missing(named)
    unmet = _without(pl.concat([_missing(found), found.skipped]), missing)
    resolved = replace(
        found,
        set_aside=pl.concat([_without(found.set_aside, _missing(found)), _among(missing, _missing(found))]),
        skipped=_without(found.skipped, unmet),
    )
    left_out = pl.concat([unmet.select("row"), _without(failing, absent).select("row")]).unique().sort("row")
    ids = pl.concat([named.edits.get_column(_ID), _without(failing, absent).get_column("key").alias(_ID)]).unique()
    not_met = decided.filter(~pl.col("meets").fill_null(value=False)).join(ids.to_frame(), on=_ID, how="semi")
    return Narrowed(
        _with_absent(resolved, absent, options),
        _problem(left_out, "condition", "names no image set that meets the condition."),
        not_met.height,
        not_met.get_column("meets").null_count(),
    )


def _every(options: ResolveOptions) -> ResolveOptions:
    """Options with which only rows that name nothing are refused."""
    return replace(options, on_missing=OnMissing.FAIL, on_many=OnMany.ALL, on_many_patients=OnManyPatients.ALL)


def _missing(resolved: Resolved) -> pl.DataFrame:
    return resolved.set_aside.filter(pl.col("code").is_in(_MISSING))


def _among(frame: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    return frame.join(rows.select("row"), on="row", how="semi", maintain_order="left")


def _without(frame: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    return frame.join(rows.select("row"), on="row", how="anti", maintain_order="left")


def _with_absent(resolved: Resolved, absent: pl.DataFrame, options: ResolveOptions) -> Resolved:
    """Add the rows that name image sets by an id that is not in the inventory."""
    if absent.is_empty():
        return resolved
    problems = _problem(
        absent.select("row").unique().sort("row"),
        "not-in-inventory",
        "names an image set that is not in the inventory, so the condition cannot be checked.",
        likely="The id is mistyped, of another data store, or newer than the inventory.",
        hint="Correct it, take the inventory again, or skip rows without a match: `on_missing=skip`",
        column=_ID,
    )
    if options.on_missing is OnMissing.SKIP:
        return replace(resolved, skipped=pl.concat([resolved.skipped, problems]))
    return replace(resolved, set_aside=pl.concat([resolved.set_aside, problems]))


def _problem(
    rows: pl.DataFrame,
    code: str,
    problem: str,
    *,
    likely: str | None = None,
    hint: str | None = None,
    column: str | None = None,
) -> pl.DataFrame:
    return rows.select(
        "row",
        column=pl.lit(column, pl.String),
        code=pl.lit(code),
        problem=pl.lit(problem),
        likely=pl.lit(likely, pl.String),
        hint=pl.lit(hint, pl.String),
    ).cast(SET_ASIDE)
