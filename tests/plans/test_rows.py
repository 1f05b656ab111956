"""Rows with several cells, also of UIDs: each ends as if the rows were applied one by one, the UIDs of a row last.

A row that names a series or instance by its old UID means the one that had it, whether or not the service changes the
keys of its documents with the UIDs.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkedit import plans
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits.edit import json_text
from tests.emulator.hospital import Service, document, in_study
from tests.emulator.hospital import settings as hospital_settings
from tests.examples import examples
from tests.plans.reference import Reference, meant, note, renamed
from tests.plans.test_proof import execute, without_ids
from tests.runs.factories import frame

if TYPE_CHECKING:
    from pathlib import Path

SERIES = "1.2.3.1"
INSTANCES = [f"{SERIES}.{number}" for number in (1, 2, 3)]
NEW = ["9.1", "9.2", "9.3"]
CELLS = {
    "PatientName": (["a", "b"], ()),
    "StudyDescription": (["a", "b", "x" * 60], ()),
    "SeriesNumber": (["5", "6"], ("series_uid",)),
    "KVP": (["80", "100"], ("series_uid", "instance_uid")),
    "AcquisitionNumber": (["1", "2"], ("series_uid", "instance_uid")),
    "SOPInstanceUID": ([*NEW, *INSTANCES], ("series_uid", "instance_uid")),
    "SeriesInstanceUID": (["9", SERIES], ("series_uid",)),
}
UIDS = ["SOPInstanceUID", "SeriesInstanceUID"]
Row = dict[str, Any]


def a_row(names: dict[str, str], *, series: str = SERIES, instance: str = INSTANCES[0], **fields: Any) -> Row:
    """One row of a wide list; its cells are applied in the order of its columns."""
    return {"series_uid": series, "instance_uid": instance, "cells": names, "force": True, **fields}


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    found: list[Row] = []
    new = dict[str, str]()  # the last new UID by the old one
    for _ in range(draw(st.integers(1, 6))):
        if draw(st.sampled_from([False] * 9 + [True])):
            found.append(a_row({}, revert_to=draw(st.sampled_from([1, 2]))))
            continue
        names = draw(st.lists(st.sampled_from(list(CELLS)), min_size=1, max_size=4, unique=True))
        cells = {name: draw(st.sampled_from(CELLS[name][0])) for name in names}
        series = draw(st.sampled_from([SERIES] * 4 + ["9"]))
        instance = draw(st.sampled_from([*INSTANCES * 2, *NEW]))
        uid = cells.get("SOPInstanceUID")
        several = instance in new and not {uid, new[instance]} <= {*NEW}
        if uid in new.values() or several:  # several changes of one UID are one: here none of them is refused
            cells.pop("SOPInstanceUID", None)
        elif uid is not None:
            new[instance] = uid
        force = bool(cells.keys() & set(UIDS)) or draw(st.booleans())
        order = draw(st.sampled_from([None, None, None, 1, 2]))
        if cells:
            removed = {name for name in cells if name in {"KVP", "SeriesNumber"} and draw(st.integers(0, 5)) == 0}
            found.append(a_row(cells, series=series, instance=instance, force=force, order=order, removed=removed))
    return found


def edits_of(list_: list[Row], image_set_id: str) -> list[dict[str, Any]]:
    """Edits as the reader makes them of the rows, numbered as a spreadsheet numbers rows."""
    found = []
    for number, row in enumerate(list_, 2):
        common = {"row": number, "selector": "image_set_id", "key": image_set_id, "study_wide": False}
        common |= {"force": row["force"], "version": row.get("version"), "order": row.get("order")}
        nothing = dict.fromkeys(("level", "series_uid", "instance_uid", "attribute", "value", "revert_to"))
        if "revert_to" in row:
            revert = {"action": "revert", "revert_to": row["revert_to"], "force": False, "order": None}
            found.append({**nothing, **common, **revert})
        for name, value in row["cells"].items():
            known = dicom.attribute(name)
            assert known is not None
            places = {column: row[column] for column in CELLS[name][1]}
            asked = {"action": "set", "value": json_text(value)}
            if name in row.get("removed", ()):
                asked = {"action": "remove", "value": "{}" if value in {"80", "5"} else json_text("120 ")}
            found.append({**nothing, **common, **asked, **places, "level": str(known.level), "attribute": name})
    return found


def one_by_one(list_: list[Row], reference: Reference, *, whole: bool = False) -> dict[tuple[int, str | None], str]:
    """The outcome of each cell by row and attribute; the rows are applied by order, then by number.

    ``whole``: a row is applied whole or not at all.
    """
    edits = edits_of(list_, "")
    order = sorted({edit["row"] for edit in edits}, key=lambda n: _place(list_[n - 2], n))
    outcomes: dict[tuple[int, str | None], str] = {}
    new: dict[str, str] = {}
    for number in order:
        cells = [edit for edit in edits if edit["row"] == number]
        before = reference.document, dict(new)
        found = {edit["attribute"]: _outcome(edit, reference, new) for edit in sorted(cells, key=_uids_last)}
        if whole and "rejected" in found.values():
            found = dict.fromkeys(found, "rejected")
            reference.document, new = before
        outcomes |= {(number, name): outcome for name, outcome in found.items()}
    return outcomes


def _uids_last(edit: dict[str, Any]) -> int:
    return UIDS.index(edit["attribute"]) + 1 if edit["attribute"] in UIDS else 0


def _outcome(edit: dict[str, Any], reference: Reference, new: dict[str, str]) -> str:
    """Apply one edit to whatever has its UIDs now, and note the UID that it gives."""
    if edit["action"] == "revert":
        new.clear()
    found = reference.apply(meant(edit, reference.document, new))
    if found == "applied":
        note(edit, new)
    return found


def _place(row: Row, number: int) -> tuple[float, int]:
    order = row.get("order")
    return (9.0 if order is None else order), number


def hospital(uid_keys: str) -> tuple[Service, str, Reference]:
    service = Service(hospital_settings("2026", uid_keys=uid_keys))
    image_set_id = service.add(document(study="1.2.3", instances=3), primary=False)
    history = [service.metadata(image_set_id)]
    for version in (2, 3):
        service.outcome(image_set_id, in_study(StudyDescription=f"v{version}"))
        history.append(service.metadata(image_set_id))
    return service, image_set_id, replace(Reference.with_history(history), renames_keys=uid_keys == "renamed")


def plan_of(list_: list[Row], image_set_id: str = "0" * 32, limit: int = 10_000, **settings: Any) -> plans.Plan:
    return plans.make(frame(edits_of(list_, image_set_id)), settings_of(limit, **settings))


def settings_of(limit: int = 10_000, **settings: Any) -> plans.PlanningSettings:
    chosen = {"contradictions": plans.Contradictions.LAST, **settings}
    return plans.PlanningSettings(rules=dicom.RULES["2026"], payload_limit=limit, **chosen)


def ends_as_one_by_one(folder: Path, list_: list[Row], uid_keys: str, limit: int, *, merge: bool = True) -> plans.Plan:
    """Plan and run the rows that are not set aside, and compare their cells and the document with the reference."""
    bad = set(plan_of(list_, limit=limit, merge=merge).set_aside["row"].to_list())
    list_ = [a_row({}) if number in bad else row for number, row in enumerate(list_, 2)]
    service, image_set_id, reference = hospital(uid_keys)
    plan = plan_of(list_, image_set_id, limit, merge=merge)
    if not plan.edits.height:
        return plan
    outcomes, _ = execute(folder, service, plan, limit)
    planned = plan.edits.sort("row", maintain_order=True).select("row", "attribute").rows()
    expected = one_by_one(list_, reference, whole=not merge)
    assert dict(zip(planned, outcomes, strict=True)) == expected
    assert without_ids(service.metadata(image_set_id)) == without_ids(reference.document)
    return plan


@pytest.mark.parametrize("uid_keys", ["renamed", "kept"])
@pytest.mark.parametrize("merge", [True, False], ids=["merged", "each row a call"])
@given(list_=rows(), limit=st.sampled_from([10_000, 10_000, 250]))
@examples(4)
def test_rows_end_as_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, uid_keys: str, merge: bool, list_: list[Row], limit: int
) -> None:
    ends_as_one_by_one(tmp_path_factory.mktemp("run"), list_, uid_keys, limit, merge=merge)


# -- no plan with fewer calls would do


def leaves(calls: list[list[dict[str, Any]]], reference: Reference) -> dict[str, Any] | None:
    """The document after calls that are applied whole: all paths are those before the call. None if one is refused."""
    keys_follow, reference.renames_keys = reference.renames_keys, False
    for call in calls:
        last = {
            tuple(edit[name] for name in ("level", "series_uid", "instance_uid", "attribute")): edit for edit in call
        }
        if any(reference.apply(edit) != "applied" for edit in last.values()):
            return None
        if keys_follow:
            reference.document = renamed(copy.deepcopy(reference.document))
    return reference.document


@given(rows())
@examples(10)
def test_no_plan_of_rows_with_new_uids_has_fewer_calls(list_: list[Row]) -> None:
    """Every way to put the forced cells of a list into fewer calls is tried; none leaves the same document."""
    list_ = [
        a_row(row["cells"], series=row["series_uid"], instance=row["instance_uid"]) for row in list_ if row["cells"]
    ]
    # whether a UID can be freed and given in one call is not known, so these are planned apart
    cells = [cell for cell in edits_of(list_, "") if cell["value"].strip('"') not in INSTANCES][:6]
    if not cells:
        return
    plan = plans.make(frame(cells), settings_of())
    documents = {}
    for uid_keys in ("renamed", "kept"):
        *_, reference = hospital(uid_keys)
        new: dict[str, str] = {}
        order = sorted(cells, key=lambda cell: (cell["row"], _uids_last(cell)))
        if all(_outcome(cell, reference, new) == "applied" for cell in order):
            documents[uid_keys] = without_ids(reference.document)
    if plan.set_aside.height or "renamed" not in documents:
        return
    for count in range(1, plan.calls.height):
        for places in itertools.product(range(count), repeat=len(cells)):
            calls = [[cell for cell, place in zip(cells, places, strict=True) if place == at] for at in range(count)]
            found = {uid_keys: leaves(calls, hospital(uid_keys)[2]) for uid_keys in documents} if all(calls) else {}
            done = [one is not None and without_ids(one) == documents[uid_keys] for uid_keys, one in found.items()]
            assert not done or not all(done), calls


def test_a_row_in_several_calls_is_counted() -> None:
    long = "x" * 150
    cells = a_row({"PatientName": long, "KVP": "80", "StudyDescription": long})
    plan = plan_of([a_row(EDITED, instance=B), cells], limit=500)
    assert (plan.calls.height, plans.estimate(plan).rows_in_several_calls) == (2, 0)
    plan = plan_of([a_row(EDITED, instance=B), cells], limit=300)
    assert plans.rows_in_several_calls(plan)["row"].to_list() == [3]
    assert plans.estimate(plan).rows_in_several_calls == 1


A, B, C = INSTANCES
EDITED = {"KVP": "80", "AcquisitionNumber": "1"}


@pytest.mark.parametrize("uid_keys", ["renamed", "kept"])
@pytest.mark.parametrize(
    ("list_", "calls"),
    [
        pytest.param([a_row({"SOPInstanceUID": "9.1", **EDITED, "PatientName": "a"})], 1, id="the UID comes first"),
        pytest.param([a_row({"SeriesInstanceUID": "9", "SOPInstanceUID": "9.1", **EDITED})], 1, id="two UIDs first"),
        pytest.param(
            [a_row({"SeriesInstanceUID": "9", "SOPInstanceUID": new, **EDITED}, instance=old)
             for old, new in zip(INSTANCES, NEW, strict=True)],
            1,
            id="each instance has a row",
        ),
        pytest.param([a_row({"SOPInstanceUID": "9.1"}), a_row(EDITED)], 1, id="the old UID in a later row"),
        pytest.param(
            [a_row({"SOPInstanceUID": "9.1"}), a_row(EDITED, force=False)], 2, id="the old UID in a later row, unforced"
        ),
        pytest.param(
            [a_row({"KVP": "100"}), a_row({"KVP": "80"}, force=False), a_row({"SOPInstanceUID": "9.1"})],
            3,
            id="the UID waits for the last edit inside",
        ),
        pytest.param(
            [a_row({"SOPInstanceUID": "9.1"}), a_row({"SOPInstanceUID": "9.2"}, instance=B), a_row(EDITED, instance=B)],
            1,
            id="two instances",
        ),
    ],
)  # fmt: skip
def test_cells_of_a_row_are_one_change(tmp_path: Path, uid_keys: str, list_: list[Row], calls: int) -> None:
    plan = ends_as_one_by_one(tmp_path, list_, uid_keys, 10_000)
    assert (plan.calls.height, plan.set_aside.height) == (calls, 0)


@pytest.mark.parametrize("uid_keys", ["renamed", "kept"])
def test_a_refused_cell_leaves_the_others_of_a_call_of_new_uids(tmp_path: Path, uid_keys: str) -> None:
    """Every row gives the series its UID: the parts of the refused call do not lose their paths by it."""
    list_ = [
        a_row({"SeriesInstanceUID": "9", "SOPInstanceUID": new, **EDITED}, instance=old)
        for old, new in zip(INSTANCES, NEW, strict=True)
    ]
    wrong = {"KVP": "100", "SeriesInstanceUID": "9"}
    list_.append(a_row(wrong, instance=C, removed={"KVP"}))  # a removal of another value than the stored one
    assert ends_as_one_by_one(tmp_path, list_, uid_keys, 10_000).calls.height == 2


@pytest.mark.parametrize(
    ("list_", "found"),
    [
        pytest.param(
            [a_row({"SOPInstanceUID": B}), a_row({"SOPInstanceUID": "9.1"}, instance=B)],
            {(2, "chained-rename"), (3, "chained-rename")},
            id="one instance twice, or two",
        ),
        pytest.param(
            [a_row({"SOPInstanceUID": B}, order=1), a_row({"SOPInstanceUID": "9.1"}, instance=B, order=2)],
            set(),
            id="the same in an order",
        ),
        pytest.param(
            [a_row({"SOPInstanceUID": B}), a_row({"SOPInstanceUID": A}, instance=B)],
            {(2, "cyclic-rename"), (3, "cyclic-rename")},
            id="a swap",
        ),
        pytest.param(
            [
                a_row({"SOPInstanceUID": "9.1"}, instance=B),
                a_row({"SOPInstanceUID": B}),
                a_row({"KVP": "80"}, instance=B),
            ],
            {(4, "old-uid")},
            id="the old UID belongs to another instance",
        ),
        pytest.param(
            [a_row({"SOPInstanceUID": "9.1"}), a_row({"KVP": "80"}, instance="9.1"), a_row({"AcquisitionNumber": "1"})],
            {(4, "old-uid")},
            id="the old UID after the new one",
        ),
        pytest.param(
            [a_row({"SeriesInstanceUID": "9"}), a_row({"KVP": "80"}, series="9"), a_row({"SeriesNumber": "5"})],
            {(4, "old-uid")},
            id="the old UID of a series after the new one",
        ),
        pytest.param(
            [a_row({"SOPInstanceUID": "9.1"}), a_row({"SeriesInstanceUID": "9"}), a_row({"KVP": "80"}, series="9")],
            {(4, "old-uid")},
            id="the new UID of the series, and the old one of the instance",
        ),
        pytest.param(
            [a_row({"SOPInstanceUID": "9.1"}, version=3), a_row({"KVP": "80"})],
            {(3, "old-uid")},
            id="the row of the UID has its version",
        ),
        pytest.param(
            [a_row({"SOPInstanceUID": "9.1"}), a_row({"SOPInstanceUID": "9.1"}, instance=B), a_row({"KVP": "80"})],
            {(2, "same-uid"), (3, "same-uid")},
            id="two instances get one UID",
        ),
        pytest.param(
            [a_row({"SOPInstanceUID": "9.1"}), a_row({"SOPInstanceUID": "9.1", "KVP": "80"})],
            set(),
            id="one instance gets its UID twice",
        ),
        pytest.param(
            [
                a_row({"SOPInstanceUID": "9.1"}, order=1),
                a_row({"SOPInstanceUID": "9.2"}, order=2),
                a_row({"SOPInstanceUID": "9.1"}, instance=B, order=3),
            ],
            set(),
            id="two instances, and a UID that one of them has for a while",
        ),
        pytest.param(
            [a_row({"SOPInstanceUID": "9.1"}), a_row({}, revert_to=1), a_row({"KVP": "80"})],
            set(),
            id="a revert between",
        ),
    ],
)  # fmt: skip
def test_rows_whose_instance_is_in_doubt_are_told_at_planning(list_: list[Row], found: set[tuple[int, str]]) -> None:
    set_aside = plan_of(list_, contradictions=plans.Contradictions.FAIL).set_aside
    assert set(set_aside.select("row", "code").rows()) == found
    assert not any(uid in text for uid in (*NEW, *INSTANCES) for text in set_aside["problem"])


def test_a_row_with_one_call_of_its_own_stays_before_the_new_uid() -> None:
    """With `merge=False` a row is a call: one cell can wait for later rows, a row with other cells cannot."""
    later = a_row({"AcquisitionNumber": "1"})
    alone = plan_of([a_row({"SOPInstanceUID": "9.1"}), later], merge=False)
    assert alone.edits.get_column("attribute").to_list() == ["AcquisitionNumber", "SOPInstanceUID"]
    beside = plan_of([a_row({"SOPInstanceUID": "9.1", "KVP": "80"}), later], merge=False)
    assert beside.set_aside.select("row", "code").rows() == [(3, "old-uid")]
