"""What is said of rows that cannot be planned: by kind, with the rows in ranges, and whether that is all."""

from __future__ import annotations

import polars as pl
import pytest

from bulkedit.edits import SET_ASIDE
from bulkedit.plans.bad_rows import in_columns_of, is_shown_whole, kinds, problems_text, with_reasons


def bad(*lines: tuple[int, str | None, str, str]) -> pl.DataFrame:
    full = [(row, column, code, problem, None, f"Hint of {code}.") for row, column, code, problem in lines]
    return pl.DataFrame(full, schema=SET_ASIDE, orient="row")


def test_kinds_are_counted_by_rows_the_most_frequent_first() -> None:
    found = bad((2, "a", "x", "p"), (2, "a", "x", "q"), (2, "b", "x", "p"), (3, "b", "x", "p"), (9, None, "y", "p"))
    assert [tuple(one.values()) for one in kinds(found)] == [("x", "b", 2, 2), ("x", "a", 1, 2), ("y", None, 1, 9)]
    assert problems_text(found).startswith("By kind: 2 x (column b), 1 x (column a), 1 y.\n\n")


@pytest.mark.parametrize(
    ("rows", "said", "whole"),
    [
        ([4017], "Row 4,017: p", True),
        ([2, 3, 4, 9], "Rows 2-4, 9: p", True),
        (range(2, 1_000_002), "Rows 2-1000001: p", True),
        (range(2, 22, 2), "Rows 2, 4, 6, 8, 10 and 5 more: p", False),
        ([3, 3, 3], "Row 3: p", True),
    ],
)
def test_rows_with_one_problem_are_one_line(rows: range | list[int], said: str, whole: bool) -> None:
    found = bad((0, "a", "x", "p")).select(pl.all().exclude("row").repeat_by(len(rows)).explode())
    found = found.with_columns(row=pl.Series(rows, dtype=pl.UInt32)).select(*SET_ASIDE)
    assert problems_text(found) == f"{said}\nHint of x."
    assert is_shown_whole(found) is whole


def test_many_problems_and_kinds_are_cut_and_that_is_said() -> None:
    many = bad(*((n, "a", "x", f"p{n}") for n in range(9)))
    assert "… and 4 more like these." in problems_text(many)
    assert not is_shown_whole(many)
    kinds_ = bad(*((n, "a", f"x{n}", "p") for n in range(20)))
    assert problems_text(kinds_).endswith("… and problems of other kinds.")
    assert ", 12 more kinds." in problems_text(kinds_)
    assert not is_shown_whole(kinds_)


def test_a_problem_of_the_planner_is_in_a_column_that_the_list_has() -> None:
    found = bad((2, "value", "x", "p"), (2, "version", "x", "p"))
    columns = {form: in_columns_of(form, found)["column"].to_list() for form in ("tidy", "wide", "call")}
    assert columns == {"tidy": ["value", "version"], "wide": [None, "version"], "call": ["updates", "version"]}


def test_the_rows_that_are_set_aside_have_their_problems_beside_them() -> None:
    raw = pl.DataFrame(
        {"row": [2, 3], "code": ["A1", "A2"], "problem": ["old", "old"]}, schema_overrides={"row": pl.UInt32}
    )
    found = bad((2, "a", "x", "p."), (2, "b", "y", "q."), (2, "c", "x", "r."))
    assert with_reasons(raw, found, set()).rows() == [(2, "x y", "p. q. r."), (3, None, None)]
    assert with_reasons(raw, found, {"code"}).rows() == [(2, "A1", "p. q. r."), (3, "A2", None)]
