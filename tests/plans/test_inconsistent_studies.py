"""A list that takes a study apart is told: refused if rows undo one another, and else a warning of the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bulkedit import plans
from tests.plans.test_study_wide import AUTO, OFF, ON, codes, image_set, known, made, revert
from tests.runs.factories import row

if TYPE_CHECKING:
    import polars as pl

    from tests.plans.test_study_wide import Rows

LAST = plans.Contradictions.LAST
ABOUT = known(3, 1, others=1)
ORIGINAL = "as it was"


def described(one: int, value: str = "X", **fields: Any) -> dict[str, Any]:
    return row(image_set(0, one), "StudyDescription", value, **fields)


def whole(value: str = "X", one: int = 0) -> dict[str, Any]:
    """A row that asks for the whole study."""
    return described(one, value, study_wide=True)


ALL = [described(0), described(1), described(2)]


@pytest.mark.parametrize("mode", [AUTO, ON])
@pytest.mark.parametrize("asked", [ALL, [whole()]], ids=["each image set", "the study"])
def test_a_revert_of_a_part_of_what_is_edited_whole_is_refused(asked: Rows, mode: plans.StudyWide) -> None:
    rows = [*asked, revert(image_set(0, 2))]
    plan = made(rows, ABOUT, mode)
    assert codes(plan)[:1] == [(len(rows) + 1, "study-inconsistent")]
    said = plan.set_aside.row(0, named=True)
    assert said["problem"] == (
        "undoes StudyDescription of row 2 in 1 of the 3 primary image sets of its study; not reverted: "
        f"{image_set(0, 0)}, {image_set(0, 1)}."
    )
    assert "`on_contradiction=last`" in said["hint"]
    assert "primary image sets of a study, or in none" in said["likely"]
    kept = made(rows, ABOUT, mode, contradictions=LAST)
    assert codes(kept) == []
    assert plans.inconsistent_studies_of(kept.edits, ABOUT).select("row", "attribute").rows() == [
        (len(rows) + 1, "StudyDescription")
    ]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([*ALL, *(revert(image_set(0, n)) for n in range(3))], id="a revert of all"),
        pytest.param([revert(image_set(0, 2)), *ALL], id="a revert before"),
        pytest.param([*ALL, {**revert(image_set(0, 2)), "version": 1}], id="a revert of a version, which comes first"),
        pytest.param([*ALL, revert(image_set(0, 100))], id="a revert of what is not primary"),
        pytest.param([*ALL, revert(image_set(1, 0))], id="a revert in another study"),
    ],
)
def test_what_leaves_the_study_alike_is_planned(rows: Rows) -> None:
    plan = made(rows, ABOUT)
    assert codes(plan) == []
    assert plans.inconsistent_studies_of(plan.edits, ABOUT).drop_nulls("attribute").height == 0


@pytest.mark.parametrize("mode", [AUTO, ON, OFF])
def test_a_row_that_means_the_study_after_a_revert_is_not_the_same_as_one_before_it(mode: plans.StudyWide) -> None:
    """It means also the image set that has been reverted in between."""
    plan = made([whole(one=1), revert(image_set(0, 1)), whole(one=0)], ABOUT, mode, contradictions=LAST)
    assert plan.edits.sort("call").select("row", "sent").rows() == [(2, True), (3, True), (4, True)]
    assert plans.inconsistent_studies_of(plan.edits, ABOUT).drop_nulls("attribute").height == 0


def test_a_study_of_which_nothing_is_known_is_not_told_of() -> None:
    plan = made([whole(), revert(image_set(0, 2))], None)
    assert (codes(plan), plans.inconsistent_studies_of(plan.edits, None).height) == ([], 0)


def warned(plan: plans.Plan, about: pl.DataFrame = ABOUT) -> list[tuple[str, list[int]]]:
    return [(one["code"], one["rows"]) for one in plans.warnings(plans.inconsistent_studies_of(plan.edits, about))]


def test_without_study_wide_calls_what_is_sent_as_it_stands_is_a_warning() -> None:
    """Of what the user has asked for by name nothing is refused."""
    assert warned(made(ALL, ABOUT, OFF)) == []
    assert warned(made(ALL[:2], ABOUT, OFF)) == [("study-inconsistent", [2, 3])]
    assert warned(made([described(0, "Y", version=1), *ALL[1:]], ABOUT, OFF)) == [("study-inconsistent", [2, 3, 4])]
    assert warned(made([whole(), revert(image_set(0, 2))], ABOUT, OFF)) == [("study-inconsistent", [3])]
    assert warned(made([whole("Y"), described(1)], ABOUT, OFF, contradictions=LAST)) == [("study-inconsistent", [3])]


def test_a_revert_of_a_part_of_a_study_may_take_it_apart() -> None:
    (warning,) = plans.warnings(plans.inconsistent_studies_of(made([revert(image_set(0, 2))], ABOUT).edits, ABOUT))
    assert (warning["code"], warning["rows"], warning["more"]) == ("study-part-reverted", [2], 0)
    assert f"not {image_set(0, 0)}, {image_set(0, 1)}." in warning["problem"]


def test_a_warning_names_the_first_rows_and_counts_the_others() -> None:
    about = known(*[2] * 150)
    rows = [revert(image_set(study, 0)) for study in range(150)]
    (warning,) = plans.warnings(plans.inconsistent_studies_of(made(rows, about).edits, about))
    assert (len(warning["rows"]), warning["more"]) == (100, 50)
    assert "150 studies" in warning["problem"]


@st.composite
def some_row(draw: st.DrawFn) -> dict[str, Any]:
    one = draw(st.integers(0, 2))
    if draw(st.integers(0, 2)) == 0:
        return revert(image_set(0, one))
    attribute = draw(st.sampled_from(["StudyDescription", "AccessionNumber"]))
    asked = row(image_set(0, one), attribute, draw(st.sampled_from("XY")), study_wide=draw(st.booleans()))
    return {**asked, "version": draw(st.sampled_from([None, None, 1]))}


@given(st.lists(some_row(), min_size=1, max_size=7))
def test_exactly_the_lists_that_take_a_study_apart_are_told(rows: Rows) -> None:
    """Compared with a dictionary for each image set, in the order of the planned calls; older versions are empty."""
    plan = made(rows, ABOUT, OFF, contradictions=LAST)
    assume(not plan.set_aside.height)
    stored: dict[str, dict[str, str]] = {image_set(0, one): {} for one in range(3)}
    for edit in plan.edits.sort("call", "edit").iter_rows(named=True):
        if edit["action"] == "revert":
            stored[edit["image_set_id"]].clear()
        for key in stored if edit["study_wide"] else (edit["image_set_id"],):
            if edit["action"] == "set":
                stored[key][edit["attribute"]] = edit["value"]
    differ = any(now != stored[image_set(0, 0)] for now in stored.values())
    assert bool(plans.inconsistent_studies_of(plan.edits, ABOUT).drop_nulls("attribute").height) == differ
