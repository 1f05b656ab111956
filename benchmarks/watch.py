"""Measures the memory of a process, and how long callbacks block its event loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATUS = Path("/proc/self/status")


def resident_mib() -> float:
    """Return the resident memory of this process."""
    return _status("VmRSS")


def peak_mib() -> float:
    """Return the peak of resident memory since `forget_peak`."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Reset `peak_mib` (proc(5): 5 into clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status(name: str) -> float:
    line = next(line for line in _STATUS.read_text("ascii").splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


@dataclass(slots=True)
class Callbacks:
    """Statistics of the watched callbacks of an event loop."""

    count: int = 0
    longest_s: float = 0.0  # of real time, including time of other processes
    longest_cpu_s: float = 0.0  # of the loop's own thread
    over_50_ms: int = 0  # of real time


@contextlib.contextmanager
def callbacks() -> Iterator[Callbacks]:
    """Watch every callback of every asyncio loop of this process, at less than a microsecond each."""
    seen = Callbacks()
    original = asyncio.Handle._run
    wall, cpu = time.perf_counter, time.thread_time

    def run(handle: asyncio.Handle) -> None:
        began, cpu_began = wall(), cpu()
        original(handle)
        took, cpu_took = wall() - began, cpu() - cpu_began
        seen.count += 1
        seen.over_50_ms += took > 0.05
        seen.longest_s = max(seen.longest_s, took)
        seen.longest_cpu_s = max(seen.longest_cpu_s, cpu_took)

    asyncio.Handle._run = run  # type: ignore[method-assign, assignment]
    try:
        yield seen
    finally:
        asyncio.Handle._run = original  # type: ignore[method-assign]
