"""Runs an import job: reads a local folder, imports its documents, writes the result files.

Files are read in a thread; only the server's loop changes the world. The result files have the names and form of the
service's (understanding-import-jobs). They are ``job-output-manifest.json``, ``SUCCESS/success.ndjson`` and
``FAILURE/failure.ndjson`` in ``<data store>-DicomImport-<job>/``, below the output folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from bulkedit._concurrency import run_blocking
from bulkedit.emulator.api.importing import begin_job, complete_job, fail_job
from bulkedit.emulator.dicom_import.files import is_below, make_private_folder, replace_private
from bulkedit.emulator.state.document import Document, split

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulkedit._json import JsonObject
    from bulkedit.emulator.api.importing import ImportResult
    from bulkedit.emulator.http.running import Running
    from bulkedit.emulator.state.records import Job


@dataclass(frozen=True, slots=True)
class _Found:
    """The content of an input folder."""

    documents: list[Document]
    files: list[list[Path]]  # of each document
    skipped: list[Path]


async def run(server: Running, job: Job) -> None:
    """Run an import job. Never raises: if the job fails, its status is FAILED, and its message has no paths."""
    begin_job(server.world, job)
    server.catch_up()
    roots = server.settings.import_roots
    try:
        folder = folder_of(job.input_uri, roots)
        output = folder_of(job.output_uri, roots) if job.output_uri.startswith("file:") else None
        found = await run_blocking(_read, folder, roots)
        server.catch_up()
        results = complete_job(server.world, job, found.documents, now=server.now())
        server.catch_up()
        if output is not None:
            await run_blocking(_write, output, job, found, results)
    except OutsideError as error:
        _fail(server, job, str(error))
    except Exception:  # noqa: BLE001 - a damaged file may raise anything, and the job must end
        _fail(server, job, "The input could not be read, or the output could not be written")


def _fail(server: Running, job: Job, message: str) -> None:
    if job.ended_at is None:
        fail_job(server.world, job, message, now=server.now())
        server.catch_up()


class OutsideError(Exception):
    """An import job names a folder outside the allowed ones."""

    def __init__(self) -> None:
        super().__init__(
            "Import jobs may not read or write this folder. To allow it, start the emulator with --import-root, "
            "or with import_roots in Settings"
        )


def folder_of(uri: str, roots: Iterable[Path]) -> Path:
    """The local folder of a ``file://`` URI, with all links followed. Raises OutsideError if it is not below a root."""
    parts = urlsplit(uri)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc or "\0" in path:
        raise OutsideError
    folder = Path(path).resolve()
    if not is_below(folder, roots):
        raise OutsideError
    return folder


def _read(folder: Path, roots: Iterable[Path]) -> _Found:
    from bulkedit.emulator.dicom_import.importer import read_folder

    imported = read_folder(folder, within=roots)
    return _Found(
        [split(image_set.document) for image_set in imported.image_sets],
        [list(image_set.files) for image_set in imported.image_sets],
        [path for path, _ in imported.skipped],
    )


def _write(output: Path, job: Job, found: _Found, results: list[ImportResult]) -> None:
    folder = output / f"{job.datastore_id}-DicomImport-{job.id}"
    for each in (folder, folder / "SUCCESS", folder / "FAILURE"):
        make_private_folder(each)
        if each.resolve() != each:  # an existing link
            raise OutsideError
    successes: list[JsonObject] = [
        {"inputFile": str(path), "importResponse": {"imageSetId": one.image_set_id, "isPrimary": one.primary}}
        for files, one in zip(found.files, results, strict=True)
        for path in files
    ]
    exception: JsonObject = {"exceptionType": "ValidationException", "message": "DICOM import failed"}
    failures: list[JsonObject] = [{"inputFile": str(path), "exception": exception} for path in found.skipped]
    _write_lines(folder / "SUCCESS" / "success.ndjson", successes)
    _write_lines(folder / "FAILURE" / "failure.ndjson", failures)
    summary = _summary(folder, job, found, results)
    replace_private(folder / "job-output-manifest.json", json.dumps({"jobSummary": summary}, indent=2) + "\n")


def _summary(folder: Path, job: Job, found: _Found, results: list[ImportResult]) -> JsonObject:
    imported = sum(map(len, found.files))
    return {
        "jobId": job.id,
        "datastoreId": job.datastore_id,
        "inputS3Uri": job.input_uri,
        "outputS3Uri": f"{folder.as_uri()}/",
        "successOutputS3Uri": f"{folder.as_uri()}/SUCCESS/",
        "failureOutputS3Uri": f"{folder.as_uri()}/FAILURE/",
        "numberOfScannedFiles": imported + len(found.skipped),
        "numberOfImportedFiles": imported,
        "numberOfFilesWithCustomerError": len(found.skipped),
        "numberOfFilesWithServerError": 0,
        "numberOfGeneratedImageSets": len({one.image_set_id for one in results}),
        "imageSetsSummary": [
            {
                "imageSetId": one.image_set_id,
                "imageSetVersion": one.version,
                "isPrimary": one.primary,
                "numberOfMatchedSOPInstances": len(files),
            }
            for files, one in zip(found.files, results, strict=True)
        ],
    }


def _write_lines(path: Path, lines: list[JsonObject]) -> None:
    replace_private(path, "".join(json.dumps(line) + "\n" for line in lines))
