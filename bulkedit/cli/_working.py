"""Helpers of long commands: progress, signals, confirmation of endpoints, garbage collection."""

from __future__ import annotations

import contextlib
import gc
import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio
import typer

from bulkedit._concurrency import first_error
from bulkedit._progress import StopSignal
from bulkedit.cli._console import confirmed, err, interactive
from bulkedit.cli._progress import show
from bulkedit.cli._signals import let_sigterm_interrupt
from bulkedit.client.destination import is_aws, is_loopback, without_password
from bulkedit.errors import EXIT_OK
from bulkedit.runs.connection import connection_of
from bulkedit.runs.settings import settings_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from bulkedit.client.connect import Connection
    from bulkedit.options.where import Where
    from bulkedit.runs.folder import Run

_P = TypeVar("_P")
_R = TypeVar("_R")


@dataclass(slots=True)
class Latest(Generic[_P]):
    """The latest progress record of an operation."""

    progress: _P

    def note(self, progress: _P) -> None:
        """Replace the record with a newer one."""
        self.progress = progress


async def with_progress(work: Callable[..., Awaitable[_R]], text: Callable[[_P], str], latest: Latest[_P]) -> _R:
    """Await ``work(progress=…, stop=…)`` while its progress is shown. Ctrl-C or SIGTERM stops it.

    ``text``: formats a progress record as one line. Raises as ``work`` does: StoppedError after a signal.
    """
    stop = StopSignal()
    with first_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_send_on_signal, stop)
            tasks.start_soon(show, lambda: text(latest.progress))
            result = await work(progress=latest.note, stop=stop)
            tasks.cancel_scope.cancel()
    return result


async def _send_on_signal(stop: StopSignal) -> None:
    with received_signals() as signals:
        async for _ in signals:
            stop.send()


def confirmed_connection(run: Run, where: Where) -> Connection:
    """The connection to the run's data store, with the endpoint of `confirmed_where`. Raises as `connection_of`."""
    return connection_of(run, confirmed_where(run, where))


def confirmed_where(run: Run, where: Where) -> Where:
    """How to reach the run's data store. Asks the user if the run's endpoint is neither AWS nor this machine.

    A run folder may come from another person. If the user cannot be asked, `bulkedit.runs.connection.connection_of`
    refuses such an endpoint.
    """
    url = settings_of(run).where.endpoint_url
    if url is None:
        return where
    if where.endpoint_url is not None or is_aws(url) or is_loopback(url) or not interactive():
        return where
    if confirmed(f"This run's endpoint is {without_password(url)}, which is neither AWS nor this machine. Send there?"):
        return replace(where, endpoint_url=url)
    err().print("Nothing was sent.")
    raise typer.Exit(EXIT_OK)


@contextlib.contextmanager
def received_signals() -> Iterator[AsyncIterator[signal.Signals]]:
    """Receive Ctrl-C and SIGTERM. After the block they raise KeyboardInterrupt, as in `ended_by_signals`."""
    try:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            yield signals
    finally:
        let_sigterm_interrupt()  # the event loop has restored Python's default, which ends the process at once


@contextlib.contextmanager
def short_collections() -> Iterator[None]:
    """Exclude existing objects, such as imported modules, from garbage collection in the block.

    Otherwise each full collection would block the event loop for 50 ms or more.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
