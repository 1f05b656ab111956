"""Notices are counted over batches, and are part of a plan."""

from __future__ import annotations

import polars as pl

from bulkedit.edits.notices import NOTICES, noticed, of_file, summed

FRAME = pl.DataFrame(
    {"row": [2, 3, 4], "attribute": ["PatientSex", "StudyID", "PatientSex"]}, schema_overrides={"row": pl.UInt32}
)


def test_rows_are_counted_by_column_and_added_up_over_batches() -> None:
    found = noticed(FRAME, "terms", pl.lit(value=True), "is rare.", column=pl.col("attribute"))
    later = noticed(
        FRAME.with_columns(pl.col("row") + 10), "terms", pl.col("row") > 13, "is rare.", column="PatientSex"
    )
    assert found.schema == NOTICES
    assert summed([found, later]).select("column", "rows", "first").rows() == [("PatientSex", 3, 2), ("StudyID", 1, 3)]


def test_nothing_is_noticed_of_no_rows_and_of_nulls() -> None:
    assert noticed(FRAME, "terms", pl.lit(None, pl.Boolean), "is rare.").is_empty()
    assert summed([]).schema == NOTICES


def test_a_notice_of_the_file_has_no_row() -> None:
    assert summed([of_file("sheets", "has 2 sheets.")]).row(0) == ("sheets", None, "has 2 sheets.", None, 0, None)
