"""The dictionary, and which JSON values an attribute can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bulkedit.dicom.compare import same_value
from bulkedit.dicom.dictionary import Level, attribute, why_unfit

if TYPE_CHECKING:
    from bulkedit._json import Json


def test_an_attribute_is_known_by_keyword_and_a_private_one_by_its_tag() -> None:
    name, private = attribute("PatientName"), attribute("00091001")
    assert name is not None
    assert (name.vr, name.level, name.private) == ("PN", Level.PATIENT, False)
    assert private is not None
    assert private.private
    assert attribute("NoSuchKeyword") is None


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("StudyDescription", "HEAD", None),
        ("StudyDescription", None, None),
        ("StudyDescription", 1, "VR LO is text"),
        ("Rows", 512, None),
        ("Rows", True, "VR US is a whole number"),
        ("Rows", 70_000, "VR US is a whole number from 0 to 65535"),
        ("ImageType", "ORIGINAL", "its VM is 2-n, so its value is an array"),
        ("ImageType", ["ORIGINAL", "PRIMARY"], None),
        ("Modality", "X" * 17, "it has 17 characters, and at most 16 are allowed"),
        ("WaterEquivalentDiameter", 1.5, None),
        ("WaterEquivalentDiameter", "1.5", "VR FD is a number"),
        ("WaterEquivalentDiameter", True, "VR FD is a number"),
        ("PrivateInformation", "QUI=", None),
        ("PrivateInformation", "QUI", "VR OB is base64 text"),
        ("ReferencedSeriesSequence", [{"SeriesInstanceUID": "1.2"}], None),
        ("ReferencedSeriesSequence", [{"SeriesInstanceUID": 1}], "in SeriesInstanceUID: VR UI is text"),
        ("ReferencedSeriesSequence", [{}, "1.2"], "a sequence is an array of objects"),
        ("ReferencedSeriesSequence", {"SeriesInstanceUID": "1.2"}, "a sequence is an array of objects"),
        ("ReferencedSeriesSequence", [{"no keyword": 1}], "it has a key that is neither a DICOM keyword"),
    ],
)
def test_why_a_value_is_not_one_that_the_attribute_can_hold(name: str, value: Json, why: str | None) -> None:
    known = attribute(name)
    assert known is not None
    found = why_unfit(known, value)
    assert found is None if why is None else (found or "").startswith(why)


@pytest.mark.parametrize(("stored", "same"), [("A ", True), ("A\0", True), (" A", False), ("B", False)])
def test_an_unknown_attribute_may_have_the_padding_of_any_vr(stored: str, same: bool) -> None:
    assert same_value("NoSuchKeyword", stored, "A") is same
