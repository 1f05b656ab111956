"""Edits in batches that can be worked on one after another, so that the memory of the work does not grow with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

_ROWS: Final = 2**19  # of a batch, about


def by_image_set(edits: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows of a frame with image_set_id String, those of one image set together, each batch in the frame's order.

    A frame without rows is one batch.
    """
    count = -(-edits.height // _ROWS)
    if count <= 1:
        yield edits
        return
    number = edits.get_column("image_set_id").hash() % count
    for i in range(count):
        yield edits.filter(number == i)
