"""The elements of one DICOM dataset, as a metadata document writes them.

The keys, levels and value types are those of the service (reference: get-image-set-metadata, metadata-normalization,
understanding-image-sets; what no page says is read off published documents):

- a value is the file's own, never parsed and printed again: ``"0010"`` stays, and DS and IS keep their padding
  (``"120 "``). Other text loses the spaces and NULs that fill it to an even length, as in every published document;
- an array exactly where PS3.6 gives a VM other than 1. Where a VM of 1 meets several values, text keeps its backslashes
  and numbers become an array: nothing is lost;
- numbers that are not finite become null, which JSON can say. A whole number is written without a fraction, whatever
  its VR;
- elements of the dictionary have its VR. Where the file names another kind of VR, the value is brought to the
  dictionary's kind, and null where that cannot be;
- group lengths outside group 0002 and trailing padding say nothing of the image and are left out; so are the pixels.
"""

from __future__ import annotations

import base64
import math
import struct
from array import array
from collections.abc import MutableSequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from bulkedit.dicom import dictionary as dicom
from bulkedit.dicom.dictionary import Level, ValueKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.dataset import Dataset

    from bulkedit._json import Json, JsonObject

    _Element = RawDataElement | DataElement
    _Single = str | float | None  # one value of an element that is no sequence

# understanding-import-jobs: larger binary values of private elements are stored apart. How the metadata shows them is
# not documented; the published documents have an empty string for private elements whose value is not there.
_BULK: Final = 1 << 20

_CHARACTER_SET, _PIXEL_REPRESENTATION = 0x00080005, 0x00280103
_TRAILING_PADDING: Final = 0xFFFCFFFC
_PIXELS: Final = frozenset({"PixelData", "FloatPixelData", "DoubleFloatPixelData"})

_NUMBERS: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_EXACT: Final = 1 << 53  # below it a double holds every whole number
_UNDEFINED_LENGTH: Final = 0xFFFFFFFF
_WORDS: Final = {"OW": "H", "OF": "I", "OL": "I", "OD": "Q", "OV": "Q"}
# PS3.5 section 6.1.2.3: only these may hold characters beyond the default repertoire
_EXTENDED: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_DELIMITERS: Final = {ord(c) for c in "\t\n\f\r\\^="}  # PS3.5 section 6.1.2.5.3: code extensions end here


class TruncatedError(Exception):
    """The file ends inside an element."""


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What a value needs to know of the dataset it lies in."""

    encodings: list[str]
    signed: bool


def split(dataset: Dataset) -> tuple[dict[Level, JsonObject], dict[str, str]]:
    """The elements by level, and the VRs of the private ones. Those of group 0002 come first, as in the file."""
    levels: dict[Level, JsonObject] = {level: {} for level in Level}
    vrs: dict[str, str] = {}
    surroundings = _surroundings(dataset, _Surroundings(["iso8859"], signed=False))
    for element in chain(_elements(dataset.file_meta), _elements(dataset)):
        known = _attribute(element.tag)
        vr = _vr(known, element, surroundings)
        levels[known.level][known.name] = _value(known, vr, element, surroundings)
        if known.private:
            vrs[known.name] = vr
    return levels, vrs


def _surroundings(dataset: Dataset, outer: _Surroundings) -> _Surroundings:
    """A sequence item may name its own character set; it inherits the rest (PS3.3 section C.12.1.1.2)."""
    from pydicom.charset import convert_encodings

    encodings, signed = outer.encodings, outer.signed
    if (element := dataset.get_item(_CHARACTER_SET)) is not None:
        names = _bytes(element).decode("ascii", "replace").split("\\")
        encodings = convert_encodings([name.strip(" \0") for name in names])
    if (element := dataset.get_item(_PIXEL_REPRESENTATION)) is not None:
        signed = any(_bytes(element))  # 0000H or 0001H, in either byte order
    return _Surroundings(encodings, signed)


def _elements(dataset: Dataset) -> Iterator[_Element]:
    """In the order of their tags, but those that say nothing of the image."""
    for element in dataset.elements():
        if not _says_nothing(element.tag):
            _hold_whole(element)
            yield element


def _says_nothing(tag: int) -> bool:
    """Group lengths (retired, PS3.5 section 7.2) but that of the file's header, and Data Set Trailing Padding."""
    return tag == _TRAILING_PADDING or (not tag & 0xFFFF and tag >> 16 != 2)


def _hold_whole(element: _Element) -> None:
    """Refuse a file that ends inside a value. Pixels alone may end early: see ``image_frames``."""
    value, length = element.value, getattr(element, "length", None)
    short = isinstance(value, bytes) and length not in {None, _UNDEFINED_LENGTH} and len(value) < length
    if short and dicom.key_of(element.tag) not in _PIXELS:
        raise TruncatedError


def _attribute(tag: int) -> dicom.Attribute:
    name = dicom.key_of(tag)
    # a tag of an even group that the standard does not know: kept under its number, like a private one
    return dicom.attribute(name) or dicom.Attribute(name, tag, "UN", "1", Level.INSTANCE)


def _vr(known: dicom.Attribute, element: _Element, surroundings: _Surroundings) -> str:
    """The VR of the value in the document: the file's where it is of the dictionary's kind, or there is no other."""
    named = element.VR if element.VR in dicom.VRS else "UN"
    if known.vr == "UN" or (named != "UN" and _kind(named) is _kind(known.vr) is not ValueKind.BINARY):
        return named
    if known.vr == "US or SS":
        return "SS" if surroundings.signed else "US"
    return known.vr


def _kind(vr: str) -> ValueKind:
    return dicom.VRS[vr].kind


def _value(known: dicom.Attribute, vr: str, element: _Element, surroundings: _Surroundings) -> Json:
    """The element as the document has it."""
    if known.name in _PIXELS:
        return None
    if _kind(vr) is ValueKind.SEQUENCE:
        return [*_items(element, surroundings)] or None
    if element.VR == "SQ":
        return None  # items, where the dictionary has plain values
    if _kind(vr) is ValueKind.BINARY:
        return _binary(known, vr, element)
    return _shaped(known, vr, _values(vr, element, surroundings))


def _shaped(known: dicom.Attribute, vr: str, found: Sequence[_Single]) -> Json:
    """None, one value or an array, as the VM wants it."""
    values: list[Json] = [*found]
    if not values or values == [""]:
        return None
    if known.multi:
        return values
    if len(values) == 1:
        return values[0]
    return "\\".join(map(str, values)) if _kind(vr) is ValueKind.STRING and vr != "AT" else values


def _bytes(element: _Element) -> bytes:
    """The value field. What pydicom converts as it reads (character sets, a few of group 0002) is made text again."""
    value: Any = element.value
    if isinstance(value, bytes):
        return value
    several = isinstance(value, MutableSequence)
    return "\\".join(map(str, value)).encode() if several else str("" if value is None else value).encode()


def _items(element: _Element, surroundings: _Surroundings) -> list[JsonObject]:
    from pydicom.values import convert_SQ

    value = element.value
    if isinstance(value, bytes):
        if element.VR not in {None, "SQ", "UN", "OB"}:
            return []  # plain values, where the dictionary has items
        # PS3.5 section 6.2.2, note on UN: a known sequence sent as UN is encoded in implicit VR little endian
        unknown = element.VR in {"UN", "OB"}
        implicit = unknown or getattr(element, "is_implicit_VR", True)
        little = unknown or getattr(element, "is_little_endian", True)
        value = convert_SQ(value, implicit, little, surroundings.encodings)
    return [_item(item, surroundings) for item in value or ()]


def _item(dataset: Dataset, outer: _Surroundings) -> JsonObject:
    surroundings = _surroundings(dataset, outer)
    item = {}
    for element in _elements(dataset):
        known = _attribute(element.tag)
        item[known.name] = _value(known, _vr(known, element, surroundings), element, surroundings)
    return item


def _binary(known: dicom.Attribute, vr: str, element: _Element) -> Json:
    """Base64 of the value in little endian order."""
    value = _bytes(element)
    if known.private:
        return "" if len(value) > _BULK else base64.b64encode(value).decode()
    if not value:
        return None
    if not getattr(element, "is_little_endian", True) and (word := _WORDS.get(element.VR or vr)):
        words = array(word, value[: len(value) // array(word).itemsize * array(word).itemsize])
        words.byteswap()
        value = words.tobytes()
    text = base64.b64encode(value).decode()
    return [text] if known.multi else text


def _values(vr: str, element: _Element, surroundings: _Surroundings) -> Sequence[_Single]:
    """The values one by one, of the kind of ``vr``."""
    value = element.value
    if isinstance(value, int):
        return [value]  # converted by pydicom already
    named = element.VR if element.VR in dicom.VRS else vr
    if _kind(named) is _kind(vr) or _kind(named) is ValueKind.BINARY:
        return _decoded(vr, element, surroundings)
    return [_brought(one, _kind(vr)) for one in _decoded(named, element, surroundings)]


def _brought(value: _Single, kind: ValueKind) -> _Single:
    """A value of the kind the file's VR has, as one of the dictionary's kind; None if it cannot be."""
    if kind is ValueKind.STRING:
        return str(value)
    try:
        return None if value is None else int(value) if kind is ValueKind.INTEGER else _number(float(value))
    except ValueError:
        return None


def _decoded(vr: str, element: _Element, surroundings: _Surroundings) -> Sequence[_Single]:
    if vr == "AT":
        return [f"{group:04X}{number:04X}" for group, number in _unpacked("HH", element)]
    if vr in _NUMBERS:
        return [_number(number) for (number,) in _unpacked(_NUMBERS[vr], element)]
    return _texts(vr, _bytes(element), surroundings)


def _unpacked(codes: str, element: _Element) -> Iterator[tuple[Any, ...]]:
    """Nothing where the length is not a multiple of what the VR takes."""
    value = _bytes(element)
    layout = struct.Struct(f"{'<' if getattr(element, 'is_little_endian', True) else '>'}{codes}")
    return iter(()) if len(value) % layout.size else layout.iter_unpack(value)


def _number(value: float) -> float | None:
    if isinstance(value, int):
        return value
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < _EXACT else value


def _texts(vr: str, value: bytes, surroundings: _Surroundings) -> list[str]:
    from pydicom.charset import decode_bytes

    encodings = surroundings.encodings if vr in _EXTENDED else ["iso8859"]
    text = decode_bytes(value, encodings, _DELIMITERS)
    padding = "\0" if vr in {"DS", "IS"} else " \0"
    if not text.strip(" \0"):
        return []
    single = [text] if vr in dicom.SINGLE_VALUED else text.split("\\")
    return [one.rstrip(padding) for one in single]
