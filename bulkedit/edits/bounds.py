"""What a list may hold. An honest list meets no bound; a small file that unpacks to far more than memory meets one.

A list may be large: memory is for its rows. So no file is refused for its size, but a packed one is refused for what it
unpacks to: above a floor, no more than `GROWTH` times its own bytes. Edit lists grow to between 3 and 20 times; one of
300 equal columns, or of nothing but a counter, to about 110 times. A column of Parquet keeps what many rows share once,
so that cells may be `CELL_GROWTH` times the file: those of a counter are 330 times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.edits.columns import letter
from bulkedit.errors import EditListError

if TYPE_CHECKING:
    from collections.abc import Callable

# HealthImaging takes 30,000 bytes of attributes at once (model of the API, DICOMAttribute), so this is no value
LONGEST_CELL: Final = 2**20  # bytes
LONGEST_ROW: Final = 16 * 2**20  # bytes of a record of CSV, or of a line of JSON
MOST_COLUMNS: Final = 6_000  # the standard has about 5,000 attributes
MOST_BLANK: Final = 16_000_000  # cells that the blank lines of a file of CSV stand for
GROWTH: Final = 200
CELL_GROWTH: Final = 1_000  # of Parquet
MOST_EMPTY: Final = 32_000_000  # cells that lines of JSON with different keys leave empty, beside one for two bytes
FLOOR: Final = 64 * 2**20  # bytes of cells that any file may unpack to
TEXT_FLOOR: Final = 4 * 2**20  # the same, of packed CSV and JSON: four bytes can be a row
CELLS_AT_ONCE: Final = 2_000_000  # of a batch; what is made of one takes several times its memory
CELL: Final = 16  # bytes that polars takes for a cell beside its text


class Growth:
    """Counts what a file unpacks to."""

    def __init__(self, packed: Callable[[], int], floor: int = FLOOR, growth: int = GROWTH) -> None:
        """``packed``: bytes of the file that have been read. ``floor``: bytes that any file may unpack to."""
        self._packed = packed
        self._floor = floor
        self._growth = growth
        self._unpacked = 0

    def add(self, count: int) -> None:
        """Count bytes. Raises EditListError once there are too many."""
        self._unpacked += count
        if self._unpacked > max(self._floor, self._growth * self._packed()):
            raise unpacks_to_more(self._growth)


def unpacks_to_more(growth: int = GROWTH) -> EditListError:
    """The error for a file that unpacks to far more than itself."""
    return EditListError(
        f"it unpacks to more than {growth:,} times its size.",
        likely="It may be damaged, or made to use up the memory of the machine that opens it.",
        hint="If you know where it comes from, unpack it, and give the list as plain CSV.",
    )


def too_many_columns(where: str | None = None) -> EditListError:
    """The error for a table that is wider than any list."""
    return EditListError(
        f"it has more than {MOST_COLUMNS:,} columns.", where=where, likely="The file may be damaged, or no edit list."
    )


def size_of(cells: pl.DataFrame, row_of: Callable[[int], int]) -> int:
    """Bytes of a batch as polars holds it, and of its texts. ``row_of`` tells the number of a row by its place.

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
                likely="The file may be damaged: HealthImaging takes 30,000 bytes at once.",
                hint="Take the row out.",
            )
    return size


def _lengths(column: pl.Series) -> pl.Series | None:
    if column.dtype == pl.String:
        return column.str.len_bytes()
    if column.dtype in (pl.Categorical, pl.Enum):
        return column.cat.len_bytes()
    return None
