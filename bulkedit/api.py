"""The commands as functions, for notebooks and jobs: `import bulkedit` has them.

They keep the promises of the commands, because both are one: a plan made here is applied by `bulkedit apply`, a run
begun here is gone on with by `bulkedit resume`. Edits go in as files or frames, results come out as frames.
Errors are those of `bulkedit.errors`. Each function takes ``progress``, which is called on the caller's loop and must
not block, and ``stop``, which ends it early and well. Cancelling leaves at once, with every answer that came in the
ledger; `resume` goes on.
"""

from __future__ import annotations

import asyncio
import io
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anyio import to_thread

from bulkedit import plans
from bulkedit._files import new_id
from bulkedit._progress import Advance, Phase, StopSignal, WorkProgress, draining_by, ended_by, report_every
from bulkedit.after import report as reports
from bulkedit.after.revert import Reversal, revert_run
from bulkedit.after.verify.job import verify as verify_run
from bulkedit.audits.job import Audit, audit_run
from bulkedit.client.connect import connect
from bulkedit.deidentification.job import Deidentified, deidentify
from bulkedit.edits.frames import FROM_TEXT, frame_of
from bulkedit.errors import UsageError
from bulkedit.inventories.job import InventoryProgress, TakenInventory, take_inventory
from bulkedit.options.audit import AuditOptions
from bulkedit.options.deid import DeidOptions
from bulkedit.options.inventory import InventoryOptions
from bulkedit.options.listing import Contradictions, ListOptions, OnMany, OnMissing, StudyWide
from bulkedit.options.revert import OnLaterChange, RevertOptions
from bulkedit.options.running import Halt, OnConflict, RunOptions, Strategy
from bulkedit.options.verify import Sample, VerifyOptions
from bulkedit.options.where import Where
from bulkedit.plans.from_list import Listener, plan_list
from bulkedit.runs import folder as runs
from bulkedit.runs.connection import connection_of
from bulkedit.runs.options import EngineOptions
from bulkedit.runs.start import (
    ResumeOptions,
    engine_of,
    removed_unless_started,
    require_deletion_asked,
    require_digest,
)
from bulkedit.runs.summary import summary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    import polars as pl

    from bulkedit.after.verify import VerifyProgress
    from bulkedit.edits.frames import EditFrame
    from bulkedit.inventories import SearchCounters
    from bulkedit.plans import SavedPlan
    from bulkedit.plans.read_first import Looked
    from bulkedit.runs.folder import Run
    from bulkedit.runs.summary import RunSummary

_TOLD_S: Final = 0.5  # between two records of progress

__all__ = [
    "Advance",
    "Audit",
    "AuditOptions",
    "Contradictions",
    "DeidOptions",
    "Deidentified",
    "Halt",
    "InventoryOptions",
    "InventoryProgress",
    "ListOptions",
    "OnConflict",
    "OnLaterChange",
    "OnMany",
    "OnMissing",
    "Report",
    "Reversal",
    "RevertOptions",
    "RunOptions",
    "Sample",
    "StopSignal",
    "Strategy",
    "StudyWide",
    "TakenInventory",
    "VerifyOptions",
    "Where",
    "WorkProgress",
    "apply",
    "audit",
    "deid",
    "inventory",
    "plan",
    "report",
    "resume",
    "revert",
    "verify",
]


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a run."""

    run: Path
    summary: RunSummary
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
    progress: Callable[[Advance], None] | None = None,
    stop: StopSignal | None = None,
) -> SavedPlan:
    """Check edits and plan their calls; as `bulkedit plan`. Sends nothing that writes.

    ``edits``: a file, or columns of one of the three forms of edit lists: as a frame of polars (eager or lazy), of
    pandas, pyarrow or another library that speaks Arrow (``__arrow_c_stream__``), as a dict of lists, or as a list of
    dicts. Text is str, and rows are counted from 1. Edits in memory are written into the plan only. ``folder``: where
    the plan goes, `plans/<id>` if not given. Raises EditListError and BadRowsError for the edits, UsageError for
    options and for edits of another type, and what `bulkedit.client.connect.connect` raises if rows are looked up.

    ``progress`` is called while image sets are looked up or read. ``stop`` ends that with StoppedError, and nothing is
    planned.
    """
    target = Path(folder) if folder is not None else None
    listener = _Telling(asyncio.get_running_loop(), progress, stop)
    make = partial(_planned, folder=target, where=where or Where(), listener=listener)
    return await to_thread.run_sync(make, edits, datastore_id, options or ListOptions())


def _planned(
    edits: str | Path | EditFrame,
    datastore_id: str | None,
    listing: ListOptions,
    *,
    folder: Path | None,
    where: Where,
    listener: Listener,
) -> SavedPlan:
    if isinstance(edits, str | Path):
        return plan_list(_path_of(edits), datastore_id, listing, folder=folder, where=where, listener=listener)
    file = io.BytesIO()  # not on a disk, where a kill would leave it
    frame_of(edits).write_parquet(file)
    file.seek(0)
    listing = replace(listing, format="parquet")
    return plan_list(file, datastore_id, listing, folder=folder, where=where, listener=listener)


class _Telling(Listener):
    """Tells the caller's loop of the requests of a plan, which is made in another thread, and ends them."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, progress: Callable[[Advance], None] | None, stop: StopSignal | None
    ) -> None:
        self._loop = loop
        self._progress = progress
        self._stop = stop

    def looking_up(self, counters: Callable[[], SearchCounters]) -> AbstractAsyncContextManager[None]:
        """Tell of searches."""
        return self._told(
            lambda: WorkProgress(
                phase=Phase.SEARCHING, done=counters().image_sets, throttled=counters().reads.throttled
            )
        )

    def reading(self, looked: Callable[[], Looked]) -> AbstractAsyncContextManager[None]:
        """Tell of image sets that are read."""

        def record() -> WorkProgress:
            now = looked()
            done = now.read + now.archived + now.unread
            return WorkProgress(phase=Phase.READING, done=done, total=now.total, throttled=now.throttled)

        return self._told(record)

    def _tell(self, progress: Advance) -> None:
        if self._progress is not None:
            self._loop.call_soon_threadsafe(self._progress, progress)

    @asynccontextmanager
    async def _told(self, record: Callable[[], WorkProgress]) -> AsyncIterator[None]:
        async with ended_by(self._stop, kept="Nothing was planned."), report_every(_TOLD_S, record, self._tell):
            yield


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
    progress: Callable[[Advance], None] | None = None,
    stop: StopSignal | None = None,
) -> Report:
    """Apply a plan in a new run; as `bulkedit apply`. Sends without asking.

    ``digest``: the plan's digest (`SavedPlan.digest`, or at least its first 16 digits); any other plan is refused with
    StalePlanError.

    A plan that deletes originals for good (``via_copy`` and ``delete_originals`` of its options) is refused with
    UsageError unless ``delete_originals`` says so here too.

    ``run``: the run's folder, `runs/<id>` where not given. Returns when all is completed that can be. Raises what
    `Engine.run` raises; the run can go on afterwards: `resume`.

    ``progress`` is called every half second with a `bulkedit.runs.progress.Progress`. Once ``stop`` is sent, nothing
    new is sent to the service, what is under way is waited for, and the report is not `done`.
    """
    saved = await to_thread.run_sync(plans.load, Path(plan)) if isinstance(plan, str | Path) else plan
    if digest is not None:
        require_digest(saved, digest)
    require_deletion_asked(saved, delete_originals=delete_originals)
    options = options or RunOptions()
    settings: runs.RunSettings = {"connection": (where or Where()).as_settings(), "options": options.as_settings()}
    EngineOptions.of(options)  # what is wrong with them is said before anything else happens
    now = datetime.now(UTC)
    folder = Path(run) if run is not None else Path("runs") / new_id(now)
    own: list[Path] = []
    with removed_unless_started(own):
        run_ = await to_thread.run_sync(runs.create, folder, saved, settings, now)
        own.append(run_.folder)
        return await _carried_out(run_, where=where, progress=progress, stop=stop)


async def resume(
    run: str | Path,
    strategy: Strategy = Strategy.NEW,
    *,
    assume_unknown: bool = False,
    where: Where | None = None,
    progress: Callable[[Advance], None] | None = None,
    stop: StopSignal | None = None,
) -> Report:
    """Go on with a run: first what is in doubt, then what the strategy says; as `bulkedit resume`.

    ``where`` says what is otherwise than when the run was begun. Raises `UnprovenLedgerError` if the ledger is missing,
    behind, damaged or a copy; with ``assume_unknown`` each call that it does not prove is compared first. ``progress``
    and ``stop`` are those of `apply`.
    """
    resume_options = ResumeOptions(strategy, assume_unknown=assume_unknown)
    found = await to_thread.run_sync(runs.load, Path(run))
    return await _carried_out(found, resume_options, where=where, progress=progress, stop=stop)


async def verify(
    run: str | Path,
    options: VerifyOptions | None = None,
    *,
    where: Where | None = None,
    progress: Callable[[WorkProgress], None] | None = None,
    stop: StopSignal | None = None,
) -> VerifyProgress:
    """Read back what a run has applied; as `bulkedit verify`.

    The answer's ``verification`` has the differences as frames; it is None if image sets are left to read, which the
    same call goes on with. ``where`` says what is otherwise than when the run was begun. ``progress`` is called after
    every image set. Raises as `bulkedit.after.verify.job.verify`.
    """
    found = await to_thread.run_sync(runs.load, Path(run))
    return await verify_run(found, options, where=where, progress=progress, stop=stop)


async def revert(
    run: str | Path,
    options: RevertOptions | None = None,
    *,
    folder: str | Path | None = None,
    where: Where | None = None,
    progress: Callable[[WorkProgress], None] | None = None,
    stop: StopSignal | None = None,
) -> Reversal:
    """Plan the undoing of a run; as `bulkedit revert`. Sends nothing that writes: `apply` the answer's ``plan``.

    ``folder``: where the plan goes, `plans/<id>` if not given. ``progress`` is called after every image set. Raises as
    `bulkedit.after.revert.revert_run`.
    """
    found = await to_thread.run_sync(runs.load, Path(run))
    target = Path(folder) if folder is not None else None
    return await revert_run(found, options, folder=target, where=where, progress=progress, stop=stop)


async def inventory(
    datastore_id: str,
    file: str | Path,
    options: InventoryOptions | None = None,
    *,
    where: Where | None = None,
    progress: Callable[[InventoryProgress], None] | None = None,
    stop: StopSignal | None = None,
) -> TakenInventory:
    """Take a snapshot of a data store; as `bulkedit inventory`.

    What ends it early loses nothing: the same call goes on. ``progress`` is called after every page. Raises as
    `bulkedit.inventories.job.take_inventory`.
    """
    return await take_inventory(datastore_id, Path(file), options, where=where, progress=progress, stop=stop)


async def deid(
    file: str | Path,
    options: DeidOptions,
    datastore_id: str | None = None,
    *,
    where: Where | None = None,
    progress: Callable[[WorkProgress], None] | None = None,
    stop: StopSignal | None = None,
) -> Deidentified:
    """Derive the edits that de-identify image sets, as an edit list for `plan`; as `bulkedit deid`.

    ``file``: the list to write, Parquet or CSV; its record is the folder beside it. What ends it early loses nothing:
    the same call goes on. ``progress`` is called after every image set. Raises as
    `bulkedit.deidentification.job.deidentify`.
    """
    return await deidentify(Path(file), options, datastore_id, where=where, progress=progress, stop=stop)


async def audit(
    run: str | Path,
    options: AuditOptions | None = None,
    *,
    where: Where | None = None,
    progress: Callable[[WorkProgress], None] | None = None,
    stop: StopSignal | None = None,
) -> Audit:
    """Look for what still identifies patients after a run; as `bulkedit audit`.

    ``progress`` is called after every image set. Raises as `bulkedit.audits.job.audit_run`.
    """
    found = await to_thread.run_sync(runs.load, Path(run))
    return await audit_run(found, options, where=where, progress=progress, stop=stop)


def report(run: str | Path) -> Report:
    """What became of every edit of a run, also while it goes on; as `bulkedit report`."""
    return _report(runs.load(Path(run)))


def _report(run: Run) -> Report:
    return Report(run.folder, summary(run), reports.outcomes(run))


async def _carried_out(
    run: Run,
    resume_options: ResumeOptions | None = None,
    *,
    where: Where | None,
    progress: Callable[[Advance], None] | None,
    stop: StopSignal | None,
) -> Report:
    async with (
        connect(connection_of(run, where)) as client,
        engine_of(run, client, resume_options) as engine,
        draining_by(stop, engine.stop.drain),
        report_every(_TOLD_S, engine.progress, progress),
    ):
        await engine.run()
    return await to_thread.run_sync(_report, run)
