"""Every value of a metadata document, at any depth, with its place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from bulkedit.dicom import dictionary as dicom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit._json import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Spot:
    """The place of a value. Contains UIDs of the document, and no other value."""

    series_uid: str | None = None
    instance_uid: str | None = None
    path: str = ""  # keywords, or hex digits of private elements, from the level down: A[0].B[1].C
    name: str = ""  # the last of them
    vr: str | None = None
    depth: int = 0  # number of sequences around it

    def inside(self, name: str, vr: str | None, *, item: int | None = None) -> Spot:
        """The spot of a member of a dataset at this spot."""
        below = f"{self.path}[{item}].{name}" if item is not None else name
        return replace(self, path=below, name=name, vr=vr, depth=self.depth + (item is not None))


@dataclass(frozen=True, slots=True)
class DocumentValue:
    """One value that is not a sequence. Contains health data: never log it."""

    spot: Spot
    value: str | float


def values(document: JsonObject) -> Iterator[DocumentValue]:
    """Every single value of a document (the shape of GetImageSetMetadata), in the order of the document."""
    yield from _level(document.get("Patient"), Spot())
    study = document.get("Study")
    yield from _level(study, Spot())
    for series_uid, series in _members(study, "Series"):
        here = Spot(series_uid=series_uid)
        yield from _level(series, here)
        for instance_uid, instance in _members(series, "Instances"):
            yield from _level(instance, replace(here, instance_uid=instance_uid))


def _members(node: Json, name: str) -> list[tuple[str, Json]]:
    inner = node.get(name) if isinstance(node, dict) else None
    return list(inner.items()) if isinstance(inner, dict) else []


def _level(node: Json, spot: Spot) -> Iterator[DocumentValue]:
    vrs = dict(_members(node, "DICOMVRs"))
    for name, value in _members(node, "DICOM"):
        vr = vrs.get(name)
        yield from _value(value, spot.inside(name, vr if isinstance(vr, str) else vr_of(name)))


def _value(value: Json, spot: Spot) -> Iterator[DocumentValue]:
    """Uses a stack, because the nesting may exceed Python's recursion limit."""
    stack = [(value, spot, 0)]
    while stack:
        node, here, item = stack.pop()
        if isinstance(node, list):
            stack += [(inner, here, number) for number, inner in reversed(list(enumerate(node)))]
        elif isinstance(node, dict):
            stack += [
                (inner, here.inside(name, vr_of(name), item=item), 0) for name, inner in reversed(list(node.items()))
            ]
        elif node is not None and not isinstance(node, bool):
            yield DocumentValue(here, node)


@lru_cache(maxsize=8192)
def vr_of(name: str) -> str | None:
    """The VR of a keyword or of a tag's hex digits in PS3.6; None if unknown."""
    found = dicom.attribute(name)
    return found.vr if found is not None else None
