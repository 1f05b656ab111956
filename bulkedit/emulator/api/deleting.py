"""DeleteImageSet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bulkedit.emulator.state.image_set import Pending

if TYPE_CHECKING:
    from bulkedit.emulator.api.request import Request
    from bulkedit.emulator.api.views import Answer
    from bulkedit.emulator.state.world import World

ACTION: Final = "DeleteImageSet"


def delete_image_set(world: World, request: Request) -> Answer:
    """DeleteImageSet: LOCKED and DELETING, then deleted; its properties remain (delete-image-set)."""
    datastore = world.datastore(request.text("datastoreId"))
    image_set = world.image_set(datastore.id, request.text("imageSetId"))
    world.check_not_deleted(image_set)
    world.check_unlocked(image_set)
    world.check_concurrency(datastore, ACTION)
    image_set.latest.status = "DELETING"
    due = world.completion_time(0, request.now, request.effect)
    world.begin(image_set, Pending(ACTION, due, "DELETED", makes_version=False), now=request.now)
    return {
        "datastoreId": datastore.id,
        "imageSetId": image_set.id,
        "imageSetState": image_set.state,
        "imageSetWorkflowStatus": image_set.latest.status,
    }
