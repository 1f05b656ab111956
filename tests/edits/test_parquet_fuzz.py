"""A Parquet file that is damaged in any way gives edits or an error in words, in bounded memory."""

from __future__ import annotations

import datetime as dt
import io
import random
import resource
import sys
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

import polars as pl
import pytest

from bulkedit.edits import ReadOptions, read
from bulkedit.errors import BulkeditError
from tests.edits.lists import A

if TYPE_CHECKING:
    from collections.abc import Callable

SHORT, LONG = 60, 5_000
MEBIBYTES = 400  # that the process may grow by
COMPRESSIONS = ("uncompressed", "zstd", "snappy", "gzip", "lz4")


@cache
def whole(number: int) -> bytes:
    """A list of 20 rows in three row groups, with columns of several types."""
    file = io.BytesIO()
    frame = pl.DataFrame(
        {
            "image_set_id": [A] * 20,
            "PatientID": [f"X{i}" for i in range(20)],
            "StudyDate": [dt.date(2024, 3, 11)] * 20,
            "PatientWeight": [i / 2 for i in range(20)],
            "StudyDescription": pl.Series(["a", "b"] * 10, dtype=pl.Categorical),
        }
    )
    frame.write_parquet(file, compression=COMPRESSIONS[number], row_group_size=7)  # type: ignore[arg-type]
    return file.getvalue()


def _some_bytes(data: bytearray, drawn: random.Random) -> None:
    for _ in range(drawn.randrange(1, 6)):
        data[drawn.randrange(len(data))] = drawn.randrange(256)


def _bytes_of_the_footer(data: bytearray, drawn: random.Random) -> None:
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for _ in range(drawn.randrange(1, 6)):
        data[drawn.randrange(footer, len(data) - 8)] = drawn.choice([0, 1, 0x7F, 0x80, 0xFF])


def _the_end(data: bytearray, drawn: random.Random) -> None:
    del data[drawn.randrange(len(data)) :]


def _more_bytes(data: bytearray, drawn: random.Random) -> None:
    place = drawn.randrange(len(data))
    data[place:place] = drawn.randbytes(drawn.randrange(1, 9))


def _fewer_bytes(data: bytearray, drawn: random.Random) -> None:
    place = drawn.randrange(len(data))
    del data[place : place + drawn.randrange(1, 9)]


def _the_order(data: bytearray, drawn: random.Random) -> None:
    first, last = sorted((drawn.randrange(len(data)), drawn.randrange(len(data))))
    data[first:last] = data[first:last][::-1]


DAMAGE: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_some_bytes, _bytes_of_the_footer, _the_end, _more_bytes, _fewer_bytes, _the_order),
)


def outcome(seed: int) -> str:
    drawn = random.Random(seed)
    data = bytearray(whole(seed % len(COMPRESSIONS)))
    drawn.choice(DAMAGE)(data, drawn)
    try:
        read(io.BytesIO(bytes(data)), ReadOptions(format="parquet"))
    except BulkeditError as error:
        told = f"{error} {error.__cause__} {error.__context__}"
        return "a value" if A in told else type(error).__name__
    return "edits"


@pytest.mark.parametrize("count", [SHORT, pytest.param(LONG, marks=pytest.mark.slow)])
def test_a_damaged_parquet_file_gives_edits_or_words(count: int) -> None:
    whole(0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = Counter(outcome(seed) for seed in range(count))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert found.keys() <= {"edits", "EditListError"}
    assert min(found["edits"], found["EditListError"]) > count // 20  # both are tried
    assert grown < MEBIBYTES * (2**20 if sys.platform == "darwin" else 2**10)
