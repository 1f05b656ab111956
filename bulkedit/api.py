"""The commands as functions, for notebooks and jobs. `import bulkedit` exports them.

Functions and commands share their code and their files: `bulkedit apply` can apply a plan that was made here, and
`bulkedit resume` can continue a run that was started here. Edits are passed as files or frames; results are frames.

All functions are coroutines, except `report`. Errors are those of `bulkedit.errors`. ``progress`` is a function that is
called in the caller's event loop with a progress record; it must not block. ``stop`` is a `StopSignal` that ends the
function early. Cancelling the task stops at once; responses received so far are in the ledger, and `resume` continues.

Example::

    import asyncio
    import bulkedit


    async def main():
        plan = await bulkedit.plan("edits.csv", "0123456789abcdef0123456789abcdef")
        report = await bulkedit.apply(plan, run="runs/one")
        print(report.summary["applied"], "edits applied")


    asyncio.run(main())
"""

from __future__ import annotations

import asyncio
import io
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bulkedit import plans
from bulkedit._concurrency import run_blocking
from bulkedit._files import new_id
from bulkedit._progress import Advance, Phase, StopSignal, WorkProgress, draining_by, ended_by, report_every
from bulkedit.after import report as reports
from bulkedit.after.revert import Reversal, revert_run
from bulkedit.after.trail.job import Trail, TrailProgress, trail_run
from bulkedit.after.verify.job import verify as verify_run
from bulkedit.audits.job import Audit, audit_run
from bulkedit.client.connect import Connection, connect
from bulkedit.deidentification.job import Deidentified, deidentify
from bulkedit.edits.frames import FROM_TEXT, frame_of
from bulkedit.errors import UsageError
from bulkedit.inventories.job import InventoryProgress, TakenInventory, take_inventory
from bulkedit.options.audit import AuditOptions
from bulkedit.options.deid import DeidOptions
from bulkedit.options.inventory import InventoryOptions
from bulkedit.options.listing import Contradictions, ListOptions, OnMany, OnMissing, StudyWide
from bulkedit.options.revert import OnLaterChange, RevertOptions
from bulkedit.options.running import Halt, OnConflict, RememberQuota, RunChanges, RunOptions, Strategy
from bulkedit.options.verify import Sample, VerifyOptions
from bulkedit.options.where import Where
from bulkedit.plans.from_list import plan_list
from bulkedit.plans.listener import Listener
from bulkedit.runs import folder as runs
from bulkedit.runs import repeat
from bulkedit.runs.connection import connection_of
from bulkedit.runs.options import EngineOptions
from bulkedit.runs.start import (
    ResumeOptions,
    engine_of,
    removed_unless_started,
    require_datastore,
    require_deletion_asked,
    require_digest,
)
from bulkedit.runs.summary import summary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    import polars as pl

    from bulkedit.after.verify import VerifyProgress
    from bulkedit.client.contract import Client
    from bulkedit.edits.frames import EditFrame
    from bulkedit.inventories import SearchCounters
    from bulkedit.plans import SavedPlan
    from bulkedit.plans.read_first import ReadCounters
    from bulkedit.runs.folder import Run
    from bulkedit.runs.summary import RunSummary

_PROGRESS_S: Final = 0.5  # between two progress records

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
    "RememberQuota",
    "Report",
    "Reversal",
    "RevertOptions",
    "RunChanges",
    "RunOptions",
    "Sample",
    "StopSignal",
    "Strategy",
    "StudyWide",
    "TakenInventory",
    "Trail",
    "TrailProgress",
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
    "trail",
    "verify",
]


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a run.

    ``run``: the run's folder. ``summary``: counts of edits, calls and requests (docs/json-output.md, ``summary``).
    ``edits``: one row per edit, in the order of the list, without values; its columns and dtypes are
    `bulkedit.after.report.OUTCOMES`.
    """

    run: Path
    summary: RunSummary
    edits: pl.LazyFrame

    @property
    def done(self) -> bool:
        """Whether every edit has an outcome. If not, `resume` continues the run."""
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
    """Check edits and plan their calls, like `bulkedit plan`. Changes nothing in the data store.

    ``edits``: the path of an edit list, or a table with the columns of one of its three forms (docs/edit-lists.md). The
    table is a polars DataFrame or LazyFrame, a frame of pandas, pyarrow or another library with ``__arrow_c_stream__``,
    a dict of lists, or a list of dicts. Text columns have the dtype str. Rows are numbered from 1. A table is written
    to no file but the plan's.
    ``datastore_id``: 32 characters; needed unless the edits name it.
    ``folder``: the new folder of the plan; default `plans/<id>`.
    ``options``: how the list is read and planned. ``where``: how to reach AWS.
    ``progress``: called while image sets are searched or read.

    Raises EditListError or BadRowsError for invalid edits (``problems`` of the latter is a frame of all of them),
    UsageError for invalid options or another type of ``edits``, StoppedError after ``stop`` (nothing is planned), and
    as `bulkedit.client.connect.connect` if AWS is called.

    Example::

        edits = pl.DataFrame({"image_set_id": ["0123456789abcdef0123456789abcdef"], "PatientName": ["Doe^Jane"]})
        plan = await bulkedit.plan(edits, "fedcba9876543210fedcba9876543210")
        print(plan.counts["calls"], plan.digest)
    """
    target = Path(folder) if folder is not None else None
    listener = _ProgressReporter(asyncio.get_running_loop(), progress, stop)
    make = partial(_planned, folder=target, where=where or Where(), listener=listener)
    return await run_blocking(make, edits, datastore_id, options or ListOptions())


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
    file = io.BytesIO()  # in memory: a kill would leave a file on the disk
    frame_of(edits).write_parquet(file)
    file.seek(0)
    listing = replace(listing, format="parquet")
    return plan_list(file, datastore_id, listing, folder=folder, where=where, listener=listener)


class _ProgressReporter(Listener):
    """Reports the progress of planning, which runs in a thread, to the caller's event loop, and stops its requests."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, progress: Callable[[Advance], None] | None, stop: StopSignal | None
    ) -> None:
        self._loop = loop
        self._progress = progress
        self._stop = stop

    def looking_up(self, counters: Callable[[], SearchCounters]) -> AbstractAsyncContextManager[None]:
        """Report the progress of searches."""
        return self._reported(
            lambda: WorkProgress(
                phase=Phase.SEARCHING, done=counters().image_sets, throttled=counters().reads.throttled
            )
        )

    def reading(self, counters: Callable[[], ReadCounters]) -> AbstractAsyncContextManager[None]:
        """Report the progress of reading image sets."""

        def record() -> WorkProgress:
            now = counters()
            done = now.read + now.archived + now.unread
            return WorkProgress(phase=Phase.READING, done=done, total=now.total, throttled=now.throttled)

        return self._reported(record)

    def _report(self, progress: Advance) -> None:
        if self._progress is not None:
            self._loop.call_soon_threadsafe(self._progress, progress)

    @asynccontextmanager
    async def _reported(self, record: Callable[[], WorkProgress]) -> AsyncIterator[None]:
        async with ended_by(self._stop, kept="Nothing was planned."), report_every(_PROGRESS_S, record, self._report):
            yield


def _path_of(edits: str | Path) -> str:
    """The path of a file. Raises UsageError, without quoting it, for a text that is itself an edit list."""
    name = str(edits)
    if "\n" in name:
        raise UsageError("a str of `edits` must be the path of a file; this text has several lines.", hint=FROM_TEXT)
    return name


async def apply(
    plan: SavedPlan | str | Path,
    *,
    run: str | Path | None = None,
    options: RunOptions | None = None,
    where: Where | None = None,
    resume_or_start: bool = False,
    delete_originals: bool = False,
    digest: str | None = None,
    progress: Callable[[Advance], None] | None = None,
    stop: StopSignal | None = None,
) -> Report:
    """Apply a plan in a new run, like `bulkedit apply`. Does not ask for confirmation.

    ``plan``: a plan of `plan` or `revert`, or its folder.
    ``run``: the new folder of the run; default `runs/<id>`.
    ``resume_or_start``: if the folder ``run`` is there, continue its run with the run's own options; if it is done,
    send nothing. So the call can be repeated. StalePlanError if it is the run of another plan.
    ``options``: rates, conflicts, error budget. ``where``: how to reach AWS.
    ``delete_originals``: must be True for a plan that was made with ``delete_originals``, which deletes image sets.
    ``digest``: `SavedPlan.digest`, or at least its first 16 digits: apply the plan only if it has this digest.
    ``progress``: called every 0.5 s with a `bulkedit.runs.progress.Progress`.
    ``stop``: once sent, no new calls are sent; calls in flight are awaited, and `Report.done` is False.

    Returns once every call is completed, or cannot be completed in this run. Raises StalePlanError for another digest,
    UsageError for invalid options or without the needed ``delete_originals``, and as `bulkedit.client.connect.connect`
    and `Engine.run`. After an error of `Engine.run`, `resume` continues the run.

    Example::

        report = await bulkedit.apply("plans/one", options=bulkedit.RunOptions(max_rate="5/s"))
        failed = report.edits.filter(pl.col("outcome") != "applied").collect()
    """
    saved = await run_blocking(plans.load, Path(plan)) if isinstance(plan, str | Path) else plan
    if digest is not None:
        require_digest(saved, digest)
    require_deletion_asked(saved, delete_originals=delete_originals)
    if resume_or_start:
        if run is None:
            raise UsageError("`resume_or_start` needs `run`.", hint="Name the same folder each time.")
        if (begun := await run_blocking(repeat.begun, Path(run))) is not None:
            repeat.require_same_plan(begun, saved.digest, saved.folder)
            if repeat.is_done(await run_blocking(summary, begun)):
                return await run_blocking(_report, begun)
            continued = ResumeOptions(where=where or Where())
            return await _continued(begun, continued, where=where, progress=progress, stop=stop)
    options = options or RunOptions()
    settings: runs.RunSettings = {"connection": (where or Where()).as_settings(), "options": options.as_settings()}
    EngineOptions.of(options)  # raises UsageError for invalid options before anything else happens
    now = datetime.now(UTC)
    folder = Path(run) if run is not None else Path("runs") / new_id(now)
    runs.require_absent(folder)
    own: list[Path | runs.Run] = []
    connection = Connection(datastore_id=saved.datastore_id, **asdict(where or Where()))
    with removed_unless_started(own):
        async with connect(connection) as client:
            await require_datastore(client, saved.datastore_id, retry_for_s=options.retry_for)
            run_ = await run_blocking(runs.create, folder, saved, settings, now)
            own.append(run_)
            return await _run_engine(run_, client, progress=progress, stop=stop)


async def resume(
    run: str | Path,
    strategy: Strategy = Strategy.NEW,
    *,
    assume_unknown: bool = False,
    changes: RunChanges | None = None,
    where: Where | None = None,
    progress: Callable[[Advance], None] | None = None,
    stop: StopSignal | None = None,
) -> Report:
    """Continue a run, like `bulkedit resume`: first calls with an unknown outcome, then those of the strategy.

    ``run``: the run's folder.
    ``strategy``: ``new``: calls without an outcome. ``failed``: calls that were rejected, conflicted or failed.
    ``all``: both.
    ``assume_unknown``: continue although the ledger is missing, behind, damaged or a copy. Every call without a
    recorded outcome is first compared with its image set.
    ``changes`` and ``where``: settings that the run has from now on, for later resumes too. None: as before.
    ``progress`` and ``stop``: as in `apply`.

    Raises UnprovenLedgerError for such a ledger without ``assume_unknown``, RunHeldError if another process works on
    the run, and as `apply`.

    Example::

        report = await bulkedit.resume("runs/one")
    """
    resume_options = ResumeOptions(
        strategy, assume_unknown=assume_unknown, where=where or Where(), changes=changes or RunChanges()
    )
    found = await run_blocking(runs.load, Path(run))
    return await _continued(found, resume_options, where=where, progress=progress, stop=stop)


async def verify(
    run: str | Path,
    options: VerifyOptions | None = None,
    *,
    where: Where | None = None,
    progress: Callable[[WorkProgress], None] | None = None,
    stop: StopSignal | None = None,
) -> VerifyProgress:
    """Read the image sets of a run and compare each applied edit with them, like `bulkedit verify`.

    ``run``: the run's folder.
    ``options``: what to read: all image sets or a sample, archived ones or not.
    ``where``: only what differs from the start of the run. ``progress``: called after every image set.

    Returns a `VerifyProgress`. Its ``verification`` has the differences as frames. It is None if image sets are left to
    read; call again to continue. Raises as `bulkedit.after.verify.job.verify`.

    Example::

        done = await bulkedit.verify("runs/one", bulkedit.VerifyOptions(skip_archived=True))
        print(done.verification.differences().collect() if done.verification else "call again to continue")
    """
    found = await run_blocking(runs.load, Path(run))
    return await verify_run(found, options, where=where, progress=progress, stop=stop)


async def trail(
    run: str | Path,
    cloudtrail: Iterable[str | Path],
    *,
    progress: Callable[[TrailProgress], None] | None = None,
    stop: StopSignal | None = None,
) -> Trail:
    """Compare a run with CloudTrail, like `bulkedit trail`. Sends nothing.

    ``run``: the run's folder.
    ``cloudtrail``: log files of CloudTrail, or folders of them.
    ``progress``: called before each file is read.

    Returns a `Trail`: its ``rows`` have every write request of the run, and the writes of others to its image sets.
    They are in `trail.csv` in the run's folder too. Raises as `bulkedit.after.trail.trail_of`.

    Example::

        found = await bulkedit.trail("runs/one", ["logs"])
        print(found.even, found.differences)
    """
    found = await run_blocking(runs.load, Path(run))
    return await trail_run(found, list(map(Path, cloudtrail)), progress=progress, stop=stop)


async def revert(
    run: str | Path,
    options: RevertOptions | None = None,
    *,
    folder: str | Path | None = None,
    where: Where | None = None,
    progress: Callable[[WorkProgress], None] | None = None,
    stop: StopSignal | None = None,
) -> Reversal:
    """Plan to undo a run, like `bulkedit revert`. Changes nothing in the data store; `apply` the returned plan.

    ``run``: the run's folder.
    ``options``: which rows or image sets to undo; default all.
    ``folder``: the new folder of the plan; default `plans/<id>`.
    ``where``: only what differs from the start of the run. ``progress``: called after every image set.

    Returns a `Reversal`: ``plan``, and ``left_out``, a DataFrame with a row per image set that cannot be undone. Raises
    as `bulkedit.after.revert.revert_run`.

    Example::

        undo = await bulkedit.revert("runs/one")
        if undo.left_out.is_empty():
            await bulkedit.apply(undo.plan)
    """
    found = await run_blocking(runs.load, Path(run))
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
    """Write an inventory of a data store to a Parquet file, like `bulkedit inventory`.

    ``datastore_id``: 32 characters. ``file``: the Parquet file to write. ``options``: read rate, and ``fresh``.
    ``where``: how to reach AWS. ``progress``: called after every page of SearchImageSets.

    If it ends early, the pages read so far are kept; call again to continue. Raises as
    `bulkedit.inventories.job.take_inventory`.

    Example::

        taken = await bulkedit.inventory("0123456789abcdef0123456789abcdef", "inventory.parquet")
        print(taken.snapshot.image_sets)
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
    """Write an edit list that de-identifies image sets, like `bulkedit deid`. Changes nothing in the data store.

    ``file``: the edit list to write, `.parquet` or `.csv`. Its record is the folder FILE.deid beside it.
    ``options``: profile, key, and which image sets. ``datastore_id``: not needed with ``source``.
    ``where``: how to reach AWS. ``progress``: called after every image set.

    If it ends early, the image sets read so far are kept; call again to continue. Raises as
    `bulkedit.deidentification.job.deidentify`.

    Example::

        options = bulkedit.DeidOptions(deid_profile="basic", key=Path("deid.key"), everything=True)
        made = await bulkedit.deid("deid.parquet", options, datastore_id)
        plan = await bulkedit.plan(made.file, datastore_id)
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
    """Search the image sets of a de-identification run for data that still identifies patients, like `bulkedit audit`.

    ``run``: the run's folder. ``options``: the de-identification profile, and whether to read archived image sets.
    ``where``: only what differs from the start of the run. ``progress``: called after every image set.

    Returns an `Audit`: ``clean`` is True if nothing was found; ``findings`` is a DataFrame with a row per finding.
    Raises as `bulkedit.audits.job.audit_run`.

    Example::

        found = await bulkedit.audit("runs/one", bulkedit.AuditOptions(deid_profile="basic"))
    """
    found = await run_blocking(runs.load, Path(run))
    return await audit_run(found, options, where=where, progress=progress, stop=stop)


def report(run: str | Path) -> Report:
    """The outcome of every edit of a run, like `bulkedit report`. The run may still be in progress.

    ``run``: the run's folder. Raises UsageError if it is not a run, and StalePlanError or LedgerError if its plan or
    ledger cannot be used.

    Example::

        edits = bulkedit.report("runs/one").edits.collect()
    """
    return _report(runs.load(Path(run)))


def _report(run: Run) -> Report:
    return Report(run.folder, summary(run), reports.outcomes(run))


async def _continued(
    run: Run,
    resume_options: ResumeOptions,
    *,
    where: Where | None,
    progress: Callable[[Advance], None] | None,
    stop: StopSignal | None,
) -> Report:
    async with connect(connection_of(run, where)) as client:
        return await _run_engine(run, client, resume_options, progress=progress, stop=stop)


async def _run_engine(
    run: Run,
    client: Client,
    resume_options: ResumeOptions | None = None,
    *,
    progress: Callable[[Advance], None] | None,
    stop: StopSignal | None,
) -> Report:
    async with (
        engine_of(run, client, resume_options) as engine,
        draining_by(stop, engine.stop.drain),
        report_every(_PROGRESS_S, engine.progress, progress),
    ):
        await engine.run()
    return await run_blocking(_report, run)
