"""What commands share while they work: numbers, the end by a signal where they only read, short collections."""

from __future__ import annotations

import contextlib
import gc
import signal
from typing import TYPE_CHECKING

import anyio

from bulkedit.cli.progress import show
from bulkedit.errors import BulkeditError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


async def worked(work: Callable[[], Awaitable[None]], numbers: Callable[[], str]) -> None:
    """Do the work and show its numbers meanwhile, until it is done, or Ctrl-C or SIGTERM stops it.

    Nothing has to be waited for then: what such commands have read is kept as it comes in.
    """
    stopped: BulkeditError | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_on_signal, tasks.cancel_scope)
        tasks.start_soon(show, numbers)
        try:
            await work()
        except BulkeditError as error:
            stopped = error  # out of the group, which would wrap it
        tasks.cancel_scope.cancel()
    if stopped is not None:
        raise stopped


async def _cancel_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


@contextlib.contextmanager
def short_collections() -> Iterator[None]:
    """Garbage collections look at nothing that is there already.

    All that was imported is, and to go through it would hold up the event loop for 50 ms and more.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
