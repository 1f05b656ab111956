"""Clocks for the server. The world itself reads none."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class EmulatorClock(Protocol):
    """What the server asks for time. Called on the server's loop, and by `Emulator` on the caller's thread."""

    def now(self) -> float:
        """Epoch seconds; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Wait on this clock."""


class SystemClock:
    """Real time."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()  # so that a change of the machine's clock does not matter

    def now(self) -> float:
        """Epoch seconds."""
        return time.monotonic() + self._offset

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class ScaledClock:
    """Time that runs ``factor`` times as fast as real time, so that days of quota fit into a test."""

    def __init__(self, factor: float, start: float | None = None) -> None:
        self._factor = factor
        self._began = time.monotonic()
        self._start = time.time() if start is None else start

    def now(self) -> float:
        """Epoch seconds of the scaled time."""
        return self._start + (time.monotonic() - self._began) * self._factor

    async def sleep(self, seconds: float) -> None:
        """Wait so long in scaled time."""
        await asyncio.sleep(seconds / self._factor)


class ManualClock:
    """Time that stands still until it is moved."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start

    def now(self) -> float:
        """Epoch seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move time on."""
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        """Move time on instead of waiting."""
        self.advance(seconds)
        await asyncio.sleep(0)
