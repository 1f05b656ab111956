"""Parses the attribute documents of an update, and checks what does not depend on the image set.

`parse_updates` converts the body's union to `Updates`, or raises Invalid. `rules` checks the constraints on attributes.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bulkedit.emulator.api.failures import Invalid
from bulkedit.emulator.state.document import PATIENT, STUDY, DocumentPlace, dump, load

if TYPE_CHECKING:
    from bulkedit._json import Json, JsonObject
    from bulkedit.emulator.settings import ServiceProfile

MODEL_LIMIT: Final = 30_000  # bytes: shape DICOMAttribute of the service's model, the maximum of all profiles


_HEX: Final = re.compile(r"[0-9A-Fa-f]{8}")


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """One attribute to set or remove. Health data: never log it."""

    place: DocumentPlace
    name: str  # keyword, or eight upper-case hex digits
    value: Json


@dataclass(frozen=True, slots=True)
class AttributeDocument:
    """The content of one attributes blob."""

    changes: tuple[AttributeChange, ...] = ()
    places: tuple[DocumentPlace, ...] = ()  # all levels in the document
    vrs: tuple[tuple[DocumentPlace, str, Json], ...] = ()  # of DICOMVRs
    bare: tuple[DocumentPlace, ...] = ()  # series and instances that are `{}`, to be removed


@dataclass(frozen=True, slots=True)
class Updates:
    """A valid request body: attributes to change, or the version to revert to."""

    updatable: AttributeDocument = AttributeDocument()
    removable: AttributeDocument = AttributeDocument()
    revert_to: int | None = None

    @property
    def levels(self) -> set[str]:
        """The levels in the request."""
        return {place.level for document in (self.updatable, self.removable) for place in document.places}


def parse_updates(body: Json, profile: ServiceProfile) -> Updates:
    """Parse the request body (shape MetadataUpdates, a union). Raises Invalid if it is malformed."""
    if not isinstance(body, dict):
        raise Invalid("updateImageSetMetadataUpdates must be a JSON object")
    given = {name: value for name, value in body.items() if value is not None}
    if len(given) != 1 or not given.keys() <= {"DICOMUpdates", "revertToVersionId"}:
        raise Invalid("Exactly one of DICOMUpdates and revertToVersionId must be given")
    if "revertToVersionId" in given:
        return Updates(revert_to=_version(given["revertToVersionId"]))
    return _parse_dicom_updates(given["DICOMUpdates"], profile)


def _version(value: object) -> int:
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 18:
        raise Invalid("revertToVersionId must be a version number as a string")
    return int(value)


def _parse_dicom_updates(blobs: Json, profile: ServiceProfile) -> Updates:
    if not isinstance(blobs, dict) or not blobs.keys() <= {"updatableAttributes", "removableAttributes"}:
        raise Invalid("DICOMUpdates must have updatableAttributes and removableAttributes only")
    documents = {name: parse_blob(name, blob, profile) for name, blob in blobs.items() if blob is not None}
    if not documents:
        raise Invalid("DICOMUpdates must have updatableAttributes or removableAttributes")
    nothing = AttributeDocument()
    updates = Updates(documents.get("updatableAttributes", nothing), documents.get("removableAttributes", nothing))
    set_ = {(change.place, change.name) for change in updates.updatable.changes}
    if any((change.place, change.name) in set_ for change in updates.removable.changes):
        raise Invalid("The same attribute is in updatableAttributes and in removableAttributes")
    return updates


def parse_blob(name: str, blob: object, profile: ServiceProfile) -> AttributeDocument:
    """Decode one attributes blob: base64 of a UTF-8 JSON document with a SchemaVersion. Raises Invalid.

    The profile's payload limit applies.
    """
    if not isinstance(blob, str):
        raise Invalid(f"{name} must be a base64 string")
    try:
        raw = base64.b64decode(blob.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise Invalid(f"{name} is not valid base64") from None
    counted = len(raw) if profile.payload_counted == "raw" else len(blob)
    if not raw or len(raw) > MODEL_LIMIT or counted > profile.payload_limit:
        raise Invalid(
            f"Value at {name} failed to satisfy constraint: Member must have length between 1 and "
            f"{profile.payload_limit}, inclusive"
        )
    return _parse_document(name, _load(name, raw))


def _load(name: str, raw: bytes) -> Json:
    try:
        document = load(raw.decode("utf-8"))
        dump(document)  # refuses infinite numbers and lone surrogates, which the parser accepts
    except (ValueError, RecursionError):
        raise Invalid(f"{name} is not a valid JSON document") from None
    return document


def _parse_document(name: str, document: Json) -> AttributeDocument:
    if not isinstance(document, dict):
        raise Invalid(f"{name} is not a JSON object")
    # the documentation's examples send a number; AWS's viewer sample and the metadata documents have a string
    if document.get("SchemaVersion") not in (1.1, "1.1"):
        raise Invalid(f"{name} must have SchemaVersion 1.1")
    reader = _Reader(name)
    reader.members(document, {"SchemaVersion", "Patient", "Study"})
    if "Patient" in document:
        reader.level(document["Patient"], PATIENT, {"DICOM"})
    if "Study" in document:
        reader.study(document["Study"])
    return AttributeDocument(tuple(reader.changes), tuple(reader.places), tuple(reader.vrs), tuple(reader.bare))


def stored_key(name: str) -> str:
    """The key of an element in the metadata document, where hex digits are upper case."""
    return name.upper() if _HEX.fullmatch(name) else name


class _Reader:
    """Walks one attribute document."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.changes: list[AttributeChange] = []
        self.places: list[DocumentPlace] = []
        self.vrs: list[tuple[DocumentPlace, str, Json]] = []
        self.bare: list[DocumentPlace] = []

    def members(self, node: Json, allowed: set[str]) -> JsonObject:
        if not isinstance(node, dict):
            raise Invalid(f"{self._name} does not have the structure of a metadata document")
        if not node.keys() <= allowed:
            raise Invalid(f"{self._name} has a key that is not allowed at its level")
        return node

    def level(self, node: Json, place: DocumentPlace, allowed: set[str]) -> JsonObject:
        members = self.members(node, allowed | {"DICOMVRs"})
        self.places.append(place)
        for name, value in self._map(members, "DICOM").items():
            self.changes.append(AttributeChange(place, stored_key(name), value))
        for name, vr in self._map(members, "DICOMVRs").items():
            self.vrs.append((place, stored_key(name), vr))
        if not members and place.series is not None:
            self.bare.append(place)
        return members

    def study(self, node: Json) -> None:
        members = self.members(node, {"DICOM", "DICOMVRs", "Series"})
        if members.keys() - {"Series"}:
            self.level({k: v for k, v in members.items() if k != "Series"}, STUDY, {"DICOM"})
        for uid, series in self._map(members, "Series").items():
            inner = self.level(series, DocumentPlace("Series", uid), {"DICOM", "Instances"})
            for sop_uid, instance in self._map(inner, "Instances").items():
                self.level(instance, DocumentPlace("Instance", uid, sop_uid), {"DICOM"})

    def _map(self, members: JsonObject, name: str) -> JsonObject:
        found = members.get(name, {})
        if not isinstance(found, dict):
            raise Invalid(f"{self._name} does not have the structure of a metadata document")
        return found
