"""Limits for edit lists, to refuse small files that unpack to more than memory. Real lists stay below them.

No file is refused for its size, but a compressed file may unpack to at most `GROWTH` times its bytes, above a floor.
Edit lists grow to between 3 and 20 times; a list of 300 equal columns, or of a counter only, to about 110 times. A
Parquet column stores a repeated value once, so cells may be `CELL_GROWTH` times the file: a counter's are 330 times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.edits.columns import letter
from bulkedit.errors import EditListError

if TYPE_CHECKING:
    from collections.abc import Callable

# HealthImaging accepts 30,000 bytes of attributes per call (API model, DICOMAttribute), far below LONGEST_CELL
LONGEST_CELL: Final = 2**20  # bytes
LONGEST_ROW: Final = 16 * 2**20  # bytes of a CSV record or a line of JSON
MOST_COLUMNS: Final = 6_000  # the standard has about 5,000 attributes
MOST_PROBLEMS: Final = 100_000  # lines of a script, or HL7 messages, that cannot be read
MOST_BLANK: Final = 16_000_000  # cells in blank lines of a CSV file
GROWTH: Final = 200
CELL_GROWTH: Final = 1_000  # for Parquet
MOST_EMPTY: Final = 32_000_000  # empty cells because lines of JSON have different keys, plus one per two bytes
FLOOR: Final = 64 * 2**20  # bytes of cells that any file may unpack to
TEXT_FLOOR: Final = 4 * 2**20  # as FLOOR, for compressed CSV and JSON, where a row can be four bytes
CELLS_AT_ONCE: Final = 2_000_000  # per batch; processing takes several times its memory
CELL: Final = 16  # bytes that polars uses per cell, without its text


class Growth:
    """Counts what a file unpacks to."""

    def __init__(self, packed: Callable[[], int], floor: int = FLOOR, growth: int = GROWTH) -> None:
        """``packed``: returns the bytes of the file read so far. ``floor``: bytes that any file may unpack to."""
        self._packed = packed
        self._floor = floor
        self._growth = growth
        self._unpacked = 0

    def add(self, count: int) -> None:
        """Add bytes. Raises EditListError if there are too many."""
        self._unpacked += count
        if self._unpacked > max(self._floor, self._growth * self._packed()):
            raise unpacks_to_more(self._growth)


def unpacks_to_more(growth: int = GROWTH) -> EditListError:
    """Return the error for a file that unpacks to far more than its size."""
    return EditListError(
        f"it unpacks to more than {growth:,} times its size.",
        likely="It may be damaged, or made to exhaust the memory of the machine that opens it.",
        hint="If you trust its source, unpack it, and save the list as plain CSV.",
    )


def too_many_columns(where: str | None = None) -> EditListError:
    """Return the error for a table that is wider than any list."""
    return EditListError(
        f"it has more than {MOST_COLUMNS:,} columns.",
        where=where,
        likely="The file may be damaged, or may not be an edit list.",
    )


def size_of(cells: pl.DataFrame, row_of: Callable[[int], int]) -> int:
    """Return the bytes of a batch in memory, with its texts. ``row_of``: returns the row number of a position.

    Raises EditListError if a cell is longer than `LONGEST_CELL`.
    """
    size = cells.width * cells.height * CELL
    for position, column in enumerate(cells.iter_columns()):
        if (lengths := _lengths(column)) is None:
            continue
        size += int(lengths.sum())
        longest = lengths.arg_max()
        if longest is not None and lengths[longest] > LONGEST_CELL:
            raise EditListError(
                f"column {letter(position)} has a cell of more than {LONGEST_CELL // 2**20} MiB.",
                where=f"row {row_of(longest):,}",
                likely="The file may be damaged: HealthImaging accepts 30,000 bytes per call.",
                hint="Delete the row.",
            )
    return size


def _lengths(column: pl.Series) -> pl.Series | None:
    if column.dtype == pl.String:
        return column.str.len_bytes()
    if column.dtype in (pl.Categorical, pl.Enum):
        return column.cat.len_bytes()
    return None


def check_problems(count: int, line: int, what: str) -> None:
    """Raise EditListError if more rows cannot be read than `MOST_PROBLEMS`. ``what``: they, in the plural."""
    if count > MOST_PROBLEMS:
        raise EditListError(
            f"more than {MOST_PROBLEMS:,} {what} of the file cannot be read.",
            where=f"line {line:,}",
            likely="The file may be of another kind.",
            hint="Plan the first lines of the file alone to see why.",
        )
