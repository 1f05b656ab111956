"""The short way of a request puts on the wire what the SDK's way does, and understands the answers alike."""

from __future__ import annotations

import asyncio
import calendar
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import botocore.auth
import pytest
from aiobotocore.client import AioBaseClient
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from botocore.signers import RequestSigner
from hypothesis import given, settings
from hypothesis import strategies as some

from bulkedit.aws import AwsClient, connect
from bulkedit.aws_requests import Direct, Signer
from bulkedit.client import Connection, CopyRequest, UpdateRequest
from bulkedit.emulator import Credentials, Settings, serve
from bulkedit.outcome import Accepted, Refusal, Refused

from .emulator.hospital import document
from .test_aws import connection, study_edit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ID = "1" * 32


@pytest.fixture(autouse=True)
def one_invocation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK gives each request a random number."""
    monkeypatch.setattr(uuid, "uuid4", lambda: "an invocation")


# -- the signature

REGION, SERVICE = "eu-west-1", "medical-imaging"
SIGNER = Signer(REGION, SERVICE)  # one for all examples, which change the day and the secret under it

texts = some.text(some.characters(codec="utf-8"), max_size=20)
header_values = some.text(some.characters(min_codepoint=32, max_codepoint=126), max_size=30)
header_names = some.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True).filter(
    lambda name: name.lower() not in {"host", "date", "authorization", "x-amz-date", "x-amz-content-sha256"}
)
segments = texts.map(lambda text: quote(text, safe="-_.~")) | some.sampled_from(["", ".", "..", "~a", "%2F", "a+b"])
seconds = some.integers(0, 4_102_444_800)


@given(
    method=some.sampled_from(["GET", "POST", "DELETE"]),
    path=some.lists(segments, max_size=5).map(lambda parts: "/" + "/".join(parts)),
    query=some.lists(some.tuples(texts, texts), max_size=4),
    headers=some.dictionaries(header_names, header_values, max_size=4),
    body=some.none() | some.binary(min_size=1, max_size=200),
    keys=some.tuples(some.sampled_from(["k", "other"]), some.sampled_from(["s", "tü"]), some.none() | some.just("t")),
    now=seconds,
)
def test_the_signature_is_botocores(  # noqa: PLR0917 - by name
    method: str,
    path: str,
    query: list[tuple[str, str]],
    headers: dict[str, str],
    body: bytes | None,
    keys: tuple[str, str, str | None],
    now: int,
) -> None:
    names = {name.lower(): name for name in headers}  # HTTP knows no difference
    headers = {name: headers[name] for name in names.values()}
    host = "runtime-x.example:8443"
    url = f"https://{host}{path}"
    if query:
        url += "?" + "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query)
    credentials = ReadOnlyCredentials(*keys)
    ours = dict(headers)
    SIGNER.sign(method, url, ours, body, host=host, credentials=credentials, now=now)
    request = AWSRequest(method, url, headers, body)
    with pytest.MonkeyPatch.context() as patch:
        stop_clock(patch, now)
        SigV4Auth(credentials, SERVICE, REGION).add_auth(request)
    assert ours == dict(request.headers.items())


def stop_clock(patch: pytest.MonkeyPatch, now: int) -> None:
    stopped = datetime.fromtimestamp(now, UTC).replace(tzinfo=None)
    patch.setattr(botocore.auth, "get_current_datetime", lambda: stopped)


# -- whole requests


def catch_requests(client: AwsClient) -> list[dict[str, Any]]:
    """Requests of the client from here on, as they would have left."""
    caught: list[dict[str, Any]] = []

    def catch(request: Any, **_: object) -> None:
        headers = {name: v.decode() if isinstance(v, bytes) else v for name, v in request.headers.items()}
        caught.append({"method": request.method, "url": request.url, "body": request.body, "headers": headers})
        raise EndpointConnectionError(endpoint_url="nowhere")

    client._api.meta.events.register("before-send", catch)
    return caught


ids = some.text(some.characters(codec="utf-8"), min_size=1, max_size=32)
versions = some.integers(1, 10**6)
documents = some.none() | some.text(max_size=300)
updates = some.builds(
    UpdateRequest,
    image_set_id=ids,
    base=versions,
    updatable=documents,
    removable=documents,
    revert_to=some.none() | versions,
    force=some.booleans(),
    include_study=some.booleans(),
)
Call = Callable[[AwsClient], Awaitable[object]]
calls: some.SearchStrategy[Call] = some.one_of(
    updates.map(lambda request: lambda client: client.update(request)),
    some.builds(CopyRequest, image_set_id=ids, base=versions, promote=some.booleans()).map(
        lambda request: lambda client: client.copy(request)
    ),
    ids.map(lambda one: lambda client: client.delete(one)),
    some.tuples(ids, some.none() | versions).map(lambda of: lambda client: client.get_image_set(*of)),
    some.tuples(ids, some.none() | versions).map(lambda of: lambda client: client.get_metadata(*of)),
    some.tuples(ids, some.integers(1, 50), some.none() | texts).map(
        lambda of: lambda client: client.list_versions(of[0], limit=of[1], next_token=of[2])
    ),
    texts.map(lambda text: {"filters": [{"operator": "EQUAL", "values": [{"DICOMPatientId": text}]}]}).map(
        lambda criteria: lambda client: client.search(criteria)
    ),
    some.just(lambda client: client.get_datastore()),
)

AT_HOST = "https://vpce-1.medical-imaging.eu-west-1.vpce.amazonaws.com"
WHERE: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "at AWS": ({"region": "eu-west-1"}, {}),
    "in another partition": ({"region": "cn-north-1"}, {}),
    "with FIPS": ({"region": "us-east-1"}, {"AWS_USE_FIPS_ENDPOINT": "true"}),
    "with dual stack": ({"region": "us-east-1"}, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}),
    "with a session token": ({"region": "us-east-1"}, {"AWS_SESSION_TOKEN": "token/with+signs=="}),
    "in a Lambda function": ({}, {"AWS_LAMBDA_FUNCTION_NAME": "f", "_X_AMZN_TRACE_ID": "Root=1-a;Parent=\u00fc"}),
    "at a local emulator": ({"endpoint_url": "http://127.0.0.1:8104"}, {}),
    "at the usual port": ({"endpoint_url": "https://Proxy.Example:443"}, {}),
    "at IPv6": ({"endpoint_url": "http://[::1]:8104"}, {}),
    "behind a path": ({"endpoint_url": "https://host.example:8443/a/./b/"}, {}),
    "at an interface endpoint": ({"endpoint_url": AT_HOST}, {}),
}


@pytest.mark.parametrize(("options", "environment"), WHERE.values(), ids=list(WHERE))
def test_both_ways_send_the_same(
    options: dict[str, Any], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with asyncio.Runner() as runner:
        opening = connect(Connection(datastore_id=ID, **options))
        client = runner.run(opening.__aenter__())
        caught = catch_requests(client)

        @given(call=calls, datastore=ids)
        @settings(max_examples=40)
        def check(call: Call, datastore: str) -> None:
            client._datastore_id = datastore
            caught.clear()
            answer = runner.run(_of(call, client))
            assert all(client._api._ways.values())
            with pytest.MonkeyPatch.context() as patch:
                if caught:  # else botocore has found the parameters wrong
                    signed_at = time.strptime(caught[0]["headers"]["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
                    stop_clock(patch, calendar.timegm(signed_at))
                patch.setattr(Direct, "_make_api_call", AioBaseClient._make_api_call)
                assert runner.run(_of(call, client)) == answer
            assert caught[: len(caught) // 2] == caught[len(caught) // 2 :]

        check()
        runner.run(opening.__aexit__(None, None, None))


async def _of(call: Call, client: AwsClient) -> object:
    return await call(client)


@pytest.mark.parametrize("event", ["before-call", "before-sign", "before-parameter-build", "request-created"])
async def test_an_operation_with_a_hook_that_is_not_known_goes_the_sdks_way(event: str) -> None:
    hooked: list[str] = []
    async with connect(Connection(datastore_id=ID)) as client:
        client._api.meta.events.register(f"{event}.medical-imaging", lambda **of: hooked.append(of["event_name"]))
        caught = catch_requests(client)
        await client.get_image_set(ID)
    assert client._api._ways == {"GetImageSet": None}
    assert hooked == [f"{event}.medical-imaging.GetImageSet"]
    assert "Authorization" in caught[0]["headers"]


async def test_an_sdk_that_is_built_otherwise_goes_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(RequestSigner, "region_name")
    async with connect(Connection(datastore_id=ID)) as client:
        caught = catch_requests(client)
        await client.get_image_set(ID)
    assert client._api._ways == {"GetImageSet": None}
    assert "Authorization" in caught[0]["headers"]


# -- answers


ANSWERS = {
    "an answer": (200, {}, b'{"imageSetId": "x", "versionId": "7", "imageSetState": "ACTIVE", "createdAt": 1.7e9}'),
    "no JSON": (200, {}, b"<html>sign in</html>"),
    "a modelled error": (404, {"x-amzn-ErrorType": "ResourceNotFoundException:x"}, b'{"message": "not the latest."}'),
    "a throttle": (429, {"x-amzn-ErrorType": "ThrottlingException", "Retry-After": "3"}, b'{"message": "slow"}'),
    "an error of no model": (403, {}, b'{"code": "ExpiredTokenException", "message": "expired"}'),
    "a page": (503, {}, b"<html>busy</html>"),
    "nothing": (500, {}, b""),
}


@pytest.mark.parametrize("operation", ["get_image_set", "get_image_set_metadata"])
@pytest.mark.parametrize(("status", "headers", "body"), ANSWERS.values(), ids=list(ANSWERS))
async def test_both_ways_read_the_same(
    status: int, headers: dict[str, str], body: bytes, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found() -> object:
        async with answering(status, headers, body) as url, connect(connection(url)) as client:
            try:
                answer = await getattr(client._api, operation)(datastoreId=ID, imageSetId=ID)
                if "imageSetMetadataBlob" in answer:
                    answer["imageSetMetadataBlob"] = await answer["imageSetMetadataBlob"].read()
            except ClientError as error:
                return type(error).__name__, error.operation_name, str(error), error.response
            except Exception as error:  # noqa: BLE001 - whatever it is
                return type(error).__name__, str(error)
            return answer

    ours = await found()
    monkeypatch.setattr(Direct, "_make_api_call", AioBaseClient._make_api_call)
    assert await found() == ours


@asynccontextmanager
async def answering(status: int, headers: dict[str, str], body: bytes) -> AsyncIterator[str]:
    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status, headers={**headers, "Date": "today"}, body=body)

    async with RawTestServer(answer, skip_url_asserts=True) as server:
        yield str(server.make_url("/"))


async def test_the_service_takes_the_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Credentials("AKIDEXAMPLE", "a secret")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_key)
    with serve(Settings(scale=1000.0, credentials=keys)) as emulator:
        image_set_id = emulator.add(document())
        async with connect(connection(str(emulator))) as client:
            answer = await client.update(study_edit(image_set_id))
            client._api._request_signer._credentials.secret_key = "another"
            refused = await client.update(study_edit(image_set_id, 2))
    assert answer == Accepted(2)
    assert isinstance(refused, Refused)
    assert (refused.kind, refused.code) == (Refusal.CREDENTIALS, "InvalidSignatureException")


async def test_without_credentials_nothing_leaves() -> None:
    async with connect(Connection(datastore_id=ID)) as client:
        caught = catch_requests(client)
        client._api._request_signer._credentials = None
        with pytest.raises(NoCredentialsError):
            await client._api.get_image_set(datastoreId=ID, imageSetId=ID)
    assert not caught
