"""Rows that contradict others are told of the others; a row is never told of itself."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from bulkedit.options.listing import Contradictions
from bulkedit.plans import rename_problems
from bulkedit.plans.conflicts import problems
from tests.edits.lists import INSTANCE, SERIES, A, Row, read_rows

SECOND = SERIES + ".5"


def texts(*rows: Row) -> list[tuple[int, str]]:
    """The rows that the planner sets aside, and why."""
    done = read_rows(*rows)
    assert done.set_aside.is_empty()
    edits = done.edits.with_columns(image_set_id="key")
    found = [problems(edits, Contradictions.FAIL), rename_problems.problems(edits, whole_rows=True, in_doubt=True)]
    return pl.concat(found).select("row", "problem").rows()


def call(force: bool = False, **blobs: Any) -> Row:
    documents = {f"{name}Attributes": {"SchemaVersion": 1.1} | blob for name, blob in blobs.items()}
    return {"image_set_id": A, "updates": json.dumps({"DICOMUpdates": documents}), "force": "1" if force else None}


def named(name: str) -> Row:
    return {"image_set_id": A, "PatientName": name}


def test_each_of_two_rows_is_told_of_the_other() -> None:
    assert texts(named("x"), named("y")) == [
        (2, "changes PatientName of this image set otherwise than row 3."),
        (3, "changes PatientName of this image set otherwise than row 2."),
    ]


def test_each_of_three_rows_is_told_of_the_first_other() -> None:
    rest = "changes PatientName of this image set otherwise than 2 other rows of the list (the first is row"
    assert texts(named("x"), named("y"), named("z")) == [(2, f"{rest} 3)."), (3, f"{rest} 2)."), (4, f"{rest} 2).")]


def test_a_row_that_contradicts_others_twice_is_told_so_twice() -> None:
    first: Row = {"image_set_id": A, "StudyDescription": "x", "PatientName": "x"}
    found = texts(first, first | {"StudyDescription": "y", "PatientName": "y"})
    assert [row for row, _ in found] == [2, 2, 3, 3]
    assert [("PatientName" in text, "StudyDescription" in text) for _, text in found] == [
        (False, True),
        (True, False),
    ] * 2


def test_a_row_that_contradicts_itself_is_told_of_its_cells() -> None:
    private = {"Study": {"Series": {SERIES: {"Instances": {INSTANCE: {"DICOM": {"0009100A": "x", "0009100a": "y"}}}}}}}
    assert texts(call(force=True, updatable=private)) == [
        (2, "asks for different things of 0009100A of its image set, in its own cells.")
    ]


def test_a_row_that_edits_what_it_removes_is_told_so() -> None:
    removed: Any = {"Study": {"Series": {SERIES: {"Instances": {INSTANCE: {}}}}}}
    kept = {"Study": {"Series": {SERIES: {"Instances": {INSTANCE: {"DICOM": {"KVP": "1"}}}}}}}
    assert texts(call(force=True, removable=removed, updatable=kept)) == [
        (2, "removes an instance or series, and also edits it.")
    ]


def test_a_row_that_exchanges_uids_is_told_of_its_cells() -> None:
    def to(uid: str) -> Any:
        return {"DICOM": {"SeriesInstanceUID": uid}}

    swap = {"Study": {"Series": {SERIES: to(SECOND), SECOND: to(SERIES)}}}
    assert texts(call(force=True, updatable=swap)) == [
        (2, "exchanges SeriesInstanceUID between series or instances, in its own cells.")
    ]


def test_no_row_is_named_in_its_own_problem() -> None:
    rows = [named(str(n % 3)) for n in range(12)]
    found = pl.DataFrame(texts(*rows), schema=["row", "text"], orient="row")
    own = found.filter(pl.col("text").str.contains(pl.format("row {}\\b", "row")))
    assert (found.height, own.height) == (12, 0)
