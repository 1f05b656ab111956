"""Reads metadata documents from files: JSON, gzipped or not, up to a largest size."""

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

LARGEST: Final = 64 * 2**20  # bytes, unpacked; the service's limit is 50 MB of metadata per image set
_GZIP: Final = b"\x1f\x8b"
_SUFFIXES: Final = (".json", ".json.gz", ".gz")


def parse(data: bytes, *, largest: int = LARGEST) -> JsonObject:
    """Parse a metadata document. Raises MetadataError, whose text never quotes the document."""
    text = _unpacked(data, largest) if data.startswith(_GZIP) else data
    if len(text) > largest:
        raise _too_large(largest)
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise MetadataError("the document is nested too deeply.") from error
    except ValueError as error:  # invalid JSON or encoding
        place = getattr(error, "pos", None)
        raise MetadataError(
            "the document is not valid JSON" + ("." if place is None else f" from character {place:,}."),
            likely="The file is truncated, or compressed with something other than gzip.",
        ) from error
    if not isinstance(document, dict):
        raise MetadataError("the JSON is not the metadata document of an image set.")
    return document


def _unpacked(data: bytes, largest: int) -> bytes:
    unpacking = zlib.decompressobj(wbits=31)
    try:
        text = unpacking.decompress(data, largest + 1)
    except zlib.error as error:
        raise MetadataError("the gzip data is damaged.", hint="Download the document again.") from error
    if len(text) > largest:
        raise _too_large(largest)
    if not unpacking.eof:
        raise MetadataError("the gzip data is truncated.", hint="Download the document again.")
    return text


def _too_large(largest: int) -> MetadataError:
    return MetadataError(
        f"the document is larger than {largest // 2**20} MiB.",
        likely="It is not metadata of HealthImaging, whose limit is 50 MB.",
    )


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files among ``paths`` and in the folders among them, sorted by name. Raises MetadataError."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [one for one in path.rglob("*") if one.name.endswith(_SUFFIXES) and one.is_file()]
            if not inside:
                raise MetadataError("the folder has no metadata documents (*.json, *.json.gz).", where=str(path))
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise MetadataError("the file or folder does not exist.", where=str(path))
    return sorted(set(found))


def read_files(files: Sequence[Path]) -> Iterator[tuple[str, JsonObject]]:
    """Yield the image set id and the document of each file. Raises MetadataError, which names the file."""
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
    raise MetadataError(
        "neither the document nor the file name has an image set id.", hint="Name the file <image set id>.json."
    )
