"""`bulkedit status` and `bulkedit report`, and the closing lines of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import polars as pl
import typer

from bulkedit import reports, runs
from bulkedit.cli import options as o
from bulkedit.cli.terminal import command, duration, err, json_line, out, plural, rows
from bulkedit.errors import UsageError
from bulkedit.outcome import Outcome, Standing

if TYPE_CHECKING:
    from bulkedit.runs import Run

_SHOWN_REASONS: Final = 20
_SHOWN_EDITS: Final = 10  # of one reason


def status(run: o.RunFolder, as_json: o.AsJson = False) -> None:
    """Where a run stands, also while it is running.

    Example: bulkedit status runs/20260102-030405-1a2b
    """
    found = runs.load(run)
    _warn_of_damage(found)
    summary = reports.summary(found)
    calls = _call_counts(found)
    if as_json:
        json_line({**summary, "type": "status", "standings": calls})
        return
    console = out()
    console.print(f"Run {found.folder} on data store {found.plan.datastore_id}, begun {found.about['created']}")
    console.print(
        rows(
            [
                ("edits", ", ".join(f"{summary[outcome]:,} {outcome}" for outcome in Outcome)),
                ("calls", ", ".join(f"{count:,} {standing}" for standing, count in calls.items())),
                ("throttled", f"{summary['throttled']:,} of {plural(summary['requests'], 'update request')}"),
                ("time", duration(summary["seconds"])),
            ]
        )
    )
    if summary["unprocessed"]:
        console.print(f"\nTo go on:  {command('resume', found.folder)}")


def _warn_of_damage(run: Run) -> None:
    """Numbers of a damaged ledger are those of the part that can be read."""
    if damage := reports.damage(run):
        err().print(f"warning: the ledger is damaged ({damage}); what follows is what can still be read of it.")


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
    as_json: o.AsJson = False,
) -> None:
    """What became of every edit: the numbers, and the edits that were not applied with the reason.

    Example: bulkedit report runs/20260102-030405-1a2b --only rejected
    """
    if only is not None and only not in list(Outcome):
        raise UsageError(f"--only is one of {', '.join(Outcome)}.")
    found = runs.load(run)
    _warn_of_damage(found)
    summary = reports.summary(found)
    if as_json:
        if only is not None:
            for edit in _chosen(found, only).iter_rows(named=True):
                json_line({"type": "edit", **edit})
        json_line(summary)
        return
    _headline(found, summary)
    _show_edits(_chosen(found, only))


def _chosen(run: Run, only: str | None) -> pl.DataFrame:
    wanted = pl.col("outcome") == only if only else pl.col("outcome") != str(Outcome.APPLIED)
    return reports.outcomes(run).filter(wanted).collect()


def _show_edits(edits: pl.DataFrame) -> None:
    """Edits that share an outcome and a reason together."""
    console = out()
    groups = edits.partition_by("outcome", "reason", "message", maintain_order=True)
    for same in groups[:_SHOWN_REASONS]:
        why = ": ".join(filter(None, same.select("outcome", "reason", "message").row(0)))
        console.print(f"\n{plural(same.height, 'edit')} {why}")
        for edit in same.head(_SHOWN_EDITS).iter_rows(named=True):
            what = " ".join(filter(None, (edit["action"], edit["attribute"])))
            console.print(f"  row {edit['row']:,}  {edit['image_set_id']}  {what}")
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
        f"Run {run.id}: {', '.join(parts)}, in {plural(summary['requests'], 'request')} "
        f"for {plural(summary['calls'], 'call')} ({summary['throttled']:,} throttled). {duration(summary['seconds'])}."
    )
    if summary["unprocessed"]:
        out().print(f"To go on:               {command('resume', run.folder)}")
