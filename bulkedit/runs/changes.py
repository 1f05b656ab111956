"""The changes of a run to each image set, from its plan and its ledger; for `verify`, `revert` and `audit`.

A *change* is an edit that the run has applied to an image set, with the versions before and after its call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import polars as pl

from bulkedit.client.responses import CallState
from bulkedit.edits.edit import EditFields
from bulkedit.plans import CopyStep
from bulkedit.runs.history import COMPLETED, PlanAndLedger

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from bulkedit.plans import Lane
    from bulkedit.runs.folder import Run

# one row per change, in the order of lanes and calls; contains values: never log it
CHANGES: Final = pl.Schema(
    {
        "edit": pl.UInt32(),  # number of the edit in the plan
        "row": pl.UInt32(),
        "edit_id": pl.String(),
        "image_set_id": pl.String(),
        "lead": pl.String(),  # the image set that the call names; can be another one if the call was study-wide
        "study_wide": pl.Boolean(),
        "call": pl.UInt32(),  # of the plan
        "lane": pl.UInt32(),
        "same_as": pl.UInt32(),  # the edit that the study-wide call sent for this one, else null
        "asked_version": pl.UInt32(),  # named by the row, null if it names none
        "completed_by": pl.UInt32(),  # the call, or the part of it that carried the edit
        "state": pl.String(),  # applied, or skipped if there was nothing to remove
        "expected_version": pl.UInt32(),  # of the lead: version before
        "version": pl.UInt32(),  # of the lead: version after; null if nothing was sent or no version is claimed
        "at": pl.Float64(),  # epoch seconds of completion
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


class ChangeRow(EditFields):
    """A row of `CHANGES`. Contains values: never log it."""

    edit: int
    row: int
    edit_id: str | None
    image_set_id: str
    lead: str
    study_wide: bool
    call: int
    lane: int
    same_as: int | None
    asked_version: int | None
    completed_by: int
    state: str
    expected_version: int | None
    version: int | None
    at: float


# one row per study-wide call that was applied or whose outcome is unknown
STUDY_WIDE: Final = pl.Schema(
    {
        "call": pl.UInt32(),  # of the plan
        "lane": pl.UInt32(),
        "completed_by": pl.UInt32(),  # that call, or the part of it
        "lead": pl.String(),
        "expected_version": pl.UInt32(),
        "version": pl.UInt32(),  # of the lead; null if none is claimed, or if open
        "open": pl.Boolean(),  # outcome unknown
    }
)
_DONE: Final = [str(CallState.APPLIED), str(CallState.SKIPPED)]
_OPEN: Final = [str(CallState.INTENDED), str(CallState.OUTCOME_UNKNOWN), str(CallState.ACCEPTED)]
_BATCH: Final = 2_048  # calls


class Changes:
    """The changes of one run by its present ledger. Blocks while it reads."""

    def __init__(self, run: Run) -> None:
        self._plan = run.plan
        self._run = PlanAndLedger.of(run, whole=True)
        states = self._run.calls
        self.events = int(states.get_column("attempts").sum())
        done = pl.col("state").is_in(_DONE) & pl.col("edits_state").is_in(_DONE)
        self._done = states.filter(done).select("state", "expected_version", "version", "at", completed_by="call")
        ends = states.filter(pl.col("state") == str(CallState.APPLIED)).select(promote="call", made_as="version")
        promoted = self._run.in_copies.join(ends, on="promote")
        promoted = promoted.rename({"call": "completed_by", "promoted_id": "promoted"})
        self._promoted = promoted.select("completed_by", "promoted", "made_as")
        self.promoted = self._originals(promoted)
        self._study_wide: pl.DataFrame | None = None

    def _originals(self, promoted: pl.DataFrame) -> dict[str, str]:
        """Promoted image sets and their originals."""
        if promoted.is_empty():
            return {}
        steps = (
            self._plan.calls().filter(pl.col("copy_step") == CopyStep.PROMOTE).select("image_set_id", promote="call")
        )
        named = promoted.join(steps.collect(), on="promote")
        return dict(named.select("promoted", "image_set_id").drop_nulls().iter_rows())

    def of(self, edits: pl.LazyFrame, calls: pl.LazyFrame) -> pl.LazyFrame:
        """The changes (`CHANGES`) among edits (`PLANNED_EDITS`) of calls (`bulkedit.plans.CALLS`)."""
        named = calls.select("call", "lane", "study_wide", lead="image_set_id")
        return (
            self._run.carried(edits)
            .drop("study_wide")  # of the row
            .rename({"version": "asked_version"})  # `version` is that of the ledger
            .join(named, on="call", how="left", maintain_order="left")
            .join(self._done.lazy(), on="completed_by", how="inner", maintain_order="left")
            .join(self._promoted.lazy(), on="completed_by", how="left", maintain_order="left")
            .with_columns(
                image_set_id=pl.coalesce("promoted", "image_set_id"),
                lead=pl.coalesce("promoted", "lead"),
                expected_version=pl.coalesce("made_as", "expected_version"),
                version=pl.coalesce("made_as", "version"),
            )
            .select(CHANGES.names())
            .cast(CHANGES)
        )

    def all(self) -> pl.LazyFrame:
        """Every change of the run."""
        return self.of(self._plan.edits(), self._plan.calls())

    def image_sets(self) -> list[str]:
        """The image sets of the plan that the run has changed, in the order of the plan.

        If a study-wide call was applied, these include all image sets that the plan names for its study.
        """
        found = [self.all().select("image_set_id")]
        if (wide := self.study_wide().filter(~pl.col("open"))).height:
            lanes = wide.lazy().select("lane").unique()
            laned = self._plan.calls().select("call", "lane", "study_wide", "image_set_id")
            laned = laned.join(lanes, on="lane", how="semi")
            named = self._plan.edits().join(laned, on="call", how="semi").select("image_set_id")
            found += [named, laned.filter("study_wide").select("image_set_id")]
        unique = pl.concat(found).select(pl.col("image_set_id").unique(maintain_order=True))
        return unique.collect().get_column("image_set_id").to_list()

    def study_wide(self) -> pl.DataFrame:
        """Study-wide calls that were applied or whose outcome is unknown: columns `STUDY_WIDE`."""
        if self._study_wide is None:
            self._study_wide = self._read_study_wide()
        return self._study_wide

    def _read_study_wide(self) -> pl.DataFrame:
        calls = self._plan.calls().filter("study_wide").select("call", "lane", lead="image_set_id").collect()
        if not calls.height:
            return pl.DataFrame(schema=STUDY_WIDE)
        edits = self._plan.edits().select("edit", "call").filter(pl.col("call").is_in(calls["call"].implode()))
        carried = self._run.carried(edits).select("call", "completed_by").unique().collect().sort("completed_by")
        there = self._run.calls.filter(pl.col("state").is_in([str(CallState.APPLIED), *_OPEN]))
        there = there.select(
            "expected_version", "version", completed_by="call", open=pl.col("state") != str(CallState.APPLIED)
        )
        there = there.with_columns(version=pl.when(~pl.col("open")).then("version"))
        found = carried.join(calls, on="call").join(there, on="completed_by", maintain_order="left")
        return found.select(STUDY_WIDE.names()).cast(STUDY_WIDE)

    def of_calls(self, calls: pl.DataFrame) -> list[ChangeRow]:
        """The changes of some study-wide calls (`STUDY_WIDE`), in the order of the edit list. Blocks."""
        numbers = calls.get_column("call").unique().implode()
        within = pl.col("call").is_in(numbers)
        found = self.of(self._plan.edits().filter(within), self._plan.calls().filter(within)).collect()
        return _rows(found.join(calls, on="completed_by", how="semi").sort("edit"))

    def of_image_sets(self, image_sets: Collection[str]) -> dict[str, list[ChangeRow]]:
        """The changes by rows that name these image sets, in the order of the edit list. Blocks."""
        found: dict[str, list[ChangeRow]] = {one: [] for one in image_sets}
        if image_sets:
            edits = self._plan.edits().filter(pl.col("image_set_id").is_in(list(image_sets)))
            for row in _rows(self.of(edits, self._plan.calls()).collect().sort("edit")):
                if row["image_set_id"] in found:  # it is not if the change is in a promoted image set
                    found[row["image_set_id"]].append(row)
        return found

    def undecided(self) -> pl.DataFrame:
        """Edits of calls with an unknown outcome: columns image_set_id and row."""
        open_ = self._run.calls.filter(pl.col("state").is_in(_OPEN)).select(completed_by="call")
        edits = self._run.carried(self._plan.edits().select("edit", "call", "image_set_id", "row"))
        found = edits.join(open_.lazy(), on="completed_by", how="semi").select("image_set_id", "row")
        return found.unique(maintain_order=True).collect()

    def unprocessed(self) -> int:
        """Number of edits without an outcome: a resume may still apply them."""
        completed = self._run.calls.filter(pl.col("edits_state").is_in(COMPLETED)).select(completed_by="call")
        edits = self._run.carried(self._plan.edits().select("edit", "call"))
        return int(edits.join(completed.lazy(), on="completed_by", how="anti").select(pl.len()).collect().item())

    def by_image_set(self, *, batch: int = _BATCH) -> Iterator[list[tuple[str, list[ChangeRow]]]]:
        """The changes of each image set, in the order of the edit list (`bulkedit.edits.edit.in_order`).

        Each list has whole lanes of about ``batch`` calls, which are in memory at once. The order of the calls can be
        another: an image set is compared with what the edit list asks for. A study-wide call has changed every image
        set of its lane, even if the rows of that image set do not ask for it (`in_study`).
        """
        for lanes in self._plan.lanes(batch=batch):
            if not lanes:
                continue
            within = pl.col("call").is_between(lanes[0].calls[0].call, lanes[-1].calls[-1].call)
            edits = self._plan.edits().filter(within)
            changes = self.of(edits, self._plan.calls().filter(within)).collect()
            parts = changes.sort("edit").partition_by("image_set_id", maintain_order=True)
            found = {part.item(0, "image_set_id"): _rows(part) for part in parts}
            if changes.get_column("study_wide").any():
                self._share(found, changes, lanes, edits.select("call", "image_set_id").collect())
            yield list(found.items())

    @staticmethod
    def _share(
        found: dict[str, list[ChangeRow]], changes: pl.DataFrame, lanes: list[Lane], edits: pl.DataFrame
    ) -> None:
        """Add the changes of study-wide calls to every image set of their lanes. ``found``: changes by image set."""
        wide: dict[int, list[ChangeRow]] = {}
        for change in _rows(changes.filter("study_wide").sort("edit")):
            wide.setdefault(change["lane"], []).append(change)
        lane_of = {call.call: lane.number for lane in lanes for call in lane.calls}
        leads = [(call.call, call.image_set_id) for lane in lanes for call in lane.calls if call.study_wide]
        members = dict.fromkeys((lane_of[call], one) for call, one in (*edits.iter_rows(), *leads))
        asked = {lane: once(same) for lane, same in wide.items()}
        for lane, image_set_id in members:
            if lane in asked:
                found[image_set_id] = in_study(image_set_id, found.get(image_set_id, []), asked[lane])


def _rows(changes: pl.DataFrame) -> list[ChangeRow]:
    return cast("list[ChangeRow]", changes.rows(named=True))


def once(wide: Iterable[ChangeRow]) -> list[ChangeRow]:
    """The last change of each attribute by each study-wide call. ``wide``: rows of `CHANGES`, by edit."""
    return list({_asked(change): change for change in wide}.values())


def in_study(image_set_id: str, own: Iterable[ChangeRow], wide: Iterable[ChangeRow]) -> list[ChangeRow]:
    """The changes of one image set of a study: by its own rows, and by study-wide calls for other rows.

    ``own``, ``wide``: rows of `CHANGES`. Returns them in the order of the edit list. Rows that name a version of this
    image set come first; a version that a row of another image set names does not count (`bulkedit.plans.study_wide`).
    """
    own = list(own)
    said = {(*_asked(change), _sent_as(change)) for change in own if change["study_wide"]}
    placed = [((change["asked_version"] is None, change["edit"]), change) for change in own]
    placed += [
        ((True, _sent_as(change)), cast("ChangeRow", {**change, "image_set_id": image_set_id}))
        for change in wide
        if (*_asked(change), _sent_as(change)) not in said
    ]
    return [change for _, change in sorted(placed, key=lambda pair: pair[0])]


def _asked(change: ChangeRow) -> tuple[int, str | None, str | None]:
    return change["completed_by"], change["level"], change["attribute"]


def _sent_as(change: ChangeRow) -> int:
    """The edit that the call sent for this change."""
    return change["edit"] if change["same_as"] is None else change["same_as"]
