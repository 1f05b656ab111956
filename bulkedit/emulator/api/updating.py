"""UpdateImageSetMetadata: updates one image set, or all primary image sets of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkedit.emulator.api import views
from bulkedit.emulator.api.failures import Broken, Invalid
from bulkedit.emulator.state import rules
from bulkedit.emulator.state.editing import edited
from bulkedit.emulator.state.image_set import Pending, StoredImageSet, Version
from bulkedit.emulator.state.updates import parse_updates

if TYPE_CHECKING:
    from bulkedit.emulator.api.request import Request
    from bulkedit.emulator.api.views import Answer
    from bulkedit.emulator.state.document import Document
    from bulkedit.emulator.state.updates import Updates
    from bulkedit.emulator.state.world import World

ACTION = "UpdateImageSetMetadata"
SERVICE_FAULT = "INTERNAL_ERROR: The update could not be completed"


def update_image_set_metadata(world: World, request: Request) -> Answer:
    """UpdateImageSetMetadata: check the request, lock the image sets, and schedule the completion."""
    updates = parse_updates(request.params["updateImageSetMetadataUpdates"], world.profile)
    study_wide = request.flag("includeStudyImageSets") and world.profile.study_wide == "known"
    datastore = world.datastore(request.text("datastoreId"))
    image_set = world.unlocked(datastore.id, request.text("imageSetId"))
    content_first = world.profile.checked_first == "content"
    if not content_first:
        world.check_version(image_set, request.text("latestVersionId"))
    targets = _study_of(world, image_set, updates) if study_wide else [image_set]
    if content_first:
        _outcome(world, request, updates, targets, study_wide=study_wide)  # raises Invalid for invalid content
        world.check_version(image_set, request.text("latestVersionId"))
    world.check_concurrency(datastore, ACTION)
    documents, message = _outcome(world, request, updates, targets, study_wide=study_wide)
    if request.effect and request.effect.fails:
        documents, message = None, SERVICE_FAULT
    _begin(world, request, targets, documents, message)
    return views.updating(image_set)


def _study_of(world: World, image_set: StoredImageSet, updates: Updates) -> list[StoredImageSet]:
    """The image sets that a study-wide update changes, the requested one first (update-image-set-metadata)."""
    if updates.revert_to is not None:
        raise Invalid("includeStudyImageSets is not supported with revertToVersionId")
    if updates.levels - {"Patient", "Study"}:
        raise Invalid("includeStudyImageSets supports Patient and Study level updates only")
    if not image_set.primary:
        raise Invalid("includeStudyImageSets is supported for primary image sets only")
    siblings = [s for s in world.primaries_of(image_set.datastore_id, image_set.keys.study_uid) if s is not image_set]
    for sibling in siblings:
        world.check_unlocked(sibling)
    return [image_set, *siblings]


def _outcome(
    world: World, request: Request, updates: Updates, targets: list[StoredImageSet], *, study_wide: bool
) -> tuple[list[Document] | None, str | None]:
    """The documents of all targets after the update, or None and the message if it will fail."""
    if updates.revert_to is not None:
        return [_revert_target(targets[0], updates.revert_to)], None
    documents, why = None, _refusal_of(world, request, updates, targets[0], study_wide=study_wide)
    if why is None:
        try:
            documents = [edited(target.latest.document, updates, world.profile) for target in targets]
        except Broken as broken:
            why = broken.message
    if why is not None and (world.profile.constraints == "sync" or world.profile.checked_first == "content"):
        raise Invalid(why)
    return documents, why


def _refusal_of(
    world: World, request: Request, updates: Updates, image_set: StoredImageSet, *, study_wide: bool
) -> str | None:
    study = world.primaries_of(image_set.datastore_id, image_set.keys.study_uid) if image_set.primary else []
    return rules.why_refused(
        updates,
        world.profile,
        forced=request.flag("force"),
        primary=image_set.primary,
        study_wide=study_wide,
        alone=len(study) <= 1,
    )


def _revert_target(image_set: StoredImageSet, number: int) -> Document:
    """The document to revert to, of an earlier version that did not fail (reference section 9, decision 12)."""
    if not 1 <= number < image_set.number:
        raise Invalid("revertToVersionId must be an earlier version of the image set")
    version = image_set.versions[number - 1]
    if version.failed:
        raise Invalid("revertToVersionId must not be a version that failed")
    return version.document


def _begin(
    world: World, request: Request, targets: list[StoredImageSet], documents: list[Document] | None, message: str | None
) -> None:
    """Lock the image sets, each with a new version. All but the first have the status of study consistency."""
    size = sum(target.latest.document.size for target in targets)
    due = world.completion_time(size, request.now, request.effect)
    for position, target in enumerate(targets):
        document = documents[position] if documents else target.latest.document
        status = "UPDATING_FOR_STUDY_CONSISTENCY" if position else "UPDATING"
        target.versions.append(Version(status, document, request.now, forced=request.flag("force")))
        target.touch(request.now)
        pending = Pending(
            ACTION,
            due,
            "UPDATED" if documents else "UPDATE_FAILED",
            message,
            drops_version=documents is None and world.profile.failed_version == "kept",
            counted=position == 0,
        )
        world.begin(target, pending, now=request.now)
