"""Finds the studies of image sets that a list names by id.

SearchImageSets has no filter for ids, and GetImageSet returns no study. It returns the time of creation, for which
there is a filter. So no metadata is read, and archived image sets keep their storage tier.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit._concurrency import for_each
from bulkedit.client.responses import Refused
from bulkedit.inventories.frame import INVENTORY, moment
from bulkedit.inventories.lookup import WORKERS, CollectedRows, Lookup, all_pages, count_page
from bulkedit.inventories.search import Searcher
from bulkedit.inventories.windows import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bulkedit.client.contract import Criteria
    from bulkedit.client.reader import Reader
    from bulkedit.client.responses import ImageSet
    from bulkedit.inventories.search import SearchCounters

AT_MOST: Final = 10_000  # image sets: 7 minutes at the default quota of GetImageSet. For more, an inventory is better
_IDS_PER_PAGE: Final = 5  # pages come one after another, and GetImageSet requests concurrently
_PAGES_PER_ID: Final = 2  # in all; if image sets are created faster, some remain unknown


async def lookup_ids(
    reader: Reader, found: Lookup, ids: Sequence[str], *, watch: Callable[[SearchCounters], None] | None = None
) -> Lookup:
    """Add the image sets with these ids to those found.

    If the data store has few pages, all of them are read. Otherwise, one GetImageSet per image set is sent, and for
    primary ones about one search. An image set that does not exist or cannot be read is left out. Of an image set that
    is not primary, only that is known. Raises the errors of `Reader` and `Searcher.page`.
    """
    known = set(found.inventory.get_column("image_set_id"))
    missing = [] if found.source in {"file", "pages"} else [one for one in ids if one not in known]
    if not missing:
        return found
    searcher = Searcher(reader, found.counters)
    if found.source == "none":
        everything = await all_pages(searcher, 1 + len(missing) // _IDS_PER_PAGE, watch)
        if everything is not None:
            return Lookup(everything, "pages", found.counters, whole_studies=True)
        found.counters.image_sets = 0
    work = _ByCreation(searcher, watch, pages_left=_PAGES_PER_ID * len(missing))
    await for_each(work.ask, missing, at_once=WORKERS)
    await for_each(work.search, windows(work.created), at_once=WORKERS)
    more = pl.concat([found.inventory, _others(work.others), work.rows.frame()])
    return replace(found, inventory=more.unique("image_set_id", keep="last", maintain_order=True), source="searches")


def windows(created: Iterable[int]) -> list[tuple[int, int]]:
    """Return spans (first, last) that contain these times and a second around each, without overlaps. Microseconds."""
    spans: list[tuple[int, int]] = []
    for time in sorted(created):
        first, last = time - SECOND, time + SECOND  # the service may compare whole seconds
        if spans and first <= spans[-1][1]:
            spans[-1] = spans[-1][0], last
        else:
            spans.append((first, last))
    return spans


def _others(found: list[ImageSet]) -> pl.DataFrame:
    """Return image sets that are not primary as `INVENTORY`."""
    rows = [{"image_set_id": one.image_set_id, "primary": False, "storage_tier": one.storage_tier} for one in found]
    return pl.DataFrame(rows, schema=INVENTORY)


@dataclass(slots=True)
class _ByCreation:
    """Reads when image sets were created, and searches for what was created then."""

    searcher: Searcher
    watch: Callable[[SearchCounters], None] | None
    pages_left: int
    rows: CollectedRows = field(default_factory=CollectedRows)
    others: list[ImageSet] = field(default_factory=list)  # not primary
    created: list[int] = field(default_factory=list)  # of the primary ones, in microseconds since 1970

    async def ask(self, image_set_id: str) -> None:
        answer = await self.searcher.reader.image_set(image_set_id)
        if isinstance(answer, Refused):
            return
        if answer.primary is False:
            self.others.append(answer)
        elif answer.created_at is not None:
            self.created.append(round(answer.created_at * SECOND))

    async def search(self, span: tuple[int, int]) -> None:
        values = [{"createdAt": moment(time)} for time in span]
        sort = {"sortField": "createdAt", "sortOrder": "ASC"}
        criteria: Criteria = {"filters": [{"values": values, "operator": "BETWEEN"}], "sort": sort}
        token: str | None = None
        while self.pages_left > 0:
            self.pages_left -= 1
            found = await self.searcher.page(criteria, token)
            if isinstance(found, Refused):
                return
            self.rows.add(found.rows)
            count_page(self.searcher.counters, len(found.rows), self.watch)
            if (token := found.next_token) is None:
                return
