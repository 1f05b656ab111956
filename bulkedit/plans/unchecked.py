"""Counts the values that a plan has although they break a rule, because their row or the list leaves the check out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit._words import plural
from bulkedit.edits.notices import NOTICES

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMED: Final = 10  # attributes in the text of the notice


def counted(edits: pl.LazyFrame) -> dict[str, int]:
    """Return how many values of the list are planned unchecked, by attribute, the most first.

    ``edits``: columns `PLANNED_EDITS`. A value counts once, even if its row means several image sets.
    """
    values = edits.filter("unchecked").select("row", "attribute").unique()
    by_attribute = values.group_by("attribute").len().sort("len", "attribute", descending=[True, False]).collect()
    return dict(by_attribute.iter_rows())


def notice_of(edits: pl.LazyFrame, counts: Mapping[str, int]) -> pl.DataFrame:
    """Return the notice of these values as a `bulkedit.edits.notices.NOTICES` frame; empty if there are none.

    ``edits``: as for `counted`, which has returned ``counts``.
    """
    if not counts:
        return NOTICES.to_frame()
    left = edits.filter("unchecked")
    unforced = not left.select(pl.col("force").all()).collect().item()
    rows = left.select(rows=pl.col("row").n_unique(), first=pl.col("row").min()).collect()
    text = f"{plural(sum(counts.values()), 'value')} unchecked: {_listed(counts)}."
    hint = "They break a rule of DICOM, and are planned as they are."
    hint += " HealthImaging may refuse those without force." if unforced else ""
    return pl.DataFrame([("unchecked", None, text, hint, *rows.row(0))], schema=NOTICES, orient="row")


def _listed(counts: Mapping[str, int]) -> str:
    shown = [f"{name} {count:,}" for name, count in list(counts.items())[:_NAMED]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {plural(more, 'other attribute')}" if more else "")
