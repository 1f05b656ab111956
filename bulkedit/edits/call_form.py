"""The call form: rows with the JSON of the AWS CLI, split into single edits.

A row has one edit per attribute, and one per instance or series that is removed. Removals come before sets, as in one
call.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.dicom import dictionary as dicom
from bulkedit.dicom.dictionary import Level
from bulkedit.dicom.faults import Oddity, as_typed, fault_in, oddities_in
from bulkedit.edits.attributes import label_of
from bulkedit.edits.common_columns import UID
from bulkedit.edits.edit import Action, json_text
from bulkedit.edits.odd_values import ODD_VALUES
from bulkedit.edits.problems import hint_of, one
from bulkedit.edits.strict_json import strict_json
from bulkedit.edits.unchecked import Leniency, leaves_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit._json import Json, JsonObject

    _Cells = tuple[int | str | None, ...]  # in the order of CELLS

_COLUMN: Final = "updates"
_BLOBS: Final = {"removableAttributes": Action.REMOVE, "updatableAttributes": Action.SET}  # removals first
_UID: Final = re.compile(UID)

CELLS: Final[dict[str, type[pl.DataType]]] = {
    "row": pl.UInt32,
    "action": pl.String,
    "attribute": pl.String,
    "value": pl.String,  # of a revert: the version
    "json": pl.String,  # of set and remove: the value, as in the document
    "level": pl.String,  # of the attribute's position in the document
    "series_uid": pl.String,
    "instance_uid": pl.String,
    "vr": pl.String,
    "unfit": pl.Boolean,  # the value breaks a rule, and its check is left out
}


class _UnfitError(ValueError):
    """A row that cannot be split: the code of the problem, then its text."""

    def __init__(self, code: str, text: str, hint: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.hint = hint


def split_calls(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[JsonObject], pl.DataFrame]:
    """Split rows into cells (schema CELLS), problems and odd values (schema ODD_VALUES).

    ``rows``: row, updates, unchecked and study_wide.
    """
    cells: list[_Cells] = []
    problems = []
    odd: list[tuple[int, str, str, str]] = []
    for row, updates, unchecked, study_wide in rows.select("row", "updates", "unchecked", "study_wide").iter_rows():
        judged = _Judged(unchecked)
        try:
            cells += [(row, *edit) for edit in _edits(updates, judged, study_wide=study_wide)]
        except _UnfitError as error:
            judged.unfit.append(error)
        problems += [one(row, error.code, str(error), _COLUMN, hint=error.hint) for error in judged.unfit]
        odd += [(row, *which, name) for which, name in judged.odd]
    odd_values = pl.DataFrame(odd, schema=ODD_VALUES, orient="row")
    return pl.DataFrame(cells, schema=CELLS, orient="row"), problems, odd_values


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is found about the values of one row."""

    unchecked: bool | str | None  # see `leaves_out`
    unfit: list[_UnfitError] = field(default_factory=list)
    odd: list[tuple[Oddity, str]] = field(default_factory=list)  # with the attribute


def _edits(updates: str | None, judged: _Judged, *, study_wide: bool) -> list[_Cells]:
    """Return the cells of one row, without its number. Raises _UnfitError if nothing can be read."""
    if updates is None:
        raise _UnfitError("no-edit", "updates is empty.")
    request = _json(updates, "updates")
    if (
        not isinstance(request, dict)
        or len(request) != 1
        or not request.keys() <= {"DICOMUpdates", "revertToVersionId"}
    ):
        raise _UnfitError("updates", "updates is not an object with either DICOMUpdates or revertToVersionId.")
    if "revertToVersionId" in request:
        return [_revert(request["revertToVersionId"], study_wide=study_wide)]
    blobs = request["DICOMUpdates"]
    if not isinstance(blobs, dict) or not blobs.keys() <= _BLOBS.keys():
        raise _UnfitError("updates", f"DICOMUpdates is not an object with {' and '.join(_BLOBS)}.")
    edits = [
        edit
        for name, action in _BLOBS.items()
        if name in blobs
        for edit in _Document(_document(blobs[name], name), action, judged).edits()
    ]
    if not edits:
        raise _UnfitError("no-edit", "updates has no edit.")
    if len({(edit[1], *edit[4:7]) for edit in edits}) < len(edits):
        raise _UnfitError("same-twice", "updates sets and removes the same attribute.")
    return edits


def _revert(version: Json, *, study_wide: bool) -> _Cells:
    if study_wide:
        raise _UnfitError("updates", "a revert cannot include the image sets of the study.")
    return (Action.REVERT, None, str(version) if isinstance(version, str | int) else "", *(None,) * 6)


def _document(blob: Json, name: str) -> JsonObject:
    """Parse an attributes blob: an object, JSON text, or base64 of JSON text."""
    if isinstance(blob, str):
        text = blob if blob.lstrip().startswith("{") else _unpacked(blob, name)
        blob = _json(text, name)
    if not isinstance(blob, dict):
        raise _UnfitError("updates", f"{name} is not an object.")
    if str(blob.get("SchemaVersion")) != str(dicom.SCHEMA_VERSION):
        raise _UnfitError("schema-version", f"{name} does not have SchemaVersion {dicom.SCHEMA_VERSION}.")
    return blob


def _unpacked(blob: str, name: str) -> str:
    try:
        return base64.b64decode(blob, validate=True).decode()
    except (binascii.Error, ValueError):
        pass
    raise _UnfitError("updates", f"{name} is neither JSON nor base64 of JSON.")


def _json(text: str, name: str) -> Json:
    try:
        return strict_json(text)
    except ValueError as error:
        why = str(error)
    file = text.lstrip().startswith(("file://", "fileb://"))
    hint = "The cell names a file; put the JSON of that file into the cell." if file else None
    raise _UnfitError("not-json", f"{name} is not valid JSON: {why}.", hint)


@dataclass(frozen=True, slots=True)
class _Document:
    """One attributes document and its action."""

    root: JsonObject
    action: Action
    judged: _Judged

    def edits(self) -> Iterator[_Cells]:
        """Yield rows of CELLS without the row number."""
        _only(self.root, {"SchemaVersion", "Patient", "Study"}, "the document")
        yield from self._attributes(_part(self.root, "Patient"), Level.PATIENT, None, None, {"DICOM", "DICOMVRs"})
        study = _part(self.root, "Study")
        yield from self._attributes(study, Level.STUDY, None, None, {"DICOM", "DICOMVRs", "Series"})
        for series_uid, series in _keyed(study, "Series"):
            if not series and self.action is Action.REMOVE:
                yield (Action.REMOVE_SERIES, None, None, None, None, series_uid, None, None, None)
            yield from self._attributes(series, Level.SERIES, series_uid, None, {"DICOM", "DICOMVRs", "Instances"})
            for uid, instance in _keyed(series, "Instances"):
                if not instance and self.action is Action.REMOVE:
                    yield (Action.REMOVE_INSTANCE, None, None, None, None, series_uid, uid, None, None)
                yield from self._attributes(instance, Level.INSTANCE, series_uid, uid, {"DICOM", "DICOMVRs"})

    def _attributes(
        self, part: JsonObject, level: Level, series_uid: str | None, uid: str | None, keys: set[str]
    ) -> Iterator[_Cells]:
        _only(part, keys, f"the {level} level")
        vrs = _part(part, "DICOMVRs")
        for name, value in _part(part, "DICOM").items():
            vr = vrs.get(name)
            if vr is not None and not isinstance(vr, str):
                raise _UnfitError("updates", "a VR in DICOMVRs is not text.")
            known = dicom.attribute(name)
            unfit = self.action is Action.SET and known is not None and self._is_unfit(known, vr, value)
            yield (self.action, name, None, json_text(value), level, series_uid, uid, vr, unfit)

    def _is_unfit(self, known: dicom.Attribute, vr: str | None, value: Json) -> bool:
        """Whether a value breaks a rule and its check is left out. Not for removals: a stored value may break any."""
        name = label_of(known)
        if (why := fault_in(known, vr, value)) is None:
            self.judged.odd.extend((odd, name) for odd in oddities_in(known, vr, value))
        elif why.weight < Leniency.UNCHECKED and leaves_out(self.judged.unchecked, known.name):
            return True
        else:
            text = f"the value of {name} is invalid: {why.text}."
            self.judged.unfit.append(_UnfitError(why.code, text, hint_of(why.code, (as_typed(known, vr) or known).vr)))
        return False


def _part(parent: JsonObject, key: str) -> JsonObject:
    part = parent.get(key, {})
    if not isinstance(part, dict):
        raise _UnfitError("updates", f"{key} is not an object.")
    return part


def _keyed(parent: JsonObject, key: str) -> Iterator[tuple[str, JsonObject]]:
    """Yield the objects in Series or Instances with their UIDs."""
    for uid, child in _part(parent, key).items():
        if not _UID.fullmatch(uid):
            raise _UnfitError("uid", f"a key in {key} is not a UID.")
        if not isinstance(child, dict):
            raise _UnfitError("updates", f"the value of a UID in {key} is not an object.")
        yield uid, child


def _only(part: JsonObject, keys: set[str], where: str) -> None:
    """Raise for other keys. The usual mistake is an attribute next to DICOM instead of inside it."""
    strange = part.keys() - keys
    if not strange:
        return
    slip = any(dicom.attribute(key) for key in strange)
    text = f"{where} has an attribute next to DICOM, not inside it." if slip else f"{where} has an unknown key."
    raise _UnfitError("updates", text, f"The valid keys are {', '.join(sorted(keys))}.")
