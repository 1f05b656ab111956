"""The file of measured quotas in the user's cache folder, on which nothing depends."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from bulkedit.client.destination import Destination, Identity
from bulkedit.client.pacing import Auto, Learner, Operation, Rate
from bulkedit.emulator import DEFAULT_DATASTORE_ID
from bulkedit.runs import folder
from bulkedit.runs.quota_memory import QuotaMemory, cache_folder
from bulkedit.runs.start import engine_of
from tests.client.test_pacing import drive, learner
from tests.runs.factories import PassThroughClient, planned
from tests.runs.killable import DirectClient, emulated
from tests.runs.virtual_time import run_virtual

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

URL = "https://medical-imaging.us-east-1.amazonaws.com"
RATES: Mapping[Operation, Rate | Auto] = {Operation.UPDATE: Auto(Rate(0.25))}
ACCOUNT = Identity("123456789012", "role Editor")


class Known(PassThroughClient):
    """A client of an account."""

    def __init__(self, identity: Identity | None = ACCOUNT, wait_s: float = 0.0) -> None:
        super().__init__(DirectClient(emulated()))
        self._identity, self._wait_s = identity, wait_s

    async def destination(self) -> Destination:
        await anyio.sleep(self._wait_s)
        return Destination(endpoint_url=URL, region="us-east-1", identity=self._identity)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bulkedit" / "pacing.json"


def memory(client: Any = None, *, wanted: bool = True, rates: Mapping[Operation, Rate | Auto] = RATES) -> QuotaMemory:
    return run_virtual(QuotaMemory.of_client(client or Known(), rates, wanted=wanted))


def found() -> dict[Operation, Any]:
    pacer = learner()
    drive(pacer, 1000, 20, 20)
    return {Operation.UPDATE: pacer}


def remembered() -> Rate | None:
    rate = memory().guesses(RATES)[Operation.UPDATE]
    assert isinstance(rate, Auto)
    return rate.remembered


def test_the_next_run_begins_with_what_this_one_has_measured(file: Path) -> None:
    assert remembered() is None
    pacers = found()
    memory().keep(pacers)
    assert remembered() == pacers[Operation.UPDATE].measured is not None
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert set(json.loads(file.read_text())["quotas"][0]) == {
        *("host", "region", "account", "operation", "per_second", "burst", "learned_at"),
    }
    assert [path.name for path in file.parent.iterdir()] == ["pacing.json"]


@pytest.mark.parametrize("given", ["auto", "never"])
def test_a_run_uses_it_unless_it_is_told_not_to(given: str, file: Path, tmp_path: Path) -> None:
    memory().keep(earlier := found())
    before = file.read_bytes()

    async def main() -> Auto:
        async with engine_of(run, Known()) as engine:
            pacer = engine.pacers[Operation.UPDATE]
            assert isinstance(pacer, Learner)
            drive(pacer, 1000, 5, 10)
            return pacer.auto

    plan = planned(tmp_path / "plan", DEFAULT_DATASTORE_ID, [])
    settings: folder.RunSettings = {"connection": {}, "options": {"remember_quota": given}}
    run = folder.create(tmp_path / "r", plan, settings, datetime.now(UTC))
    used = anyio.run(main)
    assert used.remembered == (earlier[Operation.UPDATE].measured if given == "auto" else None)
    assert (file.read_bytes() != before) == (given == "auto")


@pytest.mark.parametrize(
    "without",
    [
        lambda: memory(Known(None)),
        lambda: memory(Known(wait_s=60.0)),
        lambda: memory(DirectClient(emulated())),
        lambda: memory(wanted=False),
        lambda: memory(rates={Operation.UPDATE: Rate(1)}),
    ],
    ids=["account not known", "AWS does not say it soon", "not AWS", "not wanted", "fixed rate"],
)
def test_nothing_is_remembered_without(without: Any, file: Path) -> None:
    memory().keep(found())
    before = file.read_bytes()
    assert without().guesses(RATES) == RATES
    without().keep(found())
    assert file.read_bytes() == before


def _linked(file: Path) -> None:
    file.rename(file.with_name("target"))
    file.symlink_to("target")


def _folder_linked(file: Path) -> None:
    file.parent.rename(file.parent.with_name("target"))
    file.parent.symlink_to("target")


def _quota(file: Path, **changes: Any) -> None:
    content = json.loads(file.read_text())
    content["quotas"][0] |= changes
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_text('{"format": 1, "quotas": [1]}'),
        lambda file: file.write_text('{"format": 2, "quotas": []}'),
        lambda file: file.write_bytes(b"\xff" * 10),
        lambda file: _quota(file, per_second=-1.0),
        lambda file: _quota(file, per_second=10**400),
        lambda file: _quota(file, host=7),
        lambda file: file.chmod(0o666),
        lambda file: file.parent.chmod(0o777),
        _linked,
        _folder_linked,
    ],
    ids=[
        *("empty", "no object", "another format", "not text", "below 0", "too large", "not text either"),
        *("others may write", "others may write to the folder", "link", "link of the folder"),
    ],
)
def test_a_file_that_is_damaged_linked_or_of_others_is_ignored(
    damage: Any, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    memory().keep(found())
    damage(file)
    with caplog.at_level(logging.INFO, "bulkedit"):
        assert remembered() is None
    assert caplog.messages[-1].startswith("The remembered quotas in ")


@pytest.mark.usefixtures("file")
def test_a_file_of_another_user_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    memory().keep(found())
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert remembered() is None


def test_a_damaged_file_is_replaced(file: Path) -> None:
    memory().keep(found())
    file.write_bytes(b"{")
    memory().keep(found())
    assert remembered() is not None


def test_a_cache_that_cannot_be_written_is_no_failure(file: Path) -> None:
    file.parent.parent.write_bytes(b"")  # a file is where the folder would be made
    memory().keep(found())
    assert remembered() is None


def test_a_long_run_writes_every_ten_minutes_and_a_run_that_fails_at_its_end(file: Path) -> None:
    async def main() -> None:
        async with memory_.kept(pacers):
            await anyio.sleep(601.0)
            assert file.exists()
            file.unlink()
            raise KeyError

    memory_, pacers = memory(), found()
    with pytest.raises(KeyError):
        run_virtual(main())
    assert file.exists()


@pytest.mark.parametrize("given", ["", "relative"])
def test_the_cache_of_the_system_is_used_if_no_other_is_given(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setattr(sys, "platform", "linux")
    assert str(cache_folder({"XDG_CACHE_HOME": given})) == "/home/ada/.cache/bulkedit"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert str(cache_folder({"XDG_CACHE_HOME": given})) == "/home/ada/Library/Caches/bulkedit"
