"""Plan and ledger folded together: all that look back on a run, or go on with it, count the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.after.report import CallOutcomes
from bulkedit.client.responses import CallState, Outcome
from bulkedit.emulator import FaultKind
from bulkedit.runs.changes import Changes
from bulkedit.runs.counters import RunCounters
from bulkedit.runs.folder import Run
from bulkedit.runs.history import History
from bulkedit.runs.ledger import Event, Ledger, Part
from bulkedit.runs.summary import by_outcome, summary
from tests.runs.factories import row
from tests.runs.test_copy_lane import COPY, UPDATE, Scene

if TYPE_CHECKING:
    from pathlib import Path


def outcomes_of(scene: Scene) -> dict[str, int]:
    """Edits by outcome, the same of each fold that tells them."""
    about: Any = {"settings": {}}
    run = Run(scene.ledger.parent, scene.plan, about)
    told = {str(outcome): count for outcome, count in by_outcome(summary(run)).items() if count}
    completed = CallOutcomes.of(run).of_edits(scene.plan.edits().select("edit", "call", "image_set_id"))
    assert dict(completed.group_by("outcome").len().collect().iter_rows()) == told
    with Ledger.read(scene.ledger) as ledger:
        counters = RunCounters(calls=scene.plan.counts["calls"], edits=scene.plan.counts["edits"])
        History(scene.plan, ledger, counters)
    counted = {**counters.outcomes, Outcome.UNPROCESSED: counters.unprocessed}
    assert {str(outcome): count for outcome, count in counted.items() if count} == told
    changes = Changes(run)
    assert changes.unprocessed() == told.get("unprocessed", 0)
    assert changes.all().collect().height == told.get("applied", 0)
    return told


def more(image_set_id: str) -> list[dict[str, Any]]:
    return [row(image_set_id, "StudyDescription", "OTHER")]


@pytest.mark.parametrize(
    ("fault", "outcomes"),
    [
        (None, {"applied": 6}),
        ((FaultKind.FAIL, COPY, {"skip": 1, "times": 9}), {"failed": 6}),  # the promotion
        ((FaultKind.FAIL, UPDATE, {"times": 99}), None),
    ],
    ids=["applied", "not promoted", "an edit of the copy fails"],
)
def test_edits_of_a_copy_stand_as_its_promotion_does(
    fault: tuple[FaultKind, str, dict[str, int]] | None, outcomes: dict[str, int] | None, tmp_path: Path
) -> None:
    scene = Scene.of(tmp_path, more=more)
    if fault is not None:
        scene.fault(fault[0], fault[1], **fault[2])
    scene.process(max_attempts=2)
    told = outcomes_of(scene)
    assert sum(told.values()) == 6
    assert outcomes is None or told == outcomes


def test_at_every_step_of_a_run_the_folds_agree(tmp_path: Path) -> None:
    """Also where the ledger ends in the middle, and where a call of a copy was split."""
    whole = Scene.of(tmp_path / "whole", series=2, merge=False)
    whole.process()
    with Ledger.read(whole.ledger) as ledger:
        events = list(ledger.intact_events())
    assert len(events) > 10
    seen = set()
    for length in range(0, len(events) + 1, 3):
        left = Scene(whole.server, whole.plan, tmp_path / f"{length}" / "ledger.sqlite", whole.originals)
        write(left.ledger, events[:length])
        seen.add(tuple(outcomes_of(left).items()))
    assert len(seen) > 1
    split = Scene(whole.server, whole.plan, tmp_path / "split" / "ledger.sqlite", whole.originals)
    carrying = whole.plan.edits().select("call", "edit").collect().group_by("call", maintain_order=True).all()
    call, edits = carrying.row(0)
    number = whole.plan.counts["calls"]
    parts = [Part(number, call, edits), Part(number + 1, number, edits)]
    told = [Event(at=1.0, call=one, state=CallState.SPLIT) for one in (call, number)]
    write(
        split.ledger,
        [*events[: len(events) // 2], *told, *parts, Event(at=2.0, call=number + 1, state=CallState.REJECTED)],
    )
    assert outcomes_of(split)["rejected"] == len(edits)


def write(path: Path, records: list[Any]) -> None:
    path.parent.mkdir()
    with Ledger.create(path) as ledger:
        ledger.append(records)
