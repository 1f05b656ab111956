"""CopyImageSet: to a new image set, into an existing one, or to a new primary one (copy-image-set)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NotRequired, TypedDict, cast

from bulkedit.emulator.api import views
from bulkedit.emulator.api.failures import Broken, Invalid, QuotaExceeded
from bulkedit.emulator.state import copies as made
from bulkedit.emulator.state.document import conflicting, keys_of
from bulkedit.emulator.state.image_set import Pending, StoredImageSet, Version

if TYPE_CHECKING:
    from bulkedit.emulator.api.request import Request
    from bulkedit.emulator.api.views import Answer
    from bulkedit.emulator.state.document import Document
    from bulkedit.emulator.state.world import World

ACTION: Final = "CopyImageSet"
LARGEST_COPY: Final = 1_000  # image frames (endpoints-quotas)
SERVICE_FAULT: Final = "INTERNAL_ERROR: The copy could not be completed"


class _Copies(TypedDict):
    copiableAttributes: str


class _Source(TypedDict):
    latestVersionId: str
    DICOMCopies: NotRequired[_Copies]


class _Target(TypedDict):
    imageSetId: str
    latestVersionId: str


class _Information(TypedDict):
    """Shape CopyImageSetInformation of the service's model."""

    sourceImageSet: _Source
    destinationImageSet: NotRequired[_Target]


def copy_image_set(world: World, request: Request) -> Answer:
    """CopyImageSet: check, lock source and destination, and enter how it will end."""
    information = _information(request)
    wanted = _wanted(information["sourceImageSet"].get("DICOMCopies"))
    datastore = world.datastore(request.text("datastoreId"))
    version = information["sourceImageSet"]["latestVersionId"]
    source = world.writable(datastore.id, request.text("sourceImageSetId"), version)
    destination = _destination(world, request, source)
    world.check_room(datastore, ACTION)
    ending = _outcome(world, request, source, destination, wanted)
    if request.doom and request.doom.fails:
        ending = SERVICE_FAULT
    return _begin(world, request, source, destination, ending)


def _information(request: Request) -> _Information:
    return cast("_Information", request.params["copyImageSetInformation"])  # the model has checked it


def _wanted(copies: _Copies | None) -> made.Wanted | None:
    """Which instances to copy; None is all."""
    if copies is None:
        return None
    try:
        subset = json.loads(copies["copiableAttributes"])
        series = subset["Study"]["Series"]
        wanted = {uid: set(one.get("Instances", {})) for uid, one in series.items()}
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise Invalid("copiableAttributes is not a JSON document of series and instances") from None
    if subset.get("SchemaVersion") not in ("1.1", 1.1) or not wanted:
        raise Invalid("copiableAttributes must have SchemaVersion 1.1 and name the instances of a series")
    return wanted


def _destination(world: World, request: Request, source: StoredImageSet) -> StoredImageSet | None:
    given = _information(request).get("destinationImageSet")
    if given is None:
        return None
    if request.flag("promoteToPrimary"):
        raise Invalid("promoteToPrimary makes a new image set and takes no destinationImageSet")
    if given["imageSetId"] == source.id:
        raise Invalid("Source and destination must be different image sets")
    return world.writable(source.datastore_id, given["imageSetId"], given["latestVersionId"])


def _outcome(
    world: World,
    request: Request,
    source: StoredImageSet,
    destination: StoredImageSet | None,
    wanted: made.Wanted | None,
) -> Document | str:
    """The destination's content after the copy, or the message with which it will fail."""
    try:
        document = made.chosen(source.latest.document, wanted)
        if made.frame_count(document) > LARGEST_COPY:
            raise QuotaExceeded(f"CopyImageSet copies at most {LARGEST_COPY} image frames.")
        if destination is not None:
            return made.joined(destination.latest.document, document, force=request.flag("force"))
        if request.flag("promoteToPrimary"):
            _check_promotion(world, source, document)
    except Broken as broken:
        if world.profile.constraints == "sync":
            raise Invalid(broken.message) from None
        return broken.message
    return document


def _check_promotion(world: World, source: StoredImageSet, document: Document) -> None:
    """What becomes primary must agree with the study's primary image sets, and not be there already."""
    keys = keys_of(document)
    for primary in world.primaries_of(source.datastore_id, keys.study_uid):
        if conflicting(primary.keys, keys) or made.overlapping(primary.latest.document, document):
            raise Broken("INVALID_REQUEST: A primary image set of the study conflicts with the copy")


def _begin(
    world: World, request: Request, source: StoredImageSet, destination: StoredImageSet | None, ending: Document | str
) -> Answer:
    """Lock both. The source stays readable and goes back to the status it had; the destination gets a version."""
    document, message = (None, ending) if isinstance(ending, str) else (ending, None)
    due = world.completion_time(source.latest.document.size, request.now, request.doom)
    if destination is None:
        destination = _new_image_set(world, request, source, document)
    else:
        kept = destination.latest.document
        destination.versions.append(Version("COPYING", document or kept, request.now, forced=request.flag("force")))
    before, source.latest.status = source.latest.status, "COPYING_WITH_READ_ONLY_ACCESS"
    kept_message = source.latest.message
    aside = Pending(ACTION, due, before, kept_message, makes_version=False, counted=False)
    made_or_failed = Pending(ACTION, due, "COPIED" if document else "COPY_FAILED", message)
    for image_set, pending in ((source, aside), (destination, made_or_failed)):
        image_set.touch(request.now)
        world.begin(image_set, pending, now=request.now)
    return {
        "datastoreId": source.datastore_id,
        "sourceImageSetProperties": _properties(world, source),
        "destinationImageSetProperties": _properties(world, destination),
    }


def _new_image_set(world: World, request: Request, source: StoredImageSet, document: Document | None) -> StoredImageSet:
    content = document or made.NOTHING
    version = Version("COPYING", content, request.now, forced=request.flag("force"))
    now, primary = request.now, request.flag("promoteToPrimary") and document is not None
    new_id, keys = world.new_id(), keys_of(content)
    return world.place(StoredImageSet(new_id, source.datastore_id, now, primary, now, keys, versions=[version]))


def _properties(world: World, image_set: StoredImageSet) -> Answer:
    return {
        "imageSetId": image_set.id,
        "latestVersionId": str(image_set.number),
        "imageSetState": image_set.state,
        "imageSetWorkflowStatus": image_set.latest.status,
        "createdAt": image_set.created_at,
        "updatedAt": image_set.latest.updated_at or image_set.created_at,
        "imageSetArn": views.image_set_arn(world, image_set),
    }
