"""Finds the rule of a profile for each key of a metadata document, by level and enclosing sequences.

Each rule is resolved once and then cached. `bulkedit.deidentification.profile.PRECEDENCE` has the order in which the
parts of a profile apply.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from bulkedit.deidentification.profile import OPTIONS, OVERRIDES, DeidProfile, Override, Reach
from bulkedit.deidentification.table import (
    GROUP_2,
    NEWER,
    STATEFUL,
    BasicProfileTable,
    OptionColumns,
    ProfileAction,
    options,
    safe_private,
    table,
)
from bulkedit.dicom import dictionary as dicom

_HEX: Final = re.compile(r"[0-9A-Fa-f]{8}")
_CLEANED: Final = "**"  # in a path: any sequences, at least one of which is cleaned
_FREE_TEXT: Final = frozenset({"LT", "ST", "UC", "UT"})
_DATES: Final = frozenset({"DA", "TM", "DT"})
# attributes that `Walker` writes to record the de-identification; the rules keep them
RECORDED: Final = frozenset(
    {
        "PatientIdentityRemoved",
        "DeidentificationMethod",
        "DeidentificationMethodCodeSequence",
        "LongitudinalTemporalInformationModified",
    }
)


_RANKS: Final = {reach: rank for rank, reach in enumerate(OVERRIDES)}
_INTO_ITEMS: Final = frozenset({ProfileAction.KEEP, ProfileAction.UID, ProfileAction.CLEAN})


@dataclass(frozen=True, slots=True)
class Rule:
    """The action for one key at one place of the document."""

    name: str  # the keyword, or eight upper-case hex digits
    action: ProfileAction
    fallback: ProfileAction  # if the action is impossible: a text not in the vocabulary, an invalid date
    because: str  # the source of the action; it has no values
    vr: str  # "UN" if it is not known
    multi: bool
    level: dicom.Level | None  # where the service keeps it; None if the key is not an attribute
    private: bool
    forced: bool  # the service edits it only with `force`
    unnameable: str | None = None  # why no edit list can name this key: a kind of finding
    value: str | None = None  # of REPLACE
    partner: str | None = None  # of SHIFT: the time of a date, the date of a time
    safe: frozenset[str] = frozenset()  # private: creators in whose block this element is safe
    keeps: bool = False  # KEEP: everything except sequences is skipped at once
    editable_level: dicom.Level | None = None  # where an edit can name it; None if no edit can
    # derived from the fields above, once for all values of the rule
    stateful: bool = field(init=False)
    into_items: bool = field(init=False)  # the action applies to the items of a sequence
    plain: bool = field(init=False)  # a text can be a cell of an edit list unchanged

    def __post_init__(self) -> None:
        """Set the derived fields."""
        kind = dicom.VRS[self.vr].kind
        plain = self.private or (kind in {dicom.ValueKind.STRING, dicom.ValueKind.BINARY} and not self.multi)
        for name, value in (
            ("stateful", self.action in STATEFUL),
            ("into_items", self.action in _INTO_ITEMS),
            ("plain", plain),
        ):
            object.__setattr__(self, name, value)

    @property
    def shown(self) -> str:
        """Its name in findings; "?" if the key is not an attribute, as it could be any text."""
        return self.name if self.level else "?"


class PlaceRules(dict[str, Rule]):
    """The rules of one place: a level of the document, or the items of a sequence. Rules are resolved on first use."""

    def __init__(self, rules: ProfileRules, level: dicom.Level | None, path: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._rules = rules
        self._level = level
        self._path = path
        self._inner: dict[str, PlaceRules] = {}

    def __missing__(self, key: str) -> Rule:
        """Resolve the rule of a key."""
        rule = self[key] = self._rules.resolve(key, self._level, self._path)
        return rule

    def inside(self, name: str) -> PlaceRules:
        """The rules for the items of a sequence."""
        found = self._inner.get(name)
        if found is None:
            found = self._inner[name] = self._rules.inside((*self._path, name), self._level)
        return found


class ProfileRules:
    """The rules of a profile, by place."""

    def __init__(self, profile: DeidProfile) -> None:
        """Raises ProfileError if the tables are not installed."""
        self.profile = profile
        self._table: BasicProfileTable = table(profile.edition)
        self._options: OptionColumns = options()
        self._on = [name for name in OPTIONS if name in profile.options]
        safe = profile.safe_private | (safe_private() if "retain-safe-private" in profile.options else frozenset())
        self._safe: dict[tuple[int, int], frozenset[str]] = {}
        for creator, group, element in safe:
            at = (group, element)
            self._safe[at] = self._safe.get(at, frozenset()) | {creator}
        self._paths = [override for override in profile.overrides if override.reach is Reach.PATH]
        self._others = sorted(
            (override for override in profile.overrides if override.reach is not Reach.PATH),
            key=lambda override: (_RANKS[override.reach], override.level is None),
        )
        self._items = {level: PlaceRules(self, level, ("*",)) for level in dicom.Level}
        self._items_cleaned = {level: PlaceRules(self, level, (_CLEANED,)) for level in dicom.Level}
        self.places = {level: PlaceRules(self, level) for level in dicom.Level}

    @property
    def dates(self) -> str:
        """The value of LongitudinalTemporalInformationModified (0028,0303)."""
        if "retain-full-dates" in self.profile.options:
            return "UNMODIFIED"
        return "MODIFIED" if "retain-modified-dates" in self.profile.options else "REMOVED"

    @property
    def maps_uids(self) -> bool:
        """Whether SOP Instance UIDs are replaced."""
        return self.places[dicom.Level.INSTANCE]["SOPInstanceUID"].action is ProfileAction.UID

    def inside(self, path: tuple[str, ...], level: dicom.Level | None) -> PlaceRules:
        """The rules for the items at a path; all paths without an override share them."""
        if any(override.path[: len(path)] == path for override in self._paths):
            return PlaceRules(self, level, path)
        shared = self._items_cleaned if self._in_cleaned(level, path) else self._items
        return shared[level or dicom.Level.INSTANCE]

    def resolve(self, key: str, level: dicom.Level | None, path: tuple[str, ...]) -> Rule:
        """The rule of a key. ``path`` has the enclosing sequences, outermost first."""
        known = dicom.attribute(key)
        unnameable = None
        if known is None and _HEX.fullmatch(key):
            known, unnameable = dicom.attribute(dicom.key_of(int(key, 16))), "hex-key"
        elif known is None and key in NEWER:
            known, unnameable = dicom.Attribute(key, NEWER[key], "UN", "1", dicom.Level.INSTANCE), "unknown-key"
        if known is None:
            # neither a keyword nor a tag: its content is unknown
            remove = ProfileAction.REMOVE
            return Rule(key, remove, remove, "no DICOM attribute", "UN", False, None, False, True, "unknown-key")
        action, fallback, because, value = self._decided(known, level, path)
        if known.vr == "UI":
            # a dummy UID must be unique: a constant would identify different objects with each other
            action, fallback = (ProfileAction.UID if one is ProfileAction.DUMMY else one for one in (action, fallback))
        return Rule(
            name=known.name,
            action=action,
            fallback=fallback,
            because=because,
            vr=known.vr,
            multi=known.multi,
            level=known.level,
            private=known.private,
            forced=dicom.force_reason(known) is not None,
            unnameable=unnameable,
            value=value,
            keeps=action is ProfileAction.KEEP,
            editable_level=known.level if unnameable is None and known.name not in dicom.NEVER_EDITABLE else None,
            partner=_partner(known) if action is ProfileAction.SHIFT else None,
            safe=self._safe.get((known.tag >> 16, known.tag & 0xFF), frozenset()) if known.private else frozenset(),
        )

    def _decided(  # noqa: PLR0911 - one return for each line of `PRECEDENCE`
        self, known: dicom.Attribute, level: dicom.Level | None, path: tuple[str, ...]
    ) -> tuple[ProfileAction, ProfileAction, str, str | None]:
        """Action, fallback, source of the action, and the value of REPLACE."""
        row = self._table.of(known.tag)
        basic = row.action if row else GROUP_2.get(known.tag)
        fallback = self._fallback(known, basic)
        override = self._override(known, level, path)
        if override is not None:
            return override.action, fallback, f"override by {override.reach}", override.value
        if known.private:
            return ProfileAction.REMOVE, fallback, "private element", None
        if known.name in RECORDED:
            return ProfileAction.KEEP, fallback, "record of the de-identification", None
        codes = self._options.of(known.tag) if row else {}
        for name in self._on:
            if code := codes.get(name):
                return self._optional(known, code), fallback, f"option {name}", None
        if row is not None:
            return row.action, fallback, f"{row.code} of Annex E {self._table.edition}", None
        if basic is not None:
            return basic, fallback, "group 0002", None
        return self._unlisted(known, level, path, fallback)

    def _unlisted(
        self, known: dicom.Attribute, level: dicom.Level | None, path: tuple[str, ...], fallback: ProfileAction
    ) -> tuple[ProfileAction, ProfileAction, str, str | None]:
        """As `_decided`, for an attribute that neither Annex E nor an override names."""
        unlisted = self.profile.unlisted_vr.get(known.vr)
        if unlisted is not None:
            return unlisted, fallback, f"unlisted, VR {known.vr}", None
        if known.vr in _FREE_TEXT and self._in_cleaned(level, path):
            # for example TextValue of a report: Annex E lists only the enclosing sequence
            return ProfileAction.CLEAN, ProfileAction.DUMMY, "free text in a sequence that is cleaned", None
        if known.tag >> 16 == 2 or known.vr == "SQ" or known.name in dicom.NEVER_EDITABLE:
            return ProfileAction.KEEP, fallback, "unlisted", None
        return self.profile.unlisted, fallback, "unlisted", None

    def _in_cleaned(self, level: dicom.Level | None, path: tuple[str, ...]) -> bool:
        """Whether one of the enclosing sequences is cleaned."""
        for depth, name in enumerate(path):
            if name == _CLEANED:
                return True
            known = dicom.attribute(name)
            if known is not None and self._decided(known, level, path[:depth])[0] is ProfileAction.CLEAN:
                return True
        return False

    def _override(self, known: dicom.Attribute, level: dicom.Level | None, path: tuple[str, ...]) -> Override | None:
        here = (*path, known.name)
        for override in self._paths:
            if override.path == here and override.level in {None, level}:
                return override
        return next((override for override in self._others if _is_for(override, known, level)), None)

    def _fallback(self, known: dicom.Attribute, basic: ProfileAction | None) -> ProfileAction:
        """What to do if the action is impossible: never less than Annex E requires."""
        if basic in {ProfileAction.REMOVE, ProfileAction.EMPTY, ProfileAction.DUMMY}:
            return basic
        return ProfileAction.REMOVE if known.name not in dicom.FORCED_UIDS else ProfileAction.UID

    @staticmethod
    def _optional(known: dicom.Attribute, code: str) -> ProfileAction:
        """The action for the code K or C of an option column, which depends on the VR."""
        if code == "K":
            return ProfileAction.CAP if known.vr == "AS" else ProfileAction.KEEP
        return ProfileAction.SHIFT if known.vr in _DATES else ProfileAction.CLEAN


def _is_for(override: Override, known: dicom.Attribute, level: dicom.Level | None) -> bool:
    if override.level not in {None, level}:
        return False
    match override.reach:
        case Reach.ATTRIBUTE:
            return override.tag == known.tag
        case Reach.MASK:
            return override.mask is not None and override.mask.matches(known.tag)
        case Reach.VR:
            return override.vr == known.vr
        case _:
            # an override of a whole level must not change the UIDs and the record of the de-identification
            return known.name not in dicom.FORCED_UIDS | RECORDED and known.tag >> 16 != 2


def _partner(known: dicom.Attribute) -> str | None:
    """The keyword of the time that belongs to a date, or of the date of a time, if any."""
    wanted = {"DA": ("Date", "Time", "TM"), "TM": ("Time", "Date", "DA")}.get(known.vr)
    if wanted is None:
        return None
    own, other, vr = wanted
    head, found, tail = known.name.rpartition(own)
    partner = dicom.attribute(f"{head}{other}{tail}") if found else None
    return partner.name if partner and partner.vr == vr and partner.multi == known.multi else None
