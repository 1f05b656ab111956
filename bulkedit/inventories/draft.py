"""An inventory that is being taken: a folder beside the file that it will become, and whole at every instant.

    inventory.parquet.part/
        state.json           data store, and how far the parts reach: replaced whole at every checkpoint
        part-00000.parquet   the rows of a thousand pages
        pages-00001.jsonl    the pages since the last checkpoint, a line each, written before the next page is asked for
        whole.parquet        all parts together; its last step is to be renamed to inventory.parquet

A page is one line, and so one write: a kill loses the page that was on its way at most. A line that a kill cut short
is cut off when the snapshot goes on. What a kill leaves of a checkpoint is made again from the lines, which go only
after ``state.json`` says that their part is there. The folder is 0700 and its files 0600: they hold health data.
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
_SORT: Final = {"sortField": "createdAt", "sortOrder": "ASC"}  # edits move image sets in the order of updatedAt


class InventoryDraft:
    """Made by `open`, which holds the folder for this process. Not for use from two threads at once."""

    def __init__(self, target: Path, folder: Path, state: DownloadState) -> None:
        self._target = target
        self._folder = folder
        self._state = state
        self._rows: list[Row] = []  # since the last checkpoint
        self._pages = 0  # likewise
        self._recent: set[str] = set()  # image sets of the latest second of creation, which may come twice
        self._log: IO[bytes] | None = None
        self._restarts = 0  # how often paging began again since the last new image set
        self.finished = False  # the file is there already: a kill came between its last step and the folder's removal

    @classmethod
    @contextlib.contextmanager
    def open(cls, target: Path, datastore_id: str, *, now: float, fresh: bool = False) -> Iterator[Self]:
        """Begin a snapshot, or go on with the one that was interrupted. ``fresh`` drops that one, and replaces a file.

        Raises UsageError where the target is there already, where the interrupted snapshot is of another data store or
        held by another process, and where nothing can be written.
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

    # where it stands

    @property
    def begun(self) -> str:
        """When the first page was asked for, as ISO text."""
        return self._state.begun

    @property
    def pages(self) -> int:
        """Pages so far, of all processes."""
        return self._state.pages

    @property
    def image_sets(self) -> int:
        """Image sets so far."""
        return self._state.image_sets

    @property
    def reached(self) -> int | None:
        """The latest time of creation so far, in microseconds."""
        return self._state.last

    @property
    def done(self) -> bool:
        """Whether the last page is here."""
        return self._state.done

    @property
    def token(self) -> str | None:
        """The token of the next page; None for the first."""
        return self._state.token

    @property
    def criteria(self) -> Criteria:
        """What to search for: the token belongs to it."""
        if self._state.since is None:
            return {"sort": _SORT}
        values = [{"createdAt": moment(self._state.since)}, {"createdAt": _FAR_FUTURE}]
        return {"filters": [{"values": values, "operator": "BETWEEN"}], "sort": _SORT}

    @property
    def pages_waiting(self) -> int:
        """How many pages have come since the last checkpoint."""
        return self._pages

    # going on

    def add(self, rows: list[Row], token: str | None) -> None:
        """Take in a page; it is kept when this returns. ``token`` is that of the next, None on the last."""
        self._write({"token": token, "rows": rows})
        self._add_page(rows, token)

    def begin_again(self) -> bool:
        """The token is no longer taken: page again, from the last second that was reached.

        Where the order of the pages cannot be trusted, paging begins anew. False where that brought nothing new before.
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
        """Make the pages since the last checkpoint a part."""
        if not self._pages:
            return
        with writing("the inventory", self._target):
            write_parquet(frame_of(self._rows).lazy(), self._folder / part_name(self._state.parts))
            self._state.parts += 1
            write_state(self._folder, self._state)
            self._close_log(remove=True)
            self._rows, self._pages = [], 0

    def finish(self, now: float) -> None:
        """All parts become the file, which appears whole under its name; then the folder goes."""
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
        """Let go of the files; the snapshot can go on later. Where no page has come, nothing stays behind."""
        self._close_log(remove=False)
        if not self._state.pages:
            clear(self._folder)

    # inside

    def _remove_all(self) -> None:
        """Empty the folder, which then goes when it is let go of."""
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
        """Whether an image set was not on an earlier page; only those of one second can come twice."""
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
        """Take in what the log holds since the last checkpoint."""
        parts = self._parts()  # what is wrong with them is said before anything is asked for
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
