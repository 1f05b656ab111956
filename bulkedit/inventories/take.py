"""Takes an inventory: pages through SearchImageSets by time of creation and writes one file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import to_thread

from bulkedit.client.responses import Refused
from bulkedit.errors import EndpointError
from bulkedit.inventories.draft import CHECKPOINT_PAGES, InventoryDraft
from bulkedit.inventories.saved import load
from bulkedit.inventories.search import SearchCounters, Searcher, refused_search

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bulkedit.client.reader import Reader
    from bulkedit.inventories.saved import Snapshot


async def take(
    reader: Reader,
    path: Path,
    *,
    datastore_id: str,
    watch: Callable[[SearchCounters], None] | None = None,
    fresh: bool = False,
    checkpoint_pages: int = CHECKPOINT_PAGES,
) -> Snapshot:
    """Write the results of SearchImageSets for the data store of ``reader`` to a file with the columns `INVENTORY`.

    After an error, a cancellation or a kill, the same call resumes, and repeats at most one page. Paging follows the
    time of creation, so image sets that are created meanwhile are included. Later edits and deletions of image sets
    that were already read are not. If the service refuses the token of the next page, paging restarts from the last
    second of creation. At most ``checkpoint_pages`` pages are in memory.

    ``watch`` is called on the caller's task after every page is written, and must not block. Its pages and image sets
    are of the whole inventory, its requests of this call. ``fresh``: replace an existing inventory, and discard an
    interrupted one.

    Raises UsageError for the file, and the errors of `Searcher.page`.
    """
    epoch, counters = reader.clock.epoch, SearchCounters(reader.reads)
    with InventoryDraft.open(path, datastore_id, now=epoch(), fresh=fresh) as draft:
        searcher = Searcher(reader, counters)
        while not (draft.finished or draft.done):
            await _one_page(searcher, draft)
            counters.pages, counters.image_sets, counters.reached = draft.pages, draft.image_sets, draft.reached
            if watch is not None:
                watch(counters)
            if draft.pages_waiting >= checkpoint_pages:
                await to_thread.run_sync(draft.checkpoint)
        if not draft.finished:
            await to_thread.run_sync(draft.finish, epoch())
    return load(path, datastore_id)


async def _one_page(searcher: Searcher, draft: InventoryDraft) -> None:
    """Read and log the next page. Nothing is awaited between the answer and its line in the log."""
    found = await searcher.page(draft.criteria, draft.token)
    if not isinstance(found, Refused):
        if found.next_token is not None and found.next_token == draft.token:
            raise EndpointError("the service returns the same page again and again.")
        draft.add(found.rows, found.next_token)
    elif draft.token is None or not draft.begin_again():
        raise refused_search(found)
