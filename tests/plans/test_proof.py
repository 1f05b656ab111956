"""A plan leaves each image set as if its edits had been applied one by one, and each edit with the outcome it would
have had alone; no plan with fewer calls does.

The plan is run by the real engine on the emulated service, in process, on a clock that jumps; it is held against
`tests.plans.reference`.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkedit import plans
from bulkedit.client.responses import CallState, outcome_of
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits.edit import json_text
from bulkedit.plans import merge
from bulkedit.runs import ledger_frames
from bulkedit.runs.engine import Engine
from bulkedit.runs.ledger import Ledger
from bulkedit.runs.options import EngineOptions
from tests.emulator.hospital import Service, document, in_study
from tests.emulator.hospital import settings as hospital_settings
from tests.examples import examples
from tests.plans.reference import FORCED, Reference
from tests.runs.factories import FAST, KEY, about_plan, frame
from tests.runs.virtual_time import InProcess, run_virtual

if TYPE_CHECKING:
    from pathlib import Path

SERIES = "1.2.3.1"
INSTANCES = [f"{SERIES}.{number}" for number in (1, 2, 3)]
BEFORE = 3  # versions that image sets have before the run


def at(level: str | None, **fields: Any) -> dict[str, Any]:
    edit: dict[str, Any] = {"level": level, "series_uid": None, "instance_uid": None}
    return edit | fields


PLACES = {
    "PatientName": at("Patient"),
    "OtherPatientNames": at("Patient"),
    "StudyDescription": at("Study"),
    "StudyID": at("Study"),
    "SeriesNumber": at("Series", series_uid=SERIES),
    "Modality": at("Series", series_uid="9.9.9"),  # a series that is not there
    "KVP": at("Instance", series_uid=SERIES, instance_uid=INSTANCES[0]),
    "00091001": at("Instance", series_uid=SERIES, instance_uid=INSTANCES[1]),
    "SeriesInstanceUID": at("Series", series_uid=SERIES),
}
NEEDS_FORCE = {"OtherPatientNames", "00091001", "SeriesInstanceUID"}
STORED = {"PatientName": "DOE^JANE", "StudyDescription": "v3", "StudyID": "S1", "SeriesNumber": "1 ", "KVP": "120 "}


TEXTS = {"KVP": ["80", "100"], "SeriesNumber": ["5", "6"], "StudyID": ["a", "b"], "Modality": ["CT", "MR"]}


def new_values(name: str) -> list[Any]:
    """Values that the attribute can hold, some of them long."""
    if name == "SeriesInstanceUID":
        return [SERIES]  # "renamed" to itself: the change of a key is another matter
    texts = TEXTS.get(name, ["a", "b", "x" * 60, "y" * 60])
    return [[text] for text in texts] if name == "OtherPatientNames" else texts


@st.composite
def an_edit(draw: st.DrawFn) -> dict[str, Any]:
    version, order = draw(st.sampled_from([None] * 8 + [3, 4])), draw(st.sampled_from([None, None, 0, 1, 2]))
    base = {"value": None, "revert_to": None, "version": version, "order": order, "force": False}
    kind = draw(st.sampled_from(["set"] * 6 + ["remove", "remove", "instance", "revert"]))
    if kind == "revert":
        target = draw(st.integers(1, BEFORE - 1))
        return base | at(None) | {"action": "revert", "attribute": None, "revert_to": target}
    if kind == "instance":
        uid = draw(st.sampled_from(INSTANCES))
        place = at("Instance", series_uid=SERIES, instance_uid=uid)
        return base | place | {"action": "remove-instance", "attribute": None, "force": True}
    name = draw(st.sampled_from(list(PLACES) if kind == "set" else list(STORED)))
    force = name in NEEDS_FORCE or draw(st.sampled_from([False, False, True]))
    edit = base | PLACES[name] | {"attribute": name, "force": force, "action": kind}
    if kind == "set":
        return edit | {"value": json_text(draw(st.sampled_from(new_values(name))))}
    return edit | {"value": draw(st.sampled_from(["{}", json_text(STORED[name]), '"a"', '"wrong"']))}


def rows_of(edits: list[dict[str, Any]], image_sets: list[str], where: list[int]) -> list[dict[str, Any]]:
    common = {"selector": "image_set_id", "study_wide": False}
    return [edit | common | {"key": image_sets[place]} for edit, place in zip(edits, where, strict=True)]


def hospital(count: int) -> tuple[Service, list[str], Reference]:
    """Image sets with three versions each, and the reference of one of them."""
    service = Service(hospital_settings("2026"))
    ids = [
        service.add(document(study="1.2.3", instances=3), image_set_id=f"{n:032d}", primary=False) for n in range(count)
    ]
    history: list[dict[str, Any]] = []
    for image_set_id in ids:
        history = [service.metadata(image_set_id)]
        for version in (2, 3):
            service.outcome(image_set_id, in_study(StudyDescription=f"v{version}"))
            history.append(service.metadata(image_set_id))
    return service, ids, Reference.with_history(history)


def without_ids(content: dict[str, Any]) -> dict[str, Any]:
    return {key: content[key] for key in ("Patient", "Study")}


def _last_if_none(number: int | None) -> float:
    return math.inf if number is None else number


def one_by_one(edits: list[dict[str, Any]], reference: Reference) -> list[str]:
    """Outcomes in the order of the list; the edits are applied in the order of version, order, row."""
    order = sorted(range(len(edits)), key=lambda n: (*(_last_if_none(edits[n][by]) for by in ("version", "order")), n))
    outcomes = dict.fromkeys(order, "")
    for number in order:
        outcomes[number] = reference.apply(edits[number])
    return [outcomes[number] for number in range(len(edits))]


def execute(folder: Path, service: Service, plan: plans.Plan, limit: int) -> tuple[list[str], int]:
    """Run a plan with the real engine: the outcome of each edit in the order of the list, and the requests sent."""
    saved = plans.save(plan, folder / "plan", about_plan(plan, "emulated000000000000000000000001", limit))

    async def main() -> tuple[list[str], int]:
        with Ledger.create(folder / "ledger.sqlite") as ledger:
            engine = Engine(saved, InProcess(service), ledger, EngineOptions(rates=FAST), key=KEY, rng=random.Random(1))
            counters = await engine.run()
            return outcomes_of(saved, ledger), counters.requests

    return run_virtual(main())


def outcomes_of(saved: plans.SavedPlan, ledger: Ledger) -> list[str]:
    state = {row["call"]: CallState(row["state"]) for row in ledger_frames.states(ledger).iter_rows(named=True)}
    planned = saved.edits().collect().sort("row")
    call_of = dict(planned.select("edit", "call").iter_rows())
    for part in ledger.parts():
        call_of |= dict.fromkeys(part.edits, part.call)
    return [str(outcome_of(state[call_of[edit]])) for edit in planned["edit"]]


def plan_of(rows: list[dict[str, Any]], limit: int = 10_000, *, merge: bool = True) -> plans.Plan:
    chosen = plans.PlanningSettings(
        rules=dicom.RULES["2026"], payload_limit=limit, merge=merge, contradictions=plans.Contradictions.LAST
    )
    return plans.make(frame(rows), chosen)


def _is_told_by_force(edit: dict[str, Any]) -> bool:
    return edit["action"] == "remove" and edit["value"] == "{}" and edit["attribute"] in FORCED and not edit["force"]


def possible(edits: list[dict[str, Any]], where: list[int]) -> tuple[list[dict[str, Any]], list[int]]:
    """Without the rows that planning or reading sets aside: those are the business of other tests.

    Of those that reading sets aside (unforced, of an attribute that needs force) removals beside forced edits are left
    out too: refused where there is something to remove, and applied where there is nothing, they are either, as the
    forced edits come before or after them.
    """
    forced = {(place, edit["attribute"]) for edit, place in zip(edits, where, strict=True) if edit["force"]}
    told = [
        n
        for n in range(len(edits))
        if not (_is_told_by_force(edits[n]) and (where[n], edits[n]["attribute"]) in forced)
    ]
    edits, where = [edits[n] for n in told], [where[n] for n in told]
    ids = [f"{n:032d}" for n in range(max(where, default=0) + 1)]
    bad = set(plan_of(rows_of(edits, ids, where)).set_aside["row"].to_list())
    kept = [n for n in range(len(edits)) if n + 2 not in bad]
    return [edits[n] for n in kept], [where[n] for n in kept]


def test_a_version_that_a_row_names_counts_no_request_that_the_engine_sent_anew(tmp_path: Path) -> None:
    """The refused removal is tried in both ways there are, so the service has one version more than the rows know."""
    nothing = dict.fromkeys(("revert_to", "order", "series_uid", "instance_uid"))
    removal = {**nothing, "level": "Study", "attribute": "StudyID", "action": "remove", "value": "{}"}
    rename = {**nothing, "level": "Patient", "attribute": "PatientName", "action": "set", "value": '"a"'}
    edits = [{**removal, "version": 3, "force": False}, {**rename, "version": 4, "force": False}]
    service, ids, reference = hospital(1)
    found, requests = execute(tmp_path, service, plan_of(rows_of(edits, ids, [0, 0])), 10_000)
    assert found == one_by_one(edits, reference) == ["rejected", "applied"]
    assert requests == 3


def does_what_its_edits_do(
    folder: Path, edits: list[dict[str, Any]], where: list[int], limit: int, *, merge: bool
) -> None:
    """Plan and run the edits of two image sets, and compare with the reference."""
    service, ids, reference = hospital(2)
    plan = plan_of(rows_of(edits, ids, where), limit, merge=merge)
    if plan.set_aside.height:
        return  # a value over the limit: it cannot be sent at all
    references = [replace(reference, document=reference.document, versions=list(reference.versions)) for _ in ids]
    outcomes: dict[int, str] = {}
    for place in (0, 1):
        mine = [number for number, there in enumerate(where) if there == place]
        found = one_by_one([edits[number] for number in mine], references[place])
        outcomes |= dict(zip(mine, found, strict=True))
    if not edits:
        return
    found, _ = execute(folder, service, plan, limit)
    assert found == [outcomes[number] for number in range(len(edits))]
    for image_set_id, expected in zip(ids, references, strict=True):
        assert without_ids(service.metadata(image_set_id)) == without_ids(expected.document)


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "each row a call"])
@given(edits=st.lists(an_edit(), min_size=1, max_size=9), data=st.data(), limit=st.sampled_from([10_000, 250]))
@examples(15)
def test_a_plan_does_what_its_edits_do_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, merge: bool, edits: list[dict[str, Any]], data: st.DataObject, limit: int
) -> None:
    """``order`` and ``version`` are drawn too: rows are applied by version, then by order, then by row."""
    where = data.draw(st.lists(st.integers(0, 1), min_size=len(edits), max_size=len(edits)))
    edits, where = possible(edits, where)
    does_what_its_edits_do(tmp_path_factory.mktemp("run"), edits, where, limit, merge=merge)


def named(value: str, **fields: Any) -> dict[str, Any]:
    """A change of the patient's name."""
    edit = {"action": "set", "attribute": "PatientName", "value": json_text(value), "force": False}
    return {**at("Patient"), **edit, "version": None, "order": None, "revert_to": None, **fields}


def removed(value: str) -> dict[str, Any]:
    return {**named(""), "action": "remove", "value": value}


REVERTED = {**named(""), **at(None), "action": "revert", "attribute": None, "value": None, "revert_to": 1}
STUDY = {**at("Study"), "attribute": "StudyDescription"}


@pytest.mark.parametrize("merge", [True, False], ids=["merged", "each row a call"])
@pytest.mark.parametrize(
    "edits",
    [
        [named("a"), named("b"), named("c", **STUDY)],
        [named("a"), removed("{}"), named("c", **STUDY)],
        [removed("{}"), named("a")],
        [removed('"wrong"'), named("c", **STUDY)],
        [named("a", order=2), named("b", order=1)],
        [named("a"), named("b", version=3)],
        [named("a"), REVERTED, named("c", **STUDY)],
    ],
    ids=["twice", "then removed", "removed before", "one is refused", "by order", "by version", "a revert between"],
)
def test_edits_of_one_place_end_as_one_by_one(tmp_path: Path, merge: bool, edits: list[dict[str, Any]]) -> None:
    """Pairs that examples at random seldom hold."""
    does_what_its_edits_do(tmp_path, edits, [0] * len(edits), 10_000, merge=merge)


@given(edits=st.lists(an_edit(), min_size=1, max_size=30), limit=st.sampled_from([10_000, 400, 250]))
@examples(15)
def test_no_call_is_over_the_payload_limit_and_every_edit_is_in_one_call(
    edits: list[dict[str, Any]], limit: int
) -> None:
    plan = plan_of(rows_of(edits, ["0" * 32], [0] * len(edits)), limit)
    sizes = plan.calls.select(pl.max_horizontal(pl.col("updatable", "removable").str.len_bytes())).to_series()
    assert all(size <= limit for size in sizes.drop_nulls())
    assert sorted(plan.edits["row"].to_list() + plan.set_aside["row"].unique().to_list()) == list(
        range(2, len(edits) + 2)
    )
    counted = Counter(plan.edits["call"].to_list())
    assert [counted[call] for call in plan.calls["call"]] == plan.calls["edits"].to_list()
    sent = plan.edits.group_by("call").agg(pl.col("sent").any())
    assert sent["sent"].all()


# -- no plan with fewer calls would do


def merged(group: list[dict[str, Any]], reference: Reference) -> str | None:
    """Apply a group of edits as one call, all or nothing; None where they make no call at all."""
    forces = {edit["force"] for edit in group}
    alone = any(edit["action"] == "revert" or edit["version"] is not None for edit in group)
    if len(forces) > 1 or (alone and len(group) > 1):
        return None
    last = {(edit["level"], edit["series_uid"], edit["instance_uid"], edit["attribute"]): edit for edit in group}
    trial = Reference(reference.document, list(reference.versions), reference.any_value)
    for edit in last.values():
        if trial.apply(edit) == "rejected":
            return "rejected"
    reference.document = trial.document
    reference.versions.append(trial.document)
    return "applied"


def carried_out(calls: list[list[int]], edits: list[dict[str, Any]], reference: Reference) -> list[str] | None:
    """Outcomes of edits carried out in these calls, a refused one in halves; None where it makes no plan."""
    outcomes: dict[int, str] = {}
    todo = list(reversed(calls))
    while todo:
        group = todo.pop()
        if len(group) == 1:
            outcomes[group[0]] = reference.apply(edits[group[0]])
            continue
        result = merged([edits[number] for number in group], reference)
        if result is None:
            return None
        if result == "rejected":
            middle = (len(group) + 1) // 2
            todo += [group[middle:], group[:middle]]
        else:
            outcomes |= dict.fromkeys(group, "applied")
    return [outcomes[number] for number in range(len(edits))]


def worlds() -> list[tuple[dict[str, Any], list[Any], bool]]:
    """All that an edit may meet: each attribute as expected, other, or absent; a service that minds values or not."""
    first = document(study="1.2.3", instances=3)
    kinds: list[tuple[dict[str, Any], list[Any], bool]] = []
    for name, description in itertools.product(["DOE^JANE", "other", None], ["v3", "other", None]):
        content = {"Patient": {"DICOM": dict(first["Patient"]["DICOM"])}, "Study": dict(first["Study"])}
        content["Study"]["DICOM"] = dict(first["Study"]["DICOM"])
        for dicoms, key, value in (
            (content["Patient"]["DICOM"], "PatientName", name),
            (content["Study"]["DICOM"], "StudyDescription", description),
        ):
            dicoms[key] = value
            if value is None:
                del dicoms[key]
        kinds += [(content, [], any_value) for any_value in (False, True)]
    return kinds


def fewest(edits: list[dict[str, Any]], below: int) -> int:
    """The fewest calls that do, by trying every way to put edits into fewer than ``below`` calls."""
    kinds = worlds()
    expected = []
    for kind in kinds:
        reference = Reference(*kind)
        outcomes = [reference.apply(edit) for edit in edits]
        expected.append((outcomes, reference.document))
    for count in range(1, below):
        for assignment in itertools.product(range(count), repeat=len(edits)):
            calls = [[n for n, call in enumerate(assignment) if call == number] for number in range(count)]
            if (
                all(calls)
                and _in_order(assignment, edits)
                and all(_does(calls, edits, kind, want) for kind, want in zip(kinds, expected, strict=True))
            ):
                return count
    return below


def _in_order(assignment: tuple[int, ...], edits: list[dict[str, Any]]) -> bool:
    """Only the service can tell what a removal by value finds, so nothing of its attribute may pass it, or join it."""
    for at_, edit in enumerate(edits):
        if edit["action"] != "remove" or edit["value"] == "{}":
            continue
        same = [n for n, other in enumerate(edits) if other["attribute"] == edit["attribute"] and n != at_]
        if any((assignment[n] < assignment[at_]) != (n < at_) or assignment[n] == assignment[at_] for n in same):
            return False
    return True


def _does(calls: list[list[int]], edits: list[dict[str, Any]], kind: tuple[Any, ...], want: tuple[Any, Any]) -> bool:
    reference = Reference(*kind)
    return (carried_out(calls, edits, reference), reference.document) == want


@st.composite
def a_small_edit(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(["PatientName", "StudyDescription"]))
    action = draw(st.sampled_from(["set", "set", "remove"]))
    value = draw(st.sampled_from(['"a"', '"b"'] if action == "set" else ["{}", json_text(STORED[name])]))
    return {
        **PLACES[name],
        "attribute": name,
        "action": action,
        "value": value,
        "force": draw(st.booleans()),
        "version": None,
        "revert_to": None,
    }


@given(st.lists(a_small_edit(), min_size=1, max_size=5))
@examples(15)
def test_no_plan_with_fewer_calls_would_do(edits: list[dict[str, Any]]) -> None:
    planned = plan_of(rows_of(edits, ["0" * 32], [0] * len(edits))).calls.height
    assert planned == fewest(edits, planned)


@pytest.mark.parametrize("guilty", [[0], [6], [0, 1], [3, 8], [0, 5, 9], list(range(10))], ids=str)
def test_guilty_edits_are_isolated_within_the_stated_bound(tmp_path: Path, guilty: list[int]) -> None:
    """g guilty among n cost at most 2·g·⌈log2 n⌉ calls beyond the first."""
    service, ids, _ = hospital(1)
    names = [
        *("PatientName", "PatientID", "PatientSex", "PatientBirthDate", "PatientComments"),
        *("StudyDescription", "AccessionNumber", "StudyDate", "ReferringPhysicianName", "RequestingService"),
    ]
    levels = ["Patient"] * 5 + ["Study"] * 5
    edits = [
        {
            **at(level),
            "action": "remove" if number in guilty else "set",
            "attribute": name,
            "value": '"not what is stored"' if number in guilty else '"20240101"',
            "force": False,
            "version": None,
            "revert_to": None,
        }
        for number, (name, level) in enumerate(zip(names, levels, strict=True))
    ]
    plan = plan_of(rows_of(edits, ids, [0] * 10))
    assert plan.calls.height == 1
    found, requests = execute(tmp_path, service, plan, 10_000)
    assert found == ["rejected" if number in guilty else "applied" for number in range(10)]
    assert requests <= 1 + 2 * len(guilty) * math.ceil(math.log2(10))


def test_400_edits_on_100_image_sets_are_100_calls() -> None:
    ids = [f"{number:032d}" for number in range(100)]
    names = ["PatientName", "PatientID", "StudyDescription", "AccessionNumber"]
    edits = [
        {**at("Patient" if name[0] == "P" else "Study"), "action": "set", "attribute": name, "value": '"x"'}
        for name in names
        for _ in ids
    ]
    rows = rows_of([edit | {"force": False, "version": None} for edit in edits], ids, list(range(100)) * 4)
    assert plan_of(rows).calls.height == 100


def test_a_search_that_is_ended_early_still_holds_every_word_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(22)  # of which the greedy sequence is longer
    words = {tuple(rng.choice((False, True)) for _ in range(rng.randint(1, 9))) for _ in range(12)}
    shortest = merge.supersequence(words)
    monkeypatch.setattr(merge, "_EXACT_STATES", 1)
    greedy = merge.supersequence(words)
    assert len(greedy) > len(shortest)
    for word in words:
        assert [greedy[place] for place in merge.embedding(word, greedy)] == list(word)
