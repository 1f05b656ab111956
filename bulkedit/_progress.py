"""How far long work is, and how it is stopped: the same for every command and every function of the library."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import anyio

from bulkedit._concurrency import first_error
from bulkedit.errors import StoppedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Phase(StrEnum):
    """What is being done."""

    PREPARING = "preparing"  # files are read, no image sets yet
    SEARCHING = "searching"  # SearchImageSets: how many image sets there are is not known before the end
    READING = "reading"  # image sets of a known number
    SENDING = "sending"  # calls that write


class Advance(Protocol):
    """What every record of progress has, of whatever work; none has a value of an edit or of metadata."""

    @property
    def phase(self) -> Phase:
        """What is being done."""

    @property
    def done(self) -> int:
        """Image sets, or calls while calls are sent."""

    @property
    def total(self) -> int | None:
        """Of so many; None if that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkProgress:
    """One moment of work that reads."""

    phase: Phase = Phase.PREPARING
    done: int = 0  # image sets
    total: int | None = None  # None: not known
    found: int = 0  # what the work is after: edits of `deid`, differences of `verify`, findings of `audit`
    throttled: int = 0  # requests that were refused for a quota


class StopSignal:
    """Asks work to end early. Made by the caller, given to one function or several, and sent from any thread."""

    def __init__(self) -> None:
        self.sent = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def send(self) -> None:
        """Ask for the end; more than once does nothing more."""
        self.sent = True
        for loop, event in list(self._waiting):
            loop.call_soon_threadsafe(event.set)

    async def wait(self) -> None:
        """Return once it is sent."""
        waiting = (asyncio.get_running_loop(), asyncio.Event())
        self._waiting.append(waiting)
        try:
            if not self.sent:  # asked after the entry, so that no signal is missed in between
                await waiting[1].wait()
        finally:
            self._waiting.remove(waiting)


@asynccontextmanager
async def ended_by(stop: StopSignal | None, *, kept: str) -> AsyncIterator[None]:
    """Leave the block at its next wait once ``stop`` is sent, with StoppedError; a block that has ended, has.

    A signal that was sent before lets no block begin. ``kept``: what becomes of what was done, a sentence.
    """
    if stop is None:
        yield
        return
    if stop.sent:
        raise StoppedError("stopped before the end.", likely=kept)
    ended = False
    with first_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_when_sent, stop, tasks.cancel_scope)
            yield
            ended = True
            tasks.cancel_scope.cancel()
    if not ended:
        raise StoppedError("stopped before the end.", likely=kept)


@asynccontextmanager
async def draining_by(stop: StopSignal | None, drain: Callable[[], None]) -> AsyncIterator[None]:
    """Call ``drain`` once ``stop`` is sent, and let the block come to its end by itself."""
    if stop is None:
        yield
        return

    async def when_sent() -> None:
        await stop.wait()
        drain()

    with first_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(when_sent)
            yield
            tasks.cancel_scope.cancel()


async def _cancel_when_sent(stop: StopSignal, scope: anyio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()


@asynccontextmanager
async def report_every(
    seconds: float, record: Callable[[], Advance], progress: Callable[[Advance], None] | None
) -> AsyncIterator[None]:
    """Tell ``progress`` of work that tells nothing by itself: every so many seconds, and once at the end."""
    if progress is None:
        yield
        return

    async def tell() -> None:
        while True:
            progress(record())
            await anyio.sleep(seconds)

    with first_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tell)
            yield
            tasks.cancel_scope.cancel()
    progress(record())
