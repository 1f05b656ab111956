"""The emulated service in process, with time that the test moves."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

from bulkedit.emulator import DEFAULT_DATASTORE_ID, UNTHROTTLED, CompletionTime, Settings, World, profile
from bulkedit.emulator.api.actions import admit, perform
from bulkedit.emulator.api.failures import ServiceError
from bulkedit.emulator.api.model import operations
from bulkedit.emulator.api.request import Blob, Request

Json = Any  # what crosses the wire

NOW = 1_700_000_000.0
STUDY_UID = "1.2.3"


def document(
    series: str = "1", *, patient: str = "P1", instances: int = 2, study: str = STUDY_UID, **study_attributes: Json
) -> dict[str, Any]:
    """A metadata document of one series."""
    series_uid = f"{study}.{series}"
    return {
        "Patient": {"DICOM": {"PatientName": "DOE^JANE", "PatientID": patient, "OtherPatientNames": ["DOE^J"]}},
        "Study": {
            "DICOM": {
                "StudyInstanceUID": study,
                "StudyID": "S1",
                "StudyDate": "20240311",
                "AccessionNumber": "A1",
                "StudyDescription": "CHEST",
            }
            | study_attributes,
            "Series": {
                series_uid: {
                    "DICOM": {"SeriesInstanceUID": series_uid, "Modality": "CT", "SeriesNumber": f"{series} "},
                    "Instances": {
                        f"{series_uid}.{number}": instance(f"{series_uid}.{number}")
                        for number in range(1, instances + 1)
                    },
                }
            },
        },
    }


def instance(uid: str) -> dict[str, Any]:
    return {
        "DICOM": {"SOPInstanceUID": uid, "KVP": "120 ", "InstanceNumber": "1", "00091001": "GENESIS"},
        "DICOMVRs": {"00091001": "LO"},
        "ImageFrames": [],
    }


def in_study(**attributes: Json) -> dict[str, Any]:
    return {"SchemaVersion": 1.1, "Study": {"DICOM": attributes}}


def in_patient(**attributes: Json) -> dict[str, Any]:
    return {"SchemaVersion": 1.1, "Patient": {"DICOM": attributes}}


def in_series(uid: str, **attributes: Json) -> dict[str, Any]:
    return {"SchemaVersion": 1.1, "Study": {"Series": {uid: {"DICOM": attributes}}}}


def in_instance(uid: str, attributes: dict[str, Any], **siblings: Json) -> dict[str, Any]:
    """In the instance with this UID; its series UID is all but the last component."""
    inner = {"DICOM": attributes, **siblings}
    return {"SchemaVersion": 1.1, "Study": {"Series": {uid.rpartition(".")[0]: {"Instances": {uid: inner}}}}}


def without_instance(uid: str) -> dict[str, Any]:
    return {"SchemaVersion": 1.1, "Study": {"Series": {uid.rpartition(".")[0]: {"Instances": {uid: {}}}}}}


def blob(document: Json) -> str:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return base64.b64encode(text).decode()


class Service:
    """HealthImaging in process: one call a method, answers as a client gets them, a refusal as its (code, message)."""

    def __init__(self, settings: Settings) -> None:
        self.now = NOW
        self.world = World(settings)
        self.world.add_default_datastore(self.now)

    def add(self, content: dict[str, Any] | None = None, **options: Json) -> str:
        content = content or document()
        return self.world.add_image_set(DEFAULT_DATASTORE_ID, content, now=self.now, **options)

    def call(self, action: str, **params: Json) -> Json:
        """Send one request, checked against the model as the server does."""
        operation = operations()[action]
        if "{datastoreId}" in operation.segments:
            params.setdefault("datastoreId", DEFAULT_DATASTORE_ID)
        try:
            admit(self.world, action, self.now)
            operation.check(params, "")
            answer = perform(self.world, Request(action, params, self.now))
        except ServiceError as error:
            return error.code, error.message
        return json.loads(answer.content) if isinstance(answer, Blob) else answer

    def send_update(self, image_set_id: str, body: Json, version: int | None = None, **options: Json) -> Json:
        version = version or self.number(image_set_id)
        return self.call(
            "UpdateImageSetMetadata",
            imageSetId=image_set_id,
            latestVersionId=str(version),
            updateImageSetMetadataUpdates=body,
            **options,
        )

    def update(
        self,
        image_set_id: str,
        updatable: Json = None,
        removable: Json = None,
        *,
        version: int | None = None,
        **options: Json,
    ) -> Json:
        """Begin an update and answer what the service answers."""
        blobs = {"updatableAttributes": updatable, "removableAttributes": removable}
        body = {"DICOMUpdates": {name: blob(one) for name, one in blobs.items() if one is not None}}
        return self.send_update(image_set_id, body, version, **options)

    def outcome(self, image_set_id: str, *args: Json, **options: Json) -> tuple[str, str | None]:
        """Update, wait, and answer how it ended: (status, message), or the refusal."""
        answer = self.update(image_set_id, *args, **options)
        if isinstance(answer, tuple):
            return answer
        return self.ending(image_set_id)

    def ending(self, image_set_id: str) -> tuple[str, str | None]:
        self.wait()
        properties = self.properties(image_set_id)
        return properties["imageSetWorkflowStatus"], properties.get("message")

    def wait(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.world.advance(self.now)

    def properties(self, image_set_id: str, version: int | None = None) -> Json:
        params = {} if version is None else {"versionId": str(version)}
        return self.call("GetImageSet", imageSetId=image_set_id, **params)

    def number(self, image_set_id: str) -> int:
        return self.world.datastores[DEFAULT_DATASTORE_ID].image_sets[image_set_id].number

    def metadata(self, image_set_id: str, version: int | None = None) -> Json:
        params = {} if version is None else {"versionId": str(version)}
        return self.call("GetImageSetMetadata", imageSetId=image_set_id, **params)

    def versions(self, image_set_id: str) -> list[dict[str, Any]]:
        answer = self.call("ListImageSetVersions", imageSetId=image_set_id)
        listed: list[dict[str, Any]] = answer["imageSetPropertiesList"]
        return listed

    def search(self, *filters: dict[str, Any], **criteria: Json) -> list[str]:
        """The ids of all pages."""
        criteria |= {"filters": list(filters)} if filters else {}
        found: list[str] = []
        token: dict[str, str] = {}
        for _ in itertools.count():
            page = self.call("SearchImageSets", searchCriteria=criteria, **token)
            found += [item["imageSetId"] for item in page["imageSetsMetadataSummaries"]]
            if "nextToken" not in page:
                return found
            token = {"nextToken": page["nextToken"]}
        raise AssertionError


def settings(age: str = "2026", *, scale: float = UNTHROTTLED, concurrent: int = 100, **switches: Json) -> Settings:
    completion_time = CompletionTime(seconds=0.5)
    return Settings(
        profile=profile(age, **switches), scale=scale, completion_time=completion_time, concurrent=concurrent
    )
