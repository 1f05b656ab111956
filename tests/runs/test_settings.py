"""The settings of a run: what a resume changes holds from then on, and the ledger says who changed it and when."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.emulator import DEFAULT_DATASTORE_ID
from bulkedit.errors import ReceivedError, UsageError
from bulkedit.options.running import OnConflict, RunChanges, RunOptions
from bulkedit.options.where import Where
from bulkedit.runs import folder as runs
from bulkedit.runs.ledger import Ledger, SettingRecord
from bulkedit.runs.settings import Change, PresentSettings, changed, changes_between, records_of, settings_of
from tests.runs.factories import planned, row

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BEGUN = PresentSettings(Where(profile="one"), RunOptions(max_rate="5/s", max_errors="10"))


def resumed(where: Where | None = None, **changes: Any) -> list[Change]:
    return changes_between(BEGUN, changed(BEGUN, where or Where(), RunChanges(**changes)))


def test_a_resume_without_options_changes_nothing() -> None:
    assert resumed() == []


def test_only_what_differs_is_a_change() -> None:
    assert resumed(Where(profile="two", region="eu-west-1"), max_in_flight=100, on_conflict="stop") == [
        Change("region", None, "eu-west-1"),
        Change("profile", "one", "two"),
        Change("on_conflict", "retry", "stop"),
    ]


def test_a_fixed_rate_takes_the_limit_of_auto_away() -> None:
    assert resumed(rate="0.5/s") == [Change("rate", "auto", "0.5/s"), Change("max_rate", "5/s", None)]


def test_limits_can_be_taken_away() -> None:
    assert resumed(max_rate="none", max_errors="none") == [
        Change("max_rate", "5/s", None),
        Change("max_errors", "10", None),
    ]


@pytest.mark.parametrize(
    "changes", [{"rate": "none"}, {"rate": "fast"}, {"rate": "1/s", "max_rate": "2/s"}, {"max_errors": "many"}]
)
def test_an_invalid_setting_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        changed(BEGUN, Where(), RunChanges(**changes))


@pytest.fixture
def run(tmp_path: Path) -> runs.Run:
    plan = planned(tmp_path / "plan", DEFAULT_DATASTORE_ID, [row("0" * 32, "StudyDescription", "V")])
    settings: runs.RunSettings = {"connection": BEGUN.where.as_settings(), "options": BEGUN.options.as_settings()}
    return runs.create(tmp_path / "run", plan, settings, NOW)


def test_a_change_holds_for_later_processes(run: runs.Run) -> None:
    assert settings_of(run) == BEGUN
    after = changed(BEGUN, Where(region="eu-west-1"), RunChanges(rate="1/s", on_conflict=OnConflict.STOP))
    with Ledger.create(run.ledger) as ledger:
        ledger.append(records_of(changes_between(BEGUN, after), at=5.0))
        ledger.append(records_of([Change("rate", "1/s", "2/s")], at=6.0))
    assert settings_of(run) == changed(after, Where(), RunChanges(rate="2/s"))
    with Ledger.read(run.ledger) as ledger:
        first, *_, last = ledger.settings()
    assert (first.at, first.name, first.before, first.after) == (5.0, "region", "null", '"eu-west-1"')
    assert (last.at, last.name, json.loads(last.after), bool(last.user)) == (6.0, "rate", "2/s", True)


@pytest.mark.parametrize(("name", "after"), [("rate", "5"), ("colour", '"red"'), ("on_conflict", '"never"')])
def test_a_setting_that_nobody_can_have_typed_is_refused(run: runs.Run, name: str, after: str) -> None:
    with Ledger.create(run.ledger) as ledger:
        ledger.append([SettingRecord(at=1.0, name=name, before="null", after=after, user="x")])
    with pytest.raises(ReceivedError):
        settings_of(run)
