"""The report page: one HTML file that opens offline, loads nothing, and contains no value of an edit.

It has row numbers, attributes and reasons. It has no edit_id, no name of the list, and no folder name chosen by a user.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit import _words as words
from bulkedit._files import draft_file, not_written
from bulkedit._printable import printable
from bulkedit._version import __version__
from bulkedit._words import plural
from bulkedit.after.report import ledger_charts, reasons
from bulkedit.after.report.charts import Span, duration, moment
from bulkedit.after.report.ledger_charts import NOT_APPLIED, POINTS, LedgerTimes, rate_of
from bulkedit.after.report.next_steps import next_steps
from bulkedit.after.report.outcomes import CallOutcomes
from bulkedit.client.pacing import Rate
from bulkedit.client.responses import Outcome
from bulkedit.errors import UsageError
from bulkedit.plans import seconds_at
from bulkedit.plans.counts import calls_one_by_one, saved_calls, updates
from bulkedit.plans.estimates import DOLLARS_PER_CALL
from bulkedit.runs.locks import LOCKED
from bulkedit.runs.other_runs import NAMED
from bulkedit.runs.status import RunStatus
from bulkedit.runs.summary import by_outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bulkedit.after.report.by_inventory import ByInventory
    from bulkedit.plans.counts import PlanCounts
    from bulkedit.runs.folder import Run
    from bulkedit.runs.summary import RunSummary

_REASONS: Final = 100  # shown; the result files have all
_RANGES: Final = 12  # ranges of rows shown for a reason
_NAMELESS: Final = "RUN"  # for a folder that a person has named
_OWN_ID: Final = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")  # `bulkedit._files.new_id`; a user's own name may be private
# with each colour, because not everyone sees it
_SYMBOLS: Final = {
    Outcome.APPLIED: "\N{CHECK MARK}",
    Outcome.REJECTED: "\N{MULTIPLICATION X}",
    Outcome.CONFLICTED: "\N{RIGHTWARDS ARROW OVER LEFTWARDS ARROW}",
    Outcome.FAILED: "!",
    Outcome.UNPROCESSED: "\N{HORIZONTAL ELLIPSIS}",
}


def write_page(
    run: Run,
    path: Path,
    *,
    call_outcomes: CallOutcomes | None = None,
    by_inventory: Sequence[ByInventory] = (),
    status: RunStatus | None = None,
) -> None:
    """Write the page of a run to a new private file (0600). Raises UsageError.

    ``by_inventory``: its edits by patient and study (`bulkedit.after.report.edits_by`). ``status``: the run as it is
    now, if it was read already.
    """
    text = page(run, call_outcomes or CallOutcomes.of(run), by_inventory, status)
    try:
        with draft_file(path) as file:
            file.write(text.encode())
    except FileExistsError as error:
        raise UsageError("this file exists already.", where=str(path), hint="Give another file.") from error
    except OSError as error:
        raise not_written("the page", path, error) from error


def page(
    run: Run, call_outcomes: CallOutcomes, by_inventory: Sequence[ByInventory] = (), status: RunStatus | None = None
) -> str:
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
    environment.filters |= {
        "count": lambda number: f"{number:,}",
        "plural": plural,
        "duration": duration,
        "share": share,
    }
    style, script = texts["page.css"], texts["page.js"]
    return environment.from_string(texts["page.html"]).render(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        **facts(run, call_outcomes, by_inventory, status or RunStatus.of(run, time.time())),
    )


def _hash(text: str) -> str:
    """The hash of an inline text for the content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def facts(
    run: Run, call_outcomes: CallOutcomes, by_inventory: Sequence[ByInventory], status: RunStatus
) -> dict[str, object]:
    """The variables of the template."""
    numbers = status.summary
    times = LedgerTimes.of(run, call_outcomes.calls.height)
    found = _frames(run, call_outcomes, times.span)
    by_name = by_outcome(numbers)
    shown = _shown_folder(run)
    return {
        "version": __version__,
        "run_id": run.id if _OWN_ID.fullmatch(run.id) else None,
        "begun": moment(run.begun_at),
        "ended": moment(times.span.last) if times.span else None,
        "made": moment(time.time()),
        "datastore_id": run.plan.datastore_id,
        "digest": run.plan.digest,
        "summary": numbers,
        "not_applied": sum(by_name[outcome] for outcome in NOT_APPLIED),
        "counts": run.plan.counts,
        "saved": _saved(run.plan.counts),
        "next": [(step.purpose, step.command(shown)) for step in next_steps(run, call_outcomes, status)],
        "run_named": shown != _NAMELESS,
        "outcomes": [(str(outcome), count) for outcome, count in by_name.items()],
        "symbols": {str(outcome): symbol for outcome, symbol in _SYMBOLS.items()},
        "band": _band(by_name),
        "beside": _estimate(run, numbers, call_outcomes),
        "progress": ledger_charts.progress(times, found.progress, call_outcomes, numbers["edits"]),
        "pace": ledger_charts.pace(run, times),
        "complete": ledger_charts.completion(times.complete),
        "reasons": [
            {**row, "reason": _unnamed(row["reason"]), "rows": ranges(row["first_rows"], row["rows"])}
            for row in found.reasons.to_dicts()
        ],
        "by_inventory": [_table(numbers) for numbers in by_inventory],
        "unplanned": _unplanned(run),
        "attributes": found.attributes.to_dicts(),
        "most_reasons": _REASONS,
        "locked": LOCKED,  # the image sets of this reason are shown at once
    }


def _shown_folder(run: Run) -> str:
    """The run's folder in a command; `RUN` if a person has named it."""
    if not _OWN_ID.fullmatch(run.id):
        return _NAMELESS
    return f"runs/{run.id}" if run.folder.parent.name == "runs" else run.id


@dataclass(frozen=True, slots=True)
class _Frames:
    """What a page shows of the edits."""

    reasons: pl.DataFrame  # `reasons.GROUPS`
    attributes: pl.DataFrame  # attribute, level, edits, and a column per outcome
    progress: pl.DataFrame  # place, outcome, edits: how many were completed in each `POINTS`-th of the time


def _frames(run: Run, call_outcomes: CallOutcomes, span: Span | None) -> _Frames:
    """Join the edits with their outcomes once, and count them in each way."""
    edits = run.plan.edits().select("edit", "row", "call", "image_set_id", "action", "attribute", "level")
    completed = call_outcomes.of_edits(edits)
    what = pl.coalesce("attribute", pl.col("action").cast(pl.String))
    not_applied = completed.filter(pl.col("outcome") != str(Outcome.APPLIED)).sort("row", "edit")
    first, seconds = (span.first, span.seconds) if span else (0.0, 1.0)
    place = ((pl.col("at") - first) / seconds * POINTS).clip(0, POINTS - 1).cast(pl.UInt32)
    return _Frames(
        *pl.collect_all(
            [
                reasons.groups(not_applied).head(_REASONS),
                completed.group_by(what.alias("attribute"), pl.col("level").cast(pl.String))
                .agg(pl.len().alias("edits"), *((pl.col("outcome") == str(name)).sum().alias(name) for name in Outcome))
                .sort("edits", "attribute", descending=[True, False]),
                completed.filter(pl.col("outcome") != str(Outcome.UNPROCESSED))
                .group_by(place.alias("place"), "outcome")
                .agg(pl.len().alias("edits")),
            ]
        )
    )


def _unnamed(reason: str | None) -> str | None:
    """A reason without the name of another run, unless that name is one of ours."""

    def name(found: re.Match[str]) -> str:
        folder = found[2].rpartition("/")[2]
        return f"{found[1]} ({folder})" if _OWN_ID.fullmatch(folder) else found[1]

    return None if reason is None else re.sub(NAMED, name, reason)


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


def _estimate(run: Run, numbers: RunSummary, call_outcomes: CallOutcomes) -> list[tuple[str, str, str]]:
    """Rows of the table "Plan and actual": name, planned, actual."""
    counts, rate = run.plan.counts, rate_of(run)
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


def _band(counts: Mapping[Outcome, int]) -> list[tuple[str, float, float]]:
    """The outcomes that occur as parts of a line of length 100: name, x and width. A single edit can be seen too."""
    there = {outcome: count for outcome, count in counts.items() if count}
    whole = sum(there.values())
    widths = {outcome: max(count / whole * 100, 1.0) for outcome, count in there.items()}
    scale, x, found = 100 / max(sum(widths.values()), 1.0), 0.0, []
    for outcome, width in widths.items():
        found.append((str(outcome), round(x, 3), round(width * scale, 3)))
        x += width * scale
    return found


# -- tables


def _table(numbers: ByInventory) -> dict[str, object]:
    """Patients or studies with edits that are not applied, and how many there are of each sort."""
    groups = numbers.groups.head(_REASONS).to_dicts()
    return {
        "kind": numbers.kind,
        "numbers": numbers,
        "more": numbers.groups.height - len(groups),
        "groups": [{**group, "ranges": ranges(group["first_rows"], group["rows"])} for group in groups],
    }


def _unplanned(run: Run) -> list[dict[str, object]]:
    """Rows without an edit in the plan, by reason."""
    found = (
        run.plan.set_aside()
        .group_by("code")
        .agg(rows=pl.col("row").unique().sort().head(_RANGES * 50), all=pl.col("row").n_unique())
        .sort("all", "code", descending=[True, False])
        .collect()
    )
    return [{**row, "rows": ranges(row["rows"], row["all"])} for row in found.iter_rows(named=True)]


def ranges(rows: list[int], count: int) -> str:
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


# -- texts


def share(part: int, whole: int) -> str:
    """A part of a whole in per cent, never rounded to 0 or 100."""
    if not whole or part in {0, whole}:
        return "100 %" if whole and part == whole else "0 %"
    return f"{min(max(part / whole * 100, 0.1), 99.9):.1f} %"
