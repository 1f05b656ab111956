"""GoneError at any instant, an inventory goes on where it stopped, and comes out the same.

GoneError are: the next answer (the call ends), the process at each of its steps on the file system, and the write of
a page at each of its bytes.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from bulkedit.errors import ReceivedError, UsageError
from bulkedit.inventories import INVENTORY, folder_of, load, take
from tests.inventories.hospital import ForgetsToken, GoneError, InterruptedAfter, fill, reader_of, searches, taken
from tests.inventories.kill_points import CHECKPOINT_PAGES, COUNT, Counted, store_of_530
from tests.inventories.memory_client import STORE, MemoryClient, item

if TYPE_CHECKING:
    import polars as pl

    from bulkedit.client.contract import Client
    from bulkedit.emulator import Emulator

PAGES = -(-COUNT // 50)
MOST_SEARCHES = 3 * PAGES  # a page that windows share, one of each window again after a kill, and where the last one is
ROOT = Path(__file__).parents[2]


async def test_after_any_page_the_next_call_goes_on_and_asks_for_one_page_again(
    emulator: Emulator, tmp_path: Path
) -> None:
    ids = fill(emulator, 510)
    whole = (await taken(emulator, tmp_path / "whole.parquet")).scan().collect()
    assert whole["image_set_id"].to_list() == ids
    for pages in range(11):
        path = tmp_path / f"after-{pages}.parquet"
        before = searches(emulator)
        with pytest.raises(GoneError):
            await taken(emulator, path, wrap=partial(InterruptedAfter, pages=pages), checkpoint_pages=4, at_once=1)
        assert not path.exists()
        snapshot = await taken(emulator, path, checkpoint_pages=4, at_once=1)
        assert snapshot.scan().collect().equals(whole)
        assert (snapshot.pages, snapshot.image_sets) == (11, 510)
        assert searches(emulator) - before == 11 + 1


async def test_interrupted_after_every_single_page(emulator: Emulator, tmp_path: Path) -> None:
    ids = fill(emulator, 510)
    path = tmp_path / "i.parquet"
    for _ in range(10):
        with pytest.raises(GoneError):
            await taken(emulator, path, wrap=lambda c: InterruptedAfter(c, 1), checkpoint_pages=3, at_once=1)
    snapshot = await taken(emulator, path, at_once=1)
    assert snapshot.scan().collect()["image_set_id"].to_list() == ids
    assert searches(emulator) == 11 + 10


async def test_a_token_that_has_expired_meanwhile_doubles_and_loses_nothing(emulator: Emulator, tmp_path: Path) -> None:
    ids = fill(emulator, 510)
    path = tmp_path / "i.parquet"
    with pytest.raises(GoneError):
        await taken(emulator, path, wrap=lambda c: InterruptedAfter(c, 5), checkpoint_pages=2)
    with pytest.raises(GoneError):  # after it has begun again, and before anything new has come
        await taken(emulator, path, wrap=lambda c: InterruptedAfter(ForgetsToken(c, {1}), 2))
    snapshot = await taken(emulator, path, wrap=lambda c: ForgetsToken(c, {1, 6}))
    assert snapshot.scan().collect()["image_set_id"].to_list() == ids


def crash(path: Path, step: int, *options: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "tests.inventories.kill_points", str(path), str(step), *options]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


async def _whole(path: Path) -> pl.DataFrame:
    snapshot = await take(reader_of(store_of_530()), path, datastore_id=STORE)
    return snapshot.scan().collect()


@pytest.mark.parametrize("stride", [23, pytest.param(1, marks=pytest.mark.slow)])
async def test_a_process_that_dies_at_any_step_leaves_what_the_next_one_needs(stride: int, tmp_path: Path) -> None:
    whole = await _whole(tmp_path / "whole.parquet")
    deaths = 0
    for step in range(1, 1000, stride):
        path = tmp_path / f"{step}.parquet"
        died = crash(path, step)
        if died.returncode == 0:
            break
        assert died.returncode == 9, died.stderr
        deaths += 1
        await _goes_on(path, whole)
    assert deaths > 30 // stride


async def _goes_on(path: Path, whole: pl.DataFrame) -> None:
    store = Counted(Path(f"{path}.asked"))
    if path.exists() and not _has_state(path):
        assert load(path, STORE).scan().collect().equals(whole)  # it died at its very last steps
        with pytest.raises(UsageError, match="this file exists already"):
            await take(reader_of(store), path, datastore_id=STORE)
    else:
        snapshot = await take(reader_of(store), path, datastore_id=STORE, checkpoint_pages=CHECKPOINT_PAGES)
        assert snapshot.scan().collect().equals(whole)
        assert snapshot.image_sets == COUNT
    assert not folder_of(path).exists()
    assert store.path.stat().st_size <= MOST_SEARCHES


def _has_state(path: Path) -> bool:
    return (folder_of(path) / "state.json").exists()


@pytest.mark.slow
async def test_a_process_that_dies_again_and_again(tmp_path: Path) -> None:
    whole = await _whole(tmp_path / "whole.parquet")
    for step in (20, 23, 26, 29, 32, 35):  # enough for the last steps to be reached from the one before
        path = tmp_path / f"{step}.parquet"
        for _ in range(40):
            if crash(path, step).returncode == 0:
                break
            if path.exists() and not _has_state(path):
                break
        assert load(path, STORE).scan().collect().equals(whole)


async def test_a_page_cut_short_at_any_byte_is_asked_for_again(tmp_path: Path) -> None:
    items = [item(n, second=n) for n in range(53)]
    whole = await _take(MemoryClient(items), tmp_path / "whole.parquet")
    path = tmp_path / "i.parquet"
    log = folder_of(path) / "pages-00000.jsonl"
    with pytest.raises(GoneError):
        await _take(_interrupted(MemoryClient(items), 1), path)
    text = log.read_bytes()
    assert text.count(b"\n") == 1
    state = (folder_of(path) / "state.json").read_bytes()
    for cut in (*range(0, len(text), 97), len(text) - 2, len(text) - 1):
        for tail in (b"", b"\0" * 9):
            folder_of(path).mkdir(exist_ok=True)
            log.write_bytes(text[:cut] + tail)
            (folder_of(path) / "state.json").write_bytes(state)
            store = MemoryClient(items)
            assert (await _take(store, path)).equals(whole)
            assert store.asked == 2
            path.unlink()


async def test_what_comes_after_a_page_cut_short_is_kept(tmp_path: Path) -> None:
    items = [item(n, second=n) for n in range(170)]
    path, store = tmp_path / "i.parquet", MemoryClient(items)
    with pytest.raises(GoneError):
        await _take(_interrupted(store, 1), path)
    log = folder_of(path) / "pages-00000.jsonl"
    log.write_bytes(log.read_bytes()[:-9])
    with pytest.raises(GoneError):
        await _take(_interrupted(store, 2), path)
    assert (await _take(store, path)).height == 170
    assert store.asked == 4 + 1 + 2  # the page cut short, and one on its way at each interruption


async def test_what_is_of_another_data_store_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "i.parquet"
    with pytest.raises(GoneError):
        await _take(_interrupted(MemoryClient([item(n) for n in range(99)]), 1), path)
    store = MemoryClient([item(1)])
    with pytest.raises(UsageError, match="of another data store"):
        await take(reader_of(store), path, datastore_id="6" * 32)
    snapshot = await take(reader_of(store), path, datastore_id="6" * 32, fresh=True)
    assert (snapshot.datastore_id, snapshot.image_sets) == ("6" * 32, 1)


async def test_a_replacement_that_was_interrupted_goes_on_without_the_word(tmp_path: Path) -> None:
    path = tmp_path / "i.parquet"
    await _take(MemoryClient([item(1)]), path)
    items = [item(n, second=n) for n in range(120)]
    with pytest.raises(GoneError):
        await _take(_interrupted(MemoryClient(items), 1), path, fresh=True)
    assert load(path, STORE).image_sets == 1  # the old one stands until the new one is whole
    assert (await _take(MemoryClient(items), path)).height == 120


async def test_a_file_that_has_come_in_between_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "i.parquet"
    items = [item(n, second=n) for n in range(120)]
    with pytest.raises(GoneError):
        await _take(_interrupted(MemoryClient(items), 1), path)
    path.write_text("somebody's list")
    with pytest.raises(UsageError, match="this file exists already"):
        await _take(MemoryClient(items), path)
    assert path.read_text() == "somebody's list"


@pytest.mark.parametrize(
    ("state", "what"),
    [
        ("", "not valid JSON"),
        ("[]", "a list, not an object"),
        ("\0" * 50, "not valid JSON"),
        ('{"format": 2}', "id is missing"),
    ],
    ids=repr,
)
async def test_a_state_that_cannot_be_read_is_told_and_dropped_only_when_asked(
    state: str, what: str, tmp_path: Path
) -> None:
    path = tmp_path / "i.parquet"
    items = [item(n, second=n) for n in range(120)]
    with pytest.raises(GoneError):
        await _take(_interrupted(MemoryClient(items), 2), path, checkpoint_pages=1)
    (folder_of(path) / "state.json").write_text(state)
    with pytest.raises(ReceivedError, match=what) as told:
        await _take(MemoryClient(items), path)
    assert "`fresh=True`" in str(told.value)
    assert (folder_of(path) / "part-00000.parquet").exists()
    frame = await _take(MemoryClient(items), path, fresh=True)
    assert (frame.height, frame.schema) == (120, INVENTORY)


async def test_a_state_of_another_version_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "i.parquet"
    items = [item(n, second=n) for n in range(120)]
    with pytest.raises(GoneError):
        await _take(_interrupted(MemoryClient(items), 2), path, checkpoint_pages=1)
    (folder_of(path) / "state.json").write_text('{"format": 99}')
    frame = await _take(MemoryClient(items), path)
    assert frame.height == 120


def _interrupted(store: MemoryClient, pages: int) -> MemoryClient:
    return cast("MemoryClient", InterruptedAfter(cast("Client", store), pages))


async def _take(store: MemoryClient, path: Path, **options: Any) -> pl.DataFrame:
    """In one window: its pages are known."""
    snapshot = await take(reader_of(store), path, datastore_id=STORE, at_once=1, **options)
    return snapshot.scan().collect()
