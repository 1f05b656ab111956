"""Runs that are killed, stopped, resumed, throttled, overtaken and left without answers, in any order.

The invariant, after every step: the versions that our requests have made are those of the calls that the ledger calls
applied, one for one (`tests.runs.journal_check`). And at the end each attribute of each image set has the value that
the last edit applied to it has given it, as a dictionary says. Each state that the ledger has of a call follows from
the one before by a row of the table.
"""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bulkedit._json import object_in
from bulkedit.after.revert import revert
from bulkedit.client.pacing import Operation, Rate
from bulkedit.client.responses import CallState, Outcome, outcome_of
from bulkedit.emulator import DEFAULT_DATASTORE_ID, Fault, FaultKind, profile
from bulkedit.emulator.state.document import parse
from bulkedit.errors import UsageError
from bulkedit.options.running import OnConflict, Strategy
from bulkedit.runs import folder as runs
from bulkedit.runs import ledger_frames
from bulkedit.runs.ledger import Event, Ledger
from bulkedit.runs.resume import resumption
from bulkedit.runs.transitions import CALLS, OPEN
from tests.emulator.hospital import document
from tests.runs.factories import FAST, FAST_READS, PassThroughClient, planned, row
from tests.runs.journal_check import judge, weigh
from tests.runs.killable import DirectClient, Kill, emulated, in_place, process
from tests.runs.virtual_time import run_virtual

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulkedit.after.revert import Reversal
    from bulkedit.client.contract import UpdateRequest
    from bulkedit.client.responses import Accepted, Lost, Refused
    from bulkedit.runs.engine import Engine

IMAGE_SETS = 4
NOW = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)  # when the emulator's time begins
LEVELS = {"PatientName": "Patient", "StudyDescription": "Study", "AccessionNumber": "Study", "StudyID": "Study"}
UPDATE, GET, METADATA = "UpdateImageSetMetadata", "GetImageSet", "GetImageSetMetadata"
LOSSES = [FaultKind.DROP_BEFORE, FaultKind.DROP_AFTER, FaultKind.ERROR_BEFORE, FaultKind.ERROR_AFTER]
WRITE_TROUBLES = [
    *LOSSES,
    FaultKind.THROTTLE,
    FaultKind.CONFLICT,
    FaultKind.FAIL,
    FaultKind.FOREIGN_BEFORE,
    FaultKind.FOREIGN_AFTER,
]

# What the ledger may have of a call one after the other. A process that takes up an intended call takes its outcome for
# unknown, and does not write that down.
_STEPS = {(state, following) for (state, _), (following, _) in CALLS.rows.items()}
FOLLOWS = _STEPS | {
    (CallState.INTENDED, following) for state, following in _STEPS if state is CallState.OUTCOME_UNKNOWN
}

places = st.integers(0, IMAGE_SETS - 1)
edits = st.one_of(
    st.fixed_dictionaries({"attribute": st.sampled_from(list(LEVELS)), "force": st.booleans()}),
    st.fixed_dictionaries({"attribute": st.just("AccessionNumber"), "action": st.just("remove")}),
    st.fixed_dictionaries({"attribute": st.just("PatientName"), "version": st.integers(1, 3)}),
    st.fixed_dictionaries(
        {"attribute": st.sampled_from(["PatientName", "StudyDescription"]), "order": st.integers(1, 3)}
    ),
    st.fixed_dictionaries({"action": st.just("revert"), "revert_to": st.just(1)}),
)


class Draining(PassThroughClient):
    """Asks for a stop when a number of updates has been sent."""

    left = 0
    engine: Engine

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        self.left -= 1
        if self.left == 0:
            self.engine.stop.drain()
        return await self.inner.update(request)


class Run(RuleBasedStateMachine):
    """One plan, one service, one ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.ids: list[str] = []

    @initialize(
        asked=st.lists(st.tuples(places, edits), min_size=3, max_size=12),
        reused=st.sampled_from(["not-found", "conflict"]),
        sync=st.sampled_from(["async", "sync"]),
        first=st.sampled_from(["version", "content"]),
        policy=st.sampled_from(OnConflict),
        merge=st.booleans(),
        undo=st.sampled_from([None, None, 3, 8]),
    )
    def plan_it(
        self,
        asked: list[tuple[int, dict[str, Any]]],
        reused: str,
        sync: str,
        first: str,
        policy: OnConflict,
        *,
        merge: bool,
        undo: int | None,
    ) -> None:
        """``undo``: the run is undone in the end, by a run that is killed at its request of this number."""
        self.undo = undo
        self.server = emulated(profile=profile(stale_version=reused, constraints=sync, checked_first=first))
        self.policy = policy
        for number in range(IMAGE_SETS):
            content = document(study=f"1.2.{number}")
            self.ids.append(
                self.server.world.add_image_set(DEFAULT_DATASTORE_ID, content, now=self.server.now(), primary=False)
            )
        rows = []
        for number, (place, fields) in enumerate(asked):
            value: Any = {} if fields.get("action") == "remove" else f"V{number}"
            rows.append(row(self.ids[place], **{"value": value, **fields}))
        made = planned(self.folder / "plan", DEFAULT_DATASTORE_ID, rows, merge=merge)
        self.run = runs.create(self.folder / "run", made, {"connection": {}, "options": {}}, NOW)
        self.plan, self.ledger = self.run.plan, self.run.ledger

    # -- what goes wrong

    @rule(kind=st.sampled_from(WRITE_TROUBLES), place=places, skip=st.integers(0, 2), times=st.integers(1, 3))
    def trouble_a_write(self, kind: FaultKind, place: int, skip: int, times: int) -> None:
        self._set(Fault(kind=kind, action=UPDATE, image_set_id=self.ids[place], skip=skip, times=times))

    @rule(place=places, skip=st.integers(0, 2))
    def fail_a_write_and_follow_it(self, place: int, skip: int) -> None:
        for kind in (FaultKind.FAIL, FaultKind.FOREIGN_AFTER):
            self._set(Fault(kind=kind, action=UPDATE, image_set_id=self.ids[place], skip=skip, times=1))

    @rule(place=places, seconds=st.sampled_from([0.01, 0.3, 0.7, 4.0, 60.0]))
    def delay_a_write(self, place: int, seconds: float) -> None:
        self._set(Fault(kind=FaultKind.LATE, action=UPDATE, image_set_id=self.ids[place], times=1, seconds=seconds))

    @rule(kind=st.sampled_from([*LOSSES, FaultKind.THROTTLE]), action=st.sampled_from([GET, METADATA]), place=places)
    def trouble_a_read(self, kind: FaultKind, action: str, place: int) -> None:
        self._set(Fault(kind=kind, action=action, image_set_id=self.ids[place], times=2))

    def _set(self, fault: Fault) -> None:
        self.server.faults.add([fault], now=self.server.now())

    @rule(place=places)
    def a_stranger_writes(self, place: int) -> None:
        image_set = self.server.world.image_set(DEFAULT_DATASTORE_ID, self.ids[place])
        self.server.world.write_as_another(image_set, self.server.now())
        self.server.catch_up()

    @rule(scale=st.sampled_from([1.0, 40.0, 4000.0]))
    def the_quota_steps(self, scale: float) -> None:
        self.server.world.quota.rescale(scale)

    @rule(seconds=st.sampled_from([0.1, 1.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.server.wait(seconds)

    # -- processes

    @rule(at=st.integers(1, 25), done=st.booleans())
    def run_until_killed(self, at: int, done: bool) -> None:
        process(self.server, self.plan, self.ledger, kill=Kill(at, done=done), **self._options())

    @rule(updates=st.integers(1, 5))
    def run_until_stopped(self, updates: int) -> None:
        draining: list[Draining] = []

        def wrap(client: Any) -> Draining:
            draining.append(Draining(client))
            draining[0].left = updates
            return draining[0]

        def prepare(engine: Engine) -> None:
            draining[0].engine = engine

        process(self.server, self.plan, self.ledger, wrap=wrap, prepare=prepare, **self._options())

    @precondition(lambda self: self.ledger.exists())
    @rule()
    def run_on(self) -> None:
        process(self.server, self.plan, self.ledger, **self._options())

    @precondition(lambda self: self.ledger.exists())
    @rule(strategy=st.sampled_from(Strategy), at=st.none() | st.integers(1, 25))
    def resume(self, strategy: Strategy, at: int | None) -> None:
        with Ledger.open(self.ledger) as ledger:
            chosen = resumption(self.plan, ledger, strategy)
            ledger.append(chosen.events(ledger, self.server.now()))
        kill = None if at is None else Kill(at)
        process(self.server, self.plan, self.ledger, kill=kill, sends_new=chosen.sends_new, **self._options())

    def _options(self) -> dict[str, Any]:
        rates = {**FAST, Operation.UPDATE: Rate(10.0, 5)}
        return {"rates": rates, "on_conflict": self.policy, "unlock_timeout_s": 600.0}

    # -- what must hold

    @invariant()
    def ledger_and_service_agree(self) -> None:
        if self.ids and self.ledger.exists():
            judge(self.server, self.plan, self.ledger)

    @invariant()
    def each_state_follows_by_the_table(self) -> None:
        if self.ids and self.ledger.exists():
            with Ledger.read(self.ledger) as ledger:
                assert strays(ledger.intact_events()) == []

    def teardown(self) -> None:
        try:
            if self.ids:
                self._end()
        finally:
            shutil.rmtree(self.folder)

    def _end(self) -> None:
        self.server.faults.clear()
        self.server.wait(120)
        process(self.server, self.plan, self.ledger, **self._options())
        sheet = judge(self.server, self.plan, self.ledger)
        assert sheet.outcomes[Outcome.UNPROCESSED] == 0
        if self.policy is OnConflict.RETRY:
            named = self.plan.edits().filter(pl.col("version").is_null()).collect()["edit"].to_list()
            assert {self._outcomes()[edit] for edit in named} <= {Outcome.APPLIED, Outcome.REJECTED}
        self._hold_to_the_dictionary()
        if self.undo is not None:
            self._undo(self.undo)

    def _undo(self, kill: int) -> None:
        """Afterwards each image set that no other writer has changed since reads as before the run."""

        async def plan() -> Reversal:
            return await revert(self.run, DirectClient(self.server), self.folder / "undo", now=NOW, rates=FAST_READS)

        try:
            with in_place():
                found = run_virtual(plan())
        except UsageError:
            return  # there is nothing to undo
        if not found.plan.counts["calls"]:
            return
        undoing = runs.create(self.folder / "undoing", found.plan, {"connection": {}, "options": {}}, NOW)
        self._set(Fault(kind=FaultKind.FAIL, action=UPDATE, times=1))
        process(self.server, undoing.plan, undoing.ledger, kill=Kill(kill, done=True), **self._options())
        self.server.wait(120)
        process(self.server, undoing.plan, undoing.ledger, **self._options())
        _, wrong = weigh(self.server, undoing.plan, undoing.ledger, (self.plan, self.ledger))
        assert not wrong
        with Ledger.read(undoing.ledger) as ledger:
            assert set(ledger_frames.states(ledger)["state"]) == {"applied"}

    def _outcomes(self) -> dict[int, Outcome]:
        with Ledger.read(self.ledger) as ledger:
            state = dict(ledger_frames.states(ledger).select("call", "state").iter_rows())
            call_of = dict(self.plan.edits().select("edit", "call").collect().iter_rows())
            call_of |= {edit: part.call for part in ledger.parts() for edit in part.edits}
        return {edit: outcome_of(CallState(state[call])) for edit, call in call_of.items()}

    def _hold_to_the_dictionary(self) -> None:
        outcomes = self._outcomes()
        model: dict[tuple[str, str], str | None] = {}
        for one in self.ids:
            model |= {(one, "PatientName"): "DOE^JANE", (one, "StudyDescription"): "CHEST"}
            model |= {(one, "AccessionNumber"): "A1", (one, "StudyID"): "S1"}
        first = dict(model)
        for edit in self.plan.edits().collect().sort("edit").iter_rows(named=True):
            if outcomes[edit["edit"]] is not Outcome.APPLIED:
                continue
            where = edit["image_set_id"]
            if edit["action"] == "revert":
                model |= {key: value for key, value in first.items() if key[0] == where}
            else:
                model[where, edit["attribute"]] = None if edit["action"] == "remove" else edit["value"].strip('"')
        for (one, attribute), value in model.items():
            found = parse(self.server.world.image_set(DEFAULT_DATASTORE_ID, one).latest.document)
            assert object_in(found, LEVELS[attribute], "DICOM").get(attribute) == value


def strays(events: Iterable[Event]) -> list[tuple[int, str, str]]:
    """Call and two states, of which the later does not follow by the table. What a resume sends again begins anew."""
    last: dict[int, CallState] = {}
    found = []
    for event in events:
        before = last.get(event.call, CallState.PLANNED)
        sent_again = before not in OPEN and event.state is CallState.PLANNED
        if (before, event.state) not in FOLLOWS and not sent_again:
            found.append((event.call, str(before), str(event.state)))
        last[event.call] = event.state
    return found


def test_a_state_that_does_not_follow_by_the_table_is_found() -> None:
    said = [(0, "planned"), (0, "intended"), (1, "accepted"), (0, "accepted"), (0, "skipped"), (0, "planned")]
    found = strays(Event(at=0.0, call=call, state=CallState(state)) for call, state in said)
    assert found == [(1, "planned", "accepted"), (0, "accepted", "skipped")]


HEALTH = list(HealthCheck)
PHASES = [Phase.explicit, Phase.generate, Phase.target, Phase.shrink]


def test_nothing_is_lost_and_nothing_done_twice_whatever_happens() -> None:
    run_machine(examples=18, steps=10)


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_done_twice_whatever_happens_at_length() -> None:
    run_machine(examples=2_000, steps=30)


def run_machine(*, examples: int, steps: int) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=HEALTH,
        phases=PHASES,
        database=None,
        print_blob=True,
    )
    run_state_machine_as_test(Run, settings=chosen)
