"""Files of frames: errors of writing, and checks of files that may come from another person."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import polars as pl
from polars.exceptions import PolarsError

from bulkedit._files import not_written
from bulkedit._received import CHANGED, require_file
from bulkedit.errors import BulkeditError, ReceivedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# errors of a write if the disk is full or missing; polars wraps some of them
NOT_WRITTEN: Final = (OSError, PolarsError)


@contextlib.contextmanager
def writing(what: str, target: Path, *, error: type[BulkeditError] = UsageError) -> Iterator[None]:
    """Raise an error if the block cannot write. ``what``: for example "the plan".

    It is ``error`` if the path is at fault, and StorageError if the disk is, for example because it is full.
    """
    try:
        yield
    except NOT_WRITTEN as cause:
        raise not_written(what, target, cause, of_the_path=error) from cause


def parquet(path: Path, schema: pl.Schema) -> pl.LazyFrame:
    """Scan a Parquet file that must have exactly these columns. Raises ReceivedError."""
    try:
        require_file(path)
        found = pl.read_parquet_schema(path)
    except FileNotFoundError as error:
        raise ReceivedError("this file is missing.", where=str(path), likely=CHANGED) from error
    except PolarsError as error:
        raise damaged(path) from error
    if found != schema:
        raise ReceivedError("its columns are not those of bulkedit.", where=str(path), likely=CHANGED)
    return pl.scan_parquet(path, glob=False)


def damaged(path: Path) -> ReceivedError:
    """Return the error for a Parquet file that cannot be read."""
    return ReceivedError("this is not a Parquet file, or it is damaged.", where=str(path), likely=CHANGED)
