"""A de-identification profile: an edition of PS3.15 Annex E, its options, and the project's own rules.

A profile is a TOML file; four are shipped (`SHIPPED`). It is checked completely before any metadata is read.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bulkedit.deidentification.pseudonyms import Identifiers
from bulkedit.deidentification.table import EDITIONS, NEWER, Mask, ProfileAction, parse_mask, private_element
from bulkedit.dicom import dictionary as dicom
from bulkedit.errors import ProfileError
from bulkedit.options.deid import SHIPPED

if TYPE_CHECKING:
    from collections.abc import Iterable


# Options of PS3.15 section E.3 by precedence: if two options have a code for an attribute, the first one applies.
# The date options precede other retain options, so that a retained device does not keep unshifted calibration dates.
OPTIONS: Final[dict[str, str]] = {
    "retain-uids": "113110",
    "retain-full-dates": "113106",
    "retain-modified-dates": "113107",
    "retain-patient-characteristics": "113108",
    "retain-device-identity": "113109",
    "retain-institution-identity": "113112",
    "retain-safe-private": "113111",
    "clean-descriptors": "113105",
    "clean-structured-content": "113104",
    "clean-graphics": "113103",
}


class Reach(StrEnum):
    """How an override selects attributes."""

    LEVEL = "level"
    VR = "vr"
    MASK = "mask"
    ATTRIBUTE = "attribute"
    PATH = "path"


OVERRIDES: Final = {  # by precedence
    Reach.PATH: "an override by path",
    Reach.ATTRIBUTE: "an override by attribute or tag",
    Reach.MASK: "an override by mask",
    Reach.VR: "an override by VR",
    Reach.LEVEL: "an override by level",
}
PRECEDENCE: Final = (
    *OVERRIDES.values(),
    "private elements: removed; if retain-safe-private is on, the safe ones are kept",
    *(f"the option {name}" for name in OPTIONS if name != "retain-safe-private"),
    "the Basic Profile of the edition",
    "the rules for group 0002",
    "unlisted: by VR, then free text in a sequence that is cleaned, then the default",
)
_EXCLUSIVE: Final = ("retain-full-dates", "retain-modified-dates")
_SECTIONS: Final = {
    "name", "description", "edition", "options", "unlisted", "dates", "identifiers", "clean", "safe_private", "override"
}  # fmt: skip
_WHAT: Final = ("attribute", "tag", "mask", "vr", "path")
_MOST_DAYS: Final = 36_525
_WHOLE_LEVELS: Final = {level.lower(): level for level in dicom.Level}


@dataclass(frozen=True, slots=True)
class Override:
    """One rule of the profile's own. Fields other than ``action`` and ``value`` say which attributes it selects."""

    reach: Reach
    action: ProfileAction
    value: str | None = None  # of REPLACE
    tag: int | None = None
    mask: Mask | None = None
    vr: str | None = None
    path: tuple[str, ...] = ()
    level: dicom.Level | None = None

    @property
    def target(self) -> tuple[object, ...]:
        """What it selects, as one value: two overrides with one target contradict or repeat each other."""
        return self.reach, self.tag, self.mask, self.vr, self.path, self.level


@dataclass(frozen=True, slots=True, kw_only=True)
class DeidProfile:
    """A valid profile."""

    name: str
    description: str
    edition: str
    options: frozenset[str]
    unlisted: ProfileAction
    unlisted_vr: dict[str, ProfileAction]
    days: tuple[int, int]
    seconds: bool
    identifiers: Identifiers
    vocabulary: frozenset[str]  # texts that `clean` keeps, in lower case, without surrounding blanks
    safe_private: frozenset[tuple[str, int, int]]
    overrides: tuple[Override, ...]
    digest: str = field(compare=False)  # SHA-256 of the file and its vocabulary, hex

    @property
    def codes(self) -> list[tuple[str, str]]:
        """The methods used, as code values and meanings of CID 7050 (PS3.16, scheme DCM)."""
        found = [("113100", "Basic Application Confidentiality Profile")]
        return found + [(OPTIONS[name], _MEANINGS[name]) for name in OPTIONS if name in self.options]


_MEANINGS: Final[dict[str, str]] = {
    "retain-uids": "Retain UIDs Option",
    "retain-full-dates": "Retain Longitudinal Temporal Information Full Dates Option",
    "retain-modified-dates": "Retain Longitudinal Temporal Information Modified Dates Option",
    "retain-patient-characteristics": "Retain Patient Characteristics Option",
    "retain-device-identity": "Retain Device Identity Option",
    "retain-institution-identity": "Retain Institution Identity Option",
    "retain-safe-private": "Retain Safe Private Option",
    "clean-descriptors": "Clean Descriptors Option",
    "clean-structured-content": "Clean Structured Content Option",
    "clean-graphics": "Clean Graphics Option",
}


def load(name: str) -> DeidProfile:
    """Load a shipped profile by its name, or a profile from a TOML file. Raises ProfileError."""
    if name in SHIPPED:
        text = resources.files("bulkedit").joinpath(f"data/deid/profiles/{name}.toml").read_bytes()
        return parse(text, where=name, folder=None)
    path = Path(name)
    if path.suffix != ".toml" and not path.exists():
        raise ProfileError(
            "the profile does not exist.",
            likely=_near(name, SHIPPED),
            hint=f"Name one of {', '.join(SHIPPED)}, or a file: `deid_profile=mine.toml`",
        )
    try:
        return parse(path.read_bytes(), where=str(path), folder=path.parent)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ProfileError(f"the profile cannot be read ({reason}).", where=str(path)) from error


def parse(text: bytes, *, where: str, folder: Path | None) -> DeidProfile:
    """Parse a profile. ``folder`` has the vocabulary file, if any. Raises ProfileError."""
    try:
        return _ProfileParser(tomllib.loads(text.decode()), text, folder).profile()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(
            f"the profile is not valid TOML ({getattr(error, 'msg', None) or error}).", where=where
        ) from error
    except ProfileError as error:
        error.where = f"{where}, {error.where}" if error.where else where
        raise


class _ProfileParser:
    """Turns the content of a TOML file into a profile."""

    def __init__(self, content: dict[str, Any], text: bytes, folder: Path | None) -> None:
        self._content = content
        self._folder = folder
        self._sha256 = hashlib.sha256(text)

    def profile(self) -> DeidProfile:
        content = self._content
        _only(content, _SECTIONS, "the profile")
        for required in ("name", "edition"):
            if not isinstance(content.get(required), str):
                raise ProfileError(f"{required} is missing.", hint=f'Add it at the top: {required} = "…"')
        if content["edition"] not in EDITIONS:
            raise ProfileError("the edition of Annex E is unknown.", hint=f"Editions: {', '.join(EDITIONS)}.")
        unlisted, unlisted_vr = self._unlisted()
        days, seconds = self._dates()
        return DeidProfile(
            name=content["name"],
            description=str(content.get("description", "")),
            edition=content["edition"],
            options=self._options(),
            unlisted=unlisted,
            unlisted_vr=unlisted_vr,
            days=days,
            seconds=seconds,
            identifiers=self._identifiers(),
            vocabulary=self._vocabulary(),
            safe_private=self._safe_private(),
            overrides=self._overrides(),
            digest=self._sha256.hexdigest(),
        )

    def _options(self) -> frozenset[str]:
        given = _list_of_text(self._content.get("options", []), "options")
        for name in given:
            if name not in OPTIONS:
                raise ProfileError(
                    "an option is unknown.",
                    where="options",
                    likely=_near(name, OPTIONS),
                    hint=f"Options: {', '.join(OPTIONS)}.",
                )
        if set(_EXCLUSIVE) <= set(given):
            raise ProfileError(f"{' and '.join(_EXCLUSIVE)} contradict each other.", where="options")
        return frozenset(given)

    def _unlisted(self) -> tuple[ProfileAction, dict[str, ProfileAction]]:
        section = self._section("unlisted", {"default", "vr"})
        by_vr = section.get("vr", {})
        _only(by_vr, set(dicom.VRS), "unlisted.vr")
        plain = {
            ProfileAction.KEEP,
            ProfileAction.REMOVE,
            ProfileAction.EMPTY,
            ProfileAction.DUMMY,
            ProfileAction.UID,
            ProfileAction.SHIFT,
            ProfileAction.CLEAN,
        }
        default = _action(
            section.get("default", "keep"),
            "unlisted",
            plain - {ProfileAction.UID, ProfileAction.SHIFT, ProfileAction.CLEAN},
        )
        actions = {vr: _action(name, f"unlisted.vr.{vr}", plain) for vr, name in by_vr.items()}
        for vr, action in actions.items():
            _check_vr(action, vr, f"unlisted.vr.{vr}")
        return default, actions

    def _dates(self) -> tuple[tuple[int, int], bool]:
        section = self._section("dates", {"days", "seconds"})
        days, seconds = section.get("days", [-3650, -1]), section.get("seconds", False)
        whole = isinstance(days, list) and len(days) == 2 and all(type(one) is int for one in days)
        if not whole or not -_MOST_DAYS <= days[0] <= days[1] <= _MOST_DAYS:
            raise ProfileError(
                "days must be two whole numbers, the bounds of the shift: the lower first, each within a century.",
                where="dates",
                hint="For example: days = [-3650, -1]",
            )
        if not isinstance(seconds, bool):
            raise ProfileError("seconds must be true or false.", where="dates")
        if days == [0, 0] and not seconds:
            raise ProfileError(
                "a shift of 0 days changes nothing.", where="dates", hint="For example: days = [-3650, -1]"
            )
        return (days[0], days[1]), seconds

    def _identifiers(self) -> Identifiers:
        section = self._section("identifiers", {"alphabet", "length", "prefix"})
        defaults = Identifiers()
        alphabet, prefix = section.get("alphabet", defaults.alphabet), section.get("prefix", "")
        length = section.get("length", defaults.length)
        if not isinstance(alphabet, str) or not isinstance(prefix, str) or type(length) is not int or length < 1:
            raise ProfileError(
                "alphabet and prefix must be strings, and length a whole number above 0.", where="identifiers"
            )
        made = Identifiers(alphabet, length, prefix)
        if problem := made.problem():
            raise ProfileError(problem, where="identifiers")
        return made

    def _vocabulary(self) -> frozenset[str]:
        section = self._section("clean", {"allow", "allow_file"})
        texts = _list_of_text(section.get("allow", []), "clean.allow")
        if name := section.get("allow_file"):
            if self._folder is None or not isinstance(name, str):
                raise ProfileError("allow_file must be the name of a file beside the profile.", where="clean")
            try:
                content = (self._folder / name).read_bytes()
                texts = texts + content.decode("utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
                raise ProfileError(f"the vocabulary cannot be read ({reason}).", where="clean.allow_file") from error
            self._sha256.update(content)
        return frozenset(plain for text in texts if (plain := text.strip().lower()))

    def _safe_private(self) -> frozenset[tuple[str, int, int]]:
        found = set()
        for number, entry in enumerate(_tables(self._content.get("safe_private", []), "safe_private"), 1):
            where = f"safe_private {number}"
            _only(entry, {"creator", "element"}, where)
            try:
                group, element = private_element(entry["element"])
                found.add((str(entry["creator"]).strip(), group, element))
            except (KeyError, ValueError, AttributeError):
                raise ProfileError(
                    "a safe private element needs a creator and an element.",
                    where=where,
                    hint='For example: creator = "SIEMENS MR HEADER", element = "0019,xx0C"',
                ) from None
        return frozenset(found)

    def _overrides(self) -> tuple[Override, ...]:
        found: dict[tuple[object, ...], tuple[int, Override]] = {}
        for number, entry in enumerate(_tables(self._content.get("override", []), "override"), 1):
            made = _override(entry, f"override {number}", self._identifiers())
            if made.target in found:
                other, earlier = found[made.target]
                if (earlier.action, earlier.value) != (made.action, made.value):
                    raise ProfileError(
                        f"it contradicts override {other}, which selects the same attributes.",
                        where=f"override {number}",
                    )
            found[made.target] = (number, made)
        return tuple(override for _, override in found.values())

    def _section(self, name: str, known: set[str]) -> dict[str, Any]:
        section = self._content.get(name, {})
        if not isinstance(section, dict):
            raise ProfileError(f"{name} must be a table.", where=name, hint=f"Write it as [{name}].")
        _only(section, known, name)
        return section


def _override(entry: dict[str, Any], where: str, identifiers: Identifiers) -> Override:
    _only(entry, {*_WHAT, "level", "action", "value"}, where)
    what = [name for name in _WHAT if name in entry]
    if len(what) > 1 or not (what or "level" in entry):
        raise ProfileError(f"an override needs exactly one of {', '.join(_WHAT)}, or level, or both.", where=where)
    action = _action(entry.get("action"), where, set(ProfileAction))
    if (action is ProfileAction.REPLACE) != isinstance(entry.get("value"), str):
        raise ProfileError("the action replace needs a value, and no other action takes one.", where=where)
    level = None
    if "level" in entry:
        level = _WHOLE_LEVELS.get(str(entry["level"]).lower())
        if level is None:
            raise ProfileError("the level is unknown.", where=where, hint="Levels: Patient, Study, Series, Instance.")
    made = _override_of(what[0], entry[what[0]], action, entry.get("value"), level, where) if what else None
    made = made or Override(Reach.LEVEL, action, entry.get("value"), level=level)
    _check(made, where, identifiers)
    return made


def _override_of(  # noqa: PLR0917 - the fields of one entry
    what: str, target: object, action: ProfileAction, value: str | None, level: dicom.Level | None, where: str
) -> Override:
    text = str(target)
    if what == "vr":
        if text not in dicom.VRS:
            raise ProfileError("the VR is unknown.", where=where)
        _check_vr(action, text, where)
        return Override(Reach.VR, action, value, vr=text, level=level)
    if what == "mask":
        try:
            return Override(Reach.MASK, action, value, mask=parse_mask(text), level=level)
        except ValueError:
            raise ProfileError("the mask is not valid.", where=where, hint="Write it as 60xx,4000.") from None
    if what == "path":
        steps = tuple(_name(step, where) for step in text.split("."))
        if len(steps) < 2:
            raise ProfileError("a path needs a sequence and an attribute in it.", where=where, hint="A.B, or A.B.C")
        for step in steps[:-1]:
            known = dicom.attribute(step)
            if known is None or (known.vr != "SQ" and not known.private):
                raise ProfileError("a step of the path is not a sequence.", where=where)
        return Override(Reach.PATH, action, value, path=steps, level=level)
    return Override(Reach.ATTRIBUTE, action, value, tag=_tag(text, what, where), level=level)


def _tag(text: str, what: str, where: str) -> int:
    if what == "attribute":
        name = _name(text, where)
        known = dicom.attribute(name)
        return known.tag if known else NEWER[name]
    digits = text.replace(",", "").strip("()")
    if not re.fullmatch(r"[0-9A-Fa-f]{8}", digits):
        raise ProfileError("the tag is not valid.", where=where, hint="Write it as 0010,0020.")
    return int(digits, 16)


def _name(text: str, where: str) -> str:
    known = dicom.attribute(text)
    if known is not None:
        return known.name
    if text in NEWER:
        return text
    raise ProfileError(
        "an attribute is neither a DICOM keyword nor the eight hex digits of a private element.",
        where=where,
        likely=_near(text, dicom.keywords()),
    )


def _check(override: Override, where: str, identifiers: Identifiers) -> None:
    """Raises ProfileError if the action or value is not possible for the attribute."""
    if override.reach is not Reach.ATTRIBUTE:
        return
    known = dicom.attribute(dicom.key_of(override.tag or 0))
    if known is None or known.private:
        return
    if known.name in dicom.FORCED_UIDS and override.action not in {ProfileAction.KEEP, ProfileAction.UID}:
        raise ProfileError(
            f"{known.name} identifies the image set, so only the actions keep and uid are possible.", where=where
        )
    _check_vr(override.action, known.vr, where)
    longest = dicom.MAX_LENGTHS.get(known.name, dicom.VRS[known.vr].max_length) or 10_000
    if override.action is ProfileAction.PSEUDONYM and len(identifiers.prefix) + identifiers.length > longest:
        raise ProfileError(f"identifiers are longer than {known.name} allows ({longest} characters).", where=where)
    if override.action is ProfileAction.REPLACE:
        value: Any = [override.value] if known.multi else override.value
        if dicom.VRS[known.vr].kind is not dicom.ValueKind.STRING or (why := dicom.why_unfit(known, value)):
            why = why if dicom.VRS[known.vr].kind is dicom.ValueKind.STRING else "its VR is not text"
            raise ProfileError(f"the value does not fit {known.name}: {why}.", where=where)


_FITTING: Final[dict[ProfileAction, frozenset[str]]] = {
    ProfileAction.UID: frozenset({"UI", "SQ"}),
    ProfileAction.SHIFT: frozenset({"DA", "TM", "DT"}),
    ProfileAction.CAP: frozenset({"AS"}),
    ProfileAction.PSEUDONYM: frozenset({"PN", "LO", "SH", "LT", "ST", "UC", "UT", "CS", "AE"}),
}


def _check_vr(action: ProfileAction, vr: str, where: str) -> None:
    fitting = _FITTING.get(action)
    if fitting is not None and vr not in fitting:
        raise ProfileError(
            f"the action {action} is not possible for VR {vr}.",
            where=where,
            hint=f"It is possible for {', '.join(sorted(fitting))}.",
        )


def _action(name: object, where: str, allowed: set[ProfileAction]) -> ProfileAction:
    if isinstance(name, str) and name in {str(action) for action in allowed}:
        return ProfileAction(name)
    names = sorted(str(action) for action in allowed)
    raise ProfileError("the action is missing or not possible here.", where=where, hint=f"Actions: {', '.join(names)}.")


def _only(section: dict[str, Any], known: set[str], where: str) -> None:
    for key in section:
        if key not in known:
            raise ProfileError(
                "it has an unknown key.",
                where=where,
                likely=_near(key, known),
                hint=f"Keys: {', '.join(sorted(known))}." if len(known) < 20 else None,
            )


def _near(text: str, known: Iterable[str]) -> str | None:
    found = difflib.get_close_matches(text, list(known), n=1, cutoff=0.7)
    return f"Did you mean {found[0]}?" if found else None


def _list_of_text(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ProfileError("it must be a list of strings.", where=where)
    return value


def _tables(value: object, where: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ProfileError("it must be a list of tables.", where=where, hint=f"Write each as [[{where}]].")
    return value
