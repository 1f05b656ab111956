"""Conditions: what people write is understood, what is not meant is refused, and no value is quoted."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from bulkedit.edits.edit import EDITS
from bulkedit.errors import UsageError
from bulkedit.inventories import INVENTORY, ResolveOptions, condition_of, resolve_narrowed
from bulkedit.inventories.condition import CONDITION_COLUMNS, MOST_CHARACTERS, condition_frame
from bulkedit.options.listing import OnMany, OnMissing

ROWS: list[dict[str, object]] = [
    {"image_set_id": "a", "study_date": "20140131", "modality": "CT", "patient_id": "P1 ", "primary": True},
    {"image_set_id": "b", "study_date": "20150101 ", "modality": "MR", "patient_id": " P1", "primary": False},
    {"image_set_id": "c", "study_date": None, "modality": "CT", "patient_id": "O'Brien", "primary": None},
    {"image_set_id": "d", "study_date": "2015", "modality": "", "patient_id": "P2", "series_in_study": 3},
    {"image_set_id": "e", "created_at": datetime(2020, 1, 1, 12, tzinfo=UTC), "modality": None, "patient_id": "p2"},
]
STORE = pl.DataFrame(
    [{name: row.get(name) for name in INVENTORY} for row in ROWS],
    schema=INVENTORY,
)


def meeting(condition: str) -> str:
    frame = condition_frame(STORE.lazy()).filter(condition_of(condition)).collect()
    return "".join(frame["image_set_id"])


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("study_date < 2015-01-01 and modality = 'CT'", "a"),
        ("study_date < '2015-01-01'", "a"),
        ("study_date<=20150101", "ab"),
        ("study_date <= '20150101'", "ab"),
        ("2014-12-31 < study_date", "b"),
        ("study_date between 2014-01-01 and 2014-12-31 or modality = 'MR'", "ab"),
        ("study_date in (2014-01-31, '2015-01-01')", "ab"),
        ("study_date is null", "cde"),
        ("not study_date < 2015-01-01", "b"),
        ("study_date <> 2015-01-01", "a"),
        ("created_at >= 2020-01-01", "e"),
        ("created_at > '2020-01-01T12:00' or created_at < 2020-01-01", ""),
        ("created_at = 2020-01-01T12:00:00", "e"),
        ("patient_id = 'P1'", "ab"),
        ("patient_id = 'O''Brien'", "c"),
        ("lower(patient_id) = 'p2'", "de"),
        ("patient_id like 'P%' and patient_id not like '%2'", "ab"),
        ("starts_with(patient_id, 'O')", "c"),
        ("modality in ('CT', 'MR')", "abc"),
        ("modality == 'CT'", "ac"),
        ("modality is null", "de"),
        ("primary", "a"),
        ("not primary", "b"),
        ("primary is null and series_in_study > 2", "d"),
        ("\"modality\" = 'CT' AND NOT (PRIMARY = TRUE)", ""),
        ("image_set_id = 'd' or (modality = 'CT' and primary)", "ad"),
    ],
)
def test_what_a_condition_chooses(condition: str, ids: str) -> None:
    assert meeting(condition) == ids


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("study_date < 2015-1-1", "cannot be read at character 14"),
        ("study_date < 2015-01-01-CANARY", "cannot be read at character 14"),
        ("study_date < 2015 - 01 - 01", "cannot be read at character 19"),
        ("study_date < 2015-02-30", "a date at character 14 that is not in the calendar"),
        ("study_date < 'CANARY'", "compares study_date with another kind of value at character 14"),
        ("study_date < 2015", "another kind of value"),
        ("study_date < 2015-01-01T10:00", "another kind of value"),
        ("patient_id = 0000042", "another kind of value at character 14"),
        ("patient_id = 2015-01-01", "another kind of value"),
        ("series_in_study = '3'", "another kind of value"),
        ("primary = 1", "another kind of value"),
        ("study_date < created_at", "compares study_date, a date, with created_at"),
        ("study_date like '2015%'", "uses like at character 12, which is for text"),
        ("lower(study_date) = 'x'", "uses lower at character 1"),
        ("modality = null", "compares with null at character 12"),
        ("modality in ('CT', null)", "compares with null"),
        ("modality = CANARY", "a word at character 12 that is not a column"),
        ("CANARY = 'CT'", "a word at character 1 that is not a column"),
        ("PatientName = 'CANARY'", "a word at character 1 that is not a column"),
        ("birth_date_check = 3", "a word at character 1 that is not a column"),
        ("modality = 'CANARY", "cannot be read at character 12"),
        ("modality = 'CT' or 'CANARY'", "compares no column at character 20"),
        ("1 = 1 or modality = 'CT'", "compares no column at character 1"),
        ("modality = 'CT' modality = 'CANARY'", "is not a condition"),
        ("(modality = 'CANARY'", "is not a condition"),
        ("modality = 'CANARY' and", "is not a condition"),
        ("modality", "does not compare modality at character 1 with anything"),
        ("not modality 'CANARY'", "does not compare modality at character 5"),
        ("modality < not patient_id", "is not a condition"),
        ("not version", "does not compare version"),
        ("(not version) = 1", "does not compare version"),
        ("primary and series_in_study", "does not compare series_in_study at character 13"),
        ("(modality) = 'CANARY'", "does not compare modality"),
        ("upper(modality)", "is not a condition"),
        ("true", "names no column"),
        ("", "names no column"),
        ("select * from read_csv('/etc/passwd')", "a word at character 1 that is not a column"),
        ("patient_id in (select 'CANARY')", "a word at character 16 that is not a column"),
        ("modality = 'CT'; drop table x", "cannot be read at character 16"),
        ("modality = 'CT' -- CANARY", "cannot be read at character 17"),
        ("modality /* x */ = 'CT'", "cannot be read at character 10"),
        ("count(*) > 1 and primary", "a word at character 1 that is not a column"),
        ("(" * 4000 + "primary" + ")" * 4000, "is not a condition"),
        ("not " * 2000 + "primary", "is not a condition"),
        ("modality = 'CT' or " * 1000, f"more than {MOST_CHARACTERS:,} characters"),
    ],
)
def test_what_is_no_condition_is_said_without_its_values(condition: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        condition_of(condition)
    assert said in str(raised.value)
    assert "canary" not in str(raised.value).lower()


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("StudyDate", "study_date"),
        ("accession", "accession_number"),
        ("DICOMPatientId", "patient_id"),
        ("modalty", "modality"),
    ],
)
def test_the_column_that_may_be_meant_is_named(word: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"{meant} may be meant"):
        condition_of(f"{word} = 'x'")


def test_every_column_can_be_compared() -> None:
    assert list(CONDITION_COLUMNS) == [name for name in INVENTORY if not name.endswith("_check")]
    values = {"text": "'x'", "a number": "1", "a date": "2015-01-01", "a time": "2015-01-01", "true or false": "true"}
    for name, kind in CONDITION_COLUMNS.items():
        meeting(f"{name} = {values[kind]} or {name} in ({values[kind]})")


# a list is narrowed


def edits(*rows: tuple[int, str, str]) -> pl.DataFrame:
    """Edits of (row, selector, key)."""
    made = [dict.fromkeys(EDITS) | {"row": row, "selector": selector, "key": key} for row, selector, key in rows]
    return pl.DataFrame(made, schema=EDITS)


STUDIES = STORE.with_columns(study_instance_uid=pl.Series(["1.1", "1.1", "1.2", "1.3", "1.3"]))


def test_a_row_keeps_the_image_sets_that_meet_the_condition() -> None:
    """Rows 2 to 7: one of two, none of two, no such study, an id that meets it, one that does not, and one unknown."""
    given = edits(
        (2, "study_instance_uid", "1.1"),
        (3, "study_instance_uid", "1.3"),
        (4, "study_instance_uid", "1.9"),
        (5, "image_set_id", "c"),
        (6, "image_set_id", "b"),
        (7, "image_set_id", "z"),
    )
    found = resolve_narrowed(given, STUDIES, condition_of("modality = 'CT'"), ResolveOptions())
    assert found.resolved.edits.select("row", "image_set_id").rows() == [(2, "a"), (5, "c")]
    assert found.left_out["row"].to_list() == [3, 6]
    assert dict(found.resolved.set_aside.select("row", "code").rows()) == {4: "no-match", 7: "not-in-inventory"}
    assert (found.image_sets, found.undecided) == (3, 2)  # b, d and e; d and e have no modality


def test_rows_of_several_image_sets_that_meet_it_are_asked_about_as_ever() -> None:
    given = edits((2, "study_instance_uid", "1.1"), (3, "study_instance_uid", "1.9"))
    condition = condition_of("patient_id = 'P1'")
    found = resolve_narrowed(given, STUDIES, condition, ResolveOptions(on_missing=OnMissing.SKIP))
    assert dict(found.resolved.set_aside.select("row", "code").rows()) == {2: "many-matches"}
    assert found.resolved.skipped["row"].to_list() == [3]
    found = resolve_narrowed(given, STUDIES, condition, ResolveOptions(on_many=OnMany.ALL))
    assert found.resolved.edits["image_set_id"].to_list() == ["a", "b"]
    assert found.left_out.is_empty()


def test_a_list_of_ids_only_is_narrowed_too() -> None:
    given = edits((2, "image_set_id", "a"), (3, "image_set_id", "b"), (4, "image_set_id", "z"))
    options = ResolveOptions(on_missing=OnMissing.SKIP)
    found = resolve_narrowed(given, STUDIES, condition_of("primary"), options)
    assert found.resolved.edits["image_set_id"].to_list() == ["a"]
    assert (found.left_out["row"].to_list(), found.resolved.skipped["row"].to_list()) == ([3], [4])
