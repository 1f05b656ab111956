"""Random scenarios, a seed each: a list, a service, faults, other writers, kills, stops, resumes, and the undoing.

`draw` makes a scenario of a seed, `play` plays it in process, and `tests.runs.random_scenarios_check` says what is
wrong with what it has left. A scenario is data: `python -m tests.runs.random_scenarios SEED` plays it again and prints
it, and `--shrink` takes out of it all that is not needed for it to fail.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from bulkedit import plans
from bulkedit.after import revert as reversal
from bulkedit.client.pacing import Operation, Rate
from bulkedit.dicom import dictionary as dicom
from bulkedit.emulator import DEFAULT_DATASTORE_ID, Fault, FaultKind, ServiceProfile, profile, switches
from bulkedit.errors import BulkeditError, UsageError
from bulkedit.options.running import OnConflict, Strategy
from bulkedit.runs import folder as runs
from bulkedit.runs.ledger import Ledger
from bulkedit.runs.resume import resumption
from tests.emulator.hospital import document
from tests.runs.factories import FAST, FAST_READS, about_plan, frame, row
from tests.runs.killable import DirectClient, Emulated, Following, Kill, emulated, in_place, process
from tests.runs.schedule import Schedule
from tests.runs.virtual_time import run_virtual

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bulkedit.client.contract import Client, UpdateRequest
    from bulkedit.client.responses import Accepted, Lost, Refused
    from bulkedit.runs.engine import Engine

UPDATE, GET, METADATA, VERSIONS = (
    "UpdateImageSetMetadata",
    "GetImageSet",
    "GetImageSetMetadata",
    "ListImageSetVersions",
)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
LOSSES = (FaultKind.DROP_BEFORE, FaultKind.DROP_AFTER, FaultKind.ERROR_BEFORE, FaultKind.ERROR_AFTER)
OTHERS = (FaultKind.FOREIGN_BEFORE, FaultKind.FOREIGN_AFTER, FaultKind.FOREIGN_FAILED)
OF_WRITES = (*LOSSES, FaultKind.LATE, FaultKind.SLOW, FaultKind.THROTTLE, FaultKind.CONFLICT, FaultKind.FAIL, *OTHERS)
OF_READS = (*LOSSES, FaultKind.THROTTLE, FaultKind.LAGGING)
RARE = (FaultKind.EXPIRED, FaultKind.DENIED)
SCHEDULED = 0.5  # of all scenarios


# -- scenarios


@dataclass(frozen=True, slots=True)
class Holding:
    """One image set."""

    study: int
    primary: bool


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault, and the image set that it is for."""

    image_set: int
    fault: Fault


@dataclass(frozen=True, slots=True)
class Life:
    """One process of a run: how it ends, and what comes before it."""

    kill_at: int | None = None  # its request of this number
    done: bool = False  # the request is carried out first
    drain_at: int | None = None  # its update of this number: then nothing new is sent
    strategy: Strategy = Strategy.NEW
    pause_s: float = 1.0
    writers: tuple[int, ...] = ()  # image sets to which others write in the pause


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens in one seed."""

    seed: int
    switches: dict[str, str]
    image_sets: tuple[Holding, ...]
    rows: tuple[dict[str, Any], ...]  # as `row` takes them; ``image_set`` is an index
    merge: bool
    by_list: bool
    on_conflict: OnConflict
    troubles: tuple[Trouble, ...]
    eyes: tuple[int, ...]  # image sets to which another writes as soon as an answer was lost
    lives: tuple[Life, ...]
    undo: tuple[Life, ...] | None = None
    undo_troubles: tuple[Trouble, ...] = ()
    scheduled: bool = False  # requests and work on threads take times that the seed decides; otherwise none

    @property
    def profile(self) -> ServiceProfile:
        age = self.switches.get("service_version", "2026")
        return profile(age, **{name: value for name, value in self.switches.items() if name != "service_version"})

    def lines(self) -> str:
        """For people, and short."""
        how = ["merged" if self.merge else "not merged", self.on_conflict, *(["by lists"] if self.by_list else ())]
        how += ["on a schedule of its own"] if self.scheduled else []
        text = [
            f"seed {self.seed}: {self.switches or 'as documented'}, {', '.join(how)}",
            *(
                f"  image set {n}: study {one.study}{', primary' if one.primary else ''}"
                f"{', another writes after a loss' if n in self.eyes else ''}"
                for n, one in enumerate(self.image_sets)
            ),
            *(f"  row {n}: {_short(one)}" for n, one in enumerate(self.rows, 2)),
            *(f"  trouble of {one.image_set}: {_of_fault(one.fault)}" for one in self.troubles),
            *(f"  process: {_of(one, Life())}" for one in self.lives),
        ]
        if self.undo is not None:
            text += [
                f"  trouble of the undoing of {one.image_set}: {_of_fault(one.fault)}" for one in self.undo_troubles
            ]
            text += [f"  process of the undoing: {_of(one, Life())}" for one in self.undo]
        return "\n".join(text)


def _short(one: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in one.items() if value is not None and value is not False)


def _of(one: Any, default: Any) -> str:
    changed = {f.name: getattr(one, f.name) for f in fields(one)}
    return ", ".join(f"{n}={v}" for n, v in changed.items() if v != getattr(default, n)) or "to the end"


def _of_fault(fault: Fault) -> str:
    return f"{fault.kind} {fault.action}, {_of(fault, replace(Fault(kind=fault.kind), action=fault.action))}"


# -- drawing one


def draw(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = random.Random(seed)
    chosen = _switches(rng)
    large = rng.random() < 0.4
    image_sets = _image_sets(rng, large=large)
    count = len(image_sets)
    # a service that keeps the numbers of failed updates cannot tell ours from another's before one was seen
    kept = chosen.get("failed_version") == "kept"
    alone = kept and rng.random() < 0.5
    if kept and not alone:
        chosen["constraints"] = "sync"
    without = {*(OTHERS if alone else ()), *((FaultKind.FAIL,) if kept and not alone else ())}
    lives = tuple(_life(rng, count, alone=alone) for _ in range(rng.choice([0, 0, 1, 1, 2, 3, 4])))
    if any(life.kill_at for life in lives):
        # that another writer's update failed is known from the answer that ours was stale, which a kill may take away
        without.add(FaultKind.FOREIGN_FAILED)
    end = replace(_life(rng, count, alone=alone), kill_at=None, drain_at=None, strategy=_last(rng))
    undo = rng.random() < 0.35
    drawn = Scenario(
        seed=seed,
        switches=chosen,
        image_sets=image_sets,
        rows=_rows(rng, image_sets, rng.randint(15, 60) if large else rng.choice([1, 2, 3, 4, 5, 6, 8, 10, 14])),
        merge=rng.random() < 0.7,
        by_list=rng.random() < 0.15,
        on_conflict=rng.choice([OnConflict.RETRY] * 3 + [OnConflict.STOP]),
        troubles=_troubles(rng, count, without),
        eyes=() if alone else tuple(n for n in range(count) if rng.random() < 0.15),
        lives=(*lives, end),
        undo=(*(_life(rng, count, alone=True) for _ in range(rng.choice([0, 0, 1, 2]))), Life()) if undo else None,
        # each call of an undoing names a version: to a read that is behind, that version is not there yet
        undo_troubles=_troubles(rng, count, {*without, FaultKind.DENIED, FaultKind.LAGGING})
        if undo and rng.random() < 0.6
        else (),
        scheduled=random.Random(f"scheduled {seed}").random() < SCHEDULED,
    )
    if any(life.kill_at for life in drawn.undo or ()):  # as above
        known = tuple(one for one in drawn.undo_troubles if one.fault.kind is not FaultKind.FOREIGN_FAILED)
        return replace(drawn, undo_troubles=known)
    return drawn


def _last(rng: random.Random) -> Strategy:
    return rng.choice([Strategy.NEW] * 4 + [Strategy.ALL])


def _switches(rng: random.Random) -> dict[str, str]:
    chosen = {"service_version": "2025"} if rng.random() < 0.15 else {}
    share = rng.choice([0.0, 0.15, 0.4])
    for name, choices in switches().items():
        if name != "service_version" and choices and rng.random() < share:
            chosen[name] = rng.choice(choices)
    if rng.random() < 0.3:
        chosen["checked_first"] = "content"
    return chosen


def _image_sets(rng: random.Random, *, large: bool) -> tuple[Holding, ...]:
    found: list[Holding] = []
    for study in range(rng.randint(4, 8) if large else rng.randint(1, 4)):
        if rng.random() < 0.3:
            found += [Holding(study, primary=True)] * rng.choice([1, 2, 2, 3])
        else:
            found.append(Holding(study, primary=False))
    return tuple(found)


def _life(rng: random.Random, count: int, *, alone: bool) -> Life:
    ends, length = rng.random(), max(1, count // 3)
    return Life(
        kill_at=length * rng.choice([1, 2, 3, 5, 8, 12, 20, 30]) + rng.randint(0, 3) if ends < 0.7 else None,
        done=rng.random() < 0.5,
        drain_at=rng.randint(1, 6) if ends >= 0.7 else None,
        strategy=rng.choice([Strategy.NEW] * 4 + [Strategy.FAILED, Strategy.ALL]),
        pause_s=rng.choice([0.0, 0.1, 0.6, 5.0, 100.0]),
        writers=() if alone else tuple(n for n in range(count) if rng.random() < 0.12),
    )


def _troubles(rng: random.Random, count: int, without: set[FaultKind]) -> tuple[Trouble, ...]:
    found = []
    for number in range(count):
        for _ in range(rng.choice([0, 1, 1, 2, 3, 4])):
            reads = rng.random() < 0.25
            kind = rng.choice(RARE) if rng.random() < 0.02 else rng.choice(OF_READS if reads else OF_WRITES)
            action = rng.choice([GET, GET, METADATA, VERSIONS]) if reads else UPDATE
            times = 1 if kind in {FaultKind.LAGGING, *OTHERS, *RARE} else rng.choice([1, 1, 1, 2, 3])
            seconds = rng.choice([0.01, 0.05, 0.3, 0.6, 0.6, 1.5, 4.0, 60.0])
            fault = Fault(
                kind=kind, action=action, times=times, skip=rng.choice([0, 0, 1, 1, 2, 3, 5]), seconds=seconds
            )
            twin = Fault(kind=rng.choice(OF_WRITES), action=UPDATE, times=1, skip=fault.skip, seconds=0.6)
            pair = [fault, twin] if not reads and rng.random() < 0.3 else [fault]
            found += [Trouble(number, one) for one in pair if one.kind not in without]
    return tuple(found)


def _uid(holdings: Sequence[Holding], number: int) -> str:
    return f"1.2.{holdings[number].study + 1}.{number + 1}"


def _rows(rng: random.Random, image_sets: tuple[Holding, ...], count: int) -> tuple[dict[str, Any], ...]:
    found: list[dict[str, Any]] = []
    for number in range(count):
        place = rng.randrange(len(image_sets))
        edit = _edit(rng, _uid(image_sets, place), number)
        study = [n for n, one in enumerate(image_sets) if one.study == image_sets[place].study and one.primary]
        top = edit.get("attribute") in {"PatientName", "StudyDescription", "AccessionNumber"}
        if top and len(study) > 1 and rng.random() < 0.8:
            edit.pop("version", None)
            found += [{"image_set": one, **edit} for one in study]
        else:
            found.append({"image_set": place, **edit})
            if edit["action"] != "revert" and rng.random() < 0.3:  # one row of several cells
                kept = ("image_set", "version", "order", "force", "series_uid", "instance_uid")
                same: dict[str, Any] = {name: found[-1][name] for name in kept if name in found[-1]}
                cell = _cell(rng, number, same)
                if cell["attribute"] != edit.get("attribute"):
                    found.append({**same, **cell, "same_row": True})
    return tuple(found)


def _set(rng: random.Random, number: int) -> dict[str, Any]:
    name = rng.choice(["PatientName", "StudyDescription", "AccessionNumber"])
    held = {"PatientName": "DOE^JANE", "StudyDescription": "CHEST", "AccessionNumber": "A1"}
    return {"action": "set", "attribute": name, "value": held[name] if rng.random() < 0.15 else f"V{number}"}


def _cell(rng: random.Random, number: int, row: dict[str, Any]) -> dict[str, Any]:
    """A further cell of a row, often of the instance that the row names."""
    inside = {"series_uid": row.get("series_uid"), "instance_uid": row.get("instance_uid")}
    if inside["instance_uid"] is None or rng.random() < 0.3:
        return {**_set(rng, number), "series_uid": None, "instance_uid": None}
    name, value = rng.choice([("KVP", f"{80 + number}"), ("SOPInstanceUID", f"{inside['series_uid']}.9{number}")])
    return {"action": "set", "attribute": name, "value": value, **inside, "force": row.get("force", name[0] == "S")}


def _edit(rng: random.Random, uid: str, number: int) -> dict[str, Any]:
    instance = f"{uid}.{rng.choice([1, 1, 2, 3])}"
    series = {"series_uid": rng.choice([uid] * 8 + [f"{uid}.77", "9.9.9"])}
    inside = {"series_uid": uid, "instance_uid": rng.choice([instance] * 8 + [f"{uid}.88"])}
    stored = {"StudyDescription": "CHEST", "AccessionNumber": "A1", "PatientName": "DOE^JANE"}
    name = rng.choice(list(stored))
    removed: Any = rng.choice([{}, {}, stored[name], f"V{number - 1}", "WRONG"])
    # fmt: off
    new = {"attribute": "SeriesInstanceUID", "value": f"{uid}.77", "force": True, "series_uid": uid}
    edits: list[tuple[int, dict[str, Any]]] = [
        (12, _set(rng, number)),
        (3, {"action": "set", "attribute": "StudyID", "value": f"V{number}", "force": rng.random() < 0.6}),
        (2, {"action": "set", "attribute": "SeriesDescription", "value": f"V{number}", **series}),
        (2, {"action": "set", "attribute": "KVP", "value": str(80 + number), **inside}),
        (1, {"action": "set", "attribute": "00091001", "value": f"V{number}", **inside, "force": True}),
        (5, {"action": "remove", "attribute": name, "value": removed}),
        (1, {"action": "remove", "attribute": "PatientComments", "value": {}}),
        (2, {"action": "remove", "attribute": "KVP", "value": rng.choice([{}, "120 "]), **inside}),
        (2, {"action": "remove-instance", **inside, "force": rng.random() < 0.8}),
        (1, {"action": "remove-series", **series}),
        (2, {"action": "set", **new}),
        (1, {"action": "set", "attribute": "SOPInstanceUID", "value": f"{uid}.88", "force": True, **inside}),
        (3, {"action": "revert", "revert_to": rng.choice([1, 1, 1, 2, 3])}),
    ]
    # fmt: on
    edit = rng.choices([one for _, one in edits], [weight for weight, _ in edits])[0]
    extra: dict[str, Any] = {}
    if rng.random() < 0.25:
        extra["version"] = rng.choice([1, 1, 1, 2, 2, 3, 4])
    if rng.random() < 0.15:
        extra["order"] = rng.randint(1, 4)
    if edit.get("attribute") and not edit.get("force") and rng.random() < 0.1:
        extra["force"] = True
    return {**edit, **extra}


# -- playing one


class Habits(Following):
    """The client of one process: it drains at an update, and another writer follows a lost answer."""

    def __init__(self, inner: Client, server: Emulated, image_sets: set[str], drain_at: int | None) -> None:
        super().__init__(inner, server, image_sets)
        self.drain_at = drain_at
        self.engine: Engine | None = None
        self.updates = 0

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        self.updates += 1
        if self.updates == self.drain_at and self.engine is not None:
            self.engine.stop.drain()
        return await super().update(request)


@dataclass(slots=True)
class Played:
    """A scenario that has been played: what there is to judge."""

    scenario: Scenario
    server: Emulated
    run: runs.Run
    ids: list[str]
    processes: int = 0
    kills: int = 0
    stops: int = 0
    resent: bool = False  # a resume has sent calls again that had an outcome
    errors: list[str] = field(default_factory=list)  # with which processes ended
    undo: runs.Run | None = None
    left_out: dict[str, str] = field(default_factory=dict)  # image sets that the undoing leaves out -> why
    before_undo: dict[str, int] = field(default_factory=dict)  # versions of each image set before it


def play(scenario: Scenario, folder: Path, judge_run: Any = None) -> Played | None:
    """Play a scenario; None if nothing of it can be planned. ``judge_run`` is called before the run is undone."""
    server = emulated(profile=scenario.profile)
    ids = [f"{number:032d}" for number in range(len(scenario.image_sets))]
    for number, one in enumerate(scenario.image_sets):
        content = document(str(number + 1), study=f"1.2.{one.study + 1}", instances=3, patient=f"P{one.study}")
        server.world.add_image_set(
            DEFAULT_DATASTORE_ID, content, now=server.now(), image_set_id=ids[number], primary=one.primary
        )
    plan = _planned(scenario, folder / "plan", ids)
    if not plan.counts["edits"]:
        return None
    played = Played(scenario, server, runs.create(folder / "run", plan, {"connection": {}, "options": {}}, NOW), ids)
    _trouble(played, scenario.troubles)
    eyes = {ids[number] for number in scenario.eyes}
    for life in scenario.lives:
        _live(played, played.run, life, eyes)
    _to_the_end(played, played.run)
    if judge_run is not None:
        judge_run(played)
    if scenario.undo is not None:
        _undo(played, folder / "undo", scenario)
    return played


def _planned(scenario: Scenario, folder: Path, ids: list[str]) -> plans.SavedPlan:
    rules = dicom.RULES["2025" if scenario.profile.study_wide == "ignored" else "2026"]
    rows = []
    for number, one in enumerate(scenario.rows, 2):
        fields_ = {name: value for name, value in one.items() if name not in {"image_set", "same_row"}}
        level = {"remove-instance": "Instance", "remove-series": "Series"}.get(str(one["action"]))
        at = number - 1 if one.get("same_row") else number
        made = row(ids[one["image_set"]], fields_.pop("attribute", None), fields_.pop("value", None), **fields_)
        rows.append({**made, "row": at, **({"level": level} if level else {})})
    known = pl.DataFrame(
        [(ids[n], f"1.2.{one.study + 1}", one.primary) for n, one in enumerate(scenario.image_sets)],
        schema=plans.KNOWN,
        orient="row",
    )
    settings = plans.PlanningSettings(
        rules=rules,
        payload_limit=10_000,
        contradictions=plans.Contradictions.LAST,
        merge=scenario.merge,
        study_wide=plans.StudyWide.AUTO,
    )
    plan = plans.make(frame(rows), settings, known)
    return plans.save(plan, folder, about_plan(plan, DEFAULT_DATASTORE_ID))


def _trouble(played: Played, troubles: tuple[Trouble, ...]) -> None:
    set_ = [replace(one.fault, image_set_id=played.ids[one.image_set]) for one in troubles]
    played.server.faults.add(set_, now=played.server.now())


def _live(played: Played, run: runs.Run, life: Life, eyes: set[str]) -> None:
    """One process of a run, from the pause before it to its end."""
    server, scenario = played.server, played.scenario
    server.wait(life.pause_s)
    for number in life.writers:
        server.world.write_as_another(server.world.image_set(DEFAULT_DATASTORE_ID, played.ids[number]), server.now())
    server.catch_up()
    sends_new = True
    if run.ledger.exists():
        with Ledger.open(run.ledger) as ledger:
            found = resumption(run.plan, ledger, life.strategy)
            ledger.append(found.events(ledger, server.now()))
        sends_new = found.sends_new
        played.resent |= bool(found.again)
    habits: list[Habits] = []

    def wrap(client: Client) -> Client:
        habits.append(Habits(client, server, eyes, life.drain_at))
        return habits[0]

    def prepare(engine: Engine) -> None:
        habits[0].engine = engine

    rates = {**FAST, Operation.GET: Rate(0.2, 1)} if scenario.by_list else FAST
    kill = None if life.kill_at is None else Kill(life.kill_at, done=life.done)
    options: dict[str, Any] = {
        "rates": rates,
        "on_conflict": scenario.on_conflict,
        "unlock_timeout_s": 600.0,
        "schedule": Schedule(f"{scenario.seed} {played.processes}") if scenario.scheduled else None,
    }
    played.processes += 1
    try:
        ended = process(
            server, run.plan, run.ledger, kill=kill, wrap=wrap, prepare=prepare, sends_new=sends_new, **options
        )
        played.kills += ended.killed
        played.stops += life.drain_at is not None and not ended.killed
    except BulkeditError as error:
        played.errors.append(f"{type(error).__name__}: {error}")


def _to_the_end(played: Played, run: runs.Run) -> None:
    """Faults are over; what an error has left is done."""
    played.server.faults.clear()
    played.server.wait(120.0)
    _live(played, run, Life(), set())


def _undo(played: Played, folder: Path, scenario: Scenario) -> None:
    """Plan the undoing of the run, and run that."""
    server = played.server
    played.before_undo = {one: server.world.image_set(DEFAULT_DATASTORE_ID, one).number for one in played.ids}

    async def plan() -> reversal.Reversal:
        return await reversal.revert(played.run, DirectClient(server), folder / "plan", now=NOW, rates=FAST_READS)

    try:
        with in_place():
            found = run_virtual(plan())
    except UsageError as error:
        played.errors.append(f"no undoing: {error}")
        return
    played.left_out = dict(found.left_out.select("image_set_id", "code").iter_rows())
    if not found.plan.counts["calls"]:
        return
    played.undo = runs.create(folder / "run", found.plan, {"connection": {}, "options": {}}, NOW)
    _trouble(played, scenario.undo_troubles)
    for life in scenario.undo or ():
        _live(played, played.undo, life, set())
    _to_the_end(played, played.undo)


# -- playing and checking


@dataclass(slots=True)
class Found:
    """What became of one seed."""

    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def check_scenario(scenario: Scenario) -> Found:
    """Play a scenario and judge it."""
    from tests.runs.random_scenarios_check import figures, of_run, of_undo

    found = Found()
    with _folder() as folder:
        try:
            played = play(scenario, folder, lambda played: found.wrong.extend(of_run(played)))
            if played is not None:
                found.wrong += of_undo(played)
                found.counts += figures(played)
        except Exception as error:  # noqa: BLE001 - a defect is a finding like any other
            where = traceback.extract_tb(error.__traceback__)[-1]
            found.wrong.append(f"{type(error).__name__} in {Path(where.filename).name}:{where.lineno}: {error}")
    found.counts["seeds"] = 1
    return found


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def kind_of(wrong: Sequence[str]) -> str:
    """What two failures have in common that are one: the words of the first, without numbers."""
    return "".join(c for c in wrong[0] if not c.isdigit()) if wrong else ""


def shrunk(scenario: Scenario) -> Scenario:
    """The scenario without what it does not need to fail in the same way."""
    wanted = kind_of(check_scenario(scenario).wrong)
    while True:
        for smaller in _smaller(scenario):
            if any(kind_of([one]) == wanted for one in check_scenario(smaller).wrong):
                scenario = smaller
                break
        else:
            return scenario


def _smaller(one: Scenario) -> Iterator[Scenario]:
    """Scenarios with something less, those with much less first."""
    if one.undo is not None:
        yield replace(one, undo=None, undo_troubles=())
    yield from _fewer(one)
    for name in one.switches:
        yield replace(one, switches={key: value for key, value in one.switches.items() if key != name})
    plain: tuple[dict[str, Any], ...] = ({"eyes": ()}, {"by_list": False}, {"scheduled": False})
    for change in plain:
        if replace(one, **change) != one:
            yield replace(one, **change)
    for place, life in enumerate(one.lives):
        for simple in _simpler(life):
            yield replace(one, lives=(*one.lives[:place], simple, *one.lives[place + 1 :]))
    yield from _plainer(one)


def _fewer(one: Scenario) -> Iterator[Scenario]:
    for name in ("lives", "rows", "troubles", "undo_troubles", "undo"):
        items = getattr(one, name) or ()
        sizes = dict.fromkeys(size for size in (len(items) // 2, len(items) // 4, 1) if size)
        for length, place in ((size, place) for size in sizes for place in range(0, len(items), size)):
            change: dict[str, Any] = {name: (*items[:place], *items[place + length :])}
            if change[name] or name not in {"lives", "rows", "undo"}:
                yield replace(one, **change)


def _plainer(one: Scenario) -> Iterator[Scenario]:
    for place, row_ in enumerate(one.rows):
        for name in ("order", "version", "force", "same_row"):
            if row_.get(name):
                fewer = {key: value for key, value in row_.items() if key != name}
                yield replace(one, rows=(*one.rows[:place], fewer, *one.rows[place + 1 :]))
    for place, trouble in enumerate(one.troubles):
        for fault in (replace(trouble.fault, times=1), replace(trouble.fault, skip=0)):
            if fault != trouble.fault:
                less = Trouble(trouble.image_set, fault)
                yield replace(one, troubles=(*one.troubles[:place], less, *one.troubles[place + 1 :]))


def _simpler(life: Life) -> Iterator[Life]:
    for name in ("writers", "kill_at", "drain_at", "strategy", "done", "pause_s"):
        default = getattr(Life(), name)
        if getattr(life, name) != default:
            yield replace(life, **{name: default})


def main() -> None:
    """Play one seed, or many."""
    parser = argparse.ArgumentParser(prog="python -m tests.runs.random_scenarios", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("count", type=int, nargs="?", default=1)
    parser.add_argument("--shrink", action="store_true", help="take out what is not needed to fail")
    chosen = parser.parse_args()
    total: Counter[str] = Counter()
    kinds: dict[str, list[int]] = {}
    began = time.monotonic()
    for seed in range(chosen.seed, chosen.seed + chosen.count):
        found = check_scenario(draw(seed))
        total += found.counts
        if found.wrong:
            kinds.setdefault(kind_of(found.wrong), []).append(seed)
        if found.wrong and chosen.shrink:
            smallest = shrunk(draw(seed))
            told(smallest, check_scenario(smallest))
        elif found.wrong or chosen.count == 1:
            told(draw(seed), found)
    for kind, seeds in sorted(kinds.items(), key=lambda one: -len(one[1])):
        print(f"{len(seeds):5} x {kind}: {seeds[:8]}")
    figures = ", ".join(f"{count:,} {name}" for name, count in total.items())
    print(f"{figures}, {sum(map(len, kinds.values()))} with discrepancies, {time.monotonic() - began:.0f} s")
    sys.exit(bool(kinds))


def told(scenario: Scenario, found: Found) -> None:
    """Print a scenario and what is wrong with it."""
    print(scenario.lines(), *(f"  WRONG {one}" for one in found.wrong), sep="\n")
    print(f"  again: python -m tests.runs.random_scenarios {scenario.seed}\n", flush=True)


if __name__ == "__main__":
    main()
