"""Runs an emulator inside another program: in its own thread, or in the caller's event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, Self, TypeVar

from aiohttp import web

from bulkedit.emulator.http.server import Server
from bulkedit.emulator.http.signing import Credentials
from bulkedit.emulator.settings import DEFAULT_DATASTORE_ID, Settings
from bulkedit.emulator.state.image_set import NEVER, Tier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from bulkedit._json import Json
    from bulkedit.emulator.clock import EmulatorClock
    from bulkedit.emulator.state.journal import Entry
    from bulkedit.emulator.state.world import World

_T = TypeVar("_T")

LONGEST_LINE: Final = 64 * 1024  # the longest request line has 200 encoded tag keys

# off, because aiohttp quotes malformed requests, which may contain health data
_SILENT = logging.getLogger("bulkedit.emulator.http")
_SILENT.setLevel(logging.CRITICAL + 1)


class Emulator(str):
    """The URL of a running emulator, with methods to control it.

    It is a string, so any client accepts it as the endpoint. Its methods may be called from any thread; they run on the
    server's thread.
    """

    __slots__ = ("_loop", "_thread_id", "server")

    server: Server
    _loop: asyncio.AbstractEventLoop
    _thread_id: int
    datastore_id = DEFAULT_DATASTORE_ID

    def __new__(cls, url: str, server: Server, loop: asyncio.AbstractEventLoop, thread_id: int) -> Self:
        """Make an emulator for a server that runs on ``loop`` in the thread ``thread_id``."""
        self = super().__new__(cls, url)
        self.server, self._loop, self._thread_id = server, loop, thread_id
        return self

    @property
    def url(self) -> str:
        """The endpoint URL, for example http://127.0.0.1:8080."""
        return str(self)

    @property
    def clock(self) -> EmulatorClock:
        """The server's clock."""
        return self.server.clock

    def do(self, action: Callable[[World], _T]) -> _T:
        """Call a function that reads or changes the world, between two requests. Returns its result."""

        def step() -> _T:
            self.server.catch_up()
            try:
                return action(self.server.world)
            finally:
                self.server.catch_up()

        if threading.get_ident() == self._thread_id:
            return step()

        async def run() -> _T:
            return step()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def add(
        self,
        document: Mapping[str, Json],
        datastore_id: str = DEFAULT_DATASTORE_ID,
        *,
        image_set_id: str | None = None,
        primary: bool | None = None,
        storage_tier: str = Tier.FREQUENT,
    ) -> str:
        """Import one metadata document, as JSON in the form of GetImageSetMetadata. Returns the image set id.

        ``image_set_id``: None derives it from the document. ``primary``: None applies the service's rule.
        ``storage_tier``: FREQUENT_ACCESS or ARCHIVE_INSTANT_ACCESS.

        Raises ValueError if the id exists, KeyError if the data store does not exist, and TypeError if the document is
        malformed. See `World.add_image_set`.
        """
        now = self.server.now()
        return self.do(
            lambda world: world.add_image_set(
                datastore_id, document, now=now, image_set_id=image_set_id, primary=primary, storage_tier=storage_tier
            )
        )

    def lock(self, image_set_id: str, seconds: float = NEVER, datastore_id: str = DEFAULT_DATASTORE_ID) -> None:
        """Lock an image set as another writer does that copies it, for ``seconds`` or for ever. No version is made.

        Does nothing if it is locked or deleted. Raises NotFound.
        """
        now = self.server.now()
        self.do(lambda world: world.lock_as_another(world.image_set(datastore_id, image_set_id), now, seconds))

    def journal(self, since: int = 0) -> list[Entry]:
        """All requests and state changes after the entry with the number ``since``, oldest first."""
        return self.do(lambda _: self.server.journal.since(since))

    def environment(self) -> dict[str, str]:
        """Environment variables that make the AWS CLI and SDKs use this emulator."""
        credentials = self.server.settings.credentials or Credentials("emulator", "emulator")
        return {
            "AWS_ENDPOINT_URL_MEDICAL_IMAGING": self.url,
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
            "AWS_ACCESS_KEY_ID": credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
            "AWS_REGION": self.server.settings.region,
            "AWS_DEFAULT_REGION": self.server.settings.region,
        }


@asynccontextmanager
async def serve_async(
    settings: Settings | None = None, *, clock: EmulatorClock | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Emulator]:
    """Run an emulator in the caller's event loop until the block ends. Arguments and errors: see `serve`."""
    server = Server(settings, clock=clock, host=host)
    http = web.Server(
        server.handle, access_log=None, logger=_SILENT, max_line_size=LONGEST_LINE, max_field_size=LONGEST_LINE
    )
    runner = web.ServerRunner(http, shutdown_timeout=1.0)
    await runner.setup()
    server.resume_jobs()
    try:
        await web.TCPSite(runner, host, port).start()
        bound = runner.addresses[0][1]
        shown = f"[{host}]" if ":" in host else host
        yield Emulator(f"http://{shown}:{bound}", server, asyncio.get_running_loop(), threading.get_ident())
    finally:
        await runner.cleanup()
        await server.close()


@contextmanager
def serve(
    settings: Settings | None = None, *, clock: EmulatorClock | None = None, host: str = "127.0.0.1", port: int = 0
) -> Iterator[Emulator]:
    """Run an emulator in its own thread until the block ends.

    ``settings``: behaviour, quotas and faults; the default throttles as AWS does. ``clock``: real time by default.
    ``host``: the address to listen on. ``port``: 0 selects a free port.

    Raises OSError if the address is in use, and StateError if the state file cannot be used.

        with serve(Settings(scale=UNTHROTTLED)) as emulator:
            image_set_id = emulator.add(document)
            client = boto3.client(
                "medical-imaging", endpoint_url=emulator, config=Config(inject_host_prefix=False)
            )
            client.get_image_set(datastoreId=emulator.datastore_id, imageSetId=image_set_id)
    """
    started: Future[tuple[Emulator, Callable[[], object]]] = Future()

    async def main() -> None:
        done, loop = asyncio.Event(), asyncio.get_running_loop()
        async with serve_async(settings, clock=clock, host=host, port=port) as emulator:
            started.set_result((emulator, lambda: loop.call_soon_threadsafe(done.set)))
            await done.wait()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=run, name="bulkedit-emulator", daemon=True)
    thread.start()
    emulator, stop = started.result()
    try:
        yield emulator
    finally:
        stop()
        thread.join()
