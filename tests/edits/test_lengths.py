"""A few identifiers that are shorter or longer than nearly all others are told, without their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.edits.lists import A, read_text

if TYPE_CHECKING:
    from bulkedit.edits import EditList

SEVEN = [f"{number:07}" for number in range(1_000_000, 1_009_990)]
SIX = [f"{number:06}" for number in range(10)]


def of(*columns: tuple[str, list[str]], **fixed: str) -> EditList:
    head = [*(name for name, _ in columns), *fixed]
    rows = zip(*(cells for _, cells in columns), strict=True)
    lines = [",".join([*row, *fixed.values()]) for row in rows]
    return read_text("\n".join([",".join(head), *lines]))


def notices(done: EditList) -> list[tuple[object, ...]]:
    return done.notices.filter(code="lengths-differ").select("column", "rows", "first").rows()


def test_ten_of_ten_thousand_are_told_with_counts_and_the_first_row() -> None:
    done = of(("PatientID", SEVEN[:500] + SIX + SEVEN[500:]), image_set_id=A)
    (line,) = done.notices.rows(named=True)
    assert line["text"] == "PatientID has 7 digits in 9,990 rows, and 6 digits in 10."
    assert (line["code"], line["column"], line["rows"], line["first"]) == ("lengths-differ", "PatientID", 10, 502)


@pytest.mark.parametrize("name", ["patient_id", "accession_number", "study_id"])
def test_selectors_are_looked_at_once_per_row(name: str) -> None:
    cells = SEVEN[:990] + SIX
    done = of((name, cells), ("PatientName", ["x"] * 1000), ("StudyDate", ["20240311"] * 1000))
    assert notices(done) == [(name, 10, 992)]


def test_in_the_tidy_form_each_attribute_is_looked_at_alone() -> None:
    cells = SEVEN[:300] + SIX[:2] + ["20240311"] * 302
    attributes = ["PatientID"] * 302 + ["StudyDate"] * 302
    done = of(("attribute", attributes), ("value", cells), image_set_id=A)
    assert notices(done) == [("PatientID", 2, 302)]


@pytest.mark.parametrize(
    "cells",
    [
        SEVEN[:500],
        SEVEN[:90] + SIX[:1],  # too few rows
        SEVEN[:980] + SIX * 2,  # 98 percent
        SEVEN[:990] + [f"X{cell}" for cell in SIX],  # with letters
        [f"A{cell}" for cell in SEVEN[:990]] + SIX,
        [str(number) for number in range(1000)],
    ],
)
def test_other_columns_have_no_notice(cells: list[str]) -> None:
    assert notices(of(("PatientID", cells), image_set_id=A)) == []
    assert notices(of(("StudyDescription", cells), image_set_id=A)) == []
