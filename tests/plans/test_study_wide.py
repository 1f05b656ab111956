"""Study-wide calls: what a list asks of all primary image sets of a study is sent once, and ends as if it had been
asked of each; what it asks of a part of them is set aside in words that say what to type.
"""

from __future__ import annotations

import itertools
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bulkedit import plans
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits.edit import json_text
from tests.emulator.hospital import Service, document, in_series
from tests.emulator.hospital import settings as hospital_settings
from tests.examples import examples
from tests.plans.reference import Reference
from tests.plans.test_proof import execute, without_ids
from tests.runs.factories import frame, row

if TYPE_CHECKING:
    from pathlib import Path

Rows = list[dict[str, Any]]
AUTO, ON, OFF = plans.StudyWide.AUTO, plans.StudyWide.ON, plans.StudyWide.OFF


def image_set(study: int, series: int) -> str:
    return f"{study:016d}{series:016d}"


def known(*sizes: int, others: int = 0) -> pl.DataFrame:
    """Studies 0, 1, … of so many primary image sets each, and image sets of study 0 that are not primary."""
    rows = [(image_set(study, n), f"1.2.{study}", True) for study, size in enumerate(sizes) for n in range(size)]
    rows += [(image_set(0, 100 + n), "1.2.0", False) for n in range(others)]
    return pl.DataFrame(rows, schema=plans.KNOWN, orient="row")


def made(rows: Rows, about: pl.DataFrame | None, mode: plans.StudyWide = AUTO, **options: Any) -> plans.Plan:
    chosen: dict[str, Any] = {"rules": dicom.RULES["2026"], "payload_limit": 10_000, "study_wide": mode, **options}
    return plans.make(frame(rows), plans.PlanningSettings(**chosen), about)


def of_all(about: pl.DataFrame, *args: Any, **fields: Any) -> Rows:
    return [row(one, *args, **fields) for one in about.filter("primary")["image_set_id"]]


def calls(plan: plans.Plan) -> list[tuple[int, str, bool]]:
    return plan.calls.select("lane", "image_set_id", "study_wide").rows()


def codes(plan: plans.Plan) -> list[tuple[int, str]]:
    return plan.set_aside.select("row", "code").rows()


# -- what becomes one call


def test_a_patient_merge_of_1000_studies_of_10_series_is_1000_calls() -> None:
    about = known(*[10] * 1000)
    rows = [*of_all(about, "PatientID", "NEW"), *of_all(about, "PatientName", "NEW^NAME")]
    plan = made(rows, about)
    assert (plan.calls.height, plan.set_aside.height, plan.edits.height) == (1000, 0, 20_000)
    assert plan.calls["study_wide"].all()
    assert plan.edits["sent"].sum() == 2000
    counts = plans.estimate(plan, known=about)
    assert (counts.studies, counts.image_sets, counts.saved_by_study_wide) == (1000, 10_000, 9000)
    assert counts.calls + counts.saved_by_merging + counts.saved_by_study_wide + counts.saved_by_superseding == 20_000
    assert made(rows, about, OFF).calls.height == 10_000


def test_a_study_of_one_primary_image_set_and_what_is_not_primary_are_ordinary_calls() -> None:
    about = known(2, 1, others=1)
    plan = made([row(one, "PatientID", "NEW") for one in about["image_set_id"]], about)
    assert calls(plan) == [
        (0, image_set(0, 0), True),
        (1, image_set(1, 0), False),
        (2, image_set(0, 100), False),
    ]


def test_without_knowledge_every_image_set_is_planned_for_itself() -> None:
    about = known(3)
    plan = made(of_all(about, "PatientID", "NEW"), None)
    assert calls(plan) == [(n, image_set(0, n), False) for n in range(3)]
    assert plans.edits_of_unknown_study(plan.edits, None) == 3
    assert plans.edits_of_unknown_study(plan.edits, about.head(1)) == 2
    assert plans.edits_of_unknown_study(plan.edits, about) == 0


def test_the_calls_of_one_study_are_one_lane_and_edits_of_single_image_sets_stay_calls_of_their_own() -> None:
    about = known(3, others=1)
    series = row(image_set(0, 1), "SeriesDescription", "S", series_uid="1.2.0.1")
    plan = made([series, *of_all(about, "PatientID", "NEW"), row(image_set(0, 100), "PatientID", "NEW")], about)
    assert sorted(calls(plan)) == [
        (0, image_set(0, 0), True),
        (0, image_set(0, 1), False),
        (1, image_set(0, 100), False),
    ]


@pytest.mark.parametrize("mode", [AUTO, ON, OFF])
def test_a_row_that_asks_for_its_study_itself_is_sent_so_and_alone(mode: plans.StudyWide) -> None:
    """Also where another row asks something of the same image set, which is then no part of that call."""
    asked = row(image_set(0, 0), "PatientID", "NEW", study_wide=True)
    series = row(image_set(0, 0), "SeriesDescription", "S", series_uid="1.2.0.1")
    other = row(image_set(0, 1), "SeriesDescription", "S", series_uid="1.2.0.2")
    plan = made([asked, series, other], known(3), mode)
    assert {(lane, one, wide) for lane, one, wide in calls(plan)} == {
        (0, image_set(0, 0), True),
        (0, image_set(0, 0), False),
        (0, image_set(0, 1), False),
    }
    unknown = made([asked, series], None, mode)
    assert sorted(calls(unknown)) == [(0, image_set(0, 0), False), (0, image_set(0, 0), True)]


def test_equal_edits_that_come_twice_are_one() -> None:
    """One list may name a study by its UID and a patient by his id."""
    about = known(2)
    rows = [*of_all(about, "PatientID", "NEW"), row(image_set(0, 1), "PatientID", "NEW")]
    plan = made(rows, about)
    assert (plan.calls.height, plan.set_aside.height, plan.calls["edits"].to_list()) == (1, 0, [3])


def test_a_row_of_the_call_form_is_never_parted() -> None:
    about = known(2)
    study = [{**one, "row": n} for n in (2, 3) for one in (row(image_set(0, n - 2), "PatientID", "NEW"),)]
    mixed = {**row(image_set(0, 0), "SeriesDescription", "S", series_uid="1.2.0.1"), "row": 2}
    assert codes(made([study[0], mixed, study[1]], about, whole_rows=True)) == [
        (2, "study-mixed"),
        (3, "study-partial"),
    ]
    assert made([study[0], mixed, study[1]], about, merge=False).calls.height == 2


def test_what_a_study_is_asked_is_packed_under_the_payload_limit() -> None:
    about = known(3)
    names = ["PatientName", "PatientComments", "StudyDescription"]
    rows = list(itertools.chain.from_iterable(of_all(about, name, "x" * 100) for name in names))
    plan = made(rows, about, payload_limit=250)
    assert plan.calls["study_wide"].to_list() == [True] * 3
    assert plan.calls["edits"].to_list() == [3] * 3
    large = made([*rows, *of_all(about, "AdditionalPatientHistory", "x" * 300)], about, payload_limit=250)
    assert codes(large) == [(row_, "payload-too-large") for row_ in (11, 12, 13)]


def test_the_parts_of_a_study_wide_call_are_study_wide_and_hold_each_attribute_once() -> None:
    about = known(3)
    rows = of_all(about, "PatientID", "OLD", action="remove") + of_all(about, "PatientName", "NEW")
    plan = made(rows, about)
    (call,) = plan.calls.select(f.name for f in fields(plans.PlannedCall)).rows()
    numbers = itertools.count(1)
    halves = plans.parts(plans.PlannedCall(*call), plan.edits, lambda: next(numbers))
    head = '{"SchemaVersion":1.1,"Patient":{"DICOM":{'
    assert [(part.updatable, part.removable, part.study_wide, edits) for part, edits in halves] == [
        (None, head + '"PatientID":"OLD"}}}', True, [0, 1, 2]),
        (head + '"PatientName":"NEW"}}}', None, True, [3, 4, 5]),
    ]


# -- what is set aside


def test_a_part_of_a_study_is_set_aside_with_the_image_sets_that_are_missing() -> None:
    about = known(8)
    plan = made(of_all(about, "PatientID", "NEW")[6:], about)
    assert codes(plan) == [(2, "study-partial"), (3, "study-partial")]
    missing = ", ".join(image_set(0, n) for n in range(5))
    assert plan.set_aside["problem"][0] == (
        f"changes PatientID in 2 of the 8 primary image sets of its study; not named: {missing} and 1 more."
    )
    assert all(word in plan.set_aside["hint"][0] for word in ("`on_many=all`", "`study_wide=on`", "`study_wide=off`"))
    assert "NEW" not in str(plan.set_aside.rows())


def test_a_row_that_is_set_aside_takes_with_it_what_only_was_whole_with_it() -> None:
    """A row of a wide list is not planned in part."""
    about = known(2)
    cells = [
        {**row(image_set(0, n), name, value), "row": n + 2}
        for n in range(2)
        for name, value in (("PatientID", "NEW"), ("PatientName", f"N^{n}"))
    ]
    assert codes(made(cells[:3], about)) == [(2, "study-partial"), (3, "study-partial")]
    assert codes(made(cells, about)) == [(2, "study-differs"), (3, "study-differs")]


def test_different_values_in_one_study_are_set_aside_and_with_on_the_last_may_win() -> None:
    about = known(3)
    rows = [row(image_set(0, n), "PatientID", value) for n, value in ((0, "A"), (1, "B"), (2, "B"))]
    for mode in (AUTO, ON):
        plan = made(rows, about, mode)
        assert codes(plan) == [(n, "study-differs") for n in (2, 3, 4)]
    plan = made(rows, about, ON, contradictions=plans.Contradictions.LAST)
    assert (calls(plan), codes(plan)) == ([(0, image_set(0, 0), True)], [])
    assert '"B"' in plan.calls["updatable"][0]
    assert made(rows, about, OFF).calls.height == 3


def test_with_on_what_is_asked_of_one_image_set_is_asked_of_its_study() -> None:
    about = known(3)
    rows = [row(image_set(0, 2), "PatientID", "A"), row(image_set(0, 1), "StudyDescription", "D")]
    plan = made(rows, about, ON)
    assert calls(plan) == [(0, image_set(0, 2), True)]
    assert plan.edits["image_set_id"].to_list() == [image_set(0, 2), image_set(0, 1)]


def test_a_row_with_its_own_version_is_never_study_wide() -> None:
    about = known(2)
    rows = of_all(about, "PatientID", "NEW", version=3)
    for mode in (AUTO, ON):
        assert codes(made(rows, about, mode)) == [(2, "study-version"), (3, "study-version")]
    assert [wide for _, _, wide in calls(made(rows, about, OFF))] == [False, False]


@pytest.mark.parametrize(("age", "bad"), [("2025", {2, 4, 5}), ("2026", {5})])
def test_what_a_primary_image_set_does_not_take_is_set_aside(age: str, bad: set[int]) -> None:
    about = known(1, others=0)
    one, series = image_set(0, 0), "1.2.0.1"
    rows = [
        row(one, "PatientID", "NEW"),
        row(one, "StudyDescription", "D"),
        row(one, "SeriesDescription", "S", series_uid=series),
        row(one, "SeriesInstanceUID", "1.2.9", series_uid=series, force=True),
        row(one, "KVP", "80", series_uid=series, instance_uid=f"{series}.1"),
    ]
    plan = made(rows, about, rules=dicom.RULES[age])
    assert {n for n, _ in codes(plan)} == bad
    assert made(rows, None, rules=dicom.RULES[age]).set_aside.height == 0
    assert made(rows, about.with_columns(primary=False), rules=dicom.RULES[age]).set_aside.height == 0


# -- order


def revert(one: str, to: int = 1) -> dict[str, Any]:
    return row(one, action="revert", revert_to=to)


def order(plan: plans.Plan) -> list[str]:
    """Calls of the first lane: `study`, `revert N` of an image set, or its number."""
    return [
        "study" if wide else f"{'revert ' if to else ''}{int(one[16:])}"
        for one, wide, to in plan.calls.filter(lane=0).select("image_set_id", "study_wide", "revert_to").rows()
    ]


@pytest.mark.parametrize(
    ("list_", "expected"),
    [
        ("x0 x1 r0", ["study", "revert 0"]),
        ("r0 x0 x1", ["revert 0", "study"]),
        ("x0 r0 r1 x1", ["revert 1", "study", "revert 0"]),
        ("x0 x1 r0 y0 y1", ["study", "revert 0", "study"]),
        ("x0 x1 y0 y1 r0", ["study", "revert 0"]),
        ("x0 x1 r0 x0 x1", ["study", "revert 0", "study"]),
        ("x0 r0 y0 y1 r1 x1", None),
    ],
)
def test_the_calls_of_a_study_go_where_every_image_set_has_them(list_: str, expected: list[str] | None) -> None:
    about = known(2)
    values = {"x": ("PatientID", "X"), "y": ("PatientName", "Y")}
    rows = [
        revert(image_set(0, int(number))) if kind == "r" else row(image_set(0, int(number)), *values[kind])
        for kind, number in map(tuple, list_.split())
    ]
    plan = made(rows, about, contradictions=plans.Contradictions.LAST)
    if expected is None:
        assert {code for _, code in codes(plan)} == {"study-order"}
        assert sorted(order(plan)) == ["revert 0"]
    else:
        assert (codes(plan), order(plan)) == ([], expected)


# -- the same result as one by one

SIZES = (3, 2, 1)  # primary image sets of the studies; study 0 has one more that is not primary
TOP = {
    "PatientName": ("Patient", ["A", "B"]),
    "StudyDescription": ("Study", ["A", "B" * 60]),
    "StudyID": ("Study", ["a", "b"]),  # needs force
}
STORED = {"PatientName": "DOE^JANE", "StudyDescription": "CHEST", "StudyID": "S1"}


def hospital() -> tuple[Service, pl.DataFrame, dict[str, Reference]]:
    """The studies, each image set with three versions that differ in the series alone."""
    service = Service(hospital_settings("2026"))
    about = known(*SIZES, others=1)
    references = {}
    for one, study, primary in about.iter_rows():
        number = int(one[16:]) + 1
        content = document(str(number), study=study, instances=2)
        service.add(content, image_set_id=one, primary=primary)
        history = [service.metadata(one)]
        for version in (2, 3):
            service.outcome(one, in_series(f"{study}.{number}", SeriesDescription=f"v{version}"))
            history.append(service.metadata(one))
        references[one] = Reference.with_history(history)
    return service, about, references


@st.composite
def some_rows(draw: st.DrawFn, about: pl.DataFrame, *, reverts: bool) -> Rows:
    """The edits that one thought of the user becomes: of a study, or of an image set."""
    ids = about["image_set_id"].to_list()
    kind = draw(st.sampled_from(["study"] * 5 + ["part", "series", "series", "instance", "one"]))
    one = draw(st.sampled_from(ids))
    series = f"1.2.{int(one[:16])}.{int(one[16:]) + 1}"
    version = draw(st.sampled_from([None] * 5 + [3]))
    if kind == "series":
        value = draw(st.sampled_from(["s", "t"]))
        return [row(one, "SeriesDescription", value, series_uid=series, version=version)]
    if kind == "instance":
        place = {"series_uid": series, "instance_uid": f"{series}.{draw(st.sampled_from([1, 2]))}"}
        if draw(st.booleans()):
            return [row(one, "KVP", "80", **place, version=version)]
        return [{**row(one), **place, "action": "remove-instance", "level": "Instance", "force": True}]
    if kind == "one" and reverts:
        return [{**revert(one, draw(st.sampled_from([1, 2]))), "version": version}]
    name = draw(st.sampled_from(sorted(TOP)))
    level, values = TOP[name]
    asked = row(one, name, draw(st.sampled_from(values)), force=draw(st.sampled_from([False, False, True])))
    assert asked["level"] == level
    if not reverts and draw(st.integers(0, 3)) == 0:
        # what is removed from image sets that no longer hold the same is the service's to say, all or nothing
        asked |= {"action": "remove", "value": draw(st.sampled_from(["{}", json_text(STORED[name]), '"wrong"']))}
    study = draw(st.sampled_from(["1.2.0", "1.2.0", "1.2.1", "1.2.2"]))
    primaries = about.filter(pl.col("primary") & (pl.col("study") == study))["image_set_id"].to_list()
    if kind == "part":
        primaries = draw(st.lists(st.sampled_from(ids), min_size=1, max_size=3, unique=True))
    return [{**asked, "key": one} for one in primaries]


def one_after_another(edits: Rows, about: pl.DataFrame, references: dict[str, Reference]) -> list[str]:
    """Outcomes, with edits of a study made in all of its image sets once it is their turn in each, or in none.

    Written over queues: what comes next in an image set is all up to the next edit that does not commute.
    """
    several = {
        one: study
        for one, study in about.filter("primary").select("image_set_id", "study").iter_rows()
        if about.filter(pl.col("primary") & (pl.col("study") == study)).height > 1
    }
    order = sorted(range(len(edits)), key=lambda n: (edits[n]["version"] or 1e9, n))
    queues = {one: [n for n in order if edits[n]["key"] == one] for one in references}
    outcomes: dict[int, str] = {}

    def group_of(n: int) -> list[int]:
        """The edits that are made together with this one."""
        edit = edits[n]
        if edit["level"] not in {"Patient", "Study"} or edit["key"] not in several:
            return [n]
        siblings = [one for one in several if several[one] == several[edit["key"]]]
        chains = [[[m] for m in queues[one] if same_attribute(m, n)] for one in siblings]
        if len(set(map(len, chains))) > 1:
            # what only says the same again may be said more often of one image set than of another
            chains = [
                [list(run) for _, run in itertools.groupby([m for run in chain for m in run], key=asked)]
                for chain in chains
            ]
        place = next(place for chain in chains for place, run in enumerate(chain) if n in run)
        return [m for chain in chains for m in chain[place]]

    def asked(n: int) -> tuple[Any, ...]:
        return tuple(edits[n][name] for name in ("action", "value", "force"))

    def same_attribute(m: int, n: int) -> bool:
        return bool(edits[m]["attribute"] == edits[n]["attribute"] and edits[m]["level"] == edits[n]["level"])

    def is_next(n: int, group: list[int]) -> bool:
        before = [m for m in itertools.takewhile(lambda m: m != n, queues[edits[n]["key"]]) if m not in group]
        alone = edits[n]["action"] == "revert" or edits[n]["version"] is not None
        same = ("attribute", "series_uid", "instance_uid")
        return not any(
            alone
            or edits[m]["action"] in {"revert", "remove-instance"}
            or edits[m]["version"] is not None
            or all(edits[m].get(k) == edits[n].get(k) for k in same)
            or edits[n]["action"] == "remove-instance"
            for m in before
        )

    while any(queues.values()):
        groups = (group_of(n) for queue in queues.values() for n in queue)
        group = next(group for group in groups if all(is_next(n, group) for n in group))
        found = [references[edits[n]["key"]].apply({**PLACE, **edits[n]}) for n in group]
        assert len(set(found)) == 1
        for n in group:
            queues[edits[n]["key"]].remove(n)
        outcomes |= dict.fromkeys(group, found[0])
    return [outcomes[n] for n in range(len(edits))]


PLACE = {"series_uid": None, "instance_uid": None, "version": None, "revert_to": None}


@given(data=st.data(), reverts=st.booleans(), limit=st.sampled_from([10_000, 250]))
@examples(10)
def test_a_plan_with_study_wide_calls_does_what_its_edits_do_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, reverts: bool, limit: int
) -> None:
    service, about, references = hospital()
    thoughts = data.draw(st.lists(some_rows(about, reverts=reverts), min_size=1, max_size=6))
    edits = [{"version": None, **one} for thought in thoughts for one in thought]
    options: dict[str, Any] = {"payload_limit": limit, "contradictions": plans.Contradictions.LAST}
    bad = set(made(edits, about, **options).set_aside["row"].to_list())
    kept = [one for number, one in enumerate(edits, 2) if number not in bad]
    assume(kept)
    plan, apart = made(kept, about, **options), made(kept, about, OFF, **options)
    assert plan.set_aside.height == 0
    expected = one_after_another(kept, about, references)
    found, _ = execute(tmp_path_factory.mktemp("run"), service, plan, limit)
    for one, reference in references.items():
        assert without_ids(service.metadata(one)) == without_ids(reference.document)
    assert found == expected
    _judge_number(plan, apart, reverts=reverts)


def _judge_number(plan: plans.Plan, apart: plans.Plan, *, reverts: bool) -> None:
    """Never more calls than without, but for those that no call of one image set could take the place of."""
    counts = plans.estimate(plan)
    wide = plan.calls["study_wide"].sum()
    beside = plan.calls.filter(pl.col("study_wide").any().over("lane") & ~pl.col("study_wide")).height
    assert plan.calls.height <= apart.calls.height + (wide if beside else 0)
    if not reverts and not beside:
        assert plan.calls.height + counts.saved_by_study_wide == apart.calls.height


def test_each_sibling_gets_one_version_and_a_guilty_edit_is_isolated(tmp_path: Path) -> None:
    service, about, references = hospital()
    three = about.filter(pl.col("primary") & (pl.col("study") == "1.2.0"))
    rows = [
        *of_all(three, "PatientName", "NEW"),
        *of_all(three, "StudyID", "needs force"),
        *of_all(three, "StudyDescription", "NEW"),
    ]
    found, requests = execute(tmp_path, service, made(rows, about), 10_000)
    assert found == ["applied"] * 3 + ["rejected"] * 3 + ["applied"] * 3
    assert requests == 5
    contents = [service.metadata(one) for one in three["image_set_id"]]
    assert [content["Patient"]["DICOM"]["PatientName"] for content in contents] == ["NEW"] * 3
    assert [content["Study"]["DICOM"]["StudyDescription"] for content in contents] == ["NEW"] * 3
    assert [service.number(one) for one in three["image_set_id"]] == [8] * 3
    del references


def test_a_patient_merge_makes_one_version_of_every_image_set(tmp_path: Path) -> None:
    service = Service(hospital_settings("2026"))
    about = known(*[4] * 12)
    for one, study, _ in about.iter_rows():
        number = int(one[16:]) + 1
        service.add(document(str(number), study=study), image_set_id=one, primary=True)
    before = {one: service.metadata(one) for one in about["image_set_id"]}
    rows = [*of_all(about, "PatientID", "NEW"), *of_all(about, "PatientName", "NEW^NAME")]
    found, requests = execute(tmp_path, service, made(rows, about), 10_000)
    assert (set(found), requests) == ({"applied"}, 12)
    for one, content in before.items():
        reference = Reference(content)
        for edit in (e for e in rows if e["key"] == one):
            reference.apply({**PLACE, **edit})
        assert without_ids(service.metadata(one)) == without_ids(reference.document)
        assert service.number(one) == 2
