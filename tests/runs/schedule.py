"""Schedules of a run that a seed decides: how long requests, answers and work on threads take.

The event loop itself calls in a fixed order. What differs between two real runs is when the network answers and when a
thread is done. So every schedule here is one that a real run can have, and its seed gives it again, to the last row of
the ledger.
"""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from bulkedit._concurrency import blocking_work_by
from tests.runs.factories import PassThroughClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from bulkedit.client.contract import Client, CopyRequest, UpdateRequest
    from bulkedit.client.responses import Accepted, Copied, Datastore, Deleting, ImageSet, Lost, Metadata, Page, Refused

R = TypeVar("R")
DELAYS_S = (0.0, 0.0, 0.0, 0.001, 0.01, 0.05, 0.3, 2.0)  # none is drawn most often: then only the order differs


class Schedule:
    """The delays of one process of a run, in the order in which it asks for them."""

    def __init__(self, seed: object) -> None:
        self._rng = random.Random(str(seed))

    async def pause(self) -> None:
        """Let a drawn time pass; other tasks go on meanwhile."""
        await anyio.sleep(self._rng.choice(DELAYS_S))

    @contextmanager
    def of_blocking_work(self) -> Iterator[None]:
        """Blocking work begins after one delay, is done at one instant, and is told after another delay."""

        async def run(work: Callable[[], R], /) -> R:
            await self.pause()
            try:
                return work()
            finally:
                await self.pause()

        with blocking_work_by(run):
            yield


class DistantClient(PassThroughClient):
    """A client whose requests arrive after one delay, and whose answers after another."""

    def __init__(self, inner: Client, schedule: Schedule) -> None:
        super().__init__(inner)
        self._schedule = schedule

    async def _ask(self, answer: Callable[[], Awaitable[R]]) -> R:
        await self._schedule.pause()
        answered = await answer()
        await self._schedule.pause()
        return answered

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        return await self._ask(lambda: self.inner.update(request))

    async def copy(self, request: CopyRequest) -> Copied | Refused | Lost:
        return await self._ask(lambda: self.inner.copy(request))

    async def delete(self, image_set_id: str) -> Deleting | Refused | Lost:
        return await self._ask(lambda: self.inner.delete(image_set_id))

    async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
        return await self._ask(lambda: self.inner.get_image_set(image_set_id, version))

    async def get_metadata(self, image_set_id: str, version: int | None = None) -> Metadata | Refused | Lost:
        return await self._ask(lambda: self.inner.get_metadata(image_set_id, version))

    async def list_versions(self, image_set_id: str, **page: Any) -> Page | Refused | Lost:
        return await self._ask(lambda: self.inner.list_versions(image_set_id, **page))

    async def search(self, criteria: dict[str, Any] | None = None, **page: Any) -> Page | Refused | Lost:
        return await self._ask(lambda: self.inner.search(criteria, **page))

    async def get_datastore(self) -> Datastore | Refused | Lost:
        return await self._ask(self.inner.get_datastore)
