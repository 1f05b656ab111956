"""`bulkedit deid --check`: what still identifies patients after a run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import anyio
import polars as pl
import typer

from bulkedit._files import new_id
from bulkedit._printable import printable
from bulkedit._words import duration, plural
from bulkedit.audits import Kind
from bulkedit.audits import run as leakcheck
from bulkedit.cli._console import command, err, json_line, out, print_rows
from bulkedit.cli._working import agreed_connection, worked
from bulkedit.client.connect import Connection, connect
from bulkedit.client.reader import read_paces
from bulkedit.client.where import Where
from bulkedit.errors import EXIT_DIFFERENCE, EXIT_INTERRUPTED, EXIT_OK, EXIT_STOPPED
from bulkedit.runs import folder as runs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bulkedit.audits.run import Result, Seen
    from bulkedit.client.pacing import Auto, Operation, Rate
    from bulkedit.deids import Profile
    from bulkedit.runs.folder import Run

_SHOWN: Final = 10  # lines of one kind
# what an option of a profile keeps on purpose
_KEPT: Final = {
    "retain-uids": Kind.UID,
    "retain-full-dates": Kind.DATE,
    "retain-device-identity": Kind.DEVICE,
    "retain-institution-identity": Kind.INSTITUTION,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a check was asked for."""

    run: Path
    profile: Profile | None  # that was applied; None: nothing was to stay
    read_rate: str  # of GetImageSet
    where: Where
    archived: bool

    @property
    def kept(self) -> frozenset[Kind]:
        """The kinds that the profile keeps on purpose."""
        options = self.profile.options if self.profile else ()
        return frozenset(kind for option, kind in _KEPT.items() if option in options)


def check(asked: Asked, *, as_json: bool) -> None:
    """Check a run, say what was found, and exit: 0 where nothing was."""
    run = runs.load(asked.run)
    began = time.monotonic()
    work = _Checking(run, asked, agreed_connection(run, asked.where), read_paces(asked.read_rate))
    anyio.run(worked, work.read, work.numbers)
    if not work.done or work.seen is None:
        err().print("Interrupted. Nothing is written; the same command begins anew.")
        raise typer.Exit(EXIT_INTERRUPTED)
    seen = work.seen
    result = leakcheck.finish(run, seen, new_id(datetime.now(UTC)), asked.kept)
    if as_json:
        for row in result.findings.iter_rows(named=True):
            json_line({"type": "leak", **row})
        summary = {name: value for name, value in result.summary.items() if name != "files"}
        seconds = round(time.monotonic() - began, 3)
        counts = {"requests": seen.requests, "throttled": seen.throttled, "seconds": seconds}
        json_line({"type": "check", "check": str(result.folder), **summary, **counts})
    else:
        _show(run, result, time.monotonic() - began)
    _left(seen, asked)
    raise typer.Exit(_exit_code(result, seen))


def _exit_code(result: Result, seen: Seen) -> int:
    summary = result.summary
    if any(summary[name] for name in ("findings", "undone", "set_aside", "uids_parted", "uids_joined")):
        return EXIT_DIFFERENCE
    return EXIT_STOPPED if seen.archived or seen.unread else EXIT_OK


@dataclass(slots=True)
class _Checking:
    """One run of the command."""

    found: Run
    asked: Asked
    connection: Connection
    rates: Mapping[Operation, Rate | Auto]
    seen: Seen | None = None
    done: bool = False

    async def read(self) -> None:
        """Read all that is to be read."""
        async with connect(self.connection) as client:
            self.seen = await leakcheck.check(
                self.found,
                client,
                rates=self.rates,
                kept=self.asked.kept,
                archived=self.asked.archived,
                watch=self._note,
            )
        self.done = True

    def _note(self, seen: Seen) -> None:
        self.seen = seen

    def numbers(self) -> str:
        """Image sets read of all, findings, throttles."""
        if self.seen is None:
            return "reading the run"
        findings = plural(self.seen.check.by_kind.total(), "finding")
        return f"{self.seen.read:,}/{self.seen.total:,} image sets · {findings} · {self.seen.throttled:,} throttled"


# -- what is said -----------------------------------------------------------------------------------------------------


def _show(run: Run, result: Result, seconds: float) -> None:
    summary, console = result.summary, out()
    console.print(
        f"Run {run.id} checked: {plural(summary['image_sets'], 'image set')} held against what they were before it. "
        f"{duration(seconds)}."
    )
    print_rows(_table(summary))
    _show_findings(result.findings)
    _show_undone(result.undone)
    for risk, count in summary["risks"].items():
        console.print(f"Look at the images of {plural(count, 'image set')}: {risk}.")
    console.print(f"\nAll of it, as Parquet and CSV:  {printable(result.folder)}")
    console.print("texts.csv there holds health data, for a person to read. Pixels are not looked at.")


def _table(summary: dict[str, Any]) -> list[tuple[str, str]]:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary["by_kind"].items())
    found = f"{summary['findings']:,} in {plural(summary['with_findings'], 'image set')}: {kinds}"
    table = [("findings", found if summary["findings"] else "none")]
    if summary["kept"]:
        table.append(("not asked", f"{', '.join(summary['kept'])}: the profile keeps them"))
    if "uid" not in summary["kept"]:
        apart = summary["uids_parted"] + summary["uids_joined"]
        end = f"{apart:,} of them no longer meet" if apart else "closed over the run"
        table.append(("references", f"{summary['uids']:,} UIDs, {end}"))
    if summary["undone"]:
        table.append(("not done", f"{plural(summary['undone'], 'image set')} with edits that were not applied"))
    if summary["set_aside"]:
        table.append(("set aside", f"{plural(summary['set_aside'], 'row')} of the list that the plan has no edit for"))
    older = f"{plural(summary['older_versions'], 'older version')}, which keep what was removed: editing purges nothing"
    table.append(("history", older))
    texts = f"{plural(summary['texts'], 'distinct text')} as before, for a person to read"
    more = f"; {summary['texts_untold']:,} more left out" if summary["texts_untold"] else ""
    return [*table, ("free text", texts + more)]


def _show_findings(findings: pl.DataFrame) -> None:
    """Findings of one kind at one place together; paths hold keywords and no value."""
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


def _left(seen: Seen, asked: Asked) -> None:
    """What was not read, and what to type."""
    if seen.archived:
        count = len(seen.archived)
        which = "image set is archived and was" if count == 1 else "image sets are archived and were"
        err().print(f"{count:,} {which} not read: reading moves to the frequent tier for 30 days.")
        err().print(f"To read them too:  {command('deid', '--check', asked.run, '--yes')}")
    for reason, count in seen.unread.items():
        err().print(f"{plural(count, 'image set')} could not be read ({reason}).")
