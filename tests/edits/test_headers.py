"""What is said of columns: their names if the first row is certainly a header, else their letters; and where it is."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkedit.errors import EditListError
from tests.edits.lists import A, B, read_text, workbook

WIDE = f"{A},x,1\n{B},y,2\n"


def error_of(data: str | bytes, **options: Any) -> EditListError:
    with pytest.raises(EditListError) as caught:
        read_text(data, **options)
    return caught.value


# -- unknown columns ----------------------------------------------------------------------------------------------


def test_unknown_columns_are_named_and_the_hint_can_be_typed() -> None:
    error = error_of(f"image_set_id,Patient Nam,Remarks of ward 7\n{WIDE}")
    assert error.what == ("columns B (Patient Nam) and C (Remarks of ward 7) have names that bulkedit does not know.")
    assert error.likely == "Did you mean PatientName?"
    assert error.hint == (
        "To use a column under another name: `map='PatientName=Patient Nam'`. "
        "To leave one out: `ignore='Remarks of ward 7'`."
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MRN", "patient_id"),
        ("NewMRN", "PatientID"),
        ("Accession No.", "accession_number"),
        ("StudyUID", "study_instance_uid"),
        ("DOB", "PatientBirthDate"),
        ("Gender", "PatientSex"),
        ("ImageSet", "image_set_id"),
    ],
)
def test_usual_names_of_columns_come_with_what_they_probably_mean(name: str, meant: str) -> None:
    error = error_of(f"{name},PatientName,StudyDate\n{WIDE}")
    assert error.likely == f"Did you mean {meant}?"
    assert f"{meant}={name}" in str(error.hint).replace("'", "")


def test_one_column_only_is_suggested_to_say_which_image_sets_to_edit() -> None:
    error = error_of(f"MRN,Accession No,PatientName\n{WIDE}")
    assert error.likely == "Did you mean patient_id and accession_number?"
    assert error.hint == (
        "To use a column under another name: `map='accession_number=Accession No'`. To leave one out: `ignore=MRN`."
    )
    assert "`ignore=MRN`" in str(error_of(f"image_set_id,MRN,PatientName\n{WIDE}").hint)


@pytest.mark.parametrize("name", ["Patient ID", "Patient-ID", " PatientID "])
def test_beside_a_selector_the_name_of_an_attribute_is_the_attribute(name: str) -> None:
    assert error_of(f"image_set_id,{name},StudyDate\n{WIDE}").likely == "Did you mean PatientID?"
    assert error_of(f"Image Set Id,{name},StudyDat\n{WIDE}").likely == (
        "Did you mean image_set_id, PatientID and StudyDate?"
    )


def test_tags_as_names_of_columns_come_with_their_keywords() -> None:
    error = error_of(f'image_set_id,"(0010,0010)",00100020\n{WIDE}')
    assert error.what.startswith("columns B ((0010,0010)) and C (00100020) have names")
    assert error.likely == "Did you mean PatientName and PatientID?"
    assert "`map=PatientID=00100020`" in str(error.hint)


def test_keys_of_json_lines_are_names_whatever_they_look_like() -> None:
    error = error_of('{"0020000D": "1.2.3", "00100010": "x"}', format="jsonl")
    assert error.likely == "Did you mean StudyInstanceUID and PatientName?"


HEADERLESS = {
    "wide": f"{A},Carla,1\n{B},y,2\n",
    "tidy": f"{A},PatientName,Carla\n{B},PatientName,y\n",
    "tidy by patient": "P7,PatientName,Carla\nP8,PatientName,y\n",
    "tidy with actions": "P7,set,PatientName,Carla,PatientID\n",
    "two keywords beside an id": f"{A},PatientName,PatientID,Carla\n",
    "a name as in DICOM": "PatientName,PatientID,Carla^C\n",
    "a name of a column as a value": f"{A},PatientName,patient_id,Carla\n",
    "a date": "PatientName,PatientID,2024-03-11,Carla\n",
}


@pytest.mark.parametrize("name", HEADERLESS)
def test_a_first_row_with_data_is_never_repeated(name: str) -> None:
    error = error_of(HEADERLESS[name])
    assert "Carla" not in str(error)
    assert "P7" not in str(error)
    assert "row 1" in str(error)


CELLS = [
    "Carla Meier",
    "Meier^Carla",
    "P7",
    "ACC-17",
    "0012345",
    "11.03.2024",
    "F",
    "CT head",
    "Ward 7",
    "7.5",
    "1.2.3",
]


@settings(max_examples=60, derandomize=True)
@given(st.lists(st.sampled_from(CELLS), min_size=2, max_size=6), st.sampled_from(["PatientName", "StudyDate", "x", A]))
def test_no_cell_of_a_first_row_with_data_is_repeated(cells: list[str], one: str) -> None:
    """A row of data has one name of DICOM at most, in the place of the column attribute."""
    row = ",".join([*cells, one])
    said = str(error_of(f"{row}\n{row}\n")).replace("image_set_id,PatientName", "")
    assert not [
        cell for cell in cells if re.search(rf"(?<![\w.]){re.escape(cell)}(?![\w.])", said) and cell not in "ABCDEFG"
    ]


def test_a_file_without_a_header_is_said_to_have_none() -> None:
    error = error_of(f"{A},PatientName,x\n")
    assert error.likely == "The first row has data, so the file has no header."
    assert "image_set_id,PatientName" in str(error.hint)


def test_long_and_numbered_names_have_letters_only() -> None:
    error = error_of(f"image_set_id,PatientName,Carla 0123456\n{WIDE}")
    assert error.what.startswith("column C has a name")
    error = error_of(f"image_set_id,PatientName,{'x' * 41}\n{WIDE}")
    assert error.what.startswith("column C has a name")


def test_the_old_identifier_beside_a_new_one_is_a_selector() -> None:
    error = error_of("PatientID,New PatientID\n1,2\n")
    assert error.hint == (
        "To use a column under another name: `map=patient_id=PatientID` `map='PatientID=New PatientID'`."
    )
    done = read_text("PatientID,New PatientID\n1,2\n", map={"patient_id": "PatientID", "PatientID": "New PatientID"})
    assert done.edits.select("key", "attribute", "value").rows() == [("1", "PatientID", '"2"')]


def test_a_column_without_a_name_may_be_left_out() -> None:
    text = f",image_set_id,PatientName\n0,{A},x\n"
    error = error_of(text)
    assert "the first is in row 2" in error.what
    assert "pandas" in str(error.likely)
    assert "`ignore=''`" in str(error.hint)
    assert read_text(text, ignore=[""]).edits.height == 1


def test_a_data_store_in_a_wide_list_may_be_left_out() -> None:
    error = error_of(f"datastore_id,image_set_id,PatientName\n{A},{A},x\n")
    assert str(error.hint).endswith("to leave it out: `ignore=datastore_id`")


# -- selectors and attributes -------------------------------------------------------------------------------------


def test_an_attribute_is_not_taken_for_a_selector() -> None:
    error = error_of("PatientID,StudyDescription\n7,x\n")
    assert error.what == "no column says which image sets to edit."
    assert error.likely == "PatientID is an attribute to set; the column patient_id says which image sets to edit."
    assert "`map=patient_id=PatientID`" in str(error.hint)
    done = read_text("PatientID,StudyDescription\n7,x\n", map={"patient_id": "PatientID"})
    assert done.edits.select("selector", "key", "attribute").rows() == [("patient_id", "7", "StudyDescription")]


def test_a_selector_is_not_taken_for_an_attribute() -> None:
    error = error_of(f"image_set_id,patient_id\n{A},7\n")
    assert error.what == "no column says what to edit."
    assert error.likely == "patient_id only says which image sets to edit; the attribute to set is PatientID."
    assert "`map=PatientID=patient_id`" in str(error.hint)
    done = read_text(f"image_set_id,patient_id\n{A},7\n", map={"PatientID": "patient_id"})
    assert done.edits.select("key", "attribute", "value").rows() == [(A, "PatientID", '"7"')]


def test_rows_with_two_selectors_are_told_of_the_attribute() -> None:
    done = read_text(f"image_set_id,patient_id,PatientName\n{A},7,x\n")
    assert done.set_aside["likely"].item() == "patient_id says which image sets to edit; to set it, use PatientID."
    assert "`map=PatientID=patient_id`" in done.set_aside["hint"].item()


# -- a header that is not the first row ---------------------------------------------------------------------------

TITLED = {
    "a title": f"Export of March\nimage_set_id,PatientName\n{A},x\n",
    "a padded title": f"Export of March,\nimage_set_id,PatientName\n{A},x\n",
    "a comment": f"# made by a script\nimage_set_id,PatientName\n{A},x\n",
    "names for people above those of DICOM": f"Image set,Name\nimage_set_id,PatientName\n{A},x\n",
}


@pytest.mark.parametrize("name", TITLED)
def test_a_header_below_a_title_is_found_and_not_used(name: str) -> None:
    error = error_of(TITLED[name])
    assert (error.what, error.where) == ("the header seems to be in row 2.", "standard input, row 1")
    assert "rows above row 2" in str(error.hint)


def test_rows_are_those_of_the_spreadsheet_also_below_blank_ones() -> None:
    cells: list[list[Any]] = [["Export", None], [None, None], ["image_set_id", "PatientName"], [A, "x"]]
    error = error_of(workbook(cells, top=2), format="xlsx")
    assert (error.what, error.where) == ("the header seems to be in row 5.", "standard input, row 3")
    error = error_of(workbook([["image_set_id", "Nam"], [A, "x"]], top=2), format="xlsx")
    assert error.where == "standard input, row 3"


def test_no_header_is_found_in_data() -> None:
    error = error_of(f"a,b,c\n{A},PatientName,x\n{B},PatientName,y\n")
    assert "seems" not in error.what


def test_a_file_whose_format_names_the_columns_has_no_row_of_them() -> None:
    error = error_of(f'{{"image_set_id":"{A}","Remark":"x"}}', format="jsonl")
    assert error.where == "standard input"
    assert "B (Remark)" in error.what
