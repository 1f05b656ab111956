"""Random scenarios, judged by the service's journal and by a reference that applies the rows one by one.

The short form plays fixed seeds; the long form (``-m slow``) plays new ones each time, and names those that fail.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.client.responses import CallState
from bulkedit.emulator import DEFAULT_DATASTORE_ID, Fault, FaultKind
from bulkedit.options.running import OnConflict, Strategy
from bulkedit.runs.ledger import Event, Ledger
from tests.runs.random_scenarios import (
    UPDATE,
    Holding,
    Life,
    Played,
    Scenario,
    Trouble,
    check_scenario,
    draw,
    kind_of,
    play,
    shrunk,
)
from tests.runs.random_scenarios_check import of_run, of_undo

if TYPE_CHECKING:
    from pathlib import Path

SHORT = [*range(12), 880020]  # with those that have found a fault
LONG, PARTS = 800, 8


def told(seed: int) -> str | None:
    """What is wrong with a seed, and how to see it again."""
    found = check_scenario(draw(seed))
    if not found.wrong:
        return None
    return "\n".join(
        [draw(seed).lines(), *found.wrong, f"again: python -m tests.runs.random_scenarios {seed} --shrink"]
    )


@pytest.mark.parametrize("seed", SHORT)
def test_what_is_told_is_so(seed: int) -> None:
    wrong = told(seed)
    assert wrong is None, wrong


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_what_is_told_is_so_at_length(part: int) -> None:
    first = random.SystemRandom().randrange(10**9) * PARTS + part
    wrong = [text for seed in range(first, first + LONG // PARTS) if (text := told(seed))]
    assert not wrong, "\n\n".join(wrong)


# -- the judge

PLAIN = Scenario(
    seed=0,
    switches={},
    image_sets=(Holding(0, primary=False),),
    rows=(
        {"image_set": 0, "action": "set", "attribute": "PatientName", "value": "A"},
        {"image_set": 0, "action": "set", "attribute": "StudyDescription", "value": "B", "force": True},
        {"image_set": 0, "action": "set", "attribute": "StudyID", "value": "needs force"},
    ),
    merge=False,
    by_list=False,
    on_conflict=OnConflict.RETRY,
    troubles=(),
    eyes=(),
    lives=(Life(),),
    undo=None,
)


def rewrite(played: Played, call: int, state: CallState, **fields: int) -> None:
    """Make the ledger say something else of a call."""
    with Ledger.open(played.run.ledger) as ledger:
        (last,) = ledger.rows_of([call])
        ledger.append(
            [Event(at=last["at"], call=call, state=state, **{"expected_version": last["expected_version"], **fields})]
        )


@pytest.mark.parametrize(
    ("call", "state", "fields", "why"),
    [
        (0, CallState.REJECTED, {}, "would be taken alone"),
        (0, CallState.REJECTED, {}, "no call claims it"),
        (0, CallState.CONFLICTED, {}, "nothing says stop"),
        (0, CallState.FAILED, {}, "has failed"),
        (0, CallState.PLANNED, {}, "unprocessed"),
        (0, CallState.APPLIED, {"version": 3, "expected_version": 2}, "claim one version"),
        (1, CallState.APPLIED, {}, "applied without a version"),
        (2, CallState.APPLIED, {"version": 4}, "claims version 4"),
        (2, CallState.SKIPPED, {}, "cannot be after the rows before it"),
        (2, CallState.PLANNED, {"version": 2}, "no failed update of ours has left version 2"),
        (0, CallState.PLANNED, {"conflicts": 1}, "conflicts are counted"),
    ],
)
def test_the_judge_sees_what_is_not_so(
    tmp_path: Path, call: int, state: CallState, fields: dict[str, int], why: str
) -> None:
    told: list[str] = []

    def tampered(played: Played) -> None:
        assert of_run(played) == []
        rewrite(played, call, state, **fields)
        told.extend(of_run(played))

    assert play(PLAIN, tmp_path, tampered) is not None
    assert why in "\n".join(told)


@pytest.mark.parametrize(("version", "state"), [(2, CallState.CONFLICTED), (3, CallState.REJECTED)])
def test_the_judge_knows_whose_failed_version_a_sibling_has(tmp_path: Path, version: int, state: CallState) -> None:
    """Version 2 of both was left by a call that was sent again, version 4 by one that was rejected."""
    study: dict[str, Any] = {"action": "set", "attribute": "StudyDescription", "value": "B"}
    wrong = {**study, "action": "remove", "value": "WRONG"}
    rows: tuple[dict[str, Any], ...] = (
        {"image_set": 1, "action": "remove-series", "series_uid": "1.2.1.2", "version": version},
        *({"image_set": one, **edit} for edit in (study, wrong) for one in (0, 1)),
    )
    fails = Fault(kind=FaultKind.FAIL, action=UPDATE, times=1)
    scenario = replace(
        PLAIN,
        image_sets=(Holding(0, primary=True),) * 2,
        rows=rows,
        troubles=(Trouble(0, fails),),
        lives=(Life(), Life(strategy=Strategy.FAILED)),
    )

    def judge(played: Played) -> None:
        with Ledger.read(played.run.ledger) as ledger:
            (last,) = ledger.rows_of([0])
        assert (last["state"], of_run(played)) == (state, [])

    assert play(scenario, tmp_path, judge) is not None


def test_the_judge_sees_an_undoing_that_has_not_undone(tmp_path: Path) -> None:
    played = play(replace(PLAIN, undo=(Life(),)), tmp_path)
    assert played is not None
    assert of_undo(played) == []
    versions = played.server.world.image_set(DEFAULT_DATASTORE_ID, played.ids[0]).versions
    versions[-1].document = versions[-2].document
    assert "is not as before the run" in "\n".join(of_undo(played))


def test_a_failing_scenario_is_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.runs import random_scenarios as module

    def needs_a_revert(scenario: Scenario) -> module.Found:
        found = any(row["action"] == "revert" for row in scenario.rows)
        return module.Found([f"row {len(scenario.rows)} is wrong"] if found else [])

    monkeypatch.setattr(module, "check_scenario", needs_a_revert)
    seed = next(n for n in range(100) if needs_a_revert(draw(n)).wrong and len(draw(n).rows) > 5)
    small = shrunk(draw(seed))
    assert [row["action"] for row in small.rows] == ["revert"]
    assert (small.troubles, small.lives, small.switches, small.undo) == ((), (Life(),), {}, None)
    assert kind_of(["row 12 is wrong"]) == kind_of(["row 3 is wrong"])
