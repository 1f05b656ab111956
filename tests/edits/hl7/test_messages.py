"""HL7 v2 messages are a tidy list: one row a message, by its number, and one change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkedit.errors import EditListError, UsageError
from tests.edits.lists import edits, problems, read_text, texts_of

if TYPE_CHECKING:
    from bulkedit.edits import EditList

PID = "PID|1||42^^^HOSP^MR||Canary^Carla||19700102|F"
MRG = "MRG|41^^^HOSP^MR"


def msh(event: str = "A08", *, key: str = "M1", charset: str = "UNICODE UTF-8", mode: str = "P") -> str:
    return f"MSH|^~\\&|ADT|H|PACS|H|20260101||ADT^{event}^ADT_A01|{key}|{mode}|2.5||||||{charset}"


def done(*segments: str, end: str = "\r", **options: Any) -> EditList:
    return read_text(end.join(segments).encode() + end.encode(), format="hl7", **options)


def pid(number: int, field: str) -> str:
    cells = PID.split("|")
    cells[number] = field
    return "|".join(cells)


def value_of(segment: str, attribute: str) -> str | None:
    """The value of an attribute after an A08, as JSON; None if it does not change."""
    found = done(msh(), segment)
    assert problems(found) == []
    return dict(edits(found, "attribute", "value")).get(attribute)


def code_of(*segments: str, **options: Any) -> str:
    found = done(*segments, **options)
    assert "anary" not in texts_of(found)
    assert found.edits.height == 0
    ((_, _, code),) = problems(found)
    return str(code)


@pytest.mark.parametrize("event", ["A08", "A31"])
def test_a_change_of_a_patient_sets_what_it_says(event: str) -> None:
    found = done(msh(event), f"EVN|{event}", PID, "PV1|1|I")
    assert edits(found, "row", "edit_id", "selector", "key", "action", "attribute", "value") == [
        (1, "M1", "patient_id", "42", "set", "PatientName", '"Canary^Carla"'),
        (1, "M1", "patient_id", "42", "set", "PatientBirthDate", '"19700102"'),
        (1, "M1", "patient_id", "42", "set", "PatientSex", '"F"'),
    ]
    assert (found.rows, found.form) == (1, "tidy")


@pytest.mark.parametrize("event", ["A18", "A30", "A34", "A36", "A40", "A46", "A47"])
def test_a_merge_gives_the_old_patient_the_new_identifier_and_its_demographics(event: str) -> None:
    found = done(msh(event), PID, MRG)
    assert edits(found, "key", "attribute", "value")[:2] == [
        ("41", "PatientID", '"42"'),
        ("41", "PatientName", '"Canary^Carla"'),
    ]


def test_messages_are_applied_in_the_order_of_the_file() -> None:
    found = done(msh("A40"), "PID|1||B", "MRG|A", msh("A08", key="M2"), "PID|1||B||C^D")
    assert edits(found, "row", "order", "edit_id", "key", "attribute", "value") == [
        (1, 1, "M1", "A", "PatientID", '"B"'),
        (2, 2, "M2", "B", "PatientName", '"C^D"'),
    ]


def test_messages_that_are_not_in_the_order_of_their_times_are_noticed() -> None:
    found = done(msh(), PID, msh().replace("20260101", "202512312359+0100"), PID, msh().replace("20260101", ""), PID)
    assert found.notices.select("text", "rows").rows() == [
        ("Messages are not in the order of their times (MSH-7); they are applied in the order of the file.", 1)
    ]


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_ends_of_segments_batches_and_framing(end: str) -> None:
    lines = ["FHS|^~\\&", "BHS|^~\\&", "\x0b" + msh(), PID, "\x1c", "", msh(key="M2"), PID, "BTS|2", "FTS|1"]
    assert edits(done(*lines, end=end), "row", "edit_id")[::3] == [(1, "M1"), (2, "M2")]


def test_blocks_may_end_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkedit.edits.hl7.stream._BLOCK", 1)
    assert edits(done(msh(), PID, end="\r\n"), "attribute") == ["PatientName", "PatientBirthDate", "PatientSex"]


# -- identifiers


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("42", "42"),
        ("0042^^^H^MR~9^^^SSA^SS", "0042"),
        ("9^^^SSA^SS~42^^^H^PI~43^^^H^PT", "42"),
        ("42^^^A&1.2&ISO^MR~42^^^A&1.2&ISO^MR", "42"),
        (' 42 ^7^M10~""', "42"),
        (r"4\T\2", "4&2"),
    ],
)
def test_which_identifier_selects(field: str, key: str) -> None:
    assert set(edits(done(msh(), pid(3, field)), "key")) == {key}


@pytest.mark.parametrize(
    "field",
    ["", '""', "^^^H^MR", "1^^^A^MR~2^^^B^MR", "1^^^A^MR~2^^^B^MR~3^^^C^PI", "1~2", "1^^^SSA^SS", "1^^^H^PI~2^^^H^PI"],
)
def test_identifiers_that_are_not_clear_are_set_aside(field: str) -> None:
    assert code_of(msh(), pid(3, field)) == "hl7-identifier"


def test_the_assigning_authority_can_be_chosen() -> None:
    field = "1^^^A&1.2.3&ISO^MR~2^^^B^MR"
    assert set(edits(done(msh(), pid(3, field), assigning_authority="A"), "key")) == {"1"}
    assert set(edits(done(msh(), pid(3, field), assigning_authority="1.2.3"), "key")) == {"1"}
    assert set(edits(done(msh(), pid(3, field), assigning_authority="B"), "key")) == {"2"}
    assert code_of(msh(), pid(3, field), assigning_authority="C") == "hl7-identifier"


def test_the_old_identifier_is_of_the_authority_and_type_of_the_new_one() -> None:
    old = "MRG|7^^^OTHER^MR~41^^^HOSP^MR~9^^^HOSP^PI"
    assert set(edits(done(msh("A40"), PID, old), "key")) == {"41"}


@pytest.mark.parametrize("old", ["42^^^HOSP^MR", "41^^^OTHER^MR", "", "41~40", "41^^^H^SS"])
def test_merges_that_are_not_clear_are_set_aside(old: str) -> None:
    assert code_of(msh("A40"), PID, f"MRG|{old}") == "hl7-identifier"


# -- values


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("Canary", '"Canary"'),
        ("Canary^Carla^M^Jr^Dr^MD", '"Canary^Carla^M^Dr^Jr MD"'),
        ("Canary^Carla^^^^^L", '"Canary^Carla"'),
        ("^Carla", '"^Carla"'),
        ("van Canary&van&Canary^C", '"van Canary^C"'),
        ("Alias^A^^^^^A~Canary^C^^^^^L", '"Canary^C"'),
        ("Canary^C^^^^^L^A~金^鳥^^^^^L^I~かな^^^^^^L^P", '"Canary^C=金^鳥=かな"'),
        (r"O\T\C^C", '"O&C^C"'),
        (r"M\XC3BC\ller", '"Müller"'),
        (' Canary ^""', '"Canary"'),
        ('""', "null"),
        ("", None),
        ("^^^^^^L", None),
    ],
)
def test_names(field: str, expected: str | None) -> None:
    assert value_of(pid(5, field), "PatientName") == expected


@pytest.mark.parametrize(
    "field",
    [
        r"Canary\S\x",
        r"Canary\E\x",
        r"Canary\.br\x",
        r"Canary\H\x",
        r"Canary\X0D\x",
        r"Canary\XFF\x",
        "Canary\\",
        "Canary=x",
        "Canary&van&Canary",
        "&van&Canary",
        "Canary^Carla&x",
        "Canary^^^^^^A",
        "Canary^^^^^^L~Canary^C^^^^^L",
        "Canary^^^^^^L^X",
    ],
)
def test_names_that_dicom_cannot_say_are_set_aside(field: str) -> None:
    assert code_of(msh(), pid(5, field)) == "hl7-value"


@pytest.mark.parametrize(
    ("number", "field", "attribute", "expected"),
    [
        (7, "19700102", "PatientBirthDate", '"19700102"'),
        (7, "197001020304+0100", "PatientBirthDate", '"19700102"'),
        (7, '""', "PatientBirthDate", "null"),
        (7, "", "PatientBirthDate", None),
        (8, "O", "PatientSex", '"O"'),
        (8, "M^Male", "PatientSex", '"M"'),
        (8, "U", "PatientSex", "null"),
        (8, '""', "PatientSex", "null"),
        (8, "", "PatientSex", None),
    ],
)
def test_dates_and_sexes(number: int, field: str, attribute: str, expected: str | None) -> None:
    assert value_of(pid(number, field), attribute) == expected


@pytest.mark.parametrize(
    ("number", "field"),
    [*((7, text) for text in ("1970", "197001", "19700230", "00000000", "1970-01-02", "19700102~19700103", "^D")),
     *((8, text) for text in ("A", "N", "C", "m", "Male", "^M", "M~F"))],
)  # fmt: skip
def test_dates_and_sexes_that_dicom_cannot_say_are_set_aside(number: int, field: str) -> None:
    assert code_of(msh(), pid(number, field)) == "hl7-value"


# -- messages


@pytest.mark.parametrize(
    ("segments", "code"),
    [
        ([msh("A01"), PID], "hl7-event"),
        ([msh("A35"), PID, MRG], "hl7-event"),
        ([msh().replace("ADT^A08^ADT_A01", "ORU^R01"), PID], "hl7-event"),
        ([msh("Canary"), PID], "hl7-event"),
        ([msh()], "hl7-form"),
        ([msh("A40"), PID], "hl7-form"),
        ([msh("A40"), PID, MRG, PID, MRG], "hl7-form"),
        ([msh(), PID, "Canary Carla"], "hl7-form"),
        (["MSH", PID], "hl7-form"),
        ([msh().replace("^~\\&", "^~^&"), PID], "hl7-form"),
        ([msh(charset="ISO IR87"), PID], "hl7-charset"),
        ([msh(charset="ASCII~8859/1"), PID], "hl7-charset"),
        ([msh(charset=""), pid(5, "Canary^Zoë")], "hl7-charset"),
        ([msh(charset="8859/1"), pid(5, "Canary\u0153")], "hl7-value"),
        ([msh(), PID + "\0"], "hl7-charset"),
        ([msh(), "PID|1||42"], "no-edit"),
        ([msh(), PID + "|" * 70_000], "hl7-form"),
        ([msh(), *[PID] * 2_000], "hl7-form"),
        ([msh() + "|" * 70_000, PID], "hl7-form"),
    ],
)
def test_messages_that_are_set_aside(segments: list[str], code: str) -> None:
    assert code_of(*segments) == code


def test_an_event_in_evn_only() -> None:
    assert done(msh().replace("ADT^A08^ADT_A01", "ADT"), "EVN|A08", PID).edits.height == 3


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("8859/1", "latin-1"),
        ("ISO-8859-1", "latin-1"),
        ("ISO IR 100", "latin-1"),
        ("8859/2", "iso8859_2"),
        ("UTF-8", "utf-8"),
        ("GB 18030-2000", "gb18030"),
    ],
)
def test_character_sets(charset: str, codec: str) -> None:
    data = "\r".join([msh(charset=charset), pid(5, "Müller")]).encode(codec)
    assert edits(read_text(data, format="hl7"), "value")[0] == '"Müller"'


def test_other_marks_than_usual() -> None:
    assert edits(done("MSH#*@!%#A#H#####ADT*A08#M1#P#2.5", "PID###1%2*x@42***H*MR##A!T!B*C"), "key", "value") == [
        ("42", '"A%B^C"')
    ]


def test_what_is_left_out_is_said() -> None:
    found = done(
        msh(mode="T"), pid(5, "Canary^C^^^^^L~Canary^X^^^^^A") + "|||Street", "NK1|1",
        msh("A40"), pid(7, "197001020304"), MRG + "||7",
    )  # fmt: skip
    assert found.notices.select("code", "text", "rows").rows() == [
        ("hl7-left-out", "MSH-11 says that messages are for tests or training.", 1),
        ("hl7-left-out", "Segments other than PID and MRG are left out.", 1),
        ("hl7-left-out", "Names of other types, such as aliases, are left out; the legal name is used.", 1),
        ("hl7-left-out", "The time of birth in PID-7 is left out; the date is used.", 1),
        (
            "hl7-left-out",
            "Fields without an attribute that is kept for patients are left out: MRG-3, PID-11.",
            1,
        ),
    ]


@pytest.mark.parametrize(
    ("lines", "where", "what"),
    [
        ([PID], "line 1", "not HL7 v2"),
        (['{"resourceType":"Patient"}'], "line 1", "not HL7 v2"),
        (["BHS|^~\\&", msh(), PID, "BTS|2"], "line 4", "BTS-1 does not say"),
        (["FHS|^~\\&", "BHS|^~\\&", msh(), PID, "BTS|1", "FTS|2"], "line 6", "FTS-1 does not say"),
        (["BHS|^~\\&", "BTS|0"], None, "has no message"),
    ],
)
def test_files_that_are_no_list(lines: list[str], where: str | None, what: str) -> None:
    with pytest.raises(EditListError) as caught:
        done(*lines)
    assert what in caught.value.what
    assert caught.value.where == ", ".join(text for text in ("standard input", where) if text)
    assert "anary" not in str(caught.value)


def test_a_message_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkedit.edits.hl7.stream.LONGEST_ROW", 1_000)
    for lines in ([msh(), "OBX|" + "x" * 1_000], [msh(), *["OBX|x" * 9] * 40]):
        with pytest.raises(EditListError, match="is longer than"):
            done(*lines)


def test_very_many_messages_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkedit.edits.bounds.MOST_PROBLEMS", 5)
    with pytest.raises(EditListError, match="line 6: more than 5 messages"):
        done(*[msh("A01")] * 9)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "hl7", None)
    with pytest.raises(UsageError, match=r"bulkedit\[hl7\]"):
        done(msh(), PID)


PIECES = st.sampled_from(
    [msh(), msh("A40"), PID, MRG, *"|^~\\&\r\n\0\x0b\x1c\x85é\u2028", '""', r"\X41\ ", "PID", "MSH", "BTS|1", "Canary"]
)


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=80), st.lists(PIECES, max_size=15).map(lambda parts: "".join(parts).encode())))
def test_any_bytes_are_edits_or_words(data: bytes) -> None:
    try:
        words = texts_of(read_text(data, format="hl7"))
    except EditListError as error:
        words = str(error)
    assert "anary" not in words
