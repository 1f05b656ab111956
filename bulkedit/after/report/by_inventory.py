"""Edits by patient and study, as an inventory tells them apart; without their ids, which are metadata.

A patient or study is shown by a number in the order of the edit list, by rows and by image sets. Which patient an
image set has is that of the time of the inventory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.after.report.reasons import rows_and_image_sets
from bulkedit.client.responses import Outcome
from bulkedit.inventories import trimmed

if TYPE_CHECKING:
    from bulkedit.after.report.outcomes import CallOutcomes
    from bulkedit.inventories import Snapshot
    from bulkedit.runs.folder import Run

KINDS: Final = {"patient": "patient_id", "study": "study_instance_uid"}  # column of the inventory


@dataclass(frozen=True, slots=True)
class ByInventory:
    """The edits of a run by patient, or by study."""

    kind: str  # `patient` or `study`
    # one row per patient or study with edits that are not applied, the most such edits first: number (its place in the
    # order of the list), edits, image_sets, rows (how many), first_rows (list), first_image_sets (list), and a column
    # per `Outcome`
    groups: pl.DataFrame
    applied: int  # patients or studies with all edits applied
    partly: int  # with some
    not_applied: int  # with none
    unknown: int  # image sets whose patient or study the inventory does not tell

    @property
    def many(self) -> str:
        """The word for several."""
        return {"patient": "patients", "study": "studies"}[self.kind]

    @property
    def count(self) -> int:
        """How many patients or studies."""
        return self.applied + self.partly + self.not_applied

    def as_json(self) -> dict[str, object]:
        """The JSON line of type ``by-inventory``."""
        return {
            "type": "by-inventory",
            "by": self.kind,
            "count": self.count,
            "applied": self.applied,
            "partly_applied": self.partly,
            "not_applied": self.not_applied,
            "image_sets_unknown": self.unknown,
        }


def edits_by(run: Run, call_outcomes: CallOutcomes, snapshot: Snapshot, kind: str) -> ByInventory:
    """Count the edits of a run by patient or study. ``kind``: a key of `KINDS`. Raises UsageError."""
    groups_of = snapshot.scan().select("image_set_id", group=trimmed(KINDS[kind]))
    edits = run.plan.edits().select("edit", "row", "call", "image_set_id")
    completed = call_outcomes.of_edits(edits).select("edit", "row", "image_set_id", "outcome")
    known = completed.join(groups_of.unique("image_set_id"), on="image_set_id", how="left")
    found = (
        known.filter(pl.col("group").is_not_null())
        .sort("row", "edit")
        .group_by("group", maintain_order=True)
        .agg(
            edits=pl.len(),
            **rows_and_image_sets(),
            **{str(name): (pl.col("outcome") == str(name)).sum() for name in Outcome},
        )
        .drop("group")
        .with_row_index("number", 1)
    )
    unknown = known.filter(pl.col("group").is_null()).select(pl.col("image_set_id").n_unique())
    groups, nowhere = pl.collect_all([found, unknown])
    applied, whole = pl.col(str(Outcome.APPLIED)), pl.col("edits")
    return ByInventory(
        kind=kind,
        groups=groups.filter(applied < whole).sort(applied.cast(pl.Int64) - whole.cast(pl.Int64), maintain_order=True),
        applied=groups.filter(applied == whole).height,
        partly=groups.filter((applied > 0) & (applied < whole)).height,
        not_applied=groups.filter(applied == 0).height,
        unknown=int(nowhere.item()),
    )
