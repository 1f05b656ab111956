"""The emulator without HTTP, faults and journal included, and a process that can be killed at any of its requests.

`DirectClient` is a client that hands requests to the emulator's server itself. Its time is that of the running loop, so
with `run_virtual` a run of days takes seconds. `KillableLedger` is a ledger whose process can die: from that instant
nothing more is written, as after SIGKILL.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import random
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.lowlevel

from bulkedit._concurrency import blocking_work_by
from bulkedit.client.parsing import copied_of, image_set_of, refusal_of
from bulkedit.client.reader import Clock
from bulkedit.client.responses import Accepted, Copied, Datastore, Deleting, ImageSet, Lost, Metadata, Page, Refused
from bulkedit.emulator import DEFAULT_DATASTORE_ID, UNTHROTTLED, CompletionTime, Settings
from bulkedit.emulator.http.server import Server
from bulkedit.emulator.http.signing import Signed
from bulkedit.emulator.state.faults import FaultKind
from bulkedit.runs.engine import Engine
from bulkedit.runs.ledger import Ledger
from bulkedit.runs.options import EngineOptions
from tests.runs.factories import FAST, KEY, PassThroughClient
from tests.runs.schedule import DistantClient
from tests.runs.virtual_time import dated, run_virtual

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bulkedit.client.contract import Client, CopyRequest, UpdateRequest
    from bulkedit.emulator.http.wire import Reply
    from bulkedit.plans import SavedPlan
    from bulkedit.runs.counters import RunCounters
    from bulkedit.runs.ledger import Record
    from tests.runs.schedule import Schedule

R = TypeVar("R")
EPOCH = 1_700_000_000.0
COMPLETION_S = 0.5


class LoopClock:
    """The clock of the running loop, as an emulator's; between loops it stands still and never goes back."""

    def __init__(self) -> None:
        self._offset = EPOCH
        self._last = EPOCH
        self._loop: asyncio.AbstractEventLoop | None = None

    def now(self) -> float:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return self._last
        if loop is not self._loop:
            self._loop, self._offset = loop, self._last - loop.time()
        self._last = self._offset + loop.time()
        return self._last

    def wait(self, seconds: float) -> None:
        """Move time on while no loop runs."""
        self._last += seconds

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class Emulated(Server):
    """A server on the loop's clock. Requests that are on their way arrive even after the process that sent them."""

    clock: LoopClock

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, clock=LoopClock())
        self._on_their_way: list[tuple[float, Signed]] = []

    def ask(self, signed: Signed) -> Reply | None:
        """Answer a request, after those that have arrived meanwhile."""
        self.receive()
        reply, struck = self.answer(signed)
        for fault in struck:
            if fault.kind is FaultKind.LATE:
                self._on_their_way.append((self.now() + fault.seconds, signed))
                asyncio.get_running_loop().call_later(fault.seconds, self.receive)
        return reply

    def receive(self) -> None:
        """Take in what has arrived."""
        self.catch_up()
        arrived = [signed for due, signed in self._on_their_way if due <= self.now() + 1e-3]
        self._on_their_way = [one for one in self._on_their_way if one[1] not in arrived]
        for signed in arrived:
            self.answer(signed, late=True)

    def wait(self, seconds: float) -> None:
        """Let time pass while no process runs."""
        self.clock.wait(seconds)
        self.receive()


def emulated(**settings: Any) -> Emulated:
    """An emulator that throttles nothing unless told to."""
    settings.setdefault("scale", UNTHROTTLED)
    settings.setdefault("completion_time", CompletionTime(seconds=COMPLETION_S))
    return Emulated(Settings(**settings))


class DirectClient:
    """`bulkedit.client.contract.Client` on a server without HTTP."""

    def __init__(self, server: Emulated) -> None:
        self.server = server

    def _ask(self, path: str, query: dict[str, Any] | None = None, body: Any = None, method: str = "POST") -> Any:
        """The answer's JSON, or why there is none."""
        text = "&".join(f"{name}={value}" for name, value in (query or {}).items() if value is not None)
        signed = Signed(method, path, text, {}, b"" if body is None else json.dumps(body).encode())
        return _understood(self.server.ask(signed))

    def _on(self, image_set_id: str, action: str) -> str:
        return f"/datastore/{DEFAULT_DATASTORE_ID}/imageSet/{image_set_id}/{action}"

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        body: dict[str, Any] = {"revertToVersionId": str(request.revert_to)}
        if request.revert_to is None:
            blobs = {"updatableAttributes": request.updatable, "removableAttributes": request.removable}
            encoded = {name: base64.b64encode(text.encode()).decode() for name, text in blobs.items() if text}
            body = {"DICOMUpdates": encoded}
        query = {
            "latestVersion": request.expected_version,
            "force": "true" if request.force else None,
            "includeStudyImageSets": "true" if request.include_study else None,
        }
        found = self._ask(self._on(request.image_set_id, "updateImageSetMetadata"), query, body)
        return Accepted(int(found["latestVersionId"])) if isinstance(found, dict) else found

    async def copy(self, request: CopyRequest) -> Copied | Refused | Lost:
        query = {"promoteToPrimary": "true" if request.promote else None}
        body = {"sourceImageSet": {"latestVersionId": str(request.expected_version)}}
        found = self._ask(self._on(request.image_set_id, "copyImageSet"), query, body)
        return copied_of(found) if isinstance(found, dict) else found

    async def delete(self, image_set_id: str) -> Deleting | Refused | Lost:
        found = self._ask(self._on(image_set_id, "deleteImageSet"))
        return Deleting() if isinstance(found, dict) else found

    async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
        found = self._ask(self._on(image_set_id, "getImageSet"), {"version": version})
        if not isinstance(found, dict):
            failed: Refused | Lost = found
            return failed
        updated = found.pop("updatedAt", None)
        image_set = image_set_of(found)
        return image_set if updated is None else replace(image_set, updated_at=updated)

    async def get_metadata(self, image_set_id: str, version: int | None = None) -> Metadata | Refused | Lost:
        found = self._ask(self._on(image_set_id, "getImageSetMetadata"), {"version": version})
        return Metadata(found) if isinstance(found, dict) else found

    async def list_versions(
        self, image_set_id: str, *, limit: int = 50, next_token: str | None = None
    ) -> Page | Refused | Lost:
        query = {"maxResults": limit, "nextToken": next_token}
        found = self._ask(self._on(image_set_id, "listImageSetVersions"), query)
        if not isinstance(found, dict):
            failed: Refused | Lost = found
            return failed
        return Page(dated(found["imageSetPropertiesList"]), found.get("nextToken"))

    async def search(
        self, criteria: dict[str, Any] | None = None, *, limit: int = 50, next_token: str | None = None
    ) -> Page | Refused | Lost:
        query = {"maxResults": limit, "nextToken": next_token}
        found = self._ask(f"/datastore/{DEFAULT_DATASTORE_ID}/searchImageSets", query, criteria or {})
        if not isinstance(found, dict):
            failed: Refused | Lost = found
            return failed
        return Page(found["imageSetsMetadataSummaries"], found.get("nextToken"))

    async def get_datastore(self) -> Datastore | Refused | Lost:
        found = self._ask(f"/datastore/{DEFAULT_DATASTORE_ID}", method="GET")
        if not isinstance(found, dict):
            failed: Refused | Lost = found
            return failed
        return Datastore(DEFAULT_DATASTORE_ID, found["datastoreProperties"]["datastoreStatus"])


def _understood(reply: Reply | None) -> Any:
    if reply is None:
        return Lost("connection dropped")
    packed = reply.headers.get("Content-Encoding") == "gzip"
    content = json.loads(gzip.decompress(reply.body) if packed else reply.body)
    if reply.status < 400:
        return content
    error = {"Code": reply.headers["x-amzn-ErrorType"], "Message": content["message"]}
    return refusal_of({"Error": error, "ResponseMetadata": {"HTTPStatusCode": reply.status}})


# -- processes that end


class Following(PassThroughClient):
    """Another writer writes whenever an answer was lost, once for each of ``image_sets``."""

    def __init__(self, inner: Client, server: Emulated, image_sets: set[str]) -> None:
        super().__init__(inner)
        self.server = server
        self.image_sets = image_sets

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        answer = await self.inner.update(request)
        if isinstance(answer, Lost) and request.image_set_id in self.image_sets:
            self.image_sets.discard(request.image_set_id)
            image_set = self.server.world.image_set(DEFAULT_DATASTORE_ID, request.image_set_id)
            if image_set.locked:
                self.server.world.write_as_another_after(image_set)
            else:
                self.server.world.write_as_another(image_set, self.server.now())
        return answer


class KillableLedger(Ledger):
    """A ledger that stays as it is from the instant at which its process dies."""

    dead = False

    def __init__(self, path: Path, connection: sqlite3.Connection, *parts: Any, **others: Any) -> None:
        super().__init__(path, connection, *parts, **others)
        connection.execute("PRAGMA synchronous = OFF")  # a process dies here, never the machine

    def append(self, records: Sequence[Record]) -> None:
        if not self.dead:
            super().append(records)


@dataclass(frozen=True, slots=True)
class KillSwitch:
    """How a process dies: nothing of it goes on, and nothing more is written."""

    ledger: KillableLedger
    scope: anyio.CancelScope

    async def now(self) -> None:
        """Does not return."""
        self.ledger.dead = True
        self.scope.cancel()
        await anyio.sleep_forever()


class KillingClient(PassThroughClient):
    """Kills the process at one of its requests, counted over all operations: before it is read, or after it is done."""

    def __init__(self, inner: Client, death: KillSwitch, *, at: int, done: bool) -> None:
        super().__init__(inner)
        self._death, self._left, self._done = death, at, done

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        await self._die(before=True)
        answer = await super().update(request)
        await self._die(before=False)
        return answer

    async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
        await self._die(before=True)
        return await super().get_image_set(image_set_id, version)

    async def list_versions(self, image_set_id: str, **page: Any) -> Page | Refused | Lost:
        await self._die(before=True)
        return await super().list_versions(image_set_id, **page)

    async def get_metadata(self, image_set_id: str, version: int | None = None) -> Metadata | Refused | Lost:
        await self._die(before=True)
        return await super().get_metadata(image_set_id, version)

    async def copy(self, request: CopyRequest) -> Copied | Refused | Lost:
        await self._die(before=True)
        answer = await super().copy(request)
        await self._die(before=False)
        return answer

    async def delete(self, image_set_id: str) -> Deleting | Refused | Lost:
        await self._die(before=True)
        answer = await super().delete(image_set_id)
        await self._die(before=False)
        return answer

    async def search(self, criteria: dict[str, Any] | None = None, **page: Any) -> Page | Refused | Lost:
        await self._die(before=True)
        return await super().search(criteria, **page)

    async def _die(self, *, before: bool) -> None:
        self._left -= before
        if self._left <= 0 and before is not self._done:
            await self._death.now()


@dataclass(frozen=True, slots=True)
class Kill:
    """When a process dies: at its request of this number, before the service has read it or after it is done."""

    at: int
    done: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """How one process of a run ended."""

    counters: RunCounters
    killed: bool


def process(
    server: Emulated,
    plan: SavedPlan,
    path: Path,
    *,
    kill: Kill | None = None,
    wrap: Callable[[Client], Client] = lambda client: client,
    mortal: Callable[[Client, KillSwitch], Client] = lambda client, _: client,
    prepare: Callable[[Engine], None] = lambda _: None,
    seed: int = 7,
    sends_new: bool = True,
    since: float | None = None,
    schedule: Schedule | None = None,
    **options: Any,
) -> Ended:
    """One process of a run, begun or resumed; its loop's time jumps.

    ``schedule``: the delays of its requests and of its work on threads; without one, nothing is delayed.
    """

    async def main() -> Ended:
        clock = Clock(epoch=server.now)
        chosen = replace(EngineOptions(rates=FAST), **options)
        killed = False
        with KillableLedger.open(path) if path.exists() else KillableLedger.create(path) as ledger:
            assert isinstance(ledger, KillableLedger)
            direct: Client = DirectClient(server)
            client = wrap(direct if schedule is None else DistantClient(direct, schedule))
            with anyio.CancelScope() as scope:
                death = KillSwitch(ledger, scope)
                client = mortal(client, death)
                if kill is not None:
                    client = KillingClient(client, death, at=kill.at, done=kill.done)
                rng = random.Random(seed)
                engine = Engine(
                    plan, client, ledger, chosen, key=KEY, rng=rng, clock=clock, sends_new=sends_new, since=since
                )
                prepare(engine)
                await engine.run()
            killed = ledger.dead
        return Ended(engine.counters, killed)

    with in_place() if schedule is None else schedule.of_blocking_work():
        return run_virtual(main())


@contextmanager
def in_place() -> Iterator[None]:
    """Work that would be done on threads is done in its task: the clock never jumps over it."""

    async def run(work: Callable[[], R], /) -> R:
        await anyio.lowlevel.checkpoint()
        return work()

    with blocking_work_by(run):
        yield
