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


def outcomes(run: Run) -> pl.LazyFrame:
    """What became of every edit: columns `OUTCOMES`."""
    calls = standings(run).lazy().rename({"cause": "reason"})
    return (
        run.plan.edits()
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


def summary(run: Run) -> dict[str, Any]:
    """The numbers of a run, as in the JSON line of type ``summary``; ``seconds`` from first to last event."""
    found = standings(run)
    plan = run.plan.calls().select("call", "edits").collect()
    settled = (
        plan.join(found, on="call", how="left")
        .with_columns(outcome=pl.col("standing").replace_strict(_OUTCOME_OF, default=str(Outcome.UNPROCESSED)))
        .group_by("outcome")
        .agg(pl.col("edits").sum())
    )
    edits = dict(settled.iter_rows())
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
