"""Which lane goes next: a heap of lanes that wait, heaps of lanes that are due. Pure.

Of lanes that are due, one goes before another by the time that its further calls take beyond those of the other: all
lanes are to end together, so that the end of a run is not a few lanes of many calls. That is a head start and no
more: a lane that has waited for longer goes first, so none starves.
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
    """What holds back a lane that is due."""

    UPDATES = "updates"  # the quota of UpdateImageSetMetadata
    READS = "reads"  # those of GetImageSet and ListImageSetVersions, or that of GetImageSetMetadata
    COPIES = "copies"  # that of CopyImageSet or DeleteImageSet, of recipes
    IN_FLIGHT = "in flight"  # as many image sets have an update under way as may have


_BY: Final = {
    Operation.METADATA: WaitReason.READS,
    Operation.GET: WaitReason.READS,
    Operation.SEARCH: WaitReason.READS,
    Operation.UPDATE: WaitReason.UPDATES,
    Operation.COPY: WaitReason.COPIES,
    Operation.DELETE: WaitReason.COPIES,
}
# (operation, of a lane in flight). Reads go before updates: they free image sets and are what a completed call waits
# for. Lanes that are in flight already go before those that are not, which could hold them up for good.
_Queue = tuple[Operation, bool]
_LONGEST_START: Final = 8  # calls; of the head start
_ORDER: Final[tuple[_Queue, ...]] = tuple((operation, flying) for operation in _BY for flying in (True, False))


class Scheduler:
    """Lanes with something to do, now or later."""

    def __init__(self, pacers: Mapping[Operation, Pacing]) -> None:
        self._pacers = pacers
        self._later: list[tuple[float, int, LaneRun]] = []
        self._due: dict[_Queue, list[tuple[float, int, LaneRun]]] = {queue: [] for queue in _ORDER}
        self._number = 0
        self._call_s = 0.0
        self._lists = True
        self.held: set[WaitReason] = set()  # what held a lane back when `take` was last asked

    def __len__(self) -> int:
        return len(self._later) + sum(map(len, self._due.values()))

    def put(self, lane: LaneRun, call_s: float = 0.0) -> None:
        """The lane waits until it is due. ``call_s``: seconds that one call after another takes."""
        self._call_s = call_s
        self._number += 1
        heapq.heappush(self._later, (lane.due, self._number, lane))

    def list_no_more(self) -> None:
        """ListImageSetVersions is of no use to this run: it may not, or the answers do not tell."""
        self._lists = False

    def take(self, now: float, admit: Callable[[LaneRun], bool]) -> LaneRun | float | None:
        """A lane whose request may leave now, else the seconds until one may, None when nothing but news can help.

        ``admit`` says whether a lane's update may add to those in flight.
        """
        self._ripen(now)
        self.held.clear()
        wait = self._later[0][0] - now if self._later else None
        for operation, flying in _ORDER:
            if not (queue := self._due[operation, flying]):
                continue
            if not admit(queue[0][2]):
                self.held.add(WaitReason.IN_FLIGHT)
                continue
            for through in self._ways(queue[0][2], operation):
                if (pause := self._pacers[through].wait(now)) <= 0:
                    self._pacers[through].take(now)
                    lane = heapq.heappop(queue)[2]
                    lane.through = through
                    return lane
                wait = pause if wait is None else min(wait, pause)
            self.held.add(_BY[operation])
        return wait

    def _ways(self, lane: LaneRun, operation: Operation) -> tuple[Operation, ...]:
        """The operations that can perform the lane's request, the better one first.

        ListImageSetVersions has a quota of its own, as large as that of GetImageSet (throttling-limits): a poll that
        the one has no room for leaves under the other.
        """
        also = self._lists and isinstance(lane.request, GetImageSet) and lane.request.by_list
        return (operation, Operation.VERSIONS) if also else (operation,)

    def drop(self, unwanted: Callable[[LaneRun], bool]) -> list[LaneRun]:
        """Take out every lane that is unwanted."""
        lanes = [lane for _, _, lane in self._later] + [lane for queue in self._due.values() for *_, lane in queue]
        dropped = [lane for lane in lanes if unwanted(lane)]
        gone = set(map(id, dropped))
        self._later = [entry for entry in self._later if id(entry[2]) not in gone]
        heapq.heapify(self._later)
        for name, queue in self._due.items():
            self._due[name] = [entry for entry in queue if id(entry[2]) not in gone]
            heapq.heapify(self._due[name])
        return dropped

    def _ripen(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            due, number, lane = heapq.heappop(self._later)
            if lane.request is None:
                continue
            head_start = min(lane.calls_left, _LONGEST_START) * self._call_s
            turned_away = lane.under_way and not lane.flying  # it has waited before
            place = -math.inf if turned_away else due - head_start
            heapq.heappush(self._due[lane.request.operation, lane.flying], (place, number, lane))
