"""The file `progress.json` of a run: what the process that works on the run says of itself every two seconds.

`bulkedit status` shows it, because the ledger has no rate, no time left and no image sets in flight, and cannot tell
whether a process on another host is alive. Nothing depends on it: if it cannot be written, the run goes on without it.
It has no values. A reader that meets a half-written file reads it again.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import IO, TYPE_CHECKING, Final

import anyio

from bulkedit import _received as received
from bulkedit._concurrency import first_error, run_blocking
from bulkedit.errors import ReceivedError
from bulkedit.runs.ledger import host_name
from bulkedit.runs.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from bulkedit.runs.progress import Progress

NAME: Final = "progress.json"
EVERY_S: Final = 2.0
_TRIES: Final = 5
_AGAIN_S: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOfLife:
    """What a process said of a run, and when; the other numbers are those of `bulkedit.runs.progress.Progress`."""

    at: float  # epoch seconds
    pid: int
    host: str
    per_second: float
    quota_per_second: float
    searching: bool
    seconds_left: float | None
    waiting: tuple[Waiting, ...] = ()
    image_sets_in_flight: tuple[str, ...] = ()


@asynccontextmanager
async def published(folder: Path, progress: Callable[[], Progress]) -> AsyncIterator[None]:
    """Write the file every `EVERY_S` while the block runs, and remove it at its end."""
    with first_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_publish, folder, progress)
            yield
            tasks.cancel_scope.cancel()


async def _publish(folder: Path, progress: Callable[[], Progress]) -> None:
    path = folder / NAME
    await anyio.sleep(EVERY_S)
    with contextlib.suppress(OSError, ReceivedError), received.opened_to_write(path) as file:
        try:
            while True:
                with contextlib.suppress(OSError):
                    await run_blocking(_write, file, _content(progress()))
                await anyio.sleep(EVERY_S)
        finally:
            path.unlink()


def _content(progress: Progress) -> bytes:
    said = SignOfLife(
        at=time.time(),
        pid=os.getpid(),
        host=host_name(),
        per_second=progress.per_second,
        quota_per_second=progress.quota_per_second,
        searching=progress.searching,
        seconds_left=progress.seconds_left,
    )
    lists = {
        "waiting": [one.as_json() for one in progress.waiting],
        "image_sets_in_flight": progress.image_sets_in_flight,
    }
    return json.dumps({**asdict(said), **lists}).encode()


def _write(file: IO[bytes], content: bytes) -> None:
    os.ftruncate(file.fileno(), 0)  # so a reader meets the beginning of the new content, and never a mixture
    os.write(file.fileno(), content)


def read(folder: Path) -> SignOfLife | None:
    """The last sign of life of a run; None if there is none, or if it cannot be understood."""
    for _ in range(_TRIES):
        try:
            return _read(folder / NAME)
        except OSError:
            return None
        except (ReceivedError, ValueError):
            time.sleep(_AGAIN_S)
    return None


def _read(path: Path) -> SignOfLife:
    """Raises OSError, and ReceivedError or ValueError for a file that is not whole or not ours."""
    found = received.read_json(path)
    waiting, in_flight = found.pop("waiting", None), found.pop("image_sets_in_flight", None)
    if not isinstance(waiting, list) or not isinstance(in_flight, list):
        raise ReceivedError("a list is missing.", where=str(path))
    said = received.record(SignOfLife, found, str(path))
    if not all(math.isfinite(number) for number in found.values() if isinstance(number, float)):
        raise ReceivedError("a number is not finite.", where=str(path))
    return replace(said, waiting=tuple(map(Waiting.of_json, waiting)), image_sets_in_flight=tuple(map(str, in_flight)))
