"""Every answer has an end, no redirect is followed, and nothing of an answer is kept for the next request."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from botocore.awsrequest import AWSRequest

from bulkedit.client.aws import AwsClient, connect
from bulkedit.client.contract import Connection, UpdateRequest
from bulkedit.client.responses import Datastore, Lost, Metadata
from bulkedit.client.transport import ANSWER_BYTES, METADATA_BYTES, AnswerTooLargeError, Transport, UnverifiedError
from tests.wire.servers import DATASTORE, http, serving, streaming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

IMAGE_SET = "0" * 32
# one method for each form of request and answer
METHODS: dict[str, Callable[[AwsClient], Awaitable[object]]] = {
    "update": lambda client: client.update(UpdateRequest(image_set_id=IMAGE_SET, expected_version=1, updatable="{}")),
    "get_image_set": lambda client: client.get_image_set(IMAGE_SET),
    "get_metadata": lambda client: client.get_metadata(IMAGE_SET),
    "delete": lambda client: client.delete(IMAGE_SET),
}
of_each_method = pytest.mark.parametrize("method", METHODS)


@asynccontextmanager
async def client_of(port: int, **options: Any) -> AsyncIterator[AwsClient]:
    where = Connection(datastore_id=DATASTORE, endpoint_url=f"http://127.0.0.1:{port}", **options)
    async with connect(where) as client:
        yield client


@of_each_method
@pytest.mark.parametrize("status", range(301, 309))
async def test_a_redirect_is_a_lost_answer_and_not_followed(method: str, status: int) -> None:
    async with serving() as elsewhere:
        away = http(status, "", Location=f"http://127.0.0.1:{elsewhere.port}/")
        async with serving(answer=away) as server, client_of(server.port) as client:
            assert await METHODS[method](client) == Lost(f"HTTP {status} without an error type")
    assert (len(server.requests), elsewhere.requests) == (1, [])


@of_each_method
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "endless"])
async def test_an_answer_larger_than_any_of_the_service_is_lost(method: str, announced: bool) -> None:
    limit = METADATA_BYTES if method == "get_metadata" else ANSWER_BYTES
    head = f"Content-Length: {limit + 1}" if announced else "Connection: close"
    async with streaming(head, b"x" * 65536) as server, client_of(server.port) as client:
        assert await METHODS[method](client) == Lost("AnswerTooLargeError")
    assert server.sent <= limit + 4_000_000  # what the buffers between the two hold


async def test_an_error_with_an_endless_body_is_lost() -> None:
    async with streaming("Connection: close", b"x" * 65536, status=500) as server, client_of(server.port) as client:
        assert await client.get_datastore() == Lost("AnswerTooLargeError")


async def test_a_document_that_unpacks_to_more_than_the_service_keeps_is_lost() -> None:
    bomb = gzip.compress(b'{"a": "' + bytes(METADATA_BYTES) + b'"}')
    assert len(bomb) < 100_000
    async with serving(answer=http(200, bomb)) as server, client_of(server.port) as client:
        assert await client.get_metadata(IMAGE_SET) == Lost("AnswerTooLargeError")


async def test_a_document_in_several_members_of_gzip_is_read() -> None:
    packed = gzip.compress(b'{"Study": ') + gzip.compress(b"{}}")
    async with serving(answer=http(200, packed)) as server, client_of(server.port) as client:
        assert await client.get_metadata(IMAGE_SET) == Metadata({"Study": {}})


@of_each_method
async def test_an_answer_that_drips_ends_with_its_total_time(method: str) -> None:
    """Each byte comes in time, and the last one never."""
    async with (
        streaming("Content-Length: 100000", b" ", every=0.01) as server,
        client_of(server.port, read_timeout_s=60, answer_timeout_s=0.3) as client,
    ):
        assert await METHODS[method](client) == Lost("ReadTimeoutError")


async def test_cookies_are_not_kept() -> None:
    async with serving() as server, client_of(server.port) as client:
        server.headers["Set-Cookie"] = "who=you; Path=/"
        for _ in range(2):
            assert isinstance(await client.get_datastore(), Datastore)
    assert [b"cookie" in request.lower() for request in server.requests] == [False, False]


async def test_a_body_that_was_read_is_a_stream_for_the_sdk() -> None:
    request = AWSRequest("GET", "http://127.0.0.1", stream_output=True).prepare()
    async with serving(answer=http(200, b"12345")) as server, Transport(answer_timeout_s=9) as transport:
        request.url = f"http://127.0.0.1:{server.port}/"
        answer = await transport.send(request)
        async with answer.raw as body:
            assert [await body.content.read(3), await body.content.read(3), await body.content.read()] == [
                b"123",
                b"45",
                b"",
            ]


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n12345"
    async with serving(answer=whole) as server, Transport(answer_timeout_s=9) as transport:
        answer = await transport.send(AWSRequest("GET", f"http://127.0.0.1:{server.port}/").prepare())
    assert await answer.content == b"12345"


async def test_a_connection_that_takes_too_long_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def late(*_: object, **__: object) -> None:
        raise aiohttp.ConnectionTimeoutError

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", late)
    async with client_of(1) as client:
        assert await client.get_datastore() == Lost("ConnectTimeoutError")


async def test_a_client_certificate_that_cannot_be_read_sends_nothing() -> None:
    async with serving() as server, Transport(answer_timeout_s=9, client_cert="/none.pem") as transport:
        with pytest.raises(UnverifiedError, match=r"/none\.pem"):
            await transport.send(AWSRequest("GET", f"https://127.0.0.1:{server.port}/").prepare())
    assert server.requests == []


async def test_a_transport_can_be_used_again_after_it_was_closed() -> None:
    async with serving() as server:
        transport = Transport(answer_timeout_s=9)
        for _ in range(2):
            async with transport:
                await transport.send(AWSRequest("GET", f"http://127.0.0.1:{server.port}/").prepare())
    assert len(server.requests) == 2


async def test_nothing_listens_and_nothing_is_left_open() -> None:
    async with client_of(1) as client:
        found = await asyncio.gather(*(client.get_datastore() for _ in range(3)))
    assert found == [Lost("ConnectionRefusedError")] * 3


def test_certificates_cannot_be_left_unverified() -> None:
    with pytest.raises(ValueError, match="always verified"):
        Transport(answer_timeout_s=1, verify=False)


def test_settings_of_a_proxy_that_would_count_for_the_server_too_are_refused() -> None:
    with pytest.raises(ValueError, match="proxies_config"):
        Transport(answer_timeout_s=1, proxies_config={"proxy_ca_bundle": "x.pem"})


def test_an_answer_that_is_too_large_says_how_large() -> None:
    assert str(ANSWER_BYTES) in str(AnswerTooLargeError(ANSWER_BYTES))
