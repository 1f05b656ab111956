"""What holds already is left out of a plan, and the final documents are the same with it and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkedit import plans
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits.edit import in_order, json_text
from bulkedit.options.listing import StudyWide
from tests.emulator.hospital import document
from tests.examples import examples
from tests.plans.test_proof import STORED, an_edit, execute, hospital, plan_of, possible, rows_of, without_ids
from tests.runs.factories import frame

if TYPE_CHECKING:
    from collections.abc import Callable


ONE = "0" * 32
CHOSEN = plans.PlanningSettings(
    rules=dicom.RULES["2026"], payload_limit=10_000, contradictions=plans.Contradictions.LAST
)


def can_leave_out(
    rows: list[dict[str, Any]],
    documents: Callable[[str], dict[str, Any]],
    known: pl.DataFrame | None = None,
    **changed: Any,
) -> list[bool]:
    """Of each edit in the order in which they are made: is it left out?"""
    edits = in_order(frame(rows))
    flags = [False] * edits.height
    for (image_set_id,), mine in edits.with_row_index("place").group_by("image_set_id"):
        asked: list[Any] = mine.to_dicts()
        found = plans.already_satisfied(asked, documents(str(image_set_id)))
        for place, already_satisfied in zip(mine["place"], found, strict=True):
            flags[place] = already_satisfied
    chosen = plans.PlanningSettings(**{**{name: getattr(CHOSEN, name) for name in CHOSEN.__slots__}, **changed})
    return plans.can_leave_out(edits.with_columns(already_satisfied=pl.Series(flags)), known, chosen).to_list()


@st.composite
def an_edit_that_may_hold(draw: st.DrawFn) -> dict[str, Any]:
    """Often one that asks for what is stored."""
    edit = draw(an_edit())
    if edit["action"] == "set" and edit["attribute"] in STORED and draw(st.booleans()):
        return edit | {"value": json_text(STORED[edit["attribute"]])}
    return edit


@given(edits=st.lists(an_edit_that_may_hold(), min_size=1, max_size=8), data=st.data())
@examples(4)
def test_what_is_left_out_changes_no_final_document(
    tmp_path_factory: pytest.TempPathFactory, edits: list[dict[str, Any]], data: st.DataObject
) -> None:
    where = data.draw(st.lists(st.integers(0, 1), min_size=len(edits), max_size=len(edits)))
    edits, where = possible(edits, where)
    if not edits:
        return
    (whole, ids, _), (less, _, _) = hospital(2), hospital(2)
    rows = rows_of(edits, ids, where)
    left_out = can_leave_out(rows, less.metadata)
    ordered = in_order(frame(rows))
    plan = plan_of(rows)
    rest = plans.make(ordered.filter(~pl.Series(left_out, dtype=pl.Boolean)), CHOSEN)
    assert not rest.set_aside.height
    assert rest.calls.height <= plan.calls.height
    execute(tmp_path_factory.mktemp("whole"), whole, plan, 10_000)
    if rest.calls.height:
        execute(tmp_path_factory.mktemp("less"), less, rest, 10_000)
    for image_set_id in ids:
        assert without_ids(less.metadata(image_set_id)) == without_ids(whole.metadata(image_set_id))


def change(attribute: str | None, value: str | None, **more: Any) -> dict[str, Any]:
    edit = {"action": "set", "level": "Patient", "attribute": attribute, "value": value, "selector": "image_set_id"}
    nothing = dict.fromkeys(("series_uid", "instance_uid", "version", "order", "revert_to"))
    return {**nothing, **edit, "key": ONE, "force": False, "study_wide": False, **more}


NAME, DOE = "PatientName", '"DOE^JANE"'
SERIES = {"level": "Series", "series_uid": "1.2.3.1"}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([change(NAME, DOE)], [True]),
        ([change(NAME, '"X"')], [False]),
        ([change(NAME, '"X"'), change("PatientID", '"P1"')], [False, True]),
        ([change(NAME, '"X"'), change(NAME, DOE)], [True, True]),
        ([change(NAME, DOE), change(NAME, '"X"')], [False, False]),
        ([change(NAME, DOE, order=2), change(NAME, '"X"', order=1)], [True, True]),
        ([change(NAME, DOE), change("PatientID", '"P1"', version=3)], [False, False]),
        ([change(NAME, DOE), change(None, None, action="revert", level=None, revert_to=1)], [False, False]),
        ([change("PatientComments", "{}", action="remove")], [True]),
        ([change(NAME, "{}", action="remove")], [False]),
        ([change("PatientComments", '"a"', action="remove")], [True]),
        ([change("PatientComments", '"a"'), change("PatientComments", '"a"', action="remove")], [False, False]),
        ([change(NAME, '"X"', force=True), change(NAME, DOE)], [False, False]),
        ([change(NAME, DOE, force=True), change(NAME, DOE)], [True, True]),
        ([change("Modality", '"CT"', level="Series", series_uid="9.9.9")], [False]),
        ([change(None, None, action="remove-series", level="Series", series_uid="9.9.9", force=True)], [True]),
        (
            [change(None, None, action="remove-series", force=True, **SERIES), change(NAME, DOE)],
            [False, False],
        ),
        ([change("SeriesInstanceUID", '"1.2.3.1"', force=True, **SERIES), change(NAME, DOE)], [True, True]),
        ([change("SeriesInstanceUID", '"1.2.3.9"', force=True, **SERIES), change(NAME, DOE)], [False, False]),
        ([change("SeriesInstanceUID", '"1.2.3.1"', force=True, level="Series", series_uid="9.9.9")], [True]),
        ([change(NAME, DOE, study_wide=True), change("PatientID", '"P1"')], [False, False]),
    ],
)
def test_what_is_left_out(rows: list[dict[str, Any]], expected: list[bool]) -> None:
    content = document(study="1.2.3", patient="P1")
    content["Patient"]["DICOM"][NAME] = "DOE^JANE"
    assert can_leave_out(rows, lambda _: content) == [*expected]


def test_a_row_of_the_call_form_is_left_out_with_all_of_its_image_set() -> None:
    content = document(study="1.2.3", patient="P1")
    content["Patient"]["DICOM"][NAME] = "DOE^JANE"
    rows = [change(NAME, DOE), change("PatientID", '"P2"')]
    assert can_leave_out(rows, lambda _: content) == [True, False]
    assert can_leave_out(rows, lambda _: content, whole_rows=True) == [False, False]


@pytest.mark.parametrize(
    ("mode", "renamed", "expected"),
    [
        (StudyWide.AUTO, (), [True, True, True]),
        (StudyWide.AUTO, ("1",), [False, False, True]),
        (StudyWide.OFF, ("1",), [True, False, True]),
        (StudyWide.ON, (), [False, False, True]),
    ],
)
def test_what_one_call_changes_in_a_study_is_left_out_for_all_of_it(
    mode: StudyWide, renamed: tuple[str, ...], expected: list[bool]
) -> None:
    """Of two primary image sets of a study, and one that is alone in its own."""

    def stored(image_set_id: str) -> dict[str, Any]:
        content = document(study="1.2.3", patient="P1")
        content["Patient"]["DICOM"][NAME] = "OLD" if image_set_id.strip("0") in renamed else "DOE^JANE"
        return content

    ids = [f"{number:032d}" for number in (0, 1, 2)]
    known = pl.DataFrame({"image_set_id": ids, "study": ["a", "a", "b"], "primary": True}, schema=plans.KNOWN)
    rows = [change(NAME, DOE, key=image_set_id) for image_set_id in ids]
    assert can_leave_out(rows, stored, known, study_wide=mode) == expected
