"""A primary image set changed by way of a copy: nothing is copied twice, nothing deleted before its copy is promoted.

The invariant, held after every trouble and every kill: of each original there is one promoted image set that holds the
edits, no other image set was left behind, and an original is deleted only where that was asked for, after the promoted
image set was there. Where a run had to leave something open, the original stands untouched.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit import plans
from bulkedit._json import object_in
from bulkedit.client.responses import CallState, Lost, Outcome
from bulkedit.dicom import dictionary as dicom
from bulkedit.emulator import DEFAULT_DATASTORE_ID
from bulkedit.emulator.state.document import parse
from bulkedit.emulator.state.faults import Fault, FaultKind
from bulkedit.options.running import Strategy
from bulkedit.plans import CopyStep
from bulkedit.runs import ledger_frames
from bulkedit.runs.copy_transitions import REQUEST_LIFETIME_S
from bulkedit.runs.ledger import Ledger
from bulkedit.runs.resume import resumption
from tests.covering import short_and_long
from tests.emulator.hospital import document
from tests.runs.factories import PassThroughClient, about_plan, frame, row
from tests.runs.killable import Emulated, Ended, Kill, emulated, process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import polars as pl

    from bulkedit.client.contract import Client, CopyRequest
    from bulkedit.client.responses import Copied, Refused
    from bulkedit.plans import SavedPlan

OLD, NEW = "1.2.3", "2.25.77"
COPY, UPDATE, DELETE = "CopyImageSet", "UpdateImageSetMetadata", "DeleteImageSet"


def moves(image_set_id: str, series: str = "1") -> list[dict[str, Any]]:
    """The edits that make an image set one of another study, and more."""
    old = f"{OLD}.{series}"
    uid: dict[str, Any] = {"level": "instance", "series_uid": old, "force": True}
    return [
        row(image_set_id, "PatientName", "ANON", force=True),
        *(row(image_set_id, "SOPInstanceUID", f"{NEW}.{series}.{n}", **uid, instance_uid=f"{old}.{n}") for n in (1, 2)),
        row(image_set_id, "SeriesInstanceUID", f"{NEW}.{series}", force=True, series_uid=old),
        row(image_set_id, "StudyInstanceUID", NEW, force=True),
    ]


@dataclass(slots=True)
class Scene:
    """Primary image sets of one study, and a plan that changes them by way of copies."""

    server: Emulated
    plan: SavedPlan
    ledger: Path
    originals: list[str]

    @classmethod
    def of(
        cls,
        folder: Path,
        *,
        series: int = 1,
        delete_originals: bool = True,
        merge: bool = True,
        more: Callable[[str], list[dict[str, Any]]] = lambda _: [],
        **settings: Any,
    ) -> Scene:
        server = emulated(**settings)
        originals = [
            server.world.add_image_set(DEFAULT_DATASTORE_ID, document(str(n)), now=server.now(), primary=True)
            for n in range(1, series + 1)
        ]
        rows = [one for n, ident in enumerate(originals, 1) for one in (*more(ident), *moves(ident, str(n)))]
        plan = planned(folder / "plan", rows, originals, delete_originals=delete_originals, merge=merge)
        return cls(server, plan, folder / "ledger.sqlite", originals)

    def process(self, **options: Any) -> Ended:
        return process(self.server, self.plan, self.ledger, unlock_timeout_s=60.0, **options)

    def fault(self, kind: FaultKind, action: str, **options: Any) -> None:
        self.server.faults.add([Fault(kind=kind, action=action, **{"times": 1, **options})], now=self.server.now())

    def states(self) -> dict[str, list[str]]:
        """By step of the recipe, in the order of the calls."""
        with Ledger.read(self.ledger) as ledger:
            stands = dict(ledger_frames.states(ledger).select("call", "state").iter_rows())
        found: dict[str, list[str]] = {}
        for call, step in self.plan.calls().select("call", "copy_step").collect().iter_rows():
            found.setdefault(step, []).append(stands.get(call, "planned"))
        return found

    def there(self) -> dict[str, Any]:
        """The image sets of the data store that are not deleted."""
        found = self.server.world.datastores[DEFAULT_DATASTORE_ID].image_sets
        return {ident: one for ident, one in found.items() if one.deleted_at is None}

    def made(self) -> list[str]:
        """What is there beside the originals, and beside copies that the service has failed: those hold nothing."""
        made = {ident: one for ident, one in self.there().items() if ident not in self.originals}
        return [ident for ident, one in made.items() if one.latest.status != "COPY_FAILED"]

    def accepted(self, action: str) -> int:
        """Requests of an action that the service has taken, answered or not."""
        states = {COPY: "COPYING", DELETE: "DELETING"}
        return sum(entry.kind == "state" and entry.workflow == states[action] for entry in self.server.journal.since())

    def check(self, *, deleted: bool = True) -> None:
        """The invariant of a recipe that has come to its end."""
        promoted = self.made()
        assert len(promoted) == len(self.originals)
        for ident in promoted:
            image_set = self.there()[ident]
            content = parse(image_set.latest.document)
            assert image_set.primary
            assert object_in(content, "Patient", "DICOM")["PatientName"] == "ANON"
            assert object_in(content, "Study", "DICOM")["StudyInstanceUID"] == NEW
        assert {tuple(object_in(parse(self.there()[one].latest.document), "Study", "Series")) for one in promoted} == {
            (f"{NEW}.{n}",) for n in range(1, len(self.originals) + 1)
        }
        assert [one in self.there() for one in self.originals] == [not deleted] * len(self.originals)
        self.untouched_until_promoted()

    def untouched_until_promoted(self) -> None:
        """Nothing was written to an original, and nothing deleted before there was a promoted image set for it."""
        copied = 0
        for entry in self.server.journal.since():
            if entry.kind != "state":
                continue
            assert entry.image_set_id not in self.originals or entry.version == 1
            copied += entry.workflow == "COPIED" and entry.image_set_id not in self.originals
            if entry.workflow == "DELETING" and entry.image_set_id in self.originals:
                assert copied >= 2  # the copy, and the image set that it was promoted to


def planned(
    folder: Path,
    rows: list[dict[str, Any]],
    originals: list[str],
    *,
    delete_originals: bool = True,
    merge: bool = True,
    age: str = "2026",
) -> SavedPlan:
    known = plans_known(originals)
    settings = plans.PlanningSettings(
        rules=dicom.RULES[age],
        payload_limit=10_000,
        contradictions=plans.Contradictions.LAST,
        merge=merge,
        via_copy=plans.ViaCopy(delete_originals=delete_originals),
    )
    plan = plans.make(frame(rows), settings, known)
    assert plan.set_aside.height == 0
    return plans.save(plan, folder, about_plan(plan, DEFAULT_DATASTORE_ID))


def plans_known(originals: list[str]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame({"image_set_id": originals, "study": OLD, "primary": True}, schema=plans.KNOWN)


def test_a_plan_puts_the_updates_between_copy_and_promotion(tmp_path: Path) -> None:
    scene = Scene.of(tmp_path, series=2)
    calls = scene.plan.calls().collect()
    one = [CopyStep.COPY, CopyStep.EDIT, CopyStep.PROMOTE, CopyStep.DELETE_ORIGINAL, CopyStep.DELETE_COPY]
    assert calls["copy_step"].to_list() == [*one, *one]
    assert calls["lane"].to_list() == [0] * 5 + [1] * 5
    assert set(scene.plan.edits().collect()["call"]) == {1, 6}
    counts = scene.plan.counts
    assert [counts[name] for name in ("via_copy", "copies", "deletions", "originals_deleted")] == [2, 4, 4, 2]


@pytest.mark.parametrize("merge", [True, False], ids=["one call", "a call a row"])
@pytest.mark.parametrize("deleted", [True, False], ids=["originals deleted", "originals kept"])
def test_primary_image_sets_become_those_of_another_study(tmp_path: Path, merge: bool, deleted: bool) -> None:
    scene = Scene.of(tmp_path, series=3, merge=merge, delete_originals=deleted)
    counters = scene.process().counters
    assert counters.applied == counters.edits == 15
    scene.check(deleted=deleted)
    assert {state for each in scene.states().values() for state in each} == {"applied"}
    assert scene.accepted(COPY) == 6
    assert scene.accepted(DELETE) == (6 if deleted else 3)


TROUBLES = [
    FaultKind.DROP_BEFORE,
    FaultKind.DROP_AFTER,
    FaultKind.ERROR_BEFORE,
    FaultKind.ERROR_AFTER,
    FaultKind.LATE,
    FaultKind.SLOW,
]


STRUCK: dict[str, list[Any]] = {
    "kind": [*TROUBLES, FaultKind.THROTTLE, FaultKind.CONFLICT],
    "action": [COPY, UPDATE, DELETE],
    "skip": [0, 1],
}


@pytest.mark.parametrize(tuple(STRUCK), short_and_long(STRUCK))
def test_whatever_becomes_of_an_answer_each_step_is_made_once(
    tmp_path: Path, kind: FaultKind, action: str, skip: int
) -> None:
    scene = Scene.of(tmp_path, merge=action != UPDATE)
    scene.fault(kind, action, skip=skip, seconds=20.0)
    counters = scene.process().counters
    assert counters.applied == counters.edits
    scene.check()
    assert scene.accepted(COPY) == 2
    assert {entry.fault for entry in scene.server.journal.since() if entry.fault} == {kind}


@pytest.mark.parametrize("skip", [0, 1], ids=["copy", "promotion"])
def test_a_copy_that_the_service_fails_is_made_anew(tmp_path: Path, skip: int) -> None:
    scene = Scene.of(tmp_path)
    scene.fault(FaultKind.FAIL, COPY, skip=skip)
    counters = scene.process().counters
    assert counters.applied == counters.edits
    assert [one.latest.status for one in scene.there().values()].count("COPY_FAILED") == 1  # it holds nothing
    scene.check()
    assert scene.accepted(COPY) == 3


def requests_of_a_run(folder: Path) -> int:
    """How many requests a run without trouble sends."""
    scene = Scene.of(folder)
    scene.process()
    return sum(entry.kind == "request" for entry in scene.server.journal.since())


IN_TURN = pytest.param((False, True), id="in turn")
BEFORE = pytest.param((False,), id="before it is read", marks=pytest.mark.slow)
AFTER = pytest.param((True,), id="after it is done", marks=pytest.mark.slow)


@pytest.mark.parametrize("ways", [IN_TURN, BEFORE, AFTER])
def test_a_kill_at_any_request_leaves_a_run_that_goes_on(tmp_path: Path, ways: tuple[bool, ...]) -> None:
    requests = requests_of_a_run(tmp_path / "whole")
    assert requests > 15
    killed = 0
    for at, done in zip(range(1, requests + 1), cycle(ways), strict=False):
        scene = Scene.of(tmp_path / str(at))
        killed += scene.process(kill=Kill(at, done)).killed
        scene.server.wait(1.0)
        scene.untouched_until_promoted()
        counters = scene.process().counters
        assert counters.applied == counters.edits, at
        assert counters.completed_calls == counters.calls
        scene.check()
        assert scene.accepted(COPY) == 2, at
    assert killed >= (4 if ways == (True,) else requests // len(ways) - 2)


@pytest.mark.parametrize("skip", [0, 1], ids=["copy", "promotion"])
def test_a_lost_copy_is_sent_again_only_when_the_first_can_not_arrive_any_more(tmp_path: Path, skip: int) -> None:
    scene = Scene.of(tmp_path)
    scene.fault(FaultKind.DROP_BEFORE, COPY, skip=skip)
    scene.process()
    scene.check()
    sent = [entry.at for entry in scene.server.journal.since() if entry.action == COPY]
    assert sent[skip + 1] - sent[skip] >= REQUEST_LIFETIME_S


class Stranger(PassThroughClient):
    """Somebody who does one thing when the copy of this number is asked for, and whose answer may be lost too."""

    def __init__(self, inner: Client, act: Callable[[], None], *, at: int = 1, lost: bool = False) -> None:
        super().__init__(inner)
        self._act, self._left, self._lost = act, at, lost

    async def copy(self, request: CopyRequest) -> Copied | Refused | Lost:
        answer = await super().copy(request)
        self._left -= 1
        if self._left == 0:
            self._act()
            return Lost("connection dropped") if self._lost else answer
        return answer


@pytest.mark.parametrize("at", [1, 2], ids=["copy", "promotion"])
def test_two_new_image_sets_that_could_be_the_copy_are_both_named_and_none_is_taken(tmp_path: Path, at: int) -> None:
    scene = Scene.of(tmp_path)

    def act() -> None:
        series = "1" if at == 1 else None
        content = document(series) if series else _edited()
        scene.server.world.add_image_set(DEFAULT_DATASTORE_ID, content, now=scene.server.now(), primary=at == 2)

    counters = scene.process(wrap=lambda client: Stranger(client, act, at=at, lost=True)).counters
    assert counters.applied == 0
    assert counters.unprocessed == counters.edits
    assert scene.originals[0] in scene.there()
    with Ledger.read(scene.ledger) as ledger:
        last = ledger_frames.states(ledger).filter(state=str(CallState.OUTCOME_UNKNOWN)).row(0, named=True)
    assert last["reason"] == "several new image sets may be its copy"
    assert len(last["message"].split(", ")) == 2
    assert scene.accepted(DELETE) == 0


def _edited() -> dict[str, Any]:
    """What a stranger may have made of the promoted series."""
    content = document("1", study=NEW)
    object_in(content, "Patient", "DICOM")["PatientName"] = "ANON"
    return content


def test_an_original_that_somebody_changes_meanwhile_is_not_deleted(tmp_path: Path) -> None:
    scene = Scene.of(tmp_path)

    def act() -> None:
        image_set = scene.server.world.image_set(DEFAULT_DATASTORE_ID, scene.originals[0])
        scene.server.world.write_as_another_after(image_set)

    counters = scene.process(wrap=lambda client: Stranger(client, act)).counters
    assert counters.applied == counters.edits
    assert scene.states()[CopyStep.DELETE_ORIGINAL] == ["conflicted"]
    assert scene.states()[CopyStep.DELETE_COPY] == ["applied"]
    assert scene.originals[0] in scene.there()


def test_a_copy_is_of_the_version_that_was_seen(tmp_path: Path) -> None:
    """A stranger is faster than the copy: what he has written is copied too."""
    scene = Scene.of(tmp_path)

    class Faster(PassThroughClient):
        done = False

        async def copy(self, request: CopyRequest) -> Copied | Refused | Lost:
            if not self.done:
                self.done = True
                image_set = scene.server.world.image_set(DEFAULT_DATASTORE_ID, scene.originals[0])
                scene.server.world.write_as_another(image_set, scene.server.now())
            return await super().copy(request)

    counters = scene.process(wrap=Faster).counters
    assert counters.applied == counters.edits
    assert scene.originals[0] not in scene.there()
    assert scene.accepted(COPY) == 2


@pytest.mark.parametrize(("action", "value"), [("set", "MR"), ("remove", {})])
def test_an_edit_that_is_refused_keeps_the_copy_from_being_promoted(tmp_path: Path, action: str, value: Any) -> None:
    """What else is in the copy counts as failed, and the next resume with --strategy failed takes it up."""
    nowhere = {"level": "series", "series_uid": "9.9.9", "force": True}
    scene = Scene.of(tmp_path, more=lambda one: [row(one, "Modality", value, action=action, **nowhere)])
    counters = scene.process().counters
    assert counters.outcomes == {
        Outcome.APPLIED: 0,
        Outcome.REJECTED: 1,
        Outcome.CONFLICTED: 0,
        Outcome.FAILED: 5,
        Outcome.UNPROCESSED: 0,
    }
    assert scene.states()[CopyStep.PROMOTE] == ["failed"]
    assert scene.accepted(DELETE) == 0
    assert len(scene.made()) == 1
    # the books are the same to whoever opens them next
    assert scene.process().counters.outcomes == counters.outcomes


STEPS = {
    "copy": (COPY, 0),
    "first edit": (UPDATE, 0),
    "third edit": (UPDATE, 2),
    "promotion": (COPY, 1),
    "deletion of the original": (DELETE, 0),
    "deletion of the copy": (DELETE, 1),
}
FAILED_AT: dict[str, list[Any]] = {
    "step": list(STEPS),
    "merge": [True, False],
    "strategy": [Strategy.FAILED, Strategy.ALL],
}


@pytest.mark.parametrize(tuple(FAILED_AT), short_and_long(FAILED_AT))
def test_a_recipe_that_failed_at_a_step_is_taken_up_there(
    tmp_path: Path, step: str, merge: bool, strategy: Strategy
) -> None:
    """`resume --strategy failed`: what was made is not made again, and what was not comes after it, in its order."""
    action, skip = STEPS[step]
    if merge and (action, skip) == (UPDATE, 2):
        pytest.skip("there is one call")
    scene = Scene.of(tmp_path, merge=merge)
    scene.fault(FaultKind.DROP_BEFORE if action == DELETE else FaultKind.FAIL, action, skip=skip, times=3)
    first = scene.process(max_attempts=3).counters
    scene.untouched_until_promoted()
    # a deletion whose answers are lost can not be told from one that is still under way
    open_or_ended = "outcome unknown" if action == DELETE else "failed"
    assert open_or_ended in {state for each in scene.states().values() for state in each}
    if action != DELETE:
        assert first.applied == 0
        assert scene.accepted(DELETE) == 0
    with Ledger.open(scene.ledger) as ledger:
        found = resumption(scene.plan, ledger, strategy)
        assert found.outcome_unknown if action == DELETE else found.again
        assert not found.overtaken
        ledger.append(found.events(ledger, scene.server.now()))
    scene.process(sends_new=found.sends_new)
    counters = scene.process().counters  # what `failed` has left alone because it was never sent
    assert counters.applied == counters.edits == 5
    assert {state for each in scene.states().values() for state in each} == {"applied"}
    failed_copies = 3 if action == COPY else 0
    assert scene.accepted(COPY) == 2 + failed_copies
    scene.check()


@pytest.mark.parametrize("kind", [FaultKind.HANG])
def test_a_copy_that_never_ends_is_left_open(tmp_path: Path, kind: FaultKind) -> None:
    scene = Scene.of(tmp_path)
    scene.fault(kind, COPY)
    counters = scene.process().counters
    assert counters.unprocessed == counters.edits
    assert counters.unresolved == 1
    assert scene.accepted(COPY) == 1
    assert scene.process().counters.unprocessed == counters.edits
    assert scene.accepted(COPY) == 1


def test_a_promotion_against_another_primary_image_set_deletes_nothing(tmp_path: Path) -> None:
    scene = Scene.of(tmp_path)
    scene.server.world.add_image_set(DEFAULT_DATASTORE_ID, _edited(), now=scene.server.now(), primary=True)
    counters = scene.process().counters
    assert counters.outcomes[Outcome.REJECTED] == counters.edits
    assert scene.states()[CopyStep.DELETE_ORIGINAL] == ["rejected"]
    assert scene.originals[0] in scene.there()
