"""Every form, in every format, reads as the same edits."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.edits import ReadOptions, read
from bulkedit.edits.edit import EDITS
from tests.edits.lists import (
    FORMATS,
    INSTANCE,
    SERIES,
    A,
    B,
    Row,
    edits,
    file_of,
    problems,
    read_rows,
    read_text,
    workbook,
)

if TYPE_CHECKING:
    from pathlib import Path

# the same five edits in each form
TIDY: list[Row] = [
    {"image_set_id": A, "attribute": "PatientName", "value": "DOE^JANE"},
    {"image_set_id": A, "attribute": "PatientID", "value": "0042"},
    {"image_set_id": B, "attribute": "PatientName", "value": 'O"Neil^\\Zoë'},
    {"image_set_id": B, "attribute": "SeriesDescription", "value": "T1,\nsagittal", "series_uid": SERIES},
    {"image_set_id": B, "attribute": "Rows", "value": "512", "series_uid": SERIES, "instance_uid": INSTANCE},
]
WIDE: list[Row] = [
    {"image_set_id": A, "PatientName": "DOE^JANE", "PatientID": "0042"},
    {
        "image_set_id": B,
        "PatientName": 'O"Neil^\\Zoë',
        "SeriesDescription": "T1,\nsagittal",
        "Rows": "512",
        "series_uid": SERIES,
        "instance_uid": INSTANCE,
    },
]
CALL: list[Row] = [
    {
        "image_set_id": A,
        "updates": json.dumps(
            {
                "DICOMUpdates": {
                    "updatableAttributes": {
                        "SchemaVersion": 1.1,
                        "Patient": {"DICOM": {"PatientName": "DOE^JANE", "PatientID": "0042"}},
                    }
                }
            }
        ),
    },
    {
        "image_set_id": B,
        "updates": json.dumps(
            {
                "DICOMUpdates": {
                    "updatableAttributes": {
                        "SchemaVersion": "1.1",
                        "Patient": {"DICOM": {"PatientName": 'O"Neil^\\Zoë'}},
                        "Study": {
                            "DICOM": {},
                            "Series": {
                                SERIES: {
                                    "DICOM": {"SeriesDescription": "T1,\nsagittal"},
                                    "Instances": {INSTANCE: {"DICOM": {"Rows": 512}}},
                                }
                            },
                        },
                    }
                }
            }
        ),
    },
]
FORMS = {"tidy": TIDY, "wide": WIDE, "call": CALL}
# PN and LO have no backslash and no line break; unchecked, the values pass in every form
UNCHECKED: dict[str, Any] = {"force": True, "unchecked": True}
WHAT = ("key", "action", "level", "series_uid", "instance_uid", "attribute", "value")
EXPECTED = [
    (A, "set", "Patient", None, None, "PatientName", '"DOE^JANE"'),
    (A, "set", "Patient", None, None, "PatientID", '"0042"'),
    (B, "set", "Patient", None, None, "PatientName", '"O\\"Neil^\\\\Zoë"'),
    (B, "set", "Series", SERIES, None, "SeriesDescription", '"T1,\\nsagittal"'),
    (B, "set", "Instance", SERIES, INSTANCE, "Rows", "512"),
]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_in_every_format_reads_as_the_same_edits(form: str, format_: str) -> None:
    done = read_rows(*FORMS[form], format=format_, **UNCHECKED)
    assert problems(done) == []
    assert (done.form, done.rows) == (form, len(FORMS[form]))
    assert dict(done.edits.schema) == EDITS
    assert edits(done, *WHAT) == EXPECTED
    assert edits(done, "selector", "force", "version", "study_wide") == [("image_set_id", True, None, False)] * 5
    assert edits(done, "unchecked") == [False, False, True, True, False]


@pytest.mark.parametrize("format_", FORMATS)
def test_the_format_of_a_file_is_that_of_its_suffix(format_: str, tmp_path: Path) -> None:
    file = tmp_path / f"edits.{format_}"
    file.write_bytes(file_of(TIDY, format_))
    done = read(file, ReadOptions(**UNCHECKED))
    assert edits(done, *WHAT) == EXPECTED
    assert done.source == str(file)
    assert done.digest == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_stream_without_a_format_is_csv() -> None:
    data = file_of(TIDY, "csv")
    done = read_text(data, **UNCHECKED)
    assert edits(done, *WHAT) == EXPECTED
    assert (done.source, done.digest) == ("-", hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("separator", [";", "\t"], ids=["semicolon", "tab"])
def test_semicolons_and_tabs_separate_where_the_header_has_them(separator: str) -> None:
    done = read_text(f"image_set_id,PatientName\n{A},DOE^J\n".replace(",", separator))
    assert edits(done, "key", "value") == [(A, '"DOE^J"')]


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "open"])
def test_line_ends_a_byte_order_mark_and_a_missing_last_newline_change_nothing(
    end: str, bom: bytes, *, last: bool
) -> None:
    text = f'image_set_id,PatientName{end}{A},DOE^J{end}"{B}","X"{end if last else ""}'
    assert edits(read_text(bom + text.encode()), "row", "key", "value") == [(2, A, '"DOE^J"'), (3, B, '"X"')]


class TestRowNumbers:
    """Rows are numbered as a spreadsheet shows them."""

    def test_blank_rows_and_cells_of_several_lines_count_as_a_spreadsheet_counts_them(self) -> None:
        text = f'image_set_id,StudyDescription\n\n{A},"a\nb"\n\n,\n{B},c\n\n'
        done = read_text(text, unchecked=True)
        assert edits(done, "row", "value") == [(3, '"a\\nb"'), (6, '"c"')]
        assert done.rows == 2

    def test_rows_of_excel_are_those_of_the_sheet_wherever_the_table_begins(self) -> None:

        cells: list[list[Any]] = [["image_set_id", "PatientName"], [None, None], [A, "x"], [None, None], ["", "y"]]
        done = read_text(workbook(cells, top=2, left=1), format="xlsx")
        assert edits(done, "row", "value") == [(5, '"x"')]
        assert problems(done) == [(7, "image_set_id", "no-selector")]

    def test_lines_of_json_lines_are_numbered_from_one_blank_ones_too(self) -> None:
        line = json.dumps({"image_set_id": A, "PatientName": "x"})
        assert edits(read_text(f"\n{line}\n\n{line}\n", format="jsonl"), "row") == [2, 4]

    def test_records_of_parquet_are_numbered_from_one(self) -> None:
        assert edits(read_rows(*TIDY, format="parquet", **UNCHECKED), "row") == [1, 2, 3, 4, 5]

    def test_rows_keep_their_numbers_over_many_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bulkedit.edits.csv.BLOCK", 100)
        rows = "".join(f'{A},"row {n}, ""q""\n"\n' if n % 7 else "\n" for n in range(2, 302))
        done = read_text("image_set_id,StudyDescription\n" + rows, unchecked=True)
        expected = [(n, json.dumps(f'row {n}, "q"\n')) for n in range(2, 302) if n % 7]
        assert edits(done, "row", "value") == expected


class TestText:
    """All text is read as text."""

    @pytest.mark.parametrize("format_", FORMATS)
    @pytest.mark.parametrize("text", ["007", "1.50", " x ", "true", "null", "NA", "1e5", "2024", "-"])
    def test_what_looks_like_something_else_stays_text(self, text: str, format_: str) -> None:
        done = read_rows({"image_set_id": A, "StudyDescription": text}, format=format_)
        assert edits(done, "value") == [json.dumps(text)]

    def test_missing_and_empty_text_are_the_same(self) -> None:
        done = read_text(f'image_set_id,attribute,value\n{A},StudyDescription,\n{A},PatientName,""\n')
        assert edits(done, "value") == ["null", "null"]

    def test_numbers_of_json_lines_are_their_digits(self) -> None:
        lines = [
            {"image_set_id": A, "attribute": "PatientID", "value": 12345678901234567890},
            {"image_set_id": A, "attribute": "PixelSpacing", "value": [0.5, "0.50"], "force": True}
            | {"series_uid": SERIES, "instance_uid": INSTANCE},
        ]
        done = read_text("\n".join(map(json.dumps, lines)), format="jsonl", numbers_are_text=True)
        assert edits(done, "value", "force") == [('"12345678901234567890"', False), ('["0.5","0.50"]', True)]

    def test_numbers_of_excel_are_their_digits_where_they_are_whole(self) -> None:

        book = workbook([["image_set_id", "PatientID"], [A, 20240311.0]])
        done = read_text(book, format="xlsx", numbers_are_text=True)
        assert edits(done, "value") == ['"20240311"']


class TestWide:
    """One column per attribute."""

    @pytest.mark.parametrize(
        ("empty", "expected"),
        [
            ("keep", [("set", '"x"'), ("set", '"y"')]),
            ("null", [("set", '"x"'), ("set", "null"), ("set", "null"), ("set", '"y"')]),
            ("remove", [("set", '"x"'), ("remove", "{}"), ("remove", "{}"), ("set", '"y"')]),
        ],
        ids=lambda x: x if isinstance(x, str) else "",
    )
    def test_an_empty_cell_does_what_the_option_says(self, empty: str, expected: list[tuple[str, str]]) -> None:
        rows: list[Row] = [
            {"image_set_id": A, "PatientName": "x", "StudyDescription": None},
            {"image_set_id": B, "PatientName": "", "StudyDescription": "y"},
        ]
        assert edits(read_rows(*rows, empty=empty), "action", "value") == expected

    def test_a_row_that_fills_no_attribute_asks_for_nothing(self) -> None:
        done = read_text(f"image_set_id,PatientName\n{A},\n")
        assert (done.edits.height, done.set_aside.height, done.rows) == (0, 0, 1)

    def test_one_bad_cell_sets_the_whole_row_aside(self) -> None:
        done = read_text(f"image_set_id,PatientName,StudyDate\n{A},x,yesterday\n{B},y,20240311\n")
        assert problems(done) == [(2, "StudyDate", "value-form")]
        assert edits(done, "row", "attribute") == [(3, "PatientName"), (3, "StudyDate")]

    def test_a_private_element_may_have_a_column(self) -> None:
        done = read_text(f"image_set_id,series_uid,instance_uid,0009100a\n{A},{SERIES},{INSTANCE},v\n", force=True)
        assert edits(done, "attribute", "value", "vr") == [("0009100A", '"v"', None)]


class TestTidy:
    """Selector, action, attribute, value."""

    def test_actions_other_than_set(self) -> None:
        done = read_rows(
            {"image_set_id": A, "action": "remove", "attribute": "StudyDescription"},
            {"image_set_id": A, "action": "remove", "attribute": "StudyDescription", "value": "CHEST"},
            {"image_set_id": A, "action": "remove", "attribute": "Rows", "value": "512"}
            | {"series_uid": SERIES, "instance_uid": INSTANCE},
            {"image_set_id": A, "action": "Revert", "value": " 3 "},
            {
                "image_set_id": A,
                "action": "remove-instance",
                "series_uid": SERIES,
                "instance_uid": INSTANCE,
                "force": "yes",
            },
        )
        assert problems(done) == []
        assert edits(done, "action", "level", "attribute", "value", "revert_to") == [
            ("remove", "Study", "StudyDescription", "{}", None),
            ("remove", "Study", "StudyDescription", '"CHEST"', None),
            ("remove", "Instance", "Rows", "512", None),
            ("revert", None, None, None, 3),
            ("remove-instance", "Instance", None, None, None),
        ]

    def test_a_series_is_removed_where_the_rules_have_it(self) -> None:
        from bulkedit.dicom.dictionary import RULES

        row: Row = {"image_set_id": A, "action": "remove-series", "series_uid": SERIES}
        done = read_rows(row, rules=RULES["2025"])
        assert edits(done, "action", "level", "series_uid", "instance_uid") == [
            ("remove-series", "Series", SERIES, None)
        ]

    def test_what_is_removed_may_break_the_rules_of_its_vr(self) -> None:
        row: Row = {"image_set_id": A, "action": "remove", "attribute": "StudyDate", "value": "11.03.2024"}
        assert edits(read_rows(row), "value") == ['"11.03.2024"']

    @pytest.mark.parametrize(
        ("text", "force"),
        [
            ("true", True),
            ("TRUE", True),
            ("yes", True),
            ("1", True),
            ("false", False),
            ("no", False),
            ("0", False),
            ("", False),
            (" Yes ", True),
        ],
    )
    def test_force_is_said_in_the_usual_words(self, text: str, *, force: bool) -> None:
        done = read_text(f"image_set_id,attribute,value,force\n{A},PatientName,x,{text}\n")
        assert edits(done, "force") == [force]

    def test_uids_that_do_not_place_an_edit_are_left_out_of_it(self) -> None:
        row: Row = {"image_set_id": A, "attribute": "PatientName", "value": "x"}
        done = read_rows(row | {"series_uid": SERIES, "instance_uid": INSTANCE})
        assert edits(done, "series_uid", "instance_uid") == [(None, None)]

    def test_blanks_around_names_and_ids_mean_nothing_and_those_around_values_are_kept(self) -> None:
        done = read_text(f"image_set_id,attribute,value\n {A} , PatientID , 7 \n")
        assert edits(done, "key", "attribute", "value") == [(A, "PatientID", '" 7 "')]

    def test_edit_id_and_version_are_kept(self) -> None:
        done = read_rows(TIDY[0] | {"edit_id": "e-1", "version": "03"})
        assert edits(done, "edit_id", "version") == [("e-1", 3)]

    def test_the_vr_of_a_private_element_types_its_value(self) -> None:
        row: Row = {"image_set_id": A, "attribute": "00091001", "series_uid": SERIES, "instance_uid": INSTANCE}
        done = read_rows(
            row | {"value": "7", "vr": "us"}, row | {"value": "7", "vr": "DS"}, row | {"value": "7"}, force=True
        )
        assert edits(done, "value", "vr") == [("7", "US"), ('"7"', "DS"), ('"7"', None)]


class TestSelectors:
    """How a row names its image sets."""

    def test_each_row_may_use_another_selector(self) -> None:
        text = "image_set_id,study_instance_uid,series_instance_uid,accession_number,patient_id,study_id,PatientName\n"
        keys = [A, "1.2.3", "1.2.4", "007", " p ", "12E3"]
        rows = ["," * i + key + "," * (6 - i) + "x" for i, key in enumerate(keys)]
        done = read_text(text + "\n".join(rows))
        assert edits(done, "selector", "key") == list(zip(text.split(",")[:6], keys, strict=True))


class TestColumns:
    """Columns under other names, and columns to leave out."""

    def test_a_mapping_gives_a_column_its_name(self) -> None:
        text = f"Bilder,Name,what\n{A},DOE^J,x\n"
        done = read_text(text, map={"image_set_id": "Bilder", "PatientName": "Name"}, ignore=["what"])
        assert edits(done, "key", "attribute") == [(A, "PatientName")]

    def test_empty_columns_without_a_name_are_no_columns(self) -> None:
        assert edits(read_text(f"image_set_id,PatientName,,\n{A},x,,\n"), "value") == ['"x"']

    def test_raw_holds_the_rows_set_aside_under_the_names_of_the_file(self) -> None:
        text = f"Bilder,row,what,PatientName\n{A},e1,w,x\nabc,e2,v,\n"
        done = read_text(text, map={"image_set_id": "Bilder", "edit_id": "row"}, ignore=["what"])
        assert done.raw.rows(named=True) == [
            {"row": 3, "Bilder": "abc", "row of the file": "e2", "what": "v", "PatientName": None}
        ]

    def test_raw_can_be_read_as_a_list_again(self) -> None:
        done = read_text(f"row,problem,image_set_id,PatientName\n7,p,abc,x\n8,q,{A},y\n")
        again = read_text(done.raw.write_csv())
        assert problems(done) == problems(again) == [(2, "image_set_id", "image-set-id")]
        assert again.raw.columns == ["row", "problem", "image_set_id", "PatientName"]
