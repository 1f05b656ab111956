"""Clocks for the server. The world has no clock of its own: callers pass the time."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class EmulatorClock(Protocol):
    """A clock for the server. It is called on the server's loop, and by `Emulator` on the caller's thread."""

    def now(self) -> float:
        """Epoch seconds; they never decrease."""

    async def sleep(self, seconds: float) -> None:
        """Wait on this clock."""


class SystemClock:
    """Real time."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()  # later changes of the machine's clock have no effect

    def now(self) -> float:
        """Epoch seconds."""
        return time.monotonic() + self._offset

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class ScaledClock:
    """Time that runs ``factor`` times as fast as real time, for example for tests of quotas."""

    def __init__(self, factor: float, start: float | None = None) -> None:
        self._factor = factor
        self._began = time.monotonic()
        self._start = time.time() if start is None else start

    def now(self) -> float:
        """Epoch seconds of the scaled time."""
        return self._start + (time.monotonic() - self._began) * self._factor

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds`` of scaled time."""
        await asyncio.sleep(seconds / self._factor)


class ManualClock:
    """Time that changes only by `advance` and `sleep`."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        """Epoch seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Advance the time."""
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        """Advance the time without waiting."""
        self.advance(seconds)
        await asyncio.sleep(0)
