"""The operations on data stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bulkedit.emulator.api import paging, views
from bulkedit.emulator.api.failures import Conflict, QuotaExceeded
from bulkedit.emulator.state.records import StoredDatastore

if TYPE_CHECKING:
    from bulkedit._json import Json
    from bulkedit.emulator.api.request import Request
    from bulkedit.emulator.api.views import Answer
    from bulkedit.emulator.state.world import World

MOST: Final = 100  # data stores of an account; one page says 10, the general reference says 100


def create_datastore(world: World, request: Request) -> Answer:
    """CreateDatastore: CREATING, then ACTIVE. A repeated client token returns the existing data store."""
    token = f"datastore {request.text('clientToken')}"
    if (known := world.tokens.get(token)) is not None:
        return _status(world.datastores[known])
    if sum(d.status != "DELETED" for d in world.datastores.values()) >= MOST:
        raise QuotaExceeded("The limit of data stores is reached.")
    new_id = world.new_id()
    datastore = StoredDatastore(
        new_id,
        request.optional_text("datastoreName") or f"datastore-{new_id[:8]}",
        request.now,
        request.now,
        tags=request.texts("tags"),
        kms_key_arn=request.optional_text("kmsKeyArn"),
        lambda_authorizer_arn=request.optional_text("lambdaAuthorizerArn"),
        lossless_storage_format=request.optional_text("losslessStorageFormat"),
        token=token,
    )
    world.enter_datastore(datastore)
    world.begin_datastore(datastore, "CREATING", ends="ACTIVE", now=request.now)
    return _status(datastore)


def get_datastore(world: World, request: Request) -> Answer:
    """GetDatastore."""
    datastore = world.datastore(request.text("datastoreId"), runtime=False)
    return {"datastoreProperties": views.datastore_properties(world, datastore)}


def list_datastores(world: World, request: Request) -> Answer:
    """ListDatastores: in the order of creation."""
    status = request.optional_text("datastoreStatus")
    found = [d for d in world.datastores.values() if status is None or d.status == status]
    page, token = paging.page_of(found, request, scope=f"datastores {status}")
    items: list[Json] = [views.datastore_summary(world, datastore) for datastore in page]
    return views.without_nulls({"datastoreSummaries": items, "nextToken": token})


def delete_datastore(world: World, request: Request) -> Answer:
    """DeleteDatastore: all image sets must have been deleted first."""
    datastore = world.datastore(request.text("datastoreId"), runtime=False)
    if datastore.status != "ACTIVE":
        raise Conflict("The data store is not active.")
    if any(image_set.deleted_at is None for image_set in datastore.image_sets.values()):
        raise Conflict("The data store has image sets. Delete them first.")
    world.begin_datastore(datastore, "DELETING", ends="DELETED", now=request.now)
    return _status(datastore)


def _status(datastore: StoredDatastore) -> Answer:
    return {"datastoreId": datastore.id, "datastoreStatus": datastore.status}
