"""What became of every edit. Reads plan and ledger, writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.client.responses import Outcome, Standing, outcome_of
from bulkedit.runs import ledger_frames
from bulkedit.runs.copy_transitions import NOT_PROMOTED, promotions
from bulkedit.runs.ledger import Ledger, State
from bulkedit.runs.ledger_frames import BEGUN, STANDINGS
from bulkedit.runs.summary import absent

if TYPE_CHECKING:
    from bulkedit.runs.folder import Run

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
        "message": pl.String(),  # the service's message without values
        "base": pl.UInt32(),  # version before; null for the other image sets of a study-wide call, as is the next
        "version": pl.UInt32(),  # version after
        "attempts": pl.UInt32(),
        "conflicts": pl.UInt32(),
    }
)
_OUTCOME_OF: Final = {str(standing): str(outcome_of(standing)) for standing in Standing}
_MADE: Final = pl.Schema({"step": pl.UInt32(), "made": pl.String()})
_PARTS: Final = pl.Schema({"edit": pl.UInt32(), "part": pl.UInt32()})


def outcomes(run: Run) -> pl.LazyFrame:
    """What became of every edit: columns `OUTCOMES`."""
    edits = run.plan.edits().sort("row", "edit").drop("version")
    settled = Settlement.of(run).settle(edits).rename({"version_before": "base", "version_after": "version"})
    return settled.select(OUTCOMES.names()).cast(OUTCOMES)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of the calls of a run: read once, then joined to any of the plan's edits."""

    # a row for each call that was begun: call, outcome, reason, message, version_before, version_after, attempts,
    # throttles, faults, conflicts, begun Float64 and at Float64: epoch seconds of its first and its last event, and
    # made_image_set_id String: where its edits are by way of a copy, the promoted image set, or else the copy
    calls: pl.DataFrame
    parts: pl.DataFrame  # for edits of split calls: edit, and the smallest part that carries it
    leads: pl.DataFrame  # of study-wide calls of the plan: call, and lead String, the image set that the call names
    ledger: State = State.WHOLE  # what the ledger is worth; the rest is what can be read of it
    words: str = ""  # about that, if it is not whole

    @classmethod
    def of(cls, run: Run) -> Settlement:
        """Read the ledger. Raises LedgerError."""
        found, begun, parts = pl.DataFrame(schema=STANDINGS), pl.DataFrame(schema=BEGUN), pl.DataFrame(schema=_PARTS)
        promoted, made, state, words = pl.DataFrame(), pl.DataFrame(schema=_MADE), State.WHOLE, ""
        if run.ledger.exists():
            with Ledger.read(run.ledger) as ledger:
                state, words = ledger.state, ledger.words
                found = ledger_frames.standings(ledger)
                begun = ledger_frames.beginnings(ledger)
                # a part has a higher number than what it is part of
                split = ledger.parts()
                last = {edit: part.call for part in split for edit in part.edits}
                made = pl.DataFrame(
                    [(one.call, one.image_set_id) for one in ledger.made() if one.ours], _MADE, orient="row"
                )
            promoted = promotions(run.plan.calls(), split)
            parts = pl.DataFrame(list(last.items()), schema=_PARTS, orient="row")
        else:
            state = absent(run)
        calls = found.select(
            "call",
            pl.col("standing").replace_strict(_OUTCOME_OF, return_dtype=pl.String).alias("outcome"),
            pl.col("cause").alias("reason"),
            "message",
            pl.col("base").alias("version_before"),
            pl.when(pl.col("standing") == str(Standing.APPLIED)).then("version").alias("version_after"),
            "attempts",
            "throttles",
            "faults",
            "conflicts",
            "at",
            pl.lit(None, pl.String).alias("made_image_set_id"),
        )
        calls = calls.join(begun, on="call", how="left", maintain_order="left")
        if promoted.height:
            calls = _by_promotion(calls, promoted, made)
        leads = run.plan.calls().filter("study_wide").select("call", lead="image_set_id").collect()
        return cls(calls, parts, leads, state, words)

    def settle(self, edits: pl.LazyFrame) -> pl.LazyFrame:
        """Edits of the plan with what became of them; their order stays, ``call`` is the part that settles each.

        ``edits``: at least edit, call and image_set_id. The versions of a study-wide call are those of the image set
        that it names; of the others none is known.
        """
        leads = self.leads.lazy()
        edits = edits.join(leads, on="call", how="left", maintain_order="left") if self.leads.height else edits
        if self.parts.height:
            edits = (
                edits.join(self.parts.lazy(), on="edit", how="left", maintain_order="left")
                .with_columns(call=pl.coalesce("part", "call"))
                .drop("part")
            )
        settled = edits.join(self.calls.lazy(), on="call", how="left", maintain_order="left").with_columns(
            pl.col("outcome").fill_null(str(Outcome.UNPROCESSED)), pl.col("attempts", "conflicts").fill_null(0)
        )
        if not self.leads.height:
            return settled
        own = pl.col("lead").is_null() | (pl.col("lead") == pl.col("image_set_id"))
        return settled.with_columns(pl.when(own).then(pl.col("version_before", "version_after"))).drop("lead")


def _by_promotion(calls: pl.DataFrame, promoted: pl.DataFrame, made: pl.DataFrame) -> pl.DataFrame:
    """What was applied to a copy has the outcome of the copy's promotion, and none before that is settled."""
    ends = calls.select(promote="call", end="outcome", why="reason", words="message")
    last = made.unique("step", keep="last")
    joined = calls.join(promoted, on="call", how="left", maintain_order="left")
    for step, names in (("promote", "promoted_id"), ("copy", "copy_id")):
        joined = joined.join(last.rename({"step": step, "made": names}), on=step, how="left", maintain_order="left")
    joined = joined.join(ends, on="promote", how="left", maintain_order="left")
    in_copy = pl.col("promote").is_not_null() & (pl.col("outcome") == str(Outcome.APPLIED))
    end = pl.col("end").fill_null(str(Outcome.UNPROCESSED))
    short = in_copy & (end != str(Outcome.APPLIED))
    return joined.with_columns(
        outcome=pl.when(in_copy).then(end).otherwise("outcome"),
        reason=pl.when(short).then(pl.coalesce("why", pl.lit(NOT_PROMOTED))).otherwise("reason"),
        message=pl.when(short).then("words").otherwise("message"),
        made_image_set_id=pl.coalesce("promoted_id", "copy_id"),
    ).select(calls.columns)
