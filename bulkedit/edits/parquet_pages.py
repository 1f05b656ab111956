"""Computes the size that a Parquet file unpacks to from the headers of its pages, without unpacking.

polars allocates the size in the header of a page, and the footer of the file may state less. So this module reads the
page headers. They are in the Thrift compact protocol (thrift-compact-protocol.md; fields of parquet.thrift); numbers
are parsed and texts skipped.
"""

from __future__ import annotations

import mmap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bulkedit.edits.bounds import CELL, CELL_GROWTH, FLOOR, GROWTH

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    _Bytes = bytes | mmap.mmap

_MAGIC: Final = b"PAR1"
_TAIL: Final = 8  # bytes after the footer: its length and the magic bytes
_FOOTER_VALUES: Final = 2_000_000  # a column of a row group has about 25
_PAGE_VALUES: Final = 100  # a header has about 20
_DEEPEST: Final = 16  # levels of nesting; the format has 6
_LONGEST_NAME: Final = 256  # bytes of a text to keep
_LONGEST_VARINT: Final = 10  # bytes of a 64-bit number

# types of the compact protocol
_YES, _NO, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
# fields of FileMetaData, RowGroup, ColumnChunk, ColumnMetaData
_SCHEMA, _ROW_GROUPS = 2, 4
_COLUMNS, _ROWS = 1, 3
_NAME, _CHILDREN = 4, 5  # fields of SchemaElement
_META = 3
_CHUNK_VALUES, _CHUNK_PACKED, _DATA_AT, _DICTIONARY_AT = 5, 7, 9, 11
# fields of PageHeader, and of its headers of data pages
_PAGE_TYPE, _PAGE_UNPACKED, _PAGE_PACKED, _DATA_PAGE, _DATA_PAGE_V2 = 1, 2, 3, 5, 8
_OF_TYPE: Final = {0: _DATA_PAGE, 3: _DATA_PAGE_V2}  # type of a page -> its own header, if it has values
_VALUES = 1


class Sizes(NamedTuple):
    """The unpacked sizes of a file."""

    packed: int  # bytes of the file
    pages: int  # bytes of its pages, unpacked
    cells: int  # bytes that polars uses for the cells, without their texts
    columns: int
    twice: str | None  # a name that two columns have

    def above(self, times: int = 1) -> int | None:
        """Return the limit that the file exceeds, as a multiple of its size; None if it is within the limits.

        ``times``: factor on the limits of an edit list.
        """
        for unpacked, growth in ((self.pages, GROWTH * times), (self.cells, CELL_GROWTH * times)):
            if unpacked > max(FLOOR, growth * self.packed):
                return growth
        return None


def sizes(source: Path | bytes) -> Sizes:
    """Add up the pages of a file. Raises ValueError if it is damaged or not Parquet, OSError if it cannot be read."""
    with _mapped(source) as data:
        try:
            return _sizes(data)
        except (IndexError, KeyError, TypeError, AttributeError):  # it ends too early, or a field is missing
            raise ValueError("damaged") from None


@contextmanager
def _mapped(source: Path | bytes) -> Iterator[_Bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _sizes(data: _Bytes) -> Sizes:
    end = len(data) - _TAIL
    start = end - int.from_bytes(data[end : end + 4], "little")
    if start < len(_MAGIC) or data[end + 4 :] != _MAGIC:
        raise ValueError("no footer")
    footer = _Thrift(data, start, _FOOTER_VALUES)
    columns = pages = cells = 0
    twice = None
    for number, kind in footer.fields():
        if number == _ROW_GROUPS and kind == _LIST:
            for chunk, rows in ((chunk[_META], group[_ROWS]) for group in footer.items() for chunk in group[_COLUMNS]):
                more, values = _chunk_size(data, chunk)
                if values < rows or values != chunk[_CHUNK_VALUES]:
                    raise ValueError("cells are missing")  # polars panics
                pages, cells = pages + more, cells + values * CELL
        elif number == _SCHEMA and kind == _LIST:
            elements = list(footer.items())
            columns, twice = len(elements) - 1, _twice(elements)  # the first is the root
        else:
            footer.value(kind)
    return Sizes(len(data), pages, cells, columns, twice)


def _twice(elements: list[dict[int, Any]]) -> str | None:
    """Return the first name that two columns have. ``elements``: the schema, each before its children."""
    names: set[bytes] = set()
    inner = 0  # elements left inside of a nested column
    for element in elements[1:]:
        if inner == 0:
            if (name := element[_NAME]) in names:
                return str(name or b"", "utf-8", "replace")
            names.add(name)
        inner = max(inner - 1, 0) + element.get(_CHILDREN, 0)
    return None


def _chunk_size(data: _Bytes, chunk: dict[int, Any]) -> tuple[int, int]:
    """Return bytes and values of a column of a row group: its dictionary, and the pages that polars reads."""
    at = min(chunk[_DATA_AT], chunk.get(_DICTIONARY_AT) or chunk[_DATA_AT])
    end = at + chunk[_CHUNK_PACKED]
    values = unpacked = 0
    while values < chunk[_CHUNK_VALUES] and at < end:
        reading = _Thrift(data, at, _PAGE_VALUES)
        header = reading.value(_STRUCT)
        page = header.get(_OF_TYPE.get(header.get(_PAGE_TYPE, 0), 0)) or {}
        sizes_ = header[_PAGE_UNPACKED], header[_PAGE_PACKED], page.get(_VALUES, 0)
        if min(sizes_) < 0:
            raise ValueError("negative size")
        unpacked += sizes_[0]
        values += sizes_[2]
        at = reading.at + sizes_[1]
    return unpacked, values


class _Thrift:
    """Reads values of the compact protocol from a position: numbers, lists, and fields by number."""

    def __init__(self, data: _Bytes, at: int, most: int) -> None:
        """``most``: maximum number of values; reading more raises ValueError."""
        self._data = data
        self.at = at
        self._left = most

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yield number and type of each field of a struct; the caller must read the value."""
        number = 0
        while head := self._byte():
            delta, kind = head >> 4, head & 0xF
            number = number + delta if delta else self._number()
            yield number, kind

    def items(self, depth: int = 0) -> Iterator[Any]:
        """Yield the values of a list."""
        head = self._byte()
        size, kind = head >> 4, head & 0xF
        for _ in range(self._varint() if size == 0xF else size):
            yield self._byte() if kind in {_YES, _NO} else self.value(kind, depth)

    def value(self, kind: int, depth: int = 0) -> Any:  # noqa: ANN401 - of any type
        """Read a value; None if it is a truth value, a double or a long text. Raises ValueError for an unknown type."""
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise ValueError("too many values")
        match kind:
            case 1 | 2:
                pass
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._number()
            case 7:
                self.at += 8
            case 8:
                return self._text()
            case 9 | 10:
                return list(self.items(depth + 1))
            case 12:
                return {number: self.value(kind, depth + 1) for number, kind in self.fields()}
            case _:
                raise ValueError("no such type")
        return None

    def _text(self) -> bytes | None:
        length = self._varint()  # moves ``at``
        self.at += length
        return bytes(self._data[self.at - length : self.at]) if length <= _LONGEST_NAME else None

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _varint(self) -> int:
        number = 0
        for place in range(_LONGEST_VARINT):
            byte = self._byte()
            number |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return number
        raise ValueError("too long")

    def _number(self) -> int:
        number = self._varint()
        return number >> 1 ^ -(number & 1)
