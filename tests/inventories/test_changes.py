"""Only what has changed since the last inventory: nothing created or edited is missed; what cannot be seen is said."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import polars as pl
import pytest

from bulkedit.emulator import UNTHROTTLED, ManualClock, Settings, serve
from bulkedit.errors import EXIT_OK, EXIT_USAGE, UsageError
from bulkedit.inventories import folder_of, load, take
from bulkedit.inventories.job import take_inventory
from bulkedit.options.inventory import InventoryOptions
from tests.inventories.hospital import (
    ForgetsToken,
    GoneError,
    InterruptedAfter,
    content,
    fill,
    reader_of,
    searches,
    taken,
)
from tests.inventories.memory_client import STORE, MemoryClient, item
from tests.inventories.test_command import run, words
from tests.inventories.test_take import _rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.client.contract import Client
    from bulkedit.emulator import Emulator

BEGAN = datetime(2026, 1, 2, 12, tzinfo=UTC)


def store(count: int) -> MemoryClient:
    """Image sets that are older than `BEGAN`, one a minute."""
    return MemoryClient(
        [_dated(number, BEGAN - timedelta(days=9) + timedelta(minutes=number)) for number in range(count)]
    )


def _dated(number: int, created: datetime, updated: datetime | None = None, **fields: Any) -> dict[str, Any]:
    return item(number, createdAt=created, updatedAt=updated or created, **fields)


async def inventory(client: Any, path: Path, *, hours: float = 0, **options: Any) -> pl.DataFrame:
    """Take an inventory that begins so many hours after `BEGAN`."""
    reader = reader_of(client)
    reader.clock = type(reader.clock)(epoch=lambda: BEGAN.timestamp() + hours * 3600, sleep=reader.clock.sleep)
    return (await take(reader, path, datastore_id=STORE, **options)).scan().collect()


def grown(shelf: MemoryClient, *, told: bool) -> None:
    """A day passes: edits of old image sets, and new ones. ``told``: whether a new image set has a time of update."""
    later = BEGAN + timedelta(hours=20)
    for number in range(3, 180, 2):
        shelf.items[number] |= {"updatedAt": later, "version": 2}
    new = [_dated(1000 + n, later + timedelta(seconds=n)) for n in range(70)]
    shelf.items += new if told else [{k: v for k, v in one.items() if k != "updatedAt"} for one in new]


@pytest.mark.parametrize("told", [True, False], ids=["new ones count as updated", "new ones do not"])
@pytest.mark.parametrize("inclusive", [True, False], ids=["limits included", "limits excluded"])
async def test_it_equals_a_full_inventory(told: bool, inclusive: bool, tmp_path: Path) -> None:
    shelf, path = store(400), tmp_path / "i.parquet"
    shelf.inclusive = inclusive
    await inventory(shelf, path)
    grown(shelf, told=told)
    shelf.asked = 0
    frame = await inventory(shelf, path, hours=24, changes=True)
    assert shelf.asked <= 7
    assert frame.equals(await inventory(shelf, tmp_path / "full.parquet", hours=24))
    about = load(path, STORE).about
    assert (about["image_sets"], about["new"], about["changed"]) == (470, 70, 89)
    assert about["begun"] == (BEGAN + timedelta(days=1)).isoformat()
    assert about["full_begun"] == BEGAN.isoformat()


async def test_changes_of_changes_go_back_to_the_last_one(tmp_path: Path) -> None:
    shelf, path = store(200), tmp_path / "i.parquet"
    await inventory(shelf, path)
    for day in range(1, 4):
        moment = BEGAN + timedelta(days=day)
        shelf.items.append(_dated(500 + day, moment - timedelta(minutes=1)))
        shelf.items[day] |= {"version": 2, "updatedAt": moment - timedelta(hours=1)}
        shelf.asked = 0
        frame = await inventory(shelf, path, hours=24 * day, changes=True)
        assert shelf.asked == 2
        about = load(path, STORE).about
        assert (about["new"], about["changed"], about["full_begun"]) == (1, 1, BEGAN.isoformat())
    assert frame.equals(await inventory(shelf, tmp_path / "full.parquet"))


async def test_what_was_updated_while_the_last_one_was_read_is_read_now(tmp_path: Path) -> None:
    """By a clock that was 15 minutes late then."""
    shelf, path = store(60), tmp_path / "i.parquet"
    await inventory(shelf, path, hours=0.25)
    shelf.items[5] |= {"version": 2, "updatedAt": BEGAN + timedelta(minutes=1)}
    frame = await inventory(shelf, path, hours=24, changes=True)
    assert frame["version"].to_list().count(2) == 1


async def test_deleted_image_sets_stay_until_a_full_inventory(tmp_path: Path) -> None:
    shelf, path = store(60), tmp_path / "i.parquet"
    await inventory(shelf, path)
    del shelf.items[7]
    assert (await inventory(shelf, path, hours=24, changes=True)).height == 60
    assert (await inventory(shelf, path, hours=48, fresh=True)).height == 59
    assert "full_begun" not in load(path, STORE).about


@pytest.mark.parametrize("pages", [0, 2, 5])
async def test_interrupted_it_goes_on(pages: int, tmp_path: Path) -> None:
    shelf, path = store(400), tmp_path / "i.parquet"
    before = await inventory(shelf, path)
    grown(shelf, told=True)
    gone = InterruptedAfter(cast("Client", shelf), pages)
    with pytest.raises(GoneError):
        await inventory(gone, path, hours=24, changes=True, checkpoint_pages=2)
    assert load(path, STORE).scan().collect().equals(before)
    forgetful = ForgetsToken(cast("Client", shelf), {2})
    frame = await inventory(forgetful, path, hours=24, changes=True, checkpoint_pages=2)
    assert frame.equals(await inventory(shelf, tmp_path / "full.parquet"))
    assert not folder_of(path).exists()


async def test_a_token_that_is_never_taken_is_no_endless_loop(tmp_path: Path) -> None:
    shelf, path = store(400), tmp_path / "i.parquet"
    await inventory(shelf, path)
    grown(shelf, told=True)
    with pytest.raises(Exception, match="does not accept the search"):
        await inventory(ForgetsToken(cast("Client", shelf), set(range(99))), path, hours=24, changes=True)
    assert shelf.asked < 40


async def test_a_file_that_was_replaced_meanwhile_is_left_alone(tmp_path: Path) -> None:
    shelf, path = store(200), tmp_path / "i.parquet"
    await inventory(shelf, path)
    grown(shelf, told=True)
    with pytest.raises(GoneError):
        await inventory(InterruptedAfter(cast("Client", shelf), 1), path, hours=24, changes=True)
    await inventory(shelf, tmp_path / "other.parquet")
    (tmp_path / "other.parquet").rename(path)
    with pytest.raises(UsageError, match="was replaced while its changes were read"):
        await inventory(shelf, path, hours=24, changes=True)


async def test_without_an_inventory_there_are_no_changes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no inventory whose changes could be read"):
        await inventory(store(1), tmp_path / "i.parquet", changes=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "i.parquet").write_text("a list")
    with pytest.raises(UsageError, match="not an inventory"):
        await inventory(store(1), tmp_path / "i.parquet", changes=True)
    for other in ({"fresh": True}, {"source": tmp_path, "condition": "primary"}):
        with pytest.raises(UsageError, match="contradict each other"):
            InventoryOptions(changes=True, **cast("Any", other))


async def test_a_list_of_an_inventory_is_not_taken_for_an_inventory(tmp_path: Path) -> None:
    options = InventoryOptions(source=tmp_path / "i.parquet", condition="primary")
    with pytest.raises(UsageError, match="makes a list of an inventory"):
        await take_inventory(STORE, tmp_path / "o.parquet", options)
    assert list(tmp_path.iterdir()) == []


async def test_the_emulator_tells_the_changes(tmp_path: Path) -> None:
    clock = ManualClock()
    with serve(Settings(scale=UNTHROTTLED), clock=clock) as emulator:
        ids = fill(emulator, 120)
        path = tmp_path / "i.parquet"
        reading = partial(taken, emulator, path, clock=_clock_of(emulator))
        await reading()
        clock.advance(86_400)
        emulator.do(lambda world: _rewrite(world, ids[::40], clock.now()))
        ids.append(emulator.add(content(500)))
        before = searches(emulator)
        snapshot = await reading(changes=True)
        assert (snapshot.about["new"], snapshot.about["changed"]) == (1, 3)
        assert searches(emulator) - before <= 24
        frame = snapshot.scan().collect()
        assert frame["image_set_id"].to_list() == ids
        assert frame.filter(pl.col("version") == 2)["image_set_id"].to_list() == ids[:120:40]


def _clock_of(emulator: Emulator) -> Any:
    from bulkedit.client.reader import Clock

    return Clock(epoch=emulator.clock.now)


def test_the_command_says_what_is_new_and_what_it_cannot_see(emulator: Emulator, tmp_path: Path) -> None:
    fill(emulator, 20)
    path = tmp_path / "i.parquet"
    run(words(emulator, path))
    assert "--changes" in run(words(emulator, path)).stderr
    emulator.add(content(99))
    done = run(words(emulator, path, "--changes"))
    assert done.exit_code == EXIT_OK, done.stderr
    assert "1 image set new, 0 changed. Image sets that were deleted since" in " ".join(done.stdout.split())
    line = json.loads(run(words(emulator, path, "--changes", "--json")).stdout)
    assert (line["image_sets"], line["new"], line["changed"]) == (21, 0, 0)
    assert run(words(emulator, path, "--changes", "--fresh")).exit_code == EXIT_USAGE
