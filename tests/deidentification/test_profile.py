"""What is wrong in a profile is said before anything is read; what its parts decide is in a fixed order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bulkedit import deidentification
from bulkedit.deidentification import profile, table
from bulkedit.deidentification.table import ProfileAction
from bulkedit.dicom import dictionary as dicom
from bulkedit.errors import ProfileError
from tests.deidentification.walkers import made

if TYPE_CHECKING:
    from pathlib import Path

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
    "seconds": ("[dates]\nseconds = 1", "seconds must be true or false"),
    "length": ("[identifiers]\nlength = 0", "length a whole number above 0"),
    "separator in the prefix": ('[identifiers]\nprefix = "A^"', "must not have blanks"),
    "vocabulary of numbers": ("[clean]\nallow = [1]", "it must be a list of strings"),
    "no table": ("dates = 5", "dates must be a table"),
    "no tables": ("override = 5", "it must be a list of tables"),
    "identifiers too long": (
        '[identifiers]\nlength = 40\n[[override]]\nattribute = "Modality"\naction = "pseudonym"',
        "longer than Modality allows (16 characters)",
    ),
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


@pytest.mark.parametrize(("text", "what"), [("", "name is missing"), ('name = "x"', "edition is missing")])
def test_a_profile_needs_a_name_and_an_edition(text: str, what: str) -> None:
    with pytest.raises(ProfileError, match=what):
        profile.parse(text.encode(), where="test.toml", folder=None)


def test_a_profile_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").mkdir()
    with pytest.raises(ProfileError, match="cannot be read") as raised:
        deidentification.load_profile(str(tmp_path / "mine.toml"))
    assert raised.value.where == str(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("content", "what"),
    [(None, "No such file"), (b"\xff\xfe", "not UTF-8 text"), (b"\xef\xbb\xbfHEAD \r\n\nChest\n", None)],
)
def test_a_vocabulary_is_a_file_beside_the_profile(tmp_path: Path, content: bytes | None, what: str | None) -> None:
    file, text = tmp_path / "mine.toml", 'name = "x"\nedition = "2026c"\n[clean]\nallow_file = "words.txt"'
    file.write_text(text)
    if content is not None:
        (tmp_path / "words.txt").write_bytes(content)
    if what is None:
        found = deidentification.load_profile(str(file))
        assert found.vocabulary == {"head", "chest"}
        assert found.digest != profile.parse(text.replace("allow_file", "#").encode(), where="", folder=None).digest
        return
    with pytest.raises(ProfileError, match=what):
        deidentification.load_profile(str(file))


def test_a_safe_private_element_of_a_profile_has_a_creator_and_an_element() -> None:
    found = made('[[safe_private]]\ncreator = "X "\nelement = "0019,xx01"')
    assert found.safe_private == {("X", 0x0019, 0x01)}


@pytest.mark.parametrize("target", ['attribute = "NameToUse"', 'tag = "0019,1001"'])
def test_an_attribute_that_the_dictionary_lacks_can_be_overridden(target: str) -> None:
    (override,) = made(f'[[override]]\n{target}\naction = "keep"').overrides
    assert override.tag in {0x00100012, 0x00191001}


@pytest.mark.parametrize(
    ("edition", "what"),
    [("2026c", "has .* rows instead of"), ("none", "are not installed")],
)
def test_tables_that_are_missing_or_others_are_refused(
    monkeypatch: pytest.MonkeyPatch, edition: str, what: str
) -> None:
    module, rows = table.EDITIONS["2026c"]
    monkeypatch.setitem(table.EDITIONS, edition, (module, rows + 1) if edition == "2026c" else ("no_such_module", 1))
    with pytest.raises(ProfileError, match=what):
        table.table.__wrapped__(edition)


def test_an_option_table_of_another_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_OPTION_ROWS", 1)
    with pytest.raises(ProfileError, match="rows instead of 1"):
        table.options.__wrapped__()


PRECEDENCE = [
    ('[[override]]\nattribute = "StudyDate"\nlevel = "Series"\naction = "keep"', "StudyDate", ProfileAction.EMPTY),
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
