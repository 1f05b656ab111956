"""Any cell means the same in CSV, Excel, JSON lines, Parquet and frames: the same value, or the same problem."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from bulkedit.edits import ReadOptions, read
from bulkedit.edits.frames import frame_of
from bulkedit.errors import EditListError
from tests.edits.cell_kinds import ATTRIBUTES, KINDS
from tests.edits.excel.books import Page, book
from tests.edits.lists import A, as_csv
from tests.examples import examples

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD = ("image_set_id", "attribute", "value")
# workbooks hold no control characters but these, and CSV may read a carriage return as the end of a line
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"], include_characters="\t"), max_size=12
)
OF_KINDS = st.sampled_from([kind.cell for kind in KINDS if not kind.typed])
PIECES = st.lists(st.sampled_from([*"0123456789.,-+eE '#!?/%^\\=\"", "nan", "None", "20", "N/A"]), max_size=8)
TEXTS = st.one_of(OF_KINDS, TEXT, PIECES.map("".join))
SOME = st.sampled_from([*ATTRIBUTES, "StudyTime"])
CELLS = st.lists(st.tuples(SOME, TEXTS), min_size=1, max_size=40)

Meanings = list[tuple[Any, ...]]


def meanings(data: bytes, format_: str, first: int) -> Meanings:
    """The values of edits and the problems, with rows counted from 0; nothing for a blank row."""
    try:
        done = read(io.BytesIO(data), ReadOptions(format=format_, numbers_are_text=True))
    except EditListError as error:
        return [(error.what,)]
    edits = [
        (row - first, attribute, value)
        for row, attribute, value in done.edits.select("row", "attribute", "value").rows()
    ]
    problems = done.set_aside.select(pl.col("row").cast(pl.Int64) - first, "column", "code").rows()
    return sorted([*edits, *problems], key=str)


def in_formats(rows: Sequence[tuple[Any, ...]], *, texts: bool) -> dict[str, Meanings]:
    cells = [dict(zip(HEAD, row, strict=True)) for row in rows]
    file, framed = io.BytesIO(), io.BytesIO()
    pl.DataFrame(cells, schema_overrides=None, strict=False).write_parquet(file)
    frame_of(cells).write_parquet(framed)
    found = {
        "jsonl": meanings("\n".join(map(json.dumps, cells)).encode(), "jsonl", 1),
        "parquet": meanings(file.getvalue(), "parquet", 1),
        "frame": meanings(framed.getvalue(), "parquet", 1),
        "xlsx": meanings(book(Page([HEAD, *rows])), "xlsx", 2),
    }
    return found | ({"csv": meanings(as_csv(cells), "csv", 2)} if texts else {})


@examples(2)
@given(CELLS)
def test_any_text_means_the_same_in_every_format(cells: list[tuple[str, str]]) -> None:
    found = in_formats([(A, attribute, text) for attribute, text in cells], texts=True)
    assert found == dict.fromkeys(found, found["jsonl"])


@examples(2)
@given(st.lists(st.tuples(SOME, st.integers(0, 10**14)), min_size=1, max_size=20))
def test_any_whole_number_means_the_same_in_every_format(cells: list[tuple[str, int]]) -> None:
    found = in_formats([(A, attribute, number) for attribute, number in cells], texts=False)
    assert found == dict.fromkeys(found, found["jsonl"])


@examples(2)
@given(st.lists(st.tuples(SOME, st.integers(-(10**9), 10**9)), min_size=1, max_size=20))
def test_any_number_with_decimals_means_the_same_in_every_format(cells: list[tuple[str, int]]) -> None:
    # a workbook does not tell 7.0 from 7, so these have decimals
    found = in_formats([(A, attribute, number // 10 + 0.5) for attribute, number in cells], texts=False)
    assert found == dict.fromkeys(found, found["jsonl"])
