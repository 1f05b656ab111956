"""Parquet: columns of plain values, read as text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.edits.bounds import CELL_GROWTH, FLOOR, MOST_COLUMNS, Growth, size_of, too_many_columns, unpacks_to_more
from bulkedit.edits.parquet_pages import sizes
from bulkedit.edits.table import Table
from bulkedit.errors import EditListError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BATCH: Final = 250_000  # rows
_WHOLE: Final = 1e15  # above this, digits of a floating-point number may be lost


class Parquet(Table):
    """A Parquet file, with records numbered from 1."""

    def __init__(self, source: Path | bytes) -> None:
        super().__init__()
        self._packed = _checked_size(source)
        if isinstance(source, bytes):
            self._scan = pl.scan_parquet(io.BytesIO(source))
        else:
            self._scan = pl.scan_parquet(source, glob=False)
        schema = _schema(self._scan)
        if schema is None:
            raise _damaged()
        self.header = schema.names()
        self.kinds = {i: kind for i, dtype in enumerate(schema.dtypes()) if (kind := _kind(dtype))}

    def batches(self) -> Iterator[pl.DataFrame]:
        """Yield the records in order, as text; columns of dates and nested values are null."""
        names = [f"c{i}" for i in range(len(self.header))]
        cells = [_plain(pl.nth(i), self.kinds.get(i)).alias(name) for i, name in enumerate(names)]
        texts = [_text(pl.col(name), self.kinds.get(i)).alias(name) for i, name in enumerate(names)]
        growth = Growth(lambda: self._packed, FLOOR, CELL_GROWTH)
        row = 1
        for frame in _whole(self._scan.select(cells).collect_batches(chunk_size=_BATCH, lazy=True)):
            # a text may be stored once for many cells; the conversion copies it for each
            growth.add(size_of(frame, row.__add__))
            yield frame.select(texts).with_row_index("row", row)
            row += frame.height


def _kind(dtype: pl.DataType) -> str | None:
    """Return the kind of a type, if it matters for an edit list."""
    if dtype.is_temporal():
        return "date"
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        return "nested"
    return "float" if dtype.is_float() else None


def _checked_size(source: Path | bytes) -> int:
    """Return the bytes of the file. Raises EditListError if it is damaged, or unpacks to far more than its size."""
    try:
        found = sizes(source)
    except (ValueError, OSError):
        raise _damaged() from None
    if found.columns > MOST_COLUMNS:
        raise too_many_columns()
    if (growth := found.above()) is not None:
        raise unpacks_to_more(growth)
    return found.packed


def _plain(column: pl.Expr, kind: str | None) -> pl.Expr:
    """Return a column as in the file; null if its kind has no text."""
    return column if kind in {None, "float"} else pl.lit(None, pl.String)


def _text(column: pl.Expr, kind: str | None) -> pl.Expr:
    if kind is None:
        return column.cast(pl.String)
    if kind == "float":
        whole = (column == column.floor()) & (column.abs() < _WHOLE)
        return (
            pl.when(whole).then(column.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(column.cast(pl.String))
        )
    return pl.lit(None, pl.String)


def _schema(scan: pl.LazyFrame) -> pl.Schema | None:
    """Return the schema of the file, or None. The text of a polars error is dropped, because it may quote the file."""
    try:
        return scan.collect_schema()
    except (pl.exceptions.PolarsError, OSError):
        return None


def _whole(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    while (frame := _next(batches)) is not None:
        yield frame


def _next(batches: Iterator[pl.DataFrame]) -> pl.DataFrame | None:
    try:
        return next(batches, None)
    except (pl.exceptions.PolarsError, OSError):
        pass
    raise _damaged()


def _damaged() -> EditListError:
    return EditListError("the Parquet file is damaged or cut short.", hint="Export the list again.")
