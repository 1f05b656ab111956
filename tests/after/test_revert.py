"""What is left out of a revert, and what the others say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.after.revert import NotReverted, decide, ranges, revert
from bulkedit.client.responses import ImageSet, ImageSetState
from bulkedit.emulator import Fault, FaultKind
from bulkedit.plans import load
from bulkedit.runs.folder import Run
from bulkedit.runs.own_versions import OwnVersions, made_with
from tests.runs.factories import FAST_READS, planned, row
from tests.runs.killable import DirectClient, in_place, process
from tests.runs.test_budget import Hospital
from tests.runs.virtual_time import run_virtual

if TYPE_CHECKING:
    from pathlib import Path


def version(number: int, state: ImageSetState = ImageSetState.ACTIVE, status: str = "UPDATED") -> ImageSet:
    return ImageSet(image_set_id="x", version=number, state=state, status=status)


@pytest.mark.parametrize(
    ("listed", "code"),
    [
        ([version(2, ImageSetState.LOCKED), version(1)], "locked"),
        ([version(3), version(2)], "no-version"),
        ([version(2), version(1, status="UPDATE_FAILED")], "no-version"),
    ],
    ids=["locked", "the version before is not listed", "the version before has failed"],
)
def test_an_image_set_that_cannot_go_back_is_left_out(listed: list[ImageSet], code: str) -> None:
    left_out = decide("x", OwnVersions({2: 1, 3: 2}), listed)
    assert isinstance(left_out, NotReverted)
    assert left_out.code == code


def test_a_study_wide_call_is_found_in_a_sibling_only_by_its_time() -> None:
    lead, sibling = replace(version(2), updated_at=5.0), replace(version(7), updated_at=5.0)
    assert made_with(lead, [sibling], ()) is sibling
    assert made_with(version(2), [sibling], ()) is None


@pytest.mark.parametrize(("numbers", "text"), [([], ""), ([4], "4"), ([2, 3, 4, 5, 9], "2-5,9"), ([2, 4, 5], "2,4-5")])
def test_rows_in_a_row_are_a_range(numbers: list[int], text: str) -> None:
    assert ranges(numbers) == text


def test_an_image_set_whose_versions_cannot_be_listed_is_left_out_and_another_keeps_the_id_of_its_edit(
    tmp_path: Path,
) -> None:
    hospital = Hospital(tmp_path, 2)
    rows = [row(one, "PatientName", "NEW", edit_id=f"E{n}") for n, one in enumerate(hospital.ids)]
    plan = planned(tmp_path / "r/plan", hospital.plan.datastore_id, rows)
    process(hospital.server, plan, tmp_path / "r/ledger.sqlite")
    fault = Fault(kind=FaultKind.CONFLICT, action="ListImageSetVersions", image_set_id=hospital.ids[0])
    hospital.server.faults.add([fault], now=hospital.server.now())
    about: Any = {"settings": {}}
    run = Run(tmp_path / "r", plan, about)
    client = DirectClient(hospital.server)
    with in_place():
        found = run_virtual(
            revert(run, client, tmp_path / "back", now=datetime(2026, 1, 1, tzinfo=UTC), rates=FAST_READS)
        )
    back = load(tmp_path / "back")
    assert back.edits().select("image_set_id", "edit_id").collect().rows() == [(hospital.ids[1], "E1")]
    assert found.left_out.select("image_set_id", "code").rows() == [(hospital.ids[0], "unread")]
