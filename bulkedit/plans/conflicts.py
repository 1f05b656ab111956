"""Finds rows that contradict each other or their image set, before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from bulkedit.edits import SET_ASIDE
from bulkedit.edits.edit import Action
from bulkedit.options.listing import Contradictions
from bulkedit.plans.merge import ATTRIBUTE, WHOLE, none_named_twice, same_attribute

if TYPE_CHECKING:
    from collections.abc import Sequence


def problems(edits: pl.DataFrame, contradictions: Contradictions) -> pl.DataFrame:
    """Rows that contradict others or come too late: schema `SET_ASIDE`, one line per row and code.

    ``edits``: schema `EDITS` and image_set_id String, in the order of `bulkedit.edits.edit.in_order`.
    """
    found = [_after_removal(edits)]
    if contradictions is Contradictions.FAIL:
        found += [_contradictions(edits), _versions_twice(edits)]
    return pl.concat(found).sort("row", maintain_order=True)


def _contradictions(edits: pl.DataFrame) -> pl.DataFrame:
    """Rows that give one attribute of one image set different values, unless all of them have an order or a version.

    A row with a version has its place in the order: it is applied to that version.
    """
    free = edits.filter(pl.col("version").is_null() & pl.col("attribute").is_not_null())
    asked = pl.struct("action", "value")
    crowded = free.clear() if none_named_twice(free) else free.filter(same_attribute(free).is_duplicated())
    unordered = pl.col("order").is_null().any().over(ATTRIBUTE)
    against = crowded.filter(unordered & (asked.n_unique().over(ATTRIBUTE) > 1))
    row = pl.col("row")
    later = row.filter(row != row.min()).min()
    against = against.with_columns(
        others=row.n_unique().over(ATTRIBUTE) - 1,
        first=pl.when(row == row.min().over(ATTRIBUTE))
        .then(later.over(ATTRIBUTE))
        .otherwise(row.min().over(ATTRIBUTE)),
    )
    alone = pl.col("others") == 0
    problem = (
        pl.when(alone)
        .then(pl.format("asks for different things of {} of its image set, in its own cells.", "attribute"))
        .otherwise(
            pl.format(
                "changes {} of this image set otherwise than {}.",
                "attribute",
                pl.when(pl.col("others") == 1)
                .then(pl.format("row {}", "first"))
                .otherwise(pl.format("{} other rows of the list (the first is row {})", "others", "first")),
            )
        )
    )
    return rows_set_aside(
        against,
        "contradiction",
        problem,
        "Nothing says which of them comes last.",
        "Delete one, give each an order or a version, or let the later row win: `on_contradiction=last`",
        column="value",
    )


def _versions_twice(edits: pl.DataFrame) -> pl.DataFrame:
    """Rows that name the same version of an image set as an earlier row, which replaces that version."""
    named = edits.filter(pl.col("version").is_not_null())
    named = named.with_columns(first=pl.col("row").first().over("image_set_id", "version"))
    return rows_set_aside(
        named.filter(pl.col("row") != pl.col("first")),
        "version-twice",
        pl.format("names version {} of this image set, as row {} does.", "version", "first"),
        "A row is applied only to the version that it names, and the first of these rows creates a newer one.",
        "Put all edits of one version into one row (one column per attribute), or clear the version of the later rows.",
        column="version",
    )


def _after_removal(edits: pl.DataFrame) -> pl.DataFrame:
    """Edits inside an instance or series that an earlier row of the list removes, unless a revert brings it back."""
    removing = edits.filter(pl.col("action").is_in(WHOLE)).select("image_set_id").unique()
    there = edits.join(removing, on="image_set_id", how="semi", maintain_order="left")
    there = there.with_columns(reverts=(pl.col("action") == Action.REVERT).cum_sum().over("image_set_id"))
    series = ["image_set_id", "reverts", "series_uid"]
    remover = pl.coalesce(
        _removed_before(Action.REMOVE_SERIES, series),
        _removed_before(Action.REMOVE_INSTANCE, [*series, "instance_uid"]),
    )
    late = there.with_columns(remover=remover).filter(
        pl.col("series_uid").is_not_null() & pl.col("remover").is_not_null()
    )
    return rows_set_aside(
        late,
        "inside-removed",
        pl.when(pl.col("remover") == pl.col("row"))
        .then(pl.lit("removes an instance or series, and also edits it."))
        .otherwise(pl.format("is inside an instance or series that row {} removes.", "remover")),
        None,
        "Delete one of the two.",
        column="instance_uid",
    )


def other_series(edits: pl.DataFrame, series: pl.DataFrame) -> pl.DataFrame:
    """Rows whose series_uid is not that of their image set: schema `SET_ASIDE`.

    ``series``: image_set_id, series String without padding. An image set contains one series. Image sets that the list
    reverts, or whose SeriesInstanceUID it changes, are not checked, because their UID changes during the run.
    """
    # the cheap filter first: most lists name no series
    named = edits.filter(pl.col("series_uid").is_not_null())
    placed = named.join(series.drop_nulls().unique("image_set_id"), on="image_set_id", maintain_order="left")
    others = placed.filter(pl.col("series_uid") != pl.col("series"))
    changes = (pl.col("attribute") == "SeriesInstanceUID") | (pl.col("action") == Action.REVERT)
    changed = edits.filter(changes.fill_null(value=False)).select("image_set_id").unique()
    return rows_set_aside(
        others.join(changed, on="image_set_id", how="anti", maintain_order="left"),
        "no-such-series",
        pl.lit("names a series that its image set does not have."),
        "The inventory has another SeriesInstanceUID for this image set.",
        "Correct series_uid or the image set of the row; if the UID is new, take the inventory again.",
        column="series_uid",
    )


def no_such_place(edits: pl.DataFrame) -> pl.DataFrame:
    """Rows that name a series or instance that is not in the metadata of their image set: schema `SET_ASIDE`.

    ``edits``: columns row, and missing String (`bulkedit.edits.compare.misplaced`).
    """
    return pl.concat(
        rows_set_aside(
            edits.filter(pl.col("missing") == kind),
            f"no-such-{kind}",
            pl.lit(f"names {article} {kind} that its image set does not have."),
            "A UID has a typo, belongs to another image set, or has changed since the list was made.",
            f"Correct {kind}_uid or the image set of the row.",
            column=f"{kind}_uid",
        )
        for kind, article in (("series", "a"), ("instance", "an"))
    ).unique("row", keep="first", maintain_order=True)


def of_several_issuers(edits: pl.DataFrame) -> pl.DataFrame:
    """Rows that match image sets whose patient ids are of different issuers: schema `SET_ASIDE`.

    ``edits``: columns row, selector, and issuer String, null if it is not known.
    """
    issuers = edits.filter(pl.col("selector") != "image_set_id").drop_nulls("issuer").group_by("row", "selector")
    rows = issuers.agg(pl.col("issuer").n_unique()).filter(pl.col("issuer") > 1).sort("row")
    return rows_set_aside(
        rows,
        "many-patients",
        pl.format("matches image sets of {} issuers of patient ids.", "issuer"),
        "Different issuers give one patient id to different people.",
        "Name image sets of one patient. To edit those of all these patients: `on_many_patients=all`",
        column=pl.col("selector").cast(pl.String),
    )


def _removed_before(action: Action, place: Sequence[str]) -> pl.Expr:
    """Return the row that has removed a place before an edit of it; null if there is none."""
    return pl.when(pl.col("action") == action).then("row").shift(1).forward_fill().over(place)


def rows_set_aside(
    rows: pl.DataFrame,
    code: str,
    problem: pl.Expr,
    likely: str | None,
    hint: str,
    *,
    column: str | pl.Expr = "attribute",
) -> pl.DataFrame:
    """Rows that cannot be planned, each once per attribute: schema `SET_ASIDE`. ``column``: name or expression."""
    once = ["row", "attribute"] if "attribute" in rows.columns else ["row"]
    return (
        rows.unique(once, keep="first", maintain_order=True)
        .select(
            "row",
            column=pl.lit(column) if isinstance(column, str) else column,
            code=pl.lit(code),
            problem=problem,
            likely=pl.lit(likely, pl.String),
            hint=pl.lit(hint),
        )
        .cast(SET_ASIDE)
    )
