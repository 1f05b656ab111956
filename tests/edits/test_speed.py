"""Tidy and wide lists are read without work per row in Python, and a stream of any length batch by batch."""

from __future__ import annotations

import io
import sys
import time
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from bulkedit.edits import ReadOptions, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MILLION = 1_000_000


def tidy(rows: int) -> pl.DataFrame:
    number = pl.int_range(rows, eager=True)
    names = pl.Series(["PatientName", "StudyDescription", "PatientID", "StudyDate", "AccessionNumber"])
    dates = pl.Series([f"2024{month:02}{day:02}" for month in range(1, 13) for day in range(1, 29)])
    return pl.DataFrame({"number": number}).select(
        image_set_id=pl.format("{}{}", pl.lit("0" * 24), (pl.col("number") // 5 + 10_000_000).cast(pl.String)),
        attribute=names.gather(number % 5),
        value=pl.when(pl.col("number") % 5 == 3).then(dates.gather(number % 336)).otherwise(pl.format("X{}", "number")),
    )


def wide(rows: int) -> pl.DataFrame:
    number = pl.int_range(rows, eager=True)
    return pl.DataFrame({"number": number}).select(
        image_set_id=pl.format("{}{}", pl.lit("0" * 24), (pl.col("number") + 10_000_000).cast(pl.String)),
        PatientName=pl.format("DOE^{}", "number"),
        PatientID=pl.format("{}", "number"),
    )


def calls_of_python(work: Callable[[], Any]) -> int:
    """How many functions Python calls while the work is done."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("list_of", [tidy, wide], ids=["tidy", "wide"])
def test_reading_ten_times_the_rows_takes_no_more_steps_of_python(list_of: Callable[[int], pl.DataFrame]) -> None:
    def steps(rows: int) -> int:
        data = io.BytesIO(list_of(rows).write_csv().encode())
        return calls_of_python(lambda: read(data, ReadOptions()))

    steps(10)  # what is done once, such as loading the dictionary
    few, many = steps(1_000), steps(10_000)
    assert many < few * 1.2


@pytest.mark.parametrize("format_", ["csv", pytest.param("parquet", marks=pytest.mark.slow)])
def test_a_million_rows_take_some_times_what_polars_takes_for_the_bare_file(format_: str, tmp_path: Path) -> None:
    file = tmp_path / f"edits.{format_}"
    frame = tidy(MILLION)
    if format_ == "csv":
        frame.write_csv(file)
    else:
        frame.write_parquet(file)
    start = time.perf_counter()
    bare = pl.read_csv(file, infer_schema=False) if format_ == "csv" else pl.read_parquet(file)
    bare.with_columns(pl.all().str.to_lowercase().str.contains("[^a-z]"))  # so that a column is looked at once
    plain = time.perf_counter() - start
    start = time.perf_counter()
    done = read(file, ReadOptions())
    took = time.perf_counter() - start
    assert done.edits.height == MILLION
    # about 6; a step of Python per row would be beyond 100
    assert took < plain * 40


def test_a_short_block_and_a_long_one_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tidy(5_000).write_csv(quote_style="always").encode()
    whole = read(io.BytesIO(data), ReadOptions()).edits
    monkeypatch.setattr("bulkedit.edits.csv.BLOCK", 4_099)
    assert read(io.BytesIO(data), ReadOptions()).edits.equals(whole)
