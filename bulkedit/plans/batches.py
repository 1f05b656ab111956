"""Splits edits into batches, so that planning needs no more memory for a longer list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROWS: Final = 2**19  # per batch, about


def by_image_set(edits: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield batches of a frame with image_set_id String. All rows of an image set are in one batch, in frame order.

    A frame without rows is one batch. If the rows of each image set are adjacent, a batch is a slice of the frame,
    which costs no copy.
    """
    count = -(-edits.height // _ROWS)
    if count <= 1:
        yield edits
        return
    image_sets = edits.get_column("image_set_id")
    begins = image_sets.ne_missing(image_sets.shift())
    heads = image_sets.filter(begins)
    if heads.n_unique() == heads.len():
        yield from _stretches(edits, begins.arg_true())
        return
    number = image_sets.hash() % count
    for i in range(count):
        yield edits.filter(number == i)


def _stretches(edits: pl.DataFrame, starts: pl.Series) -> Iterator[pl.DataFrame]:
    """Yield slices of at least `_ROWS` rows, except the last. ``starts``: rows at which a slice may begin."""
    begin = 0
    while begin < edits.height:
        after = int(starts.search_sorted(begin + _ROWS))
        end = int(starts[after]) if after < starts.len() else edits.height
        yield edits.slice(begin, end - begin)
        begin = end


def numbers(rows: pl.DataFrame) -> pl.Series:
    """Number rows 0, 1, 2, … (UInt32) by first appearance; equal rows get one number, and null equals null.

    Equal rows are mostly adjacent in a list, so only the first row of each run is compared with the others.
    """
    runs = rows.select(pl.struct(pl.all()).rle_id()).to_series()
    heads = rows.filter((runs != runs.shift()).fill_null(value=True))
    distinct = heads.unique(maintain_order=True).with_row_index("number")
    if distinct.height == heads.height:
        return runs
    return heads.join(distinct, on=rows.columns, nulls_equal=True, maintain_order="left")["number"].gather(runs)
