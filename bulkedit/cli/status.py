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
    """Run `bulkedit status`."""
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
        out().print(f"\nTo continue:  {command('resume', found.folder)}")


class StatusLine(RunSummary):
    """The JSON line of type ``status``."""

    states: dict[str, int]  # calls


def _status(run: Run) -> StatusLine:
    """The JSON line of type ``status``."""
    numbers = RunNumbers(run)
    return {**numbers.as_json(), "type": "status", "states": numbers.states()}


def _status_head(run: Run) -> str:
    store, begun = printable(run.plan.datastore_id), printable(run.about["created"])
    return f"Run {printable(run.folder)} on data store {store}, started {begun}"


def _status_rows(line: StatusLine) -> list[tuple[str, str]]:
    return [
        ("edits", ", ".join(f"{count:,} {outcome}" for outcome, count in by_outcome(line).items())),
        ("calls", ", ".join(f"{count:,} {state}" for state, count in line["states"].items())),
        ("throttled", f"{line['throttled']:,} of {plural(line['requests'], 'update request')}"),
        ("time", duration(line["seconds"])),
    ]


def _watch(run: Run, every_s: float, *, as_json: bool) -> None:
    """Show the progress of a run until it is completed, no process works on it, or Ctrl-C.

    Redraws on a terminal. Elsewhere, and with ``as_json``, prints a line each time.
    """
    console = out()
    again = redraws(console) and not as_json
    with redrawn(console, transient=False) if again else contextlib.nullcontext() as live:
        try:
            while True:
                # checked before the status is read, so that the last results of the process are seen
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
                # reading the status of a large run takes time and disk bandwidth that the run needs
                time.sleep(max(every_s, 4 * (time.monotonic() - begun)))
        except KeyboardInterrupt:
            return
    if line["unprocessed"] and not as_json:
        console.print(f"\nNo process works on this run. To continue:  {command('resume', run.folder)}")


def warn_of_ledger(state: LedgerState, detail: str) -> None:
    """Warn if the ledger is incomplete, so that the numbers are too."""
    if text := _WARNINGS.get(state):
        err().print(f"warning: {text.format(printable(detail))}")


_WARNINGS: Final = {
    LedgerState.BEHIND: "the ledger lacks events that were written to it ({}); the numbers below are too old.",
    LedgerState.DAMAGED: "the ledger is damaged ({}); the numbers below are from its readable part.",
    LedgerState.MISSING: "the ledger of this run is missing, so it is not known which calls were sent.",
    LedgerState.UNANCHORED: "ledger.anchor is missing or unreadable; whether the ledger is complete is not known.",
    LedgerState.COPIED: "this folder is a copy; it lacks what the run has done in the original folder since.",
}
