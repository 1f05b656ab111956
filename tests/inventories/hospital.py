"""Data stores to take inventories of, and clients with one wrong habit."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from bulkedit.client.connect import Connection, connect
from bulkedit.client.pacing import Operation, Rate
from bulkedit.client.reader import Clock, Reader
from bulkedit.client.responses import Lost, Page, Refusal, Refused
from bulkedit.inventories import SearchCounters, take
from tests.emulator.hospital import document
from tests.inventories.memory_client import CANARY
from tests.runs.factories import PassThroughClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from bulkedit.client.contract import Client
    from bulkedit.emulator import Emulator
    from bulkedit.inventories import Snapshot

FAST = Rate(10_000, 10_000)
NAME = "CANARYNAME^JANE"  # of every patient: stands in no file and no text
# faults are repeated after hundredths of seconds instead of seconds
HASTY = Clock(sleep=lambda seconds: anyio.sleep(seconds / 100))


def reader_of(client: Any, rate: Rate = FAST, clock: Clock = HASTY) -> Reader:
    """A reader that searches."""
    return Reader(client, {Operation.SEARCH: rate}, random.Random(5), clock)


def content(number: int, *, series_per_study: int = 5) -> dict[str, Any]:
    """The metadata of one series; a patient has two studies, a study one accession number."""
    study, series = divmod(number, series_per_study)
    made = document(
        str(series + 1),
        study=f"1.2.840.{study}",
        patient=f"{CANARY}P{study // 2}",
        instances=1,
        AccessionNumber=f"{CANARY}A{study}",
        StudyID=f"{CANARY}S{study}",
    )
    made["Patient"]["DICOM"]["PatientName"] = NAME
    return made


def fill(emulator: Emulator, count: int, *, series_per_study: int = 5, **options: Any) -> list[str]:
    """Import image sets; their ids, in the order of creation."""
    return [emulator.add(content(n, series_per_study=series_per_study), **options) for n in range(count)]


@asynccontextmanager
async def client_of(emulator: Emulator, datastore_id: str | None = None) -> AsyncIterator[Client]:
    connection = Connection(datastore_id=datastore_id or emulator.datastore_id, endpoint_url=str(emulator))
    async with connect(connection) as client:
        yield client


async def taken(
    emulator: Emulator,
    path: Path,
    *,
    wrap: Callable[[Client], Client] = lambda client: client,
    rate: Rate = FAST,
    clock: Clock = HASTY,
    **options: Any,
) -> Snapshot:
    """Take an inventory of an emulator's data store."""
    async with client_of(emulator) as client:
        options = {"datastore_id": emulator.datastore_id, **options}
        return await take(reader_of(wrap(client), rate, clock), path, **options)


def searches(emulator: Emulator, *, status: int | None = 200) -> int:
    """How many SearchImageSets requests got this status."""
    return sum(entry.status == status for entry in emulator.journal() if entry.action == "SearchImageSets")


class Tallies:
    """Keeps the counters that it is shown."""

    def __init__(self) -> None:
        self.last = SearchCounters()
        self.seen: list[tuple[int, int]] = []

    def __call__(self, counters: SearchCounters) -> None:
        self.last = counters
        self.seen.append((counters.pages, counters.image_sets))


class GoneError(Exception):
    """The process goes, as far as the code under test can tell."""


class InterruptedAfter(PassThroughClient):
    """Answers some pages; then the next one's answer never comes back."""

    def __init__(self, inner: Client, pages: int) -> None:
        super().__init__(inner)
        self.left = pages

    async def search(self, criteria: dict[str, Any] | None = None, **page: Any) -> Page | Refused | Lost:
        answer = await self.inner.search(criteria, **page)
        self.left -= 1
        if self.left < 0:
            raise GoneError
        return answer


class ForgetsToken(PassThroughClient):
    """Calls the tokens of some pages invalid, once each: those that come after so many searches."""

    def __init__(self, inner: Client, after: set[int]) -> None:
        super().__init__(inner)
        self.after = after
        self.count = 0

    async def search(self, criteria: dict[str, Any] | None = None, **page: Any) -> Page | Refused | Lost:
        self.count += 1
        if page.get("next_token") and self.count in self.after:
            return Refused(Refusal.INVALID, "ValidationException", "nextToken is not valid")
        return await self.inner.search(criteria, **page)
