"""The wire: routes, error shapes, bounds, and what a broken client sends (reference sections 1.2 to 1.5)."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from bulkedit.emulator import DEFAULT_DATASTORE_ID, Emulator, Fault, FaultKind
from bulkedit.emulator.api.failures import Conflict, Denied, Invalid, NotFound, QuotaExceeded, ServiceError, Throttled
from bulkedit.emulator.api.model import service_model
from bulkedit.emulator.http.server import LARGEST_BODY
from tests.emulator.hospital import Json, blob, document, in_study

if TYPE_CHECKING:
    from bulkedit.emulator import ManualClock

STORE = f"/datastore/{DEFAULT_DATASTORE_ID}"
JSON = "application/json"


def send(
    emulator: Emulator, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(emulator).netloc, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def update_path(image_set_id: str, version: int = 1, query: str = "") -> str:
    return f"{STORE}/imageSet/{image_set_id}/updateImageSetMetadata?latestVersion={version}{query}"


def update_body(**attributes: str) -> bytes:
    return json.dumps({"DICOMUpdates": {"updatableAttributes": blob(in_study(**attributes))}}).encode()


@pytest.mark.parametrize("error", [Conflict, Denied, Invalid, NotFound, QuotaExceeded, ServiceError, Throttled])
def test_each_refusal_has_the_status_of_the_model(error: type[ServiceError]) -> None:
    assert (
        service_model().shape_for(error.code).metadata["error"]["httpStatusCode"] == error.status
        if ("error" in service_model().shape_for(error.code).metadata)
        else error.status == 500
    )


def test_a_refusal_names_its_type_in_a_header_and_has_one_member(emulator: Emulator) -> None:
    status, headers, body = send(emulator, "POST", f"{STORE}/imageSet/{'f' * 32}/getImageSet")
    assert (status, headers["x-amzn-errortype"], headers["content-type"]) == (404, "ResourceNotFoundException", JSON)
    assert list(json.loads(body)) == ["message"]


def test_every_answer_has_a_request_id_of_its_own(emulator: Emulator) -> None:
    ids = {send(emulator, "GET", path)[1]["x-amzn-requestid"] for path in ("/datastore", "/datastore", "/nowhere")}
    assert len(ids) == 3


@pytest.mark.parametrize("host", ["runtime-localhost", "localhost:1", "127.0.0.1"])
def test_every_route_is_served_with_and_without_the_prefix_of_the_host(emulator: Emulator, host: str) -> None:
    one = emulator.add(document())
    for method, path in (("GET", STORE), ("POST", f"{STORE}/imageSet/{one}/getImageSet")):
        assert send(emulator, method, path, headers={"Host": host})[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/nowhere", 404),
        ("POST", f"{STORE}/imageSet", 404),
        ("GET", f"{STORE}/imageSet/{'f' * 32}/getImageSet", 405),
        ("PUT", "/datastore", 405),
        ("GET", "//datastore//", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "/tags", 404),
        ("GET", "/_emulator/nothing", 404),
    ],
)
def test_wrong_paths_and_methods_are_told_in_the_error_shape(
    emulator: Emulator, method: str, path: str, status: int
) -> None:
    found, headers, body = send(emulator, method, path)
    assert (found, list(json.loads(body))) == (status, ["message"])
    assert headers["x-amzn-errortype"] in {"UnknownOperationException", "ResourceNotFoundException"}


@pytest.mark.parametrize("arn_form", ["encoded", "plain"])
def test_the_arn_of_a_tag_may_come_with_or_without_encoded_slashes(emulator: Emulator, arn_form: str) -> None:
    arn = f"arn:aws:medical-imaging:us-east-1:000000000000:datastore/{DEFAULT_DATASTORE_ID}"
    path = arn.replace(":", "%3A").replace("/", "%2F") if arn_form == "encoded" else arn
    assert send(emulator, "GET", f"/tags/{path}")[2] == b'{"tags":{}}'


@pytest.mark.parametrize(
    "query",
    ["", "?latestVersion=", "?latestVersion=x", "?latestVersion=-1", "?latestVersion=1&force=yes", "?latestVersion=²"],
)
def test_query_parameters_are_checked(emulator: Emulator, query: str) -> None:
    one = emulator.add(document())
    path = f"{STORE}/imageSet/{one}/updateImageSetMetadata{query}".encode().decode("latin-1")
    assert send(emulator, "POST", path.replace("Â²", "%C2%B2"), update_body(StudyDescription="X"))[0] == 400


@pytest.mark.parametrize("path", ["/datastore/short", f"/datastore/{'F' * 32}", f"/datastore/{'f' * 33}"])
def test_ids_have_32_characters_of_digits_and_small_letters(emulator: Emulator, path: str) -> None:
    status, _, body = send(emulator, "GET", path)
    assert (status, "datastoreId" in json.loads(body)["message"]) == (400, True)


@pytest.mark.parametrize("results", ["0", "51", "x", "99999999999"])
def test_a_page_holds_1_to_50(emulator: Emulator, results: str) -> None:
    assert send(emulator, "POST", f"{STORE}/searchImageSets?maxResults={results}", b"{}")[0] == 400


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"a":NaN}', b"[" * 100_000, b'{"DICOMUpdates":', b'"text"', b"0"],
    ids=lambda body: str(body[:12]),
)
def test_a_malformed_body_is_refused(emulator: Emulator, body: bytes) -> None:
    one = emulator.add(document())
    status, headers, _ = send(emulator, "POST", update_path(one), body)
    assert (status, headers["x-amzn-errortype"]) == (400, "ValidationException")
    assert emulator.do(lambda world: world.image_set(DEFAULT_DATASTORE_ID, one).number) == 1


def test_a_body_beyond_all_bounds_is_refused(emulator: Emulator) -> None:
    one = emulator.add(document())
    status, _, body = send(emulator, "POST", update_path(one), b"x" * (LARGEST_BODY + 1))
    assert (status, list(json.loads(body))) == (413, ["message"])


def test_a_truncated_body_changes_nothing(emulator: Emulator) -> None:
    one = emulator.add(document())
    body = update_body(StudyDescription="X")
    split = urlsplit(emulator)
    with socket.create_connection((str(split.hostname), int(split.port or 0)), timeout=10) as connection:
        head = f"POST {update_path(one)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:-5])
    assert send(emulator, "GET", "/datastore")[0] == 200
    assert emulator.do(lambda world: world.image_set(DEFAULT_DATASTORE_ID, one).number) == 1


def test_what_is_not_http_does_not_harm(emulator: Emulator) -> None:
    split = urlsplit(emulator)
    with socket.create_connection((str(split.hostname), int(split.port or 0)), timeout=10) as connection:
        connection.sendall(b"\x00\x01\x02 garbage\r\n\r\n")
        connection.recv(4096)
    assert send(emulator, "GET", "/datastore")[0] == 200


def test_a_body_may_come_in_chunks(emulator: Emulator) -> None:
    one = emulator.add(document())
    body = update_body(StudyDescription="X")
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:10], body[10:])) + b"0\r\n\r\n"
    split = urlsplit(emulator)
    with socket.create_connection((str(split.hostname), int(split.port or 0)), timeout=10) as connection:
        head = f"POST {update_path(one)} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode() + chunks)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_client_that_asks_before_it_sends_is_told_to_go_on(emulator: Emulator) -> None:
    one = emulator.add(document())
    body = update_body(StudyDescription="X")
    split = urlsplit(emulator)
    with socket.create_connection((str(split.hostname), int(split.port or 0)), timeout=10) as connection:
        head = f"POST {update_path(one)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_query_may_hold_the_keys_of_200_tags(emulator: Emulator) -> None:
    arn = f"arn:aws:medical-imaging:us-east-1:000000000000:datastore/{DEFAULT_DATASTORE_ID}"
    keys = "&".join(f"tagKeys={'k' * 128}" for _ in range(200))
    assert send(emulator, "DELETE", f"/tags/{arn}?{keys}")[0] == 200


def test_timestamps_are_seconds_with_milliseconds(emulator: Emulator, clock: ManualClock) -> None:
    clock.advance(0.123456)
    one = emulator.add(document())
    answer = json.loads(send(emulator, "POST", f"{STORE}/imageSet/{one}/getImageSet")[2])
    assert answer["createdAt"] == 1_700_000_000.123


def test_the_journal_and_the_answers_hold_no_value_of_health_data(emulator: Emulator) -> None:
    one = emulator.add(document(StudyDescription="SECRET"))
    emulator.server.faults.add([Fault(kind=FaultKind.DROP_AFTER, times=1, skip=3)], now=emulator.clock.now())
    criteria = json.dumps({"filters": [{"values": [{"DICOMPatientId": "SECRET"}], "operator": "EQUAL"}]}).encode()
    requests: list[tuple[str, str, bytes | None]] = [
        ("POST", update_path(one), update_body(StudyDescription="SECRET")),
        ("POST", update_path(one), update_body(SECRET="SECRET")),
        ("POST", f"{STORE}/searchImageSets", criteria),
        ("POST", f"{STORE}/imageSet/SECRET/getImageSet", None),
        ("GET", "/SECRET?SECRET=SECRET", None),
        ("GET", "/datastore?nextToken=SECRET", None),
    ]
    for method, path, body in requests:
        try:
            _, _, answer = send(emulator, method, path, body)
            assert b"SECRET" not in answer
        except (http.client.RemoteDisconnected, ConnectionResetError):
            continue
    assert "SECRET" not in json.dumps([entry.as_dict() for entry in emulator.journal()])


class TestControl:
    """``/_emulator``: what a test in any language asks of the emulator."""

    def test_the_journal_is_read_from_where_one_left_off(self, emulator: Emulator) -> None:
        emulator.add(document())
        send(emulator, "GET", "/datastore")
        first = json.loads(send(emulator, "GET", "/_emulator/journal?limit=1")[2])
        rest = json.loads(send(emulator, "GET", f"/_emulator/journal?since={first['last']}")[2])
        assert [entry["kind"] for entry in first["entries"] + rest["entries"]] == ["state", "request"]
        assert (rest["last"], rest["dropped"]) == (2, 0)

    def test_faults_are_set_shown_and_cleared(self, emulator: Emulator) -> None:
        fault = {"kind": "error-before", "action": "ListDatastores"}
        assert send(emulator, "POST", "/_emulator/faults", json.dumps(fault).encode())[0] == 200
        assert send(emulator, "GET", "/datastore")[0] == 500
        shown = json.loads(send(emulator, "GET", "/_emulator/faults")[2])["faults"]
        assert [(one["kind"], one["struck"]) for one in shown] == [("error-before", 1)]
        send(emulator, "DELETE", "/_emulator/faults")
        assert send(emulator, "GET", "/datastore")[0] == 200

    def test_quotas_are_changed(self, emulator: Emulator) -> None:
        assert send(emulator, "POST", "/_emulator/quota", b'{"scale": 0.2}')[0] == 200
        assert [send(emulator, "GET", "/datastore")[0] for _ in range(3)] == [200, 200, 429]

    def test_an_image_set_is_locked_for_a_while(self, emulator: Emulator, clock: ManualClock) -> None:
        one = emulator.add(document())

        def shown() -> tuple[str, str, str]:
            found = json.loads(send(emulator, "POST", f"{STORE}/imageSet/{one}/getImageSet")[2])
            return found["imageSetState"], found["imageSetWorkflowStatus"], found["versionId"]

        before = shown()
        body = json.dumps({"imageSetId": one, "seconds": 60}).encode()
        assert json.loads(send(emulator, "POST", "/_emulator/locks", body)[2])["imageSetState"] == "LOCKED"
        assert shown() == ("LOCKED", "COPYING_WITH_READ_ONLY_ACCESS", "1")
        clock.advance(61)
        assert shown() == before == ("ACTIVE", "CREATED", "1")
        emulator.lock(one)
        assert shown()[0] == "LOCKED"

    @pytest.mark.parametrize(("body", "status"), [({"imageSetId": "0" * 32}, 404), ({"seconds": 1}, 400)])
    def test_a_lock_that_is_not_possible_is_refused(
        self, emulator: Emulator, body: dict[str, object], status: int
    ) -> None:
        assert send(emulator, "POST", "/_emulator/locks", json.dumps(body).encode())[0] == status

    def test_an_image_set_is_added(self, emulator: Emulator) -> None:
        body = json.dumps(document()).encode()
        one = json.loads(send(emulator, "POST", "/_emulator/image-sets", body)[2])["imageSetId"]
        assert send(emulator, "POST", f"{STORE}/imageSet/{one}/getImageSet")[0] == 200

    def test_the_settings_are_shown(self, emulator: Emulator) -> None:
        shown = json.loads(send(emulator, "GET", "/_emulator")[2])
        assert (shown["profile"]["service_version"], shown["scale"]) == ("2026", "inf")

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("faults", b"{"),
            ("faults", b'{"kind":"nothing"}'),
            ("faults", b'{"kind":"slow","colour":"red"}'),
            ("faults", b"[1]"),
            ("quota", b'{"scale": 0}'),
            ("quota", b"{}"),
            ("image-sets", b"[]"),
            ("image-sets", b'{"Patient":1,"Study":2}'),
        ],
        ids=str,
    )
    def test_what_makes_no_sense_is_refused(self, emulator: Emulator, path: str, body: bytes) -> None:
        assert send(emulator, "POST", f"/_emulator/{path}", body)[0] == 400


def test_base64_is_read_with_its_whole_alphabet(emulator: Emulator) -> None:
    one = emulator.add(document())
    text = json.dumps(in_study(StudyDescription="?>~ÿ>>>"), ensure_ascii=False).encode()
    encoded = base64.b64encode(text).decode()
    body: Json = {"DICOMUpdates": {"updatableAttributes": encoded}}
    assert send(emulator, "POST", update_path(one), json.dumps(body).encode())[0] == 200
