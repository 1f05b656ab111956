"""Reads a folder of DICOM files as metadata documents, as the service's import does.

`values` converts elements, and `frames` lists image frames.
"""

from __future__ import annotations

import io
import logging
import warnings
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

from bulkedit.dicom import dictionary as dicom
from bulkedit.dicom.dictionary import Level
from bulkedit.emulator.dicom_import.files import is_below
from bulkedit.emulator.dicom_import.frames import image_frames, stored_transfer_syntax
from bulkedit.emulator.dicom_import.values import TruncatedError, split
from bulkedit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pydicom.dataset import Dataset

    from bulkedit._json import JsonObject

# understanding-image-sets: instances with equal values of these become one image set
GROUPING: Final = (
    "StudyDate",
    "AccessionNumber",
    "PatientID",
    "StudyInstanceUID",
    "StudyID",
    "SeriesInstanceUID",
    "SeriesNumber",
)

_MEDIA_DIRECTORY: Final = "1.2.840.10008.1.3.10"
_GROWTH: Final = 100  # a deflated file may unpack to this multiple of its size; for images 2 to 10 is usual
_UNPACKED_FLOOR: Final = 64 * 2**20  # bytes; any deflated file may unpack to this size


@dataclass(frozen=True, slots=True)
class ImportedImageSet:
    """One image set to import: the instances of one series with equal values of GROUPING."""

    key: tuple[str, ...]  # the values of GROUPING
    document: JsonObject  # the metadata document without DatastoreID and ImageSetID
    files: list[Path]  # one per instance, in the document's order


@dataclass(frozen=True, slots=True)
class Imported:
    """The content of a folder."""

    image_sets: list[ImportedImageSet]
    skipped: list[tuple[Path, str]]  # the reason never quotes a value
    overwritten: list[tuple[Path, Path]]  # a file, and the later file with its SOP Instance UID that replaced it


class _UnreadableError(Exception):
    """A file cannot be imported; the text is the reason in ``Imported.skipped``."""


@dataclass(frozen=True, slots=True)
class _Instance:
    file: Path
    uid: str
    levels: dict[Level, JsonObject]
    body: JsonObject  # its entry in the document

    @property
    def key(self) -> tuple[str, ...]:
        above = {**self.levels[Level.PATIENT], **self.levels[Level.STUDY], **self.levels[Level.SERIES]}
        return tuple(str(above.get(name) or "").strip() for name in GROUPING)


def demo_files() -> AbstractContextManager[Path]:
    """The folder of the demo's DICOM files: the public test files in pydicom."""
    return resources.as_file(resources.files("pydicom").joinpath("data/test_files"))


def read_folder(folder: Path, *, within: Iterable[Path] | None = None) -> Imported:
    """Read all DICOM files below a folder, in the order of their paths, as the image sets of the service's import.

    Patient, Study and Series attributes come from the first instance of each image set. If two files of an image set
    have one SOP Instance UID, the later file replaces the earlier, as in the service. Repeated reads are equal.
    ``within``: skip links to files outside these folders; None: read all files. Raises UsageError without a folder.
    """
    if not folder.is_dir():
        raise UsageError("The folder does not exist.", where=str(folder), hint="Name a folder with DICOM files.")
    groups: dict[tuple[str, ...], dict[str, _Instance]] = {}
    skipped: list[tuple[Path, str]] = []
    overwritten: list[tuple[Path, Path]] = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if within is not None and not is_below(file, within):
            skipped.append((file, "a link to a file outside the folders that import jobs may read"))
            continue
        try:
            instance = _read_file(file)
        except _UnreadableError as reason:
            skipped.append((file, str(reason)))
            continue
        group = groups.setdefault(instance.key, {})
        if earlier := group.pop(instance.uid, None):
            overwritten.append((earlier.file, file))
        group[instance.uid] = instance
    image_sets = [_image_set(key, list(group.values())) for key, group in groups.items()]
    return Imported(image_sets, skipped, overwritten)


def _image_set(key: tuple[str, ...], instances: list[_Instance]) -> ImportedImageSet:
    levels = instances[0].levels
    series: JsonObject = {
        "DICOM": levels[Level.SERIES],
        "Instances": {instance.uid: instance.body for instance in instances},
    }
    document: JsonObject = {
        "SchemaVersion": str(dicom.SCHEMA_VERSION),
        "Patient": {"DICOM": levels[Level.PATIENT]},
        "Study": {
            "DICOM": levels[Level.STUDY],
            "Series": {str(levels[Level.SERIES]["SeriesInstanceUID"]): series},
        },
    }
    return ImportedImageSet(key, document, [instance.file for instance in instances])


def _read_file(file: Path) -> _Instance:
    if file.name.upper() == "DICOMDIR":
        raise _UnreadableError("a DICOMDIR: it lists files, but is not an image")
    with _quiet_pydicom():
        try:
            return _instance(file, _dataset(file))
        except _UnreadableError:
            raise
        except TruncatedError:
            raise _UnreadableError("truncated: the file ends inside an element") from None
        except Exception as fault:
            # damage can raise anything in pydicom; only the class is reported, as the text may quote values
            raise _UnreadableError(f"damaged: reading it failed with {type(fault).__name__}") from fault


@contextmanager
def _quiet_pydicom() -> Iterator[None]:
    """Suppress pydicom's warnings and log lines, because they quote values."""
    log = logging.getLogger("pydicom")
    before, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


class _Deflated(io.BufferedReader):
    """A file that refuses deflated data of excessive size, because pydicom unpacks it without a limit."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if size is None or size < 0:
            most = max(_UNPACKED_FLOOR, _GROWTH * len(data))
            with suppress(zlib.error):  # not deflated or damaged: pydicom reports this
                if len(zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, most + 1)) > most:
                    raise _UnreadableError(f"deflated, and unpacks to more than {_GROWTH} times its size")
        return data


def _dataset(file: Path) -> Dataset:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        with file.open("rb", buffering=0) as raw, _Deflated(raw) as stream:
            return dcmread(stream)
    except InvalidDicomError:
        raise _UnreadableError("not a DICOM file: no DICM prefix after the preamble") from None
    except OSError as fault:
        raise _UnreadableError(f"cannot be read: {type(fault).__name__}") from fault
    except EOFError:
        raise _UnreadableError("truncated: the file ends inside its header") from None


def _instance(file: Path, dataset: Dataset) -> _Instance:
    levels, vrs = split(dataset)
    own = levels[Level.INSTANCE]
    if own.get("MediaStorageSOPClassUID") == _MEDIA_DIRECTORY:
        raise _UnreadableError("a DICOMDIR: it lists files, but is not an image")
    identified = {**levels[Level.STUDY], **levels[Level.SERIES], **own}
    for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        if not identified.get(name):
            raise _UnreadableError(f"it has no {name}")
    uid = str(own["SOPInstanceUID"])
    body: JsonObject = {
        "DICOM": own,
        "DICOMVRs": {**vrs},
        "StoredTransferSyntaxUID": stored_transfer_syntax(dataset),
        "ChecksumType": "DECOMPRESSED",
        # last, because pydicom replaces a raw element once its value is read
        "ImageFrames": [*image_frames(dataset, uid)],
    }
    return _Instance(file, uid, levels, body)
