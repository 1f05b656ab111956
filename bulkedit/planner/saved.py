"""A plan as a folder: `calls.parquet`, `edits.parquet`, `set_aside.parquet` and `manifest.json`.

Where edits were left out because they held already, they are in `satisfied.parquet`.

The folder holds values of edits, so it is made 0700 and its files 0600. It appears under its name only when complete.
The manifest carries the SHA-256 of each file; a plan whose files differ from it is stale and is not applied.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from bulkedit.errors import PlanError, StalePlanError
from bulkedit.files import NOT_WRITTEN, draft_folder, open_private, reason_of, write_private_json
from bulkedit.planner.frames import CALLS, PLANNED_EDITS, Lane, PlannedCall

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from bulkedit.planner.make import Plan

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
_FILES: Final = ("calls.parquet", "edits.parquet", "set_aside.parquet")
_SATISFIED: Final = "satisfied.parquet"
_ROW_GROUP: Final = 16_384
_BATCH: Final = 2_048
_ZSTD: Final = 1  # higher levels take half as long again, and save a few per cent
# by what a row group holds, readers of single calls pass the others over
_STATISTICS: Final = {"min": True, "max": True, "distinct_count": False, "null_count": False}
_FIELDS: Final = [field.name for field in fields(PlannedCall)]


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan on disk, found complete and unchanged."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 over the digests of the plan's files and its data store: what a run holds on to."""
        return str(self.manifest["digest"])

    @property
    def datastore_id(self) -> str:
        """The data store that the plan was made for."""
        return str(self.manifest["datastore_id"])

    @property
    def counts(self) -> dict[str, Any]:
        """Edits, image sets, calls and so on (`bulkedit.planner.estimate.Estimate`), and rows set aside."""
        return dict(self.manifest["counts"])

    def calls(self) -> pl.LazyFrame:
        """Columns `CALLS`."""
        # a plan made before there were recipes has no such column
        return pl.scan_parquet(self.folder / "calls.parquet", glob=False, schema=CALLS, missing_columns="insert")

    def edits(self) -> pl.LazyFrame:
        """Columns `PLANNED_EDITS`."""
        return pl.scan_parquet(self.folder / "edits.parquet", glob=False)

    def edits_of(self, call: int) -> pl.DataFrame:
        """The edits of one call (`PLANNED_EDITS`): they lie together, so only their row groups are read."""
        return self.edits().filter(pl.col("call") == call).collect()

    @property
    def payload_limit(self) -> int:
        """Bytes of each attributes document."""
        return int(self.manifest["settings"]["payload_limit"])

    def set_aside(self) -> pl.LazyFrame:
        """Rows of the list that the plan has no edits for, and why: columns `SET_ASIDE`.

        Beside those set aside: rows that name nothing (`--on-missing skip`) and rows that ask for nothing.
        """
        return pl.scan_parquet(self.folder / "set_aside.parquet", glob=False)

    def satisfied(self) -> pl.LazyFrame:
        """Edits that held already when the plan was made, so that it does without them: columns `PLANNED_EDITS`.

        Their ``call`` is null, and none is sent.
        """
        if _SATISFIED not in self.manifest["files"]:
            return pl.LazyFrame(schema=PLANNED_EDITS)
        return pl.scan_parquet(self.folder / _SATISFIED, glob=False)

    def lanes(self, *, batch: int = _BATCH) -> Iterator[list[Lane]]:
        """Lanes in order, in lists of about ``batch`` calls, so that memory does not grow with the plan."""
        waiting: list[PlannedCall] = []
        offset = 0
        while rows := self.calls().slice(offset, batch).select(_FIELDS).collect().rows():
            offset += len(rows)
            waiting += [PlannedCall(*row) for row in rows]
            last = waiting[-1].lane
            whole = [call for call in waiting if call.lane != last]
            waiting = waiting[len(whole) :]
            yield _grouped(whole)
        yield _grouped(waiting)

    def lanes_with(self, calls: Collection[int]) -> list[Lane]:
        """The whole lanes that hold these calls, in order."""
        if not calls:
            return []
        numbers = self.calls().filter(pl.col("call").is_in(sorted(calls))).select("lane").unique()
        rows = self.calls().join(numbers, on="lane", how="semi").sort("call").select(_FIELDS).collect().rows()
        return _grouped([PlannedCall(*row) for row in rows])


def _grouped(calls: list[PlannedCall]) -> list[Lane]:
    return [Lane(number, tuple(group)) for number, group in itertools.groupby(calls, key=lambda call: call.lane)]


def save(plan: Plan, folder: Path, about: dict[str, Any]) -> SavedPlan:
    """Write a plan to a new folder. ``about``: what the manifest says of list, settings and estimate.

    Raises PlanError where the folder exists or cannot be written.
    """
    if folder.exists():
        raise PlanError("there is something there already.", where=str(folder), hint="Give another folder: -o DIR")
    frames = dict(zip(_FILES, (plan.calls, plan.edits, plan.set_aside), strict=True))
    if plan.satisfied is not None and plan.satisfied.height:
        frames[_SATISFIED] = plan.satisfied
    try:
        with draft_folder(folder) as draft:
            for name, frame in frames.items():
                with open_private(draft / name) as file:
                    frame.write_parquet(
                        file, row_group_size=_ROW_GROUP, compression_level=_ZSTD, statistics=_STATISTICS
                    )
            manifest = _manifest(draft, frames, about)
            write_private_json(draft / MANIFEST, manifest)
    except NOT_WRITTEN as error:
        raise PlanError(f"the plan cannot be written ({reason_of(error)}).", where=str(folder)) from error
    return SavedPlan(folder, manifest)


def _manifest(draft: Path, frames: dict[str, pl.DataFrame], about: dict[str, Any]) -> dict[str, Any]:
    files = {name: {"rows": frame.height, "sha256": _sha256(draft / name)} for name, frame in frames.items()}
    return {"format": FORMAT, "digest": _digest(files, about["datastore_id"]), **about, "files": files}


def _digest(files: dict[str, Any], datastore_id: str) -> str:
    parts = [datastore_id, *(files[name]["sha256"] for name in (*_FILES, _SATISFIED) if name in files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def load(folder: Path) -> SavedPlan:
    """Open a plan folder. Raises PlanError where it is none, StalePlanError where its files have changed."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PlanError(
            "this is no plan: it has no readable manifest.json.",
            where=str(folder),
            hint="Make one: bulkedit plan EDITS -d DATASTORE",
        ) from error
    if manifest.get("format") != FORMAT:
        raise PlanError(
            "this plan was made by another version of bulkedit.", where=str(folder), hint="Plan the list again."
        )
    _require_unchanged(folder, manifest)
    return SavedPlan(folder, manifest)


def _require_unchanged(folder: Path, manifest: dict[str, Any]) -> None:
    files = manifest["files"]
    for name in {*_FILES, *files}:
        there = name in files and (folder / name).is_file()
        if not there or _sha256(folder / name) != files[name]["sha256"]:
            raise StalePlanError(
                f"{name} is not the file that was planned.",
                where=str(folder),
                likely="A plan is changed by planning again, never by hand.",
                hint="Make a new one: bulkedit plan EDITS -d DATASTORE",
            )
    if manifest["digest"] != _digest(manifest["files"], manifest["datastore_id"]):
        raise StalePlanError("manifest.json has been changed.", where=str(folder))


def copy(plan: SavedPlan, folder: Path) -> SavedPlan:
    """Copy a plan into a run, so that the run has all it needs to go on."""
    folder.mkdir(mode=0o700, parents=True)
    for name in (*plan.manifest["files"], MANIFEST):
        with (plan.folder / name).open("rb") as source, open_private(folder / name) as target:
            shutil.copyfileobj(source, target)
    return load(folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
