"""A plan as a folder: `calls.parquet`, `edits.parquet`, `set_aside.parquet` and `manifest.json`.

Where edits were left out because they held already, they are in `satisfied.parquet`.

The folder holds values of edits, so it is made 0700 and its files 0600. It appears under its name only when complete.
The manifest carries the SHA-256 of each file; a plan whose files differ from it is stale and is not applied. The digest
of the plan is that of the manifest's content, so it pins all of the plan. A folder may come from others: it is read as
`bulkedit._received` says, and its calls are held against its edits (`bulkedit.plans.agreement`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import shutil
from dataclasses import MISSING, dataclass, fields
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from bulkedit import _received as received
from bulkedit._files import draft_folder, open_private, sha256_of, write_private_json
from bulkedit.edits import SET_ASIDE, frame_files
from bulkedit.edits.edit import IMAGE_SET_ID
from bulkedit.edits.frame_files import writing
from bulkedit.edits.parquet_pages import sizes
from bulkedit.errors import PlanError, ReceivedError, StalePlanError
from bulkedit.plans import agreement
from bulkedit.plans.estimate import Estimate
from bulkedit.plans.schema import CALLS, PLANNED_EDITS, Lane, PlannedCall

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from bulkedit.plans.build import Plan

FORMAT: Final = 2
MANIFEST: Final = "manifest.json"
_GROWTH: Final = 10  # times what a list may unpack to: a plan is columns that are mostly equal
_FILES: Final = ("calls.parquet", "edits.parquet", "set_aside.parquet")
_SATISFIED: Final = "satisfied.parquet"
_ROW_GROUP: Final = 16_384
_BATCH: Final = 2_048
_ZSTD: Final = 1  # higher levels take half as long again, and save a few per cent
# by what a row group holds, readers of single calls pass the others over
_STATISTICS: Final = {"min": True, "max": True, "distinct_count": False, "null_count": False}
_FIELDS: Final = [field.name for field in fields(PlannedCall)]
_SCHEMAS: Final = {
    **dict(zip(_FILES, (CALLS, PLANNED_EDITS, SET_ASIDE), strict=True)),
    _SATISFIED: PLANNED_EDITS,
}
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "digest": (str,),
    "datastore_id": (str,),
    "settings": (dict,),
    "list": (dict,),
    "counts": (dict,),
    "files": (dict,),
}
# beside the estimate, what is said of the list
_NUMBERS: Final[dict[str, tuple[type, ...]]] = {
    **{
        field.name: (float, NoneType) if "None" in str(field.type) else (float,)
        for field in fields(Estimate)
        if field.default is MISSING
    },
    **dict.fromkeys(("rows", "set_aside", "skipped", "empty"), (int,)),
}
_WARNING: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(("code", "problem", "likely", "hint"), (str,)),
    "rows": (list,),
    "more": (int,),
}
_SHORT: Final = 16  # hex digits


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan on disk, found complete and unchanged."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of all that the manifest says but its time, the digests of the files among it: 64 hex digits."""
        return str(self.manifest["digest"])

    @property
    def short_digest(self) -> str:
        """The first 16 digits of `digest`."""
        return self.digest[:_SHORT]

    @property
    def datastore_id(self) -> str:
        """The data store that the plan was made for."""
        return str(self.manifest["datastore_id"])

    @property
    def counts(self) -> dict[str, Any]:
        """Edits, image sets, calls and so on (`bulkedit.plans.estimate.Estimate`), and rows set aside."""
        return dict(self.manifest["counts"])

    def calls(self) -> pl.LazyFrame:
        """Columns `CALLS`."""
        return pl.scan_parquet(self.folder / "calls.parquet", glob=False)

    def edits(self) -> pl.LazyFrame:
        """Columns `PLANNED_EDITS`."""
        return pl.scan_parquet(self.folder / "edits.parquet", glob=False)

    def edits_of(self, call: int) -> pl.DataFrame:
        """The edits of one call (`PLANNED_EDITS`): they lie together, so only their row groups are read."""
        return self.edits().filter(pl.col("call") == call).collect()

    @property
    def warnings(self) -> list[dict[str, Any]]:
        """What the plan does that is seldom meant: code, problem, likely, hint, rows and more."""
        return list(self.manifest.get("warnings", []))

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
    with writing("the plan", folder, error=PlanError), draft_folder(folder) as draft:
        for name, frame in frames.items():
            with open_private(draft / name) as file:
                frame.write_parquet(file, row_group_size=_ROW_GROUP, compression_level=_ZSTD, statistics=_STATISTICS)
        manifest = _manifest(draft, frames, about)
        write_private_json(draft / MANIFEST, manifest)
    return SavedPlan(folder, manifest)


def _manifest(draft: Path, frames: dict[str, pl.DataFrame], about: dict[str, Any]) -> dict[str, Any]:
    files = {name: {"rows": frame.height, "sha256": sha256_of(draft / name)} for name, frame in frames.items()}
    manifest = {"format": FORMAT, **about, "files": files}
    return {"digest": _digest(manifest), **manifest}


def _digest(manifest: dict[str, Any]) -> str:
    """SHA-256 of a manifest as JSON with sorted names and without blanks, but for its own digest and its time.

    Without the time, two people who plan the same list come to the same digest.
    """
    said = {name: value for name, value in manifest.items() if name not in {"digest", "created"}}
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def load(folder: Path) -> SavedPlan:
    """Open a plan folder. Reads all of it.

    Raises PlanError if it is none, ReceivedError if its files are not of the kind that a plan has, and StalePlanError
    if they have changed since, or if a call is not what its edits say.
    """
    try:
        manifest = _read_manifest(folder)
    except ReceivedError as error:
        error.hint = error.hint or _AGAIN
        raise
    _require_unchanged(folder, manifest)
    _require_sound(folder, manifest)
    plan = SavedPlan(folder, manifest)
    for name in manifest["files"]:
        frame_files.parquet(folder / name, _SCHEMAS[name])
    try:
        _require_agreement(plan)
    except pl.exceptions.PolarsError as error:
        raise frame_files.damaged(folder) from error
    return plan


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = received.read_json(path)
    except OSError as error:
        raise PlanError(
            f"this is no plan: its {MANIFEST} cannot be read ({error.strerror}).",
            where=str(folder),
            hint="Make one: bulkedit plan EDITS -d DATASTORE",
        ) from error
    if manifest.get("format") != FORMAT:
        raise PlanError(
            "this plan was made by another version of bulkedit.", where=str(folder), hint="Plan the list again."
        )
    _require_kinds(manifest, str(path))
    return manifest


def _require_kinds(manifest: dict[str, Any], where: str) -> None:
    """Raises ReceivedError if something that a manifest has is missing, or is of another kind."""
    received.require({"warnings": [], **manifest}, {**_KINDS, "warnings": (list,)}, where)
    counts, files = manifest["counts"], manifest["files"]
    received.require(manifest["settings"], {"payload_limit": (int,)}, where)
    received.require(manifest["list"], {"form": (str,), "rows": (int,), "sha256": (str,)}, where)
    received.require(counts, {**dict.fromkeys(counts, (float, NoneType)), **_NUMBERS}, where)
    for warning in manifest.get("warnings", []):
        received.require({"a warning": warning}, {"a warning": (dict,)}, where)
        received.require(warning, _WARNING, where)
    if not re.fullmatch(IMAGE_SET_ID, manifest["datastore_id"]):
        raise ReceivedError("datastore_id is no id of a data store.", where=where)
    received.require(files, dict.fromkeys(files, (dict,)), where)
    for name, about in files.items():
        if name not in _SCHEMAS:
            # nothing of the kind is opened, wherever it is
            raise ReceivedError(
                f"it names {name!a:.80}, and no plan has such a file.",
                where=where,
                likely="Someone has changed the plan by hand.",
                hint=_AGAIN,
            )
        received.require(about, {"rows": (int,), "sha256": (str,)}, where)


_AGAIN: Final = "Make a new one: bulkedit plan EDITS -d DATASTORE"


def _require_unchanged(folder: Path, manifest: dict[str, Any]) -> None:
    files = manifest["files"]
    for name in (*_FILES, *([_SATISFIED] if _SATISFIED in files else [])):
        there = name in files and received.there(folder / name)
        if not there or sha256_of(folder / name) != files[name]["sha256"]:
            raise StalePlanError(
                f"{name} is not the file that was planned.",
                where=str(folder),
                likely="A plan is changed by planning again, never by hand.",
                hint=_AGAIN,
            )
    if manifest["digest"] != _digest(manifest):
        raise StalePlanError(
            f"{MANIFEST} has been changed: it is not what its digest says.",
            where=str(folder),
            likely="A plan is changed by planning again, never by hand.",
            hint=_AGAIN,
        )


def _require_agreement(plan: SavedPlan) -> None:
    """Raises StalePlanError if a call is not what its edits say, or the manifest counts otherwise."""
    where = str(plan.folder)
    if (found := agreement.disagreement(plan.calls(), plan.edits())) is not None:
        row = "" if found.row is None else f" (row {found.row:,} of the edit list)"
        raise StalePlanError(
            f"call {found.call:,}{row} is not what its edits say: {found.what}.",
            where=where,
            likely="calls.parquet or edits.parquet was changed after planning, and the digests with it.",
            hint=f"Do not apply it. {_AGAIN}",
        )
    counted = agreement.counts(plan.calls(), plan.edits())
    if wrong := next((name for name, count in counted.items() if plan.counts.get(name, 0) != count), None):
        raise StalePlanError(
            f"{MANIFEST} counts {plan.counts.get(wrong, 0):,} as {wrong}, and the plan has {counted[wrong]:,}.",
            where=where,
            likely=f"{MANIFEST} was changed after planning, and its digest with it.",
            hint=f"Do not apply it. {_AGAIN}",
        )


def _require_sound(folder: Path, manifest: dict[str, Any]) -> None:
    """Refuse files that unpack to far more than any plan: digests say nothing of who made a plan."""
    for name in manifest["files"]:
        try:
            sound = sizes(folder / name).above(_GROWTH) is None
        except (OSError, ValueError):
            sound = False
        if not sound:
            raise PlanError(
                f"{name} is no Parquet, or unpacks to far more than its size.",
                where=str(folder),
                likely="It may be damaged, or made to use up the memory of the machine that opens it.",
                hint="Plan the list again.",
            )


def copy(plan: SavedPlan, folder: Path) -> SavedPlan:
    """Copy a plan into a run, so that the run has all it needs to go on.

    ``plan``: loaded or made just now. Raises StalePlanError if a file has changed since.
    """
    folder.mkdir(mode=0o700, parents=True)
    for name, about in plan.manifest["files"].items():
        with received.opened(plan.folder / name) as source, open_private(folder / name) as target:
            shutil.copyfileobj(source, target)
        if sha256_of(folder / name) != about["sha256"]:
            raise StalePlanError(f"{name} has changed since the plan was loaded.", where=str(plan.folder), hint=_AGAIN)
    write_private_json(folder / MANIFEST, plan.manifest)
    return SavedPlan(folder, plan.manifest)
