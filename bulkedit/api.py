"""The commands as functions, for notebooks and jobs: `import bulkedit` has them.

They keep the promises of the commands, because both are one: a plan made here is applied by `bulkedit apply`, a run
begun here is gone on with by `bulkedit resume`. Edits go in as files or frames, results come out as frames.
Errors are those of `bulkedit.errors`. Cancelling leaves at once, with every answer that came in the ledger; `resume`
goes on.
"""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from bulkedit import plans
from bulkedit._files import new_id
from bulkedit.after import report as reports
from bulkedit.after import revert as reversal
from bulkedit.after.revert import OnConflict, Reversal
from bulkedit.after.verify import Sample, VerifyOptions
from bulkedit.after.verify import verify as verify_run
from bulkedit.client.connect import connect
from bulkedit.client.pacing import AUTO
from bulkedit.client.reader import read_paces
from bulkedit.client.where import Where
from bulkedit.edits.frames import FROM_TEXT, frame_of
from bulkedit.errors import UsageError
from bulkedit.plans.from_list import ListOptions, plan_list
from bulkedit.runs import folder as runs
from bulkedit.runs.connection import connection_of
from bulkedit.runs.resume import Strategy
from bulkedit.runs.start import (
    GoingOn,
    RunOptions,
    engine_of,
    removed_unless_started,
    require_deletion_asked,
    require_digest,
)
from bulkedit.runs.summary import summary

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import polars as pl

    from bulkedit.after.verify import Seen
    from bulkedit.edits.frames import EditFrame
    from bulkedit.plans import SavedPlan
    from bulkedit.runs.folder import Run

__all__ = [
    "Archived",
    "ListOptions",
    "OnConflict",
    "Report",
    "Reversal",
    "RunOptions",
    "Sample",
    "Strategy",
    "VerifyOptions",
    "Where",
    "apply",
    "plan",
    "report",
    "resume",
    "revert",
    "verify",
]


class Archived(StrEnum):
    """What `verify` does with archived image sets, which reading moves to the frequent tier for 30 days."""

    LEAVE = "leave"  # read all others, and leave these for another time
    READ = "read"
    SKIP = "skip"  # leave them out for good


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a run."""

    run: Path
    summary: dict[str, Any]  # the JSON line of type `summary`
    edits: pl.LazyFrame  # `bulkedit.after.report.OUTCOMES`: one row an edit, in the order of the list, no values

    @property
    def done(self) -> bool:
        """Whether every edit has an outcome."""
        return not self.summary["unprocessed"]


async def plan(
    edits: str | Path | EditFrame,
    datastore_id: str | None = None,
    *,
    folder: str | Path | None = None,
    options: ListOptions | None = None,
    where: Where | None = None,
) -> SavedPlan:
    """Check edits and plan their calls; as `bulkedit plan`. Sends nothing that writes.

    ``edits``: a file, or columns of one of the three forms of edit lists: as a frame of polars (eager or lazy), of
    pandas, pyarrow or another library that speaks Arrow (``__arrow_c_stream__``), as a dict of lists, or as a list of
    dicts. Text is str, and rows are counted from 1. Edits in memory are written into the plan only. ``folder``: where
    the plan goes, `plans/<id>` if not given. Raises EditListError and BadRowsError for the edits, UsageError for
    options and for edits of another type, and what `bulkedit.client.connect.connect` raises if rows are looked up.
    """
    target = Path(folder) if folder is not None else None
    return await to_thread.run_sync(_planned, edits, datastore_id, options or ListOptions(), target, where or Where())


def _planned(
    edits: str | Path | EditFrame,
    datastore_id: str | None,
    listing: ListOptions,
    folder: Path | None,
    where: Where,
) -> SavedPlan:
    if isinstance(edits, str | Path):
        return plan_list(_path_of(edits), datastore_id, listing, folder=folder, where=where)
    file = io.BytesIO()  # not on a disk, where a kill would leave it
    frame_of(edits).write_parquet(file)
    file.seek(0)
    return plan_list(file, datastore_id, replace(listing, format="parquet"), folder=folder, where=where)


def _path_of(edits: str | Path) -> str:
    """The name of a file. Raises UsageError, without the text, for a text that is a list itself."""
    name = str(edits)
    if "\n" in name:
        raise UsageError("edits as a str are the name of a file, and this text has several lines.", hint=FROM_TEXT)
    return name


async def apply(
    plan: SavedPlan | str | Path,
    *,
    run: str | Path | None = None,
    options: RunOptions | None = None,
    where: Where | None = None,
    delete_originals: bool = False,
    digest: str | None = None,
) -> Report:
    """Apply a plan in a new run; as `bulkedit apply`. Sends without asking.

    ``digest``: the plan's digest (`SavedPlan.digest`, or at least its first 16 digits); any other plan is refused with
    StalePlanError.

    A plan that deletes originals for good (``via_copy`` and ``delete_originals`` of its options) is refused with
    UsageError unless ``delete_originals`` says so here too.

    ``run``: the run's folder, `runs/<id>` where not given. Returns when all is settled that can be. Raises what
    `Engine.run` raises; the run can go on afterwards: `resume`.
    """
    saved = await to_thread.run_sync(plans.load, Path(plan)) if isinstance(plan, str | Path) else plan
    if digest is not None:
        require_digest(saved, digest)
    require_deletion_asked(saved, delete_originals=delete_originals)
    options = options or RunOptions()
    settings = {"connection": (where or Where()).as_settings(), "options": asdict(options)}
    options.engine()  # what is wrong with them is said before anything else happens
    now = datetime.now(UTC)
    folder = Path(run) if run is not None else Path("runs") / new_id(now)
    own: list[Path] = []
    with removed_unless_started(own):
        run_ = await to_thread.run_sync(runs.create, folder, saved, settings, now)
        own.append(run_.folder)
        return await _carried_out(run_, where=where)


async def resume(
    run: str | Path,
    strategy: Strategy = Strategy.NEW,
    *,
    assume_unknown: bool = False,
    where: Where | None = None,
) -> Report:
    """Go on with a run: first what is in doubt, then what the strategy says; as `bulkedit resume`.

    ``where`` says what is otherwise than when the run was begun. Raises `UnprovenLedgerError` if the ledger is missing,
    behind, damaged or a copy; with ``assume_unknown`` each call that it does not prove is compared first.
    """
    going_on = GoingOn(strategy, assume_unknown=assume_unknown)
    return await _carried_out(await to_thread.run_sync(runs.load, Path(run)), going_on, where=where)


async def verify(
    run: str | Path,
    options: VerifyOptions | None = None,
    *,
    archived: Archived = Archived.LEAVE,
    anew: bool = False,
    read_rate: str = AUTO,
    where: Where | None = None,
    watch: Callable[[Seen], None] | None = None,
) -> Seen:
    """Read back what a run has applied; as `bulkedit verify`.

    The answer's ``verification`` has the differences as frames; it is None where image sets are left to read, which the
    same call goes on with, and ``anew`` begins anew. ``where`` says what is otherwise than when the run was begun.
    ``watch`` is called after every image set.
    """
    found = await to_thread.run_sync(runs.load, Path(run))
    async with connect(connection_of(found, where)) as client:
        return await verify_run(
            found,
            client,
            options,
            rates=read_paces(read_rate),
            name=new_id(datetime.now(UTC)),
            archived=archived is Archived.READ,
            skip_archived=archived is Archived.SKIP,
            fresh=anew,
            watch=watch,
        )


async def revert(
    run: str | Path,
    *,
    folder: str | Path | None = None,
    rows: Collection[int] | None = None,
    image_sets: Collection[str] | None = None,
    whole_image_sets: bool = False,
    on_conflict: OnConflict = OnConflict.SKIP,
    read_rate: str = AUTO,
    where: Where | None = None,
) -> Reversal:
    """Plan the undoing of a run; as `bulkedit revert`. Sends nothing that writes: `apply` the answer's ``plan``."""
    found = await to_thread.run_sync(runs.load, Path(run))
    now = datetime.now(UTC)
    async with connect(connection_of(found, where)) as client:
        return await reversal.revert(
            found,
            client,
            Path(folder) if folder is not None else Path("plans") / new_id(now),
            now=now,
            rates=read_paces(read_rate),
            rows=rows,
            image_sets=image_sets,
            whole_image_sets=whole_image_sets,
            on_conflict=on_conflict,
        )


def report(run: str | Path) -> Report:
    """What became of every edit of a run, also while it goes on; as `bulkedit report`."""
    return _report(runs.load(Path(run)))


def _report(run: Run) -> Report:
    return Report(run.folder, summary(run), reports.outcomes(run))


async def _carried_out(run: Run, going_on: GoingOn | None = None, *, where: Where | None) -> Report:
    async with connect(connection_of(run, where)) as client, engine_of(run, client, going_on) as engine:
        await engine.run()
    return await to_thread.run_sync(_report, run)
