"""Sorts image sets by time of creation in bounded memory: slab by slab of that time, through files.

polars sorts a frame as a whole in memory: about 400 bytes for each image set.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.inventories.folder import sorted_name, write_parquet

if TYPE_CHECKING:
    from pathlib import Path

SLAB: Final = 500_000  # image sets


def sorted_by_creation(frame: pl.LazyFrame, folder: Path, *, then: str | None = None, slab: int = SLAB) -> pl.LazyFrame:
    """Return ``frame`` (with ``created_at``) by time of creation; equal ones by ``then``, or as they are.

    A frame of more than ``slab`` rows is written to files in ``folder`` first. ``frame`` is read once for each of them,
    so it should be a scan of files.
    """
    times = frame.select("created_at").collect(engine="streaming").to_series().drop_nulls().sort()
    limits = [times[place] for place in range(slab, len(times), slab)]
    by = ["created_at"] if then is None else ["created_at", then]

    def ordered(part: pl.LazyFrame) -> pl.LazyFrame:
        return part.sort(by, nulls_last=[False, True][: len(by)], maintain_order=True)

    if not limits:
        return ordered(frame)
    paths = []
    for number, (begin, end) in enumerate(pairwise([None, *dict.fromkeys(limits), None])):
        early = pl.lit(value=True) if end is None else pl.col("created_at").lt(end).fill_null(value=True)
        late = pl.lit(value=True) if begin is None else pl.col("created_at").ge(begin).fill_null(value=False)
        paths.append(folder / sorted_name(number))
        write_parquet(ordered(frame.filter(early & late)), paths[-1])
    return pl.scan_parquet(paths, glob=False)
