"""The documented use cases, by boto3: a wrapper with one method for each, as in the AWS documentation, and their run.

What each client runs and prints is said in ../test_conformance.py.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SERIES, FIRST, SECOND = os.environ["SERIES_UID"], os.environ["FIRST_UID"], os.environ["SECOND_UID"]
FORCED_REMOVAL = os.environ["FORCED_REMOVAL"] == "true"

Json = Any
Client = Any  # boto3 makes its clients at run time

# the service's own documents begin with it
SCHEMA_VERSION = 1.1


class HealthImaging:
    """AWS HealthImaging, as the examples of the documentation use it."""

    def __init__(self, client: Client) -> None:
        self.client = client

    # -- data stores

    def create_datastore(self, name: str) -> str:
        return str(self.client.create_datastore(datastoreName=name)["datastoreId"])

    def get_datastore_properties(self, datastore_id: str) -> dict[str, Any]:
        return dict(self.client.get_datastore(datastoreId=datastore_id)["datastoreProperties"])

    def list_datastores(self) -> list[dict[str, Any]]:
        pages = self.client.get_paginator("list_datastores").paginate()
        return [dict(summary) for page in pages for summary in page["datastoreSummaries"]]

    def delete_datastore(self, datastore_id: str) -> None:
        self.client.delete_datastore(datastoreId=datastore_id)

    # -- import jobs

    def start_dicom_import_job(
        self, job_name: str, datastore_id: str, role_arn: str, input_s3_uri: str, output_s3_uri: str
    ) -> str:
        job = self.client.start_dicom_import_job(
            jobName=job_name,
            datastoreId=datastore_id,
            dataAccessRoleArn=role_arn,
            inputS3Uri=input_s3_uri,
            outputS3Uri=output_s3_uri,
        )
        return str(job["jobId"])

    def get_dicom_import_job(self, datastore_id: str, job_id: str) -> dict[str, Any]:
        return dict(self.client.get_dicom_import_job(datastoreId=datastore_id, jobId=job_id)["jobProperties"])

    def list_dicom_import_jobs(self, datastore_id: str) -> list[dict[str, Any]]:
        pages = self.client.get_paginator("list_dicom_import_jobs").paginate(datastoreId=datastore_id)
        return [dict(summary) for page in pages for summary in page["jobSummaries"]]

    # -- image sets

    def search_image_sets(
        self, datastore_id: str, filters: Sequence[dict[str, Any]], sort: dict[str, str] | None = None
    ) -> list[dict[str, Any]]:
        criteria: dict[str, Any] = {"filters": filters} | ({"sort": sort} if sort else {})
        paginator = self.client.get_paginator("search_image_sets")
        pages = paginator.paginate(datastoreId=datastore_id, searchCriteria=criteria)
        return [dict(summary) for page in pages for summary in page["imageSetsMetadataSummaries"]]

    def get_image_set(self, datastore_id: str, image_set_id: str, version_id: str | None = None) -> dict[str, Any]:
        wanted = {"versionId": version_id} if version_id else {}
        return dict(self.client.get_image_set(datastoreId=datastore_id, imageSetId=image_set_id, **wanted))

    def get_image_set_metadata(
        self, file: Path, datastore_id: str, image_set_id: str, version_id: str | None = None
    ) -> dict[str, Any]:
        """Save the metadata as it comes, gzipped, and read it back."""
        wanted = {"versionId": version_id} if version_id else {}
        answer = self.client.get_image_set_metadata(datastoreId=datastore_id, imageSetId=image_set_id, **wanted)
        with file.open("wb") as out:
            for chunk in answer["imageSetMetadataBlob"].iter_chunks():
                out.write(chunk)
        with gzip.open(file, "rb") as document:
            found: dict[str, Any] = json.load(document)
        return found

    def list_image_set_versions(self, datastore_id: str, image_set_id: str) -> list[dict[str, Any]]:
        paginator = self.client.get_paginator("list_image_set_versions")
        pages = paginator.paginate(datastoreId=datastore_id, imageSetId=image_set_id)
        return [dict(version) for page in pages for version in page["imageSetPropertiesList"]]

    def update_image_set_metadata(
        self, datastore_id: str, image_set_id: str, version_id: str, updates: dict[str, Any], *, force: bool = False
    ) -> dict[str, Any]:
        answer = self.client.update_image_set_metadata(
            datastoreId=datastore_id,
            imageSetId=image_set_id,
            latestVersionId=version_id,
            updateImageSetMetadataUpdates=updates,
            force=force,
        )
        return dict(answer)

    def copy_image_set(
        self,
        datastore_id: str,
        image_set_id: str,
        version_id: str,
        *,
        destination_image_set_id: str | None = None,
        destination_version_id: str | None = None,
        force: bool = False,
        promote: bool = False,
        subset: Sequence[tuple[str, str]] = (),
    ) -> str:
        """Copy an image set, or the instances of ``subset`` (series, instance) alone. Answers the copy's id."""
        information: dict[str, Any] = {"sourceImageSet": {"latestVersionId": version_id}}
        if destination_image_set_id:
            information["destinationImageSet"] = {
                "imageSetId": destination_image_set_id,
                "latestVersionId": destination_version_id,
            }
        if subset:
            series: dict[str, Any] = {}
            for series_uid, sop_uid in subset:
                series.setdefault(series_uid, {"Instances": {}})["Instances"][sop_uid] = {}
            copiable = {"SchemaVersion": "1.1", "Study": {"Series": series}}
            information["sourceImageSet"]["DICOMCopies"] = {"copiableAttributes": json.dumps(copiable)}
        answer = self.client.copy_image_set(
            datastoreId=datastore_id,
            sourceImageSetId=image_set_id,
            copyImageSetInformation=information,
            force=force,
            promoteToPrimary=promote,
        )
        return str(answer["destinationImageSetProperties"]["imageSetId"])

    def delete_image_set(self, datastore_id: str, image_set_id: str) -> dict[str, Any]:
        return dict(self.client.delete_image_set(datastoreId=datastore_id, imageSetId=image_set_id))

    # -- tags

    def tag_resource(self, resource_arn: str, tags: dict[str, str]) -> None:
        self.client.tag_resource(resourceArn=resource_arn, tags=tags)

    def untag_resource(self, resource_arn: str, tag_keys: list[str]) -> None:
        self.client.untag_resource(resourceArn=resource_arn, tagKeys=tag_keys)

    def list_tags_for_resource(self, resource_arn: str) -> dict[str, str]:
        return dict(self.client.list_tags_for_resource(resourceArn=resource_arn)["tags"])


def updatable(**levels: Json) -> dict[str, Any]:
    """The update that inserts or overwrites attributes."""
    return {"DICOMUpdates": {"updatableAttributes": json.dumps({"SchemaVersion": SCHEMA_VERSION, **levels}).encode()}}


def removable(**levels: Json) -> dict[str, Any]:
    """The update that removes attributes or instances."""
    return {"DICOMUpdates": {"removableAttributes": json.dumps({"SchemaVersion": SCHEMA_VERSION, **levels}).encode()}}


client = boto3.client("medical-imaging", endpoint_url=os.environ["ENDPOINT"], config=Config(inject_host_prefix=False))
wrapper = HealthImaging(client)


def say(name: str, *values: object) -> None:
    print(f"{name}={' '.join(map(str, values))}", flush=True)


def until(look: Callable[[], Any], over: Callable[[Any], bool]) -> Json:
    """The service has no waiters: look until it is over."""
    for _ in range(600):
        if over(found := look()):
            return found
        time.sleep(0.05)
    sys.exit("waited in vain")


def completed(datastore_id: str, image_set_id: str) -> dict[str, Any]:
    found: dict[str, Any] = until(
        lambda: wrapper.get_image_set(datastore_id, image_set_id), lambda found: found["imageSetState"] != "LOCKED"
    )
    return found


def data_stores() -> str:
    datastore_id = wrapper.create_datastore("conformance")
    active = until(
        lambda: wrapper.get_datastore_properties(datastore_id), lambda found: found["datastoreStatus"] != "CREATING"
    )
    say("datastore", active["datastoreStatus"])
    say("listed", *(x["datastoreName"] for x in wrapper.list_datastores() if x["datastoreId"] == datastore_id))
    return datastore_id


def import_job(datastore_id: str) -> None:
    job_id = wrapper.start_dicom_import_job(
        "conformance", datastore_id, os.environ["ROLE_ARN"], os.environ["INPUT_URI"], os.environ["OUTPUT_URI"]
    )
    ended = until(
        lambda: wrapper.get_dicom_import_job(datastore_id, job_id),
        lambda found: found["jobStatus"] in {"COMPLETED", "FAILED"},
    )
    say("job", ended["jobStatus"])
    say("jobs", len(wrapper.list_dicom_import_jobs(datastore_id)))


def searches(datastore_id: str) -> str:
    patient = wrapper.search_image_sets(
        datastore_id, [{"operator": "EQUAL", "values": [{"DICOMPatientId": os.environ["PATIENT_ID"]}]}]
    )
    say("search.patient", len(patient))
    study = wrapper.search_image_sets(
        datastore_id,
        [
            {
                "operator": "BETWEEN",
                "values": [
                    {"DICOMStudyDateAndTime": {"DICOMStudyDate": "19900101", "DICOMStudyTime": "000000"}},
                    {"DICOMStudyDateAndTime": {"DICOMStudyDate": "20230101", "DICOMStudyTime": "000000"}},
                ],
            }
        ],
    )
    say("search.study", len(study))
    lower, upper = datetime(2021, 8, 4, tzinfo=UTC), datetime.now(UTC) + timedelta(days=1)
    created = wrapper.search_image_sets(
        datastore_id, [{"operator": "BETWEEN", "values": [{"createdAt": lower}, {"createdAt": upper}]}]
    )
    say("search.created", len(created))
    series = wrapper.search_image_sets(
        datastore_id,
        [
            {"operator": "BETWEEN", "values": [{"updatedAt": lower}, {"updatedAt": upper}]},
            {"operator": "EQUAL", "values": [{"DICOMSeriesInstanceUID": SERIES}]},
        ],
        {"sortOrder": "ASC", "sortField": "updatedAt"},
    )
    say("search.series", len(series))
    found: str = series[0]["imageSetId"]
    return found


def look(datastore_id: str, image_set_id: str, folder: Path) -> None:
    found = wrapper.get_image_set(datastore_id, image_set_id)
    say("primary", found["imageSetState"], found["imageSetWorkflowStatus"], found["versionId"])
    metadata = wrapper.get_image_set_metadata(folder / "metadata.json.gz", datastore_id, image_set_id)
    say("metadata", metadata["Patient"]["DICOM"]["PatientName"])


def updates(datastore_id: str, image_set_id: str, folder: Path) -> None:
    def update(name: str, version: int, change: Json, *, force: bool = False) -> None:
        answer = wrapper.update_image_set_metadata(datastore_id, image_set_id, str(version), change, force=force)
        after = completed(datastore_id, image_set_id)
        say(name, answer["imageSetWorkflowStatus"], answer["latestVersionId"], after["imageSetWorkflowStatus"])

    def instance(content: dict[str, Any], uid: str = FIRST) -> dict[str, Any]:
        return {"Series": {SERIES: {"Instances": {uid: content}}}}

    update("update-attribute", 1, updatable(Patient={"DICOM": {"PatientName": "MX^MX"}}))
    update("remove-attribute", 2, removable(Study={"DICOM": {"StudyDescription": "CHEST"}}))
    update("remove-instance", 3, removable(Study=instance({}, SECOND)), force=FORCED_REMOVAL)
    update("revert", 4, {"revertToVersionId": "1"})
    new = {"DICOM": {"001910F9": "97"}, "DICOMVRs": {"001910F9": "DS"}}
    update("add-private", 5, updatable(Study=instance(new)), force=True)
    update("update-private", 6, updatable(Study=instance({"DICOM": {"00091001": "GE_GENESIS_DD"}})), force=True)
    changed = {"DICOM": {"SOPInstanceUID": os.environ["NEW_UID"]}}
    update("change-uid", 7, updatable(Study=instance(changed)), force=True)
    older = wrapper.get_image_set_metadata(folder / "2.json.gz", datastore_id, image_set_id, "2")
    say("metadata.2", older["Patient"]["DICOM"]["PatientName"])
    say("versions", *(x["versionId"] for x in wrapper.list_image_set_versions(datastore_id, image_set_id)))
    try:
        wrapper.update_image_set_metadata(datastore_id, image_set_id, "1", {"revertToVersionId": "1"})
    except ClientError as error:
        say("stale", error.response["Error"]["Code"])


def copies(datastore_id: str, source: str) -> tuple[str, str]:
    def copied(name: str, image_set_id: str) -> str:
        completed(datastore_id, source)
        after = completed(datastore_id, image_set_id)
        say(name, after["imageSetWorkflowStatus"], after["versionId"])
        return image_set_id

    def into(image_set_id: str, version: str, *, force: bool = False) -> str:
        return wrapper.copy_image_set(
            datastore_id,
            source,
            "1",
            destination_image_set_id=image_set_id,
            destination_version_id=version,
            force=force,
            subset=[(SERIES, SECOND)],
        )

    part = copied("copy-subset", wrapper.copy_image_set(datastore_id, source, "1", subset=[(SERIES, FIRST)]))
    copied("copy-destination", into(part, "1"))
    other = copied("copy-again", wrapper.copy_image_set(datastore_id, source, "1", subset=[(SERIES, FIRST)]))
    wrapper.update_image_set_metadata(datastore_id, other, "1", updatable(Patient={"DICOM": {"PatientID": "OTHER"}}))
    completed(datastore_id, other)
    copied("copy-inconsistent", into(other, "2"))
    copied("copy-forced", into(other, "3", force=True))
    return part, other


def tags(datastore_id: str, image_set_id: str) -> None:
    for arn in (
        wrapper.get_datastore_properties(datastore_id)["datastoreArn"],
        wrapper.get_image_set(datastore_id, image_set_id)["imageSetArn"],
    ):
        wrapper.tag_resource(arn, {"Deployment": "Development"})
        say("tagged", wrapper.list_tags_for_resource(arn)["Deployment"])
        wrapper.untag_resource(arn, ["Deployment"])
        say("untagged", len(wrapper.list_tags_for_resource(arn)))


def deletion(datastore_id: str, primary: str, part: str) -> str:
    say("delete", wrapper.delete_image_set(datastore_id, primary)["imageSetWorkflowStatus"])
    say("deleted", completed(datastore_id, primary)["imageSetWorkflowStatus"])
    promoted = wrapper.copy_image_set(datastore_id, part, "2", promote=True)
    completed(datastore_id, part)
    say("promoted", str(completed(datastore_id, promoted)["isPrimary"]).lower())
    return promoted


def spare_data_store() -> None:
    spare = wrapper.create_datastore("spare")
    until(lambda: wrapper.get_datastore_properties(spare), lambda found: found["datastoreStatus"] != "CREATING")
    wrapper.delete_datastore(spare)
    gone = until(lambda: wrapper.get_datastore_properties(spare), lambda found: found["datastoreStatus"] != "DELETING")
    say("spare", gone["datastoreStatus"])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        datastore_id = data_stores()
        import_job(datastore_id)
        primary = searches(datastore_id)
        look(datastore_id, primary, Path(folder))
        copy = wrapper.copy_image_set(datastore_id, primary, "1")
        completed(datastore_id, primary)
        after = completed(datastore_id, copy)
        say("copy", after["imageSetWorkflowStatus"], after["versionId"])
        updates(datastore_id, copy, Path(folder))
        part, other = copies(datastore_id, primary)
        tags(datastore_id, copy)
        promoted = deletion(datastore_id, primary, part)
        spare_data_store()
        say("ids", datastore_id, primary, copy, part, other, promoted)


main()
