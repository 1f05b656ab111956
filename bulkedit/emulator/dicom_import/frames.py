"""Lists the image frames of one instance for a metadata document.

``PixelDataChecksumFromBaseToFullResolution`` has one CRC32 per resolution, lowest first (pixel-data-verification). The
service computes it over decoded frames. This module does so for frames that need no codec: native (uncompressed) ones,
and RLE. Any other encapsulated frame has one entry: the CRC32 of its *encoded* bytes, and the range that its bits allow
as minimum and maximum. This identifies a frame, but cannot verify a decoder.
"""

from __future__ import annotations

import hashlib
import sys
import zlib
from array import array
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import Dataset

    from bulkedit._json import JsonObject

_RLE: Final = "1.2.840.10008.1.2.5"
_LARGEST_DECODED: Final = 64 * 2**20  # bytes; RLE may unpack to 64 times its size
_HTJ2K_RPCL_LOSSLESS: Final = "1.2.840.10008.1.2.4.202"
_EXPLICIT_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
_MPEG: Final = [f"1.2.840.10008.1.2.4.{n}" for n in range(100, 107)]

# supported-transfer-syntaxes: those marked with an asterisk; all others are transcoded to HTJ2K lossless
RETAINED: Final = frozenset(
    {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"}
    | {*_MPEG, *(f"{uid}.1" for uid in _MPEG), "1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.108"}
)

# Pixels of the shorter side at the lowest resolution, at least. This is not documented, but agrees with all published
# documents: the widths of 640 x 480 are 160, 320, 640; of 320 x 240: 160, 320; of 512 x 375: 256, 512.
_SHORTEST_SIDE: Final = 120

_INTEGER_CODES: Final = {(8, 0): "B", (8, 1): "b", (16, 0): "H", (16, 1): "h", (32, 0): "I", (32, 1): "i"}
_FLOAT_CODES: Final = {"FloatPixelData": "f", "DoubleFloatPixelData": "d"}


@dataclass(frozen=True, slots=True)
class _Geometry:
    """The layout of a frame's samples."""

    width: int
    height: int
    samples: int
    bits: int  # BitsAllocated
    stored: int  # BitsStored
    signed: int  # PixelRepresentation
    planar: bool
    subsampled: bool  # YBR_FULL_422: two chroma samples for every two pixels
    frames: int
    code: str  # type code of `array`; "" if `array` does not support the samples
    swapped: bool  # the file's byte order is not this machine's

    @property
    def frame_bytes(self) -> int:
        samples = 2 if self.subsampled else self.samples
        return -(-self.width * self.height * samples * self.bits // 8)

    @property
    def strided(self) -> bool:
        """Whether lower resolutions can be computed: samples are whole bytes, and not subsampled."""
        return bool(self.code) and not self.subsampled


def stored_transfer_syntax(dataset: Dataset) -> str:
    """The transfer syntax in which the service stores the pixels (supported-transfer-syntaxes)."""
    original = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    # "binary segmentation retains original encoding"
    binary = original == _EXPLICIT_LITTLE_ENDIAN and dataset.get("BitsAllocated") == 1
    return original if original in RETAINED or binary else _HTJ2K_RPCL_LOSSLESS


def image_frames(dataset: Dataset, sop_uid: str) -> list[JsonObject]:
    """One entry per complete frame of the file; a truncated frame is not listed."""
    name = next((n for n in ("PixelData", *_FLOAT_CODES) if n in dataset), None)
    if name is None or (geometry := _geometry(dataset, name)) is None:
        return []
    pixels = dataset[name]
    # PS3.5 section A.4: encapsulated pixel data, and no other, has an undefined length
    frames = (_encapsulated if pixels.is_undefined_length else _native)(dataset, pixels.value or b"", geometry)
    return [{"ID": _frame_id(sop_uid, index), **frame} for index, frame in enumerate(frames)]


def _frame_id(sop_uid: str, index: int) -> str:
    """32 characters of ``[0-9a-z]`` (the service's model), equal in every import."""
    return hashlib.sha256(f"{sop_uid}/{index}".encode()).hexdigest()[:32]


def _geometry(dataset: Dataset, name: str) -> _Geometry | None:
    """The layout of the dataset's pixels; None if it has no valid layout."""

    def number(keyword: str, otherwise: int) -> int:
        value = dataset.get(keyword)
        return int(otherwise if value is None else value)

    try:
        bits, signed = number("BitsAllocated", 0), number("PixelRepresentation", 0)
        geometry = _Geometry(
            width=number("Columns", 0),
            height=number("Rows", 0),
            samples=number("SamplesPerPixel", 1),
            bits=bits,
            stored=number("BitsStored", bits),
            signed=signed,
            planar=number("SamplesPerPixel", 1) > 1 and number("PlanarConfiguration", 0) == 1,
            subsampled=str(dataset.get("PhotometricInterpretation", "")).endswith("_422"),
            frames=number("NumberOfFrames", 1),
            code=_FLOAT_CODES.get(name) or _INTEGER_CODES.get((bits, signed), ""),
            swapped=dataset.original_encoding[1] != (sys.byteorder == "little"),
        )
    except Exception:  # noqa: BLE001 - pydicom may raise anything for a value that is not valid for its VR
        return None
    sizes = (geometry.width, geometry.height, geometry.samples, geometry.bits, geometry.stored, geometry.frames)
    return geometry if min(sizes) >= 1 else None


def _native(_dataset: Dataset, data: bytes, geometry: _Geometry) -> Iterator[JsonObject]:
    size = geometry.frame_bytes
    for start in range(0, min(len(data), size * geometry.frames) - size + 1, size):
        yield _decoded(data[start : start + size], geometry)


def _decoded(frame: bytes, geometry: _Geometry) -> JsonObject:
    lowest: float
    highest: float
    lowest, highest = _range_allowed(geometry)
    if geometry.code:
        samples = array(geometry.code, frame)
        if geometry.swapped:
            samples.byteswap()
            frame = samples.tobytes()
        lowest, highest = _range_found(samples)
    return {
        "PixelDataChecksumFromBaseToFullResolution": [
            {"Width": width, "Height": height, "Checksum": zlib.crc32(_reduced(frame, geometry, step))}
            for step, width, height in reversed(list(_resolutions(geometry)))
        ],
        "MinPixelValue": lowest,
        "MaxPixelValue": highest,
        "FrameSizeInBytes": len(frame),
    }


def _range_allowed(geometry: _Geometry) -> tuple[int, int]:
    if geometry.signed:
        return -(1 << geometry.stored - 1), (1 << geometry.stored - 1) - 1
    return 0, (1 << geometry.stored) - 1


def _range_found(samples: array[Any]) -> tuple[float, float]:
    if samples.typecode not in "fd":
        return min(samples), max(samples)
    finite = [x for x in samples if x - x == 0]  # JSON has neither NaN nor infinity
    return (min(finite), max(finite)) if finite else (0, 0)


def _resolutions(geometry: _Geometry) -> Iterator[tuple[int, int, int]]:
    """Step, width and height of each resolution, highest first. Halves are rounded up (512 x 375, 256 x 188)."""
    step, width, height = 1, geometry.width, geometry.height
    yield step, width, height
    while geometry.strided and min(-(-width // 2), -(-height // 2)) >= _SHORTEST_SIDE:
        step, width, height = step * 2, -(-width // 2), -(-height // 2)
        yield step, width, height


def _reduced(frame: bytes, geometry: _Geometry, step: int) -> bytes:
    """Every ``step``-th pixel of every ``step``-th row."""
    if step == 1:
        return frame
    planes = geometry.samples if geometry.planar else 1
    pixel = geometry.bits // 8 * (1 if geometry.planar else geometry.samples)
    row = geometry.width * pixel
    starts = ((plane * geometry.height + y) * row for plane in range(planes) for y in range(0, geometry.height, step))
    return b"".join(_every_nth(frame[start : start + row], pixel, step) for start in starts)


def _every_nth(row: bytes, pixel: int, step: int) -> bytes:
    thin = bytearray(-(-len(row) // (pixel * step)) * pixel)
    for byte in range(pixel):
        thin[byte::pixel] = row[byte :: pixel * step]
    return bytes(thin)


def _encapsulated(dataset: Dataset, data: bytes, geometry: _Geometry) -> Iterator[JsonObject]:
    from pydicom.encaps import generate_frames

    nothing: Iterator[JsonObject] = iter(())
    is_rle = dataset.file_meta.get("TransferSyntaxUID") == _RLE and geometry.frame_bytes <= _LARGEST_DECODED
    decoded = _rle_decoded(dataset, geometry) if is_rle else nothing
    try:
        for encoded in generate_frames(data, number_of_frames=geometry.frames):
            yield next(decoded, {}) or _encoded(encoded, geometry)
    except Exception:  # noqa: BLE001 - damaged fragments; the frames before them are complete
        return


def _encoded(frame: bytes, geometry: _Geometry) -> JsonObject:
    lowest, highest = _range_allowed(geometry)
    full: JsonObject = {"Width": geometry.width, "Height": geometry.height, "Checksum": zlib.crc32(frame)}
    return {
        "PixelDataChecksumFromBaseToFullResolution": [full],
        "MinPixelValue": lowest,
        "MaxPixelValue": highest,
        "FrameSizeInBytes": len(frame),
    }


def _rle_decoded(dataset: Dataset, geometry: _Geometry) -> Iterator[JsonObject]:
    """The decoded frames up to the first that pydicom cannot decode."""
    from pydicom.pixels.decoders.base import RLELosslessDecoder

    try:
        for frame, described in RLELosslessDecoder.iter_buffer(dataset, raw=True):
            planar = described.get("planar_configuration") == 1
            yield _decoded(bytes(frame), replace(geometry, planar=planar, subsampled=False))
    except Exception:  # noqa: BLE001 - pydicom has no common exception for damaged pixels
        return
