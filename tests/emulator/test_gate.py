"""Who is answered: DNS rebinding, web pages, and the key of the control endpoint."""

from __future__ import annotations

import base64
import http.client
import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from multidict import CIMultiDict

from bulkedit.emulator import DEFAULT_DATASTORE_ID, Credentials, Settings, serve
from bulkedit.emulator.http.gate import FromWebPage, Gate, NoHost, UnknownHost, UnsupportedType, is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from multidict import MultiMapping

    from bulkedit.emulator import Emulator

OWN = "10.0.0.5"
ALLOWED = ("emulator", "Images.Example.org", "192.168.1.10", "fd00::7")
KEYS = Credentials("AKIDEXAMPLE", "a/secret:of=no worth é")


def check(host: str | None = "localhost", bound: str = "127.0.0.1", **headers: str) -> None:
    named = [] if host is None else [("Host", host)]
    given = CIMultiDict(named + [(name.replace("_", "-"), value) for name, value in headers.items()])
    Gate(ALLOWED, bound=bound).check(given, OWN)


class TestHosts:
    @pytest.mark.parametrize(
        "host",
        [
            *("localhost", "LOCALHOST:8104", "localhost.", "127.0.0.1", "127.8.9.1:80", "[::1]:8104", "[0:0::1]"),
            *("[::ffff:127.0.0.1]", "10.0.0.5", "10.0.0.5:8104", "emulator", "emulator:8104", "images.example.org"),
            *("192.168.1.10", "[FD00::7]", "runtime-localhost:8104", "runtime-127.0.0.1", "runtime-10.0.0.5"),
            *("runtime-emulator", "dicom-emulator:1"),
        ],
    )
    def test_its_own_addresses_and_what_is_given_by_name_are_answered(self, host: str) -> None:
        check(host)

    @pytest.mark.parametrize(
        "host",
        [
            *("example.org", "evil.localhost", "localhost.example.org", "10.0.0.6", "2130706433", "127.1", "0.0.0.1"),
            *("127.0.0.1.example.org", "[fd00::8]", "runtime-", "runtime-runtime-localhost", "xemulator", "x-emulator"),
            # a domain that anyone may register: it need not belong to the one that was given by name
            *("runtime-images.example.org", "dicom-images.example.org"),
        ],
    )
    def test_any_other_is_refused_in_words_that_say_what_to_type(self, host: str) -> None:
        with pytest.raises(UnknownHost, match="--allow-host") as caught:
            check(host)
        assert f"--allow-host {host.strip('[]')}," in caught.value.message

    @pytest.mark.parametrize("host", [None, "", "a b", "localhost:x", "user@localhost", "localhost/", "[::1", "é"])
    def test_what_is_no_host_is_refused(self, host: str | None) -> None:
        with pytest.raises(NoHost):
            check(host)

    def test_two_hosts_are_none(self) -> None:
        with pytest.raises(NoHost):
            Gate((), bound="127.0.0.1").check(CIMultiDict([("Host", "localhost"), ("Host", "localhost")]), OWN)

    @pytest.mark.parametrize(("bound", "host"), [("0.0.0.0", "0.0.0.0:8104"), ("::", "[::]:8104"), ("Here", "here")])  # noqa: S104
    def test_what_it_was_told_to_listen_on_is_answered(self, bound: str, host: str) -> None:
        check(host, bound)

    def test_names_come_from_the_settings_and_the_own_address_from_the_connection(self) -> None:
        arrived: list[str | None] = []

        class Noting(Gate):
            def check(self, headers: MultiMapping[str], own_address: str | None) -> None:
                arrived.append(own_address)
                super().check(headers, own_address)

        with serve(Settings(allowed_hosts=("emulator",)), host="0.0.0.0") as emulator:  # noqa: S104
            assert [send(emulator, Host=host)[0] for host in ("0.0.0.0", "emulator", "x")] == [200, 200, 421]  # noqa: S104
            emulator.server._gate = Noting((), bound="0.0.0.0")  # noqa: S104
            send(emulator)
        assert arrived == ["127.0.0.1"]

    @pytest.mark.parametrize("name", ["http://emulator", "emulator:8104", "a/b", "", "a b", "*"])
    def test_a_name_that_is_none_is_told_at_the_start(self, name: str) -> None:
        with pytest.raises(ValueError, match="not a host name"):
            Settings(allowed_hosts=(name,))

    @pytest.mark.parametrize(
        ("host", "loopback"),
        [("localhost", True), ("127.0.0.9", True), ("::1", True), ("0.0.0.0", False), ("here", False)],  # noqa: S104
    )
    def test_only_loopback_keeps_others_out(self, host: str, loopback: bool) -> None:
        assert is_loopback(host) is loopback


class TestWebPages:
    @pytest.mark.parametrize(
        "headers",
        [
            *({"Origin": origin} for origin in ("https://example.org", "null", "http://localhost", "")),
            *({"Sec_Fetch_Site": site} for site in ("cross-site", "same-site", "same-origin")),
        ],
        ids=str,
    )
    def test_what_a_page_sends_is_refused(self, headers: dict[str, str]) -> None:
        with pytest.raises(FromWebPage, match="curl"):
            check(**headers)

    def test_an_address_that_a_person_typed_is_answered(self) -> None:
        check(Sec_Fetch_Site="none")

    @pytest.mark.parametrize(
        "content_type",
        [
            *("text/plain", "Text/Plain;charset=UTF-8", " application/x-www-form-urlencoded "),
            *("multipart/form-data; boundary=x", "text/plain; application/json"),
        ],
    )
    def test_what_a_page_may_send_without_asking_is_refused(self, content_type: str) -> None:
        with pytest.raises(UnsupportedType, match="application/json"):
            check(Content_Type=content_type)

    @pytest.mark.parametrize("content_type", ["application/json", "application/x-amz-json-1.1", "binary/octet-stream"])
    def test_what_sdks_send_is_taken(self, content_type: str) -> None:
        check(Content_Type=content_type)


def send(url: str, path: str = "/datastore", method: str = "GET", **headers: str) -> tuple[int, str, str | None]:
    """Status, message and challenge."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    message = json.loads(answer.read()).get("message", "")
    connection.close()
    return answer.status, message, answer.getheader("WWW-Authenticate")


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "x"}, 421), ({"Host": ""}, 400), ({"Origin": "null"}, 403), ({"Content_Type": "text/plain"}, 415)],
    ids=str,
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"/startDICOMImportJob/datastore/{DEFAULT_DATASTORE_ID}"),
        ("POST", "/_emulator/faults"),
        ("DELETE", "/_emulator/faults"),
        ("GET", "/_emulator/journal"),
        ("OPTIONS", "/datastore"),
    ],
)
def test_every_route_is_behind_the_gate(
    emulator: Emulator, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    assert send(emulator, path, method, **headers)[0] == status


def test_a_request_that_is_refused_is_in_the_journal(emulator: Emulator) -> None:
    send(emulator, Host="example.org")
    (entry,) = emulator.journal()
    assert (entry.kind, entry.status, entry.code) == ("request", 421, "HostNotAllowedException")


class TestControlEndpoint:
    @pytest.fixture
    def locked(self) -> Iterator[Emulator]:
        with serve(Settings(credentials=KEYS)) as emulator:
            yield emulator

    def test_the_keys_open_it(self, locked: Emulator) -> None:
        for scheme in ("Basic", "basic"):
            assert send(locked, "/_emulator", Authorization=f"{scheme} {basic(KEYS)}")[0] == 200

    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
    @pytest.mark.parametrize(
        "authorization",
        [
            *(None, "", "Basic", "Basic !", "Bearer x", "Basic \x80"),
            *(f"Basic {base64.b64encode(text).decode()}" for text in (b"", b":", b"AKIDEXAMPLE", b"AKIDEXAMPLE:a")),
        ],
    )
    def test_nothing_else_does(self, locked: Emulator, method: str, authorization: str | None) -> None:
        headers = {} if authorization is None else {"Authorization": authorization}
        status, message, challenge = send(locked, "/_emulator/faults", method, **headers)
        assert (status, (challenge or "").partition(" ")[0], "curl -u" in message) == (401, "Basic", True)
        assert KEYS.secret_key not in message

    def test_the_keys_of_another_scheme_do_not(self, locked: Emulator) -> None:
        assert send(locked, "/_emulator", Authorization=f"Bearer {basic(KEYS)}")[0] == 401

    def test_they_open_nothing_of_the_service(self, locked: Emulator) -> None:
        assert send(locked, "/datastore", Authorization=f"Basic {basic(KEYS)}")[0] == 403

    def test_without_keys_it_is_open_to_this_machine(self, emulator: Emulator) -> None:
        assert send(emulator, "/_emulator")[0] == 200


def basic(keys: Credentials) -> str:
    return base64.b64encode(f"{keys.access_key}:{keys.secret_key}".encode()).decode()
