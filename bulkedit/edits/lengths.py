"""Finds identifiers of another length than nearly all others: a sign that leading zeros are lost in some rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit._words import plural
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits.columns import is_identifier
from bulkedit.edits.edit import Action
from bulkedit.edits.notices import NOTICES
from bulkedit.options.shared import SAME_ATTRIBUTE

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENOUGH: Final = 100  # rows; with fewer, a share says little
_MOST: Final = 0.99  # of the rows have one length
_LOOKED_AT: Final = 2_000  # rows that show whether a list may have such a column
_LIKELY_MOST: Final = 0.95  # of the rows that are looked at
_DIGITS: Final = '^"?[0-9]+"?$'


def differing(edits: pl.DataFrame) -> pl.DataFrame:
    """Return a notice (NOTICES) for each selector and attribute with digits of one length in nearly all rows.

    ``edits``: schema `bulkedit.edits.edit.EDITS`, in row order. A few rows show whether to look at all of them.
    """
    few = edits.gather_every(max(1, edits.height // _LOOKED_AT))
    found = [
        notice
        for name, when, column in _columns(few)
        if _length_of_most(few.filter(when), column, _LIKELY_MOST) is not None
        and (notice := _notice(edits.filter(when), name, column)) is not None
    ]
    return pl.DataFrame(found, schema=NOTICES, orient="row")


def _columns(few: pl.DataFrame) -> Iterator[tuple[str, pl.Expr, str]]:
    """Yield what has identifiers of digits: name, its edits, and their column."""
    for selector in few["selector"].drop_nulls().unique(maintain_order=True):
        if _may_lose_zeros(SAME_ATTRIBUTE.get(selector, "")):
            first = pl.col("row") != pl.col("row").shift().fill_null(0)
            yield selector, (pl.col("selector") == selector) & first, "key"
    setting = pl.col("action") == str(Action.SET)
    for name in few["attribute"].drop_nulls().unique(maintain_order=True):
        if _may_lose_zeros(name):
            yield name, (pl.col("attribute") == name) & setting, "value"


def _may_lose_zeros(name: str) -> bool:
    known = dicom.attribute(name)
    return known is not None and not known.private and known.vr != "UI" and is_identifier(known)


def _lengths(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return the lengths of texts that are digits only: length, count, first row."""
    text = pl.when(pl.col(column).str.contains(_DIGITS)).then(pl.col(column).str.strip_chars('"'))
    lengths = rows.select("row", length=text.str.len_bytes()).drop_nulls().group_by("length")
    return lengths.agg(count=pl.len(), first=pl.col("row").min()).sort("count", "length", descending=True)


def _length_of_most(rows: pl.DataFrame, column: str, share: float) -> int | None:
    lengths = _lengths(rows, column)
    return lengths.item(0, "length") if lengths.height and lengths.item(0, "count") >= share * rows.height else None


def _notice(rows: pl.DataFrame, name: str, column: str) -> tuple[object, ...] | None:
    """Return a line of NOTICES, or None."""
    if rows.height < _ENOUGH or (most := _length_of_most(rows, column, _MOST)) is None:
        return None
    others = _lengths(rows, column).filter(pl.col("length") != most)
    if others.is_empty():
        return None
    count = int(others["count"].sum())
    lengths = " or ".join(str(length) for length in others["length"].sort().head(3))
    digits, usual = plural(most, "digit"), plural(rows.height - count, "row")
    text = f"{name} has {digits} in {usual}, and {lengths} digits in {count:,}."
    hint = "Leading zeros may be lost in these rows: compare them with the source."
    return "lengths-differ", name, text, hint, count, others["first"].min()
