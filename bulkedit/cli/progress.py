"""Where long work stands, while it runs: a line that is redrawn on a terminal, one line a minute elsewhere."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from bulkedit.cli.terminal import duration, err, json_line
from bulkedit.engine import Held
from bulkedit.errors import BulkeditError
from bulkedit.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bulkedit.engine import Engine
    from bulkedit.engine import Progress as Numbers

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


async def watch(engine: Engine, *, as_json: bool) -> None:
    """Show the run's numbers until cancelled; ``as_json`` adds a line a minute on standard output."""
    async with anyio.create_task_group() as tasks:
        if as_json:
            tasks.start_soon(_each_minute, lambda: json_line(engine.progress().as_json()))
        if err().is_terminal:
            tasks.start_soon(_redraw, engine)
        elif not as_json:
            tasks.start_soon(_each_minute, lambda: err().print(line(engine.progress())))


async def _each_minute(show: Callable[[], None]) -> None:
    while True:
        await anyio.sleep(_LINE_S)
        show()


async def _redraw(engine: Engine) -> None:
    columns = (BarColumn(bar_width=24), TextColumn("{task.description}"))
    with Progress(*columns, console=err(), transient=True, auto_refresh=False) as bar:
        task = bar.add_task("", total=engine.tally.calls)

        def redraw() -> None:
            numbers = engine.progress()
            bar.update(task, total=numbers.calls, completed=numbers.settled, description=line(numbers), refresh=True)

        try:
            while True:
                redraw()
                await anyio.sleep(_REDRAW_S)
        finally:
            redraw()


def line(numbers: Numbers) -> str:
    """Calls settled of all, edits applied and not, in flight, rate, throttles, settle times, time left."""
    parts = [
        f"{numbers.settled:,}/{numbers.calls:,} calls",
        f"{numbers.outcomes.get(Outcome.APPLIED, 0):,} edits applied",
        *(f"{count:,} {outcome}" for outcome, count in numbers.outcomes.items() if count and outcome != "applied"),
        f"{numbers.in_flight} in flight",
        f"{numbers.per_second:.2f}/s of {numbers.quota_per_second:.2f}/s",
        f"{numbers.throttled_share:.1%} throttled",
    ]
    if numbers.settle_p50_s is not None and numbers.settle_p95_s is not None:
        parts.append(f"settle p50 {numbers.settle_p50_s:.1f} s, p95 {numbers.settle_p95_s:.1f} s")
    if numbers.left and (left := numbers.seconds_left) is not None:
        parts.append(f"{duration(left)} left")
    return " · ".join(parts)


def bottleneck(numbers: Numbers) -> str | None:
    """What to know where something else than the quota of updates held a run back."""
    if numbers.limited_by is Held.READS:
        return (
            "Reads were the bottleneck: GetImageSet has a quota of its own (25/s unless AWS has raised it), and each "
            "update needs about one look. Ask AWS to raise it along with that of updates."
        )
    if numbers.limited_by is Held.IN_FLIGHT:
        return (
            "Updates in flight were the bottleneck: a data store takes 100 at once unless AWS has raised it. "
            "After that, raise --max-in-flight."
        )
    return None
