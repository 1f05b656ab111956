"""Takes an inventory of a data store, from the options to the file."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bulkedit._progress import Phase, WorkProgress, ended_by
from bulkedit.client.connect import Connection, connect
from bulkedit.client.pacing import Operation, parse_read_pace
from bulkedit.client.reader import Reader
from bulkedit.errors import UsageError
from bulkedit.inventories.search import SearchCounters
from bulkedit.inventories.take import take
from bulkedit.options.inventory import InventoryOptions
from bulkedit.options.shared import parse_datastore_id
from bulkedit.options.where import Where

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import polars as pl

    from bulkedit._progress import StopSignal
    from bulkedit.inventories.saved import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryProgress(WorkProgress):
    """Progress of an inventory; the total number of image sets is known only at the end."""

    pages: int = 0
    reached: int | None = None  # microseconds since 1970: image sets created up to this time have been read


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenInventory:
    """An inventory on disk, and the requests of this call."""

    snapshot: Snapshot
    searches: int
    throttled: int
    faults: int  # lost or unreadable answers

    @property
    def path(self) -> Path:
        """The Parquet file; it contains patient ids and accession numbers."""
        return self.snapshot.path

    @property
    def image_sets(self) -> int:
        """The number of image sets."""
        return self.snapshot.image_sets

    def scan(self) -> pl.LazyFrame:
        """Scan the file: columns `bulkedit.inventories.INVENTORY`, by time of creation."""
        return self.snapshot.scan()


async def take_inventory(
    datastore_id: str | None,
    file: Path,
    options: InventoryOptions | None = None,
    *,
    where: Where | None = None,
    progress: Callable[[InventoryProgress], None] | None = None,
    stop: StopSignal | None = None,
) -> TakenInventory:
    """Write the results of SearchImageSets for a whole data store to a Parquet file.

    If it is interrupted, the same call resumes it. ``progress`` is called on the caller's task after every page and
    must not block. ``stop`` ends it early; the pages so far are kept.

    Raises UsageError for options and the file, StoppedError after ``stop`` was sent, and the errors of `connect` and
    `bulkedit.inventories.search.Searcher.page`.

    Example: ``taken = await take_inventory(DATASTORE_ID, Path("inventory.parquet")); taken.scan()``
    """
    options = options or InventoryOptions()
    if options.source is not None:
        raise UsageError(
            "`source` makes a list of an inventory, and takes none.",
            hint="In Python: bulkedit.inventories.chosen.choose(source, condition, path)",
        )
    if not datastore_id:
        raise UsageError("no data store is named.", hint="Name it: --datastore ID (or -d ID)")
    parse_datastore_id(datastore_id)
    rate = parse_read_pace(options.read_rate)
    connection = Connection(datastore_id=datastore_id, **asdict(where or Where()))
    last = SearchCounters()

    def watch(counters: SearchCounters) -> None:
        nonlocal last
        last = counters
        if progress is not None:
            progress(_moment(counters))

    async with ended_by(stop, kept="The pages so far are kept; the same call resumes."), connect(connection) as client:
        snapshot = await take(
            Reader(client, {Operation.SEARCH: rate}, random.SystemRandom()),
            file,
            datastore_id=datastore_id,
            watch=watch,
            fresh=options.fresh,
            changes=options.changes,
        )
    reads = last.reads
    return TakenInventory(snapshot=snapshot, searches=reads.requests, throttled=reads.throttled, faults=reads.faults)


def _moment(counters: SearchCounters) -> InventoryProgress:
    return InventoryProgress(
        phase=Phase.SEARCHING,
        done=counters.image_sets,
        throttled=counters.reads.throttled,
        pages=counters.pages,
        reached=counters.reached,
    )
