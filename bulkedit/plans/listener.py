"""Callbacks while a list is planned."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import polars as pl

    from bulkedit.inventories import SearchCounters
    from bulkedit.plans.read_first import ReadCounters


class Listener:
    """Callbacks of `bulkedit.plans.from_list.plan_list`; override the ones that you need. They must not block."""

    def left_out(self, applied: int, never_planned: int) -> None:
        """Lines of a result file were skipped: ``applied`` already, or ``never_planned`` (counts)."""

    def set_aside(self, bad: pl.DataFrame, file: Path) -> None:
        """Rows with problems (`bulkedit.edits.SET_ASIDE`) were left out of the plan and written to ``file``."""

    def looking_up(self, counters: Callable[[], SearchCounters]) -> AbstractAsyncContextManager[None]:
        """Return a context that is entered while image sets are looked up; ``counters`` returns the progress."""
        del counters
        return nullcontext()

    def will_read(self, counters: ReadCounters) -> None:
        """``counters.total`` image sets will be read, to find edits that are already satisfied."""

    def reading(self, counters: Callable[[], ReadCounters]) -> AbstractAsyncContextManager[None]:
        """Return a context that is entered while image sets are read; ``counters`` returns the progress."""
        del counters
        return nullcontext()
