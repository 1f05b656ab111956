"""A writer of Parquet files whose pages say what it wants them to say: columns of one text in many rows."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12  # types of Thrift's compact protocol
_BYTE_ARRAY, _UTF8, _GZIP, _PLAIN, _RLE, _RLE_DICTIONARY = 6, 0, 2, 0, 3, 8
_MAGIC: Final = b"PAR1"


@dataclass(frozen=True, slots=True)
class Column:
    """A text that is in the file once, and that all rows refer to."""

    name: str
    text: bytes
    lying: bool = False  # whether the sizes in the file's metadata are wrong


def write(path: Path, columns: list[Column], rows: int, *, groups: int = 1) -> None:
    """Row groups of so many rows each, all alike."""
    with path.open("wb") as file:
        file.write(_MAGIC)
        described = []
        packed = [_pages(column, rows) for column in columns]
        for _ in range(groups):
            chunks = []
            for column, (pages, data_at, unpacked) in zip(columns, packed, strict=True):
                start = file.tell()
                file.write(pages)
                sizes = (rows, 1 if column.lying else unpacked, len(pages))
                chunks.append(_chunk(column, sizes, start, start + data_at))
            described.append(_struct((1, _LIST, _list(_STRUCT, chunks)), (2, _I64, 1), (3, _I64, rows)))
        root = _struct((4, _BINARY, b"root"), (5, _I32, len(columns)))
        leaves = [
            _struct((1, _I32, _BYTE_ARRAY), (3, _I32, 0), (4, _BINARY, column.name.encode()), (6, _I32, _UTF8))
            for column in columns
        ]
        schema, row_groups = _list(_STRUCT, [root, *leaves]), _list(_STRUCT, described)
        footer = _struct((1, _I32, 1), (2, _LIST, schema), (3, _I64, rows * groups), (4, _LIST, row_groups))
        file.write(footer + len(footer).to_bytes(4, "little") + _MAGIC)


def _pages(column: Column, rows: int) -> tuple[bytes, int, int]:
    """A page with the dictionary and one with the rows; where the second begins, and what both unpack to."""
    value = len(column.text).to_bytes(4, "little") + column.text
    runs = b"\x01" + _varint(rows << 1) + b"\x00"  # numbers of one bit: the first of the dictionary, so many times
    dictionary = _page(2, value, 7, _struct((1, _I32, 1), (2, _I32, _PLAIN)))
    header = _struct((1, _I32, rows), (2, _I32, _RLE_DICTIONARY), (3, _I32, _RLE), (4, _I32, _RLE))
    return dictionary + _page(0, runs, 5, header), len(dictionary), len(value) + len(runs)


def _page(kind: int, content: bytes, place: int, header: bytes) -> bytes:
    packing = zlib.compressobj(9, wbits=31)
    packed = packing.compress(content) + packing.flush()
    sizes = (1, _I32, kind), (2, _I32, len(content)), (3, _I32, len(packed))
    return _struct(*sizes, (place, _STRUCT, header)) + packed


def _chunk(column: Column, sizes: tuple[int, int, int], start: int, data_at: int) -> bytes:
    """``sizes``: values, bytes unpacked, bytes packed."""
    encodings = _list(_I32, [_varint(_PLAIN << 1), _varint(_RLE_DICTIONARY << 1)])
    name = column.name.encode()
    described = _struct(
        (1, _I32, _BYTE_ARRAY),
        (2, _LIST, encodings),
        (3, _LIST, _list(_BINARY, [_varint(len(name)) + name])),
        (4, _I32, _GZIP),
        *zip((5, 6, 7), (_I64,) * 3, sizes, strict=True),
        (9, _I64, data_at),
        (11, _I64, start),
    )
    return _struct((2, _I64, start), (3, _STRUCT, described))


def _struct(*fields: tuple[int, int, int | bytes]) -> bytes:
    """Fields of Thrift's compact protocol, by their numbers."""
    text, before = b"", 0
    for number, kind, value in fields:
        text += bytes([(number - before) << 4 | kind])
        before = number
        if isinstance(value, int):
            text += _varint(value << 1)  # zigzag of a number that is not negative
        else:
            text += _varint(len(value)) + value if kind == _BINARY else value
    return text + b"\x00"


def _list(kind: int, items: list[bytes]) -> bytes:
    size = bytes([len(items) << 4 | kind]) if len(items) < 15 else bytes([0xF0 | kind]) + _varint(len(items))
    return size + b"".join(items)


def _varint(number: int) -> bytes:
    text = bytearray()
    while number > 0x7F:
        text.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*text, number])
