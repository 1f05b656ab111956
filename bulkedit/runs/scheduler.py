"""Which lane sends next: a heap of lanes that wait, and heaps of lanes that are due.

All lanes should end together, so that a run does not end with a few long lanes. So a lane that is due gets a head start
by the time that its remaining calls take. A lane that has waited for longer than that goes first, so every lane gets
its turn.
"""

from __future__ import annotations

import heapq
import math
from enum import Enum
from typing import TYPE_CHECKING, Final

from bulkedit.client.pacing import Operation
from bulkedit.runs.requests import GetImageSet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bulkedit.client.pacing import Pacing
    from bulkedit.runs.lane import LaneRun


class WaitReason(Enum):
    """What delays a lane that is due."""

    UPDATES = "updates"  # the quota of UpdateImageSetMetadata
    READS = "reads"  # the quotas of GetImageSet and ListImageSetVersions, or of GetImageSetMetadata
    COPIES = "copies"  # the quota of CopyImageSet or DeleteImageSet
    IN_FLIGHT = "in flight"  # the maximum of image sets with an update under way is reached


_BY: Final = {
    Operation.METADATA: WaitReason.READS,
    Operation.GET: WaitReason.READS,
    Operation.SEARCH: WaitReason.READS,
    Operation.UPDATE: WaitReason.UPDATES,
    Operation.COPY: WaitReason.COPIES,
    Operation.DELETE: WaitReason.COPIES,
}
QUOTAS: Final = frozenset(_BY.values())
# (operation, rank of the lane). Reads go before updates, because they complete calls. Lanes in flight go before
# others, which could delay them for ever. Lanes that wait for the unlock of another writer's lock go last.
_Queue = tuple[Operation, int]
_IN_FLIGHT, _OTHERS, _WAITING = range(3)
_LONGEST_START: Final = 8  # calls; limit of the head start
_ORDER: Final[tuple[_Queue, ...]] = tuple((operation, rank) for operation in _BY for rank in range(3))


class Scheduler:
    """Lanes with a request to send, now or later."""

    def __init__(self, pacers: Mapping[Operation, Pacing]) -> None:
        self._pacers = pacers
        self._later: list[tuple[float, int, LaneRun]] = []
        self._due: dict[_Queue, list[tuple[float, int, LaneRun]]] = {queue: [] for queue in _ORDER}
        self._number = 0
        self._call_s = 0.0
        self._lists = True
        self.delayed_by: set[WaitReason] = set()  # what delayed lanes in the last call of `take`

    def __len__(self) -> int:
        return len(self._later) + sum(map(len, self._due.values()))

    def put(self, lane: LaneRun, call_s: float = 0.0) -> None:
        """Add a lane, which waits until it is due. ``call_s``: seconds that a call takes."""
        self._call_s = call_s
        self._number += 1
        heapq.heappush(self._later, (lane.due, self._number, lane))

    def list_no_more(self) -> None:
        """Do not use ListImageSetVersions in this run: it is denied, or its answers lack what is needed."""
        self._lists = False

    def take(self, now: float, admit: Callable[[LaneRun], bool]) -> LaneRun | float | None:
        """A lane whose request may be sent now, else the seconds until then; None if only a reply can change that.

        ``admit``: whether one more image set may be in flight.
        """
        self._move_due(now)
        self.delayed_by.clear()
        wait = self._later[0][0] - now if self._later else None
        for operation, rank in _ORDER:
            if not (queue := self._due[operation, rank]):
                continue
            if not admit(queue[0][2]):
                self.delayed_by.add(WaitReason.IN_FLIGHT)
                continue
            for quota in self._operations_for(queue[0][2], operation):
                if (pause := self._pacers[quota].wait(now)) <= 0:
                    self._pacers[quota].take(now)
                    lane = heapq.heappop(queue)[2]
                    lane.quota = quota
                    return lane
                wait = pause if wait is None else min(wait, pause)
            self.delayed_by.add(_BY[operation])
        return wait

    def _operations_for(self, lane: LaneRun, operation: Operation) -> tuple[Operation, ...]:
        """The operations that can serve the lane's request, the preferred one first.

        ListImageSetVersions has its own quota, as large as that of GetImageSet (throttling-limits), so a poll uses it
        if the quota of GetImageSet is used up.
        """
        also = self._lists and isinstance(lane.request, GetImageSet) and lane.request.by_list
        return (operation, Operation.VERSIONS) if also else (operation,)

    def drop(self, unwanted: Callable[[LaneRun], bool]) -> list[LaneRun]:
        """Remove and return every unwanted lane."""
        lanes = [lane for _, _, lane in self._later] + [lane for queue in self._due.values() for *_, lane in queue]
        dropped = [lane for lane in lanes if unwanted(lane)]
        gone = set(map(id, dropped))
        self._later = [entry for entry in self._later if id(entry[2]) not in gone]
        heapq.heapify(self._later)
        for name, queue in self._due.items():
            self._due[name] = [entry for entry in queue if id(entry[2]) not in gone]
            heapq.heapify(self._due[name])
        return dropped

    def _move_due(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            due, number, lane = heapq.heappop(self._later)
            if lane.request is None:
                continue
            head_start = min(lane.calls_left, _LONGEST_START) * self._call_s
            turned_away = lane.under_way and not lane.in_flight  # throttled: it has waited before
            place = -math.inf if turned_away else due - head_start
            heapq.heappush(self._due[lane.request.operation, _rank(lane)], (place, number, lane))


def _rank(lane: LaneRun) -> int:
    if lane.in_flight:
        return _IN_FLIGHT
    return _OTHERS if lane.waits_for is None else _WAITING
