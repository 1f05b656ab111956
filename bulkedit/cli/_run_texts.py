"""Texts about a run that `apply` and `status` share. `status` must start quickly, so this imports little."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from bulkedit._words import about, duration, plural
from bulkedit.runs.waiting import WaitingFor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkedit.runs.locks import LockedImageSet
    from bulkedit.runs.waiting import Waiting

_SHORTEST_BAR: Final = 16  # columns


def edits_bar(percent: int, edits: str, width: int) -> Text:
    """A bar as wide as the terminal, with percent and edits at its end, or below it if the terminal is narrow."""
    end = f"{percent}%  {edits}"
    beside = width - len(end) - 2
    narrow = beside < _SHORTEST_BAR
    return Text.assemble(bar(percent, width if narrow else beside), "\n" if narrow else "  ", end)


def bar(percent: int, width: int) -> Text:
    """A bar whose two parts also differ without colours."""
    filled = width * percent // 100
    return Text.assemble(("━" * filled, "green"), ("─" * (width - filled), "dim"))


def rate_of(per_second: float, quota_per_second: float, *, searching: bool) -> str:
    """A rate beside the quota."""
    return f"{per_second:.2f}/s{', searching for the quota' if searching else f' of {quota_per_second:.2f}/s'}"


def time_left_of(seconds: float | None) -> str:
    """The time left in words."""
    if seconds is None:
        return "estimating the time left"
    return f"{about(seconds)} left"


def waiting_for(waiting: Waiting) -> str:
    """What a run waits for, and for how long it has."""
    so_far = duration(waiting.seconds)
    if waiting.count:
        return f"waiting for {waiting.what}: {plural(waiting.count, 'image set')}, longest {so_far}"
    return f"waiting for {'the ' if waiting.what in _THE else ''}{waiting.what} for {so_far}"


_THE: Final = {WaitingFor.QUOTA, WaitingFor.SERVICE, WaitingFor.LEDGER}


def locked_texts(locked: Sequence[LockedImageSet]) -> list[str]:
    """Some image sets whose unlock calls wait for, and since when they are locked, and how many more there are."""
    more = len(locked) - _NAMED
    return [*(one.text for one in locked[:_NAMED]), *([f"and {plural(more, 'more image set')}"] if more > 0 else [])]


_NAMED: Final = 5
