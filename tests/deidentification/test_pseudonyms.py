"""Pseudonyms are stable and distinct, shifts keep intervals, and nothing leads back without the key."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkedit.deidentification import dates, keys, reidentification
from bulkedit.deidentification.dates import Shift
from bulkedit.deidentification.pseudonyms import Identifiers, Pseudonyms, is_ours, load_mapping
from bulkedit.errors import KeyFileError, MetadataError, ProfileError
from tests.deidentification.walkers import KEY

if TYPE_CHECKING:
    from pathlib import Path

UIDS = st.from_regex(r"[1-9]\.[0-9]{1,9}(\.(0|[1-9][0-9]{0,9})){1,4}", fullmatch=True)
MOMENTS = st.datetimes(datetime(1920, 1, 1), datetime(2080, 1, 1)).map(lambda moment: moment.replace(microsecond=0))  # noqa: DTZ001
SHIFTS = st.builds(Shift, st.integers(-3650, 3650), st.integers(0, 86_399))


@given(UIDS)
def test_a_uid_is_a_uuid_under_2_25_and_does_not_depend_on_padding(uid: str) -> None:
    made = Pseudonyms(KEY).uid(uid)
    found = uuid.UUID(int=int(made.removeprefix("2.25.")))
    assert (found.version, found.variant, len(made) <= 64) == (4, uuid.RFC_4122, True)
    assert Pseudonyms(KEY).uid(f"{uid}\0") == made
    assert is_ours(made)
    assert Pseudonyms(keys.Key(KEY.secret + b"x")).uid(uid) != made


@given(st.sets(UIDS, min_size=2, max_size=50))
def test_different_uids_get_different_ones(uids: set[str]) -> None:
    pseudonyms = Pseudonyms(KEY)
    assert len({pseudonyms.uid(uid) for uid in uids}) == len(uids)


@pytest.mark.parametrize("uid", ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"])
def test_registered_uids_stay(uid: str) -> None:
    assert Pseudonyms(KEY).uid(uid) == uid


def test_pseudonyms_are_the_same_in_another_process() -> None:
    program = (
        "from bulkedit.deidentification.keys import Key; from bulkedit.deidentification.pseudonyms import Pseudonyms;"
        f"p = Pseudonyms(Key({KEY.secret!r}));"
        "print(p.uid('1.2.3'), p.identifier('PatientID', 'MRN1'), p.shift('MRN1'))"
    )
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()
    pseudonyms = Pseudonyms(KEY)
    assert said == f"{pseudonyms.uid('1.2.3')} {pseudonyms.identifier('PatientID', 'MRN1')} {pseudonyms.shift('MRN1')}"


@given(st.sets(st.text(st.characters(codec="utf-8"), min_size=1), min_size=2, max_size=30))
def test_identifiers_are_of_their_alphabet_and_apart_by_purpose(values: set[str]) -> None:
    pseudonyms = Pseudonyms(KEY, identifiers=Identifiers(alphabet="0123456789", length=16, prefix="X"))
    bare = {value.strip(" \0") for value in values} - {""}
    made = {pseudonyms.identifier("PatientID", value) for value in bare}
    assert len(made) == len(bare)
    assert all(re.fullmatch(r"X[0-9]{16}", one) for one in made)
    assert not made & {pseudonyms.identifier("AccessionNumber", value) for value in bare}


def parsed(*texts: str | None) -> datetime:
    return datetime.strptime("".join(map(str, texts))[:14], "%Y%m%d%H%M%S")  # noqa: DTZ007 - DICOM's local time


@given(MOMENTS, MOMENTS, SHIFTS)
def test_a_shift_keeps_the_interval_between_moments(first: datetime, second: datetime, shift: Shift) -> None:
    moved = [parsed(*dates.pair(f"{one:%Y%m%d}", f"{one:%H%M%S}.25", shift)) for one in (first, second)]
    whole = [parsed(dates.datetime_(f"{one:%Y%m%d%H%M%S}", shift)) for one in (first, second)]
    assert moved[1] - moved[0] == second - first
    assert moved == whole
    assert moved[0] - first == timedelta(shift.days, shift.seconds)


@pytest.mark.parametrize(
    ("function", "text", "shift", "expected"),
    [
        (dates.date, "20240301", Shift(-1), "20240229"),
        (dates.date, "20240301 ", Shift(-1), "20240229"),
        (dates.date, "2024.03.01", Shift(-1), "20240229"),
        (dates.date, "202403", Shift(-40), "202401"),
        (dates.date, "2024", Shift(-1), "2023"),
        (dates.date, "00010101", Shift(-1), None),
        (dates.date, "20240230", Shift(-1), None),
        (dates.date, "20240101-20240201", Shift(-1), None),
        (dates.date, "UNKNOWN", Shift(-1), None),
        (dates.time, "101112.123456", Shift(-1), "101112.123456"),
        (dates.time, "23", Shift(-1, 7200), "01"),
        (dates.time, "2330", Shift(-1, 3600), "0030"),
        (dates.time, "25", Shift(-1), None),
        (dates.datetime_, "20240301235959.5+0100", Shift(0, 1), "20240302000000.5+0100"),
        (dates.datetime_, "20240301-0500", Shift(1, 5), "20240302-0500"),
        (dates.datetime_, "2024", Shift(366), "2025"),
        (dates.datetime_, "20240301235959+9900", Shift(1), None),
        (dates.datetime_, "SOMETIME", Shift(1), None),
        (dates.datetime_, "2024030125", Shift(1), None),
        (dates.datetime_, "00010101", Shift(-1), None),
    ],
)
def test_what_a_text_leaves_out_stays_out(function: object, text: str, shift: Shift, expected: str | None) -> None:
    assert function(text, shift) == expected  # type: ignore[operator]


def test_a_pair_moves_as_one_over_midnight() -> None:
    assert dates.pair("20231231", "235959.75", Shift(0, 2)) == ("20240101", "000001.75")
    assert dates.pair("20231231", "nonsense", Shift(1, 2)) == ("20240101", None)
    assert dates.pair("00010101", "000000", Shift(-1, 2)) == (None, None)


@pytest.mark.parametrize(
    ("age", "expected"),
    [("045Y", "045Y"), ("089Y", "089Y"), ("090Y", "090Y"), ("103Y", "090Y"), ("006M", "006M"), ("OLD", None)],
)
def test_ages_above_89_are_capped(age: str, expected: str | None) -> None:
    assert dates.age(age) == expected


@given(st.text(min_size=1))
def test_a_shift_is_of_the_patient_and_within_its_bounds(patient: str) -> None:
    shift = Pseudonyms(KEY, days=(-30, -10), seconds=True).shift(patient)
    assert -30 <= shift.days <= -10
    assert 0 <= shift.seconds < 86_400
    assert shift == Pseudonyms(KEY, days=(-30, -10), seconds=True).shift(f"{patient} ")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("patient_id,pseudonym\nA,1\nA,2\n", "occurs twice"),
        ("patient_id,pseudonym\nA,1\nB,1\n", "row 2 has the same pseudonym"),
        ("patient_id,pseudonym\nA,\n", "pseudonym is empty"),
        ("patient_id,pseudonym\n,1\n", "patient_id is empty"),
        ("id,pseudonym\nA,1\n", "needs the columns"),
        ("", "needs the columns"),
    ],
)
def test_a_mapping_with_duplicates_or_holes_is_refused(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "mapping.csv"
    file.write_text(text)
    with pytest.raises(ProfileError) as raised:
        load_mapping(file)
    assert what in str(raised.value)


def test_a_mapping_gives_a_pseudonym_for_each_id(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("pseudonym,patient_id,note\nA1, MRN1 ,x\nA2,MRN2,\n")
    assert load_mapping(tmp_path / "m.csv") == {"MRN1": "A1", "MRN2": "A2"}


def test_blanks_are_no_identifier() -> None:
    assert Pseudonyms(KEY).identifier("PatientID", " \0") == " \0"


@pytest.mark.parametrize("uid", [None, "1.2.3", "2.25.x", "2.25.1", f"2.25.{2**128}", "2.25."])
def test_a_uid_of_another_form_is_not_ours(uid: object) -> None:
    assert not is_ours(uid)


def test_no_pairs_make_no_map(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(base64.urlsafe_b64encode(bytes(32)))
    reidentification.append(tmp_path / "map", set(), reidentification.cipher(tmp_path / "key"))
    assert not (tmp_path / "map").exists()


def test_an_id_that_the_mapping_lacks_is_an_error_without_the_id() -> None:
    pseudonyms = Pseudonyms(KEY, mapping={"MRN1": "S-001"})
    assert pseudonyms.identifier("PatientID", "MRN1 ") == "S-001"
    with pytest.raises(ProfileError) as raised:
        pseudonyms.identifier("PatientID", "MRN2")
    assert "MRN2" not in str(raised.value)


def test_the_map_is_encrypted_and_leads_back(tmp_path: Path) -> None:
    from cryptography.fernet import Fernet

    key, other, file = tmp_path / "map.key", tmp_path / "other.key", tmp_path / "map"
    for path in (key, other):
        path.write_bytes(Fernet.generate_key())
    pairs: set[tuple[str, str, str]] = set()
    pseudonyms = Pseudonyms(KEY, pairs=pairs)
    made = pseudonyms.uid("1.2.3"), pseudonyms.identifier("PatientID", "MRN1")
    reidentification.append(file, pairs, reidentification.cipher(key))
    assert set(reidentification.read(file, key)) == {("uid", "1.2.3", made[0]), ("PatientID", "MRN1", made[1])}
    assert b"MRN1" not in file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyFileError, match="another key"):
        list(reidentification.read(file, other))


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot be read (No such file or directory)"), (b"short", "not a Fernet key")]
)
def test_a_key_of_the_map_that_cannot_be_used_is_named_with_a_way_to_make_one(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "map.key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(KeyFileError) as raised:
        reidentification.cipher(path)
    assert [text for text in (said, str(path), "Fernet.generate_key()") if text not in str(raised.value)] == []
    assert "short" not in str(raised.value)


def test_a_map_that_is_damaged_after_its_first_line_is_said_with_the_line(tmp_path: Path) -> None:
    from cryptography.fernet import Fernet

    (tmp_path / "map.key").write_bytes(Fernet.generate_key())
    reidentification.append(
        tmp_path / "map", {("uid", "1.2.3", "2.25.1")}, reidentification.cipher(tmp_path / "map.key")
    )
    with (tmp_path / "map").open("ab") as file:
        file.write(b"cut short")
    with pytest.raises(MetadataError, match="line 2"):
        list(reidentification.read(tmp_path / "map", tmp_path / "map.key"))
