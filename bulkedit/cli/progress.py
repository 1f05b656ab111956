"""Where long work stands, while it runs: a line that is redrawn on a terminal, one line a minute elsewhere."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from bulkedit.cli.terminal import duration, err
from bulkedit.errors import BulkeditError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bulkedit.engine import Engine

_REDRAW_S: Final = 0.2
_LINE_S: Final = 60.0


async def show(numbers_: Callable[[], str]) -> None:
    """Show a line of numbers, of work whose end nobody knows, until cancelled."""
    console = err()
    if not console.is_terminal:
        while True:
            await anyio.sleep(_LINE_S)
            console.print(numbers_())
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=console, transient=True) as bar:
        task: Any = bar.add_task(numbers_())
        while True:
            bar.update(task, description=numbers_())
            await anyio.sleep(_REDRAW_S)


@asynccontextmanager
async def showing(numbers_: Callable[[], str]) -> AsyncIterator[None]:
    """`show` for as long as the block takes; an error of the block leaves as it is, in no group."""
    stopped: BulkeditError | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(show, numbers_)
        try:
            yield
        except BulkeditError as error:
            stopped = error  # out of the group, which would wrap it
        tasks.cancel_scope.cancel()
    if stopped is not None:
        raise stopped


async def watch(engine: Engine) -> None:
    """Show the run's numbers until cancelled."""
    console = err()
    if console.is_terminal:
        await _redraw(engine)
    else:
        while True:
            await anyio.sleep(_LINE_S)
            console.print(numbers(engine, anyio.current_time()))


async def _redraw(engine: Engine) -> None:
    columns = (BarColumn(bar_width=24), TextColumn("{task.description}"))
    with Progress(*columns, console=err(), transient=True, auto_refresh=False) as bar:
        task = bar.add_task("", total=engine.tally.calls)
        show: Callable[[], None] = lambda: bar.update(  # noqa: E731 - used twice, just below
            task,
            completed=engine.tally.settled_calls,
            description=numbers(engine, anyio.current_time()),
            refresh=True,
        )
        try:
            while True:
                show()
                await anyio.sleep(_REDRAW_S)
        finally:
            show()


def numbers(engine: Engine, now: float) -> str:
    """Calls settled of all, edits applied and not, in flight, rate, throttles, time left."""
    tally = engine.tally
    rate = tally.rate(now)
    left = tally.calls - tally.settled_calls
    parts = [
        f"{tally.settled_calls:,}/{tally.calls:,} calls",
        f"{tally.applied:,} edits applied",
        *(f"{count:,} {outcome}" for outcome, count in tally.outcomes.items() if count and outcome != "applied"),
        f"{tally.in_flight} in flight",
        f"{rate:.2f}/s",
        f"{tally.throttled:,} throttled",
    ]
    if left and rate:
        parts.append(f"{duration(left / rate)} left")
    return " · ".join(parts)
