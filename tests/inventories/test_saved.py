"""Opening an inventory: of the right data store and the right form, or refused with a plain error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl
import pytest

from bulkedit.errors import EXIT_USAGE, UsageError
from bulkedit.inventories import INVENTORY, load, take
from bulkedit.inventories.folder import Again, Division, PageEntry, entry_of, is_finished
from bulkedit.inventories.frame import CREATED
from bulkedit.inventories.saved import KEY
from tests.inventories.hospital import reader_of
from tests.inventories.memory_client import STORE, MemoryClient, item

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """An inventory of two image sets."""
    found = tmp_path / "i.parquet"
    await take(reader_of(MemoryClient([item(1), item(2)])), found, datastore_id=STORE)
    return found


async def test_a_snapshot_says_what_it_is_of(path: Path) -> None:
    snapshot = load(path, STORE)
    assert (snapshot.datastore_id, snapshot.image_sets, snapshot.pages) == (STORE, 2, 1)
    assert snapshot.begun <= snapshot.about["taken"]
    assert snapshot.scan().collect_schema() == INVENTORY


async def test_a_snapshot_of_another_data_store_is_refused(path: Path) -> None:
    with pytest.raises(UsageError, match=f"of data store {STORE}, not of {'6' * 32}") as raised:
        load(path, "6" * 32)
    assert raised.value.exit_code == EXIT_USAGE
    assert f"bulkedit inventory -d {'6' * 32} -o FILE" in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"", "not an inventory"),
        (b"image_set_id\n", "not an inventory"),
        (b"PAR1" + b"\0" * 40 + b"PAR1", "not an inventory"),
    ],
    ids=["absent", "empty", "csv", "damaged"],
)
def test_what_is_no_parquet_is_refused(content: bytes | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "f").write_bytes(content)
    with pytest.raises(UsageError, match=said):
        load(tmp_path / "f", STORE)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        load(tmp_path, STORE)


def test_a_file_that_unpacks_to_far_more_than_its_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pl.DataFrame({"image_set_id": ["a" * 32] * 1000}).write_parquet(tmp_path / "f.parquet")
    monkeypatch.setattr("bulkedit.edits.parquet_pages.FLOOR", 0)
    monkeypatch.setattr("bulkedit.edits.parquet_pages.CELL_GROWTH", 1)
    with pytest.raises(UsageError, match="unpacks to more than 1 times its size"):
        load(tmp_path / "f.parquet", STORE)


@pytest.mark.parametrize(
    ("metadata", "frame", "said"),
    [
        ({}, pl.DataFrame(schema=INVENTORY), "not an inventory"),
        ({"format": 2, "datastore_id": STORE}, pl.DataFrame(schema=INVENTORY), "another version"),
        ({"format": 1, "datastore_id": STORE}, pl.DataFrame({"image_set_id": ["a"]}), "another version"),
    ],
    ids=["of another program", "of another format", "with other columns"],
)
def test_parquet_of_another_kind_is_refused(
    metadata: dict[str, object], frame: pl.DataFrame, said: str, tmp_path: Path
) -> None:
    frame.write_parquet(tmp_path / "f.parquet", metadata={KEY: json.dumps(metadata)} if metadata else None)
    with pytest.raises(UsageError, match=said):
        load(tmp_path / "f.parquet", STORE)


async def test_polars_and_others_can_read_the_file(path: Path) -> None:
    assert pl.read_parquet(path)["image_set_id"].to_list() == [f"{n:032x}" for n in (1, 2)]


def test_rows_have_the_time_of_creation_where_the_draft_looks_for_it() -> None:
    assert list(INVENTORY).index("created_at") == CREATED


def test_a_line_of_the_log_that_was_cut_short_is_no_entry(tmp_path: Path) -> None:
    assert entry_of(b'{"window": 0, "begin": 5}\n', tmp_path) == Again(0, 5)
    assert entry_of(b'{"window": 0, "at": 5}\n', tmp_path) == Division(0, 5)
    assert entry_of(b'{"window": 0, "token": null, "rows": []}\n', tmp_path) == PageEntry(0, None, [])
    assert entry_of(b'{"window": 0, "begin": 5}', tmp_path) is None
    assert entry_of(b'{"window": \n', tmp_path) is None


def test_a_file_that_is_no_inventory_is_not_the_finished_one(tmp_path: Path) -> None:
    assert not is_finished(tmp_path / "none.parquet", "id")
