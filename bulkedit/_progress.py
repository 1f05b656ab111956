"""Progress records and stop signals of long operations, for commands and library functions."""

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
    """The phase of an operation."""

    PREPARING = "preparing"  # reading files, no image sets yet
    SEARCHING = "searching"  # SearchImageSets; the total is not known before the end
    READING = "reading"  # reading image sets; the total is known
    SENDING = "sending"  # sending calls that write


class Advance(Protocol):
    """The fields that all progress records have. Progress records never contain values of edits or metadata."""

    @property
    def phase(self) -> Phase:
        """The phase of the operation."""

    @property
    def done(self) -> int:
        """Number of finished image sets; in the phase SENDING, of finished calls."""

    @property
    def total(self) -> int | None:
        """Number of image sets or calls in all; None if not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkProgress:
    """The progress of an operation that reads image sets."""

    phase: Phase = Phase.PREPARING
    done: int = 0  # image sets
    total: int | None = None  # image sets; None: not known
    found: int = 0  # results so far: edits of `deid`, differences of `verify`, findings of `audit`
    throttled: int = 0  # throttled requests


class StopSignal:
    """Stops operations early. Create one, pass it as ``stop`` to one or more functions, and call `send` to stop them.

    `send` may be called from any thread.
    """

    def __init__(self) -> None:
        self.sent = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def send(self) -> None:
        """Stop the operations. Further calls have no effect."""
        self.sent = True
        for loop, event in list(self._waiting):
            loop.call_soon_threadsafe(event.set)

    async def wait(self) -> None:
        """Return once the signal is sent."""
        waiting = (asyncio.get_running_loop(), asyncio.Event())
        self._waiting.append(waiting)
        try:
            if not self.sent:  # checked after the registration, so that no signal is missed
                await waiting[1].wait()
        finally:
            self._waiting.remove(waiting)


@asynccontextmanager
async def ended_by(stop: StopSignal | None, *, kept: str) -> AsyncIterator[None]:
    """Cancel the block at its next await once ``stop`` is sent, and raise StoppedError.

    If ``stop`` was sent before, the block does not start. ``kept``: a sentence that says whether finished work is kept.
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
    """Call ``drain`` once ``stop`` is sent. The block then ends by itself."""
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
    """Call ``progress`` with a new ``record`` every ``seconds``, and once at the end."""
    if progress is None:
        yield
        return

    async def report() -> None:
        while True:
            progress(record())
            await anyio.sleep(seconds)

    with first_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(report)
            yield
            tasks.cancel_scope.cancel()
    progress(record())
