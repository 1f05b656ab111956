"""The operations that read image sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkedit.emulator.api import paging, views
from bulkedit.emulator.api.failures import Conflict, NotFound
from bulkedit.emulator.api.request import Blob
from bulkedit.emulator.state.document import assemble

if TYPE_CHECKING:
    from bulkedit._json import Json
    from bulkedit.emulator.api.request import Request
    from bulkedit.emulator.api.views import Answer
    from bulkedit.emulator.state.image_set import StoredImageSet
    from bulkedit.emulator.state.world import World


def _found(world: World, request: Request) -> StoredImageSet:
    return world.image_set(request.text("datastoreId"), request.text("imageSetId"))


def _requested_version(image_set: StoredImageSet, request: Request) -> int | None:
    """The version that the request names, if any. Raises NotFound."""
    text = request.optional_text("versionId")
    if text is None:
        return None
    number = int(text) if len(text) <= 18 else 0
    if not 1 <= number <= image_set.number:
        raise NotFound("The requested version of the image set does not exist.")
    return number


def _newest(image_set: StoredImageSet, request: Request) -> int:
    """The latest version that the response shows; a fault can hide the newest one."""
    lags = request.effect is not None and request.effect.lags
    return max(image_set.number - 1, 1) if lags else image_set.number


def get_image_set(world: World, request: Request) -> Answer:
    """GetImageSet: the latest version, even if its update is in progress. This does not change the storage tier."""
    image_set = _found(world, request)
    number = _requested_version(image_set, request) or _newest(image_set, request)
    return views.image_set_properties(world, image_set, number, request.now)


def get_image_set_metadata(world: World, request: Request) -> Blob:
    """GetImageSetMetadata: counts as access, and moves an archived image set to the frequent tier."""
    image_set = _found(world, request)
    world.check_not_deleted(image_set)
    number = _requested_version(image_set, request)
    document = image_set.versions[_readable(world, image_set, number) - 1].document
    image_set.touch(request.now)
    world.mark_changed(image_set)
    return Blob(assemble(document, image_set.datastore_id, image_set.id))


def _readable(world: World, image_set: StoredImageSet, asked: int | None) -> int:
    """The version to read. Raises Conflict if its update is in progress; the default is then the one before."""
    switch = world.profile.metadata_while_updating
    wanted = asked or image_set.number
    if wanted <= image_set.completed or switch == "new":
        return wanted
    if asked is None and switch == "previous" and image_set.completed:
        return image_set.completed
    raise Conflict("The metadata of the image set is still being processed. Try again in a few seconds.")


def get_image_frame(world: World, request: Request) -> Answer:
    """GetImageFrame: always refused, because the emulator stores no pixel data."""
    world.check_not_deleted(_found(world, request))
    raise NotFound("The emulator stores no image frames.")


def list_image_set_versions(world: World, request: Request) -> Answer:
    """ListImageSetVersions: newest first."""
    image_set = _found(world, request)
    size = request.number("maxResults", paging.LARGEST)
    newest = _newest(image_set, request)
    start = min(paging.number_of(request.optional_text("nextToken"), scope=image_set.id, default=newest), newest)
    end = max(start - size, 0)
    items: list[Json] = [views.listed_version(image_set, number) for number in range(start, end, -1)]
    token = paging.token_of(end, scope=image_set.id) if end else None
    return views.without_nulls({"imageSetPropertiesList": items, "nextToken": token})
