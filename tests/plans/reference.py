"""Edits applied one by one to a metadata document: what a plan must be equal to.

Written plainly, without anything of the planner or the emulator: dictionaries, one edit at a time.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import Any

APPLIED, REJECTED, CONFLICTED = "applied", "rejected", "conflicted"
FORCED = {"StudyID", "SeriesInstanceUID", "SOPInstanceUID", "OtherPatientNames", "RequestAttributesSequence"}
_KEYS = {"SeriesInstanceUID", "SOPInstanceUID"}
_ABSENT = object()


@dataclass(slots=True)
class Reference:
    """One image set and its versions."""

    document: dict[str, Any]
    versions: list[dict[str, Any] | None] = field(default_factory=list)  # None: a failed one
    any_value: bool = False  # a service that removes whatever is stored, whichever value is named
    absent: bool = False  # a service that takes the removal of what is not there
    free: bool = False  # a service that removes instances without force
    renames_keys: bool = False  # a service whose keys of Series and Instances follow a changed UID

    def __post_init__(self) -> None:
        if not self.versions:
            self.versions = [copy.deepcopy(self.document)]

    @classmethod
    def with_history(cls, documents: list[dict[str, Any]]) -> Reference:
        return cls(copy.deepcopy(documents[-1]), [copy.deepcopy(one) for one in documents])

    def apply(self, edit: dict[str, Any]) -> str:
        """Apply one edit as a call of its own; its outcome."""
        if edit["version"] is not None and edit["version"] != len(self.versions):
            return CONFLICTED
        changed = copy.deepcopy(self.document)
        if edit["action"] == "revert":
            target = edit["revert_to"]
            if not (0 < target < len(self.versions)) or self.versions[target - 1] is None:
                return REJECTED
            changed = copy.deepcopy(self.versions[target - 1])
            assert changed is not None
        elif edit["action"] == "remove" and edit["value"] == "{}" and _place(self.document, edit) is None:
            return REJECTED  # nothing sent: there is no such series or instance
        elif edit["action"] == "remove" and edit["value"] == "{}" and self._stored(edit) is _ABSENT:
            return APPLIED  # nothing to remove, nothing sent
        elif edit["action"] == "remove" and self.absent and self._is_absent(edit):
            pass  # a version that changes nothing
        elif not self._change(changed, edit):
            self.versions.append(None)
            return REJECTED
        if self.renames_keys and edit["attribute"] in _KEYS:
            changed = renamed(changed)
        self.document = changed
        self.versions.append(copy.deepcopy(changed))
        return APPLIED

    def _other_value(self, stored: Any, named: str) -> bool:
        return named != "{}" and not self.any_value and bool(stored != json.loads(named))

    def _stored(self, edit: dict[str, Any]) -> Any:
        place = _place(self.document, edit)
        return _ABSENT if place is None else place.get(edit["attribute"], _ABSENT)

    def _is_absent(self, edit: dict[str, Any]) -> bool:
        return _place(self.document, edit) is not None and self._stored(edit) is _ABSENT

    def _change(self, document: dict[str, Any], edit: dict[str, Any]) -> bool:
        """Change the document in place; False where the service would not."""
        if edit["action"] == "remove-instance":
            return _remove_instance(document, edit, free=self.free)
        if edit["action"] == "remove-series":
            return _remove_series(document, edit)
        place = _place(document, edit)
        name = edit["attribute"]
        if place is None or ((name in FORCED or name[0].isdigit()) and not edit["force"]):
            return False
        if edit["action"] == "set":
            place[name] = json.loads(edit["value"])
            return not self.renames_keys or _count(renamed(copy.deepcopy(document))) == _count(document)
        if name not in place or self._other_value(place[name], edit["value"]):
            return False
        del place[name]
        return True


def meant(edit: dict[str, Any], document: dict[str, Any], new: dict[str, str]) -> dict[str, Any]:
    """The edit, with what its series and instance are called in the document. ``new``: UIDs given, by the old ones."""
    series = document["Study"]["Series"]
    keys = {*series, *(key for one in series.values() for key in one["Instances"])}
    found = dict(edit)
    for name in ("series_uid", "instance_uid"):
        seen = set[str]()
        while found[name] is not None and found[name] not in {*keys, *seen} and found[name] in new:
            seen.add(found[name])
            found[name] = new[found[name]]
    return found


def note(edit: dict[str, Any], new: dict[str, str]) -> None:
    """Note the UID that an applied edit gives."""
    if edit["action"] == "revert":
        new.clear()
    elif edit["attribute"] in _KEYS and edit["action"] == "set":
        new[edit["instance_uid"] or edit["series_uid"]] = json.loads(edit["value"])


def _place(document: dict[str, Any], edit: dict[str, Any]) -> dict[str, Any] | None:
    node = document.get("Patient" if edit["level"] == "Patient" else "Study", {})
    for key in (("Series", edit["series_uid"]), ("Instances", edit["instance_uid"])):
        if key[1] is not None:
            node = node.get(key[0], {}).get(key[1])
            if node is None:
                return None
    found: dict[str, Any] = node["DICOM"]
    return found


def _count(document: dict[str, Any]) -> int:
    """The series and instances: a UID in use cannot be given to another."""
    return sum(1 + len(series["Instances"]) for series in document["Study"]["Series"].values())


def renamed(document: dict[str, Any]) -> dict[str, Any]:
    """With the keys of Series and Instances as the UIDs inside say."""
    for series in document["Study"]["Series"].values():
        series["Instances"] = {one["DICOM"]["SOPInstanceUID"]: one for one in series["Instances"].values()}
    named = {one["DICOM"]["SeriesInstanceUID"]: one for one in document["Study"]["Series"].values()}
    document["Study"]["Series"] = named
    return document


def _remove_series(document: dict[str, Any], edit: dict[str, Any]) -> bool:
    if len(document["Study"]["Series"]) == 1:
        return False
    return document["Study"]["Series"].pop(edit["series_uid"], None) is not None


def _remove_instance(document: dict[str, Any], edit: dict[str, Any], *, free: bool) -> bool:
    series = document["Study"]["Series"].get(edit["series_uid"])
    if series is None or edit["instance_uid"] not in series["Instances"] or len(series["Instances"]) == 1:
        return False
    if not edit["force"] and not free:
        return False
    del series["Instances"][edit["instance_uid"]]
    return True
