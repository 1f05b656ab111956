"""`bulkedit verify`: read back what a run has changed."""

from __future__ import annotations

import signal
import time
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import anyio
import typer

from bulkedit._printable import printable
from bulkedit._progress import Phase, WorkProgress
from bulkedit._words import duration, noun, plural
from bulkedit.after.verify import Archived, VerifyOptions, parse_sample
from bulkedit.after.verify import verify as verify_run
from bulkedit.cli import _options as o
from bulkedit.cli._console import command, confirmed, err, interactive, json_line, lines_of_edits, out, print_rows
from bulkedit.cli._working import Latest, agreed_where, attended
from bulkedit.client.pacing import AUTO
from bulkedit.client.where import Where
from bulkedit.errors import EXIT_DIFFERENCE, EXIT_INTERRUPTED, EXIT_OK, EXIT_STOPPED, StoppedError
from bulkedit.runs import folder as runs

if TYPE_CHECKING:
    from bulkedit.after.verify import Seen, Verification
    from bulkedit.runs.folder import Run

_SHOWN: Final = 10  # rows of one kind

_READING = "Reading back"
Sample = Annotated[
    str | None,
    typer.Option(
        "--sample",
        metavar="N|P%",
        envvar="BULKEDIT_SAMPLE",
        help="Read so many of the image sets, or this share of them, chosen by lot; all where not given.",
        rich_help_panel=_READING,
        show_default=False,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        envvar="BULKEDIT_SEED",
        min=0,
        help="Of the lot; drawn and recorded where not given. The same seed draws the same image sets.",
        rich_help_panel=_READING,
        show_default=False,
    ),
]
HistoryOption = Annotated[
    bool,
    typer.Option(
        "--history",
        envvar="BULKEDIT_HISTORY",
        help="Also list the older versions that still have what was replaced or removed: editing does not purge them.",
        rich_help_panel=_READING,
    ),
]
IncludeValues = Annotated[
    bool,
    typer.Option(
        "--include-values",
        envvar="BULKEDIT_INCLUDE_VALUES",
        help="Write expected and found values into the files of the verification.",
        rich_help_panel=_READING,
    ),
]
SkipArchived = Annotated[
    bool,
    typer.Option(
        "--skip-archived",
        envvar="BULKEDIT_SKIP_ARCHIVED",
        help="Leave archived image sets out: reading would move them to the frequent tier for 30 days.",
        rich_help_panel=_READING,
    ),
]
YesArchived = Annotated[
    bool,
    typer.Option(
        "--yes",
        "-y",
        envvar="BULKEDIT_YES",
        help="Do not ask; read archived image sets too, which moves them to the frequent tier for 30 days.",
        rich_help_panel=_READING,
    ),
]
Anew = Annotated[
    bool,
    typer.Option(
        "--anew",
        envvar="BULKEDIT_ANEW",
        help="Begin anew, where otherwise a verification that was interrupted would be gone on with.",
        rich_help_panel=_READING,
    ),
]


def verify(
    run: o.RunFolder,
    sample: Sample = None,
    seed: Seed = None,
    history: HistoryOption = False,
    include_values: IncludeValues = False,
    skip_archived: SkipArchived = False,
    yes: YesArchived = False,
    anew: Anew = False,
    region: o.Region = None,
    profile: o.AwsProfile = None,
    endpoint_url: o.EndpointUrl = None,
    allow_http: o.AllowHttp = False,
    client_cert: o.ClientCert = None,
    client_key: o.ClientKey = None,
    read_rate: o.ReadRate = AUTO,
    workers: o.Workers = 32,
    as_json: o.AsJson = False,
) -> None:
    """Read back what a run has changed, hold every applied edit against the store, and name each difference.

    A difference is the run's own, or that of a later writer. Exit code 7 tells that there is one. Ctrl-C, and the
    same command goes on where it stopped.

    Example: bulkedit verify runs/20260102-030405-1a2b --sample 1% --history
    """
    found = runs.load(run)
    options = VerifyOptions(
        sample=parse_sample(sample) if sample else None,
        seed=seed,
        history=history,
        include_values=include_values,
        archived=Archived.READ if yes else Archived.SKIP if skip_archived else Archived.LEAVE,
        fresh=anew,
        read_rate=read_rate,
        workers=workers,
    )
    where = agreed_where(
        found,
        Where(
            region=region,
            profile=profile,
            endpoint_url=endpoint_url,
            allow_http=allow_http,
            client_cert=client_cert,
            client_key=client_key,
        ),
    )
    again = command("verify", *_words(run, sample, seed, history=history, include_values=include_values))
    began = time.monotonic()
    seen = _seen(found, options, where, again)
    if seen.archived and seen.verification is None and not seen.stopped and interactive() and _ask(seen):
        seen = _seen(found, replace(options, archived=Archived.READ, fresh=False), where, again)
    if seen.verification is None:
        if as_json:
            _json_so_far(found, seen, options, time.monotonic() - began)
        _left(seen, again)
        raise typer.Exit(EXIT_INTERRUPTED if seen.stopped else EXIT_STOPPED)
    _close(found, seen, seen.verification, time.monotonic() - began, as_json=as_json)
    raise typer.Exit(EXIT_DIFFERENCE if seen.counts.differences else EXIT_OK)


def _seen(run: Run, options: VerifyOptions, where: Where, again: str) -> Seen:
    """Read what is left to read, or until a signal."""
    try:
        return anyio.run(attended, partial(verify_run, run, options, where=where), _numbers, Latest(WorkProgress()))
    except StoppedError:
        err().print(f"Interrupted; nothing was read. To go on:  {again}")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _numbers(progress: WorkProgress) -> str:
    """Image sets read of all, differences, throttles."""
    if progress.phase is Phase.PREPARING:
        return "reading the run"
    differences = plural(progress.found, "difference")
    return f"{progress.done:,}/{progress.total:,} image sets · {differences} · {progress.throttled:,} throttled"


def _words(run: Any, sample: str | None, seed: int | None, **switches: bool) -> list[str]:  # noqa: ANN401
    words = [str(run)]
    if sample:
        words += ["--sample", sample]
    if seed is not None:
        words += ["--seed", str(seed)]
    return words + [f"--{name.replace('_', '-')}" for name, on in switches.items() if on]


def _ask(seen: Seen) -> bool:
    # polars has put a handler of its own before Python's, which would hold Ctrl-C back until Enter
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return confirmed(f"{_archived(seen)} Read them?")


def _archived(seen: Seen) -> str:
    count = len(seen.archived)
    what = f"{plural(count, 'image set is', 'image sets are')} archived"
    return f"{what}: reading moves {'it' if count == 1 else 'them'} to the frequent tier for 30 days."


def _left(seen: Seen, again: str) -> None:
    """Why a verification has not ended, and the command that goes on."""
    console = err()
    if seen.stopped:
        console.print(f"Interrupted; what was read is kept. To go on:  {again}")
        return
    if seen.archived:
        console.print(_archived(seen))
        console.print(f"To read them:          {again} --yes")
        console.print(f"To leave them out:     {again} --skip-archived")
    for reason, count in seen.unread.items():
        console.print(f"{plural(count, 'image set')} could not be read ({reason}).")
    if seen.unread:
        console.print(f"To try them again:     {again}")


def _close(run: Run, seen: Seen, done: Verification, seconds: float, *, as_json: bool) -> None:
    summary = done.summary
    if as_json:
        _json(done, {**summary, "requests": seen.requests, "throttled": seen.throttled, "faults": seen.faults}, seconds)
        return
    console = out()
    chosen = plural(summary["image_sets"], "image set")
    if summary["sample"]:
        chosen += f" of {summary['of_image_sets']:,} (a sample of {summary['sample']}, seed {summary['seed']})"
    superseded = f"{summary['superseded']:,} superseded by later edits of the run"
    console.print(f"Run {printable(run.id)} read back: {chosen}. {duration(seconds)}.")
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
            ("history", f"older versions still have what {plural(summary['kept'], 'edit')} replaced or removed")
        )
    print_rows(table)
    _show_differences(done)
    _show_kept(done)
    console.print(f"\nAll of it, as Parquet and CSV:  {printable(done.folder)}")


def _differences(summary: dict[str, Any]) -> str:
    if not summary["differences"]:
        return "none"
    parts = {
        "by later writers": summary["by_later_writers"],
        "of the run itself": summary["by_run"],
        "of unknown origin": summary["differences"] - summary["by_later_writers"] - summary["by_run"],
    }
    return f"{summary['differences']:,}: " + ", ".join(f"{count:,} {name}" for name, count in parts.items() if count)


def _json(done: Verification, summary: dict[str, Any], seconds: float) -> None:
    for kind, frame in (("difference", done.differences()), ("kept", done.kept())):
        for row in frame.collect(engine="streaming").iter_rows(named=True):
            json_line({"type": kind, **{name: row[name] for name in row if name not in {"expected", "found"}}})
    named = ("run", "image_sets", "of_image_sets", "sample", "seed", "archived", "matching", "superseded")
    counts = ("differences", "by_later_writers", "by_run", "kept", "requests", "throttled", "faults")
    line = {name: summary[name] for name in (*named, *counts)}
    ending = {"unread": 0, "complete": True, "seconds": round(seconds, 3)}
    json_line({"type": "verification", "verification": str(done.folder), **line, **ending})


def _json_so_far(run: Run, seen: Seen, options: VerifyOptions, seconds: float) -> None:
    """The closing line of a verification that has not read all: what was found so far."""
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
    """Differences of one kind and origin together."""
    found = done.differences().group_by("difference", "origin").len().sort("len", descending=True).collect()
    for difference, origin, count in found.iter_rows():
        same = done.differences().filter(difference=difference, origin=origin).head(_SHOWN).collect()
        out().print(f"\n{plural(count, 'edit')}: {difference}, {_WHO[origin]}")
        rows = same.to_dicts()
        for line, row in zip(lines_of_edits(rows), rows, strict=True):
            since = f"  version {row['version']}, now {row['latest']}" if row["version"] and row["latest"] else ""
            out().print(f"  {line}{since}")
        _more(count)


_WHO: Final = {
    "run": "made by the run itself",
    "later writer": "made by a later writer",
    "unknown": "it cannot be told by whom (a call of the run is open, or a version cannot be read)",
}


def _show_kept(done: Verification) -> None:
    kept = done.kept()
    head = kept.head(_SHOWN).collect().to_dicts()
    if not head:
        return
    out().print("\nOlder versions that still have what was replaced or removed")
    for line, row in zip(lines_of_edits(head), head, strict=True):
        numbers = ", ".join(map(str, row["versions"]))
        out().print(f"  {line}  {noun(len(row['versions']), 'version')} {numbers}")
    _more(kept.select("row").collect(engine="streaming").height)
    out().print(
        "HealthImaging has no call that purges a version. What rids you of them is a new image set: copy it "
        "(CopyImageSet takes the latest version only), look at the copy, delete the old one (DeleteImageSet). "
        "A primary image set gets a new id so, and needs a copy with promoteToPrimary."
    )


def _more(count: int) -> None:
    if count > _SHOWN:
        out().print(f"  … and {count - _SHOWN:,} more like these.")
