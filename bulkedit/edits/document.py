"""Compares the documents of a request with a metadata document, and fills in stored values to remove.

Pure functions over parsed JSON. Arguments and results contain health data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bulkedit._json import ABSENT, Absent, object_in, object_made
from bulkedit.edits.compare import is_as, set_difference
from bulkedit.edits.edit import json_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit._json import Json, JsonObject
    from bulkedit.client.contract import UpdateRequest
    from bulkedit.edits.edit import EditFields

_KEYS: Final = {"SeriesInstanceUID", "SOPInstanceUID"}  # the keys of Series and Instances


@dataclass(frozen=True, slots=True)
class NoSuchPlace:
    """Series and instances of removals without a value that are not in the image set: health data."""

    series: frozenset[str]
    instances: frozenset[tuple[str, str]]  # SeriesInstanceUID, SOPInstanceUID; the series exists
    alone: bool  # the request has nothing else

    @property
    def cause(self) -> str:
        """The text for the ledger, without UIDs."""
        kinds = [name for name, found in (("series", self.series), ("instance", self.instances)) if found]
        return f"no such {' or '.join(kinds)}"

    def has(self, edit: EditFields) -> bool:
        """Whether an edit (a row of `bulkedit.edits.edit.EDITS`) is in one of these places."""
        series, instance = edit["series_uid"], edit["instance_uid"]
        return series in self.series or (series, instance) in self.instances


def no_such_place(request: UpdateRequest, document: JsonObject) -> NoSuchPlace | None:
    """Return the series and instances of removals without a value that a document does not have; None if it has all.

    The service refuses all other edits of a missing series or instance. A removal without a value is not sent if there
    is no stored value, so without this check a typo in a UID would count as applied.
    """
    asked = list(_places(json.loads(request.removable or "{}")))
    series, instances, there = set(), set(), 0
    for path, value in asked:
        missing = _missing(path, document) if value == {} else None
        if missing is None:
            there += 1
        elif isinstance(missing, str):
            series.add(missing)
        else:
            instances.add(missing)
    if not series and not instances:
        return None
    return NoSuchPlace(frozenset(series), frozenset(instances), alone=not there and not request.updatable)


def _missing(path: tuple[str, ...], document: JsonObject) -> str | tuple[str, str] | None:
    """Return the series, or the series and instance, of a path that a document does not have."""
    if path[:2] != ("Study", "Series"):
        return None
    if not isinstance(_at(document, path[:3], {}), dict):
        return path[2]
    return (path[2], path[4]) if path[3] == "Instances" and not isinstance(_at(document, path[:5], {}), dict) else None


def fill_stored(request: UpdateRequest, document: JsonObject) -> UpdateRequest | None:
    """Fill stored values into removals without a value, because key and value must match.

    Attributes that the image set does not have are dropped. Returns None if nothing is left to send. Missing series and
    instances: `no_such_place`.
    """
    removable = _filled(json.loads(request.removable or "{}"), document)
    if any(True for _ in _places(removable)):
        return replace(request, removable=json_text(removable))
    return replace(request, removable=None) if request.updatable else None


def _filled(wanted: JsonObject, document: Json | Absent) -> JsonObject:
    """Return ``wanted`` with each empty value of a DICOM object replaced by that of ``document``.

    If all attributes of a place are missing, the place and its empty parents are dropped: an empty object would remove
    a whole instance or series.
    """
    filled: JsonObject = {}
    for key, inner in wanted.items():
        stored = document.get(key, ABSENT) if isinstance(document, dict) else ABSENT
        if key == "DICOM" and isinstance(inner, dict):
            present = stored if isinstance(stored, dict) else {}
            left = {
                name: present.get(name) if value == {} else value
                for name, value in inner.items()
                if value != {} or name in present
            }
        elif isinstance(inner, dict) and inner:
            left = _filled(inner, stored)
        else:
            filled[key] = inner  # SchemaVersion, or an instance or series to remove
            continue
        if left:
            filled[key] = left
    return filled


def with_empty_values(filled: UpdateRequest, wanted: UpdateRequest) -> UpdateRequest:
    """Return the removal with "" instead of each filled value, for a service that requires it."""
    if filled.removable is None:
        return filled
    emptied = _emptied(json.loads(filled.removable), json.loads(wanted.removable or "{}"))
    return replace(filled, removable=json_text(emptied))


def _emptied(filled: JsonObject, wanted: JsonObject) -> JsonObject:
    emptied: JsonObject = {}
    for key, inner in filled.items():
        if not isinstance(inner, dict):
            emptied[key] = inner
        elif key == "DICOM":
            named = object_in(wanted, key)
            emptied[key] = {name: "" if named[name] == {} else value for name, value in inner.items()}
        else:
            emptied[key] = _emptied(inner, object_in(wanted, key))
    return emptied


def _places(document: JsonObject, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Json]]:
    """Yield the path and value of every attribute, and of every instance or series to remove (value None)."""
    for key, inner in document.items():
        here = (*path, key)
        if key in {"SchemaVersion", "DICOMVRs"}:
            continue
        if key == "DICOM" and isinstance(inner, dict):
            yield from (((*here, name), value) for name, value in inner.items())
        elif isinstance(inner, dict):
            if inner:
                yield from _places(inner, here)
            elif len(here) > 1 and here[-2] in {"Series", "Instances"}:
                yield here, None


def holds(request: UpdateRequest, document: JsonObject, target: JsonObject | None = None) -> bool:
    """Whether a document satisfies a request: all set values are there, and all removed places are not.

    ``target``: the document of the version of a revert, which must be equal.
    """
    if request.revert_to is not None:
        return is_as(document, target)
    updatable = json.loads(request.updatable or "{}")
    removable = json.loads(request.removable or "{}")
    wanted = list(_places(updatable))
    uids = _renamings(wanted)
    return all(_is_set(path, value, updatable, document, uids) for path, value in wanted) and all(
        _at(document, path, uids) is ABSENT for path, _ in _places(removable)
    )


def follows(request: UpdateRequest, before: JsonObject, after: JsonObject, target: JsonObject | None = None) -> bool:
    """Whether ``after`` is ``before`` with the request applied and nothing else changed.

    False if the request removes an instance or series that is not there, because the service refuses that.
    """
    if not holds(request, after, target):
        return False
    if request.revert_to is not None:
        return True
    changed = list(_places(json.loads(request.updatable or "{}")))
    removed = list(_places(json.loads(request.removable or "{}")))
    if any(value is None and _at(before, path, {}) is ABSENT for path, value in removed if path[-2] != "DICOM"):
        return False
    places = [path for path, _ in (*changed, *removed)]
    places += [(*path[:-2], "DICOMVRs", path[-1]) for path in places if path[-2] == "DICOM"]
    old_uids = {new: old for old, new in _renamings(changed).items()}
    return _content(_without(before, _tree(places), {})) == _content(_without(after, _tree(places), old_uids))


def reads_the_same(before: JsonObject, after: JsonObject) -> bool:
    """Whether two documents of an image set have equal content."""
    return _content(before) == _content(after)


def _content(document: JsonObject) -> tuple[Json, Json]:
    """Return the parts of a document that an update can change."""
    return document.get("Patient"), document.get("Study")


def _tree(places: list[tuple[str, ...]]) -> JsonObject:
    """Return paths as nested keys; the end of a path is None."""
    tree: JsonObject = {}
    for path in sorted(places, key=len, reverse=True):  # the removal of a whole instance replaces deeper paths
        inner = tree
        for key in path[:-1]:
            inner = object_made(inner, key)
        inner[path[-1]] = None
    return tree


def _without(document: JsonObject, places: JsonObject, old_uids: dict[str, str]) -> JsonObject:
    """Return a document without these places, and without objects that are empty then.

    ``old_uids``: old UID by new UID, for instances and series that the document has under the new one.
    """
    left: JsonObject = {}
    for found, inner in document.items():
        old = old_uids.get(found)
        key = old if old in places and old not in document else found
        if key not in places:
            left[key] = inner
        elif isinstance(inner, dict) and isinstance(within := places[key], dict):
            if rest := _without(inner, within, old_uids):
                left[key] = rest
        elif places[key] is not None:
            left[key] = inner
    return left


def _renamings(wanted: list[tuple[tuple[str, ...], Json]]) -> dict[str, str]:
    """Return new UID by old UID for a request. The service may have changed the keys of the document, or not."""
    return {path[-3]: value for path, value in wanted if path[-1] in _KEYS and isinstance(value, str) and len(path) > 3}


def _is_set(
    path: tuple[str, ...],
    value: Json,
    updatable: JsonObject,
    document: JsonObject,
    uids: dict[str, str],
) -> bool:
    """Whether a document has the value, and the VR if given, that ``updatable`` sets at a path."""
    *place, _, attribute = path
    part, vr = _at(document, tuple(place), uids), _at(updatable, (*place, "DICOMVRs", attribute), {})
    return (
        isinstance(part, dict) and set_difference(part, attribute, value, vr if isinstance(vr, str) else None) is None
    )


def _at(document: Json, path: tuple[str, ...], uids: dict[str, str]) -> Json | Absent:
    for key in path:
        if not isinstance(document, dict):
            return ABSENT
        found: Json | Absent = document.get(key, ABSENT)
        if found is ABSENT and key in uids:
            found = document.get(uids[key], ABSENT)
        if found is ABSENT:
            return ABSENT
        document = found
    return document
