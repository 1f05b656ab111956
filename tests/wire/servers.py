"""Servers that speak TLS with a certificate of choice, and a proxy: what is between this machine and AWS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    _Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

DATASTORE: Final = "0" * 32
# this machine, and the hosts that the SDK calls at AWS
NAMES: Final = ("localhost", "127.0.0.1", "*.amazonaws.com", "*.us-east-1.amazonaws.com")
NAMED: Final = {
    "access": "ASIATESTTESTTESTTEST",
    "secret": "s" * 40,
    "token": "t" * 60,
    "until": "2099-01-01T00:00:00Z",
}


class Certificate(StrEnum):
    """What a server shows."""

    SELF_SIGNED = "self-signed"
    WRONG_HOST = "wrong host"
    EXPIRED = "expired"
    RIGHT = "right"


class Authority:
    """A CA that the tests trust, and certificates that it signed or did not sign."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self._folder = folder
        self.bundle = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.bundle)

    def server(self, shown: Certificate, *, asks_client: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if shown is Certificate.SELF_SIGNED:
            context.load_cert_chain(_self_signed(self._folder / "self-signed.pem"))
        elif shown is Certificate.WRONG_HOST:
            self._ca.issue_cert("other.example").configure_cert(context)
        elif shown is Certificate.EXPIRED:
            over = datetime.now(UTC) - timedelta(days=1)
            self._ca.issue_cert(*NAMES, not_before=over - timedelta(days=9), not_after=over).configure_cert(context)
        else:
            self._ca.issue_cert(*NAMES).configure_cert(context)
        if asks_client:
            context.verify_mode = ssl.CERT_REQUIRED
            self._ca.configure_trust(context)
        return context

    def client(self) -> tuple[Path, Path]:
        """Files of a certificate that this side can show, and of its key."""
        issued = self._ca.issue_cert("engineer@hospital.example")
        certificate, key = self._folder / "client.pem", self._folder / "client.key"
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        return certificate, key


def _self_signed(path: Path) -> Path:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in NAMES]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    return path


# -- what AWS answers


def _sts(action: str) -> str:
    credentials = (
        f"<AccessKeyId>{NAMED['access']}</AccessKeyId><SecretAccessKey>{NAMED['secret']}</SecretAccessKey>"
        f"<SessionToken>{NAMED['token']}</SessionToken><Expiration>{NAMED['until']}</Expiration>"
    )
    user = "<Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn><AssumedRoleId>A:s</AssumedRoleId>"
    result = f"<Credentials>{credentials}</Credentials><AssumedRoleUser>{user}</AssumedRoleUser>"
    body = f"<{action}Result>{result}</{action}Result>"
    return f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">{body}</{action}Response>'


_IDENTITY: Final = (
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
    "<Arn>arn:aws:sts::123456789012:assumed-role/Editor/s</Arn><UserId>A:s</UserId><Account>123456789012</Account>"
    "</GetCallerIdentityResult></GetCallerIdentityResponse>"
)
_ENDPOINT: Final = json.dumps(  # instance and container
    {
        "Code": "Success",
        "AccessKeyId": NAMED["access"],
        "SecretAccessKey": NAMED["secret"],
        "Token": NAMED["token"],
        "Expiration": NAMED["until"],
    }
)
_SSO: Final = {
    "accessKeyId": NAMED["access"],
    "secretAccessKey": NAMED["secret"],
    "sessionToken": NAMED["token"],
    "expiration": 4_070_908_800_000,
}
# what a request has in it, and its answer; the first that fits counts
ANSWERS: Final = {
    b"Action=AssumeRoleWithWebIdentity": _sts("AssumeRoleWithWebIdentity"),
    b"Action=AssumeRole": _sts("AssumeRole"),
    b"Action=GetCallerIdentity": _IDENTITY,
    b"GET /federation/credentials": json.dumps({"roleCredentials": _SSO}),
    b"POST /token": json.dumps({"accessToken": "new", "expiresIn": 28_800, "tokenType": "Bearer"}),
    b"PUT /latest/api/token": "session-token",
    b"GET /latest/meta-data/iam/security-credentials/role": _ENDPOINT,
    b"GET /latest/meta-data/iam/security-credentials/": "role",
    b"GET /container": _ENDPOINT,
    b"/datastore/": json.dumps(
        {"datastoreProperties": {"datastoreId": DATASTORE, "datastoreName": "d", "datastoreStatus": "ACTIVE"}}
    ),
}


def http(status: int, body: str | bytes, **headers: str) -> bytes:
    """An answer, after which the connection is closed."""
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Whatever", "Connection: close", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


# -- servers


@dataclass(slots=True)
class Server:
    """A server on this machine, and what reached it."""

    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)  # of its answers
    sent: int = 0  # bytes of bodies

    def names(self) -> list[str]:
        """What was asked for: AssumeRole, or the path's first word."""
        return [next((key.decode() for key in ANSWERS if key in each), "?") for each in self.requests]


@asynccontextmanager
async def _listening(handle: _Handler, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """The port of a server that leaves neither tasks nor sockets behind."""
    tasks: set[asyncio.Task[None]] = set()

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await handle(reader, writer)
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(handled(reader, writer))
        tasks.add(task)
        task.add_done_callback(lambda _: writer.transport.abort())

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    async with server:
        yield int(server.sockets[0].getsockname()[1])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)  # so that what was aborted is closed


@asynccontextmanager
async def serving(context: ssl.SSLContext | None = None, answer: bytes | None = None) -> AsyncIterator[Server]:
    """A server that answers as AWS does, or always the same bytes."""
    found = Server()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _request(reader)
        found.requests.append(request)
        known = next((text for key, text in ANSWERS.items() if key in request), "{}")
        writer.write(http(200, known, **found.headers) if answer is None else answer)
        await writer.drain()

    async with _listening(handle, context) as found.port:
        yield found


@asynccontextmanager
async def streaming(head: str, piece: bytes, *, every: float = 0, status: int = 200) -> AsyncIterator[Server]:
    """A server that goes on with its answer until the client hangs up. ``every``: seconds between pieces."""
    found = Server()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.requests.append(await _request(reader))
        writer.write(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n\r\n".encode())
        while True:
            writer.write(piece)
            await writer.drain()
            found.sent += len(piece)
            await asyncio.sleep(every)

    async with _listening(handle, None) as found.port:
        yield found


@asynccontextmanager
async def proxying(port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A proxy for CONNECT that leads every name to one port of this machine, as an attacker in between would."""
    found = Server()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.requests.append(await _request(reader))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await _relay(reader, writer, port)

    async with _listening(handle, context) as found.port:
        yield found


@asynccontextmanager
async def fronting(port: int, context: ssl.SSLContext) -> AsyncIterator[Server]:
    """TLS before a server that has none; its requests are the first pieces of connections."""
    found = Server()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.requests.append(first := await reader.read(65536))
        await _relay(reader, writer, port, first)

    async with _listening(handle, context) as found.port:
        yield found


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await reader.readexactly(int(lengths[0].split(b":")[1]) if lengths else 0)


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, first: bytes = b"") -> None:
    there, back = await asyncio.open_connection("127.0.0.1", port)
    back.write(first)
    try:
        await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
    finally:
        back.transport.abort()


async def _pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while piece := await source.read(65536):
        target.write(piece)
        await target.drain()
    target.close()
