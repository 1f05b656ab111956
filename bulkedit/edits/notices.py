"""Notices: what a list does that is planned, but may not be meant.

A notice counts rows, and does not refuse them. As a problem, it never contains the text of a cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

# one line per kind of notice, column and text
NOTICES: Final = pl.Schema(
    {
        "code": pl.String(),  # stable
        "column": pl.String(),  # a known name, or null if the notice is of no column
        "text": pl.String(),  # a whole sentence
        "hint": pl.String(),
        "rows": pl.UInt32(),  # how many; 0 if the notice is of the whole file
        "first": pl.UInt32(),  # the first of these rows, or null
    }
)


def noticed(
    frame: pl.DataFrame,
    code: str,
    when: pl.Expr,
    text: str,
    *,
    column: str | pl.Expr | None = None,
    hint: str | None = None,
) -> pl.DataFrame:
    """Count the rows for which ``when`` (Boolean, null is false) is true, by column. Returns a `NOTICES` frame.

    ``frame`` has the column ``row`` UInt32; ``column``: a name, or an expression if it differs by row.
    """
    rows = frame.filter(when)
    if rows.is_empty():
        return NOTICES.to_frame()
    name = column if isinstance(column, pl.Expr) else pl.lit(column, pl.String)
    counted = rows.select("row", column=name).group_by("column", maintain_order=True)
    return (
        counted.agg(rows=pl.len(), first=pl.col("row").min())
        .select("column", "rows", "first", code=pl.lit(code), text=pl.lit(text), hint=pl.lit(hint, pl.String))
        .select(NOTICES.names())
        .cast(NOTICES)
    )


def of_file(code: str, text: str, *, column: str | None = None, hint: str | None = None, rows: int = 0) -> pl.DataFrame:
    """Return a notice of the whole file as a `NOTICES` frame; ``rows``: how many rows it means, if it means rows."""
    return pl.DataFrame([(code, column, text, hint, rows, None)], schema=NOTICES, orient="row")


def summed(notices: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Add up notices (`NOTICES`) of several batches, in the order of their first mention."""
    if not notices:
        return NOTICES.to_frame()
    same = pl.concat(notices).group_by("code", "column", "text", "hint", maintain_order=True)
    return same.agg(pl.col("rows").sum(), pl.col("first").min())
