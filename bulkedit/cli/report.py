"""`bulkedit report`, and the closing lines of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import polars as pl
import typer

from bulkedit._printable import printable
from bulkedit._words import duration, plural
from bulkedit.after import report as reports
from bulkedit.cli import _options as o
from bulkedit.cli._console import (
    command,
    json_line,
    lines_of_edits,
    out,
    print_rows,
)
from bulkedit.cli.status import warn_of_ledger
from bulkedit.client.responses import Outcome
from bulkedit.errors import UsageError
from bulkedit.runs import folder as runs
from bulkedit.runs.summary import summary as summary_of

if TYPE_CHECKING:
    from bulkedit.runs.folder import Run

_SHOWN_REASONS: Final = 20
_SHOWN_EDITS: Final = 10  # of one reason


def report(
    run: o.RunFolder,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="|".join(Outcome),
            envvar="BULKEDIT_ONLY",
            help="Show the edits of one outcome.",
            show_default=False,
        ),
    ] = None,
    results: o.ResultsFolder = None,
    format_: o.ResultsFormat = "csv",
    include_values: o.IncludeValues = False,
    html: o.Html = None,
    as_json: o.AsJson = False,
) -> None:
    """What became of every edit: the numbers, and the edits that were not applied with the reason.

    Example: bulkedit report runs/20260102-030405-1a2b --only rejected
    """
    _check_words(only, format_, results, include_values=include_values)
    found = runs.load(run)
    settlement = reports.Settlement.of(found)
    warn_of_ledger(settlement.told.ledger, settlement.told.words)
    written = results and reports.write(found, results, format_=format_, values=include_values, settlement=settlement)
    if html is not None:
        reports.write_page(found, html, settlement=settlement)
    summary = summary_of(found)
    if as_json:
        if written:
            json_line(written.as_json())
        if html is not None:
            json_line({"type": "page", "file": str(html)})
        if only is not None:
            for edit in _chosen(found, only).iter_rows(named=True):
                json_line({"type": "edit", **edit})
        json_line(summary)
        return
    _headline(found, summary)
    if written:
        _say_written(found, written)
    if html is not None:
        out().print(f"Page:  {html}")
    if only is not None or (results is None and html is None):
        _show_edits(_chosen(found, only))


def _check_words(only: str | None, format_: str, results: Path | None, *, include_values: bool) -> None:
    """Raises UsageError."""
    if only is not None and only not in list(Outcome):
        raise UsageError(f"--only is one of {', '.join(Outcome)}.")
    if format_ not in reports.FORMATS:
        raise UsageError(f"--format is one of {', '.join(reports.FORMATS)}.")
    if include_values and results is None:
        raise UsageError("--include-values goes with --results DIR.")


def _say_written(run: Run, written: reports.Results) -> None:
    """Where the result files are, and how what failed goes on."""
    out().print(f"Result files in {printable(written.folder)}")
    counts = [
        (file.name, f"{plural(file.rows, 'row')}, {plural(file.lines, 'line')}") for file in written.files.values()
    ]
    print_rows(counts)
    failed = written.files["failed"]
    if failed.rows and written.values:
        again = command("plan", written.folder / failed.name, "-d", run.plan.datastore_id)
        out().print(f"To plan those that failed again:  {again}")


def _chosen(run: Run, only: str | None) -> pl.DataFrame:
    wanted = pl.col("outcome") == only if only else pl.col("outcome") != str(Outcome.APPLIED)
    return reports.outcomes(run).filter(wanted).collect()


def _show_edits(edits: pl.DataFrame) -> None:
    """Edits that share an outcome and a reason together."""
    console = out()
    groups = edits.partition_by("outcome", "reason", "message", maintain_order=True)
    for same in groups[:_SHOWN_REASONS]:
        why = ": ".join(filter(None, same.select("outcome", "reason", "message").row(0)))
        console.print(f"\n{plural(same.height, 'edit')} {printable(why)}")
        for line in lines_of_edits(same.head(_SHOWN_EDITS).iter_rows(named=True)):
            console.print(f"  {line}")
        if (more := same.height - _SHOWN_EDITS) > 0:
            outcome = same.item(0, "outcome")
            console.print(f"  … and {more:,} more like these; --only {outcome} --json lists all.")
    if (more := len(groups) - _SHOWN_REASONS) > 0:
        console.print(f"\n… and {plural(more, 'more reason')}; --only OUTCOME --json lists all edits.")


def closing_lines(run: Run, summary: dict[str, Any]) -> None:
    """How a run ended, and what to type next."""
    _headline(run, summary)
    if summary["edits"] > summary["applied"] + summary["unprocessed"]:
        out().print(f"Why each was not:       {command('report', run.folder)}")


def _headline(run: Run, summary: dict[str, Any]) -> None:
    others = [f"{summary[outcome]:,} {outcome}" for outcome in ("rejected", "conflicted", "failed") if summary[outcome]]
    parts = [f"{plural(summary['applied'], 'edit')} applied", *others, f"{summary['unprocessed']:,} left"]
    out().print(
        f"Run {printable(run.id)}: {', '.join(parts)}, in {plural(summary['requests'], 'request')} "
        f"for {plural(summary['calls'], 'call')} ({summary['throttled']:,} throttled). {duration(summary['seconds'])}.",
    )
    if summary["unprocessed"]:
        out().print(f"To go on:               {command('resume', run.folder)}")
