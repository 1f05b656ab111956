"""The folder of an inventory in progress: its state, and how its files are written and removed."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field
from types import NoneType
from typing import TYPE_CHECKING, Final, TypeVar, cast

import polars as pl

from bulkedit import _received as received
from bulkedit._files import draft_file, remove_leftovers, write_private_json
from bulkedit.errors import ReceivedError, UsageError
from bulkedit.inventories import saved
from bulkedit.inventories.frame import INVENTORY
from bulkedit.inventories.windows import CreationWindow

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.inventories.frame import Row


FORMAT: Final = 2

_STATE: Final = "state.json"
_LATEST: Final = 10**17  # microseconds since 1970, later than any valid time
_CELLS: Final = [
    (str,) if kind == pl.String() else (bool,) if kind == pl.Boolean() else (int,) for kind in INVENTORY.values()
]
_T = TypeVar("_T")
_OURS: Final = (_STATE, "part-*.parquet", "pages-*.jsonl", "sorted-*.parquet", "merged.parquet")
_ROW_GROUP: Final = 65_536


@dataclass(slots=True)
class DownloadState:
    """The content of `state.json`: the progress of paging when the last part was written."""

    format: int
    id: str  # of this inventory; the final file has it too
    datastore_id: str
    begun: str  # ISO time
    parts: int = 0
    pages: int = 0
    image_sets: int = 0
    last: int | None = None  # microseconds: the latest time of creation so far
    ordered: bool = True  # every image set so far had a time of creation, in ascending order
    sequential: bool = False  # not in windows, because the order of the pages cannot be relied on
    divided: bool = False  # there have been several windows, so parts are not in order
    windows_so_far: int = 1
    windows: list = field(default_factory=lambda: first_windows(None))  # type: ignore[type-arg]  # left to read
    replaces: bool = False  # the user asked to replace an existing file
    base: str | None = None  # only what has changed since the inventory with this id, which is the file
    since: int | None = None  # microseconds: from when on image sets count as changed

    @property
    def done(self) -> bool:
        """Whether the last page has been read."""
        return not self.windows


def first_windows(since: int | None) -> list[dict[str, object]]:
    """The windows to begin with: all image sets, or those that were updated or created since a time (microseconds).

    The documentation does not say whether a new image set is found by its time of update, so both are asked for.
    """
    if since is None:
        return [asdict(CreationWindow(0))]
    return [asdict(CreationWindow(0, begin=since, changes=True)), asdict(CreationWindow(1, begin=since))]


def write_state(folder: Path, state: DownloadState) -> None:
    """Write the state atomically."""
    write_private_json(folder / _STATE, asdict(state))


def folder_of(target: Path) -> Path:
    """Return the folder of an inventory in progress."""
    return target.with_name(f"{target.name}.part")


def part_name(number: int) -> str:
    """Return the file name of a part."""
    return f"part-{number:05}.parquet"


def sorted_name(number: int) -> str:
    """Return the file name of a slab of image sets that are sorted by time of creation."""
    return f"sorted-{number:05}.parquet"


@dataclass(frozen=True, slots=True)
class PageEntry:
    """A line of the log: one page of a window."""

    window: int
    token: str | None  # of the next page, null for the last
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Again:
    """A line of the log: paging of a window restarts from this time, in microseconds."""

    window: int
    begin: int | None


@dataclass(frozen=True, slots=True)
class Division:
    """A line of the log: a window ends at this time, in microseconds, and a new one begins there."""

    window: int
    at: int


def entry_of(line: bytes, path: Path) -> PageEntry | Again | Division | None:
    """Parse a line of the log at ``path``; None if it is incomplete after a kill. Raises ReceivedError."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = received.json_object(line, str(path))
    except ReceivedError:
        return None
    if "at" in entry:
        return _at_possible_time(received.record(Division, entry, str(path)), entry["at"], path)
    if "rows" not in entry:
        return _at_possible_time(received.record(Again, entry, str(path)), entry["begin"], path)
    page = received.record(_Page, entry, str(path))
    if not all(_is_row(row) for row in page.rows):
        raise ReceivedError("a page has an invalid row.", where=str(path))
    return PageEntry(page.window, page.token, cast("list[Row]", [tuple(row) for row in page.rows]))


@dataclass(frozen=True, slots=True)
class _Page:
    window: int
    token: str | None
    rows: list  # type: ignore[type-arg]


def _at_possible_time(entry: _T, time: object, path: Path) -> _T:
    if isinstance(time, int) and abs(time) >= _LATEST:
        raise ReceivedError("a window has an impossible time.", where=str(path), likely=received.CHANGED)
    return entry


def windows_of(state: DownloadState, path: Path) -> list[CreationWindow]:
    """The windows that are left to read. Raises ReceivedError."""
    found = []
    for one in state.windows:
        if not isinstance(one, dict):
            raise ReceivedError("a window is not an object.", where=str(path), likely=received.CHANGED)
        window = received.record(CreationWindow, one, str(path))
        if any(abs(time) >= _LATEST for time in (window.begin, window.end, window.last) if time is not None):
            raise ReceivedError("a window has an impossible time.", where=str(path), likely=received.CHANGED)
        found.append(window)
    return found


def _is_row(row: object) -> bool:
    return (
        isinstance(row, list)
        and len(row) == len(INVENTORY)
        and isinstance(row[0], str)
        and all(type(cell) in {*kinds, NoneType} for cell, kinds in zip(row, _CELLS, strict=True))
        and all(not isinstance(cell, int) or abs(cell) < _LATEST for cell in row)
    )


def write_parquet(frame: pl.LazyFrame, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Stream a frame to a file of mode 0600, which is replaced atomically."""
    with draft_file(path, replace=True) as file:
        frame.sink_parquet(file, row_group_size=_ROW_GROUP, metadata=metadata)


def read_state(folder: Path) -> DownloadState | None:
    """Return the state of an interrupted inventory; None if there is none to resume. Raises ReceivedError."""
    path = folder / _STATE
    return received.state_of(
        path, FORMAT, lambda content: received.record(DownloadState, content, str(path)), hint=_FRESH
    )


_FRESH: Final = "To discard the interrupted inventory and take it again: `fresh=True`"


def clear(folder: Path) -> None:
    """Remove our files from the folder. The state is removed first, so that a kill leaves nothing to resume."""
    for pattern in _OURS:
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    remove_leftovers(folder)


def remove_if_empty(folder: Path) -> None:
    """Remove the folder if it is empty."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def is_finished(target: Path, snapshot: str) -> bool:
    """Whether the file is the final file of the inventory with this id."""
    try:
        return bool(saved.about_of(target)["id"] == snapshot)
    except UsageError:
        return False


def may_replace(target: Path, *, fresh: bool) -> None:
    """Raise UsageError if the file exists, unless ``fresh`` is set and the file is an inventory."""
    if not target.exists():
        return
    if not fresh:
        raise UsageError(
            "this file exists already.",
            where=str(target),
            hint="To put what has changed since into it: `changes=True`. To replace it with a new one: `fresh=True`",
        )
    saved.about_of(target)


def other_datastore(folder: Path) -> UsageError:
    """Return the error for a folder of another data store."""
    return UsageError(
        "an inventory of another data store was interrupted here.",
        where=str(folder),
        hint="Use another file name, or discard that inventory: `fresh=True`",
    )
