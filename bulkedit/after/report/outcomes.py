"""The outcome of every edit, from plan and ledger. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.client.responses import CallState, Outcome, outcome_of
from bulkedit.runs.copy_transitions import NOT_PROMOTED
from bulkedit.runs.history import PlanAndLedger
from bulkedit.runs.other_runs import OtherRuns

if TYPE_CHECKING:
    from bulkedit.runs.folder import Run

# one row per edit, in the order of the edit list; no values
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
        "reason": pl.String(),  # error code, or why the edit has this outcome
        "message": pl.String(),  # the service's message without values
        "version_before": pl.UInt32(),  # null for image sets that a study-wide call does not name
        "version_after": pl.UInt32(),  # null for them too
        "attempts": pl.UInt32(),
        "conflicts": pl.UInt32(),
        "request_id": pl.String(),  # AWS's id of the request that decided: the last one that was sent for the call
    }
)
# the reason that a lane writes if another writer was first (`bulkedit.runs.lane`)
_OTHER_WRITER: Final = r"^another writer made version (\d{1,9})$"
_OUTCOME_OF: Final = {str(state): str(outcome_of(state)) for state in CallState}


def outcomes(run: Run) -> pl.LazyFrame:
    """The outcome of every edit: columns `OUTCOMES`."""
    edits = run.plan.edits().sort("row", "edit").drop("version")
    return CallOutcomes.of(run).of_edits(edits).select(OUTCOMES.names()).cast(OUTCOMES)


@dataclass(frozen=True, slots=True)
class CallOutcomes:
    """The outcomes of a run's calls: read once, then joined with edits of the plan."""

    # one row per call that was begun: call, outcome, reason, message, version_before, version_after, attempts,
    # throttles, faults, conflicts, request_id; begun and at (Float64, epoch seconds of its first and last event);
    # made_image_set_id (String, for edits of a copy: the promoted image set, else the copy)
    calls: pl.DataFrame
    leads: pl.DataFrame  # one row per study-wide call of the plan: call, lead (String, the image set that it names)
    run: PlanAndLedger

    @classmethod
    def of(cls, run: Run) -> CallOutcomes:
        """Read the ledger. Raises LedgerError."""
        folded = PlanAndLedger.of(run, times=True)
        calls = folded.calls.select(
            "call",
            outcome=_outcome("edits_state"),
            own=_outcome("state"),
            reason="reason",
            message="message",
            version_before="expected_version",
            version_after=pl.when(pl.col("state") == str(CallState.APPLIED)).then("version"),
            attempts="attempts",
            throttles="throttles",
            faults="faults",
            conflicts="conflicts",
            at="at",
            made_image_set_id=pl.lit(None, pl.String),
        )
        calls = _with_other_runs(calls, run, folded)
        for more in (folded.begun, folded.last_requests):
            calls = calls.join(more, on="call", how="left", maintain_order="left")
        if folded.in_copies.height:
            calls = _by_promotion(calls, folded.in_copies)
        leads = run.plan.calls().filter("study_wide").select("call", lead="image_set_id").collect()
        return cls(calls.drop("own"), leads, folded)

    def of_edits(self, edits: pl.LazyFrame) -> pl.LazyFrame:
        """Join edits of the plan with their outcomes, in the same order; ``call`` becomes the part that carries each.

        ``edits``: at least edit, call and image_set_id. The versions of a study-wide call are known only for the image
        set that it names.
        """
        leads = self.leads.lazy()
        edits = edits.join(leads, on="call", how="left", maintain_order="left") if self.leads.height else edits
        edits = self.run.carried(edits).with_columns(call="completed_by").drop("completed_by")
        completed = edits.join(self.calls.lazy(), on="call", how="left", maintain_order="left").with_columns(
            pl.col("outcome").fill_null(str(Outcome.UNPROCESSED)), pl.col("attempts", "conflicts").fill_null(0)
        )
        if not self.leads.height:
            return completed
        own = pl.col("lead").is_null() | (pl.col("lead") == pl.col("image_set_id"))
        return completed.with_columns(pl.when(own).then(pl.col("version_before", "version_after"))).drop("lead")


def _outcome(state: str) -> pl.Expr:
    outcome = pl.col(state).replace_strict(_OUTCOME_OF, default=None, return_dtype=pl.String)
    return outcome.fill_null(str(Outcome.UNPROCESSED))


def _with_other_runs(calls: pl.DataFrame, run: Run, folded: PlanAndLedger) -> pl.DataFrame:
    """Name in the reason of a conflict the run that was first, if it is proven that another run of the user was."""
    version = pl.col("reason").str.extract(_OTHER_WRITER).cast(pl.UInt32).alias("theirs")
    conflicts = calls.select("call", version).drop_nulls()
    if conflicts.is_empty():
        return calls
    named = run.plan.calls().select("call", "image_set_id").collect()
    if folded.carriers.height:
        parts = folded.carriers.join(run.plan.edits().select("edit", "call").collect(), on="edit")
        parts = parts.select("part", "call").unique().join(named, on="call")
        named = pl.concat([named, parts.select("image_set_id", call="part").select(named.columns)])
    conflicts = conflicts.join(named, on="call", how="inner", maintain_order="left")
    others = OtherRuns(run, conflicts.get_column("image_set_id"))
    texts = [
        (call, f"{maker} made version {theirs}")
        for call, theirs, image_set_id in conflicts.iter_rows()
        if (maker := others.maker(image_set_id, theirs)) is not None
    ]
    proven = pl.DataFrame(texts, {"call": pl.UInt32, "proven": pl.String}, orient="row")
    joined = calls.join(proven, on="call", how="left", maintain_order="left")
    return joined.with_columns(reason=pl.coalesce("proven", "reason")).drop("proven")


def _by_promotion(calls: pl.DataFrame, in_copies: pl.DataFrame) -> pl.DataFrame:
    """Add the promotion's reason to edits of a copy that is not promoted, and the copy or promoted image set."""
    ends = calls.select(promote="call", why="reason", their_message="message")
    joined = calls.join(in_copies, on="call", how="left", maintain_order="left")
    joined = joined.join(ends, on="promote", how="left", maintain_order="left")
    short = (pl.col("own") == str(Outcome.APPLIED)) & (pl.col("outcome") != str(Outcome.APPLIED))
    return joined.with_columns(
        reason=pl.when(short).then(pl.coalesce("why", pl.lit(NOT_PROMOTED))).otherwise("reason"),
        message=pl.when(short).then("their_message").otherwise("message"),
        made_image_set_id=pl.coalesce("promoted_id", "copy_id"),
    ).select(calls.columns)
