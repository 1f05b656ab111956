"""The same answers make the same run, whether it is stopped and gone on with or not.

A script says what becomes of each update request of a run, by its number. It is played twice: in one process, and in
several that are told to stop, or killed, in between. A kill is a lost answer, so in the one process the answer to that
request is lost. A stranger who writes while the run is stopped writes right before the next request in the other.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from bulkedit.client.responses import Lost
from bulkedit.emulator import DEFAULT_DATASTORE_ID, Fault, FaultKind, profile
from bulkedit.emulator.state.document import parse
from bulkedit.options.running import OnConflict, Strategy
from bulkedit.runs import ledger_frames
from bulkedit.runs.ledger import Ledger
from bulkedit.runs.resume import resumption
from tests.emulator.hospital import document
from tests.runs.factories import PassThroughClient, planned, row
from tests.runs.journal_check import judge
from tests.runs.killable import Emulated, KillSwitch, emulated, process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.client.contract import Client, UpdateRequest
    from bulkedit.client.responses import Accepted, Refused
    from bulkedit.plans import SavedPlan
    from bulkedit.runs.engine import Engine

UPDATE, STUDY = "UpdateImageSetMetadata", "1.2.3"
TROUBLES = [
    FaultKind.DROP_BEFORE,
    FaultKind.DROP_AFTER,
    FaultKind.ERROR_AFTER,
    FaultKind.THROTTLE,
    FaultKind.CONFLICT,
    FaultKind.FAIL,
    FaultKind.LATE,
    FaultKind.FOREIGN_BEFORE,
    FaultKind.FOREIGN_AFTER,
]
LOST_BY = {"killed before": "lost before", "killed after": "lost after"}  # what a kill is to a process that lives on
STOPS = ["stopped", *LOST_BY]
BEYOND = 1_000  # requests: no script says anything of those after so many
FAILED_THEN_FOLLOWED = (FaultKind.FAIL, FaultKind.FOREIGN_AFTER)


@dataclass(frozen=True, slots=True)
class Script:
    """What becomes of each update request, by its number, and where the run stops."""

    edits: tuple[dict[str, Any], ...]
    troubles: dict[int, tuple[FaultKind, ...]]
    stops: dict[int, str]  # `STOPS`, or how the answer is lost instead
    policy: OnConflict = OnConflict.RETRY
    merge: bool = False
    rules: dict[str, str] = field(default_factory=dict)
    pause_s: float = 30.0

    @property
    def stranger_meanwhile(self) -> set[int]:
        """Requests before which another writer comes while the run is stopped."""
        return {
            number
            for number, kinds in self.troubles.items()
            if self.stops.get(number - 1) in STOPS and FaultKind.FOREIGN_BEFORE in kinds
        }

    def without_stops(self) -> Script:
        """The same answers in one process."""
        lost = {number: LOST_BY[stop] for number, stop in self.stops.items() if stop in LOST_BY}
        return Script(self.edits, self.troubles, lost, self.policy, self.merge, self.rules)


@dataclass(slots=True)
class Play:
    """One playing of a script."""

    script: Script
    folder: Path
    server: Emulated = field(init=False)
    image_set_id: str = field(init=False)
    plan: SavedPlan = field(init=False)
    sent: int = 0
    engine: Engine | None = None

    def __post_init__(self) -> None:
        self.server = emulated(profile=profile(**self.script.rules))
        self.image_set_id = self.server.world.add_image_set(
            DEFAULT_DATASTORE_ID, document(study=STUDY), now=self.server.now(), primary=False
        )
        rows = [row(self.image_set_id, **edit) for edit in self.script.edits]
        self.plan = planned(self.folder / "plan", DEFAULT_DATASTORE_ID, rows, merge=self.script.merge)

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.sqlite"

    def run(self) -> None:
        for _ in range(len(self.script.stops) + 1):
            self.go()
            self.server.wait(self.script.pause_s)
            # the other play has no next request before which the writer could come if the run has ended
            goes_on = self.engine is not None and self.engine.counters.unprocessed > 0
            if goes_on and self.sent in self.script.stranger_meanwhile:
                image_set = self.server.world.image_set(DEFAULT_DATASTORE_ID, self.image_set_id)
                self.server.world.write_as_another(image_set, self.server.now())
                self.server.catch_up()
                self.sent += 1  # without the stop this request would be stale; now a look tells before it is sent
        self.server.wait(200)
        self.go()

    def go(self, *, sends_new: bool = True) -> None:
        process(
            self.server,
            self.plan,
            self.ledger,
            mortal=self._scripted,
            prepare=self._prepare,
            sends_new=sends_new,
            on_conflict=self.script.policy,
            unlock_timeout_s=600.0,
        )

    def again(self) -> None:
        """`resume --strategy failed`, without any trouble."""
        with Ledger.open(self.ledger) as ledger:
            chosen = resumption(self.plan, ledger, Strategy.FAILED)
            ledger.append(chosen.events(ledger, self.server.now()))
        self.sent = BEYOND
        self.go(sends_new=chosen.sends_new)

    def _prepare(self, engine: Engine) -> None:
        self.engine = engine

    def _scripted(self, client: Client, death: KillSwitch) -> Client:
        return Scripted(client, self, death)

    def told(self) -> list[dict[str, Any]]:
        """What the ledger says of each call in the end.

        If a version holds what the one before holds, it depends on when a late request arrived whether it is claimed.
        """
        wanted = ("call", "state", "version", "conflicts")
        with Ledger.read(self.ledger) as ledger:
            found = [{name: one[name] for name in wanted} for one in ledger_frames.states(ledger).to_dicts()]
        documents = [None, *(document for _, document in self.stored())]
        for one in found:
            if one["version"] and documents[one["version"]] == documents[one["version"] - 1]:
                one["version"] = None
        return found

    def stored(self) -> list[tuple[str, Any]]:
        """What became of each version."""
        image_set = self.server.world.image_set(DEFAULT_DATASTORE_ID, self.image_set_id)
        return [(version.status, parse(version.document)) for version in image_set.versions]


class Scripted(PassThroughClient):
    """Plays the script to the requests of one process."""

    def __init__(self, inner: Client, play: Play, death: KillSwitch) -> None:
        super().__init__(inner)
        self.play, self.death = play, death

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        play, number = self.play, self.play.sent
        play.sent += 1
        stop = play.script.stops.get(number)
        if stop == "killed before":
            await self.death.now()
        if stop == "lost before":
            return Lost("as by a kill")
        kinds = set(play.script.troubles.get(number, ()) if stop in {None, "stopped"} else ())
        play.server.faults.clear()
        faults = [Fault(kind=kind, action=UPDATE, times=1, seconds=2.0) for kind in kinds]
        play.server.faults.add(faults, now=play.server.now())
        if stop == "stopped" and play.engine is not None:
            play.engine.stop.drain()
        answer = await super().update(request)
        if stop == "killed after":
            await self.death.now()
        return Lost("as by a kill") if stop == "lost after" else answer


NAME: dict[str, Any] = {"attribute": "PatientName", "value": "NEW^NAME"}
TEXT: dict[str, Any] = {"attribute": "StudyDescription", "value": "NEW"}
EDITS: list[dict[str, Any]] = [
    NAME,
    {**NAME, "value": "DOE^JANE"},
    TEXT,
    {**TEXT, "force": True},
    {"attribute": "StudyDescription", "value": {}, "action": "remove"},
    {"attribute": "StudyDescription", "value": "CHEST", "action": "remove"},
    {"attribute": "PatientComments", "value": {}, "action": "remove"},
    {"attribute": "StudyID", "value": "needs force"},
    {"action": "revert", "revert_to": 1},
]
edits = st.lists(
    st.builds(
        lambda edit, version: {**edit, "version": version}, st.sampled_from(EDITS), st.none() | st.integers(1, 3)
    ),
    min_size=1,
    max_size=4,
).map(tuple)
troubles = st.dictionaries(
    st.integers(0, 7),
    st.one_of(st.sampled_from(TROUBLES).map(lambda kind: (kind,)), st.just(FAILED_THEN_FOLLOWED)),
    max_size=3,
)
stops = st.dictionaries(st.integers(0, 7), st.sampled_from(STOPS), min_size=1, max_size=3)


def is_out_of_sight(script: Script) -> bool:
    """What a run cannot see: docs/limits.md, "Whether a failed update uses a version up"."""
    return script.rules["failed_version"] == "kept" and FAILED_THEN_FOLLOWED in script.troubles.values()


scripts = st.builds(
    Script,
    edits,
    troubles,
    stops,
    policy=st.sampled_from(OnConflict),
    merge=st.booleans(),
    rules=st.fixed_dictionaries(
        {
            "stale_version": st.sampled_from(["not-found", "conflict"]),
            "constraints": st.sampled_from(["async", "sync"]),
            "checked_first": st.sampled_from(["version", "content"]),
            "failed_version": st.sampled_from(["consumed", "kept"]),
        }
    ),
    pause_s=st.sampled_from([0.0, 1.0, 30.0]),
).filter(lambda script: not is_out_of_sight(script))


def played(script: Script) -> Iterator[tuple[Any, Any]]:
    """What is told and what is stored, after the run and after its failed calls were sent again."""
    with tempfile.TemporaryDirectory() as name:
        play = Play(script, Path(name))
        play.run()
        judge(play.server, play.plan, play.ledger)
        yield play.told(), play.stored()
        play.again()
        judge(play.server, play.plan, play.ledger)
        yield play.told(), play.stored()


def hold(script: Script) -> None:
    for with_stops, without in zip(played(script), played(script.without_stops()), strict=True):
        assert with_stops == without


CHOSEN = settings(
    deadline=None, suppress_health_check=list(HealthCheck), database=None, phases=[Phase.explicit, Phase.generate]
)


@settings(CHOSEN, max_examples=6)
@given(scripts)
def test_the_same_answers_make_the_same_run_with_stops_and_without(script: Script) -> None:
    hold(script)


@pytest.mark.slow
@settings(CHOSEN, max_examples=2_000)
@given(scripts)
def test_the_same_answers_make_the_same_run_with_stops_and_without_at_length(script: Script) -> None:
    hold(script)
