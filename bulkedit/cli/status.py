"""`bulkedit status`."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from rich.text import Text

from bulkedit._log import utc
from bulkedit._printable import printable
from bulkedit._words import about, duration, plural
from bulkedit.cli._console import (
    err,
    fitted,
    json_line,
    out,
    print_rows,
    redrawn,
    redraws,
    rows,
)
from bulkedit.cli._run_texts import edits_bar, locked_texts, rate_of, waiting_for
from bulkedit.runs import folder as runs
from bulkedit.runs.ledger import LedgerState
from bulkedit.runs.state import REASONS, RunState
from bulkedit.runs.status import RunStatus
from bulkedit.runs.summary import by_outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    import typer

    from bulkedit.cli._parameters import StatusCommand
    from bulkedit.runs.folder import Run
    from bulkedit.runs.sign_of_life import SignOfLife
    from bulkedit.runs.waiting import Waiting


def status(options: StatusCommand, _: typer.Context) -> None:
    """Run `bulkedit status`."""
    found = runs.load(options.run, whole=False)
    now = RunStatus.of(found, time.time())
    warn_of_ledger(LedgerState(now.summary["ledger"]), now.numbers.detail)
    if options.watch:
        _watch(found, options.every, as_json=options.as_json)
        return
    if options.as_json:
        json_line(now.as_json())
        return
    out().print(_head(found))
    print_rows(_rows(now))
    _print_next(now)


def _head(run: Run) -> str:
    store, begun = printable(run.plan.datastore_id), utc(run.begun_at)
    return f"Run {printable(run.folder)} on data store {store}, made {begun}"


def _rows(status: RunStatus) -> list[tuple[str, str]]:
    numbers = status.summary
    found = [
        ("state", _state(status)),
        ("edits", ", ".join(f"{count:,} {outcome}" for outcome, count in by_outcome(numbers).items())),
        ("calls", ", ".join(f"{count:,} {state}" for state, count in status.numbers.states().items())),
    ]
    if (sign := status.fresh) is not None:
        found += [
            ("rate", rate_of(sign.per_second, sign.quota_per_second, searching=sign.searching)),
            *_time_left(status, sign),
            *(("waiting", _waiting(one)) for one in sign.waiting),
            ("in flight", _in_flight(sign.image_sets_in_flight)),
        ]
    else:
        found += [("locked", printable(text)) for text in locked_texts(status.numbers.locked)]
    return [
        *found,
        ("throttled", f"{numbers['throttled']:,} of {plural(numbers['requests'], 'update request')}"),
        *_time(status),
    ]


def _time_left(status: RunStatus, sign: SignOfLife) -> list[tuple[str, str]]:
    if not status.summary["unprocessed"] or (sign.seconds_left is None and sign.waiting):
        return []
    return [("time left", "not known yet" if sign.seconds_left is None else about(sign.seconds_left))]


def _waiting(waiting: Waiting) -> str:
    text = waiting_for(waiting).removeprefix("waiting ")
    return f"{text}: {_some(waiting.image_sets, waiting.count)}" if waiting.image_sets else text


def _in_flight(image_sets: Sequence[str]) -> str:
    count = plural(len(image_sets), "image set")
    return f"{count}: {_some(image_sets, len(image_sets))}" if image_sets else count


def _some(image_sets: Sequence[str], count: int) -> str:
    """Some ids, and how many more there are."""
    more = f" and {count - _NAMED:,} more" if count > _NAMED else ""
    return f"{', '.join(map(printable, image_sets[:_NAMED]))}{more}"


def _state(status: RunStatus) -> str:
    """The state in words, with the process that works on the run, or how the last one has ended."""
    found = status.condition
    process = (
        found.process
        and f"process {found.process.pid} of {printable(found.process.user)} on {printable(found.process.host)}"
    )
    since = "" if found.since is None else f" since {utc(found.since)}"
    sign = "" if status.sign is None else f"; last sign of life {duration(max(0.0, status.now - status.sign.at))} ago"
    match found.state:
        case RunState.RUNNING:
            return f"running: {process or 'a process'}{since}{sign}"
        case RunState.STOPPED:
            code = "" if found.exit_code is None else f" (exit code {found.exit_code})"
            return f"stopped{since}: {REASONS.get(found.reason or '', found.reason)}{code}"
        case RunState.CRASHED:
            return f"crashed{since}, when the last sign of life came: {process} is dead"
        case RunState.UNKNOWN if process:
            return f"unknown: {process} has not written its end, which cannot be checked from here{sign}"
        case RunState.UNKNOWN:
            return "unknown: the ledger does not tell"
        case _:
            return f"{found.state}{since}"


def _time(status: RunStatus) -> list[tuple[str, str]]:
    """The time since the first process has started, and the part of it in which a process worked."""
    elapsed, working = status.elapsed_s, status.working_s
    if elapsed is None or working is None:
        return []
    worked = "" if elapsed - working < 1 else f", {duration(working)} of it at work"
    return [("time", f"{duration(elapsed)}{worked}")]


def _print_next(status: RunStatus) -> None:
    for place, words in enumerate(status.next_commands):
        purpose = _AGAIN if words.endswith("--strategy failed") else _NEXT[words.split()[1]]
        out().print(f"{'' if place else chr(10)}{purpose}  {words}")


def _watch(run: Run, every_s: float, *, as_json: bool) -> None:
    """Show the progress of a run until it is completed, no process works on it, or Ctrl-C.

    Redraws on a terminal. Elsewhere, and with ``as_json``, prints a line each time.
    """
    console = out()
    again = redraws(console) and not as_json
    with redrawn(console, transient=False) if again else contextlib.nullcontext() as live:
        try:
            while True:
                begun = time.monotonic()
                now = RunStatus.of(run, time.time())
                if as_json:
                    json_line(now.as_json())
                elif live is not None:
                    live.update(_picture(now, console.width), refresh=True)
                else:
                    console.print(" · ".join(f"{name} {text}" for name, text in _rows(now)))
                if now.condition.state not in _WATCHED:
                    break
                # reading the status of a large run takes time and disk bandwidth that the run needs
                time.sleep(max(every_s, 4 * (time.monotonic() - begun)))
        except KeyboardInterrupt:
            return
    if not as_json:
        _print_next(now)


def _picture(status: RunStatus, width: int) -> Text:
    edits = f"{status.done:,}/{status.summary['edits']:,} edits"
    bar = edits_bar(status.percent, edits, width)
    return Text("\n").join([Text(fitted(_head(status.run), width)), bar, rows(_rows(status), width)])


_NAMED: Final = 5  # image sets
_WATCHED: Final = {RunState.RUNNING, RunState.UNKNOWN}
_NEXT: Final = {"resume": "To continue:", "report": "To see what was not applied:"}
_AGAIN: Final = "To send calls again, failed or conflicted:"  # the run is done


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
