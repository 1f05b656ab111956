"""What a process says of its run while it works is in `progress.json`, and nothing depends on it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from bulkedit.runs import sign_of_life
from bulkedit.runs.waiting import Waiting, WaitingFor
from tests.runs.test_progress import NUMBERS
from tests.runs.virtual_time import run_virtual

if TYPE_CHECKING:
    from pathlib import Path

SAID = replace(
    NUMBERS,
    image_sets_in_flight=("a" * 32, "b" * 32),
    waiting=(Waiting(WaitingFor.UNLOCK, 725.0, ("c" * 32,)),),
)


def published(folder: Path, seconds: float) -> sign_of_life.SignOfLife | None:
    """What is read after so many seconds."""

    async def main() -> sign_of_life.SignOfLife | None:
        async with sign_of_life.published(folder, lambda: SAID):
            await anyio.sleep(seconds)
            return sign_of_life.read(folder)

    return run_virtual(main())


def test_it_is_read_as_it_was_written_and_gone_at_the_end(tmp_path: Path) -> None:
    read = published(tmp_path, 3.0)
    assert read is not None
    assert (read.pid, read.per_second, read.quota_per_second, read.seconds_left) == (os.getpid(), 0.5, 1.0, 600.0)
    assert (read.searching, read.waiting, read.image_sets_in_flight) == (
        False,
        SAID.waiting,
        SAID.image_sets_in_flight,
    )
    assert list(tmp_path.iterdir()) == []


def test_a_short_run_writes_none(tmp_path: Path) -> None:
    assert published(tmp_path, 1.0) is None


def test_it_is_private(tmp_path: Path) -> None:
    async def main() -> int:
        async with sign_of_life.published(tmp_path, lambda: SAID):
            await anyio.sleep(3.0)
            return (tmp_path / sign_of_life.NAME).stat().st_mode & 0o777

    assert run_virtual(main()) == 0o600


def test_without_its_folder_the_run_goes_on(tmp_path: Path) -> None:
    assert published(tmp_path / "gone", 3.0) is None


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    (victim := tmp_path / "victim").write_text("safe", "utf-8")
    (folder / sign_of_life.NAME).symlink_to(victim)
    assert published(folder, 3.0) is None
    assert victim.read_text("utf-8") == "safe"
    assert (folder / sign_of_life.NAME).is_symlink()


GOOD = {
    "at": 1.0,
    "pid": 1,
    "host": "h",
    "per_second": 1.0,
    "quota_per_second": 1,
    "searching": False,
    "seconds_left": None,
    "waiting": [],
    "image_sets_in_flight": [],
}


def test_a_good_file_is_read(tmp_path: Path) -> None:
    (tmp_path / sign_of_life.NAME).write_text(json.dumps(GOOD), "utf-8")
    assert sign_of_life.read(tmp_path) is not None


@pytest.mark.parametrize(
    "content",
    [
        "",
        json.dumps(GOOD)[:40],
        "[]",
        json.dumps({**GOOD, "at": "1"}),
        json.dumps({**GOOD, "more": 1}),
        json.dumps({**GOOD, "waiting": {}}),
        json.dumps({**GOOD, "waiting": [1]}),
        json.dumps({**GOOD, "waiting": [{"for": "Godot", "seconds": 1, "count": 0, "image_sets": []}]}),
        json.dumps({name: value for name, value in GOOD.items() if name != "image_sets_in_flight"}),
        json.dumps(GOOD).replace('"at": 1.0', '"at": 1e999'),
    ],
    ids=["empty", "half", "list", "text", "unknown", "object", "number", "word", "missing", "infinite"],
)
def test_another_file_tells_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / sign_of_life.NAME).write_text(content, "utf-8")
    assert sign_of_life.read(tmp_path) is None
