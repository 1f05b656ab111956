"""Which lane goes next: a heap of lanes that wait, queues of lanes that are due. Pure."""

from __future__ import annotations

import heapq
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Final

from bulkedit.pacing import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bulkedit.engine.lane import LaneRun
    from bulkedit.pacing import Pacing


class Held(Enum):
    """What holds back a lane that is due."""

    UPDATES = "updates"  # the quota of UpdateImageSetMetadata
    READS = "reads"  # that of GetImageSet or GetImageSetMetadata
    COPIES = "copies"  # that of CopyImageSet or DeleteImageSet, of recipes
    IN_FLIGHT = "in flight"  # as many image sets have an update under way as may have


_BY: Final = {
    Operation.METADATA: Held.READS,
    Operation.GET: Held.READS,
    Operation.SEARCH: Held.READS,
    Operation.UPDATE: Held.UPDATES,
    Operation.COPY: Held.COPIES,
    Operation.DELETE: Held.COPIES,
}
# (operation, of a lane in flight). Reads go before updates: they free image sets and are what a settled call waits
# for. Lanes that are in flight already go before those that are not, which could hold them up for good.
_Queue = tuple[Operation, bool]
_ORDER: Final[tuple[_Queue, ...]] = tuple((operation, flying) for operation in _BY for flying in (True, False))


class Agenda:
    """Lanes with something to do, now or later."""

    def __init__(self, pacers: Mapping[Operation, Pacing]) -> None:
        self._pacers = pacers
        self._later: list[tuple[float, int, LaneRun]] = []
        self._due: dict[_Queue, deque[LaneRun]] = {queue: deque() for queue in _ORDER}
        self._number = 0
        self.held: set[Held] = set()  # what held a lane back when `take` was last asked

    def __len__(self) -> int:
        return len(self._later) + sum(map(len, self._due.values()))

    def put(self, lane: LaneRun) -> None:
        """The lane waits until it is due."""
        self._number += 1
        heapq.heappush(self._later, (lane.due, self._number, lane))

    def take(self, now: float, admit: Callable[[LaneRun], bool]) -> LaneRun | float | None:
        """A lane whose action may go out now, else the seconds until one may, None when nothing but news can help.

        ``admit`` says whether a lane's update may add to those in flight.
        """
        self._ripen(now)
        self.held.clear()
        wait = self._later[0][0] - now if self._later else None
        for operation, flying in _ORDER:
            if not (queue := self._due[operation, flying]):
                continue
            if not admit(queue[0]):
                self.held.add(Held.IN_FLIGHT)
                continue
            if (pause := self._pacers[operation].wait(now)) <= 0:
                self._pacers[operation].take(now)
                return queue.popleft()
            self.held.add(_BY[operation])
            wait = pause if wait is None else min(wait, pause)
        return wait

    def drop(self, unwanted: Callable[[LaneRun], bool]) -> list[LaneRun]:
        """Take out every lane that is unwanted."""
        lanes = [lane for _, _, lane in self._later] + [lane for queue in self._due.values() for lane in queue]
        dropped = [lane for lane in lanes if unwanted(lane)]
        gone = set(map(id, dropped))
        self._later = [entry for entry in self._later if id(entry[2]) not in gone]
        heapq.heapify(self._later)
        for name, queue in self._due.items():
            self._due[name] = deque(lane for lane in queue if id(lane) not in gone)
        return dropped

    def _ripen(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            lane = heapq.heappop(self._later)[2]
            if lane.action is None:
                continue
            queue = self._due[lane.action.operation, lane.flying]
            if lane.under_way and not lane.flying:
                queue.appendleft(lane)  # turned away: it has waited before
            else:
                queue.append(lane)
