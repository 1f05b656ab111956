"""Parquet: columns of plain values, read as text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.edits.bounds import CELL_GROWTH, FLOOR, MOST_COLUMNS, Growth, size_of, too_many_columns, unpacks_to_more
from bulkedit.edits.columns import is_known
from bulkedit.edits.parquet_pages import sizes
from bulkedit.edits.table import Table
from bulkedit.edits.typed_cells import TYPES, CellType
from bulkedit.errors import EditListError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BATCH: Final = 250_000  # rows
_TYPES: Final = {
    pl.Boolean: CellType.BOOLEAN,
    pl.Date: CellType.DATE,
    pl.Time: CellType.TIME,
    pl.Datetime: CellType.DATETIME,
    pl.Duration: CellType.DURATION,
}
_FIRST_DAY: Final = -719_162 + 2  # since 1970: the year 1, also in the time zone of another continent
_LAST_DAY: Final = 2_932_896 - 2  # the year 9999


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
        self.nested = [i for i, dtype in enumerate(schema.dtypes()) if _has_no_text(dtype)]
        self._dtypes = schema.dtypes()
        self._types = {i: type_ for i, dtype in enumerate(self._dtypes) if (type_ := _type_of(dtype))}

    def batches(self) -> Iterator[pl.DataFrame]:
        """Yield the records in order, as text; columns of nested values are null."""
        names = [f"c{i}" for i in range(len(self.header))]
        nothing = pl.lit(None, pl.String)
        cells = [(nothing if i in self.nested else pl.nth(i)).alias(name) for i, name in enumerate(names)]
        texts = [_text(pl.col(name), dtype).alias(name) for name, dtype in zip(names, self._dtypes, strict=True)]
        texts += [pl.lit(str(type_), TYPES).alias(f"k{i}") for i, type_ in self._types.items()]
        growth = Growth(lambda: self._packed, FLOOR, CELL_GROWTH)
        row = 1
        for frame in _whole(self._scan.select(cells).collect_batches(chunk_size=_BATCH, lazy=True)):
            # a text may be stored once for many cells; the conversion copies it for each
            growth.add(size_of(frame, row.__add__))
            yield frame.select(texts).with_row_index("row", row)
            row += frame.height


def _has_no_text(dtype: pl.DataType) -> bool:
    return dtype.is_nested() or dtype in (pl.Binary, pl.Object)


def _type_of(dtype: pl.DataType) -> CellType | None:
    """Return the type of the cells of a column; None for text, categories and nested values."""
    if isinstance(dtype, pl.Decimal):
        return CellType.FLOAT if dtype.scale else CellType.INTEGER
    found = next((type_ for kind, type_ in _TYPES.items() if dtype == kind), None)
    if found is None and dtype.is_numeric():
        return CellType.FLOAT if dtype.is_float() else CellType.INTEGER
    return found


def _checked_size(source: Path | bytes) -> int:
    """Return the bytes of the file. Raises EditListError if it is damaged, or unpacks to far more than its size."""
    try:
        found = sizes(source)
    except (ValueError, OSError):
        raise _damaged() from None
    if found.columns > MOST_COLUMNS:
        raise too_many_columns()
    if found.twice is not None:
        known = is_known(found.twice)
        raise EditListError(
            f"it has the column {found.twice} twice." if known else "two of its columns have the same name.",
            hint="Export the list again with one of them, or give each its own name.",
        )
    if (growth := found.above()) is not None:
        raise unpacks_to_more(growth)
    return found.packed


def _text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if _has_no_text(dtype):
        return column  # it is null
    if dtype == pl.Duration:
        return column.to_physical().cast(pl.String)
    if dtype not in (pl.Date, pl.Time, pl.Datetime):
        return column.cast(pl.String)
    # polars panics about days outside of the calendar; their number is no date of DICOM
    number = column.to_physical()
    sound = pl.when(number.is_between(*_range_of(dtype))).then(column)
    return pl.coalesce(sound.dt.to_string("iso:strict"), number.cast(pl.String))


def _range_of(dtype: pl.DataType) -> tuple[int, int]:
    """Return the numbers that stand for moments of the years 1 to 9999."""
    if dtype == pl.Time:
        return 0, 86_400 * 10**9 - 1
    day = 1
    if isinstance(dtype, pl.Datetime):
        day = 86_400 * {"ms": 10**3, "us": 10**6, "ns": 10**9}[dtype.time_unit]
    return max(_FIRST_DAY * day, -(2**63)), min((_LAST_DAY + 1) * day - 1, 2**63 - 1)


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
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        pass
    raise _damaged()


def _damaged() -> EditListError:
    return EditListError("the Parquet file is damaged or cut short.", hint="Export the list again.")
