"""Image sets that a list names by id are found by their time of creation, without reading metadata."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from bulkedit.client.pacing import Operation
from bulkedit.client.reader import Reader
from bulkedit.client.responses import ImageSet, ImageSetState, Page, Refusal, Refused
from bulkedit.inventories import INVENTORY, Lookup, SearchCounters, lookup_ids
from bulkedit.inventories.by_id import windows
from tests.inventories.hospital import FAST, HASTY, client_of, fill
from tests.inventories.memory_client import item

if TYPE_CHECKING:
    from bulkedit.emulator import Emulator

S = 1_000_000


@dataclass
class TimedStore:
    """A data store of one image set every ten seconds; those with an odd number are not primary."""

    count: int
    asked: list[str] = field(default_factory=list)
    pages: int = 0
    begun: float = 1_700_000_000.0

    def items(self) -> list[dict[str, Any]]:
        return [item(n, second=10 * n, isPrimary=n % 2 == 0) for n in range(self.count)]

    async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused:
        del version
        self.asked.append(image_set_id)
        number = int(image_set_id, 16)
        if number >= self.count:
            return Refused(Refusal.NOT_FOUND, "ResourceNotFoundException", "")
        created = self.begun + 10 * number
        return ImageSet(
            image_set_id=image_set_id,
            version=1,
            state=ImageSetState.ACTIVE,
            status="CREATED",
            created_at=created,
            primary=number % 2 == 0,
        )

    async def search(
        self, criteria: dict[str, Any] | None = None, *, limit: int = 50, next_token: str | None = None
    ) -> Page:
        self.pages += 1
        spans = [[one["createdAt"] for one in each["values"]] for each in (criteria or {}).get("filters", [])]
        found = [one for one in self.items() if all(a <= one["createdAt"] <= b for a, b in spans)]
        start = int(next_token or 0)
        return Page(found[start : start + limit], str(start + limit) if start + limit < len(found) else None)


def nothing() -> Lookup:
    return Lookup(pl.DataFrame(schema=INVENTORY), "none", SearchCounters(), whole_studies=False)


async def found_in(store: TimedStore, *numbers: int, found: Lookup | None = None) -> Lookup:
    client: Any = store
    reader = Reader(client, {Operation.SEARCH: FAST, Operation.GET: FAST}, random.Random(1), HASTY)
    return await lookup_ids(reader, found or nothing(), [f"{n:032x}" for n in numbers])


async def test_of_a_small_data_store_all_pages_are_read() -> None:
    store = TimedStore(90)
    found = await found_in(store, *range(0, 10, 2))
    assert (found.source, found.whole_studies, found.inventory.height) == ("pages", True, 90)
    assert (store.pages, store.asked) == (2, [])


async def test_in_a_large_data_store_image_sets_are_found_by_their_time_of_creation() -> None:
    store = TimedStore(1000)
    found = await found_in(store, 500, 998, 33, 5000)
    assert found.source == "searches"
    assert not found.whole_studies
    primary = {int(i, 16): p for i, p in found.inventory.select("image_set_id", "primary").rows()}
    assert primary == {500: True, 998: True, 33: False}
    assert store.pages == 1 + 2  # one of all, and one for each primary image set
    assert found.inventory.filter("primary")["patient_id"].to_list() == ["CANARY500", "CANARY998"]
    assert found.inventory.schema == INVENTORY


async def test_what_is_known_is_not_asked_for() -> None:
    store = TimedStore(1000)
    known = await found_in(store, 500)
    store.asked.clear()
    again = await found_in(store, 500, 502, found=known)
    assert store.asked == [f"{502:032x}"]
    assert again.inventory.height == 2
    assert await found_in(store, 500, found=known) is known


async def test_searches_end_when_too_much_was_created_at_once(emulator: Emulator) -> None:
    """Within one second: the pages of that second are not all read."""
    ids = fill(emulator, 300)
    async with client_of(emulator) as client:
        reader = Reader(client, {Operation.SEARCH: FAST, Operation.GET: FAST}, random.Random(1), HASTY)
        found = await lookup_ids(reader, nothing(), ids[:2])
    assert found.counters.pages <= 1 + 2 * 2
    assert found.inventory.height <= 300


@pytest.mark.parametrize(
    ("created", "spans"),
    [
        ([], []),
        ([5 * S], [(4 * S, 6 * S)]),
        ([9 * S, 5 * S], [(4 * S, 6 * S), (8 * S, 10 * S)]),
        ([5 * S, 5 * S, 7 * S, 8 * S, 11 * S], [(4 * S, 9 * S), (10 * S, 12 * S)]),
    ],
)
def test_windows_hold_each_time_once(created: list[int], spans: list[tuple[int, int]]) -> None:
    assert windows(created) == spans
