"""A plan as a folder: `calls.parquet`, `edits.parquet`, `set_aside.parquet` and `manifest.json`.

Where edits were left out because they held already, they are in `satisfied.parquet`.

The folder holds values of edits, so it is made 0700 and its files 0600. It appears under its name only when complete.
The manifest carries the SHA-256 of each file; a plan whose files differ from it is stale and is not applied. The digest
of the plan is that of the manifest's content, so it pins all of the plan. A folder may come from others: it is read as
`bulkedit._received` says, and its calls are held against its edits (`bulkedit.plans.agreement`).
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final, cast

import polars as pl

from bulkedit import _received as received
from bulkedit._files import draft_folder, open_private, sha256_of, write_private_json
from bulkedit.edits import SET_ASIDE, frame_files
from bulkedit.edits.frame_files import writing
from bulkedit.edits.parquet_pages import sizes
from bulkedit.errors import PlanError, StalePlanError
from bulkedit.plans import agreement
from bulkedit.plans.saved import (
    AGAIN,
    FILES,
    FORMAT,
    MANIFEST,
    SATISFIED,
    SavedPlan,
    digest_of,
    load_manifest,
)
from bulkedit.plans.schema import CALLS, PLANNED_EDITS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bulkedit.plans.build import Plan
    from bulkedit.plans.counts import FileRecord, PlanAbout, PlanManifest

_GROWTH: Final = 10  # times what a list may unpack to: a plan is columns that are mostly equal
_ROW_GROUP: Final = 16_384
_ZSTD: Final = 1  # higher levels take half as long again, and save a few per cent
# by what a row group holds, readers of single calls pass the others over
_STATISTICS: Final = {"min": True, "max": True, "distinct_count": False, "null_count": False}
_SCHEMAS: Final = {
    **dict(zip(FILES, (CALLS, PLANNED_EDITS, SET_ASIDE), strict=True)),
    SATISFIED: PLANNED_EDITS,
}


def save(plan: Plan, folder: Path, about: PlanAbout) -> SavedPlan:
    """Write a plan to a new folder. ``about``: what the manifest says of list, settings and estimate.

    Raises PlanError where the folder exists or cannot be written.
    """
    if folder.exists():
        raise PlanError("there is something there already.", where=str(folder), hint="Give another folder: -o DIR")
    frames = dict(zip(FILES, (plan.calls, plan.edits, plan.set_aside), strict=True))
    if plan.already_satisfied is not None and plan.already_satisfied.height:
        frames[SATISFIED] = plan.already_satisfied
    with writing("the plan", folder, error=PlanError), draft_folder(folder) as draft:
        for name, frame in frames.items():
            with open_private(draft / name) as file:
                frame.write_parquet(file, row_group_size=_ROW_GROUP, compression_level=_ZSTD, statistics=_STATISTICS)
        manifest = _manifest(draft, frames, about)
        write_private_json(draft / MANIFEST, manifest)
    return SavedPlan(folder, manifest)


def _manifest(draft: Path, frames: dict[str, pl.DataFrame], about: PlanAbout) -> PlanManifest:
    files: dict[str, FileRecord] = {
        name: {"rows": frame.height, "sha256": sha256_of(draft / name)} for name, frame in frames.items()
    }
    said = {"format": FORMAT, **about, "files": files}
    return cast("PlanManifest", {"digest": digest_of(said), **said})


def load(folder: Path) -> SavedPlan:
    """Open a plan folder. Reads all of it.

    Raises PlanError if it is none, ReceivedError if its files are not of the kind that a plan has, and StalePlanError
    if they have changed since, or if a call is not what its edits say.
    """
    plan = load_manifest(folder)
    _require_sound(folder, plan.manifest)
    for name in plan.manifest["files"]:
        frame_files.parquet(folder / name, _SCHEMAS[name])
    try:
        _require_agreement(plan)
    except pl.exceptions.PolarsError as error:
        raise frame_files.damaged(folder) from error
    return plan


def _require_agreement(plan: SavedPlan) -> None:
    """Raises StalePlanError if a call is not what its edits say, or the manifest counts otherwise."""
    where = str(plan.folder)
    if (found := agreement.disagreement(plan.calls(), plan.edits())) is not None:
        row = "" if found.row is None else f" (row {found.row:,} of the edit list)"
        raise StalePlanError(
            f"call {found.call:,}{row} is not what its edits say: {found.what}.",
            where=where,
            likely="calls.parquet or edits.parquet was changed after planning, and the digests with it.",
            hint=f"Do not apply it. {AGAIN}",
        )
    counted = agreement.counts(plan.calls(), plan.edits())
    said = cast("Mapping[str, int]", plan.counts)
    if wrong := next((name for name, count in counted.items() if said.get(name, 0) != count), None):
        raise StalePlanError(
            f"{MANIFEST} counts {said.get(wrong, 0):,} as {wrong}, and the plan has {counted[wrong]:,}.",
            where=where,
            likely=f"{MANIFEST} was changed after planning, and its digest with it.",
            hint=f"Do not apply it. {AGAIN}",
        )


def _require_sound(folder: Path, manifest: PlanManifest) -> None:
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
            raise StalePlanError(f"{name} has changed since the plan was loaded.", where=str(plan.folder), hint=AGAIN)
    write_private_json(folder / MANIFEST, plan.manifest)
    return SavedPlan(folder, plan.manifest)
