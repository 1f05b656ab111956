"""A metadata document in parts: Patient, Study, each Series, each Instance.

Each part is compact JSON, so that a million documents fit in memory. Versions of an image set share the parts that an
update did not change. The structure is that of GetImageSetMetadata (reference section 4).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, TypeVar

from bulkedit._json import object_in, object_made
from bulkedit.emulator.api.failures import Broken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bulkedit._json import Json, JsonObject

_T = TypeVar("_T")

HEAD: Final = {"SchemaVersion", "DatastoreID", "ImageSetID"}  # filled in by the service


class DocumentPlace(NamedTuple):
    """A place in a document: no UID for the Patient and Study levels, one for a series, two for an instance."""

    level: str  # Patient, Study, Series or Instance
    series: str | None = None
    instance: str | None = None


PATIENT: Final = DocumentPlace("Patient")
STUDY: Final = DocumentPlace("Study")


class Keys(NamedTuple):
    """The values by which a document is grouped and searched (understanding-image-sets). Health data: never log it."""

    patient_id: str | None
    study_uid: str | None
    series_uid: str | None
    study_id: str | None
    accession: str | None
    study_date: str | None
    study_time: str | None
    series_number: str | None

    @property
    def grouping(self) -> tuple[str | None, ...]:
        """The keys by which an import groups instances into image sets: all except the study time."""
        return (
            *(self.study_uid, self.series_uid, self.patient_id, self.study_id),
            *(self.accession, self.study_date, self.series_number),
        )


@dataclass(frozen=True, slots=True)
class Series:
    """One series: a part without the instances, and a part for each instance."""

    part: bytes
    instances: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Document:
    """A metadata document without the ids that the service adds. Immutable, so that versions can share parts."""

    patient: bytes
    study: bytes  # without Series
    series: Mapping[str, Series]

    @property
    def size(self) -> int:
        """The approximate bytes of its JSON, for quotas and completion times."""
        series = sum(len(s.part) + sum(map(len, s.instances.values())) for s in self.series.values())
        return len(self.patient) + len(self.study) + series

    @property
    def instance_count(self) -> int:
        """The number of SOP instances."""
        return sum(len(s.instances) for s in self.series.values())


def dump(part: Json) -> bytes:
    """A part as compact JSON. Raises ValueError for NaN, infinity and lone surrogates."""
    return _ENCODER.encode(part).encode("utf-8")


def load(text: str) -> Json:
    """Parse standard JSON, without NaN and infinity. Raises ValueError or RecursionError."""
    found: Json = _DECODER.decode(text)
    return found


def _no_constant(_: str) -> NoReturn:
    raise ValueError


# shared, because making an encoder or decoder takes as long as a small document
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)


def split(document: Mapping[str, Json]) -> Document:
    """Split a metadata document, in the form of GetImageSetMetadata, into parts. Raises TypeError or ValueError."""
    study = dict(_object(document.get("Study", {})))
    series = {uid: _split_series(_object(one)) for uid, one in _object(study.pop("Series", {})).items()}
    return Document(dump(document.get("Patient", {"DICOM": {}})), dump(study or {"DICOM": {}}), series)


def _split_series(series: Mapping[str, Json]) -> Series:
    part = {name: value for name, value in series.items() if name != "Instances"}
    return Series(dump(part), {uid: dump(one) for uid, one in _object(series.get("Instances", {})).items()})


def _object(node: Json) -> JsonObject:
    if not isinstance(node, dict):
        raise TypeError("each level of a metadata document must be an object")
    return node


def assemble(document: Document, datastore_id: str, image_set_id: str) -> bytes:
    """The document that GetImageSetMetadata returns, assembled without parsing its parts."""
    series = b",".join(_entry(uid, _assemble_series(one)) for uid, one in document.series.items())
    head = f'{{"SchemaVersion":"1.1","DatastoreID":"{datastore_id}","ImageSetID":"{image_set_id}","Patient":'
    return b"".join(
        (head.encode(), document.patient, b',"Study":', _with_member(document.study, b"Series", series), b"}")
    )


def _assemble_series(series: Series) -> bytes:
    instances = b",".join(_entry(uid, part) for uid, part in series.instances.items())
    return _with_member(series.part, b"Instances", instances)


def _entry(uid: str, part: bytes) -> bytes:
    return dump(uid) + b":" + part


def _with_member(part: bytes, name: bytes, inner: bytes) -> bytes:
    comma = b"" if part == b"{}" else b","
    return b"".join((part[:-1], comma, b'"', name, b'":{', inner, b"}}"))


def parse(document: Document) -> JsonObject:
    """The document as JSON, without the ids: the inverse of `split`."""
    whole: JsonObject = json.loads(assemble(document, "", ""))
    return {name: value for name, value in whole.items() if name not in HEAD}


def dicom_of(part: bytes) -> JsonObject:
    """The DICOM elements of a part."""
    found: JsonObject = json.loads(part).get("DICOM", {})
    return found


def keys_of(document: Document) -> Keys:
    """Read the grouping and search keys. If there are several series, the first one's keys are used."""
    patient, study = dicom_of(document.patient), dicom_of(document.study)
    first = next(iter(document.series.values()), None)
    series = dicom_of(first.part) if first else {}
    return Keys(
        patient_id=_text(patient.get("PatientID")),
        study_uid=_text(study.get("StudyInstanceUID")),
        series_uid=_text(series.get("SeriesInstanceUID")) or next(iter(document.series), None),
        study_id=_text(study.get("StudyID")),
        accession=_text(study.get("AccessionNumber")),
        study_date=_text(study.get("StudyDate")),
        study_time=_text(study.get("StudyTime")),
        series_number=_text(series.get("SeriesNumber")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def image_set_id_of(datastore_id: str, keys: Keys, nth: int = 0) -> str:
    """The id of the ``nth`` image set with these grouping keys: equal in every import, so edit lists can use it."""
    text = json.dumps([datastore_id, *keys.grouping] + ([nth] if nth else []))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class DocumentDraft:
    """A mutable copy of a document. It parses the parts that are changed, and shares the others."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._parts: dict[DocumentPlace, JsonObject] = {}
        self._series = document.series

    def part(self, place: DocumentPlace) -> JsonObject:
        """The parsed part at a place; callers may change it. Raises Broken if the place does not exist."""
        if place not in self._parts:
            self._parts[place] = json.loads(self._stored(place))
        return self._parts[place]

    def dicom(self, place: DocumentPlace) -> JsonObject:
        """The DICOM elements at a place; callers may change them. Raises Broken if the place does not exist."""
        return object_made(self.part(place), "DICOM")

    def _stored(self, place: DocumentPlace) -> bytes:
        if place.series is None:
            return self._document.patient if place.level == "Patient" else self._document.study
        if (series := self._series.get(place.series)) is None:
            raise Broken("INVALID_REQUEST: The image set has no such series")
        if place.instance is None:
            return series.part
        if (instance := series.instances.get(place.instance)) is None:
            raise Broken("INVALID_REQUEST: The series has no such instance")
        return instance

    def check_place(self, place: DocumentPlace) -> None:
        """Raises Broken if the place does not exist."""
        self._stored(place)

    def remove_instance(self, series_uid: str, instance_uid: str) -> None:
        """Remove an instance."""
        self._stored(place := DocumentPlace("Instance", series_uid, instance_uid))
        self._parts.pop(place, None)
        series = self._series[series_uid]
        rest = {uid: part for uid, part in series.instances.items() if uid != instance_uid}
        self._series = {**self._series, series_uid: replace(series, instances=rest)}

    def remove_series(self, series_uid: str) -> None:
        """Remove a series with its instances."""
        self._stored(DocumentPlace("Series", series_uid))
        self._parts = {place: part for place, part in self._parts.items() if place.series != series_uid}
        self._series = {uid: series for uid, series in self._series.items() if uid != series_uid}

    def finish(self, *, rename_keys: bool) -> Document:
        """The changed document; it shares all unchanged parts."""
        series = dict(self._series)
        for uid in {place.series for place in self._parts if place.series is not None}:
            series[uid] = self._finished_series(uid)
        if rename_keys:
            series = self._rekeyed_series(series)
        patient, study = self._part_bytes(PATIENT), self._part_bytes(STUDY)
        return Document(patient, study, series if self._parts.keys() - {PATIENT, STUDY} else self._series)

    def _part_bytes(self, place: DocumentPlace) -> bytes:
        return dump(self._parts[place]) if place in self._parts else self._stored(place)

    def _finished_series(self, uid: str) -> Series:
        places = [place for place in self._parts if place.series == uid and place.instance is not None]
        changed = {str(place.instance): dump(self._parts[place]) for place in places}
        series = self._series[uid]
        instances = {**series.instances, **changed} if changed else series.instances
        return Series(self._part_bytes(DocumentPlace("Series", uid)), instances)

    def _rekeyed_series(self, series: dict[str, Series]) -> dict[str, Series]:
        renamed: dict[str, str] = {}
        for place, part in self._parts.items():
            if place.series is None:
                continue
            keyword = "SeriesInstanceUID" if place.instance is None else "SOPInstanceUID"
            old, new = place.instance or place.series, object_in(part, "DICOM").get(keyword)
            if not isinstance(new, str) or new == old:
                continue
            if place.instance is None:
                renamed[old] = new
            else:
                one = series[place.series]
                series[place.series] = Series(one.part, _rekeyed(one.instances, {old: new}))
        return _rekeyed(series, renamed) if renamed else series


def _rekeyed(parts: Mapping[str, _T], renamed: Mapping[str, str]) -> dict[str, _T]:
    """Rename keys of a map, and keep its order. Raises Broken if a new key exists."""
    result = {renamed.get(uid, uid): part for uid, part in parts.items()}
    if len(result) < len(parts):
        raise Broken("INVALID_REQUEST: The new UID is in use within the image set")
    return result


def same_keys(new: Document, old: Document) -> bool:
    """Whether two versions share all parts from which keys are read: a fast comparison by identity."""
    if new.patient is not old.patient or new.study is not old.study:
        return False
    return new.series is old.series or [s.part for s in new.series.values()] == [s.part for s in old.series.values()]


def conflicting(existing: Keys, new: Keys) -> bool:
    """Whether data disagrees with a primary image set of the same study (understanding-import-jobs).

    The grouping elements of Patient and Study level must be equal within a study, those of a series within the series.
    """
    study = ("patient_id", "study_id", "accession", "study_date")
    if any(getattr(existing, name) != getattr(new, name) for name in study):
        return True
    return existing.series_uid == new.series_uid and existing.series_number != new.series_number


def rewritten(document: Document) -> Document:
    """The document after an update by another writer, which sets one series attribute."""
    draft = DocumentDraft(document)
    for uid in document.series:
        draft.dicom(DocumentPlace("Series", uid))["ProtocolName"] = "WRITTEN BY ANOTHER"
    return draft.finish(rename_keys=False)


def merged(old: Document, new: Document) -> Document:
    """``old`` with the instances of ``new``, which replace those with the same UID."""
    series = dict(old.series)
    for uid, one in new.series.items():
        known = series.get(uid)
        series[uid] = Series(known.part, {**known.instances, **one.instances}) if known else one
    return Document(old.patient, old.study, series)
