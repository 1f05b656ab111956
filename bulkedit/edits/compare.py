"""Compares metadata documents with the expected result of edits.

Pure: edits and documents in, differences out. Both contain health data.

An edit is compared with the document after *all* edits of the run. If a later edit sets or removes the same attribute,
or removes its instance or series, the edit is *superseded* and has no visible effect. A change of a UID moves the paths
of everything inside (HealthImaging reference, section 3.2), so edits are searched for under the new UID, and under the
old one if the service has kept it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from bulkedit._json import ABSENT
from bulkedit.dicom.compare import same_value
from bulkedit.edits.edit import STORED_VALUE, Action, EditFields, json_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bulkedit._json import Json

_Change = TypeVar("_Change", bound=EditFields)
_RENAMES: Final = {"SeriesInstanceUID", "SOPInstanceUID"}


class Difference(StrEnum):
    """How the data store differs from the expected result of an applied edit."""

    ABSENT = "absent"  # the attribute was set, but is missing
    PRESENT = "present"  # the attribute was removed, but is still there
    VALUE = "other value"
    VR = "other VR"  # of a private element
    CONTENT = "other content"  # than the version of the revert
    PLACE = "place not found"  # the series or instance of the attribute is missing
    IMAGE_SET = "image set not found"


@dataclass(frozen=True, slots=True)
class ExpectedChange(Generic[_Change]):
    """One change of the run, and the place of its effect. Contains values: never log it."""

    change: _Change  # a row of `bulkedit.runs.changes.CHANGES`
    superseded: bool
    followed: bool  # later edits of the run changed the same image set
    series: tuple[str, ...] = ()  # UIDs under which the series may be found, best first
    instance: tuple[str, ...] = ()

    @property
    def action(self) -> Action:
        """The action of the edit."""
        return Action(self.change["action"])

    @property
    def attribute(self) -> str:
        """The attribute that is set or removed; empty for other actions."""
        return self.change["attribute"] or ""

    @property
    def value(self) -> Json:
        """The value that is set or removed."""
        found: Json = json.loads(self.change["value"] or "null")
        return found

    @property
    def whole(self) -> bool:
        """Whether it is a revert, which changes the whole document."""
        return self.action is Action.REVERT


@dataclass(slots=True)
class _Later:
    """Effects of later edits of the run, while its edits are read from last to first."""

    taken: set[tuple[str | None, tuple[str, ...], tuple[str, ...], str | None]] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)  # UIDs of series and instances removed whole
    renamed: dict[str, str] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)  # old UID -> new UID, of all edits of the run
    reverted: bool = False


def expected_changes(changes: Sequence[_Change]) -> list[ExpectedChange[_Change]]:
    """Return the changes of one image set in order, each with its place after all of them.

    ``changes``: in the order of application.
    """
    given = _given(changes)
    later, last = _Later(given=given), len(changes) - 1
    found = [_place(changes[position], later, followed=position < last) for position in range(last, -1, -1)]
    return found[::-1]


def _renaming(change: EditFields) -> tuple[str, str] | None:
    """Return the old and the new UID of an edit that changes the UID of a series or instance."""
    attribute = change["attribute"]
    if Action(change["action"]) is not Action.SET or attribute not in _RENAMES:
        return None
    old = change["series_uid"] if attribute == "SeriesInstanceUID" else change["instance_uid"]
    new = json.loads(change["value"] or "null")
    return (old, new) if old is not None and isinstance(new, str) and new != old else None


def _given(changes: Sequence[EditFields]) -> dict[str, str]:
    """Return the new UID by old UID, for all changes of UIDs."""
    renamings = map(_renaming, changes)
    return dict(renaming for renaming in renamings if renaming is not None)


def _place(change: _Change, later: _Later, *, followed: bool) -> ExpectedChange[_Change]:
    action, attribute = Action(change["action"]), change["attribute"]
    if (renaming := _renaming(change)) is not None:
        old, new = renaming
        later.renamed[old] = later.renamed.get(new, new)
    series, instance = _names(change["series_uid"], later), _names(change["instance_uid"], later)
    key = (change["level"], series[:1], instance[:1], attribute)
    superseded = later.reverted or key in later.taken or any(uid in later.removed for uid in (*series, *instance))
    if action is Action.REVERT:
        later.reverted = True
    elif attribute is None:
        later.removed.update(instance or series)
    else:
        later.taken.add(key)
    return ExpectedChange(change, superseded, followed, series, instance)


def _names(uid: str | None, later: _Later) -> tuple[str, ...]:
    if uid is None:
        return ()
    new = later.renamed.get(uid)
    if new is not None:
        return new, uid
    # an edit may name the old UID after the change of it, if both are in one call
    names = [uid]
    while (given := later.given.get(names[-1])) is not None and given not in names:
        names.append(given)
    return tuple(names)


def difference(
    one: ExpectedChange[_Change], document: Mapping[str, Json], target: Mapping[str, Json] | None = None
) -> Difference | None:
    """Return how a document differs from the expected result of an edit; None if it does not.

    ``target``: the document of the version of a revert.
    """
    if one.action is Action.REVERT:
        return None if is_as(document, target) else Difference.CONTENT
    part = _part(one, document)
    if one.action in {Action.REMOVE_INSTANCE, Action.REMOVE_SERIES}:
        return None if part is None else Difference.PRESENT
    if part is None:
        return Difference.PLACE
    if one.action is Action.REMOVE:
        return None if one.attribute not in _members(part, "DICOM") else Difference.PRESENT
    return set_difference(part, one.attribute, one.value, one.change["vr"])


def set_difference(
    part: Mapping[str, Json],
    attribute: str,
    wanted: Json,
    vr: str | None,
) -> Difference | None:
    """Return how an object of a document differs from the expected result of a set; None if it does not.

    ``part``: the object with DICOM and DICOMVRs of the attribute; ``vr``: VR that the edit gives to a private element,
    None for any. The engine, verify and skip-satisfied all use this function.
    """
    stored, stored_vr = _members(part, "DICOM").get(attribute, ABSENT), _members(part, "DICOMVRs").get(attribute)
    if stored is ABSENT:
        return Difference.ABSENT
    if not same_value(attribute, stored, wanted, stored_vr if isinstance(stored_vr, str) else None):
        return Difference.VALUE
    return Difference.VR if vr is not None and stored_vr != vr else None


def is_as(document: Mapping[str, Json], target: Mapping[str, Json] | None) -> bool:
    """Whether a document is the expected result of a revert. ``target``: the document of the older version."""
    return target is not None and all(document.get(part) == target.get(part) for part in ("Patient", "Study"))


def old_name_stays(one: ExpectedChange[_Change], document: Mapping[str, Json]) -> bool:
    """Whether the edit changes the UID of a series or instance, and the document still has the old UID."""
    names = one.instance if one.change["attribute"] == "SOPInstanceUID" else one.series
    renames = one.action is Action.SET and one.change["attribute"] in _RENAMES and len(names) > 1
    if not renames:
        return False
    study = _members(document, "Study")
    if one.change["attribute"] == "SeriesInstanceUID":
        return names[-1] in _members(study, "Series")
    series = _first(_members(study, "Series"), one.series, older=False)
    return series is not None and names[-1] in _members(series, "Instances")


def misplaced(edits: Sequence[EditFields], document: Mapping[str, Json]) -> list[str | None]:
    """Return for each edit `series` or `instance` if the document does not have the one that it names, else None.

    ``edits``: all edits of one image set, in the order of application; rows of `bulkedit.edits.edit.EDITS`. Series and
    instances that the edits rename or remove are not reported, and nothing is if one of them is a revert.
    """
    removed = {edit["instance_uid"] or edit["series_uid"] for edit in edits if edit["attribute"] is None}
    given = set(_given(edits).values())
    if any(Action(edit["action"]) is Action.REVERT for edit in edits):
        return [None] * len(edits)
    return [
        None
        if edit["attribute"] is None
        or removed.intersection((*one.series, *one.instance))
        or given.intersection((edit["series_uid"], edit["instance_uid"]))
        else _lacking(one, document)
        for edit, one in zip(edits, expected_changes(edits), strict=True)
    ]


def _lacking(one: ExpectedChange[_Change], document: Mapping[str, Json]) -> str | None:
    if _part(one, document) is not None:
        return None
    series = _first(_members(_members(document, "Study"), "Series"), one.series, older=False)
    return "series" if series is None else "instance"


def value_in(one: ExpectedChange[_Change], document: Mapping[str, Json]) -> str | None:
    """Return the value of the document at the place of the edit, as JSON text; None if it is missing."""
    part = _part(one, document)
    if part is None or one.change["attribute"] is None:
        return None
    stored = _members(part, "DICOM").get(one.attribute, ABSENT)
    return None if stored is ABSENT else json_text(stored)


def expected_value(one: ExpectedChange[_Change]) -> str | None:
    """Return the value that the edit sets, as JSON text."""
    return one.change["value"] if one.action is Action.SET else None


def keeps_former(one: ExpectedChange[_Change], document: Mapping[str, Json]) -> bool:
    """Whether an older document still has the value that the edit replaced or removed.

    False if the attribute was empty or had the value already.
    """
    part = _part(one, document, older=True)
    if part is None:
        return False
    if one.change["attribute"] is None:
        return True
    stored = _members(part, "DICOM").get(one.attribute)
    if stored is None or stored in ("", []):
        return False
    if one.action is Action.REMOVE and one.change["value"] in {None, STORED_VALUE}:
        return True
    vr = _members(part, "DICOMVRs").get(one.attribute)
    same = same_value(one.attribute, stored, one.value, vr if isinstance(vr, str) else None)
    return same is (one.action is Action.REMOVE)


def _part(
    one: ExpectedChange[_Change], document: Mapping[str, Json], *, older: bool = False
) -> Mapping[str, Json] | None:
    """Return the object of a document with the DICOM of the edit's place; None if it is missing.

    ``older``: the document is of a version before the edit, with the old UIDs.
    """
    if one.change["level"] == "Patient":
        return _members(document, "Patient")
    study = _members(document, "Study")
    if not one.series:
        return study
    series = _first(_members(study, "Series"), one.series, older=older)
    if series is None or not one.instance:
        return series
    return _first(_members(series, "Instances"), one.instance, older=older)


def _first(places: Mapping[str, Json], uids: tuple[str, ...], *, older: bool) -> Mapping[str, Json] | None:
    for uid in reversed(uids) if older else uids:
        if isinstance(found := places.get(uid), dict):
            return found
    return None


def _members(node: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    found = node.get(name)
    return found if isinstance(found, dict) else {}
