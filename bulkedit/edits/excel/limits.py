"""Limits what a workbook unpacks to: its parts, the rectangle of its cells, and its shared texts.

The reader of workbooks (fastexcel, based on calamine) allocates the whole rectangle, and copies a shared text for each
cell that has it. So both are checked against the size of the file first. If a fast count exceeds the limit, expat
parses all of it.
"""

from __future__ import annotations

import copy
import io
import re
import sys
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from bulkedit.edits.bounds import CELL, FLOOR, GROWTH, Growth, unpacks_to_more
from bulkedit.edits.columns import letter
from bulkedit.edits.excel.plain import column_number, has_elements_only
from bulkedit.edits.excel.xml import local, parse
from bulkedit.errors import EditListError

_CHUNK: Final = 2**20
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the package format of workbooks has no others
_ROWS: Final = 1_050_000  # a sheet has 1,048,576
_GRID_FLOOR: Final = 8_000_000  # cells of the rectangle, of 40 bytes each
_GRID: Final = 5  # cells per byte of the file; a filled cell takes about three bytes

_PLAIN: Final = b'<c r="'  # begins each cell of the plain form
_COLUMN: Final = re.compile(rb'<c r="([A-Z]+)(?:[0-9]{1,6}|10[0-4][0-9]{4})"')  # in a row up to _ROWS
_ROW: Final = re.compile(rb'<c r="[A-Z]+([0-9]+)')
_REFERENCE: Final = re.compile(r"([A-Z]{1,7})([0-9]{1,10})")
_FILLING: Final = frozenset({"v", "f", "is"})  # elements that give a cell content


def check_parts(data: bytes) -> None:
    """Unpack each part once, and check its size against the file and its own entry.

    Raises EditListError, and the errors of zipfile if the file is damaged.
    """
    growth = Growth(lambda: len(data))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [name.lower() for name in archive.namelist()]
        if len(set(names)) < len(names):
            raise zipfile.BadZipFile  # different readers might open different parts
        for part in archive.infolist():
            if part.compress_type not in _METHODS:
                raise zipfile.BadZipFile
            if _unpacked(archive, part, growth) != part.file_size:
                raise zipfile.BadZipFile


def _unpacked(archive: zipfile.ZipFile, part: zipfile.ZipInfo, growth: Growth) -> int:
    """Count the bytes of a part, without trusting its entry."""
    endless = copy.copy(part)
    endless.file_size = sys.maxsize  # zipfile stops at this size
    count = 0
    with archive.open(endless) as file:
        while piece := file.read(_CHUNK):
            growth.add(len(piece))
            count += len(piece)
    return count


def check_sheet(sheet: bytes, shared: bytes | None, *, size: int) -> None:
    """Check the XML of a sheet, in the plain form, and its shared texts against the size of the workbook.

    Raises EditListError.
    """
    most_cells, most_text = max(_GRID_FLOOR, _GRID * size), max(FLOOR, GROWTH * size)
    cells = sheet.count(_PLAIN)
    if _span_at_most(most_cells, cells, sheet):
        text = max(map(len, shared.split(b"</si>"))) * cells if shared else 0
        if text <= most_text and has_elements_only(shared or b""):
            return
    found = _Cells.of(sheet)
    if found.rows * found.columns > most_cells:
        raise EditListError(
            f"its cells span {found.rows:,} rows and {found.columns:,} columns, and nearly all of them are empty.",
            likely=f"A cell far from the list is filled; the rectangle ends at {found.farthest}.",
            hint="Delete the rows below and the columns to the right of the list, and save it.",
        )
    if shared is not None and _shared_bytes(shared, found.shared) > most_text:
        raise unpacks_to_more()


def _span_at_most(most: int, cells: int, sheet: bytes) -> bool:
    """Whether the references of all cells, empty ones too, are in a rectangle of at most ``most`` cells."""
    names = _COLUMN.findall(sheet)
    if len(names) < cells:
        return False
    columns = max((column_number(name.decode()) for name in set(names)), default=0)
    if columns * _ROWS <= most:
        return True
    rows = max((int(number) for number in set(_ROW.findall(sheet))), default=0)
    return columns * rows <= most


@dataclass(slots=True)
class _Cells:
    """The extent of filled cells of a sheet, and the uses of each shared text, as parsed by expat."""

    rows: int = 0
    columns: int = 0
    shared: Counter[str] = field(default_factory=Counter)
    _row: int = 0  # current row, from 1; a cell may name another
    _place: tuple[int, int] = (0, 0)  # row and column of the current cell
    _kind: str = ""
    _text: list[str] | None = None  # of the current value

    @classmethod
    def of(cls, sheet: bytes) -> _Cells:
        """Parse a sheet. Raises EditListError if expat cannot parse it."""
        found = cls()
        parse(sheet, begin=found._begin, end=found._end, text=found._read)
        return found

    @property
    def farthest(self) -> str:
        """The last corner of the rectangle, such as B2."""
        return f"{letter(self.columns - 1)}{self.rows}"

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        name = local(name)
        if name == "row":
            self._row = int(attributes.get("r", self._row + 1))
            self._place = self._row, 0
        elif name == "c":
            self._kind = attributes.get("t", "n")
            self._place = self._placed(attributes.get("r"))
        elif name in _FILLING:
            self.rows, self.columns = max(self.rows, self._place[0]), max(self.columns, self._place[1])
            self._text = [] if name == "v" and self._kind == "s" else None

    def _placed(self, reference: str | None) -> tuple[int, int]:
        """Return the position of a cell: its reference, or next to the cell before."""
        if reference is None:
            return self._row, self._place[1] + 1
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            raise ValueError(reference)
        return int(match[2]), column_number(match[1])

    def _read(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _end(self, name: str) -> None:
        if self._text is not None and local(name) == "v":
            self.shared["".join(self._text).strip()] += 1
            self._text = None


def _shared_bytes(part: bytes, uses: Counter[str]) -> int:
    """Count the bytes of shared texts, once per cell that uses them."""
    total = number = length = 0

    def read(text: str) -> None:
        nonlocal length
        length += len(text.encode())

    def end(name: str) -> None:
        nonlocal total, number, length
        if local(name) == "si":
            total += uses[str(number)] * (length + CELL)
            number, length = number + 1, 0

    parse(part, end=end, text=read)
    return total
