"""Which HTTP requests the emulator takes at all: those for a host that it answers for, and not those of a web page.

A web page that is open on this machine can send requests to loopback, and the owner of a web site can have its name
lead here (DNS rebinding) and then read the answers. A page cannot choose the headers Host, Origin and Sec-Fetch-Site.
Pure decisions: no I/O.
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

# what SDKs and the service put before the host of the endpoint (endpoints-quotas)
HOST_PREFIXES: Final = ("runtime-", "dicom-")
# what a page may send without asking first (Fetch standard, "CORS-safelisted request-header")
PAGE_TYPES: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})

_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]{1,255})(:\d*)?", re.IGNORECASE)
_NAME: Final = re.compile(r"[a-z0-9._-]{1,255}", re.IGNORECASE)


class UnknownHost(ServiceError):  # noqa: N818 - named as the service names its errors
    """The header Host names a host that the emulator does not answer for."""

    code: ClassVar[str] = "HostNotAllowedException"
    status: ClassVar[int] = 421

    def __init__(self, host: str) -> None:
        super().__init__(
            f"The emulator does not answer for the host {host}. If this is a name of the emulator, start it with "
            f"--allow-host {host}, or with Settings(allowed_hosts=['{host}'])."
        )


class NoHost(ServiceError):  # noqa: N818
    """There is no header Host, or more than one, or it is malformed."""

    code: ClassVar[str] = "ValidationException"
    status: ClassVar[int] = 400

    def __init__(self) -> None:
        super().__init__("The request needs one header Host, with the host name of the endpoint.")


class FromWebPage(Denied):
    """A browser sent the request for a web page."""

    def __init__(self) -> None:
        super().__init__(
            "The request comes from a web page, which the emulator does not answer. Use an SDK, the AWS CLI or curl; "
            "a web page has to ask its own server."
        )


class UnsupportedType(ServiceError):  # noqa: N818
    """A body of a content type that no client of the service sends, and any web page can."""

    code: ClassVar[str] = "UnsupportedMediaTypeException"
    status: ClassVar[int] = 415

    def __init__(self) -> None:
        super().__init__("Send the body as JSON, with the header Content-Type: application/json.")


class Gate:
    """The decision for one emulator."""

    def __init__(self, allowed_hosts: Iterable[str], *, bound: str) -> None:
        """``allowed_hosts``: names and addresses to answer for, beside loopback; ``bound``: what it listens on."""
        self._allowed = frozenset({"localhost", *map(_plain, (bound, *allowed_hosts))})

    def check(self, headers: MultiMapping[str], own_address: str | None) -> None:
        """Refuse a request that it should not take, before its body is read.

        ``own_address``: the address of this machine that the request arrived at. Raises UnknownHost, NoHost,
        FromWebPage or UnsupportedType.
        """
        self._check_host(headers.getall("Host", []), own_address)
        # a browser says "none" if a person typed the address
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
    """Raises ValueError unless the text is a host name or an address, without scheme, port or path."""
    if _address(text.strip("[]")) is None and not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a host name: give the name or address alone, such as emulator or 10.0.0.5")


def is_loopback(host: str) -> bool:
    """Whether a host is localhost, or an address of the loopback network."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _names(host: str) -> set[str]:
    """A host, and without the prefix of an SDK the name or address that is left.

    Not if a domain is left: runtime-example.org is anyone's to register, and need not belong to example.org.
    """
    rest = {host.removeprefix(prefix) for prefix in HOST_PREFIXES}
    return {host} | {name for name in rest if "." not in name or _address(name)}


@functools.lru_cache(maxsize=64)  # most requests name the same host
def _plain(host: str) -> str:
    """One spelling for each host: small letters, no brackets, no final dot, no zone; IPv4 in IPv6 as IPv4."""
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
