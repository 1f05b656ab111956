"""Estimates the calls, the least time and the cost of a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.client.pacing import DOCUMENTED, Operation, Rate
from bulkedit.client.responses import ARCHIVED
from bulkedit.inventories import patients
from bulkedit.options.listing import RAISED
from bulkedit.plans.batches import by_image_set
from bulkedit.plans.calls import CopyStep
from bulkedit.plans.counts import DOLLARS_PER_GB_MOVED, Estimate

if TYPE_CHECKING:
    from bulkedit.plans.build import Plan
    from bulkedit.plans.counts import PlanCounts

# pricing page, us-east-1
DOLLARS_PER_CALL: Final = 0.005 / 1000
_DOLLARS_PER_GB_MONTH: Final = 0.105  # Frequent Access
_BILLED_GB: Final = 0.005  # per image set, at least
_POLLS_PER_CALL: Final = 1.5  # GetImageSet per update: the highest average


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """The current update quota of the account, and a raised one to compare with."""

    current: Rate = DOCUMENTED[Operation.UPDATE]
    raised: Rate = RAISED


def estimate(
    plan: Plan,
    quotas: Quotas | None = None,
    *,
    inventory: pl.DataFrame | None = None,
    known: pl.DataFrame | None = None,
) -> Estimate:
    """Estimate a plan.

    The time is (updates - burst) / rate, in seconds: the least that a run can take. Copies and deletions have quotas of
    their own and run at the same time.

    ``inventory``: `bulkedit.inventories.INVENTORY`, each image set once, or None if unknown;
    ``known``: studies of the image sets (`bulkedit.plans.KNOWN`), None if unknown.
    """
    quotas = quotas or Quotas()
    calls = plan.calls.height
    steps = dict(plan.calls.group_by("copy_step").len().iter_rows())
    via_copy = steps.get(CopyStep.COPY, 0)
    copies, originals = via_copy + steps.get(CopyStep.PROMOTE, 0), steps.get(CopyStep.DELETE_ORIGINAL, 0)
    deletions = steps.get(CopyStep.DELETE_COPY, 0) + originals
    updates = calls - copies - deletions
    beside = max(seconds_at(copies, DOCUMENTED[Operation.COPY]), seconds_at(deletions, DOCUMENTED[Operation.DELETE]))
    longest = plan.calls.group_by("lane").agg(pl.len()).select(pl.col("len").max()).item()
    alone, sent = _calls_one_by_one(plan.edits)
    study_wide = _saved_by_study_wide(plan)
    touched = _touched(plan)
    found = _found(touched, inventory)
    archived, unknown = _tiers(touched, found)
    return Estimate(
        edits=plan.edits.height,
        image_sets=touched.len(),
        studies=_studies(touched, known),
        patients=None if found is None or found.height < touched.len() else patients(found),
        calls=calls,
        saved_by_merging=sent - updates - study_wide,
        saved_by_study_wide=study_wide,
        saved_by_superseding=alone - sent,
        longest_lane=longest or 0,
        seconds=max(beside, seconds_at(updates, quotas.current)),
        rate_per_second=quotas.current.per_second,
        raised_seconds=max(beside, seconds_at(updates, quotas.raised)),
        raised_rate_per_second=quotas.raised.per_second,
        api_dollars=calls * DOLLARS_PER_CALL,
        archived_image_sets=archived,
        unknown_tier_image_sets=unknown,
        tier_dollars_at_least=None if archived is None else archived * _BILLED_GB * DOLLARS_PER_GB_MOVED,
        via_copy=via_copy,
        copies=copies,
        deletions=deletions,
        originals_deleted=originals,
        rows_in_several_calls=rows_in_several_calls(plan).height,
        copy_dollars_at_least=copies * _BILLED_GB * _DOLLARS_PER_GB_MONTH,
    )


def rows_in_several_calls(plan: Plan) -> pl.DataFrame:
    """Return the rows whose edits of one image set are in several calls, so that they can end partly applied: row."""
    lanes = plan.calls.select("call", "lane").filter(pl.col("lane").is_duplicated())
    if not lanes.height:
        return plan.edits.clear().select("row")
    row = ["row", "image_set_id"]
    parts = plan.edits.join(lanes, on="call", how="semi").select(*row, "call").unique()
    return parts.filter(pl.struct(row).is_duplicated()).select("row").unique()


def seconds_at(calls: int, rate: Rate) -> float:
    """Return the least time, in seconds, for a number of calls at a quota."""
    return max(0.0, calls - rate.burst) / rate.per_second


def quota_request(counts: PlanCounts, datastore_id: str) -> str:
    """Return a paragraph for a quota request to AWS Support. ``counts``: from a plan's manifest."""
    now, then = Rate(counts["rate_per_second"]), Rate(counts["raised_rate_per_second"])
    polls, allowed = then.per_second * _POLLS_PER_CALL, DOCUMENTED[Operation.GET].per_second
    reads = (
        f"and of GetImageSet from {allowed:g} to {polls:g} " if polls > allowed else ""
    )  # the engine polls after each update until the image set is unlocked
    return (
        f"Please raise the throttling limit of AWS HealthImaging UpdateImageSetMetadata from {now.per_second:g} to "
        f"{then.per_second:g} transactions per second {reads}for this account and Region. We are about to edit the "
        f"metadata of {counts['image_sets']:,} image sets in data store {datastore_id}. Merged as far as the API "
        f"allows, that takes {counts['calls']:,} UpdateImageSetMetadata calls: at least {_hours(counts['seconds'])} at "
        f"{now.per_second:g} per second, {_hours(counts['raised_seconds'])} at {then.per_second:g} per second. The "
        "client sends no faster than the limit, backs off with jitter when it is throttled, and stays within the quota "
        "of 100 concurrent updates per data store."
    )


def _hours(seconds: float) -> str:
    if seconds < 2 * 60:
        return f"{seconds:.0f} seconds"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 2 * 86_400 else f"{seconds / 86_400:.1f} days"


def _touched(plan: Plan) -> pl.Series:
    """Return the image sets that are edited, once each."""
    # a study-wide call edits more image sets than it names
    frame = plan.edits if plan.calls.get_column("study_wide").any() else plan.calls
    return frame.get_column("image_set_id").unique()


def _calls_one_by_one(edits: pl.DataFrame) -> tuple[int, int]:
    """Count the calls if each row and image set had its own, and those of them with an edit that is sent."""
    # a covered edit is sent by the edit that covers it
    sent = pl.col("sent") | pl.col("same_as").is_not_null()
    if edits.get_column("row").n_unique() == edits.height:  # a row is one edit of one image set
        return edits.height, int(edits.select(sent.sum()).item())
    made = sent.any().alias("made")
    counts = [
        batch.group_by("row", "image_set_id", "study_wide").agg(made).select(pl.len(), pl.col("made").sum()).row(0)
        for batch in by_image_set(edits.select("row", "image_set_id", "study_wide", "sent", "same_as"))
    ]
    return sum(alone for alone, _ in counts), sum(sent for _, sent in counts)


def _saved_by_study_wide(plan: Plan) -> int:
    shared = plan.edits.lazy().filter("study_wide").group_by("call").agg(pl.col("image_set_id").n_unique())
    return int(shared.select((pl.col("image_set_id") - 1).sum()).collect().item())


def _studies(touched: pl.Series, known: pl.DataFrame | None) -> int | None:
    """Count the studies of the image sets; None if the study of any of them is unknown."""
    if known is None:
        return None
    found = known.filter(pl.col("study").is_not_null() & pl.col("image_set_id").is_in(touched.implode()))
    found = found.unique("image_set_id")
    return found.get_column("study").n_unique() if found.height == touched.len() else None


def _found(touched: pl.Series, inventory: pl.DataFrame | None) -> pl.DataFrame | None:
    """Return the image sets that are in the inventory; None if there is none."""
    if inventory is None or not inventory.height:
        return None
    return inventory.filter(pl.col("image_set_id").is_in(touched.implode()))


def _tiers(touched: pl.Series, found: pl.DataFrame | None) -> tuple[int | None, int]:
    """Count the archived image sets (None if no tier is known), and those of unknown tier."""
    known = pl.DataFrame() if found is None else found.filter(pl.col("storage_tier").is_not_null())
    if not known.height:
        return None, touched.len()
    return known.filter(pl.col("storage_tier") == ARCHIVED).height, touched.len() - known.height
