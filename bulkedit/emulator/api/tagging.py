"""Tags of data stores and image sets. These operations do not change the storage tier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bulkedit.emulator.api import views
from bulkedit.emulator.api.failures import Invalid, NotFound

if TYPE_CHECKING:
    from bulkedit.emulator.api.request import Request
    from bulkedit.emulator.api.views import Answer
    from bulkedit.emulator.state.image_set import StoredImageSet
    from bulkedit.emulator.state.records import StoredDatastore
    from bulkedit.emulator.state.world import World

MOST: Final = 50  # understanding-image-sets


def tag_resource(world: World, request: Request) -> Answer:
    """TagResource: add or overwrite tags."""
    resource = _resource(world, request)
    tags = (resource.tags or {}) | request.texts("tags")
    if len(tags) > MOST:
        raise Invalid(f"A resource has at most {MOST} tags.")
    resource.tags = tags
    world.mark_changed(resource)
    return {}


def untag_resource(world: World, request: Request) -> Answer:
    """UntagResource: remove tags; missing keys are ignored."""
    resource = _resource(world, request)
    removed = request.params["tagKeys"]
    assert isinstance(removed, list)  # noqa: S101 - the model has checked it
    resource.tags = {key: value for key, value in (resource.tags or {}).items() if key not in removed}
    world.mark_changed(resource)
    return {}


def list_tags_for_resource(world: World, request: Request) -> Answer:
    """ListTagsForResource."""
    return {"tags": dict(_resource(world, request).tags or {})}


def _resource(world: World, request: Request) -> StoredDatastore | StoredImageSet:
    """The resource with an ARN, whose form the model has checked. Raises NotFound."""
    arn = request.text("resourceArn")
    _, datastore_id, *rest = arn.rpartition(":")[2].split("/")
    if arn.startswith(views.datastore_arn(world, datastore_id)):
        datastore = world.datastore(datastore_id, runtime=False)
        if not rest:
            return datastore
        if (image_set := datastore.image_sets.get(rest[1])) is not None and image_set.deleted_at is None:
            return image_set
    raise NotFound("The requested resource does not exist.")
