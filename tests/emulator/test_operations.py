"""Every operation of the service's model, as botocore speaks it: requests and answers are held to the model.

The walk below calls each operation at least once; the test after it fails for one that it leaves out.
"""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from botocore.model import ListShape, MapShape, StructureShape

from bulkedit.emulator import DEFAULT_DATASTORE_ID
from bulkedit.emulator.api.model import check_of, operations, service_model
from tests.emulator.hospital import Json, document, in_study

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from botocore.model import Shape

    from bulkedit.emulator import Emulator, ManualClock

STORE = DEFAULT_DATASTORE_ID
ROLE = "arn:aws:iam::000000000000:role/importer"


class Recorder:
    """Keeps the raw answers that a client gets."""

    def __init__(self, client: Json) -> None:
        self.answers: list[tuple[str, Json]] = []
        client.meta.events.register("before-parse.medical-imaging", self.keep)

    def keep(self, operation_model: Json, response_dict: Json, **_: Any) -> None:
        self.answers.append((operation_model.name, response_dict))


def unknown_members(value: Json, shape: Shape, path: str = "") -> list[str]:
    """What an answer holds that the model does not have."""
    if isinstance(shape, StructureShape):
        unknown = [f"{path}/{name}" for name in value.keys() - shape.members.keys()]
        known = value.keys() & shape.members.keys()
        return unknown + [x for n in known for x in unknown_members(value[n], shape.members[n], f"{path}/{n}")]
    if isinstance(shape, ListShape):
        return [x for one in value for x in unknown_members(one, shape.member, path)]
    if isinstance(shape, MapShape):
        return [x for one in value.values() for x in unknown_members(one, shape.value, path)]
    return []


def walk(client: Json, emulator: Emulator, clock: ManualClock, folder: Path) -> None:
    """Call every operation so that it has something to answer."""
    store = client.create_datastore(datastoreName="walk", tags={"a": "1"}, kmsKeyArn=KMS)["datastoreId"]
    clock.advance(1)
    client.get_datastore(datastoreId=store)
    client.list_datastores(maxResults=1, datastoreStatus="ACTIVE")
    one = emulator.add(document(), store)
    arn = client.get_image_set(datastoreId=store, imageSetId=one)["imageSetArn"]
    client.tag_resource(resourceArn=arn, tags={"b": "2"})
    client.untag_resource(resourceArn=arn, tagKeys=["b"])
    client.list_tags_for_resource(resourceArn=arn)
    client.search_image_sets(datastoreId=store)
    for updates in ({"StudyDescription": "X"}, {"PatientName": "X"}):
        latest = client.get_image_set(datastoreId=store, imageSetId=one)["versionId"]
        client.update_image_set_metadata(
            datastoreId=store,
            imageSetId=one,
            latestVersionId=latest,
            force=True,
            includeStudyImageSets=True,
            updateImageSetMetadataUpdates={"DICOMUpdates": {"updatableAttributes": json.dumps(in_study(**updates))}},
        )
        client.list_image_set_versions(datastoreId=store, imageSetId=one, maxResults=1)
        clock.advance(1)
    client.list_image_set_versions(datastoreId=store, imageSetId=one)
    client.get_image_set_metadata(datastoreId=store, imageSetId=one, versionId="1")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client.get_image_frame(datastoreId=store, imageSetId=one, imageFrameInformation={"imageFrameId": "f" * 32})
    source = {"latestVersionId": "3"}
    client.copy_image_set(
        datastoreId=store, sourceImageSetId=one, copyImageSetInformation={"sourceImageSet": source}, force=True
    )
    clock.advance(1)
    client.delete_image_set(datastoreId=store, imageSetId=one)
    clock.advance(1)
    client.get_image_set(datastoreId=store, imageSetId=one)
    walk_jobs(client, folder)
    empty = client.create_datastore(datastoreName="empty")["datastoreId"]
    clock.advance(1)
    client.delete_datastore(datastoreId=empty)


KMS = "arn:aws:kms:us-east-1:000000000000:key/01234567-89ab-cdef-0123-456789abcdef"


def walk_jobs(client: Json, folder: Path) -> None:
    job = client.start_dicom_import_job(
        datastoreId=STORE, dataAccessRoleArn=ROLE, inputS3Uri=folder.as_uri(), outputS3Uri="s3://bucket/results/"
    )["jobId"]
    client.get_dicom_import_job(datastoreId=STORE, jobId=job)
    client.list_dicom_import_jobs(datastoreId=STORE, maxResults=1)


def test_every_operation_answers_what_the_model_says(
    client_of: Callable[..., Json], emulator: Emulator, clock: ManualClock, tmp_path: Path
) -> None:
    client = client_of(emulator)
    recorder = Recorder(client)
    walk(client, emulator, clock, tmp_path)
    assert {name for name, _ in recorder.answers} == set(operations())
    for name, answer in recorder.answers:
        if answer["status_code"] == 200 and name != "GetImageSetMetadata":
            shape = service_model().operation_model(name).output_shape
            assert shape is not None
            body = json.loads(answer["body"])
            check_of(shape)(body, name)
            assert unknown_members(body, shape, name) == []


def test_every_request_is_in_the_journal(
    client_of: Callable[..., Json], emulator: Emulator, clock: ManualClock, tmp_path: Path
) -> None:
    client = client_of(emulator)
    recorder = Recorder(client)
    walk(client, emulator, clock, tmp_path)
    requests = [entry for entry in emulator.journal() if entry.kind == "request"]
    assert [(e.action, e.status) for e in requests] == [(name, a["status_code"]) for name, a in recorder.answers]


def test_metadata_comes_compressed_whatever_the_client_accepts(
    client_of: Callable[..., Json], emulator: Emulator
) -> None:
    # get-image-set-metadata; botocore asks for identity and gets gzip all the same (reference section 1.4)
    one = emulator.add(document())
    answer = client_of(emulator).get_image_set_metadata(datastoreId=STORE, imageSetId=one)
    assert (answer["contentType"], answer["contentEncoding"]) == ("application/json", "gzip")
    read = json.loads(gzip.decompress(answer["imageSetMetadataBlob"].read()))
    assert read == {"SchemaVersion": "1.1", "DatastoreID": STORE, "ImageSetID": one} | document()


def test_botocores_paginators_reach_the_end(client_of: Callable[..., Json], emulator: Emulator) -> None:
    ids = [emulator.add(document(str(number))) for number in range(5)]
    client, config = client_of(emulator), {"PageSize": 2}
    pages = client.get_paginator("search_image_sets").paginate(datastoreId=STORE, PaginationConfig=config)
    found = [item["imageSetId"] for page in pages for item in page["imageSetsMetadataSummaries"]]
    assert sorted(found) == sorted(ids)
    pages = client.get_paginator("list_datastores").paginate(PaginationConfig=config)
    assert [item["datastoreId"] for page in pages for item in page["datastoreSummaries"]] == [STORE]


def test_a_client_without_the_additions_to_the_model_understands_the_answers(emulator: Emulator) -> None:
    import boto3
    from botocore.config import Config

    one = emulator.add(document())
    session = boto3.session.Session(region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    client: Json = session.client("medical-imaging", endpoint_url=emulator, config=Config(inject_host_prefix=False))
    assert client.get_image_set(datastoreId=STORE, imageSetId=one)["imageSetState"] == "ACTIVE"
