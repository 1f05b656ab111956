"""`bulkedit trail`: compares a run with CloudTrail."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import polars as pl
import typer

from bulkedit._log import utc
from bulkedit._printable import printable
from bulkedit._words import plural
from bulkedit.after.trail.compare import Finding
from bulkedit.after.trail.job import CSV, TIMES, TrailProgress, trail_run
from bulkedit.cli._console import err, json_line, out, print_rows
from bulkedit.cli._working import Latest, with_progress
from bulkedit.cli.status import warn_of_ledger
from bulkedit.client.sent import ACCEPTED
from bulkedit.errors import EXIT_DIFFERENCE, EXIT_INTERRUPTED, EXIT_OK, StoppedError
from bulkedit.runs import folder as runs
from bulkedit.runs.ledger import Ledger

if TYPE_CHECKING:
    from bulkedit.after.trail.job import Trail
    from bulkedit.cli._parameters import TrailCommand
    from bulkedit.runs.folder import Run

_SHOWN: Final = 10  # rows of one kind
_TITLES: Final = {
    **{finding: str(finding) for finding in Finding},
    Finding.LOST_ACCEPTED: "lost, and accepted although the run has another outcome",
    Finding.OTHER: "of other writers",
}
_DELIVERY_S: Final = 15 * 60.0  # how cloudtrail works: within about 15 minutes, on average 5
_LATER: Final = "CloudTrail delivers within about 15 minutes: copy the files again later."


def trail(options: TrailCommand, _: typer.Context) -> None:
    """Run `bulkedit trail`."""
    run = runs.load(options.run)
    _warn(run)
    work = partial(trail_run, run, [*(options.cloudtrail or []), *(options.files or [])])
    try:
        found = anyio.run(with_progress, work, _progress_line, Latest(TrailProgress()))
    except StoppedError:
        err().print("Interrupted. Nothing is written; the same command starts again.")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if options.as_json:
        _json(found)
    else:
        _show(run, found)
    raise typer.Exit(EXIT_OK if found.even else EXIT_DIFFERENCE)


def _progress_line(progress: TrailProgress) -> str:
    """Files read of all, events of HealthImaging."""
    if progress.total is None:
        return "reading the run"
    return f"{progress.done:,}/{progress.total:,} files · {plural(progress.events, 'event')} of HealthImaging"


def _warn(run: Run) -> None:
    if run.ledger.exists():
        with Ledger.read(run.ledger) as ledger:
            warn_of_ledger(ledger.state, ledger.detail)


def _json(found: Trail) -> None:
    for row in found.differences.iter_rows(named=True):
        times = {name: None if row[name] is None else utc(row[name], milliseconds=True) for name in TIMES}
        json_line({"type": "trail-difference", **row, **times})
    json_line(found.as_json())


def _show(run: Run, found: Trail) -> None:
    console, counts = out(), found.counts
    console.print(
        f"Run {printable(run.id)} and CloudTrail: {plural(found.events, 'event')} of HealthImaging in "
        f"{plural(found.files, 'file')}."
    )
    print_rows(_table(found, counts))
    for finding in Finding:
        _show_rows(found.differences.filter(pl.col("finding") == str(finding)), finding)
    _explain(found, counts)
    console.print(f"\nEvery request, as CSV:  {printable(found.folder / CSV)}")


def _table(found: Trail, counts: dict[str, int]) -> list[tuple[str, str]]:
    accepted = found.rows.filter((pl.col("sent_result") == ACCEPTED) & (pl.col("finding") == str(Finding.FOUND))).height
    of_accepted = {
        "found once": accepted,
        "not found": counts[Finding.NOT_FOUND],
        "found more than once": counts[Finding.MORE_THAN_ONCE],
        "contradicted": counts[Finding.CONTRADICTED],
    }
    of_lost = {
        "accepted": counts[Finding.LOST_ACCEPTED],
        "refused": counts[Finding.LOST_REFUSED],
        "not found": counts[Finding.LOST_NOT_FOUND],
    }
    of_refused = {"found": counts[Finding.FOUND] - accepted, "not found": counts[Finding.REFUSED_NOT_FOUND]}
    lost = _counted(of_lost) + (f"; {found.by_inference:,} by inference" if found.by_inference else "")
    table = [("accepted", _counted(of_accepted)), ("refused", _counted(of_refused)), ("answer lost", lost)]
    table.append(("other writers", _others(found)))
    if found.readers.height:
        reads, who = int(found.readers.get_column("events").sum()), found.readers.get_column("principal").n_unique()
        table.append(("other reads", f"{plural(reads, 'read')} of {plural(who, 'principal')}"))
    if found.span is not None:
        table.append(("the run", _span(found.span)))
    if found.covered is not None:
        regions = ", ".join(found.regions) or "no event of this data store"
        table.append(("the files", f"{_span(found.covered)}, {regions}"))
    return table


def _counted(counts: dict[str, int]) -> str:
    """The counts that are not 0, and always the first."""
    first = next(iter(counts))
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count or name == first)


def _others(found: Trail) -> str:
    rows = found.rows.filter(pl.col("finding") == str(Finding.OTHER))
    if not rows.height:
        return "none"
    principals, image_sets = (rows.get_column(name).n_unique() for name in ("principal", "image_set_id"))
    return (
        f"{plural(rows.height, 'write')} of {plural(principals, 'principal')} to {plural(image_sets, 'image set')}, "
        f"{found.accepted_by_others:,} accepted"
    )


def _span(span: tuple[float, float]) -> str:
    return f"{utc(span[0])} to {utc(span[1])}"


def _show_rows(rows: pl.DataFrame, finding: Finding) -> None:
    if not rows.height:
        return
    console = out()
    console.print(f"\n{plural(rows.height, 'request')} {_TITLES[finding]}:")
    for row in rows.head(_SHOWN).iter_rows(named=True):
        at = row["event_at"] if row["answered_at"] is None else row["answered_at"]
        call = "" if row["call"] is None else f"call {row['call']}"
        who = "" if row["principal"] is None else f"by {row['principal']}"
        agent = " (with bulkedit)" if row["call"] is None and row["by_bulkedit"] else ""
        parts = (utc(at), row["operation"], row["image_set_id"], call, row["request_id"], who + agent)
        console.print("  " + printable("  ".join(filter(None, parts))), soft_wrap=True)
    if (more := rows.height - _SHOWN) > 0:
        console.print(f"  … and {more:,} more in {CSV}.")


def _explain(found: Trail, counts: dict[str, int]) -> None:
    """Print what could not be read, and why requests may be missing."""
    console = err()
    for file, why in found.unread[:_SHOWN]:
        console.print(f"{printable(file)}: {why}")
    if len(found.unread) > _SHOWN:
        console.print(f"… and {len(found.unread) - _SHOWN:,} more files that cannot be read.")
    if found.hidden:
        console.print(f"{plural(found.hidden, 'write')} during the run by other senders did not name an image set.")
    if counts[Finding.NOT_FOUND] or counts[Finding.LOST_NOT_FOUND]:
        console.print(_why_missing(found))


def _why_missing(found: Trail) -> str:
    if not found.of_all_services:
        return "The files have no event at all."
    if found.covered is not None and found.span is not None:
        # times of events have whole seconds
        if found.covered[0] > found.span[0] + 1 or found.covered[1] < found.span[1] - 1:
            return f"The files do not cover the whole run. {_LATER}"
        if found.covered[1] < found.span[1] + _DELIVERY_S:
            return f"The files end shortly after the run. {_LATER}"
    return "Check that the files are of the run's account and Region, and that the trail has management events."
