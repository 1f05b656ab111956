"""The folder beside an edit list that records a de-identification; a crash never leaves it inconsistent.

    edits.parquet.deid/
        about.json              profile, fingerprint of the key, settings; when finished, the counts
        selection.parquet       the image sets to read: columns `SELECTION`
        edits-00000.parquet     edits of a part; findings-00000.parquet has its findings
        done-00000.parquet      the image sets of the part: columns `DONE`; written last, it makes the part valid
        image-sets.parquet      all image sets, when finished
        findings.parquet        all findings, when finished

If the process is interrupted, the same command continues after the last part. The folder is 0700 and its files 0600,
because edits and UIDs are health data. The key is never stored here.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Final, Self, TypedDict

import polars as pl

from bulkedit import _received as received
from bulkedit._files import draft_file, held_folder, remove_leftovers, write_private_json
from bulkedit._json import object_in
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits import frame_files
from bulkedit.edits.frame_files import writing
from bulkedit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from bulkedit._json import Json, JsonObject
    from bulkedit.deidentification.walk import DeidFinding, Derived, Row

FORMAT: Final = 1
# a part is written when it reaches one of these numbers
PART_EDITS: Final = 200_000
PART_IMAGE_SETS: Final = 2_000
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
# Values that are made of stored ones may break rules, as those do. The new UIDs are of our making.
_FROM_STORED: Final = (pl.col("action") == "set") & ~pl.col("attribute").is_in(list(dicom.FORCED_UIDS))

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
        "version": pl.UInt32(),  # when it was selected; this and the columns below are null if not known
        "primary": pl.Boolean(),
        "storage_tier": pl.String(),
    }
)
DONE: Final = pl.Schema(
    {
        "image_set_id": pl.String(),
        "edits": pl.UInt32(),
        "unreachable": pl.UInt32(),
        "marked": pl.Boolean(),  # it already had the mark of this key
    }
)
_KINDS: Final = {"edits": EDITS, "findings": FINDINGS, "done": DONE}
_WHOLE: Final = {"findings": "findings.parquet", "done": "image-sets.parquet"}


class DeidCounts(TypedDict):
    """The counts of a finished de-identification."""

    image_sets: int
    changed: int  # image sets with edits
    marked: int  # image sets that had the mark of this key already
    edits: int
    unreachable: int  # attributes that no edit can reach


class DeidRecord:
    """The record of one de-identification. Use `open`, which locks the folder for this process."""

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
        """Start a de-identification, or continue an interrupted one.

        ``asked``: the settings (profile, key, selection), which must equal those of the interrupted one.
        ``former``: values that an earlier version of bulkedit wrote for some settings; they count as equal.
        ``fresh``: replace what exists.

        Raises UsageError if the target exists, was started with other settings, or cannot be written.
        """
        folder = folder_of(target)
        with writing("the edit list", target), contextlib.ExitStack() as stack:
            if target.exists() and not fresh:
                raise UsageError("this file exists already.", where=str(target), hint="To replace it: `fresh=True`")
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(held_folder(folder, "another process is using this folder."))
            remove_leftovers(folder)
            about = None if fresh else _read_about(folder)
            if (about is not None and about.get("counts")) or about is None:
                _clear(folder)
                about = {"format": FORMAT, "asked": asked}
                write_private_json(folder / _ABOUT, about)
            elif about["asked"] != asked:
                found = object_in(about, "asked")
                same = {name: asked.get(name) for name, value in (former or {}).items() if found.get(name) == value}
                continued: JsonObject = {**found, **same}
                about = {**about, "asked": continued}
                if continued != asked:
                    different = [name for name, value in asked.items() if continued.get(name) != value]
                    raise UsageError(
                        f"the interrupted de-identification was started with another {' and '.join(different)}.",
                        where=str(folder),
                        hint="Name another file, or discard what was started: `fresh=True`",
                    )
                write_private_json(folder / _ABOUT, about)
            yield cls(target, folder, about)

    @property
    def done(self) -> set[str]:
        """The image sets whose edits are on disk."""
        return set(self._whole("done").collect().get_column("image_set_id")) if self._parts else set()

    def selection(self) -> pl.DataFrame | None:
        """The image sets to read; None if they have not been selected yet."""
        path = self.folder / "selection.parquet"
        return frame_files.parquet(path, SELECTION).collect() if received.there(path) else None

    def select(self, frame: pl.DataFrame) -> None:
        """Write the image sets to read."""
        self._write(frame.select(SELECTION.names()).cast(SELECTION), "selection.parquet")

    def add(self, image_set_id: str, derived: Derived, unreachable: int) -> None:
        """Add the result of one document. `checkpoint` writes it to disk."""
        self._edits += derived.rows
        self._findings += derived.findings
        self._done.append((image_set_id, len(derived.rows), unreachable, derived.marked))

    @property
    def full(self) -> bool:
        """Whether a checkpoint is due."""
        return len(self._edits) >= PART_EDITS or len(self._done) >= PART_IMAGE_SETS

    def checkpoint(self) -> None:
        """Write the results so far as a part; its ``done`` file is written last."""
        if not self._done:
            return
        with writing("the edit list", self.target):
            for kind, rows in (("edits", self._edits), ("findings", self._findings), ("done", self._done)):
                self._write(frame(rows, _KINDS[kind]), _part(kind, self._parts))
        self._parts += 1
        self._edits, self._findings, self._done = [], [], []

    def finish(self) -> DeidCounts:
        """Write the edit list and the counts, and delete the parts."""
        self.checkpoint()
        with writing("the edit list", self.target):
            for kind, name in _WHOLE.items():
                _sink(self._whole(kind), self.folder / name)
            counts = self._counts()
            _sink(self._whole("edits").with_columns(unchecked=_FROM_STORED), self.target)
            write_private_json(self.folder / _ABOUT, {**self.about, "counts": counts})
            for kind in _KINDS:
                for path in self.folder.glob(f"{kind}-?????.parquet"):
                    path.unlink()
        return counts

    def findings(self) -> pl.DataFrame:
        """All findings of a finished de-identification: columns `FINDINGS`."""
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
    """The record's folder of an edit list."""
    return target.with_name(f"{target.name}.deid")


def _part(kind: str, number: int) -> str:
    return f"{kind}-{number:05}.parquet"


def frame(rows: Iterable[tuple[object, ...]], schema: pl.Schema) -> pl.DataFrame:
    """Rows as a frame with the given schema."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)  # polars is slower with rows
    return pl.DataFrame(
        [pl.Series(name, column, kind) for (name, kind), column in zip(schema.items(), columns, strict=True)]
    )


def _sink(frame: pl.LazyFrame, path: Path) -> None:
    """Stream a frame to a private file, as CSV or Parquet by its suffix."""
    with draft_file(path, replace=True) as file:
        if path.suffix == ".csv":
            frame.sink_csv(file)
        else:
            frame.sink_parquet(file)


def _read_about(folder: Path) -> JsonObject | None:
    """The content of about.json; None if the file does not exist. Raises ReceivedError."""
    path = folder / _ABOUT

    def checked(about: JsonObject) -> JsonObject:
        received.require(about, {"asked": (dict,)}, str(path))
        return about

    return received.state_of(path, FORMAT, checked, hint="To discard it and start again: `fresh=True`")


def _clear(folder: Path) -> None:
    """Delete this module's files. about.json is first, so that nothing continues from a half-deleted folder."""
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
