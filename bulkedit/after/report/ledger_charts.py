"""The charts of a run over time, from its ledger: edits completed, calls per second, and how long updates took."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit._words import plural
from bulkedit.after.report import charts
from bulkedit.after.report.charts import Flat, Span, duration, moment
from bulkedit.client.pacing import parse_rate
from bulkedit.client.responses import CallState, Outcome
from bulkedit.errors import UsageError
from bulkedit.runs import ledger_frames
from bulkedit.runs.ledger import Ledger, ProcessState
from bulkedit.runs.ledger_frames import ACTIVITY, PACES
from bulkedit.runs.state import REASONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkedit.after.report.outcomes import CallOutcomes
    from bulkedit.runs.folder import Run
    from bulkedit.runs.ledger import ProcessRecord

POINTS: Final = 240  # places of the chart of progress
_MOST_BARS: Final = 72
_PER_BAR: Final = 4  # calls per bar at least; with fewer, random noise would dominate
_FINER: Final = 5  # places of a bar in which events are counted, to tell what happened in a flat part
_FLATS: Final = 8  # flat parts that are named
# from the bottom of a chart
_STACK: Final = (Outcome.APPLIED, Outcome.CONFLICTED, Outcome.FAILED, Outcome.REJECTED)
NOT_APPLIED: Final = _STACK[1:]


@dataclass(frozen=True, slots=True)
class LedgerTimes:
    """What a page shows of the ledger over time."""

    places: int  # bars of a chart
    span: Span | None  # None if no time has passed
    activity: pl.DataFrame  # `ACTIVITY`, in `_FINER` times as many bins
    paces: pl.DataFrame  # `PACES`, in bins
    complete: pl.Series  # seconds that updates took
    processes: Sequence[ProcessRecord] = ()

    @classmethod
    def of(cls, run: Run, calls: int) -> LedgerTimes:
        """Read the ledger. ``calls``: how many were begun."""
        places = max(12, min(_MOST_BARS, calls // _PER_BAR))
        nothing = pl.Series("seconds", dtype=pl.Float64)
        if not run.ledger.exists():
            return cls(places, None, pl.DataFrame(schema=ACTIVITY), pl.DataFrame(schema=PACES), nothing)
        with Ledger.read(run.ledger) as ledger:
            ends = ledger_frames.span(ledger)
            return cls(
                places,
                Span(*ends) if ends is not None and ends[1] > ends[0] else None,
                ledger_frames.activity(ledger, places * _FINER),
                ledger_frames.paces(ledger, places),
                ledger_frames.completion_times(ledger),
                ledger.processes(),
            )

    def counted(self, name: str, *, state: CallState | None = None) -> list[int]:
        """The sum of a column of `ACTIVITY` in each fine bin; ``state``: of events that led to it only."""
        chosen = self.activity if state is None else self.activity.filter(pl.col("state") == str(state))
        sums = dict(chosen.group_by("bin").agg(pl.col(name).sum()).iter_rows())
        return [int(sums.get(place, 0)) for place in range(self.places * _FINER)]

    def bars(self, name: str, *, state: CallState | None = None) -> list[int]:
        """The same in each bar."""
        fine = self.counted(name, state=state)
        return [sum(fine[i : i + _FINER]) for i in range(0, len(fine), _FINER)]

    def of_bars(self, span: Span) -> list[str]:
        """The time that each bar shows."""
        edges = [span.clock(span.first + span.seconds * i / self.places) for i in range(self.places + 1)]
        return [f"{begin} to {end}" for begin, end in itertools.pairwise(edges)]


def rate_of(run: Run) -> float | None:
    """The rate that the run was started with, in requests per second; None if it is `auto`."""
    try:
        return parse_rate(str(run.settings["options"]["rate"])).per_second
    except (KeyError, UsageError):
        return None


def progress(
    times: LedgerTimes, done: pl.DataFrame, call_outcomes: CallOutcomes, edits: int
) -> dict[str, object] | None:
    """Edits completed so far over time, by outcome; those that were not applied again, larger; and flat parts."""
    span = times.span
    if span is None or not done.height:
        return None
    added = {str(outcome): [0] * POINTS for outcome in _STACK}
    for place, outcome, count in done.iter_rows():
        added[outcome][place] += count
    step = POINTS / times.places
    failed: list[dict[str, float]] = [dict.fromkeys(map(str, NOT_APPLIED), 0.0) for _ in range(times.places)]
    for outcome in map(str, NOT_APPLIED):
        for place, count in enumerate(added[outcome]):
            failed[min(int(place / step), times.places - 1)][outcome] += count
    most = charts.top_of(max(sum(parts.values()) for parts in failed), whole=True)
    titles = [
        f"{when}: {', '.join(f'{count:,.0f} {outcome}' for outcome, count in parts.items() if count)}"
        for when, parts in zip(times.of_bars(span), failed, strict=True)
    ]
    return {
        "areas": charts.areas(added, edits),
        "axis": ["100 %", "50 %", "0 %"],
        "unit": f"edits completed, in total; 100 % = {edits:,}",
        "span": span,
        "ends": [span.clock(span.first), span.clock(span.last)],
        "failed": charts.stacked(failed, most, titles),
        "failed_axis": charts.axis(most, whole=True),
        "flats": _flats(times, span, call_outcomes),
    }


def _flats(times: LedgerTimes, span: Span, call_outcomes: CallOutcomes) -> list[dict[str, object]]:
    """Flat parts of the chart of progress: x, width, text."""
    calls = call_outcomes.calls.filter(pl.col("outcome") != str(Outcome.UNPROCESSED))
    throttles, faults, events = (times.counted(name) for name in ("throttles", "faults", "events"))
    found: list[dict[str, object]] = []
    for flat in charts.flats(calls.get_column("at").sort(), span, most=_FLATS):
        low, high = (int(span.place(at) / charts.WIDTH * len(events)) for at in (flat.begin, flat.end))
        # throttles and faults are written with the event after them, which may be the one that ends the flat part
        counted, inside = slice(low, high + 1), slice(low + 1, high)
        why = charts.cause(
            idle=idle(times.processes, flat),
            throttled=sum(throttles[counted]),
            faults=sum(faults[counted]),
            events=sum(events[inside]),
        )
        x = span.place(flat.begin)
        found.append(
            {
                "x": round(x, 2),
                "width": round(span.place(flat.end) - x, 2),
                "begin": moment(flat.begin),
                "when": f"{span.clock(flat.begin)} to {span.clock(flat.end)}",
                "text": f"{duration(flat.seconds)}; {why}",
            }
        )
    return found


def idle(processes: Sequence[ProcessRecord], flat: Flat) -> list[str]:
    """The parts of a flat part in which no process worked on the run, and why the process before has ended."""
    found = []
    for one, following in itertools.pairwise(processes):
        if following.state is not ProcessState.STARTED:
            continue
        if one.state is ProcessState.STARTED:
            if flat.begin <= following.at <= flat.end:
                found.append("the process before was killed")
        elif (seconds := min(flat.end, following.at) - max(flat.begin, one.at)) > 0:
            why = REASONS.get(one.reason or "", one.reason)
            found.append(f"no process worked on the run for {duration(seconds)} ({why})")
    return found


def pace(run: Run, times: LedgerTimes) -> dict[str, object] | None:
    """Accepted calls per second over time, the requested rate or else the measured quota, and throttles."""
    span = times.span
    if span is None or not times.activity.height:
        return None
    width = span.seconds / times.places
    accepted, throttles = times.bars("events", state=CallState.ACCEPTED), times.bars("throttles")
    rates = [count / width for count in accepted]
    rate = rate_of(run)
    highest = max(rates)
    # a rate far above the actual one would flatten the bars
    shown = rate is not None and rate <= 4 * highest
    measured = [] if rate else [(place, min(quota, 4 * highest)) for place, quota in times.paces.iter_rows()]
    top = charts.top_of(max(highest, rate if shown and rate else 0, *(quota for _, quota in measured)))
    most = charts.top_of(max(throttles), whole=True)
    when = times.of_bars(span)
    return {
        "bars": charts.bars(rates, top, [f"{when[i]}: {rate:.2f} calls per second" for i, rate in enumerate(rates)]),
        "axis": charts.axis(top),
        "span": span,
        "line": round(charts.HEIGHT - rate / top * charts.HEIGHT, 2) if shown and rate else None,
        "rate": f"{rate:g}/s" if rate else None,
        "measured": charts.steps(measured, times.places, top),
        "quota": f"{measured[-1][1]:.3g}/s" if measured else None,
        "highest": f"{highest:.2f}/s",
        "mean": f"{sum(accepted) / span.seconds:.2f}/s",
        "accepted": sum(accepted),
        "throttled": sum(throttles),
        "throttles": charts.bars(
            list(map(float, throttles)),
            most,
            [f"{when[i]}: {count:,} throttled" for i, count in enumerate(throttles)],
            "throttle",
        ),
        "throttles_axis": charts.axis(most, whole=True),
    }


def completion(times: pl.Series) -> dict[str, object] | None:
    """Completion times of updates, as a histogram up to the 99th percentile."""
    if not times.len():
        return None
    quantiles = {name: float(times.quantile(q) or 0) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
    longest = float(times.cast(pl.Float64).max() or 0)  # type: ignore[arg-type]
    top = charts.top_of(max(quantiles["p99"], 1e-3))
    bins = max(8, min(36, times.len() // _PER_BAR))
    places = (times.clip(0, top * 0.999999) / top * bins).cast(pl.Int64)
    counts = dict(places.value_counts().iter_rows())
    values = [float(counts.get(i, 0)) for i in range(bins)]
    most = charts.top_of(max(values), whole=True)
    ranges = [f"{i * top / bins:.2f} to {(i + 1) * top / bins:.2f} s" for i in range(bins - 1)]
    ranges.append(f"{(bins - 1) * top / bins:.2f} s and longer")
    titles = [f"{text}: {plural(int(count), 'call')}" for text, count in zip(ranges, values, strict=True)]
    return {
        "bars": charts.bars(values, most, titles),
        "axis": charts.axis(most, whole=True),
        "ticks": [f"{top * i / charts.QUARTERS:.6g}" for i in range(charts.QUARTERS + 1)],
        "calls": times.len(),
        "longest": _short(longest),
        "more": longest > top,
        **{name: _short(value) for name, value in quantiles.items()},
    }


def _short(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else duration(seconds)
