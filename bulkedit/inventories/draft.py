"""An inventory in progress: a folder next to the final file, consistent at every moment.

    inventory.parquet.part/
        state.json           data store and progress of the parts, replaced as a whole at every checkpoint
        part-00000.parquet   the rows of a thousand pages
        pages-00001.jsonl    one line per page since the last checkpoint, written before its window's next request
        sorted-00000.parquet, merged.parquet    at the end, while the parts become inventory.parquet

A page is one line and one write, so a kill loses at most the pages in flight, one of each window. A resumed inventory
drops an incomplete last line. An incomplete checkpoint is made again from the lines, which are deleted only after
``state.json`` lists their part. The folder has mode 0700 and its files 0600, because they contain health data.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from dataclasses import asdict, replace
from datetime import datetime
from typing import IO, TYPE_CHECKING, Final, Self, cast

import polars as pl

from bulkedit import _received as received
from bulkedit._files import held_folder
from bulkedit._log import iso
from bulkedit.edits import frame_files
from bulkedit.edits.frame_files import writing
from bulkedit.errors import ReceivedError, UsageError
from bulkedit.inventories import saved
from bulkedit.inventories.folder import (
    FORMAT,
    Again,
    Division,
    DownloadState,
    PageEntry,
    clear,
    entry_of,
    first_windows,
    folder_of,
    is_finished,
    may_replace,
    other_datastore,
    part_name,
    read_state,
    remove_if_empty,
    windows_of,
    write_parquet,
    write_state,
)
from bulkedit.inventories.frame import CREATED, INVENTORY, Row, frame_of, moment
from bulkedit.inventories.sorting import sorted_by_creation
from bulkedit.inventories.windows import SECOND, CreationWindow, in_order, second_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


CHECKPOINT_PAGES: Final = 1_000

_MAX_RESTARTS: Final = 3
# The time of an inventory is that of the machine that took it. AWS refuses requests whose clock is 15 minutes off, and
# searches may show an update late.
_MARGIN_S: Final = 3600


class InventoryDraft:
    """Created by `open`, which locks the folder for this process. Not thread-safe."""

    def __init__(self, target: Path, folder: Path, state: DownloadState) -> None:
        self._target = target
        self._folder = folder
        self._state = state
        self._windows = {window.number: window for window in windows_of(state, folder)}
        self._rows: list[Row] = []  # since the last checkpoint
        self._pages = 0  # since the last checkpoint
        # by window: image sets of its latest second of creation, which may be returned twice
        self._recent: dict[int, set[str]] = {}
        self._log: IO[bytes] | None = None
        self._restarts: dict[int, int] = {}  # of a window, since its last new image set
        self._drops = 0
        self.finished = False  # the final file exists: a kill came before the folder was removed

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, target: Path, datastore_id: str, *, now: float, fresh: bool = False, changes: bool = False
    ) -> Iterator[Self]:
        """Begin an inventory, or resume the interrupted one. ``fresh``: drop that one, and replace an existing file.

        ``changes``: begin with what has changed since the existing file. ``now``: epoch seconds. Raises UsageError if
        the target exists, or does not with ``changes``, if the interrupted inventory is of another data store or locked
        by another process, or if the folder cannot be written.
        """
        with contextlib.ExitStack() as stack:
            with writing("the inventory", target):
                draft = cls._opened(target, stack, datastore_id, now=now, fresh=fresh, changes=changes)
                stack.callback(draft.close)
            yield draft

    @classmethod
    def _opened(
        cls, target: Path, stack: contextlib.ExitStack, datastore_id: str, *, now: float, fresh: bool, changes: bool
    ) -> Self:
        folder = folder_of(target)
        if not folder.exists():
            may_replace(target, fresh=fresh or changes)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stack.enter_context(held_folder(folder, "another process is taking this inventory."))
        stack.callback(remove_if_empty, folder)
        state = None if fresh else read_state(folder)
        if state is None:
            clear(folder)
            may_replace(target, fresh=fresh or changes)
            if changes and not target.exists():
                raise UsageError(
                    "there is no inventory whose changes could be read.",
                    where=str(target),
                    hint="Take the inventory first, without `changes`.",
                )
            state = DownloadState(FORMAT, secrets.token_hex(8), datastore_id, iso(now), replaces=target.exists())
            if changes:
                _begin_at(state, saved.load(target, datastore_id))
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
        """Image sets created up to this time have been read; microseconds since 1970."""
        windows = [window for window in self._windows.values() if not window.changes]
        return min(window.reached or 0 for window in windows) or None if windows else self._state.last

    @property
    def done(self) -> bool:
        """Whether the last page has been read."""
        return not self._windows

    @property
    def windows(self) -> list[CreationWindow]:
        """The windows that are left to read."""
        return list(self._windows.values())

    @property
    def divisions(self) -> int:
        """How often a window was divided."""
        return self._state.windows_so_far - 1

    @property
    def sequential(self) -> bool:
        """Whether it must be read in one window, because the order of the pages cannot be relied on."""
        return self._state.sequential or not self._state.ordered

    def holds(self, window: CreationWindow) -> bool:
        """Whether there is something left to read in a window."""
        return self._windows.get(window.number) is window

    @property
    def pages_waiting(self) -> int:
        """Pages since the last checkpoint."""
        return self._pages

    # paging

    def add(self, window: CreationWindow, rows: list[Row], token: str | None) -> None:
        """Add a page and write it to the log. ``token``: of the next page, None for the last page.

        If the image sets of one of several windows are not in order, everything is read again in one window.
        """
        owned = [row for row in rows if window.owns(row)]
        if self._state.divided and not window.changes and not (in_order(rows) and window.precedes(owned)):
            self._drop()
            return
        beyond = window.end is not None and any((row[CREATED] or 0) >= window.end for row in rows)
        token = None if beyond else token
        self._write({"window": window.number, "token": token, "rows": owned})
        self._add_page(window, owned, token)

    def divide(self, window: CreationWindow, at: int) -> None:
        """End a window at a second that it has not reached, and begin a new window there."""
        self._write({"window": window.number, "at": at})
        self._divide(window, at)

    def begin_again(self, window: CreationWindow) -> bool:
        """Page again from the last second of a window, because the service no longer accepts the token.

        If the image sets were not in order, page again from the start. Returns False after three restarts without a new
        image set.
        """
        restarts = self._restarts.get(window.number, 0)
        if restarts >= _MAX_RESTARTS or self._drops >= _MAX_RESTARTS:
            return False
        if not self._state.ordered and not window.changes:
            self._drop()
        else:
            begin = window.begin if window.last is None or window.changes else second_of(window.last)
            self._write({"window": window.number, "begin": begin})
            window.again(begin)
        self._restarts[window.number] = restarts + 1
        return True

    def checkpoint(self) -> None:
        """Write the pages since the last checkpoint as a part."""
        if not self._pages:
            return
        with writing("the inventory", self._target):
            write_parquet(frame_of(self._rows).lazy(), self._folder / part_name(self._state.parts))
            self._state.parts += 1
            self._state.windows = [asdict(window) for window in self._windows.values()]
            write_state(self._folder, self._state)
            self._close_log(remove=True)
            self._rows, self._pages = [], 0

    def finish(self, now: float) -> None:
        """Write all parts to the final file, as a whole, and empty the folder. ``now``: epoch seconds."""
        self.checkpoint()
        with writing("the inventory", self._target):
            whole, about = self._whole(), self._about(now)
            write_parquet(whole, self._target, metadata={saved.KEY: json.dumps(about)})
            self._remove_all()

    def _about(self, now: float) -> saved.InventoryAbout:
        state = self._state
        about: saved.InventoryAbout = {
            "format": saved.FORMAT,
            "id": state.id,
            "datastore_id": state.datastore_id,
            "begun": state.begun,
            "taken": iso(now),
            "image_sets": state.image_sets,
            "pages": state.pages,
        }
        if state.base is None:
            return about
        base = self._base()
        ids = self._changed().select("image_set_id")
        before = base.scan().select("image_set_id", was=pl.col("version"), had=True)
        before = before.join(ids, on="image_set_id", how="semi")
        other = pl.col("had") & pl.col("version").ne_missing(pl.col("was"))
        found = self._changed().join(before, on="image_set_id", how="left")
        new, changed = found.select(pl.col("had").is_null().sum(), changed=other.sum()).collect().row(0)
        full = base.about.get("full_begun", base.begun)
        counts = saved.ChangeCounts(image_sets=base.image_sets + new, new=new, changed=changed, full_begun=full)
        return cast("saved.InventoryAbout", {**about, **counts})

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

    def _add_page(self, window: CreationWindow, rows: list[Row], token: str | None) -> None:
        for row in rows:
            if self._is_new(window, row[0], row[CREATED]):
                self._rows.append(row)
                self._state.image_sets += 1
                if not window.changes:
                    self._restarts.pop(window.number, None)
        self._pages += 1
        self._state.pages += 1
        window.read(rows, token)
        self._state.last = max(filter(None, (self._state.last, window.last)), default=None)
        if token is None:
            del self._windows[window.number]
            self._recent.pop(window.number, None)

    def _is_new(self, window: CreationWindow, image_set_id: str, created: int | None) -> bool:
        """Whether an image set was not on an earlier page; only image sets of one second can be returned twice."""
        if window.changes:
            return True
        if created is None:
            self._state.ordered = False
            return True
        recent = self._recent.setdefault(window.number, set())
        if window.last is None or created // SECOND > window.last // SECOND:
            recent.clear()
        elif created // SECOND < window.last // SECOND:
            self._state.ordered = False
            return True
        window.last = max(created, window.last or created)
        if image_set_id in recent:
            return False
        recent.add(image_set_id)
        return True

    def _divide(self, window: CreationWindow, at: int) -> None:
        number = self._state.windows_so_far
        self._windows[number] = replace(window, number=number, begin=at, token=None, last=None)
        window.end = at
        self._state.windows_so_far += 1
        self._state.divided = True

    def _drop(self) -> None:
        """Forget every page, and read everything in one window."""
        old = self._state
        self._close_log(remove=True)
        self._state = DownloadState(
            FORMAT,
            *(old.id, old.datastore_id, old.begun),
            sequential=True,
            windows_so_far=1 if old.base is None else 2,
            windows=first_windows(old.since),
            replaces=old.replaces,
            base=old.base,
            since=old.since,
        )
        self._windows = {window.number: window for window in windows_of(self._state, self._folder)}
        self._rows, self._pages = [], 0
        self._recent.clear()
        self._drops += 1
        write_state(self._folder, self._state)

    def _whole(self) -> pl.LazyFrame:
        """All image sets, by time of creation; those of one time in the order of the pages."""
        if self._state.base is not None:
            return self._merged(self._base().scan().with_row_index("place"))
        parts = self._parts()
        return sorted_by_creation(parts, self._folder) if self._state.divided else parts

    def _merged(self, base: pl.LazyFrame) -> pl.LazyFrame:
        """The last inventory with what has changed; ``base``: with the place of each image set."""
        changed = self._changed()
        ids = changed.select("image_set_id")
        known = base.join(ids, on="image_set_id", how="semi").select("image_set_id", "place")
        placed = changed.join(known, on="image_set_id", how="left")
        kept = base.join(ids, on="image_set_id", how="anti")
        merged = self._folder / "merged.parquet"
        write_parquet(pl.concat([part.select(*INVENTORY, "place") for part in (kept, placed)]), merged)
        return sorted_by_creation(pl.scan_parquet(merged, glob=False), self._folder, then="place").drop("place")

    def _changed(self) -> pl.LazyFrame:
        """Image sets that were created or updated since the last inventory, each once, as they were read last."""
        found = self._parts().sort("version", maintain_order=True)
        return found.unique("image_set_id", keep="last", maintain_order=True)

    def _base(self) -> saved.Snapshot:
        """The file that changes are put into. Raises UsageError if it is another one now."""
        base = saved.load(self._target, self._state.datastore_id)
        if base.about["id"] != self._state.base:
            raise UsageError(
                "this inventory was replaced while its changes were read.",
                where=str(self._target),
                hint="Take it again: `fresh=True`",
            )
        return base

    def _parts(self) -> pl.LazyFrame:
        paths = [self._folder / part_name(number) for number in range(self._state.parts)]
        parts = [frame_files.parquet(path, INVENTORY) for path in paths]
        return pl.concat(parts) if parts else pl.LazyFrame(schema=INVENTORY)

    def _resume(self) -> None:
        """Add the pages that were logged since the last checkpoint."""
        parts = self._parts()  # raises for damaged parts before the first request
        latest = {
            window.number: window.last
            for window in self._windows.values()
            if window.last is not None and not window.changes
        }
        for number, last in latest.items():
            begin, end = moment(second_of(last)), moment(second_of(last) + SECOND)
            same = parts.filter(pl.col("created_at").is_between(begin, end, closed="left"))
            self._recent[number] = set(same.select("image_set_id").collect().to_series())
        path = self._log_path()
        if not received.there(path):
            return
        whole = 0
        with received.opened_to_write(path) as log:
            for line in log:
                if (entry := entry_of(line, path)) is None:
                    break
                whole += len(line)
                self._replay(entry, path)
            log.truncate(whole)

    def _replay(self, entry: PageEntry | Again | Division, path: Path) -> None:
        window = self._windows.get(entry.window)
        if window is None:
            raise ReceivedError("a line is of a window that is not there.", where=str(path), likely=received.CHANGED)
        if isinstance(entry, PageEntry):
            self._add_page(window, entry.rows, entry.token)
        elif isinstance(entry, Division):
            self._divide(window, entry.at)
        else:
            window.again(entry.begin)

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


def _begin_at(state: DownloadState, base: saved.Snapshot) -> None:
    """Begin with what has changed since an inventory."""
    since = datetime.fromisoformat(base.begun).timestamp() - _MARGIN_S
    state.base, state.since = base.about["id"], round(since) * SECOND
    state.windows = first_windows(state.since)
    state.windows_so_far = len(state.windows)
