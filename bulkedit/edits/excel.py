"""Excel workbooks: the first sheet, with every cell as text.

fastexcel reads the cells. It returns some cells as empty although a spreadsheet shows something: errors such as #N/A,
formulas that were never computed, and all but the first of merged cells. Used as edits, these would empty attributes.
So they are searched for in the XML of the sheet, as are numbers with more digits than Excel stores.
"""

from __future__ import annotations

import io
import itertools
import re
import zipfile
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from bulkedit.edits.bounds import size_of
from bulkedit.edits.excel_sheets import check_parts, check_sheet, first_sheet, unreadable
from bulkedit.edits.table import CellFault, Table
from bulkedit.errors import EditListError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BATCH: Final = 250_000  # rows
_LOST: Final = 1e15  # Excel stores 15 digits of a number
# elements of the sheet's XML; some writers add a namespace prefix
_ERROR: Final = re.compile(rb'<(?:\w+:)?c\s([^>]*\bt="e"[^>]*)>')
_LONG_NUMBER: Final = re.compile(
    rb"<(?:\w+:)?c\s([^>]*)>\s*"
    rb"(?:<(?:\w+:)?f\b[^>]*/>\s*|<(?:\w+:)?f\b[^>]*>[^<]*</(?:\w+:)?f>\s*)?"  # a formula may come first
    rb"<(?:\w+:)?v>([-+.0-9eE]{16,40})<"
)
_FORMULA: Final = rb"(?:<(?:\w+:)?f\b[^>]*/>|<(?:\w+:)?f\b[^>]*>[^<]*</(?:\w+:)?f>)"
# a formula may result in an empty text; then the cell has the type of a text
_NO_RESULT: Final = re.compile(
    rb"<(?:\w+:)?c\s([^>]*)>\s*" + _FORMULA + rb"\s*(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v></(?:\w+:)?v>)?\s*</(?:\w+:)?c>"
)
_MERGED: Final = re.compile(rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z]{1,3}[0-9]{1,7}):([A-Z]{1,3}[0-9]{1,7})"')
_MOST_FAULTS: Final = 100_000  # errors, formulas without a result, merged ranges
_MOST_MERGED: Final = 10_000  # cells to report; further ones are not needed to refuse the list


class _Suspects(NamedTuple):
    """Cells whose text is not what a spreadsheet shows; rows count from 1, positions from 0."""

    faults: list[CellFault]
    merged: list[tuple[int, int, int, int]]  # first and last row, first and last position
    rounded: dict[int, dict[int, str]]  # position -> row -> text shown by a spreadsheet


class Excel(Table):
    """The first sheet of a workbook; the first row that is not blank is the header."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        sheet = _xml(data)
        check_sheet(data, sheet)
        suspects = _suspects(sheet)
        cells, offset = _sheet(data)
        head = _first_filled(cells)
        if head is None:
            raise EditListError("the first sheet is empty.", hint="An edit list has a header and at least one row.")
        # empty columns before the first one keep the letters right
        self.header_row = head + 1
        self.header = [""] * offset + [text or "" for text in cells.row(head)]
        merged = _covered(suspects.merged, rows=range(head + 2, cells.height + 1), width=len(self.header))
        self.faults = [fault for fault in suspects.faults if fault.row > head + 1] + merged
        empty = [pl.lit(None, pl.String).alias(f"c{i}") for i in range(offset)]
        texts = [pl.nth(i).alias(f"c{offset + i}") for i in range(cells.width)]
        self._rows = cells.slice(head + 1).select(*empty, *texts).with_row_index("row", head + 2)
        self._show(suspects.rounded, head + 2)

    def _show(self, rounded: dict[int, dict[int, str]], first: int) -> None:
        """Replace digits that Excel does not store by the text that a spreadsheet shows."""
        for position, shown in rounded.items():
            column = self._rows[f"c{position}"]
            places = [row - first for row in shown if row >= first]
            texts = pl.Series([text for row, text in shown.items() if row >= first], dtype=pl.String)
            self._rows = self._rows.with_columns(column.scatter(places, texts))

    def batches(self) -> Iterator[pl.DataFrame]:
        """The rows below the header, numbered as the sheet shows them."""
        for batch in self._rows.iter_slices(_BATCH):
            size_of(batch.drop("row"), batch["row"].item)
            yield batch


def _first_filled(cells: pl.DataFrame) -> int | None:
    if not cells.width:
        return None
    filled = cells.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    return filled.arg_max() if filled.any() else None


def _sheet(data: bytes) -> tuple[pl.DataFrame, int]:
    """Return the first sheet as text, from its first row, and the number of empty columns before it."""
    try:
        import fastexcel
    except ImportError:
        raise UsageError("reading Excel needs another package.", hint="pip install 'bulkedit[xlsx]'") from None
    try:
        # with these arguments, all rows of the sheet are returned, including blank ones
        sheet = fastexcel.read_excel(data).load_sheet(0, header_row=None, skip_rows=0, dtypes="string")
        columns = sheet.available_columns()
        texts: pl.DataFrame = sheet.to_polars()
    except fastexcel.FastExcelError:
        pass  # its text may quote the workbook
    else:
        return texts, columns[0].absolute_index if columns else 0
    raise unreadable()


def _suspects(xml: bytes) -> _Suspects:
    faults = [CellFault(*_place(match[1]), "cell-error") for match in _few(_ERROR, xml)]
    faults += [
        CellFault(*_place(match[1]), "cell-formula")
        for match in _few(_NO_RESULT, xml)
        if _attribute(match[1], b"t") not in {b"str", b"e"}
    ]
    corners = [(_cell(match[1]), _cell(match[2])) for match in _few(_MERGED, xml)]
    merged = [(first[0], last[0], first[1], last[1]) for first, last in corners]
    suspects = _Suspects(faults, merged, {})
    for attributes, text in (match.groups() for match in _LONG_NUMBER.finditer(xml)):
        if _attribute(attributes, b"t") in {None, b"n"} and abs(number := _number(text)) >= _LOST:
            row, position = _place(attributes)
            suspects.rounded.setdefault(position, {})[row] = f"{number:.5E}"
    return suspects


def _few(pattern: re.Pattern[bytes], xml: bytes) -> list[re.Match[bytes]]:
    """Return all matches of a pattern. Raises EditListError if there are more than in any list."""
    found = list(itertools.islice(pattern.finditer(xml), _MOST_FAULTS + 1))
    if len(found) > _MOST_FAULTS:
        raise EditListError(
            f"more than {_MOST_FAULTS:,} of its cells are errors, formulas without a result, or merged.",
            hint="Save the sheet as CSV in UTF-8, and check its content.",
        )
    return found


def _covered(merged: list[tuple[int, int, int, int]], *, rows: range, width: int) -> list[CellFault]:
    """Return all cells of merged ranges in these rows, except the header."""
    cells = (
        CellFault(row, position, "cell-merged")
        for first, last, left, right in merged
        for row in range(max(first, rows.start), min(last + 1, rows.stop))
        for position in range(left, min(right + 1, width))
    )
    return list(itertools.islice(cells, _MOST_MERGED))


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0  # not a number, so it has no lost digits


def _xml(data: bytes) -> bytes:
    """Return the XML of the first sheet. Raises EditListError, also if the parts unpack to too much."""
    try:
        check_parts(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            name = first_sheet(archive.read("xl/workbook.xml"), archive.read("xl/_rels/workbook.xml.rels"))
            if name is not None:
                return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, ValueError, RuntimeError):
        pass  # NotImplementedError, for an unknown compression, is a RuntimeError
    raise unreadable()


def _attribute(attributes: bytes, name: bytes) -> bytes | None:
    found = re.search(rb'(?:^|\s)%b="([^"]*)"' % name, attributes)
    return found[1] if found else None


def _place(attributes: bytes) -> tuple[int, int]:
    """Parse the attribute r of a cell, such as B2, to (row from 1, position from 0)."""
    return _cell(_attribute(attributes, b"r") or b"")


def _cell(name: bytes) -> tuple[int, int]:
    """Parse a name such as B2 to (row from 1, position from 0)."""
    reference = re.fullmatch(r"([A-Z]{1,3})([0-9]{1,7})", name.decode())
    if reference is None:
        raise unreadable()
    position = 0
    for sign in reference[1]:
        position = position * 26 + ord(sign) - ord("A") + 1
    return int(reference[2]), position - 1
