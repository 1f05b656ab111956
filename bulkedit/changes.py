"""What a run has done to each image set, from its plan and its ledger alone.

One *change* is one edit that the run has applied to one image set, with the version that its call built on and the
version that it became. Whoever looks back on a run (`bulkedit.readback`, `bulkedit.reversal`) begins here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import polars as pl

from bulkedit.ledger import STANDINGS, Ledger
from bulkedit.outcome import Standing
from bulkedit.planner import Recipe
from bulkedit.recipe import promotions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.runs import Run

# One row a change, in the order of lanes and calls. Holds values: never log it.
CHANGES: Final = pl.Schema(
    {
        "edit": pl.UInt32(),  # number of the edit in the plan
        "row": pl.UInt32(),
        "edit_id": pl.String(),
        "image_set_id": pl.String(),
        "lead": pl.String(),  # the image set that the call names; another one where the call was study-wide
        "study_wide": pl.Boolean(),
        "call": pl.UInt32(),  # of the plan
        "settled_by": pl.UInt32(),  # that call, or the part of it that carried the edit
        "standing": pl.String(),  # applied, or skipped where there was nothing to remove
        "base": pl.UInt32(),  # of the lead: version before
        "version": pl.UInt32(),  # of the lead: version after; null where nothing was sent
        "at": pl.Float64(),  # epoch seconds when it was settled
        "action": pl.String(),
        "level": pl.String(),
        "series_uid": pl.String(),
        "instance_uid": pl.String(),
        "attribute": pl.String(),
        "value": pl.String(),
        "vr": pl.String(),
        "revert_to": pl.UInt32(),
    }
)
_DONE: Final = [str(Standing.APPLIED), str(Standing.SKIPPED)]
_SETTLED: Final = [str(standing) for standing in Standing if standing.settled]
_OPEN: Final = [str(Standing.INTENDED), str(Standing.IN_DOUBT), str(Standing.ACCEPTED)]
_BATCH: Final = 2_048  # calls


class Changes:
    """The changes of one run as its ledger tells them now. Blocks while it reads."""

    def __init__(self, run: Run) -> None:
        self._plan = run.plan
        standings, parts = _ledger_of(run)
        recipes = _recipes_of(run, standings)
        self.promoted: dict[str, str] = dict(recipes.select("promoted", "original").drop_nulls().iter_rows())
        self.events = 0 if standings.is_empty() else int(standings.get_column("attempts").sum())
        self._standings = standings
        self._parts = parts
        self._done = standings.filter(pl.col("standing").is_in(_DONE)).select(
            pl.col("call").alias("settled_by"), "standing", "base", "version", "at"
        )
        if recipes.height:  # what is in a copy is a change of nobody's before the copy is promoted
            waiting = recipes.filter(pl.col("promoted").is_null()).select("settled_by")
            self._done = self._done.join(waiting, on="settled_by", how="anti")
        self._recipes = recipes.select("settled_by", "promoted", made_as="version")

    def of(self, edits: pl.LazyFrame, calls: pl.LazyFrame) -> pl.LazyFrame:
        """The changes (`CHANGES`) among edits (`PLANNED_EDITS`) of calls (`bulkedit.planner.CALLS`)."""
        named = calls.select("call", "study_wide", lead="image_set_id")
        return (
            self._numbered(edits)
            .drop("study_wide", "version")  # of the row; the ledger knows the versions that were
            .join(named, on="call", how="left", maintain_order="left")
            .join(self._done.lazy(), on="settled_by", how="inner", maintain_order="left")
            .join(self._recipes.lazy(), on="settled_by", how="left", maintain_order="left")
            .with_columns(
                image_set_id=pl.coalesce("promoted", "image_set_id"),
                lead=pl.coalesce("promoted", "lead"),
                base=pl.coalesce("made_as", "base"),
                version=pl.coalesce("made_as", "version"),
            )
            .select(CHANGES.names())
            .cast(CHANGES)
        )

    def all(self) -> pl.LazyFrame:
        """Every change of the run."""
        return self.of(self._plan.edits(), self._plan.calls())

    def image_sets(self) -> list[str]:
        """The image sets that the run has changed, in the order of the plan."""
        found = self.all().select(pl.col("image_set_id").unique(maintain_order=True)).collect()
        return found.get_column("image_set_id").to_list()

    def undecided(self) -> pl.DataFrame:
        """Edits of calls whose fate is open, as a request may still be carried out: image_set_id, row."""
        open_ = self._standings.filter(pl.col("standing").is_in(_OPEN)).select(settled_by="call")
        edits = self._numbered(self._plan.edits().select("edit", "call", "image_set_id", "row"))
        found = edits.join(open_.lazy(), on="settled_by", how="semi").select("image_set_id", "row")
        return found.unique(maintain_order=True).collect()

    def unprocessed(self) -> int:
        """Edits that have no outcome yet: a later resume of the run may still apply them."""
        settled = self._standings.filter(pl.col("standing").is_in(_SETTLED)).select(settled_by="call")
        waiting = self._recipes.filter(pl.col("promoted").is_null()).select("settled_by")
        settled = settled.join(waiting, on="settled_by", how="anti")
        edits = self._numbered(self._plan.edits().select("edit", "call"))
        return int(edits.join(settled.lazy(), on="settled_by", how="anti").select(pl.len()).collect().item())

    def _numbered(self, edits: pl.LazyFrame) -> pl.LazyFrame:
        """Adds settled_by: the call, or the part of it, that carries each edit."""
        if not self._parts.height:
            return edits.with_columns(settled_by="call")
        return (
            edits.join(self._parts.lazy(), on="edit", how="left", maintain_order="left")
            .with_columns(settled_by=pl.coalesce("part", "call"))
            .drop("part")
        )

    def by_image_set(self, *, batch: int = _BATCH) -> Iterator[list[tuple[str, list[dict[str, Any]]]]]:
        """The changes of each image set in the order that the list asks for, lists of whole lanes at a time.

        That is `bulkedit.edit.in_order`, not the order of the calls: an image set is compared with what the list asks
        for, also if a plan has its calls in another order. Memory holds the changes of about ``batch`` calls.
        """
        for lanes in self._plan.lanes(batch=batch):
            if not lanes:
                continue
            within = pl.col("call").is_between(lanes[0].calls[0].call, lanes[-1].calls[-1].call)
            changes = self.of(self._plan.edits().filter(within), self._plan.calls().filter(within)).collect()
            parts = changes.sort("edit").partition_by("image_set_id", maintain_order=True)
            yield [(part.item(0, "image_set_id"), part.rows(named=True)) for part in parts]


def _recipes_of(run: Run, standings: pl.DataFrame) -> pl.DataFrame:
    """Calls whose edits went into a copy: settled_by UInt32, original String, promoted String and version UInt32.

    The last two are of the image set that the copy was promoted to, null where it was not.
    """
    schema = {"settled_by": pl.UInt32(), "original": pl.String(), "promoted": pl.String(), "version": pl.UInt32()}
    if not run.ledger.exists():
        return pl.DataFrame(schema=schema)
    with Ledger.read(run.ledger) as ledger:
        calls, made = promotions(run.plan.calls(), ledger.parts()), ledger.made()
    if not calls.height:
        return pl.DataFrame(schema=schema)
    new = {one.call: one.image_set_id for one in made if one.ours}
    ends = standings.filter(pl.col("standing") == str(Standing.APPLIED)).select(promote="call", version="version")
    found = ends.with_columns(promoted=pl.col("promote").replace_strict(new, default=None, return_dtype=pl.String))
    originals = run.plan.calls().filter(pl.col("recipe") == Recipe.PROMOTE)
    names = originals.select(promote="call", original="image_set_id").collect()
    joined = calls.join(names, on="promote").join(found, on="promote", how="left")
    return joined.rename({"call": "settled_by"}).select(list(schema)).cast(pl.Schema(schema))


def _ledger_of(run: Run) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Standings (`STANDINGS`), and the last part that carries each edit of a split call: edit, part UInt32."""
    schema = {"edit": pl.UInt32(), "part": pl.UInt32()}
    if not run.ledger.exists():
        return pl.DataFrame(schema=STANDINGS), pl.DataFrame(schema=schema)
    with Ledger.read(run.ledger) as ledger:
        # a part has a higher number than what it is part of
        last = {edit: part.call for part in ledger.parts() for edit in part.edits}
        return ledger.standings(), pl.DataFrame(list(last.items()), schema=schema, orient="row")
