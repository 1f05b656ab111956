"""Verifies SigV4 signatures: computes the signature of a request with botocore's signer, and compares the two."""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from bulkedit.emulator.api.failures import Denied

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.compat import HTTPHeaders

SERVICE: Final = "medical-imaging"
WINDOW_S: Final = 300.0  # a signature is valid for five minutes

_AUTHORIZATION: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([^/,]+)/([^/,]+)/aws4_request, ?"
    r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})"
)


class NoToken(Denied):
    """The request is not signed."""

    code: ClassVar[str] = "MissingAuthenticationTokenException"


class IncompleteSignature(Denied):
    """The authorization header does not have the form of SigV4."""

    code: ClassVar[str] = "IncompleteSignatureException"


class UnrecognizedClient(Denied):
    """The access key is unknown."""

    code: ClassVar[str] = "UnrecognizedClientException"


class BadSignature(Denied):
    """The signature is wrong, or too old."""

    code: ClassVar[str] = "InvalidSignatureException"


class ExpiredToken(Denied):
    """The credentials have expired."""

    code: ClassVar[str] = "ExpiredTokenException"

    def __init__(self) -> None:
        super().__init__("The security token included in the request is expired")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The key pair of an emulator with access control."""

    access_key: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signed:
    """The parts of a request that a signature covers."""

    method: str
    path: str  # still encoded
    query: str
    headers: Mapping[str, str]  # case-insensitive
    body: bytes


def check_time(headers: Mapping[str, str], now: float) -> None:
    """Raises BadSignature if a signature is more than five minutes old or early, IncompleteSignature without a time."""
    try:
        signed_at = calendar.timegm(time.strptime(headers.get("X-Amz-Date", ""), "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise IncompleteSignature("Authorization header requires existence of either a X-Amz-Date header.") from None
    if now - signed_at > WINDOW_S:
        raise BadSignature("Signature expired: the request was signed more than 5 min. away from the service's time")
    if signed_at - now > WINDOW_S:
        raise BadSignature("Signature not yet current: it was signed more than 5 min. ahead of the service's time")


def access_key_of(signed: Signed) -> str | None:
    """The access key in a request's authorization header, if any."""
    parts = _AUTHORIZATION.fullmatch(signed.headers.get("Authorization") or "")
    return parts[1] if parts else None


def verify(signed: Signed, credentials: Credentials, now: float) -> None:
    """Raises Denied if the request is not signed with these credentials; errors and messages are those of AWS."""
    if not (authorization := signed.headers.get("Authorization")):
        raise NoToken("Missing Authentication Token")
    if not (parts := _AUTHORIZATION.fullmatch(authorization)):
        raise IncompleteSignature("Authorization header is not a complete AWS4-HMAC-SHA256 signature.")
    access_key, _, region, service, names, signature = parts.groups()
    if not hmac.compare_digest(access_key.encode(), credentials.access_key.encode()):
        raise UnrecognizedClient("The security token included in the request is invalid.")
    check_time(signed.headers, now)
    expected = _signature(signed, credentials, region, names.split(";"))
    declared = signed.headers.get("X-Amz-Content-SHA256")
    same_body = declared in (None, "UNSIGNED-PAYLOAD", hashlib.sha256(signed.body).hexdigest())
    if service != SERVICE or not same_body or not hmac.compare_digest(expected, signature):
        raise BadSignature(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details."
        )


def _signature(signed: Signed, credentials: Credentials, region: str, names: list[str]) -> str:
    """The signature that botocore makes for the request."""
    headers = {name: signed.headers.get(name, "") for name in names}
    url = f"http://{signed.headers.get('Host', '')}{signed.path}" + (f"?{signed.query}" if signed.query else "")
    request = AWSRequest(method=signed.method, url=url, headers=headers, data=signed.body)
    request.context["timestamp"] = signed.headers.get("X-Amz-Date", "")
    signer = _Signer(BotocoreCredentials(credentials.access_key, credentials.secret_key), SERVICE, region)
    return str(signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request))


class _Signer(SigV4Auth):
    """A signer for exactly the headers that the client has signed; botocore's own omits some by name."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        return request.headers
