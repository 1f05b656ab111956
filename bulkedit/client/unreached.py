"""Says why a service could not be reached: by the cause of the last `Lost`. Pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from bulkedit.client.parsing import UNREADABLE
from bulkedit.client.service_messages import CODES
from bulkedit.errors import EndpointError

if TYPE_CHECKING:
    from bulkedit.client.responses import Lost

_PAST_PROXY: Final = "If this machine can do without the proxy, add the host of the endpoint to NO_PROXY"
_ENDPOINT: Final = "Check `endpoint_url` and `region`"
# cause of `Lost` -> (why likely, what to type)
CAUSES: Final[dict[str, tuple[str, str | None]]] = {
    "HostNotFoundError": (
        "DNS does not know the host: `region` or `endpoint_url` is mistyped, or this machine has no DNS server.",
        _ENDPOINT,
    ),
    "ConnectionRefusedError": ("The machine answers, but nothing listens at this port of the endpoint.", _ENDPOINT),
    "NoRouteError": ("This machine has no network, or no route to the endpoint.", "Check the network of this machine"),
    "ConnectTimeoutError": (
        "A firewall or a security group drops the connection, or a VPC endpoint is missing.",
        "Open port 443 to the endpoint, or set the proxy of your network: HTTPS_PROXY",
    ),
    "ReadTimeoutError": ("The endpoint took the request, and did not answer it in time.", None),
    "ConnectionClosedError": ("The connection was closed before the answer was complete.", None),
    "SSLError": ("The endpoint does not speak TLS, or asks for a client certificate.", _ENDPOINT),
    "TooManyFilesError": (
        "This process may not open more files, and each connection is one.",
        "Allow more (ulimit -n 4096), or use fewer `workers`",
    ),
    "ProxyNotFoundError": ("DNS does not know the host of the proxy {proxy}.", "Correct HTTPS_PROXY or HTTP_PROXY"),
    "ProxyRefusedError": ("Nothing listens at the proxy {proxy}.", "Correct HTTPS_PROXY or HTTP_PROXY"),
    "ProxyConnectionError": ("The proxy {proxy} does not connect to the endpoint.", _PAST_PROXY),
    "InvalidRequestError": (
        "A header cannot be sent: the session token, the region or another setting has a line break in it.",
        "Set it again, without the line break",
    ),
}
PASSWORD: Final[tuple[str, str | None]] = (
    "The proxy {proxy} asks for a user name and a password (HTTP 407).",
    "Set them: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT (HTTP_PROXY for an endpoint without TLS)",
)
# causes for which nothing is sent, and that a mistyped setting has
NEVER_REACHED: Final = frozenset({
    "ConnectionRefusedError", "HostNotFoundError", "InvalidRequestError", "NoRouteError", "ProxyNotFoundError",
    "ProxyRefusedError", "SSLError",
})  # fmt: skip
FOREIGN: Final[tuple[str, str | None]] = (
    "The answer is not the service's own: {sender} has sent it.",
    "To see it: curl -v with the URL of the endpoint. " + _PAST_PROXY,
)
_SERVICE: Final[tuple[str, str | None]] = (
    "The service answers with a fault of its own, which often ends soon.",
    None,
)
_OTHER: Final = ("The network or the service is down, or `endpoint_url` or `region` is wrong.", None)


def wants_password(lost: Lost) -> bool:
    """Whether a proxy asks for authentication, which no retry can give it."""
    return lost.foreign_status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED


def not_reached(problem: str, lost: Lost, *, then: str | None = None) -> EndpointError:
    """The exception if the service cannot be reached. ``problem``: without the cause, which follows in brackets.

    ``then``: a sentence that ends the hint: what to do once the cause is gone.
    """
    likely, hint = words_of(lost)
    hints = [text for text in (f"{hint}." if hint else None, then) if text]
    return EndpointError(f"{problem} ({lost.cause}).", likely=likely, hint=" ".join(hints) or None)


def words_of(lost: Lost) -> tuple[str, str | None]:
    """Why likely, and what to type."""
    foreign = lost.foreign_status is not None or lost.cause == UNREADABLE
    other = _SERVICE if lost.cause in CODES else _OTHER
    likely, hint = PASSWORD if wants_password(lost) else FOREIGN if foreign else CAUSES.get(lost.cause, other)
    proxy = lost.proxy or "of this network"
    sender = f"the proxy {lost.proxy}" if lost.proxy else "a proxy, a firewall or a sign-in page on the way"
    return likely.format(proxy=proxy, sender=sender), hint
