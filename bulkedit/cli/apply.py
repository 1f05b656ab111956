"""`bulkedit apply` and `bulkedit resume`."""

from __future__ import annotations

import hashlib
import signal
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import typer

from bulkedit import plans
from bulkedit._concurrency import first_error
from bulkedit._files import new_id, target_of
from bulkedit._printable import printable
from bulkedit._words import plural
from bulkedit.cli._bad_rows import problems_in_full
from bulkedit.cli._console import as_flags, command, confirmed, err, interactive, json_line
from bulkedit.cli._progress import bottleneck, watch
from bulkedit.cli._working import confirmed_connection, received_signals, short_collections
from bulkedit.cli.plan import PlanningMessages, plan_line, show_notices, show_plan, show_warnings
from bulkedit.cli.report import closing_lines, locked_lines
from bulkedit.client.connect import Connection, connect
from bulkedit.client.destination import without_password
from bulkedit.errors import (
    EXIT_INTERRUPTED,
    EXIT_NOT_ALL_APPLIED,
    EXIT_OK,
    EXIT_STOPPED,
    BulkeditError,
    EditListError,
    RunHeldError,
    UsageError,
)
from bulkedit.plans.from_list import planning as planned
from bulkedit.runs import folder as runs
from bulkedit.runs import repeat
from bulkedit.runs.options import EngineOptions
from bulkedit.runs.reconcile import Reconciled
from bulkedit.runs.resume import Resumption
from bulkedit.runs.settings import Change, settings_of
from bulkedit.runs.start import (
    ResumeOptions,
    RunListener,
    engine_of,
    removed_unless_started,
    require_datastore,
    require_deletion_asked,
    require_digest,
)
from bulkedit.runs.summary import RunNumbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit._json import Json
    from bulkedit.cli._parameters import ApplyCommand, ResumeCommand
    from bulkedit.client.aws import AwsClient
    from bulkedit.plans import SavedPlan
    from bulkedit.runs.engine import Engine
    from bulkedit.runs.summary import RunSummary

_REPORT: Final = "bulkedit report RUN"
_RESUME: Final = "bulkedit resume RUN"  # in error texts of ledger and engine, which do not know the run's folder


def apply(options: ApplyCommand, _: typer.Context) -> None:
    """Run `bulkedit apply`."""
    EngineOptions.of(options.running)  # raises UsageError for invalid options before anything else happens
    if options.resume_or_start and options.run is None:
        raise UsageError("`resume_or_start` needs `run=DIR`.", hint="Name the same folder each time.")
    if options.resume_or_start and not options.dry_run and (begun := repeat.begun(Path(options.run or ""))) is not None:
        raise typer.Exit(_continued(begun, options))
    with ExitStack() as planning:
        _started(options, _plan_of(options, planning), planning)


def _started(options: ApplyCommand, plan: SavedPlan, planning: ExitStack) -> None:
    """Start a run. ``planning``: closed once the plan of a list is to be kept; until then it is a draft."""
    if options.digest is not None:
        require_digest(plan, options.digest)
    if options.dry_run:
        _show(plan, as_json=options.as_json)
        err().print("Nothing was sent: --dry-run.")
        return
    from_list = plan.folder != Path(options.source)
    own: list[Path | runs.Run] = (
        [target_of(plan.folder)] if from_list else []
    )  # a plan that the user made is never removed
    with removed_unless_started(own, typer.Abort, report=err().print):
        if options.as_json:
            show_warnings(plan, err())
            show_notices(plan, err())
        else:
            show_plan(plan)
        confirmations = {"yes": options.yes, "delete_originals": options.listing.delete_originals}
        _require_confirmable(plan, **confirmations)
        if options.run is not None and not options.resume_or_start:
            runs.require_absent(options.run)

        def create() -> runs.Run:
            try:
                _confirm(plan, **confirmations)
            except typer.Exit:
                planning.close()
                raise
            now = datetime.now(UTC)
            settings: runs.RunSettings = {
                "connection": options.where.as_settings(),
                "options": options.running.as_settings(),
            }
            record = partial(repeat.digests, options.listing) if from_list else None
            folder = options.run or Path("runs") / new_id(now)
            try:
                started = runs.create(folder, plan, settings, now, record)
            except UsageError as error:
                if options.resume_or_start and folder.exists():
                    raise RunHeldError(
                        "another process has started this run.", where=str(folder), hint="Type the same command again."
                    ) from error
                raise
            own.append(started)
            planning.close()
            return started

        async def start() -> int:
            async with connect(Connection(datastore_id=plan.datastore_id, **asdict(options.where))) as client:
                (await client.destination()).announce()
                await require_datastore(client, plan.datastore_id, retry_for_s=options.running.retry_for)
                # it blocks to ask the user, and no request is in flight
                return await carry_out(create(), client, as_json=options.as_json)

        code = anyio.run(start)
    raise typer.Exit(code)


def _continued(run: runs.Run, options: ApplyCommand) -> int:
    """Continue the run of a repeated command, if it is not done. Returns the exit code."""
    _require_same(run, options)
    if options.digest is not None:
        require_digest(run.plan, options.digest)
    read = RunNumbers(run)
    numbers = read.as_json()
    if repeat.is_done(numbers):
        err().print(f"Run {printable(run.folder)} is done; nothing was sent.")
        if options.as_json:
            json_line(numbers)
        else:
            closing_lines(run, numbers, read.locked)
        return _exit_code(numbers, interrupted=False)
    _show_kept_settings(run, options)
    connection = confirmed_connection(run, options.where)
    return _resume_run(run, connection, ResumeOptions(where=options.where), as_json=options.as_json)


def _require_same(run: runs.Run, options: ApplyCommand) -> None:
    """Raises StalePlanError if a run was not started with the plan or list of this command."""
    source = Path(options.source)
    if options.source != "-" and source.is_dir():
        repeat.require_same_plan(run, plans.load_manifest(source).digest, source)
        return
    sha256 = hashlib.sha256(sys.stdin.buffer.read()).hexdigest() if options.source == "-" else _sha256_of_list(source)
    repeat.require_same_list(run, sha256, options.source, options.datastore_id, options.listing)


def _sha256_of_list(path: Path) -> str:
    """The digest of a list as in its plan. Unlike files of a run, a list may be a link."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EditListError(f"the edit list cannot be read ({error.strerror}).", where=str(path)) from error


def _show_kept_settings(run: runs.Run, options: ApplyCommand) -> None:
    """Say which options of a repeated command have no effect, because the run keeps its own."""
    kept = settings_of(run).options.as_settings()
    names = [name for name, value in options.running.as_settings().items() if kept[name] != value]
    if names:
        flags = ", ".join(as_flags(f"`{name}`") for name in names)
        err().print(f"The run keeps its own {flags}. To change that: {command('resume', run.folder, '--help')}")


def resume(options: ResumeCommand, _: typer.Context) -> None:
    """Run `bulkedit resume`."""
    found = runs.load(options.run)
    connection = confirmed_connection(found, options.where)
    resume_options = ResumeOptions(
        options.strategy, assume_unknown=options.assume_unknown, where=options.where, changes=options.changes
    )
    raise typer.Exit(_resume_run(found, connection, resume_options, as_json=options.as_json))


def _resume_run(run: runs.Run, connection: Connection, resume_options: ResumeOptions, *, as_json: bool) -> int:
    with _naming_resume(run):
        try:
            return anyio.run(partial(_resumed, run, connection, resume_options, as_json=as_json))
        except KeyboardInterrupt:  # before the run has begun, which catches signals itself
            err().print(f"Interrupted. To continue: {command('resume', run.folder)}")
            raise typer.Exit(EXIT_INTERRUPTED) from None


async def _resumed(run: runs.Run, connection: Connection, resume_options: ResumeOptions, *, as_json: bool) -> int:
    async with connect(connection) as client:
        (await client.destination()).announce()
        return await carry_out(run, client, resume_options, as_json=as_json)


def _plan_of(options: ApplyCommand, planning: ExitStack) -> SavedPlan:
    source, folder = options.source, Path(options.source)
    if source != "-" and not folder.exists() and not folder.suffix:
        raise UsageError("no plan or edit list found.", where=source, hint="Make a plan: bulkedit plan EDITS -o DIR")
    if source == "-" or not folder.is_dir():
        listing, where = options.listing, options.where
        with problems_in_full(None, as_json=options.as_json):
            return planning.enter_context(
                planned(source, options.datastore_id, listing, folder=None, where=where, listener=PlanningMessages())
            )
    plan = plans.load(folder)
    if options.datastore_id and options.datastore_id != plan.datastore_id:
        raise UsageError("this plan was made for another data store.", where=source, hint="Leave `datastore_id` out.")
    return plan


def _show(plan: SavedPlan, *, as_json: bool) -> None:
    if as_json:
        json_line(plan_line(plan))
    else:
        show_plan(plan)


def _require_confirmable(plan: SavedPlan, *, yes: bool, delete_originals: bool) -> None:
    """Raises UsageError if the user has not confirmed the calls of a plan, and cannot be asked."""
    if not plan.counts["calls"] or (interactive() and not yes):
        return
    require_deletion_asked(plan, delete_originals=delete_originals)
    if not yes:
        raise UsageError(
            f"cannot ask for confirmation of {_what(plan)}: not on a terminal.", hint="To apply from a script: --yes"
        )


def _what(plan: SavedPlan) -> str:
    return f"{plural(plan.counts['calls'], 'call')} to data store {printable(plan.datastore_id)}"


def _confirm(plan: SavedPlan, *, yes: bool, delete_originals: bool) -> None:
    if yes or not plan.counts["calls"]:
        return
    # polars has installed its own handler, which would delay Ctrl-C until Enter
    signal.signal(signal.SIGINT, signal.default_int_handler)
    agreed = confirmed(f"Send {_what(plan)} (plan {plan.short_digest})?")
    deleted = plan.counts.get("originals_deleted", 0)
    if agreed and deleted and not delete_originals:
        agreed = confirmed(f"Permanently delete {plural(deleted, 'original image set')}?")
    if not agreed:
        err().print("Nothing was sent.")
        raise typer.Exit(EXIT_OK)


async def carry_out(run: runs.Run, client: AwsClient, options: ResumeOptions | None = None, *, as_json: bool) -> int:
    """Carry out a run until it ends or is stopped, print the result, and return the exit code."""
    err().print(f"Run {printable(run.folder)}")
    with _naming_resume(run):
        async with engine_of(run, client, options, _RunMessages()) as engine:
            interrupted = await _run(engine, as_json=as_json)
            ended = engine.progress()
        read = RunNumbers(run)
    summary = read.as_json()
    numbers = ended.as_json()
    paced = {name: numbers[name] for name in ("quota_per_second", "limited_by")}
    destination = (await client.destination()).as_json()
    if as_json:
        locked_lines(read.locked)
        json_line({**summary, **paced, "destination": destination})
    else:
        closing_lines(run, summary, read.locked)
        if hint := bottleneck(ended):
            err().print(hint)
    return _exit_code(summary, interrupted=interrupted)


def _exit_code(summary: RunSummary, *, interrupted: bool) -> int:
    if summary["unprocessed"] or summary["copy_steps_left"]:
        return EXIT_INTERRUPTED if interrupted else EXIT_STOPPED
    well = summary["applied"] == summary["edits"] and not summary["copy_steps_failed"]
    return EXIT_OK if well else EXIT_NOT_ALL_APPLIED


@contextmanager
def _naming_resume(run: runs.Run) -> Iterator[None]:
    """Put the run's folder into the commands of error texts, which do not know it.

    An error without such a command gets none, because a resume would fail again.
    """
    try:
        yield
    except BulkeditError as error:
        if run.is_begun:
            error.hint = error.hint and _naming(error.hint, run)
            error.likely = error.likely and _naming(error.likely, run)
        raise


def _naming(text: str, run: runs.Run) -> str:
    return text.replace(_RESUME, command("resume", run.folder)).replace(_REPORT, command("report", run.folder))


class _RunMessages(RunListener):
    """Prints before a resume what has changed, what was found in the ledger, and what will be sent."""

    def settings_changed(self, changes: list[Change]) -> None:
        told = [f"{as_flags(f'`{one.name}`')} from {_setting(one.before)} to {_setting(one.after)}" for one in changes]
        err().print(f"Settings of the run have changed: {', '.join(told)}.")

    def reconciled(self, found: Reconciled) -> None:
        err().print(reconciliation_line(found))

    def ledger_locked(self) -> None:
        err().print("Waiting for the ledger: another program, such as a backup, has locked it.")

    def resumed(self, found: Resumption) -> None:
        err().print(resumption_line(found))


def _setting(value: Json) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else printable(without_password(str(value)))


def reconciliation_line(found: Reconciled) -> str:
    """The result of `--assume-unknown`, in one sentence."""
    parts = [
        f"{plural(found.made, 'call')} applied by a version of the image set",
        f"{found.already_there:,} already satisfied",
        f"{found.outcome_unknown:,} not applied, with an unknown outcome because a request may still arrive",
        f"{found.overtaken:,} not applied although a later one was (failed)",
        f"{found.unknown:,} that cannot be determined (failed, and never sent again)",
    ]
    kept = f" The old ledger is kept with {found.stamp} in its name." if found.stamp else ""
    return (
        f"Compared: the ledger proves the outcome of {plural(found.proven, 'call')}; of the others, "
        f"{', '.join(parts)}, and {found.not_made:,} not applied.{kept}"
    )


def resumption_line(found: Resumption) -> str:
    """What a resume will send, in one sentence."""
    todo = [f"first {plural(found.outcome_unknown, 'call')} with an unknown outcome"] if found.outcome_unknown else []
    if found.sends_new:
        todo.append(f"{plural(found.new, 'call')} without an outcome")
    if found.again:
        todo.append(f"again {plural(len(found.again), 'call')} that changed nothing")
    left = [f"{plural(found.completed, 'completed call')}"]
    if found.overtaken:
        left[0] += f" ({found.overtaken:,} because a later edit has changed the same attribute since)"
    if not found.sends_new and found.new:
        left.append(f"{plural(found.new, 'call')} without an outcome")
    sent = ", then ".join(todo) or "no call"
    return f"Resuming with --strategy {found.strategy}: {sent}. Left alone: {', '.join(left)}."


async def _run(engine: Engine, *, as_json: bool) -> bool:
    with first_error():
        async with anyio.create_task_group() as tasks:
            signals = _Signals(engine, tasks.cancel_scope)
            tasks.start_soon(signals.listen)
            tasks.start_soon(partial(watch, engine, as_json=as_json))
            with short_collections():
                await engine.run()
            tasks.cancel_scope.cancel()
    return signals.count > 0


class _Signals:
    """The first Ctrl-C or SIGTERM waits for calls in flight; the second stops at once."""

    def __init__(self, engine: Engine, scope: anyio.CancelScope) -> None:
        self._engine = engine
        self._scope = scope
        self.count = 0

    async def listen(self) -> None:
        with received_signals() as signals:
            async for _ in signals:
                self.count += 1
                if self.count > 1:
                    self._scope.cancel()
                    return
                in_flight = self._engine.counters.in_flight
                waiting = f"; waiting for {plural(in_flight, 'image set')}" if in_flight else ""
                err().print(f"Stopping: nothing new is sent{waiting}. Press Ctrl-C again to stop at once.")
                self._engine.stop.drain()
