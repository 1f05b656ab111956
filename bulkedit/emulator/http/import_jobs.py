"""The work of an import job: read a local folder, hand over what it holds, write the result files.

The files are read in a thread; the world is touched on the server's loop only. The results have the names and the form
of the service's (understanding-import-jobs): below the output folder, ``<data store>-DicomImport-<job>/`` with
``job-output-manifest.json``, ``SUCCESS/success.ndjson`` and ``FAILURE/failure.ndjson``.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from bulkedit.emulator.api.importing import begin_job, complete_job, fail_job
from bulkedit.emulator.dicom_import.files import is_below, make_private_folder, replace_private
from bulkedit.emulator.state.document import Document, split

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulkedit._json import JsonObject
    from bulkedit.emulator.api.importing import Brought
    from bulkedit.emulator.http.running import Running
    from bulkedit.emulator.state.records import Job


@dataclass(frozen=True, slots=True)
class _Found:
    """What a folder held."""

    documents: list[Document]
    files: list[list[Path]]  # of each document
    skipped: list[Path]


async def run(server: Running, job: Job) -> None:
    """Carry an import job out. Never raises: a job that cannot be done ends as FAILED, in words without paths."""
    begin_job(server.world, job)
    server.catch_up()
    roots = server.settings.import_roots
    try:
        folder = folder_of(job.input_uri, roots)
        output = folder_of(job.output_uri, roots) if job.output_uri.startswith("file:") else None
        found = await asyncio.to_thread(_read, folder, roots)
        server.catch_up()
        results = complete_job(server.world, job, found.documents, now=server.now())
        server.catch_up()
        if output is not None:
            await asyncio.to_thread(_write, output, job, found, results)
    except OutsideError as error:
        _fail(server, job, str(error))
    except Exception:  # noqa: BLE001 - whatever a file does to its reader, the job has to end
        _fail(server, job, "The input could not be read or the output not written")


def _fail(server: Running, job: Job, message: str) -> None:
    if job.ended_at is None:
        fail_job(server.world, job, message, now=server.now())
        server.catch_up()


class OutsideError(Exception):
    """An import job names a folder that it may not touch."""

    def __init__(self) -> None:
        super().__init__(
            "The folder is not one that import jobs may read or write. Start the emulator with --import-root, "
            "or Settings with import_roots"
        )


def folder_of(uri: str, roots: Iterable[Path]) -> Path:
    """The local folder of a ``file://`` URI, all links followed. Raises OutsideError unless it is below a root."""
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


def _write(output: Path, job: Job, found: _Found, results: list[Brought]) -> None:
    folder = output / f"{job.datastore_id}-DicomImport-{job.id}"
    for each in (folder, folder / "SUCCESS", folder / "FAILURE"):
        make_private_folder(each)
        if each.resolve() != each:  # a link that was there already
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


def _summary(folder: Path, job: Job, found: _Found, results: list[Brought]) -> JsonObject:
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
