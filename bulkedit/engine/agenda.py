"""Which lane goes next: a heap of lanes that wait, a queue of lanes that are due for each operation. Pure."""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, Final

from bulkedit.pacing import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bulkedit.engine.lane import LaneRun
    from bulkedit.pacing import Pacer

# Reads go before updates: they free image sets and are what a settled call waits for.
_ORDER: Final = (Operation.METADATA, Operation.GET, Operation.UPDATE)


class Agenda:
    """Lanes with something to do, now or later."""

    def __init__(self, pacers: Mapping[Operation, Pacer]) -> None:
        self._pacers = pacers
        self._later: list[tuple[float, int, LaneRun]] = []
        self._due: dict[Operation, deque[LaneRun]] = {operation: deque() for operation in _ORDER}
        self._number = 0

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
        wait = self._later[0][0] - now if self._later else None
        for operation in _ORDER:
            if not (queue := self._due[operation]) or not admit(queue[0]):
                continue
            if (pause := self._pacers[operation].wait(now)) <= 0:
                self._pacers[operation].take(now)
                return queue.popleft()
            wait = pause if wait is None else min(wait, pause)
        return wait

    def drop(self, unwanted: Callable[[LaneRun], bool]) -> list[LaneRun]:
        """Take out every lane that is unwanted."""
        lanes = [lane for _, _, lane in self._later] + [lane for queue in self._due.values() for lane in queue]
        dropped = [lane for lane in lanes if unwanted(lane)]
        gone = set(map(id, dropped))
        self._later = [entry for entry in self._later if id(entry[2]) not in gone]
        heapq.heapify(self._later)
        for operation, queue in self._due.items():
            self._due[operation] = deque(lane for lane in queue if id(lane) not in gone)
        return dropped

    def _ripen(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            lane = heapq.heappop(self._later)[2]
            if lane.action is not None:
                self._due[lane.action.operation].append(lane)
