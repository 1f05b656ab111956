"""Take an inventory: page through SearchImageSets once, in the order of creation, into one file."""

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
    """Write what SearchImageSets tells of the data store that ``reader`` asks, as a file of `INVENTORY`.

    Whatever ends it (an error, a cancellation, a kill), the same call goes on where it stopped, and asks for one page
    again at most. What is created while it runs is found, as paging follows the order of creation; what is deleted or
    edited after its page was read stands as it was. Where the service no longer takes the token of the next page,
    paging goes on from the last second of creation that was reached. Memory holds ``checkpoint_pages`` pages.

    ``watch`` is called on the caller's task after every page, when that page is kept, and must not block; its counters
    counts pages and image sets of the whole snapshot, and what else it counts of this call. ``fresh`` takes an
    inventory that is there again, and drops one that was interrupted.

    Raises UsageError for the file, and what `Searcher.page` raises.
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
    """Ask for the next page and keep it: nothing is awaited between its answer and its line in the log."""
    found = await searcher.page(draft.criteria, draft.token)
    if not isinstance(found, Refused):
        if found.next_token is not None and found.next_token == draft.token:
            raise EndpointError("the service answers the same page again and again.")
        draft.add(found.rows, found.next_token)
    elif draft.token is None or not draft.begin_again():
        raise refused_search(found)
