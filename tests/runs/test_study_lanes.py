"""Lanes of a whole study: calls of its image sets and calls for all of them, one after another, whatever happens.

In process, on a clock that jumps; judged from the service's documents and versions.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from bulkedit import plans
from bulkedit.client.responses import CallState, Lost
from bulkedit.dicom import dictionary as dicom
from bulkedit.emulator import CompletionTime, Settings, profile
from bulkedit.options.running import OnConflict, Strategy
from bulkedit.runs import ledger_frames
from bulkedit.runs.engine import Engine
from bulkedit.runs.ledger import Event, Ledger
from bulkedit.runs.options import EngineOptions
from bulkedit.runs.resume import resumption
from tests.emulator.hospital import Service, document, in_series
from tests.runs.factories import FAST, KEY, about_plan, frame, row
from tests.runs.virtual_time import InProcess, run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bulkedit.client.contract import UpdateRequest
    from bulkedit.client.responses import Accepted, Refused
    from bulkedit.runs.counters import RunCounters

STUDY = "1.2.3"
A, B, C = IDS = [letter * 32 for letter in "abc"]
KNOWN = pl.DataFrame([(one, STUDY, True) for one in IDS], schema=plans.KNOWN, orient="row")


def service(*, completion: float = 0.5) -> Service:
    """One study of three primary image sets."""
    made = Service(Settings(profile=profile(), scale=float("inf"), completion_time=CompletionTime(seconds=completion)))
    for number, one in enumerate(IDS, 1):
        made.add(document(str(number), study=STUDY), image_set_id=one, primary=True)
    return made


def series(one: str, value: str = "S") -> dict[str, Any]:
    return row(one, "SeriesDescription", value, series_uid=f"{STUDY}.{IDS.index(one) + 1}")


def of_study(attribute: str, value: Any = None, **fields: Any) -> list[dict[str, Any]]:
    return [row(one, attribute, value, **fields) for one in IDS]


def saved(folder: Path, rows: list[dict[str, Any]]) -> plans.SavedPlan:
    chosen = plans.PlanningSettings(
        rules=dicom.RULES["2026"], payload_limit=10_000, contradictions=plans.Contradictions.LAST
    )
    plan = plans.make(frame(rows), chosen, KNOWN)
    assert plan.set_aside.height == 0
    return plans.save(plan, folder / "plan", about_plan(plan, "emulated000000000000000000000001"))


class Ran:
    """A run of a plan, which may be gone on with."""

    def __init__(self, folder: Path, rows: list[dict[str, Any]]) -> None:
        self.plan = saved(folder, rows)
        self.path = folder / "ledger.sqlite"

    def go(self, client: Callable[[], InProcess], **options: Any) -> RunCounters:
        async def main() -> RunCounters:
            with Ledger.open(self.path) if self.path.exists() else Ledger.create(self.path) as ledger:
                chosen = replace(EngineOptions(rates=FAST), **options)
                engine = Engine(self.plan, client(), ledger, chosen, key=KEY, rng=random.Random(1))
                return await engine.run()

        return run_virtual(main())

    def states(self) -> pl.DataFrame:
        with Ledger.read(self.path) as ledger:
            return ledger_frames.states(ledger)


def numbers(of: Service) -> list[int]:
    return [of.number(one) for one in IDS]


def descriptions(of: Service) -> list[Any]:
    return [of.metadata(one)["Study"]["DICOM"].get("StudyDescription") for one in IDS]


def test_siblings_are_looked_at_again_before_they_are_written(tmp_path: Path) -> None:
    """Their versions have moved on, and that is no conflict."""
    of = service()
    rows = [
        *(series(one, "before") for one in IDS),
        *of_study("StudyDescription", "X"),
        row(B, action="revert", revert_to=1),
        *of_study("PatientName", "Y"),
        series(B, "after"),
    ]
    run = Ran(tmp_path, rows)
    counters = run.go(lambda: InProcess(of))
    states = run.states()
    assert states["state"].to_list() == ["applied"] * counters.calls
    assert states["conflicts"].sum() == 0
    assert counters.requests == counters.calls
    assert descriptions(of) == ["X", "CHEST", "X"]
    assert [of.metadata(one)["Patient"]["DICOM"]["PatientName"] for one in IDS] == ["Y"] * 3


def test_a_removal_is_not_told_applied_if_a_reverted_sibling_may_still_have_the_value(
    tmp_path: Path,
) -> None:
    of = service()
    rows = [
        *of_study("StudyDescription", {}, action="remove", force=True),
        row(B, action="revert", revert_to=1),
        *of_study("StudyDescription", {}, action="remove"),
        *of_study("AccessionNumber", {}, action="remove"),
    ]
    run = Ran(tmp_path, rows)
    run.go(lambda: InProcess(of))
    assert descriptions(of) == [None, "CHEST", None]
    assert run.states()["state"].to_list() == ["applied", "applied", "split", "rejected", "applied"]


def test_a_locked_sibling_is_waited_for_without_hurry(tmp_path: Path) -> None:
    of = service(completion=120)
    of.update(C, in_series(f"{STUDY}.3", SeriesDescription="theirs"))
    run = Ran(tmp_path, of_study("StudyDescription", "X"))
    counters = run.go(lambda: InProcess(of))
    assert (run.states()["state"].to_list(), descriptions(of)) == (["applied"], ["X"] * 3)
    assert run.states()["faults"].sum() == 0
    assert counters.requests == 2
    assert numbers(of) == [2, 2, 3]


def test_a_sibling_that_stays_locked_is_left_after_the_unlock_timeout_and_can_be_gone_on_with(tmp_path: Path) -> None:
    of = service(completion=10_000)
    of.update(C, in_series(f"{STUDY}.3", SeriesDescription="theirs"))
    run = Ran(tmp_path, of_study("StudyDescription", "X"))
    counters = run.go(lambda: InProcess(of), unlock_timeout_s=60)
    assert (counters.unresolved, descriptions(of)) == (1, ["CHEST"] * 3)
    assert counters.requests == 1
    run.go(lambda: InProcess(of, epoch=of.now + 10_000), unlock_timeout_s=20_000)
    assert (run.states()["state"].to_list(), descriptions(of)) == (["applied"], ["X"] * 3)


def test_a_study_wide_removal_takes_the_stored_value(tmp_path: Path) -> None:
    of = service()
    rows = [one | {"action": "remove", "value": "{}"} for one in of_study("StudyDescription", "")]
    Ran(tmp_path, rows).go(lambda: InProcess(of))
    assert (descriptions(of), numbers(of)) == ([None] * 3, [2] * 3)


class LosesAnswers(InProcess):
    """Every first answer to a request is lost, after the service has acted on it or before the request arrived."""

    def __init__(self, of: Service, *, acted: bool) -> None:
        super().__init__(of)
        self.acted = acted
        self.lost: set[tuple[str, int]] = set()

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        key = (request.image_set_id, request.expected_version)
        if key in self.lost:
            return await super().update(request)
        self.lost.add(key)
        if self.acted:
            await super().update(request)
        return Lost("ReadTimeoutError")


MIXED = [
    *of_study("StudyDescription", "X"),
    series(C),
    row(A, action="revert", revert_to=1),
    *of_study("PatientName", "Y"),
]


@pytest.mark.parametrize("acted", [True, False], ids=["after acting", "before acting"])
def test_a_study_wide_call_in_doubt_is_settled_by_the_content_of_its_image_set(tmp_path: Path, acted: bool) -> None:
    of, undisturbed = service(), service()
    run = Ran(tmp_path, MIXED)
    run.go(lambda: LosesAnswers(of, acted=acted))
    (tmp_path / "other").mkdir()
    Ran(tmp_path / "other", MIXED).go(lambda: InProcess(undisturbed))
    assert set(run.states()["state"]) == {"applied"}
    assert numbers(of) == numbers(undisturbed)
    assert [of.metadata(one) for one in IDS] == [undisturbed.metadata(one) for one in IDS]


class GoneError(Exception):
    """The process is gone, as far as the code under test can tell."""


class Dies(InProcess):
    """The process is gone at the n-th update, after the service has acted on it or before."""

    def __init__(self, of: Service, nth: int, *, acted: bool) -> None:
        super().__init__(of)
        self.left = nth
        self.acted = acted

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        self.left -= 1
        if self.left:
            return await super().update(request)
        if self.acted:
            await super().update(request)
        raise GoneError


@pytest.mark.parametrize("acted", [True, False], ids=["after acting", "before acting"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_run_goes_on_in_the_middle_of_a_study(tmp_path: Path, nth: int, acted: bool) -> None:
    of, undisturbed = service(), service()
    run = Ran(tmp_path, MIXED)
    with pytest.raises(GoneError):
        run.go(lambda: Dies(of, nth, acted=acted))
    run.go(lambda: InProcess(of, epoch=of.now))
    (tmp_path / "other").mkdir()
    Ran(tmp_path / "other", MIXED).go(lambda: InProcess(undisturbed))
    assert set(run.states()["state"]) == {"applied"}
    assert numbers(of) == numbers(undisturbed)
    assert [of.metadata(one) for one in IDS] == [undisturbed.metadata(one) for one in IDS]


class WritesFirst(InProcess):
    """Another writer changes an image set just before our first request for it leaves."""

    def __init__(self, of: Service, image_set_id: str) -> None:
        super().__init__(of)
        self.image_set_id = image_set_id

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        if request.image_set_id == self.image_set_id:
            self.image_set_id = ""
            world = self.service.world
            world.write_as_another(world.image_set("emulated000000000000000000000001", request.image_set_id), 0.0)
        return await super().update(request)


class StopsAt(WritesFirst):
    """Also loses its process before the first update of an image set, as a kill does."""

    def __init__(self, of: Service, written: str, at: str) -> None:
        super().__init__(of, written)
        self._at = at

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        if request.image_set_id == self._at:
            raise Killed
        return await super().update(request)


class Killed(Exception):  # noqa: N818 - no error
    pass


def test_a_conflict_that_stopped_an_image_set_stops_it_after_a_resume_too(tmp_path: Path) -> None:
    of = service()
    rows = [series(A), series(B), *of_study("StudyDescription", "X"), *of_study("PatientName", "Y"), series(A, "Z")]
    run = Ran(tmp_path, rows)
    with pytest.raises(Killed):
        run.go(lambda: StopsAt(of, A, B), on_conflict=OnConflict.STOP)
    assert run.states()["state"].to_list()[0] == "conflicted"
    run.go(lambda: InProcess(of), on_conflict=OnConflict.STOP)
    calls = run.plan.calls().select("call", "image_set_id", "study_wide").collect()
    told = run.states().join(calls, on="call").select("image_set_id", "study_wide", "state").rows()
    assert set(told) == {(A, False, "conflicted"), (A, True, "conflicted"), (B, False, "applied")}
    assert descriptions(of) == ["CHEST"] * 3


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (A, {"study": "conflicted", A: "conflicted", B: "applied"}),
        ("", {"study": "applied", A: "applied", B: "applied"}),
    ],
    ids=["an image set", "nothing"],
)
def test_a_conflict_stops_its_image_set_and_its_study_but_no_sibling(
    tmp_path: Path, written: str, expected: dict[str, str]
) -> None:
    of = service()
    rows = [series(A), series(B), *of_study("StudyDescription", "X")]
    run = Ran(tmp_path, rows)
    run.go(lambda: WritesFirst(of, written), on_conflict=OnConflict.STOP)
    calls = run.plan.calls().select("call", "image_set_id", "study_wide").collect()
    state = run.states().join(calls, on="call")
    found = {
        "study" if wide else one: what for one, wide, what in state.select("image_set_id", "study_wide", "state").rows()
    }
    assert found == expected


@pytest.mark.parametrize(
    ("failed", "again"),
    [(row(B, action="revert", revert_to=1), False), (series(B, "before"), True)],
    ids=["revert of a sibling", "edit of its series"],
)
def test_a_study_wide_call_overtakes_what_concerns_the_same_places_of_its_siblings(
    tmp_path: Path, failed: dict[str, Any], *, again: bool
) -> None:
    plan = saved(tmp_path, [failed, row(A, "StudyDescription", "X", study_wide=True)])
    assert plan.calls().select("image_set_id", "study_wide").collect().rows() == [(B, False), (A, True)]
    with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
        ledger.append(
            [
                Event(at=1.0, call=0, state=CallState.FAILED),
                Event(at=2.0, call=1, state=CallState.APPLIED, expected_version=1, version=2),
            ]
        )
        assert resumption(plan, ledger, Strategy.FAILED).again == ((0,) if again else ())
