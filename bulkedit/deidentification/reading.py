"""Reads image sets and their metadata documents from the data store, several at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit._concurrency import for_each
from bulkedit.client.pacing import Operation
from bulkedit.client.reader import ACTIONS, ATTEMPTS
from bulkedit.client.responses import Refusal, Refused
from bulkedit.deidentification.record import SELECTION
from bulkedit.errors import AccessError, DatastoreError, EndpointError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bulkedit._json import JsonObject
    from bulkedit.client.reader import Reader
    from bulkedit.client.responses import ImageSet
    from bulkedit.errors import BulkeditError

WORKERS: Final = 16  # concurrent reads: enough for 50/s if a response takes a third of a second
_NOT_THERE: Final = frozenset({Refusal.NOT_FOUND, Refusal.INVALID})


async def read_all(reader: Reader, image_set_ids: Sequence[str], take: Callable[[str, JsonObject], None]) -> None:
    """Read the latest metadata of image sets and pass each document to ``take``, in no particular order.

    ``take`` is called on the caller's loop, one document at a time. At most `WORKERS` documents are in memory. An image
    set that no longer exists is skipped. Raises DatastoreError if all of them are missing, AccessError if access to one
    is denied, EndpointError for any other refusal, and the errors of `Reader` and ``take``.
    """
    gone = 0

    async def read(image_set_id: str) -> None:
        nonlocal gone
        document = await reader.metadata(image_set_id)
        if not isinstance(document, Refused):
            take(image_set_id, document)
        elif document.kind in _NOT_THERE:
            gone += 1
        else:
            raise _unreadable(image_set_id, Operation.METADATA, document)

    await for_each(read, image_set_ids, at_once=WORKERS)
    if gone and gone == len(image_set_ids):
        raise DatastoreError(
            "none of the image sets exists in the data store.",
            likely="The image sets are in another data store or region.",
        )


async def selected_by_id(reader: Reader, ids: list[str]) -> pl.DataFrame:
    """Read image sets by id with GetImageSet: the columns of `SELECTION`, in the order of ``ids``.

    Moves no image set out of the archive tier. Raises UsageError if an image set is not in the data store, AccessError
    if access to one is denied, EndpointError for any other refusal, and the errors of `Reader`.
    """
    found: dict[str, ImageSet] = {}

    async def ask(image_set_id: str) -> None:
        answer = await reader.image_set(image_set_id)
        if not isinstance(answer, Refused):
            found[image_set_id] = answer
        elif answer.kind in _NOT_THERE:
            raise UsageError(
                "an image set that is selected by id is not in the data store.",
                where=image_set_id,
                likely="The id is mistyped, or the image set is in another data store.",
                hint="To skip missing image sets, select from an inventory: `inventory=FILE`",
            )
        else:
            raise _unreadable(image_set_id, Operation.GET, answer)

    await for_each(ask, ids, at_once=WORKERS)
    image_sets = [found[one] for one in ids]
    rows = [(one.image_set_id, one.version, one.primary, one.storage_tier) for one in image_sets]
    return pl.DataFrame(rows, schema=SELECTION, orient="row")


def _unreadable(image_set_id: str, operation: Operation, refused: Refused) -> BulkeditError:
    """The error for an existing image set that cannot be read."""
    action = ACTIONS[operation]
    match refused.kind:
        case Refusal.ACCESS_DENIED:
            return AccessError(
                f"AWS denied access to a selected image set ({refused.code}).",
                where=image_set_id,
                likely=f"The role lacks medical-imaging:{action}, or a policy denies it for this image set.",
                hint="Ask for this permission, or remove the image set from the selection.",
            )
        case Refusal.CONFLICT:
            return EndpointError(
                f"an image set is not ready to be read ({refused.code}, {ATTEMPTS} times in a row).",
                where=image_set_id,
                likely="The service is still processing it.",
                hint="Run the same command again later.",
            )
        case _:
            return EndpointError(f"the service refused {action} ({refused.code}).", where=image_set_id)
