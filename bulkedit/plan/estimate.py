"""What a plan will take: calls, time at a quota, and the price of the calls."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from bulkedit.pacing import DOCUMENTED, Operation, Rate

if TYPE_CHECKING:
    from bulkedit.plan.make import Plan

DOLLARS_PER_CALL: Final = 0.005 / 1000  # the pricing page's example for us-east-1


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Counts, and what follows from them."""

    edits: int
    image_sets: int
    calls: int
    saved_by_merging: int  # calls, against one for each row and image set
    longest_lane: int  # calls that can only run one after another
    seconds: float  # at `rate`; waiting for unlocks comes on top where one lane is most of the plan
    rate_per_second: float
    api_dollars: float  # of the updates themselves

    def as_json(self) -> dict[str, Any]:
        """Fields as they stand in the manifest."""
        return asdict(self)


def estimate(plan: Plan, rate: Rate = DOCUMENTED[Operation.UPDATE]) -> Estimate:
    """Count a plan; time is (calls - burst) / rate, below which no run can be."""
    calls = plan.calls.height
    longest = plan.calls.group_by("lane").agg(pl.len()).select(pl.col("len").max()).item()
    return Estimate(
        edits=plan.edits.height,
        image_sets=plan.calls.get_column("image_set_id").n_unique(),
        calls=calls,
        saved_by_merging=plan.edits.select("row", "image_set_id").n_unique() - calls,
        longest_lane=longest or 0,
        seconds=seconds_at(calls, rate),
        rate_per_second=rate.per_second,
        api_dollars=calls * DOLLARS_PER_CALL,
    )


def seconds_at(calls: int, rate: Rate) -> float:
    """The least time that a number of calls takes at a quota."""
    return max(0.0, calls - rate.burst) / rate.per_second
