"""Converts the elements of one DICOM dataset to the JSON of a metadata document.

Keys, levels and value types are those of the service (get-image-set-metadata, metadata-normalization,
understanding-image-sets). What these pages do not document follows published documents:

- Text is copied unchanged: ``"0010"`` is kept, and DS and IS keep their padding (``"120 "``). Other text is written
  without the spaces and NULs that pad it to an even length.
- A value is an array if its VM in PS3.6 is not 1. If an element with a VM of 1 has several values, text keeps its
  backslashes, and numbers become an array.
- Numbers that are not finite become null. A whole number has no fraction, for any VR.
- Elements in the dictionary have the dictionary's VR. If the file has a VR of another kind, the value is converted, or
  null if this is impossible.
- Group lengths outside group 0002, trailing padding and pixels are omitted.
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

# understanding-import-jobs: larger binary values of private elements are stored separately. Their form in the metadata
# is not documented; published documents have an empty string for private elements without a value.
_BULK: Final = 1 << 20

_CHARACTER_SET, _PIXEL_REPRESENTATION = 0x00080005, 0x00280103
_TRAILING_PADDING: Final = 0xFFFCFFFC
_PIXELS: Final = frozenset({"PixelData", "FloatPixelData", "DoubleFloatPixelData"})

_NUMBERS: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_EXACT: Final = 1 << 53  # a double is exact for whole numbers below it
_UNDEFINED_LENGTH: Final = 0xFFFFFFFF
_WORDS: Final = {"OW": "H", "OF": "I", "OL": "I", "OD": "Q", "OV": "Q"}
# PS3.5 section 6.1.2.3: only these VRs may have characters outside the default repertoire
_EXTENDED: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
# PS3.5 annex K; pydicom decodes GB 2312, and keeps the escape sequences that announce it
_TO_IR_58: Final = "\x1b$)A"
_DELIMITERS: Final = {ord(c) for c in "\t\n\f\r\\^="}  # PS3.5 section 6.1.2.5.3: code extensions end here


class TruncatedError(Exception):
    """The file ends inside an element."""


@dataclass(frozen=True, slots=True)
class _Context:
    """Properties of a dataset on which the values in it depend."""

    encodings: list[str]
    signed: bool


def split(dataset: Dataset) -> tuple[dict[Level, JsonObject], dict[str, str]]:
    """The elements by level, group 0002 first, and the VRs of private elements."""
    levels: dict[Level, JsonObject] = {level: {} for level in Level}
    vrs: dict[str, str] = {}
    context = _context_of(dataset, _Context(["iso8859"], signed=False))
    for element in chain(_elements(dataset.file_meta), _elements(dataset)):
        known = _attribute(element.tag)
        vr = _vr(known, element, context)
        levels[known.level][known.name] = _value(known, vr, element, context)
        if known.private:
            vrs[known.name] = vr
    return levels, vrs


def _context_of(dataset: Dataset, outer: _Context) -> _Context:
    """The context of a dataset; an item inherits what it does not have itself (PS3.3 section C.12.1.1.2)."""
    from pydicom.charset import convert_encodings

    encodings, signed = outer.encodings, outer.signed
    if (element := dataset.get_item(_CHARACTER_SET)) is not None:
        names = _bytes(element).decode("ascii", "replace").split("\\")
        encodings = convert_encodings([name.strip(" \0") for name in names])
    if (element := dataset.get_item(_PIXEL_REPRESENTATION)) is not None:
        signed = any(_bytes(element))  # 0000H or 0001H, in either byte order
    return _Context(encodings, signed)


def _elements(dataset: Dataset) -> Iterator[_Element]:
    """The elements by tag, without ignored ones. Raises TruncatedError."""
    for element in dataset.elements():
        if not _is_ignored(element.tag):
            _check_complete(element)
            yield element


def _is_ignored(tag: int) -> bool:
    """Whether a tag is Data Set Trailing Padding, or a group length (retired, PS3.5 section 7.2) outside group 0002."""
    return tag == _TRAILING_PADDING or (not tag & 0xFFFF and tag >> 16 != 2)


def _check_complete(element: _Element) -> None:
    """Raises TruncatedError if the file ends inside a value. Only pixels may be truncated: see ``image_frames``."""
    value, length = element.value, getattr(element, "length", None)
    short = isinstance(value, bytes) and length not in {None, _UNDEFINED_LENGTH} and len(value) < length
    if short and dicom.key_of(element.tag) not in _PIXELS:
        raise TruncatedError


def _attribute(tag: int) -> dicom.Attribute:
    name = dicom.key_of(tag)
    # an even group that is not in the standard: its key is the tag, as for a private element
    return dicom.attribute(name) or dicom.Attribute(name, tag, "UN", "1", Level.INSTANCE)


def _vr(known: dicom.Attribute, element: _Element, context: _Context) -> str:
    """The VR in the document: the file's if it has the dictionary's kind, or the dictionary has no VR."""
    named = element.VR if element.VR in dicom.VRS else "UN"
    if known.vr == "UN" or (named != "UN" and _kind(named) is _kind(known.vr) is not ValueKind.BINARY):
        return named
    if known.vr == "US or SS":
        return "SS" if context.signed else "US"
    return known.vr


def _kind(vr: str) -> ValueKind:
    return dicom.VRS[vr].kind


def _value(known: dicom.Attribute, vr: str, element: _Element, context: _Context) -> Json:
    """The JSON of one element."""
    if known.name in _PIXELS:
        return None
    if _kind(vr) is ValueKind.SEQUENCE:
        return [*_items(element, context)] or None
    if element.VR == "SQ":
        return None  # the file has items, but the dictionary plain values
    if _kind(vr) is ValueKind.BINARY:
        return _binary(known, vr, element)
    return _shaped(known, vr, _values(vr, element, context))


def _shaped(known: dicom.Attribute, vr: str, found: Sequence[_Single]) -> Json:
    """None, one value or an array, according to the VM."""
    values: list[Json] = [*found]
    if not values or values == [""]:
        return None
    if known.multi:
        return values
    if len(values) == 1:
        return values[0]
    return "\\".join(map(str, values)) if _kind(vr) is ValueKind.STRING and vr != "AT" else values


def _bytes(element: _Element) -> bytes:
    """The value field. Values that pydicom has converted (character sets, some of group 0002) become text again."""
    value: Any = element.value
    if isinstance(value, bytes):
        return value
    several = isinstance(value, MutableSequence)
    return "\\".join(map(str, value)).encode() if several else str("" if value is None else value).encode()


def _items(element: _Element, context: _Context) -> list[JsonObject]:
    from pydicom.values import convert_SQ

    value = element.value
    if isinstance(value, bytes):
        if element.VR not in {None, "SQ", "UN", "OB"}:
            return []  # the file has plain values, but the dictionary items
        # PS3.5 section 6.2.2, note on UN: a known sequence sent as UN is encoded in implicit VR little endian
        unknown = element.VR in {"UN", "OB"}
        implicit = unknown or getattr(element, "is_implicit_VR", True)
        little = unknown or getattr(element, "is_little_endian", True)
        value = convert_SQ(value, implicit, little, context.encodings)
    return [_item(item, context) for item in value or ()]


def _item(dataset: Dataset, outer: _Context) -> JsonObject:
    context = _context_of(dataset, outer)
    item = {}
    for element in _elements(dataset):
        known = _attribute(element.tag)
        item[known.name] = _value(known, _vr(known, element, context), element, context)
    return item


def _binary(known: dicom.Attribute, vr: str, element: _Element) -> Json:
    """The value as base64, in little endian."""
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


def _values(vr: str, element: _Element, context: _Context) -> Sequence[_Single]:
    """The values of an element, converted to the kind of ``vr``."""
    value = element.value
    if isinstance(value, int):
        return [value]  # converted by pydicom already
    named = element.VR if element.VR in dicom.VRS else vr
    if _kind(named) is _kind(vr) or _kind(named) is ValueKind.BINARY:
        return _decoded(vr, element, context)
    return [_converted(one, _kind(vr)) for one in _decoded(named, element, context)]


def _converted(value: _Single, kind: ValueKind) -> _Single:
    """A value converted to another kind of VR; None if this is impossible."""
    if kind is ValueKind.STRING:
        return str(value)
    try:
        return None if value is None else int(value) if kind is ValueKind.INTEGER else _number(float(value))
    except ValueError:
        return None


def _decoded(vr: str, element: _Element, context: _Context) -> Sequence[_Single]:
    if vr == "AT":
        return [f"{group:04X}{number:04X}" for group, number in _unpacked("HH", element)]
    if vr in _NUMBERS:
        return [_number(number) for (number,) in _unpacked(_NUMBERS[vr], element)]
    return _texts(vr, _bytes(element), context)


def _unpacked(codes: str, element: _Element) -> Iterator[tuple[Any, ...]]:
    """The numbers in a value; none if its length is not a multiple of a number's."""
    value = _bytes(element)
    layout = struct.Struct(f"{'<' if getattr(element, 'is_little_endian', True) else '>'}{codes}")
    return iter(()) if len(value) % layout.size else layout.iter_unpack(value)


def _number(value: float) -> float | None:
    if isinstance(value, int):
        return value
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < _EXACT else value


def _texts(vr: str, value: bytes, context: _Context) -> list[str]:
    from pydicom.charset import decode_bytes

    encodings = context.encodings if vr in _EXTENDED else ["iso8859"]
    text = decode_bytes(value, encodings, _DELIMITERS)
    if "iso_ir_58" in encodings:
        text = text.replace(_TO_IR_58, "")
    padding = "\0" if vr in {"DS", "IS"} else " \0"
    if not text.strip(" \0"):
        return []
    single = [text] if vr in dicom.SINGLE_VALUED else text.split("\\")
    return [one.rstrip(padding) for one in single]
