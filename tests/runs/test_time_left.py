"""The time left that a run shows while it runs is the time that it takes.

Whole runs in virtual time, observed each second; the truth is when each of them ended. From 20 s on, or from 60 s if
the quota has to be found and is below 5/s, it is never off by more than 25 % or 10 s, and from one second to the next
it rises by at most 3 s or 2 %. Before that, and while it is not known, none is shown, or that of the present rate. What
nothing can foretell is left out: an outage until it ends, and the 90 s in which a change of the quota is noticed.
"""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from bulkedit.client.pacing import Operation, Rate
from bulkedit.emulator import DEFAULT_DATASTORE_ID, UNTHROTTLED, CompletionTime, Settings
from bulkedit.runs.engine import Engine
from bulkedit.runs.ledger import Ledger
from bulkedit.runs.options import EngineOptions
from bulkedit.runs.time_left import TimeLeft, WorkLeft
from bulkedit.runs.waiting import WaitingFor
from tests.emulator.hospital import Service, document
from tests.runs.factories import KEY, planned, row
from tests.runs.simulation import Scenario, Step, _Distant, _quick_disk, _Quotas
from tests.runs.virtual_time import run_virtual

if TYPE_CHECKING:
    from bulkedit.client.contract import UpdateRequest
    from bulkedit.client.responses import Accepted, Lost, Refused
    from bulkedit.runs.progress import Progress

OFF, OFF_S = 0.25, 10.0
RISE, RISE_S = 0.02, 3.0
START_S = 20.0
SEARCH_S = 60.0  # as in tests/runs/test_simulations.py


@dataclass(frozen=True, slots=True)
class Told:
    """What a run has said each second, and how long it took."""

    seconds: float
    seen: list[tuple[float, Progress]]  # seconds since its begin

    def estimates(self, start_s: float = START_S) -> list[tuple[float, float, float]]:
        """(when, time left that was shown, time left in truth)."""
        return [
            (at, one.seconds_left, self.seconds - at)
            for at, one in self.seen
            if one.seconds_left is not None and at >= start_s
        ]

    def known_from(self) -> float:
        return next(at for at, one in self.seen if one.seconds_left is not None)


def told(scenario: Scenario, lanes: list[int], rate: Rate | None = None) -> Told:
    """Run it to its end. ``lanes``: calls of each image set; ``rate``: None if the run has to find its quota."""
    service = Service(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=scenario.completion_s)))
    quotas = _Quotas(scenario, service.now)
    service.world.quota = quotas
    service.world.settings = replace(service.world.settings, concurrent=scenario.concurrent)
    ids = [service.add(document(study=f"1.2.{n}", instances=1)) for n in range(len(lanes))]
    rows = [row(one, "StudyDescription", f"V{n}") for one, calls in zip(ids, lanes, strict=True) for n in range(calls)]
    options = EngineOptions()
    if rate is not None:
        options = replace(options, rates={**options.rates, Operation.UPDATE: rate})
    seen: list[tuple[float, Progress]] = []

    async def watch(engine: Engine) -> None:
        while True:
            seen.append((anyio.current_time(), engine.progress()))
            await anyio.sleep(1)

    async def main() -> float:
        with Ledger.create(Path(folder) / "ledger.sqlite") as ledger:
            client = _Distant(service, scenario.latency_s)
            engine = Engine(plan, client, ledger, options, key=KEY, rng=random.Random(scenario.seed))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch, engine)
                await engine.run()
                tasks.cancel_scope.cancel()
        return anyio.current_time()

    with tempfile.TemporaryDirectory(dir=_quick_disk()) as folder:
        plan = planned(Path(folder) / "plan", DEFAULT_DATASTORE_ID, rows, merge=False)
        return Told(run_virtual(main()), seen)


def start_s(scenario: Scenario, rate: Rate | None) -> float:
    """From when on the estimates must hold."""
    return START_S if rate is not None or scenario.rate >= 5 else SEARCH_S


def hold(estimates: list[tuple[float, float, float]]) -> None:
    assert estimates
    wrong = [one for one in estimates if abs(one[1] - one[2]) > max(OFF * one[2], OFF_S)]
    assert wrong == []
    rises = [(before, after) for before, after in pairwise(estimates) if after[0] - before[0] < 1.5]
    assert [one for one in rises if one[1][1] - one[0][1] > max(RISE * one[0][1], RISE_S)] == []


QUOTA = Scenario(rate=0.25, burst=1)
FEW = {
    "a rate that is given": (Scenario(rate=2, burst=4), [2] * 40, Rate(2, 1)),
    "the default quota": (QUOTA, [1] * 60, None),
    "a long lane at the end": (Scenario(rate=5, burst=10), [50] + [1] * 150, None),
    "a rate above the quota": (Scenario(rate=2, burst=4), [1] * 150, Rate(4, 1)),
}
MANY = {
    "lanes of four calls": (QUOTA, [4] * 20, None),
    "a higher quota": (Scenario(rate=1, burst=2), [4] * 60, None),
    "a quota of 5/s": (Scenario(rate=5, burst=10), [2] * 300, None),
    "a quota of 20/s": (Scenario(rate=20, burst=20), [2] * 600, None),
    "a short run": (Scenario(rate=20, burst=20), [1] * 400, None),
    "a quota of 100/s": (Scenario(rate=100, burst=200, completion_s=0.5), [1] * 2500, None),
    "a rate that is given, with a burst": (Scenario(rate=20, burst=20), [2] * 300, Rate(20, 20)),
    "long lanes of slow calls": (Scenario(rate=5, burst=10, completion_s=5), [60, 30] + [1] * 100, None),
    "updates in flight limit": (Scenario(rate=20, burst=20, completion_s=10, concurrent=20), [1] * 500, None),
    "another tenant": (Scenario(rate=1, burst=2, tenant=0.5), [2] * 150, None),
}


@pytest.mark.parametrize("name", FEW)
def test_the_time_left_is_true(name: str) -> None:
    scenario, lanes, rate = FEW[name]
    run = told(scenario, lanes, rate)
    hold(run.estimates(start_s(scenario, rate)))
    assert run.known_from() < 25


@pytest.mark.slow
@pytest.mark.parametrize("name", MANY)
def test_the_time_left_is_true_of_other_runs(name: str) -> None:
    scenario, lanes, rate = MANY[name]
    hold(told(scenario, lanes, rate).estimates(start_s(scenario, rate)))


def test_in_an_outage_no_time_is_shown_and_it_is_true_again_after_it() -> None:
    """The quota is 0 from 60 to 150 s, so every request is throttled. The pacer starts again about 30 s later."""
    run = told(Scenario(rate=1, burst=2, steps=(Step(60, 0.0), Step(150, 1.0))), [2] * 100)
    during = [one for at, one in run.seen if 80 < at < 150]
    assert {one.seconds_left for one in during} == {None}
    assert {waiting.what for one in during for waiting in one.waiting} == {WaitingFor.QUOTA}
    assert during[-1].waiting[0].seconds == pytest.approx(90, abs=20)
    hold(run.estimates(150))
    assert {one.waiting for at, one in run.seen if not 60 < at < 250} == {()}


class _Silent(_Distant):
    """Answers nothing between two times."""

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        if 30 < anyio.current_time() < 60:
            await anyio.sleep(60 - anyio.current_time())
        return await super().update(request)


def test_a_service_that_does_not_answer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.runs.test_time_left._Distant", _Silent)
    run = told(Scenario(rate=1, burst=2), [1] * 60, Rate(1, 1))
    during = [(round(at), one) for at, one in run.seen if 30 < at < 60]
    waited = {at: [waiting.what for waiting in one.waiting] for at, one in during if one.waiting}
    assert waited == {at: [WaitingFor.SERVICE] for at in range(36, 60)}
    assert {one.seconds_left for at, one in during if at > 45} == {None}


@pytest.mark.slow
@pytest.mark.parametrize("factor", [0.5, 2.0], ids=["halved", "doubled"])
def test_a_quota_that_changes_is_noticed(factor: float) -> None:
    hold(told(Scenario(rate=1, burst=2, steps=(Step(100, factor),)), [2] * 200).estimates(190))


WORK = WorkLeft(done=0, left=100, in_flight=0, quota=0.5, searching=False, lanes={}, longest_ahead=0)


def test_a_given_rate_is_enough_from_the_start() -> None:
    assert TimeLeft().observe(WORK, 0.0) == 200.0


def test_while_the_quota_is_searched_for_and_until_some_calls_were_sent_at_it_it_is_not_known() -> None:
    estimate = TimeLeft()
    assert estimate.observe(replace(WORK, searching=True), 0.0) is None
    told = [estimate.observe(replace(WORK, done=at // 2, left=100 - at // 2), float(at)) for at in range(1, 30)]
    assert next(at for at, seconds in enumerate(told, 1) if seconds is not None) == 12


def test_a_run_that_is_done_has_no_time_left() -> None:
    assert TimeLeft().observe(replace(WORK, left=0, quota=0.0), 0.0) == 0.0


def test_without_a_rate_it_is_not_known() -> None:
    assert TimeLeft().observe(replace(WORK, quota=0.0), 0.0) is None


def test_a_lane_takes_as_long_as_its_calls_one_after_the_other() -> None:
    estimate = TimeLeft()
    for at in range(10):
        estimate.sent(1, 10.0 * at)
        estimate.completed(1, 10.0 * at + 9.0)
    assert estimate.observe(replace(WORK, left=80, quota=10.0, lanes={1: 50}), 100.0) == 450.0
    assert TimeLeft().observe(replace(WORK, left=80, quota=10.0, lanes={1: 50}), 100.0) is None  # no call is known yet
