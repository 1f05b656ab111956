"""`bulkedit apply` and `bulkedit resume`."""

from __future__ import annotations

import random
import signal
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import typer

from bulkedit import planner as plans
from bulkedit import reports as report
from bulkedit import runs
from bulkedit.aws import Connection, connect
from bulkedit.cli import options as o
from bulkedit.cli.planning import DEFAULT_READ_RATE, ListOptions, plan_line, plan_list, read_pace, show_plan
from bulkedit.cli.progress import bottleneck, watch
from bulkedit.cli.reporting import closing_lines
from bulkedit.cli.terminal import command, err, interactive, json_line, plural
from bulkedit.engine import Engine, Halt, Options, Resumption, Strategy, parse_max_errors, resumption
from bulkedit.engine import OnConflict as Conflict
from bulkedit.errors import (
    EXIT_INTERRUPTED,
    EXIT_NOT_ALL_APPLIED,
    EXIT_OK,
    EXIT_STOPPED,
    AccessError,
    BulkeditError,
    CredentialsError,
    DatastoreError,
    EndpointError,
    UsageError,
)
from bulkedit.ledger import Ledger
from bulkedit.outcome import Datastore, Lost, Refusal
from bulkedit.pacing import AUTO, DOCUMENTED, WRITES, Auto, Operation, parse_pace

if TYPE_CHECKING:
    from bulkedit.client import Client
    from bulkedit.engine import Progress
    from bulkedit.planner import SavedPlan

# what a run was told that began before these options were there
_BEFORE: Final = {"max_errors": None, "min_sample": 100, "halt": "soon", "max_attempts": 10, "retry_for": 3600.0}
_REPORT: Final = "bulkedit report RUN"
_RESUME: Final = "bulkedit resume RUN"  # as the errors of ledger and engine say it, which do not know the folder


def apply(
    source: o.Source,
    datastore: o.DatastoreId = None,
    run: o.RunOption = None,
    yes: o.Yes = False,
    dry_run: o.DryRun = False,
    region: o.Region = None,
    profile: o.AwsProfile = None,
    endpoint_url: o.EndpointUrl = None,
    rate: o.Rate = AUTO,
    max_rate: o.MaxRate = None,
    burst: o.Burst = None,
    read_rate: o.ReadRate = DEFAULT_READ_RATE,
    workers: o.Workers = 128,
    max_in_flight: o.MaxInFlight = 100,
    on_conflict: o.OnConflict = "rebase",
    unlock_timeout: o.UnlockTimeout = 3600,
    max_errors: o.MaxErrors = None,
    min_sample: o.MinSample = 100,
    halt: o.Halt = "soon",
    max_attempts: o.MaxAttempts = 10,
    retry_for: o.RetryFor = 3600,
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
    as_json: o.AsJson = False,
) -> None:
    """Apply a plan, or an edit list at once. Asks first on a terminal.

    Example: bulkedit apply plans/20260102-030405-1a2b --max-rate 5/s
    """
    settings: dict[str, Any] = {
        "connection": {"region": region, "profile": profile, "endpoint_url": endpoint_url},
        "options": {
            "rate": rate,
            "max_rate": max_rate,
            "burst": burst,
            "read_rate": read_rate,
            "workers": workers,
            "max_in_flight": max_in_flight,
            "on_conflict": on_conflict,
            "unlock_timeout": unlock_timeout,
            "max_errors": max_errors,
            "min_sample": min_sample,
            "halt": halt,
            "max_attempts": max_attempts,
            "retry_for": retry_for,
        },
    }
    engine_options(settings["options"])  # what is wrong with them is said before anything else happens
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
        read_rate=read_rate,
    )
    plan = _plan_of(source, datastore, listing, settings["connection"])
    if dry_run:
        _show(plan, as_json=as_json)
        err().print("Nothing was sent: --dry-run.")
        return
    if not as_json:
        show_plan(plan)
    _ask(plan, yes=yes, delete_originals=delete_originals)
    now = datetime.now(UTC)
    started = runs.create(run or Path("runs") / runs.new_id(now), plan, settings, now)
    raise typer.Exit(carry_out(started, as_json=as_json))


def resume(run: o.RunFolder, strategy: o.ResumeStrategy = "new", as_json: o.AsJson = False) -> None:
    """Go on with a run that was stopped: first what is in doubt, then what is left.

    Example: bulkedit resume runs/20260102-030405-1a2b
    """
    if strategy not in list(Strategy):
        raise UsageError("--strategy is new, failed or all.")
    raise typer.Exit(carry_out(runs.load(run), Strategy(strategy), as_json=as_json))


def _plan_of(source: str, datastore: str | None, listing: ListOptions, where: dict[str, Any]) -> SavedPlan:
    folder = Path(source)
    if source != "-" and not folder.exists() and not folder.suffix:
        raise UsageError(
            "there is neither a plan nor an edit list.", where=source, hint="Make a plan: bulkedit plan EDITS -o DIR"
        )
    if source == "-" or not folder.is_dir():
        return plan_list(source, datastore, listing, None, where)
    plan = plans.load(folder)
    if datastore and datastore != plan.datastore_id:
        raise UsageError("this plan was made for another data store.", where=source, hint="Leave --datastore out.")
    return plan


def _show(plan: SavedPlan, *, as_json: bool) -> None:
    if as_json:
        json_line(plan_line(plan))
    else:
        show_plan(plan)


def require_deletion_asked(plan: SavedPlan, *, delete_originals: bool) -> None:
    """Raises UsageError where a plan deletes image sets for good, and nobody has said so by name."""
    if (count := plan.counts.get("originals_deleted", 0)) and not delete_originals:
        raise UsageError(
            f"this plan deletes {plural(count, 'original image set')} for good, once each is copied and promoted.",
            likely="It was planned with --delete-originals; --yes alone does not agree to that.",
            hint="To agree: --delete-originals. To keep them: plan again without it.",
        )


def _ask(plan: SavedPlan, *, yes: bool, delete_originals: bool) -> None:
    asks = interactive() and not yes
    if not asks:
        require_deletion_asked(plan, delete_originals=delete_originals)
    if yes:
        return
    what = f"{plural(plan.counts['calls'], 'call')} to data store {plan.datastore_id}"
    if not interactive():
        raise UsageError(f"nobody is there to confirm {what}.", hint="To apply from a script: --yes")
    # polars has put a handler of its own before Python's, which would hold Ctrl-C back until Enter
    signal.signal(signal.SIGINT, signal.default_int_handler)
    agreed = typer.confirm(f"Send {what}?", err=True)
    deleted = plan.counts.get("originals_deleted", 0)
    if agreed and deleted and not delete_originals:
        agreed = typer.confirm(f"Delete {plural(deleted, 'original image set')} for good?", err=True)
    if not agreed:
        err().print("Nothing was sent.")
        raise typer.Exit(EXIT_OK)


def engine_options(chosen: dict[str, Any]) -> Options:
    """The engine's options. Raises UsageError."""
    chosen = _BEFORE | chosen
    if chosen["on_conflict"] not in list(Conflict):
        raise UsageError("--on-conflict is rebase or stop.")
    if chosen["halt"] not in list(Halt):
        raise UsageError("--halt is soon or now.")
    rates = {
        # the quotas of copies and deletions are their own: --rate is that of updates
        operation: Auto(quota) if operation in WRITES else read_pace(chosen["read_rate"], operation)
        for operation, quota in DOCUMENTED.items()
    }
    documented = DOCUMENTED[Operation.UPDATE]
    rates[Operation.UPDATE] = parse_pace(chosen["rate"], documented, burst=chosen["burst"], most=chosen.get("max_rate"))
    return Options(
        rates=rates,
        workers=chosen["workers"],
        max_in_flight=chosen["max_in_flight"],
        on_conflict=Conflict(chosen["on_conflict"]),
        unlock_timeout_s=chosen["unlock_timeout"],
        max_attempts=chosen["max_attempts"],
        retry_for_s=chosen["retry_for"],
        max_errors=None if chosen["max_errors"] is None else parse_max_errors(chosen["max_errors"]),
        min_sample=chosen["min_sample"],
        halt=Halt(chosen["halt"]),
    )


def carry_out(run: runs.Run, strategy: Strategy = Strategy.NEW, *, as_json: bool) -> int:
    """Run to an end of whatever kind, say how it ended, and return the exit code."""
    err().print(f"Run {run.folder}")
    try:
        interrupted, ended = anyio.run(partial(_carry_out, run, strategy, as_json=as_json))
    except BulkeditError as error:
        if run.ledger.exists():
            error.hint = (error.hint or f"To go on: {_RESUME}").replace(_RESUME, command("resume", run.folder))
            error.likely = error.likely and error.likely.replace(_REPORT, command("report", run.folder))
        raise
    summary = report.summary(run)
    numbers = ended.as_json()
    summary |= {name: numbers[name] for name in ("quota_per_second", "limited_by")}
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


async def _carry_out(run: runs.Run, strategy: Strategy, *, as_json: bool) -> tuple[bool, Progress]:
    """Connect, check, run; True where a signal stopped it, and the numbers at the end."""
    connection = Connection(datastore_id=run.plan.datastore_id, **run.settings["connection"])
    options = engine_options(run.settings["options"])
    async with connect(connection) as client:
        await require_datastore(client, run.plan.datastore_id)
        resumed = run.ledger.exists()
        with Ledger.open(run.ledger) if resumed else Ledger.create(run.ledger) as ledger:
            sends_new = _take_up(run, ledger, strategy) if resumed else True
            rng = random.SystemRandom()
            engine = Engine(run.plan, client, ledger, options, key=run.key, rng=rng, sends_new=sends_new)
            return await _run(engine, as_json=as_json), engine.progress()


def _take_up(run: runs.Run, ledger: Ledger, strategy: Strategy) -> bool:
    """Say what a resume will do, and enter it; whether calls are sent that were never begun."""
    found = resumption(run.plan, ledger, strategy)
    err().print(resumption_line(found))
    ledger.append(found.events(ledger, time.time()))
    return found.sends_new


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
    fault: BulkeditError | None = None
    async with anyio.create_task_group() as tasks:
        signals = _Signals(engine, tasks.cancel_scope)
        tasks.start_soon(signals.listen)
        tasks.start_soon(partial(watch, engine, as_json=as_json))
        try:
            await engine.run()
        except BulkeditError as error:
            fault = error  # raised outside of the group, which would wrap it
        tasks.cancel_scope.cancel()
    if fault is not None:
        raise fault
    return signals.count > 0


class _Signals:
    """The first Ctrl-C or SIGTERM drains; the second leaves at once."""

    def __init__(self, engine: Engine, scope: anyio.CancelScope) -> None:
        self._engine = engine
        self._scope = scope
        self.count = 0

    async def listen(self) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                self.count += 1
                if self.count > 1:
                    self._scope.cancel()
                    return
                waiting = plural(self._engine.tally.in_flight, "image set")
                err().print(f"Stopping: nothing new is sent; waiting for {waiting}. Again to leave at once.")
                self._engine.stop.drain()


async def require_datastore(client: Client, datastore_id: str) -> None:
    """Raises DatastoreError, AccessError, CredentialsError or EndpointError where no call can succeed."""
    found = await client.get_datastore()
    if isinstance(found, Lost):
        raise EndpointError(
            f"the service could not be reached ({found.cause}).",
            likely="The network is down, or --endpoint-url or --region is wrong.",
            hint="Try: aws medical-imaging list-datastores",
        )
    if isinstance(found, Datastore):
        if found.status != "ACTIVE":
            raise DatastoreError(f"data store {datastore_id} is {found.status}, not ACTIVE.")
        return
    if found.kind in {Refusal.THROTTLED, Refusal.TOO_MANY}:
        return  # the first call will tell
    if found.kind is Refusal.CREDENTIALS:
        raise CredentialsError(
            f"AWS did not accept the credentials ({found.code}).",
            hint="Renew them (for example: aws sso login), or choose others with --profile.",
        )
    if found.kind in {Refusal.NOT_FOUND, Refusal.INVALID}:
        raise DatastoreError(
            f"data store {datastore_id} does not exist in this account and region ({found.code}).",
            likely="The id is mistyped, or the data store is in another region.",
            hint="List those that exist: aws medical-imaging list-datastores",
        )
    raise AccessError(
        f"AWS does not let these credentials read data store {datastore_id} ({found.code}).",
        likely="The role lacks medical-imaging:GetDatastore, or the data store is another account's.",
    )
