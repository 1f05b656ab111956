"""What commands share while they work: numbers, the end by a signal where they only read, short collections."""

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

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from bulkedit.client.connect import Connection
    from bulkedit.options.where import Where
    from bulkedit.runs.folder import Run

_P = TypeVar("_P")
_R = TypeVar("_R")


@dataclass(slots=True)
class Latest(Generic[_P]):
    """The latest record of progress of some work."""

    progress: _P

    def note(self, progress: _P) -> None:
        """Take in a newer one."""
        self.progress = progress


async def attended(work: Callable[..., Awaitable[_R]], words: Callable[[_P], str], latest: Latest[_P]) -> _R:
    """Do work that tells its progress and can be stopped: its numbers are shown, and Ctrl-C or SIGTERM stops it.

    ``work`` is called with ``progress`` and ``stop``; ``words`` says a record of progress in a line. Raises what
    ``work`` raises, so StoppedError after a signal.
    """
    stop = StopSignal()
    with first_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_send_on_signal, stop)
            tasks.start_soon(show, lambda: words(latest.progress))
            result = await work(progress=latest.note, stop=stop)
            tasks.cancel_scope.cancel()
    return result


async def _send_on_signal(stop: StopSignal) -> None:
    with received_signals() as signals:
        async for _ in signals:
            stop.send()


def agreed_connection(run: Run, where: Where) -> Connection:
    """How to reach the run's data store, as `agreed_where` says. Raises as `connection_of`."""
    return connection_of(run, agreed_where(run, where))


def agreed_where(run: Run, where: Where) -> Where:
    """How to reach the run's data store; asks a person first if the run's endpoint is neither AWS's nor this machine's.

    A run folder may come from others. If no person is asked, `bulkedit.runs.connection.connection_of` refuses it.
    """
    url = run.settings["connection"].get("endpoint_url")
    if not isinstance(url, str):
        return where
    if where.endpoint_url is not None or is_aws(url) or is_loopback(url) or not interactive():
        return where
    if confirmed(f"This run's endpoint is {without_password(url)}, which is neither AWS nor this machine. Send there?"):
        return replace(where, endpoint_url=url)
    err().print("Nothing was sent.")
    raise typer.Exit(EXIT_OK)


@contextlib.contextmanager
def received_signals() -> Iterator[AsyncIterator[signal.Signals]]:
    """Ctrl-C and SIGTERM as they come in. Afterwards they interrupt, as in `bulkedit.cli._signals.ended_by_signals`."""
    try:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            yield signals
    finally:
        let_sigterm_interrupt()  # the event loop leaves Python's default, which is to die at once


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
