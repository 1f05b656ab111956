"""Limits what a workbook unpacks to: its parts, the rectangle of its cells, and its shared texts.

The reader of workbooks (fastexcel, based on calamine) allocates the whole rectangle, and copies a shared text for each
cell that has it. So both are checked against the size of the file first. A fast count works for XML as spreadsheets
write it. If the count exceeds the limit, or the XML is written differently, expat parses all of it.
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
from xml.parsers import expat

from bulkedit.edits.bounds import CELL, FLOOR, GROWTH, Growth, unpacks_to_more
from bulkedit.edits.columns import letter
from bulkedit.errors import EditListError

_CHUNK: Final = 2**20
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the package format of workbooks has no others
_SHARED: Final = "sharedstrings.xml"
_ROWS: Final = 1_050_000  # a sheet has 1,048,576
_GRID_FLOOR: Final = 8_000_000  # cells of the rectangle, of 40 bytes each
_GRID: Final = 5  # cells per byte of the file; a filled cell takes about three bytes

# a cell element as spreadsheets write it, and any cell element
_PLAIN: Final = b'<c r="'
_ANY: Final = re.compile(rb"[<:]c[\s/>]")
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


def first_sheet(workbook: bytes, relations: bytes) -> str | None:
    """Return the path of the first sheet's part, from the XML of two others; None if missing. Raises EditListError."""
    sheets = _elements(workbook, "sheet")
    targets = {found.get("Id"): found.get("Target") for found in _elements(relations, "Relationship")}
    target = targets.get(sheets[0].get("id")) if sheets else None
    if target is None:
        return None
    return target.removeprefix("/") if target.startswith("/") else f"xl/{target}"


def check_sheet(data: bytes, sheet: bytes) -> None:
    """Check the XML of a sheet against the size of its workbook. Raises EditListError."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        shared = [archive.read(part) for part in archive.namelist() if part.lower().endswith(_SHARED)]
    most_cells, most_text = max(_GRID_FLOOR, _GRID * len(data)), max(FLOOR, GROWTH * len(data))
    cells = sheet.count(_PLAIN)
    if _are_all(cells, sheet) and _span_at_most(most_cells, cells, sheet):
        text = sum(max(map(len, part.split(b"</si>"))) for part in shared) * cells
        if text <= most_text and all(map(_has_elements_only, shared)):
            return
    found = _Cells.of(sheet)
    if found.rows * found.columns > most_cells:
        raise EditListError(
            f"its cells span {found.rows:,} rows and {found.columns:,} columns, and nearly all of them are empty.",
            likely=f"A cell far from the list is filled; the rectangle ends at {found.farthest}.",
            hint="Delete the rows below and the columns to the right of the list, and save it.",
        )
    if sum(_shared_bytes(part, found.shared) for part in shared) > most_text:
        raise unpacks_to_more()


def _has_elements_only(xml: bytes) -> bool:
    """Whether XML has no comments, CDATA, DOCTYPE or instructions after the first, so that each < begins an element."""
    return b"<!" not in xml and xml.find(b"<?", 1) < 0


def _are_all(cells: int, sheet: bytes) -> bool:
    """Whether all cells of a sheet begin with their reference, as spreadsheets write them; ``cells``: their number."""
    if not _has_elements_only(sheet):
        return False
    others = sheet.count(b"<co") + sheet.count(b"<cf")  # columns, formats
    if b":c" not in sheet and sheet.count(b"<c") - others == cells:
        return True  # three times as fast as the pattern
    return sum(1 for _ in _ANY.finditer(sheet)) == cells


def _span_at_most(most: int, cells: int, sheet: bytes) -> bool:
    """Whether the references of all cells, empty ones too, are in a rectangle of at most ``most`` cells."""
    names = _COLUMN.findall(sheet)
    if len(names) < cells:
        return False
    columns = max((_column(name.decode()) for name in set(names)), default=0)
    if columns * _ROWS <= most:
        return True
    rows = max((int(number) for number in set(_ROW.findall(sheet))), default=0)
    return columns * rows <= most


def _column(letters: str) -> int:
    """Return the number of a column, from 1."""
    number = 0
    for sign in letters:
        number = number * 26 + ord(sign) - ord("A") + 1
    return number


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
        parser = _parser()
        parser.StartElementHandler = found._begin
        parser.EndElementHandler = found._end
        parser.CharacterDataHandler = found._read
        _parse(parser, sheet)
        return found

    @property
    def farthest(self) -> str:
        """The last corner of the rectangle, such as B2."""
        return f"{letter(self.columns - 1)}{self.rows}"

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        name = _local(name)
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
        return int(match[2]), _column(match[1])

    def _read(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _end(self, name: str) -> None:
        if self._text is not None and _local(name) == "v":
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
        if _local(name) == "si":
            total += uses[str(number)] * (length + CELL)
            number, length = number + 1, 0

    parser = _parser()
    parser.CharacterDataHandler = read
    parser.EndElementHandler = end
    _parse(parser, part)
    return total


def _elements(xml: bytes, wanted: str) -> list[dict[str, str]]:
    """Return the attributes of all elements with a name, without prefixes."""
    found: list[dict[str, str]] = []

    def begin(name: str, attributes: dict[str, str]) -> None:
        if _local(name) == wanted:
            found.append({_local(key): text for key, text in attributes.items()})

    parser = _parser()
    parser.StartElementHandler = begin
    _parse(parser, xml)
    return found


def _parser() -> expat.XMLParserType:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _no_doctype
    return parser


def _no_doctype(*_: object) -> None:
    """Refuse a DOCTYPE: workbooks have none, and it could define entities."""
    raise ValueError("DOCTYPE")


def _parse(parser: expat.XMLParserType, xml: bytes) -> None:
    try:
        parser.Parse(xml, True)
    except (expat.ExpatError, ValueError):
        pass  # their texts quote the workbook
    else:
        return
    raise unreadable()


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def unreadable() -> EditListError:
    """Return the error for a file that is damaged or not a workbook."""
    return EditListError("the workbook cannot be read.", hint="Save it again, or save the sheet as CSV in UTF-8.")
