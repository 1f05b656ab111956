"""CopyImageSet: copies to a new image set, a new primary image set, or an existing image set (copy-image-set)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NotRequired, TypedDict, cast

from bulkedit.emulator.api import views
from bulkedit.emulator.api.failures import Broken, Invalid, QuotaExceeded
from bulkedit.emulator.state import copies as copied
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
    """CopyImageSet: check the request, lock source and destination, and schedule the completion."""
    information = _information(request)
    selection = _selection_of(information["sourceImageSet"].get("DICOMCopies"))
    datastore = world.datastore(request.text("datastoreId"))
    version = information["sourceImageSet"]["latestVersionId"]
    source = world.writable(datastore.id, request.text("sourceImageSetId"), version)
    destination = _destination(world, request, source)
    world.check_concurrency(datastore, ACTION)
    ending = _outcome(world, request, source, destination, selection)
    if request.effect and request.effect.fails:
        ending = SERVICE_FAULT
    return _begin(world, request, source, destination, ending)


def _information(request: Request) -> _Information:
    return cast("_Information", request.params["copyImageSetInformation"])  # the model has checked it


def _selection_of(copies: _Copies | None) -> copied.Selection | None:
    """The instances to copy; None: all."""
    if copies is None:
        return None
    try:
        subset = json.loads(copies["copiableAttributes"])
        series = subset["Study"]["Series"]
        selection = {uid: set(one.get("Instances", {})) for uid, one in series.items()}
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise Invalid("copiableAttributes is not a JSON document of series and instances") from None
    if subset.get("SchemaVersion") not in ("1.1", 1.1) or not selection:
        raise Invalid("copiableAttributes must have SchemaVersion 1.1 and name the instances of a series")
    return selection


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
    selection: copied.Selection | None,
) -> Document | str:
    """The destination's document after the copy, or the message if the copy will fail."""
    try:
        document = copied.selected(source.latest.document, selection)
        if copied.frame_count(document) > LARGEST_COPY:
            raise QuotaExceeded(f"CopyImageSet copies at most {LARGEST_COPY} image frames.")
        if destination is not None:
            return copied.joined(destination.latest.document, document, force=request.flag("force"))
        if request.flag("promoteToPrimary"):
            _check_promotion(world, source, document)
    except Broken as broken:
        if world.profile.constraints == "sync":
            raise Invalid(broken.message) from None
        return broken.message
    return document


def _check_promotion(world: World, source: StoredImageSet, document: Document) -> None:
    """A promoted copy must agree with the study's primary image sets, and have no instance of theirs."""
    keys = keys_of(document)
    for primary in world.primaries_of(source.datastore_id, keys.study_uid):
        if conflicting(primary.keys, keys) or copied.overlapping(primary.latest.document, document):
            raise Broken("INVALID_REQUEST: A primary image set of the study conflicts with the copy")


def _begin(
    world: World, request: Request, source: StoredImageSet, destination: StoredImageSet | None, ending: Document | str
) -> Answer:
    """Lock both image sets. The source stays readable and keeps its version; the destination gets a new version."""
    document, message = (None, ending) if isinstance(ending, str) else (ending, None)
    due = world.completion_time(source.latest.document.size, request.now, request.effect)
    if destination is None:
        destination = _new_image_set(world, request, source, document)
    else:
        kept = destination.latest.document
        destination.versions.append(Version("COPYING", document or kept, request.now, forced=request.flag("force")))
    before, source.latest.status = source.latest.status, "COPYING_WITH_READ_ONLY_ACCESS"
    kept_message = source.latest.message
    of_source = Pending(ACTION, due, before, kept_message, makes_version=False, counted=False)
    of_destination = Pending(ACTION, due, "COPIED" if document else "COPY_FAILED", message)
    for image_set, pending in ((source, of_source), (destination, of_destination)):
        image_set.touch(request.now)
        world.begin(image_set, pending, now=request.now)
    return {
        "datastoreId": source.datastore_id,
        "sourceImageSetProperties": _properties(world, source),
        "destinationImageSetProperties": _properties(world, destination),
    }


def _new_image_set(world: World, request: Request, source: StoredImageSet, document: Document | None) -> StoredImageSet:
    content = document or copied.EMPTY_DOCUMENT
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
