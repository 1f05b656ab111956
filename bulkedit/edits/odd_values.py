"""Notices of values that are valid, and may not be meant."""

from __future__ import annotations

from typing import Final

import polars as pl

from bulkedit.edits.notices import NOTICES

# the hints, by `bulkedit.dicom.faults.Oddity.code`
_HINTS: Final = {
    "long-value": "Other DICOM systems may cut or refuse it.",
    "unlisted-term": "Other DICOM systems may not understand it.",
    "encoded-value": "Compare it with its source; if it is wrong, export the list again as UTF-8.",
}

# Values: row UInt32; `Oddity.code`; `Oddity.text`; and column, the keyword of the attribute
ODD_VALUES: Final = pl.Schema({"row": pl.UInt32(), "code": pl.String(), "text": pl.String(), "column": pl.String()})


def notices_of(values: pl.DataFrame) -> list[pl.DataFrame]:
    """Return values (`ODD_VALUES`) as frames `NOTICES`: one line for each kind and attribute."""
    if values.is_empty():
        return []
    counted = values.group_by("code", "text", "column", maintain_order=True).agg(
        rows=pl.col("row").n_unique(), first=pl.col("row").min()
    )
    hints = pl.col("code").replace_strict(_HINTS, return_dtype=pl.String)
    text = pl.format("the value {}", "text")
    return [counted.with_columns(hint=hints, text=text).select(NOTICES.names()).cast(NOTICES)]
