"""Several windows of creation at once: each image set once, whatever its time, and whatever the service does."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkedit.client.pacing import Rate
from bulkedit.client.reader import Clock
from bulkedit.client.responses import Lost, Page, Refused
from bulkedit.inventories import INVENTORY, take
from bulkedit.inventories.frame import Row, row_of
from bulkedit.inventories.windows import SECOND, CreationWindow, largest
from tests.inventories.hospital import ForgetsToken, GoneError, InterruptedAfter, Tallies, reader_of
from tests.inventories.memory_client import STORE, MemoryClient, item
from tests.runs.virtual_time import run_virtual

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from bulkedit.client.contract import Client


class Store(MemoryClient):
    """Answers in any order, and keeps how many searches are under way."""

    now = most = 0
    delay = 0.0

    async def search(self, criteria: dict[str, Any] | None = None, **page: Any) -> Page | Refused | Lost:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(self.asked * 7 % 5):
            await anyio.lowlevel.checkpoint()
        await anyio.sleep(self.delay)
        try:
            return await super().search(criteria, **page)
        finally:
            self.now -= 1


async def whole(store: MemoryClient, path: Path, **options: Any) -> pl.DataFrame:
    return (await take(reader_of(store), path, datastore_id=STORE, **options)).scan().collect()


def stored(seconds: list[float]) -> list[dict[str, Any]]:
    return [item(number, second=second) for number, second in enumerate(sorted(seconds))]


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [one["imageSetId"] for one in items]


UNEVEN = [
    *(n * 3600.0 for n in range(100)),  # one an hour
    *(400_000 + n * 0.01 for n in range(900)),  # an import of nine seconds
    *(500_000.0 for _ in range(170)),  # one instant
    *(600_000 + n * 86_400 for n in range(60)),
    *(600_000 + n * 0.5 for n in range(400)),  # on each limit of a second, and between
]


@pytest.mark.parametrize("inclusive", [True, False], ids=["limits included", "limits excluded"])
async def test_each_image_set_is_there_once_in_order(inclusive: bool, tmp_path: Path) -> None:
    store = Store(stored(UNEVEN), inclusive=inclusive)
    frame = await whole(store, tmp_path / "i.parquet", checkpoint_pages=4)
    assert frame.schema == INVENTORY
    assert frame["image_set_id"].to_list() == ids(store.items)
    assert store.most > 4
    assert store.asked <= 2 * (16 + len(store.items) / 50)


@settings(max_examples=10, deadline=None)
@given(
    data=st.lists(
        st.tuples(st.integers(0, 40), st.integers(1, 90), st.sampled_from([0.0, 0.25, 0.999, 1.0])), max_size=8
    ),
    inclusive=st.booleans(),
    seed=st.integers(0, 99),
)
def test_whatever_the_times_are(
    data: list[tuple[int, int, float]], inclusive: bool, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Groups of image sets (second, count, seconds between them); tokens are forgotten at random."""
    store = Store(
        stored([begin * 10 + n * step for begin, count, step in data for n in range(count)]), inclusive=inclusive
    )
    forgetful = ForgetsToken(cast("Client", store), set(random.Random(seed).sample(range(60), 2)))
    path = tmp_path_factory.mktemp("w") / "i.parquet"
    frame = anyio.run(partial(whole, cast("MemoryClient", forgetful), path, checkpoint_pages=2))
    assert frame["image_set_id"].to_list() == ids(store.items)


class Growing(Store):
    """New image sets come while it is read, some in seconds that have been read already."""

    async def search(self, criteria: dict[str, Any] | None = None, **page: Any) -> Page | Refused | Lost:
        if self.asked % 2 == 0 and len(self.items) < 3000:
            newest = self.items[-1]["createdAt"]
            self.items += [
                item(len(self.items) + n) | {"createdAt": newest + timedelta(seconds=0.1 * n)} for n in range(20)
            ]
        return await super().search(criteria, **page)


async def test_image_sets_that_are_created_meanwhile_are_found(tmp_path: Path) -> None:
    store = Growing(stored(UNEVEN))
    frame = await whole(store, tmp_path / "i.parquet")
    assert len(store.items) > len(UNEVEN) + 500
    assert frame["image_set_id"].to_list() == ids(store.items[: frame.height])
    assert len(store.items) - frame.height <= 20  # created after the last page


@pytest.mark.parametrize("checkpoint_pages", [5, 1000])
async def test_interrupted_again_and_again(checkpoint_pages: int, tmp_path: Path) -> None:
    store = Store(stored(UNEVEN))
    for _ in range(4):
        gone = cast("MemoryClient", InterruptedAfter(cast("Client", store), 5))
        with pytest.raises(GoneError):
            await whole(gone, tmp_path / "i.parquet", checkpoint_pages=checkpoint_pages)
    frame = await whole(store, tmp_path / "i.parquet", checkpoint_pages=checkpoint_pages)
    assert frame["image_set_id"].to_list() == ids(store.items)


async def test_an_image_set_without_a_time_of_creation_is_not_lost(tmp_path: Path) -> None:
    class Forgetful(Store):
        """Sorts by a time of creation that it does not tell."""

        async def search(self, criteria: dict[str, Any] | None = None, **page: Any) -> Page | Refused | Lost:
            found = await super().search(criteria, **page)
            assert isinstance(found, Page)
            told = [
                {k: v for k, v in one.items() if k != "createdAt" or "7f" not in str(one["imageSetId"])}
                for one in found.items
            ]
            return Page(told, found.next_token)

    store = Forgetful(stored(UNEVEN))
    tallies = Tallies()
    frame = await whole(store, tmp_path / "i.parquet", watch=tallies)
    assert sorted(frame["image_set_id"]) == sorted(ids(store.items))
    assert frame["created_at"].null_count() > 0
    assert any(later < earlier for (_, earlier), (_, later) in zip(tallies.seen, tallies.seen[1:], strict=False))


async def test_image_sets_that_are_not_in_order_are_not_lost(tmp_path: Path) -> None:
    items = stored(UNEVEN)
    items[700], items[1400] = items[1400], items[700]
    store = Store(items)
    frame = await whole(store, tmp_path / "i.parquet")
    assert sorted(frame["image_set_id"]) == sorted(ids(items))


class Minutely(Store):
    """An image set a minute, found without a look at the others; each answer takes 200 ms."""

    count = 20_000

    async def search(self, criteria: dict[str, Any] | None = None, **page: Any) -> Page:
        criteria = criteria or {}
        self.asked += 1
        await anyio.sleep(0.2)
        if criteria["sort"]["sortOrder"] == "DESC":
            return Page([self._item(self.count - 1 - n) for n in range(50)], "50")
        begins = [one["values"][0]["createdAt"].timestamp() - 1_700_000_000 for one in criteria.get("filters", [])]
        first = int(page["next_token"] or max(0, -(-begins[0] // 60) if begins else 0))
        end = min(first + 50, self.count)
        return Page([self._item(n) for n in range(first, end)], str(end) if end < self.count else None)

    @staticmethod
    def _item(number: int) -> dict[str, Any]:
        return item(number, second=60 * number)


def test_nine_tenths_of_the_quota_are_used_at_200_ms(tmp_path: Path) -> None:
    async def run() -> float:
        store = Minutely([])
        reader = reader_of(store, Rate(25, 1), Clock())
        began = anyio.current_time()
        snapshot = await take(reader, tmp_path / "i.parquet", datastore_id=STORE)
        assert snapshot.image_sets == store.count
        assert store.asked <= 1.1 * store.count / 50
        return store.count / 50 / (anyio.current_time() - began)

    assert 0.9 * 25 <= run_virtual(run()) <= 25


def test_a_window_is_divided_at_a_second_between_what_was_read_and_its_end() -> None:
    window = CreationWindow(0, begin=10 * SECOND, end=20 * SECOND, last=12 * SECOND + 5, per_page=SECOND // 10)
    assert largest([window]) is window
    assert window.middle() == 16 * SECOND
    assert CreationWindow(0, begin=10 * SECOND, end=12 * SECOND, last=11 * SECOND, per_page=1).middle() is None
    assert largest([CreationWindow(0, begin=0, end=100 * SECOND, per_page=50 * SECOND)]) is None  # two pages are left


def test_a_window_owns_what_was_created_from_its_begin_to_before_its_end() -> None:
    window = CreationWindow(0, begin=10 * SECOND, end=20 * SECOND)

    def at(micros: int) -> Row:
        return row_of({"imageSetId": "a", "createdAt": datetime.fromtimestamp(0, UTC) + timedelta(microseconds=micros)})

    owned = [window.owns(at(time)) for time in (10 * SECOND - 1, 10 * SECOND, 20 * SECOND - 1, 20 * SECOND)]
    assert owned == [False, True, True, False]
