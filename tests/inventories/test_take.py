"""Taking an inventory: complete, in order, within the quota, whatever happens to the data store meanwhile."""

from __future__ import annotations

import itertools
import json
import stat
from typing import TYPE_CHECKING, Any, cast

import anyio
import polars as pl
import pytest

from bulkedit.client.pacing import Rate
from bulkedit.client.reader import ATTEMPTS, Clock
from bulkedit.client.responses import Lost, Page, Refusal, Refused
from bulkedit.emulator import (
    DEFAULT_DATASTORE_ID,
    UNTHROTTLED,
    CompletionTime,
    Fault,
    FaultKind,
    ManualClock,
    Settings,
    profile,
    serve,
)
from bulkedit.errors import (
    AccessError,
    BulkeditError,
    CredentialsError,
    DatastoreError,
    EndpointError,
    UsageError,
)
from bulkedit.inventories import INVENTORY, folder_of, take
from tests.inventories.hospital import (
    NAME,
    ForgetsToken,
    GoneError,
    InterruptedAfter,
    Tallies,
    client_of,
    content,
    fill,
    reader_of,
    searches,
    taken,
)
from tests.inventories.memory_client import CANARY, STORE, MemoryClient, item
from tests.runs.factories import PassThroughClient

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bulkedit.client.contract import Client
    from bulkedit.emulator import Emulator, World
    from bulkedit.inventories import Snapshot


async def test_every_image_set_stands_once_in_the_order_of_creation(emulator: Emulator, tmp_path: Path) -> None:
    ids = fill(emulator, 520)
    tallies = Tallies()
    snapshot = await taken(emulator, tmp_path / "i.parquet", watch=tallies)
    frame = snapshot.scan().collect()
    assert frame["image_set_id"].to_list() == ids
    assert frame.schema == INVENTORY
    assert (snapshot.image_sets, snapshot.pages, snapshot.datastore_id) == (520, 11, emulator.datastore_id)
    assert tallies.seen == [(n, min(520, 50 * n)) for n in range(1, 12)]
    assert searches(emulator) == 11


async def test_a_row_holds_what_search_tells(emulator: Emulator, tmp_path: Path) -> None:
    fill(emulator, 7)
    other = emulator.add(content(6), primary=False, storage_tier="ARCHIVE_INSTANT_ACCESS")
    snapshot = await taken(emulator, tmp_path / "i.parquet")
    row = snapshot.scan().collect().row(by_predicate=pl.col("image_set_id") == other, named=True)
    assert all(row.pop(name) is not None for name in ("family_name_check", "given_name_check"))
    assert row.pop("created_at") == row.pop("updated_at") is not None
    assert row == {
        "image_set_id": other,
        "version": 1,
        "primary": False,
        "storage_tier": "ARCHIVE_INSTANT_ACCESS",
        "study_instance_uid": "1.2.840.1",
        "series_instance_uid": "1.2.840.1.2",
        "accession_number": "CANARYA1",
        "patient_id": "CANARYP0",
        "study_id": "CANARYS1",
        "modality": "CT",
        "series_in_study": 1,
        "instances_in_study": 1,
        "study_date": "20240311",
        "body_part": None,
        "birth_date_check": None,
    }


async def test_an_empty_data_store_is_an_empty_inventory(emulator: Emulator, tmp_path: Path) -> None:
    snapshot = await taken(emulator, tmp_path / "i.parquet")
    assert (snapshot.image_sets, snapshot.pages) == (0, 1)
    assert snapshot.scan().collect().equals(pl.DataFrame(schema=INVENTORY))


@pytest.mark.parametrize("count", [1, 49, 50, 51, 100])
async def test_a_page_more_or_less_makes_no_difference(count: int, tmp_path: Path) -> None:
    shelf = MemoryClient([item(n, second=n) for n in range(count)])
    snapshot = await _take(shelf, tmp_path / "i.parquet", checkpoint_pages=1)
    assert snapshot.scan().collect()["image_set_id"].to_list() == [f"{n:032x}" for n in range(count)]
    assert shelf.asked == snapshot.pages == -(-count // 50)


async def test_parts_become_one_file_in_order(emulator: Emulator, tmp_path: Path) -> None:
    ids = fill(emulator, 510)
    snapshot = await taken(emulator, tmp_path / "i.parquet", checkpoint_pages=3)
    assert snapshot.scan().collect()["image_set_id"].to_list() == ids


async def test_nothing_but_searches_is_sent_and_archived_image_sets_stay_archived(
    emulator: Emulator, tmp_path: Path
) -> None:
    fill(emulator, 120, storage_tier="ARCHIVE_INSTANT_ACCESS")
    snapshot = await taken(emulator, tmp_path / "i.parquet")
    assert {e.action for e in emulator.journal() if e.kind == "request"} == {"SearchImageSets"}
    now = emulator.clock.now()
    tiers = emulator.do(
        lambda world: {s.tier(now) for s in world.datastores[emulator.datastore_id].image_sets.values()}
    )
    assert tiers == {"ARCHIVE_INSTANT_ACCESS"} == set(snapshot.scan().collect()["storage_tier"])


async def test_the_file_is_for_its_owner_and_holds_no_name(emulator: Emulator, tmp_path: Path) -> None:
    fill(emulator, 120)
    path = tmp_path / "i.parquet"
    with pytest.raises(GoneError):
        await taken(emulator, path, wrap=lambda c: InterruptedAfter(c, 2), checkpoint_pages=1)
    folder = folder_of(path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert not any(NAME.encode() in file.read_bytes() for file in files)
    await taken(emulator, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert NAME.encode() not in path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


# the quota


async def test_beyond_the_quota_throttles_are_waited_out_and_counted(tmp_path: Path) -> None:
    with serve(Settings(scale=0.2)) as emulator:  # 5 searches a second, burst 10
        ids = fill(emulator, 600)
        tallies = Tallies()
        snapshot = await taken(emulator, tmp_path / "i.parquet", watch=tallies, rate=Rate(50, 50))
        assert snapshot.scan().collect()["image_set_id"].to_list() == ids
        assert tallies.last.reads.throttled == searches(emulator, status=429) > 0
        assert searches(emulator) == 12


async def test_at_the_quota_nothing_is_throttled(tmp_path: Path) -> None:
    with serve(Settings(scale=0.2)) as emulator:
        fill(emulator, 600)
        snapshot = await taken(emulator, tmp_path / "i.parquet", rate=Rate(5, 9), clock=Clock())
        assert snapshot.image_sets == 600
        assert searches(emulator, status=429) == 0


@pytest.mark.parametrize("kind", [Refusal.THROTTLED, Refusal.TOO_MANY])
async def test_after_throttles_the_next_search_waits_longer_and_an_answer_ends_that(
    tmp_path: Path, kind: Refusal
) -> None:
    """At one search a second: pauses of 1, 2 and 4 s, each with up to a second of jitter; after an answer 1 s again."""
    now = 0.0
    asked: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    class Throttled(MemoryClient):
        async def search(self, *args: Any, **page: Any) -> Page | Refused | Lost:
            asked.append(now)
            if len(asked) in {1, 2, 3, 5}:
                return Refused(kind, "")
            if len(asked) == 7:
                return Refused(kind, "", retry_after_s=30.0)
            return await super().search(*args, **page)

    client = cast("Client", Throttled([item(n) for n in range(150)]))
    clock = Clock(monotonic=lambda: now, sleep=sleep)
    tallies = Tallies()
    path = tmp_path / "i.parquet"
    await take(reader_of(client, Rate(1, 1), clock), path, datastore_id=STORE, watch=tallies, at_once=1)
    waits = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert [int(wait) for wait in waits] == [1, 2, 4, 1, 1, 1, 30]
    assert (tallies.last.reads.throttled, tallies.last.reads.requests) == (5, 8)


# what happens in the data store meanwhile


class Meanwhile(PassThroughClient):
    """Does something to the data store before each search."""

    def __init__(self, inner: Client, act: Callable[[int], object]) -> None:
        super().__init__(inner)
        self.act = act
        self.count = 0

    async def search(self, criteria: dict[str, Any] | None = None, **page: Any) -> Page | Refused | Lost:
        self.act(self.count)
        self.count += 1
        return await self.inner.search(criteria, **page)


async def test_edits_while_paging_lose_and_double_nothing(emulator: Emulator, tmp_path: Path) -> None:
    ids = fill(emulator, 300)

    def edit(count: int) -> None:
        """Image sets before and after the page: in the order of updatedAt they would all move."""
        emulator.do(lambda world: _rewrite(world, ids[(count * 37) % 300 :: 11], emulator.clock.now()))

    snapshot = await taken(emulator, tmp_path / "i.parquet", wrap=lambda c: Meanwhile(c, edit))
    assert snapshot.scan().collect()["image_set_id"].to_list() == ids


def _rewrite(world: World, ids: list[str], now: float) -> None:
    for one in ids:
        world.write_as_another(world.image_set(DEFAULT_DATASTORE_ID, one), now)


async def test_image_sets_created_while_paging_are_found(emulator: Emulator, tmp_path: Path) -> None:
    ids = fill(emulator, 120)

    def add(count: int) -> None:
        if count < 3:
            ids.append(emulator.add(content(1000 + count)))

    snapshot = await taken(emulator, tmp_path / "i.parquet", wrap=lambda c: Meanwhile(c, add))
    assert len(ids) == 123
    assert snapshot.scan().collect()["image_set_id"].to_list() == ids


async def test_what_search_does_not_know_yet_is_missing_until_taken_again(tmp_path: Path) -> None:
    clock = ManualClock()
    with serve(Settings(scale=UNTHROTTLED, search_lag=5), clock=clock) as emulator:
        early = fill(emulator, 60)
        clock.advance(5)
        late = [emulator.add(content(1000 + n)) for n in range(60)]
        path = tmp_path / "i.parquet"
        snapshot = await taken(emulator, path)
        assert snapshot.scan().collect()["image_set_id"].to_list() == early
        clock.advance(5)
        snapshot = await taken(emulator, path, fresh=True)
        assert snapshot.scan().collect()["image_set_id"].to_list() == early + late


# faults


@pytest.mark.parametrize(
    "kind",
    [FaultKind.DROP_BEFORE, FaultKind.DROP_AFTER, FaultKind.ERROR_BEFORE, FaultKind.ERROR_AFTER, FaultKind.THROTTLE],
    ids=str,
)
async def test_faults_on_the_way_change_nothing_in_the_file(kind: FaultKind, tmp_path: Path) -> None:
    faults = (Fault(kind=kind, rate=0.3, action="SearchImageSets"),)
    with serve(Settings(scale=UNTHROTTLED, faults=faults, seed=3)) as emulator:
        ids = fill(emulator, 550)
        tallies = Tallies()
        snapshot = await taken(emulator, tmp_path / "i.parquet", watch=tallies)
        assert snapshot.scan().collect()["image_set_id"].to_list() == ids
        assert (tallies.last.reads.throttled if kind is FaultKind.THROTTLE else tallies.last.reads.faults) > 0


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(kind=FaultKind.EXPIRED, skip=2), CredentialsError),
        (Fault(kind=FaultKind.DENIED, skip=2), AccessError),
        (Fault(kind=FaultKind.ERROR_BEFORE, skip=2), EndpointError),
        (Fault(kind=FaultKind.CONFLICT, skip=2), EndpointError),
    ],
    ids=["expired", "denied", "500 for ever", "409 for ever"],
)
async def test_what_cannot_succeed_ends_with_its_error_and_goes_on_later(
    fault: Fault, error: type[BulkeditError], tmp_path: Path
) -> None:
    with serve(Settings(scale=UNTHROTTLED, faults=(fault,))) as emulator:
        ids = fill(emulator, 210)
        with pytest.raises(error) as raised:
            await taken(emulator, tmp_path / "i.parquet")
        assert CANARY not in str(raised.value)
        assert len(emulator.journal()) - 2 - len(ids) in {1, ATTEMPTS}
        emulator.server.faults.clear()
        snapshot = await taken(emulator, tmp_path / "i.parquet")
        assert snapshot.scan().collect()["image_set_id"].to_list() == ids
        assert searches(emulator) == 5


@pytest.mark.parametrize(
    ("answer", "error"), [("not-found", DatastoreError), ("access-denied", AccessError)], ids=["404", "403"]
)
async def test_an_unknown_data_store_is_said(answer: str, error: type[BulkeditError], tmp_path: Path) -> None:
    settings = Settings(scale=UNTHROTTLED, profile=profile("2026", unknown_datastore=answer))
    with serve(settings) as emulator:
        async with client_of(emulator, STORE) as client:
            with pytest.raises(error):
                await take(reader_of(client), tmp_path / "i.parquet", datastore_id=STORE)


async def test_a_data_store_id_of_the_wrong_form_is_said(emulator: Emulator, tmp_path: Path) -> None:
    async with client_of(emulator, "no-id") as client:
        with pytest.raises(DatastoreError, match="does not accept the search"):
            await take(reader_of(client), tmp_path / "i.parquet", datastore_id="no-id")


async def test_answers_that_cannot_be_read_are_no_image_sets(tmp_path: Path) -> None:
    shelf = MemoryClient([item(1), {"version": 1}])
    with pytest.raises(EndpointError, match="unreadable answer"):
        await _take(shelf, tmp_path / "i.parquet")
    assert shelf.asked == ATTEMPTS


async def test_a_token_that_leads_nowhere_is_no_endless_loop(tmp_path: Path) -> None:
    class Stuck(MemoryClient):
        async def search(self, *_args: Any, **_page: Any) -> Page:
            return Page([item(1)], "again")

    with pytest.raises(EndpointError, match="same page"):
        await _take(Stuck([]), tmp_path / "i.parquet")


# odd items


@pytest.mark.parametrize(
    ("fields", "column", "value"),
    [
        ({"version": None}, "version", None),
        ({"version": "3"}, "version", None),
        ({"version": 2**40}, "version", None),
        ({"isPrimary": None}, "primary", None),
        ({"storageTier": None}, "storage_tier", None),
        ({"createdAt": None}, "created_at", None),
        ({"createdAt": "yesterday"}, "created_at", None),
        ({"DICOMTags": None}, "patient_id", None),
        ({"DICOMTags": {"DICOMPatientId": 7}}, "patient_id", None),
        ({"DICOMTags": {"DICOMPatientId": "A1 "}}, "patient_id", "A1 "),
        ({"DICOMTags": {"DICOMPatientId": ""}}, "patient_id", ""),
        ({"DICOMTags": {"DICOMPatientId": "\ud800Ä\n\0"}}, "patient_id", "?Ä\n\0"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
async def test_what_an_item_lacks_is_null_and_text_stands_as_served(
    fields: dict[str, Any], column: str, value: object, tmp_path: Path
) -> None:
    shelf = MemoryClient([item(1), item(2, **fields)])
    snapshot = await _take(shelf, tmp_path / "i.parquet")
    assert snapshot.scan().collect()[column].to_list()[1] == value


async def test_times_keep_their_microseconds(tmp_path: Path) -> None:
    shelf = MemoryClient([item(1, second=0.123456), item(2, createdAt=1_700_000_001.908)])
    frame = (await _take(shelf, tmp_path / "i.parquet")).scan().collect()
    assert frame["created_at"].dt.epoch("us").to_list() == [1_700_000_000_123_456, 1_700_000_001_908_000]


# a token that the service no longer takes


@pytest.mark.parametrize("step", [0.0, 0.003, 0.4, 60.0], ids=["all at once", "densely", "slowly", "a minute apart"])
async def test_without_its_token_paging_goes_on_from_the_last_second_and_doubles_nothing(
    step: float, tmp_path: Path
) -> None:
    clock = ManualClock()
    with serve(Settings(scale=UNTHROTTLED), clock=clock) as emulator:
        ids = []
        for number in range(410):
            ids.append(emulator.add(content(number)))
            clock.advance(step)
        path = tmp_path / "i.parquet"
        snapshot = await taken(emulator, path, wrap=lambda c: ForgetsToken(c, {3, 7, 9}), checkpoint_pages=2)
        assert snapshot.scan().collect()["image_set_id"].to_list() == ids
        if step == 60.0:
            assert searches(emulator) <= 9 + 3


async def test_without_times_of_creation_paging_begins_anew(tmp_path: Path) -> None:
    shelf = MemoryClient([item(n, second=None if n == 70 else n) for n in range(330)])
    forgetful = cast("MemoryClient", ForgetsToken(cast("Client", shelf), {4}))
    snapshot = await _take(forgetful, tmp_path / "i.parquet", checkpoint_pages=2)
    assert sorted(snapshot.scan().collect()["image_set_id"]) == [f"{n:032x}" for n in range(330)]
    assert shelf.asked == 3 + 7


async def test_an_image_set_earlier_than_the_one_before_makes_the_pages_unordered(tmp_path: Path) -> None:
    shelf = MemoryClient([item(n, second=1 if n == 70 else n) for n in range(330)])
    forgetful = cast("MemoryClient", ForgetsToken(cast("Client", shelf), {4}))
    snapshot = await _take(forgetful, tmp_path / "i.parquet", checkpoint_pages=2)
    assert sorted(snapshot.scan().collect()["image_set_id"]) == [f"{n:032x}" for n in range(330)]
    assert shelf.asked == 3 + 7


async def test_tokens_that_are_never_taken_end_with_an_error(tmp_path: Path) -> None:
    shelf = MemoryClient([item(n) for n in range(120)])  # all of one second: no way past it without a token
    forgetful = cast("MemoryClient", ForgetsToken(cast("Client", shelf), set(range(1000))))
    with pytest.raises(DatastoreError, match="does not accept the search"):
        await _take(forgetful, tmp_path / "i.parquet")
    assert shelf.asked == 1 + 3


async def test_a_service_that_lists_an_image_set_on_two_pages_adds_none(tmp_path: Path) -> None:
    items = [item(n, second=n // 100) for n in range(90)]
    shelf = MemoryClient([*items[:50], *items[48:]])
    snapshot = await _take(shelf, tmp_path / "i.parquet")
    assert snapshot.image_sets == 90
    assert snapshot.scan().collect()["image_set_id"].n_unique() == 90


# files


async def test_a_file_that_is_there_is_left_alone(emulator: Emulator, tmp_path: Path) -> None:
    fill(emulator, 3)
    path = tmp_path / "i.parquet"
    await taken(emulator, path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="this file exists already") as raised:
        await taken(emulator, path)
    assert "`fresh=True`" in str(raised.value)
    assert (path.read_bytes(), searches(emulator)) == (before, 1)


async def test_fresh_replaces_an_inventory_and_nothing_else(emulator: Emulator, tmp_path: Path) -> None:
    fill(emulator, 3)
    path = tmp_path / "i.parquet"
    await taken(emulator, path)
    emulator.add(content(9))
    assert (await taken(emulator, path, fresh=True)).image_sets == 4
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "list.parquet")
    (tmp_path / "list.csv").write_text("a,b\n1,2\n")
    for name in ("list.parquet", "list.csv"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(UsageError, match="this is not an inventory"):
            await taken(emulator, tmp_path / name, fresh=True)
        assert (tmp_path / name).read_bytes() == before


async def test_a_folder_that_cannot_be_written_is_said(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        await taken(emulator, tmp_path / "file" / "i.parquet")


async def test_two_at_once_do_not_mix(emulator: Emulator, tmp_path: Path) -> None:
    ids = fill(emulator, 200)
    path = tmp_path / "i.parquet"
    second: list[BulkeditError] = []

    class Rival(PassThroughClient):
        async def search(self, criteria: dict[str, Any] | None = None, **page: Any) -> Page | Refused | Lost:
            with pytest.raises(UsageError, match="another process") as raised:
                await taken(emulator, path)
            second.append(raised.value)
            return await self.inner.search(criteria, **page)

    snapshot = await taken(emulator, path, wrap=Rival)
    assert len(second) == 4
    assert snapshot.scan().collect()["image_set_id"].to_list() == ids


async def test_a_cancelled_call_lets_go_at_once(tmp_path: Path) -> None:
    with serve(
        Settings(
            scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0), faults=(Fault(kind=FaultKind.SLOW, skip=2),)
        )
    ) as slow:
        ids = fill(slow, 200)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(taken, slow, tmp_path / "i.parquet")
            while searches(slow) < 3:  # the third is carried out, and its answer does not come
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        slow.server.faults.clear()
        snapshot = await taken(slow, tmp_path / "i.parquet")
        assert snapshot.scan().collect()["image_set_id"].to_list() == ids
        assert searches(slow) == 5  # of four pages: the one on its way was asked for twice


async def _take(shelf: MemoryClient, path: Path, **options: Any) -> Snapshot:
    """In one window: its pages are known."""
    return await take(reader_of(shelf), path, datastore_id=STORE, at_once=1, **options)


def test_a_refusal_never_brings_its_words_along() -> None:
    from bulkedit.inventories.search import _refused, refused_search

    for kind in Refusal:
        refused = Refused(kind, "SomeException", f"the service quotes {CANARY}")
        for error in (_refused(refused), refused_search(refused)):
            assert CANARY not in str(error)
