"""HTTP for the SDK: certificates are always verified, and every response has a time and size limit.

aiobotocore 2.25, which aioboto3 15.5 requires, checks no certificate behind an HTTPS proxy, and no host name without a
proxy (aiobotocore/httpsession.py: ``ssl=ssl_context or False``, ``check_hostname`` off). `Transport` replaces its HTTP
session through the setting ``AioConfig(http_session_cls=...)``, and guarantees:

- The certificate and the host name are always checked, with and without a proxy. This cannot be turned off.
- Redirects are never followed, because a request contains patients' data and credentials.
- A response ends after ``answer_timeout_s``, or at `METADATA_BYTES` or `ANSWER_BYTES`, whatever the server does.
- Cookies are not kept.

The trusted CAs are those of boto3: the file in AWS_CA_BUNDLE, the profile's ``ca_bundle`` or REQUESTS_CA_BUNDLE (in
that order), otherwise the SDK's own list.
"""

from __future__ import annotations

import errno
import io
import socket
import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

import aiohttp
from aiobotocore.awsrequest import AioAWSResponse
from botocore import exceptions as boto
from botocore.httpsession import ProxyConfiguration, get_cert_path, mask_proxy_url
from multidict import CIMultiDict
from yarl import URL

from bulkedit.client.destination import is_loopback
from bulkedit.client.sent import Exchange, exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from botocore.awsrequest import AWSPreparedRequest

METADATA_BYTES: Final = 50 * 1024 * 1024  # the service's quota for one metadata document (endpoints and quotas)
ANSWER_BYTES: Final = 8 * 1024 * 1024  # for any other response; the largest is a page of 50 versions with messages
_KEEPALIVE_S: Final = 12.0  # as in the SDK's class


class UnverifiedError(boto.HTTPClientError):
    """The server's certificate could not be verified, or a certificate file is unusable. Nothing was sent.

    Not a `botocore.exceptions.SSLError`, because the SDK retries a request to STS after one.
    """

    def __init__(self, what: str) -> None:
        super().__init__(error=what)
        self.what = what  # host or file, and the reason from OpenSSL or the system; never a value


class PlainHttpError(boto.HTTPClientError):
    """The request would go to another machine without TLS, which was not allowed. Nothing was sent."""

    def __init__(self, host: str) -> None:
        super().__init__(error=f"{host} is another machine, and http is not encrypted")
        self.host = host


class AnswerTooLargeError(boto.HTTPClientError):
    """The response is larger than any of the service."""

    def __init__(self, limit: int) -> None:
        super().__init__(error=f"the answer has more than {limit} bytes")


class HostNotFoundError(boto.EndpointConnectionError):
    """DNS does not know the host."""


class ConnectionRefusedError(boto.EndpointConnectionError):  # noqa: A001 - the type is told as the cause
    """Nothing listens at the port."""


class NoRouteError(boto.EndpointConnectionError):
    """There is no way to the host."""


class TooManyFilesError(boto.EndpointConnectionError):
    """This process may not open more files. Nothing was sent."""


class ProxyNotFoundError(boto.ProxyConnectionError):
    """DNS does not know the host of the proxy."""


class ProxyRefusedError(boto.ProxyConnectionError):
    """Nothing listens at the proxy's port."""


class ProxyAuthenticationError(boto.ProxyConnectionError):
    """The proxy asks for a user name and a password (HTTP 407)."""


class InvalidRequestError(boto.HTTPClientError):
    """The request cannot be sent, because a header or the URL is invalid."""


class Transport:
    """The HTTP session of an SDK client, with the interface of `aiobotocore.httpsession.AIOHTTPSession`.

    The SDK creates it and passes the arguments. ``verify``: True, or the path of a file of CA certificates (PEM); an
    empty text counts as True. ``timeout``: seconds, or a pair: seconds to connect, and seconds between two chunks of a
    response. ``client_cert``: the path of a certificate with its key, or both paths. ``answer_timeout_s``: seconds from
    the request to the end of its response. ``allow_http``: requests may go to another machine without TLS.

    Raises ValueError for ``verify=False``, and for ``proxies_config``, which aiohttp would apply to the server too.
    """

    def __init__(
        self,
        *,
        answer_timeout_s: float,
        allow_http: bool = False,
        verify: bool | str = True,
        proxies: dict[str, str] | None = None,
        timeout: float | tuple[float, float] | None = None,
        max_pool_connections: int = 10,
        socket_options: list[object] | None = None,  # noqa: ARG002 - the SDK passes it; aiohttp cannot use it
        client_cert: str | tuple[str, str] | None = None,
        proxies_config: dict[str, object] | None = None,
        connector_args: dict[str, float] | None = None,
    ) -> None:
        if verify is False:
            raise ValueError("certificates are always verified")
        if any(value is not None for value in (proxies_config or {}).values()):
            raise ValueError("proxies_config is not supported")
        self._allow_http = allow_http
        connect_s, read_s = timeout if isinstance(timeout, tuple | list) else (timeout, timeout)
        self._timeout = aiohttp.ClientTimeout(total=answer_timeout_s, sock_connect=connect_s, sock_read=read_s)
        self._ca_certificates = verify if isinstance(verify, str) and verify else str(get_cert_path(verify=True))
        self._client_cert = (client_cert,) if isinstance(client_cert, str) else client_cert
        self._proxies = ProxyConfiguration(proxies=proxies)
        self._connections = max_pool_connections
        self._keepalive_s = (connector_args or {}).get("keepalive_timeout", _KEEPALIVE_S)
        self._open: dict[bool, aiohttp.ClientSession] = {}  # key: whether the server or the proxy uses TLS
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        self._open.clear()
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def send(self, request: AWSPreparedRequest) -> AioAWSResponse:
        """Send one request and read the whole response.

        Raises the botocore exceptions that the SDK's class raises, `UnverifiedError`, `PlainHttpError` and
        `AnswerTooLargeError`.
        """
        url = URL(request.url, encoded=True)
        if url.scheme != "https" and not self._allow_http and not is_loopback(request.url):
            raise PlainHttpError(url.host or "")
        proxy = self._proxies.proxy_url_for(request.url)
        headers = CIMultiDict((name, _text(value)) for name, value in request.headers.items())
        headers["Accept-Encoding"] = "identity"
        session = await self._session(secure="https" in {url.scheme, (proxy or "").partition(":")[0]})
        seen = exchange.get(None) or Exchange()
        seen.begins()
        try:
            async with session.request(
                request.method,
                url,
                headers=headers,
                data=request.body,
                allow_redirects=False,
                proxy=proxy,
                proxy_headers=self._proxies.proxy_headers_for(request.url) if proxy else None,
            ) as answer:
                seen.answered(answer.status, answer.headers)
                body = await _body(answer, METADATA_BYTES if request.stream_output else ANSWER_BYTES)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            raise _fault(error, request, proxy) from error
        # the SDK expects header names in lower case
        found = {_text(name).lower(): _text(text) for name, text in answer.raw_headers}
        return AioAWSResponse(str(answer.url), answer.status, found, _Body(body))

    async def _session(self, *, secure: bool) -> aiohttp.ClientSession:
        """The session with or without TLS. Loading certificates takes time, which the emulator does not need."""
        if secure not in self._open:
            context = _context(self._ca_certificates, self._client_cert) if secure else True
            connector = aiohttp.TCPConnector(limit=self._connections, ssl=context, keepalive_timeout=self._keepalive_s)
            self._open[secure] = await self._stack.enter_async_context(
                aiohttp.ClientSession(
                    connector=connector,
                    timeout=self._timeout,
                    skip_auto_headers={"Content-Type"},
                    auto_decompress=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                )
            )
        return self._open[secure]


class SharedTransport(Transport):
    """A transport for the SDK's readers of instance and container credentials.

    `aiobotocore.utils` opens it with `acquire` for each read. Those endpoints are http on link-local addresses; the SDK
    refuses others.
    """

    def __init__(self, *, answer_timeout_s: float, timeout: float, verify: bool | str) -> None:
        super().__init__(answer_timeout_s=answer_timeout_s, allow_http=True, timeout=timeout, verify=verify)
        self._users = 0

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Self]:
        """Keep connections open while they are in use."""
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            if not self._users:
                await self.close()


def _fault(  # noqa: PLR0911 - one line for each fault
    error: Exception, request: AWSPreparedRequest, proxy: str | None
) -> boto.BotoCoreError:
    """The exception that the SDK's class raises for an error of aiohttp or of the system, or one of this module."""
    url = request.url
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return UnverifiedError(f"{error.host}: {_reason(error.certificate_error)}")
        case aiohttp.ClientSSLError():
            return boto.SSLError(endpoint_url=url, error=error)
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return _proxy_fault(error)(proxy_url=mask_proxy_url(proxy or ""), error=error)
        case aiohttp.ClientConnectorDNSError() if proxy:
            return ProxyNotFoundError(proxy_url=mask_proxy_url(proxy), error=error)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
            return boto.ConnectionClosedError(endpoint_url=url, request=request, error=error)
        case aiohttp.ConnectionTimeoutError():
            return boto.ConnectTimeoutError(endpoint_url=url, error=error)
        case TimeoutError():
            return boto.ReadTimeoutError(endpoint_url=url, error=error)
        case aiohttp.ClientConnectionError() | OSError():
            return _connection_fault(error)(endpoint_url=url, error=error)
        case ValueError():  # a line break in a header, or a URL that aiohttp does not accept
            return InvalidRequestError(error=type(error).__name__)
        case _:  # not HTTP
            return boto.HTTPClientError(error=type(error).__name__)


def _connection_fault(error: Exception) -> type[boto.EndpointConnectionError]:
    """The fault of a connection that was not made, by the error of the system."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return HostNotFoundError
    number = error.errno if isinstance(error, OSError) else None
    if number in {errno.EMFILE, errno.ENFILE}:
        return TooManyFilesError
    if number in {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}:
        return NoRouteError
    return ConnectionRefusedError if number == errno.ECONNREFUSED else boto.EndpointConnectionError


def _proxy_fault(error: Exception) -> type[boto.ProxyConnectionError]:
    """The fault of a proxy that was not reached, or that does not connect."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return (
            ProxyAuthenticationError
            if error.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
            else boto.ProxyConnectionError
        )
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
    if isinstance(cause, socket.gaierror):
        return ProxyNotFoundError
    return ProxyRefusedError if cause is not None and cause.errno == errno.ECONNREFUSED else boto.ProxyConnectionError


class _Body:
    """A response body that has been read, with the interface of one that has not."""

    def __init__(self, body: bytes) -> None:
        self._rest = io.BytesIO(body)
        self.content = self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def read(self, size: int = -1) -> bytes:
        return self._rest.read(size)


async def _body(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    if answer.content_length is not None:
        if answer.content_length > limit:
            raise AnswerTooLargeError(limit)
        return await answer.read()
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > limit:
            raise AnswerTooLargeError(limit)
    return bytes(body)


def _context(ca_certificates: str, client_cert: tuple[str, ...] | None) -> ssl.SSLContext:
    """TLS settings: trust these CAs, and present this client certificate. Raises UnverifiedError."""
    try:
        context = ssl.create_default_context(cafile=ca_certificates)
    except OSError as error:  # ssl.SSLError is one
        raise _unusable(ca_certificates, _reason(error)) from error
    if client_cert:
        try:
            key = client_cert[-1]  # may be the certificate's file
            context.load_cert_chain(client_cert[0], key, password=lambda: _no_password(key))
        except OSError as error:
            raise _unusable(" with ".join(client_cert), _reason(error)) from error
    return context


def _unusable(path: str, reason: str) -> UnverifiedError:
    return UnverifiedError(f"certificate file {path}: {reason}")


def _no_password(path: str) -> str:
    """Raises UnverifiedError. Otherwise OpenSSL would ask for the password on the terminal, in the middle of a run."""
    raise _unusable(path, "the key is encrypted")


def _reason(error: Exception) -> str:
    """The reason that OpenSSL or the system gives."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return error.reason or type(error).__name__
    return getattr(error, "strerror", None) or type(error).__name__


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
