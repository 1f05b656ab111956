"""`bulkedit status` and `bulkedit report`, and the closing lines of a run."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import polars as pl
import typer
from rich.text import Text

from bulkedit._printable import printable
from bulkedit._words import duration, plural
from bulkedit.after import report as reports
from bulkedit.cli import _options as o
from bulkedit.cli._console import (
    command,
    err,
    fitted,
    json_line,
    lines_of_edits,
    out,
    print_rows,
    redrawn,
    redraws,
    rows,
)
from bulkedit.client.responses import Outcome, Standing
from bulkedit.errors import UsageError
from bulkedit.runs import folder as runs
from bulkedit.runs.ledger import State, is_held

if TYPE_CHECKING:
    from bulkedit.runs.folder import Run

_SHOWN_REASONS: Final = 20
_SHOWN_EDITS: Final = 10  # of one reason


def status(run: o.RunFolder, watch: o.Watch = False, every: o.Every = 2, as_json: o.AsJson = False) -> None:
    """Where a run stands, also while it is running.

    Example: bulkedit status runs/20260102-030405-1a2b --watch
    """
    found = runs.load(run)
    _warn_of_ledger(*reports.ledger_state(found))
    if watch:
        _watch(found, every, as_json=as_json)
        return
    line = _status(found)
    if as_json:
        json_line(line)
        return
    out().print(_status_head(found))
    print_rows(_status_rows(line))
    if line["unprocessed"]:
        out().print(f"\nTo go on:  {command('resume', found.folder)}")


def _status(run: Run) -> dict[str, Any]:
    """The JSON line of type ``status``."""
    return {**reports.summary(run), "type": "status", "standings": _call_counts(run)}


def _status_head(run: Run) -> str:
    store, begun = printable(run.plan.datastore_id), printable(run.about["created"])
    return f"Run {printable(run.folder)} on data store {store}, begun {begun}"


def _status_rows(line: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("edits", ", ".join(f"{line[outcome]:,} {outcome}" for outcome in Outcome)),
        ("calls", ", ".join(f"{count:,} {standing}" for standing, count in line["standings"].items())),
        ("throttled", f"{line['throttled']:,} of {plural(line['requests'], 'update request')}"),
        ("time", duration(line["seconds"])),
    ]


def _watch(run: Run, every_s: float, *, as_json: bool) -> None:
    """Show where a run stands until all of it is settled or nobody works on it any more; Ctrl-C ends the looking.

    On a terminal the picture is redrawn; elsewhere, and as JSON, there is a line for every look.
    """
    console = out()
    again = redraws(console) and not as_json
    with redrawn(console, transient=False) if again else contextlib.nullcontext() as live:
        try:
            while True:
                # whether somebody works on it is asked first: what he did last is then seen
                held = is_held(run.ledger)
                begun = time.monotonic()
                line = _status(run)
                if as_json:
                    json_line(line)
                elif live is not None:
                    head = Text(fitted(_status_head(run), console.width))
                    live.update(Text("\n").join([head, rows(_status_rows(line), console.width)]), refresh=True)
                else:
                    console.print(" · ".join(text for _, text in _status_rows(line)))
                if not line["unprocessed"] or not held:
                    break
                # a look at a large run takes a while itself, and the run needs the disk too
                time.sleep(max(every_s, 4 * (time.monotonic() - begun)))
        except KeyboardInterrupt:
            return
    if line["unprocessed"] and not as_json:
        console.print(f"\nNo process works on this run. To go on:  {command('resume', run.folder)}")


def _warn_of_ledger(state: State, words: str) -> None:
    """Numbers of a ledger that is not whole are those of the part that is there."""
    if text := _WARNINGS.get(state):
        err().print(f"warning: {text.format(printable(words))}")


_WARNINGS: Final = {
    State.BEHIND: "the ledger lacks events that were written to it ({}); what follows is older than the run.",
    State.DAMAGED: "the ledger is damaged ({}); what follows is what can still be read of it.",
    State.MISSING: "the ledger of this run is missing; nothing tells which calls were sent.",
    State.UNANCHORED: "ledger.anchor is missing or cannot be read; nothing tells whether the ledger is whole.",
    State.COPIED: "this folder is a copy; what the run has done in the other place since is not in it.",
}


def _call_counts(run: Run) -> dict[str, int]:
    """How many calls stand where; the parts of a call that was split are calls of their own."""
    standings, planned = reports.standings(run), run.plan.counts["calls"]
    begun = dict(standings.group_by("standing").len().iter_rows())
    planned -= standings.filter(pl.col("call") < planned).height  # parts have numbers beyond those of the plan
    counts = {str(Standing.PLANNED): planned + begun.pop(str(Standing.PLANNED), 0), **begun}
    return {standing: count for standing in map(str, Standing) if (count := counts.get(standing, 0))}


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
    _warn_of_ledger(settlement.ledger, settlement.words)
    written = results and reports.write(found, results, format_=format_, values=include_values, settlement=settlement)
    if html is not None:
        reports.write_page(found, html, settlement=settlement)
    summary = reports.summary(found, settlement)
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
