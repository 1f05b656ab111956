"""After the run: what became of every edit, and the numbers. Reads plan and ledger, writes nothing of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import polars as pl

from bulkedit.ledger import STANDINGS, Ledger
from bulkedit.outcome import Outcome, Standing, outcome_of

if TYPE_CHECKING:
    from bulkedit.runs import Run

# One row an edit, in the order of the edit list; no value of an edit among them.
OUTCOMES: Final = pl.Schema(
    {
        "row": pl.UInt32(),
        "edit_id": pl.String(),
        "image_set_id": pl.String(),
        "action": pl.String(),
        "level": pl.String(),
        "series_uid": pl.String(),
        "instance_uid": pl.String(),
        "attribute": pl.String(),
        "call": pl.UInt32(),
        "outcome": pl.String(),
        "reason": pl.String(),  # error code or finding
        "message": pl.String(),  # the service's words, without values
        "base": pl.UInt32(),  # version before
        "version": pl.UInt32(),  # version after
        "attempts": pl.UInt32(),
        "conflicts": pl.UInt32(),
    }
)
_OUTCOME_OF: Final = {str(standing): str(outcome_of(standing)) for standing in Standing}


def standings(run: Run) -> pl.DataFrame:
    """Where the calls stand (`bulkedit.ledger.STANDINGS`); empty before the run has begun."""
    if not run.ledger.exists():
        return pl.DataFrame(schema=STANDINGS)
    with Ledger.read(run.ledger) as ledger:
        return ledger.standings()


def damage(run: Run) -> str | None:
    """What is wrong with the run's ledger, None where nothing is."""
    if not run.ledger.exists():
        return None
    with Ledger.read(run.ledger) as ledger:
        return ledger.damage


def outcomes(run: Run) -> pl.LazyFrame:
    """What became of every edit: columns `OUTCOMES`."""
    calls = standings(run).lazy().rename({"cause": "reason"})
    return (
        _edits_by_call(run)
        .drop("version")
        .join(calls, on="call", how="left", maintain_order="left")
        .with_columns(
            outcome=pl.col("standing").replace_strict(_OUTCOME_OF, default=str(Outcome.UNPROCESSED)),
            attempts=pl.col("attempts").fill_null(0),
            conflicts=pl.col("conflicts").fill_null(0),
        )
        .select(OUTCOMES.names())
        .cast(OUTCOMES)
    )


def _edits_by_call(run: Run) -> pl.LazyFrame:
    """The edits of the plan in the order of the list, each with the call, or part of a split call, that settles it."""
    edits = run.plan.edits()
    if parts := _last_parts(run):
        last = pl.LazyFrame(parts, schema={"edit": pl.UInt32(), "part": pl.UInt32()}, orient="row")
        edits = edits.join(last, on="edit", how="left").with_columns(call=pl.coalesce("part", "call")).drop("part")
    return edits.sort("edit")


def _last_parts(run: Run) -> list[tuple[int, int]]:
    """(edit, the smallest part that carries it) for the edits of split calls."""
    if not run.ledger.exists():
        return []
    with Ledger.read(run.ledger) as ledger:
        # a part has a higher number than what it is part of
        return list({edit: part.call for part in ledger.parts() for edit in part.edits}.items())


def summary(run: Run) -> dict[str, Any]:
    """The numbers of a run, as in the JSON line of type ``summary``; ``seconds`` from first to last event."""
    found = standings(run)
    edits = dict(outcomes(run).group_by("outcome").len().collect().iter_rows())
    return {
        "type": "summary",
        "run": str(run.folder),
        "edits": run.plan.counts["edits"],
        **{str(outcome): int(edits.get(str(outcome), 0)) for outcome in Outcome},
        "calls": run.plan.counts["calls"],
        "requests": int(found["attempts"].sum()),
        "throttled": int(found["throttles"].sum()),
        "faults": int(found["faults"].sum()),
        "conflicts": int(found["conflicts"].sum()),
        "seconds": round(_seconds(run), 3),
    }


def _seconds(run: Run) -> float:
    """From the first event of the run to the last."""
    if not run.ledger.exists():
        return 0.0
    with Ledger.read(run.ledger) as ledger:
        return ledger.span_s()
