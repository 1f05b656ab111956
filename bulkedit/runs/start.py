"""Prepares the engine of a run: checks the options and the data store, and opens the ledger."""

from __future__ import annotations

import logging
import math
import random
import re
import shutil
import sqlite3
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import anyio

from bulkedit import _received as received
from bulkedit._concurrency import run_blocking
from bulkedit._files import not_written, remove_leftovers
from bulkedit._log import run_log
from bulkedit._printable import printable
from bulkedit._words import plural
from bulkedit.client.contract import RenewsCredentials
from bulkedit.client.pacing import FAULT
from bulkedit.client.parsing import THEN_RESUME, systemic_error
from bulkedit.client.responses import Datastore, Lost, Refusal
from bulkedit.client.unreached import NEVER_REACHED, not_reached, wants_password, words_of
from bulkedit.errors import (
    AccessError,
    BulkeditError,
    DatastoreError,
    EndpointError,
    LedgerError,
    StalePlanError,
    StorageError,
    UsageError,
)
from bulkedit.options.running import RememberQuota, RunChanges, Strategy
from bulkedit.options.where import Where
from bulkedit.runs import full_messages, sign_of_life
from bulkedit.runs.budget import PASSWORD_S
from bulkedit.runs.engine import Engine
from bulkedit.runs.folder import Run, may_have_begun, require_own_anchor
from bulkedit.runs.ledger import Ending, Ledger, once_unlocked
from bulkedit.runs.logged import logged_run
from bulkedit.runs.options import EngineOptions
from bulkedit.runs.quota_memory import QuotaMemory
from bulkedit.runs.reconcile import Reconciled, reconcile
from bulkedit.runs.resume import Resumption, resumption
from bulkedit.runs.settings import Change, changed, changes_between, records_of, settings_of

_LOG: Final = logging.getLogger("bulkedit")
_LATE_S: Final = 5.0  # updates of an earlier run with the same list may complete so late, or clocks may differ so much
_NEVER_REACHED_S: Final = 30.0  # to ask a service that a mistyped setting may have moved

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from bulkedit.client.contract import Client
    from bulkedit.client.responses import Refused
    from bulkedit.options.running import RunOptions
    from bulkedit.plans import SavedPlan

_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class ResumeOptions:
    """How a run is resumed."""

    strategy: Strategy = Strategy.NEW
    assume_unknown: bool = False  # the ledger is incomplete: compare each call without proof with its image set
    where: Where = field(default_factory=Where)  # how to reach AWS from now on; None: as before
    changes: RunChanges = field(default_factory=RunChanges)  # options from now on


class RunListener:
    """Callbacks of `engine_of`; override the ones that you need. They must not block."""

    def settings_changed(self, changes: list[Change]) -> None:
        """The resume has changed these settings of the run."""

    def reconciled(self, found: Reconciled) -> None:
        """The result of ``assume_unknown``."""

    def ledger_locked(self) -> None:
        """Another program has locked the ledger, and the run waits for it before it begins."""

    def resumed(self, found: Resumption) -> None:
        """What the resume will do. Called last."""


def require_digest(plan: SavedPlan, digest: str) -> None:
    """Raises StalePlanError if a plan has another digest, UsageError if ``digest`` is not one.

    ``digest``: all 64 hexadecimal digits, or at least the first 16: another plan with the same 64 bits cannot be made
    by trial, which takes 2**64 plans.
    """
    wanted = digest.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{16,64}", wanted):
        raise UsageError(
            "`digest` is the 64 hexadecimal digits that `bulkedit plan` prints, or at least the first 16 of them."
        )
    if not plan.digest.startswith(wanted):
        raise StalePlanError(
            "this plan has another digest than the one that you gave.",
            where=str(plan.folder),
            likely=f"It has digest {plan.digest}: it was planned again, or changed, after the digest was noted.",
            hint="Nothing was sent. Ask who planned it for folder and digest, or review the plan and use its digest.",
        )


def require_deletion_asked(plan: SavedPlan, *, delete_originals: bool) -> None:
    """Raises UsageError if a plan deletes image sets for good and ``delete_originals`` is not set."""
    if (count := plan.counts.get("originals_deleted", 0)) and not delete_originals:
        raise UsageError(
            f"this plan deletes {plural(count, 'original image set')} for good, once each is copied and promoted.",
            likely="It was planned with `delete_originals`, which must be confirmed here.",
            hint="To confirm: `delete_originals=True`. To keep them: plan again without it.",
        )


@asynccontextmanager
async def engine_of(
    run: Run,
    client: Client,
    resume: ResumeOptions | None = None,
    listener: RunListener | None = None,
) -> AsyncIterator[Engine]:
    """The engine of a new or resumed run, ready for `Engine.run`.

    ``resume``: None for a new run, whose data store the caller has checked (`require_datastore`) before it made the
    folder. This process has locked the run, and the ledger records what is resumed, and which settings have changed.
    Raises UnprovenLedgerError, LedgerError, UsageError, and what `require_datastore` raises.
    """
    resumed = run.is_begun
    with run_log(run.folder):
        async with (
            _ready(run, client, resume, listener or RunListener()) as engine,
            sign_of_life.published(run.folder, engine.progress),
        ):
            with logged_run(run.plan, engine.counters, resumed=resumed):
                yield engine


@asynccontextmanager
async def _ready(
    run: Run,
    client: Client,
    given: ResumeOptions | None,
    listener: RunListener,
) -> AsyncIterator[Engine]:
    """As `engine_of`, without the log."""
    resume = given or ResumeOptions()
    before = await run_blocking(settings_of, run)
    settings = changed(before, resume.where, resume.changes)
    options = EngineOptions.of(settings.options)
    wanted = settings.options.remember_quota is not RememberQuota.NEVER
    memory = await QuotaMemory.of_client(client, options.rates, wanted=wanted)
    options = replace(options, rates=await run_blocking(memory.guesses, options.rates))
    await run_blocking(remove_leftovers, run.folder)  # one can be a second link of the ledger, which is then refused
    async with _keeping_messages(client, run, settings.options) as keeping:
        await run_blocking(require_own_anchor, run)
        resumed = run.is_begun
        if given is not None:
            await require_datastore(keeping, run.plan.datastore_id, resumed=resumed, retry_for_s=options.retry_for_s)
        if resumed and resume.assume_unknown:
            listener.reconciled(await reconcile(run, keeping, settings.options.read_rate))

        async def write(work: Callable[[], _R]) -> _R:
            return await once_unlocked(work, lambda since: None if since is None else listener.ledger_locked())

        with await write(partial(Ledger.open if resumed else _first_ledger, run.ledger)) as ledger:
            async with _recorded_end(ledger) as end:
                if changes := changes_between(before, settings):
                    await write(partial(ledger.append, records_of(changes, time.time())))
                    listener.settings_changed(changes)
                sends_new = True
                if resumed:
                    await run_blocking(ledger.require_calls, run.plan.counts["calls"])
                    todo = await run_blocking(resumption, run.plan, ledger, resume.strategy)
                    listener.resumed(todo)
                    await write(lambda: ledger.append(todo.events(ledger, time.time())))
                    sends_new = todo.sends_new
                rng = random.SystemRandom()
                awaited_s = client.credentials_awaited_s if isinstance(client, RenewsCredentials) else lambda: 0.0
                first, *_ = await run_blocking(ledger.processes)
                engine = Engine(
                    run.plan,
                    keeping,
                    ledger,
                    options,
                    key=run.key,
                    rng=rng,
                    sends_new=sends_new,
                    credentials_awaited_s=awaited_s,
                    since=first.at + _LATE_S,
                )
                async with memory.kept(engine.pacers):
                    yield engine
                end.reason = engine.ending


@dataclass(slots=True)
class _End:
    reason: str = Ending.INTERRUPTED


@asynccontextmanager
async def _recorded_end(ledger: Ledger) -> AsyncIterator[_End]:
    """Record in the ledger why this process has ended. If the ledger cannot be written, the block has said so."""
    end = _End()
    try:
        yield end
    except Exception as error:
        end.reason = type(error).__name__
        raise
    finally:
        with anyio.CancelScope(shield=True), suppress(LedgerError):
            await run_blocking(ledger.end, end.reason)


def _first_ledger(path: Path) -> Ledger:
    """Make the ledger of a new run. Raises as `Ledger.create`, and StorageError if the disk is full or faulty."""
    try:
        return Ledger.create(path)
    except LedgerError as error:
        if path.exists() or not isinstance(error.__cause__, OSError | sqlite3.Error):
            raise  # a resume can continue from this ledger, or the disk is not at fault
        raise StorageError(
            error.what,
            where=error.where,
            likely=error.likely,
            hint="Make room or repair the disk, then type the same command again.",
        ) from error


@asynccontextmanager
async def _keeping_messages(client: Client, run: Run, options: RunOptions) -> AsyncIterator[Client]:
    """The client; with `include_values` its messages are written beside the plan. Raises UsageError."""
    if not options.include_values:
        yield client
        return
    path = run.folder / "plan" / full_messages.FILE
    try:
        file = received.opened_to_write(path)
    except OSError as error:
        raise not_written("the file for messages", path, error) from error
    with file:
        yield full_messages.KeepingClient(client, file, time.time)


@contextmanager
def removed_unless_started(
    own: list[Path | Run], *also: type[BaseException], report: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Remove the folders of plans and runs, which contain values, if the block fails before a run has begun.

    Nothing was sent then. The block may add runs. If the folder of a run is gone, or is another one, the run may have
    begun, and nothing is removed. Failures are BulkeditError, Ctrl-C, and ``also``. The removed folders are named in
    the hint of a BulkeditError; for other failures ``report`` is called with the text.
    """
    failures: tuple[type[BaseException], ...] = (BulkeditError, KeyboardInterrupt, *also)
    try:
        yield
    except failures as failure:
        if own and not any(isinstance(one, Run) and may_have_begun(one) for one in own):
            folders = [one.folder if isinstance(one, Run) else one for one in own]
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
            text = f"Nothing was sent. Removed: {', '.join(map(printable, folders))}"
            if isinstance(failure, BulkeditError):
                failure.hint = "\n".join(filter(None, (failure.hint, text)))
            elif report is not None:
                report(text)
        raise


async def _first_answer(client: Client, retry_for_s: float, *, resumed: bool) -> Datastore | Refused | Lost:
    """GetDatastore, asked again like every other request if the answer is lost. The wait is told."""
    began, rng = anyio.current_time(), random.SystemRandom()
    attempts = 0
    while isinstance(found := await client.get_datastore(), Lost):
        attempts += 1
        wait = FAULT.wait(attempts, rng)
        limit = min(retry_for_s, _longest_s(found, resumed=resumed))
        if anyio.current_time() - began + wait > limit:
            break
        if attempts == 1:
            likely = words_of(found)[0]
            _LOG.warning("The service does not answer (%s). Asking again for %.0f s. %s", found.cause, limit, likely)
        await anyio.sleep(wait)
    return found


def _longest_s(lost: Lost, *, resumed: bool) -> float:
    """The longest time for which a service is asked that has not answered yet: short if a setting is probably wrong."""
    if wants_password(lost):
        return PASSWORD_S
    return _NEVER_REACHED_S if lost.cause in NEVER_REACHED and not resumed else math.inf


async def require_datastore(
    client: Client, datastore_id: str, *, resumed: bool = False, retry_for_s: float = 0.0
) -> None:
    """Raises DatastoreError, AccessError, CredentialsError or EndpointError if no call can succeed.

    ``resumed``: the run was begun before, so its data store existed then. ``retry_for_s``: seconds to ask a
    service that does not answer.
    """
    found = await _first_answer(client, retry_for_s, resumed=resumed)
    if isinstance(found, Lost):
        raise not_reached("the service could not be reached", found)
    if isinstance(found, Datastore):
        if found.status != "ACTIVE":
            raise DatastoreError(
                f"data store {datastore_id} is {found.status}, not ACTIVE.",
                likely="It is being created or deleted, or its creation has failed.",
                hint=f"To see its status: aws medical-imaging get-datastore --datastore-id {datastore_id}",
            )
        return
    if found.throttled:
        return  # the first call finds out
    if found.kind in {Refusal.NOT_FOUND, Refusal.INVALID}:
        raise DatastoreError(
            f"data store {datastore_id} does not exist in this account and region ({found.code}).",
            likely="It was deleted since the run was begun, or these credentials belong to another account."
            if resumed
            else "The id is mistyped, or the data store is in another region.",
            hint="To list the existing ones: aws medical-imaging list-datastores",
        )
    if found.kind is Refusal.UNKNOWN:
        raise EndpointError(
            f"the endpoint refused GetDatastore ({found.code}).",
            likely="It is not HealthImaging, or it is an emulator that does not accept this host name.",
            hint="Check `endpoint_url`, `region` and the proxy settings.",
        )
    denied = AccessError(
        f"AWS does not let these credentials read data store {datastore_id} ({found.code}).",
        likely="The role lacks medical-imaging:GetDatastore, or the data store belongs to another account.",
        hint=f"Add the permission, or use credentials that have it{THEN_RESUME if resumed else '.'}",
    )
    raise systemic_error(found, denied=denied, in_run=resumed) or denied
