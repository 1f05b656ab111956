"""A minimal HealthImaging service: GetImageSet and UpdateImageSetMetadata over HTTP, in a few microseconds per request.

So the client is the bottleneck. An update is complete as soon as it is accepted. The service runs in a process of its
own, on the last core if there are several.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

_HEAD = b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


class _Service(asyncio.Protocol):
    """One connection, with one request at a time, as SDKs send them."""

    def __init__(self, versions: dict[str, int]) -> None:
        self._versions = versions
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        if (at := head.lower().find(b"content-length:")) >= 0 and len(body) < int(head[at + 15 :].split(b"\r\n", 1)[0]):
            return
        self._buffer = b""
        status, answer = self._answer(head.split(b" ", 2)[1].decode())
        self._transport.write(_HEAD % (status, len(answer)) + answer)

    def _answer(self, target: str) -> tuple[int, bytes]:
        # /datastore/{id}/imageSet/{id}/updateImageSetMetadata?latestVersion=1
        path, _, query = target.partition("?")
        parts = path.split("/")
        if len(parts) < 6:
            return 200, _json(datastoreProperties={"datastoreId": parts[2], "datastoreStatus": "ACTIVE"})
        image_set, operation = parts[4], parts[5]
        version = self._versions.get(image_set, 1)
        if operation == "updateImageSetMetadata":
            if f"latestVersion={version}" not in query.split("&"):
                return 404, _json(message="Requested version(s) of ImageSet(s) is not the latest.")
            self._versions[image_set] = version + 1
            states = {"imageSetState": "LOCKED", "imageSetWorkflowStatus": "UPDATING"}
            times = {"createdAt": 1.7e9, "updatedAt": 1.7e9}
            return 200, _json(
                datastoreId=parts[2], imageSetId=image_set, latestVersionId=str(version + 1), **states, **times
            )
        status = "UPDATED" if version > 1 else "CREATED"
        states = {"versionId": str(version), "imageSetState": "ACTIVE", "imageSetWorkflowStatus": status}
        return 200, _json(datastoreId=parts[2], imageSetId=image_set, createdAt=1.7e9, updatedAt=1.7e9, **states)


def _json(**members: object) -> bytes:
    return json.dumps(members).encode()


def cores() -> tuple[set[int], set[int]]:
    """Return the cores for the client, and for the service."""
    there = sorted(os.sched_getaffinity(0))
    return (set(there[:-1]), {there[-1]}) if len(there) > 1 else (set(there), set(there))


def _process(pipe: Connection) -> None:
    os.sched_setaffinity(0, cores()[1])
    asyncio.run(_listen(pipe))


async def _listen(pipe: Connection) -> None:
    versions: dict[str, int] = {}
    server = await asyncio.get_running_loop().create_server(lambda: _Service(versions), "127.0.0.1", 0)
    pipe.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await asyncio.to_thread(pipe.poll, None)


@contextlib.contextmanager
def canned() -> Iterator[str]:
    """Run the service; yield its URL."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    child = spawn.Process(target=_process, args=(theirs,))
    child.start()
    try:
        yield ours.recv()
    finally:
        ours.send("stop")
        child.join()


@contextlib.contextmanager
def on_client_cores() -> Iterator[None]:
    """Run this process on other cores than the service."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores()[0])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
