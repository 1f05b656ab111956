"""What a document's edits are: where they stand, what they cannot reach, and that a clean document has none."""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkedit import deidentification
from bulkedit.deidentification import documents, rules, writer
from bulkedit.deidentification.table import ProfileAction
from bulkedit.dicom import dictionary as dicom
from bulkedit.errors import MetadataError
from tests.deidentification.walkers import ID, KEY, applied, document, level_of, made, walker
from tests.examples import examples

if TYPE_CHECKING:
    from pathlib import Path

SHIFTED = 'options = ["retain-modified-dates", "clean-descriptors", "clean-structured-content"]\n'


def kinds(content: dict[str, Any], **options: Any) -> dict[str, str]:
    """Findings as kind by attribute."""
    primary = options.pop("primary", False)
    found = walker(made(""), **options).derive(ID, content, primary=primary)
    return {finding.attribute: finding.kind for finding in found.findings}


def nested(depth: int, leaf: dict[str, Any]) -> dict[str, Any]:
    for _ in range(depth):
        leaf = {"ReferencedSeriesSequence": [leaf]}
    return leaf


@pytest.mark.parametrize("depth", [1, 2, 100])
def test_what_is_inside_a_sequence_is_edited_by_writing_the_outermost_again(depth: int) -> None:
    content = document(nested(depth, {"PatientName": "DOE^JANE", "Rows": 5}))
    edits = [e for e in walker(made("")).derive(ID, content).edits if e.attribute == "ReferencedSeriesSequence"]
    assert [(edit.action, edit.force) for edit in edits] == [("set", True)]
    assert "DOE" not in str(edits[0].value)
    assert '"Rows":5' in str(edits[0].value)


def test_sequences_without_end_are_refused() -> None:
    with pytest.raises(MetadataError, match="nested more than 200 levels deep"):
        walker(made("")).derive(ID, document(nested(201, {"Rows": 1})))


def test_uids_come_last_and_innermost_first() -> None:
    edits = walker("basic").derive(ID, document({"PatientAddress": "X"})).edits
    assert [edit.attribute for edit in edits][-3:] == ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"]


def test_force_is_with_all_edits_of_an_image_set_that_needs_it_or_with_those_alone() -> None:
    content = document({"PatientAddress": "X"})
    assert all(edit.force for edit in walker("basic").derive(ID, content).edits)
    alone = {edit.attribute: edit.force for edit in walker("basic", together=False).derive(ID, content).edits}
    assert (alone["PatientAddress"], alone["SOPInstanceUID"]) == (False, True)
    primary = {edit.attribute: edit.force for edit in walker("basic").derive(ID, content, primary=True).edits}
    assert (primary["PatientAddress"], primary["DeidentificationMethod"]) == (False, True)


def test_what_cannot_be_reached_is_named() -> None:
    series = {"00190010": "MAKER", "PatientAddress": "X"}
    content = document({"Nonsense": "X", "00100030": "19500101", "NameToUse": "J"}, series=series)
    assert kinds(content) == {
        "00190010": "private-above-instance",
        "PatientAddress": "wrong-level",
        "?": "unknown-key",
        "PatientBirthDate": "hex-key",
        "NameToUse": "unknown-key",
    }


def test_uids_of_a_primary_image_set_are_named_and_their_references_changed_all_the_same() -> None:
    content = document({"FrameOfReferenceUID": "1.2.9"}, series={"FrameOfReferenceUID": "1.2.9"})
    assert kinds(content, primary=True) == {
        "FrameOfReferenceUID": "wrong-level",
        **dict.fromkeys(["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"], "primary-uid"),
    }


def test_a_value_too_large_to_be_removed_by_value_is_emptied() -> None:
    content = document({"00190010": "MAKER", "00191001": "x" * 12_000}, vrs={"00191001": "LT"})
    derived = walker("basic").derive(ID, content)
    assert {(e.attribute, e.action, e.value) for e in derived.edits} >= {
        ("00191001", "set", None),
        ("00190010", "remove", "MAKER"),
    }
    assert {found.kind for found in derived.findings} == {"emptied"}


def test_a_sequence_too_large_to_be_written_is_named_unless_the_code_lets_it_go() -> None:
    item = {"PatientName": "DOE^JANE", "CodeMeaning": "m" * 60}
    content = document({"ReferencedSeriesSequence": [item] * 200, "ContentSequence": [item] * 200})
    derived = walker(made('options = ["clean-structured-content"]')).derive(ID, content)
    assert {found.attribute: found.kind for found in derived.findings} == {
        "ReferencedSeriesSequence": "too-large",
        "ContentSequence": "emptied",
    }
    after = applied(content, derived.edits)
    assert level_of(after, "Instance")["ContentSequence"] != [item] * 200


@pytest.mark.parametrize("size", range(9_700, 9_960, 7))
def test_what_is_derived_has_room_in_a_call(size: int) -> None:
    """The largest value that is named for removal still makes a document within the limit."""
    content = document({"PatientAddress": "é" * (size // 2)})
    edits = [edit for edit in walker("basic").derive(ID, content).edits if edit.attribute == "PatientAddress"]
    inner = {"Instances": {"1.2.3.1.1": {"DICOM": {"PatientAddress": edits[0].value}}}}
    whole = {"SchemaVersion": 1.1, "Study": {"Series": {"1.2.3.1": inner}}}
    assert len(json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()) <= 10_000


def test_safe_private_elements_stay_with_their_creators() -> None:
    private = {
        "00190010": "SIEMENS MR HEADER",
        "00190011": "MAKER",
        "0019100C": "1000",
        "0019100F": "X",
        "0019110C": "Y",
    }
    content = document(private, vrs={"0019100C": "IS"})
    after = applied(content, walker(made('options = ["retain-safe-private"]')).derive(ID, content).edits)
    assert {key for key in level_of(after, "Instance") if key[0] == "0"} == {"00190010", "0019100C"}
    without = applied(content, walker(made("")).derive(ID, content).edits)
    assert not {key for key in level_of(without, "Instance") if key[0] == "0"}


def test_values_of_one_study_come_out_equal_whatever_their_padding() -> None:
    first = walker("research-dates-shifted").derive("1" * 32, document(study={"StudyDate": "20240311"}))
    second = walker("research-dates-shifted").derive(
        "2" * 32, document(patient={"PatientID": "P1 "}, study={"StudyDate": "20240311"})
    )
    assert [edit[1:] for edit in first.edits] == [edit[1:] for edit in second.edits]


def test_date_and_time_move_as_one_inside_a_sequence_too() -> None:
    profile = made('options = ["retain-modified-dates"]\n[dates]\ndays = [0, 0]\nseconds = true\n')
    inside = {"ContentDate": "20231231", "ContentTime": "235959"}
    content = document({"ReferencedSeriesSequence": [inside], **inside})
    after = level_of(applied(content, walker(profile).derive(ID, content).edits), "Instance")
    assert after["ContentDate"] == "20240101"
    assert {key: after[key] for key in inside} == after["ReferencedSeriesSequence"][0]


def test_dates_that_are_none_are_dealt_with_and_named() -> None:
    content = document({"ContentDate": "SOMETIME"}, study={"StudyDate": "20240230"})
    derived = walker(made(SHIFTED)).derive(ID, content)
    after = applied(content, derived.edits)
    assert "SOMETIME" not in json.dumps(after)
    assert {found.attribute: found.kind for found in derived.findings} == {
        "ContentDate": "unreadable-date",
        "StudyDate": "unreadable-date",
    }


def test_texts_of_the_vocabulary_are_kept() -> None:
    profile = made('options = ["clean-descriptors"]\n[clean]\nallow = ["CT Chest"]\n')
    content = document(study={"StudyDescription": "CT CHEST "}, series={"SeriesDescription": "CHEST MRS DOE"})
    after = applied(content, walker(profile).derive(ID, content).edits)
    assert level_of(after, "Study")["StudyDescription"] == "CT CHEST "
    assert "SeriesDescription" not in level_of(after, "Series")


def test_what_was_done_is_recorded() -> None:
    content = document(study={"StudyDate": "20240311"})
    after = applied(content, walker(made(SHIFTED)).derive(ID, content).edits)
    patient = level_of(after, "Patient")
    assert patient["PatientIdentityRemoved"] == "YES"
    assert all(len(text) <= 64 for text in patient["DeidentificationMethod"])
    codes = [item["CodeValue"] for item in patient["DeidentificationMethodCodeSequence"]]
    assert codes == ["113100", "113107", "113105", "113104"]
    assert level_of(after, "Instance")["LongitudinalTemporalInformationModified"] == "MODIFIED"


@pytest.mark.parametrize("name", ["basic", "research-dates-shifted", "research-dates-kept", "minimal-phi"])
def test_a_second_time_nothing_is_left_to_do(name: str) -> None:
    content = document(
        {"StudyDate": "20240101", "ContentDate": "20240102", "00190010": "X", **nested(2, {"PatientName": "A^B"})},
        study={"StudyDate": "20240311", "StudyID": "S1", "AccessionNumber": "A1"},
        series={"SeriesDate": "20240311", "RequestAttributesSequence": [{"ScheduledProcedureStepID": "S"}]},
    )
    del level_of(content, "Instance")["StudyDate"]
    once = applied(content, walker(name).derive(ID, content).edits)
    again = walker(name).derive(ID, once)
    assert (again.edits, again.findings, again.marked) == ([], [], True)


def test_an_instance_that_was_left_undone_is_named_and_not_moved_by_a_strangers_offset() -> None:
    content = document({"ContentDate": "20240102"})
    edits = [e for e in walker("research-dates-shifted").derive(ID, content).edits if e.instance_uid is None]
    half = applied(content, edits)
    again = walker("research-dates-shifted").derive(ID, half)
    assert {found.kind for found in again.findings} == {"left-undone"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**6) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["PatientName", "StudyDate", "Rows", "ContentSequence", "00191001", "00100010", "Odd"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from([*dicom.keywords()[::40], "00190010", "00191001", "60003000"]), JSON, max_size=6)
)
@examples(40)
def test_whatever_a_document_holds_it_is_walked(attributes: dict[str, Any]) -> None:
    """Values of wrong kinds raise nothing, and what is derived makes a frame of text."""
    derived = walker("research-dates-shifted").derive(ID, document(attributes))
    frame = pl.DataFrame([edit.value for edit in derived.edits], schema={"value": pl.String})
    assert frame.height == len(derived.edits)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not valid JSON"),
        (b'{"Study": ', "not valid JSON"),
        (b"\x1f\x8bgarbage", "gzip data is damaged"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "gzip data is truncated"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b"[]", "not the metadata document"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_a_bad_document_says_what_is_wrong(data: bytes, what: str) -> None:
    with pytest.raises(MetadataError, match=what):
        documents.parse(data)


def test_a_document_that_is_too_large_is_refused_before_it_is_unpacked() -> None:
    import gzip

    packed = gzip.compress(b'{"Study": "' + b"x" * 200_000 + b'"}')
    with pytest.raises(MetadataError, match="larger than"):
        documents.parse(packed, largest=100_000)


def test_a_document_that_is_too_large_unpacked_already_is_refused() -> None:
    with pytest.raises(MetadataError, match="larger than"):
        documents.parse(b'{"Study": {}}', largest=5)


def test_files_that_are_no_documents_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MetadataError, match="the folder has no metadata documents"):
        documents.files_of([tmp_path])
    with pytest.raises(MetadataError, match="No such file") as raised:
        list(documents.read_files([tmp_path / "none.json"]))
    assert raised.value.where == str(tmp_path / "none.json")
    file = tmp_path / "no id.json"
    file.write_text("{}")
    with pytest.raises(MetadataError, match="has an image set id") as raised:
        list(documents.read_files(documents.files_of([tmp_path])))
    assert raised.value.where == str(file)
    monkeypatch.setattr(documents, "LARGEST", 1)
    with pytest.raises(MetadataError, match="larger than"):
        list(documents.read_files([file]))


def test_texts_in_places_of_other_values_are_dealt_with() -> None:
    """A text in a sequence's place, arrays of identifiers, blanks, and what is not printable."""
    texts = made(
        SHIFTED + '[[override]]\nattribute = "OtherPatientNames"\naction = "pseudonym"\n'
        '[[override]]\nattribute = "StationName"\naction = "replace"\nvalue = "S"\n'
    )
    content = document(
        {"AcquisitionDate": ["20240301", "NONE"], "ContentDate": " ", "ContentTime": ["101112"], "00191001": ["\x85"]},
        patient={"OtherPatientNames": ["DOE^J", "", None]},
        series={"StationName": ["CT1"]},
    )
    after = applied(content, walker(texts).derive(ID, content).edits)
    first, *rest = level_of(after, "Patient")["OtherPatientNames"]
    assert (first != "DOE^J", rest) == (True, ["", None])
    assert level_of(after, "Instance")["ContentDate"] == " "
    assert "NONE" not in json.dumps(after)


def test_what_is_not_printable_is_removed_by_the_value_that_is_stored_then() -> None:
    content = document(patient={"OtherPatientNames": ["\x85"]})
    edits = walker("basic").derive(ID, content).edits
    assert [(edit.action, edit.value) for edit in edits if edit.attribute == "OtherPatientNames"] == [("remove", None)]


def test_what_the_service_never_edits_is_named() -> None:
    profile = made('[[override]]\nattribute = "PixelData"\naction = "empty"\n')
    derived = walker(profile).derive(ID, document({"PixelData": "AAAA"}))
    assert {found.attribute: found.kind for found in derived.findings} == {"PixelData": "never-editable"}


def test_a_writer_takes_a_document_once_and_keeps_it_at_once_if_a_part_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkedit.deidentification.record.PART_IMAGE_SETS", 1)
    recipe = deidentification.DeidRecipe(profile=made(""), key=KEY, payload_limit=10_000)
    with deidentification.DeidRecord.open(tmp_path / "edits.csv", {"key": "of the test"}) as record:
        taken = deidentification.DeidWriter(recipe, record)
        for _ in range(2):
            taken.take(ID, document())
        assert (taken.documents, record.full, ID in record.done) == (1, False, True)


def test_a_date_beside_a_time_that_stays_is_shifted_alone() -> None:
    profile = made(
        'options = ["retain-modified-dates"]\n[dates]\ndays = [0, 0]\nseconds = true\n'
        '[[override]]\nattribute = "ContentTime"\naction = "keep"\n'
    )
    content = document({"ContentDate": ["20231231"], "ContentTime": "235959"})
    after = level_of(applied(content, walker(profile).derive(ID, content).edits), "Instance")
    assert (after["ContentDate"], after["ContentTime"]) == (["20231231"], "235959")


@pytest.mark.parametrize("content", [{}, {"Study": []}, {"Study": {"DICOM": []}}, {"Study": {"Series": {"1": 5}}}])
def test_what_is_no_metadata_document_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(MetadataError, match="not the metadata document"):
        walker("basic").derive(ID, content)


def test_the_order_of_the_actions_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    attributes = {
        "PatientAddress": "X",
        "StudyComments": "X",
        "PatientAge": "095Y",
        "ContentDate": "20200101",
        "FrameOfReferenceUID": "1.2.9",
        "SeriesDescription": "HEAD",
    }
    replaced = '[[override]]\nattribute = "StationName"\naction = "replace"\nvalue = "S"\n'
    profile, content = made(SHIFTED + replaced), document({**attributes, "StationName": "CT1"})
    before = walker(profile).derive(ID, content)
    monkeypatch.setattr(ProfileAction, "_member_names_", ProfileAction._member_names_[::-1])
    assert next(iter(ProfileAction)) is ProfileAction.REPLACE
    spec = importlib.util.spec_from_file_location("rules_again", rules.__file__)
    assert spec is not None
    assert spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "rules_again", again)
    spec.loader.exec_module(again)
    monkeypatch.setattr(writer, "ProfileRules", again.ProfileRules)
    assert walker(profile).derive(ID, content) == before
