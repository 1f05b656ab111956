"""The call form: what people type for the AWS CLI today, row by row."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from bulkedit.dicom.dictionary import RULES
from tests.edits.lists import INSTANCE, SERIES, A, B, edits, problems, read_rows, read_text

STORE = "d" * 32
WHAT = ("action", "level", "series_uid", "instance_uid", "attribute", "value", "vr", "force")


def document(**parts: Any) -> dict[str, Any]:
    return {"SchemaVersion": 1.1} | parts


def setting(**parts: Any) -> dict[str, Any]:
    return {"DICOMUpdates": {"updatableAttributes": document(**parts)}}


def removing(**parts: Any) -> dict[str, Any]:
    return {"DICOMUpdates": {"removableAttributes": document(**parts)}}


def in_instance(**parts: Any) -> dict[str, Any]:
    return {"Series": {SERIES: {"Instances": {INSTANCE: parts}}}}


STUDY_WIDE = {"image_set_id": A, "include_study_image_sets": "true"}
NAME = {"DICOM": {"PatientName": "Garcia^Gloria"}}


@pytest.mark.parametrize(
    ("updates", "force", "expected"),
    [
        pytest.param(
            setting(Study={"DICOM": {"StudyDescription": "CHEST"}}),
            False,
            [("set", "Study", None, None, "StudyDescription", '"CHEST"', None, False)],
            id="1-set",
        ),
        pytest.param(
            removing(Study={"DICOM": {"StudyDescription": "CHEST"}}),
            False,
            [("remove", "Study", None, None, "StudyDescription", '"CHEST"', None, False)],
            id="2-remove-an-attribute",
        ),
        pytest.param(
            removing(Study=in_instance()),
            True,
            [("remove-instance", "Instance", SERIES, INSTANCE, None, None, None, True)],
            id="3-remove-an-instance",
        ),
        pytest.param(
            {"revertToVersionId": "1"}, False, [("revert", None, None, None, None, None, None, False)], id="4-revert"
        ),
        pytest.param(
            setting(Study=in_instance(DICOM={"001910F9": "97"}, DICOMVRs={"001910F9": "DS"})),
            True,
            [("set", "Instance", SERIES, INSTANCE, "001910F9", '"97"', "DS", True)],
            id="5-add-a-private-element",
        ),
        pytest.param(
            setting(Study=in_instance(DICOM={"00091001": "GE"})),
            True,
            [("set", "Instance", SERIES, INSTANCE, "00091001", '"GE"', None, True)],
            id="6-change-a-private-element",
        ),
        pytest.param(
            setting(
                Study={
                    "DICOM": {"StudyInstanceUID": "1.2.3"},
                    "Series": {SERIES: {"DICOM": {"SeriesInstanceUID": "1.2"}}},
                }
            ),
            True,
            [
                ("set", "Study", None, None, "StudyInstanceUID", '"1.2.3"', None, True),
                ("set", "Series", SERIES, None, "SeriesInstanceUID", '"1.2"', None, True),
            ],
            id="7-change-uids",
        ),
        pytest.param(
            setting(Patient=NAME)["DICOMUpdates"] | removing(Study={"DICOM": {"StudyID": "4"}})["DICOMUpdates"],
            True,
            [
                ("remove", "Study", None, None, "StudyID", '"4"', None, True),
                ("set", "Patient", None, None, "PatientName", '"Garcia^Gloria"', None, True),
            ],
            id="both-blobs",
        ),
        pytest.param(
            removing(Study={"DICOM": {}, "Series": {SERIES: {"DICOM": {"BodyPartExamined": None}}}}),
            False,
            [("remove", "Series", SERIES, None, "BodyPartExamined", "null", None, False)],
            id="an-empty-DICOM-is-nothing-and-null-is-a-value",
        ),
    ],
)
def test_a_call_is_taken_apart_into_its_edits(updates: dict[str, Any], expected: list[Any], *, force: bool) -> None:
    whole = updates if "DICOMUpdates" in updates or "revertToVersionId" in updates else {"DICOMUpdates": updates}
    done = read_rows({"image_set_id": A, "updates": json.dumps(whole), "force": str(force)})
    assert problems(done) == []
    assert edits(done, *WHAT) == expected


def test_a_revert_names_its_version() -> None:
    done = read_rows({"image_set_id": A, "updates": '{"revertToVersionId":"1"}', "latest_version_id": "4"})
    assert edits(done, "revert_to", "version") == [(1, 4)]


@pytest.mark.parametrize("way", ["object", "text", "base64"])
def test_the_attributes_may_be_an_object_its_text_or_its_base64(way: str) -> None:
    text = json.dumps(document(Patient=NAME))
    blob = {"object": json.loads(text), "text": text, "base64": base64.b64encode(text.encode()).decode()}[way]
    done = read_rows({"image_set_id": A, "updates": json.dumps({"DICOMUpdates": {"updatableAttributes": blob}})})
    assert edits(done, "value") == ['"Garcia^Gloria"']


def test_json_lines_in_the_shape_of_cli_input_json() -> None:
    line = {
        "datastoreId": STORE,
        "imageSetId": A,
        "latestVersionId": "7",
        "force": True,
        "includeStudyImageSets": True,
        "updateImageSetMetadataUpdates": setting(Patient=NAME),
    }
    done = read_text(json.dumps(line), format="jsonl")
    assert (done.form, done.datastore_id) == ("call", STORE)
    assert edits(done, "key", "version", "force", "study_wide") == [(A, 7, True, True)]


def test_the_rows_set_aside_of_a_call_list_can_be_read_again_as_csv() -> None:
    lines = [{"imageSetId": A, "updateImageSetMetadataUpdates": setting(Patient={"DICOM": {"StudyDate": "x"}})}]
    done = read_text(json.dumps(lines[0]), format="jsonl")
    again = read_text(done.raw.drop("row").write_csv())
    assert [problem[1:] for problem in problems(again)] == [problem[1:] for problem in problems(done)] != []


def test_without_a_data_store_in_the_rows_there_is_none() -> None:
    assert read_rows({"image_set_id": A, "updates": json.dumps(setting(Patient=NAME))}).datastore_id is None


@pytest.mark.parametrize(
    ("updates", "code"),
    [
        (None, "no-edit"),
        ("{", "not-json"),
        ("file://updates.json", "not-json"),
        ("[]", "updates"),
        ({}, "updates"),
        ({"DICOMUpdates": {}, "revertToVersionId": "1"}, "updates"),
        ({"DICOMUpdates": []}, "updates"),
        ({"DICOMUpdates": {}}, "no-edit"),
        ({"DICOMUpdates": {"updatable": {}}}, "updates"),
        ({"DICOMUpdates": {"updatableAttributes": []}}, "updates"),
        ({"DICOMUpdates": {"updatableAttributes": "%%%"}}, "updates"),
        ({"DICOMUpdates": {"updatableAttributes": base64.b64encode(b"\xff").decode()}}, "updates"),
        ({"DICOMUpdates": {"updatableAttributes": "{x"}}, "not-json"),
        ({"DICOMUpdates": {"updatableAttributes": {"Patient": NAME}}}, "schema-version"),
        ({"DICOMUpdates": {"updatableAttributes": {"SchemaVersion": 1.2, "Patient": NAME}}}, "schema-version"),
        (setting(), "no-edit"),
        (setting(Patient={"DICOM": {}}), "no-edit"),
        (setting(Study=in_instance()), "no-edit"),
        (setting(Series={}), "updates"),
        (setting(Patient={"PatientName": "x"}), "updates"),
        (setting(Patient=[]), "updates"),
        (setting(Study={"Series": {"x": {}}}), "uid"),
        (setting(Study={"Series": {SERIES: []}}), "updates"),
        (setting(Study=in_instance(DICOM={"00091001": "x"}, DICOMVRs={"00091001": 1})), "updates"),
        (setting(Study=in_instance(DICOM={"00091001": "x"}, DICOMVRs={"00091001": "XX"})), "vr"),
        (setting(Study={"DICOM": {"PatientName": "x"}}), "wrong-level"),
        (setting(Patient={"DICOM": {"00091001": "x"}}), "wrong-level"),
        (setting(Patient={"DICOM": {"PatientNam": "x"}}), "attribute"),
        (setting(Study=in_instance(DICOM={"PixelData": None})), "never-editable"),
        (setting(Study={"DICOM": {"StudyDate": "2024-03-11"}}), "value-form"),
        (setting(Patient={"DICOM": {"PatientID": 7}}), "value-form"),
        (setting(Patient={"DICOM": {"PatientID": "1.2E+10"}}), "damaged-identifier"),
        ({"revertToVersionId": "0"}, "updates"),
        ({"revertToVersionId": None}, "updates"),
        (removing(Study={"Series": {SERIES: {}}}), "series-removal"),
        (
            {"DICOMUpdates": {k: document(Patient=NAME) for k in ("updatableAttributes", "removableAttributes")}},
            "same-twice",
        ),
        ('{"DICOMUpdates":{"updatableAttributes":{"SchemaVersion":1.1},"updatableAttributes":{}}}', "not-json"),
        (
            '{"DICOMUpdates":{"updatableAttributes":{"SchemaVersion":1.1,"Patient":{"DICOM":{"PatientSize":1e999}}}}}',
            "not-json",
        ),
        ('{"revertToVersionId":' + "1" * 5000 + "}", "not-json"),
    ],
    ids=lambda x: str(x)[:120],
)
def test_a_call_that_cannot_be_meant_is_set_aside(updates: Any, code: str) -> None:
    text = updates if isinstance(updates, str | None) else json.dumps(updates)
    good = {"image_set_id": B, "updates": json.dumps(setting(Patient=NAME))}
    done = read_rows({"image_set_id": A, "updates": text, "force": "true"}, good)
    column = "action" if code == "series-removal" else "updates"
    assert [(row, what) for row, _, what in problems(done)] == [(2, code)]
    assert {where for _, where, _ in problems(done)} <= {column, "updates"}
    assert edits(done, "row") == [3]


@pytest.mark.parametrize(
    ("unchecked", "planned"), [("true", True), ("StudyDate", True), ("Modality", False), (None, False)]
)
def test_only_unchecked_leaves_out_the_check_of_a_value_in_a_call(unchecked: str | None, *, planned: bool) -> None:
    bad = json.dumps(setting(Study={"DICOM": {"StudyDate": "2024-03-11", "StudyDescription": "CT"}}))
    done = read_rows({"image_set_id": A, "updates": bad, "force": "true", "unchecked": unchecked})
    assert edits(done, "attribute", "unchecked") == (
        [("StudyDate", True), ("StudyDescription", False)] if planned else []
    )
    assert [code for _, _, code in problems(done)] == ([] if planned else ["value-form"])


def test_a_call_never_has_text_in_an_element_of_numbers() -> None:
    rows = json.dumps(setting(Study=in_instance(DICOM={"Rows": "512"})))
    assert problems(read_rows({"image_set_id": A, "updates": rows}, unchecked=True)) == [(2, "updates", "value-form")]


@pytest.mark.parametrize(
    ("column", "text", "code"),
    [
        ("datastore_id", "abc", "datastore-id"),
        ("latest_version_id", "x", "version"),
        ("include_study_image_sets", "perhaps", "force"),
        ("force", "perhaps", "force"),
        ("unchecked", "StudyDat", "unchecked"),
    ],
)
def test_the_cells_beside_the_updates_are_checked(column: str, text: str, code: str) -> None:
    done = read_rows({"image_set_id": A, "updates": json.dumps(setting(Patient=NAME)), column: text})
    assert problems(done) == [(2, column, code)]


def test_a_forced_edit_without_force_is_set_aside() -> None:
    updates = json.dumps(setting(Study=in_instance(DICOM={"00091001": "x"})))
    assert problems(read_rows({"image_set_id": A, "updates": updates})) == [(2, "force", "needs-force")]


class TestStudyWide:
    """include_study_image_sets is for the Patient and Study level, and not for a revert."""

    def test_patient_level(self) -> None:
        done = read_rows(STUDY_WIDE | {"updates": json.dumps(setting(Patient=NAME))})
        assert edits(done, "study_wide") == [True]

    def test_series_level(self) -> None:
        series = {"Series": {SERIES: {"DICOM": {"SeriesDescription": "x"}}}}
        done = read_rows(STUDY_WIDE | {"updates": json.dumps(setting(Study=series))})
        assert problems(done) == [(2, "include_study_image_sets", "study-wide")]

    def test_revert(self) -> None:
        done = read_rows(STUDY_WIDE | {"updates": '{"revertToVersionId":"1"}'})
        assert problems(done) == [(2, "updates", "updates")]

    def test_a_service_that_does_not_know_it(self) -> None:
        done = read_rows(STUDY_WIDE | {"updates": json.dumps(setting(Patient=NAME))}, rules=RULES["2025"])
        assert problems(done) == [(2, "include_study_image_sets", "study-wide")]
