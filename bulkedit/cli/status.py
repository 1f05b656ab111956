"""`bulkedit status`."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from rich.text import Text

from bulkedit._printable import printable
from bulkedit._words import duration, plural
from bulkedit.cli._console import (
    command,
    err,
    fitted,
    json_line,
    out,
    print_rows,
    redrawn,
    redraws,
    rows,
)
from bulkedit.runs import folder as runs
from bulkedit.runs.ledger import LedgerState, is_held
from bulkedit.runs.summary import RunNumbers, RunSummary, by_outcome, ledger_state

if TYPE_CHECKING:
    import typer

    from bulkedit.cli._parameters import StatusCommand
    from bulkedit.runs.folder import Run


def status(options: StatusCommand, _: typer.Context) -> None:
    """Carry `bulkedit status` out."""
    found = runs.load(options.run, whole=False)
    warn_of_ledger(*ledger_state(found))
    if options.watch:
        _watch(found, options.every, as_json=options.as_json)
        return
    line = _status(found)
    if options.as_json:
        json_line(line)
        return
    out().print(_status_head(found))
    print_rows(_status_rows(line))
    if line["unprocessed"]:
        out().print(f"\nTo go on:  {command('resume', found.folder)}")


class StatusLine(RunSummary):
    """The JSON line of type ``status``."""

    states: dict[str, int]  # calls


def _status(run: Run) -> StatusLine:
    """The JSON line of type ``status``."""
    numbers = RunNumbers(run)
    return {**numbers.as_json(), "type": "status", "states": numbers.states()}


def _status_head(run: Run) -> str:
    store, begun = printable(run.plan.datastore_id), printable(run.about["created"])
    return f"Run {printable(run.folder)} on data store {store}, begun {begun}"


def _status_rows(line: StatusLine) -> list[tuple[str, str]]:
    return [
        ("edits", ", ".join(f"{count:,} {outcome}" for outcome, count in by_outcome(line).items())),
        ("calls", ", ".join(f"{count:,} {state}" for state, count in line["states"].items())),
        ("throttled", f"{line['throttled']:,} of {plural(line['requests'], 'update request')}"),
        ("time", duration(line["seconds"])),
    ]


def _watch(run: Run, every_s: float, *, as_json: bool) -> None:
    """Show where a run stands until all of it is completed or nobody works on it any more; Ctrl-C ends the looking.

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


def warn_of_ledger(state: LedgerState, words: str) -> None:
    """Numbers of a ledger that is not whole are those of the part that is there."""
    if text := _WARNINGS.get(state):
        err().print(f"warning: {text.format(printable(words))}")


_WARNINGS: Final = {
    LedgerState.BEHIND: "the ledger lacks events that were written to it ({}); what follows is older than the run.",
    LedgerState.DAMAGED: "the ledger is damaged ({}); what follows is what can still be read of it.",
    LedgerState.MISSING: "the ledger of this run is missing; nothing tells which calls were sent.",
    LedgerState.UNANCHORED: "ledger.anchor is missing or cannot be read; nothing tells whether the ledger is whole.",
    LedgerState.COPIED: "this folder is a copy; what the run has done in the other place since is not in it.",
}
