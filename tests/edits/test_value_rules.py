"""Values are as PS3.5 has them, in every format and form alike; what is only odd is planned with a notice."""

from __future__ import annotations

import calendar
import json
from typing import Any

import polars as pl
import pytest

from bulkedit.dicom import dictionary as dicom
from bulkedit.dicom.encodings import disguise_of, noticed_in, refused_in
from bulkedit.dicom.faults import LONG, RULES, fault_of
from bulkedit.dicom.terms import _terms, terms_of
from bulkedit.edits.attributes import Spec
from bulkedit.edits.values import typed
from tests.edits.lists import FORMATS, INSTANCE, SERIES, A, edits, problems, read_rows, texts_of

PLACE: dict[str, str | None] = {"image_set_id": A, "series_uid": SERIES, "instance_uid": INSTANCE, "force": "true"}

CASES = [  # attribute, value, code of the problem, or of the notice, or "" if it is planned without a word
    ("StudyDate", "20190229", "value-form"),
    ("PatientBirthDate", "19000229", "value-form"),
    ("StudyDate", "20190431", "value-form"),
    ("StudyDate", "00000101", "value-form"),
    ("StudyDate", "20040229", ""),
    ("StudyDate", "20000229", ""),
    ("AcquisitionDateTime", "20190229120000", "value-form"),
    ("AcquisitionDateTime", "20190228120000+1500", "value-form"),
    ("AcquisitionDateTime", "20190228120000-0000", "value-form"),
    ("AcquisitionDateTime", "20190228120000-0330", ""),
    ("StudyTime", "246000", "value-form"),
    ("StudyInstanceUID", "1.2.840.01", "value-form"),
    ("StudyInstanceUID", "1.2.840..5", "value-form"),
    ("StudyInstanceUID", "not a uid", "value-form"),
    ("StudyInstanceUID", "42", "value-form"),
    ("StudyInstanceUID", "3.1", "value-form"),
    ("StudyInstanceUID", "1.40", "value-form"),
    ("StudyInstanceUID", None, "value-empty"),
    ("FrameOfReferenceUID", None, "value-empty"),
    ("StudyInstanceUID", "1.2." + "3" * 61, LONG.code),
    ("IrradiationEventUID", None, ""),
    ("PixelSpacing", "0,5\\0,5", "value-form"),
    ("WindowCenter", "40,5", "value-form"),
    ("ImagePositionPatient", "1\\2", "value-count"),
    ("ImagePositionPatient", "1\\\\3", "value-form"),
    ("InstanceNumber", "999999999999", "value-range"),
    ("InstanceNumber", "-2147483649", "value-range"),
    ("InstanceNumber", "-2147483648", ""),
    ("LocalizingCursorPosition", "1e39\\0", "value-range"),
    ("ReferringPhysicianName", "A" * 100 + "^B", "value-length"),
    ("ReferringPhysicianName", "A" * 64 + "=" + "B" * 64 + "=" + "C" * 64, ""),
    ("ReferringPhysicianName", "A=B=C=D", "value-form"),
    ("PatientName", "A" * 65, "value-length"),
    ("AccessionNumber", "ACC-2024-000000000000017", LONG.code),
    ("PatientID", "P" * 65, LONG.code),
    ("PatientID", "P" * 64, ""),
    ("StudyDescription", "MÃ¼ller", "value-encoding"),
    ("PatientName", "Yamada^Tarou=\x1b$B;3ED\x1b(B", "value-encoding"),
    ("PatientComments", "\x1b(B", "value-encoding"),
    ("PatientComments", "A &amp; B", "encoded-value"),
    ("StudyDescription", "A &amp; B", "value-encoding"),
    ("StudyDescription", "A & B +C 50% ~5 $7", ""),
    ("StudyDescription", "CT+AOQ-x", "encoded-value"),
    ("OtherPatientNames", "MÃ¼ller\\B", "value-encoding"),
    ("PatientSex", "MALE", "unlisted-term"),
    ("PatientSex", "F ", ""),
    ("Modality", "MRI", "unlisted-term"),
    ("ScanningSequence", "SE\\XX", "unlisted-term"),
    ("PixelRepresentation", "2", "unlisted-term"),
]


def ids(case: Any) -> str:
    return str(case)[:40].encode("unicode_escape").decode()


@pytest.mark.parametrize(("attribute", "value", "code"), CASES, ids=ids)
def test_a_value_has_one_meaning_in_cells_and_in_json(attribute: str, value: str | None, code: str) -> None:
    known = dicom.attribute(attribute)
    assert known is not None
    numbers = {"US": int, "FL": float}.get(known.vr, str)
    parts = [] if value is None else [numbers(part) for part in value.split("\\")]
    as_json: Any = (parts if known.multi else parts[0]) if parts else None
    rows = [{"value": value}, {"value": None, "value_json": json.dumps(as_json)}]
    for row in rows[: 1 if value is None else 2]:
        done = read_rows(PLACE | {"action": "set", "attribute": attribute} | row)
        found = [what for _, _, what in problems(done)] or done.notices["code"].to_list()
        exact = code if "value_json" not in row or not code.startswith("value-") else found[0]
        assert found == ([exact] if code else [])
        assert value is None or len(value) < 3 or value not in texts_of(done) + json.dumps(done.notices.to_dicts())


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_says_the_same_of_a_value(format_: str) -> None:
    kept = [case for case in CASES if case[1] is not None and "\x1b" not in case[1]]  # XML has no control characters
    rows = [PLACE | {"attribute": attribute, "value": value} for attribute, value, _ in kept]
    done = read_rows(*rows, format=format_)
    first = 1 if format_ in {"parquet", "jsonl", "jsonl.gz"} else 2
    said = {row: code for row, _, code in problems(done)}
    expected = {n: code for n, (_, _, code) in enumerate(kept, first) if code.startswith("value-")}
    assert said == expected
    counted = {
        code: len([1 for case in kept if case[2] == code]) for code in (LONG.code, "unlisted-term", "encoded-value")
    }
    assert dict(done.notices.group_by("code").agg(pl.col("rows").sum()).iter_rows()) == counted


def test_days_are_those_of_the_calendar() -> None:
    years = (1, 1896, 1900, 1999, 2000, 2024, 2100, 2400, 9999)
    days = [f"{y:04}{m:02}{d:02}" for y in (0, *years) for m in range(14) for d in range(33)]
    column = pl.DataFrame({"i": range(len(days)), "value": days}, schema_overrides={"i": pl.UInt32})
    faulty = {i for fault in typed(column, Spec("DA")).faults for i in fault["i"]}
    real = {
        f"{y:04}{m:02}{d:02}" for y in years for m in range(1, 13) for d in range(1, calendar.monthrange(y, m)[1] + 1)
    }
    assert {day for i, day in enumerate(days) if i not in faulty} == real


@pytest.mark.parametrize(
    ("vr", "value", "stored"),
    [
        ("US", "4\\5", [4, 5]),
        ("US", "[4, 5]", [4, 5]),
        ("US", "4", 4),
        ("FD", "0.5\\1e3", [0.5, 1000.0]),
        ("DS", "0.5\\1", "0.5\\1"),
        ("LO", "A\\B", "A\\B"),
        ("LT", "A\\B", "A\\B"),
        ("US", "4\\x", "value-form"),
        ("US", "4\\70000", "value-range"),
        ("US", "4,5", "value-form"),
        ("DS", "0,5", "value-form"),
        ("DA", "20190229", "value-form"),
        ("SH", "A\\" + "B" * 17, "value-length"),
        ("LO", "\x1b(B", "value-encoding"),
        ("OB", "no base64", "value-form"),
        (None, "any\\thing", "any\\thing"),
        (None, "\x1b(B", "value-encoding"),
    ],
    ids=ids,
)
def test_a_private_element_is_typed_by_its_vr(vr: str | None, value: str, stored: Any) -> None:
    done = read_rows(PLACE | {"attribute": "00091001", "vr": vr, "value": value})
    assert ([json.loads(text) for text in edits(done, "value")] or [problems(done)[0][2]]) == [stored]


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ({"CodeValue": "T-04000"}, None),
        ({"00091001": "x", "00090010": "ACME"}, None),
        ({"00091001": 7, "00090010": "ACME"}, None),
        ({"60003000": "AAAA"}, None),
        ({"00091001": "x"}, "without its private creator"),
        ({"00091101": "x", "00090010": "ACME"}, "without its private creator"),
        ({"00091001": "x", "00090010": " "}, "without its private creator"),
        ({"00090100": "x"}, "without its private creator"),
        ({"00081001": "x"}, "dictionary"),
        ({"CodeValu": "x"}, "neither a DICOM keyword"),
        ({"00080100": "x"}, "whose key is its keyword"),
        ({"00080000": 7}, "group length"),
        ({"TransferSyntaxUID": "1.2"}, "file meta information"),
        ({"ReferencedSOPInstanceUID": "1.02"}, "UI"),
        ({"PurposeOfReferenceCodeSequence": [{"00091001": "x"}]}, "without its private creator"),
        ({"PurposeOfReferenceCodeSequence": [{"CodeMeaning": "MÃ¼ller"}]}, "read in another encoding"),
        ({"ContentDate": "20190229"}, "no calendar"),
        ({"00090010": "ACME", "00091001": [{"CodeValu": 1}]}, "neither a DICOM keyword"),
        ({"00090010": "ACME", "00091001": "\x1b(B"}, "ISO 2022"),
        ({"00090010": "ACME", "00091001": {}}, "an object"),
    ],
    ids=ids,
)
def test_keys_in_sequences_are_known_and_each_value_is_of_its_vr(item: Any, why: str | None) -> None:
    sequence = dicom.attribute("ReferencedImageSequence")
    assert sequence is not None
    found = fault_of(sequence, [item])
    assert (found is None) if why is None else (found is not None and why in found.text)


@pytest.mark.parametrize(
    ("text", "refused", "noticed"),
    [
        *(
            (text, False, False)
            for text in ("Müller", "Łódź", "山田", "«RENÉ»", "50 °C", "Mª José", "R&D;", "B=C", "5+A-")
        ),
        *((text, False, False) for text in ("CHEST+ABDOMEN-PELVIS", "100%", "COST $B12", "~5")),
        *((text, True, None) for text in ("MÃ¼ller", "Ã–sterreich", "å±±ç”°", "Ð˜Ð²Ð°Ð½", "a\x85", "x\ufffd", "a\x7f")),  # noqa: RUF001
        *((text, True, None) for text in ("A&amp;B", "&#233;", "M=C3=BC", "=?utf-8?Q?x?=", "%C3%A9", "~{<:Ky~}")),
        ("$B;3ED(B^$BB@O:(B", True, None),
        *((text, False, True) for text in ("Weiß’", "CAFÉ–BAR", "Å‚", "M=FCller", "AOQ+AOQ-")),  # noqa: RUF001
    ],
    ids=ids,
)
def test_text_in_another_encoding_is_told_from_text(text: str, refused: bool, noticed: bool | None) -> None:
    assert (disguise_of(text, refused_in("LO")) is not None) == refused
    assert noticed is None or (disguise_of(text, noticed_in("LO")) is not None) == noticed
    column = pl.DataFrame({"i": [0], "value": [text]}, schema_overrides={"i": pl.UInt32})
    done = typed(column, Spec("LO", "1", 64))
    assert [fault["code"].item() for fault in done.faults] == ["value-encoding"] * refused
    assert noticed is None or bool(done.oddities) == noticed


def test_each_listed_term_fits_its_vr() -> None:
    for keyword, terms in _terms().items():
        known = dicom.attribute(keyword)
        assert known is not None
        for term in terms.values:
            value: Any = int(term) if RULES[known.vr].kind is dicom.ValueKind.INTEGER else term
            assert fault_of(known, [value] if known.multi else value) is None
    assert terms_of("StudyDescription") is None


def test_a_notice_names_attribute_terms_and_first_row() -> None:
    row = {"image_set_id": A, "attribute": "PatientSex"}
    done = read_rows(
        *(row | {"image_set_id": f"{n:032}", "value": sex} for n, sex in enumerate(("M", "male", "W", "MX")))
    )
    assert done.notices.select("column", "rows", "first").rows() == [("PatientSex", 2, 4)]
    assert "M, F, O" in done.notices["text"].item()
    assert problems(done) == [(3, "value", "value-form")]


def test_rows_that_are_set_aside_make_no_notice() -> None:
    odd = {"image_set_id": A, "attribute": "PatientSex", "value": "W"}
    assert read_rows(odd | {"version": "x"}, odd).notices["rows"].to_list() == [1]
    assert read_rows({"image_set_id": A, "PatientSex": "W", "StudyDate": "x"}).notices.is_empty()


def test_values_that_are_not_checked_make_no_notice() -> None:
    row = PLACE | {"attribute": "AccessionNumber", "value": "A" * 20}
    assert read_rows(row | {"action": "remove"}).notices.is_empty()
    assert read_rows(row | {"value": "A\x1b" * 20, "unchecked": "true"}).notices.is_empty()


@pytest.mark.parametrize(
    ("vr", "value", "code"),
    [
        ("US", [4, 5], None),
        ("US", 4, None),
        ("US", "4\\5", "value-form"),
        ("US", 70000, "value-form"),
        ("DS", "0.5\\1", None),
        ("DS", "0,5", "value-form"),
        (None, "\x1b(B", "value-encoding"),
        (None, [{"CodeValu": "x"}], "value-form"),
    ],
    ids=ids,
)
def test_a_private_element_in_json_is_checked_by_its_vr(vr: str | None, value: Any, code: str | None) -> None:
    exact = read_rows(PLACE | {"action": "set", "attribute": "00091001", "vr": vr, "value_json": json.dumps(value)})
    inside = {"DICOM": {"00091001": value}} | ({"DICOMVRs": {"00091001": vr}} if vr else {})
    study = {"Series": {SERIES: {"Instances": {INSTANCE: inside}}}}
    call = {"DICOMUpdates": {"updatableAttributes": {"SchemaVersion": 1.1, "Study": study}}}
    called = read_rows({"image_set_id": A, "force": "true", "updates": json.dumps(call)})
    assert [[what for _, _, what in problems(done)] for done in (exact, called)] == [[code] if code else []] * 2


@pytest.mark.parametrize("attribute", ["00080000", "00090000", "00090001", "00090100", "FFFF0010", "00011001"])
def test_an_element_that_no_data_set_has_is_refused(attribute: str) -> None:
    done = read_rows(PLACE | {"attribute": attribute, "value": "x", "unchecked": "true"})
    assert (problems(done), edits(done, "row")) == ([(2, "attribute", "never-editable")], [])
    removed = read_rows(PLACE | {"action": "remove", "attribute": attribute, "value": "x"})
    assert len(problems(removed)) == (attribute == "00080000")
