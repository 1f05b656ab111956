"""Makes the members of API responses from the world's records."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from bulkedit.emulator.state.document import dicom_of
from bulkedit.emulator.state.image_set import ACTIVE, DELETED, LOCKED, Tier

if TYPE_CHECKING:
    from bulkedit._json import JsonObject
    from bulkedit.emulator.state.image_set import StoredImageSet
    from bulkedit.emulator.state.records import Job, StoredDatastore
    from bulkedit.emulator.state.world import World

Answer: TypeAlias = "JsonObject"  # members as the service's model names them


def without_nulls(answer: Answer) -> Answer:
    """Omit null members, as the service's responses have none."""
    return {name: value for name, value in answer.items() if value is not None}


def datastore_arn(world: World, datastore_id: str) -> str:
    """The ARN of a data store."""
    settings = world.settings
    return f"arn:aws:medical-imaging:{settings.region}:{settings.account}:datastore/{datastore_id}"


def image_set_arn(world: World, image_set: StoredImageSet) -> str:
    """The ARN of an image set."""
    return f"{datastore_arn(world, image_set.datastore_id)}/imageset/{image_set.id}"


def state_of(image_set: StoredImageSet, number: int) -> str:
    """The imageSetState of one version; only the latest can be LOCKED."""
    if number < image_set.number:
        return DELETED if image_set.deleted_at is not None else ACTIVE
    return image_set.state


def version_properties(image_set: StoredImageSet, number: int) -> Answer:
    """The members that GetImageSet and ListImageSetVersions share."""
    version = image_set.versions[number - 1]
    return {
        "imageSetId": image_set.id,
        "versionId": str(number),
        "imageSetState": state_of(image_set, number),
        "createdAt": image_set.created_at,
        "updatedAt": version.updated_at,
        "deletedAt": image_set.deleted_at,
        "message": version.message,
        "overrides": {"forced": True} if version.forced else None,
        "isPrimary": image_set.primary,
    }


def image_set_properties(world: World, image_set: StoredImageSet, number: int, now: float) -> Answer:
    """The response of GetImageSet."""
    version = image_set.versions[number - 1]
    return without_nulls(
        version_properties(image_set, number)
        | {
            "datastoreId": image_set.datastore_id,
            "imageSetWorkflowStatus": version.status,
            "updatedAt": version.updated_at or image_set.created_at,
            "imageSetArn": image_set_arn(world, image_set),
            "lastAccessedAt": image_set.accessed_at,
            "storageTier": image_set.tier(now),
        }
    )


def listed_version(image_set: StoredImageSet, number: int) -> Answer:
    """One item of ListImageSetVersions. Here ImageSetWorkflowStatus begins with a capital letter."""
    properties = version_properties(image_set, number)
    return without_nulls(properties | {"ImageSetWorkflowStatus": image_set.versions[number - 1].status})


def summary(world: World, image_set: StoredImageSet, now: float) -> Answer:
    """One item of SearchImageSets. Here the version is a number."""
    assert image_set.listing is not None  # noqa: S101 - a search finds only indexed image sets
    number = image_set.listing.number
    return {
        "imageSetId": image_set.id,
        "version": number,
        "createdAt": image_set.created_at,
        "updatedAt": image_set.versions[number - 1].updated_at or image_set.created_at,
        "lastAccessedAt": image_set.accessed_at,
        "storageTier": Tier.ARCHIVE if image_set.tier(now) == Tier.ARCHIVE else Tier.FREQUENT,
        "isPrimary": image_set.primary,
        "DICOMTags": _tags(world, image_set, number),
    }


_PATIENT_TAGS = {
    "DICOMPatientId": "PatientID",
    "DICOMPatientName": "PatientName",
    "DICOMPatientBirthDate": "PatientBirthDate",
    "DICOMPatientSex": "PatientSex",
}
_STUDY_TAGS = {
    "DICOMStudyInstanceUID": "StudyInstanceUID",
    "DICOMStudyId": "StudyID",
    "DICOMStudyDescription": "StudyDescription",
    "DICOMAccessionNumber": "AccessionNumber",
    "DICOMStudyDate": "StudyDate",
    "DICOMStudyTime": "StudyTime",
}
_SERIES_TAGS = {
    "DICOMSeriesInstanceUID": "SeriesInstanceUID",
    "DICOMSeriesModality": "Modality",
    "DICOMSeriesBodyPart": "BodyPartExamined",
}


def _tags(world: World, image_set: StoredImageSet, number: int) -> Answer:
    document = image_set.versions[number - 1].document
    first = next(iter(document.series.values()), None)
    series = dicom_of(first.part) if first else {}
    tags = {
        **_named(_PATIENT_TAGS, dicom_of(document.patient)),
        **_named(_STUDY_TAGS, dicom_of(document.study)),
        **_named(_SERIES_TAGS, series),
        "DICOMSeriesNumber": _whole(series.get("SeriesNumber")),
        **_study_counts(world, image_set),
    }
    return without_nulls(tags)


def _named(names: dict[str, str], elements: JsonObject) -> Answer:
    return {tag: value for tag, keyword in names.items() if isinstance(value := elements.get(keyword), str)}


def _whole(value: object) -> int | None:
    try:
        return int(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _study_counts(world: World, image_set: StoredImageSet) -> Answer:
    """Counts over the primary image sets of the study, or for an image set that is not primary."""
    primaries = world.primaries_of(image_set.datastore_id, image_set.keys.study_uid) if image_set.primary else []
    counted = primaries or [image_set]
    return {
        "DICOMNumberOfStudyRelatedSeries": sum(len(s.latest.document.series) for s in counted),
        "DICOMNumberOfStudyRelatedInstances": sum(s.latest.document.instance_count for s in counted),
    }


def updating(image_set: StoredImageSet) -> Answer:
    """The response of UpdateImageSetMetadata, with the new version."""
    return without_nulls(
        {
            "datastoreId": image_set.datastore_id,
            "imageSetId": image_set.id,
            "latestVersionId": str(image_set.number),
            "imageSetState": LOCKED,
            "imageSetWorkflowStatus": image_set.latest.status,
            "createdAt": image_set.created_at,
            "updatedAt": image_set.latest.updated_at,
        }
    )


def datastore_summary(world: World, datastore: StoredDatastore) -> Answer:
    """One item of ListDatastores."""
    return {
        "datastoreId": datastore.id,
        "datastoreName": datastore.name,
        "datastoreStatus": datastore.status,
        "datastoreArn": datastore_arn(world, datastore.id),
        "createdAt": datastore.created_at,
        "updatedAt": datastore.updated_at,
    }


def datastore_properties(world: World, datastore: StoredDatastore) -> Answer:
    """The properties of GetDatastore."""
    return without_nulls(
        datastore_summary(world, datastore)
        | {
            "kmsKeyArn": datastore.kms_key_arn,
            "lambdaAuthorizerArn": datastore.lambda_authorizer_arn,
            "losslessStorageFormat": datastore.lossless_storage_format,
        }
    )


def job_summary(job: Job) -> Answer:
    """One item of ListDICOMImportJobs."""
    return without_nulls(
        {
            "jobId": job.id,
            "jobName": job.name,
            "jobStatus": job.status,
            "datastoreId": job.datastore_id,
            "dataAccessRoleArn": job.role_arn,
            "endedAt": job.ended_at,
            "submittedAt": job.submitted_at,
            "message": job.message,
        }
    )


def job_properties(job: Job) -> Answer:
    """The properties of GetDICOMImportJob."""
    return job_summary(job) | {"inputS3Uri": job.input_uri, "outputS3Uri": job.output_uri}
