"""Formats counts and durations for people."""

from __future__ import annotations


def duration(seconds: float, *, tenths_up_to: float = 0.5) -> str:
    """Seconds as `45 s`, `14 min 02 s`, `3 h 05 min`, `4 d 15 h`; up to ``tenths_up_to`` seconds, as `0.3 s`."""
    if seconds <= tenths_up_to:
        return f"{seconds:.1f} s"
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days} d {h:02} h"
    if hours:
        return f"{hours} h {m:02} min"
    return f"{m} min {s:02} s" if minutes else f"{s} s"


def about(seconds: float) -> str:
    """An estimated time, no more exact than it can be: `a few seconds`, `about 45 s`, `about 12 min`.

    ``seconds``: at least 0.
    """
    if seconds < 7.5:
        return "a few seconds"
    if seconds < 57.5:
        step = 5
    elif seconds < 115:
        step = 10
    else:
        step = 60 if seconds < 3570 else 300
    rounded = step * round(seconds / step)
    return f"about {rounded // 60} min" if step == 60 else f"about {duration(rounded)}"


def amount(size: int) -> str:
    """Bytes as `512 B`, `1.5 kB`, `20 MB`, `3.1 GB`: a thousand of one unit is one of the next."""
    number, units = float(size), iter(("B", "kB", "MB", "GB"))
    unit = next(units)
    for larger in units:
        if number < 999.5:
            break
        number, unit = number / 1000, larger
    return f"{number:.1f} {unit}" if number < 9.95 and unit != "B" else f"{number:,.0f} {unit}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun: `1 edit`, `2,000 edits`."""
    return f"{count:,} {noun(count, one, many)}"


def noun(count: int, one: str, many: str | None = None) -> str:
    """The noun for a count: `edit` for one, otherwise `edits`."""
    return one if count == 1 else many or f"{one}s"
