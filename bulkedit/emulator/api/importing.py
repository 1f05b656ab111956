"""Import jobs. The world has the job; the server reads the files and passes their documents to `complete_job`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bulkedit.emulator.api import paging, views
from bulkedit.emulator.api.failures import Invalid, NotFound, QuotaExceeded
from bulkedit.emulator.state.records import Job

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulkedit.emulator.api.request import Request
    from bulkedit.emulator.api.views import Answer
    from bulkedit.emulator.state.document import Document
    from bulkedit.emulator.state.world import World

MOST: Final = 100  # concurrent jobs (endpoints-quotas)
UNFINISHED: Final = ("SUBMITTED", "IN_PROGRESS")


def start_dicom_import_job(world: World, request: Request) -> Answer:
    """StartDICOMImportJob: submit a job that reads a local folder, a ``file://`` URI."""
    datastore = world.datastore(request.text("datastoreId"), runtime=False)
    token = f"job {datastore.id} {request.text('clientToken')}"
    if (known := world.tokens.get(token)) is None:
        _check_supported(world, request)
        job_id = known = world.new_id()
        job = Job(
            job_id,
            request.optional_text("jobName") or f"import-{job_id[:8]}",
            datastore.id,
            request.text("dataAccessRoleArn"),
            request.text("inputS3Uri"),
            request.text("outputS3Uri"),
            request.now,
            token=token,
        )
        world.add_job(job)
    job = world.jobs[known]
    return {
        "datastoreId": datastore.id,
        "jobId": job.id,
        "jobStatus": job.status,
        "submittedAt": job.submitted_at,
    }


def _check_supported(world: World, request: Request) -> None:
    if request.params.get("importConfiguration") is not None:
        raise Invalid("The emulator does not support importConfiguration.")
    if not request.text("inputS3Uri").startswith("file:///"):
        raise Invalid("The emulator imports local folders only: set inputS3Uri to file:///folder.")
    if sum(job.status in UNFINISHED for job in world.jobs.values()) >= MOST:
        raise QuotaExceeded("The limit of concurrent import jobs is reached.")


def get_dicom_import_job(world: World, request: Request) -> Answer:
    """GetDICOMImportJob."""
    datastore = world.datastore(request.text("datastoreId"), runtime=False)
    job = world.jobs.get(request.text("jobId"))
    if job is None or job.datastore_id != datastore.id:
        raise NotFound("The requested import job does not exist.")
    return {"jobProperties": views.job_properties(job)}


def list_dicom_import_jobs(world: World, request: Request) -> Answer:
    """ListDICOMImportJobs: newest first."""
    datastore = world.datastore(request.text("datastoreId"), runtime=False)
    status = request.optional_text("jobStatus")
    jobs = [j for j in reversed(world.jobs.values()) if j.datastore_id == datastore.id and status in (None, j.status)]
    page, token = paging.page_of(jobs, request, scope=f"jobs {datastore.id} {status}")
    return views.without_nulls({"jobSummaries": [views.job_summary(job) for job in page], "nextToken": token})


def begin_job(world: World, job: Job) -> None:
    """Set a job to IN_PROGRESS."""
    job.status = "IN_PROGRESS"
    world.mark_changed(job)


@dataclass(frozen=True, slots=True)
class ImportResult:
    """An image set that an import has created or updated."""

    image_set_id: str
    version: int
    primary: bool


def complete_job(world: World, job: Job, found: Iterable[Document], *, now: float) -> list[ImportResult]:
    """Import documents into the data store, and complete the job. Returns the image set of each document."""
    results = []
    image_sets = world.datastores[job.datastore_id].image_sets
    for document in found:
        image_set = image_sets[world.add_image_set(job.datastore_id, document, now=now)]
        results.append(ImportResult(image_set.id, image_set.number, image_set.primary))
    _end(world, job, "COMPLETED", None, now)
    return results


def fail_job(world: World, job: Job, message: str, *, now: float) -> None:
    """Set a job to FAILED, with a message."""
    _end(world, job, "FAILED", message, now)


def _end(world: World, job: Job, status: str, message: str | None, now: float) -> None:
    job.status, job.message, job.ended_at = status, message, now
    world.mark_changed(job)
