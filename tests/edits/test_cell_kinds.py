"""A cell means the same in every format: the same value, or the same refusal."""

from __future__ import annotations

import io
import json
from typing import Any

import polars as pl
import pytest

from bulkedit.edits import EditList, ReadOptions, read
from bulkedit.edits.frames import frame_of
from tests.edits.cell_kinds import ATTRIBUTES, CONFIRMED, FORMATS, KINDS, SAME, CellKind
from tests.edits.excel.books import Page, Styled, book, read_book
from tests.edits.lists import A, as_csv

HEAD = ("image_set_id", "attribute", "value")
Found = dict[tuple[str, str], str]  # kind, attribute -> value, or code of the problem
STYLES = {"date": "yyyy-mm-dd", "time": "hh:mm", "date and time": "yyyy-mm-dd hh:mm", "duration": "[h]:mm"}


def frame(rows: list[tuple[str, str, Any]]) -> pl.DataFrame:
    return frame_of({name: [row[i] for row in rows] for i, name in enumerate(HEAD)})


def as_read(rows: list[tuple[str, str, Any]], format_: str) -> EditList:
    if format_ == "xlsx":
        return read_book(book(Page([HEAD, *rows])))
    if format_ == "csv":
        data = as_csv([dict(zip(HEAD, row, strict=True)) for row in rows])
    elif format_ == "jsonl":
        data = "\n".join(json.dumps(dict(zip(HEAD, row, strict=True))) for row in rows).encode()
    else:
        file = io.BytesIO()
        made = frame(rows) if format_ == "frame" else pl.DataFrame(rows, schema=HEAD, orient="row", strict=False)
        made.write_parquet(file)
        data, format_ = file.getvalue(), "parquet"
    return read(io.BytesIO(data), ReadOptions(format=format_, numbers_are_text=True))


def meanings(kinds: list[CellKind], format_: str) -> Found:
    """What a format makes of kinds of cells in each kind of attribute; columns of Parquet have one type."""
    named = [(kind.name, attribute) for kind in kinds for attribute in ATTRIBUTES]
    cells = [(A, attribute, in_format(kind, format_)) for kind in kinds for attribute in ATTRIBUTES]
    done = as_read(cells, format_)
    first = 2 if format_ in {"csv", "xlsx"} else 1
    found = {named[row - first]: json.loads(text) for row, text in done.edits.select("row", "value").iter_rows()}
    for row, code in done.set_aside.select("row", "code").unique("row", keep="first", maintain_order=True).iter_rows():
        assert named[row - first] not in found
        found[named[row - first]] = code
    return found


def in_format(kind: CellKind, format_: str) -> Any:
    return Styled(kind.cell, STYLES[kind.name]) if format_ == "xlsx" and kind.name in STYLES else kind.cell


@pytest.mark.parametrize("format_", FORMATS)
def test_a_cell_means_the_same_in_every_format(format_: str) -> None:
    kinds = [kind for kind in KINDS if format_ in kind.formats]
    if format_ in {"parquet", "frame"}:
        texts = [kind for kind in kinds if not kind.typed]
        groups = [texts, *([kind] for kind in kinds if kind.typed)]
    else:
        groups = [kinds]
    found = {key: meaning for group in groups for key, meaning in meanings(group, format_).items()}
    expected = {
        (kind.name, attribute): str(kind.cell) if meaning in {SAME, CONFIRMED} else meaning
        for kind in kinds
        for attribute, meaning in zip(ATTRIBUTES, kind.meaning, strict=True)
    }
    assert {key: (found.get(key), meaning) for key, meaning in expected.items() if found.get(key) != meaning} == {}
