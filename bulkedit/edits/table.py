"""What every format comes down to: a header, and batches of text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from bulkedit._json import JsonObject


class CellFault(NamedTuple):
    """A cell whose text is not what a person sees there."""

    row: int  # as in the file
    position: int  # of its column, from 0
    code: str  # of the problem that its row has: cell-error, cell-formula or cell-merged


class Table(ABC):
    """A file as rows of text."""

    def __init__(self) -> None:
        self.header: list[str] = []  # the names of the columns as they stand in the file
        self.kinds: dict[int, str] = {}  # positions of columns that are not text: float, date or nested
        self.faults: list[CellFault] = []  # cells that do not hold what a spreadsheet shows
        self.problems: list[JsonObject] = []  # rows that are none, as lines of SET_ASIDE; all-null in the batches

    @abstractmethod
    def batches(self) -> Iterator[pl.DataFrame]:
        """The rows in order, once: ``row`` UInt32, and String columns c0, c1, … in the order of the header.

        ``problems`` and ``faults`` are complete before the first batch.
        """
