"""Entry point of the API: checks the quota, then performs the operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bulkedit.emulator.api import copying, deleting, importing, reading, searching, stores, tagging, updating
from bulkedit.emulator.api.failures import Throttled

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkedit.emulator.api.request import Blob, Request
    from bulkedit.emulator.api.views import Answer
    from bulkedit.emulator.state.world import World

ACTIONS: Final[dict[str, Callable[[World, Request], Answer | Blob]]] = {
    "CopyImageSet": copying.copy_image_set,
    "CreateDatastore": stores.create_datastore,
    "DeleteDatastore": stores.delete_datastore,
    "DeleteImageSet": deleting.delete_image_set,
    "GetDICOMImportJob": importing.get_dicom_import_job,
    "GetDatastore": stores.get_datastore,
    "GetImageFrame": reading.get_image_frame,
    "GetImageSet": reading.get_image_set,
    "GetImageSetMetadata": reading.get_image_set_metadata,
    "ListDICOMImportJobs": importing.list_dicom_import_jobs,
    "ListDatastores": stores.list_datastores,
    "ListImageSetVersions": reading.list_image_set_versions,
    "ListTagsForResource": tagging.list_tags_for_resource,
    "SearchImageSets": searching.search_image_sets,
    "StartDICOMImportJob": importing.start_dicom_import_job,
    "TagResource": tagging.tag_resource,
    "UntagResource": tagging.untag_resource,
    "UpdateImageSetMetadata": updating.update_image_set_metadata,
}


def admit(world: World, action: str, now: float) -> None:
    """Advance the world to now, and count a request against the quota. Raises Throttled.

    Malformed requests count too.
    """
    world.advance(now)
    if not world.quota.take(action, now):
        raise Throttled("Rate exceeded")


def perform(world: World, request: Request) -> Answer | Blob:
    """Perform an admitted request, whose parameters were checked against the service's model.

    Raises ServiceError if the request is refused; the world is then unchanged.
    """
    return ACTIONS[request.action](world, request)
