"""Image sets and their metadata documents from the data store: several at once, none held longer than its turn."""

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

WORKERS: Final = 16  # reads under way at once: at 50/s enough for answers that take a third of a second
_NOT_THERE: Final = frozenset({Refusal.NOT_FOUND, Refusal.INVALID})


async def read_all(reader: Reader, image_set_ids: Sequence[str], take: Callable[[str, JsonObject], None]) -> None:
    """Read the latest metadata of image sets and give each document to ``take``, in no particular order.

    ``take`` is called on the caller's loop, one document at a time; at most `WORKERS` documents are held. An image set
    that is no longer there is passed over. Raises DatastoreError if none is there, AccessError for one that these
    credentials may not read, EndpointError for any other refusal, what `Reader` raises, and what ``take`` raises.
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
            likely="The data store is another one, or in another region.",
        )


async def selected_by_id(reader: Reader, ids: list[str]) -> pl.DataFrame:
    """What GetImageSet tells of image sets that are named by id: columns `SELECTION`, in the order of ``ids``.

    Moves no image set out of the archive. Raises UsageError for an id that the data store does not have, AccessError
    for an image set that these credentials may not read, EndpointError for any other refusal, and what `Reader` raises.
    """
    found: dict[str, ImageSet] = {}

    async def ask(image_set_id: str) -> None:
        answer = await reader.image_set(image_set_id)
        if not isinstance(answer, Refused):
            found[image_set_id] = answer
        elif answer.kind in _NOT_THERE:
            raise UsageError(
                "an image set that is selected by its id is not in the data store.",
                where=image_set_id,
                likely="The id is mistyped, or the image set is in another data store.",
                hint="To pass over what is not there, select from an inventory: `inventory=FILE`",
            )
        else:
            raise _unreadable(image_set_id, Operation.GET, answer)

    await for_each(ask, ids, at_once=WORKERS)
    told = [found[one] for one in ids]
    rows = [(one.image_set_id, one.version, one.primary, one.storage_tier) for one in told]
    return pl.DataFrame(rows, schema=SELECTION, orient="row")


def _unreadable(image_set_id: str, operation: Operation, refused: Refused) -> BulkeditError:
    """Why an image set that is there cannot be read."""
    action = ACTIONS[operation]
    match refused.kind:
        case Refusal.ACCESS_DENIED:
            return AccessError(
                f"AWS denied access to an image set that is selected ({refused.code}).",
                where=image_set_id,
                likely=f"The role lacks medical-imaging:{action}, or a policy denies it for this image set.",
                hint="Have it allowed, or leave this image set out of the selection.",
            )
        case Refusal.CONFLICT:
            return EndpointError(
                f"an image set is not ready to be read ({refused.code}, {ATTEMPTS} times in a row).",
                where=image_set_id,
                likely="The service is still at work on it.",
                hint="Give the same command again later.",
            )
        case _:
            return EndpointError(f"the service refused {action} ({refused.code}).", where=image_set_id)
