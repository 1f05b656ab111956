"""`bulkedit clean`, and the removal of drafts at the start of every other command."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bulkedit._files import Holder, drafts_under, remove_leftover, remove_leftovers
from bulkedit._printable import printable
from bulkedit._words import plural
from bulkedit.cli._console import err, json_line, out
from bulkedit.errors import UsageError

if TYPE_CHECKING:
    import typer

    from bulkedit.cli._parameters import CleanCommand

DEFAULT_PLACES: Final = (Path(), Path("plans"), Path("runs"))  # where commands write by default
_WHY_LEFT: Final = {
    Holder.OTHER: "a running process uses it",
    Holder.UNKNOWN: "it may be in use: it belongs to another user, or the file system has no locks",
}


def clean(options: CleanCommand, _: typer.Context) -> None:
    """Run `bulkedit clean`."""
    folder, dry_run, as_json = options.folder, options.dry_run, options.as_json
    if not folder.is_dir():
        raise UsageError("folder not found.", where=str(folder), hint="Name the folder to search.")
    done = "would be removed" if dry_run else "removed"
    counts: Counter[str] = Counter()
    for draft in drafts_under(folder):
        holder = remove_leftover(draft, dry_run=dry_run)
        outcome = done if holder is Holder.NO_PROCESS else "left"
        counts[outcome] += 1
        if as_json:
            json_line({"type": "draft", "draft": str(draft), "outcome": outcome, "in_use_by": str(holder)})
        else:
            why = f" ({_WHY_LEFT[holder]})" if outcome == "left" else ""
            out().print(f"{outcome.capitalize()}: {printable(draft)}{why}")
    if as_json:
        numbers = {"removed": counts[done], "left": counts["left"]}
        json_line({"type": "clean", "folder": str(folder), **numbers, "dry_run": dry_run})
    elif not counts:
        out().print(f"No drafts in {folder.absolute()}.")


def remove_leftovers_here() -> None:
    """Remove unused drafts from the present folder and the default folders in it, and print their names."""
    removed = [draft for place in DEFAULT_PLACES for draft in remove_leftovers(place)]
    if removed:
        names = ", ".join(map(printable, removed))
        err().print(f"Removed {plural(len(removed), 'draft')} that a killed command had left: {names}")
