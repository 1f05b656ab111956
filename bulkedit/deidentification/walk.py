"""From a metadata document to the edits that de-identify it, at every depth.

A direct walk over the JSON document. What stands inside a sequence can be edited only by writing the whole sequence of
the top again (update-image-set-metadata), so there the cleaned sequence is the new value. Edits are at the level at
which the attribute was read, and only where something changes: a document that is clean already yields none.
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

# The dummy of each VR: short, of the VR's form, and the same everywhere, so that it tells nothing.
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

_GONE: Final = ABSENT
_JSON_BEGINS: Final = frozenset("[{")
_NOTHING: Final[tuple[Json, ...]] = ("", [])

_OWN_UIDS: Final = {
    Level.STUDY: "StudyInstanceUID",
    Level.SERIES: "SeriesInstanceUID",
    Level.INSTANCE: "SOPInstanceUID",
}

# bytes of the smallest document that names one attribute, without UIDs, keyword and value
_FRAMES: Final = {
    Level.PATIENT: len('{"SchemaVersion":1.1,"Patient":{"DICOM":{"":}}}'),
    Level.STUDY: len('{"SchemaVersion":1.1,"Study":{"DICOM":{"":}}}'),
    Level.SERIES: len('{"SchemaVersion":1.1,"Study":{"Series":{"":{"DICOM":{"":}}}}}'),
    Level.INSTANCE: len('{"SchemaVersion":1.1,"Study":{"Series":{"":{"Instances":{"":{"DICOM":{"":}}}}}}}'),
}


class Edit(NamedTuple):
    """One row of the edit list, in the columns of its tidy form."""

    image_set_id: str
    action: str  # set or remove
    attribute: str
    value: str | None  # None: empty (set), or whatever is stored (remove)
    series_uid: str | None
    instance_uid: str | None
    vr: str | None  # of a private element whose value is a number
    force: bool
    reason: str  # of the rule; a reader of edit lists passes it over


_New: TypeAlias = "Json | Absent"  # what becomes of a value; absent: the attribute goes
# an `Edit` as a plain tuple, of which there are many
Row: TypeAlias = "tuple[str, str, str, str | None, str | None, str | None, str | None, bool, str]"


class DeidFinding(NamedTuple):
    """Something that a person has to know of an image set; it holds no value."""

    image_set_id: str
    level: str
    attribute: str  # keywords from the outermost sequence in; "?" for a key that is no attribute
    kind: str  # of `KINDS`
    times: int


@dataclass(frozen=True, slots=True)
class Kindred:
    """What a kind of finding means."""

    unreachable: bool  # something that is due cannot be done by edits of this image set in place
    text: str


KINDS: Final[dict[str, Kindred]] = {
    "primary-uid": Kindred(True, "UIDs of a primary image set cannot be changed in place: `via_copy`."),
    "too-large": Kindred(True, "The cleaned sequence is larger than a call can carry."),
    "wrong-level": Kindred(True, "It stands at another level than the service keeps it at, and cannot be named there."),
    "private-above-instance": Kindred(True, "Private elements can be edited at Instance level only."),
    "unknown-key": Kindred(True, "Its key is neither a DICOM keyword nor a tag, so that no edit can name it."),
    "hex-key": Kindred(
        True, "It stands under its tag where the service expects a keyword, so that no edit can name it."
    ),
    "never-editable": Kindred(True, "The service never edits it."),
    "left-undone": Kindred(
        True, "The image set bears the mark of this key, but this instance was not done: resume its run."
    ),
    "emptied": Kindred(False, "Its value is too large to be removed by value, so it is emptied."),
    "unreadable-date": Kindred(False, "A date or time that is none was dealt with as the Basic Profile asks."),
    "no-patient-id": Kindred(False, "There is no patient id; dates move by an offset of the study."),
}


@dataclass(frozen=True, slots=True)
class DeidMark:
    """What is written into DeidentificationMethod: the profile, and by its fingerprint the key.

    The key tells that UIDs, identifiers and dates of a document are done: to do them twice would tear its references.
    """

    profile: str
    digest: str
    fingerprint: str
    former_fingerprint: str  # of the same key, in marks of earlier versions

    @property
    def text(self) -> str:
        """At most the 64 characters of VR LO."""
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", self.profile)[:20]
        return f"bulkedit {name} {self.digest[:8]} {self._key}"

    @property
    def _key(self) -> str:
        return f"key {self.fingerprint}"

    def is_by(self, text: str) -> bool:
        """Whether a text is the mark of this key, under whichever profile."""
        return self.renewed(text).endswith(self._key) and text.startswith("bulkedit ")

    def renewed(self, text: str) -> str:
        """A mark of this key with its fingerprint of today; any other text as it is."""
        former = f" key {self.former_fingerprint}"
        if not (text.startswith("bulkedit ") and text.endswith(former)):
            return text
        return f"{text.removesuffix(former)} {self._key}"


@dataclass(slots=True)
class Derived:
    """What came of one document."""

    rows: list[Row] = field(default_factory=list)
    findings: list[DeidFinding] = field(default_factory=list)
    marked: bool = False  # the document bore the mark of this key already

    @property
    def edits(self) -> list[Edit]:
        """The rows by the names of their columns."""
        return [Edit._make(row) for row in self.rows]


@dataclass(slots=True)
class _At:
    """Where the walk is."""

    level: Level
    place: PlaceRules
    series: str | None = None
    instance: str | None = None
    done: bool = False  # stateful actions were carried out here before
    room: int = 0  # bytes that a document has for the one attribute it names
    vrs: JsonObject = field(default_factory=dict)  # DICOMVRs: of the private elements


class _Here(NamedTuple):
    """The object at hand: a level's attributes, or an item of a sequence."""

    around: JsonObject
    place: PlaceRules
    path: tuple[str, ...]  # the sequences around it
    at: _At

    def path_to(self, rule: Rule) -> tuple[str, ...]:
        """Where an attribute of it stands."""
        return (*self.path, rule.shown)


class Walker:
    """Derives edits under one profile and key. Not for use from several threads at once."""

    def __init__(
        self, rules: ProfileRules, pseudonyms: Pseudonyms, *, mark: DeidMark, payload_limit: int, together: bool = True
    ) -> None:
        """``mark`` goes into DeidentificationMethod.

        ``together``: where an image set that is not primary needs `force` for any edit, all of them carry it, so that
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
        # of the document at hand
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
            ProfileAction.KEEP: self._kept,
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
        """The edits of one document, in the order in which they are to be sent: UIDs last, innermost first.

        Raises MetadataError where it is no metadata document.
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
        """Whose offset the dates of a document move by."""
        found = patient.get("PatientID")
        if isinstance(found, str) and found.strip(" \0"):
            return found
        if self._rules.dates == "MODIFIED":
            self._noted[Level.PATIENT, "PatientID", "no-patient-id"] += 1
        return f"study {study.get('StudyInstanceUID')}"

    def _instance(self, attributes: JsonObject, at: _At) -> None:
        if self._marked and not self._was_done(attributes):
            # its patient's offset is known no more: what can be repeated is done, and the rest is named
            self._noted[Level.INSTANCE, "SOPInstanceUID", "left-undone"] += 1
        self._level(attributes, at)
        name = "LongitudinalTemporalInformationModified"
        if attributes.get(name) != self._rules.dates:
            self._set(name, self._rules.dates, at, force=False, reason="record of the de-identification")

    def _was_done(self, attributes: JsonObject) -> bool:
        """Whether this instance of a marked image set was done too. The change of its UID is the last edit it gets."""
        if self._rules.maps_uids and not self._primary:
            return is_ours(attributes.get("SOPInstanceUID"))
        return attributes.get("LongitudinalTemporalInformationModified") == self._rules.dates

    def _record(self, patient: JsonObject) -> None:
        """What was done, as the Patient Identification module has it (PS3.3 section C.7.1.1, PS3.16 CID 7050)."""
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
        """The attributes of one level."""
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
        """One edit, or why there can be none."""
        if (rule.home is not at.level or self._primary) and (kind := self._why_not(rule, at)) is not None:
            self._noted[at.level, rule.shown, kind] += 1
            return
        if new is _GONE:
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
                rule.base in {ProfileAction.REMOVE, ProfileAction.EMPTY, ProfileAction.DUMMY}
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
        """Why no edit of this image set can reach an attribute; None where one can."""
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
        """A removal that names the stored value, or empties what is too large to be named."""
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

    # of one text that is not empty; one for each `ProfileAction`, as `_of_text` has it

    def _kept(self, text: str, rule: Rule, here: _Here) -> _New:  # noqa: ARG002
        return text

    def _removed(self, text: str, rule: Rule, here: _Here) -> _New:
        return text if rule.private and self._is_safe(rule, here.around) else _GONE

    def _emptied(self, text: str, rule: Rule, here: _Here) -> _New:  # noqa: ARG002
        return None

    def _dummied(self, text: str, rule: Rule, here: _Here) -> _New:  # noqa: ARG002
        return _dummy(rule)

    def _renamed(self, text: str, rule: Rule, here: _Here) -> _New:  # noqa: ARG002
        return text if here.at.done else self._pseudonyms.uid(text)

    def _cleaned(self, text: str, rule: Rule, here: _Here) -> _New:  # noqa: ARG002
        return text if text.strip(" \0").lower() in self._vocabulary else _instead(rule)

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
        return _instead(rule) if capped is None else capped

    def _replaced(self, text: str, rule: Rule, here: _Here) -> _New:  # noqa: ARG002
        return [rule.value] if rule.multi else rule.value

    # of all else

    def _new_value(self, value: Json, rule: Rule, here: _Here) -> _New:  # noqa: PLR0911
        """What becomes of a value that is not empty: the same object where nothing does, `_GONE` where it goes."""
        action = rule.action
        if action is ProfileAction.REMOVE:
            return value if rule.private and self._is_safe(rule, here.around) else _GONE
        if type(value) is list and rule.into and _has_items(value):
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
        return _instead(rule) if new is None else new

    def _unreadable(self, rule: Rule, here: _Here) -> _New:
        self._noted[here.at.level, ".".join(here.path_to(rule)), "unreadable-date"] += 1
        return _instead(rule)

    def _new_texts(self, value: str | list[Json], rule: Rule, here: _Here) -> _New:
        """What becomes of an array of text, or of text beside which there may be another; None where nothing fits."""
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
        """Dates or times moved, each with the one beside it; None where one of them cannot be read."""
        beside = here.around.get(rule.partner) if rule.partner and self._shift.seconds else None
        if beside is not None and here.place[rule.partner or ""].action is not ProfileAction.SHIFT:
            beside = None  # it stays, or goes: then this one moves alone
        texts = _texts(value)
        besides: list[str | None] = [*_texts(beside)] if beside is not None and _is_text(beside) else []
        if len(besides) != len(texts):
            besides = [None] * len(texts)
        moved = [_moved(rule.vr, one, other, self._shift) for one, other in zip(texts, besides, strict=True)]
        if None in moved:
            return None
        return [*moved] if isinstance(value, list) else moved[0]

    def _is_safe(self, rule: Rule, around: JsonObject) -> bool:
        """Whether a private element is one of the safe ones, or the creator of a block that holds one."""
        group, element = rule.name[:4], int(rule.name[4:], 16)
        if element <= 0xFF:
            mine = f"{element:02X}"
            creator = around.get(rule.name)
            return any(
                key[:4] == group and key[4:6] == mine and self._in_block(key, creator, around)
                for key in around
                if len(key) == 8 and key != rule.name
            )
        creator = around.get(f"{group}00{rule.name[4:6]}")
        return isinstance(creator, str) and creator.strip(" \0") in rule.safe

    def _in_block(self, key: str, creator: Json, around: JsonObject) -> bool:
        """Whether an element of a block stays, so that the block's creator has to stay too."""
        rule = self._rules.places[Level.INSTANCE][key]
        if not rule.private or around[key] is None:
            return False
        return rule.action is not ProfileAction.REMOVE or (
            isinstance(creator, str) and creator.strip(" \0") in rule.safe
        )

    def _items(self, items: list[Json], path: tuple[str, ...], place: PlaceRules, at: _At) -> list[Json]:
        """The items of a sequence, cleaned; the same list where nothing changed."""
        if len(path) > DEEPEST:
            raise MetadataError(f"sequences are nested more than {DEEPEST} deep.")
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
        return {key: value for key, value in whole.items() if value is not _GONE}


# -- the document --------------------------------------------------------------------------------------------------


def _parts(document: Json) -> tuple[JsonObject, JsonObject, JsonObject]:
    """Patient.DICOM, Study.DICOM and Study.Series of a metadata document. Raises MetadataError."""
    if not isinstance(document, dict) or "Study" not in document:
        raise MetadataError(
            "it is no metadata document of an image set.", likely="It has no Study, or is something else in JSON."
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
        raise MetadataError(f"it is no metadata document of an image set: {name} is no object.")
    return found


# -- values ---------------------------------------------------------------------------------------------------------


def _method_texts(patient: JsonObject) -> list[str]:
    found = patient.get("DeidentificationMethod") or []
    return [text for text in (found if isinstance(found, list) else [found]) if isinstance(text, str)]


def _has_items(value: Json) -> bool:
    if isinstance(value, list):
        for item in value:  # seldom more than a few: a generator would take longer
            if isinstance(item, dict):
                return True
    return False


def _is_text(value: Json) -> TypeGuard[str | list[Json]]:
    """Whether a value is text, or an array of text and nothing."""
    if isinstance(value, list):
        return all(one is None or isinstance(one, str) for one in value)
    return isinstance(value, str)


def _texts(value: str | list[Json]) -> list[str]:
    return [one if isinstance(one, str) else "" for one in value] if isinstance(value, list) else [value]


def _each(value: str | list[Json], change: Callable[[str], str | None]) -> Json:
    """A text changed, or each text of an array that is not empty."""
    if isinstance(value, list):
        return [change(one) if isinstance(one, str) and one else one for one in value]
    return change(value)


def _instead(rule: Rule) -> _New:
    """What the Basic Profile does, where the action does not fit the value."""
    if rule.base is ProfileAction.REMOVE:
        return _GONE
    return _dummy(rule) if rule.base is ProfileAction.DUMMY else None


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
    """A value as a cell of the edit list: arrays and sequences as JSON, numbers by their digits.

    Half of a surrogate pair is JSON, but no text that a file could hold.
    """
    text = json_text(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _fits(value: Json, room: int) -> bool:
    """Whether a value has room in a call of its own."""
    if isinstance(value, str) and len(value) * 6 + 2 < room:
        return True  # six bytes are the most that JSON makes of a character
    return len(json_text(value).encode("utf-8", "replace")) <= room


def _named(rule: Rule, old: Json, vr: str | None) -> str | None:
    """The stored value as a cell that the reader of edit lists turns into the same JSON again.

    None where a cell cannot say it exactly: then the engine reads what is stored just before the call.
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
