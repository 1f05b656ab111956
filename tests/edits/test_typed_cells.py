"""Numbers, dates and truth values of JSON lines, Parquet and frames are the text that their attribute takes."""

from __future__ import annotations

import datetime as dt
import io
import json
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from bulkedit.edits import EditList, ReadOptions, read
from bulkedit.errors import EditListError
from tests.edits.excel.books import Page, Styled, book
from tests.edits.lists import A, B, edits, problems, read_text

UTC = dt.UTC


def of_columns(**columns: list[Any]) -> EditList:
    return of_frame(pl.DataFrame({"image_set_id": [A] * len(next(iter(columns.values())))} | columns, strict=False))


def of_frame(frame: pl.DataFrame, **options: Any) -> EditList:
    file = io.BytesIO()
    frame.write_parquet(file)
    return read(io.BytesIO(file.getvalue()), ReadOptions(format="parquet", **options))


@pytest.mark.parametrize(
    ("attribute", "cell", "expected"),
    [
        ("StudyDate", dt.date(2024, 3, 11), "20240311"),
        ("StudyDate", dt.datetime(2024, 3, 11), "20240311"),  # noqa: DTZ001 - as pandas has a date
        ("StudyDate", dt.datetime(2024, 3, 11, 1), "cell-type"),  # noqa: DTZ001
        ("StudyTime", dt.time(14, 25), "142500"),
        ("StudyTime", dt.time(14, 25, 1, 500_000), "142501.5"),
        ("StudyTime", dt.datetime(2024, 3, 11, 14), "cell-type"),  # noqa: DTZ001
        ("StudyTime", 93_000, "cell-date"),
        ("StudyTime", 142_500, "142500"),
        ("StudyTime", 142_500.25, "142500.25"),
        ("StudyDate", 20_240_311, "20240311"),
        ("AcquisitionDateTime", dt.date(2024, 3, 11), "20240311"),
        ("AcquisitionDateTime", dt.datetime(2024, 3, 11, 14, 25, 0, 250_000), "20240311142500.25"),  # noqa: DTZ001
        ("AcquisitionDateTime", dt.datetime(2024, 3, 11, 14, 25, tzinfo=UTC), "20240311142500+0000"),
        ("StudyDescription", 0.1, "0.1"),
        ("StudyDescription", Decimal("10.50"), "10.5"),
        ("StudyDescription", Decimal("10.00"), "10"),
        ("StudyDescription", Decimal(100), "100"),
        ("PatientWeight", 1e22, "1e22"),
        ("StudyInstanceUID", 1.5, "damaged-identifier"),
        ("OtherPatientIDs", 7.0, "damaged-identifier"),
    ],
)
def test_a_typed_cell_is_the_text_that_its_attribute_takes(attribute: str, cell: Any, expected: str) -> None:
    done = of_columns(attribute=[attribute], value=[cell], force=[True], series_uid=["1.2"], instance_uid=["1.2.3"])
    values = [json.loads(text) for text in edits(done, "value")] or [code for _, _, code in problems(done)]
    assert values in ([expected], [[expected]])


MOMENTS = (pl.Date, pl.Datetime("us"), pl.Datetime("ms", "Asia/Tokyo"), pl.Datetime("ns"), pl.Time)


@pytest.mark.parametrize("dtype", MOMENTS)
def test_moments_that_no_calendar_has_are_refused(dtype: Any) -> None:
    far = [-(2**31), 2**31 - 1] if dtype == pl.Date else [-(2**63) + 1, 2**63 - 1]
    name = "StudyTime" if dtype == pl.Time else "AcquisitionDateTime"
    cells = pl.Series(name, far).cast(pl.Int32 if dtype == pl.Date else pl.Int64).cast(dtype, strict=False)
    place = {"image_set_id": pl.lit(A), "series_uid": pl.lit("1.2"), "instance_uid": pl.lit("1.3")}
    done = of_frame(pl.DataFrame([cells]).with_columns(**place))
    if dtype != pl.Datetime("ns"):  # whose numbers are all in the calendar
        assert edits(done, "value") == []


def test_numbers_and_truth_values_fit_the_columns_of_a_row() -> None:
    done = of_columns(StudyDate=["20240311"], force=[False], version=[3.0], order=[2], unchecked=[False])
    assert edits(done, "version", "order", "force") == [(3, 2, False)]
    assert problems(of_columns(StudyDate=["20240311"], version=[3.5])) == [(1, "version", "version")]
    assert problems(of_columns(StudyDate=["20240311"], version=[True])) == [(1, "version", "cell-type")]
    assert problems(of_columns(StudyDate=["20240311"], edit_id=[7.0])) == [(1, "edit_id", "damaged-identifier")]
    assert edits(of_columns(action=["revert"], value=[2]), "revert_to") == [2]


def test_a_null_in_a_typed_column_is_an_empty_cell() -> None:
    done = of_columns(StudyDate=[None, dt.date(2024, 3, 11)], PatientWeight=[70.5, None])
    assert edits(done, "row", "attribute", "value") == [(1, "PatientWeight", '"70.5"'), (2, "StudyDate", '"20240311"')]


LINES = (
    {"image_set_id": A, "PatientID": 42, "StudyDescription": 7},
    {"image_set_id": A, "PatientID": "0043"},
    {"patient_id": 44, "StudyDescription": "x"},
    {"image_set_id": A, "PatientID": 123.0},
)


def test_identifiers_that_are_numbers_have_to_be_confirmed_once() -> None:
    data = "\n".join(map(json.dumps, LINES))
    with pytest.raises(EditListError) as caught:
        read_text(data, format="jsonl")
    assert "patient_id has 1 of them, the first in row 3" in caught.value.what
    assert "PatientID has 1 of them, the first in row 1" in caught.value.what
    assert "numbers_are_text=True" in (caught.value.hint or "")
    done = read_text(data, format="jsonl", numbers_are_text=True)
    assert problems(done) == [(4, "PatientID", "damaged-identifier")]
    assert done.notices.select("code", "column", "rows", "first").rows() == [
        ("numbers-are-text", "PatientID", 1, 1),
        ("numbers-are-text", "patient_id", 1, 3),
    ]
    assert edits(done, "key", "value")[:2] == [(A, '"42"'), (A, '"7"')]


NUMBERS = {
    "parquet": lambda: of_columns(PatientID=[42, None]),
    "tidy": lambda: of_columns(attribute=["StudyDescription", "PatientID"], value=[1, 2]),
    "selector": lambda: of_frame(pl.DataFrame({"accession_number": [42], "StudyDate": ["20240311"]})),
    "xlsx": lambda: read_text(book(Page([["image_set_id", "PatientID"], [A, 42]])), format="xlsx"),
    "xlsx 0": lambda: read_text(book(Page([["image_set_id", "PatientID"], [A, Styled(42, "0")]])), format="xlsx"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_identifiers_that_are_numbers_are_refused_in_every_format(name: str) -> None:
    with pytest.raises(EditListError, match="identifiers are numbers, not text"):
        NUMBERS[name]()


def test_numbers_that_have_no_leading_zeros_to_lose_need_no_word() -> None:
    padded = book(Page([["image_set_id", "PatientID"], [A, Styled(42, "0000000")], [B, Styled(1234567, "0000000")]]))
    assert edits(read_text(padded, format="xlsx"), "value") == ['"0000042"', '"1234567"']
    done = of_columns(SeriesNumber=[4], PatientWeight=[70], version=[1], edit_id=[3], series_uid=["1.2"])
    assert done.notices.height == 0
    assert problems(done) == []
    removal = of_columns(attribute=["PatientID"], action=["remove"], value=[42.0])
    assert problems(removal) == [(1, "value", "damaged-identifier")]  # a number names no stored value of text
