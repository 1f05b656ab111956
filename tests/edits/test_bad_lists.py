"""Bad lists in each format: an error in words, or all rows set aside; never edits, never a value, never a traceback."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.edits import ReadOptions, read
from bulkedit.edits.bounds import LONGEST_CELL
from bulkedit.edits.frames import frame_of
from bulkedit.errors import EXIT_USAGE, BulkeditError
from tests.edits.excel.books import Page, Styled, book
from tests.edits.lists import A, B

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import polars as pl

    from bulkedit.edits import EditList

CANARY = "Canary^Carla"
HEAD = ("image_set_id", "PatientName", "PatientID")
GOOD = (A, CANARY, "A1")
FORMATS = ("csv", "xlsx", "jsonl", "parquet", "frame")


def as_csv(cells: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["" if x is None else x for x in row] for row in cells])
    return text.getvalue().encode("utf-8", "surrogatepass")


def as_jsonl(cells: Sequence[Sequence[Any]]) -> bytes:
    def pairs(row: Sequence[Any]) -> str:
        return ",".join(f"{json.dumps(name)}:{json.dumps(cell)}" for name, cell in zip(cells[0], row, strict=False))

    return "\n".join(f"{{{pairs(row)}}}" for row in cells[1:]).encode()


def as_frame(cells: Sequence[Sequence[Any]]) -> bytes:
    columns: dict[str, list[Any]] = {}
    for i, name in enumerate(cells[0]):
        columns[name + "~" * (name in columns)] = [row[i] if i < len(row) else None for row in cells[1:]]
    return saved(frame_of(columns), twice=any("~" in name for name in columns))


def saved(frame: pl.DataFrame, *, twice: bool = False) -> bytes:
    file = io.BytesIO()
    names = {name: name.replace("~", "") for name in frame.columns}
    same = {old: f"{new[:-1]}~" for old, new in names.items() if old != new}  # as long as the name that it repeats
    frame.rename(same).write_parquet(file)
    data = file.getvalue()
    for new in same.values() if twice else ():
        data = data.replace(new.encode(), next(n for n in names if n[:-1] == new[:-1]).encode())
    return data


MAKE: dict[str, Callable[[Sequence[Sequence[Any]]], bytes]] = {
    "csv": as_csv,
    "xlsx": lambda cells: book(Page(cells)),
    "jsonl": as_jsonl,
    "parquet": as_frame,
    "frame": as_frame,
}


def rows(*others: Sequence[Any], head: Sequence[str] = HEAD) -> list[Sequence[Any]]:
    return [head, *others]


def each(cell: Any, column: int = 2) -> list[Sequence[Any]]:
    return rows(*([*GOOD[:column], cell, *GOOD[column + 1 :]] for _ in range(3)))


# kinds of tables that no format can mean well
TABLES: dict[str, list[Sequence[Any]]] = {
    "header only": rows(),
    "no selector": rows((CANARY, "A1"), head=("PatientName", "PatientID")),
    "nothing to edit": rows((A, "x"), head=("image_set_id", "edit_id")),
    "unknown column": rows((A, CANARY, "x"), head=("image_set_id", "PatientName", CANARY)),
    "duplicate columns": rows((A, CANARY, "x"), head=("image_set_id", "PatientName", "PatientName")),
    "duplicate columns in another case": rows((A, "x", "y"), head=("image_set_id", "PatientID", "PATIENTID")),
    "two forms": rows((A, "PatientID", "x", CANARY), head=("image_set_id", "attribute", "value", "PatientName")),
    "value without attribute": rows((A, CANARY), head=("image_set_id", "value")),
    "two selectors": rows((A, "7", CANARY), head=("image_set_id", "patient_id", "PatientName")),
    "two versions": rows((A, "{}", "1", "1"), head=("image_set_id", "updates", "version", "latest_version_id")),
    "two data stores": rows(
        ("a" * 32, A, CANARY), ("b" * 32, B, CANARY), head=("datastore_id", "image_set_id", "updates")
    ),
    "blank rows": rows((None,) * 3, (None,) * 3, ("", "", "")),
    "swapped columns": rows((CANARY, A, "A1"), (CANARY, B, "A2")),
    "a title": rows((CANARY, "", ""), HEAD, GOOD, head=(CANARY, CANARY + "2", CANARY + "3")),
    "no header": rows((B, CANARY, "A2"), head=GOOD),
    "many columns": rows((A, CANARY), head=("image_set_id", *(f"{CANARY}{i}" for i in range(300)))),
    "a cell that is too long": rows((A, CANARY * (LONGEST_CELL // 10), "x")),
    "errors of a spreadsheet": each("#REF!"),
    "placeholders": each("None"),
    "printed names": each(f"{{'Alphabetic': '{CANARY}'}}", 1),
    "decimals in text": each("700123.0"),
    "grouped thousands": each("1,234,567"),
    "control characters": each(f"{CANARY}\x07", 1),
    "an id with a mark inside": each(f"{A[:16]}\ufeff{A[16:]}", 0),
    "ids in capitals": each(A.upper(), 0),
    "short ids": each("42", 0),
}
# kinds of tables that only some formats can hold
TYPED: dict[str, list[Sequence[Any]]] = {
    "floating-point ids": each(7.5),
    "truth values": each(cell=True),
    "numbers for ids": each(42),
}


def _flipped(data: bytes, seed: int) -> bytes:
    drawn = random.Random(seed)
    changed = bytearray(data)
    for _ in range(40):
        changed[drawn.randrange(len(changed))] = drawn.randrange(256)
    return bytes(changed)


# kinds of damage that a file may have
BYTES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut short": lambda data: data[: len(data) * 2 // 3],
    "noise": lambda data: random.Random(len(data)).randbytes(400),
    "zeros": lambda data: bytes(len(data)),
    "packed": gzip.compress,
    "a NUL inside": lambda data: data[:30] + b"\0" + data[30:],
    "not UTF-8": lambda data: data[:30] + b"\xe9\xff" + data[30:],
    "HTML": lambda _: b"<html><body><table><tr><td>Canary^Carla</td></tr></table></body></html>",
    "a PDF": lambda _: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj <<>> endobj Canary^Carla",
    "an old workbook": lambda _: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
}
# a frame has no bytes of its own
OBJECTS: dict[str, Any] = {
    "a text": CANARY,
    "a set": {CANARY},
    "a number": 7,
    "nothing": None,
    "no rows": [],
    "rows of texts": [CANARY],
    "rows of lists": [[A, CANARY]],
    "columns of several lengths": {"image_set_id": [A], "PatientName": [CANARY, CANARY]},
    "a column of several types": {"image_set_id": [A, A], "PatientID": [CANARY, 7]},
    "a column of objects": {"image_set_id": [A], "PatientName": [object()]},
    "a column of bytes": {"image_set_id": [A], "PatientName": [CANARY.encode()]},
    "a column of dicts": {"image_set_id": [A], "PatientName": [{"Alphabetic": CANARY}]},
    "a column of lists": {"image_set_id": [A], "PatientName": [[CANARY]]},
    "a column that is a text": {"image_set_id": A, "PatientName": CANARY},
    "names that are numbers": {1: [A], 2: [CANARY]},
}
OTHERS = {"csv": "parquet", "xlsx": "csv", "jsonl": "csv", "parquet": "csv"}


def cases() -> list[Any]:
    found: list[tuple[str, str, Any]] = [
        (format_, name, cells) for format_ in FORMATS for name, cells in TABLES.items()
    ]
    found += [(format_, name, cells) for format_ in FORMATS if format_ != "csv" for name, cells in TYPED.items()]
    found += [(format_, name, change) for format_ in OTHERS for name, change in BYTES.items()]
    found += [("frame", name, edits) for name, edits in OBJECTS.items()]
    return [pytest.param(format_, kind, id=f"{format_}: {name}") for format_, name, kind in found]


def given(format_: str, kind: Any) -> tuple[bytes, str]:
    """The bytes of a bad list, and their format."""
    if format_ == "frame" and not (isinstance(kind, list) and kind and kind[0] and isinstance(kind[0], tuple)):
        return saved(frame_of(kind)), "parquet"
    data = kind(MAKE[format_](rows(GOOD, (B, CANARY, "A2")))) if callable(kind) else MAKE[format_](kind)
    return data, "parquet" if format_ == "frame" else format_


def outcome(format_: str, kind: Any) -> BulkeditError | EditList:
    try:
        data, read_as = given(format_, kind)
        return read(io.BytesIO(data), ReadOptions(format=read_as))
    except BulkeditError as error:
        return error


@pytest.mark.parametrize(("format_", "kind"), cases())
def test_a_bad_list_is_refused_in_words(format_: str, kind: Any) -> None:
    found = outcome(format_, kind)
    if isinstance(found, BulkeditError):
        told = f"{found} {found.__cause__} {found.__context__}"
        assert found.exit_code == EXIT_USAGE
        assert found.hint or found.likely or found.where
    else:
        told = str(found.set_aside.rows())
        assert found.set_aside.height  # so that nothing is planned without a word
    assert "canary" not in told.lower()


def test_there_are_at_least_150_of_them_and_each_format_reads_good_rows() -> None:
    assert len(cases()) >= 150
    for format_ in FORMATS:
        done = read(io.BytesIO(MAKE[format_](rows(GOOD))), ReadOptions(format=format_.replace("frame", "parquet")))
        assert done.edits.height == 2


@pytest.mark.parametrize("format_", OTHERS)
def test_flipped_bytes_are_words_or_edits(format_: str) -> None:
    for seed in range(10):
        found = outcome(format_, partial(_flipped, seed=seed))
        assert not isinstance(found, BulkeditError) or found.exit_code == EXIT_USAGE


def test_a_wrong_suffix_is_told() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for format_, other in OTHERS.items():
            file = Path(folder) / f"edits.{format_}"
            file.write_bytes(MAKE[other](rows(GOOD)))
            with pytest.raises(BulkeditError) as caught:
                read(file, ReadOptions())
            assert caught.value.exit_code == EXIT_USAGE


def test_a_date_with_a_time_is_no_identifier() -> None:
    data = book(Page(rows((A, "x", Styled(45362.5, "yyyy-mm-dd hh:mm")))))
    assert read(io.BytesIO(data), ReadOptions(format="xlsx")).edits.is_empty()
