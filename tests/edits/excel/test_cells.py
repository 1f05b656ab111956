"""Cells of a workbook that hold something else than a person sees there, and formulas that hold what they show."""

from __future__ import annotations

import io
from typing import Any

import pytest

from bulkedit.edits import ReadOptions, read
from tests.edits.lists import A, B, Formula, with_sheet, workbook

HEAD = ["image_set_id", "PatientName", "StudyDescription"]


def test_the_result_of_a_formula_is_its_text() -> None:
    cells: list[list[Any]] = [HEAD, [A, Formula("B9", "DOE^JANE"), Formula("1+1", 2)], [B, Formula("C9", None), "x"]]
    # as spreadsheets save a formula whose result is an empty text
    book = with_sheet(workbook(cells), lambda xml: xml.replace(b'<c r="B3">', b'<c r="B3" t="str">'))
    done = read(io.BytesIO(book), ReadOptions(format="xlsx"))
    assert not done.set_aside.height
    assert done.edits.select("row", "attribute", "value").rows() == [
        (2, "PatientName", '"DOE^JANE"'),
        (2, "StudyDescription", '"2"'),
        (3, "StudyDescription", '"x"'),
    ]


@pytest.mark.parametrize(
    ("merged", "rows"),
    [
        (("B2:B3",), {2, 3}),
        (("B3:C3",), {3}),
        (("A1:C1",), set()),
        (("B2:B2", "C3:C3"), {2, 3}),
        (("D2:E3",), set()),
    ],
)
def test_all_rows_of_merged_cells_are_set_aside(merged: tuple[str, ...], rows: set[int]) -> None:
    book = workbook([HEAD, [A, "a", "b"], [B, "c", "d"]], merged=merged)
    done = read(io.BytesIO(book), ReadOptions(format="xlsx"))
    assert set(done.set_aside["row"]) == rows
    assert set(done.set_aside["code"]) <= {"cell-merged"}
    assert set(done.edits["row"]) == {2, 3} - rows
