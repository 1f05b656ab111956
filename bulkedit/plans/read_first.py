"""`--skip-satisfied`: reads the image sets of a list, to find satisfied edits and UIDs that are not there."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, cast

import anyio
import polars as pl

from bulkedit import plans
from bulkedit._concurrency import for_each
from bulkedit.client.connect import Connection, connect
from bulkedit.client.pacing import DOCUMENTED, Operation
from bulkedit.client.reader import Reader, read_paces
from bulkedit.client.responses import ImageSetState, Refused
from bulkedit.edits.compare import misplaced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from bulkedit._json import JsonObject
    from bulkedit.client.contract import Client
    from bulkedit.edits.edit import EditRow
    from bulkedit.options.where import Where

_WORKERS: Final = 32  # image sets that are read at once; their documents take the memory
_ID: Final = "image_set_id"


@dataclass(slots=True)
class ReadCounters:
    """Progress of reading image sets."""

    total: int  # image sets
    read: int = 0
    archived: int = 0  # not read, because that would move them to Frequent Access for 30 days
    unread: int = 0  # not found, locked for too long, or without metadata
    throttled: int = 0

    def seconds(self) -> float:
        """Return the least time, in seconds, that the reads take at the documented quotas."""
        return self.total / min(DOCUMENTED[Operation.GET].per_second, DOCUMENTED[Operation.METADATA].per_second)


def compared_with_store(
    edits: pl.DataFrame,
    *,
    datastore_id: str,
    read_rate: str,
    where: Where,
    counters: ReadCounters,
    showing: Callable[[Callable[[], ReadCounters]], AbstractAsyncContextManager[None]],
) -> pl.DataFrame:
    """Add to edits already_satisfied Boolean, missing and issuer String, from the metadata of their image sets. Blocks.

    ``edits``: schema `EDITS` and image_set_id String, in the order of application, without rows that are set aside.
    ``already_satisfied``: see `bulkedit.plans.already_satisfied`; ``missing``: "series" or "instance" if the edit names
    one that the image set does not have (`bulkedit.edits.compare.misplaced`); ``issuer``: IssuerOfPatientID, if any.

    Sends one GetImageSet and one GetImageSetMetadata per image set. An image set that is archived or cannot be read
    gets false and nulls. Raises the errors of `connect` and `Reader`.
    """

    async def read() -> pl.DataFrame:
        connection = Connection(datastore_id=datastore_id, **asdict(where))
        async with connect(connection) as client, showing(lambda: counters):
            return await _compared(client, edits, read_rate, counters)

    return edits.hstack(anyio.run(read))


async def _compared(client: Client, edits: pl.DataFrame, read_rate: str, counters: ReadCounters) -> pl.DataFrame:
    """Return the columns of `compared_with_store`."""
    reader = Reader(client, read_paces(read_rate), random.SystemRandom())
    flags = bytearray(edits.height)
    missing: dict[int, str] = {}  # mostly empty, so it takes far less memory than a list of all edits
    issuers: dict[str, str] = {}  # mostly empty too

    async def compare(image_set: tuple[str, list[int], list[EditRow]]) -> None:
        image_set_id, places, rows = image_set
        document = await _document(reader, image_set_id, counters)
        counters.throttled = reader.reads.throttled
        if document is None:
            return
        if issuer := _issuer(document):
            issuers[image_set_id] = issuer
        for place, satisfied, kind in zip(
            places, plans.already_satisfied(rows, document), misplaced(rows, document), strict=True
        ):
            flags[place] = satisfied
            if kind is not None:
                missing[place] = kind

    await for_each(compare, _by_image_set(edits), at_once=_WORKERS)
    satisfied_ = pl.Series("already_satisfied", list(flags), dtype=pl.UInt8).cast(pl.Boolean)
    kinds = pl.Series("missing", [missing.get(place) for place in range(edits.height)], dtype=pl.String)
    issuer = edits.get_column(_ID).replace_strict(issuers, default=None, return_dtype=pl.String)
    return pl.DataFrame([satisfied_, kinds, issuer.alias("issuer")])


def _issuer(document: JsonObject) -> str:
    patient = document.get("Patient")
    elements = patient.get("DICOM") if isinstance(patient, dict) else None
    issuer = elements.get("IssuerOfPatientID") if isinstance(elements, dict) else None
    return issuer.strip() if isinstance(issuer, str) else ""


def _by_image_set(edits: pl.DataFrame) -> Iterator[tuple[str, list[int], list[EditRow]]]:
    """Yield for each image set its id, the positions of its edits in the frame, and the edits."""
    order = edits.select(_ID).with_row_index("place").sort(_ID, "place")
    runs = order.select(pl.col(_ID).rle()).unnest(_ID)
    start = 0
    for length, image_set_id in runs.iter_rows():
        places = order.get_column("place").slice(start, length)
        start += length
        yield image_set_id, places.to_list(), cast("list[EditRow]", edits[places].to_dicts())


async def _document(reader: Reader, image_set_id: str, counters: ReadCounters) -> JsonObject | None:
    found = await reader.completed(image_set_id)
    if isinstance(found, Refused) or found.state is not ImageSetState.ACTIVE:
        counters.unread += 1
        return None
    if found.archived:
        counters.archived += 1
        return None
    document = await reader.metadata(image_set_id, found.version)
    if isinstance(document, Refused):
        counters.unread += 1
        return None
    counters.read += 1
    return document
