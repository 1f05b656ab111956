"""Progress of long operations: redrawn in place on a terminal, one line per minute elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import asynccontextmanager
from typing import IO, TYPE_CHECKING, Final

import anyio
from rich.spinner import Spinner
from rich.text import Text

from bulkedit._concurrency import first_error
from bulkedit._log import utc
from bulkedit.cli._console import err, json_line, packed, redrawn, redraws
from bulkedit.cli._run_texts import edits_bar, rate_of, time_left_of, waiting_for
from bulkedit.cli._streams import takes_more
from bulkedit.runs.scheduler import WaitReason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rich.console import RenderableType

    from bulkedit.runs.engine import Engine
    from bulkedit.runs.progress import Progress as Numbers

_REDRAW_S: Final = 0.2
_LINE_S: Final = 60.0


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
            tasks.start_soon(_each_minute, lambda: err().print(_stamped(line(engine.progress()))))


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
    """The bar of the edits that have an outcome; below it the other numbers of the run."""
    below = "\n".join(packed(parts(numbers), width))
    return Text.assemble(edits_bar(numbers.percent, edits_done(numbers), width), f"\n{below}")


def line(numbers: Numbers) -> str:
    """The numbers of a run in one line."""
    return " · ".join((f"{numbers.percent}%", edits_done(numbers), *parts(numbers)))


def edits_done(numbers: Numbers) -> str:
    """How many edits have an outcome, and how many there are."""
    return f"{numbers.edits_done:,}/{numbers.edits:,} edits"


def parts(numbers: Numbers) -> list[str]:
    """Time left or what is waited for, rate, edits that were not applied, calls, throttles, completion times."""
    shown = [
        *time_left(numbers),
        rate(numbers),
        *(f"{count:,} {outcome}" for outcome, count in numbers.outcomes.items() if count and outcome != "applied"),
        f"{numbers.completed:,}/{numbers.calls:,} calls",
        f"{numbers.in_flight:,} in flight",
        f"{numbers.throttled_share:.1%} throttled",
    ]
    if numbers.completion_p50_s is not None and numbers.completion_p95_s is not None:
        shown.append(f"completed within p50 {numbers.completion_p50_s:.1f} s, p95 {numbers.completion_p95_s:.1f} s")
    return shown


def rate(numbers: Numbers) -> str:
    """The rate of the last minute beside the quota."""
    return rate_of(numbers.per_second, numbers.quota_per_second, searching=numbers.searching)


def time_left(numbers: Numbers) -> list[str]:
    """The time left, and what the run waits for. Without an estimate, only what it waits for."""
    if not numbers.left:
        return []
    waiting = [waiting_for(one) for one in numbers.waiting]
    estimated = [] if numbers.seconds_left is None and waiting else [time_left_of(numbers.seconds_left)]
    return [*estimated, *waiting]


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
