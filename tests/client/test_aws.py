"""The client over aioboto3 keeps its contract, against the emulator and against broken servers."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError

from bulkedit._json import object_in
from bulkedit.client import aws_session
from bulkedit.client.aws import AwsClient, _identity, connect
from bulkedit.client.aws_session import open_session
from bulkedit.client.connect import destination_of
from bulkedit.client.contract import Connection, CopyRequest, UpdateRequest
from bulkedit.client.parsing import refusal_of
from bulkedit.client.responses import (
    Accepted,
    Datastore,
    ImageSet,
    ImageSetState,
    Lost,
    Metadata,
    Page,
    Refusal,
    Refused,
)
from bulkedit.client.sent import sent_requests
from bulkedit.client.transport import Transport
from bulkedit.emulator import DEFAULT_DATASTORE_ID, CompletionTime, Settings, serve
from bulkedit.emulator.api.model import service_model
from bulkedit.errors import CredentialsError, UsageError
from tests.emulator.hospital import document, in_patient, in_study

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from bulkedit.emulator import Emulator

ABSENT = "0" * 32
CANARY = "CANARY^JANE"


def connection(endpoint_url: str, **options: Any) -> Connection:
    return Connection(datastore_id=DEFAULT_DATASTORE_ID, endpoint_url=str(endpoint_url), **options)


def study_edit(image_set_id: str, expected_version: int = 1, **attributes: Any) -> UpdateRequest:
    text = json.dumps(in_study(**(attributes or {"StudyDescription": "HEAD"})))
    return UpdateRequest(image_set_id=image_set_id, expected_version=expected_version, updatable=text)


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[AwsClient]:
    async with connect(connection(emulator)) as opened:
        yield opened


async def completed(client: AwsClient, image_set_id: str) -> ImageSet:
    """The image set once it is unlocked."""
    while True:
        found = await client.get_image_set(image_set_id)
        assert isinstance(found, ImageSet)
        if found.state is ImageSetState.ACTIVE:
            return found
        await asyncio.sleep(0.005)


async def changed(client: AwsClient, request: UpdateRequest) -> ImageSet:
    """The image set after an update that is accepted."""
    assert await client.update(request) == Accepted(request.expected_version + 1)
    return await completed(client, request.image_set_id)


# -- the methods, against the emulator


class TestUpdate:
    async def test_an_accepted_update_names_the_version_to_come(self, emulator: Emulator, client: AwsClient) -> None:
        assert await client.update(study_edit(emulator.add(document()))) == Accepted(2)

    async def test_what_is_inserted_and_removed_is_in_the_next_version(
        self, emulator: Emulator, client: AwsClient
    ) -> None:
        image_set_id = emulator.add(document(ReferringPhysicianName="A"))
        request = UpdateRequest(
            image_set_id=image_set_id,
            expected_version=1,
            updatable=json.dumps(in_study(StudyDescription="HEAD")),
            removable=json.dumps(in_study(ReferringPhysicianName="A")),
        )
        assert (await changed(client, request)).status == "UPDATED"
        found = await client.get_metadata(image_set_id)
        assert isinstance(found, Metadata)
        after = object_in(found.document, "Study", "DICOM")
        assert (after["StudyDescription"], "ReferringPhysicianName" in after) == ("HEAD", False)

    async def test_a_revert_names_the_version_to_go_back_to(self, emulator: Emulator, client: AwsClient) -> None:
        image_set_id = emulator.add(document())
        before = await client.get_metadata(image_set_id)
        await changed(client, study_edit(image_set_id))
        await changed(client, UpdateRequest(image_set_id=image_set_id, expected_version=2, revert_to=1))
        assert await client.get_metadata(image_set_id) == before

    @pytest.mark.parametrize("force", [False, True], ids=["unforced", "forced"])
    @pytest.mark.parametrize("include_study", [False, True], ids=["alone", "study-wide"])
    async def test_force_and_include_study_image_sets_go_out_where_asked_for(
        self, emulator: Emulator, client: AwsClient, force: bool, include_study: bool
    ) -> None:
        # the pinned botocore's model does not know includeStudyImageSets: the package brings it along
        text = json.dumps(in_patient(PatientName="X"))
        image_set_id = emulator.add(document())
        await client.update(
            UpdateRequest(
                image_set_id=image_set_id, expected_version=1, updatable=text, force=force, include_study=include_study
            )
        )
        entry = next(entry for entry in emulator.journal() if entry.action == "UpdateImageSetMetadata")
        assert (entry.force, entry.study_wide, entry.expected_version) == (force, include_study, 1)

    async def test_a_parameter_of_the_wrong_type_is_refused_without_showing_it(
        self, emulator: Emulator, client: AwsClient
    ) -> None:
        request = UpdateRequest(image_set_id=cast("str", [CANARY]), expected_version=1, updatable=CANARY)
        assert await client.update(request) == Refused(Refusal.INVALID, "ParamValidationError")
        assert [entry.action for entry in emulator.journal() if entry.kind == "request"] == []


class TestReads:
    async def test_an_image_set_has_version_state_and_status(self, emulator: Emulator, client: AwsClient) -> None:
        image_set_id = emulator.add(document())
        found = await client.get_image_set(image_set_id)
        assert isinstance(found, ImageSet)
        assert (found.image_set_id, found.version, found.state, found.status, found.primary, found.storage_tier) == (
            image_set_id,
            1,
            ImageSetState.ACTIVE,
            "CREATED",
            True,
            "FREQUENT_ACCESS",
        )

    async def test_a_version_is_read_by_its_number(self, emulator: Emulator, client: AwsClient) -> None:
        image_set_id = emulator.add(document())
        await changed(client, study_edit(image_set_id))
        versions = [await client.get_image_set(image_set_id, number) for number in (1, 2)]
        assert [found.version for found in versions if isinstance(found, ImageSet)] == [1, 2]
        documents = [await client.get_metadata(image_set_id, number) for number in (1, 2)]
        texts = [
            object_in(found.document, "Study", "DICOM")["StudyDescription"]
            for found in documents
            if isinstance(found, Metadata)
        ]
        assert texts == ["CHEST", "HEAD"]

    async def test_a_failed_update_is_seen_with_its_message(self, emulator: Emulator, client: AwsClient) -> None:
        image_set_id = emulator.add(document())
        found = await changed(client, study_edit(image_set_id, PatientName="AT THE WRONG LEVEL"))
        assert (found.failed, found.version, found.message.startswith("INVALID_REQUEST")) == (True, 2, True)

    @pytest.mark.parametrize("instances", [1, 2000], ids=["small", "large"])
    async def test_metadata_comes_unpacked(self, emulator: Emulator, client: AwsClient, instances: int) -> None:
        content = document(instances=instances)
        (series,) = content["Study"]["Series"].values()
        rng = random.Random(5)
        for instance in series["Instances"].values():
            instance["DICOM"]["ImageComments"] = rng.randbytes(40).hex()  # so that gzip cannot make it small
        found = await client.get_metadata(emulator.add(content))
        assert isinstance(found, Metadata)
        (stored,) = object_in(found.document, "Study", "Series").values()
        assert object_in(stored, "Instances") == series["Instances"]

    async def test_versions_come_in_pages_newest_first(self, emulator: Emulator, client: AwsClient) -> None:
        image_set_id = emulator.add(document())
        for base in range(1, 5):
            await changed(client, study_edit(image_set_id, base))
        pages = await pages_of(lambda token: client.list_versions(image_set_id, limit=2, next_token=token))
        assert [[int(item["versionId"]) for item in page] for page in pages] == [[5, 4], [3, 2], [1]]

    async def test_search_finds_all_image_sets_in_pages(self, emulator: Emulator, client: AwsClient) -> None:
        ids = {emulator.add(document(study=f"1.2.{number}")) for number in range(5)}
        pages = await pages_of(lambda token: client.search(limit=2, next_token=token))
        assert [len(page) for page in pages] == [2, 2, 1]
        assert {item["imageSetId"] for page in pages for item in page} == ids

    async def test_search_criteria_go_out(self, emulator: Emulator, client: AwsClient) -> None:
        wanted = emulator.add(document(patient="P7", study="1.2.7"))
        emulator.add(document(patient="P8", study="1.2.8"))
        criteria: dict[str, Any] = {"filters": [{"operator": "EQUAL", "values": [{"DICOMPatientId": "P7"}]}]}
        found = await client.search(criteria)
        assert isinstance(found, Page)
        assert [item["imageSetId"] for item in found.items] == [wanted]

    async def test_the_data_store_is_the_one_that_the_client_is_bound_to(self, client: AwsClient) -> None:
        found = await client.get_datastore()
        assert isinstance(found, Datastore)
        assert (found.datastore_id, found.status) == (DEFAULT_DATASTORE_ID, "ACTIVE")


async def pages_of(fetch: Callable[[str | None], Coroutine[Any, Any, Page | Refused | Lost]]) -> list[list[Any]]:
    pages: list[list[Any]] = []
    token: str | None = None
    while True:
        page = await fetch(token)
        assert isinstance(page, Page)
        pages.append([*page.items])
        token = page.next_token
        if token is None:
            return pages


class TestRefusals:
    async def test_an_image_set_that_does_not_exist_is_not_found(self, client: AwsClient) -> None:
        answers = [
            await client.update(study_edit(ABSENT)),
            await client.get_image_set(ABSENT),
            await client.get_metadata(ABSENT),
            await client.list_versions(ABSENT),
        ]
        assert [kind_of(answer) for answer in answers] == [Refusal.NOT_FOUND] * 4

    async def test_a_version_that_is_not_the_latest_is_stale(self, emulator: Emulator, client: AwsClient) -> None:
        image_set_id = emulator.add(document())
        await changed(client, study_edit(image_set_id))
        assert kind_of(await client.update(study_edit(image_set_id, expected_version=1))) == Refusal.STALE

    async def test_a_request_that_can_never_be_accepted_is_invalid(self, emulator: Emulator, client: AwsClient) -> None:
        request = UpdateRequest(image_set_id=emulator.add(document()), expected_version=1, updatable="no JSON")
        assert kind_of(await client.update(request)) == Refusal.INVALID

    async def test_a_locked_image_set_is_a_conflict_and_one_too_many_is_its_own_kind(self) -> None:
        settings = Settings(scale=100, concurrent=1, completion_time=CompletionTime(seconds=60))
        with serve(settings) as emulator:
            first, second = (emulator.add(document(study=study)) for study in ("1.2.1", "1.2.2"))
            async with connect(connection(emulator)) as client:
                answers = [await client.update(study_edit(one)) for one in (first, first, second)]
        assert answers[0] == Accepted(2)
        assert [kind_of(answer) for answer in answers[1:]] == [Refusal.CONFLICT, Refusal.TOO_MANY]

    async def test_a_request_above_the_quota_is_throttled(self) -> None:
        with serve() as emulator:
            image_set_id = emulator.add(document())
            async with connect(connection(emulator)) as client:
                answers = [await client.update(study_edit(image_set_id)) for _ in range(2)]
        assert kind_of(answers[1]) == Refusal.THROTTLED


def kind_of(answer: object) -> Refusal:
    assert isinstance(answer, Refused), answer
    return answer.kind


# -- what an error answer means


def error(status: int, code: str = "", message: str = "", **headers: str) -> dict[str, Any]:
    """An error response as botocore hands it over."""
    typed = {"x-amzn-errortype": code} if code else {}
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    meta = {"HTTPStatusCode": status, "HTTPHeaders": typed | given}
    return {"Error": {"Code": code, "Message": message}, "ResponseMetadata": meta}


OF_THE_MODEL = {
    "AccessDeniedException": Refusal.ACCESS_DENIED,
    "BadRequestException": Refusal.UNKNOWN,  # of GetImageFrame only, as is the next
    "ConflictException": Refusal.CONFLICT,
    "InternalServerException": None,  # lost
    "NotAcceptableException": Refusal.UNKNOWN,
    "ResourceNotFoundException": Refusal.NOT_FOUND,
    "ServiceQuotaExceededException": Refusal.TOO_MANY,
    "ThrottlingException": Refusal.THROTTLED,
    "ValidationException": Refusal.INVALID,
}


def shapes_of_errors() -> dict[str, int]:
    shapes = (service_model().shape_for(name) for name in service_model().shape_names)
    return {
        shape.name: shape.metadata["error"]["httpStatusCode"] for shape in shapes if shape.metadata.get("exception")
    }


class TestRefusalOf:
    def test_every_error_of_the_services_model_has_a_meaning(self) -> None:
        assert sorted(OF_THE_MODEL) == sorted(shapes_of_errors())

    @pytest.mark.parametrize(("code", "kind"), OF_THE_MODEL.items(), ids=list(OF_THE_MODEL))
    def test_an_error_of_the_services_model_means(self, code: str, kind: Refusal | None) -> None:
        found = refusal_of(error(shapes_of_errors()[code], code, "words"))
        assert found == (Lost(code) if kind is None else Refused(kind, code, "words"))

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, Refusal.UNKNOWN),
            (401, Refusal.CREDENTIALS),
            (402, Refusal.TOO_MANY),
            (403, Refusal.ACCESS_DENIED),
            (404, Refusal.NOT_FOUND),
            (409, Refusal.CONFLICT),
            (413, Refusal.UNKNOWN),
            (429, Refusal.THROTTLED),
        ],
    )
    def test_an_unknown_code_means_what_its_status_means(self, status: int, kind: Refusal) -> None:
        assert refusal_of(error(status, "SomethingNewException")) == Refused(kind, f"HTTP {status}")

    @pytest.mark.parametrize("status", [300, 302, 400, 401, 402, 403, 404, 407, 408, 409, 413, 429, 500, 502, 503, 511])
    @pytest.mark.parametrize("code", ["", "403", "blocked"], ids=["no code", "status as code", "field of a page"])
    def test_an_answer_without_the_services_error_type_is_lost_whatever_its_status(
        self, status: int, code: str
    ) -> None:
        answer = error(status)
        answer["Error"]["Code"] = code
        found = refusal_of(answer)
        assert found == Lost(f"HTTP {status} without an error type")
        assert isinstance(found, Lost)
        assert found.foreign_status == status

    def test_an_error_type_in_the_body_alone_is_the_services_own_if_it_is_documented(self) -> None:
        answer = error(403)
        answer["Error"]["Code"] = "AccessDeniedException"
        assert kind_of(refusal_of(answer)) == Refusal.ACCESS_DENIED

    @pytest.mark.parametrize("code", ["RequestTimeoutException", "InternalFailure", "ServiceUnavailable"])
    def test_a_fault_of_the_service_is_lost_whatever_its_status(self, code: str) -> None:
        assert refusal_of(error(400, code)) == Lost(code)

    def test_a_408_is_lost(self) -> None:
        assert refusal_of(error(408, "SomethingNewException")) == Lost("HTTP 408")

    @pytest.mark.parametrize(
        "code",
        [
            "ExpiredToken",
            "ExpiredTokenException",
            "IncompleteSignature",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "MissingAuthenticationTokenException",
            "RequestExpired",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        ],
    )
    def test_codes_of_request_signing_are_about_the_credentials(self, code: str) -> None:
        assert refusal_of(error(403, code)) == Refused(Refusal.CREDENTIALS, code)

    @pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
    @pytest.mark.parametrize("code", ["", "ThrottlingException", "ValidationException"])
    def test_a_5xx_is_lost_whatever_its_code_because_the_update_may_have_been_made(
        self, status: int, code: str
    ) -> None:
        assert refusal_of(error(status, code)) == Lost(code or f"HTTP {status} without an error type")

    @pytest.mark.parametrize("status", [0, 200, 301], ids=["none", "success", "redirect"])
    def test_a_status_that_is_no_refusal_is_lost(self, status: int) -> None:
        found = refusal_of(error(status, "SomethingNewException"))
        assert found == Lost(f"HTTP {status}" if status else "no HTTP status")

    @pytest.mark.parametrize(
        ("status", "code", "message", "kind"),
        [
            (
                404,
                "ResourceNotFoundException",
                "Requested version(s) of ImageSet(s) is not the latest.",
                Refusal.STALE,
            ),
            (404, "SomethingNewException", "… is not the latest …", Refusal.STALE),
            (404, "ResourceNotFoundException", "The requested image set does not exist.", Refusal.NOT_FOUND),
            (409, "ConflictException", "… is not the latest.", Refusal.CONFLICT),  # a look tells which of the two
            (400, "ValidationException", "… is not the latest.", Refusal.INVALID),
        ],
        ids=["observed", "new-code", "absent", "conflict", "invalid"],
    )
    def test_a_404_is_stale_by_its_words(self, status: int, code: str, message: str, kind: Refusal) -> None:
        assert kind_of(refusal_of(error(status, code, message))) == kind

    @pytest.mark.parametrize(
        ("text", "seconds"), [("7", 7.0), ("1.5", 1.5), ("soon", None), ("", None), ("-1", None), (".", None)]
    )
    def test_retry_after_is_a_number_of_seconds_or_nothing(self, text: str, seconds: float | None) -> None:
        found = refusal_of(error(429, "ThrottlingException", retry_after=text))
        assert isinstance(found, Refused)
        assert found.retry_after_s == seconds

    def test_a_response_that_lacks_everything_is_lost(self) -> None:
        assert refusal_of({}) == Lost("no HTTP status")


# -- servers with one wrong habit


class Wire:
    """A server that reads one request a connection and answers bytes, or never."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self._over = asyncio.Event()
        self.requests: list[bytes] = []
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        if self._answer is None:
            await self._over.wait()
        else:
            writer.write(self._answer)
        writer.close()

    def end(self) -> None:
        self._over.set()


@asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[Wire]:
    wire = Wire(answer)
    server = await asyncio.start_server(wire.handle, "127.0.0.1", 0)
    wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield wire
        wire.end()


def http(status: int, body: bytes, *, length: int | None = None, code: str = "", request_id: str = "") -> bytes:
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\nConnection: close\r\n"
    head += f"x-amzn-RequestId: {request_id}\r\n" if request_id else ""
    head += f"x-amzn-ErrorType: {code}\r\n" if code else ""
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


METHODS: dict[str, Callable[[AwsClient], Coroutine[Any, Any, object]]] = {
    "update": lambda client: client.update(study_edit(ABSENT)),
    "get_image_set": lambda client: client.get_image_set(ABSENT),
    "get_metadata": lambda client: client.get_metadata(ABSENT),
    "list_versions": lambda client: client.list_versions(ABSENT),
    "search": lambda client: client.search(),
    "get_datastore": lambda client: client.get_datastore(),
    "delete": lambda client: client.delete(ABSENT),
    "copy": lambda client: client.copy(CopyRequest(image_set_id=ABSENT, expected_version=1)),
}


def broken(defect: type[Exception]) -> Callable[..., Coroutine[Any, Any, None]]:
    async def send(*_: Any) -> None:
        raise defect

    return send


async def answers_of_each_method(client: AwsClient) -> dict[str, object]:
    return {name: await method(client) for name, method in METHODS.items()}


FOREIGN = (400, 401, 402, 403, 404, 407, 408, 409, 413, 429, 451, 502)
BROKEN = {
    "closes at once": b"",
    "cuts the head short": b"HTTP/1.1 20",
    "cuts the body short": http(200, b'{"latestVersionId": "2"', length=100),
    "is not HTTP": b"220 mail.example ESMTP\r\n",
    "answers a page": http(200, b"<html>sign in</html>"),
    "answers nothing": http(200, b""),
    "answers another list": http(200, b"[]"),
    "answers 500": http(500, b'{"message": "internal"}', code="InternalServerException"),
    "answers 503": http(503, b"<html>busy</html>"),
    "answers a 302": http(302, b""),
    # what a proxy says in the service's place
    **{f"answers a page with {status}": http(status, b"<html>Blocked by policy</html>") for status in FOREIGN},
    "answers 403 with JSON": http(403, b'{"code": "blocked", "message": "by policy"}'),
    "answers 200 with JSON": http(200, b'{"message": "sign in"}'),
    "answers 200 with gzip": http(200, gzip.compress(b"junk")),
    "answers 403 with gzip": http(403, gzip.compress(b"junk")),
    "answers 202 with a page": http(202, b"<html>wait</html>"),
}


class TestLostAnswers:
    @pytest.mark.parametrize("answer", BROKEN.values(), ids=list(BROKEN))
    async def test_an_answer_that_does_not_tell_is_lost(self, answer: bytes) -> None:
        async with answering(answer) as wire, connect(connection(wire.url)) as client:
            found = await answers_of_each_method(client)
        assert {name: type(one) for name, one in found.items()} == dict.fromkeys(METHODS, Lost)
        # aiohttp repeats a GET, of which there is one, where the connection was closed; nothing that may write
        assert [request.split()[0] for request in wire.requests].count(b"POST") == len(METHODS) - 1

    @pytest.mark.parametrize(
        ("method", "body"),
        [
            ("update", {"latestVersionId": "two"}),
            ("update", {"datastoreId": ABSENT}),
            ("get_image_set", {"imageSetId": ABSENT, "versionId": "one", "imageSetState": "ACTIVE"}),
            ("get_image_set", {"imageSetId": ABSENT, "versionId": "1", "imageSetState": "MELTED"}),
            ("get_image_set", {"imageSetId": ABSENT, "versionId": "1", "imageSetState": "ACTIVE", "updatedAt": "x"}),
            ("get_metadata", ["no", "document"]),
            ("get_datastore", {"datastoreProperties": {}}),
        ],
        ids=lambda x: x if isinstance(x, str) else json.dumps(x)[:40],
    )
    async def test_an_answer_that_cannot_be_read_is_lost(self, method: str, body: object) -> None:
        async with answering(http(200, json.dumps(body).encode())) as wire, connect(connection(wire.url)) as client:
            assert isinstance(await METHODS[method](client), Lost)

    @pytest.mark.parametrize("defect", [AttributeError, LookupError, TypeError, ValueError, RecursionError])
    async def test_a_defect_of_ours_is_no_lost_answer(
        self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, defect: type[Exception]
    ) -> None:
        monkeypatch.setattr(Transport, "send", broken(defect))
        async with connect(connection(emulator)) as client:
            for method in METHODS.values():
                with pytest.raises(defect):
                    await method(client)

    async def test_a_defect_of_ours_is_no_unknown_sender(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Transport, "send", broken(KeyError))
        with pytest.raises(KeyError):
            await destination_of(Connection(datastore_id=DEFAULT_DATASTORE_ID))

    async def test_an_answer_that_never_comes_is_lost(self) -> None:
        async with answering(None) as wire, connect(connection(wire.url, read_timeout_s=0.1)) as client:
            found = await answers_of_each_method(client)
        assert found == dict.fromkeys(METHODS, Lost("ReadTimeoutError"))
        assert len(wire.requests) == len(METHODS)

    async def test_where_nothing_listens_the_answer_is_lost(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
        async with connect(connection(url)) as client:
            assert await answers_of_each_method(client) == dict.fromkeys(METHODS, Lost("ConnectionRefusedError"))

    @pytest.mark.parametrize(
        ("status", "code", "answer"),
        [
            (500, "InternalServerException", Lost("InternalServerException")),
            (429, "ThrottlingException", Refused(Refusal.THROTTLED, "ThrottlingException", "slow")),
        ],
        ids=["500", "429"],
    )
    async def test_exactly_one_request_leaves_for_what_an_sdk_would_repeat(
        self, status: int, code: str, answer: object
    ) -> None:
        async with (
            answering(http(status, b'{"message": "slow"}', code=code)) as wire,
            connect(connection(wire.url)) as client,
        ):
            assert await client.update(study_edit(ABSENT)) == answer
        assert len(wire.requests) == 1

    async def test_the_words_of_a_fault_never_carry_a_value(self) -> None:
        async with answering(b"") as wire, connect(connection(wire.url)) as client:
            found = await client.update(study_edit(ABSENT, StudyDescription=CANARY))
        assert CANARY not in repr(found)


# -- request ids

REQUEST_ID = "922f5304-b39f-4034-9d2e-f062de092a44"


async def told(answer: bytes | None, method: str = "update", **options: Any) -> list[tuple[str, str | None, str]]:
    """What is told of the requests of one method that get this answer."""
    sent = sent_requests()
    async with answering(answer) as wire, connect(connection(wire.url, **options)) as client:
        await METHODS[method](client)
    return [(one.operation, one.request_id, one.result) for one in sent]


class TestRequestIds:
    @pytest.mark.parametrize(
        ("answer", "result"),
        [
            (http(200, b'{"latestVersionId": "2"}', request_id=REQUEST_ID), "accepted"),
            (http(429, b"{}", code="ThrottlingException", request_id=REQUEST_ID), "ThrottlingException"),
            (http(400, b"{}", code="ValidationException", request_id=REQUEST_ID), "ValidationException"),
            (http(500, b"", code="InternalServerException", request_id=REQUEST_ID), "lost: "),
            (http(200, b'{"latestVersionId": "two"}', request_id=REQUEST_ID), "lost: unreadable answer"),
            (http(200, b"[]", request_id=REQUEST_ID), "lost: unreadable answer"),
            (http(200, b'{"latestVersionId"', length=100, request_id=REQUEST_ID), "lost: ConnectionClosedError"),
        ],
        ids=["accepted", "throttled", "refused", "500", "wrong-type", "wrong-shape", "cut-off"],
    )
    async def test_every_answer_with_a_head_gives_its_request_id(self, answer: bytes, result: str) -> None:
        ((operation, request_id, found),) = await told(answer)
        assert (operation, request_id) == ("UpdateImageSetMetadata", REQUEST_ID)
        assert found.startswith(result)

    @pytest.mark.parametrize("answer", [None, b"", b"HTTP/1.1 20"], ids=["never", "closed", "half a line"])
    async def test_without_an_answer_a_request_is_told_without_an_id(self, answer: bytes | None) -> None:
        ((_, request_id, result),) = await told(answer, read_timeout_s=0.1)
        assert request_id is None
        assert result.startswith("lost: ")

    @pytest.mark.parametrize("text", ["x" * 129, "two words", "caf\u00e9", "tab\tbed"])
    async def test_a_text_that_is_no_id_is_not_taken(self, text: str) -> None:
        ((_, request_id, result),) = await told(http(200, b'{"latestVersionId": "2"}', request_id=text))
        assert (request_id, result) == (None, "accepted")

    async def test_every_operation_is_told_by_the_name_that_the_service_has_for_it(self, emulator: Emulator) -> None:
        image_set_id = emulator.add(document())
        sent = sent_requests()
        async with connect(connection(emulator)) as client:
            await client.get_image_set(image_set_id)
            await client.update(study_edit(image_set_id))
            await client.get_metadata(image_set_id)
            await client.list_versions(image_set_id)
            await client.search()
            await client.get_datastore()
            await client.delete(ABSENT)
        requests = [entry for entry in emulator.journal() if entry.kind == "request"]
        assert [(one.operation, one.request_id) for one in sent] == [(one.action, one.request_id) for one in requests]
        results = ["answered", "accepted", *["answered"] * 4, "ResourceNotFoundException"]
        assert [one.result for one in sent] == results

    async def test_what_never_left_is_not_told(self, emulator: Emulator) -> None:
        sent = sent_requests()
        async with connect(connection(emulator)) as client:
            await client.update(UpdateRequest(image_set_id=cast("str", [CANARY]), expected_version=1, updatable="{}"))
        assert sent == []

    async def test_a_request_that_is_cancelled_is_told_as_lost(self) -> None:
        sent = sent_requests()
        async with answering(None) as wire, connect(connection(wire.url)) as client:
            with anyio.move_on_after(0.05):
                await client.update(study_edit(ABSENT))
        assert [(one.request_id, one.result) for one in sent] == [(None, "lost: answer not taken")]

    async def test_a_document_that_cannot_be_read_is_told_as_lost(self) -> None:
        ((_, request_id, result),) = await told(http(200, b"no json", request_id=REQUEST_ID), "get_metadata")
        assert (request_id, result) == (REQUEST_ID, "lost: JSONDecodeError")


# -- where the requests go


class Unrenewable:
    """Credentials whose renewal fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def get_frozen_credentials(self) -> None:
        raise self._error


class Source:
    """Replaces the SDK's chain of credentials, which would read files and call STS."""

    def __init__(self, found: object) -> None:
        self._found = found

    async def load_credentials(self) -> object:
        return self._found


DENIED = ClientError({"Error": {"Code": "AccessDenied", "Message": CANARY}}, "AssumeRole")


class TestCredentials:
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (DENIED, "AccessDenied"),
            (CredentialRetrievalError(provider="role", error_msg=CANARY), "CredentialRetrievalError"),
        ],
        ids=["by AWS", "in the SDK"],
    )
    async def test_a_renewal_that_fails_is_about_the_credentials_and_sends_nothing(
        self, emulator: Emulator, client: AwsClient, error: Exception, code: str
    ) -> None:
        cast("Any", client)._chain._signer._credentials = Unrenewable(error)
        assert await client.get_datastore() == Refused(Refusal.CREDENTIALS, code)
        assert [entry for entry in emulator.journal() if entry.kind == "request"] == []

    @pytest.mark.parametrize("found", [None, Unrenewable(DENIED)], ids=["none", "denied"])
    async def test_expired_credentials_stay_if_there_are_no_others(
        self, monkeypatch: pytest.MonkeyPatch, found: object
    ) -> None:
        expired = http(403, b"{}", code="ExpiredTokenException")
        async with answering(expired) as wire, connect(connection(wire.url)) as client:
            sdk: Any = client._chain._session._session
            monkeypatch.setattr(sdk, "get_component", lambda _: Source(found))
            assert await client.update(study_edit(ABSENT)) == Refused(Refusal.CREDENTIALS, "ExpiredTokenException")
        assert len(wire.requests) == 1

    async def test_an_sts_endpoint_that_is_no_url_leaves_the_identity_unknown(
        self, monkeypatch: pytest.MonkeyPatch, client: AwsClient
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "nonsense")
        assert await client._chain.identity() is None

    @pytest.mark.parametrize("answer", [{}, {"Account": "1"}, {"Arn": "arn:aws:iam::1:user/a"}])
    def test_an_incomplete_identity_is_unknown(self, answer: dict[str, object]) -> None:
        assert _identity(answer) is None


class TestAddress:
    async def test_no_prefix_is_put_before_the_host_of_another_endpoint(self) -> None:
        # botocore would call runtime-127.0.0.1, which exists nowhere
        async with answering(http(200, b"{}")) as wire, connect(connection(wire.url)) as client:
            await client.get_image_set(ABSENT)
        assert host_of(wire) == wire.url.removeprefix("http://")

    async def test_no_prefix_is_put_before_the_host_of_an_endpoint_from_the_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with answering(http(200, b"{}")) as wire:
            monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", wire.url)
            async with connect(Connection(datastore_id=DEFAULT_DATASTORE_ID)) as client:
                await client.get_image_set(ABSENT)
        assert host_of(wire) == wire.url.removeprefix("http://")

    @pytest.mark.parametrize("given", [None, "https://medical-imaging.eu-west-1.amazonaws.com"], ids=["none", "given"])
    async def test_at_aws_the_prefix_stays(self, given: str | None) -> None:
        async with connect(
            Connection(datastore_id=DEFAULT_DATASTORE_ID, region="eu-west-1", endpoint_url=given)
        ) as client:
            meta: Any = client._api.meta
        assert (meta.endpoint_url, meta.config.inject_host_prefix) == (
            "https://medical-imaging.eu-west-1.amazonaws.com",
            True,
        )

    @pytest.mark.parametrize(
        ("aws_region", "aws_default_region", "option", "used"),
        [
            ("eu-west-1", None, None, "eu-west-1"),
            (None, "us-west-2", None, "us-west-2"),
            ("eu-west-1", "us-west-2", None, "eu-west-1"),
            ("eu-west-1", "us-west-2", "ap-southeast-2", "ap-southeast-2"),
        ],
        ids=["AWS_REGION", "AWS_DEFAULT_REGION", "both", "option"],
    )
    async def test_the_region_comes_from_the_option_then_from_either_variable(
        self,
        monkeypatch: pytest.MonkeyPatch,
        aws_region: str | None,
        aws_default_region: str | None,
        option: str | None,
        used: str,
    ) -> None:
        for name, region in (("AWS_REGION", aws_region), ("AWS_DEFAULT_REGION", aws_default_region)):
            monkeypatch.delenv(name)
            if region:
                monkeypatch.setenv(name, region)
        async with connect(Connection(datastore_id=DEFAULT_DATASTORE_ID, region=option)) as client:
            assert client._api.meta.region_name == used


def host_of(wire: Wire) -> str:
    (head,) = wire.requests
    lines = head.decode().split("\r\n")
    return next(line for line in lines if line.lower().startswith("host:")).split(": ", 1)[1]


class TestModels:
    """The SDK's models of services, of which one file has 1.2 MB."""

    def test_all_sessions_share_them(self) -> None:
        one, other = (open_session(connection("http://127.0.0.1:1"))._session for _ in range(2))
        assert one is not other
        assert one.get_component("data_loader") is other.get_component("data_loader")

    def test_folders_of_the_users_own_are_read_too(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
        session = open_session(connection("http://127.0.0.1:1"))._session
        assert str(tmp_path) in session.get_component("data_loader").search_paths


def test_an_sdk_whose_readers_of_credentials_have_changed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # otherwise they would ask for credentials through the SDK's own transport
    monkeypatch.setattr(aws_session, "AIOHTTPSession", type("Newer", (), {}))
    with pytest.raises(TypeError, match="container-role"):
        open_session(connection("http://127.0.0.1:1"))


# -- what must be there before anything is sent


class TestConnecting:
    async def test_without_credentials_the_error_says_how_to_give_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(CredentialsError) as caught:
            await opened(connection("http://127.0.0.1:1"))
        assert caught.value.exit_code == 4
        assert {"profile=NAME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= words(caught.value)

    async def test_half_of_the_credentials_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(CredentialsError, match="PartialCredentialsError"):
            await opened(connection("http://127.0.0.1:1"))

    async def test_without_a_region_the_error_says_how_to_give_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_REGION")
        monkeypatch.delenv("AWS_DEFAULT_REGION")
        with pytest.raises(UsageError) as caught:
            await opened(Connection(datastore_id=DEFAULT_DATASTORE_ID))
        assert {"--region", "AWS_REGION"} <= words(caught.value)

    @pytest.mark.parametrize("by", ["option", "environment"])
    async def test_an_unknown_profile_is_a_usage_error(self, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
        if by == "environment":
            monkeypatch.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(UsageError, match="profile does not exist"):
            await opened(connection("http://127.0.0.1:1", profile="nobody" if by == "option" else None))

    @pytest.mark.parametrize("text", ["nonsense", "http://", "127.0.0.1:80", "http://a b"])
    async def test_an_endpoint_that_is_no_address_is_a_usage_error(self, text: str) -> None:
        with pytest.raises(UsageError, match="--endpoint-url: the endpoint is not a valid URL"):
            await opened(connection(text))

    @pytest.mark.parametrize("text", ["https://a_b.example", "https://a..b"])
    async def test_a_host_that_only_the_sdk_refuses_is_a_usage_error(self, text: str) -> None:
        with pytest.raises(UsageError, match="--endpoint-url is not a valid URL"):
            await opened(connection(text))

    @pytest.mark.parametrize("region", ["a b", "us-east-1/"])
    async def test_a_region_with_an_invalid_name_is_a_usage_error(self, region: str) -> None:
        with pytest.raises(UsageError, match="the name of the AWS region is not valid"):
            await opened(Connection(datastore_id=DEFAULT_DATASTORE_ID, region=region))

    @pytest.mark.parametrize(
        ("name", "error"),
        [("AWS_RETRY_MODE", "InvalidRetryModeError"), ("AWS_METADATA_SERVICE_TIMEOUT", "ValueError")],
    )
    async def test_another_setting_that_the_sdk_refuses_is_a_usage_error_without_its_value(
        self, monkeypatch: pytest.MonkeyPatch, name: str, error: str
    ) -> None:
        monkeypatch.setenv(name, CANARY)
        with pytest.raises(UsageError, match=f"one of its settings \\({error}\\)") as caught:
            await opened(connection("http://127.0.0.1:1"))
        assert CANARY not in str(caught.value)

    @pytest.mark.parametrize("fault", [ValueError("endpoint"), KeyError("x")], ids=["value", "key"])
    async def test_what_the_caller_raises_is_left_as_it_is(self, emulator: Emulator, fault: Exception) -> None:
        with pytest.raises(type(fault)) as caught:
            async with connect(connection(emulator)):
                raise fault
        assert caught.value is fault


async def opened(wanted: Connection) -> None:
    async with connect(wanted):
        pass


def words(error: Exception) -> set[str]:
    return {word.strip(".,:`()") for word in str(error).split()}
