"""Why a service could not be reached is said by the cause, with what to type."""

from __future__ import annotations

import inspect

import pytest

from bulkedit.client import transport
from bulkedit.client.parsing import UNREADABLE
from bulkedit.client.responses import Lost
from bulkedit.client.unreached import CAUSES, not_reached

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (Lost("HostNotFoundError"), "DNS does not know the host"),
        (Lost("ConnectionRefusedError"), "nothing listens at this port"),
        (Lost("NoRouteError"), "no route"),
        (Lost("ConnectTimeoutError"), "firewall"),
        (Lost("ReadTimeoutError"), "did not answer it in time"),
        (Lost("SSLError"), "does not speak TLS"),
        (Lost("TooManyFilesError"), "ulimit -n 4096"),
        (Lost("ProxyNotFoundError", proxy=PROXY), f"the host of the proxy {PROXY}"),
        (Lost("ProxyRefusedError", proxy=PROXY), f"Nothing listens at the proxy {PROXY}"),
        (Lost("ProxyConnectionError", proxy=PROXY), "NO_PROXY"),
        (Lost("ProxyAuthenticationError", 407, PROXY), f"The proxy {PROXY} asks for a user name and a password"),
        (Lost("HTTP 407 without an error type", 407, PROXY), "HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"),
        (Lost("HTTP 403 without an error type", 403, PROXY), f"the proxy {PROXY} has sent it"),
        (Lost("HTTP 403 without an error type", 403), "a proxy, a firewall or a sign-in page on the way has sent it"),
        (Lost(UNREADABLE, proxy=PROXY), f"the proxy {PROXY} has sent it"),
        (Lost("InvalidRequestError"), "line break"),
        (Lost("InternalServerException"), "a fault of its own"),
        (Lost("SomethingNew"), "The network or the service is down"),
    ],
    ids=lambda one: one.cause if isinstance(one, Lost) else "",
)
def test_the_cause_is_told_in_words(lost: Lost, words: str) -> None:
    error = not_reached("the service does not answer", lost)
    assert error.what == f"the service does not answer ({lost.cause})."
    assert words in f"{error.likely} {error.hint}"
    assert error.exit_code == 4


def test_what_to_do_afterwards_ends_the_hint() -> None:
    hints = [not_reached("x", Lost(cause), then="Then resume.").hint for cause in ("ProxyRefusedError", "New")]
    assert hints == ["Correct HTTPS_PROXY or HTTP_PROXY. Then resume.", "Then resume."]


def test_each_fault_of_the_transport_has_words() -> None:
    own = {
        name
        for name, kind in inspect.getmembers(transport, inspect.isclass)
        if kind.__module__ == transport.__name__ and name.endswith("Error")
    }
    otherwise = {"UnverifiedError", "PlainHttpError", "AnswerTooLargeError", "ProxyAuthenticationError"}
    assert own - CAUSES.keys() == otherwise
