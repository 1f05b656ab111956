"""What a resume does: which calls it settles, sends for the first time, sends again, or leaves alone.

Under every strategy the calls in doubt come first, and a call that was applied is never sent again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.edit import Action
from bulkedit.ledger import Event
from bulkedit.outcome import Standing

if TYPE_CHECKING:
    from bulkedit.ledger import Ledger, Part
    from bulkedit.planner import SavedPlan


class Strategy(StrEnum):
    """Which calls a resume takes up, beside those in doubt."""

    NEW = "new"  # those never settled. Safe: no edit that has an outcome is touched
    FAILED = "failed"  # those that ended rejected, conflicted or failed. Safe: nothing of them was made
    ALL = "all"  # both


AGAIN: Final = (Standing.FAILED, Standing.CONFLICTED, Standing.REJECTED)
_IN_DOUBT: Final = (Standing.INTENDED, Standing.IN_DOUBT, Standing.ACCEPTED)
_WHOLE: Final = [str(Action.REVERT), str(Action.REMOVE_INSTANCE), str(Action.REMOVE_SERIES)]
_PLACE: Final = ["image_set_id", "level", "series_uid", "instance_uid", "attribute"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """Numbers of calls (parts of split calls are calls), and what the ledger is to hold of it."""

    strategy: Strategy
    in_doubt: int  # looked at first
    again: tuple[int, ...]  # calls that are sent again
    new: int  # never settled, nor in doubt; sent unless the strategy is `failed`
    overtaken: int  # not sent again, because a later edit of the same place was applied since
    settled: int  # left alone, those overtaken included

    @property
    def sends_new(self) -> bool:
        """Whether calls that were never settled are sent."""
        return self.strategy is not Strategy.FAILED

    def events(self, ledger: Ledger, epoch: float) -> list[Event]:
        """The calls that are sent again, planned anew; their counters go on."""
        cause = f"resumed with --strategy {self.strategy}"
        counters = ("attempts", "throttles", "faults", "conflicts")
        return [
            Event(
                at=epoch,
                call=row["call"],
                standing=Standing.PLANNED,
                cause=cause,
                **{name: row[name] for name in counters},
            )
            for row in ledger.rows_of(self.again)
        ]


def resumption(plan: SavedPlan, ledger: Ledger, strategy: Strategy) -> Resumption:
    """What a resume will do. Blocks: it reads the ledger, and the plan where it must."""
    standings, parts = ledger.last_standings(), ledger.parts()
    split = {part.parent for part in parts}
    standing = pl.col("standing")
    in_doubt = standings.filter(standing.is_in(list(map(str, _IN_DOUBT)))).height
    done = standings.filter(standing.is_in([str(s) for s in Standing if s.settled]))
    total = plan.counts["calls"] + len(parts) - len(split)
    wanted = [] if strategy is Strategy.NEW else done.filter(standing.is_in(list(map(str, AGAIN))))["call"].to_list()
    overtaken = _overtaken(plan, done, parts, wanted) if wanted else set()
    again = tuple(call for call in wanted if call not in overtaken)
    return Resumption(
        strategy=strategy,
        in_doubt=in_doubt,
        again=again,
        new=total - in_doubt - done.height,
        overtaken=len(overtaken),
        settled=done.height - len(again),
    )


def _overtaken(plan: SavedPlan, done: pl.DataFrame, parts: list[Part], wanted: list[int]) -> set[int]:
    """Calls that would undo what a later edit of the same place has done since.

    A revert, and a removal of an instance or series, has to do with every place of its image set.
    """
    edits = plan.edits().select("edit", "call", "action", *_PLACE).collect()
    last = {edit: part.call for part in parts for edit in part.edits}
    edits = edits.with_columns(
        order=pl.col("call").cast(pl.UInt64) * edits.height + pl.col("edit"),
        call=pl.col("edit").replace_strict(last, default=None, return_dtype=pl.UInt32).fill_null(pl.col("call")),
        whole=pl.col("action").is_in(_WHOLE),
    )
    applied = done.filter(pl.col("standing") == Standing.APPLIED).select("call")
    made = edits.join(applied, on="call", how="semi")
    mine = edits.filter(pl.col("call").is_in(wanted))
    same = made.group_by(_PLACE).agg(same=pl.col("order").max())
    whole = made.filter("whole").group_by("image_set_id").agg(whole_made=pl.col("order").max())
    any_ = made.group_by("image_set_id").agg(any_made=pl.col("order").max())
    later = (
        mine.join(same, on=_PLACE, how="left", nulls_equal=True)
        .join(whole, on="image_set_id", how="left")
        .join(any_, on="image_set_id", how="left")
        .filter(
            (pl.col("same") > pl.col("order"))
            | (pl.col("whole_made") > pl.col("order"))
            | (pl.col("whole") & (pl.col("any_made") > pl.col("order")))
        )
    )
    return set(later["call"].to_list())
