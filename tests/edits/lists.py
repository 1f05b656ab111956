"""Edit lists for tests: the same rows in every format, and short ways to read them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import xlsxwriter

from bulkedit.edits import EditList, ReadOptions, read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

A = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"  # image set ids; the first begins with a zero, as one in 36 does
B = "b" * 32
SERIES = "1.2.840.113619.2.1"
INSTANCE = "1.2.840.113619.2.1.7"

Row = dict[str, str | None]

FORMATS = ("csv", "csv.gz", "parquet", "jsonl", "jsonl.gz", "xlsx")


def columns_of(rows: Sequence[Mapping[str, str | None]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def file_of(rows: Sequence[Mapping[str, str | None]], format: str) -> bytes:  # noqa: A002 - as in ReadOptions
    """Rows as a file of a format; every cell is text or empty."""
    if format.endswith(".gz"):
        return gzip.compress(file_of(rows, format.removesuffix(".gz")))
    return {"csv": as_csv, "jsonl": as_jsonl, "parquet": as_parquet, "xlsx": as_xlsx}[format](rows)


def as_csv(rows: Sequence[Mapping[str, str | None]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns_of(rows))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_jsonl(rows: Sequence[Mapping[str, str | None]]) -> bytes:
    # whatever a row lacks, its line lacks
    return "\n".join(json.dumps({k: v for k, v in row.items() if v is not None}) for row in rows).encode()


def as_parquet(rows: Sequence[Mapping[str, str | None]]) -> bytes:
    file = io.BytesIO()
    pl.DataFrame(rows, schema=dict.fromkeys(columns_of(rows), pl.String)).write_parquet(file)
    return file.getvalue()


def as_xlsx(rows: Sequence[Mapping[str, str | None]]) -> bytes:
    names = columns_of(rows)
    return workbook([names, *([row.get(name) for name in names] for row in rows)])


class Formula(NamedTuple):
    """A formula, and the result that the workbook holds of it; None where it was never computed."""

    text: str
    result: str | float | None


def workbook(cells: Sequence[Sequence[Any]], *, top: int = 0, left: int = 0, merged: Sequence[str] = ()) -> bytes:
    """A workbook with these cells; text stays text, numbers become numbers, a text that begins with = fails."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file, {"strings_to_numbers": False, "strings_to_urls": False})
    sheet = book.add_worksheet()
    for r, row in enumerate(cells, top):
        for c, cell in enumerate(row, left):
            if isinstance(cell, Formula):
                sheet.write_formula(r, c, cell.text, value="" if cell.result is None else cell.result)
            elif isinstance(cell, str) and cell.startswith("="):
                sheet.write_formula(r, c, cell, value="#N/A")
            elif isinstance(cell, str):
                sheet.write_string(r, c, cell)
            elif cell is not None:
                sheet.write(r, c, cell)
    book.close()
    return _with_merged(file.getvalue(), merged) if merged else file.getvalue()


def with_sheet(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A workbook whose sheet's XML is another."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(file, "w") as target:
        for name in source.namelist():
            part = source.read(name)
            target.writestr(name, change(part) if name == "xl/worksheets/sheet1.xml" else part)
    return file.getvalue()


def _with_merged(data: bytes, ranges: Sequence[str]) -> bytes:
    """A workbook whose sheet has merged ranges, with nothing written in their cells."""
    cells = "".join(f'<mergeCell ref="{one}"/>' for one in ranges)
    merged = f"</sheetData><mergeCells>{cells}</mergeCells>".encode()
    return with_sheet(data, lambda xml: xml.replace(b"</sheetData>", merged))


def read_text(text: str | bytes, **options: Any) -> EditList:
    """Read CSV text, or text of another format."""
    data = text.encode() if isinstance(text, str) else text
    return read(io.BytesIO(data), ReadOptions(**options))


def read_rows(*rows: Mapping[str, str | None], format: str = "csv", **options: Any) -> EditList:  # noqa: A002 - as in ReadOptions
    return read_text(file_of(rows, format), format=format, **options)


def edits(done: EditList, *names: str) -> list[Any]:
    """Some columns of the edits, as plain tuples; plain values where it is one column."""
    rows = done.edits.select(names).rows()
    return [row[0] for row in rows] if len(names) == 1 else rows


def problems(done: EditList) -> list[tuple[int, str | None, str]]:
    return done.set_aside.select("row", "column", "code").rows()


def texts_of(done: EditList) -> str:
    """Every text of every problem."""
    return json.dumps(done.set_aside.rows())
