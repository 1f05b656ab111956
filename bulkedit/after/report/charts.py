"""The charts of the report page: positions in SVG, and the texts of their axes. Reads and writes nothing."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit import _words as words
from bulkedit._log import iso
from bulkedit._words import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WIDTH, HEIGHT = 720.0, 160.0  # units of a chart; y downwards
QUARTERS: Final = 4  # of the axis of time
_GAP: Final = 1.5  # units between bars
_ROUND: Final = (1.0, 2.0, 2.5, 5.0, 10.0)  # ends of axes, times a power of ten
_DAY_S: Final = 86_400.0
_WITH_SECONDS_S: Final = 1_800.0
_WITH_TENTHS_S: Final = 20.0
_TENTHS: Final = 5  # digits after the first of a second's fraction
_FLAT_SHARE: Final = 1 / 25  # of the whole time: shorter waits cannot be seen
_FLAT_TIMES: Final = 8  # as long as half of all waits
_FLAT_LEAST_S: Final = 5.0

# with tenths of a second for short runs
duration: Final = partial(words.duration, tenths_up_to=9.95)


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as it is shown, and as ISO 8601 in UTC."""

    text: str
    iso: str


def moment(epoch: float) -> Moment:
    """A time (epoch seconds) in the local zone of this machine: `2026-01-02 03:04:05 CET (UTC+01:00)`."""
    return Moment(f"{_local(epoch):%Y-%m-%d %H:%M:%S} {_zone(epoch)}", iso(epoch))


def _local(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC).astimezone()


def _zone(epoch: float) -> str:
    local = _local(epoch)
    name, offset = local.tzname() or "", f"UTC{local.isoformat()[-6:]}"
    if offset == "UTC+00:00" and name in {"UTC", ""}:
        return "UTC"
    return f"{name} ({offset})" if name.isalpha() else offset


@dataclass(frozen=True, slots=True)
class Span:
    """The time that an axis shows: epoch seconds of its ends."""

    first: float
    last: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.last - self.first

    def place(self, epoch: float) -> float:
        """The x of a time."""
        return min(max((epoch - self.first) / self.seconds, 0.0), 1.0) * WIDTH

    def clock(self, epoch: float) -> str:
        """A time as short as the length of the axis allows."""
        if self.seconds >= _DAY_S:
            return f"{_local(epoch):%m-%d %H:%M}"
        if self.seconds < _WITH_TENTHS_S:
            return f"{_local(epoch):%H:%M:%S.%f}"[:-_TENTHS]
        return f"{_local(epoch):%H:%M:%S}" if self.seconds < _WITH_SECONDS_S else f"{_local(epoch):%H:%M}"

    def ticks(self) -> list[Moment]:
        """The begin of each quarter, and the end."""
        times = (self.first + self.seconds * i / QUARTERS for i in range(QUARTERS + 1))
        return [Moment(self.clock(at), iso(at)) for at in times]

    @property
    def zone(self) -> str:
        """The zone of its times; two if the clocks were changed meanwhile."""
        return ", ".join(dict.fromkeys((_zone(self.first), _zone(self.last))))


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart."""

    x: float
    y: float
    width: float
    height: float
    title: str
    kind: str  # class of CSS


def bars(values: Sequence[float], top: float, titles: Sequence[str], kind: str = "bar") -> list[Bar]:
    """A bar for each value that is not 0. ``top``: the value at the upper edge."""
    return stacked([{kind: value} for value in values], top, titles)


def stacked(values: Sequence[Mapping[str, float]], top: float, titles: Sequence[str]) -> list[Bar]:
    """Bars on top of each other. ``values``: for each place, by class of CSS, from the bottom."""
    step = WIDTH / len(values)
    width = round(max(step - _GAP, 1), 2)
    found = []
    for i, parts in enumerate(values):
        below = 0.0
        for kind, value in parts.items():
            if value:
                y = round(HEIGHT - (below + value) / top * HEIGHT, 2)
                height = round(value / top * HEIGHT, 2)
                found.append(Bar(round(i * step, 2), y, width, height, titles[i], kind))
                below += value
    return found


def steps(values: Iterable[tuple[int, float]], places: int, top: float) -> str | None:
    """The points of a line that keeps each value until the next one; None if there are no values.

    ``values``: (place, value), sorted; ``places``: number of places on the axis.
    """
    points, values = [], list(values)
    ends = [place for place, _ in values[1:]] + [places]
    for (place, value), end in zip(values, ends, strict=False):
        y = round(HEIGHT - value / top * HEIGHT, 2)
        points += [f"{round(at * WIDTH / places, 2)},{y}" for at in (place, end)]
    return " ".join(points) or None


def areas(counts: Mapping[str, Sequence[int]], total: int) -> list[tuple[str, str]]:
    """Areas on top of each other that grow: (class of CSS, points). ``counts``: what each place adds, from the bottom.

    ``total``: the sum at the upper edge. Areas that stay empty are left out.
    """
    found: list[tuple[str, str]] = []
    places = max((len(added) for added in counts.values()), default=0)
    below = [0] * (places + 1)
    for kind, added in counts.items():
        above = [low + high for low, high in zip(below, itertools.accumulate(added, initial=0), strict=True)]
        if above != below:
            upper = [_point(i, value, places, total) for i, value in enumerate(above)]
            lower = [_point(i, value, places, total) for i, value in enumerate(below)]
            found.append((kind, " ".join(upper + lower[::-1])))
        below = above
    return found


def _point(place: int, value: int, places: int, total: int) -> str:
    return f"{round(place * WIDTH / places, 1):g},{round(HEIGHT - value / total * HEIGHT, 1):g}"


def top_of(value: float, *, whole: bool = False) -> float:
    """The least round number that is not below a value. ``whole``: not below 1 either."""
    value = max(value, 1.0 if whole else 1e-9)
    power = 10.0 ** math.floor(math.log10(value))
    return next(digit * power for digit in _ROUND if digit * power >= value * (1 - 1e-9))


def axis(top: float, *, whole: bool = False) -> list[str]:
    """Texts of the axis of values: at its top, in its middle (empty if that is not whole), and 0."""
    half = top / 2
    middle = "" if whole and half != int(half) else f"{half:,.6g}"
    return [f"{top:,.6g}", middle, "0"]


@dataclass(frozen=True, slots=True)
class Flat:
    """A time in which no edit was completed."""

    begin: float  # epoch seconds
    end: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.begin


def flats(completed: pl.Series, span: Span, *, most: int) -> list[Flat]:
    """The longest times without a completed call, in their order: parts of the chart that are seen to be flat.

    ``completed``: epoch seconds (Float64), sorted. ``most``: how many are returned.
    """
    marks = pl.concat([pl.Series([span.first]), completed, pl.Series([span.last])])
    waits = pl.DataFrame({"begin": marks[:-1], "end": marks[1:]}).with_columns(wait=pl.col("end") - pl.col("begin"))
    least = pl.max_horizontal(
        pl.lit(max(span.seconds * _FLAT_SHARE, _FLAT_LEAST_S)), pl.col("wait").median() * _FLAT_TIMES
    )
    found = waits.filter(pl.col("wait") >= least).sort("wait", descending=True).head(most).sort("begin")
    return [Flat(begin, end) for begin, end in found.select("begin", "end").iter_rows()]


def cause(*, idle: Sequence[str] = (), throttled: int, faults: int, events: int) -> str:
    """What the ledger shows of a time without a completed call; it is not said that one is the other's cause.

    ``idle``: texts of the times in which no process worked on the run.
    """
    parts = [*idle]
    if throttled:
        parts.append(f"{throttled:,} throttled")
    if faults:
        parts.append(plural(faults, "lost answer or failed read", "lost answers or failed reads"))
    return ", ".join(parts) or ("calls were under way" if events else "nothing was recorded")
