"""`bulkedit runs` and `bulkedit runs prune`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import typer
from rich.table import Table

from bulkedit._printable import printable
from bulkedit._words import amount, duration, plural
from bulkedit.cli._console import confirmed, err, interactive, json_line, out, width_of
from bulkedit.cli.clean import DEFAULT_PLACES
from bulkedit.errors import EXIT_OK, UsageError
from bulkedit.runs import prune
from bulkedit.runs.state import RunState
from bulkedit.runs.stored import Stored, StoredKind, stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bulkedit.cli._parameters import RunsCommand, RunsPruneCommand

_ANY_WIDTH: Final = 10_000
_FOR_GOOD: Final = "They are deleted for good: what was sent can no longer be reported, verified or reverted."


def runs(options: RunsCommand, _: typer.Context) -> None:
    """Run `bulkedit runs`."""
    now = time.time()
    found = _stored(options.folders, now)
    if options.as_json:
        for one in found:
            json_line(one.as_json())
        json_line({"type": "runs", **_counts(found)})
        return
    if not found:
        out().print(f"No runs and no plans in {_places(options.folders)}.")
        return
    _print(_table(found, now))
    out().print(_sum(found))
    for one in found:
        if one.problem is not None:
            err().print(f"{printable(one.folder)} cannot be read: {one.problem}")


def runs_prune(options: RunsPruneCommand, _: typer.Context) -> None:
    """Run `bulkedit runs prune`."""
    now = time.time()
    old = now - prune.parse_age(options.older_than)
    found = _stored(options.folders, now)
    wanted, kept = prune.unneeded(found, RunState(options.state), old)
    if wanted and not options.as_json:
        _print(_table(wanted, now))
    if wanted and not options.dry_run:
        _confirm(wanted, yes=options.yes)
    deleted: list[Stored] = []
    for one in wanted:
        why = None if options.dry_run else prune.delete(one, deleted, now)
        if why is None:
            deleted.append(one)
        else:
            kept.append((one, why))
    _show_pruned(deleted, kept, options)


def _stored(folders: Sequence[Path] | None, now: float) -> list[Stored]:
    """The runs and plans below these folders; without any, those where commands write by default."""
    return stored(_required(folders) or DEFAULT_PLACES, now, below=bool(folders))


def _required(folders: Sequence[Path] | None) -> list[Path]:
    """The folders that the user names. Raises UsageError if one does not exist."""
    for folder in folders or ():
        if not folder.is_dir():
            raise UsageError("folder not found.", where=str(folder), hint="Name the folders to search.")
    return list(folders or ())


def _places(folders: Sequence[Path] | None) -> str:
    named = ", ".join(printable(folder) for folder in folders or ())
    return named or f"{DEFAULT_PLACES[0].absolute()}, and in its folders {' and '.join(map(str, DEFAULT_PLACES[1:]))}"


def _confirm(found: Sequence[Stored], *, yes: bool) -> None:
    """Ask before runs and plans are deleted. Raises UsageError if the user cannot be asked."""
    if yes:
        return
    if not interactive():
        raise UsageError(
            f"cannot ask for confirmation to delete {_named(found)}: not on a terminal.", hint="From a script: `yes`"
        )
    err().print(_FOR_GOOD)
    if not confirmed(f"Delete {_named(found)}?"):
        err().print("Nothing was deleted.")
        raise typer.Exit(EXIT_OK)


def _named(found: Iterable[Stored]) -> str:
    found = list(found)
    kinds = [plural(count, str(kind)) for kind in StoredKind if (count := sum(one.kind is kind for one in found))]
    return f"{' and '.join(kinds)} ({amount(sum(one.bytes for one in found))})"


def _counts(found: Iterable[Stored]) -> dict[str, object]:
    found = list(found)
    return {
        "runs": sum(one.kind is StoredKind.RUN for one in found),
        "plans": sum(one.kind is StoredKind.PLAN for one in found),
        "bytes": sum(one.bytes for one in found),
    }


def _sum(found: Sequence[Stored]) -> str:
    return f"\n{_named(found)}"


def _table(found: Iterable[Stored], now: float) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("folder", overflow="fold")
    for name in ("kind", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("edits", "done", "size", "age"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        table.add_row(
            printable(one.folder),
            str(one.kind),
            one.state,
            "" if one.edits is None else f"{one.edits:,}",
            "" if one.percent is None else f"{one.percent}%",
            amount(one.bytes),
            "" if one.used is None else duration(max(0.0, now - one.used)),
        )
    return table


def _print(table: Table) -> None:
    """Print a table; folders are not wrapped if it goes to a file or a pipe."""
    console = out()
    if width_of(console) is None:
        console.width = _ANY_WIDTH
    console.print(table, soft_wrap=False)


def _show_pruned(deleted: list[Stored], kept: list[tuple[Stored, str]], options: RunsPruneCommand) -> None:
    done = "would be deleted" if options.dry_run else "deleted"
    if options.as_json:
        for one, why in [*((one, None) for one in deleted), *kept]:
            json_line({**one.as_json(), "outcome": "kept" if why else done, "reason": why})
        json_line({"type": "prune", **_counts(deleted), "kept": len(kept), "dry_run": options.dry_run})
        return
    for one, why in kept:
        out().print(f"Kept: {printable(one.folder)} ({printable(why)})")
    if deleted:
        out().print(f"{done.capitalize()}: {_named(deleted)}")
    elif not kept:
        out().print(
            f"Nothing to delete in {_places(options.folders)}: no run with the state {options.state} and no plan "
            f"without a run is older than {options.older_than}."
        )
