"""Applies an update to a document: removals first, then updates. It is applied completely, or raises Broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkedit._json import object_in, object_made
from bulkedit.dicom import dictionary as dicom
from bulkedit.emulator.api.failures import Broken
from bulkedit.emulator.state.document import Document, DocumentDraft, DocumentPlace
from bulkedit.emulator.state.rules import PREFIX, why_not_new_private

if TYPE_CHECKING:
    from bulkedit._json import Json, JsonObject
    from bulkedit.emulator.settings import ServiceProfile
    from bulkedit.emulator.state.updates import AttributeChange, AttributeDocument, Updates


def edited(document: Document, updates: Updates, profile: ServiceProfile) -> Document:
    """The document after an update. Raises Broken, whose message has no values."""
    draft = DocumentDraft(document)
    for place in (*updates.removable.places, *updates.updatable.places):
        if place.level != "Instance" or place not in updates.removable.bare:
            draft.check_place(place)
    _remove(draft, updates.removable, profile)
    _set(draft, updates.updatable)
    result = draft.finish(rename_keys=profile.uid_keys == "renamed")
    if updates.removable.bare and not result.instance_count:
        raise Broken(PREFIX + "The last instance of an image set cannot be removed")
    return result


def _remove(draft: DocumentDraft, removable: AttributeDocument, profile: ServiceProfile) -> None:
    for change in removable.changes:
        _remove_attribute(draft, change, profile)
    for place in removable.bare:
        if place.instance is not None and place.series is not None:
            draft.remove_instance(place.series, place.instance)
        elif place.series is not None:
            draft.remove_series(place.series)


def _remove_attribute(draft: DocumentDraft, change: AttributeChange, profile: ServiceProfile) -> None:
    part = draft.part(change.place)
    name, stored = change.name, object_made(part, "DICOM")
    if name not in stored:
        if profile.removal_absent == "ignore":
            return
        raise Broken(f"{PREFIX}{_safe_name(name)} to remove is not in the metadata")
    wanted = {"exact": stored[name], "empty": ""}.get(profile.removal_match, change.value)
    if not _same(change.value, wanted):
        raise Broken(f"{PREFIX}The value of {_safe_name(name)} to remove does not match the metadata")
    del stored[name]
    object_in(part, "DICOMVRs").pop(name, None)


def _set(draft: DocumentDraft, updatable: AttributeDocument) -> None:
    vrs = {(place, name): vr for place, name, vr in updatable.vrs}
    for change in updatable.changes:
        name, part = change.name, draft.part(change.place)
        known = dicom.attribute(name)
        if known is not None and known.private:
            _set_vr(part, change.place, name, vrs.get((change.place, name)))
        object_made(part, "DICOM")[name] = change.value


def _set_vr(part: JsonObject, place: DocumentPlace, name: str, vr: Json) -> None:
    stored = object_made(part, "DICOMVRs")
    if vr is None and name in stored:
        return  # an update keeps the VR (example 6)
    if why := why_not_new_private(place, name, vr):
        raise Broken(why)
    stored[name] = vr


def _safe_name(name: str) -> str:
    """The name for a message. An unknown key is not quoted, because it could be health data."""
    return name if dicom.attribute(name) else "An attribute"


def _same(a: Json, b: Json) -> bool:
    """JSON equality: true is not equal to 1, but 1 is equal to 1.0."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    return bool(a == b)
