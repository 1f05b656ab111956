"""The rules of PS3.5 for a value that is written, and the faults and oddities of a JSON value.

They are stricter than those that `bulkedit.dicom.dictionary` has from the pages of HealthImaging: the service takes the
30th of February.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import replace
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from bulkedit.dicom import dictionary as dicom
from bulkedit.dicom.dictionary import VRS, Attribute, ValueKind, Vr, multiplicity
from bulkedit.dicom.encodings import disguise_of, noticed_in, refused_in
from bulkedit.dicom.terms import terms_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bulkedit._json import Json, JsonObject
    from bulkedit.dicom.terms import Terms

_YEAR: Final = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"  # the calendar has no year 0
_LEAP: Final = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DAY: Final = (
    f"(?:{_YEAR}(?:(?:0[13578]|1[02])(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)(?:0[1-9]|[12][0-9]|30)"
    f"|02(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP}0229)"
)
_TIME: Final = r"(?:[01][0-9]|2[0-3])(?:[0-5][0-9](?:(?:[0-5][0-9]|60)(?:\.[0-9]{1,6})?)?)?"
# PS3.5 section 6.2, DT: from -1200 to +1400, and -0000 is not allowed
_OFFSET: Final = r"(?:\+(?:0[0-9]|1[0-3])[0-5][0-9]|\+1400|-(?:0[1-9]|1[01])[0-5][0-9]|-00(?:0[1-9]|[1-5][0-9])|-1200)"
_MOMENT: Final = f"(?:{_YEAR}(?:0[1-9]|1[0-2])?|{_DAY}(?:{_TIME})?)(?:{_OFFSET})?"
# ISO/IEC 9834-1: the first arc is 0, 1 or 2, and the second is at most 39 under 0 and 1
_ARC: Final = r"(?:0|[1-9][0-9]*)"
_UID: Final = rf"(?:[01]\.(?:[0-9]|[1-3][0-9])|2\.{_ARC})(?:\.{_ARC})*"

RULES: Final[dict[str, Vr]] = {
    **VRS,
    "DA": replace(VRS["DA"], pattern=f"{_DAY} *"),
    "DT": replace(VRS["DT"], pattern=f"{_MOMENT} *"),
    "UI": replace(VRS["UI"], pattern=_UID),
    "IS": replace(VRS["IS"], bounds=(-(2**31), 2**31 - 1)),
}
# what is wrong with a value that has the looser form of `VRS`
NEARLY: Final = {
    "DA": "is a day that no calendar has",
    "DT": "has a day that no calendar has, or an offset from UTC that no place has",
    "UI": "is not a UID: they have two parts or more, and the first is 0, 1 or 2",
}
LONGEST_FLOAT: Final = 3.4028234663852886e38  # of FL, IEEE 754 binary32
LONGEST_GROUP: Final = 64  # characters of a component group of a PN (PS3.5 section 6.2)
# Type 1 in every IOD (PS3.3), so an empty value is never valid
NEVER_EMPTY: Final = dicom.FORCED_UIDS | {
    *("SOPClassUID", "FrameOfReferenceUID"),
    *("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID"),
}
EMPTY: Final = "it is empty, and this UID has no empty value"
NO_EMPTY_PART: Final = frozenset({"DS", "IS", "UI"})  # of several values, none is empty


class Weight(IntEnum):
    """How bad the fault of a value is."""

    RULE = 0  # it breaks a rule of its VR or VM
    KIND = 1  # it is text in an element of numbers
    NOT_JSON = 2  # it is not the JSON that its attribute needs


class ValueFault(NamedTuple):
    """Why a value is invalid; the text never quotes it."""

    weight: Weight
    text: str
    code: str = "value-form"  # a key of `bulkedit.edits.problems.ADVICE`


class Oddity(NamedTuple):
    """Why a valid value may not be meant; the text never quotes it."""

    code: str  # a code of `bulkedit.edits.notices`
    text: str  # a sentence without subject


LONG: Final = Oddity("long-value", "has more characters than DICOM allows; HealthImaging takes up to 256.")


def longest_of(a: Attribute) -> int | None:
    """Return how many characters the service takes for a value; None if there is no limit."""
    return dicom.MAX_LENGTHS.get(a.name, VRS[a.vr].max_length)


def fault_of(a: Attribute, value: Json) -> ValueFault | None:
    """Return why a JSON value is invalid for an attribute; None if it is valid."""
    if a.name in NEVER_EMPTY and not value:
        return ValueFault(Weight.RULE, EMPTY, "value-empty")
    if value is None:
        return None
    if a.vr == "SQ":
        return _of_sequence(value)
    if a.private:  # its VM is unknown
        return _first(a, _parts(a, value))
    return _of_several(a, value) if a.multi else _of_one(a, value)


def _of_several(a: Attribute, value: Json) -> ValueFault | None:
    if not isinstance(value, list):
        return _of_kind(a, value) or _broken(f"its VM is {a.vm}, so its value is an array")
    low, high, step = multiplicity(a.vm)
    count = len(value)
    if count < low or (high is not None and count > high) or (count - low) % step:
        wrong = _broken(f"its VM is {a.vm}, and this has {count} values")
        return next((found for one in value if (found := _of_kind(a, one))), wrong)
    if a.vr in NO_EMPTY_PART and count > 1 and any(one is None or one == "" for one in value):
        return _broken("one of its values is empty")
    return _first(a, value)


def _first(a: Attribute, values: Iterable[Json]) -> ValueFault | None:
    """Return the fault of the first value that has one."""
    return next((found for one in values if (found := _of_one(a, one))), None)


def _parts(a: Attribute, value: Json) -> list[Json]:
    """Return the values of a private element, whose text keeps the backslashes between them."""
    if isinstance(value, str) and RULES[a.vr].kind is ValueKind.STRING and a.vr not in dicom.SINGLE_VALUED:
        return [*value.split("\\")]
    return value if isinstance(value, list) else [value]


def as_typed(known: Attribute, vr: str | None) -> Attribute | None:
    """Return an attribute with the VR that a row gives to a private element; None if its VR is not known."""
    if not known.private or known.vr != "UN":
        return known
    vr = (vr or "").upper()
    return replace(known, vr=vr) if vr in VRS else None


def fault_in(known: Attribute, vr: str | None, value: Json) -> ValueFault | None:
    """Return why a JSON value is invalid, as `fault_of`. ``vr``: what its row says of a private element, or None."""
    typed = as_typed(known, vr)
    return _of_unknown(value) if typed is None else fault_of(typed, value)


def is_in_no_data(known: Attribute) -> bool:
    """Whether no data set may have an element: group lengths, and numbers that no private creator can reserve.

    PS3.5 sections 7.1, 7.2 and 7.8. The file meta information (group 0002) is not meant: HealthImaging has it.
    """
    group, number = known.tag >> 16, known.tag & 0xFFFF
    if not known.private:
        return number == 0 and not dicom.is_keyword(known.name)
    return group in _NOT_IN_DATA or number < _FIRST_CREATOR or _LAST_CREATOR < number < _FIRST_OF_CREATOR


def _broken(text: str) -> ValueFault:
    return ValueFault(Weight.RULE, text)


_NUMBERS: Final[dict[ValueKind, tuple[type, ...]]] = {ValueKind.INTEGER: (int,), ValueKind.FLOAT: (int, float)}


def _of_kind(a: Attribute, value: Json) -> ValueFault | None:
    """Whether an element of numbers has text, or a whole number a fraction."""
    kinds = _NUMBERS.get(RULES[a.vr].kind)
    if kinds is None or value is None or type(value) in kinds:
        return None
    if isinstance(value, list) and all(type(one) in kinds for one in value):
        return _broken("it has several values")
    return ValueFault(Weight.KIND, f"VR {a.vr} has {'whole numbers' if kinds == (int,) else 'numbers'} only")


def _of_one(a: Attribute, value: Json) -> ValueFault | None:
    rule = RULES[a.vr]
    if (wrong := _of_kind(a, value)) is not None:
        return wrong
    if rule.kind in _NUMBERS:
        return _of_number(a.vr, rule, value)
    if not isinstance(value, str):
        return _broken(f"VR {a.vr} is {'base64 ' if rule.kind is ValueKind.BINARY else ''}text")
    if a.vr in dicom.FREE_TEXT and (found := disguise_of(value, refused_in(a.vr))):
        return ValueFault(Weight.RULE, f"it {found.what}", "value-encoding")
    why = _why_bad_text(a, rule, value)
    return _broken(why) if why else None


def _of_number(vr: str, rule: Vr, value: Json) -> ValueFault | None:
    if not isinstance(value, int | float):
        return _broken(f"VR {vr} is a number")
    if rule.bounds and not rule.bounds[0] <= value <= rule.bounds[1]:
        return _broken(f"VR {vr} is from {rule.bounds[0]} to {rule.bounds[1]}")
    if rule.kind is ValueKind.FLOAT and (not _is_finite(value) or (vr == "FL" and abs(value) > LONGEST_FLOAT)):
        return _broken(f"it is too large for VR {vr}")
    return None


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _why_bad_text(a: Attribute, rule: Vr, value: str) -> str | None:
    longest = longest_of(a)
    if longest is not None and len(value) > longest:
        return f"it has {len(value)} characters, and at most {longest} are allowed"
    if not value or not rule.pattern:
        return None
    if not _compiled(rule.pattern).fullmatch(value):
        nearly = a.vr in NEARLY and _compiled(VRS[a.vr].pattern or "").fullmatch(value)
        return f"it {NEARLY[a.vr]}" if nearly else f"it does not have the form of VR {a.vr}"
    if a.vr == "PN" and max(map(len, value.split("="))) > LONGEST_GROUP:
        return f"it has a component group of more than {LONGEST_GROUP} characters"
    if a.vr == "IS" and rule.bounds and not rule.bounds[0] <= int(value) <= rule.bounds[1]:
        return f"VR IS is from {rule.bounds[0]} to {rule.bounds[1]}"
    return None


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


# -- sequences --------------------------------------------------------------------------------------------------------

_NOT_IN_DATA: Final = frozenset({0x0000, 0x0001, 0x0002, 0x0003, 0x0005, 0x0007, 0xFFFE, 0xFFFF})  # groups
_TAG_DIGITS: Final = 8
_FIRST_CREATOR, _LAST_CREATOR, _FIRST_OF_CREATOR = 0x10, 0xFF, 0x1000


def _of_sequence(value: Json) -> ValueFault | None:
    items = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    if not isinstance(value, list) or len(items) < len(value):
        return _broken("a sequence is an array of objects")
    return next((found for item in items for found in _of_item(item)), None)


def _of_item(item: JsonObject) -> Iterator[ValueFault]:
    for name, inner in item.items():
        known = dicom.attribute(name)
        if known is None:
            yield _broken(_why_unknown(name))
        elif why := _why_not_in_item(known, item):
            yield _broken(why)
        elif known.private and known.vr == "UN":
            if found := _of_unknown(inner):
                yield found
        elif found := fault_of(known, inner):
            place = "a private element" if known.private else known.name
            yield ValueFault(found.weight, f"in {place}: {found.text}")


def _why_unknown(name: str) -> str:
    if len(name) == _TAG_DIGITS and set(name.upper()) <= set("0123456789ABCDEF"):
        return "it has the tag of an attribute, whose key is its keyword"
    return "it has a key that is neither a DICOM keyword nor eight hex digits"


def _why_not_in_item(known: Attribute, item: JsonObject) -> str | None:
    """PS3.5 sections 7.1, 7.2 and 7.8; PS3.10 section 7.1."""
    group, number = known.tag >> 16, known.tag & 0xFFFF
    if number == 0 and known.vr != "SQ":
        return "it has a group length"
    if group in _NOT_IN_DATA:
        return "it has an element that no sequence has, such as one of the file meta information"
    if not known.private:
        unknown = known.vr == "UN" and not dicom.is_keyword(known.name)
        return "it has a key that the dictionary of DICOM does not have" if unknown else None
    if _FIRST_CREATOR <= number <= _LAST_CREATOR:
        return None
    creator = item.get(f"{group:04X}00{number >> 8:02X}") if number >= _FIRST_OF_CREATOR else None
    if not isinstance(creator, str) or not creator.strip():
        return "it has a private element without its private creator beside it"
    return None


def _of_unknown(value: Json) -> ValueFault | None:
    """Check a private element of unknown VR: its text, and the items of what may be a sequence."""
    if isinstance(value, str):
        disguise = disguise_of(value, refused_in("LT"))  # it may be long text
        return ValueFault(Weight.RULE, f"it {disguise.what}", "value-encoding") if disguise else None
    if isinstance(value, dict):
        return _broken("a private element is an object, not an array of objects")
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return _of_sequence(value)
    each = value if isinstance(value, list) else []
    return next((found for one in each if (found := _of_unknown(one))), None)


# -- what may not be meant --------------------------------------------------------------------------------------------


def oddities_of(a: Attribute, value: Json, terms: Terms | None) -> Iterator[Oddity]:
    """Yield why a valid JSON value may not be meant. Values inside of sequences are not looked at.

    ``terms``: those of the attribute, `terms_of`.
    """
    values = value if isinstance(value, list) else [value]
    texts = [one for one in values if isinstance(one, str)]
    rule = VRS[a.vr]
    if rule.max_length is not None and any(len(one) > rule.max_length for one in texts):
        yield LONG
    if a.vr in dicom.FREE_TEXT:
        found = (disguise_of(one, noticed_in(a.vr)) for one in texts)
        yield from {Oddity("encoded-value", f"{one.what}.") for one in found if one}
    plain = [str(one).strip(" ") for one in values if type(one) in {str, int, float}]
    if terms is not None and not all(map(terms.has, plain)):
        yield Oddity("unlisted-term", terms.text)


def oddities_in(known: Attribute, vr: str | None, value: Json) -> Iterator[Oddity]:
    """Yield why a valid JSON value may not be meant, as `oddities_of`. ``vr``: see `fault_in`."""
    typed = as_typed(known, vr)
    return iter(()) if typed is None else oddities_of(typed, value, terms_of(known.name))
