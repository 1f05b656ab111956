"""What to type after a run: only commands that would not be refused, and that would do something."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit._printable import shell_word
from bulkedit._words import plural
from bulkedit.client.responses import CallState, Outcome
from bulkedit.options.running import Strategy
from bulkedit.runs.ledger import Ledger
from bulkedit.runs.resume import resumption
from bulkedit.runs.state import RunState

if TYPE_CHECKING:
    from bulkedit.after.report.outcomes import CallOutcomes
    from bulkedit.runs.folder import Run
    from bulkedit.runs.status import RunStatus

_RESULTS: Final = "results"
_MAY_SUCCEED: Final = [str(CallState.FAILED), str(CallState.CONFLICTED)]


@dataclass(frozen=True, slots=True)
class NextStep:
    """A command, and what it is for."""

    purpose: str
    words: tuple[str | Path, ...]  # without `bulkedit`; a `Path` is the run's folder

    def command(self, run: str | Path) -> str:
        """The command line. ``run``: how the run's folder is named in it."""
        return " ".join(["bulkedit", *(shell_word(run if isinstance(word, Path) else word) for word in self.words)])


def next_steps(run: Run, call_outcomes: CallOutcomes, status: RunStatus) -> list[NextStep]:
    """What to type next. Reads the ledger and perhaps the plan, so it blocks."""
    state = status.condition.state
    if state is RunState.RUNNING:
        return [NextStep("To watch it", ("status", run.folder, "--watch"))]
    if (options := status.resume_options) is not None:
        return [NextStep("To continue", ("resume", run.folder, *options))]
    if state is not RunState.DONE:
        return []
    return [*_again(run, call_outcomes), *_afterwards(run, status)]


def _again(run: Run, call_outcomes: CallOutcomes) -> list[NextStep]:
    """For edits that were not applied: send them again, or plan their rows again."""
    calls = call_outcomes.calls.filter(
        pl.col("outcome").is_in([str(Outcome.REJECTED), str(Outcome.CONFLICTED), str(Outcome.FAILED)])
    )
    if calls.is_empty():
        return []
    again = _sent_again(run)
    steps: list[NextStep] = []
    if again:
        purpose = f"To send {plural(len(again), 'call')} again, failed or conflicted"
        steps.append(NextStep(purpose, ("resume", run.folder, "--strategy", "failed")))
    folder = _results()
    others = calls.filter(~pl.col("call").is_in(again))
    for outcomes, file in (((Outcome.REJECTED, Outcome.FAILED), "failed"), ((Outcome.CONFLICTED,), "conflicted")):
        if others.filter(pl.col("outcome").is_in(list(map(str, outcomes)))).height:
            if not any("--results" in step.words for step in steps):
                written = ("report", run.folder, "--results", folder, "--include-values")
                steps.append(NextStep("To get the rows as lists, with their values", written))
            plan = ("plan", f"{folder}/{file}.csv", "-d", run.plan.datastore_id)
            steps.append(NextStep("Then, corrected, to plan them again", plan))
    return steps


def _sent_again(run: Run) -> list[int]:
    """The calls that `resume --strategy failed` would send, and that may be applied this time."""
    with Ledger.read(run.ledger) as ledger:
        found = resumption(run.plan, ledger, Strategy.FAILED)
        rows = ledger.rows_of(found.again)
    conflicted = [row["call"] for row in rows if row["state"] == CallState.CONFLICTED]
    # a row that names a version conflicts again, and so may all calls after it
    calls = run.plan.calls().select("call", "lane", "version").filter(pl.col("call").is_in(conflicted)).collect()
    hopeless = calls.filter(pl.col("version").is_not_null().any().over("lane")).get_column("call").to_list()
    left_out = set(hopeless)
    return [row["call"] for row in rows if row["state"] in _MAY_SUCCEED and row["call"] not in left_out]


def _results() -> str:
    """A name for result files that does not exist yet in the working folder."""
    return next(name for name in (_RESULTS, *(f"{_RESULTS}-{i}" for i in range(2, 1000))) if not Path(name).exists())


def _afterwards(run: Run, status: RunStatus) -> list[NextStep]:
    """For a run that has changed something: compare it with the store, or undo it."""
    if not status.summary["applied"]:
        return []
    steps = [NextStep("To compare the edits with what is stored", ("verify", run.folder))]
    if not run.plan.counts.get("via_copy"):  # a promoted copy has no version from before the run
        steps.append(NextStep("To plan to undo them", ("revert", run.folder)))
    return steps
