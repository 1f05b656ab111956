"""Documents held against what is stored: nothing is asked for that no edit asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bulkedit.client import UpdateRequest
from bulkedit.engine.stored import fill_stored, holds

STORED = {
    "Patient": {"DICOM": {"PatientName": "DOE^JANE", "PatientSex": None}},
    "Study": {
        "DICOM": {"StudyDescription": "CHEST "},
        "Series": {"1.2": {"DICOM": {"Modality": "CT"}, "Instances": {"1.2.3": {"DICOM": {"KVP": "120 "}}}}},
    },
}


def removal(document: dict[str, Any], **fields: Any) -> UpdateRequest:
    text = json.dumps({"SchemaVersion": 1.1, **document})
    return UpdateRequest(image_set_id="0" * 32, base=1, removable=text, **fields)


def filled(document: dict[str, Any]) -> Any:
    request = fill_stored(removal(document), STORED)
    return None if request is None else json.loads(request.removable or "null")


def in_series(series: dict[str, Any]) -> dict[str, Any]:
    return {"Study": {"Series": {"1.2": series}}}


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        ({"Study": {"DICOM": {"StudyDescription": {}}}}, {"Study": {"DICOM": {"StudyDescription": "CHEST "}}}),
        ({"Patient": {"DICOM": {"PatientSex": {}}}}, {"Patient": {"DICOM": {"PatientSex": None}}}),
        ({"Patient": {"DICOM": {"PatientName": "named"}}}, {"Patient": {"DICOM": {"PatientName": "named"}}}),
        (in_series({"DICOM": {"Modality": {}, "StationName": {}}}), in_series({"DICOM": {"Modality": "CT"}})),
        (in_series({"Instances": {"1.2.3": {}}}), in_series({"Instances": {"1.2.3": {}}})),
        (in_series({}), in_series({})),
    ],
    ids=["stored with its padding", "stored empty", "named", "only what is there", "whole instance", "whole series"],
)
def test_a_removal_asks_for_what_is_stored(wanted: dict[str, Any], asked: dict[str, Any]) -> None:
    assert filled(wanted) == {"SchemaVersion": 1.1, **asked}


@pytest.mark.parametrize(
    "wanted",
    [
        {"Study": {"DICOM": {"AccessionNumber": {}}}},
        in_series({"DICOM": {"StationName": {}}}),
        in_series({"Instances": {"1.2.3": {"DICOM": {"SliceThickness": {}}}}}),
        in_series({"Instances": {"9.9": {"DICOM": {"KVP": {}}}}}),
        {"Study": {"Series": {"9.9": {"DICOM": {"Modality": {}}}}}},
    ],
    ids=["study", "series", "instance", "no such instance", "no such series"],
)
def test_a_removal_of_absent_attributes_never_becomes_the_removal_of_their_place(wanted: dict[str, Any]) -> None:
    assert filled(wanted) is None
    beside = {**wanted, "Patient": {"DICOM": {"PatientName": {}}}}
    assert filled(beside) == {"SchemaVersion": 1.1, "Patient": {"DICOM": {"PatientName": "DOE^JANE"}}}


def test_what_is_set_beside_a_removal_is_kept_where_nothing_is_left_to_remove() -> None:
    request = removal({"Study": {"DICOM": {"AccessionNumber": {}}}}, updatable="{}")
    assert fill_stored(request, STORED) == UpdateRequest(image_set_id="0" * 32, base=1, updatable="{}")


def test_an_effect_holds_where_all_that_is_set_is_there_and_all_that_is_removed_is_not() -> None:
    updatable = json.dumps({"SchemaVersion": 1.1, "Patient": {"DICOM": {"PatientName": "DOE^JANE"}}})
    gone = {"Study": {"DICOM": {"AccessionNumber": {}}, "Series": {"1.2": {"Instances": {"1.2.9": {}}}}}}
    assert holds(removal(gone, updatable=updatable), STORED)
    assert not holds(removal({"Study": {"DICOM": {"StudyDescription": {}}}}), STORED)
    other = json.dumps({"SchemaVersion": 1.1, "Patient": {"DICOM": {"PatientName": "ROE^JANE"}}})
    assert not holds(UpdateRequest(image_set_id="0" * 32, base=1, updatable=other), STORED)
