"""A de-identification on disk: the folder beside its edit list, whole at every instant.

    edits.parquet.deid/
        about.json              profile, fingerprint of the key, what was asked for; when done, the counts
        selection.parquet       the image sets to read: columns `SELECTION`
        edits-00000.parquet     edits of a part; findings-00000.parquet beside it
        done-00000.parquet      the image sets of the part: columns `DONE`; a part is there when this is
        image-sets.parquet      all of them, when done
        findings.parquet        all findings, when done

Whatever ends a run, the same command goes on after the last part. The folder is 0700 and its files 0600: edits and
UIDs are health data. The key is never here.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Final, Self, TypedDict

import polars as pl

from bulkedit import _received as received
from bulkedit._files import draft_file, held_folder, remove_leftovers, write_private_json
from bulkedit._json import object_in
from bulkedit.edits import frame_files
from bulkedit.edits.frame_files import writing
from bulkedit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from bulkedit._json import Json, JsonObject
    from bulkedit.deidentification.walk import DeidFinding, Derived, Row

FORMAT: Final = 1
PART_EDITS: Final = 200_000  # a part is written when it has so many edits,
PART_IMAGE_SETS: Final = 2_000  # or so many image sets
_ABOUT: Final = "about.json"

EDITS: Final = pl.Schema(
    {
        "image_set_id": pl.String(),
        "action": pl.String(),
        "attribute": pl.String(),
        "value": pl.String(),
        "series_uid": pl.String(),
        "instance_uid": pl.String(),
        "vr": pl.String(),
        "force": pl.Boolean(),
        "reason": pl.String(),
    }
)
FINDINGS: Final = pl.Schema(
    {
        "image_set_id": pl.String(),
        "level": pl.String(),
        "attribute": pl.String(),
        "kind": pl.String(),
        "times": pl.UInt32(),
    }
)
SELECTION: Final = pl.Schema(
    {
        "image_set_id": pl.String(),
        "version": pl.UInt32(),  # when it was selected; null where not told, as below
        "primary": pl.Boolean(),
        "storage_tier": pl.String(),
    }
)
DONE: Final = pl.Schema(
    {
        "image_set_id": pl.String(),
        "edits": pl.UInt32(),
        "unreachable": pl.UInt32(),
        "marked": pl.Boolean(),  # it bore the mark of this key already
    }
)
_KINDS: Final = {"edits": EDITS, "findings": FINDINGS, "done": DONE}
_WHOLE: Final = {"findings": "findings.parquet", "done": "image-sets.parquet"}


class DeidCounts(TypedDict):
    """What a de-identification came to."""

    image_sets: int
    changed: int  # image sets with edits
    marked: int  # image sets that had the mark of this key already
    edits: int
    unreachable: int  # attributes that no edit can reach


class DeidRecord:
    """Made by `open`, which holds the folder for this process."""

    def __init__(self, target: Path, folder: Path, about: JsonObject) -> None:
        self.target = target
        self.folder = folder
        self.about = about
        self._edits: list[Row] = []
        self._findings: list[DeidFinding] = []
        self._done: list[tuple[str, int, int, bool]] = []
        self._parts = next(n for n in itertools.count() if not received.there(folder / _part("done", n)))

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, target: Path, asked: JsonObject, *, former: Mapping[str, Json] | None = None, fresh: bool = False
    ) -> Iterator[Self]:
        """Begin, or go on with what was interrupted. ``asked`` must be the same then: profile, key, selection.

        ``former``: what an earlier version of bulkedit wrote for some of it; that counts as the same.

        Raises UsageError where the target is there already, was begun with other settings, or cannot be written.
        """
        folder = folder_of(target)
        with writing("the edit list", target), contextlib.ExitStack() as stack:
            if target.exists() and not fresh:
                raise UsageError(
                    "there is something there already.", where=str(target), hint="To replace it: `fresh=True`"
                )
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(held_folder(folder, "another process is at work here."))
            remove_leftovers(folder)
            about = None if fresh else _read_about(folder)
            if (about is not None and about.get("counts")) or about is None:
                _clear(folder)
                about = {"format": FORMAT, "asked": asked}
                write_private_json(folder / _ABOUT, about)
            elif about["asked"] != asked:
                found = object_in(about, "asked")
                same = {name: asked.get(name) for name, value in (former or {}).items() if found.get(name) == value}
                going_on: JsonObject = {**found, **same}
                about = {**about, "asked": going_on}
                if going_on != asked:
                    different = [name for name, value in asked.items() if going_on.get(name) != value]
                    raise UsageError(
                        f"what was interrupted here was begun with another {' and '.join(different)}.",
                        where=str(folder),
                        hint="Give the file another name, or drop what was begun: `fresh=True`",
                    )
                write_private_json(folder / _ABOUT, about)
            yield cls(target, folder, about)

    @property
    def done(self) -> set[str]:
        """The image sets whose edits are kept."""
        return set(self._whole("done").collect().get_column("image_set_id")) if self._parts else set()

    def selection(self) -> pl.DataFrame | None:
        """The image sets to read, as they were found; None where they were not looked for yet."""
        path = self.folder / "selection.parquet"
        return frame_files.parquet(path, SELECTION).collect() if received.there(path) else None

    def select(self, frame: pl.DataFrame) -> None:
        """Keep the image sets to read."""
        self._write(frame.select(SELECTION.names()).cast(SELECTION), "selection.parquet")

    def add(self, image_set_id: str, derived: Derived, unreachable: int) -> None:
        """Take in what came of one document; it is kept when its part is full, or by `checkpoint`."""
        self._edits += derived.rows
        self._findings += derived.findings
        self._done.append((image_set_id, len(derived.rows), unreachable, derived.marked))

    @property
    def full(self) -> bool:
        """Whether a checkpoint is due."""
        return len(self._edits) >= PART_EDITS or len(self._done) >= PART_IMAGE_SETS

    def checkpoint(self) -> None:
        """Keep what was taken in. The file that says so comes last."""
        if not self._done:
            return
        with writing("the edit list", self.target):
            for kind, rows in (("edits", self._edits), ("findings", self._findings), ("done", self._done)):
                self._write(frame(rows, _KINDS[kind]), _part(kind, self._parts))
        self._parts += 1
        self._edits, self._findings, self._done = [], [], []

    def finish(self) -> DeidCounts:
        """Write the edit list under its name, and the counts; then the parts go."""
        self.checkpoint()
        with writing("the edit list", self.target):
            for kind, name in _WHOLE.items():
                _sink(self._whole(kind), self.folder / name)
            counts = self._counts()
            _sink(self._whole("edits"), self.target)
            write_private_json(self.folder / _ABOUT, {**self.about, "counts": counts})
            for kind in _KINDS:
                for path in self.folder.glob(f"{kind}-?????.parquet"):
                    path.unlink()
        return counts

    def findings(self) -> pl.DataFrame:
        """All findings of a finished run: columns `FINDINGS`."""
        return frame_files.parquet(self.folder / _WHOLE["findings"], FINDINGS).collect()

    def _counts(self) -> DeidCounts:
        done = frame_files.parquet(self.folder / _WHOLE["done"], DONE).collect()
        changed = done.filter(pl.col("edits") > 0)
        return {
            "image_sets": done.height,
            "changed": changed.height,
            "marked": int(done.get_column("marked").sum()),
            "edits": int(done.get_column("edits").sum()),
            "unreachable": int(done.get_column("unreachable").sum()),
        }

    def _whole(self, kind: str) -> pl.LazyFrame:
        files = [self.folder / _part(kind, number) for number in range(self._parts)]
        parts = [frame_files.parquet(path, _KINDS[kind]) for path in files]
        return pl.concat(parts) if parts else pl.LazyFrame(schema=_KINDS[kind])

    def _write(self, frame: pl.DataFrame, name: str) -> None:
        _sink(frame.lazy(), self.folder / name)


def folder_of(target: Path) -> Path:
    """The folder of a de-identification, beside its edit list."""
    return target.with_name(f"{target.name}.deid")


def _part(kind: str, number: int) -> str:
    return f"{kind}-{number:05}.parquet"


def frame(rows: Iterable[tuple[object, ...]], schema: pl.Schema) -> pl.DataFrame:
    """Rows as a frame."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)  # by columns: rows would be looked at one by one
    return pl.DataFrame(
        [pl.Series(name, column, kind) for (name, kind), column in zip(schema.items(), columns, strict=True)]
    )


def _sink(frame: pl.LazyFrame, path: Path) -> None:
    """Write Parquet or CSV, as the name says, for its owner's eyes, without holding it in memory."""
    with draft_file(path, replace=True) as file:
        if path.suffix == ".csv":
            frame.sink_csv(file)
        else:
            frame.sink_parquet(file)


def _read_about(folder: Path) -> JsonObject | None:
    """What was begun, None where nothing was. Raises ReceivedError."""
    path = folder / _ABOUT

    def checked(about: JsonObject) -> JsonObject:
        received.require(about, {"asked": (dict,)}, str(path))
        return about

    return received.state_of(path, FORMAT, checked, hint="To drop what was begun, and begin again: `fresh=True`")


def _clear(folder: Path) -> None:
    """Remove what is ours. What tells how to go on goes first."""
    (folder / _ABOUT).unlink(missing_ok=True)
    for pattern in (
        "selection.parquet",
        "inventory.parquet",
        *_WHOLE.values(),
        *(f"{kind}-?????.parquet" for kind in _KINDS),
        ".*",
    ):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
