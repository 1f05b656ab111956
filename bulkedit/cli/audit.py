"""`bulkedit audit`, and `bulkedit deid --check`, which does the same."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import polars as pl
import typer

from bulkedit._printable import printable
from bulkedit._progress import Phase, WorkProgress
from bulkedit._words import duration, plural
from bulkedit.audits.job import Audit, audit_run, kept_by
from bulkedit.cli._console import command, err, json_line, out, print_rows
from bulkedit.cli._working import Latest, confirmed_where, with_progress
from bulkedit.errors import EXIT_DIFFERENCE, EXIT_INTERRUPTED, EXIT_OK, EXIT_STOPPED, StoppedError
from bulkedit.runs import folder as runs

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.audits.run import CheckSummary
    from bulkedit.cli._parameters import AuditCommand
    from bulkedit.options.audit import AuditOptions
    from bulkedit.options.where import Where
    from bulkedit.runs.folder import Run

_SHOWN: Final = 10  # lines of one kind


def audit(options: AuditCommand, _: typer.Context) -> None:
    """Run `bulkedit audit`."""
    audited(options.run, options.auditing, options.where, as_json=options.as_json)


def audited(folder: Path, options: AuditOptions, where: Where, *, as_json: bool) -> None:
    """Audit a run, print the findings, and exit: with 0 if nothing was found."""
    kept_by(options.deid_profile)  # raises for an invalid profile before the user is asked anything
    run = runs.load(folder)
    began = time.monotonic()
    work = partial(audit_run, run, options, where=confirmed_where(run, where))
    try:
        found = anyio.run(with_progress, work, _progress_line, Latest(WorkProgress()))
    except StoppedError:
        err().print("Interrupted. Nothing is written; the same command starts again.")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    seconds = time.monotonic() - began
    if as_json:
        _json(found, seconds)
    else:
        _show(run, found, seconds)
    _left(found, folder, options)
    if not found.clean:
        raise typer.Exit(EXIT_DIFFERENCE)
    raise typer.Exit(EXIT_OK if found.complete else EXIT_STOPPED)


def _progress_line(progress: WorkProgress) -> str:
    """Image sets read of all, findings, throttles."""
    if progress.phase is Phase.PREPARING:
        return "reading the run"
    findings = plural(progress.found, "finding")
    return f"{progress.done:,}/{progress.total:,} image sets · {findings} · {progress.throttled:,} throttled"


# -- output -----------------------------------------------------------------------------------------------------------


def _json(found: Audit, seconds: float) -> None:
    for row in found.findings.iter_rows(named=True):
        json_line({"type": "audit-finding", **row})
    summary = {name: value for name, value in found.summary.items() if name != "files"}
    counts = {"requests": found.requests, "throttled": found.throttled, "seconds": round(seconds, 3)}
    json_line({"type": "audit", "audit": str(found.folder), **summary, **counts})


def _show(run: Run, found: Audit, seconds: float) -> None:
    summary, console = found.summary, out()
    console.print(
        f"Run {run.id} audited: {plural(summary['image_sets'], 'image set')} compared with their version before it. "
        f"{duration(seconds)}."
    )
    print_rows(_table(summary))
    _show_findings(found.findings)
    _show_undone(found.undone)
    for risk, count in summary["risks"].items():
        console.print(f"Inspect the images of {plural(count, 'image set')}: {risk}.")
    console.print(f"\nAll results, as Parquet and CSV:  {printable(found.folder)}")
    console.print("texts.csv there contains health data, for a person to read. Pixels are not examined.")


def _table(summary: CheckSummary) -> list[tuple[str, str]]:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary["by_kind"].items())
    found = f"{summary['findings']:,} in {plural(summary['with_findings'], 'image set')}: {kinds}"
    table = [("findings", found if summary["findings"] else "none")]
    if summary["kept"]:
        table.append(("not checked", f"{', '.join(summary['kept'])}: the profile keeps them"))
    if "uid" not in summary["kept"]:
        apart = summary["uids_parted"] + summary["uids_joined"]
        end = f"{apart:,} of them no longer match" if apart else "consistent across the run"
        table.append(("references", f"{summary['uids']:,} UIDs, {end}"))
    if summary["undone"]:
        table.append(("not done", f"{plural(summary['undone'], 'image set')} with edits that were not applied"))
    if summary["set_aside"]:
        table.append(("set aside", f"{plural(summary['set_aside'], 'row')} of the list without an edit in the plan"))
    older = f"{plural(summary['older_versions'], 'older version')}, which still contain what edits have removed"
    table.append(("history", older))
    texts = f"{plural(summary['texts'], 'distinct text')} unchanged, for a person to read"
    more = f"; {summary['texts_untold']:,} more left out" if summary["texts_untold"] else ""
    return [*table, ("free text", texts + more)]


def _show_findings(findings: pl.DataFrame) -> None:
    """Print the findings, grouped by kind and path. Paths contain keywords, no values."""
    if not findings.height:
        return
    place = findings["path"].str.replace_all(r"\[\d+\]", "")
    grouped = (
        findings.with_columns(path=place)
        .group_by("kind", "match", "path")
        .agg(count=pl.len())
        .sort("count", "path", descending=[True, False])
    )
    out().print()
    for kind, match, path, count in grouped.head(_SHOWN).iter_rows():
        out().print(f"  {kind} {_HOW[match]} {path}: {plural(count, 'time')}")
    if grouped.height > _SHOWN:
        out().print(f"  … and {grouped.height - _SHOWN:,} more places.")


def _show_undone(undone: pl.DataFrame) -> None:
    for image_set_id, edits, left in undone.head(_SHOWN).iter_rows():
        out().print(f"  not done  {image_set_id}  {left:,} of {plural(edits, 'edit')} not applied")
    if undone.height > _SHOWN:
        out().print(f"  … and {undone.height - _SHOWN:,} more image sets.")


_HOW: Final = {"unchanged": "unchanged in", "whole": "as the value of", "inside": "inside"}


def _left(found: Audit, folder: Path, options: AuditOptions) -> None:
    """Print which image sets were not read, and what to type."""
    if found.archived:
        count = len(found.archived)
        which = "image set is archived and was" if count == 1 else "image sets are archived and were"
        err().print(f"{count:,} {which} not read, because that moves them to the frequent tier for 30 days.")
        profile = ["--deid-profile", options.deid_profile] if options.deid_profile is not None else []
        err().print(f"To also read them:  {command('audit', folder, *profile, '--read-archived')}")
    for reason, count in found.unread.items():
        err().print(f"{plural(count, 'image set')} could not be read ({reason}).")
