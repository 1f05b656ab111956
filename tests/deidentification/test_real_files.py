"""pydicom's own DICOM files through import, derivation, edit list, planner, engine and service."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pydicom
import pytest

from bulkedit import deidentification, plans
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits import ReadOptions
from bulkedit.edits import read as read_list
from bulkedit.emulator.dicom_import.importer import read_folder
from tests.deidentification.walkers import KEY, walker
from tests.emulator.hospital import Service
from tests.emulator.hospital import settings as hospital_settings
from tests.plans.test_proof import execute, without_ids

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
IDENTIFYING = (
    "PatientName",
    "PatientID",
    "PatientAddress",
    "ReferringPhysicianName",
    "InstitutionName",
    "AccessionNumber",
)


@cache
def imported() -> list[dict[str, Any]]:
    """Metadata documents of all bundled files."""
    return [one.document for one in read_folder(BUNDLED).image_sets]


def values(node: Any, names: tuple[str, ...]) -> set[str]:
    """Texts of attributes at any depth."""
    if isinstance(node, list):
        return set().union(*(values(one, names) for one in node)) if node else set()
    if not isinstance(node, dict):
        return set()
    found = {text.strip() for name in names for text in [node.get(name)] if isinstance(text, str)}
    return set().union(found, *(values(one, names) for one in node.values()))


@pytest.mark.parametrize("name", ["basic", "research-dates-shifted"])
def test_real_files_are_de_identified_by_calls_that_the_service_takes(tmp_path: Path, name: str) -> None:
    service = Service(hospital_settings("2026"))
    documents = {service.add(content, primary=False): content for content in imported()}
    before = {image_set_id: service.metadata(image_set_id) for image_set_id in documents}
    recipe = deidentification.DeidRecipe(profile=deidentification.load_profile(name), key=KEY, payload_limit=10_000)
    with deidentification.DeidRecord.open(tmp_path / "edits.csv", {}) as record:
        writer = deidentification.DeidWriter(recipe, record)
        for image_set_id, content in before.items():
            writer.take(image_set_id, content)
        counts = writer.finish()
    assert counts["image_sets"] == counts["changed"] == len(before) > 30

    found = read_list(tmp_path / "edits.csv", ReadOptions())
    assert found.set_aside.height == 0
    assert found.edits.height == counts["edits"]
    edits = found.edits.with_columns(image_set_id=found.edits["key"])
    plan = plans.make(edits, plans.PlanningSettings(rules=dicom.RULES["2026"], payload_limit=10_000))
    assert plan.set_aside.height == 0
    outcomes, _ = execute(tmp_path, service, plan, 10_000)
    assert set(outcomes) == {"applied"}

    again = walker(name)
    unreachable = set(record.findings()["image_set_id"]) if counts["unreachable"] else set()
    for image_set_id, old in before.items():
        new = service.metadata(image_set_id)
        left = again.derive(image_set_id, new)
        assert left.edits == []
        assert left.marked
        if image_set_id not in unreachable:
            known = {text for text in values(old, IDENTIFYING) if len(text) > 3}
            survivors = known & {text.strip() for text in texts(without_ids(new))}
            assert not survivors, f"{len(survivors)} values survive in {image_set_id}"


def texts(node: Any) -> set[str]:
    """Every text at any depth."""
    if isinstance(node, dict):
        return set().union(*map(texts, node.values())) if node else set()
    if isinstance(node, list):
        return set().union(*map(texts, node)) if node else set()
    return {node} if isinstance(node, str) else set()


def test_the_images_of_one_series_still_refer_to_one_another() -> None:
    """References are closed: what named an instance of the data names it still, by its new UID."""
    after_of: dict[str, str] = {}
    pseudonyms = walker("basic")._pseudonyms
    for content in imported():
        for series in content["Study"]["Series"].values():
            after_of |= {uid: pseudonyms.uid(uid) for uid in series["Instances"]}
    assert len(set(after_of.values())) == len(after_of)
    referred = values(imported(), ("ReferencedSOPInstanceUID",)) & after_of.keys()
    assert referred
    derived = json.dumps(
        [edit.value for content in imported() for edit in walker("basic").derive("0" * 32, content).edits]
    )
    assert all(after_of[uid] in derived and f'"{uid}' not in derived for uid in referred)
