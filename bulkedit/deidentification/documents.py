"""Metadata documents as bytes: gzip or plain JSON, within bounds."""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING, Final

from bulkedit.client.contract import IMAGE_SET_ID
from bulkedit.errors import MetadataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bulkedit._json import JsonObject

LARGEST: Final = 64 * 2**20  # bytes, unpacked; the service holds 50 MB of metadata an image set at most
_GZIP: Final = b"\x1f\x8b"
_SUFFIXES: Final = (".json", ".json.gz", ".gz")


def parse(data: bytes, *, largest: int = LARGEST) -> JsonObject:
    """A metadata document. Raises MetadataError, whose text holds nothing of it."""
    text = _unpacked(data, largest) if data.startswith(_GZIP) else data
    if len(text) > largest:
        raise _too_large(largest)
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise MetadataError("it is nested too deep.") from error
    except ValueError as error:  # of JSON, or of the encoding
        place = getattr(error, "pos", None)
        raise MetadataError(
            "it is no JSON" + ("." if place is None else f", from character {place:,} on."),
            likely="It is cut short, or packed by something else than gzip.",
        ) from error
    if not isinstance(document, dict):
        raise MetadataError("it is no metadata document of an image set, but other JSON.")
    return document


def _unpacked(data: bytes, largest: int) -> bytes:
    unpacking = zlib.decompressobj(wbits=31)
    try:
        text = unpacking.decompress(data, largest + 1)
    except zlib.error as error:
        raise MetadataError("it is damaged gzip.", hint="Fetch it again.") from error
    if len(text) > largest:
        raise _too_large(largest)
    if not unpacking.eof:
        raise MetadataError("it is gzip that is cut short.", hint="Fetch it again.")
    return text


def _too_large(largest: int) -> MetadataError:
    return MetadataError(f"it is larger than {largest // 2**20} MiB.", likely="The service holds 50 MB at most.")


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files named, and those of the folders named, in the order of their names. Raises MetadataError."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [one for one in path.rglob("*") if one.name.endswith(_SUFFIXES) and one.is_file()]
            if not inside:
                raise MetadataError("the folder holds no metadata documents (*.json, *.json.gz).", where=str(path))
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise MetadataError("there is no such file or folder.", where=str(path))
    return sorted(set(found))


def read_files(files: Sequence[Path]) -> Iterator[tuple[str, JsonObject]]:
    """Image set ids and documents. Raises MetadataError naming the file."""
    for file in files:
        try:
            if file.stat().st_size > LARGEST:
                raise _too_large(LARGEST)
            document = parse(file.read_bytes())
            yield _id_of(document, file), document
        except OSError as error:
            raise MetadataError(
                f"the file cannot be read ({error.strerror or type(error).__name__}).", where=str(file)
            ) from error
        except MetadataError as error:
            error.where = error.where or str(file)
            raise


def _id_of(document: JsonObject, file: Path) -> str:
    for name in (document.get("ImageSetID"), file.name.split(".")[0]):
        if isinstance(name, str) and re.fullmatch(IMAGE_SET_ID, name):
            return name
    raise MetadataError("it does not say of which image set it is.", hint="Name the file <image set id>.json.")
