"""A profile as rules: for each key of a metadata document, at each place, what becomes of it.

Keys are looked up once; the answer for a name is kept. The order in which the parts of a profile decide is
`bulkedit.deidentification.profile.PRECEDENCE`.
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
_CLEANED: Final = "**"  # in a path: some sequences, one of which is cleaned
_FREE_TEXT: Final = frozenset({"LT", "ST", "UC", "UT"})
_DATES: Final = frozenset({"DA", "TM", "DT"})
# what the planner writes itself (profile section of the walk): kept by the rules
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
    """What becomes of one key at one place."""

    name: str  # the keyword, or eight upper-case hex digits
    action: ProfileAction
    base: (
        ProfileAction  # what takes its place where it cannot be done: a text not in the vocabulary, a date that is none
    )
    because: str  # where the action comes from, in words that hold no value
    vr: str  # "UN" where it is not known
    multi: bool
    level: dicom.Level | None  # where the service keeps it; None for a key that is no attribute
    private: bool
    forced: bool  # the service edits it only with `force`
    unnameable: str | None = None  # why no edit list can name this key as it stands: a kind of finding
    value: str | None = None  # of REPLACE
    partner: str | None = None  # of SHIFT: the time beside a date, the date beside a time
    safe: frozenset[str] = frozenset()  # private: creators in whose block this element is safe
    keeps: bool = False  # KEEP: what is no sequence is passed over at once
    home: dicom.Level | None = None  # where an edit can name it; None where none can
    # what follows from the above, said once for the many values that a rule meets
    stateful: bool = field(init=False)
    into: bool = field(init=False)  # the action does not end at a sequence
    plain: bool = field(init=False)  # a text of it is a cell of an edit list as it stands

    def __post_init__(self) -> None:
        """Fill in what follows."""
        kind = dicom.VRS[self.vr].kind
        plain = self.private or (kind in {dicom.ValueKind.STRING, dicom.ValueKind.BINARY} and not self.multi)
        for name, value in (
            ("stateful", self.action in STATEFUL),
            ("into", self.action in _INTO_ITEMS),
            ("plain", plain),
        ):
            object.__setattr__(self, name, value)

    @property
    def shown(self) -> str:
        """What findings call it: a key that is no attribute may be anything."""
        return self.name if self.level else "?"


class PlaceRules(dict[str, Rule]):
    """The rules of one place: a level of the document, or the items of a sequence. A dict that fills itself."""

    def __init__(self, rules: ProfileRules, level: dicom.Level | None, path: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._rules = rules
        self._level = level
        self._path = path
        self._inner: dict[str, PlaceRules] = {}

    def __missing__(self, key: str) -> Rule:
        """Look a key up, once."""
        rule = self[key] = self._rules.resolve(key, self._level, self._path)
        return rule

    def inside(self, name: str) -> PlaceRules:
        """The place of the items of a sequence."""
        found = self._inner.get(name)
        if found is None:
            found = self._inner[name] = self._rules.inside((*self._path, name), self._level)
        return found


class ProfileRules:
    """A profile, ready for documents."""

    def __init__(self, profile: DeidProfile) -> None:
        """Raises ProfileError where the tables are not installed."""
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
        """LongitudinalTemporalInformationModified (0028,0303): what became of dates as a whole."""
        if "retain-full-dates" in self.profile.options:
            return "UNMODIFIED"
        return "MODIFIED" if "retain-modified-dates" in self.profile.options else "REMOVED"

    @property
    def maps_uids(self) -> bool:
        """Whether SOP Instance UIDs become others."""
        return self.places[dicom.Level.INSTANCE]["SOPInstanceUID"].action is ProfileAction.UID

    def inside(self, path: tuple[str, ...], level: dicom.Level | None) -> PlaceRules:
        """The place of the items at a path; one place serves all those of which no override speaks."""
        if any(override.path[: len(path)] == path for override in self._paths):
            return PlaceRules(self, level, path)
        shared = self._items_cleaned if self._in_cleaned(level, path) else self._items
        return shared[level or dicom.Level.INSTANCE]

    def resolve(self, key: str, level: dicom.Level | None, path: tuple[str, ...]) -> Rule:
        """The rule of a key. ``path`` holds the sequences around it, outermost first."""
        known = dicom.attribute(key)
        unnameable = None
        if known is None and _HEX.fullmatch(key):
            known, unnameable = dicom.attribute(dicom.key_of(int(key, 16))), "hex-key"
        elif known is None and key in NEWER:
            known, unnameable = dicom.Attribute(key, NEWER[key], "UN", "1", dicom.Level.INSTANCE), "unknown-key"
        if known is None:
            # neither a keyword nor a tag: nobody can say what it holds
            gone = ProfileAction.REMOVE
            return Rule(key, gone, gone, "no DICOM attribute", "UN", False, None, False, True, "unknown-key")
        action, base, because, value = self._decided(known, level, path)
        if known.vr == "UI":
            # the dummy of a UID is another UID: two constants would make one thing of two
            action, base = (ProfileAction.UID if one is ProfileAction.DUMMY else one for one in (action, base))
        return Rule(
            name=known.name,
            action=action,
            base=base,
            because=because,
            vr=known.vr,
            multi=known.multi,
            level=known.level,
            private=known.private,
            forced=dicom.force_reason(known) is not None,
            unnameable=unnameable,
            value=value,
            keeps=action is ProfileAction.KEEP,
            home=known.level if unnameable is None and known.name not in dicom.NEVER_EDITABLE else None,
            partner=_partner(known) if action is ProfileAction.SHIFT else None,
            safe=self._safe.get((known.tag >> 16, known.tag & 0xFF), frozenset()) if known.private else frozenset(),
        )

    def _decided(  # noqa: PLR0911 - one return for each line of `PRECEDENCE`
        self, known: dicom.Attribute, level: dicom.Level | None, path: tuple[str, ...]
    ) -> tuple[ProfileAction, ProfileAction, str, str | None]:
        """Action, what stands in for it, why, and the value of a replacement."""
        row = self._table.of(known.tag)
        base = row.action if row else GROUP_2.get(known.tag)
        instead = self._instead(known, base)
        override = self._override(known, level, path)
        if override is not None:
            return override.action, instead, f"override by {override.reach}", override.value
        if known.private:
            return ProfileAction.REMOVE, instead, "private element", None
        if known.name in RECORDED:
            return ProfileAction.KEEP, instead, "record of the de-identification", None
        codes = self._options.of(known.tag) if row else {}
        for name in self._on:
            if code := codes.get(name):
                return self._optional(known, code), instead, f"option {name}", None
        if row is not None:
            return row.action, instead, f"{row.code} of Annex E {self._table.edition}", None
        if base is not None:
            return base, instead, "group 0002", None
        return self._unlisted(known, level, path, instead)

    def _unlisted(
        self, known: dicom.Attribute, level: dicom.Level | None, path: tuple[str, ...], instead: ProfileAction
    ) -> tuple[ProfileAction, ProfileAction, str, str | None]:
        """As `_decided`, of what neither Annex E nor an override names."""
        unlisted = self.profile.unlisted_vr.get(known.vr)
        if unlisted is not None:
            return unlisted, instead, f"unlisted, VR {known.vr}", None
        if known.vr in _FREE_TEXT and self._in_cleaned(level, path):
            # such as the Text Value of a report: Annex E lists the sequence around it only
            return ProfileAction.CLEAN, ProfileAction.DUMMY, "free text in a sequence that is cleaned", None
        if known.tag >> 16 == 2 or known.vr == "SQ" or known.name in dicom.NEVER_EDITABLE:
            return ProfileAction.KEEP, instead, "unlisted", None
        return self.profile.unlisted, instead, "unlisted", None

    def _in_cleaned(self, level: dicom.Level | None, path: tuple[str, ...]) -> bool:
        """Whether one of the sequences around something is cleaned."""
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

    def _instead(self, known: dicom.Attribute, base: ProfileAction | None) -> ProfileAction:
        """What is done where the action cannot be: never less than Annex E asks."""
        if base in {ProfileAction.REMOVE, ProfileAction.EMPTY, ProfileAction.DUMMY}:
            return base
        return ProfileAction.REMOVE if known.name not in dicom.FORCED_UIDS else ProfileAction.UID

    @staticmethod
    def _optional(known: dicom.Attribute, code: str) -> ProfileAction:
        """K and C of an option column, for this VR."""
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
            # a level as a whole leaves alone what holds the document together
            return known.name not in dicom.FORCED_UIDS | RECORDED and known.tag >> 16 != 2


def _partner(known: dicom.Attribute) -> str | None:
    """The keyword of the time beside a date, or of the date beside a time; None where there is none."""
    wanted = {"DA": ("Date", "Time", "TM"), "TM": ("Time", "Date", "DA")}.get(known.vr)
    if wanted is None:
        return None
    own, other, vr = wanted
    head, found, tail = known.name.rpartition(own)
    partner = dicom.attribute(f"{head}{other}{tail}") if found else None
    return partner.name if partner and partner.vr == vr and partner.multi == known.multi else None
