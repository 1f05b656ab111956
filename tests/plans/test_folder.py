"""A plan on disk is private, complete, and refused once it is not what was planned."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import polars as pl
import pytest

from bulkedit import plans
from bulkedit._files import sha256_of
from bulkedit.dicom import dictionary as dicom
from bulkedit.errors import PlanError, StalePlanError
from bulkedit.plans.saved import digest_of
from tests.bombs import files
from tests.runs.factories import frame, planned, row

if TYPE_CHECKING:
    from pathlib import Path

IDS = [f"{number:032d}" for number in range(50)]


@pytest.fixture
def saved(tmp_path: Path) -> plans.SavedPlan:
    rows = [row(one, "PatientName", f"V{n}") for one in IDS for n in range(3)]
    return planned(tmp_path / "plan", "d" * 32, rows, merge=False)


def test_a_plan_comes_back_as_it_was_saved(saved: plans.SavedPlan) -> None:
    again = plans.load(saved.folder)
    assert (again.digest, again.manifest) == (saved.digest, saved.manifest)
    assert again.calls().collect_schema() == plans.CALLS
    assert again.edits().collect_schema() == plans.PLANNED_EDITS


def test_folder_and_files_are_for_their_owner_only(saved: plans.SavedPlan) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in saved.folder.iterdir()}
    assert stat.S_IMODE(saved.folder.stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}
    assert set(modes) == {"calls.parquet", "edits.parquet", "set_aside.parquet", "manifest.json"}


@pytest.mark.parametrize("name", ["calls.parquet", "edits.parquet", "set_aside.parquet"])
def test_a_changed_file_makes_the_plan_stale(saved: plans.SavedPlan, name: str) -> None:
    with (saved.folder / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(StalePlanError, match=name):
        plans.load(saved.folder)


def test_a_manifest_for_another_data_store_makes_the_plan_stale(saved: plans.SavedPlan) -> None:
    path = saved.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"datastore_id": "e" * 32}))
    with pytest.raises(StalePlanError):
        plans.load(saved.folder)


def test_a_plan_that_somebody_made_to_take_all_memory_is_refused(saved: plans.SavedPlan) -> None:
    """Its digests are right: who made it has computed them."""
    files.equal_records(saved.folder / "edits.parquet")
    path = saved.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["edits.parquet"]["sha256"] = sha256_of(saved.folder / "edits.parquet")
    path.write_text(json.dumps(manifest | {"digest": digest_of(manifest)}))
    with pytest.raises(PlanError, match=r"edits\.parquet .* far more than its size"):
        plans.load(saved.folder)


def test_a_folder_that_is_no_plan_says_so(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="not a plan"):
        plans.load(tmp_path)


def test_a_plan_never_overwrites_what_is_there(saved: plans.SavedPlan) -> None:
    plan = plans.make(
        frame([row(IDS[0], "PatientName", "X")]), plans.PlanningSettings(rules=dicom.RULES["2026"], payload_limit=100)
    )
    with pytest.raises(PlanError, match="already"):
        plans.save(plan, saved.folder, saved.manifest)


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 150, 1000])
def test_lanes_are_whole_and_in_order_whatever_the_batch(saved: plans.SavedPlan, batch: int) -> None:
    lanes = [lane for lanes in saved.lanes(batch=batch) for lane in lanes]
    assert [lane.number for lane in lanes] == list(range(50))
    assert [call.call for lane in lanes for call in lane.calls] == list(range(150))
    assert {len(lane.calls) for lane in lanes} == {3}


def test_a_row_over_the_payload_limit_is_set_aside_and_the_rest_is_planned() -> None:
    rows = [row(IDS[0], "PatientComments", "x" * 500), row(IDS[0], "PatientName", "SHORT")]
    plan = plans.make(frame(rows), plans.PlanningSettings(rules=dicom.RULES["2026"], payload_limit=200))
    assert plan.set_aside.select("row", "code").rows() == [(2, "payload-too-large")]
    assert plan.edits.select("row", "call").rows() == [(3, 0)]
    assert plan.calls.select(pl.col("bytes").max()).item() <= 200


def test_longer_lanes_come_first() -> None:
    settings = plans.PlanningSettings(
        rules=dicom.RULES["2026"], payload_limit=10_000, merge=False, contradictions=plans.Contradictions.LAST
    )
    rows = [row(IDS[0], "PatientName", "A"), *(row(IDS[1], "PatientName", f"{n}") for n in range(3))]
    plan = plans.make(frame(rows), settings)
    assert plan.calls["image_set_id"].to_list() == [IDS[1]] * 3 + [IDS[0]]


def test_a_file_that_is_not_parquet_is_refused_though_its_digest_is_right(saved: plans.SavedPlan) -> None:
    (saved.folder / "edits.parquet").write_text("no Parquet")
    manifest = json.loads((saved.folder / "manifest.json").read_text())
    manifest["files"]["edits.parquet"]["sha256"] = sha256_of(saved.folder / "edits.parquet")
    (saved.folder / "manifest.json").write_text(json.dumps(manifest | {"digest": digest_of(manifest)}))
    with pytest.raises(PlanError, match=r"edits\.parquet is not a Parquet file"):
        plans.load(saved.folder)


def test_a_file_that_changes_between_loading_and_copying_is_stale(saved: plans.SavedPlan) -> None:
    with (saved.folder / "edits.parquet").open("ab") as file:
        file.write(b"more")
    with pytest.raises(StalePlanError, match=r"edits\.parquet has changed since the plan was loaded"):
        plans.copy(saved, saved.folder.with_name("copy"))
