"""Where a run stands, while it runs: a line that is redrawn on a terminal, one line a minute elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from rich.progress import BarColumn, Progress, TextColumn

from bulkedit.cli.terminal import duration, err

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkedit.engine import Engine

_REDRAW_S: Final = 0.2
_LINE_S: Final = 60.0


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
