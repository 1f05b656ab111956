"""Chains of identifiers: found, questioned, and followed as the rows would be one after another."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkedit.edits import SET_ASIDE
from bulkedit.edits.edit import EDITS
from bulkedit.edits.notices import NOTICES
from bulkedit.options.listing import Chains
from bulkedit.options.shared import SAME_ATTRIBUTE
from bulkedit.plans.chains import LONGEST, followed
from tests.examples import examples

LEVELS = {"AccessionNumber": "Study", "StudyID": "Study", "StudyInstanceUID": "Study", "SeriesInstanceUID": "Series"}


def edit(row: int, key: str, attribute: str, value: str | None, selector: str = "patient_id", **more: Any) -> Any:
    return {
        "row": row,
        "selector": selector,
        "key": key,
        "action": "set",
        "level": LEVELS.get(attribute, "Patient"),
        "attribute": attribute,
        "value": json.dumps(value, ensure_ascii=False),
        "force": False,
        "study_wide": False,
        **more,
    }


def edits(*rows: Any) -> pl.DataFrame:
    return pl.DataFrame([*rows], schema=EDITS)


def moves(text: str, selector: str = "patient_id", **more: Any) -> pl.DataFrame:
    """Rows from 2 on: "A>B B>C"."""
    pairs = [pair.split(">") for pair in text.split()]
    return edits(*(edit(n, a, SAME_ATTRIBUTE[selector], b, selector, **more) for n, (a, b) in enumerate(pairs, 2)))


def codes(found: pl.DataFrame) -> dict[int, str]:
    return dict(found.select("row", "code").rows())


def values(found: pl.DataFrame) -> list[tuple[int, str, str]]:
    return found.select("row", "attribute", "value").rows()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A>B", {}),
        ("A>B C>D", {}),
        ("A>C B>C", {}),  # two are merged into one
        ("A>A A>B", {}),
        ("A>B B>B", {}),  # B stays B
        ("A>B B>C", {2: "chain", 3: "chain"}),
        ("B>C A>B", {2: "chain", 3: "chain"}),
        ("A>B B>C B>C", {2: "chain", 3: "chain", 4: "chain"}),
        ("X>Y A>B B>C C>D", {3: "chain", 4: "chain", 5: "chain"}),
        ("A>B B>A", {2: "cycle", 3: "cycle"}),
        ("A>B B>C C>A D>E", {2: "cycle", 3: "cycle", 4: "cycle"}),
        ("Z>A A>B B>A C>D D>E", {2: "cycle", 3: "cycle", 4: "cycle", 5: "chain", 6: "chain"}),
    ],
)
@pytest.mark.parametrize("selector", SAME_ATTRIBUTE)
def test_chains_and_cycles_are_found(text: str, expected: dict[int, str], selector: str) -> None:
    found = followed(moves(text, selector), Chains.FAIL)
    assert codes(found.set_aside) == expected
    assert found.set_aside.schema == SET_ASIDE
    assert followed(moves(text, selector), Chains.AS_WRITTEN).set_aside.is_empty()


def test_a_long_cycle_is_one() -> None:
    ring = moves(" ".join(f"{n}>{(n + 1) % 1000}" for n in range(1000)))
    assert set(codes(followed(ring, Chains.FAIL).set_aside).values()) == {"cycle"}
    chain = moves(" ".join(f"{n}>{n + 1}" for n in range(1000)))
    assert set(codes(followed(chain, Chains.FAIL).set_aside).values()) == {"chain"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (edit(2, "A", "PatientID", " B "), edit(3, "B", "PatientID", "C")),  # blanks do not count
        (edit(2, "A", "PatientID", "B"), edit(3, " B", "PatientID", "C")),
        (edit(2, "A", "PatientID", 'ü"'), edit(3, 'ü"', "PatientID", "C")),
        (edit(2, "0" * 32, "PatientID", "B", "image_set_id"), edit(3, "B", "PatientID", "C")),
        (edit(2, "7", "PatientID", "B", "accession_number"), edit(3, "B", "PatientID", "C")),
    ],
)
def test_whatever_gives_an_identifier_that_another_row_changes_is_a_chain(one: Any, other: Any) -> None:
    found = followed(edits(one, other), Chains.FAIL).set_aside
    assert codes(found) == {2: "chain", 3: "chain"}
    text = found.write_csv()
    assert "row 3 changes" in text
    assert "row 2 gives" in text
    assert "`chains=follow`" in text
    assert followed(edits(one, other), Chains.FOLLOW).edits["value"].to_list() == ['"C"', '"C"']


@pytest.mark.parametrize(
    "last",
    [edit(3, "B", "PatientID", None), edit(3, "B", "PatientID", ""), edit(3, "B", "PatientID", "B", action="remove")],
)
def test_an_identifier_that_another_row_removes_is_a_chain(last: Any) -> None:
    rows = edits(edit(2, "A", "PatientID", "B"), last)
    assert codes(followed(rows, Chains.FAIL).set_aside) == {2: "chain", 3: "chain"}
    done = followed(rows, Chains.FOLLOW)
    assert done.set_aside.is_empty()
    assert done.edits.select("action", "value").rows() == [(last["action"], last["value"])] * 2


@pytest.mark.parametrize(
    "rows",
    [
        [edit(2, "A", "AccessionNumber", "B"), edit(3, "B", "PatientID", "C")],  # an accession number is no patient
        [edit(2, "A", "PatientID", None), edit(3, "B", "PatientID", "C")],
        [edit(2, "A", "PatientID", "B"), edit(3, "b", "PatientID", "C")],
        [edit(2, "A", "PatientID", "B", action="remove"), edit(3, "B", "PatientID", "C")],
        [edit(n, "0" * 32, "PatientID", "B", "image_set_id") for n in (2, 3)],
        [],
    ],
)
def test_other_lists_have_no_chain(rows: list[Any]) -> None:
    for chains in Chains:
        found = followed(edits(*rows), chains)
        assert found.edits.equals(edits(*rows))
        assert found.set_aside.is_empty()
        assert found.notices.is_empty()


def test_a_followed_chain_ends_with_the_last_identifier_and_the_values_of_its_rows() -> None:
    rows = edits(
        edit(2, "A", "PatientID", "B", edit_id="first"),
        edit(2, "A", "PatientName", "OF^B", edit_id="first"),
        edit(3, "B", "PatientID", "C", force=True, unchecked=True),
        edit(3, "B", "PatientName", "OF^C"),
        edit(4, "C", "PatientSex", "F"),
        edit(5, "X", "PatientID", "Y"),
    )
    found = followed(rows, Chains.FOLLOW)
    assert values(found.edits) == [
        (2, "PatientID", '"C"'),
        (2, "PatientName", '"OF^C"'),
        (2, "PatientSex", '"F"'),
        (3, "PatientID", '"C"'),
        (3, "PatientName", '"OF^C"'),
        (3, "PatientSex", '"F"'),
        (4, "PatientSex", '"F"'),
        (5, "PatientID", '"Y"'),
    ]
    assert found.edits.schema == EDITS
    before = {"value": '"B"', "force": False, "unchecked": None}
    assert found.edits.row(0, named=True) | before == rows.row(0, named=True)
    assert found.edits["force"].to_list() == [True, False, False, True, False, False, False, False]
    assert found.edits["unchecked"].to_list()[0] is True
    assert set(found.edits.filter(pl.col("row") == 2)["edit_id"]) == {"first"}
    (notice,) = found.notices.rows(named=True)
    assert (notice["code"], notice["rows"], notice["first"]) == ("chains-followed", 2, 2)


def test_what_belongs_to_one_series_is_not_followed() -> None:
    series = edit(3, "B", "Modality", "CT", level="Series", series_uid="1.2")
    rows = edits(edit(2, "A", "PatientID", "B"), series)
    assert followed(rows, Chains.FOLLOW).edits.equals(rows)
    renamed = moves("1.1>1.2 1.2>1.3", "series_instance_uid")
    assert codes(followed(renamed, Chains.FOLLOW).set_aside) == {2: "chain", 3: "chain"}


def test_a_cycle_cannot_be_followed_and_a_chain_beside_it_can() -> None:
    found = followed(moves("A>B B>A C>D D>E"), Chains.FOLLOW)
    assert codes(found.set_aside) == {2: "cycle", 3: "cycle"}
    assert "`chains=as-written`" in found.set_aside["hint"][0]
    assert found.edits["value"].to_list() == ['"B"', '"A"', '"E"', '"E"']


def test_a_chain_beyond_all_reason_is_refused() -> None:
    chain = moves(" ".join(f"{n}>{n + 1}" for n in range(LONGEST + 2)))
    found = followed(chain, Chains.FOLLOW)
    assert codes(found.set_aside) == {2: "chain", 3: "chain"}
    assert set(found.edits["value"][1:]) == {f'"{LONGEST + 2}"'}


@pytest.mark.parametrize("chains", [Chains.FAIL, Chains.AS_WRITTEN])
def test_patient_attributes_that_will_differ_are_a_notice(chains: Chains) -> None:
    rows = edits(
        edit(2, "A", "PatientID", "B"),
        edit(2, "A", "PatientSex", "F"),
        edit(3, "B", "PatientName", "CANARY"),  # not that of A
        edit(4, "B", "PatientSex", "F"),  # the same
        edit(5, "B", "StudyDescription", "X", level="Study"),
    )
    (notice,) = followed(rows, chains).notices.rows(named=True)
    assert (notice["code"], notice["rows"], notice["first"]) == ("identifier-shared", 1, 3)
    assert "CANARY" not in str(notice)
    assert followed(rows, chains).notices.schema == NOTICES


# the reference: one row after another

KEYS = st.sampled_from("ABCDE")
ATTRIBUTES = ("PatientName", "PatientSex", "StudyDescription")


@st.composite
def lists(draw: st.DrawFn) -> list[Any]:
    """At most one row of a key and an attribute, so that no rows contradict each other."""
    chosen = draw(st.lists(st.tuples(KEYS, st.sampled_from(["PatientID", *ATTRIBUTES])), unique=True, max_size=12))
    return [
        edit(n, key, attribute, draw(KEYS) if attribute == "PatientID" else str(n))
        for n, (key, attribute) in enumerate(chosen, 2)
    ]


def one_by_one(rows: list[Any], patient: str) -> dict[str, str] | None:
    """What image sets of a patient end with; None if that has no end."""
    held: dict[str, str] = {}
    seen: set[str] = set()
    while patient not in seen:
        seen.add(patient)
        of = {one["attribute"]: one["value"] for one in rows if one["key"] == patient}
        held |= of
        after = json.loads(of.get("PatientID", "null")) or patient
        if after == patient:
            return held
        patient = after
    return None


@examples(50)
@given(rows=lists())
def test_followed_rows_do_what_they_do_one_after_another(rows: list[Any]) -> None:
    found = followed(edits(*rows), Chains.FOLLOW)
    bad = set(found.set_aside["row"])
    made = found.edits.rows(named=True)
    assert [one["row"] for one in made] == sorted(one["row"] for one in made)
    for patient in {one["key"] for one in rows}:
        expected = one_by_one(rows, patient)
        own = [one for one in made if one["key"] == patient]
        if expected is None:
            assert {one["row"] for one in own if one["attribute"] == "PatientID"} <= bad
            continue
        assert {one["attribute"]: one["value"] for one in own} == expected
        assert len(own) == len(expected)
        assert not {one["row"] for one in own} & bad
    questioned = set(followed(edits(*rows), Chains.FAIL).set_aside["row"])
    assert bad <= questioned
