"""Finds the image sets that a list names, in an inventory file or with few searches.

Only SearchImageSets is called. It does not count as access, so archived image sets keep their storage tier.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import polars as pl

from bulkedit._concurrency import for_each, run_blocking
from bulkedit.client.responses import Refused
from bulkedit.errors import EndpointError
from bulkedit.inventories.frame import FILTERS, INVENTORY, PADDED, empty, frame_of, trimmed, trimmed_key
from bulkedit.inventories.saved import load
from bulkedit.inventories.search import SearchCounters, Searcher, refused_search

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bulkedit.client.contract import Criteria
    from bulkedit.client.reader import Reader
    from bulkedit.inventories.frame import Row

WORKERS: Final = 16  # concurrent searches: enough for 25/s if an answer takes half a second
_TRIES: Final = 3  # per key, if the token of the next page is refused
_CHUNK: Final = 10_000  # rows
_ORDER: Final[Criteria] = {"sort": {"sortField": "createdAt", "sortOrder": "ASC"}}

Source = Literal["none", "file", "searches", "pages"]


@dataclass(frozen=True, slots=True)
class Lookup:
    """The image sets found for a list."""

    inventory: pl.DataFrame  # INVENTORY: every image set that a selector of the list names, and perhaps more
    source: Source  # no request, the inventory file, a search per key, or all pages of the data store
    counters: SearchCounters
    whole_studies: bool  # ``inventory`` has all image sets of each study found
    missed: str | None = None  # why the image sets that are named by id were not looked up, if they should have been


async def lookup(
    reader: Reader,
    edits: pl.DataFrame,
    *,
    datastore_id: str,
    inventory_path: Path | None = None,
    watch: Callable[[SearchCounters], None] | None = None,
    pages_at_most: int | None = None,
) -> Lookup:
    """Find the image sets that the selectors of ``edits`` (`bulkedit.edits.edit.EDITS`) name, for `resolve`.

    With an inventory file, no request is sent. Without one, there are two methods: a search per key (`search_keys`), or
    all pages of the data store, with 50 image sets each. The number of pages is unknown at first, so pages are read
    while they are fewer than the searches for all keys would be. If the data store has more, the keys are searched for.
    **The worst case is less than twice the searches for all keys.** A key that names more than 50 image sets needs
    further pages either way. ``pages_at_most`` sets another limit; with 0, only keys are searched for.

    ``watch`` is called on the caller's loop after every page. Raises the errors of `load` and `Searcher.page`.
    """
    if inventory_path is not None:
        return await run_blocking(lookup_in_file, inventory_path, edits, datastore_id)
    counters = SearchCounters(reader.reads)
    forms = _forms(edits.select("selector", "key").unique())
    if not forms.height:
        return Lookup(empty(), "none", counters, whole_studies=False)
    searcher = Searcher(reader, counters)
    limit = forms.height - 1 if pages_at_most is None else pages_at_most
    everything = await all_pages(searcher, limit, watch)
    if everything is not None:
        return Lookup(everything, "pages", counters, whole_studies=True)
    counters.image_sets = 0
    return Lookup(await _search(searcher, forms, watch), "searches", counters, whole_studies=False)


def lookup_in_file(path: Path, edits: pl.DataFrame, datastore_id: str) -> Lookup:
    """Find the image sets that the selectors of ``edits`` (`bulkedit.edits.edit.EDITS`) name in an inventory file.

    Raises the errors of `load`.
    """
    keys = edits.select("selector", "key").unique()
    return Lookup(_in_file(load(path, datastore_id).scan(), keys), "file", SearchCounters(), whole_studies=True)


async def search_keys(
    reader: Reader,
    keys: pl.DataFrame,
    *,
    watch: Callable[[SearchCounters], None] | None = None,
    counters: SearchCounters | None = None,
) -> pl.DataFrame:
    """Search for each distinct (selector, key) of ``keys``, and return the image sets found as `INVENTORY`.

    ``keys``: columns selector and key, String. Empty keys and image_set_id, which has no search filter, are skipped.
    Searches run concurrently within the quota. The service's EQUAL may or may not ignore spaces, so LO and SH are
    searched for in three forms (`_forms`). A key that the service refuses as invalid matches
    nothing; if it refuses all of them, DatastoreError is raised. ``counters``: to be increased further, or None.
    """
    searcher = Searcher(reader, counters or SearchCounters(reader.reads))
    return await _search(searcher, _forms(keys), watch)


async def complete_studies(
    reader: Reader,
    found: Lookup,
    edits: pl.DataFrame,
    *,
    watch: Callable[[SearchCounters], None] | None = None,
) -> Lookup:
    """Find the other image sets of the studies that ``edits`` change.

    ``edits``: `RESOLVED`, those for which the rest of the study matters; image sets that are not primary are skipped.
    Sends one search per study that was not searched for by its UID, and none if ``found`` has whole studies.
    """
    study = trimmed("study_instance_uid")
    primary = found.inventory.lazy().filter("primary").select("image_set_id", key=study).drop_nulls("key")
    searched = edits.lazy().filter(pl.col("selector") == "study_instance_uid").select(key=trimmed("key"))
    keys = (
        edits.lazy()
        .select("image_set_id")
        .join(primary, on="image_set_id")
        .join(searched, on="key", how="anti")
        .select(selector=pl.lit("study_instance_uid"), key="key")
        .unique()
        .sort("key")
        .collect()
    )
    if found.whole_studies or not keys.height:
        return found
    rest = await search_keys(reader, keys, watch=watch, counters=found.counters)
    whole = pl.concat([found.inventory, rest]).unique("image_set_id", keep="last", maintain_order=True)
    return Lookup(whole, found.source, found.counters, whole_studies=False)


def _forms(keys: pl.DataFrame) -> pl.DataFrame:
    """Return the texts to search for: selector String, form String, each pair once.

    LO and SH are searched for without spaces around them, as given, after one space, and each of these with the space
    that pads a text of odd length (PS3.5 section 6.2). That length is in bytes, so for a text beyond ASCII it depends
    on the character set.
    """
    asked = keys.filter(pl.col("selector").is_in(list(FILTERS))).with_columns(bare=trimmed_key()).drop_nulls("bare")
    text = asked.filter(pl.col("selector").is_in(list(PADDED)))
    moved = text.with_columns(bare=" " + pl.col("bare"))
    size = pl.col("bare").str.len_bytes()
    odd = (size % 2 == 1) | (size != pl.col("bare").str.len_chars())
    return pl.concat(
        [
            asked.select("selector", form="bare"),
            text.select("selector", form="key"),
            moved.select("selector", form="bare"),
            pl.concat([text, moved]).filter(odd).select("selector", form=pl.col("bare") + " "),
        ]
    ).unique(maintain_order=True)


@dataclass(slots=True)
class CollectedRows:
    """Collects rows into frames, so that few Python objects are in memory."""

    frames: list[pl.DataFrame] = field(default_factory=lambda: [empty()])
    waiting: list[Row] = field(default_factory=list)

    def add(self, rows: list[Row]) -> None:
        """Add the rows of a page."""
        self.waiting += rows
        if len(self.waiting) >= _CHUNK:
            self._pack()

    def frame(self) -> pl.DataFrame:
        """Return each image set once, by time of creation; of duplicates, the newer one."""
        self._pack()
        whole = pl.concat(self.frames).sort("created_at", "image_set_id", "version", maintain_order=True)
        return whole.unique("image_set_id", keep="last", maintain_order=True)

    def _pack(self) -> None:
        self.frames.append(frame_of(self.waiting))
        self.waiting = []


async def all_pages(
    searcher: Searcher, limit: int, watch: Callable[[SearchCounters], None] | None
) -> pl.DataFrame | None:
    """Return the whole data store, or None if it has more than ``limit`` pages."""
    rows, token = CollectedRows(), None
    for _ in range(limit):
        found = await searcher.page(_ORDER, token)
        if isinstance(found, Refused):
            if token is None:
                raise refused_search(found)
            return None
        rows.add(found.rows)
        count_page(searcher.counters, len(found.rows), watch)
        if found.next_token is None:
            return rows.frame()
        token = found.next_token
    return None


async def _search(
    searcher: Searcher, forms: pl.DataFrame, watch: Callable[[SearchCounters], None] | None
) -> pl.DataFrame:
    work = _Searches(searcher, watch)
    await for_each(work.search, forms.iter_rows(), at_once=WORKERS)
    if work.refused is not None and work.accepted == 0:
        raise refused_search(work.refused)
    return await run_blocking(work.rows.frame)


@dataclass(slots=True)
class _Searches:
    """Searches for keys, concurrently."""

    searcher: Searcher
    watch: Callable[[SearchCounters], None] | None
    rows: CollectedRows = field(default_factory=CollectedRows)
    accepted: int = 0
    refused: Refused | None = None

    async def search(self, key: tuple[str, str]) -> None:
        """Read all pages of a key (selector, form); start again if the service refuses the token of the next page."""
        selector, form = key
        values = [{FILTERS[selector]: form}]
        criteria: Criteria = {"filters": [{"values": values, "operator": "EQUAL"}], **_ORDER}
        for _ in range(_TRIES):
            token: str | None = None
            while not isinstance(found := await self.searcher.page(criteria, token), Refused):
                self.accepted += 1
                self.rows.add(found.rows)
                count_page(self.searcher.counters, len(found.rows), self.watch)
                if (token := found.next_token) is None:
                    return
            if token is None:
                self.refused = found
                return
        raise EndpointError("the service does not return all pages of a search.")


def count_page(counters: SearchCounters, image_sets: int, watch: Callable[[SearchCounters], None] | None) -> None:
    """Count the image sets of a page, and call ``watch``."""
    counters.image_sets += image_sets
    if watch is not None:
        watch(counters)


def _in_file(inventory: pl.LazyFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """Return the named image sets and all others of their studies: INVENTORY, in the order of the file."""
    study = trimmed("study_instance_uid")
    named = [
        inventory.select("image_set_id", study=study, name=trimmed(selector)).join(
            same.lazy().select(name=trimmed_key()).unique(), on="name", how="semi"
        )
        for (selector,), same in keys.group_by(["selector"])
    ]
    if not named:
        return empty()
    found = pl.concat(pl.collect_all(named, engine="streaming"))
    image_sets = found.lazy().select("image_set_id", named=True).unique()
    studies = found.lazy().select("study", touched=True).drop_nulls("study").unique()
    return (
        inventory.with_columns(study=study)
        .join(image_sets, on="image_set_id", how="left", maintain_order="left")
        .join(studies, on="study", how="left", maintain_order="left")
        .filter(pl.col("named").is_not_null() | pl.col("touched").is_not_null())
        .select(INVENTORY.names())
        .collect(engine="streaming")
    )
