"""Totals, footers and headers in the middle of a list are named as such, and nothing else is said of them."""

from __future__ import annotations

import pytest

from bulkedit.edits.no_rows import is_total_line
from bulkedit.errors import EditListError
from tests.edits.lists import A, B, edits, problems, read_rows, read_text

TOTALS = [
    "Total",
    "TOTAL:",
    "Grand total: 312",
    "Summe 1.234",
    "Gesamt",
    "Anzahl = 3",
    "(312 rows affected)",
    "-----",
    "---+---",
    "Gesamtergebnis",
    "Total général",
    "合計",
    "Records: 312",
    "--- end ---",
    "Page 1 of 3",
    "Printed: 2024-03-11 14:25",
    "Erstellt am 11.03.2024",
]
IDS = [
    "SUM-00123",
    "TOTAL7",
    "Total^John",
    "Summer",
    "COUNTY 7",
    "7",
    "700123",
    "--",
    "Countess",
    "END-7",
    "PAGE1",
    "Page^John",
    "Printed7",
]


@pytest.mark.parametrize("text", TOTALS)
@pytest.mark.parametrize("selector", ["image_set_id", "patient_id"])
def test_a_total_in_the_place_of_a_selector_is_named_as_such(selector: str, text: str) -> None:
    good = {selector: A, "StudyDate": "20240311"}
    done = read_rows(good, {selector: text, "StudyDate": "312"})
    assert problems(done) == [(3, None, "total-row")]
    assert edits(done, "row") == [2]
    assert done.set_aside["hint"].item() == "Delete the row."
    assert "312" not in done.set_aside["problem"].item()


@pytest.mark.parametrize("text", IDS)
def test_an_identifier_is_no_total(text: str) -> None:
    assert problems(read_rows({"patient_id": text, "StudyDescription": "x"})) == []
    assert not is_total_line(f"{text},x")


def test_a_total_beside_an_empty_selector_is_named_as_such() -> None:
    done = read_rows({"image_set_id": A, "PatientName": "Total"}, {"image_set_id": None, "PatientName": "Total: 1"})
    assert problems(done) == [(3, None, "total-row")]
    assert edits(done, "row") == [2]


def test_a_header_that_is_repeated_is_named_as_such() -> None:
    row = {"image_set_id": A, "attribute": "StudyDate", "value": "20240311"}
    for names in row, ["Image set ID", *list(row)[1:]], ["IMAGE_SET_ID", *list(row)[1:]]:
        done = read_rows(row, dict(zip(row, names, strict=True)), row | {"image_set_id": B})
        assert problems(done) == [(3, None, "header-row")]


@pytest.mark.parametrize("line", ["(1 row affected)", "Total", "312 rows selected.", "Gesamt: 2"])
def test_a_line_of_fewer_cells_that_is_a_total_is_named_as_such(line: str) -> None:
    with pytest.raises(EditListError, match="1 cell, and the header has 2") as caught:
        read_text(f"image_set_id,PatientID\n{A},1\n{line}\n")
    assert (caught.value.where, caught.value.hint) == ("standard input, row 3", "Delete the row.")
    assert "looks like a total" in str(caught.value.likely)


def test_a_row_with_another_separator_than_the_header_is_told_so() -> None:
    with pytest.raises(EditListError, match="1 cell, and the header has 2") as caught:
        read_text(f"image_set_id,PatientName\n{A};x\n")
    assert "separated by another character" in str(caught.value.likely)
    assert caught.value.hint == "Use one separator in the whole file."


def test_rows_that_are_uneven_are_counted() -> None:
    with pytest.raises(
        EditListError, match=r"3 cells, and the header has 2; at least 2 more rows differ too\."
    ) as caught:
        read_text(f"image_set_id,PatientName\n{A},Doe\n" + f"{A},Doe, John\n" * 3)
    assert caught.value.where == "standard input, row 3"
