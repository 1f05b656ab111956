"""Find the image sets that a list names: in an inventory file, or with the fewest searches.

Nothing but SearchImageSets is called: it counts as no access, so archived image sets stay where they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import polars as pl
from anyio import to_thread

from bulkedit._concurrency import for_each
from bulkedit.client.responses import Refused
from bulkedit.errors import EndpointError
from bulkedit.inventories.frame import FILTERS, INVENTORY, PADDED, empty, frame_of, trimmed
from bulkedit.inventories.saved import load
from bulkedit.inventories.search import SearchCounters, Searcher, refused_search

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bulkedit.client.contract import Criteria
    from bulkedit.client.reader import Reader
    from bulkedit.inventories.frame import Row

WORKERS: Final = 16  # searches under way at once: at 25/s enough for answers that take half a second
_TRIES: Final = 3  # of one key whose next page is refused
_CHUNK: Final = 10_000  # rows
_ORDER: Final[Criteria] = {"sort": {"sortField": "createdAt", "sortOrder": "ASC"}}

Source = Literal["none", "file", "searches", "pages"]


@dataclass(frozen=True, slots=True)
class Lookup:
    """What was found for a list."""

    inventory: pl.DataFrame  # INVENTORY: every image set that a selector of the list names, and perhaps more
    source: Source  # where from: no question, the inventory file, a search for each key, or all pages of the data store
    counters: SearchCounters
    whole_studies: bool  # every other image set of the studies that were found is there too


async def lookup(
    reader: Reader,
    edits: pl.DataFrame,
    *,
    datastore_id: str,
    inventory_path: Path | None = None,
    watch: Callable[[SearchCounters], None] | None = None,
    pages_at_most: int | None = None,
) -> Lookup:
    """Find what the selectors of ``edits`` (`bulkedit.edits.edit.EDITS`) name, for `resolve`.

    With an inventory file nothing is asked of the service. Without one it is the cheaper of two ways: a search for
    each key (see `search_keys`), or all pages of the data store, 50 image sets each. How many pages there are is not
    known beforehand, so they are read for as long as they are fewer than the searches for all keys would be; if the
    data store has not ended by then, the keys are searched for. So the cost is that of the pages wherever these are
    fewer. **The worst case is less than twice the searches for all keys**: as many pages in vain, less one, and then
    the searches (each with further pages where a key names more than 50 image sets, which either way costs).
    ``pages_at_most`` sets another limit; 0 goes straight to the searches.

    ``watch`` is called on the caller's loop after every page. Raises what `load` and `Searcher.page` raise.
    """
    if inventory_path is not None:
        return await to_thread.run_sync(lookup_in_file, inventory_path, edits, datastore_id)
    counters = SearchCounters(reader.reads)
    forms = _forms(edits.select("selector", "key").unique())
    if not forms.height:
        return Lookup(empty(), "none", counters, whole_studies=False)
    searcher = Searcher(reader, counters)
    limit = forms.height - 1 if pages_at_most is None else pages_at_most
    everything = await _all_pages(searcher, limit, watch)
    if everything is not None:
        return Lookup(everything, "pages", counters, whole_studies=True)
    counters.image_sets = 0
    return Lookup(await _search(searcher, forms, watch), "searches", counters, whole_studies=False)


def lookup_in_file(path: Path, edits: pl.DataFrame, datastore_id: str) -> Lookup:
    """Find what the selectors of ``edits`` (`bulkedit.edits.edit.EDITS`) name in an inventory file.

    Raises what `load` raises.
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
    """Search for each distinct (selector, key) of ``keys``, and answer what was found as `INVENTORY`.

    ``keys``: columns selector and key, String; an image_set_id, which the service has no filter for, and an empty key
    are passed over. Searches run side by side within the quota. The service's EQUAL may or may not tell padding, so a
    text of odd length is searched for with and without its blank: two searches. A key that the service calls invalid
    names nothing; where it calls all of them so, that is raised as DatastoreError. ``counters`` goes on counting.
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
    """Find the other image sets of the studies that ``edits`` are made in.

    ``edits``: `RESOLVED`, those for which the rest of the study matters; where an image set is not primary it does
    not. A search for each study, but for those that have been searched for by their UID, and none at all where
    ``found`` has whole studies.
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
    """What to search for: selector String, form String, each pair once.

    A key without its padding, as it was given, and with the blank that DICOM pads a text of odd length with (PS3.5
    section 6.2; the length is one of bytes, which depends on the character set where a text is more than ASCII).
    """
    asked = keys.filter(pl.col("selector").is_in(list(FILTERS))).with_columns(bare=trimmed("key")).drop_nulls("bare")
    size = pl.col("bare").str.len_bytes()
    padded = pl.col("selector").is_in(PADDED) & ((size % 2 == 1) | (size != pl.col("bare").str.len_chars()))
    text = pl.col("selector").is_in(PADDED)
    return pl.concat(
        [
            asked.select("selector", form="bare"),
            asked.filter(text).select("selector", form="key"),
            asked.filter(padded).select("selector", form=pl.col("bare") + " "),
        ]
    ).unique(maintain_order=True)


@dataclass(slots=True)
class _Rows:
    """Rows that become frames as they come, so that there is no Python object for each of them."""

    frames: list[pl.DataFrame] = field(default_factory=lambda: [empty()])
    waiting: list[Row] = field(default_factory=list)

    def add(self, rows: list[Row]) -> None:
        self.waiting += rows
        if len(self.waiting) >= _CHUNK:
            self._pack()

    def frame(self) -> pl.DataFrame:
        """Each image set once, in the order of creation; where it came twice, the newer of the two."""
        self._pack()
        whole = pl.concat(self.frames).sort("created_at", "image_set_id", "version", maintain_order=True)
        return whole.unique("image_set_id", keep="last", maintain_order=True)

    def _pack(self) -> None:
        self.frames.append(frame_of(self.waiting))
        self.waiting = []


async def _all_pages(
    searcher: Searcher, limit: int, watch: Callable[[SearchCounters], None] | None
) -> pl.DataFrame | None:
    """The whole data store, if it has no more than ``limit`` pages."""
    rows, token = _Rows(), None
    for _ in range(limit):
        found = await searcher.page(_ORDER, token)
        if isinstance(found, Refused):
            if token is None:
                raise refused_search(found)
            return None
        rows.add(found.rows)
        _count(searcher.counters, len(found.rows), watch)
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
    return await to_thread.run_sync(work.rows.frame)


@dataclass(slots=True)
class _Searches:
    """Searches for keys, any number at once."""

    searcher: Searcher
    watch: Callable[[SearchCounters], None] | None
    rows: _Rows = field(default_factory=_Rows)
    accepted: int = 0
    refused: Refused | None = None

    async def search(self, key: tuple[str, str]) -> None:
        """All pages of a key (selector, form); from the first again if the service refuses the token of the next."""
        selector, form = key
        values = [{FILTERS[selector]: form}]
        criteria: Criteria = {"filters": [{"values": values, "operator": "EQUAL"}], **_ORDER}
        for _ in range(_TRIES):
            token: str | None = None
            while not isinstance(found := await self.searcher.page(criteria, token), Refused):
                self.accepted += 1
                self.rows.add(found.rows)
                _count(self.searcher.counters, len(found.rows), self.watch)
                if (token := found.next_token) is None:
                    return
            if token is None:
                self.refused = found
                return
        raise EndpointError("the service does not answer all pages of a search.")


def _count(counters: SearchCounters, image_sets: int, watch: Callable[[SearchCounters], None] | None) -> None:
    counters.image_sets += image_sets
    if watch is not None:
        watch(counters)


def _in_file(inventory: pl.LazyFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """The image sets that are named, and all others of their studies: INVENTORY, in the order of the file."""
    study = trimmed("study_instance_uid")
    named = [
        inventory.select("image_set_id", study=study, name=trimmed(selector)).join(
            same.lazy().select(name=trimmed("key")).unique(), on="name", how="semi"
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
