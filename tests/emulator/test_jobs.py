"""Import jobs: a local folder of DICOM files, given as file:// (start-dicom-import-job)."""

from __future__ import annotations

import copy
import json
import os
import stat
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
import pytest
from botocore.exceptions import ClientError

from bulkedit.emulator import DEFAULT_DATASTORE_ID, Emulator, serve
from tests.emulator.hospital import Json, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STORE = DEFAULT_DATASTORE_ID
FILES = Path(pydicom.__file__).parent / "data" / "test_files"
ROLE = "arn:aws:iam::000000000000:role/importer"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a CT image, an MR image, and a file that is none."""
    folder = tmp_path / "input"
    (folder / "deeper").mkdir(parents=True)
    (folder / "ct").write_bytes((FILES / "CT_small.dcm").read_bytes())
    (folder / "deeper" / "mr.dcm").write_bytes((FILES / "MR_small.dcm").read_bytes())
    (folder / "notes.txt").write_text("no DICOM")
    return folder


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    with serve(replace(settings(), import_roots=(tmp_path,))) as running:
        yield running


def start(client: Json, source: Path, target: Path | str = "s3://bucket/out/", **more: Json) -> str:
    output = target if isinstance(target, str) else target.as_uri()
    answer = client.start_dicom_import_job(
        datastoreId=STORE, dataAccessRoleArn=ROLE, inputS3Uri=source.as_uri(), outputS3Uri=output, **more
    )
    assert answer["jobStatus"] == "SUBMITTED"
    return str(answer["jobId"])


def ended(client: Json, job_id: str) -> Json:
    while True:
        job = client.get_dicom_import_job(datastoreId=STORE, jobId=job_id)["jobProperties"]
        if job["jobStatus"] in {"COMPLETED", "FAILED"}:
            return job
        time.sleep(0.02)


def test_a_folder_becomes_image_sets(emulator: Emulator, client_of: Callable[..., Json], folder: Path) -> None:
    client = client_of(emulator)
    job = ended(client, start(client, folder, jobName="first"))
    assert (job["jobStatus"], job["jobName"], job["inputS3Uri"]) == ("COMPLETED", "first", folder.as_uri())
    items = client.search_image_sets(datastoreId=STORE)["imageSetsMetadataSummaries"]
    assert sorted(item["DICOMTags"]["DICOMSeriesModality"] for item in items) == ["CT", "MR"]
    assert all(item["isPrimary"] for item in items)


def test_the_result_files_say_what_became_of_each_file(
    emulator: Emulator, client_of: Callable[..., Json], folder: Path, tmp_path: Path
) -> None:
    client = client_of(emulator)
    job_id = start(client, folder, tmp_path / "output")
    ended(client, job_id)
    results = tmp_path / "output" / f"{STORE}-DicomImport-{job_id}"
    while not (results / "job-output-manifest.json").exists():
        time.sleep(0.02)
    lines = [json.loads(line) for line in (results / "SUCCESS" / "success.ndjson").read_text().splitlines()]
    assert sorted(Path(line["inputFile"]).name for line in lines) == ["ct", "mr.dcm"]
    for line in lines:
        answer = client.get_image_set(datastoreId=STORE, imageSetId=line["importResponse"]["imageSetId"])
        assert answer["isPrimary"] is line["importResponse"]["isPrimary"] is True
    summary = json.loads((results / "job-output-manifest.json").read_text())["jobSummary"]
    assert (summary["numberOfScannedFiles"], summary["numberOfImportedFiles"]) == (3, 2)
    assert [one["imageSetVersion"] for one in summary["imageSetsSummary"]] == [1, 1]
    failures = (results / "FAILURE" / "failure.ndjson").read_text().splitlines()
    assert [Path(json.loads(line)["inputFile"]).name for line in failures] == ["notes.txt"]


def test_only_the_owner_can_read_the_results(
    emulator: Emulator, client_of: Callable[..., Json], folder: Path, tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        output = tmp_path / "deep" / "output"
        job_id = start(client_of(emulator), folder, output)
        manifest = output / f"{STORE}-DicomImport-{job_id}" / "job-output-manifest.json"
        while not (manifest.exists() and manifest.stat().st_size):
            time.sleep(0.02)
    finally:
        os.umask(before)
    made = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "deep", *(tmp_path / "deep").rglob("*"))}
    assert {mode for path, mode in made.items() if path.is_dir()} == {0o700}
    assert [mode for path, mode in made.items() if path.is_file()] == [0o600] * 3


def test_the_same_files_again_make_new_versions(
    emulator: Emulator, client_of: Callable[..., Json], folder: Path
) -> None:
    client = client_of(emulator)
    for _ in range(2):
        assert ended(client, start(client, folder))["jobStatus"] == "COMPLETED"
    items = client.search_image_sets(datastoreId=STORE)["imageSetsMetadataSummaries"]
    assert [item["version"] for item in items] == [2, 2]


def test_jobs_are_listed_newest_first_and_by_status(
    emulator: Emulator, client_of: Callable[..., Json], folder: Path
) -> None:
    client = client_of(emulator)
    ids = [start(client, folder) for _ in range(3)]
    for job_id in ids:
        ended(client, job_id)
    listed = client.get_paginator("list_dicom_import_jobs").paginate(
        datastoreId=STORE, jobStatus="COMPLETED", PaginationConfig={"PageSize": 2}
    )
    assert [job["jobId"] for page in listed for job in page["jobSummaries"]] == ids[::-1]


def test_the_same_client_token_is_the_same_job(
    emulator: Emulator, client_of: Callable[..., Json], folder: Path
) -> None:
    client = client_of(emulator)
    first = start(client, folder, clientToken="t")
    ended(client, first)
    again = client.start_dicom_import_job(
        datastoreId=STORE,
        dataAccessRoleArn=ROLE,
        clientToken="t",
        inputS3Uri=folder.as_uri(),
        outputS3Uri="s3://bucket/out/",
    )
    assert (again["jobId"], again["jobStatus"]) == (first, "COMPLETED")


@pytest.mark.parametrize("where", ["missing", "../elsewhere", "%2e%2e/elsewhere"])
def test_a_folder_that_cannot_be_read_fails_the_job_in_words_without_paths(
    emulator: Emulator, client_of: Callable[..., Json], tmp_path: Path, where: str
) -> None:
    client = client_of(emulator)
    job_id = client.start_dicom_import_job(
        datastoreId=STORE,
        dataAccessRoleArn=ROLE,
        inputS3Uri=f"{tmp_path.as_uri()}/{where}",
        outputS3Uri="s3://bucket/out/",
    )["jobId"]
    job = ended(client, job_id)
    assert job["jobStatus"] == "FAILED"
    assert str(tmp_path) not in job["message"]


def test_jobs_stay_below_their_roots(client_of: Callable[..., Json], folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    for roots, status in [((), "FAILED"), ((elsewhere,), "FAILED"), ((elsewhere, folder), "COMPLETED")]:
        with serve(replace(settings(), import_roots=roots)) as emulator:
            job = ended(client_of(emulator), start(client_of(emulator), folder))
            assert job["jobStatus"] == status
            assert status == "COMPLETED" or "--import-root" in job["message"]


def test_results_are_written_below_the_roots_only_and_nothing_is_imported_otherwise(
    client_of: Callable[..., Json], folder: Path, tmp_path: Path
) -> None:
    with serve(replace(settings(), import_roots=(folder,))) as emulator:
        client = client_of(emulator)
        job = ended(client, start(client, folder, tmp_path / "output"))
        assert (job["jobStatus"], "--import-root" in job["message"]) == ("FAILED", True)
        assert client.search_image_sets(datastoreId=STORE)["imageSetsMetadataSummaries"] == []
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("link", ["file", "folder", "input"])
def test_links_out_of_the_roots_are_not_followed(
    client_of: Callable[..., Json], folder: Path, tmp_path: Path, link: str
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    target, source = {"file": (folder / "ct", root), "folder": (folder, root), "input": (folder, root / "link")}[link]
    (root / "link").symlink_to(target)
    with serve(replace(settings(), import_roots=(root,))) as emulator:
        client = client_of(emulator)
        ended(client, start(client, source))
        assert client.search_image_sets(datastoreId=STORE)["imageSetsMetadataSummaries"] == []


def test_a_link_within_the_roots_is_followed(client_of: Callable[..., Json], folder: Path) -> None:
    (folder / "ct").rename(folder / "deeper" / "ct")
    (folder / "link").symlink_to(folder / "deeper" / "ct")
    with serve(replace(settings(), import_roots=(folder,))) as emulator:
        client = client_of(emulator)
        ended(client, start(client, folder))
        assert len(client.search_image_sets(datastoreId=STORE)["imageSetsMetadataSummaries"]) == 2


@pytest.mark.parametrize("place", ["", "SUCCESS", "SUCCESS/success.ndjson"])
def test_results_are_not_written_through_a_link(
    emulator: Emulator, client_of: Callable[..., Json], folder: Path, tmp_path: Path, place: str
) -> None:
    """The id of a job can be foreseen, so a link may wait where its results are to be."""
    output, victim = tmp_path / "output", tmp_path / "victim"
    job_id = emulator.do(lambda world: copy.deepcopy(world).new_id())
    link = output / f"{STORE}-DicomImport-{job_id}" / place
    link.parent.mkdir(parents=True)
    if place.endswith(".ndjson"):
        victim.write_text("kept")
    else:
        victim.mkdir()
    link.symlink_to(victim)
    client = client_of(emulator)
    assert start(client, folder, output) == job_id
    while emulator.server._tasks:
        time.sleep(0.02)
    assert ended(client, job_id)["jobStatus"] == "COMPLETED"
    assert victim.read_text() == "kept" if victim.is_file() else list(victim.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"inputS3Uri": "s3://bucket/in/"},
        {"inputS3Uri": "http://x/"},
        {"dataAccessRoleArn": "myself and nobody else"},
        {"jobName": "a b"},
        {
            "importConfiguration": {
                "dicomJsonMetadataImportConfiguration": {
                    "dicomMetadataMappings": [{"studyInstanceUID": "1.2", "metadataFilePath": "x.json"}]
                }
            }
        },
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_it_cannot_do_it_says(
    emulator: Emulator, client_of: Callable[..., Json], folder: Path, change: Json
) -> None:
    good = {"dataAccessRoleArn": ROLE, "inputS3Uri": folder.as_uri(), "outputS3Uri": "s3://bucket/out/"}
    with pytest.raises(ClientError, match="ValidationException"):
        client_of(emulator).start_dicom_import_job(datastoreId=STORE, **good | change)


def test_a_job_that_a_kill_interrupted_is_done_after_the_restart(
    client_of: Callable[..., Json], folder: Path, tmp_path: Path
) -> None:
    kept = replace(settings(), import_roots=(tmp_path,), state=tmp_path / "state")
    with serve(kept) as emulator:
        job_id = start(client_of(emulator), folder)
        emulator.do(lambda world: world.jobs.__setitem__(job_id, replace_status(world.jobs[job_id])))
        emulator.do(lambda world: world.mark_changed(world.jobs[job_id]))
    with serve(kept) as emulator:
        assert ended(client_of(emulator), job_id)["jobStatus"] == "COMPLETED"


def replace_status(job: Json) -> Json:
    return replace(job, status="IN_PROGRESS", ended_at=None)
