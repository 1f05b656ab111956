"""Makes the document of a copy: instances are selected from one document and added to another (copy-image-set)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from bulkedit.emulator.api.failures import Broken
from bulkedit.emulator.state.document import Document, Series, dicom_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    Selection = Mapping[str, AbstractSet[str]]  # series UID -> instance UIDs; an empty set is the whole series

EMPTY_DOCUMENT: Final = Document(b'{"DICOM":{}}', b'{"DICOM":{}}', {})


def selected(document: Document, selection: Selection | None) -> Document:
    """The document with the selected instances only. Raises Broken if an instance does not exist."""
    if selection is None:
        return document
    series = {uid: _selected_series(document, uid, instances) for uid, instances in selection.items()}
    return Document(document.patient, document.study, series)


def _selected_series(document: Document, uid: str, selection: AbstractSet[str]) -> Series:
    series = document.series.get(uid)
    if series is None or not selection <= series.instances.keys():
        raise Broken("INVALID_REQUEST: Instances to copy are not in the source image set")
    if not selection:
        return series
    return Series(series.part, {uid: part for uid, part in series.instances.items() if uid in selection})


def joined(kept: Document, added: Document, *, force: bool) -> Document:
    """The document ``kept`` of the destination, with the instances of ``added``. Raises Broken.

    Without `force`, the Patient, Study and Series metadata of both must be equal. With it, the destination's are kept.
    """
    if overlapping(kept, added):
        raise Broken("INVALID_REQUEST: SOP instances of SourceImageSet are in DestinationImageSet already")
    if not force:
        _check_consistent(kept, added)
        series = dict(kept.series)
        for uid, one in added.series.items():
            series[uid] = Series(series[uid].part, {**series[uid].instances, **one.instances})
        return Document(kept.patient, kept.study, series)
    uid, first = next(iter(kept.series.items()))
    instances = {sop: part for one in added.series.values() for sop, part in one.instances.items()}
    grown = Series(first.part, {**first.instances, **instances})
    return Document(kept.patient, kept.study, {**kept.series, uid: grown})


def _check_consistent(kept: Document, added: Document) -> None:
    if dicom_of(kept.patient) != dicom_of(added.patient):
        raise Broken("INVALID_REQUEST:  Patient of SourceImageSet and DestinationImageSet don't match.")
    if dicom_of(kept.study) != dicom_of(added.study):
        raise Broken("INVALID_REQUEST:  Study of SourceImageSet and DestinationImageSet don't match.")
    for uid, series in added.series.items():
        if uid not in kept.series or dicom_of(kept.series[uid].part) != dicom_of(series.part):
            # the exact text of list-image-set-versions
            raise Broken("INVALID_REQUEST:  Series of SourceImageSet and DestinationImageSet don't match.")


def overlapping(a: Document, b: Document) -> bool:
    """Whether both have an instance with the same UID (SOP UIDs are unique within an image set)."""
    mine = {uid for series in a.series.values() for uid in series.instances}
    return any(uid in mine for series in b.series.values() for uid in series.instances)


def frame_count(document: Document) -> int:
    """The number of image frames of all instances."""
    parts = (part for series in document.series.values() for part in series.instances.values())
    return sum(len(json.loads(part).get("ImageFrames") or []) for part in parts)
