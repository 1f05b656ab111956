"""What earlier processes of a run have left, and the calls that are still to do."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any

import polars as pl
from anyio import to_thread

from bulkedit.outcome import Standing
from bulkedit.planner import Lane, part_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.engine.tally import Tally
    from bulkedit.ledger import Ledger, Part
    from bulkedit.planner import PlannedCall, SavedPlan

_SETTLED = [str(standing) for standing in Standing if standing.settled]


class History:
    """The ledger as it was when this process began, with the parts that calls have been split into since."""

    def __init__(self, plan: SavedPlan, ledger: Ledger, tally: Tally, *, sends_new: bool = True) -> None:
        """Counts what is settled into ``tally``. Without ``sends_new``, calls that were never begun are left alone."""
        self._plan = plan
        self._sends_new = sends_new
        self._roots: dict[int, tuple[int, list[int]]] = {}  # part -> call of the plan, numbers of its edits
        self._parts_of: dict[int, list[int]] = defaultdict(list)  # split call -> its parts
        self._planned: int = plan.counts["calls"]
        self._next: int = self._planned
        self.begun: dict[int, dict[str, Any]] = {}  # `bulkedit.ledger.STANDINGS` rows of calls begun and not settled
        self._settled = bytearray(self._planned)  # 1 for each settled call of the plan
        self._settled_parts: set[int] = set()
        for part in ledger.parts():
            self.add(part)
        tally.calls += len(self._roots) - len(self._parts_of)
        self._read(ledger, tally)

    def _read(self, ledger: Ledger, tally: Tally) -> None:
        standings = ledger.last_standings()
        settled = pl.col("standing").is_in(_SETTLED)
        done = standings.filter(settled)
        planned = done.filter(pl.col("call") < self._planned)
        edits = self._plan.calls().select("call", "edits").collect()
        sums = planned.join(edits, on="call").group_by("standing").agg(pl.len(), pl.col("edits").sum())
        for standing, calls, count in sums.iter_rows():
            tally.settled(Standing(standing), count, calls=calls)
        for call in planned["call"].to_list():
            self._settled[call] = 1
        for call, standing in done.filter(pl.col("call") >= self._planned).iter_rows():
            self._settled_parts.add(call)
            tally.settled(Standing(standing), len(self._roots[call][1]))
        begun = standings.filter(~settled & (pl.col("standing") != str(Standing.SPLIT)))
        self.begun = {row["call"]: row for row in ledger.rows_of(begun["call"].to_list())}

    def in_doubt(self) -> set[int]:
        """Calls of the plan of which an update may be under way, or of whose parts one may."""
        doubtful = [call for call, row in self.begun.items() if row["standing"] != Standing.PLANNED]
        return {self._roots[call][0] if call in self._roots else call for call in doubtful}

    def new_call(self) -> int:
        """A number for a part, beyond all in use."""
        self._next += 1
        return self._next - 1

    def add(self, part: Part) -> None:
        """A call has been split."""
        root, _ = self._roots.get(part.parent, (part.parent, []))
        self._roots[part.call] = (root, part.edits)
        self._parts_of[part.parent].append(part.call)
        self._next = max(self._next, part.call + 1)

    def edits_of(self, call: int) -> pl.DataFrame:
        """The edits (`bulkedit.planner.PLANNED_EDITS`) of a call or part. Blocks: it reads the plan."""
        root, numbers = self._roots.get(call, (call, None))
        edits = self._plan.edits_of(root)
        return edits if numbers is None else edits.filter(pl.col("edit").is_in(numbers))

    def left_of(self, lane: Lane) -> Lane | None:
        """The calls of a lane that are not settled, a split one as its parts. Blocks where there are such."""
        calls = tuple(left for call in lane.calls for left in self._unsettled(call))
        return Lane(lane.number, calls) if calls else None

    def _unsettled(self, call: PlannedCall) -> list[PlannedCall]:
        if (call.call < self._planned and self._settled[call.call]) or call.call in self._settled_parts:
            return []
        if call.call not in self._parts_of:
            return [call] if self._sends_new or call.call in self.begun else []
        parts = [part_of(call, self.edits_of(number), number) for number in self._parts_of[call.call]]
        return [left for part in parts for left in self._unsettled(part)]


class Lanes:
    """Lanes of the plan that still have calls to do, read ahead off the event loop; those in doubt come first."""

    def __init__(self, plan: SavedPlan, history: History) -> None:
        self._batches = self._in_order(plan, history)
        self._history = history
        self._ready: deque[Lane] = deque()
        self.ended = False

    async def next(self) -> Lane | None:
        """The next lane, None at the end."""
        while not self._ready and not self.ended:
            batch = await to_thread.run_sync(self._next_batch)
            self.ended = batch is None
            self._ready.extend(batch or ())
        return self.at_hand()

    def at_hand(self) -> Lane | None:
        """The next lane of those that have been read; None where the plan must be read for it, and at the end."""
        return self._ready.popleft() if self._ready else None

    def end(self) -> None:
        """Open no more."""
        self.ended = True
        self._ready.clear()

    @staticmethod
    def _in_order(plan: SavedPlan, history: History) -> Iterator[list[Lane]]:
        first = plan.lanes_with(history.in_doubt())
        yield first
        numbers = {lane.number for lane in first}
        for batch in plan.lanes():
            yield [lane for lane in batch if lane.number not in numbers]

    def _next_batch(self) -> list[Lane] | None:
        batch = next(self._batches, None)
        return None if batch is None else [left for lane in batch if (left := self._history.left_of(lane))]
