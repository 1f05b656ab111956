"""DICOM files as image sets: what the service's import makes of a folder.

How values look is in `dicom_values`, how frames are listed in `dicom_frames`; here files become documents.
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

# understanding-image-sets: instances that agree in all of these become one image set
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
_GROWTH: Final = 100  # times its bytes that a deflated file may unpack to; images grow to 2 to 10 times theirs
_UNPACKED_FLOOR: Final = 64 * 2**20  # bytes that any may unpack to


@dataclass(frozen=True, slots=True)
class ImportedImageSet:
    """One image set to be: instances of one series that agree in everything the service groups by."""

    key: tuple[str, ...]  # the values of GROUPING
    document: JsonObject  # the metadata document but for DatastoreID and ImageSetID
    files: list[Path]  # one per instance, in the document's order


@dataclass(frozen=True, slots=True)
class Imported:
    """What a folder holds."""

    image_sets: list[ImportedImageSet]
    skipped: list[tuple[Path, str]]  # with the reason; it never quotes a value
    overwritten: list[tuple[Path, Path]]  # a file, and the later one with the same SOP Instance UID that replaced it


class _UnreadableError(Exception):
    """The text is a reason for ``Imported.skipped``."""


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
    """The folder of the demo's DICOM files: the public test files that pydicom carries."""
    return resources.as_file(resources.files("pydicom").joinpath("data/test_files"))


def read_folder(folder: Path, *, within: Iterable[Path] | None = None) -> Imported:
    """Every DICOM file below the folder, in the order of their paths, as the image sets the service would make.

    Patient-, Study- and Series-level attributes are taken from the first instance of each image set. Of two files with
    one SOP Instance UID in one image set the later stays, as with the service. Two reads of a folder are equal. A link
    to a file that is below none of the folders ``within`` is skipped; None reads every file.
    """
    if not folder.is_dir():
        raise UsageError("There is no such folder.", where=str(folder), hint="Name a folder that holds DICOM files.")
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
        raise _UnreadableError("a DICOMDIR, which lists files and is no image")
    with _quiet_pydicom():
        try:
            return _instance(file, _dataset(file))
        except _UnreadableError:
            raise
        except TruncatedError:
            raise _UnreadableError("truncated: the file ends inside an element") from None
        except Exception as fault:
            # pydicom raises whatever its parts raise on damage (struct.error, KeyError, ...); the class alone is told
            raise _UnreadableError(f"damaged: reading it ended in {type(fault).__name__}") from fault


@contextmanager
def _quiet_pydicom() -> Iterator[None]:
    """Keep back what pydicom finds odd in a file, as warnings and as log lines: both quote values."""
    log = logging.getLogger("pydicom")
    before, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


class _Deflated(io.BufferedReader):
    """A file for pydicom, which reads all that is left of a deflated one at once, and unpacks it whatever comes out."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if size is None or size < 0:
            most = max(_UNPACKED_FLOOR, _GROWTH * len(data))
            with suppress(zlib.error):  # not deflated, or damaged: that is for pydicom to say
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
        raise _UnreadableError("a DICOMDIR, which lists files and is no image")
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
        # last, because asking pydicom for a value replaces the raw element it came from
        "ImageFrames": [*image_frames(dataset, uid)],
    }
    return _Instance(file, uid, levels, body)
