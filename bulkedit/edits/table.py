"""The common interface of all formats: a header, and batches of text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit._json import JsonObject
    from bulkedit.edits.columns import Layout


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
