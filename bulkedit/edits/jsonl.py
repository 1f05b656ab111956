"""JSON lines: one object per line, whose keys are the columns.

Every value becomes text, as in a CSV file: a number by its digits, an array or an object as JSON.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Final

import polars as pl

from bulkedit.edits.bounds import CELLS_AT_ONCE, LONGEST_ROW, MOST_COLUMNS, MOST_EMPTY, size_of
from bulkedit.edits.edit import json_text
from bulkedit.edits.problems import one
from bulkedit.edits.strict_json import check_text, strict_json
from bulkedit.edits.table import Table
from bulkedit.edits.typed_cells import TYPES, CellType
from bulkedit.errors import EditListError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit._json import JsonObject

BLOCK: Final = 8 * 2**20
LONGEST: Final = LONGEST_ROW
_HINT: Final = 'Write one JSON object per line, such as {"image_set_id":"…","attribute":"…","value":"…"}.'

_KEY: Final = "key "  # prefix of columns that are keys of the file, because a key may be `row`
_TYPE: Final = "type "  # prefix of columns of the types of their values


_TYPES: Final = {bool: str(CellType.BOOLEAN), int: str(CellType.INTEGER), float: str(CellType.FLOAT)}


class JsonLines(Table):
    """A JSON lines file. A line that is not an object of plain values is a problem, and an all-null row."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        self._lines = self._bytes = 0
        self._types: dict[str, dict[int, str]] = {}  # key -> line -> type (`TYPES`), of lines without a frame
        self._empty = 0  # cells that are empty because other lines of the frame have the key
        # all lines are read before the first batch, because any line may have a new key
        self._frames = [frame for number, lines in numbered_lines(stream) for frame in self._framed(number, lines)]
        self.header = list(self._keys)
        if self._lines and self._lines == len(self.problems):
            raise EditListError(
                "no line of the file is a JSON object.",
                likely="The file may be one JSON document over several lines, or another format.",
                hint=f"{_HINT} jq -c '.[]' FILE writes a JSON array so.",
            )
        if not self._lines:
            raise EditListError("the file is empty.", hint="An edit list has at least one row.")

    def batches(self) -> Iterator[pl.DataFrame]:
        """The lines, numbered from 1."""
        names = {key: f"c{i}" for i, key in enumerate(self.header)}
        while self._frames:
            frame = self._frames.pop(0)
            missing = [pl.lit(None, pl.String).alias(_KEY + key) for key in names if _KEY + key not in frame.columns]
            whole = {name: pl.col(_KEY + key) for key, name in names.items()}
            whole |= {
                f"k{name[1:]}": pl.col(_TYPE + key) for key, name in names.items() if _TYPE + key in frame.columns
            }
            for piece in frame.iter_slices(max(1, CELLS_AT_ONCE // max(1, len(names)))):
                batch = piece.with_columns(missing).select("row", **whole)
                size_of(batch.select(pl.col(pl.String)), batch["row"].item)
                yield batch

    def _framed(self, first: int, lines: list[str]) -> Iterator[pl.DataFrame]:
        """Yield lines as frames of their own keys, so that no frame is large only for empty cells."""
        rows: list[dict[str, str | None]] = []
        numbers: list[int] = []
        keys: dict[str, None] = {}
        self._bytes += sum(map(len, lines))
        for number, line in enumerate(lines, first):
            if not line.strip():
                continue
            row = self._texts(number, line)
            if rows and (len(keys) + len(row)) * len(rows) > CELLS_AT_ONCE:
                yield self._frame(numbers, rows, keys)
                rows, numbers, keys = [], [], {}
            rows.append(row)
            numbers.append(number)
            if not row.keys() <= keys.keys():
                keys |= dict.fromkeys(row)
        yield self._frame(numbers, rows, keys)

    def _frame(self, numbers: list[int], rows: list[dict[str, str | None]], keys: dict[str, None]) -> pl.DataFrame:
        self._lines += len(rows)
        self._keys |= keys
        self._empty += len(keys) * len(rows) - sum(map(len, rows))
        if len(self._keys) > MOST_COLUMNS:
            raise EditListError(f"its lines have more than {MOST_COLUMNS:,} different keys.")
        if self._empty > MOST_EMPTY + self._bytes // 2:
            raise EditListError(
                "its lines have few common keys, so that nearly all cells of the table are empty.",
                hint='Write one attribute per line: {"image_set_id":"…","attribute":"…","value":"…"}.',
            )
        texts = {_KEY + key: pl.Series([row.get(key) for row in rows], dtype=pl.String) for key in keys}
        types = {
            _TYPE + key: pl.Series([found.pop(number, None) for number in numbers], dtype=pl.String).cast(TYPES)
            for key, found in self._types.items()
            if key in keys and found
        }
        return pl.DataFrame({"row": pl.Series(numbers, dtype=pl.UInt32)} | texts | types)

    def _texts(self, number: int, line: str) -> dict[str, str | None]:
        try:
            found = strict_json(line)
        except ValueError as error:
            self.problems.append(one(number, "not-json", f"the line is not valid JSON: {error}.", hint=_HINT))
            return {}
        if not isinstance(found, dict):
            self.problems.append(one(number, "not-an-object", "the line is not a JSON object.", hint=_HINT))
            return {}
        return self._row(number, found)

    def _row(self, number: int, found: JsonObject) -> dict[str, str | None]:
        texts: dict[str, str | None] = {}
        for key, value in found.items():
            if value is None or isinstance(value, str):
                texts[key] = value
            else:
                texts[key] = json_text(value)
                if (type_ := _TYPES.get(type(value))) is not None:
                    self._types.setdefault(key, {})[number] = type_
        return texts


def numbered_lines(stream: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    """Yield blocks of lines, each with the number of its first line, from 1. Raises EditListError if not UTF-8."""
    number = 1
    tail = b""
    while data := stream.read(BLOCK):
        if number == 1 and not tail:
            data = data.removeprefix(b"\xef\xbb\xbf")
        block, end, rest = (tail + data).rpartition(b"\n")
        tail = rest
        if len(tail) > LONGEST:
            raise EditListError(f"it is longer than {LONGEST // 2**20} MiB.", where=f"row {number:,}")
        if end:
            lines = _decoded(block, number)
            yield number, lines
            number += len(lines)
    if tail:
        yield number, _decoded(tail, number)


def _decoded(block: bytes, number: int) -> list[str]:
    check_text(block, lambda place: number + block.count(b"\n", 0, place))
    return block.decode().split("\n")
