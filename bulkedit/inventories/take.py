"""Takes an inventory: reads SearchImageSets in windows of the time of creation, several at once, into one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from bulkedit._concurrency import first_error, run_blocking
from bulkedit.client.responses import Refused
from bulkedit.errors import EndpointError
from bulkedit.inventories.draft import CHECKPOINT_PAGES, InventoryDraft
from bulkedit.inventories.frame import CREATED
from bulkedit.inventories.saved import load
from bulkedit.inventories.search import SearchCounters, Searcher, refused_search
from bulkedit.inventories.windows import LATEST_FIRST, in_order, largest, second_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anyio.abc import TaskGroup

    from bulkedit.client.reader import Reader
    from bulkedit.inventories.saved import Snapshot
    from bulkedit.inventories.windows import CreationWindow

WORKERS: Final = 16  # windows at once: enough for 25/s if an answer takes half a second
_FREE_DIVISIONS: Final = 6  # 7 windows use 25/s at 280 ms
_DIVISIONS_PER_PAGE: Final = 0.2


async def take(
    reader: Reader,
    path: Path,
    *,
    datastore_id: str,
    watch: Callable[[SearchCounters], None] | None = None,
    fresh: bool = False,
    changes: bool = False,
    checkpoint_pages: int = CHECKPOINT_PAGES,
    at_once: int = WORKERS,
) -> Snapshot:
    """Write the results of SearchImageSets for the data store of ``reader`` to a file with the columns `INVENTORY`.

    The time of creation is divided into windows, which are read concurrently: at most ``at_once``, and no more than the
    quota can use. After an error, a cancellation or a kill, the same call resumes, and repeats at most one page of each
    window. The last second of creation is read last, so image sets that are created meanwhile are included. Later edits
    and deletions of image sets that were already read are not. If the service refuses the token of the next page,
    paging restarts from the last second of the window. In memory are at most ``checkpoint_pages`` pages, and at the end
    half a million image sets.

    ``watch`` is called on the caller's event loop after every page is written, and must not block. Its pages and image
    sets are of the whole inventory, its requests of this call. ``fresh``: replace an existing inventory, and discard an
    interrupted one. ``changes``: put what was created or updated since the existing inventory into it. Deleted image
    sets cannot be found so, and stay in it. What was updated is read in one window, because edits move image sets in
    the order of updates, and filters of two times together are not documented.

    Raises UsageError for the file, and the errors of `Searcher.page`.
    """
    epoch, counters = reader.clock.epoch, SearchCounters(reader.reads)
    with InventoryDraft.open(path, datastore_id, now=epoch(), fresh=fresh, changes=changes) as draft:
        if not (draft.finished or draft.done):
            await _WindowReading(
                Searcher(reader, counters),
                draft,
                watch=watch,
                epoch=epoch,
                checkpoint_pages=checkpoint_pages,
                at_once=at_once,
            ).run()
        if not draft.finished:
            await run_blocking(draft.finish, epoch())
    return load(path, datastore_id)


class _WindowReading:
    """Reads the windows of a draft, each in a task of its own."""

    def __init__(
        self,
        searcher: Searcher,
        draft: InventoryDraft,
        *,
        watch: Callable[[SearchCounters], None] | None,
        epoch: Callable[[], float],
        checkpoint_pages: int,
        at_once: int,
    ) -> None:
        self._searcher = searcher
        self._draft = draft
        self._watch = watch
        self._epoch = epoch
        self._checkpoint_pages = checkpoint_pages
        self._at_once = at_once
        self._tasks: TaskGroup
        self._followed: set[int] = set()
        self._writing = anyio.Lock()  # of the draft
        self._pages_to_next_look = 1  # of a window without an end

    async def run(self) -> None:
        """Read until no window is left."""
        with first_error():
            async with anyio.create_task_group() as self._tasks:
                self._start()

    def _start(self) -> None:
        """Start what can be read now. The window without an end comes last, with what is created meanwhile."""
        windows = self._draft.windows
        for window in windows:
            if (not window.waits or len(windows) == 1) and window.number not in self._followed:
                self._followed.add(window.number)
                self._tasks.start_soon(self._follow, window)

    async def _follow(self, window: CreationWindow) -> None:
        pages = 0
        while self._draft.holds(window):
            waits = self._searcher.counters.reads.waits
            await self._one_page(window)
            pages += 1
            if window.waits and self._draft.holds(window) and pages >= self._pages_to_next_look:
                self._pages_to_next_look = 2 * pages
                await self._look_for_end(window)
            if self._searcher.counters.reads.waits == waits:  # the quota allows more
                async with self._writing:
                    self._divide()
        self._followed.discard(window.number)
        self._start()

    async def _one_page(self, window: CreationWindow) -> None:
        """Read and log the next page of a window."""
        token = window.token
        found = await self._searcher.page(window.criteria, token)
        async with self._writing:
            if not self._draft.holds(window):  # everything is read again
                return
            if not isinstance(found, Refused):
                if found.next_token is not None and found.next_token == token:
                    raise EndpointError("the service returns the same page again and again.")
                self._draft.add(window, found.rows, found.next_token)
                self._show()
            elif token is None or not self._draft.begin_again(window):
                raise refused_search(found)
            if self._draft.pages_waiting >= self._checkpoint_pages:
                await run_blocking(self._draft.checkpoint)

    def _show(self) -> None:
        counters, draft = self._searcher.counters, self._draft
        counters.pages, counters.image_sets, counters.reached = draft.pages, draft.image_sets, draft.reached
        if self._watch is not None:
            self._watch(counters)

    async def _look_for_end(self, window: CreationWindow) -> None:
        """End a window at the latest second of creation, if that is far enough to be worth a request.

        The clock of this machine decides only whether to ask.
        """
        draft = self._draft
        if self._at_once == 1 or draft.sequential or not window.worth_dividing(round(self._epoch() * 1e6)):
            return
        found = await self._searcher.page(LATEST_FIRST)
        if isinstance(found, Refused) or not in_order(found.rows[::-1]) or not found.rows:
            return
        latest = found.rows[0][CREATED]
        if latest is not None and window.worth_dividing(second_of(latest)):
            async with self._writing:
                draft.divide(window, second_of(latest))

    def _divide(self) -> None:
        """Divide the largest windows until as many are read as may be.

        If image sets were created in bursts, most divisions find nothing to read, so their number is limited.
        """
        draft = self._draft
        while not draft.sequential and len(self._followed) < self._at_once:
            window = largest(draft.windows)
            if window is None or (at := window.middle()) is None:
                break
            if draft.divisions >= _FREE_DIVISIONS + draft.pages * _DIVISIONS_PER_PAGE:
                break
            draft.divide(window, at)
            self._start()
