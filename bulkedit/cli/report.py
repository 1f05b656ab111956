"""`bulkedit report`, and the closing lines of a run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit import inventories
from bulkedit._log import utc
from bulkedit._printable import printable
from bulkedit._words import duration, plural
from bulkedit.after import report as reports
from bulkedit.after.report import reasons
from bulkedit.after.report.page import ranges
from bulkedit.after.requests import requests_of
from bulkedit.cli._console import (
    command,
    json_line,
    lines_of_edits,
    out,
    print_rows,
)
from bulkedit.cli._run_texts import locked_texts
from bulkedit.cli.status import warn_of_ledger
from bulkedit.client.responses import Outcome
from bulkedit.errors import UsageError
from bulkedit.runs import folder as runs
from bulkedit.runs.status import RunStatus
from bulkedit.runs.summary import by_outcome

if TYPE_CHECKING:
    import typer

    from bulkedit.cli._parameters import ReportCommand
    from bulkedit.runs.folder import Run
    from bulkedit.runs.locks import LockedImageSet
    from bulkedit.runs.summary import RunSummary

_SHOWN_REASONS: Final = 20
_SHOWN_EDITS: Final = 10  # of one reason
_SHOWN_OF_MANY: Final = 3  # of one of many reasons, so that the reasons are seen
_MANY: Final = 5  # reasons


def report(options: ReportCommand, _: typer.Context) -> None:
    """Run `bulkedit report`."""
    if options.include_values and options.results is None:
        raise UsageError("`include_values` needs `results=DIR`.")
    found = runs.load(options.run)
    call_outcomes = reports.CallOutcomes.of(found)
    warn_of_ledger(call_outcomes.run.ledger, call_outcomes.run.detail)
    by_inventory = _by_inventory(found, options, call_outcomes)
    status = RunStatus.of(found, time.time())  # read once: it takes seconds if the run is large
    written = _written(found, options, call_outcomes, by_inventory, status)
    summary = status.summary
    if options.as_json:
        _json(found, options, written, by_inventory, status.numbers.locked)
        json_line(summary)
        return
    _headline(found, summary, status.numbers.locked)
    _show_by_inventory(by_inventory)
    if written:
        _show_written(found, written)
    if options.html is not None:
        out().print(f"Page:  {options.html}")
    if options.request_ids and options.results is None:
        _show_requests(found)
    elif options.only is not None or (options.results is None and options.html is None):
        _show_edits(_chosen(found, options.only))
    if options.only is None:
        _show_next(found, call_outcomes, status, written=written is not None)


def _show_next(run: Run, call_outcomes: reports.CallOutcomes, status: RunStatus, *, written: bool) -> None:
    """Print what to type next, a command a line. ``written``: `_show_written` has told of the lists."""
    steps = reports.next_steps(run, call_outcomes, status)
    shown = [step for step in steps if not (written and step.words[0] in {"report", "plan"})]
    for place, step in enumerate(shown):
        out().print(f"{'' if place else chr(10)}{step.purpose}:\n  {step.command(run.folder)}")


def _by_inventory(run: Run, options: ReportCommand, call_outcomes: reports.CallOutcomes) -> list[reports.ByInventory]:
    """The edits by patient and study, if an inventory is given."""
    if options.inventory is None:
        return []
    snapshot = inventories.load(options.inventory, run.plan.datastore_id)
    return [reports.edits_by(run, call_outcomes, snapshot, kind) for kind in reports.KINDS]


def _show_by_inventory(by_inventory: list[reports.ByInventory]) -> None:
    """Print how many patients and studies have all, some or none of their edits, and the rows of the first others."""
    for numbers in by_inventory:
        unknown = f"; {plural(numbers.unknown, 'image set')} of unknown {numbers.many}" if numbers.unknown else ""
        out().print(
            f"{plural(numbers.count, numbers.kind, numbers.many)}: {numbers.applied:,} with all edits applied, "
            f"{numbers.partly:,} with some, {numbers.not_applied:,} with none{unknown}"
        )
        for group in numbers.groups.head(_SHOWN_OF_MANY).to_dicts():
            applied = f"{group['applied']:,} of {plural(group['edits'], 'edit')} applied"
            rows = ranges(group["first_rows"], group["rows"])
            out().print(f"  {numbers.kind} {group['number']:,}: {applied}, rows {rows}")


def _written(
    run: Run,
    options: ReportCommand,
    call_outcomes: reports.CallOutcomes,
    by_inventory: list[reports.ByInventory],
    status: RunStatus,
) -> reports.Results | None:
    """Write the result files and the page, if requested. Returns the result files."""
    made = None
    if options.results is not None:
        values = options.include_values
        made = reports.write(
            run,
            options.results,
            format_=options.format,
            values=values,
            request_ids=options.request_ids,
            call_outcomes=call_outcomes,
        )
    if options.html is not None:
        reports.write_page(run, options.html, call_outcomes=call_outcomes, by_inventory=by_inventory, status=status)
    return made


def _json(
    run: Run,
    options: ReportCommand,
    written: reports.Results | None,
    by_inventory: list[reports.ByInventory],
    locked: list[LockedImageSet],
) -> None:
    if written:
        json_line(written.as_json())
    if options.html is not None:
        json_line({"type": "page", "file": str(options.html)})
    if options.request_ids and options.results is None:
        for frame in requests_of(run):
            for request in frame.iter_rows(named=True):
                json_line({"type": "request", **request, "at": utc(request["at"], milliseconds=True)})
    for numbers in by_inventory:
        json_line(numbers.as_json())
    locked_lines(locked)
    if options.only is not None:
        for edit in _chosen(run, options.only).iter_rows(named=True):
            json_line({"type": "edit", **edit})


def _show_requests(run: Run) -> None:
    """Print every request: its time, image set, operation, request id and result."""
    for frame in requests_of(run):
        for one in frame.iter_rows(named=True):
            shown = (one["image_set_id"] or "", f"{one['operation']:<22}", one["request_id"] or "no id", one["result"])
            out().print("  ".join((utc(one["at"], milliseconds=True), *map(printable, shown))), soft_wrap=True)


def _show_written(run: Run, written: reports.Results) -> None:
    """Print the result files, and the command that plans failed rows again."""
    out().print(f"Result files in {printable(written.folder)}")
    counts = [
        (file.name, f"{plural(file.rows, 'row')}, {plural(file.lines, 'line')}") for file in written.files.values()
    ]
    print_rows(counts)
    failed = written.files["failed"]
    if failed.rows and written.values:
        again = command("plan", written.folder / failed.name, "-d", run.plan.datastore_id)
        out().print(f"To plan the failed rows again:  {again}")


def _chosen(run: Run, only: str | None) -> pl.DataFrame:
    wanted = pl.col("outcome") == only if only else pl.col("outcome") != str(Outcome.APPLIED)
    return reports.outcomes(run).filter(wanted).collect()


def _show_edits(edits: pl.DataFrame) -> None:
    """Print edits, grouped by outcome and reason."""
    console = out()
    groups = reasons.parts(edits)
    most = _SHOWN_OF_MANY if len(groups) > _MANY else _SHOWN_EDITS
    for why, same in groups[:_SHOWN_REASONS]:
        console.print(f"\n{plural(same.height, 'edit')} {printable(why)}")
        for line in lines_of_edits(same.head(most).iter_rows(named=True)):
            console.print(f"  {line}")
        if (more := same.height - most) > 0:
            outcome = same.item(0, "outcome")
            console.print(f"  … and {more:,} more like these; --only {outcome} --json lists all.")
    if (more := len(groups) - _SHOWN_REASONS) > 0:
        console.print(f"\n… and {plural(more, 'more reason')}; --only OUTCOME --json lists all edits.")


def locked_lines(locked: list[LockedImageSet]) -> None:
    """Print a line of JSON for each image set whose unlock calls wait for."""
    for image_set in locked:
        json_line({"type": "locked", **image_set.as_json()})


def closing_lines(run: Run, summary: RunSummary, locked: list[LockedImageSet]) -> None:
    """Print how a run ended, and what to type next. ``locked``: what its calls waited for."""
    _headline(run, summary, locked)
    if summary["unprocessed"] or summary["copy_steps_left"]:
        out().print(f"To continue:            {command('resume', run.folder)}")
    if summary["edits"] > summary["applied"] + summary["unprocessed"]:
        out().print(f"To see the reasons:     {command('report', run.folder)}")


def _headline(run: Run, summary: RunSummary, locked: list[LockedImageSet]) -> None:
    counts = by_outcome(summary)
    named = (Outcome.REJECTED, Outcome.CONFLICTED, Outcome.FAILED)
    others = [f"{counts[outcome]:,} {outcome}" for outcome in named if counts[outcome]]
    parts = [f"{plural(summary['applied'], 'edit')} applied", *others, f"{summary['unprocessed']:,} left"]
    out().print(
        f"Run {printable(run.id)}: {', '.join(parts)}, in {plural(summary['requests'], 'request')} "
        f"for {plural(summary['calls'], 'call')} ({summary['throttled']:,} throttled). {duration(summary['seconds'])}.",
    )
    if summary["unprocessed"]:
        for text in locked_texts(locked):
            out().print(f"Waits for unlock:       {printable(text)}")
