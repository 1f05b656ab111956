"""From edits to lanes of calls.

Today one row of the edit list is one call, in order: by the version that a row names, then by row. Only `_calls_of`
decides which edits share a call; all else here follows from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from bulkedit.editlist import SET_ASIDE
from bulkedit.plan.documents import documents
from bulkedit.plan.frames import CALLS, PLANNED_EDITS

if TYPE_CHECKING:
    from bulkedit.dicom import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a plan is made with, beside the edit list."""

    rules: Rules
    payload_limit: int  # bytes of each attributes document


@dataclass(frozen=True, slots=True)
class Plan:
    """Calls (`CALLS`), their edits (`PLANNED_EDITS`) and the rows that planning had to set aside (`SET_ASIDE`)."""

    calls: pl.DataFrame
    edits: pl.DataFrame
    set_aside: pl.DataFrame


def make(edits: pl.DataFrame, settings: Settings) -> Plan:
    """Plan the calls for edits (schema `bulkedit.edit.EDITS`, in the order of the list).

    A row that no call can carry is set aside whole.
    """
    unresolved = _unresolved(edits)
    edits = edits.join(unresolved.select("row"), on="row", how="anti", maintain_order="left")
    numbered = _calls_of(edits.with_columns(image_set_id=pl.col("key")))
    written = _write(numbered)
    large = _too_large(written, numbered, settings.payload_limit)
    if large.height:
        rest = edits.join(large.select("row"), on="row", how="anti", maintain_order="left")
        again = make(rest, settings)
        return Plan(again.calls, again.edits, pl.concat([unresolved, large, again.set_aside]).sort("row"))
    return Plan(
        written.select(CALLS.names()).cast(CALLS),
        numbered.with_row_index("edit").select(PLANNED_EDITS.names()).cast(PLANNED_EDITS),
        unresolved,
    )


def _unresolved(edits: pl.DataFrame) -> pl.DataFrame:
    """Rows that name their image set otherwise than by its id."""
    other = edits.filter(pl.col("selector") != "image_set_id").unique("row", keep="first", maintain_order=True)
    return other.select(
        "row",
        column="selector",
        code=pl.lit("selector-unresolved"),
        problem=pl.format("names its image sets by {}, which this version cannot look up yet.", "selector"),
        likely=pl.lit("Only image_set_id is understood so far."),
        hint=pl.lit("Put the image set's id into a column image_set_id."),
    ).cast(SET_ASIDE)


def _calls_of(edits: pl.DataFrame) -> pl.DataFrame:
    """Number the calls: adds call and lane UInt32 to the edits.

    Lanes with more calls come first, so that the end of a run is not one long lane; then the order of the list.
    """
    calls = (
        edits.select("row", "image_set_id", "version")
        .unique("row", keep="first", maintain_order=True)
        .with_columns(length=pl.len().over("image_set_id"), first=pl.col("row").min().over("image_set_id"))
        .sort("length", "first", "version", "row", descending=[True, False, False, False], nulls_last=True)
        .with_row_index("call")
        .with_columns(lane=pl.col("first").rle_id())
    )
    return edits.join(calls.select("row", "call", "lane"), on="row", how="left", maintain_order="left")


def _write(edits: pl.DataFrame) -> pl.DataFrame:
    """One row a call, with its documents."""
    heads = (
        edits.lazy()
        .group_by("call")
        .agg(
            pl.col("lane", "image_set_id", "version", "revert_to").first(),
            pl.col("force", "study_wide").any(),
            edits=pl.len(),
        )
    )
    return (
        heads.join(documents(edits.lazy()), on="call", how="left")
        .with_columns(
            pl.col("lookup").fill_null(value=False),
            bytes=pl.max_horizontal(pl.col("updatable", "removable").str.len_bytes()).fill_null(0),
        )
        .sort("call")
        .collect()
    )


def _too_large(calls: pl.DataFrame, edits: pl.DataFrame, limit: int) -> pl.DataFrame:
    """Rows whose call is over the payload limit."""
    over = calls.filter(pl.col("bytes") > limit).join(edits.select("call", "row"), on="call")
    return (
        over.unique("row")
        .sort("row")
        .select(
            "row",
            column=pl.lit(None, pl.String),
            code=pl.lit("payload-too-large"),
            problem=pl.format("asks for a call of {} bytes; the service takes {} at most.", "bytes", pl.lit(limit)),
            likely=pl.lit("The quota on the payload of UpdateImageSetMetadata is 10 KB unless AWS has raised it."),
            hint=pl.lit("Split the row, or give the raised quota with --payload-limit."),
        )
        .cast(SET_ASIDE)
    )
