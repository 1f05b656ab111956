"""A payload that is not what the edits say is refused, even if all digests of the plan are made right again."""

from __future__ import annotations

import json
import shutil
from operator import methodcaller
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from bulkedit import plans
from bulkedit.dicom import dictionary as dicom
from bulkedit.errors import ReceivedError, StalePlanError
from bulkedit.plans import agreement
from tests.received.tampering import change, sign, tamper
from tests.runs import test_copy_lane as test_recipes
from tests.runs import test_study_lanes
from tests.runs.factories import about_plan, frame, row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IDS = [f"{number:032d}" for number in range(6)]
STORE = "d" * 32


def of_rows(folder: Path, rows: list[dict[str, Any]], limit: int = 10_000, **settings: Any) -> plans.SavedPlan:
    chosen = plans.PlanningSettings(
        rules=dicom.RULES["2026"],
        payload_limit=limit,
        contradictions=plans.Contradictions.LAST,
        **settings,
    )
    plan = plans.make(frame(rows), chosen)
    assert plan.set_aside.height == 0
    return plans.save(plan, folder / "plan", about_plan(plan, STORE, limit))


def sets(folder: Path) -> plans.SavedPlan:
    return of_rows(folder, [row(one, name, "V") for name in ("StudyDescription", "PatientName") for one in IDS])


def one_by_one(folder: Path) -> plans.SavedPlan:
    return of_rows(folder, [row(one, "PatientName", f"V{n}") for n in range(3) for one in IDS], merge=False)


def packed(folder: Path) -> plans.SavedPlan:
    names = ("PatientName", "PatientID", "StudyDescription", "AccessionNumber", "PatientComments")
    rows = [row(IDS[0], "SeriesDescription", "x" * 50, series_uid=f"1.2.{n}") for n in range(12)]
    return of_rows(folder, [row(one, name, "x" * 16) for name in names for one in IDS[1:]] + rows, 200)


def removals(folder: Path) -> plans.SavedPlan:
    inside = {"series_uid": "1.2.3", "instance_uid": "1.2.3.4"}
    return of_rows(
        folder,
        [
            row(IDS[0], "PatientName", action="remove") | {"value": "{}"},
            row(IDS[0], "StudyDescription", "OLD", action="remove"),
            row(IDS[1], "SliceThickness", 1.5, **inside),
            row(IDS[1], action="remove-instance", **inside),
            row(IDS[2], action="remove-series", series_uid="1.2.3"),
            row(IDS[3], action="revert", revert_to=2),
            row(IDS[3], "PatientName", "LATER"),
            row(IDS[4], "PatientName", "V", version=7),
            row(IDS[5], "SOPInstanceUID", "1.9", force=True, **inside),
        ],
    )


def of_studies(folder: Path) -> plans.SavedPlan:
    of_study, series, (one, *_) = test_study_lanes.of_study, test_study_lanes.series, test_study_lanes.IDS
    rows = [series(one), *of_study("StudyDescription", "V"), *of_study("PatientName", "P", version=1)[:0], series(one)]
    return test_study_lanes.saved(folder, rows)


def by_copies(folder: Path) -> plans.SavedPlan:
    rows = [row(one, "StudyInstanceUID", "1.2.99", force=True) for one in IDS[:3]]
    return test_recipes.planned(folder / "plan", rows, IDS[:3])


KINDS: dict[str, Callable[[Path], plans.SavedPlan]] = {
    "sets": sets,
    "one by one": one_by_one,
    "packed": packed,
    "removals": removals,
    "studies": of_studies,
    "copies": by_copies,
}


@pytest.fixture(params=list(KINDS), scope="module")
def plan(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> plans.SavedPlan:
    """One plan a kind: the tests that take it change no file."""
    return KINDS[request.param](tmp_path_factory.mktemp("plan"))


def test_a_plan_agrees_with_itself(plan: plans.SavedPlan) -> None:
    assert plans.load(plan.folder).digest == plan.digest


def other(name: str, value: Any) -> Any:
    """Another value of a column of calls."""
    if name == "copy_step":
        return str(plans.CopyStep.DELETE_ORIGINAL) if value != plans.CopyStep.DELETE_ORIGINAL else None
    if name in {"updatable", "removable"}:
        return value.replace(":", ": ", 1) if value else '{"SchemaVersion":1.1}'
    if name == "image_set_id":
        return "f" * 32
    return not value if isinstance(value, bool) else (value or 0) + 1


def with_cell(calls: pl.DataFrame, name: str, place: int) -> pl.DataFrame:
    values = calls.get_column(name).to_list()
    values[place] = other(name, values[place])
    return calls.with_columns(pl.Series(name, values, dtype=plans.CALLS[name]))


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some calls", "all calls"])
@pytest.mark.parametrize("name", plans.CALLS.names())
def test_no_cell_of_any_call_can_be_changed(plan: plans.SavedPlan, name: str, every: bool) -> None:
    calls = plan.calls().collect()
    for place in range(calls.height) if every else {0, calls.height - 1}:
        changed = with_cell(calls, name, place)
        assert agreement.disagreement(changed.lazy(), plan.edits()) is not None, (name, place)


def test_no_call_can_be_left_out_or_sent_twice_or_moved(plan: plans.SavedPlan) -> None:
    calls = plan.calls().collect()
    first = calls.head(1)
    for changed in (calls.tail(-1), calls.head(-1), pl.concat([first, calls]), pl.concat([calls, first])):
        assert agreement.disagreement(changed.lazy(), plan.edits()) is not None
        renumbered = changed.drop("call").with_row_index("call").select(plans.CALLS.names())
        assert agreement.disagreement(renumbered.lazy(), plan.edits()) is not None


def test_the_calls_of_an_image_set_cannot_be_put_into_lanes_that_run_at_once(tmp_path: Path) -> None:
    for kind in (one_by_one, of_studies):
        plan = kind(tmp_path / kind.__name__)
        apart = plan.calls().collect().with_columns(lane=pl.col("call"))
        found = agreement.disagreement(apart.lazy(), plan.edits())
        assert found is not None
        assert "two lanes" in found.what


def test_a_tampered_payload_is_refused_with_call_and_row_though_all_digests_are_right(tmp_path: Path) -> None:
    plan = sets(tmp_path)
    payload = pl.when(pl.col("call") == 4).then(pl.col("updatable").str.replace('"V"', '"EVIL"'))
    tamper(plan.folder, lambda calls: calls.with_columns(updatable=payload.otherwise("updatable")))
    with pytest.raises(StalePlanError) as caught:
        plans.load(plan.folder)
    text = str(caught.value)
    assert "call 4 (row 6 of the edit list) differs from its edits: the document of attributes to set" in text
    assert "EVIL" not in text
    assert "bulkedit plan EDITS" in text


def test_a_changed_edit_is_refused_too(tmp_path: Path) -> None:
    plan = sets(tmp_path)
    tamper(plan.folder, lambda edits: edits.with_columns(value=pl.lit('"EVIL"')), "edits.parquet")
    with pytest.raises(StalePlanError, match="differs from its edits"):
        plans.load(plan.folder)


@pytest.mark.parametrize("name", ["calls", "edits", "image_sets", "longest_lane", "originals_deleted"])
def test_the_manifest_counts_what_is_there(tmp_path: Path, name: str) -> None:
    plan = by_copies(tmp_path)
    change(plan.folder / "manifest.json", counts={**plan.counts, name: 0})
    sign(plan.folder)
    with pytest.raises(StalePlanError, match=f"has 0 as {name}, but the plan has"):
        plans.load(plan.folder)


def test_other_columns_are_refused_in_words(tmp_path: Path) -> None:
    plan = sets(tmp_path)
    tamper(plan.folder, lambda calls: calls.with_columns(more=pl.lit(1)))
    with pytest.raises(ReceivedError, match="its columns are not those"):
        plans.load(plan.folder)


def test_edits_and_calls_changed_together_make_another_plan_with_another_digest(tmp_path: Path) -> None:
    """What the check does not prove: this is what `apply --digest` is for."""
    plan = sets(tmp_path)
    for name, column in (("edits.parquet", "value"), ("calls.parquet", "updatable")):
        text = pl.col(column).str.replace_all('"V"', '"W"')
        tamper(plan.folder, methodcaller("with_columns", text), name)
    changed = plans.load(plan.folder)
    assert changed.digest != plan.digest


def test_the_digest_is_that_of_everything_but_the_time(tmp_path: Path) -> None:
    plan = sets(tmp_path)
    for name in plan.manifest:
        if name in {"digest", "files", "format"}:
            continue
        copied = tmp_path / name
        shutil.copytree(plan.folder, copied)
        manifest = json.loads((copied / "manifest.json").read_text())
        manifest[name] = {**manifest[name], "more": 1} if isinstance(manifest[name], dict) else "e" * 32
        (copied / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(StalePlanError, match=r"manifest\.json has been changed"):
            plans.load(copied)
        assert sign(copied) != plan.digest
    change(plan.folder / "manifest.json", created="2020-01-01")
    assert plans.load(plan.folder).digest == plan.digest
