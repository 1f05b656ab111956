"""The common interface of all formats: a header, and batches of text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.edits.bounds import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bulkedit._json import JsonObject
    from bulkedit.edits.columns import Layout

_LINES_AT_ONCE: Final = 20_000

# Cells whose text is not what a spreadsheet shows: a line each.
CELL_FAULTS: Final = pl.Schema(
    {
        "row": pl.UInt32(),  # as in the file
        "position": pl.UInt32(),  # of the column, from 0
        "code": pl.String(),  # of the row's problem
        "text": pl.String(),  # what the cell is, as the end of a sentence
    }
)


class Table(ABC):
    """A file as rows of text."""

    def __init__(self) -> None:
        self.header: list[str] = []  # the names of the columns as in the file
        self.header_row: int | None = None  # its number in the file; None if the format itself names the columns
        self.several_a_row = False  # a row may be several lines of a batch, with one number
        self.nested: list[int] = []  # positions of columns with nested or binary values
        self.faults = CELL_FAULTS.to_frame()
        self.notices: list[pl.DataFrame] = []  # of the file: frames `bulkedit.edits.notices.NOTICES`
        self.problems: list[JsonObject] = []  # invalid rows, as lines of SET_ASIDE; all-null in the batches

    def rows_below_header(self, count: int) -> list[tuple[int, list[str]]]:
        """Return the first rows below the header with their numbers, to find a header among them."""
        for batch in self.batches():
            texts = batch.head(count).with_columns(pl.all().exclude("row").fill_null(""))
            return [(row, list(cells)) for row, *cells in texts.iter_rows()]
        return []

    def learn(self, layout: Layout) -> None:
        """Take the meaning of the columns, before the first batch. Raises EditListError."""
        del layout

    @abstractmethod
    def batches(self) -> Iterator[pl.DataFrame]:
        """Yield the rows in order, once: ``row`` UInt32, and String columns c0, c1, … in the order of the header.

        Columns with typed cells also have their types as k0, k1, … (`bulkedit.edits.typed_cells.TYPES`, null for text).

        ``problems``, ``faults`` and ``notices`` are complete before the first batch.
        """


class MadeTable(Table):
    """A table whose rows are made one by one, from a file that has no cells of its own."""

    def __init__(self, header: Sequence[str]) -> None:
        super().__init__()
        self.header = list(header)
        self._rows: list[tuple[int | str | None, ...]] = []
        self._frames: list[pl.DataFrame] = []

    @property
    def is_empty(self) -> bool:
        """Whether no row was added."""
        return not self._rows and not self._frames

    def add(self, row: int, *lines: Sequence[str | int | None]) -> None:
        """Add a row: its lines, which stay in one batch, have one cell per column.

        Raises EditListError if the rows take too much memory.
        """
        self._rows += ((row, *cells) for cells in lines)
        if len(self._rows) >= _LINES_AT_ONCE:
            self._frames.append(self._framed())

    def batches(self) -> Iterator[pl.DataFrame]:
        """The rows, in the order in which they were added."""
        while self._frames:
            yield self._frames.pop(0)
        if self._rows:
            yield self._framed()

    def _framed(self) -> pl.DataFrame:
        """Return the rows since the last frame as a frame, which takes less memory."""
        schema = {"row": pl.UInt32} | {f"c{i}": pl.String for i in range(len(self.header))}
        frame = pl.DataFrame(self._rows, schema=schema, orient="row")
        size_of(frame.drop("row"), frame["row"].item)
        self._rows = []
        return frame
