"""A row that cannot be understood is set aside with its number, its column and a stable code, and makes no edit."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from bulkedit.dicom.dictionary import RULES
from bulkedit.edits import problem_text
from bulkedit.edits.problems import ADVICE, HINT_OF_VR
from tests.edits.lists import (
    FORMATS,
    INSTANCE,
    SERIES,
    A,
    B,
    Row,
    edits,
    problems,
    read_rows,
    read_text,
    texts_of,
    workbook,
)

PLACE: Row = {"series_uid": SERIES, "instance_uid": INSTANCE}
GOOD: Row = {"image_set_id": A, "attribute": "StudyDescription", "value": "x"}
CANARY = "Canary^Carla"


def case(column: str | None, code: str, name: str, **cells: str | None) -> Any:
    return pytest.param(cells, column, code, id=name)


CASES = [
    # which image sets
    case("image_set_id", "no-selector", "no-id", image_set_id=""),
    case("image_set_id", "image-set-id", "short-id", image_set_id="abc"),
    case("image_set_id", "image-set-id", "long-id", image_set_id=A + "0"),
    case("image_set_id", "image-set-id", "upper-case-id", image_set_id=A.upper()),
    case("image_set_id", "image-set-id", "id-of-other-letters", image_set_id="é" * 32),
    case("image_set_id", "image-set-id", "id-with-a-newline", image_set_id=A[:16] + "\n" + A[17:]),
    case("image_set_id", "damaged-identifier", "damaged-id", image_set_id="1.2E+10"),
    case(None, "many-selectors", "two-selectors", patient_id="7"),
    case(
        "accession_number", "damaged-identifier", "damaged-accession", image_set_id=None, accession_number="1,23457E+11"
    ),
    case("patient_id", "damaged-identifier", "date-for-an-id", image_set_id=None, patient_id="2024-03-11 00:00:00"),
    case("study_instance_uid", "uid", "no-study-uid", image_set_id=None, study_instance_uid="abc"),
    case("series_uid", "uid", "no-uid", series_uid="1.2.x"),
    case("instance_uid", "uid", "long-uid", series_uid="1.2", instance_uid="1." * 129),
    case("series_uid", "damaged-identifier", "damaged-uid", series_uid="1.2E+10"),
    # what to do
    case("action", "action", "unknown-action", action="update"),
    case("attribute", "no-attribute", "no-attribute", attribute=""),
    case("attribute", "attribute", "unknown-attribute", attribute="PatientNam"),
    case("attribute", "attribute", "attribute-in-lower-case", attribute="studydescription"),
    case("attribute", "attribute", "tag-of-a-standard-element", attribute="00081030"),
    case("attribute", "attribute", "no-attribute-at-all", attribute="=cmd|' /C calc'!A0"),
    case("attribute", "never-editable", "pixel-data", attribute="PixelData", value="AAAA", force="true", **PLACE),
    case("attribute", "never-editable", "checksum", attribute="Checksum"),
    case("level", "level", "wrong-level", level="Patient"),
    case("level", "level-name", "unknown-level", level="Image"),
    case("series_uid", "no-series-uid", "series-level-without-uid", attribute="SeriesDescription"),
    case("instance_uid", "no-instance-uid", "instance-level-without-uid", attribute="ImageComments", series_uid=SERIES),
    case("force", "needs-force", "study-id", attribute="StudyID"),
    case("force", "needs-force", "study-uid", attribute="StudyInstanceUID", value="1.2"),
    case("force", "needs-force", "sequence", attribute="ProcedureCodeSequence", value="[]"),
    case("force", "needs-force", "several-values", attribute="OtherPatientNames", value="a\\b"),
    case("force", "needs-force", "private", attribute="00091001", **PLACE),
    case("force", "needs-force", "instance-removal", action="remove-instance", attribute=None, value=None, **PLACE),
    case(
        "action",
        "series-removal",
        "series-removal",
        action="remove-series",
        attribute=None,
        value=None,
        series_uid=SERIES,
    ),
    case("force", "force", "unclear-force", force="maybe"),
    case("unchecked", "unchecked", "unclear-unchecked", unchecked="maybe"),
    case("version", "version", "version-zero", version="0"),
    case("version", "version", "version-with-a-point", version="1.0"),
    case("version", "version", "version-too-large", version="99999999999"),
    case("version", "version", "version-below-zero", version="-1"),
    case("vr", "vr", "unknown-vr", attribute="00091001", vr="XX", force="1", **PLACE),
    case("vr", "vr-differs", "vr-of-a-standard-attribute", vr="SH"),
    # revert and removals
    case("value", "revert-version", "revert-to-nothing", action="revert", attribute=None, value=None),
    case("value", "revert-version", "revert-to-text", action="revert", attribute=None, value="last"),
    case("attribute", "extra-cell", "revert-with-an-attribute", action="revert", value="1"),
    case("level", "extra-cell", "revert-with-a-level", action="revert", attribute=None, value="1", level="Study"),
    case("series_uid", "extra-cell", "revert-with-a-uid", action="revert", attribute=None, value="1", series_uid="1.2"),
    case(
        "value",
        "extra-cell",
        "instance-removal-with-a-value",
        action="remove-instance",
        attribute=None,
        force="1",
        **PLACE,
    ),
    case(
        "instance_uid",
        "no-instance-uid",
        "instance-removal-without-uid",
        action="remove-instance",
        attribute=None,
        value=None,
        series_uid=SERIES,
        force="1",
    ),
]


@pytest.mark.parametrize(("cells", "column", "code"), CASES)
def test_a_bad_row_is_set_aside_and_its_neighbours_are_not(cells: Row, column: str | None, code: str) -> None:
    done = read_rows(GOOD, GOOD | cells, GOOD)
    assert problems(done) == [(3, column, code)]
    assert edits(done, "row") == [2, 4]
    assert done.raw["row"].to_list() == [3]
    assert done.rows == 3


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_sets_the_same_rows_aside(format_: str) -> None:
    done = read_rows(GOOD, GOOD | {"image_set_id": "abc"}, GOOD | {"attribute": "StudyDat"}, format=format_)
    assert [problem[1:] for problem in problems(done)] == [("image_set_id", "image-set-id"), ("attribute", "attribute")]


def test_a_row_with_several_faults_names_each() -> None:
    done = read_rows({"image_set_id": "abc", "attribute": "StudyDate", "value": "today", "version": "x"})
    assert problems(done) == [
        (2, "image_set_id", "image-set-id"),
        (2, "version", "version"),
        (2, "value", "value-form"),
    ]


def test_every_fault_of_a_value_is_named() -> None:
    done = read_rows(
        {"image_set_id": A, "PatientName": "x" * 300 + "\\", "PatientID": "a\nb", "StudyDate": "2024-03-11 00:00:00"}
    )
    assert problems(done) == [
        (2, "PatientName", "value-length"),
        (2, "PatientName", "value-form"),
        (2, "PatientID", "value-form"),
        (2, "StudyDate", "value-form"),  # its form says more than its length
    ]


@pytest.mark.parametrize(
    ("attribute", "text", "look"),
    [
        ("StudyDate", "2024-03-11", "It is a date with dashes, as in ISO 8601."),
        ("StudyDate", "2024-03-11 10:30", "It is a date with a time."),
        ("StudyDate", "11.03.2024", "It is a date that begins with the day or the month."),
        ("StudyDate", "45362", "It is a number of five digits: spreadsheets count days so."),
        ("StudyDate", "11 Mar 2024", "It has a word, such as the name of a month."),
        ("StudyDate", "?", None),
        ("StudyTime", "10:30", "It is a time with colons."),
        ("PatientAge", "42", "It lacks the letter D, W, M or Y."),
        ("PatientSex", "female", "It has lower-case letters."),
        ("StudyDescription", "a\nb", "It has a line break."),
        ("PatientID", "a\\b", "It has a backslash."),
    ],
)
def test_a_value_without_the_form_of_its_vr_is_told_by_what_it_looks_like(
    attribute: str, text: str, look: str | None
) -> None:
    done = read_rows(GOOD | {"attribute": attribute, "value": text})
    assert done.set_aside.select("code", "likely").rows()[-1] == ("value-form", look)


def test_nothing_else_is_said_of_a_value_that_can_never_be_edited() -> None:
    done = read_rows({"image_set_id": A, "PixelData": "x", "StudyDate": "today"})
    assert problems(done) == [(2, "PixelData", "never-editable"), (2, "StudyDate", "value-form")]


def test_a_level_that_is_no_level_of_dicom_comes_with_the_one_meant() -> None:
    done = read_rows(GOOD | {"level": "IMAGE"})
    assert done.set_aside.select("code", "likely").rows() == [("level-name", "Did you mean Instance?")]


def test_a_cell_that_cannot_be_read_hides_no_other_problem_of_its_row() -> None:
    cells: list[list[Any]] = [
        ["image_set_id", "PatientName", "StudyDate", "version"],
        [A, "=NA()", "today", "x"],
        ["=NA()", "a", "today", None],
    ]
    done = read_text(workbook(cells), format="xlsx")
    assert problems(done) == [
        (2, "PatientName", "cell-error"),
        (2, "version", "version"),
        (2, "StudyDate", "value-form"),
        (3, "image_set_id", "cell-error"),  # and not that it is empty
        (3, "StudyDate", "value-form"),
    ]


def test_every_value_of_a_call_is_checked() -> None:
    document = {"SchemaVersion": 1.1, "Patient": {"DICOM": {"PatientBirthDate": "x", "PatientID": "1.2E+10"}}}
    study = {"SchemaVersion": 1.1, "Study": {"DICOM": {"StudyDate": "y"}}}
    updates = json.dumps({"DICOMUpdates": {"updatableAttributes": document | study}})
    done = read_rows({"image_set_id": A, "updates": updates})
    assert sorted(code for _, _, code in problems(done)) == ["damaged-identifier", "value-form", "value-form"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [("Update", "set"), ("DELETE", "remove"), ("remove_instance", "remove-instance"), ("undo", "revert"), ("x", None)],
)
def test_an_unknown_action_comes_with_the_one_likely_meant(word: str, meant: str | None) -> None:
    done = read_rows(GOOD | {"action": word})
    assert done.set_aside["likely"][0] == (meant and f"Did you mean {meant}?")


def test_an_unknown_action_hides_no_other_problem_of_its_row() -> None:
    done = read_rows(GOOD | {"action": "update", "attribute": "StudyDate", "value": "today"})
    assert problems(done) == [(2, "action", "action"), (2, "value", "value-form")]


def test_the_text_of_a_problem_says_where_what_why_and_what_to_type() -> None:
    rows = [GOOD] * 4015 + [GOOD | {"image_set_id": "abc"}]
    done = read_rows(*rows)
    assert problem_text(done.set_aside.row(0, named=True)) == (
        "Row 4,017: image_set_id has 3 characters; ids are 32 characters of 0-9 a-z.\n"
        "Copy the id from HealthImaging, or from an inventory (bulkedit inventory -o FILE)."
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("patientname", "PatientName"),
        ("Patient Name", "PatientName"),
        ("Patient's-Name", None),
        ("PatientNam", "PatientName"),
        ("(0010,0010)", "PatientName"),
        ("0010,0010", "PatientName"),
        ("AccesionNumber", "AccessionNumber"),
        ("Hans Meier", None),
    ],
)
def test_an_unknown_attribute_comes_with_the_one_likely_meant(written: str, meant: str | None) -> None:
    done = read_rows(GOOD | {"attribute": written})
    likely = done.set_aside["likely"].item()
    assert likely == f"Did you mean {meant}?" if meant else likely is None or "PatientName" in likely


def test_force_for_all_is_force_for_each() -> None:
    done = read_rows(GOOD | {"attribute": "StudyID", "force": "no"}, force=True)
    assert edits(done, "force") == [True]


def test_older_rules_ask_for_force_less_often() -> None:
    row = PLACE | {"image_set_id": A, "action": "remove-instance"}
    assert edits(read_rows(row, rules=RULES["2025"]), "force") == [False]


def test_a_line_that_is_no_object_is_a_row_set_aside() -> None:
    good = json.dumps({"image_set_id": A, "PatientName": "x"})
    lines = [good, "{broken", "[]", '{"image_set_id": true}', '{"a":1,"a":2}', '{"PatientName":NaN}', good]
    done = read_text("\n".join(lines), format="jsonl")
    assert problems(done) == [
        (2, None, "not-json"),
        (3, None, "not-an-object"),
        (4, "image_set_id", "cell-type"),
        (5, None, "not-json"),
        (6, None, "not-json"),
    ]
    assert edits(done, "row") == [1, 7]
    assert done.rows == 7


def test_a_list_of_bad_rows_only_has_no_edits() -> None:
    done = read_text(
        f'{{"image_set_id":"{A}","PatientName":"x\\ud800"}}\n{{"image_set_id":"1","PatientName":"x"}}', format="jsonl"
    )
    assert edits(done, "row") == []
    assert [row for row, _, _ in problems(done)] == [1, 2]


def test_an_error_of_a_spreadsheet_is_a_problem_and_never_an_empty_cell() -> None:

    cells: list[list[Any]] = [["image_set_id", "PatientName", "note"], [A, "x", "=NA()"], [B, "=VLOOKUP(1,A:B,2)", "n"]]
    done = read_text(workbook(cells, left=1), format="xlsx", ignore=["note"])
    assert problems(done) == [(3, "PatientName", "cell-error")]
    assert edits(done, "row") == [2]
    assert "C3" in done.set_aside["problem"].item()


def test_a_number_of_more_digits_than_excel_keeps_is_damaged() -> None:

    cells: list[list[Any]] = [
        ["image_set_id", "PatientID"],
        [A, 12345678901234567],
        [B, 123456789012345],
        [B, "12345678901234567"],
    ]
    done = read_text(workbook(cells), format="xlsx", numbers_are_text=True)
    assert problems(done) == [(2, "PatientID", "damaged-identifier")]
    assert edits(done, "value") == ['"123456789012345"', '"12345678901234567"']


def test_a_date_of_excel_is_no_date_of_dicom() -> None:

    cells: list[list[Any]] = [
        ["image_set_id", "StudyDate", "PatientID"],
        [A, dt.date(2024, 3, 11)],
        [A, None, dt.date(2024, 3, 11)],
    ]
    done = read_text(workbook(cells), format="xlsx", numbers_are_text=True)
    assert [(column, code) for _, column, code in problems(done)] in (
        [("StudyDate", "value-form")],  # a cell without a date format is a number
        [("StudyDate", "value-form"), ("PatientID", "damaged-identifier")],
    )


# -- nothing that stands in a cell is ever said -------------------------------------------------------------------

COLUMNS = (
    "image_set_id",
    "action",
    "attribute",
    "value",
    "level",
    "vr",
    "series_uid",
    "instance_uid",
    "force",
    "unchecked",
    "version",
)


@pytest.mark.parametrize("form", ["plain", "forced", "json"])
def test_no_text_of_a_problem_tells_what_stands_in_a_cell(form: str) -> None:
    text = {"plain": CANARY, "forced": CANARY, "json": f'[{{"{CANARY}":"{CANARY}"'}[form]
    attributes = ["StudyDate", "StudyTime", "Rows", "PixelSpacing", "ProcedureCodeSequence", "Modality", "00091001"]
    rows = [GOOD | {column: text} for column in COLUMNS]
    rows += [GOOD | PLACE | {"attribute": name, "value": text} for name in attributes]
    rows += [GOOD | {"attribute": "StudyID", "value": text}, GOOD | {"patient_id": text}]
    done = read_rows(*rows, force=form == "forced", unchecked=form == "forced")
    assert done.set_aside["row"].n_unique() > len(COLUMNS)
    assert "canary" not in texts_of(done).lower()


def test_no_text_of_a_call_problem_tells_what_stands_in_the_json() -> None:
    documents: list[Any] = [
        {CANARY: 1},
        {"SchemaVersion": CANARY},
        {"SchemaVersion": 1.1, CANARY: {}},
        {"SchemaVersion": 1.1, "Patient": {CANARY: {}}},
        {"SchemaVersion": 1.1, "Patient": {"DICOM": {CANARY: CANARY}}},
        {"SchemaVersion": 1.1, "Patient": {"DICOM": {"PatientID": [CANARY]}}},
        {"SchemaVersion": 1.1, "Patient": {"DICOM": {"StudyDate": CANARY}}},
        {"SchemaVersion": 1.1, "Study": {"DICOM": {"StudyDate": CANARY}}},
        {"SchemaVersion": 1.1, "Study": {"Series": {CANARY: {}}}},
        {"SchemaVersion": 1.1, "Study": {"Series": {"1.2": CANARY}}},
        CANARY,
        [CANARY],
        "{" + CANARY,
    ]
    updates = [json.dumps({"DICOMUpdates": {"updatableAttributes": document}}) for document in documents]
    updates += [
        CANARY,
        f'{{"{CANARY}":1}}',
        json.dumps({"revertToVersionId": CANARY}),
        json.dumps({"DICOMUpdates": CANARY}),
    ]
    columns = ("datastore_id", "latest_version_id", "force", "include_study_image_sets", "edit_id")
    good = json.dumps({"revertToVersionId": "1"})
    rows: list[Row] = [{"image_set_id": A, "updates": text} for text in updates]
    rows += [{"image_set_id": A, "updates": good, column: CANARY} for column in columns]
    done = read_rows(*rows)
    assert done.raw.height == len(rows) - 1  # an edit_id may be anything
    assert "canary" not in texts_of(done).lower()


def test_eight_digits_in_the_attribute_column_are_not_repeated() -> None:
    numbers = ["00091001", "60003000", "12355678", "12345678"]  # a private element, one of a repeating group, ...
    done = read_rows(*(GOOD | {"attribute": number} for number in numbers))
    assert done.raw.height == len(numbers)
    assert not [number for number in numbers if number in texts_of(done)]


# -- the table of advice ------------------------------------------------------------------------------------------


def test_every_advice_ends_its_sentences() -> None:
    texts = [text for advice in ADVICE.values() for text in advice if text] + list(HINT_OF_VR.values())
    assert [text for text in texts if not text.endswith((".", "}", "]", "`"))] == []


def test_every_code_of_the_advice_is_a_slug() -> None:
    assert [code for code in ADVICE if not code.replace("-", "").isalnum() or code != code.lower()] == []
