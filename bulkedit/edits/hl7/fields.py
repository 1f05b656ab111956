"""From the fields of HL7 v2 to values of DICOM: identifiers, names, dates and sexes.

What a DICOM value cannot say as the message does is a `FieldError`, whose text quotes nothing of the field.
"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Component = list[str]  # its subcomponents
Repetition = list[Component]

NULL: Final = '""'  # HL7 chapter 2, "Null": the value is to be deleted
_TYPES: Final = ("MR", "PI", "PT", "")  # of identifiers (table 0203), the most specific first
_NAME_TYPES: Final = ("L", "", "D", "R", "U")  # of names (table 0200), the most official first
_GROUPS: Final = {"": 0, "A": 0, "I": 1, "P": 2}  # table 0465 -> component group of PN
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SEXES: Final = {"M": "M", "F": "F", "O": "O", "U": ""}


class FieldError(ValueError):
    """A field that is not used: the code of the problem, its text after the name of the field, and what to do."""

    def __init__(self, code: str, text: str, hint: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.hint = hint


class Identifier(NamedTuple):
    """A patient's identifier (CX)."""

    value: str
    authority: tuple[str, ...]  # its assigning authority: namespace, universal id, type
    kind: str  # MR, PI, …

    def is_of(self, authority: tuple[str, ...]) -> bool:
        """Whether an authority is its own: by its name or its universal id."""
        return any(text and text in authority[:2] for text in self.authority[:2])


# -- identifiers


def chosen(
    field: Sequence[Repetition], clean: Callable[[str], str], authority: str | None, like: Identifier | None = None
) -> Identifier:
    """Return the identifier that is PatientID in the data store.

    The one of type MR, else PI, else PT, else without a type. ``authority``: only of this assigning authority (CX-4,
    name or universal id). ``like``: of its authority and type, if any is. Raises FieldError if not exactly one is left.
    """
    found = dict.fromkeys(_identifier(one, clean) for one in field if _text(one, 0) not in {"", NULL})
    if not found:
        raise FieldError("hl7-identifier", "has no identifier.", "A message names its patient by an identifier.")
    left = [one for one in found if authority is None or authority in one.authority[:2]]
    if not left:
        raise FieldError("hl7-identifier", "has no identifier of the assigning authority that was asked for.")
    if like is not None:
        left = _preferred(left, lambda one: one.is_of(like.authority))
        left = _preferred(left, lambda one: one.kind == like.kind)
    for kind in _TYPES:
        same = {one.value: one for one in left if one.kind == kind}
        if len(same) == 1:
            return next(iter(same.values()))
        if same:
            raise FieldError("hl7-identifier", "has several identifiers that could be the one of the images.")
    raise FieldError("hl7-identifier", "has no identifier of type MR, PI or PT, or without a type.")


def _preferred(found: list[Identifier], wanted: Callable[[Identifier], bool]) -> list[Identifier]:
    return [one for one in found if wanted(one)] or found


def _identifier(one: Repetition, clean: Callable[[str], str]) -> Identifier:
    assigned = one[3] if len(one) > 3 else []
    texts = tuple(clean(text).strip() for text in assigned)
    return Identifier(plain(clean(_text(one, 0)), "\\"), texts if any(texts) else (), _text(one, 4).strip())


# -- names


def name(field: Sequence[Repetition], clean: Callable[[str], str]) -> tuple[str | None, bool]:
    """Return a name (XPN) as PN, and whether names of other types are left out.

    Empty if the name is to be deleted, None if the field has none. Raises FieldError.
    """
    filled = [one for one in field if any(text not in {"", NULL} for part in one[:5] for text in part)]
    if not filled:
        return "" if any(NULL in part for one in field for part in one[:5]) else None, False
    kinds = [_text(one, 6).strip() for one in filled]
    kind = next((kind for kind in _NAME_TYPES if kind in kinds), None)
    if kind is None:
        raise FieldError("hl7-value", "has no legal name, only an alias, a maiden name or the like.")
    groups = ["", "", ""]
    for one in (one for one, its in zip(filled, kinds, strict=True) if its == kind):
        place = _GROUPS.get(_text(one, 7).strip())
        if place is None:
            raise FieldError("hl7-value", "has a name in a representation that is not A, I or P.")
        if groups[place]:
            raise FieldError("hl7-value", "has several names of one type and representation.", "Leave one of them.")
        groups[place] = _group(one, clean)
    return "=".join(groups).rstrip("="), len(set(kinds)) > 1


def _group(one: Repetition, clean: Callable[[str], str]) -> str:
    """Return a component group of PN. XPN has the suffix before the prefix, PN behind it; a degree is a suffix."""
    given, middle, suffix, prefix, degree, professional = (_part(one, place, clean) for place in (1, 2, 3, 4, 5, 13))
    suffixes = " ".join(text for text in (suffix, degree, professional) if text)
    return "^".join([_family(one, clean), given, middle, prefix, suffixes]).rstrip("^")


def _family(one: Repetition, clean: Callable[[str], str]) -> str:
    """Return the family name (FN). Since 2.5 the first subcomponent is the whole surname, before it had no prefix."""
    whole, *rest = ["" if text == NULL else plain(clean(text), "^=\\") for text in one[0]]
    if any(rest) and (not whole or (rest[0] and not whole.lower().startswith(rest[0].lower()))):
        raise FieldError(
            "hl7-value",
            "has a family name in parts, and does not say how they are put together.",
            "Write the whole surname as the first part.",
        )
    return whole


def _part(one: Repetition, place: int, clean: Callable[[str], str]) -> str:
    if len(one) <= place or one[place][0] == NULL:
        return ""
    if any(one[place][1:]):
        raise FieldError("hl7-value", "has a part of a name with subcomponents.", r"An ampersand is written \T\.")
    return plain(clean(one[place][0]), "^=\\")


# -- dates and sexes


def single(field: Sequence[Repetition], clean: Callable[[str], str]) -> str:
    """Return the first component of a field that is not repeated, empty if it is to be deleted. Raises FieldError."""
    if len(field) > 1:
        raise FieldError("hl7-value", "is given more than once.")
    if not (text := clean(_text(field[0], 0)).strip()):
        raise FieldError("hl7-value", "has nothing in its first part.")
    return "" if text == NULL else text


def birth_date(text: str) -> tuple[str, bool]:
    """Return a time stamp (TS) as DA, and whether it has a time of day too. Raises FieldError."""
    found = re.fullmatch(r"([0-9]{4})([0-9]{2})([0-9]{2})((?:[0-9]{2}){0,3})(?:\.[0-9]{1,4})?(?:[+-][0-9]{4})?", text)
    if found is None:
        short = re.fullmatch(r"[0-9]{4}(?:[0-9]{2})?", text)
        raise FieldError(
            "hl7-value",
            "is a date without month or day, which DICOM does not have." if short else "is not a date of HL7.",
            "HL7 writes a date as YYYYMMDD.",
        )
    try:
        date(*(int(number) for number in found.groups()[:3]))
    except ValueError:
        raise FieldError("hl7-value", "is a day that the calendar does not have.") from None
    return "".join(found.groups()[:3]), bool(found[4].strip("0"))


def sex(text: str) -> str:
    """Return a sex (table 0001) as CS; unknown is empty in DICOM. Raises FieldError for what DICOM does not have."""
    if text not in _SEXES:
        raise FieldError(
            "hl7-value",
            "is a sex that DICOM does not have.",
            "DICOM has M, F and O; U empties the attribute. Correct the message, or edit PatientSex in another list.",
        )
    return _SEXES[text]


def _text(one: Repetition, place: int) -> str:
    return one[place][0] if len(one) > place else ""


def plain(text: str, forbidden: str) -> str:
    """Return a text without blanks around it. Raises FieldError for characters that its VR does not have."""
    if _CONTROL.search(text) or any(mark in text for mark in forbidden):
        raise FieldError(
            "hl7-value",
            "has a character that its attribute cannot hold.",
            "It may be a control character, a backslash, or ^ or = in a name; or MSH-18 names another character set.",
        )
    return text.strip(" ")
