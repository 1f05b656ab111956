"""Run an emulator inside another program: in a thread of its own, or in the caller's event loop."""

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
from bulkedit.emulator.state.image_set import Tier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from bulkedit._json import Json
    from bulkedit.emulator.clock import EmulatorClock
    from bulkedit.emulator.state.journal import Entry
    from bulkedit.emulator.state.world import World

_T = TypeVar("_T")

LONGEST_LINE: Final = 64 * 1024  # the longest request line: the keys of 200 tags, encoded

# aiohttp quotes what it could not parse, which may be health data
_SILENT = logging.getLogger("bulkedit.emulator.http")
_SILENT.setLevel(logging.CRITICAL + 1)


class Emulator(str):
    """The URL of a running emulator, and a handle on it.

    It is a string so that it can be given to any client as the endpoint. Its methods may be called from any thread;
    the work is done on the server's own.
    """

    __slots__ = ("_loop", "_thread_id", "server")

    server: Server
    _loop: asyncio.AbstractEventLoop
    _thread_id: int
    datastore_id = DEFAULT_DATASTORE_ID

    def __new__(cls, url: str, server: Server, loop: asyncio.AbstractEventLoop, thread_id: int) -> Self:
        """Make the handle of a server that runs on a loop in a thread."""
        self = super().__new__(cls, url)
        self.server, self._loop, self._thread_id = server, loop, thread_id
        return self

    @property
    def url(self) -> str:
        """The endpoint: http, host and port."""
        return str(self)

    @property
    def clock(self) -> EmulatorClock:
        """The server's clock."""
        return self.server.clock

    def do(self, action: Callable[[World], _T]) -> _T:
        """Have a function look at the world, or change it, between two requests. Answers what it answers."""

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
        """Import one metadata document at once, and answer the image set's id (`World.add_image_set`)."""
        now = self.server.now()
        return self.do(
            lambda world: world.add_image_set(
                datastore_id, document, now=now, image_set_id=image_set_id, primary=primary, storage_tier=storage_tier
            )
        )

    def journal(self, since: int = 0) -> list[Entry]:
        """Every request and every change of state after entry ``since``, oldest first."""
        return self.do(lambda _: self.server.journal.since(since))

    def environment(self) -> dict[str, str]:
        """The environment with which the AWS CLI and the SDKs use this emulator."""
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
    """Run an emulator in the caller's event loop until the block ends. Port 0 takes any that is free."""
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
    """Run an emulator in a thread of its own until the block ends. Port 0 takes any that is free."""
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
