"""The engine, `verify` and `--skip-satisfied` answer alike whether a document holds an edit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bulkedit.client.contract import UpdateRequest
from bulkedit.dicom.compare import PADDING, same_value
from bulkedit.dicom.dictionary import VRS, ValueKind
from bulkedit.edits.compare import difference, expected_changes, keeps_former
from bulkedit.edits.document import holds as engine_holds
from bulkedit.plans import already_satisfied as plan_satisfied

SERIES, INSTANCE = "1.2.3.1", "1.2.3.1.1"
NUL = "\0"


def answers(attribute: str, stored: Any, wanted: Any, vrs: dict[str, str], vr: str | None) -> set[bool]:
    """Whether a document with the stored value holds the set of the wanted one, as each of the three has it."""
    place = {"level": "Instance", "series_uid": SERIES, "instance_uid": INSTANCE}
    edit: Any = {"action": "set", "attribute": attribute, "value": json.dumps(wanted), "vr": vr, "force": True, **place}

    def around(inner: dict[str, Any]) -> dict[str, Any]:
        return {"Study": {"Series": {SERIES: {"Instances": {INSTANCE: inner}}}}}

    document = around({"DICOM": {attribute: stored}, "DICOMVRs": vrs})
    asked = {"DICOM": {attribute: wanted}, **({"DICOMVRs": {attribute: vr}} if vr else {})}
    request = UpdateRequest(image_set_id="0" * 32, expected_version=1, updatable=json.dumps(around(asked)))
    (one,) = expected_changes([edit])
    (planned,) = plan_satisfied([edit], document)
    return {engine_holds(request, document), difference(one, document) is None, planned}


PADDED = [
    ("text, at the end", "StudyDescription", "CHEST ", "CHEST", True),
    ("LO, before", "StudyDescription", "  CHEST", "CHEST", True),
    ("AE, before", "StationAETitle", " A", "A ", True),
    ("LT, before: a part of it", "ImageComments", " A", "A", False),
    ("LT, at the end", "ImageComments", "A  ", "A", True),
    ("PN, before: a part of it", "OperatorsName", [" DOE"], ["DOE"], False),
    ("inside", "StudyDescription", "A  B", "A B", False),
    ("DS, both", "KVP", " 120 ", "120", True),
    ("a number otherwise written", "KVP", "120.0", "120", False),
    ("UI, NUL at the end", "FrameOfReferenceUID", "1.2" + NUL, "1.2", True),
    ("UI, a blank at the end", "FrameOfReferenceUID", "1.2 ", "1.2", False),
    ("text, NUL at the end", "StudyDescription", "A" + NUL, "A", False),
    ("AS has none", "PatientAge", "030Y ", "030Y", False),
    ("only padding", "StudyDescription", "  ", "", True),
    ("each of several", "ImageType", ["ORIGINAL", "PRIMARY "], [" ORIGINAL", "PRIMARY"], True),
    ("one more", "ImageType", ["ORIGINAL", "PRIMARY"], ["ORIGINAL"], False),
    ("in another order", "ImageType", ["PRIMARY", "ORIGINAL"], ["ORIGINAL", "PRIMARY"], False),
    ("numbers", "Rows", 512, 512, True),
    ("other numbers", "Rows", 512, 256, False),
    ("nothing", "StudyDescription", None, None, True),
    ("nothing is not empty text", "StudyDescription", None, "", False),
    ("in a sequence", "RequestAttributesSequence", [{"StudyID": "A "}], [{"StudyID": "A"}], True),
    ("in a sequence, another key", "RequestAttributesSequence", [{"StudyID": "A"}], [{"AccessionNumber": "A"}], False),
    ("base64", "EncapsulatedDocument", "QQ==", "QQ== ", False),
]


@pytest.mark.parametrize(
    ("attribute", "stored", "wanted", "same"), [row[1:] for row in PADDED], ids=[r[0] for r in PADDED]
)
def test_padding_is_no_difference_where_the_vr_has_it(attribute: str, stored: Any, wanted: Any, same: bool) -> None:
    assert answers(attribute, stored, wanted, {}, None) == {same}


@pytest.mark.parametrize(
    ("stored", "stored_vr", "vr", "same"),
    [
        ("A ", "LO", "LO", True),
        (" A", "LO", None, True),
        (" A", "LT", None, False),
        ("A" + NUL, "UI", "UI", True),
        ("A" + NUL, "LO", None, False),
        ("A" + NUL, None, None, True),
        ("A ", None, None, True),
        (" A", None, None, False),
        ("A", "SH", "LO", False),
    ],
)
def test_a_private_element_is_padded_as_its_vr(stored: str, stored_vr: str | None, vr: str | None, same: bool) -> None:
    vrs = {"00091001": stored_vr} if stored_vr else {}
    assert answers("00091001", stored, "A", vrs, vr) == {same}


def test_every_vr_of_text_has_a_rule() -> None:
    assert PADDING.keys() == {vr for vr, rule in VRS.items() if rule.kind is ValueKind.STRING}


def test_sequences_nested_deep_are_compared() -> None:
    def nested(text: str) -> Any:
        value: Any = [{"StudyID": text}]
        for _ in range(5_000):
            value = [{"ReferencedSeriesSequence": value}]
        return value

    assert same_value("ReferencedSeriesSequence", nested("A "), nested("A"))
    assert not same_value("ReferencedSeriesSequence", nested("A"), nested("B"))


@pytest.mark.parametrize(("wanted", "kept"), [("CHEST", False), ("HEAD", True)])
def test_an_older_version_that_differs_by_padding_keeps_nothing_of_a_former_value(wanted: str, kept: bool) -> None:
    place = {"level": "Study", "series_uid": None, "instance_uid": None, "vr": None}
    document: Any = {"Study": {"DICOM": {"StudyDescription": "CHEST "}}}
    edit: Any = {"action": "set", "attribute": "StudyDescription", "value": json.dumps(wanted), **place}
    (one,) = expected_changes([edit])
    assert keeps_former(one, document) is kept
    opposite: Any = {**edit, "action": "remove"}
    (removal,) = expected_changes([opposite])
    assert keeps_former(removal, document) is not kept
