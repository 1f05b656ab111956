"""Refuses HTTP requests that are for another host, or come from a web page. No I/O.

A web page in a browser on this machine can send requests to loopback. With DNS rebinding, its site can also read the
responses. But a page cannot choose the headers Host, Origin and Sec-Fetch-Site.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import TYPE_CHECKING, ClassVar, Final

from bulkedit.emulator.api.failures import Denied, ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from multidict import MultiMapping

# prefixes that SDKs and the service add to the endpoint's host (endpoints-quotas)
HOST_PREFIXES: Final = ("runtime-", "dicom-")
# content types that a page may send without a preflight (Fetch standard, "CORS-safelisted request-header")
PAGE_TYPES: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})

_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]{1,255})(:\d*)?", re.IGNORECASE)
_NAME: Final = re.compile(r"[a-z0-9._-]{1,255}", re.IGNORECASE)


class UnknownHost(ServiceError):  # noqa: N818 - named like the service's errors
    """The header Host does not name this emulator."""

    code: ClassVar[str] = "HostNotAllowedException"
    status: ClassVar[int] = 421

    def __init__(self, host: str) -> None:
        super().__init__(
            f"The emulator does not serve the host {host}. If this is a name of the emulator, start it with "
            f"--allow-host {host}, or with Settings(allowed_hosts=['{host}'])."
        )


class NoHost(ServiceError):  # noqa: N818
    """The header Host is missing, repeated or malformed."""

    code: ClassVar[str] = "ValidationException"
    status: ClassVar[int] = 400

    def __init__(self) -> None:
        super().__init__("The request needs exactly one header Host, with the host name of the endpoint.")


class FromWebPage(Denied):
    """A browser sent the request for a web page."""

    def __init__(self) -> None:
        super().__init__(
            "The emulator refuses requests of web pages. Use an SDK, the AWS CLI or curl; a web page must send the "
            "request by its own server."
        )


class UnsupportedType(ServiceError):  # noqa: N818
    """The body has a content type that web pages can send, and clients of the service do not."""

    code: ClassVar[str] = "UnsupportedMediaTypeException"
    status: ClassVar[int] = 415

    def __init__(self) -> None:
        super().__init__("Send the body as JSON, with the header Content-Type: application/json.")


class Gate:
    """Checks the requests of one emulator."""

    def __init__(self, allowed_hosts: Iterable[str], *, bound: str) -> None:
        """``allowed_hosts``: names and addresses to serve besides loopback. ``bound``: the listening address."""
        self._allowed = frozenset({"localhost", *map(_plain, (bound, *allowed_hosts))})

    def check(self, headers: MultiMapping[str], own_address: str | None) -> None:
        """Check the headers of a request, before its body is read.

        ``own_address``: the address of this machine to which the request was sent. Raises UnknownHost, NoHost,
        FromWebPage or UnsupportedType.
        """
        self._check_host(headers.getall("Host", []), own_address)
        # "none": the user typed the address into the browser
        if "Origin" in headers or headers.get("Sec-Fetch-Site", "none") != "none":
            raise FromWebPage
        types = headers.getall("Content-Type", [])
        if any(one.partition(";")[0].strip().lower() in PAGE_TYPES for one in types):
            raise UnsupportedType

    def _check_host(self, given: list[str], own_address: str | None) -> None:
        found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
        if found is None:
            raise NoHost
        host = _plain(found[1])
        own = None if own_address is None else _plain(own_address)
        if host in self._allowed:
            return
        if not any(name in self._allowed or name == own or is_loopback(name) for name in _names(host)):
            raise UnknownHost(host)


def check_host_name(text: str) -> None:
    """Raises ValueError if the text is not a host name or address without scheme, port and path."""
    if _address(text.strip("[]")) is None and not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a host name: give only a name or an address, such as emulator or 10.0.0.5")


def is_loopback(host: str) -> bool:
    """Whether a host is localhost, or an address of the loopback network."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _names(host: str) -> set[str]:
    """A host, and its name or address without an SDK's prefix.

    The prefix of a domain name is kept, because runtime-example.org may not belong to the owner of example.org.
    """
    rest = {host.removeprefix(prefix) for prefix in HOST_PREFIXES}
    return {host} | {name for name in rest if "." not in name or _address(name)}


@functools.lru_cache(maxsize=64)  # most requests name the same host
def _plain(host: str) -> str:
    """A host in normal form: lower case, no brackets, no final dot, no zone, IPv4-mapped IPv6 as IPv4."""
    name = host.strip("[]").lower().removesuffix(".")
    address = _address(name.partition("%")[0])
    if address is None:
        return name
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
