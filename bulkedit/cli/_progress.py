"""Progress of long operations: redrawn in place on a terminal, one line per minute elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import asynccontextmanager
from typing import IO, TYPE_CHECKING, Final

import anyio
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from bulkedit._concurrency import first_error
from bulkedit._log import utc
from bulkedit._words import duration
from bulkedit.cli._console import err, json_line, packed, redrawn, redraws
from bulkedit.cli._streams import takes_more
from bulkedit.client.responses import Outcome
from bulkedit.runs.scheduler import WaitReason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rich.console import RenderableType

    from bulkedit.runs.engine import Engine
    from bulkedit.runs.progress import Progress as Numbers

_REDRAW_S: Final = 0.2
_LINE_S: Final = 60.0
_BAR: Final = 24  # columns


async def show(numbers_: Callable[[], str]) -> None:
    """Show a line of numbers until cancelled, without a bar."""
    console = err()
    if not redraws(console):
        await _each_minute(lambda: console.print(_stamped(numbers_())))
    spinner = Spinner("dots")
    with redrawn(console) as live:
        while True:
            spinner.update(text=Text("\n".join(packed(numbers_().split(" · "), console.width - 2))))
            if takes_more(console.file):
                live.update(spinner, refresh=True)
            await anyio.sleep(_REDRAW_S)


@asynccontextmanager
async def showing(numbers_: Callable[[], str]) -> AsyncIterator[None]:
    """`show` while the block runs. An error of the block is raised unchanged."""
    with first_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(show, numbers_)
            yield
            tasks.cancel_scope.cancel()


async def watch(engine: Engine, *, as_json: bool) -> None:
    """Show the run's numbers until cancelled. ``as_json``: also print a JSON line per minute on stdout."""
    async with anyio.create_task_group() as tasks:
        if as_json:
            tasks.start_soon(_each_minute, lambda: json_line(engine.progress().as_json()), lambda: sys.stdout)
        if redraws(err()):
            tasks.start_soon(_redraw, engine)
        elif not as_json:
            tasks.start_soon(_each_minute, lambda: err().print(_stamped(" · ".join(parts(engine.progress())))))


async def _each_minute(show: Callable[[], None], stream: Callable[[], IO[str]] = lambda: sys.stderr) -> None:
    """Call ``show`` each minute, unless ``stream``, which it writes to, would have to be waited for."""
    while True:
        await anyio.sleep(_LINE_S)
        if takes_more(stream()):
            show()


def _stamped(line: str, clock: Callable[[], float] = time.time) -> str:
    """Prefix a line with the time, unless it goes to a terminal."""
    return line if err().is_terminal else f"{utc(clock())}  {line}"


async def _redraw(engine: Engine) -> None:
    console = err()
    with redrawn(console) as live:
        try:
            while True:
                if takes_more(console.file):
                    live.update(picture(engine.progress(), console.width), refresh=True)
                await anyio.sleep(_REDRAW_S)
        finally:
            live.update(picture(engine.progress(), console.width), refresh=True)


def picture(numbers: Numbers, width: int) -> RenderableType:
    """A bar of the completed calls, and the run's numbers: beside it if there is room, otherwise below."""
    bar = ProgressBar(total=max(numbers.calls, 1), completed=numbers.completed, width=min(_BAR, width))
    shown = packed(parts(numbers), width)
    drawn = Table.grid(padding=(0, 1))
    if len(shown) == 1 and len(shown[0]) + 1 + _BAR <= width:
        drawn.add_row(bar, Text(shown[0]))
    else:
        drawn.add_row(bar)
        drawn.add_row(Text("\n".join(shown)))
    return drawn


def parts(numbers: Numbers) -> list[str]:
    """Completed calls, edits by outcome, calls in flight, rate, throttles, completion times, time left."""
    shown = [
        f"{numbers.completed:,}/{numbers.calls:,} calls",
        f"{numbers.outcomes.get(Outcome.APPLIED, 0):,} edits applied",
        *(f"{count:,} {outcome}" for outcome, count in numbers.outcomes.items() if count and outcome != "applied"),
        f"{numbers.in_flight} in flight",
        f"{numbers.per_second:.2f}/s of {numbers.quota_per_second:.2f}/s",
        f"{numbers.throttled_share:.1%} throttled",
    ]
    if numbers.completion_p50_s is not None and numbers.completion_p95_s is not None:
        shown.append(f"completed within p50 {numbers.completion_p50_s:.1f} s, p95 {numbers.completion_p95_s:.1f} s")
    if numbers.left and (left := numbers.seconds_left) is not None:
        shown.append(f"{duration(left)} left")
    return shown


def bottleneck(numbers: Numbers) -> str | None:
    """Advice if something other than the update quota limited a run; otherwise None."""
    if numbers.limited_by is WaitReason.READS:
        return (
            "Reads were the bottleneck: GetImageSet and ListImageSetVersions have their own quotas (25/s each, unless "
            "AWS has raised them), and each update needs one or two polls. Ask AWS to raise these quotas together "
            "with the one of updates."
        )
    if numbers.limited_by is WaitReason.IN_FLIGHT:
        return (
            "Updates in flight were the bottleneck: a data store allows 100 at once. Ask AWS to raise this quota, "
            "then raise --max-in-flight."
        )
    return None
