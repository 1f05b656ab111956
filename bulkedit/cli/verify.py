"""`bulkedit verify`: compares a run's edits with its image sets."""

from __future__ import annotations

import signal
import time
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import anyio
import polars as pl
import typer

from bulkedit._printable import printable
from bulkedit._progress import Phase, WorkProgress
from bulkedit._words import duration, noun, plural
from bulkedit.after.verify.job import verify as verify_run
from bulkedit.cli._console import command, confirmed, err, interactive, json_line, lines_of_edits, out, print_rows
from bulkedit.cli._working import Latest, confirmed_where, with_progress
from bulkedit.errors import EXIT_DIFFERENCE, EXIT_INTERRUPTED, EXIT_OK, EXIT_STOPPED, StoppedError
from bulkedit.runs import folder as runs

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.after.verify import Verification, VerifyProgress
    from bulkedit.after.verify.folder import VerificationSummary
    from bulkedit.cli._parameters import VerifyCommand
    from bulkedit.options.verify import VerifyOptions
    from bulkedit.options.where import Where
    from bulkedit.runs.folder import Run

_SHOWN: Final = 10  # rows of one kind


def verify(options: VerifyCommand, _: typer.Context) -> None:
    """Run `bulkedit verify`."""
    found, reading, as_json = runs.load(options.run), options.reading, options.as_json
    where = confirmed_where(found, options.where)
    again = command("verify", *_arguments(options.run, reading))
    began = time.monotonic()
    seen = _seen(found, reading, where, again)
    asks = interactive() and not options.yes
    if seen.archived and seen.verification is None and not seen.stopped and asks and _ask(seen):
        seen = _seen(found, replace(reading, read_archived=True, fresh=False), where, again)
    if seen.verification is None:
        if as_json:
            _json_so_far(found, seen, reading, time.monotonic() - began)
        _left(seen, again)
        raise typer.Exit(EXIT_INTERRUPTED if seen.stopped else EXIT_STOPPED)
    _close(found, seen, seen.verification, time.monotonic() - began, as_json=as_json)
    raise typer.Exit(EXIT_DIFFERENCE if seen.counts.differences else EXIT_OK)


def _seen(run: Run, options: VerifyOptions, where: Where, again: str) -> VerifyProgress:
    """Read the image sets that are left, until done or until a signal."""
    work = partial(verify_run, run, options, where=where)
    try:
        return anyio.run(with_progress, work, _progress_line, Latest(WorkProgress()))
    except StoppedError:
        err().print(f"Interrupted; nothing was read. To continue:  {again}")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _progress_line(progress: WorkProgress) -> str:
    """Image sets read of all, differences, throttles."""
    if progress.phase is Phase.PREPARING:
        return "reading the run"
    differences = plural(progress.found, "difference")
    return f"{progress.done:,}/{progress.total:,} image sets · {differences} · {progress.throttled:,} throttled"


def _arguments(run: Path, reading: VerifyOptions) -> list[str]:
    """The arguments of the command that continues: without `--fresh`, which would start again."""
    words = [str(run)]
    if reading.sample:
        words += ["--sample", str(reading.sample)]
    if reading.seed is not None:
        words += ["--seed", str(reading.seed)]
    switches = {"--history": reading.history, "--include-values": reading.include_values}
    return words + [name for name, on in switches.items() if on]


def _ask(seen: VerifyProgress) -> bool:
    # polars has installed its own handler, which would delay Ctrl-C until Enter
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return confirmed(f"{_archived(seen)} Read them?")


def _archived(seen: VerifyProgress) -> str:
    count = len(seen.archived)
    what = f"{plural(count, 'image set is', 'image sets are')} archived"
    return f"{what}: reading moves {'it' if count == 1 else 'them'} to the frequent tier for 30 days."


def _left(seen: VerifyProgress, again: str) -> None:
    """Print why a verification is incomplete, and the command that continues."""
    console = err()
    if seen.stopped:
        console.print(f"Interrupted; what was read is kept. To continue:  {again}")
        return
    if seen.archived:
        console.print(_archived(seen))
        console.print(f"To read them:          {again} --read-archived")
        console.print(f"To leave them out:     {again} --skip-archived")
    for reason, count in seen.unread.items():
        console.print(f"{plural(count, 'image set')} could not be read ({reason}).")
    if seen.unread:
        console.print(f"To try them again:     {again}")


def _close(run: Run, seen: VerifyProgress, done: Verification, seconds: float, *, as_json: bool) -> None:
    summary = done.summary
    if as_json:
        _json(done, seen, seconds)
        return
    console = out()
    chosen = plural(summary["image_sets"], "image set")
    if summary["sample"]:
        chosen += f" of {summary['of_image_sets']:,} (a sample of {summary['sample']}, seed {summary['seed']})"
    superseded = f"{summary['superseded']:,} superseded by later edits of the run"
    console.print(f"Run {printable(run.id)} verified: {chosen}. {duration(seconds)}.")
    table = [
        ("matching", f"{plural(summary['matching'], 'edit')}" + (f", {superseded}" if summary["superseded"] else "")),
        ("differences", _differences(summary)),
    ]
    if summary["archived"]:
        table.append(("left out", f"{plural(summary['archived'], 'image set')}, archived"))
    if summary["sample"] and not summary["differences"] and summary["image_sets"]:
        table.append(("confidence", f"fewer than {3 / summary['image_sets']:.2%} of the image sets differ (95 %)"))
    if "kept.parquet" in summary["files"]:
        table.append(
            ("history", f"older versions still contain what {plural(summary['kept'], 'edit')} replaced or removed")
        )
    print_rows(table)
    _show_differences(done)
    _show_kept(done)
    console.print(f"\nAll results, as Parquet and CSV:  {printable(done.folder)}")


def _differences(summary: VerificationSummary) -> str:
    if not summary["differences"]:
        return "none"
    parts = {
        "by later writers": summary["by_later_writers"],
        "of the run itself": summary["by_run"],
        "of unknown origin": summary["differences"] - summary["by_later_writers"] - summary["by_run"],
    }
    return f"{summary['differences']:,}: " + ", ".join(f"{count:,} {name}" for name, count in parts.items() if count)


def _json(done: Verification, seen: VerifyProgress, seconds: float) -> None:
    for kind, frame in (("difference", done.differences()), ("kept", done.kept())):
        for row in frame.collect(engine="streaming").iter_rows(named=True):
            json_line({"type": kind, **{name: row[name] for name in row if name not in {"expected", "found"}}})
    named = ("run", "image_sets", "of_image_sets", "sample", "seed", "archived", "matching", "superseded")
    counts = ("differences", "by_later_writers", "by_run", "kept", "requests", "throttled", "faults")
    asked = {"requests": seen.requests, "throttled": seen.throttled, "faults": seen.faults}
    summary = cast("dict[str, object]", {**done.summary, **asked})
    line = {name: summary[name] for name in (*named, *counts)}
    ending = {"unread": 0, "complete": True, "seconds": round(seconds, 3)}
    json_line({"type": "verification", "verification": str(done.folder), **line, **ending})


def _json_so_far(run: Run, seen: VerifyProgress, options: VerifyOptions, seconds: float) -> None:
    """Print the JSON line of an incomplete verification."""
    json_line(
        {
            "type": "verification",
            "verification": str(seen.folder),
            "run": str(run.folder),
            "of_image_sets": seen.of,
            "sample": str(options.sample) if options.sample else None,
            "seed": seen.seed,
            "archived": len(seen.archived),
            **asdict(seen.counts),
            "requests": seen.requests,
            "throttled": seen.throttled,
            "faults": seen.faults,
            "unread": sum(seen.unread.values()),
            "complete": False,
            "seconds": round(seconds, 3),
        }
    )


def _show_differences(done: Verification) -> None:
    """Print the differences, grouped by kind and origin."""
    kinds = ["difference", "origin", "other_run"]
    found = done.differences().group_by(kinds).len().sort("len", *kinds, descending=[True, False, False, False])
    for difference, origin, other, count in found.collect().iter_rows():
        alike = pl.col("other_run").eq_missing(pl.lit(other, pl.String))
        same = done.differences().filter(alike, difference=difference, origin=origin).head(_SHOWN).collect()
        who = f"made by {other}" if other else _WHO[origin]
        out().print(f"\n{plural(count, 'edit')}: {difference}, {printable(who)}")
        rows = same.to_dicts()
        for line, row in zip(lines_of_edits(rows), rows, strict=True):
            since = f"  version {row['version']}, now {row['latest']}" if row["version"] and row["latest"] else ""
            out().print(f"  {line}{since}")
        _more(count)


_WHO: Final = {
    "run": "made by the run itself",
    "later writer": "made by a later writer",
    "unknown": "by an unknown writer (a call of the run is unresolved, or a version cannot be read)",
}


def _show_kept(done: Verification) -> None:
    kept = done.kept()
    head = kept.head(_SHOWN).collect().to_dicts()
    if not head:
        return
    out().print("\nOlder versions that still contain what was replaced or removed")
    for line, row in zip(lines_of_edits(head), head, strict=True):
        numbers = ", ".join(map(str, row["versions"]))
        out().print(f"  {line}  {noun(len(row['versions']), 'version')} {numbers}")
    _more(kept.select("row").collect(engine="streaming").height)
    out().print(
        "HealthImaging cannot purge single versions. To get rid of them, copy the image set (CopyImageSet copies the "
        "latest version only), check the copy, and delete the original (DeleteImageSet). The copy has a new id; the "
        "copy of a primary image set needs promoteToPrimary."
    )


def _more(count: int) -> None:
    if count > _SHOWN:
        out().print(f"  … and {count - _SHOWN:,} more like these.")
