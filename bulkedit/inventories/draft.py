"""An inventory in progress: a folder next to the final file, consistent at every moment.

    inventory.parquet.part/
        state.json           data store and progress of the parts, replaced as a whole at every checkpoint
        part-00000.parquet   the rows of a thousand pages
        pages-00001.jsonl    one line per page since the last checkpoint, written before the next request
        whole.parquet        all parts together, renamed to inventory.parquet at the end

A page is one line and one write, so a kill loses at most the page in flight. A resumed inventory drops an incomplete
last line. An incomplete checkpoint is made again from the lines, which are deleted only after ``state.json`` lists
their part. The folder has mode 0700 and its files 0600, because they contain health data.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Final, Self

import polars as pl

from bulkedit import _received as received
from bulkedit._files import held_folder
from bulkedit.edits import frame_files
from bulkedit.edits.frame_files import writing
from bulkedit.inventories import saved
from bulkedit.inventories.folder import (
    FORMAT,
    DownloadState,
    PageEntry,
    clear,
    entry_of,
    folder_of,
    is_finished,
    iso,
    may_replace,
    other_datastore,
    part_name,
    read_state,
    remove_if_empty,
    write_parquet,
    write_state,
)
from bulkedit.inventories.frame import CREATED, INVENTORY, Row, frame_of, moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bulkedit.client.contract import Criteria

CHECKPOINT_PAGES: Final = 1_000

_MAX_RESTARTS: Final = 3
_SECOND: Final = 1_000_000
_FAR_FUTURE: Final = datetime(2100, 1, 1, tzinfo=UTC)  # a BETWEEN filter needs an end
_SORT: Final = {"sortField": "createdAt", "sortOrder": "ASC"}  # not updatedAt, which edits change


class InventoryDraft:
    """Created by `open`, which locks the folder for this process. Not thread-safe."""

    def __init__(self, target: Path, folder: Path, state: DownloadState) -> None:
        self._target = target
        self._folder = folder
        self._state = state
        self._rows: list[Row] = []  # since the last checkpoint
        self._pages = 0  # since the last checkpoint
        self._recent: set[str] = set()  # image sets of the latest second of creation, which may be returned twice
        self._log: IO[bytes] | None = None
        self._restarts = 0  # of paging, since the last new image set
        self.finished = False  # the final file exists: a kill came before the folder was removed

    @classmethod
    @contextlib.contextmanager
    def open(cls, target: Path, datastore_id: str, *, now: float, fresh: bool = False) -> Iterator[Self]:
        """Begin an inventory, or resume the interrupted one. ``fresh``: drop that one, and replace an existing file.

        ``now``: epoch seconds. Raises UsageError if the target exists, if the interrupted inventory is of another data
        store or locked by another process, or if the folder cannot be written.
        """
        with contextlib.ExitStack() as stack:
            with writing("the inventory", target):
                draft = cls._opened(target, stack, datastore_id, now=now, fresh=fresh)
                stack.callback(draft.close)
            yield draft

    @classmethod
    def _opened(cls, target: Path, stack: contextlib.ExitStack, datastore_id: str, *, now: float, fresh: bool) -> Self:
        folder = folder_of(target)
        if not folder.exists():
            may_replace(target, fresh=fresh)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stack.enter_context(held_folder(folder, "another process is taking this inventory."))
        stack.callback(remove_if_empty, folder)
        state = None if fresh else read_state(folder)
        if state is None:
            clear(folder)
            may_replace(target, fresh=fresh)
            state = DownloadState(FORMAT, secrets.token_hex(8), datastore_id, iso(now), replaces=target.exists())
            write_state(folder, state)
        elif state.datastore_id != datastore_id:
            raise other_datastore(folder)
        draft = cls(target, folder, state)
        draft.finished = state.done and is_finished(target, state.id)
        if draft.finished:
            draft._remove_all()
        else:
            may_replace(target, fresh=state.replaces)
            draft._resume()
        return draft

    # progress

    @property
    def pages(self) -> int:
        """Pages so far, of all sessions."""
        return self._state.pages

    @property
    def image_sets(self) -> int:
        """Image sets so far."""
        return self._state.image_sets

    @property
    def reached(self) -> int | None:
        """The latest time of creation so far, in microseconds since 1970."""
        return self._state.last

    @property
    def done(self) -> bool:
        """Whether the last page has been read."""
        return self._state.done

    @property
    def token(self) -> str | None:
        """The token of the next page; None for the first."""
        return self._state.token

    @property
    def criteria(self) -> Criteria:
        """The search criteria that the token belongs to."""
        if self._state.since is None:
            return {"sort": _SORT}
        values = [{"createdAt": moment(self._state.since)}, {"createdAt": _FAR_FUTURE}]
        return {"filters": [{"values": values, "operator": "BETWEEN"}], "sort": _SORT}

    @property
    def pages_waiting(self) -> int:
        """Pages since the last checkpoint."""
        return self._pages

    # paging

    def add(self, rows: list[Row], token: str | None) -> None:
        """Add a page and write it to the log. ``token``: of the next page, None for the last page."""
        self._write({"token": token, "rows": rows})
        self._add_page(rows, token)

    def begin_again(self) -> bool:
        """Page again from the last second of creation, because the service no longer accepts the token.

        If the image sets were not in order, page again from the start. Returns False after three restarts without a new
        image set.
        """
        if self._restarts >= _MAX_RESTARTS:
            return False
        if not self._state.ordered:
            self._drop()
        else:
            self._write({"since": self._second()})
            self._page_from(self._second())
        self._restarts += 1
        return True

    def checkpoint(self) -> None:
        """Write the pages since the last checkpoint as a part."""
        if not self._pages:
            return
        with writing("the inventory", self._target):
            write_parquet(frame_of(self._rows).lazy(), self._folder / part_name(self._state.parts))
            self._state.parts += 1
            write_state(self._folder, self._state)
            self._close_log(remove=True)
            self._rows, self._pages = [], 0

    def finish(self, now: float) -> None:
        """Write all parts to the final file, as a whole, and empty the folder. ``now``: epoch seconds."""
        self.checkpoint()
        state = self._state
        about = {
            "format": saved.FORMAT,
            "id": state.id,
            "datastore_id": state.datastore_id,
            "begun": state.begun,
            "taken": iso(now),
            "image_sets": state.image_sets,
            "pages": state.pages,
        }
        with writing("the inventory", self._target):
            write_parquet(self._parts(), self._target, metadata={saved.KEY: json.dumps(about)})
            self._remove_all()

    def close(self) -> None:
        """Close the files; the inventory can be resumed. If there is no page yet, the folder is emptied."""
        self._close_log(remove=False)
        if not self._state.pages:
            clear(self._folder)

    # inside

    def _remove_all(self) -> None:
        """Empty the folder; it is removed when its lock is released."""
        self._close_log(remove=True)
        clear(self._folder)

    def _add_page(self, rows: list[Row], token: str | None) -> None:
        state = self._state
        for row in rows:
            if self._is_new(row[0], row[CREATED]):
                self._rows.append(row)
                state.image_sets += 1
                self._restarts = 0
        self._pages += 1
        state.pages += 1
        state.token, state.done = token, token is None

    def _is_new(self, image_set_id: str, created: int | None) -> bool:
        """Whether an image set was not on an earlier page; only image sets of one second can be returned twice."""
        state = self._state
        if created is None:
            state.ordered = False
            return True
        if state.last is None or created // _SECOND > state.last // _SECOND:
            self._recent.clear()
        elif created // _SECOND < state.last // _SECOND:
            state.ordered = False
            return True
        state.last = max(created, state.last or created)
        if image_set_id in self._recent:
            return False
        self._recent.add(image_set_id)
        return True

    def _second(self) -> int | None:
        last = self._state.last
        return None if last is None else last // _SECOND * _SECOND

    def _page_from(self, since: int | None) -> None:
        self._state.token, self._state.since = None, since

    def _drop(self) -> None:
        """Forget every page."""
        old = self._state
        self._close_log(remove=True)
        self._state = DownloadState(FORMAT, old.id, old.datastore_id, old.begun, replaces=old.replaces)
        self._rows, self._pages = [], 0
        self._recent.clear()
        write_state(self._folder, self._state)

    def _parts(self) -> pl.LazyFrame:
        paths = [self._folder / part_name(number) for number in range(self._state.parts)]
        parts = [frame_files.parquet(path, INVENTORY) for path in paths]
        return pl.concat(parts) if parts else pl.LazyFrame(schema=INVENTORY)

    def _resume(self) -> None:
        """Add the pages that were logged since the last checkpoint."""
        parts = self._parts()  # raises for damaged parts before the first request
        if (second := self._second()) is not None:
            latest = parts.filter(pl.col("created_at") >= moment(second)).select("image_set_id").collect()
            self._recent = set(latest.to_series())
        path = self._log_path()
        if not received.there(path):
            return
        whole = 0
        with received.opened_to_write(path) as log:
            for line in log:
                if (entry := entry_of(line, path)) is None:
                    break
                whole += len(line)
                if isinstance(entry, PageEntry):
                    self._add_page(entry.rows, entry.token)
                else:
                    self._page_from(entry.since)
            log.truncate(whole)

    def _log_path(self) -> Path:
        return self._folder / f"pages-{self._state.parts:05}.jsonl"

    def _write(self, entry: Mapping[str, object]) -> None:
        with writing("the inventory", self._target):
            if self._log is None:
                self._log = received.opened_to_write(self._log_path())
            self._log.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
            self._log.flush()

    def _close_log(self, *, remove: bool) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None
        if remove:
            for path in self._folder.glob("pages-*.jsonl"):
                path.unlink(missing_ok=True)
