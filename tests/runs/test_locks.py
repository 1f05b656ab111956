"""Image sets that another writer has locked: what waits for them, what it costs, and what is told of them.

In process, on a clock that jumps: a lock of an hour takes milliseconds.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from bulkedit.cli._progress import time_left
from bulkedit.client.pacing import Operation, Rate, unlock_poll_in
from bulkedit.client.reader import Clock
from bulkedit.client.responses import ImageSet, Lost, Refusal, Refused
from bulkedit.emulator import CompletionTime
from bulkedit.emulator.settings import DEFAULT_DATASTORE_ID
from bulkedit.emulator.state.image_set import NEVER
from bulkedit.options.running import OnConflict
from bulkedit.runs.engine import Engine
from bulkedit.runs.ledger import Ledger
from bulkedit.runs.locks import LOCKED, LockWait
from bulkedit.runs.options import EngineOptions
from bulkedit.runs.waiting import WaitingFor
from tests.emulator.hospital import NOW, document
from tests.runs.factories import FAST, KEY, row
from tests.runs.test_study_lanes import STUDY, A, B, C, Ran, descriptions, of_study, series, service
from tests.runs.virtual_time import InProcess, run_virtual

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.client.contract import UpdateRequest
    from bulkedit.client.responses import Accepted, Datastore, Page
    from bulkedit.runs.progress import Progress
    from tests.emulator.hospital import Service

HOUR = 3600.0


def now() -> float:
    """The virtual time as the time of day."""
    return NOW + asyncio.get_running_loop().time()


class Counting(InProcess):
    """Counts requests by operation, and keeps when updates were sent and to which image set."""

    def __init__(self, of: Service) -> None:
        super().__init__(of)
        self.counts: Counter[str] = Counter()
        self.updates: list[tuple[float, str]] = []

    def _call(self, action: str, **params: Any) -> Any:
        self.counts[action] += 1
        if action == "UpdateImageSetMetadata":
            self.updates.append((asyncio.get_running_loop().time(), params["imageSetId"]))
        return super()._call(action, **params)


def lock(of: Service, image_set_id: str, seconds: float = NEVER, *, at: float = 0.0) -> None:
    of.world.lock_as_another(of.world.image_set(DEFAULT_DATASTORE_ID, image_set_id), NOW + at, seconds)


@dataclass
class Watched:
    """A run with the snapshots of its progress."""

    client: Counting
    progress: list[Progress] = field(default_factory=list)
    unresolved: int = 0
    took: float = 0.0


def go(
    run: Ran, client: Counting, *, every: float = 10 * HOUR, stop_at: float | None = None, **options: Any
) -> Watched:
    """Run or resume a plan; look at its progress every so many seconds."""
    watched = Watched(client)

    async def look(engine: Engine) -> None:
        while True:
            await anyio.sleep(every)
            watched.progress.append(engine.progress())

    async def stop(engine: Engine, at: float) -> None:
        await anyio.sleep(at)
        engine.stop.drain()

    async def main() -> None:
        with Ledger.open(run.path) if run.path.exists() else Ledger.create(run.path) as ledger:
            chosen = replace(EngineOptions(rates=FAST, unlock_timeout_s=2 * HOUR), **options)
            engine = Engine(run.plan, client, ledger, chosen, key=KEY, rng=random.Random(1), clock=Clock(epoch=now))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(look, engine)
                if stop_at is not None:
                    tasks.start_soon(stop, engine, stop_at)
                watched.unresolved = (await engine.run()).unresolved
                watched.took = asyncio.get_running_loop().time()
                tasks.cancel_scope.cancel()

    run_virtual(main())
    return watched


def rows_of_locks(run: Ran) -> list[str]:
    with Ledger.read(run.path) as ledger:
        return [event["message"] for event in ledger.events() if event["reason"] == LOCKED]


def waiting(run: Ran) -> dict[int, LockWait]:
    with Ledger.read(run.path) as ledger:
        last = {event["call"]: event["message"] for event in ledger.events()}
    return {call: wait for call, message in sorted(last.items()) if (wait := LockWait.of(message)) is not None}


def alone(of: Service, count: int) -> list[str]:
    """Image sets of studies of their own."""
    return [of.add(document(study=f"9.{number}")) for number in range(count)]


def names(image_sets: list[str]) -> list[dict[str, Any]]:
    return [row(one, "PatientName", "X") for one in image_sets]


# one image set


def test_a_locked_image_set_costs_no_update_until_it_is_unlocked_and_few_polls(tmp_path: Path) -> None:
    of = service()
    (one,) = alone(of, 1)
    lock(of, one, HOUR)
    watched = go(Ran(tmp_path, names([one])), Counting(of))
    assert [of_ for _, of_ in watched.client.updates] == [one]
    assert HOUR < watched.client.updates[0][0] < HOUR + 61
    assert watched.client.counts["GetImageSet"] + watched.client.counts["ListImageSetVersions"] < 150


def test_a_lock_that_lasts_is_in_the_ledger_once_when_it_is_met_and_once_when_it_ends(tmp_path: Path) -> None:
    of = service()
    (one,) = alone(of, 1)
    lock(of, one, HOUR)
    run = Ran(tmp_path, names([one]))
    go(run, Counting(of))
    began, ended = rows_of_locks(run)
    assert LockWait.of(began) == LockWait(one, NOW)
    assert LockWait.of(ended) is None
    assert ended.startswith(f"image set {one}, no longer locked: from ")
    assert waiting(run) == {}


def test_a_short_lock_is_not_told(tmp_path: Path) -> None:
    of = service()
    (one,) = alone(of, 1)
    lock(of, one, 5.0)
    run = Ran(tmp_path, names([one]))
    go(run, Counting(of))
    assert rows_of_locks(run) == []


def test_the_progress_tells_how_many_image_sets_are_waited_for_and_for_how_long(tmp_path: Path) -> None:
    of = service()
    ids = alone(of, 4)
    for one in ids[1:]:
        lock(of, one, HOUR)
    watched = go(Ran(tmp_path, names(ids)), Counting(of), every=720.0)
    numbers = watched.progress[0]
    assert numbers.seconds_left is None
    assert [(one.what, set(one.image_sets)) for one in numbers.waiting] == [(WaitingFor.UNLOCK, set(ids[1:]))]
    assert time_left(numbers) == ["waiting for unlock: 3 image sets, longest 12 min 00 s"]
    assert numbers.in_flight == 0


def test_locked_image_sets_do_not_hold_up_the_rest(tmp_path: Path) -> None:
    """At two updates a second, three lanes at most are opened ahead: locked ones do not count."""
    of = service()
    ids = alone(of, 30)
    for one in ids[:10]:
        lock(of, one, HOUR)
    rates = {**FAST, Operation.UPDATE: Rate(2, 1)}
    watched = go(Ran(tmp_path, names(ids)), Counting(of), rates=rates, max_in_flight=2, workers=1)
    free = [at for at, one in watched.client.updates if one in ids[10:]]
    assert (len(free), max(free) < 60) == (20, True)
    assert len(watched.client.updates) == 30


class LocksFirst(Counting):
    """Another writer locks an image set just before the first update of the run."""

    def __init__(self, of: Service, image_set_id: str, seconds: float) -> None:
        super().__init__(of)
        self.locks: list[tuple[str, float]] = [(image_set_id, seconds)]

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        for image_set_id, seconds in self.locks:
            lock(self.service, image_set_id, seconds, at=asyncio.get_running_loop().time())
        self.locks = []
        return await super().update(request)


def test_an_image_set_that_is_locked_just_before_its_update_holds_no_place_in_flight(tmp_path: Path) -> None:
    of = service()
    ids = alone(of, 3)
    plan = Ran(tmp_path, names(ids))
    first = plan.plan.calls().collect()["image_set_id"][0]
    watched = go(plan, LocksFirst(of, first, HOUR), max_in_flight=1, workers=1)
    sent = watched.client.updates
    assert Counter(one for _, one in sent) == {first: 2, **{one: 1 for one in ids if one != first}}
    assert [at > HOUR for at, _ in sent] == [False, False, False, True]


def test_a_stop_does_not_wait_for_another_writers_lock(tmp_path: Path) -> None:
    of = service()
    ids = alone(of, 2)
    run = Ran(tmp_path, names(ids))
    first = run.plan.calls().collect()["image_set_id"][0]
    watched = go(run, LocksFirst(of, first, HOUR), stop_at=100.0)
    assert watched.took == pytest.approx(100.0, abs=1.0)
    assert run.states()["state"].to_list() == ["planned", "applied"]
    assert waiting(run) == {0: LockWait(first, NOW)}  # when the run ended
    again = go(run, Counting(of))
    assert (len(again.client.updates), set(run.states()["state"])) == (1, {"applied"})


def test_the_unlock_timeout_names_the_image_set(tmp_path: Path) -> None:
    of = service()
    (one,) = alone(of, 1)
    lock(of, one)
    run = Ran(tmp_path, names([one]))
    watched = go(run, Counting(of), unlock_timeout_s=600)
    assert (watched.unresolved, watched.client.updates) == (1, [])
    last = run.states().row(0, named=True)
    assert (last["state"], last["reason"]) == ("planned", "unlock timeout")
    assert LockWait.of(last["message"]) == LockWait(one, NOW)
    assert 600 < watched.took < 620


def test_an_update_of_our_own_that_never_ends_is_named_too(tmp_path: Path) -> None:
    of = service(completion=1e9)
    (one,) = alone(of, 1)
    run = Ran(tmp_path, names([one]))
    go(run, Counting(of), unlock_timeout_s=600)
    last = run.states().row(0, named=True)
    assert (last["state"], last["reason"]) == ("accepted", "unlock timeout")
    assert last["message"].startswith(f"image set {one}, update under way since 2023-11-14 22:13:20Z")


class KilledError(Exception):
    """The process is gone."""


class DiesAt(Counting):
    """The process is gone at this time."""

    def __init__(self, of: Service, at: float) -> None:
        super().__init__(of)
        self.at = at

    def _call(self, action: str, **params: Any) -> Any:
        if asyncio.get_running_loop().time() >= self.at:
            raise KilledError
        return super()._call(action, **params)


@pytest.mark.parametrize(("policy", "ends"), [(OnConflict.RETRY, "applied"), (OnConflict.STOP, "conflicted")])
def test_a_kill_during_a_lock_hides_no_version_of_another_writer(tmp_path: Path, policy: OnConflict, ends: str) -> None:
    """The rows of the wait say nothing of versions, although the lock shows the other writer's."""
    of = service(completion=5.0)
    run = Ran(tmp_path, [series(B, "before"), row(B, action="revert", revert_to=1)])
    go(run, Counting(of), stop_at=2.0, on_conflict=policy)
    assert (run.states()["state"].to_list(), of.number(B)) == (["applied"], 2)
    of.world.write_as_another(of.world.image_set(DEFAULT_DATASTORE_ID, B), NOW)
    lock(of, B, HOUR)
    with pytest.raises(BaseExceptionGroup):
        go(run, DiesAt(of, 100.0), on_conflict=policy)
    assert waiting(run) == {1: LockWait(B, NOW)}
    go(run, Counting(of), on_conflict=policy)
    assert (run.states()["state"].to_list()[-1], run.states()["conflicts"].sum()) == (ends, 1)


def test_the_more_lanes_wait_the_rarer_each_of_them_polls() -> None:
    rng = random.Random(1)
    assert unlock_poll_in(20, HOUR, 1000, rng) == 200.0
    assert unlock_poll_in(20, HOUR, 1, rng) <= 60.0
    assert unlock_poll_in(1, 0.5, 1000, rng) == 0.5


# an image set of a study


def of_named() -> list[dict[str, Any]]:
    """One row that changes its study; the plan knows of no other image set of it."""
    return [row(A, "StudyDescription", "X", study_wide=True)]


ALL = of_study("StudyDescription", "X")


@pytest.mark.parametrize(("rows", "locked"), [(ALL, C), (ALL, A), (of_named(), B)], ids=["sibling", "own", "unplanned"])
def test_a_study_of_which_an_image_set_is_locked_for_an_hour_costs_one_update_and_one_at_the_unlock(
    tmp_path: Path, rows: list[dict[str, Any]], locked: str
) -> None:
    of = service()
    lock(of, locked, HOUR)
    run = Ran(tmp_path, rows)
    watched = go(run, Counting(of), every=720.0)
    own = run.plan.calls().collect()["image_set_id"][0]
    times = [at for at, _ in watched.client.updates]
    assert len(times) == (1 if locked == own else 2)
    assert HOUR < times[-1] < HOUR + 90
    assert [max(times[:-1], default=0.0)] < [10.0]
    assert (set(run.states()["state"]), descriptions(of)) == ({"applied"}, ["X"] * 3)
    assert watched.progress[0].waiting[0].image_sets == (locked,)
    assert [LockWait.of(message) for message in rows_of_locks(run)] == [LockWait(locked, NOW), None]
    polls = sum(watched.client.counts[name] for name in ("GetImageSet", "ListImageSetVersions"))
    assert polls < 200
    assert watched.client.counts["SearchImageSets"] == (1 if len(rows) == 1 and locked != own else 0)


def test_several_locked_image_sets_of_a_study_cost_one_update_too(tmp_path: Path) -> None:
    """The second one is unlocked first; the third is locked again while the second is waited for."""
    of = service()
    lock(of, B, 600.0)
    lock(of, C, 300.0)

    class LocksAgain(Counting):
        async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
            if 500 < asyncio.get_running_loop().time() < 600:
                lock(self.service, C, 1000.0, at=asyncio.get_running_loop().time())
            return await super().get_image_set(image_set_id, version)

    run = Ran(tmp_path, of_study("StudyDescription", "X"))
    watched = go(run, LocksAgain(of))
    assert (len(watched.client.updates), descriptions(of)) == (2, ["X"] * 3)


def test_an_image_set_that_was_added_to_the_study_since_the_plan_is_found(tmp_path: Path) -> None:
    of = service()
    run = Ran(tmp_path, of_study("StudyDescription", "X"))
    new = of.add(document("4", study=STUDY), primary=True)
    lock(of, new, HOUR)
    watched = go(run, Counting(of), every=720.0)
    assert (len(watched.client.updates), set(run.states()["state"])) == (2, {"applied"})
    assert watched.progress[0].waiting[0].image_sets == (new,)
    assert watched.client.counts["SearchImageSets"] == 1


def test_an_image_set_that_is_not_primary_is_not_waited_for(tmp_path: Path) -> None:
    of = service()
    other = of.add(document("4", study=STUDY), primary=False)
    lock(of, other)
    lock(of, C, 300.0)
    run = Ran(tmp_path, of_named())
    watched = go(run, Counting(of))
    assert (len(watched.client.updates), watched.took < 400) == (2, True)


def test_a_locked_image_set_that_is_deleted_is_out_of_the_study(tmp_path: Path) -> None:
    of = service()
    of.world.settings = replace(of.world.settings, completion_time=CompletionTime(seconds=900.0))
    of.call("DeleteImageSet", imageSetId=C)
    run = Ran(tmp_path, of_study("StudyDescription", "X"))
    watched = go(run, Counting(of))
    assert (len(watched.client.updates), run.states()["state"].to_list()) == (2, ["applied"])


class Denies(Counting):
    """Reads of one image set are denied; searches too."""

    denied = C

    async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
        if image_set_id == self.denied:
            return Refused(Refusal.ACCESS_DENIED, "AccessDeniedException")
        return await super().get_image_set(image_set_id, version)

    async def search(self, *_: Any, **__: Any) -> Page | Refused | Lost:
        return Refused(Refusal.ACCESS_DENIED, "AccessDeniedException")

    async def get_datastore(self) -> Datastore | Refused | Lost:
        raise AssertionError("whether all access is denied is not asked")


def test_a_lock_that_cannot_be_seen_is_tried_again_every_few_minutes(tmp_path: Path) -> None:
    of = service()
    lock(of, C, HOUR)
    run = Ran(tmp_path, of_study("StudyDescription", "X"))
    watched = go(run, Denies(of), every=720.0)
    times = [at for at, _ in watched.client.updates]
    assert (run.states()["state"].to_list(), 10 < len(times) < 30) == (["applied"], True)
    assert min(later - earlier for earlier, later in itertools.pairwise(times[1:])) >= 30
    assert HOUR < times[-1] < HOUR + 300
    assert time_left(watched.progress[0]) == ["waiting for unlock for 12 min 00 s"]
    messages = rows_of_locks(run)
    assert LockWait.of(messages[0]) == LockWait(None, NOW)
    assert LockWait.of(messages[-1]) is None


def test_a_lock_that_cannot_be_seen_is_given_up_after_the_unlock_timeout(tmp_path: Path) -> None:
    of = service()
    lock(of, C)
    run = Ran(tmp_path, of_study("StudyDescription", "X"))
    watched = go(run, Denies(of), unlock_timeout_s=900)
    last = run.states().row(0, named=True)
    assert (watched.unresolved, last["reason"], last["state"]) == (1, "unlock timeout", "intended")
    assert last["message"].startswith("image set unknown, refused as locked since ")
    assert 900 <= watched.took < 905


def test_the_unlock_timeout_names_the_image_set_of_the_study(tmp_path: Path) -> None:
    of = service()
    lock(of, C)
    run = Ran(tmp_path, of_study("StudyDescription", "X"))
    watched = go(run, Counting(of), unlock_timeout_s=900)
    last = run.states().row(0, named=True)
    assert (watched.unresolved, last["reason"], LockWait.of(last["message"])) == (1, "unlock timeout", LockWait(C, NOW))
    assert len(watched.client.updates) == 1
    again = go(run, Counting(of), unlock_timeout_s=900)
    assert (again.unresolved, again.client.updates) == (1, [])


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_resume_that_meets_the_lock_again_polls_before_it_sends(tmp_path: Path, how: str) -> None:
    of = service()
    lock(of, C, HOUR)
    run = Ran(tmp_path, of_study("StudyDescription", "X"))
    if how == "stop":
        go(run, Counting(of), stop_at=900.0)
    else:
        with pytest.raises(BaseExceptionGroup):
            go(run, DiesAt(of, 900.0))
    assert waiting(run) == {0: LockWait(C, NOW)}
    again = go(run, Counting(of))
    assert (len(again.client.updates), again.client.updates[0][0] > HOUR) == (1, True)
    assert (run.states()["state"].to_list(), descriptions(of)) == (["applied"], ["X"] * 3)


@pytest.mark.parametrize(("policy", "ends"), [(OnConflict.RETRY, "applied"), (OnConflict.STOP, "conflicted")])
def test_a_version_that_another_writer_made_during_the_lock_is_a_conflict(
    tmp_path: Path, policy: OnConflict, ends: str
) -> None:
    of = service()
    lock(of, C, HOUR)

    class Writes(Counting):
        async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
            if image_set_id == C and asyncio.get_running_loop().time() > 1000 and of.number(A) == 1:
                of.world.write_as_another(of.world.image_set(DEFAULT_DATASTORE_ID, A), now())
            return await super().get_image_set(image_set_id, version)

    run = Ran(tmp_path, of_study("StudyDescription", "X"))
    watched = go(run, Writes(of), on_conflict=policy)
    assert run.states()["state"].to_list() == [ends]
    assert run.states()["conflicts"].to_list() == [1]
    assert len(watched.client.updates) == (2 if ends == "applied" else 1)


def test_reads_of_the_study_that_are_lost_are_repeated(tmp_path: Path) -> None:
    of = service()
    lock(of, C, 100.0)

    class Loses(Counting):
        lost = 0

        async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
            if image_set_id == C and self.lost < 3:
                self.lost += 1
                return Lost("ReadTimeoutError") if self.lost < 2 else Refused(Refusal.THROTTLED, "ThrottlingException")
            return await super().get_image_set(image_set_id, version)

    run = Ran(tmp_path, of_study("StudyDescription", "X"))
    watched = go(run, Loses(of))
    assert (len(watched.client.updates), run.states()["state"].to_list()) == (2, ["applied"])
