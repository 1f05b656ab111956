"""Compares JSON values of an attribute without padding; the only place that does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bulkedit.dicom.dictionary import attribute

if TYPE_CHECKING:
    from bulkedit._json import Json

# PS3.5 section 6.2: insignificant characters before and after a value, by VR (DA: of queries)
PADDING: Final[dict[str, tuple[str, str]]] = {
    **dict.fromkeys(("AE", "CS", "DS", "IS", "LO", "SH"), (" ", " ")),
    **dict.fromkeys(("DA", "DT", "LT", "PN", "ST", "TM", "UC", "UR", "UT"), ("", " ")),
    **dict.fromkeys(("AS", "AT"), ("", "")),
    "UI": ("", "\0"),
}
_UNKNOWN: Final = ("", " \0")  # private element of unknown VR: the trailing padding of any VR


def same_value(name: str, stored: Json, wanted: Json, vr: str | None = None) -> bool:
    """Whether two JSON values of an attribute are equal, except for padding (PS3.5 section 6.2).

    ``name``: a key of the metadata document; ``vr``: of a private element, None if unknown. Arrays are compared value
    by value, sequences attribute by attribute.
    """
    left = [(name, vr, stored, wanted)]
    while left:  # no recursion: sequences may be nested deep
        name, vr, one, other = left.pop()
        if isinstance(one, str) and isinstance(other, str):
            padding = _padding(name, vr)
            if _without(one, padding) != _without(other, padding):
                return False
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            left += [(name, vr, *pair) for pair in zip(one, other, strict=True)]
        elif isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
            left += [(key, None, one[key], other[key]) for key in one]
        elif one != other:
            return False
    return True


def _padding(name: str, vr: str | None) -> tuple[str, str]:
    known = attribute(name)
    if known is None:
        return _UNKNOWN
    found = vr if known.private and vr is not None else known.vr
    return _UNKNOWN if found == "UN" else PADDING.get(found, ("", ""))


def _without(text: str, padding: tuple[str, str]) -> str:
    before, after = padding
    return text.lstrip(before).rstrip(after) if before else text.rstrip(after)
