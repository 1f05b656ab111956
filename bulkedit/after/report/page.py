"""The report page: one HTML file that opens offline, loads nothing, and contains no value of an edit.

It has row numbers, attributes and reasons. It has no edit_id, no name of the list, and no folder name chosen by a user.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit import _words as words
from bulkedit._files import draft_file
from bulkedit._printable import printable
from bulkedit._version import __version__
from bulkedit._words import plural
from bulkedit.after.report import reasons
from bulkedit.after.report.outcomes import CallOutcomes
from bulkedit.client.pacing import Rate, parse_rate
from bulkedit.client.responses import CallState, Outcome
from bulkedit.errors import UsageError
from bulkedit.plans import seconds_at
from bulkedit.plans.counts import calls_one_by_one, saved_calls, updates
from bulkedit.plans.estimates import DOLLARS_PER_CALL
from bulkedit.runs import ledger_frames
from bulkedit.runs.ledger import Ledger
from bulkedit.runs.ledger_frames import ACTIVITY, PACES
from bulkedit.runs.summary import by_outcome, summary

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.plans.counts import PlanCounts
    from bulkedit.runs.folder import Run
    from bulkedit.runs.summary import RunSummary

_MOST_BARS: Final = 72  # of the chart over time
_PER_BAR: Final = 4  # calls per bar at least; with fewer, random noise would dominate
_REASONS: Final = 100  # shown; the result files have all
_RANGES: Final = 24  # ranges of rows shown for a reason
_OWN_ID: Final = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")  # `bulkedit._files.new_id`; a user's own name may be private


def write_page(run: Run, path: Path, *, call_outcomes: CallOutcomes | None = None) -> None:
    """Write the page of a run to a new private file (0600). Raises UsageError."""
    text = page(run, call_outcomes or CallOutcomes.of(run))
    try:
        with draft_file(path) as file:
            file.write(text.encode())
    except FileExistsError as error:
        raise UsageError("this file exists already.", where=str(path), hint="Give another file.") from error
    except OSError as error:
        raise UsageError(f"the page cannot be written ({error.strerror}).", where=str(path)) from error


def page(run: Run, call_outcomes: CallOutcomes) -> str:
    """The page as HTML. Raises UsageError if jinja2 is not installed."""
    try:
        import jinja2
    except ImportError as error:
        raise UsageError(
            "the report page needs a package that is not installed.", hint="Install it: pip install 'bulkedit[report]'"
        ) from error
    files = resources.files("bulkedit.after.report") / "page"
    texts = {name: (files / name).read_text("utf-8") for name in ("page.html", "page.css", "page.js")}
    environment = jinja2.Environment(
        autoescape=True,
        finalize=lambda value: printable(value) if type(value) is str else value,  # Markup is our own text
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": lambda number: f"{number:,}", "duration": duration, "share": share}
    style, script = texts["page.css"], texts["page.js"]
    return environment.from_string(texts["page.html"]).render(
        style=style, script=script, style_hash=_hash(style), script_hash=_hash(script), **facts(run, call_outcomes)
    )


def _hash(text: str) -> str:
    """The hash of an inline text for the content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def facts(run: Run, call_outcomes: CallOutcomes) -> dict[str, object]:
    """The variables of the template."""
    numbers = summary(run)
    bins = max(12, min(_MOST_BARS, call_outcomes.calls.height // _PER_BAR))
    activity, paces, complete = _of_ledger(run, bins)
    return {
        "version": __version__,
        "run_id": run.id if _OWN_ID.fullmatch(run.id) else None,
        "created": f"{datetime.fromisoformat(run.about['created']):%Y-%m-%d %H:%M} UTC",
        "datastore_id": run.plan.datastore_id,
        "digest": run.plan.digest,
        "summary": numbers,
        "counts": run.plan.counts,
        "saved": _saved(run.plan.counts),
        "outcomes": [(str(outcome), count) for outcome, count in by_outcome(numbers).items()],
        "beside": _estimate(run, numbers, call_outcomes),
        "pace": _pace(run, activity, paces, bins, numbers["seconds"]),
        "complete": _complete(complete),
        "reasons": _reasons(run, call_outcomes),
        "unplanned": _unplanned(run),
        "attributes": _attributes(run, call_outcomes),
        "most_reasons": _REASONS,
    }


def _of_ledger(run: Run, bins: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.Series]:
    if not run.ledger.exists():
        return pl.DataFrame(schema=ACTIVITY), pl.DataFrame(schema=PACES), pl.Series("seconds", dtype=pl.Float64)
    with Ledger.read(run.ledger) as ledger:
        return (
            ledger_frames.activity(ledger, bins),
            ledger_frames.paces(ledger, bins),
            ledger_frames.completion_times(ledger),
        )


# -- plan and actual


def _saved(counts: PlanCounts) -> str:
    """How many updates the plan has, and which it does without, by the way that saves them."""
    text = plural(updates(counts), "update")
    if saved := saved_calls(counts):
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in saved.items())
        text = f"{text} instead of {calls_one_by_one(counts):,}, saved {kinds}"
    if others := counts["calls"] - updates(counts):
        text += f", and {plural(others, 'copy or deletion', 'copies and deletions')}"
    satisfied = counts.get("already_satisfied", 0)
    needs = words.noun(satisfied, "needs", "need")
    return f"{text}. {plural(satisfied, 'edit')} already satisfied {needs} no call." if satisfied else f"{text}."


def _rate(run: Run) -> float | None:
    """The rate that the run was started with, in requests per second; None if it is `auto`."""
    try:
        return parse_rate(str(run.settings["options"]["rate"])).per_second
    except (KeyError, UsageError):
        return None


def _estimate(run: Run, numbers: RunSummary, call_outcomes: CallOutcomes) -> list[tuple[str, str, str]]:
    """Rows of the table "Plan and actual": name, planned, actual."""
    counts, rate = run.plan.counts, _rate(run)
    calls, seconds = counts["calls"], numbers["seconds"]
    made = call_outcomes.calls.filter(pl.col("outcome") == str(Outcome.APPLIED)).height
    planned = f"{duration(counts['seconds'])} at {counts['rate_per_second']:g}/s"
    if rate:
        planned = f"{duration(seconds_at(calls, Rate(rate)))} at {rate:g}/s"
    sent = numbers["requests"] - numbers["throttled"]
    return [
        ("Requests", f"{calls:,}", f"{numbers['requests']:,}, of these {numbers['throttled']:,} throttled"),
        ("Calls applied", f"{calls:,}", f"{made:,}"),
        ("Time", planned, duration(seconds)),
        ("Requests per second", f"{rate:g}" if rate else "not fixed", f"{sent / seconds:.2f}" if seconds else "0"),
        ("Price of the calls", f"${counts['api_dollars']:,.4f}", f"${sent * DOLLARS_PER_CALL:,.4f}"),
    ]


# -- charts


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart of 720 by 160 units, y downwards."""

    x: float
    y: float
    width: float
    height: float
    title: str


_WIDTH, _HEIGHT = 720.0, 160.0


def _bars(values: list[float], top: float, titles: list[str]) -> list[Bar]:
    step = _WIDTH / len(values)
    return [
        Bar(
            round(i * step, 2),
            round(_HEIGHT - value / top * _HEIGHT, 2),
            round(max(step - 1.5, 1), 2),
            round(value / top * _HEIGHT, 2),
            titles[i],
        )
        for i, value in enumerate(values)
        if value
    ]


def _pace(run: Run, activity: pl.DataFrame, paces: pl.DataFrame, bins: int, seconds: float) -> dict[str, object] | None:
    """Accepted calls per second over time, the requested rate or else the measured quota, and throttles."""
    if not activity.height or seconds <= 0:
        return None
    width = seconds / bins
    accepted, throttles = [0] * bins, [0] * bins
    for bin_, state, events, new in activity.iter_rows():
        throttles[bin_] += new
        accepted[bin_] += events if state == CallState.ACCEPTED else 0
    rates = [count / width for count in accepted]
    rate = _rate(run)
    highest = max(rates)
    # a rate far above the actual one would flatten the bars
    shown = rate is not None and rate <= 4 * highest
    measured = [] if rate else [(bin_, min(quota, 4 * highest)) for bin_, quota in paces.iter_rows()]
    top = max(highest, rate if shown and rate else 0, *(quota for _, quota in measured)) * 1.1 or 1
    when = [duration(i * width) for i in range(bins)]
    return {
        "bars": _bars(rates, top, [f"after {when[i]}: {rates[i]:.2f}/s" for i in range(bins)]),
        "line": round(_HEIGHT - rate / top * _HEIGHT, 2) if shown and rate else None,
        "rate": f"{rate:g}/s" if rate else None,
        "measured": _steps(measured, bins, top),
        "quota": f"{measured[-1][1]:.3g}/s" if measured else None,
        "highest": f"{highest:.2f}/s",
        "mean": f"{sum(accepted) / seconds:.2f}/s",
        "accepted": sum(accepted),
        "throttled": sum(throttles),
        "throttles": _bars(
            list(map(float, throttles)),
            max(*throttles, 1),
            [f"after {when[i]}: {throttles[i]:,} throttled" for i in range(bins)],
        ),
        "end": duration(seconds),
    }


def _steps(measured: list[tuple[int, float]], bins: int, top: float) -> str | None:
    """The points of a step line, which keeps each value until the next one; None if there are no values."""
    points = []
    ends = [bin_ for bin_, _ in measured[1:]] + [bins]
    for (bin_, quota), end in zip(measured, ends, strict=False):
        y = round(_HEIGHT - quota / top * _HEIGHT, 2)
        points += [f"{round(at * _WIDTH / bins, 2)},{y}" for at in (bin_, end)]
    return " ".join(points) or None


def _complete(times: pl.Series) -> dict[str, object] | None:
    """Completion times of updates, as a histogram up to the 99th percentile."""
    if not times.len():
        return None
    quantiles = {name: float(times.quantile(q) or 0) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}
    longest = float(times.cast(pl.Float64).max() or 0)  # type: ignore[arg-type]
    top = max(quantiles["p99"], 1e-3)
    bins = max(8, min(36, times.len() // _PER_BAR))
    places = (times.clip(0, top * 0.999999) / top * bins).cast(pl.Int64)
    counts = dict(places.value_counts().iter_rows())
    values = [float(counts.get(i, 0)) for i in range(bins)]
    titles = [f"{i * top / bins:.2f} to {(i + 1) * top / bins:.2f} s: {values[i]:,.0f} calls" for i in range(bins)]
    return {
        "bars": _bars(values, max(values) * 1.1, titles),
        "calls": times.len(),
        "longest": _short(longest),
        "top": _short(top),
        **{name: _short(value) for name, value in quantiles.items()},
    }


def _short(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else duration(seconds)


# -- tables


def _reasons(run: Run, call_outcomes: CallOutcomes) -> list[dict[str, object]]:
    """Edits that were not applied and their rows, by reason, the most frequent first."""
    edits = run.plan.edits().select("edit", "row", "call", "image_set_id").sort("row", "edit")
    found = reasons.groups(call_outcomes.of_edits(edits).filter(pl.col("outcome") != str(Outcome.APPLIED)))
    return [{**row, "rows": _ranges(row["first_rows"], row["rows"])} for row in found.head(_REASONS).to_dicts()]


def _unplanned(run: Run) -> list[dict[str, object]]:
    """Rows without an edit in the plan, by reason."""
    found = (
        run.plan.set_aside()
        .group_by("code")
        .agg(rows=pl.col("row").unique().sort().head(_RANGES * 50), all=pl.col("row").n_unique())
        .sort("all", "code", descending=[True, False])
        .collect()
    )
    return [{**row, "rows": _ranges(row["rows"], row["all"])} for row in found.iter_rows(named=True)]


def _ranges(rows: list[int], count: int) -> str:
    """Sorted numbers of rows as `3, 5-9`, and how many are not shown."""
    ranges: list[list[int]] = []
    for row in rows:
        if ranges and row == ranges[-1][1] + 1:
            ranges[-1][1] = row
        else:
            ranges.append([row, row])
    shown = ranges[:_RANGES]
    text = ", ".join(f"{low:,}" if low == high else f"{low:,}\N{EN DASH}{high:,}" for low, high in shown)
    more = count - sum(high - low + 1 for low, high in shown)
    return f"{text} and {more:,} more" if more else text


def _attributes(run: Run, call_outcomes: CallOutcomes) -> list[dict[str, object]]:
    """Edits by attribute and outcome, the most frequent first."""
    edits = run.plan.edits().select("edit", "call", "image_set_id", "action", "attribute", "level")
    what = pl.coalesce("attribute", pl.col("action").cast(pl.String))
    found = (
        call_outcomes.of_edits(edits)
        .group_by(what.alias("attribute"), pl.col("level").cast(pl.String))
        .agg(pl.len().alias("edits"), *((pl.col("outcome") == str(name)).sum().alias(str(name)) for name in Outcome))
        .sort("edits", "attribute", descending=[True, False])
        .collect()
    )
    return found.to_dicts()


# -- texts


# with tenths of a second for short runs
duration: Final = partial(words.duration, tenths_up_to=9.95)


def share(part: int, whole: int) -> str:
    """A part of a whole in per cent, never rounded to 0 or 100."""
    if not whole or part in {0, whole}:
        return "100 %" if whole and part == whole else "0 %"
    return f"{min(max(part / whole * 100, 0.1), 99.9):.1f} %"
