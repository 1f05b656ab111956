"""The XML of a sheet in one plain form, so that all that look at it see the same cells.

Spreadsheets write cells as ``<c r="A1" s="1" t="s">``, and such XML is left as it is. Other programs write namespace
prefixes, single quotes, comments or no references; then expat parses the sheet, and it is written in the plain form.
"""

from __future__ import annotations

import re
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from bulkedit.edits.columns import letter
from bulkedit.edits.excel.xml import local, parse, unreadable

# a cell of the plain form; patterns are shared by Python and polars
BEGIN: Final = r'<c r="([A-Z]{1,3})([0-9]{1,7})"(?: s="([0-9]{1,5})")?'
END: Final = r'(?: s="([0-9]{1,5})")?(?: (?:cm|vm|ph)="[0-9a-z]{1,10}")*'  # some programs write the type first
_ROW: Final = re.compile(rb'<row r="[0-9]{1,7}"[ />]')
_ENCODING: Final = re.compile(rb"""^(?:\xef\xbb\xbf)?\s*<\?xml[^>]*?encoding=["'](?!utf-8["'])""", re.IGNORECASE)
_REFERENCE: Final = re.compile(r"([A-Z]{1,7})([0-9]{1,10})")
_MAIN: Final = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_HEAD: Final = b'<worksheet xmlns="%b">' % _MAIN
_TEXTS_TAG: Final = re.compile(rb'<sst((?: xmlns(?::\w+)?="[^"]*")*)(?: (?:count|uniqueCount)="[^"]*")*>')
_KEPT: Final = {
    "col": ("min", "max", "width", "hidden"),
    "mergeCell": ("ref",),
    "sheetView": ("showZeros",),
}  # elements besides cells that matter


def rewritten(xml: bytes) -> bytes:
    """Return the XML of a sheet in the plain form. Raises EditListError if expat cannot parse it."""
    return _Rewriting().of(xml)


def has_elements_only(xml: bytes) -> bool:
    """Whether XML has no comments, CDATA, DOCTYPE or instructions after the first, so that each < begins an element."""
    return b"<!" not in xml and xml.find(b"<?", 1) < 0


def _is_encoded(xml: bytes) -> bool:
    """Whether XML is not in UTF-8."""
    return b"\0" in xml[:4] or xml[:2] in {b"\xff\xfe", b"\xfe\xff"} or _ENCODING.match(xml) is not None


def may_be_plain(xml: bytes) -> bool:
    """Whether the rows of a sheet are plain, and its cells begin as plain ones do."""
    if not has_elements_only(xml) or _is_encoded(xml):
        return False
    rows = xml.count(b"<row") - xml.count(b"<rowBreaks")
    cells = xml.count(b"<c") - xml.count(b"<co") - xml.count(b"<cf")  # columns, formats
    if any(part in xml for part in (b":c ", b":c>", b":row", b":sheetData")) or cells != xml.count(b'<c r="'):
        return False
    return rows == xml.count(b'<row r="') == sum(1 for _ in _ROW.finditer(xml))


def plain_texts(xml: bytes) -> bytes:
    """Return the XML of the shared texts, without their number, for which fastexcel would allocate memory.

    Raises EditListError if expat cannot parse it.
    """
    alone = xml.count(b"<sst") == 1 and b":sst" not in xml and _TEXTS_TAG.search(xml)
    if alone and has_elements_only(xml) and not _is_encoded(xml):
        return _TEXTS_TAG.sub(rb"<sst\1>", xml, count=1)
    return _TextsRewriting().of(xml)


class _TextsRewriting:
    """Writes shared texts in the plain form, while expat parses them."""

    def __init__(self) -> None:
        self._texts = bytearray(b'<sst xmlns="%b">' % _MAIN)
        self._path: list[str] = []
        self._pieces: list[str] = []
        self._piece: list[str] | None = None
        self._keeps_blanks = False

    def of(self, xml: bytes) -> bytes:
        parse(xml, begin=self._begin, end=self._end, text=self._read)
        return bytes(self._texts + b"</sst>")

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(local(name))
        if self._path[-1] == "t" and self._path[-2:-1] in (["si"], ["r"]):  # not that of rPh, a phonetic text
            self._piece, self._keeps_blanks = [], attributes.get("xml:space") == "preserve"

    def _read(self, text: str) -> None:
        if self._piece is not None:
            self._piece.append(text)

    def _end(self, name: str) -> None:
        del name
        match self._path.pop():
            case "t" if self._piece is not None:
                text = "".join(self._piece)
                self._pieces.append(text if self._keeps_blanks else text.strip())
                self._piece = None
            case "si":
                self._texts += f'<si><t xml:space="preserve">{_escaped(self._pieces)}</t></si>'.encode()
                self._pieces = []


class _Rewriting:
    """Writes the cells of a sheet in the plain form, while expat parses it."""

    def __init__(self) -> None:
        self._head = bytearray(_HEAD)
        self._cells = bytearray()
        self._tail = bytearray()
        self._path: list[str] = []
        self._row = self._column = 0  # the current one, from 1
        self._strays = False  # whether the current cell names another row
        self._has_cells = False  # whether the sheet has the element for cells
        self._cell: dict[str, str] = {}
        self._formula = False
        self._value: list[str] | None = None
        self._text: list[str] | None = None  # of an inline text
        self._reading: list[str] | None = None

    def of(self, xml: bytes) -> bytes:
        parse(xml, begin=self._begin, end=self._end, text=self._read)
        if not self._has_cells:
            raise unreadable()
        self._head += b"<sheetData>"
        self._head += self._cells
        return bytes(self._head + b"</sheetData><mergeCells>" + self._tail + b"</mergeCells></worksheet>")

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        name = local(name)
        self._path.append(name)
        match name:
            case "sheetData":
                self._has_cells = True
            case "row" if self._path[-2:-1] == ["sheetData"]:
                self._begin_row(attributes)
            case "c" if self._path[-2:-1] == ["row"]:
                self._begin_cell(attributes)
            case "row" | "c" if "sheetData" in self._path:
                raise ValueError(name)  # in another place than all readers of workbooks look for them
            case "f" if self._path[-2:-1] == ["c"]:
                self._formula = True
            case "v" if self._path[-2:-1] == ["c"]:
                self._value = self._reading = []
            case "t" if self._path[-3:-1] in (["c", "is"], ["is", "r"]):  # not that of rPh, a phonetic text
                self._text = self._reading = self._text or []
            case "col" | "sheetView":
                self._head += _element(name, attributes)
            case "mergeCell":
                self._tail += _element(name, attributes)

    def _begin_row(self, attributes: dict[str, str]) -> None:
        self._row = _number(attributes["r"]) if "r" in attributes else self._row + 1
        self._column = 0
        kept = "".join(f" {name}={quoteattr(attributes[name])}" for name in ("hidden", "ht") if name in attributes)
        self._cells += f'<row r="{self._row}"{kept}>'.encode()

    def _begin_cell(self, attributes: dict[str, str]) -> None:
        self._column, self._strays = self._column + 1, False
        if "r" in attributes:
            match = _REFERENCE.fullmatch(attributes["r"])
            if match is None:
                raise ValueError(attributes["r"])
            self._column, self._strays = column_number(match[1]), int(match[2]) != self._row
        self._cell, self._formula, self._value, self._text = attributes, False, None, None

    def _read(self, text: str) -> None:
        if self._reading is not None:
            self._reading.append(text)

    def _end(self, name: str) -> None:
        name = self._path.pop()
        if name in {"v", "t"}:
            self._reading = None
        elif name == "c" and self._path[-1:] == ["row"]:
            self._end_cell()
        elif name == "row" and self._path[-1:] == ["sheetData"]:
            self._cells += b"</row>"

    def _end_cell(self) -> None:
        kind = self._cell.get("t", "n")
        if self._value is None and self._text is None and not self._formula:
            return
        if self._strays:
            raise ValueError(self._cell["r"])
        style = f' s="{_number(self._cell["s"])}"' if "s" in self._cell else ""
        content = "<f/>" if self._formula else ""
        if kind == "inlineStr":
            content += f'<is><t xml:space="preserve">{_escaped(self._text or [])}</t></is>'
        elif self._value is not None:
            content += f"<v>{_value(kind, self._value)}</v>"
        place = f"{letter(self._column - 1)}{self._row}"
        self._cells += f'<c r="{place}"{style} t={quoteattr(kind)}>{content}</c>'.encode()


def _value(kind: str, pieces: list[str]) -> str:
    if kind == "str":
        return _escaped(pieces)
    text = "".join(pieces).strip()
    if kind == "b":
        text = {"true": "1", "false": "0"}.get(text, text)
    return _escaped([text])


def _escaped(pieces: list[str]) -> str:
    return escape("".join(pieces), {"\r": "&#13;"})


def _element(name: str, attributes: dict[str, str]) -> bytes:
    kept = "".join(f" {key}={quoteattr(attributes[key])}" for key in _KEPT[name] if key in attributes)
    return f"<{name}{kept}/>".encode()


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", text):
        raise ValueError(text)
    return int(text)


def column_number(letters: str) -> int:
    """Return the number of a column, from 1."""
    number = 0
    for sign in letters:
        number = number * 26 + ord(sign) - ord("A") + 1
    return number
