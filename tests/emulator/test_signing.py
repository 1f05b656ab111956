"""Access: with a key pair the emulator takes only what that pair has signed (SigV4)."""

from __future__ import annotations

import http.client
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.exceptions import ClientError

from bulkedit.emulator import DEFAULT_DATASTORE_ID, Credentials, Emulator, Settings, SystemClock, serve
from bulkedit.emulator.http.signing import BadSignature, IncompleteSignature, check_time
from tests.emulator.hospital import Json, document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEYS = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")


@pytest.fixture
def locked() -> Iterator[Emulator]:
    with serve(Settings(credentials=Credentials(*KEYS), scale=1000.0)) as running:
        yield running


def code_of(client: Json) -> str:
    with pytest.raises(ClientError) as caught:
        client.list_datastores()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    return str(caught.value.response["Error"]["Code"])


def test_the_right_keys_are_let_in_by_every_kind_of_request(locked: Emulator, client_of: Callable[..., Json]) -> None:
    client = client_of(locked, KEYS)
    one = locked.add(document())
    arn = client.get_image_set(datastoreId=DEFAULT_DATASTORE_ID, imageSetId=one)["imageSetArn"]
    client.tag_resource(resourceArn=arn, tags={"a": "b c/d=é"})
    client.untag_resource(resourceArn=arn, tagKeys=["a", "b"])
    client.search_image_sets(datastoreId=DEFAULT_DATASTORE_ID, maxResults=1)
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {}


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ((KEYS[0], "wrong"), "InvalidSignatureException"),
        (("AKIDSTRANGER", KEYS[1]), "UnrecognizedClientException"),
    ],
    ids=["secret key", "access key"],
)
def test_wrong_keys_are_not(locked: Emulator, client_of: Callable[..., Json], keys: tuple[str, str], code: str) -> None:
    assert code_of(client_of(locked, keys)) == code


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "MissingAuthenticationTokenException"),
        ("Basic YTpi", "IncompleteSignatureException"),
        ("AWS4-HMAC-SHA256 Credential=x", "IncompleteSignatureException"),
    ],
)
def test_what_is_not_signed_is_refused(locked: Emulator, header: str | None, code: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(locked).netloc)
    connection.request("GET", "/datastore", headers={} if header is None else {"Authorization": header})
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("x-amzn-ErrorType")) == (403, code)
    connection.close()


@pytest.mark.parametrize("part", ["body", "path", "query", "header"])
def test_whatever_was_changed_on_the_way_is_found_out(locked: Emulator, part: str) -> None:
    path = f"/datastore/{DEFAULT_DATASTORE_ID}/searchImageSets"
    request = AWSRequest("POST", f"{locked}{path}?maxResults=1", data=b"{}", headers={"X-Amz-Meta": "a"})
    SigV4Auth(BotocoreCredentials(*KEYS), "medical-imaging", "us-east-1").add_auth(request)
    target, body, headers = f"{path}?maxResults=1", b"{}", dict(request.headers.items())
    assert status_of(locked, target, body, headers) == 200
    target = {"path": target.replace("1/", "2/"), "query": target.replace("=1", "=2")}.get(part, target)
    headers |= {"X-Amz-Meta": "b"} if part == "header" else {}
    assert status_of(locked, target, b"{ }" if part == "body" else body, headers) == 403


def status_of(emulator: Emulator, target: str, body: bytes, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection(urlsplit(emulator).netloc)
    connection.request("POST", target, body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_signature_is_good_for_five_minutes() -> None:
    headers = {"X-Amz-Date": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(1_700_000_000))}
    for seconds in (-300, 300):
        check_time(headers, 1_700_000_000 + seconds)
    for seconds in (-301, 301):
        with pytest.raises(BadSignature):
            check_time(headers, 1_700_000_000 + seconds)
    with pytest.raises(IncompleteSignature):
        check_time({}, 0)


def test_the_secret_key_is_in_no_text() -> None:
    settings = Settings(credentials=Credentials(*KEYS))
    assert KEYS[1] not in repr(settings)


def test_without_keys_anyone_on_this_machine_is_let_in(client_of: Callable[..., Json]) -> None:
    with serve(Settings(), clock=SystemClock()) as emulator:
        assert client_of(emulator).list_datastores()["datastoreSummaries"]
