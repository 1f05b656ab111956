"""Commits records in groups on a worker thread, and waits for a ledger that another program has locked."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import anyio

from bulkedit._concurrency import run_blocking
from bulkedit._log import log
from bulkedit.errors import LedgerError, LedgerLockedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bulkedit.runs.ledger.ledger import Ledger
    from bulkedit.runs.ledger.records import Event, Record


_R = TypeVar("_R")


async def once_unlocked(work: Callable[[], _R], told: Callable[[float | None], None] = lambda _: None) -> _R:
    """Call a function that writes the ledger; if another program has locked it, again for `_LOCKED_FOR_S`.

    A call that has begun is finished although the task is cancelled. ``told`` is called with the time of the loop since
    when it waits, and with None when it waits no more. Raises LedgerLockedError, and what ``work`` raises.
    """
    since: float | None = None
    try:
        while True:
            try:
                done = await _at_once(work)
            except LedgerLockedError:
                now = anyio.current_time()
                if since is None:
                    log("ledger.locked", logging.WARNING)
                    told(since := now)
                if now - since >= _LOCKED_FOR_S:
                    raise
                await anyio.sleep(_LOCKED_AGAIN_S)  # and SQLite waits for some seconds in each call
            else:
                if since is not None:
                    log("ledger.unlocked", seconds=round(anyio.current_time() - since, 1))
                return done
    finally:
        if since is not None:
            told(None)


async def _at_once(work: Callable[[], _R], _: object = None) -> _R:
    """As `once_unlocked`, without waiting."""
    with anyio.CancelScope(shield=True):
        done = await run_blocking(work)
    return done  # noqa: RET504 - mypy does not know that the scope swallows nothing


_LOCKED_FOR_S: Final = 300.0
_LOCKED_AGAIN_S: Final = 1.0


class GroupCommit:
    """Commits records in groups on a worker thread, in the order in which they were given.

    Start `run` once, as a task. `note` queues a record and returns; `write` returns once it is durable. After an error
    of the ledger both raise it, and nothing more is written.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        noted: Callable[[Record], None] = lambda _: None,
        committed: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._ledger = ledger
        self._noted = noted  # called with each record
        self._committed = committed  # called with the size of each group
        self._waiting: list[Record] = []
        self._wake = anyio.Event()
        self._durable = anyio.Event()  # set once the waiting records are durable
        self._fault: LedgerError | None = None
        self.locked_since: float | None = None  # time of the loop; another program has locked the ledger

    async def run(self) -> None:
        """Commit until cancelled; a commit that has begun is finished first."""
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            events, self._waiting = self._waiting, []
            durable, self._durable = self._durable, anyio.Event()
            if not events:
                continue
            try:
                await self._commit(events, once_unlocked)
            except anyio.get_cancelled_exc_class():
                self._waiting = events + self._waiting
                raise
            durable.set()

    async def _commit(self, events: list[Record], call: Callable[..., Awaitable[None]]) -> None:
        if self._fault is not None:
            return
        try:
            await call(partial(self._ledger.append, events), self._tell_locked)
        except LedgerError as error:
            self._fault = error
        else:
            self._committed(len(events))

    def _tell_locked(self, since: float | None) -> None:
        self.locked_since = since

    def note(self, event: Record) -> None:
        """Queue a record; it is durable before any later `write` returns."""
        if self._fault is not None:
            raise self._fault
        self._waiting.append(event)
        self._noted(event)
        self._wake.set()

    async def write(self, event: Event) -> None:
        """Queue an event and wait until it is durable."""
        self.note(event)
        durable = self._durable
        await durable.wait()
        if self._fault is not None:
            raise self._fault

    async def finish(self) -> None:
        """Commit the rest, after `run` has ended. Raises LedgerError if something is not durable."""
        if self._waiting:
            events, self._waiting = self._waiting, []
            await self._commit(events, _at_once)
        if self._fault is not None:
            raise self._fault
