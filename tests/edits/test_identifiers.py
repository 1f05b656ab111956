"""Identifiers and names are guarded by their text: what a program or a spreadsheet writes in their place is refused."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkedit.edits.identifiers import LOOKS, Guard, looks_wrong, may_look_wrong
from bulkedit.edits.problems import ADVICE
from tests.edits.lists import INSTANCE, SERIES, A, Row, edits, problems, read_rows, texts_of
from tests.examples import examples

NBSP = "\N{NO-BREAK SPACE}"
DAMAGED, PLACEHOLDER, ERROR, PRINTED, HIDDEN = (
    *("damaged-identifier", "placeholder", "cell-error", "printed-object", "hidden-character"),
)

PLACE = {"series_uid": SERIES, "instance_uid": INSTANCE}

# texts of an identifier, and the code of the problem
WRONG: list[tuple[str, str]] = [
    *((text, DAMAGED) for text in ("700123.0", "7.00", "4711,0", "700123.", "-7.0", "12,5", "ACC700123.0")),
    *((text, DAMAGED) for text in ("1,234,567", "1.234.567", "1 234 567", f"1{NBSP}234", "1'234'567", "12,34,567")),
    *((text, DAMAGED) for text in ("1,234,567.00", "1.234.567,00", "\u202f1\u202f234".strip("\u202f"))),
    *((text, DAMAGED) for text in ("1.2E+10", "1,23457E+11", "7.00123e+05", "1E-05", "1.2E10")),
    *((text, DAMAGED) for text in ("2024-03-11 00:00:00", "2024-03-11", "2024-03-11T00:00:00.000Z", "3/11/2024")),
    *((text, DAMAGED) for text in ("11.03.2024", "1-Mar", "Mar-24", "14:25:00", "12%", "true", "FALSE", "WAHR")),
    *(
        (text, DAMAGED)
        for text in ("'0012345", "\N{RIGHT SINGLE QUOTATION MARK}12", "`12", '="00123"', "=A1", '"00123"')
    ),
    *((text, PLACEHOLDER) for text in ("nan", "NaN", "-nan", "NaT", "<NA>", "None", "NONE", "NULL", "null", "(null)")),
    *(
        (text, PLACEHOLDER)
        for text in ("N/A", "n/a", "NA", "nil", "undefined", "\\N", "inf", "1.#QNAN", " nan ", "<null>")
    ),
    *((text, PLACEHOLDER) for text in ("ACC-nan", "None_7", "MRN None", "nan^nan", "A-null-B")),
    *(
        (text, ERROR)
        for text in ("#N/A", "#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#NULL!", "#NUM!", "#SPILL!", "#CALC!")
    ),
    *((text, ERROR) for text in ("ACC-#N/A", "#REF!-2024", "-2146826246")),
    *((text, PLACEHOLDER) for text in ("np.nan", "pd.NA", "None None")),
    *((text, DAMAGED) for text in ("$42", "42.00 €", "1 day, 0:00:00", "0 days 00:00:42", "VERDADERO")),
    *((text, DAMAGED) for text in ("24-Mrz", "1-oct", "Mai 24", "01. Okt", "1-févr", "ene-24")),
    *((text, PRINTED) for text in ("0042<br>", "<span>0042</span>7")),
    *(
        (text, HIDDEN)
        for text in ("\N{MINUS SIGN}42", "A\N{EN DASH}42", "\N{SUPERSCRIPT TWO}42", "42\N{VARIATION SELECTOR-16}")
    ),
    *(
        (text, ERROR)
        for text in ("#NV", "#BEZUG!", "#WERT!", "#ZAHL!", "#VALEUR!", "#NOM?", "#¡REF!", "#¿NOMBRE?", "#N/D")
    ),
    *((text, ERROR) for text in ("#ССЫЛКА!", "#GETTING_DATA", "#########", "Err:502", " #n/a", "#DĚLENÍ_NULOU!")),
    *((text, PRINTED) for text in ("{'Alphabetic': 'DOE^JOHN'}", '{"Alphabetic":"DOE^JOHN"}', "['x']", "('x',)")),
    *(
        (text, PRINTED)
        for text in (
            "b'0012'",
            "bytearray(b'12')",
            "np.float64(7.0)",
            "datetime.date(2024, 3, 11)",
            "System.Byte[]",
            'b"0012"',
            "[object Object]",
            "<Element at 0x7f>",
            "Decimal('7')",
        )
    ),
    *(
        (text, HIDDEN)
        for text in (f"12{NBSP}", f"{NBSP}12A", "12\N{ZERO WIDTH SPACE}3", "\N{RIGHT-TO-LEFT OVERRIDE}12")
    ),
    *(
        (text, HIDDEN)
        for text in (
            "12\N{SOFT HYPHEN}3",
            "12\ufeff",
            "12\ufffd",
            "\N{FULLWIDTH DIGIT ONE}2",
            "٤٥",
            "12\x7f",
        )
    ),
]
RIGHT = (
    *("X123", "0000042", "42", "ACC-2024-0017", "12E3", "2024.001", "123-45-6789", "AB/12/3", "A'B", "A.B", "-5", "+5"),
    *("943 476 5919", "NAN0123", "Nancy", "ENANTIO-1", "NULLA", "MRN 5", "1.2", "é12", "null7", "#12", "A:1", "12 34"),
    *("20240311", "7-3", "INF-1", "True^1", "a@b", "12.50", "Ann\N{COMBINING ACUTE ACCENT}1"),
)


def test_identifiers_that_a_program_has_made_are_refused_in_their_own_words() -> None:
    done = read_rows(*({"image_set_id": A, "PatientID": text} for text, _ in WRONG), format="jsonl")
    expected = [(row, "PatientID", code) for row, (_, code) in enumerate(WRONG, 1)]
    assert problems(done) == expected
    assert edits(done, "row") == []
    assert not any(None in problem for problem in done.set_aside.rows())
    told = texts_of(done)
    assert [text for text, _ in WRONG if len(text) > 8 and json.dumps(text)[1:-1] in told] == []
    selected = read_rows(*({"patient_id": text, "StudyDate": "20240311"} for text, _ in WRONG), format="jsonl")
    assert problems(selected) == [(row, "patient_id", code) for row, _, code in expected]


def test_control_characters_are_refused_by_the_form_of_a_value_and_in_selectors_as_hidden() -> None:
    assert problems(read_rows({"image_set_id": A, "PatientID": "1\t2"})) == [(2, "PatientID", "value-form")]
    assert problems(read_rows({"patient_id": "1\t2", "StudyDate": "20240311"})) == [(2, "patient_id", HIDDEN)]


def test_identifiers_that_people_use_are_planned() -> None:
    done = read_rows(*({"patient_id": text, "AccessionNumber": text} for text in RIGHT), format="jsonl")
    assert problems(done) == []
    assert edits(done, "key") == list(RIGHT)


NAMES_WRONG = (
    *(
        "#NAME?",
        "nan",
        "None",
        "NULL",
        "nan^nan",
        "DOE^nan",
        "None^JOHN",
        "DOE^#N/A",
        "DOE, nan",
        "None None",
        "NULL, NULL",
        "DOE<br>^A",
        "pd.NaT",
        "{'Alphabetic': 'DOE'}",
        '{"Alphabetic":"x"}',
    ),
    *("['DOE']", "b'DOE'", f"DOE{NBSP}", "DOE\N{ZERO WIDTH SPACE}", "TRUE", '="DOE"'),
)
NAMES_RIGHT = (
    *(
        "'t Hooft^Gerard",
        "SMITH(baby)^A",
        "NA^HYESUK",
        "Null^Christopher",
        "None Rossi^Anna",
        "O'Brien^Ann",
        "Nan",
        "Doe^7.0",
        "1,234",
        "DOE^J=山田^太郎",
    ),
    *("نیک\N{ZERO WIDTH NON-JOINER}نام", "0012345", "2024-03-11"),
)


def test_a_name_may_be_a_number_and_no_placeholder() -> None:
    wrong = read_rows(*({"image_set_id": A, "PatientName": text} for text in NAMES_WRONG), format="jsonl")
    assert sorted(set(wrong.set_aside["row"])) == list(range(1, len(NAMES_WRONG) + 1))
    right = read_rows(*({"image_set_id": A, "PatientName": text} for text in NAMES_RIGHT), format="jsonl")
    assert problems(right) == []


@pytest.mark.parametrize(
    ("attribute", "text", "code"),
    [
        ("StudyDescription", "#N/A", ERROR),
        ("StudyDescription", "nan", PLACEHOLDER),
        ("StudyDescription", "b'CHEST'", PRINTED),
        ("StudyDescription", "None", None),
        ("StudyDescription", "12.0", None),
        ("StudyDescription", "{A}", None),
        ("StudyDate", "#REF!", ERROR),
        ("OtherPatientIDs", "A\\700123.0", DAMAGED),
        ("OtherPatientIDs", '["A","B"]', None),
        ("OtherPatientIDs", "A\\B", None),
        ("OtherPatientIDs", '[700123.0,"A"]', "value-json"),  # a number has no leading zeros
        ("StudyInstanceUID", "1.2E+10", DAMAGED),
        ("StudyInstanceUID", "1.2.234", None),
    ],
)
def test_other_attributes_are_guarded_as_what_they_are_even_with_force(
    attribute: str, text: str, code: str | None
) -> None:
    done = read_rows({"image_set_id": A, "attribute": attribute, "value": text, "force": "1", **PLACE})
    assert problems(done) == ([(2, "value", code)] if code else [])


def test_a_row_that_is_unchecked_may_have_what_looks_wrong() -> None:
    rows: list[Row] = [
        {"patient_id": "12.0", "PatientID": "#N/A", "PatientName": "nan", "unchecked": unchecked}
        for unchecked in ("true", "PatientID", None)
    ]
    done = read_rows(*rows)
    assert problems(done) == [
        (3, "PatientName", PLACEHOLDER),
        (4, "patient_id", DAMAGED),
        (4, "PatientID", ERROR),
        (4, "PatientName", PLACEHOLDER),
    ]
    assert edits(done, "row", "value", "unchecked") == [(2, '"#N/A"', True), (2, '"nan"', True)]
    row = {"image_set_id": A, "attribute": "PatientID", "value_json": '"12.0"', "unchecked": "true"}
    assert edits(read_rows(row), "value", "unchecked") == [('"12.0"', True)]


def test_a_stored_value_is_removed_whatever_it_looks_like() -> None:
    done = read_rows({"image_set_id": A, "action": "remove", "attribute": "PatientID", "value": "#N/A"})
    assert edits(done, "value") == ['"#N/A"']


@pytest.mark.parametrize("text", ["#N/A", "700123.0", "'0012", '="00123"'])
def test_values_in_json_are_guarded_alike(text: str) -> None:
    tidy: Row = {"image_set_id": A, "attribute": "PatientID", "value_json": json.dumps(text)}
    several = tidy | {"attribute": "OtherPatientIDs", "value_json": json.dumps(["A", text]), "force": "1"} | PLACE
    update = {"SchemaVersion": 1.1, "Patient": {"DICOM": {"PatientID": text}}}
    call = {"image_set_id": A, "updates": json.dumps({"DICOMUpdates": {"updatableAttributes": json.dumps(update)}})}
    codes = [[code for _, _, code in problems(read_rows(row))] for row in (tidy, several, call)]
    assert codes == [[ERROR if text == "#N/A" else DAMAGED]] * 3


@pytest.mark.parametrize("column", ["value", "value_json"])
@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({"PatientID": "nan"}, PLACEHOLDER),
        ({"PatientID": "700123.0"}, DAMAGED),
        ({"PatientID": "0042", "IssuerOfPatientID": "X"}, None),
        ({"IssuerOfPatientIDQualifiersSequence": [{"UniversalEntityID": "#N/A"}]}, ERROR),
    ],
)
def test_identifiers_in_sequences_are_guarded(column: str, item: dict[str, Any], code: str | None) -> None:
    row: Row = {"image_set_id": A, "attribute": "OtherPatientIDsSequence", column: json.dumps([item]), "force": "1"}
    assert problems(read_rows(row | PLACE)) == ([(2, "value", code)] if code else [])
    assert problems(read_rows(row | PLACE | {"unchecked": "true"})) == []


def test_the_uids_of_a_row_are_guarded_by_their_form() -> None:
    place: Row = {"image_set_id": A, "attribute": "ImageComments", "value": "x"}
    assert problems(read_rows(place | {"series_uid": SERIES, "instance_uid": INSTANCE})) == []
    done = read_rows(place | {"series_uid": "#REF!", "instance_uid": "1.2,x"})
    assert problems(done) == [(2, "instance_uid", "uid"), (2, "series_uid", ERROR)]
    assert problems(read_rows({"image_set_id": "nan", "StudyDate": ""})) == [(2, "image_set_id", PLACEHOLDER)]


PIECES = st.sampled_from(
    [*"-+., _^'#/!?={}1Ax%\\:\t\"eE", "nan", "None", "null", "NA", "inf", "true", "Mar", "23", "2024", "03"]
)


@examples(10)
@given(st.lists(st.lists(PIECES, max_size=7).map("".join), max_size=40))
def test_the_cheap_test_leaves_out_nothing_that_looks_wrong(texts: list[str]) -> None:
    text = pl.col("text")
    wrong = {guard.name: looks_wrong(text, guard) for guard in Guard}
    found = pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)}).select(text, may=may_look_wrong(text), **wrong)
    assert found.filter(~pl.col("may"), pl.any_horizontal(*wrong)).rows() == []
    # a guard refuses all that a lower one refuses; a UID has fewer forms than an identifier
    assert found.filter(pl.col("NAME") & ~pl.col("IDENTIFIER")).rows() == []
    assert found.filter(pl.col("TEXT") & ~pl.col("NAME")).rows() == []


def test_each_look_has_a_code_and_says_what_to_do() -> None:
    assert {look.code for look in LOOKS} <= ADVICE.keys()
    assert all(look.what.endswith(".") and look.likely.endswith(".") and look.hint.endswith(".") for look in LOOKS)
