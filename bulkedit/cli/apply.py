"""`bulkedit apply` and `bulkedit resume`."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import typer

from bulkedit import plans
from bulkedit._concurrency import first_error
from bulkedit._files import new_id
from bulkedit._printable import printable
from bulkedit._words import plural
from bulkedit.cli import _options as o
from bulkedit.cli._console import command, confirmed, err, interactive, json_line
from bulkedit.cli._progress import bottleneck, watch
from bulkedit.cli._working import agreed_connection, received_signals, short_collections
from bulkedit.cli.plan import Talk, plan_line, show_plan, show_warnings
from bulkedit.cli.report import closing_lines
from bulkedit.client.connect import Connection, connect
from bulkedit.client.pacing import AUTO
from bulkedit.client.where import Where
from bulkedit.errors import EXIT_INTERRUPTED, EXIT_NOT_ALL_APPLIED, EXIT_OK, EXIT_STOPPED, BulkeditError, UsageError
from bulkedit.plans.from_list import ListOptions, plan_list
from bulkedit.runs import folder as runs
from bulkedit.runs.reconcile import Reconciled
from bulkedit.runs.resume import Resumption, Strategy
from bulkedit.runs.start import (
    GoingOn,
    RunOptions,
    engine_of,
    removed_unless_started,
    require_deletion_asked,
    require_digest,
)
from bulkedit.runs.summary import summary as summary_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bulkedit.client.aws import AwsClient
    from bulkedit.plans import SavedPlan
    from bulkedit.runs.engine import Engine

_DEFAULT: Final = RunOptions()
_REPORT: Final = "bulkedit report RUN"
_RESUME: Final = "bulkedit resume RUN"  # as the errors of ledger and engine say it, which do not know the folder


def apply(
    source: o.Source,
    datastore: o.DatastoreId = None,
    run: o.RunOption = None,
    yes: o.Yes = False,
    dry_run: o.DryRun = False,
    digest: o.Digest = None,
    region: o.Region = None,
    profile: o.AwsProfile = None,
    endpoint_url: o.EndpointUrl = None,
    allow_http: o.AllowHttp = False,
    client_cert: o.ClientCert = None,
    client_key: o.ClientKey = None,
    rate: o.Rate = AUTO,
    max_rate: o.MaxRate = None,
    burst: o.Burst = None,
    read_rate: o.ReadRate = AUTO,
    workers: o.Workers = _DEFAULT.workers,
    max_in_flight: o.MaxInFlight = _DEFAULT.max_in_flight,
    on_conflict: o.OnConflict = _DEFAULT.on_conflict,
    unlock_timeout: o.UnlockTimeout = _DEFAULT.unlock_timeout,
    max_errors: o.MaxErrors = None,
    min_sample: o.MinSample = _DEFAULT.min_sample,
    halt: o.Halt = _DEFAULT.halt,
    max_attempts: o.MaxAttempts = _DEFAULT.max_attempts,
    retry_for: o.RetryFor = _DEFAULT.retry_for,
    include_values: o.KeepMessages = False,
    map_: o.Map = None,
    ignore: o.Ignore = None,
    empty: o.Empty = "keep",
    force: o.Force = False,
    rules: o.Rules = "2026",
    format_: o.Format = None,
    payload_limit: o.PayloadLimit = None,
    bad_rows: o.BadRows = None,
    no_merge: o.NoMerge = False,
    on_contradiction: o.OnContradiction = "fail",
    inventory: o.Inventory = None,
    on_missing: o.OnMissing = "fail",
    on_many: o.OnMany = "fail",
    primary_only: o.PrimaryOnly = False,
    study_wide: o.StudyWide = "auto",
    via_copy: o.ViaCopy = False,
    delete_originals: o.DeleteOriginals = False,
    skip_satisfied: o.SkipSatisfied = False,
    as_json: o.AsJson = False,
) -> None:
    """Apply a plan, or an edit list at once. Asks first on a terminal.

    Example: bulkedit apply plans/20260102-030405-1a2b --max-rate 5/s
    """
    where = Where(
        region=region,
        profile=profile,
        endpoint_url=endpoint_url,
        allow_http=allow_http,
        client_cert=client_cert,
        client_key=client_key,
    )
    options = RunOptions(
        rate=rate,
        max_rate=max_rate,
        burst=burst,
        read_rate=read_rate,
        workers=workers,
        max_in_flight=max_in_flight,
        on_conflict=on_conflict,
        unlock_timeout=unlock_timeout,
        max_errors=max_errors,
        min_sample=min_sample,
        halt=halt,
        max_attempts=max_attempts,
        retry_for=retry_for,
        include_values=include_values,
    )
    options.engine()  # what is wrong with them is said before anything else happens
    listing = ListOptions(
        map=map_,
        ignore=ignore,
        empty=empty,
        force=force,
        rules=rules,
        format=format_,
        payload_limit=payload_limit,
        bad_rows=bad_rows,
        no_merge=no_merge,
        on_contradiction=on_contradiction,
        inventory=inventory,
        on_missing=on_missing,
        on_many=on_many,
        primary_only=primary_only,
        study_wide=study_wide,
        via_copy=via_copy,
        delete_originals=delete_originals and not Path(source).is_dir(),
        skip_satisfied=skip_satisfied,
        read_rate=read_rate,
    )
    plan = _plan_of(source, datastore, listing, where)
    if digest is not None:
        require_digest(plan, digest)
    if dry_run:
        _show(plan, as_json=as_json)
        err().print("Nothing was sent: --dry-run.")
        return
    own = [plan.folder] if plan.folder != Path(source) else []  # a plan that the user made stays in any case
    with removed_unless_started(own, typer.Abort, told=err().print):
        if as_json:
            show_warnings(plan, err())
        else:
            show_plan(plan)
        _require_agreement(plan, yes=yes, delete_originals=delete_originals)

        def create() -> runs.Run:
            _ask(plan, yes=yes, delete_originals=delete_originals)
            now = datetime.now(UTC)
            settings = {"connection": where.as_settings(), "options": asdict(options)}
            started = runs.create(run or Path("runs") / new_id(now), plan, settings, now)
            own.append(started.folder)
            return started

        connection = Connection(datastore_id=plan.datastore_id, **asdict(where))
        code = anyio.run(partial(_connected, connection, create, as_json=as_json))
    raise typer.Exit(code)


def resume(
    run: o.RunFolder,
    strategy: o.ResumeStrategy = "new",
    assume_unknown: o.AssumeUnknown = False,
    endpoint_url: o.EndpointUrl = None,
    allow_http: o.AllowHttp = False,
    as_json: o.AsJson = False,
) -> None:
    """Go on with a run that was stopped: first what is in doubt, then what is left.

    Example: bulkedit resume runs/20260102-030405-1a2b
    """
    if strategy not in list(Strategy):
        raise UsageError("--strategy is new, failed or all.")
    found = runs.load(run)
    connection = agreed_connection(found, Where(endpoint_url=endpoint_url, allow_http=allow_http))
    with _naming_resume(found):
        going_on = GoingOn(Strategy(strategy), assume_unknown=assume_unknown)
        code = anyio.run(partial(_connected, connection, lambda: found, going_on, as_json=as_json))
    raise typer.Exit(code)


async def _connected(
    connection: Connection, begun: Callable[[], runs.Run], going_on: GoingOn | None = None, *, as_json: bool
) -> int:
    """Say where requests go, begin, and run to an end: over one client, so that credentials are asked for once.

    ``begun`` may ask the user, which holds up nothing: no request is under way.
    """
    async with connect(connection) as client:
        (await client.destination()).announce()
        return await carry_out(begun(), client, going_on, as_json=as_json)


def _plan_of(source: str, datastore: str | None, listing: ListOptions, where: Where) -> SavedPlan:
    folder = Path(source)
    if source != "-" and not folder.exists() and not folder.suffix:
        raise UsageError(
            "there is neither a plan nor an edit list.", where=source, hint="Make a plan: bulkedit plan EDITS -o DIR"
        )
    if source == "-" or not folder.is_dir():
        return plan_list(source, datastore, listing, folder=None, where=where, listener=Talk())
    plan = plans.load(folder)
    if datastore and datastore != plan.datastore_id:
        raise UsageError("this plan was made for another data store.", where=source, hint="Leave --datastore out.")
    return plan


def _show(plan: SavedPlan, *, as_json: bool) -> None:
    if as_json:
        json_line(plan_line(plan))
    else:
        show_plan(plan)


def _require_agreement(plan: SavedPlan, *, yes: bool, delete_originals: bool) -> None:
    """Raises UsageError if the user has not agreed to the calls of a plan, and cannot be asked."""
    if not plan.counts["calls"] or (interactive() and not yes):
        return
    require_deletion_asked(plan, delete_originals=delete_originals)
    if not yes:
        raise UsageError(f"nobody is there to confirm {_what(plan)}.", hint="To apply from a script: --yes")


def _what(plan: SavedPlan) -> str:
    return f"{plural(plan.counts['calls'], 'call')} to data store {printable(plan.datastore_id)}"


def _ask(plan: SavedPlan, *, yes: bool, delete_originals: bool) -> None:
    if yes or not plan.counts["calls"]:
        return
    # polars has put a handler of its own before Python's, which would hold Ctrl-C back until Enter
    signal.signal(signal.SIGINT, signal.default_int_handler)
    agreed = confirmed(f"Send {_what(plan)} (plan {plan.short_digest})?")
    deleted = plan.counts.get("originals_deleted", 0)
    if agreed and deleted and not delete_originals:
        agreed = confirmed(f"Delete {plural(deleted, 'original image set')} for good?")
    if not agreed:
        err().print("Nothing was sent.")
        raise typer.Exit(EXIT_OK)


async def carry_out(run: runs.Run, client: AwsClient, going_on: GoingOn | None = None, *, as_json: bool) -> int:
    """Run to an end of whatever kind, say how it ended, and return the exit code."""
    err().print(f"Run {printable(run.folder)}")
    with _naming_resume(run):
        told = _Told(run)
        async with engine_of(run, client, going_on, told.resumption, told.reconciled) as engine:
            interrupted = await _run(engine, as_json=as_json)
            ended = engine.progress()
    summary = summary_of(run)
    numbers = ended.as_json()
    summary |= {name: numbers[name] for name in ("quota_per_second", "limited_by")}
    summary["destination"] = (await client.destination()).as_json()
    if as_json:
        json_line(summary)
    else:
        closing_lines(run, summary)
        if hint := bottleneck(ended):
            err().print(hint)
    return _exit_code(summary, interrupted=interrupted)


def _exit_code(summary: dict[str, Any], *, interrupted: bool) -> int:
    if summary["unprocessed"] or summary["steps_left"]:
        return EXIT_INTERRUPTED if interrupted else EXIT_STOPPED
    well = summary["applied"] == summary["edits"] and not summary["steps_failed"]
    return EXIT_OK if well else EXIT_NOT_ALL_APPLIED


@contextmanager
def _naming_resume(run: runs.Run) -> Iterator[None]:
    """Errors below do not know the run's folder; what they say to type names it here.

    An error that says nothing of a resume gets no such advice: it would only come again.
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


class _Told:
    """Says before a resume what it rests on and what it will do."""

    def __init__(self, run: runs.Run) -> None:
        self._run = run

    def resumption(self, found: Resumption) -> None:
        err().print(resumption_line(found))

    def reconciled(self, found: Reconciled) -> None:
        err().print(reconciliation_line(found))


def reconciliation_line(found: Reconciled) -> str:
    """What `--assume-unknown` has found, in one sentence."""
    parts = [
        f"{plural(found.made, 'call')} found made in a version of the image set",
        f"{found.held:,} found there already",
        f"{found.doubtful:,} not made, and in doubt as a request may still be on its way",
        f"{found.overtaken:,} not made, though a later one was (failed)",
        f"{found.unknown:,} that cannot be told (failed, and never sent again)",
    ]
    kept = f" The former ledger is kept with {found.stamp} in its name." if found.stamp else ""
    return (
        f"Compared: what is left of the ledger proves {plural(found.proven, 'call')}; of the others, "
        f"{', '.join(parts)}, and {found.left:,} not made.{kept}"
    )


def resumption_line(found: Resumption) -> str:
    """What a resume will do, in one sentence."""
    todo = [f"{plural(found.in_doubt, 'call')} in doubt {'is' if found.in_doubt == 1 else 'are'} looked at first"]
    if found.sends_new:
        todo.append(f"{found.new:,} without an outcome sent")
    if found.strategy is not Strategy.NEW:
        todo.append(f"{len(found.again):,} not applied sent again")
    left = [f"{found.settled:,} settled left alone"]
    if found.overtaken:
        left.append(f"{found.overtaken:,} of them because a later edit has changed the same place since")
    if not found.sends_new and found.new:
        left.append(f"{found.new:,} without an outcome left for later")
    return f"Resuming with --strategy {found.strategy}: {', '.join(todo)}; {', '.join(left)}."


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
    """The first Ctrl-C or SIGTERM drains; the second leaves at once."""

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
                under_way = self._engine.tally.in_flight
                waiting = f"; waiting for {plural(under_way, 'image set')}" if under_way else ""
                err().print(f"Stopping: nothing new is sent{waiting}. Again to leave at once.")
                self._engine.stop.drain()
