"""Changes of UID: in as few calls as their documents need, and nothing after them that names a path by its old UID."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bulkedit import plans
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits.edit import json_text
from bulkedit.plans.renames import waiting
from tests.emulator.hospital import Service, document
from tests.emulator.hospital import settings as hospital_settings
from tests.plans.test_proof import execute
from tests.runs.factories import frame, row

if TYPE_CHECKING:
    from pathlib import Path

SERIES = "1.2.3.1"


def edits(image_set_id: str, instances: int, *, filling: str = "80", force: bool = True) -> list[dict[str, Any]]:
    """For each instance an edit and a new UID; then new UIDs of series and study."""
    uids = [f"{SERIES}.{number}" for number in range(1, instances + 1)]
    inside = [("KVP", filling, uid) for uid in uids]
    rows = [row(image_set_id, "StudyDescription", "NEW", force=force)]
    rows += [row(image_set_id, n, v, series_uid=SERIES, instance_uid=uid, force=force) for n, v, uid in inside]
    rows += [renamed(image_set_id, uid) for uid in uids]
    rows.append(row(image_set_id, "SeriesInstanceUID", "9.1", series_uid=SERIES, force=True))
    rows.append(row(image_set_id, "StudyInstanceUID", "9", force=True))
    return rows


def renamed(image_set_id: str, uid: str, new: str | None = None) -> dict[str, Any]:
    value = new or f"9.{uid.rpartition('.')[2]}"
    return row(image_set_id, "SOPInstanceUID", value, series_uid=SERIES, instance_uid=uid, force=True)


def made(rows: list[dict[str, Any]], limit: int = 10_000) -> plans.Plan:
    plan = plans.make(frame(rows), plans.PlanningSettings(rules=dicom.RULES["2026"], payload_limit=limit))
    assert plan.set_aside.height == 0
    return plan


@pytest.mark.parametrize("instances", [1, 2, 9, 20])
def test_what_fits_one_call_is_one_call(instances: int) -> None:
    assert made(edits("0" * 32, instances)).calls.height == 1


def test_an_edit_without_force_goes_before_the_new_uids() -> None:
    plan = made(edits("0" * 32, 3, force=False))
    assert plan.calls["force"].to_list() == [False, True]


@pytest.mark.parametrize(("instances", "limit"), [(3, 300), (8, 400), (40, 1_000), (250, 2_000)])
def test_documents_under_a_limit_keep_paths_valid(tmp_path: Path, instances: int, limit: int) -> None:
    service = Service(hospital_settings("2026"))
    image_set_id = service.add(document(study="1.2.3", instances=instances), primary=False)
    plan = made(edits(image_set_id, instances), limit)
    assert plan.calls.height > 1
    outcomes, requests = execute(tmp_path, service, plan, limit)
    assert (set(outcomes), requests) == ({"applied"}, plan.calls.height)
    after = service.metadata(image_set_id)["Study"]
    assert (after["DICOM"]["StudyInstanceUID"], after["DICOM"]["StudyDescription"]) == ("9", "NEW")
    assert list(after["Series"]) == ["9.1"]
    inner = after["Series"]["9.1"]["Instances"]
    assert set(inner) == {f"9.{number}" for number in range(1, instances + 1)}
    assert {one["DICOM"]["KVP"] for one in inner.values()} == {"80"}
    # no call more than their bytes need: each but the last two could not have held the next instance too
    assert plan.calls.height <= 1.2 * sum(plan.calls["bytes"].to_list()) / limit + 1


@pytest.mark.parametrize(
    ("rows", "calls"),
    [
        pytest.param(
            [renamed("0" * 32, f"{SERIES}.1", f"{SERIES}.2"), renamed("0" * 32, f"{SERIES}.2", "9")], 2, id="chain"
        ),
        pytest.param(
            [renamed("0" * 32, f"{SERIES}.2", "9"), renamed("0" * 32, f"{SERIES}.1", f"{SERIES}.2")], 2, id="freed"
        ),
        pytest.param([renamed("0" * 32, f"{SERIES}.1", "7"), renamed("0" * 32, f"{SERIES}.1", "8")], 1, id="twice"),
        pytest.param(
            [row("0" * 32, "SeriesInstanceUID", "9", series_uid=SERIES, force=True), renamed("0" * 32, f"{SERIES}.1")],
            1,
            id="inside-after-outside",
        ),
    ],
)
def test_changes_that_meddle_with_one_another_stay_apart(rows: list[dict[str, Any]], calls: int) -> None:
    settings = plans.PlanningSettings(
        rules=dicom.RULES["2026"], payload_limit=10_000, contradictions=plans.Contradictions.LAST
    )
    assert plans.make(frame(rows), settings).calls.height == calls


def test_a_new_uid_of_another_image_set_is_not_waited_for() -> None:
    first, second = "0" * 32, "1" * 32
    rows = [
        row(first, "SeriesInstanceUID", "9.1", series_uid=SERIES, force=True),
        row(second, "StudyDescription", "NEW"),
        row(second, "SeriesDescription", "NEW", series_uid="9.1"),
    ]
    assert waiting(frame(rows).with_row_index("edit")).is_empty()


def test_an_edit_after_a_new_uid_waits_for_it() -> None:
    rows = [renamed("0" * 32, f"{SERIES}.1"), row("0" * 32, "KVP", "80", series_uid=SERIES, instance_uid="9.1")]
    assert made(rows).calls.height == 2
    assert json_text("80") in made(rows).calls["updatable"].to_list()[1]
