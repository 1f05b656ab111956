"""Walks a metadata document and derives the edits that de-identify it, at every depth.

The service can change an item only by replacing the outermost sequence (update-image-set-metadata), so the edit sets
the whole cleaned sequence. An edit has the level of its attribute, and exists only if the value changes: a document
that is already de-identified yields no edits.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeGuard

from bulkedit._json import ABSENT
from bulkedit.deidentification import dates
from bulkedit.deidentification.pseudonyms import is_ours
from bulkedit.deidentification.table import ProfileAction
from bulkedit.dicom import dictionary as dicom
from bulkedit.dicom.dictionary import Level, ValueKind
from bulkedit.edits.edit import json_text
from bulkedit.errors import MetadataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkedit._json import Absent, Json, JsonObject
    from bulkedit.deidentification.pseudonyms import Pseudonyms
    from bulkedit.deidentification.rules import PlaceRules, ProfileRules, Rule

DEEPEST: Final = 200  # sequences inside sequences; real objects have fewer than ten
_SCHEME: Final = "DCM"
_YES: Final = "YES"

# The dummy of each VR: short, valid, and constant, so that it reveals nothing.
_TEXT: Final = "REMOVED"
_BINARY: Final = base64.b64encode(b"REMOVED ").decode()  # of even length
DUMMIES: Final[JsonObject] = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), _TEXT),
    **{vr: 0 for vr, rule in dicom.VRS.items() if rule.kind in {ValueKind.INTEGER, ValueKind.FLOAT}},
    **{vr: _BINARY for vr, rule in dicom.VRS.items() if rule.kind is ValueKind.BINARY},
    "AS": "000Y",
    "AT": "00000000",
    "DA": "19000101",
    "DS": "0",
    "DT": "19000101000000",
    "IS": "0",
    "TM": "000000",
    "UR": "urn:removed",
    "SQ": [{}],
}

_REMOVED: Final = ABSENT
_JSON_BEGINS: Final = frozenset("[{")
_NOTHING: Final[tuple[Json, ...]] = ("", [])

_OWN_UIDS: Final = {
    Level.STUDY: "StudyInstanceUID",
    Level.SERIES: "SeriesInstanceUID",
    Level.INSTANCE: "SOPInstanceUID",
}

# bytes of the smallest document that sets one attribute, without UIDs, keyword and value
_FRAMES: Final = {
    Level.PATIENT: len('{"SchemaVersion":1.1,"Patient":{"DICOM":{"":}}}'),
    Level.STUDY: len('{"SchemaVersion":1.1,"Study":{"DICOM":{"":}}}'),
    Level.SERIES: len('{"SchemaVersion":1.1,"Study":{"Series":{"":{"DICOM":{"":}}}}}'),
    Level.INSTANCE: len('{"SchemaVersion":1.1,"Study":{"Series":{"":{"Instances":{"":{"DICOM":{"":}}}}}}}'),
}


class Edit(NamedTuple):
    """One row of the edit list, in its tidy form."""

    image_set_id: str
    action: str  # set or remove
    attribute: str
    value: str | None  # None: empty (set), or the stored value (remove)
    series_uid: str | None
    instance_uid: str | None
    vr: str | None  # of a private element whose value is a number
    force: bool
    reason: str  # `Rule.because`; the planner ignores it


_New: TypeAlias = "Json | Absent"  # a new value; absent: the attribute is removed
# an `Edit` as a plain tuple, which is faster to make
Row: TypeAlias = "tuple[str, str, str, str | None, str | None, str | None, str | None, bool, str]"


class DeidFinding(NamedTuple):
    """Something that the user must know about an image set; it has no values of metadata."""

    image_set_id: str
    level: str
    attribute: str  # keywords, outermost sequence first; "?" if the key is not an attribute
    kind: str  # of `KINDS`
    times: int


@dataclass(frozen=True, slots=True)
class FindingKind:
    """The meaning of a kind of finding."""

    unreachable: bool  # no edit in place can make a change that the profile requires
    text: str


KINDS: Final[dict[str, FindingKind]] = {
    "primary-uid": FindingKind(True, "UIDs of a primary image set cannot be changed in place: use `via_copy`."),
    "too-large": FindingKind(True, "The cleaned sequence is larger than the limit of a call."),
    "wrong-level": FindingKind(True, "The attribute is at a level where the service cannot edit it."),
    "private-above-instance": FindingKind(True, "Private elements can be edited only at Instance level."),
    "unknown-key": FindingKind(True, "Its key is neither a DICOM keyword nor a tag, so no edit can name it."),
    "hex-key": FindingKind(True, "Its key is a tag, but the service expects a keyword, so no edit can name it."),
    "never-editable": FindingKind(True, "The service never edits it."),
    "left-undone": FindingKind(
        True, "The image set has the mark of this key, but this instance was not de-identified: resume its run."
    ),
    "emptied": FindingKind(False, "Its value is too large to be removed by value, so it is emptied."),
    "unreadable-date": FindingKind(False, "Not a valid date or time; the Basic Profile's action was applied instead."),
    "no-patient-id": FindingKind(False, "There is no patient id; dates are shifted by an offset of the study."),
}


@dataclass(frozen=True, slots=True)
class DeidMark:
    """The mark written into DeidentificationMethod: the profile, and the fingerprint of the key.

    The fingerprint shows that the UIDs, identifiers and dates of a document are already replaced. Replacing them twice
    would break references between image sets.
    """

    profile: str
    digest: str
    fingerprint: str
    former_fingerprint: str  # of the same key, in marks of earlier versions

    @property
    def text(self) -> str:
        """The mark, within the 64 characters of VR LO."""
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", self.profile)[:20]
        return f"bulkedit {name} {self.digest[:8]} {self._key}"

    @property
    def _key(self) -> str:
        return f"key {self.fingerprint}"

    def is_by(self, text: str) -> bool:
        """Whether a text is a mark of this key, with any profile."""
        return self.renewed(text).endswith(self._key) and text.startswith("bulkedit ")

    def renewed(self, text: str) -> str:
        """A mark of this key, with its present fingerprint; any other text unchanged."""
        former = f" key {self.former_fingerprint}"
        if not (text.startswith("bulkedit ") and text.endswith(former)):
            return text
        return f"{text.removesuffix(former)} {self._key}"


@dataclass(slots=True)
class Derived:
    """The edits and findings of one document."""

    rows: list[Row] = field(default_factory=list)
    findings: list[DeidFinding] = field(default_factory=list)
    marked: bool = False  # the document already had the mark of this key

    @property
    def edits(self) -> list[Edit]:
        """The rows as named tuples."""
        return [Edit._make(row) for row in self.rows]


@dataclass(slots=True)
class _At:
    """The level, series and instance that the walk has reached."""

    level: Level
    place: PlaceRules
    series: str | None = None
    instance: str | None = None
    done: bool = False  # stateful actions were already applied here
    room: int = 0  # bytes left for keyword and value in a document with one attribute
    vrs: JsonObject = field(default_factory=dict)  # DICOMVRs: the VRs of private elements


class _Here(NamedTuple):
    """The current JSON object: the attributes of a level, or an item of a sequence."""

    attributes: JsonObject
    place: PlaceRules
    path: tuple[str, ...]  # the enclosing sequences
    at: _At

    def path_to(self, rule: Rule) -> tuple[str, ...]:
        """The path of one of its attributes."""
        return (*self.path, rule.shown)


class Walker:
    """Derives the edits of documents for one profile and key. Not thread-safe."""

    def __init__(
        self, rules: ProfileRules, pseudonyms: Pseudonyms, *, mark: DeidMark, payload_limit: int, together: bool = True
    ) -> None:
        """``mark`` is written into DeidentificationMethod. ``payload_limit``: bytes of a call's attributes document.

        ``together``: if an image set is not primary, and one of its edits needs `force`, all its edits have it, so that
        they share calls.
        """
        self._rules = rules
        self._pseudonyms = pseudonyms
        self._mark = mark
        self._limit = payload_limit
        self._together = together
        self._vocabulary = rules.profile.vocabulary
        self._uids = {
            name for level, name in _OWN_UIDS.items() if rules.places[level][name].action is ProfileAction.UID
        }
        # of the current document
        self._id = ""
        self._edits: list[Row] = []
        self._renames: dict[Level, list[Row]] = {}
        self._noted: Counter[tuple[str, str, str]] = Counter()
        self._shift = dates.Shift(0)
        self._primary = self._marked = self._forced_all = self._needs_force = False
        self._codes: list[JsonObject] = [
            {"CodeValue": value, "CodingSchemeDesignator": _SCHEME, "CodeMeaning": meaning}
            for value, meaning in rules.profile.codes
        ]
        self._of_text = {
            ProfileAction.REMOVE: self._removed,
            ProfileAction.EMPTY: self._emptied,
            ProfileAction.DUMMY: self._dummied,
            ProfileAction.UID: self._renamed,
            ProfileAction.CLEAN: self._cleaned,
            ProfileAction.SHIFT: self._shifted,
            ProfileAction.PSEUDONYM: self._pseudonymised,
            ProfileAction.CAP: self._capped,
            ProfileAction.REPLACE: self._replaced,
        }
        self._codes_text, self._mark_text = json_text([*self._codes]), json_text([mark.text])

    def derive(self, image_set_id: str, document: JsonObject, *, primary: bool = False) -> Derived:
        """The edits of one document in sending order: UIDs last, and of those the instances' first.

        Raises MetadataError if it is not a metadata document.
        """
        patient, study, all_series = _parts(document)
        self._id, self._primary = image_set_id, primary
        self._forced_all, self._needs_force = self._together and not primary, False
        self._edits, self._renames, self._noted = [], {level: [] for level in Level}, Counter()
        self._marked = any(self._mark.is_by(text) for text in _method_texts(patient))
        self._shift = self._pseudonyms.shift(self._patient_of(patient, study))
        self._level(patient, self._at(Level.PATIENT))
        self._record(patient)
        self._level(study, self._at(Level.STUDY))
        for series_uid, series in all_series.items():
            self._level(_dicom(series), self._at(Level.SERIES, series_uid))
            for instance_uid, instance in _member(series, "Instances").items():
                at = self._at(Level.INSTANCE, series_uid, instance_uid)
                at.vrs = _member(instance, "DICOMVRs")
                self._instance(_dicom(instance), at)
        renames = [edit for level in (Level.INSTANCE, Level.SERIES, Level.STUDY) for edit in self._renames[level]]
        edits = self._edits + renames
        if self._forced_all and not self._needs_force:
            edits = [(*edit[:7], False, edit[8]) for edit in edits]
        findings = [DeidFinding(image_set_id, *noted, count) for noted, count in self._noted.items()]
        return Derived(edits, findings, self._marked)

    # -- levels -------------------------------------------------------------------------------------------------

    def _at(self, level: Level, series: str = "", instance: str = "") -> _At:
        frame = _FRAMES[level] + len(series.encode()) + len(instance.encode())
        place, room = self._rules.places[level], self._limit - frame
        return _At(level, place, series or None, instance or None, self._marked, room)

    def _patient_of(self, patient: JsonObject, study: JsonObject) -> str:
        """The patient, or without a patient id the study, whose offset shifts the dates of a document."""
        found = patient.get("PatientID")
        if isinstance(found, str) and found.strip(" \0"):
            return found
        if self._rules.dates == "MODIFIED":
            self._noted[Level.PATIENT, "PatientID", "no-patient-id"] += 1
        return f"study {study.get('StudyInstanceUID')}"

    def _instance(self, attributes: JsonObject, at: _At) -> None:
        if self._marked and not self._was_done(attributes):
            # the original patient id is unknown, so dates cannot be shifted: only repeatable actions are applied
            self._noted[Level.INSTANCE, "SOPInstanceUID", "left-undone"] += 1
        self._level(attributes, at)
        name = "LongitudinalTemporalInformationModified"
        if attributes.get(name) != self._rules.dates:
            self._set(name, self._rules.dates, at, force=False, reason="record of the de-identification")

    def _was_done(self, attributes: JsonObject) -> bool:
        """Whether this instance of a marked image set was de-identified. Its UID is changed by its last edit."""
        if self._rules.maps_uids and not self._primary:
            return is_ours(attributes.get("SOPInstanceUID"))
        return attributes.get("LongitudinalTemporalInformationModified") == self._rules.dates

    def _record(self, patient: JsonObject) -> None:
        """Add the edits that record the de-identification (PS3.3 section C.7.1.1, PS3.16 CID 7050)."""
        at = self._at(Level.PATIENT)
        reason = "record of the de-identification"
        if patient.get("PatientIdentityRemoved") != _YES:
            self._set("PatientIdentityRemoved", _YES, at, force=False, reason=reason)
        found = _method_texts(patient)
        methods = [self._mark.renewed(text) for text in found]
        if self._mark.text not in methods:
            methods.append(self._mark.text)
        if methods != found:
            text = json_text([*methods]) if found else self._mark_text
            self._set("DeidentificationMethod", text, at, force=True, reason=reason)
        name = "DeidentificationMethodCodeSequence"
        found_codes = patient.get(name)
        coded = found_codes if isinstance(found_codes, list) else []
        there = {item.get("CodeValue") for item in coded if isinstance(item, dict)}
        missing = [item for item in self._codes if item["CodeValue"] not in there]
        if missing:
            text = json_text([*coded, *missing]) if coded else self._codes_text
            self._set(name, text, at, force=True, reason=reason)

    def _level(self, attributes: JsonObject, at: _At) -> None:
        """Add the edits of one level."""
        here, place, of_text = _Here(attributes, at.place, (), at), at.place, self._of_text
        for key, value in attributes.items():
            rule = place[key]
            if type(value) is str:
                if rule.keeps or not value:
                    continue
                new = of_text[rule.action](value, rule, here)
            elif value is None or (rule.keeps and type(value) is not list) or value == []:
                continue
            else:
                new = self._new_value(value, rule, here)
            if new is not value and new != value:
                self._emit(rule, value, new, at)

    def _emit(self, rule: Rule, old: Json, new: _New, at: _At) -> None:
        """Add one edit, or a finding if no edit is possible."""
        if (rule.editable_level is not at.level or self._primary) and (kind := self._why_not(rule, at)) is not None:
            self._noted[at.level, rule.shown, kind] += 1
            return
        if new is _REMOVED:
            self._remove(rule, old, at)
            return
        name, reason = rule.name, rule.because
        text = new if new is None or isinstance(new, str) else _cell(new)
        if name in self._uids:
            row = (self._id, "set", name, text, at.series, at.instance, None, True, reason)
            self._needs_force = True
            self._renames[at.level].append(row)
            return
        if text is not None and not _fits(new, at.room - len(name)):
            if (
                rule.fallback in {ProfileAction.REMOVE, ProfileAction.EMPTY, ProfileAction.DUMMY}
                and rule.action is not ProfileAction.KEEP
            ):
                self._noted[at.level, name, "emptied"] += 1
                text = None
            else:
                self._noted[at.level, name, "too-large"] += 1
                return
        force = rule.forced
        self._needs_force |= force
        force = force or self._forced_all
        self._edits.append((self._id, "set", name, text, at.series, at.instance, None, force, reason))

    def _why_not(self, rule: Rule, at: _At) -> str | None:
        """The kind of finding if no edit of this image set can change an attribute, else None."""
        if rule.private and at.level is not Level.INSTANCE:
            return "private-above-instance"
        if rule.unnameable is not None:
            return rule.unnameable
        if rule.level is not at.level:
            return "wrong-level"
        if rule.name in dicom.NEVER_EDITABLE:
            return "never-editable"
        if self._primary and rule.name in dicom.FORCED_UIDS:
            return "primary-uid"
        return None

    def _remove(self, rule: Rule, old: Json, at: _At) -> None:
        """Add a removal that names the stored value, or an edit that empties it if it is too large to be named."""
        if not _fits(old, at.room - len(rule.name)):
            self._noted[at.level, rule.name, "emptied"] += 1
            self._set(rule.name, None, at, force=rule.forced, reason=rule.because)
            return
        stated = at.vrs.get(rule.name) if rule.private and not isinstance(old, str) else None
        vr = stated if isinstance(stated, str) else None
        value = _named(rule, old, vr)
        place = (at.series, at.instance, vr if value is not None else None)
        self._needs_force |= rule.forced
        force = rule.forced or self._forced_all
        self._edits.append((self._id, "remove", rule.name, value, *place, force, rule.because))

    def _set(self, name: str, text: str | None, at: _At, *, force: bool, reason: str) -> None:
        self._needs_force |= force
        force = force or self._forced_all
        self._edits.append((self._id, "set", name, text, at.series, at.instance, None, force, reason))

    # -- values -------------------------------------------------------------------------------------------------

    # for one text that is not empty: a method for each `ProfileAction` but KEEP, see `_of_text`

    def _removed(self, text: str, rule: Rule, here: _Here) -> _New:
        return text if rule.private and self._is_safe(rule, here.attributes) else _REMOVED

    def _emptied(self, text: str, rule: Rule, here: _Here) -> _New:  # noqa: ARG002
        return None

    def _dummied(self, text: str, rule: Rule, here: _Here) -> _New:  # noqa: ARG002
        return _dummy(rule)

    def _renamed(self, text: str, rule: Rule, here: _Here) -> _New:  # noqa: ARG002
        return text if here.at.done else self._pseudonyms.uid(text)

    def _cleaned(self, text: str, rule: Rule, here: _Here) -> _New:  # noqa: ARG002
        return text if text.strip(" \0").lower() in self._vocabulary else _fallback_value(rule)

    def _shifted(self, text: str, rule: Rule, here: _Here) -> _New:
        if here.at.done:
            return text
        if self._shift.seconds:
            return self._new_value(text, rule, here)
        moved = _moved(rule.vr, text, None, self._shift)
        return self._unreadable(rule, here) if moved is None else moved

    def _pseudonymised(self, text: str, rule: Rule, here: _Here) -> _New:
        return text if here.at.done else self._pseudonyms.identifier(rule.name, text)

    def _capped(self, text: str, rule: Rule, here: _Here) -> _New:  # noqa: ARG002
        capped = dates.age(text)
        return _fallback_value(rule) if capped is None else capped

    def _replaced(self, text: str, rule: Rule, here: _Here) -> _New:  # noqa: ARG002
        return [rule.value] if rule.multi else rule.value

    # for all other values

    def _new_value(self, value: Json, rule: Rule, here: _Here) -> _New:  # noqa: PLR0911
        """The new value for one that is not empty: the same object if unchanged, `_REMOVED` if it is removed."""
        action = rule.action
        if action is ProfileAction.REMOVE:
            return value if rule.private and self._is_safe(rule, here.attributes) else _REMOVED
        if type(value) is list and rule.into_items and _has_items(value):
            return self._items(value, here.path_to(rule), here.place.inside(rule.name), here.at)
        if action is ProfileAction.KEEP or (rule.stateful and here.at.done):
            return value
        if action is ProfileAction.EMPTY:
            return None
        if action is ProfileAction.DUMMY:
            return _dummy(rule)
        if action is ProfileAction.REPLACE:
            return [rule.value] if rule.multi else rule.value
        new = self._new_texts(value, rule, here) if _is_text(value) else None
        if new is None and action is ProfileAction.SHIFT:
            return self._unreadable(rule, here)
        return _fallback_value(rule) if new is None else new

    def _unreadable(self, rule: Rule, here: _Here) -> _New:
        self._noted[here.at.level, ".".join(here.path_to(rule)), "unreadable-date"] += 1
        return _fallback_value(rule)

    def _new_texts(self, value: str | list[Json], rule: Rule, here: _Here) -> _New:
        """The new value of a text or an array of texts; None if the action is impossible."""
        match rule.action:
            case ProfileAction.UID:
                return _each(value, self._pseudonyms.uid)
            case ProfileAction.PSEUDONYM:
                return _each(value, lambda one: self._pseudonyms.identifier(rule.name, one))
            case ProfileAction.CLEAN:
                return value if all(one.strip(" \0").lower() in self._vocabulary for one in _texts(value)) else None
            case ProfileAction.SHIFT:
                return self._moved_together(value, rule, here)
            case _:
                capped = _each(value, dates.age)
                return None if isinstance(capped, list) and None in capped else capped

    def _moved_together(self, value: str | list[Json], rule: Rule, here: _Here) -> _New:
        """Dates or times shifted, each with its matching time or date; None if one of them is not valid."""
        beside = here.attributes.get(rule.partner) if rule.partner and self._shift.seconds else None
        if beside is not None and here.place[rule.partner or ""].action is not ProfileAction.SHIFT:
            beside = None  # it is not shifted, so this one is shifted alone
        texts = _texts(value)
        besides: list[str | None] = [*_texts(beside)] if beside is not None and _is_text(beside) else []
        if len(besides) != len(texts):
            besides = [None] * len(texts)
        moved = [_moved(rule.vr, one, other, self._shift) for one, other in zip(texts, besides, strict=True)]
        if None in moved:
            return None
        return [*moved] if isinstance(value, list) else moved[0]

    def _is_safe(self, rule: Rule, attributes: JsonObject) -> bool:
        """Whether a private element is safe, or is the creator of a block with a safe element."""
        group, element = rule.name[:4], int(rule.name[4:], 16)
        if element <= 0xFF:
            mine = f"{element:02X}"
            creator = attributes.get(rule.name)
            return any(
                key[:4] == group and key[4:6] == mine and self._in_block(key, creator, attributes)
                for key in attributes
                if len(key) == 8 and key != rule.name
            )
        creator = attributes.get(f"{group}00{rule.name[4:6]}")
        return isinstance(creator, str) and creator.strip(" \0") in rule.safe

    def _in_block(self, key: str, creator: Json, attributes: JsonObject) -> bool:
        """Whether an element of a block is kept, so that the block's creator must be kept too."""
        rule = self._rules.places[Level.INSTANCE][key]
        if not rule.private or attributes[key] is None:
            return False
        return rule.action is not ProfileAction.REMOVE or (
            isinstance(creator, str) and creator.strip(" \0") in rule.safe
        )

    def _items(self, items: list[Json], path: tuple[str, ...], place: PlaceRules, at: _At) -> list[Json]:
        """The items of a sequence, cleaned; the same list if nothing changed."""
        if len(path) > DEEPEST:
            raise MetadataError(f"sequences are nested more than {DEEPEST} levels deep.")
        cleaned = [self._item(item, _Here(item, place, path, at)) if isinstance(item, dict) else item for item in items]
        return items if all(new is old for new, old in zip(cleaned, items, strict=True)) else cleaned

    def _item(self, item: JsonObject, here: _Here) -> JsonObject:
        changed: dict[str, _New] = {}
        for key, value in item.items():
            rule = here.place[key]
            if (rule.keeps and type(value) is not list) or value is None or value in _NOTHING:
                continue
            if type(value) is str:
                new = self._of_text[rule.action](value, rule, here)
            else:
                new = self._new_value(value, rule, here)
            if new is not value and new != value:
                changed[key] = new
        if not changed:
            return item
        whole: dict[str, _New] = {**item, **changed}
        return {key: value for key, value in whole.items() if value is not _REMOVED}


# -- the document --------------------------------------------------------------------------------------------------


def _parts(document: Json) -> tuple[JsonObject, JsonObject, JsonObject]:
    """Patient.DICOM, Study.DICOM and Study.Series of a metadata document. Raises MetadataError."""
    if not isinstance(document, dict) or "Study" not in document:
        raise MetadataError(
            "the JSON is not the metadata document of an image set.", likely="It has no Study: it is other JSON."
        )
    study = _member(document, "Study")
    return _dicom(_member(document, "Patient")), _dicom(study), _member(study, "Series")


def _dicom(level: Json) -> JsonObject:
    return _member(level, "DICOM")


def _member(node: Json, name: str) -> JsonObject:
    found = node.get(name) if isinstance(node, dict) else None
    if found is None and isinstance(node, dict):
        return {}
    if not isinstance(found, dict):
        raise MetadataError(f"the JSON is not the metadata document of an image set: {name} is not an object.")
    return found


# -- values ---------------------------------------------------------------------------------------------------------


def _method_texts(patient: JsonObject) -> list[str]:
    found = patient.get("DeidentificationMethod") or []
    return [text for text in (found if isinstance(found, list) else [found]) if isinstance(text, str)]


def _has_items(value: Json) -> bool:
    if isinstance(value, list):
        for item in value:  # faster than a generator, as there are few items
            if isinstance(item, dict):
                return True
    return False


def _is_text(value: Json) -> TypeGuard[str | list[Json]]:
    """Whether a value is text, or an array of texts and nulls."""
    if isinstance(value, list):
        return all(one is None or isinstance(one, str) for one in value)
    return isinstance(value, str)


def _texts(value: str | list[Json]) -> list[str]:
    return [one if isinstance(one, str) else "" for one in value] if isinstance(value, list) else [value]


def _each(value: str | list[Json], change: Callable[[str], str | None]) -> Json:
    """Apply ``change`` to a text, or to each text of an array that is not empty."""
    if isinstance(value, list):
        return [change(one) if isinstance(one, str) and one else one for one in value]
    return change(value)


def _fallback_value(rule: Rule) -> _New:
    """The new value if the action is impossible for the old one."""
    if rule.fallback is ProfileAction.REMOVE:
        return _REMOVED
    return _dummy(rule) if rule.fallback is ProfileAction.DUMMY else None


def _dummy(rule: Rule) -> Json:
    dummy = DUMMIES[rule.vr]
    return [dummy] if rule.multi else dummy


def _moved(vr: str, text: str, beside: str | None, shift: dates.Shift) -> str | None:
    if not text.strip(" \0"):
        return text
    if vr == "DT":
        return dates.datetime_(text, shift)
    if not beside or not beside.strip(" \0"):
        return dates.date(text, shift) if vr == "DA" else dates.time(text, shift)
    pair = dates.pair(text, beside, shift) if vr == "DA" else dates.pair(beside, text, shift)
    return pair[0] if vr == "DA" else pair[1]


def _cell(value: Json) -> str:
    """A value as a cell of the edit list: arrays, sequences and numbers as JSON.

    JSON may contain a lone surrogate, which UTF-8 cannot encode; it is replaced.
    """
    text = json_text(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _fits(value: Json, room: int) -> bool:
    """Whether a call can have the value as its only edit."""
    if isinstance(value, str) and len(value) * 6 + 2 < room:
        return True  # JSON needs at most six bytes for a character
    return len(json_text(value).encode("utf-8", "replace")) <= room


def _named(rule: Rule, old: Json, vr: str | None) -> str | None:
    """The stored value as a cell from which the reader of edit lists makes equal JSON.

    None if no cell can be exact: the engine then reads the stored value just before the call.
    """
    if isinstance(old, str):
        return old if rule.plain and old.isprintable() and old[:1] not in _JSON_BEGINS else None
    kind = dicom.VRS[vr if vr in dicom.VRS else rule.vr].kind
    if (rule.private and isinstance(old, list)) or not isinstance(old, list | int | float) or isinstance(old, bool):
        return None
    text = json_text(old)
    if not text.isprintable():
        return None
    if kind is ValueKind.SEQUENCE:
        return text if isinstance(old, list) else None
    if rule.multi:
        fit = str if kind in {ValueKind.STRING, ValueKind.BINARY} else int | float
        return text if isinstance(old, list) and all(isinstance(one, fit) for one in old) else None
    number = int if kind is ValueKind.INTEGER else int | float
    return text if kind in {ValueKind.INTEGER, ValueKind.FLOAT} and isinstance(old, number) else None
