"""A cell means what it shows, if its number format says that without doubt; else its row is refused."""

from __future__ import annotations

from typing import Any

import pytest

from bulkedit.edits.excel.number_formats import CellKind, format_of
from tests.edits.excel.books import SHEET, Page, Styled, book, changed, of_cells, read_book, values, with_xml
from tests.edits.lists import A, B, Formula, workbook

SHOWN = [
    *((code, 42, "42") for code in ("General", "0", "@", "0;-0;0;@")),
    ("0000000", 42, "0000042"),
    ("0000000", 123456789, "123456789"),
    ('"ACC"00000', 7, "ACC00007"),
    ('"ACC"00000" X"', 7, "ACC00007 X"),
    (r"\M\R\N-0000", 42, "MRN-0042"),
    ("000-00-0000", 1234567, "001-23-4567"),
    ("000-00-0000", 12345678901, "12345-67-8901"),
    (r"00\ 000", 1, "00 001"),
    ("[Red]000", 5, "005"),
    ("#,##0", 999, "999"),
    ("0.00", 12.5, "12.50"),
    ("0.00", 12, "12.00"),
    ("#0", 7, "7"),
    ("[$-409]0000000_)", 42, "0000042"),  # a language, and a blank as wide as a sign
]
DOUBTFUL = [
    ("#,##0", 1000),  # 1,000 or 1.000, as the computer is set
    ("0,000", 42),
    ("0", 12.5),
    ("0.0", 12.25),
    ("0,", 5000),
    ("#", 0),
    ("0;-0;", 0),
    ('0000;-0000;"none"', 0),
    ("0000;-0000;00", 0),
    ("$0000", 42),
    ('"€"0', 42),
    ("0;0;0;;", -5),
    ("0000", -5),
    ('[<100]"few";0', 5),
    ("[>100]0;00", 5),
    (";;;", 5),
    ('"yes"', 5),
    ("??0", 5),
    ("# ?/?", 0.5),
    ("0.00E+00", 5),
    ("[$€-407] 0", 5),
    ("_(* #,##0_)", 5),
    ("[DBNum1]0", 5),
    ("0 x", 5),
    ("###-00", 5),
    ('General" mg"', 5),
    (".00", 0.5),
    (",00", 5),
]


@pytest.mark.parametrize("attribute", ["AccessionNumber", "StudyDescription"])
def test_digits_are_shown_as_the_number_format_says(attribute: str) -> None:
    cells = [(attribute, Styled(number, code)) for code, number, _ in SHOWN]
    damaged = {"00 001", "12.00"} if attribute == "AccessionNumber" else ()  # in any format
    assert of_cells(*cells) == ["damaged-identifier" if text in damaged else text for *_, text in SHOWN]


@pytest.mark.parametrize("attribute", ["AccessionNumber", "StudyDescription"])
def test_a_number_format_that_leaves_a_doubt_refuses_the_row(attribute: str) -> None:
    found = of_cells(*((attribute, Styled(number, code)) for code, number in DOUBTFUL))
    assert dict(zip(DOUBTFUL, found, strict=True)) == dict.fromkeys(DOUBTFUL, "cell-format")


def test_an_attribute_of_numbers_takes_the_number_itself() -> None:
    codes = ["0000000", "#,##0", "0.0", "0.00E+00", "# ?/?", "_(* #,##0_);_(* (#,##0)", '0" kg"']
    assert of_cells(*(("PatientWeight", Styled(1234.5, code)) for code in codes)) == ["1234.5"] * len(codes)


def test_an_attribute_of_numbers_refuses_what_does_not_show_the_number() -> None:
    cells = [Styled(0.5, "0%"), Styled(5, ";;;"), Styled(0, "0;-0;"), Styled(-5, "0;0"), Styled(5000, "0,")]
    cells += [Styled(5000, "0,.0"), Styled(5000, "#,##0.0,"), Styled(0, '0;-0;"none"')]
    assert of_cells(*(("PatientWeight", cell) for cell in cells)) == ["cell-type", *["cell-format"] * 7]


def test_the_dash_of_accounting_is_zero_in_an_attribute_of_numbers() -> None:
    cell = Styled(0, '_(* #,##0_);_(* (#,##0);_(* "-"_);_(@_)')
    assert of_cells(("PatientWeight", cell), ("StudyDescription", cell)) == ["0", "cell-format"]


def test_a_date_cell_is_a_date_of_dicom() -> None:
    codes = ["yyyy-mm-dd", "yyyymmdd", "dd/mm/yyyy", "[$-409]d mmmm yyyy;@", "[$-F800]dddd, mmmm dd, yyyy", "m/d/yyyy"]
    assert of_cells(*(("StudyDate", Styled(45362, code)) for code in codes)) == ["20240311"] * len(codes)


def test_a_time_cell_is_a_time_of_dicom() -> None:
    codes = ["hhmmss", "h:mm:ss", "[$-409]h:mm:ss AM/PM;@"]
    assert of_cells(*(("StudyTime", Styled(0.60087, code)) for code in codes)) == ["142515"] * len(codes)


EXACT = [
    ("StudyTime", "hhmmss", 51915.6 / 86400, "142516"),  # as a spreadsheet rounds it
    ("StudyTime", "hh:mm:ss.000", 51915.168 / 86400, "142515.168"),
    ("StudyTime", "hh:mm", 51900 / 86400, "142500"),
    ("StudyTime", "hh:mm", 51915 / 86400, "1425"),
    ("StudyTime", "hh:mm", 45362 + 51900 / 86400, "142500"),  # shows the time only
    ("StudyTime", "hhmmss", 0, "000000"),
    ("StudyDate", "yyyymmdd", 45362.6, "20240311"),  # shows the date only
    ("StudyDate", "yyyy-mm-dd hh:mm:ss", 45362, "20240311"),
    ("AcquisitionDateTime", "yyyy-mm-dd hh:mm:ss", 45362 + 51915 / 86400, "20240311142515"),
    ("AcquisitionDateTime", "yyyy-mm-dd hh:mm:ss", 45362 + 86399.7 / 86400, "20240312000000"),
    ("AcquisitionDateTime", "yyyy-mm-dd", 45362, "20240311"),
    ("StudyDate", "yyyymmdd", 61, "19000301"),
    ("StudyDate", "yyyymmdd", 2958465, "99991231"),
    ("StudyDate", "General", 20240311, "20240311"),
    ("StudyDate", "0", 20240311, "20240311"),
    ("StudyTime", "000000", 93015, "093015"),
    ("StudyTime", "General", 142515, "142515"),
]
IN_DOUBT = [
    ("StudyDate", "yyyymmdd", 60),  # 1900-02-29, which no calendar has
    ("StudyDate", "yyyymmdd", 1),  # programs differ before it
    ("StudyDate", "yyyymmdd", -5),
    ("StudyDate", "yyyymmdd", 2958466),
    ("StudyDate", "d-mmm", 45362),  # shows no year
    ("StudyDate", "mmm yyyy", 45362),
    ("StudyDate", "dd.mm.yy", 45362),  # 1924 looks the same
    ("StudyDate", "dddd mm yyyy", 45362),
    ("StudyTime", "mm:ss", 0.6),
    ("StudyTime", "hh", 0.6),
    ("StudyTime", "hh:mm:ss", -0.5),
    ("StudyTime", "hh:mm:ss", 86399.7 / 86400),  # rounded to midnight
    ("StudyTime", "General", 1020),  # 001020, or 1020
]
OTHER_TYPES = [
    ("PatientID", "yyyy-mm-dd", "is a date cell"),
    ("StudyDescription", "yyyy-mm-dd", "is a date cell"),
    ("PatientName", "d-mmm", "is a date cell"),
    ("StudyTime", "yyyy-mm-dd", "is a date cell"),
    ("InstanceNumber", "yyyy-mm-dd", "is a date cell"),
    ("StudyDescription", "hh:mm", "is a time cell"),
    ("StudyDate", "hh:mm", "is a time cell"),
    ("StudyDescription", "m/d/yyyy h:mm", "is a cell of date and time"),
    ("StudyTime", "m/d/yyyy h:mm", "is a cell of date and time"),
    ("StudyDate", "m/d/yyyy h:mm", "is a cell of date and time"),
    ("StudyTime", "[h]:mm:ss", "is a duration cell"),
    ("StudyDescription", "[mm]:ss", "is a duration cell"),
    ("StudyDescription", "0.0%", "is a percentage cell"),
]


def test_dates_and_times_are_as_exact_as_the_cell_shows_them() -> None:
    found = of_cells(*((attribute, Styled(number, code)) for attribute, code, number, _ in EXACT))
    assert found == [text for *_, text in EXACT]


def test_a_workbook_may_count_its_days_from_1904() -> None:
    cells = [("StudyDate", Styled(number, "yyyymmdd")) for number in (45362 - 1462, 1, -1, 0)]
    assert of_cells(*cells, starts_in_1904=True) == ["20240311", "19040102", "cell-date", "cell-date"]


def test_a_date_or_time_in_doubt_is_refused() -> None:
    found = of_cells(*((attribute, Styled(number, code)) for attribute, code, number in IN_DOUBT))
    assert dict(zip(IN_DOUBT, found, strict=True)) == dict.fromkeys(IN_DOUBT, "cell-date")


def test_a_cell_of_another_type_is_refused_with_its_type() -> None:
    head = ["image_set_id", "series_uid", "instance_uid", "attribute", "value"]
    rows = [[A, None, None, attribute, Styled(45362.5, code)] for attribute, code, _ in OTHER_TYPES]
    bad = read_book(book(Page([head, *rows])), force=True).set_aside.filter(code="cell-type")
    assert bad["row"].to_list() == [*range(2, 2 + len(OTHER_TYPES))]
    for problem, (*_, what) in zip(bad["problem"], OTHER_TYPES, strict=True):
        assert what in problem
    assert all("as text" in hint for hint in bad["hint"])


def test_a_truth_value_is_one_in_columns_of_truth_values_only() -> None:
    assert of_cells(("StudyDescription", True)) == ["cell-type"]
    cells = [["image_set_id", "PatientID", "force"], [A, "x", True], [B, "y", Styled(1, "0")]]
    assert read_book(book(Page(cells))).edits["force"].to_list() == [True, True]


def test_in_the_tidy_form_a_cell_is_read_by_the_attribute_and_vr_of_its_row() -> None:
    date, number = Styled(45362, "yyyy-mm-dd"), Styled(42, "0000")
    rows = [
        ["image_set_id", "action", "attribute", "vr", "value", "series_uid", "instance_uid"],
        [A, None, "StudyDate", None, date],
        [A, None, "StudyDescription", None, date],
        [A, None, "PatientID", None, number],
        [A, None, "PatientWeight", None, number],
        [A, None, "00091001", "DA", date, "1.2", "1.2.3"],
        [A, None, "00091002", "LO", date, "1.2", "1.2.3"],
        [A, "revert", None, None, Styled(3, "0.0")],
        [A, None, None, None, date],
    ]
    done = read_book(book(Page(rows)), force=True)
    assert values(done) == ["20240311", "cell-type", "0042", "42", "20240311", "cell-type", "", "cell-type"]
    assert done.edits["revert_to"].to_list()[-1] == 3


def test_a_text_that_its_number_format_changes_is_refused() -> None:
    codes = ['"MRN "@', "0;0;0;", "0;0;0;_(@_)"]
    assert of_cells(*(("PatientID", Styled("42", code)) for code in codes)) == ["cell-format", "cell-format", "42"]


def test_a_number_has_at_most_fifteen_digits() -> None:
    cells = [Styled(1234567890123456, code) for code in ("General", "0", "0000")]
    for attribute in ("PatientID", "StudyDescription"):
        assert of_cells(*((attribute, cell) for cell in cells)) == ["damaged-identifier"] * 3
    assert of_cells(
        ("PatientID", Styled(999999999999999, "0")), ("PatientWeight", 0.1 + 0.2), ("PatientWeight", -0.0)
    ) == [
        "999999999999999",
        "0.3",
        "0",
    ]


BUILT_IN = {27: "cell-format", 59: "cell-format", 999: "cell-format", 14: "20240311", 15: "cell-date", 22: "20240311"}


@pytest.mark.parametrize("number", BUILT_IN)
def test_built_in_number_formats_need_no_code_and_some_depend_on_the_computer(number: int) -> None:
    data = book(Page([["image_set_id", "StudyDate"], [A, Styled(45362, "yyyymmdd")]]))
    other = changed(
        data, {"xl/styles.xml": lambda xml: xml.replace(b'xf numFmtId="164"', b'xf numFmtId="%d"' % number)}
    )
    assert values(read_book(other)) == [BUILT_IN[number]]


def test_a_workbook_without_styles_has_numbers() -> None:
    data = changed(workbook([["image_set_id", "PatientID"], [A, 42]]), {"xl/styles.xml": None})
    assert values(read_book(data)) == ["42"]


def test_a_cell_of_a_style_that_the_workbook_lacks_is_in_doubt() -> None:
    data = book(Page([["image_set_id", "PatientID"], [A, Styled(42, "00")]]))
    assert values(read_book(with_xml((b's="1"', b's="77"'), data=data))) == ["cell-format"]


ISO = [
    ("StudyDate", "2024-03-11", "20240311"),
    ("StudyDate", "2024-03-11T00:00:00.000Z", "20240311"),
    ("StudyDate", "2024-03-11T14:25:15", "cell-type"),
    ("StudyDescription", "2024-03-11", "cell-type"),
    ("StudyDate", "2024", "cell-type"),
]


def test_a_date_cell_may_be_written_as_text() -> None:
    rows = [[A, attribute, number] for number, (attribute, _, _) in enumerate(ISO, 7000)]
    data = book(Page([["image_set_id", "attribute", "value"], *rows]))
    dates = [
        (f'<c r="C{number - 6998}"><v>{number}<'.encode(), f'<c r="C{number - 6998}" t="d"><v>{text}<'.encode())
        for number, (_, text, _) in enumerate(ISO, 7000)
    ]
    done = read_book(with_xml(*dates, data=data), force=True)
    assert values(done) == [expected for *_, expected in ISO]


def test_a_result_of_zero_that_was_never_computed_is_no_result() -> None:
    """Writers put 0 for the result of a formula, and ask the spreadsheet to compute it."""
    data = workbook([["image_set_id", "PatientID"], [A, Formula("B9", 0)], [B, Formula("B9", 7)]])
    assert values(read_book(data)) == ["cell-formula", "7"]
    computed = changed(data, {"xl/workbook.xml": lambda xml: xml.replace(b' fullCalcOnLoad="1"', b"")})
    assert values(read_book(computed)) == ["0", "7"]


@pytest.mark.parametrize("code", ["[h]", "[mm]:ss", "[s].00", "[hh]:mm:ss"])
def test_elapsed_time_is_a_duration(code: str) -> None:
    assert format_of(code).kind is CellKind.DURATION


@pytest.mark.parametrize("code", ["ggge", "B2yyyy", "yyyy[$-1070000]mm", "[$-th-TH,D00]yyyy", "[>5]yyyy;0", "", "x"])
def test_other_calendars_and_unknown_codes_are_in_doubt(code: str) -> None:
    assert format_of(code).kind is CellKind.UNCLEAR


def test_no_message_has_the_content_of_a_cell() -> None:
    cells: list[list[Any]] = [["image_set_id", "PatientID"], [A, Styled(1234567, "#,##0")], [B, Styled(45362, "d-mmm")]]
    texts = str(read_book(book(Page(cells))).set_aside.rows())
    assert not any(part in texts for part in ("1234567", "1,234", "45362", "11-Mar", "#,##0", "d-mmm"))
    assert SHEET not in texts
