"""By time of creation, slab by slab: as one sort would do it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest

from bulkedit.inventories.sorting import sorted_by_creation

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("then", [None, "place"])
@pytest.mark.parametrize("slab", [1, 7, 100, 1000])
@pytest.mark.parametrize("different", [1, 3, 60])
def test_slabs_give_what_one_sort_gives(then: str | None, slab: int, different: int, tmp_path: Path) -> None:
    rng = random.Random(4)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    times = [begin + timedelta(seconds=rng.randrange(different)) for _ in range(300)]
    times[::50] = [None] * 6  # type: ignore[list-item]
    places = [None if n % 9 == 0 else n for n in rng.sample(range(300), 300)]
    frame = pl.DataFrame({"created_at": times, "number": range(300), "place": places})
    by = ["created_at"] if then is None else ["created_at", then]
    wanted = frame.sort(by, nulls_last=[False, True][: len(by)], maintain_order=True)
    found = sorted_by_creation(frame.lazy(), tmp_path, then=then, slab=slab).collect()
    assert found.equals(wanted)
    assert bool(list(tmp_path.glob("sorted-*.parquet"))) is (slab < 300)
