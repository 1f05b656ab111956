"""Every row of Annex E with a canary in it, at depth 0, 1 and 2 and in private blocks, under every edition and option.

What is due is worked out here from the tables alone, without the rules of the package.
"""

from __future__ import annotations

import base64
import csv
import importlib
import json
from datetime import date, timedelta
from importlib import resources
from typing import Any

import pytest

from bulkedit.deidentification.table import EDITIONS, table
from bulkedit.dicom import dictionary as dicom
from tests.deidentification.walkers import ID, applied, document, level_of, made, walker

OPTIONS = [
    "retain-uids",
    "retain-device-identity",
    "retain-institution-identity",
    "retain-patient-characteristics",
    "retain-full-dates",
    "retain-modified-dates",
    "clean-descriptors",
    "clean-structured-content",
    "clean-graphics",
    "retain-safe-private",
]
SETS = [
    [],
    *([option] for option in OPTIONS),
    ["retain-full-dates", "retain-patient-characteristics", "clean-descriptors", "clean-structured-content"],
    ["retain-modified-dates", "retain-device-identity", "clean-graphics"],
    ["retain-uids", "retain-full-dates", "retain-device-identity", "retain-institution-identity"],
]
OUTER, INNER = "ReferencedSeriesSequence", "ReferencedSOPSequence"  # neither is in Annex E
DATES = {"DA", "TM", "DT"}
# by the letters of Table E.1-1: what must not survive. U* is for the UIDs inside.
CODES = {"D_TAGS", "Z_TAGS", "X_TAGS", "U_TAGS", "Z_D_TAGS", "X_Z_TAGS", "X_D_TAGS", "X_Z_D_TAGS", "X_Z_U_STAR_TAGS"}


def tags(edition: str) -> list[int]:
    """The tags of an edition, straight from the package; of repeating groups the first of the group."""
    found = importlib.import_module(f"dicomanonymizer.dicom_anonymization_databases.{EDITIONS[edition][0]}")
    return [tag[0] << 16 | (tag[1] or 0x3000 * (len(tag) == 4)) for name in CODES for tag in getattr(found, name)]


def option_codes() -> dict[str, dict[str, str]]:
    text = resources.files("bulkedit").joinpath("data/deid/annex-e-options-2024b.csv").read_text("utf-8")
    return {line["tag"].replace(",", ""): line for line in csv.DictReader(text.splitlines())}


def canary(tag: int, vr: str, number: int, *, multi: bool) -> Any:
    """A value of the VR that is found nowhere else."""
    kind = dicom.VRS[vr].kind
    one: Any = f"CANARY{tag:08X}X{number}"
    if vr == "SQ":
        return [{"CodeMeaning": one, "ReferencedSOPInstanceUID": f"1.2.999.{number}"}]
    if vr == "AS":
        one = f"0{number % 80 + 10}Y"
    elif vr == "DA":
        one = f"{date(1950, 1, 1) + timedelta(number):%Y%m%d}"
    elif vr == "TM":
        one = f"{number % 23:02}{number % 59:02}17.{number:06}"
    elif vr == "DT":
        one = f"{date(1950, 1, 1) + timedelta(number):%Y%m%d}101112.{number:06}"
    elif vr in {"DS", "IS"}:
        one = str(10_000 + number)
    elif vr == "UI":
        one = f"1.2.999.{number}"
    elif kind in {dicom.ValueKind.INTEGER, dicom.ValueKind.FLOAT}:
        one = 10_000 + number
    elif kind is dicom.ValueKind.BINARY:
        one = base64.b64encode(str(one).encode()).decode()
    return [one] if multi else one


def due(tag: int, vr: str, on: list[str], codes: dict[str, dict[str, str]]) -> str:
    """``keep``, ``inside`` (the sequence stays, its canaries go by their own rules) or ``gone``."""
    key = f"{tag:08X}"
    row = codes.get(key) or codes.get(f"{key[:2]}XX{key[4:]}") or {}
    given = {option: row.get(option.replace("-", "_"), "") for option in on}
    if vr in DATES and "retain-modified-dates" in on and given["retain-modified-dates"] == "C":
        return "gone"
    if "K" in given.values():
        return "inside" if vr == "SQ" else "keep"
    if "C" in given.values() and vr == "SQ":
        return "inside"
    return "gone"


@pytest.mark.parametrize("on", SETS, ids="+".join)
@pytest.mark.parametrize("edition", EDITIONS)
def test_no_canary_survives_and_none_is_lost(  # noqa: C901 - one check an outcome
    edition: str, on: list[str]
) -> None:
    codes = option_codes()
    profile = made(f'edition = "{edition}"\noptions = {json.dumps(on)}\n[dates]\ndays = [-900, -800]\nseconds = true\n')
    content = document({OUTER: [{INNER: [{}]}]})
    inside = level_of(content, "Instance")[OUTER][0]
    deepest = inside[INNER][0]
    private = {"00190010": "MAKER", "00191010": [{}], "00191011": "CANARYPRIVATE"}
    expected: list[tuple[int, str, str, Any, str, dicom.Level]] = []
    number = 0
    for tag in tags(edition):
        key = dicom.key_of(tag)
        known = dicom.attribute(key)
        assert known is not None
        vr = "LO" if known.vr == "UN" and key == f"{tag:08X}" else known.vr
        for depth, place in enumerate((level_of(content, str(known.level)), inside, deepest)):
            if depth == 0 and key in dicom.FORCED_UIDS:
                continue
            number += 1
            value = place[key] = canary(tag, vr, number, multi=known.multi)
            fate = due(tag, vr, on, codes)
            star = table(edition).of(tag)
            if star is not None and star.code == "X/Z/U*" and fate == "gone":
                fate = "inside"
            expected.append((depth, key, fate, value, vr, known.level))
        private["00191010"][0][key] = f"CANARY{tag:08X}P"  # type: ignore[index]
    level_of(content, "Instance").update(private)

    derived = walker(profile, limit=10_000_000).derive(ID, content)
    assert [found for found in derived.findings if found.kind != "unreadable-date"] == []
    after = applied(content, derived.edits)

    survivors, losses = [], []
    within = level_of(after, "Instance")[OUTER][0]
    for depth, key, fate, value, _, level in expected:
        place = [level_of(after, str(level)), within, within[INNER][0]][depth]
        if fate == "keep" and place.get(key) != value:
            losses.append((depth, key))
        if fate == "gone" and place.get(key) == value:
            survivors.append((depth, key))
        if fate == "inside":
            kept = place[key][0]
            if kept["CodeMeaning"] != value[0]["CodeMeaning"]:
                losses.append((depth, key))
            if "retain-uids" not in on and kept["ReferencedSOPInstanceUID"] == value[0]["ReferencedSOPInstanceUID"]:
                survivors.append((depth, key))
    gone = {f"CANARY{dicom.attribute(k).tag:08X}" for _, k, fate, _, _, _ in expected if fate == "gone"}  # type: ignore[union-attr]
    text = json.dumps(after)
    survivors += [(-1, word) for word in gone if word in text and f'"{word}' in text]
    assert (survivors, losses) == ([], [])
    assert "CANARYPRIVATE" not in text
    assert "MAKER" not in text


def test_a_canary_survives_where_its_rule_is_taken_out() -> None:
    """The test above can fail."""
    profile = made('[[override]]\nattribute = "PatientComments"\naction = "keep"\n')
    content = document(patient={"PatientComments": "CANARY"})
    assert "CANARY" in json.dumps(applied(content, walker(profile).derive(ID, content).edits))


@pytest.mark.parametrize(("edition", "count"), [("2023", 609), ("2024b", 620), ("2026c", 655)])
def test_each_edition_has_the_rows_it_was_made_for(edition: str, count: int) -> None:
    assert len(table(edition)) == count == len(set(tags(edition)))
