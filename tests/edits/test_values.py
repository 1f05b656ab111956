"""Text becomes the JSON that HealthImaging stores, by VR and VM (reference section 4)."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkedit.dicom import dictionary as dicom
from bulkedit.dicom.dictionary import ValueKind
from bulkedit.dicom.faults import as_typed, fault_of, oddities_of
from bulkedit.dicom.terms import terms_of
from bulkedit.edits.attributes import PRIVATE, Spec, _spec_of
from bulkedit.edits.values import as_strings, is_plain, quoted, typed
from tests.edits.lists import INSTANCE, SERIES, A, Row, edits, problems, read_rows, texts_of

PLACE: Row = {"image_set_id": A, "series_uid": SERIES, "instance_uid": INSTANCE}


def value_of(attribute: str, text: str, **cells: str) -> Any:
    """What one cell becomes; the code of its problem where it becomes nothing."""
    done = read_rows(PLACE | {"attribute": attribute, "value": text} | cells)
    return json.loads(edits(done, "value")[0]) if done.edits.height else problems(done)[0][2]


@pytest.mark.parametrize(
    ("attribute", "text", "stored"),
    [
        pytest.param("StationAETitle", "AE 1", "AE 1", id="AE"),
        pytest.param("PatientAge", "042Y", "042Y", id="AS"),
        pytest.param("FrameIncrementPointer", "00181063\\00181065", ["00181063", "00181065"], id="AT"),
        pytest.param("Modality", "MR", "MR", id="CS"),
        pytest.param("ImageType", "ORIGINAL\\PRIMARY", ["ORIGINAL", "PRIMARY"], id="CS-several"),
        pytest.param("ImageType", "ORIGINAL\\PRIMARY\\", ["ORIGINAL", "PRIMARY", ""], id="CS-last-empty"),
        pytest.param("StudyDate", "20240311", "20240311", id="DA"),
        pytest.param("SliceThickness", "1.50", "1.50", id="DS"),
        pytest.param("PixelSpacing", "0.5\\0.50", ["0.5", "0.50"], id="DS-two"),
        pytest.param("PixelSpacing", "[0.5, 1]", ["0.5", "1"], id="DS-array-of-numbers"),
        pytest.param("WindowCenter", "40 ", ["40 "], id="DS-one-of-many"),
        pytest.param("AcquisitionDateTime", "20240311142500.5+0100", "20240311142500.5+0100", id="DT"),
        pytest.param("LocalizingCursorPosition", "0.5\\1e-3", [0.5, 0.001], id="FL-two"),
        pytest.param("RealWorldValueSlope", "0.10", 0.1, id="FD"),
        pytest.param("RealWorldValueSlope", "+.5", 0.5, id="FD-not-as-JSON-writes"),
        pytest.param("RealWorldValueSlope", "7", 7, id="FD-whole"),
        pytest.param("SeriesNumber", "1 ", "1 ", id="IS"),
        pytest.param("PatientID", "007", "007", id="LO"),
        pytest.param("PatientComments", "a\\b\r\nc", "a\\b\r\nc", id="LT"),
        pytest.param("PatientName", "Yamada^Tarou=山田^太郎", "Yamada^Tarou=山田^太郎", id="PN"),
        pytest.param("AccessionNumber", "0042", "0042", id="SH"),
        pytest.param("TagAngleSecondAxis", "-32768", -32768, id="SS"),
        pytest.param("ReferencePixelX0", "-7", -7, id="SL"),
        pytest.param("InstitutionAddress", "1, Main St\nB", "1, Main St\nB", id="ST"),
        pytest.param("StudyTime", "142500.123", "142500.123", id="TM"),
        pytest.param("LongCodeValue", "x" * 300, "x" * 300, id="UC"),
        pytest.param("FrameOfReferenceUID", "1.2.840.0.1", "1.2.840.0.1", id="UI"),
        pytest.param("RegionFlags", "4294967295", 4294967295, id="UL"),
        pytest.param("URNCodeValue", "http://a.b/c?d=e", "http://a.b/c?d=e", id="UR"),
        pytest.param("Rows", "0512", 512, id="US"),
        pytest.param("Rows", " +512 ", 512, id="US-blanks-and-sign"),
        pytest.param("SmallestImagePixelValue", "-5", -5, id="US-or-SS"),
        pytest.param("ReferencedContentItemIdentifier", "[1, 2]", [1, 2], id="UL-array"),
        pytest.param("TextValue", "a\tb", "a\tb", id="UT"),
        pytest.param("ExtendedOffsetTable", "AAAA", "AAAA", id="OV"),
        pytest.param(
            "ProcedureCodeSequence",
            '[{"CodeValue": "T", "CodeMeaning": "é"}]',
            [{"CodeValue": "T", "CodeMeaning": "é"}],
        ),
        pytest.param("ProcedureCodeSequence", "[]", [], id="SQ-empty"),
    ],
)
def test_a_value_is_stored_as_its_vr_asks(attribute: str, text: str, stored: Any) -> None:
    forced = dicom.force_reason(dicom.attribute(attribute) or pytest.fail("no such attribute")) is not None
    assert value_of(attribute, text, **({"force": "true"} if forced else {})) == stored


@pytest.mark.parametrize("vr", sorted(dicom.VRS))
def test_every_vr_has_a_kind_that_typing_knows(vr: str) -> None:
    column = pl.DataFrame({"i": [0], "value": ["[]"], "lenient": [True]}, schema_overrides={"i": pl.UInt32})
    assert typed(column, Spec(vr)).json.len() == 1


@pytest.mark.parametrize(
    ("attribute", "text", "code"),
    [
        ("StudyDate", "2024-03-11", "value-form"),
        ("StudyDate", "11.03.2024", "value-form"),
        ("StudyDate", "45362", "value-form"),
        ("StudyDate", "20241301", "value-form"),
        ("StudyDate", "٢٠٢٤٠٣١١", "value-form"),
        ("StudyDate", "20240311\n", "value-form"),
        ("StudyTime", "14:25", "value-form"),
        ("PatientAge", "42", "value-form"),
        ("Modality", "mr", "value-form"),
        ("Modality", "M" * 17, "value-length"),
        ("SliceThickness", "1,5", "value-form"),
        ("SliceThickness", "1.5 mm", "value-form"),
        ("SeriesNumber", "1.0", "value-form"),
        ("Rows", "512.0", "value-form"),
        ("Rows", "many", "value-form"),
        ("Rows", "70000", "value-range"),
        ("Rows", "-1", "value-range"),
        ("Rows", "9" * 60, "value-form"),
        ("RealWorldValueSlope", "NaN", "value-form"),
        ("RealWorldValueSlope", "inf", "value-form"),
        ("RealWorldValueSlope", "1e400", "value-form"),
        ("RealWorldValueSlope", "0x10", "value-form"),
        ("PatientName", "a\\b", "value-form"),
        ("PatientName", "a^b^c^d^e^f", "value-form"),
        ("PatientName", "a\nb", "value-form"),
        ("PatientID", "x" * 257, "value-length"),
        ("SeriesDescription", "x" * 65, "value-length"),
        ("FrameOfReferenceUID", "1.02.3", "value-form"),
        ("PatientID", "1.2E+10", "damaged-identifier"),
        ("FrameOfReferenceUID", "1.2E+10", "damaged-identifier"),
        ("AccessionNumber", "1,2e+10", "damaged-identifier"),
        ("StudyDescription", "1.2E+10", '"1.2E+10"'),
    ],
)
def test_a_value_that_its_vr_forbids_is_a_problem(attribute: str, text: str, code: str) -> None:
    done = read_rows(PLACE | {"attribute": attribute, "value": text})
    assert (edits(done, "value") or [p[2] for p in problems(done)]) == [code]


@pytest.mark.parametrize(
    ("attribute", "text", "code"),
    [
        ("PixelSpacing", "[0.5", "value-json"),
        ("PixelSpacing", "[NaN, 1]", "value-json"),
        ("ProcedureCodeSequence", "CT", "value-sequence"),
        ("ProcedureCodeSequence", '{"CodeValue":"T"}', "value-sequence"),
        ("ProcedureCodeSequence", '["T"]', "value-sequence"),
        ("ProcedureCodeSequence", '[{"CodeValue":"T","CodeValue":"U"}]', "value-sequence"),
        ("ProcedureCodeSequence", '[{"CodeValue":"\\ud800"}]', "value-sequence"),
        ("ProcedureCodeSequence", "[" * 20_000, "value-sequence"),
    ],
    ids=lambda x: x[:20],
)
def test_unchecked_does_not_make_json_of_what_is_none(attribute: str, text: str, code: str) -> None:
    done = read_rows(PLACE | {"attribute": attribute, "value": text, "force": "true", "unchecked": "true"})
    assert problems(done) == [(2, "value", code)]


@pytest.mark.parametrize(
    ("attribute", "text", "stored"),
    [
        ("StudyDate", "2024-03-11", "2024-03-11"),
        ("Rows", "70000", 70000),
        ("PixelSpacing", "1", ["1"]),
        ("PixelSpacing", "[1,2,3]", ["1", "2", "3"]),
        ("PatientName", "a\\b", "a\\b"),
    ],
)
def test_only_unchecked_lets_pass_what_the_vr_forbids(attribute: str, text: str, stored: Any) -> None:
    row = PLACE | {"attribute": attribute, "value": text, "force": "true"}
    for left_out in ({"unchecked": "true"}, {"unchecked": f"Modality, {attribute}"}):
        done = read_rows(row | left_out)
        assert [(json.loads(value), left) for value, left in edits(done, "value", "unchecked")] == [(stored, True)]
    for checked in ({}, {"unchecked": "no"}, {"unchecked": "Modality StudyID"}):
        assert len(problems(read_rows(row | checked))) == 1


@pytest.mark.parametrize("unchecked", [{"unchecked": "true"}, {}], ids=["row", "list"])
@pytest.mark.parametrize(
    ("attribute", "value", "vr"),
    [
        ("Rows", {"value": "many"}, None),
        ("Rows", {"value": "1" * 50}, None),
        ("Rows", {"value_json": '"512"'}, None),
        ("Rows", {"value_json": "1.5"}, None),
        ("RealWorldValueSlope", {"value": "NaN"}, None),
        ("RealWorldValueSlope", {"value_json": "[true]"}, None),
        ("ReferencedFrameNumbers", {"value": "1\\b"}, None),
        ("ReferencedFrameNumbers", {"value": '["1"]'}, None),
        ("00091001", {"value": "four"}, "US"),
    ],
)
def test_an_element_of_numbers_never_gets_text(
    attribute: str, value: dict[str, str], vr: str | None, unchecked: dict[str, str]
) -> None:
    row = PLACE | {"action": "set", "attribute": attribute, "force": "true", "vr": vr} | value | unchecked
    done = read_rows(row, unchecked=not unchecked)
    assert (len(problems(done)), done.edits.height) == (1, 0)


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("1\\2\\3", 3), ("", None)])
def test_the_number_of_values_is_held_against_the_vm(text: str, count: int | None) -> None:
    column = pl.DataFrame({"i": [0], "value": [text], "lenient": [False]}, schema_overrides={"i": pl.UInt32})
    codes = [fault["code"].item() for fault in typed(column, Spec("DS", "2")).faults]
    assert codes == ["value-count"]
    assert typed(column, Spec("DS", "1-n")).faults == []
    assert count is None or len(json.loads(typed(column, Spec("DS", "2")).json.item())) == count


def test_an_array_of_the_wrong_length_is_a_problem() -> None:
    column = pl.DataFrame({"i": [0], "value": ["[1]"], "lenient": [False]}, schema_overrides={"i": pl.UInt32})
    assert [fault["code"].item() for fault in typed(column, Spec("DS", "2")).faults] == ["value-json"]


def test_each_way_to_write_several_values_keeps_its_place() -> None:
    texts = ["1\\2", "[3,4]", "5", "[]", "6\\7\\8"]
    column = pl.DataFrame({"i": range(5), "value": texts, "lenient": [True] * 5}, schema_overrides={"i": pl.UInt32})
    done = typed(column, Spec("US", "1-n"))
    assert [json.loads(text) for text in done.json] == [[1, 2], [3, 4], [5], [], [6, 7, 8]]


def test_the_hint_says_how_dicom_writes_it() -> None:
    done = read_rows(PLACE | {"attribute": "StudyDate", "value": "11.03.2024"})
    assert "YYYYMMDD" in done.set_aside["hint"].item()
    assert "11.03" not in texts_of(done)


# -- against a plain reference ------------------------------------------------------------------------------------


def scalar(text: str, vr: str, vm: str) -> Any:
    """One value, plainly typed; ValueError where it is not of its VR."""
    rule = dicom.VRS[vr]
    if vm != "1":
        values = [scalar(part, vr, "1") for part in text.split("\\")]
        if fault_of(dicom.Attribute("", 0, vr, vm, dicom.Level.INSTANCE), values):
            raise ValueError
        return values
    if rule.kind is ValueKind.INTEGER:
        if not re.fullmatch(r" *[+-]?[0-9]+ *", text):
            raise ValueError
        return valid(int(text), vr)
    if rule.kind is ValueKind.FLOAT:
        if not re.fullmatch(r" *[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})? *", text) or math.isinf(
            float(text)
        ):
            raise ValueError
        return valid(float(text), vr)
    return valid(text, vr)


def valid(value: str | float, vr: str) -> str | float:
    """The value, if the check of JSON values takes it: both checks have the same rules."""
    if fault_of(dicom.Attribute("", 0, vr, "1", dicom.Level.INSTANCE), value):
        raise ValueError
    return value


NUMBERS = st.one_of(
    st.integers(-(2**66), 2**66).map(str),
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    st.text("0123456789+-.eE ", max_size=12),
)
TEXTS = st.one_of(
    NUMBERS,
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40),
    st.text('"\\\n\t\r\x01\x1b\x1f\x7f^=aé山 ', max_size=20),
    st.sampled_from(["20240311", "2024", "142500", "1.2.3", "ABC", "042Y", "a" * 65, "1\\2", "0.5\\-.5"]),
    st.dates().map(lambda day: f"{day:%Y%m%d}"),
    st.from_regex(r"[0-9]{4}0(2[23]|4[23])[0-9][0-9]{4}[+-][01][0-9]{3}", fullmatch=True),
    st.sampled_from(
        ["MÃ¼ller", "a\x1b$B", "R&D", "M=C3=BCller", "2147483648", "-2147483648", "1e39", "3.1", "1.40.2", "2.99"]
    ),
)
VRS = sorted(name for name, rule in dicom.VRS.items() if rule.kind is not ValueKind.SEQUENCE)


@settings(deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=12), vr=st.sampled_from(VRS), vm=st.sampled_from(["1", "1-n"]))
def test_typing_a_column_is_typing_each_of_its_cells(texts: list[str], vr: str, vm: str) -> None:
    texts = [text for text in texts if vm == "1" or not text.startswith("[")]
    column = pl.DataFrame({"i": range(len(texts)), "value": texts, "lenient": [False] * len(texts)}).cast(
        {"i": pl.UInt32, "value": pl.String, "lenient": pl.Boolean}
    )
    done = typed(column, Spec(vr, vm, dicom.VRS[vr].max_length))
    faulty = {i for fault in done.faults for i in fault["i"]}
    for i, text in enumerate(texts):
        try:
            expected = scalar(text, vr, vm)
        except ValueError:
            assert i in faulty
        else:
            assert i not in faulty
            assert json.loads(done.json[i]) == expected


KNOWN = [one for name in dicom.keywords() if (one := dicom.attribute(name)) is not None and one.vr in VRS]
_OWN = dicom.Attribute("00091001", 0x00091001, "UN", "1", dicom.Level.INSTANCE)
PRIVATE_ONES = [one for vr in PRIVATE if vr in VRS and (one := as_typed(_OWN, vr))]


@settings(deadline=None, max_examples=60)
@given(data=st.data(), a=st.one_of(st.sampled_from(KNOWN), st.sampled_from(PRIVATE_ONES)))
def test_cells_and_json_of_any_attribute_have_the_same_faults_and_notices(
    data: st.DataObject, a: dicom.Attribute
) -> None:
    several = st.lists(TEXTS, min_size=2, max_size=3).map("\\".join)
    drawn = data.draw(st.lists(st.one_of(TEXTS, several).filter(bool), max_size=6))
    texts = [text for text in drawn if not text.startswith("[")]
    column = pl.DataFrame({"i": range(len(texts)), "value": texts}, schema={"i": pl.UInt32, "value": pl.String})
    done = typed(column, PRIVATE[a.vr] if a.private else _spec_of(a))
    faulty = {i for fault in done.faults for i in fault["i"]}
    odd = {row for frame in done.oddities for row in frame.rows()}
    for i, json_text in enumerate(done.json):
        value = json.loads(json_text)
        assert (i in faulty) == (fault_of(a, value) is not None)
        said = {(i, *oddity) for oddity in oddities_of(a, value, terms_of(a.name))}
        assert i in faulty or {row for row in odd if row[0] == i} == said


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1))
def test_a_text_is_quoted_as_json_dumps_quotes_it(texts: list[str]) -> None:
    assert quoted(pl.Series(texts)).to_list() == [json.dumps(text, ensure_ascii=False) for text in texts]


@settings(deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=12), vr=st.sampled_from(VRS), vm=st.sampled_from(["1", "1-n"]))
def test_what_passes_for_plain_is_typed_as_it_would_be_otherwise(texts: list[str], vr: str, vm: str) -> None:
    spec = Spec(vr, vm, dicom.VRS[vr].max_length)
    column = pl.DataFrame({"value": texts})
    plain = is_plain("value", free=pl.lit(spec.free), longest=pl.lit(spec.longest_plain, pl.UInt32))
    column = column.filter(plain).with_columns(i=pl.int_range(pl.len(), dtype=pl.UInt32), lenient=pl.lit(value=False))
    done = typed(column, spec)
    assert not done.faults
    assert done.json.equals(as_strings(column["value"]).rename(done.json.name))


@pytest.mark.parametrize("vr", sorted(dicom.FREE_TEXT))
def test_an_ordinary_text_passes_for_plain(vr: str) -> None:
    spec = Spec(vr, "1", dicom.VRS[vr].max_length)
    texts = pl.DataFrame({"value": ["Doe^Jane", "CT abdomen 4", "é山", "", None]})
    plain = is_plain("value", free=pl.lit(spec.free), longest=pl.lit(spec.longest_plain, pl.UInt32))
    assert texts.select(plain).to_series().to_list() == [True, True, True, True, False]
