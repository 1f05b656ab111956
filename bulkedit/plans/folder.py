"""A plan as a folder: `calls.parquet`, `edits.parquet`, `set_aside.parquet` and `manifest.json`.

Edits that were already satisfied are in `already_satisfied.parquet`, if there are any.

The folder contains values of edits, so its mode is 0700 and that of its files 0600. It appears under its name only when
it is complete. The manifest has the SHA-256 of each file; a plan whose files differ is stale and is not applied. The
digest of the plan covers the content of the manifest, and so the whole plan. A folder may come from another person:
it is read through `bulkedit._received`, and its calls are compared with its edits (`bulkedit.plans.agreement`).
"""

from __future__ import annotations

import contextlib
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
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bulkedit.plans.build import Plan
    from bulkedit.plans.counts import FileRecord, PlanAbout, PlanManifest

_GROWTH: Final = 10  # times the limit of a list, because the columns of a plan are mostly equal
_ROW_GROUP: Final = 16_384
_ZSTD: Final = 1  # higher levels take half as long again and save a few per cent
# minimum and maximum let readers of single calls skip row groups
_STATISTICS: Final = {"min": True, "max": True, "distinct_count": False, "null_count": False}
_SCHEMAS: Final = {
    **dict(zip(FILES, (CALLS, PLANNED_EDITS, SET_ASIDE), strict=True)),
    SATISFIED: PLANNED_EDITS,
}


def save(plan: Plan, folder: Path, about: PlanAbout) -> SavedPlan:
    """Write a plan to a new folder. ``about``: list, settings and estimate for the manifest. Raises as `saving`."""
    with saving(plan, folder, about) as saved:
        pass
    return SavedPlan(folder, saved.manifest)


@contextlib.contextmanager
def saving(plan: Plan, folder: Path, about: PlanAbout) -> Iterator[SavedPlan]:
    """Write a plan to a draft, which becomes the new folder when the block ends, and is removed after an error.

    Raises PlanError if the folder exists or its path cannot be used, StorageError if the disk is full or faulty.
    """
    if folder.exists():
        raise PlanError("this folder exists already.", where=str(folder), hint="Name another folder: -o DIR")
    frames = dict(zip(FILES, (plan.calls, plan.edits, plan.set_aside), strict=True))
    if plan.already_satisfied is not None and plan.already_satisfied.height:
        frames[SATISFIED] = plan.already_satisfied
    with contextlib.ExitStack() as stack:
        with writing("the plan", folder, error=PlanError):
            draft = stack.enter_context(draft_folder(folder))
            for name, frame in frames.items():
                with open_private(draft / name) as file:
                    frame.write_parquet(
                        file, row_group_size=_ROW_GROUP, compression_level=_ZSTD, statistics=_STATISTICS
                    )
            manifest = _manifest(draft, frames, about)
            write_private_json(draft / MANIFEST, manifest)
        yield SavedPlan(draft, manifest)
        with writing("the plan", folder, error=PlanError):
            stack.close()


def _manifest(draft: Path, frames: dict[str, pl.DataFrame], about: PlanAbout) -> PlanManifest:
    files: dict[str, FileRecord] = {
        name: {"rows": frame.height, "sha256": sha256_of(draft / name)} for name, frame in frames.items()
    }
    stated = {"format": FORMAT, **about, "files": files}
    return cast("PlanManifest", {"digest": digest_of(stated), **stated})


def load(folder: Path) -> SavedPlan:
    """Open a plan folder and check all of it.

    Raises PlanError if it is not a plan, ReceivedError if a file has not the type or columns of a plan's file, and
    StalePlanError if a file has changed since planning, or if a call differs from its edits.
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
    """Raise StalePlanError if a call differs from its edits, or the manifest has other counts."""
    where = str(plan.folder)
    if (found := agreement.disagreement(plan.calls(), plan.edits())) is not None:
        row = "" if found.row is None else f" (row {found.row:,} of the edit list)"
        raise StalePlanError(
            f"call {found.call:,}{row} differs from its edits: {found.what}.",
            where=where,
            likely="calls.parquet or edits.parquet was changed after planning, and the digests with it.",
            hint=f"Do not apply it. {AGAIN}",
        )
    counted = agreement.counts(plan.calls(), plan.edits())
    stated = cast("Mapping[str, int]", plan.counts)
    if wrong := next((name for name, count in counted.items() if stated.get(name, 0) != count), None):
        raise StalePlanError(
            f"{MANIFEST} has {stated.get(wrong, 0):,} as {wrong}, but the plan has {counted[wrong]:,}.",
            where=where,
            likely=f"{MANIFEST} was changed after planning, and its digest with it.",
            hint=f"Do not apply it. {AGAIN}",
        )


def _require_sound(folder: Path, manifest: PlanManifest) -> None:
    """Refuse files that unpack to far more than any plan: a digest does not prove who made the plan."""
    for name in manifest["files"]:
        try:
            sound = sizes(folder / name).above(_GROWTH) is None
        except (OSError, ValueError):
            sound = False
        if not sound:
            raise PlanError(
                f"{name} is not a Parquet file, or unpacks to far more than its size.",
                where=str(folder),
                likely="It may be damaged, or made to exhaust the memory of the machine that opens it.",
                hint="Plan the list again.",
            )


def copy(plan: SavedPlan, folder: Path) -> SavedPlan:
    """Copy a plan into a run folder, so that the run can be resumed without the original.

    ``plan``: just loaded or made. Raises StalePlanError if a file has changed since.
    """
    folder.mkdir(mode=0o700, parents=True)
    for name, about in plan.manifest["files"].items():
        with received.opened(plan.folder / name) as source, open_private(folder / name) as target:
            shutil.copyfileobj(source, target)
        if sha256_of(folder / name) != about["sha256"]:
            raise StalePlanError(f"{name} has changed since the plan was loaded.", where=str(plan.folder), hint=AGAIN)
    write_private_json(folder / MANIFEST, plan.manifest)
    return SavedPlan(folder, plan.manifest)
