"""What a resume does: which calls it completes, sends for the first time, sends again, or leaves out.

With every strategy, calls with an unknown outcome come first, and an applied call is never sent again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.client.responses import CallState
from bulkedit.edits.edit import Action
from bulkedit.options.running import Strategy
from bulkedit.runs import ledger_frames
from bulkedit.runs.ledger import Event
from bulkedit.runs.parts import carriers

if TYPE_CHECKING:
    from bulkedit.plans import SavedPlan
    from bulkedit.runs.ledger import Ledger, Part


UNKNOWN_REASON: Final = "outcome unknown"  # start of the reason of calls whose outcome cannot be found out
AGAIN: Final = (CallState.FAILED, CallState.CONFLICTED, CallState.REJECTED)
_OUTCOME_UNKNOWN: Final = (CallState.INTENDED, CallState.OUTCOME_UNKNOWN, CallState.ACCEPTED)
_PLACE: Final = ["image_set_id", "level", "series_uid", "instance_uid", "attribute"]
_REACHES: Final = {  # an action that changes all places with equal values in these columns
    str(Action.REVERT): ["image_set_id"],
    str(Action.REMOVE_SERIES): ["image_set_id", "series_uid"],
    str(Action.REMOVE_INSTANCE): ["image_set_id", "series_uid", "instance_uid"],
}
_RENAMES: Final = {  # a new UID changes all places inside, as a removal does
    "SeriesInstanceUID": (str(Action.REMOVE_SERIES), "series_uid"),
    "SOPInstanceUID": (str(Action.REMOVE_INSTANCE), "instance_uid"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """What a resume does, as numbers of calls; parts of split calls count as calls."""

    strategy: Strategy
    outcome_unknown: int  # polled first
    again: tuple[int, ...]  # calls that are sent again
    new: int  # neither completed nor with an unknown outcome; sent unless the strategy is `failed`
    overtaken: int  # not sent again, because a later edit of the same place was applied
    completed: int  # not sent, including overtaken ones

    @property
    def sends_new(self) -> bool:
        """Whether calls that were never completed are sent."""
        return self.strategy is not Strategy.FAILED

    def events(self, ledger: Ledger, epoch: float) -> list[Event]:
        """Events that plan the calls again that are sent again; their counters continue."""
        reason = f"resumed with --strategy {self.strategy}"
        counters = ("attempts", "throttles", "faults", "conflicts")
        return [
            Event(
                at=epoch,
                call=row["call"],
                state=CallState.PLANNED,
                reason=reason,
                **{name: row[name] for name in counters},
            )
            for row in ledger.rows_of(self.again)
        ]


def resumption(plan: SavedPlan, ledger: Ledger, strategy: Strategy) -> Resumption:
    """What a resume will do. Reads the ledger and perhaps the plan, so it blocks."""
    states, parts = ledger_frames.last_states(ledger), ledger.parts()
    split = {part.parent for part in parts}
    state = pl.col("state")
    outcome_unknown = states.filter(state.is_in(list(map(str, _OUTCOME_UNKNOWN)))).height
    done = states.filter(state.is_in([str(s) for s in CallState if s.completed]))
    total = plan.counts["calls"] + len(parts) - len(split)
    wanted = [] if strategy is Strategy.NEW else done.filter(state.is_in(list(map(str, AGAIN))))["call"].to_list()
    unknown = {row["call"] for row in ledger.rows_of(wanted) if (row["reason"] or "").startswith(UNKNOWN_REASON)}
    wanted = [call for call in wanted if call not in unknown]
    # a call with an unknown outcome counts as made
    made = states.filter(state.is_in([str(CallState.APPLIED), *map(str, _OUTCOME_UNKNOWN)])).select("call")
    overtaken = _overtaken(plan, made, parts, wanted) if wanted else set()
    again = tuple(call for call in wanted if call not in overtaken)
    return Resumption(
        strategy=strategy,
        outcome_unknown=outcome_unknown,
        again=again,
        new=total - outcome_unknown - done.height,
        overtaken=len(overtaken),
        completed=done.height - len(again),
    )


def _overtaken(plan: SavedPlan, applied: pl.DataFrame, parts: list[Part], wanted: list[int]) -> set[int]:
    """Calls that would undo a later edit of the same place.

    A revert changes every place of its image set, a removal those of the removed instance or series. A new UID of an
    instance or series changes the places under its old and under its new UID. A study-wide call changes its places in
    all image sets of its lane.
    """
    new_uid = pl.when(pl.col("attribute").is_in(list(_RENAMES))).then(pl.col("value").str.strip_chars('"'))
    edits = plan.edits().select("edit", "call", "action", *_PLACE, new_uid=new_uid).collect()
    last = carriers(parts)
    edits = edits.with_columns(
        order=pl.col("edit"),  # `bulkedit.edits.edit.in_order`
        root=pl.col("call"),  # of the plan
        call=pl.col("edit").replace_strict(last, default=None, return_dtype=pl.UInt32).fill_null(pl.col("call")),
        reach=pl.col("action").cast(pl.String),
    )
    edits = _in_whole_studies(plan, edits)
    failed = edits.filter(pl.col("call").is_in(wanted))
    made = edits.join(applied, on="call", how="semi").join(failed, on="image_set_id", how="semi")
    failed, made = _with_renames(failed), _with_renames(made)
    found = [_earlier(failed, made, _PLACE, nulls_equal=True)]
    for reach, place in _REACHES.items():
        whole = pl.col("reach") == reach
        found += [_earlier(failed, made.filter(whole), place), _earlier(failed.filter(whole), made, place)]
    return set(pl.concat(found).to_list())


def _in_whole_studies(plan: SavedPlan, edits: pl.DataFrame) -> pl.DataFrame:
    """Repeat the edits of study-wide calls for each image set of their lane."""
    calls = plan.calls().select("lane", "image_set_id", "study_wide", root="call").collect()
    wide = calls.filter("study_wide").select("root", "lane")
    if wide.is_empty():
        return edits
    siblings = calls.select("lane", "image_set_id").unique(maintain_order=True)
    reached = wide.join(siblings, on="lane", maintain_order="left").select("root", reached="image_set_id")
    return (
        edits.join(reached, on="root", how="left", maintain_order="left")
        .with_columns(image_set_id=pl.coalesce("reached", "image_set_id"))
        .unique(maintain_order=True)
    )


def _with_renames(edits: pl.DataFrame) -> pl.DataFrame:
    """Add two edits for each change of a UID: for all places under the old UID, and under the new one."""
    frames = [edits]
    for attribute, (reach, uid) in _RENAMES.items():
        renaming = (pl.col("attribute") == attribute) & (pl.col("action") == str(Action.SET))
        old = edits.filter(renaming).with_columns(reach=pl.lit(reach))
        frames += [old, old.with_columns(pl.col("new_uid").alias(uid))]
    return pl.concat(frames)


def _earlier(failed: pl.DataFrame, made: pl.DataFrame, place: list[str], *, nulls_equal: bool = False) -> pl.Series:
    """Numbers of calls in ``failed`` with an edit before one in ``made`` that is equal in the columns ``place``."""
    latest = made.group_by(place).agg(latest=pl.col("order").max())
    both = failed.join(latest, on=place, how="inner", nulls_equal=nulls_equal)
    return both.filter(pl.col("latest") > pl.col("order"))["call"]
