"""What the settings say of certificates and proxies counts for every request, and a mistake in them is told."""

from __future__ import annotations

import asyncio
import base64
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization

from bulkedit.client.aws import connect
from bulkedit.client.contract import Connection
from bulkedit.client.responses import Datastore, Lost, Refusal, Refused
from bulkedit.client.transport import _context
from bulkedit.errors import UntrustedServerError, UsageError
from tests.wire.servers import DATASTORE, Authority, Certificate, http, proxying, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


async def ask(port: int, **options: Any) -> object:
    where = Connection(datastore_id=DATASTORE, endpoint_url=f"https://localhost:{port}", region="us-east-1", **options)
    async with connect(where) as client:
        return await client.get_datastore()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


# -- which certificates are trusted


def by_variable(bundle: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("AWS_CA_BUNDLE", str(bundle))


def by_variable_of_requests(bundle: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("REQUESTS_CA_BUNDLE", str(bundle))


def by_profile(bundle: Path, patch: pytest.MonkeyPatch) -> None:
    config = bundle.with_name("config")
    config.write_text(f"[default]\nca_bundle = {bundle}\n", "utf-8")
    patch.setenv("AWS_CONFIG_FILE", str(config))


@pytest.mark.parametrize("said", [by_variable, by_variable_of_requests, by_profile], ids=lambda said: said.__name__)
@pytest.mark.parametrize("proxied", [False, True], ids=["no proxy", "CONNECT proxy"])
async def test_a_ca_of_the_settings_is_trusted(
    said: Callable[[Path, pytest.MonkeyPatch], None],
    proxied: bool,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said(authority.bundle, monkeypatch)
    async with serving(authority.server(Certificate.RIGHT)) as server, proxying(server.port) as proxy:
        if proxied:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert isinstance(await ask(server.port), Datastore)
    assert len(proxy.requests) == int(proxied)


@pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
async def test_without_a_setting_only_public_cas_are_trusted(
    value: str | None, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    # botocore would take an empty text for "do not verify"
    if value is not None:
        monkeypatch.setenv("AWS_CA_BUNDLE", value)
    async with serving(authority.server(Certificate.RIGHT)) as server:
        found = await ask(server.port)
    assert isinstance(found, Refused)
    assert found.kind is Refusal.UNTRUSTED
    assert server.requests == []


@pytest.mark.parametrize("content", [None, b"", b"no certificate", ...], ids=["absent", "empty", "text", "folder"])
async def test_a_file_of_certificates_that_cannot_be_used_is_named(
    content: Any, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is ...:
        bundle.mkdir()
    elif content is not None:
        bundle.write_bytes(content)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    async with serving(authority.server(Certificate.RIGHT)) as server:
        found = await ask(server.port)
    assert isinstance(found, Refused)
    assert found.kind is Refusal.UNTRUSTED
    assert found.code.startswith(f"certificate file {bundle}: ")


# -- client certificates


@pytest.mark.parametrize("proxied", [False, True], ids=["no proxy", "CONNECT proxy"])
@pytest.mark.parametrize("given", ["nothing", "two files", "one file"])
async def test_a_client_certificate_is_shown(
    given: str, proxied: bool, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    certificate, key = authority.client()
    both = certificate.with_name("both.pem")
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    options = {
        "nothing": {},
        "two files": {"client_cert": str(certificate), "client_key": str(key)},
        "one file": {"client_cert": str(both)},
    }[given]
    context = authority.server(Certificate.RIGHT, asks_client=True)
    async with serving(context) as server, proxying(server.port) as proxy:
        if proxied:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        found = await ask(server.port, **options)
    assert isinstance(found, Lost if given == "nothing" else Datastore)
    assert len(server.requests) == (0 if given == "nothing" else 1)


@pytest.fixture
def locked(authority: Authority) -> tuple[Path, Path]:
    """A certificate, and its key behind a password."""
    certificate, key = authority.client()
    encrypted = key.with_name("locked.key")
    opened = serialization.load_pem_private_key(key.read_bytes(), password=None)
    lock = serialization.BestAvailableEncryption(b"secret")
    form = serialization.PrivateFormat.PKCS8
    encrypted.write_bytes(opened.private_bytes(serialization.Encoding.PEM, form, lock))
    return certificate, encrypted


async def test_an_encrypted_key_is_refused_and_no_password_asked_for(
    locked: tuple[Path, Path], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    certificate, key = locked
    async with serving(authority.server(Certificate.RIGHT)) as server:
        found = await ask(server.port, client_cert=str(certificate), client_key=str(key))
    assert isinstance(found, Refused)
    assert found.code == f"certificate file {key}: the key is encrypted"
    assert server.requests == []


async def test_a_key_without_its_certificate_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--client-cert FILE"):
        await ask(1, client_key="client.key")


# -- proxies


async def test_a_password_for_the_proxy_goes_to_the_proxy_only(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    async with serving(authority.server(Certificate.RIGHT)) as server, proxying(server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://engineer:pass@127.0.0.1:{proxy.port}")
        assert isinstance(await ask(server.port), Datastore)
    word = b"Basic " + base64.b64encode(b"engineer:pass")
    assert (word in proxy.requests[0], word in server.requests[0]) == (True, False)


@pytest.mark.parametrize("shown", Certificate, ids=str)
async def test_a_proxy_that_speaks_tls_proves_who_it_is(
    shown: Certificate, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    async with (
        serving(authority.server(Certificate.RIGHT)) as server,
        proxying(server.port, authority.server(shown)) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"https://localhost:{proxy.port}")
        found = await ask(server.port)
    if shown is Certificate.RIGHT:
        assert isinstance(found, Datastore)
    else:
        assert isinstance(found, Refused)
        assert found.kind is Refusal.UNTRUSTED
        assert (server.requests, proxy.requests) == ([], [])


async def test_no_proxy_is_used_for_the_hosts_of_no_proxy(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    async with serving(authority.server(Certificate.RIGHT)) as server, proxying(server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "localhost")
        assert isinstance(await ask(server.port), Datastore)
    assert proxy.requests == []


@pytest.mark.parametrize("status", [403, 407, 500, 502])
async def test_a_proxy_that_says_no_is_a_lost_answer(
    status: int, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(authority.server(Certificate.RIGHT)) as server, serving(answer=http(status, "no")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        found = await ask(server.port)
    assert isinstance(found, Lost)
    assert found.cause == ("ProxyAuthenticationError" if status == 407 else "ProxyConnectionError")
    assert (found.foreign_status, found.proxy) == (407 if status == 407 else None, f"http://127.0.0.1:{proxy.port}")
    assert server.requests == []


# -- what is said


async def test_an_endpoint_that_speaks_no_tls_is_a_lost_answer_not_an_accusation() -> None:
    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(400, "this is no TLS"))
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        assert await ask(server.sockets[0].getsockname()[1]) == Lost("SSLError")


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (Certificate.SELF_SIGNED, "self-signed certificate"),
        (Certificate.WRONG_HOST, "Hostname mismatch, certificate is not valid for 'localhost'"),
        (Certificate.EXPIRED, "certificate has expired"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_the_reason_is_told_in_the_words_of_openssl(
    shown: Certificate, words: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    async with serving(authority.server(shown)) as server:
        found = await ask(server.port)
    assert isinstance(found, Refused)
    assert found.code.removesuffix(".") == f"localhost: {words}"


@pytest.mark.parametrize("given", [False, True], ids=["no client certificate", "client certificate"])
def test_a_context_verifies_certificate_and_name_and_speaks_tls_1_2_or_newer(authority: Authority, given: bool) -> None:
    context = _context(str(authority.bundle), tuple(map(str, authority.client())) if given else None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_the_error_has_the_exit_code_of_an_endpoint() -> None:
    assert UntrustedServerError("x").exit_code == 4
