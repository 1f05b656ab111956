"""Converts the rows of a batch, in any form of a list, to cells: one cell per edit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import polars as pl

from bulkedit.edits import call_form as calls
from bulkedit.edits import common_columns as rows
from bulkedit.edits import json_values as exact
from bulkedit.edits import validation as cells
from bulkedit.edits.edit import Action
from bulkedit.edits.problems import RowCheck, constant, found, lines

if TYPE_CHECKING:
    from bulkedit.edits.columns import Layout
    from bulkedit.edits.options import ReadOptions

_CELLS: Final = ("action", "attribute", "value", "level", "vr")
_UIDS_MISSING: Final = ("no-series-uid", "no-instance-uid")


def cells_of(batch: pl.DataFrame, layout: Layout, options: ReadOptions) -> cells.Cells:
    """Return the edits and problems of a batch.

    ``batch``: ``row`` UInt32, and String columns under canonical names, null if empty; no row is all null.
    """
    if layout.form == "call":
        return _of_calls(batch, options)
    named, problems = rows.common(batch, force=options.force, unchecked=options.unchecked)
    named, faults = _with_study_wide(named)
    problems += faults
    odd: list[pl.DataFrame] = []
    if "value_json" in named.columns:
        named, faults, odd = exact.checked(named)
        problems += faults
    if layout.form == "wide":
        named = _tall(named, layout.attributes, options.empty)
    absent = [pl.lit(None, pl.String).alias(name) for name in _CELLS if name not in named.columns]
    named = named.with_columns(*absent)
    done = cells.edits_of(named, rules=options.rules, wide=layout.form == "wide")
    return cells.Cells(done.edits, [*problems, *done.problems], [*odd, *done.odd])


def _tall(named: pl.DataFrame, attributes: tuple[str, ...], empty: Literal["keep", "null", "remove"]) -> pl.DataFrame:
    """Return rows of the wide form as cells, by row, then by column."""
    index = [name for name in named.columns if name not in attributes]
    tall = named.unpivot(attributes, index=index, variable_name="attribute", value_name="value")
    height, width = named.height, len(attributes)
    # unpivot is column by column: the cell of row r and column c is at c * height + r
    place = pl.int_range(height * width, dtype=pl.Int64, eager=True)
    tall = tall[place % width * height + place // width]
    if empty == "keep":
        return tall.filter(pl.col("value").is_not_null())
    if empty == "remove":
        return tall.with_columns(action=pl.when(pl.col("value").is_null()).then(constant(str(Action.REMOVE))))
    return tall


def _of_calls(batch: pl.DataFrame, options: ReadOptions) -> cells.Cells:
    version = "latest_version_id" if "latest_version_id" in batch.columns else "version"
    named, problems = rows.common(batch, force=options.force, unchecked=options.unchecked, version=version)
    named, faults = _with_study_wide(named)
    problems += faults
    if "datastore_id" in named.columns:
        problems += found(named, [_datastore_check()])
    taken, unfit, odd = calls.split_calls(named)
    common = named.select("row", "edit_id", "selector", "key", "force", "unchecked", "order", "version", "study_wide")
    done = cells.edits_of(taken.join(common, on="row", maintain_order="left"), rules=options.rules, wide=False)
    # an attribute at the wrong level also lacks its UIDs; one problem is enough
    inside = [frame.filter(~pl.col("code").is_in(_UIDS_MISSING)).with_columns(_in_updates()) for frame in done.problems]
    return cells.Cells(done.edits, [*problems, lines(unfit), *inside], [odd, *done.odd])


def _with_study_wide(named: pl.DataFrame) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """Add ``study_wide`` Boolean, from include_study_image_sets if the list has it."""
    flag = "include_study_image_sets"
    if flag not in named.columns:
        return named.with_columns(study_wide=pl.lit(value=False)), []
    return named.with_columns(study_wide=rows.yes(flag)).drop(flag), found(named, [rows.yes_no_check(flag)])


def _datastore_check() -> RowCheck:
    text = constant("datastore_id is not 32 characters of 0-9 a-z.")
    return RowCheck("datastore-id", ~rows.is_id(pl.col("datastore_id")), text, "datastore_id")


def _in_updates() -> list[pl.Expr]:
    """Report problems inside the JSON of a call under the column updates."""
    code, column = pl.col("code"), pl.col("column")
    outside = column.is_in(["force", "unchecked", "include_study_image_sets"])
    renamed = {"level": "wrong-level", "level-name": "wrong-level", "revert-version": "updates"}
    advised = code.is_in(["needs-force", "study-wide", "attribute", "never-editable", "series-removal"])
    return [
        pl.when(outside).then(column).otherwise(constant("updates")).alias("column"),
        code.replace(renamed),
        pl.when(advised).then("hint").alias("hint"),
    ]
