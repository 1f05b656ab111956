"""Plan and ledger of a run, joined.

`PlanAndLedger` is for reports, `verify` and `revert`: the run as it is now. `History` is for a resume: the calls of
earlier processes and new parts, lane by lane, so that a run of millions of calls starts in seconds. Both use
`bulkedit.runs.parts` (which part carries an edit) and `by_promotion` (edits of a copy have its promotion's state).

Two modules join plan and ledger themselves: `bulkedit.runs.summary` without frames, so that `status` does not import
polars, and `bulkedit.runs.versions`, which a lane updates while it runs.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from bulkedit._concurrency import run_blocking
from bulkedit.client.responses import CallState
from bulkedit.plans import CopyStep, Lane, part_of
from bulkedit.runs import ledger_frames
from bulkedit.runs.copy_lane import CopyHistory
from bulkedit.runs.copy_transitions import SUCCEEDED, promotions
from bulkedit.runs.lane import BY_EMPTY_VALUE, EARLIER_CONFLICT
from bulkedit.runs.ledger import Ledger, LedgerState, missing
from bulkedit.runs.locks import LOCKED
from bulkedit.runs.parts import carriers
from bulkedit.runs.summary import absent
from bulkedit.runs.transitions import CallEvent
from bulkedit.runs.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.plans import PlannedCall, SavedPlan
    from bulkedit.runs.counters import RunCounters
    from bulkedit.runs.folder import Run
    from bulkedit.runs.ledger import Made, Part

COMPLETED: Final = [str(state) for state in CallState if state.completed]
_SUCCEEDED: Final = list(map(str, SUCCEEDED))
_CARRIERS: Final = pl.Schema({"edit": pl.UInt32(), "part": pl.UInt32()})
_MADE: Final = pl.Schema({"step": pl.UInt32(), "made": pl.String()})
_IN_COPIES: Final = pl.Schema(
    {"call": pl.UInt32(), "promote": pl.UInt32(), "promoted_id": pl.String(), "copy_id": pl.String()}
)


def by_promotion(states: pl.DataFrame, promoted: pl.DataFrame) -> pl.DataFrame:
    """Add column ``edits_state`` (String) to states (call, state): the state of each call's edits.

    Edits of a copy have the state of its promotion, and null before that is completed. ``promoted``: from
    `bulkedit.runs.copy_transitions.promotions`.
    """
    if promoted.is_empty():
        return states.with_columns(edits_state="state")
    ends = states.filter(pl.col("state").is_in(COMPLETED)).select(promote="call", end="state")
    joined = states.join(promoted.select("call", "promote"), on="call", how="left", maintain_order="left")
    joined = joined.join(ends, on="promote", how="left", maintain_order="left")
    in_copy = pl.col("promote").is_not_null() & pl.col("state").is_in(_SUCCEEDED)
    return joined.select(*states.columns, edits_state=pl.when(in_copy).then("end").otherwise("state"))


@dataclass(frozen=True, slots=True)
class PlanAndLedger:
    """A run by its plan and its ledger, as it is now."""

    # a row for each call that was begun, in order: columns `bulkedit.runs.ledger_frames.STATES` and edits_state
    # (`by_promotion`)
    calls: pl.DataFrame
    begun: pl.DataFrame  # `bulkedit.runs.ledger_frames.BEGUN`; empty unless requested
    last_requests: pl.DataFrame  # `bulkedit.runs.ledger_frames.LAST_REQUESTS`; empty unless requested
    # calls that edit a copy: call, promote (the call that promotes it), promoted_id and copy_id (the new image sets,
    # null before they are made)
    in_copies: pl.DataFrame
    carriers: pl.DataFrame  # the part that carries each edit of a split call: edit, part
    ledger: LedgerState = LedgerState.WHOLE  # if not whole, the frames have the rows that can be read
    detail: str = ""  # why the ledger is not whole

    @classmethod
    def of(cls, run: Run, *, times: bool = False, whole: bool = False) -> PlanAndLedger:
        """Read the ledger once. ``times``: also read when calls were begun, and the ids of their requests. Blocks.

        Raises LedgerError if the ledger cannot be read; with ``whole`` also if it is damaged, or missing after the run
        has begun.
        """
        calls = by_promotion(pl.DataFrame(schema=ledger_frames.STATES), pl.DataFrame())
        begun, carried = pl.DataFrame(schema=ledger_frames.BEGUN), pl.DataFrame(schema=_CARRIERS)
        requests = pl.DataFrame(schema=ledger_frames.LAST_REQUESTS)
        if not run.ledger.exists():
            if whole and run.is_begun:
                raise missing(run.ledger)
            return cls(calls, begun, requests, pl.DataFrame(schema=_IN_COPIES), carried, absent(run))
        with Ledger.read(run.ledger) as ledger:
            if whole:
                ledger.require_whole()
            parts, made = ledger.parts(), ledger.made()
            calls = ledger_frames.states(ledger)
            if times:
                begun, requests = ledger_frames.beginnings(ledger), ledger_frames.last_requests(ledger)
            state, detail = ledger.state, ledger.detail
        promoted = promotions(run.plan.calls(), parts)
        carried = pl.DataFrame(list(carriers(parts).items()), _CARRIERS, orient="row")
        completed = by_promotion(calls, promoted)
        return cls(completed, begun, requests, _in_copies(promoted, made), carried, state, detail)

    def carried(self, edits: pl.LazyFrame) -> pl.LazyFrame:
        """Add column completed_by: the call or part that carries each edit. ``edits``: at least edit and call."""
        if self.carriers.is_empty():
            return edits.with_columns(completed_by="call")
        return (
            edits.join(self.carriers.lazy(), on="edit", how="left", maintain_order="left")
            .with_columns(completed_by=pl.coalesce("part", "call"))
            .drop("part")
        )


def _in_copies(promoted: pl.DataFrame, made: list[Made]) -> pl.DataFrame:
    ours = pl.DataFrame([(one.call, one.image_set_id) for one in made if one.ours], _MADE, orient="row")
    last = ours.unique("step", keep="last")
    for step, name in (("promote", "promoted_id"), ("copy", "copy_id")):
        promoted = promoted.join(last.rename({"step": step, "made": name}), on=step, how="left", maintain_order="left")
    return promoted.select(_IN_COPIES.names())


class History:
    """The ledger as it was when this process began, with the parts of calls split since."""

    def __init__(self, plan: SavedPlan, ledger: Ledger, counters: RunCounters, *, sends_new: bool = True) -> None:
        """Count completed calls in ``counters``. If not ``sends_new``, calls that were never begun are left out."""
        self._plan = plan
        self._sends_new = sends_new
        self._roots: dict[int, tuple[int, list[int]]] = {}  # part -> call of the plan, numbers of its edits
        self._parts_of: dict[int, list[int]] = defaultdict(list)  # split call -> its parts
        self._planned: int = plan.counts["calls"]
        self._next: int = self._planned
        # calls begun and not completed: columns `bulkedit.runs.ledger.LAST_ROW`, and by_empty_value (a removal is sent
        # with the empty value)
        self.begun: dict[int, dict[str, Any]] = {}
        self._completed = bytearray(self._planned)  # 1 for each completed call of the plan
        self._completed_parts: set[int] = set()
        for part in ledger.parts():
            self.add(part)
        promoted = promotions(plan.calls(), ledger.parts())
        self._promotions = dict(promoted.select("call", "promote").iter_rows())
        self._copy_histories: dict[int, CopyHistory] = {}  # of lanes that were read and are not opened yet
        self._ended: dict[int, CallState] = {}  # completed calls and parts of lanes with copies
        self._source_versions: dict[int, int] = {}  # completed copy -> version of its source
        self._made: list[Made] = ledger.made() if self._promotions else []
        self._conflicted: set[int] = set()  # calls of the plan that ended because of another writer
        self._conflicts_of: dict[int, list[PlannedCall]] = {}  # of lanes that were read and are not opened yet
        # events of lanes that are not read yet: call, state, expected version, version
        self._events_of: dict[int, list[tuple[int, CallState, int | None, int | None]]] = {}
        self._versions: dict[int, Versions] = {}  # of lanes that were read and are not opened yet
        self.versions_reused = False  # the service gives the number of a failed update to the next one
        counters.calls += len(self._roots) - len(self._parts_of)
        self._read(ledger, counters, promoted)

    def _read(self, ledger: Ledger, counters: RunCounters, promoted: pl.DataFrame) -> None:
        states = ledger_frames.last_states(ledger)
        completed = pl.col("state").is_in(COMPLETED)
        done = by_promotion(states.filter(completed), promoted)
        planned = done.filter(pl.col("call") < self._planned)
        if self._promotions:
            self._read_via_copy(ledger, done)
        if planned.height:
            # a call's number is its row in the plan; a join would take ten times the memory
            edits = self._plan.calls().select("edits").collect().to_series().gather(planned["call"])
            sums = planned.select("edits_state", edits=edits).group_by("edits_state").agg(pl.len(), pl.sum("edits"))
            for state, calls, count in sums.iter_rows():
                # edits of a copy that is not promoted have no outcome
                counters.completed(CallState(state or CallState.APPLIED), count if state else 0, calls=calls)
        for call in planned["call"]:
            self._completed[call] = 1
        for call, state in done.filter(pl.col("call") >= self._planned).select("call", "edits_state").iter_rows():
            self._completed_parts.add(call)
            counters.completed(CallState(state or CallState.APPLIED), len(self._roots[call][1]) if state else 0)
        conflicted = done.filter(pl.col("state") == str(CallState.CONFLICTED))["call"].to_list()
        conflicts = [row["call"] for row in ledger.rows_of(conflicted) if row["reason"] != EARLIER_CONFLICT]
        self._conflicted = {self._roots[call][0] if call in self._roots else call for call in conflicts}
        begun = states.filter(~completed & (pl.col("state") != str(CallState.SPLIT)))
        self.begun = {row["call"]: {**row, "by_empty_value": False} for row in ledger.rows_of(begun["call"].to_list())}
        if states.height:
            self._read_versions(ledger, states)

    def _read_versions(self, ledger: Ledger, states: pl.DataFrame) -> None:
        """The events of lanes that were begun and have calls left: few, even in a run of millions."""
        self.versions_reused = ledger.has_reused_versions()
        lanes = self._plan.calls().select("call", "lane").collect()
        left = pl.Series("completed", list(self._completed), dtype=pl.UInt8) == 0
        open_lanes = lanes.filter(left).get_column("lane").unique()
        numbers = states.get_column("call")
        roots = pl.Series([self._roots[call][0] if call in self._roots else call for call in numbers], dtype=pl.UInt32)
        begun = pl.DataFrame({"call": numbers, "lane": lanes.get_column("lane").gather(roots)})
        lane_of = dict(begun.filter(pl.col("lane").is_in(open_lanes.implode())).iter_rows())
        of_locks = ledger.version_events(lane_of, reason=LOCKED)
        events = ledger.version_events(lane_of, reason=BY_EMPTY_VALUE)
        for (call, state, expected_version, version, by_empty), (*_, of_lock) in zip(events, of_locks, strict=True):
            if of_lock:  # it changes no state
                continue
            self._events_of.setdefault(lane_of[call], []).append((call, CallState(state), expected_version, version))
            if by_empty and call in self.begun:
                self.begun[call]["by_empty_value"] = True

    def _read_via_copy(self, ledger: Ledger, done: pl.DataFrame) -> None:
        via_copy = self._plan.calls().filter(pl.col("copy_step").is_not_null()).select("call", "copy_step").collect()
        inside = pl.col("call").is_in(via_copy["call"].implode()) | pl.col("call").is_in(list(self._promotions))
        self._ended = {call: CallState(state) for call, state, _ in done.filter(inside).iter_rows()}
        copies = via_copy.filter(pl.col("copy_step").is_in([str(CopyStep.COPY), str(CopyStep.PROMOTE)]))["call"]
        made = [call for call in copies if self._ended.get(call) is CallState.APPLIED]
        self._source_versions = {row["call"]: row["expected_version"] for row in ledger.rows_of(made)}

    @property
    def has_copies(self) -> bool:
        """Whether there are lanes with copies."""
        return bool(self._promotions)

    def copy_history_of(self, lane: Lane) -> CopyHistory | None:
        """The records of a lane with a copy, which opens now; None for other lanes."""
        return self._copy_histories.pop(lane.number, None)

    def conflicted_in(self, lane: Lane) -> list[PlannedCall]:
        """The calls of a lane, which opens now, that ended because of another writer."""
        return self._conflicts_of.pop(lane.number, [])

    def versions_of(self, lane: Lane) -> Versions:
        """The recorded versions of a lane, which opens now."""
        return self._versions.pop(lane.number, None) or Versions()

    def _fold(self, lane: Lane, copy: str | None) -> Versions:
        """The versions by the lane's events. ``lane``: as planned; ``copy``: the copy that it edits, if any."""
        versions = Versions()
        calls = {call.call: call for call in lane.calls}
        for number, state, expected_version, version in self._events_of.pop(lane.number, ()):
            call = calls[self._roots[number][0] if number in self._roots else number]
            if call.copy_step is not None:
                call = replace(call, image_set_id=copy or call.image_set_id)
            versions.take(call, state, expected_version, version)
        return versions

    def _copy_history_of(self, lane: Lane) -> CopyHistory | None:
        """The records of a lane with a copy; None for other lanes. ``lane``: as planned."""
        steps = {call.copy_step: call.call for call in lane.calls if call.copy_step is not None}
        if not steps:
            return None
        planned = frozenset(call.call for call in lane.calls)
        copy, promote = steps[CopyStep.COPY], steps[CopyStep.PROMOTE]
        mine = planned | {part for part, of in self._promotions.items() if of == promote} if self._roots else planned
        counts = {call.call: call.edits for call in lane.calls} | {
            part: len(self._roots[part][1]) for part in mine if part in self._roots
        }
        deletions = {steps.get(CopyStep.DELETE_ORIGINAL), steps.get(CopyStep.DELETE_COPY)}
        unsuccessful = {
            call: s for call in mine - deletions if (s := self._ended.get(call)) is not None and s not in SUCCEEDED
        }
        of_steps = [state for call, state in unsuccessful.items() if call in {copy, promote}]
        succeeded = [call for call in mine - {copy, promote} - deletions if self._ended.get(call) in SUCCEEDED]
        made = [one for one in self._made if one.call in {copy, promote}]
        return CopyHistory(
            original=lane.calls[0].image_set_id,
            copy=copy,
            promote=promote,
            planned=planned,
            made={one.call: one.image_set_id for one in made if one.ours},
            existing={
                number: frozenset(o.image_set_id for o in made if o.call == number) for number in (copy, promote)
            },
            expected_versions={
                number: self._source_versions[number] for number in (copy, promote) if number in self._source_versions
            },
            edits_in_copy=sum(counts[call] for call in succeeded),
            ended=of_steps[0] if of_steps else CallState.FAILED if unsuccessful else None,
        )

    def outcome_unknown(self) -> set[int]:
        """Calls of the plan with an unknown outcome, of their own or of a part."""
        unknown = [call for call, row in self.begun.items() if row["state"] != CallState.PLANNED]
        return {self._roots[call][0] if call in self._roots else call for call in unknown}

    def denied(self) -> set[int]:
        """Calls of the plan that were denied access in an earlier process."""
        denied = [call for call, row in self.begun.items() if row["reason"] == CallEvent.DENIED]
        return {self._roots[call][0] if call in self._roots else call for call in denied}

    def new_call(self) -> int:
        """A new number for a part."""
        self._next += 1
        return self._next - 1

    def add(self, part: Part) -> None:
        """Add a part of a split call."""
        root, _ = self._roots.get(part.parent, (part.parent, []))
        self._roots[part.call] = (root, part.edits)
        self._parts_of[part.parent].append(part.call)
        self._next = max(self._next, part.call + 1)

    def edits_of(self, call: int) -> pl.DataFrame:
        """The edits of a call or part: columns `bulkedit.plans.PLANNED_EDITS`. Reads the plan, so it blocks."""
        root, numbers = self._roots.get(call, (call, None))
        edits = self._plan.edits_of(root)
        return edits if numbers is None else edits.filter(pl.col("edit").is_in(numbers))

    def image_sets_of(self, call: int) -> list[str]:
        """The image sets that the edits of a call or part are about. Reads the plan, so it blocks."""
        return self.edits_of(call).get_column("image_set_id").unique().to_list()

    def left_of(self, lane: Lane) -> Lane | None:
        """The calls of a lane that are not completed, with the parts of split ones; None if all are. Blocks."""
        calls = tuple(left for call in lane.calls for left in self._unfinished(call))
        if calls and (conflicts := [call for call in lane.calls if call.call in self._conflicted]):
            self._conflicts_of[lane.number] = conflicts
        if calls and self._promotions and (history := self._copy_history_of(lane)) is not None:
            self._copy_histories[lane.number] = history
        if calls and lane.number in self._events_of:
            history = self._copy_histories.get(lane.number)
            self._versions[lane.number] = self._fold(lane, history.made.get(history.copy) if history else None)
        return Lane(lane.number, calls) if calls else None

    def _unfinished(self, call: PlannedCall) -> list[PlannedCall]:
        if (call.call < self._planned and self._completed[call.call]) or call.call in self._completed_parts:
            return []
        if call.call not in self._parts_of:
            return [call] if self._sends_new or call.call in self.begun else []
        parts = [part_of(call, self.edits_of(number), number) for number in self._parts_of[call.call]]
        return [left for part in parts for left in self._unfinished(part)]


class Lanes:
    """Lanes of the plan with calls left, read ahead on a worker thread.

    Lanes with an unknown outcome come first, and lanes that were denied access last.
    """

    def __init__(self, plan: SavedPlan, history: History) -> None:
        self._batches = self._in_order(plan, history)
        self._history = history
        self._ready: deque[Lane] = deque()
        self.ended = False
        self._last_length = 0

    @property
    def next_length(self) -> int:
        """Calls of the next lane, which is the longest one left; of the last lane if the next is not read yet."""
        return len(self._ready[0].calls) if self._ready else self._last_length

    async def next(self) -> Lane | None:
        """The next lane, None at the end."""
        while not self._ready and not self.ended:
            batch = await run_blocking(self._next_batch)
            self.ended = batch is None
            self._ready.extend(batch or ())
        return self.next_ready()

    def next_ready(self) -> Lane | None:
        """The next lane that is already read; None if the plan must be read first, and at the end."""
        if not self._ready:
            return None
        self._last_length = len(self._ready[0].calls)
        return self._ready.popleft()

    def end(self) -> None:
        """Open no more."""
        self.ended = True
        self._ready.clear()

    @staticmethod
    def _in_order(plan: SavedPlan, history: History) -> Iterator[list[Lane]]:
        first = plan.lanes_with(history.outcome_unknown())
        yield first
        numbers = {lane.number for lane in first}
        last = [lane for lane in plan.lanes_with(history.denied()) if lane.number not in numbers]
        numbers |= {lane.number for lane in last}
        for batch in plan.lanes():
            yield [lane for lane in batch if lane.number not in numbers]
        yield last

    def _next_batch(self) -> list[Lane] | None:
        batch = next(self._batches, None)
        return None if batch is None else [left for lane in batch if (left := self._history.left_of(lane))]
