"""The DICOM dictionary, the level of each attribute, and the constraints of HealthImaging, as data.

Sources: PS3.5 section 6.2 (value representations), PS3.6 (dictionary, from pydicom), and these pages of the
HealthImaging developer guide: metadata-normalization (levels, in ``data/normalization.csv``),
dicom-metadata-constraints (editable attributes and ``force``) and dicom-element-constraints (lengths).
"""

from __future__ import annotations

import base64
import binascii
import csv
import functools
import re
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from bulkedit.dicom.encodings import SUSPECT

if TYPE_CHECKING:
    import polars as pl

    from bulkedit._json import Json

SCHEMA_VERSION: Final = 1.1


class Level(StrEnum):
    """The level of an attribute in the metadata document, outermost first."""

    PATIENT = "Patient"
    STUDY = "Study"
    SERIES = "Series"
    INSTANCE = "Instance"


class ValueKind(StrEnum):
    """The JSON type of a value of a VR in the metadata document."""

    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    BINARY = "binary"  # base64 text
    SEQUENCE = "sequence"  # array of objects


@dataclass(frozen=True, slots=True)
class Vr:
    """The rules of PS3.5 section 6.2 for one value (for each value, if there are several)."""

    kind: ValueKind
    pattern: str | None = None  # of the whole value, in syntax that Python and Rust regex share; padding included
    max_length: int | None = None  # characters
    bounds: tuple[int, int] | None = None  # of an integer, inclusive


# Characters of LO, SH, PN: no backslash (it separates values), no control characters except ESC (code extensions).
_LINE = r"[^\\\x00-\x1a\x1c-\x1f]*"
# ST, LT, UT: TAB, LF, FF and CR are allowed too, and the backslash is an ordinary character.
_TEXT = r"[^\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]*"
_YEAR, _MONTH, _DAY = r"[0-9]{4}", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12][0-9]|3[01])"
_HOUR, _MINUTE, _SECOND = r"(?:[01][0-9]|2[0-3])", r"[0-5][0-9]", r"(?:[0-5][0-9]|60)"
_DATE = f"{_YEAR}{_MONTH}{_DAY}"
_TIME = rf"{_HOUR}(?:{_MINUTE}(?:{_SECOND}(?:\.[0-9]{{1,6}})?)?)?"
_DATETIME = rf"{_YEAR}(?:{_MONTH}(?:{_DAY}(?:{_TIME})?)?)?(?:[+-][0-9]{{4}})?"
_UID = r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*"
_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_BASE64 = r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"

_BINARY = Vr(ValueKind.BINARY, _BASE64)

VRS: Final[dict[str, Vr]] = {
    "AE": Vr(ValueKind.STRING, _LINE, 16),
    "AS": Vr(ValueKind.STRING, r"[0-9]{3}[DWMY]"),
    "AT": Vr(ValueKind.STRING, r"[0-9A-Fa-f]{8}"),
    "CS": Vr(ValueKind.STRING, r"[A-Z0-9 _]*", 16),
    "DA": Vr(ValueKind.STRING, f"{_DATE} *"),
    "DS": Vr(ValueKind.STRING, f" *{_NUMBER} *", 16),
    "DT": Vr(ValueKind.STRING, f"{_DATETIME} *", 26),
    "FD": Vr(ValueKind.FLOAT),
    "FL": Vr(ValueKind.FLOAT),
    "IS": Vr(ValueKind.STRING, r" *[+-]?[0-9]+ *", 12),
    "LO": Vr(ValueKind.STRING, _LINE, 64),
    "LT": Vr(ValueKind.STRING, _TEXT, 10240),
    "OB": _BINARY,
    "OD": _BINARY,
    "OF": _BINARY,
    "OL": _BINARY,
    "OV": _BINARY,
    "OW": _BINARY,
    "OB or OW": _BINARY,
    "US or OW": _BINARY,
    "US or SS or OW": _BINARY,
    # up to three groups (alphabetic, ideographic, phonetic), each of up to five components
    "PN": Vr(
        ValueKind.STRING,
        r"[^\\\^=\x00-\x1a\x1c-\x1f]*(?:\^[^\\\^=\x00-\x1a\x1c-\x1f]*){0,4}"
        r"(?:=[^\\\^=\x00-\x1a\x1c-\x1f]*(?:\^[^\\\^=\x00-\x1a\x1c-\x1f]*){0,4}){0,2}",
        64 * 3 + 2,
    ),
    "SH": Vr(ValueKind.STRING, _LINE, 16),
    "SL": Vr(ValueKind.INTEGER, bounds=(-(2**31), 2**31 - 1)),
    "SQ": Vr(ValueKind.SEQUENCE),
    "SS": Vr(ValueKind.INTEGER, bounds=(-(2**15), 2**15 - 1)),
    "ST": Vr(ValueKind.STRING, _TEXT, 1024),
    "SV": Vr(ValueKind.INTEGER, bounds=(-(2**63), 2**63 - 1)),
    "TM": Vr(ValueKind.STRING, f"{_TIME} *"),
    "UC": Vr(ValueKind.STRING, _LINE),
    "UI": Vr(ValueKind.STRING, _UID, 64),
    "UL": Vr(ValueKind.INTEGER, bounds=(0, 2**32 - 1)),
    "UN": _BINARY,
    "UR": Vr(ValueKind.STRING, r"[^\\ \x00-\x1f][^\\\x00-\x1f]*"),
    "US": Vr(ValueKind.INTEGER, bounds=(0, 2**16 - 1)),
    "US or SS": Vr(ValueKind.INTEGER, bounds=(-(2**15), 2**16 - 1)),
    "UT": Vr(ValueKind.STRING, _TEXT),
    "UV": Vr(ValueKind.INTEGER, bounds=(0, 2**64 - 1)),
}

# VRs whose text may contain a backslash, so that it does not separate values (PS3.5 section 6.4)
SINGLE_VALUED: Final = frozenset({"LT", "ST", "UT", "UR", "SQ"} | {n for n, v in VRS.items() if v is _BINARY})

# Text that is valid for every free-text VR, also PN, needs no JSON escape and is in no foreign encoding: the fast path
# for most cells of a list.
FREE_TEXT: Final = frozenset({"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_PLAIN = rf'[^"\\\^\x00-\x1f{SUSPECT}]*'
PLAIN_TEXT: Final = rf"{_PLAIN}(?:\^{_PLAIN}){{0,4}}"

# dicom-element-constraints; these replace the length of the VR
MAX_LENGTHS: Final[dict[str, int]] = {
    "PatientName": 256,
    "PatientID": 256,
    "PatientBirthDate": 18,
    "PatientSex": 16,
    "StudyInstanceUID": 256,
    "StudyID": 256,
    "StudyDescription": 256,
    "AccessionNumber": 256,
    "StudyDate": 18,
    "StudyTime": 28,
    "SOPInstanceUID": 256,
    "SeriesInstanceUID": 256,
}

# dicom-metadata-constraints: generated by the service or tied to the pixels, never editable
NEVER_EDITABLE: Final = frozenset(
    {
        "SchemaVersion",
        "DatastoreID",
        "ImageSetID",
        "PixelData",
        "Checksum",
        "Width",
        "Height",
        "MinPixelValue",
        "MaxPixelValue",
        "FrameSizeInBytes",
    }
)

# dicom-metadata-constraints: identifiers that need `force`; a primary image set refuses them even with it
FORCED_UIDS: Final = frozenset({"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"})
FORCED_KEYWORDS: Final = FORCED_UIDS | {"StudyID"}

_PRIVATE = re.compile(r"[0-9A-F]{8}")


@dataclass(frozen=True, slots=True)
class ServiceRules:
    """The rules of one version of the service's documentation for updates."""

    version: str
    instance_removal_forced: bool  # removing an instance needs `force`
    series_removal: bool  # a whole series can be removed
    study_wide: bool  # includeStudyImageSets exists
    primary_refused: frozenset[Level]  # levels whose attributes cannot be changed in a primary image set
    payload_limit: int  # bytes of each attributes blob


RULES: Final[dict[str, ServiceRules]] = {
    "2025": ServiceRules(
        "2025",
        instance_removal_forced=False,
        series_removal=True,
        study_wide=False,
        primary_refused=frozenset({Level.PATIENT, Level.SERIES}),
        payload_limit=10_000,
    ),
    "2026": ServiceRules(
        "2026",
        instance_removal_forced=True,
        series_removal=False,
        study_wide=True,
        primary_refused=frozenset(),
        payload_limit=10_000,
    ),
}


@dataclass(frozen=True, slots=True)
class Attribute:
    """A data element: standard (named by keyword) or private (named by eight hex digits)."""

    name: str  # the key in the metadata document
    tag: int
    vr: str  # as in PS3.6, also "US or SS"; "UN" for a private element of unknown VR
    vm: str
    level: Level

    @property
    def private(self) -> bool:
        """Whether the element is private: its group number is odd (PS3.5 section 7.8)."""
        return bool(self.tag >> 16 & 1)

    @property
    def multi(self) -> bool:
        """Whether the value is an array in the metadata document, because the VM is not 1."""
        return self.vm != "1" and self.vr != "SQ"


@functools.cache
def _levels() -> dict[str, Level]:
    text = resources.files("bulkedit").joinpath("data/normalization.csv").read_text("utf-8")
    return {row["keyword"]: Level(row["level"]) for row in csv.DictReader(text.splitlines())}


@functools.cache
def _by_keyword() -> dict[str, Attribute]:
    from pydicom.datadict import DicomDictionary  # type: ignore[attr-defined] # no public name iterates the dictionary

    levels = _levels()
    return {
        keyword: Attribute(keyword, tag, vr, vm, levels.get(keyword, Level.INSTANCE))
        for tag, (vr, vm, _, _, keyword) in DicomDictionary.items()
        if keyword and vr != "NONE"
    }


@functools.cache
def _by_tag() -> dict[int, Attribute]:
    return {attribute.tag: attribute for attribute in _by_keyword().values()}


def key_of(tag: int) -> str:
    """Return the key of an element in the metadata document: its keyword, or ``GGGGEEEE`` if it has no keyword."""
    known = _by_tag().get(tag)
    return known.name if known else f"{tag:08X}"


def is_keyword(text: str) -> bool:
    """Whether a text is the keyword of an attribute (PS3.6)."""
    return text in _by_keyword()


@functools.lru_cache(maxsize=8192)
def attribute(name: str) -> Attribute | None:
    """Look up a keyword or eight hex digits; None if the name is neither.

    The hex digits of a standard element return None, because the document uses its keyword. Elements of the repeating
    groups (50xx, 60xx) have no keyword and are named by hex digits. So are elements that the dictionary does not have,
    such as those of a later edition of the standard.
    """
    if known := _by_keyword().get(name):
        return known
    name = name.upper()
    if not _PRIVATE.fullmatch(name) or (tag := int(name, 16)) in _by_tag():
        return None
    if tag >> 16 & 1:
        # PS3.5 section 7.8.1: (gggg,0010-00FF) are private creators, always LO
        creator = 0x10 <= (tag & 0xFFFF) <= 0xFF
        return Attribute(name, tag, "LO" if creator else "UN", "1", Level.INSTANCE)
    return _repeater(name, tag)


def _repeater(name: str, tag: int) -> Attribute:
    from pydicom.datadict import dictionary_VM, dictionary_VR

    try:
        return Attribute(name, tag, dictionary_VR(tag), dictionary_VM(tag), Level.INSTANCE)
    except KeyError:
        return Attribute(name, tag, "UN", "1", Level.INSTANCE)


def keywords() -> list[str]:
    """Return all keywords of the standard, for suggestions and completion."""
    return list(_by_keyword())


@functools.cache
def dictionary() -> pl.DataFrame:
    """Return the attributes of the standard as a frame, for joins.

    Columns: attribute String, tag UInt32, vr String, vm String, level Enum(Level), kind Enum(ValueKind), multi Boolean,
    pattern String and max_length UInt32 (null if unlimited), low Int64 and high UInt64 (bounds of integers, else null),
    vm_low UInt32, vm_high UInt32 (null if unbounded), vm_step UInt32, never Boolean (generated by the service), forced
    Boolean (editable only with ``force``).
    """
    import polars as pl

    rows = [_dictionary_row(a) for a in _by_keyword().values()]
    return pl.DataFrame(
        rows,
        schema={
            "attribute": pl.String,
            "tag": pl.UInt32,
            "vr": pl.String,
            "vm": pl.String,
            "level": pl.Enum([str(x) for x in Level]),
            "kind": pl.Enum([str(x) for x in ValueKind]),
            "multi": pl.Boolean,
            "pattern": pl.String,
            "max_length": pl.UInt32,
            "low": pl.Int64,
            "high": pl.UInt64,
            "vm_low": pl.UInt32,
            "vm_high": pl.UInt32,
            "vm_step": pl.UInt32,
            "never": pl.Boolean,
            "forced": pl.Boolean,
        },
        orient="row",
    )


def _dictionary_row(a: Attribute) -> tuple[Any, ...]:
    vr = VRS[a.vr]
    low, high = vr.bounds or (None, None)
    return (
        *(a.name, a.tag, a.vr, a.vm, str(a.level), str(vr.kind), a.multi),
        *(vr.pattern, MAX_LENGTHS.get(a.name, vr.max_length), low, high),
        *multiplicity(a.vm),
        a.name in NEVER_EDITABLE,
        force_reason(a) is not None,
    )


def multiplicity(vm: str) -> tuple[int, int | None, int]:
    """Parse a VM of PS3.6 to (minimum, maximum or None, step): ``"2-2n"`` is (2, None, 2)."""
    first, _, last = vm.partition("-")
    if not last:
        return int(first), int(first), 1
    if last.endswith("n"):
        return int(first), None, int(last[:-1] or 1)
    return int(first), int(last), 1


def force_reason(a: Attribute) -> str | None:
    """Return why the service edits this attribute only with ``force``; None if it does not need it.

    dicom-metadata-constraints, items 1, 3 to 5 and 7.
    """
    if a.private:
        return "it is a private element"
    if a.vr == "UN" and a.name not in _by_keyword():
        return "it is not in the dictionary of the standard"
    if a.name in FORCED_KEYWORDS:
        return f"{a.name} identifies the image set"
    if a.vr == "SQ":
        return "it is a sequence"
    if a.multi:
        return "it is multi-valued"
    return None


def why_unfit(a: Attribute, value: Json) -> str | None:
    """Return why a JSON value is invalid for an attribute; None if it is valid. Never quotes the value."""
    if value is None:
        return None
    if a.vr == "SQ":
        return _why_unfit_sequence(value)
    if not a.multi:
        return _why_unfit_single(a, value)
    if not isinstance(value, list):
        return f"its VM is {a.vm}, so its value is an array"
    low, high, step = multiplicity(a.vm)
    if len(value) < low or (high is not None and len(value) > high) or (len(value) - low) % step:
        return f"its VM is {a.vm}, and this has {len(value)} values"
    return next((why for one in value if (why := _why_unfit_single(a, one))), None)


def _why_unfit_sequence(value: Json) -> str | None:
    items = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    if not isinstance(value, list) or len(items) < len(value):
        return "a sequence is an array of objects"
    for item in items:
        for name, inner in item.items():
            known = attribute(name)
            if known is None:
                return "it has a key that is neither a DICOM keyword nor eight hex digits"
            if not known.private and (why := why_unfit(known, inner)):
                return f"in {known.name}: {why}"
    return None


def _why_unfit_single(a: Attribute, value: Json) -> str | None:
    vr = VRS[a.vr]
    if vr.kind is ValueKind.INTEGER:
        return _why_unfit_integer(a.vr, vr, value)
    if vr.kind is ValueKind.FLOAT:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return None if number else f"VR {a.vr} is a number"
    if not isinstance(value, str):
        return f"VR {a.vr} is text"
    if vr.kind is ValueKind.BINARY:
        return None if _is_base64(value) else f"VR {a.vr} is base64 text"
    return _why_unfit_text(a, vr, value)


def _why_unfit_integer(name: str, vr: Vr, value: Json) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return f"VR {name} is a whole number"
    low, high = vr.bounds or (value, value)
    return None if low <= value <= high else f"VR {name} is a whole number from {low} to {high}"


def _why_unfit_text(a: Attribute, vr: Vr, value: str) -> str | None:
    longest = MAX_LENGTHS.get(a.name, vr.max_length)
    if longest is not None and len(value) > longest:
        return f"it has {len(value)} characters, and at most {longest} are allowed"
    if value and vr.pattern and not _compiled(vr.pattern).fullmatch(value):
        return f"it does not have the form of VR {a.vr}"
    return None


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True
