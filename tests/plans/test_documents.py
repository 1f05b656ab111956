"""The attribute documents of a plan, joined from text, say exactly what their edits say."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from bulkedit.edits.edit import EDITS
from bulkedit.plans.documents import documents

ATTRIBUTES = {"PatientName": "Patient", "PatientID": "Patient", "StudyDescription": "Study", "AccessionNumber": "Study"}
SERIES, INSTANCES = ["1.2", "1.3"], ["9.1", "9.2"]


@st.composite
def an_edit(draw: st.DrawFn) -> dict[str, Any]:
    action = draw(st.sampled_from(["set", "set", "set", "remove", "remove-instance", "remove-series"]))
    place = draw(st.sampled_from(["top", "series", "instance"]))
    value = draw(st.one_of(st.text(max_size=5), st.none(), st.integers(), st.lists(st.text(max_size=3), max_size=3)))
    edit: dict[str, Any] = {"call": draw(st.integers(0, 3)), "action": action}
    if action == "remove-series":
        return edit | {"level": "Series", "series_uid": draw(st.sampled_from(["7.1", "7.2"]))}
    if action == "remove-instance":
        uids = {"series_uid": draw(st.sampled_from(SERIES)), "instance_uid": draw(st.sampled_from(["8.1", "8.2"]))}
        return edit | {"level": "Instance", **uids}
    edit["value"] = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if place == "top":
        attribute = draw(st.sampled_from(list(ATTRIBUTES)))
        return edit | {"attribute": attribute, "level": ATTRIBUTES[attribute]}
    edit["series_uid"] = draw(st.sampled_from(SERIES))
    if place == "series":
        return edit | {"attribute": draw(st.sampled_from(["Modality", "StationName"])), "level": "Series"}
    edit |= {"level": "Instance", "instance_uid": draw(st.sampled_from(INSTANCES))}
    if draw(st.booleans()):
        return edit | {"attribute": "001910F9", "vr": draw(st.sampled_from(["DS", None])) if action == "set" else None}
    return edit | {"attribute": draw(st.sampled_from(["KVP", "SliceThickness"]))}


def place_of(edit: dict[str, Any]) -> tuple[Any, ...]:
    removal = edit["action"] != "set"
    return edit["call"], removal, edit.get("series_uid"), edit.get("instance_uid"), edit.get("attribute")


def expected(edits: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The documents, built one key at a time."""
    built: dict[int, dict[str, Any]] = defaultdict(lambda: {"updatable": None, "removable": None})
    for edit in edits:
        name = "updatable" if edit["action"] == "set" else "removable"
        root = built[edit["call"]][name] or {"SchemaVersion": 1.1}
        built[edit["call"]][name] = root
        if edit["level"] == "Patient":
            node = root.setdefault("Patient", {})
        else:
            node = root.setdefault("Study", {})
            if edit["level"] != "Study":
                node = node.setdefault("Series", {}).setdefault(edit["series_uid"], {})
            if edit["level"] == "Instance":
                node = node.setdefault("Instances", {}).setdefault(edit["instance_uid"], {})
        if "attribute" in edit:
            node.setdefault("DICOM", {})[edit["attribute"]] = json.loads(edit["value"])
            if edit.get("vr"):
                node.setdefault("DICOMVRs", {})[edit["attribute"]] = edit["vr"]
    return dict(built)


def written(edits: list[dict[str, Any]]) -> pl.DataFrame:
    frame = pl.DataFrame(edits, schema={"call": pl.UInt32(), **EDITS})
    return documents(frame)


@given(st.lists(an_edit(), min_size=1, max_size=30, unique_by=place_of))
def test_the_documents_of_a_call_hold_its_edits_and_nothing_else(edits: list[dict[str, Any]]) -> None:
    found = {
        row["call"]: {name: json.loads(row[name]) if row[name] else None for name in ("updatable", "removable")}
        for row in written(edits).iter_rows(named=True)
    }
    assert found == expected(edits)


@given(st.lists(an_edit(), min_size=1, max_size=30, unique_by=place_of))
def test_every_document_begins_with_the_schema_version_and_wastes_no_byte(edits: list[dict[str, Any]]) -> None:
    for text in written(edits).select(pl.concat_list("updatable", "removable").explode().drop_nulls()).to_series():
        assert text.startswith('{"SchemaVersion":1.1,')
        assert text == json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))


def test_a_removal_without_value_asks_for_a_lookup() -> None:
    edits = [
        {"call": 0, "action": "remove", "level": "Study", "attribute": "StudyDescription", "value": "{}"},
        {"call": 1, "action": "remove", "level": "Study", "attribute": "StudyDescription", "value": '"CHEST"'},
    ]
    assert dict(written(edits).select("call", "lookup").iter_rows()) == {0: True, 1: False}


def test_a_revert_has_no_documents() -> None:
    assert written([{"call": 0, "action": "revert", "revert_to": 1}]).height == 0
