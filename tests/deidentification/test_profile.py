"""What is wrong in a profile is said before anything is read; what its parts decide is in a fixed order."""

from __future__ import annotations

import pytest

from bulkedit import deidentification
from bulkedit.deidentification.table import ProfileAction
from bulkedit.dicom import dictionary as dicom
from bulkedit.errors import ProfileError
from tests.deidentification.walkers import made

BAD = {
    "no TOML": ("options = [", "not valid TOML"),
    "unknown key": ('optoins = ["retain-uids"]', "an unknown key"),
    "unknown option": ('options = ["retain-uid"]', "Did you mean retain-uids?"),
    "both dates": ('options = ["retain-full-dates", "retain-modified-dates"]', "contradict each other"),
    "unknown edition": ('edition = "1999"', "the edition of Annex E"),
    "unknown attribute": ('[[override]]\nattribute = "PatientNane"\naction = "keep"', "Did you mean PatientName?"),
    "bad tag": ('[[override]]\ntag = "0010"\naction = "keep"', "the tag is not valid"),
    "bad mask": ('[[override]]\nmask = "60xx"\naction = "keep"', "the mask is not valid"),
    "bad path": ('[[override]]\npath = "PatientName"\naction = "keep"', "a path needs a sequence"),
    "path through no sequence": ('[[override]]\npath = "PatientID.StudyID"\naction = "keep"', "not a sequence"),
    "bad VR": ('[[override]]\nvr = "XX"\naction = "keep"', "the VR is unknown"),
    "bad level": ('[[override]]\nlevel = "Image"\naction = "keep"', "the level is unknown"),
    "bad action": (
        '[[override]]\nattribute = "PatientID"\naction = "hash"',
        "the action is missing or not possible here",
    ),
    "no target": ('[[override]]\naction = "keep"', "an override needs exactly one of"),
    "two targets": (
        '[[override]]\nvr = "PN"\nattribute = "PatientID"\naction = "keep"',
        "an override needs exactly one of",
    ),
    "contradiction": (
        '[[override]]\nattribute = "PatientID"\naction = "keep"\n[[override]]\ntag = "0010,0020"\naction = "remove"',
        "contradicts override 1",
    ),
    "UID that goes": ('[[override]]\nattribute = "SOPInstanceUID"\naction = "remove"', "identifies the image set"),
    "shift of text": (
        '[[override]]\nattribute = "PatientID"\naction = "shift"',
        "the action shift is not possible for VR LO",
    ),
    "value missing": ('[[override]]\nattribute = "PatientID"\naction = "replace"', "the action replace needs a value"),
    "value unfit": ('[[override]]\nattribute = "PatientSex"\naction = "replace"\nvalue = "lower case"', "does not fit"),
    "days": ("[dates]\ndays = [5, 1]", "the bounds of the shift"),
    "no days": ("[dates]\ndays = [0, 0]", "changes nothing"),
    "alphabet": ('[identifiers]\nalphabet = "AA"', "twice"),
    "short": ("[identifiers]\nlength = 3", "too few"),
    "too long": (
        '[identifiers]\nlength = 40\n[[override]]\nattribute = "AccessionNumber"\naction = "pseudonym"',
        None,
    ),
    "vocabulary": ('[clean]\nallow_file = "none.txt"', "allow_file must be the name"),
    "safe private": ('[[safe_private]]\ncreator = "X"\nelement = "0018,xx01"', "a safe private element"),
}


@pytest.mark.parametrize(("text", "what"), BAD.values(), ids=BAD)
def test_a_bad_profile_says_what_is_wrong(text: str, what: str | None) -> None:
    if what is None:
        made(text)  # AccessionNumber may have 256 characters: dicom-element-constraints
        return
    with pytest.raises(ProfileError) as raised:
        made(text)
    assert what in str(raised.value)
    assert "test.toml" in str(raised.value)


@pytest.mark.parametrize("name", deidentification.SHIPPED)
def test_shipped_profiles_are_sound_and_leave_nothing_identifying(name: str) -> None:
    rules = deidentification.ProfileRules(deidentification.load_profile(name))
    for attribute in ("PatientName", "PatientID"):
        assert rules.places[dicom.Level.PATIENT][attribute].action is ProfileAction.PSEUDONYM
    for attribute in ("PatientAddress", "PatientTelephoneNumbers", "PatientMotherBirthName"):
        assert rules.places[dicom.Level.INSTANCE][attribute].action is ProfileAction.REMOVE


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(ProfileError) as raised:
        deidentification.load_profile("basics")
    assert "Did you mean basic?" in str(raised.value)


PRECEDENCE = [
    ("", "StudyDate", ProfileAction.EMPTY),
    ('options = ["retain-full-dates"]', "StudyDate", ProfileAction.KEEP),
    ('options = ["retain-modified-dates"]', "StudyDate", ProfileAction.SHIFT),
    ('options = ["retain-modified-dates", "retain-device-identity"]', "DateOfLastCalibration", ProfileAction.SHIFT),
    ('options = ["retain-device-identity"]', "DateOfLastCalibration", ProfileAction.KEEP),
    ('options = ["retain-patient-characteristics"]', "PatientAge", ProfileAction.CAP),
    ('[[override]]\nlevel = "Study"\naction = "keep"', "StudyDate", ProfileAction.KEEP),
    (
        '[[override]]\nlevel = "Study"\naction = "keep"\n[[override]]\nvr = "DA"\naction = "remove"',
        "StudyDate",
        ProfileAction.REMOVE,
    ),
    (
        '[[override]]\nvr = "DA"\naction = "remove"\n[[override]]\nmask = "0008,002x"\naction = "dummy"',
        "StudyDate",
        ProfileAction.DUMMY,
    ),
    (
        '[[override]]\nmask = "0008,002x"\naction = "dummy"\n[[override]]\nattribute = "StudyDate"\naction = "shift"',
        "StudyDate",
        ProfileAction.SHIFT,
    ),
    (
        '[[override]]\nvr = "DA"\naction = "keep"\n[[override]]\nvr = "DA"\nlevel = "Study"\naction = "remove"',
        "StudyDate",
        ProfileAction.REMOVE,
    ),
    ("", "StudyInstanceUID", ProfileAction.UID),
    ("", "BodyPartExamined", ProfileAction.KEEP),
    ('[unlisted]\ndefault = "remove"', "BodyPartExamined", ProfileAction.REMOVE),
    ("", "SourceApplicationEntityTitle", ProfileAction.REMOVE),
    (
        '[[override]]\nattribute = "SourceApplicationEntityTitle"\naction = "keep"',
        "SourceApplicationEntityTitle",
        ProfileAction.KEEP,
    ),
]


@pytest.mark.parametrize(("text", "attribute", "expected"), PRECEDENCE)
def test_what_decides_first(text: str, attribute: str, expected: ProfileAction) -> None:
    known = dicom.attribute(attribute)
    assert known is not None
    assert deidentification.ProfileRules(made(text)).places[known.level][attribute].action is expected


def test_an_override_by_path_is_for_that_path_alone() -> None:
    rules = deidentification.ProfileRules(
        made('[[override]]\npath = "RequestAttributesSequence.RequestedProcedureID"\naction = "keep"\n')
    )
    series = rules.places[dicom.Level.SERIES]
    assert series.inside("RequestAttributesSequence")["RequestedProcedureID"].action is ProfileAction.KEEP
    assert series.inside("ReferencedStudySequence")["RequestedProcedureID"].action is not ProfileAction.KEEP
