"""Documents held against what is stored: nothing is asked for that no edit asked for."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.client.contract import UpdateRequest
from bulkedit.edits.document import (
    NoSuchPlace,
    fill_stored,
    follows,
    holds,
    no_such_place,
    reads_the_same,
    with_empty_values,
)

if TYPE_CHECKING:
    from bulkedit._json import JsonObject

STORED: JsonObject = {
    "Patient": {"DICOM": {"PatientName": "DOE^JANE", "PatientSex": None}},
    "Study": {
        "DICOM": {"StudyDescription": "CHEST "},
        "Series": {"1.2": {"DICOM": {"Modality": "CT"}, "Instances": {"1.2.3": {"DICOM": {"KVP": "120 "}}}}},
    },
}


def removal(document: dict[str, Any], **fields: Any) -> UpdateRequest:
    text = json.dumps({"SchemaVersion": 1.1, **document})
    return UpdateRequest(image_set_id="0" * 32, expected_version=1, removable=text, **fields)


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


KVP: dict[str, Any] = {"DICOM": {"KVP": {}}}
NOWHERE = NoSuchPlace(frozenset(), frozenset({("1.2", "9.9")}), alone=True)


@pytest.mark.parametrize(
    ("wanted", "cause", "alone"),
    [
        (in_series({"Instances": {"9.9": KVP}}), "no such instance", True),
        (in_series({"Instances": {"9.9": KVP, "1.2.3": KVP}}), "no such instance", False),
        ({"Study": {"Series": {"9.9": {"DICOM": {"Modality": {}}, "Instances": {"1": KVP}}}}}, "no such series", True),
        (
            {"Study": {"Series": {"9.9": {"DICOM": {"Modality": {}}}, "1.2": {"Instances": {"9": KVP}}}}},
            "no such series or instance",
            True,
        ),
    ],
    ids=["instance", "beside one that is there", "series", "both"],
)
def test_a_place_that_does_not_exist_is_told_from_an_absent_attribute(
    wanted: dict[str, Any], cause: str, alone: bool
) -> None:
    found = no_such_place(removal(wanted), STORED)
    assert found is not None
    assert (found.cause, found.alone) == (cause, alone)
    beside = no_such_place(removal(wanted, updatable="{}"), STORED)
    assert beside is not None
    assert not beside.alone


@pytest.mark.parametrize(
    "wanted",
    [
        {"Study": {"DICOM": {"AccessionNumber": {}}}},
        {"Patient": {"DICOM": {"PatientComments": {}}}},
        in_series({"DICOM": {"StationName": {}}, "Instances": {"1.2.3": {"DICOM": {"SliceThickness": {}}}}}),
        in_series({"Instances": {"9.9": {"DICOM": {"KVP": "120"}}}}),
        in_series({"Instances": {"9.9": {}}}),
    ],
    ids=["study", "patient", "absent attributes", "by its value", "whole"],
)
def test_only_removals_without_a_value_are_held_against_the_places(wanted: dict[str, Any]) -> None:
    assert no_such_place(removal(wanted), STORED) is None


def test_what_is_inside_a_series_that_does_not_exist_is_there_neither() -> None:
    inside: Any = {"series_uid": "1.2", "instance_uid": "9.9"}
    assert NOWHERE.has(inside)
    assert not NOWHERE.has(inside | {"instance_uid": None})
    assert not NOWHERE.has(inside | {"series_uid": None, "instance_uid": None})
    assert NoSuchPlace(frozenset({"1.2"}), frozenset(), alone=True).has(inside)


def test_what_is_set_beside_a_removal_is_kept_where_nothing_is_left_to_remove() -> None:
    request = removal({"Study": {"DICOM": {"AccessionNumber": {}}}}, updatable="{}")
    assert fill_stored(request, STORED) == UpdateRequest(image_set_id="0" * 32, expected_version=1, updatable="{}")


def test_an_effect_holds_where_all_that_is_set_is_there_and_all_that_is_removed_is_not() -> None:
    updatable = json.dumps({"SchemaVersion": 1.1, "Patient": {"DICOM": {"PatientName": "DOE^JANE"}}})
    gone = {"Study": {"DICOM": {"AccessionNumber": {}}, "Series": {"1.2": {"Instances": {"1.2.9": {}}}}}}
    assert holds(removal(gone, updatable=updatable), STORED)
    assert not holds(removal({"Study": {"DICOM": {"StudyDescription": {}}}}), STORED)
    other = json.dumps({"SchemaVersion": 1.1, "Patient": {"DICOM": {"PatientName": "ROE^JANE"}}})
    assert not holds(UpdateRequest(image_set_id="0" * 32, expected_version=1, updatable=other), STORED)


BEFORE: dict[str, Any] = {
    "DatastoreID": "d",
    "Patient": {"DICOM": {"PatientName": "DOE^JANE"}},
    "Study": {
        "DICOM": {"StudyDescription": "CHEST", "AccessionNumber": "A1"},
        "Series": {
            "1.2": {
                "DICOM": {"Modality": "CT", "SeriesInstanceUID": "1.2"},
                "Instances": {
                    "1.2.3": {"DICOM": {"SOPInstanceUID": "1.2.3"}, "DICOMVRs": {"00091001": "LO"}},
                    "1.2.4": {"DICOM": {"SOPInstanceUID": "1.2.4"}},
                },
            }
        },
    },
}
NEW_UID = {"Study": {"Series": {"1.2": {"DICOM": {"SeriesInstanceUID": "1.9"}}}}}
NEW_SOP = {"Study": {"Series": {"1.2": {"Instances": {"1.2.3": {"DICOM": {"SOPInstanceUID": "1.2.9"}}}}}}}


def changed(document: dict[str, Any], *path: str, value: Any = None) -> dict[str, Any]:
    """A copy of a document with another value at a path; None takes it out."""
    made = copy.deepcopy(document)
    inner = made
    for key in path[:-1]:
        inner = inner.setdefault(key, {})
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return made


def renamed(document: dict[str, Any], new: str) -> dict[str, Any]:
    made = copy.deepcopy(document)
    made["Study"]["Series"] = {new: changed(made["Study"]["Series"]["1.2"], "DICOM", "SeriesInstanceUID", value=new)}
    return made


def update(updatable: dict[str, Any] | None = None, removable: dict[str, Any] | None = None) -> UpdateRequest:
    return UpdateRequest(
        image_set_id="0" * 32, expected_version=1, updatable=_text(updatable), removable=_text(removable)
    )


def _text(document: dict[str, Any] | None) -> str | None:
    return None if document is None else json.dumps({"SchemaVersion": 1.1, **document})


SET_NAME = update({"Patient": {"DICOM": {"PatientName": "ROE"}}})
NAMED = changed(BEFORE, "Patient", "DICOM", "PatientName", value="ROE ")
SERIES_KEY, INSTANCES = ("Study", "Series", "1.2"), ("Study", "Series", "1.2", "Instances")
FOLLOWS = {
    "a set": (SET_NAME, NAMED),
    "what was not there": (
        update({"Study": {"DICOM": {"StudyID": "S"}}}),
        changed(BEFORE, "Study", "DICOM", "StudyID", value="S"),
    ),
    "an object that was not there": (
        update({"Study": {"Series": {"1.2": {"Instances": {"1.2.4": {"DICOM": {"00091002": "x"}}}}}}}),
        changed(
            changed(BEFORE, *INSTANCES, "1.2.4", "DICOM", "00091002", value="x"),
            *INSTANCES,
            "1.2.4",
            "DICOMVRs",
            value={"00091002": "LO"},
        ),
    ),
    "a removal": (
        update(None, {"Study": {"DICOM": {"AccessionNumber": {}}}}),
        changed(BEFORE, "Study", "DICOM", "AccessionNumber"),
    ),
    "an instance": (
        update(None, {"Study": {"Series": {"1.2": {"Instances": {"1.2.4": {}}}}}}),
        changed(BEFORE, *INSTANCES, "1.2.4"),
    ),
    "both": (
        update({"Patient": {"DICOM": {"PatientName": "ROE"}}}, {"Study": {"DICOM": {"AccessionNumber": "A1"}}}),
        changed(NAMED, "Study", "DICOM", "AccessionNumber"),
    ),
    "a new UID, key and all": (update(NEW_UID), renamed(BEFORE, "1.9")),
    "a new UID under its old key": (
        update(NEW_UID),
        changed(BEFORE, *SERIES_KEY, "DICOM", "SeriesInstanceUID", value="1.9"),
    ),
    "a new UID of an instance": (
        update(NEW_SOP),
        changed(
            changed(BEFORE, *INSTANCES, "1.2.3"),
            *INSTANCES,
            "1.2.9",
            value={"DICOM": {"SOPInstanceUID": "1.2.9"}, "DICOMVRs": {"00091001": "LO"}},
        ),
    ),
    "what it is not to change": (SET_NAME, changed(NAMED, "DatastoreID", value="e")),
}


@pytest.mark.parametrize(("request_", "after"), list(FOLLOWS.values()), ids=FOLLOWS)
def test_a_document_follows_by_a_request_if_nothing_else_has_changed(
    request_: UpdateRequest, after: dict[str, Any]
) -> None:
    assert follows(request_, BEFORE, after)
    assert not follows(request_, BEFORE, BEFORE)
    assert not reads_the_same(BEFORE, after)
    for path in [
        ("Patient", "DICOM", "PatientSex"),
        ("Study", "DICOM", "StudyDescription"),
        ("Study", "Series", "7.7"),
        (*INSTANCES, "1.2.5"),
    ]:
        assert not follows(request_, BEFORE, changed(after, *path, value={"DICOM": {"X": "another writer's"}}))
    assert not follows(request_, BEFORE, changed(after, "Study", "DICOM", "StudyDescription"))


def test_a_document_follows_by_a_request_for_what_holds_already() -> None:
    request = update({"Patient": {"DICOM": {"PatientName": "DOE^JANE"}}}, {"Study": {"DICOM": {"StudyID": {}}}})
    assert follows(request, BEFORE, copy.deepcopy(BEFORE))
    assert reads_the_same(BEFORE, copy.deepcopy(BEFORE))
    assert not follows(request, BEFORE, changed(BEFORE, "Study", "DICOM", "StudyDescription", value="OTHER"))


def test_a_document_follows_by_a_revert_if_it_is_as_its_target() -> None:
    request = UpdateRequest(image_set_id="0" * 32, expected_version=3, revert_to=1)
    assert follows(request, NAMED, BEFORE, BEFORE)
    assert not follows(request, NAMED, NAMED, BEFORE)
    assert not follows(request, NAMED, BEFORE)


def test_a_removal_of_what_was_not_there_before_is_not_what_happened() -> None:
    request = update(None, {"Study": {"Series": {"1.2": {"Instances": {"9.9": {}}}}}})
    assert not follows(request, BEFORE, BEFORE)


def test_a_document_whose_levels_are_no_objects_follows_by_no_other_change() -> None:
    request = update(None, {"Study": {"DICOM": {"AccessionNumber": {}}}})
    damaged = {**BEFORE, "Study": "text"}
    assert not holds(SET_NAME, {"Patient": "text"})
    assert follows(request, damaged, damaged)
    assert not follows(request, BEFORE, damaged)


def test_a_request_without_a_removal_has_nothing_to_empty() -> None:
    assert with_empty_values(SET_NAME, SET_NAME) is SET_NAME
