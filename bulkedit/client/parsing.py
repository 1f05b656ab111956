"""Parses responses of the service into records, and errors into `Refused`, `Lost` or the exception to raise.

An error is classified by its code. If the code is unknown, it is classified by its HTTP status. An error without the
service's error type is no answer of the service: a proxy or a load balancer on the way has sent it.
"""

from __future__ import annotations

import email.utils
import re
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeVar

from bulkedit.client.contract import IMAGE_SET_ID
from bulkedit.client.responses import (
    Accepted,
    Copied,
    Datastore,
    Deleting,
    ImageSet,
    ImageSetState,
    Lost,
    Metadata,
    Page,
    Refusal,
    Refused,
)
from bulkedit.client.service_messages import CODES, HIDDEN, code_without_values
from bulkedit.errors import AccessError, BulkeditError, CredentialsError, UntrustedServerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkedit.client.responses import Answer

# error code -> kind: the codes of the service's model, then those of AWS request signing
_KINDS: Final[dict[str, Refusal]] = {
    "ThrottlingException": Refusal.THROTTLED,
    "Throttling": Refusal.THROTTLED,
    "TooManyRequestsException": Refusal.THROTTLED,
    "RequestLimitExceeded": Refusal.THROTTLED,
    "SlowDown": Refusal.THROTTLED,
    "ServiceQuotaExceededException": Refusal.TOO_MANY,
    "ConflictException": Refusal.CONFLICT,
    "ResourceNotFoundException": Refusal.NOT_FOUND,
    "ValidationException": Refusal.INVALID,
    "AccessDeniedException": Refusal.ACCESS_DENIED,
    "AuthFailure": Refusal.CREDENTIALS,
    "ExpiredToken": Refusal.CREDENTIALS,
    "ExpiredTokenException": Refusal.CREDENTIALS,
    "IncompleteSignature": Refusal.CREDENTIALS,
    "IncompleteSignatureException": Refusal.CREDENTIALS,
    "InvalidClientTokenId": Refusal.CREDENTIALS,
    "InvalidSignatureException": Refusal.CREDENTIALS,
    "MissingAuthenticationToken": Refusal.CREDENTIALS,
    "MissingAuthenticationTokenException": Refusal.CREDENTIALS,
    "RequestExpired": Refusal.CREDENTIALS,
    "RequestInTheFuture": Refusal.CREDENTIALS,
    "RequestTimeTooSkewed": Refusal.CREDENTIALS,
    "SignatureDoesNotMatch": Refusal.CREDENTIALS,
    "UnrecognizedClientException": Refusal.CREDENTIALS,
}
THROTTLES: Final = frozenset(code for code, kind in _KINDS.items() if kind is Refusal.THROTTLED)
# faults of the service, whatever their HTTP status: the update may have been applied
SERVICE_FAULTS: Final = frozenset({
    "InternalError", "InternalFailure", "InternalServerError", "InternalServerException", "RequestAbortedException",
    "RequestTimeout", "RequestTimeoutException", "ServiceUnavailable", "ServiceUnavailableException",
})  # fmt: skip
_REQUEST_TIMEOUT: Final = 408
# HTTP status -> kind, for a code that is not in the table above
_KINDS_BY_STATUS: Final[dict[int, Refusal]] = {
    401: Refusal.CREDENTIALS,
    402: Refusal.TOO_MANY,
    403: Refusal.ACCESS_DENIED,
    404: Refusal.NOT_FOUND,
    409: Refusal.CONFLICT,
    429: Refusal.THROTTLED,
}
_EXPIRED: Final = (
    "They have expired, or belong to another account.",
    "Renew them (for example: aws sso login)",
)
_SIGNATURE: Final = (
    "The secret key does not belong to the access key, or this machine's clock is wrong.",
    "Set both keys again (aws configure), and compare the clock (timedatectl)",
)
_CLOCK: Final = ("This machine's clock is wrong.", "Set it: timedatectl set-ntp true")
_UNKNOWN_KEY: Final = (
    "AWS does not know the access key: it was deleted, or belongs to another partition.",
    "Use another key, or renew it (for example: aws sso login)",
)
# code of a refusal of the credentials -> (why likely, what to type)
_CREDENTIALS: Final = {
    "InvalidSignatureException": _SIGNATURE,
    "SignatureDoesNotMatch": _SIGNATURE,
    "AuthFailure": _SIGNATURE,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "RequestInTheFuture": _CLOCK,
    "InvalidClientTokenId": _UNKNOWN_KEY,
    "UnrecognizedClientException": _UNKNOWN_KEY,
}
CERTIFICATE_FILE: Final = "certificate file "  # begins the code of a refusal for a file that cannot be used
_OWN_CA: Final = "If your network has its own CA, set AWS_CA_BUNDLE to the PEM file of its certificate"
_OTHER_CERTIFICATE: Final = (
    "A proxy inspects TLS, the URL belongs to another server, or the CA file is the wrong one.",
    _OWN_CA,
)
# part of the reason of OpenSSL or the system, why likely, what to type
_CERTIFICATES: Final = (
    (
        "the key is encrypted",
        "A run cannot ask for its password.",
        "Give a key without a password: `client_key=FILE`",
    ),
    (
        CERTIFICATE_FILE,
        "AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE, `client_cert` or the profile names a file that is missing or no PEM file.",
        "Name a PEM file, which begins with -----BEGIN CERTIFICATE-----, or unset the variable",
    ),
    ("expired", "The certificate has expired, or this machine's clock is wrong.", "Compare the clock: timedatectl"),
    ("not yet valid", "This machine's clock is probably wrong.", "Compare the clock: timedatectl"),
    (
        "mismatch",
        "The URL belongs to another server, or something on the way answers in its place.",
        "Check `endpoint_url` and the proxy settings",
    ),
    (
        "self-signed",
        "A proxy inspects TLS with the CA of your network, or the server has made its certificate itself.",
        _OWN_CA,
    ),
    (
        "issuer",
        "The CA file does not have the CA of this server: a proxy inspects TLS, or AWS_CA_BUNDLE is the wrong file.",
        _OWN_CA,
    ),
)
# observed at AWS: an outdated latestVersionId returns a 404 that only this text tells apart from other 404s
_STALE_TEXT: Final = "not the latest"
_SECONDS: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_STORE_STATUSES: Final = frozenset({"CREATING", "CREATE_FAILED", "ACTIVE", "DELETING", "DELETED"})
THEN_RESUME: Final = ", then continue with: bulkedit resume RUN"
# raised when a response that does not match the service's model is parsed; RecursionError: deeply nested JSON
WRONG_SHAPE: Final = (AttributeError, LookupError, TypeError, ValueError, RecursionError)

METADATA: Final = "imageSetMetadataBlob"  # GetImageSetMetadata
UNREADABLE: Final = "unreadable answer"  # a cause of `Lost`
UNTYPED: Final = " without an error type"  # the end of a cause of `Lost`
_Raw = TypeVar("_Raw")
_Record = TypeVar("_Record")


def parsed(answer: _Raw | Refused | Lost, record: Callable[[_Raw], _Record]) -> _Record | Refused | Lost:
    """The response as parsed by ``record``. `Lost` if the response does not match the service's model."""
    if isinstance(answer, Refused | Lost):
        return answer
    try:
        return record(answer)
    except WRONG_SHAPE:
        return Lost(UNREADABLE)


def refusal_of(response: Answer) -> Refused | Lost:
    """Classify an error response: `Refused`, or `Lost` if the update may have been applied.

    That is so after a 5xx, and after an answer that is not the service's own: it says nothing about the request.
    """
    error, meta = _inner(response, "Error"), _inner(response, "ResponseMetadata")
    code, message = str(error.get("Code", "")), str(error.get("Message", ""))
    status = int(str(meta.get("HTTPStatusCode", 0)))
    if not _has_error_type(code, _inner(meta, "HTTPHeaders")):
        return Lost(f"HTTP {status}{UNTYPED}" if status else "no HTTP status", foreign_status=status)
    known = code_without_values(code, status)
    if status >= 500 or status < 400 or status == _REQUEST_TIMEOUT or code in SERVICE_FAULTS:
        return Lost(known)
    kind = _KINDS.get(code) or _KINDS_BY_STATUS.get(status, Refusal.UNKNOWN)
    if kind is Refusal.NOT_FOUND and _STALE_TEXT in message:
        kind = Refusal.STALE
    return Refused(kind, known, message, _retry_after(meta))


def _has_error_type(code: str, headers: Answer) -> bool:
    """Whether an error is the service's own: it names its type in a header (reference, protocol) or in the body.

    A body without the header must name a documented type, because a proxy's page can have any field.
    """
    return bool(code) and ("x-amzn-errortype" in headers or code in CODES)


def systemic_error(refused: Refused, *, denied: AccessError, in_run: bool = False) -> BulkeditError | None:
    """The exception for a refusal that every request of this kind would get. None for other refusals.

    ``denied``: the exception if access is denied; it names the permission. ``in_run``: whether the refusal stops a run,
    which can be resumed.
    """
    if refused.kind is Refusal.CREDENTIALS:
        return _refused_credentials(refused, in_run=in_run)
    if refused.kind is Refusal.UNTRUSTED:
        return untrusted(refused, in_run=in_run)
    return denied if refused.kind is Refusal.ACCESS_DENIED else None


def _refused_credentials(refused: Refused, *, in_run: bool) -> CredentialsError:
    then = THEN_RESUME if in_run else ", or use another profile: `profile=NAME`"
    if refused.error is not None:
        hint = (refused.error.hint or "Renew them").removesuffix(".")
        return CredentialsError(
            refused.error.what, where=refused.error.where, likely=refused.error.likely, hint=f"{hint}{then}"
        )
    likely, hint = _CREDENTIALS.get(refused.code, _EXPIRED)
    return CredentialsError(
        f"AWS did not accept the credentials ({refused.code}).", likely=likely, hint=f"{hint}{then}"
    )


def untrusted(refused: Refused, *, in_run: bool = False) -> UntrustedServerError:
    """The exception for a server whose certificate could not be verified. Nothing was sent to the server."""
    reason = refused.code.casefold()
    likely, hint = next((words for text, *words in _CERTIFICATES if text in reason), _OTHER_CERTIFICATE)
    file = refused.code.startswith(CERTIFICATE_FILE)
    problem = f"the {refused.code}" if file else f"the server's certificate could not be verified ({refused.code})"
    return UntrustedServerError(
        f"{problem}. Nothing was sent to the server.", likely=likely, hint=hint + (THEN_RESUME if in_run else ".")
    )


def _retry_after(meta: Answer) -> float | None:
    """Seconds to wait according to Retry-After: a number, or a date minus the response's Date (RFC 9110, 10.2.3).

    None if the header is missing or invalid. The number is not limited here; pacers cap it.
    """
    headers = _inner(meta, "HTTPHeaders")
    text, now_text = (str(headers.get(name, "")).strip() for name in ("retry-after", "date"))
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        until, now = (email.utils.parsedate_to_datetime(date) for date in (text, now_text))
        return max(0.0, (until - now).total_seconds())
    except (IndexError, OverflowError, TypeError, ValueError):
        return None


def _inner(answer: Answer, name: str) -> Answer:
    """The object under a name; empty if the name is missing. Raises TypeError if it is not an object."""
    found = answer.get(name, {})
    if not isinstance(found, dict):
        raise TypeError
    return found


def _items(answer: Answer, name: str) -> list[Answer]:
    found = answer[name]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise TypeError
    return found


def _number(answer: Answer, name: str) -> int:
    return int(str(answer[name]))


def _text(answer: Answer, name: str) -> str | None:
    return None if (found := answer.get(name)) is None else str(found)


def accepted_of(answer: Answer) -> Accepted:
    """Parse the response of UpdateImageSetMetadata."""
    return Accepted(_number(answer, "latestVersionId"))


def copied_of(answer: Answer) -> Copied:
    """Parse the response of CopyImageSet. Raises `WRONG_SHAPE`, also for a malformed id, because ids are printed."""
    made = _inner(answer, "destinationImageSetProperties")
    return Copied(id_of(made), _number(made, "latestVersionId"))


def deleting_of(answer: Answer) -> Deleting:
    """Parse the response of DeleteImageSet. Raises `WRONG_SHAPE` if it names no image set, as a proxy's page does."""
    id_of(answer)
    return Deleting()


def id_of(properties: Answer) -> str:
    """The image set id in a response. Raises ValueError if it is malformed."""
    found = str(properties["imageSetId"])
    if not re.fullmatch(IMAGE_SET_ID, found):
        raise ValueError
    return found


def image_set_of(answer: Answer) -> ImageSet:
    """Parse the response of GetImageSet, or an item of ListImageSetVersions, which spells one key with a capital I."""
    updated, created, primary = answer.get("updatedAt"), answer.get("createdAt"), answer.get("isPrimary")
    if updated and not isinstance(updated, datetime):
        raise TypeError
    return ImageSet(
        image_set_id=id_of(answer),
        version=_number(answer, "versionId"),
        state=ImageSetState(str(answer["imageSetState"])),
        status=_text(answer, "imageSetWorkflowStatus") or _text(answer, "ImageSetWorkflowStatus") or "",
        full_message=str(answer.get("message", "")),
        updated_at=updated.timestamp() if isinstance(updated, datetime) else None,
        created_at=created.timestamp() if isinstance(created, datetime) else None,
        primary=primary if isinstance(primary, bool) else None,
        storage_tier=_text(answer, "storageTier"),
    )


def metadata_of(answer: Answer) -> Metadata:
    """Parse the response of GetImageSetMetadata, whose document the client has read."""
    if not isinstance(document := answer[METADATA], dict):
        raise TypeError
    return Metadata(document)


def found_of(answer: Answer) -> Page:
    """Parse the response of SearchImageSets. Raises `WRONG_SHAPE`, also for an item without an image set id."""
    items = _items(answer, "imageSetsMetadataSummaries")
    for item in items:
        id_of(item)
    return Page(items, _text(answer, "nextToken"))


def versions_of(answer: Answer) -> Page:
    """Parse the response of ListImageSetVersions."""
    return Page(_items(answer, "imageSetPropertiesList"), _text(answer, "nextToken"))


def primaries_of(page: Page) -> dict[str, bool | None]:
    """Whether each image set on a page of SearchImageSets is primary. None: the service did not return isPrimary."""
    primaries = ((id_of(item), item.get("isPrimary")) for item in page.items)
    return {image_set_id: found if isinstance(found, bool) else None for image_set_id, found in primaries}


def newest_of(page: Page) -> ImageSet | None:
    """The latest version, from the first page of ListImageSetVersions; None if the page does not show which it is.

    Only an example documents that the newest comes first (list-image-set-versions). So the versions of the page must
    be in that order, unless it is the only page.
    """
    try:
        found = [image_set_of(item) for item in page.items]
    except WRONG_SHAPE:
        return None
    versions = [one.version for one in found]
    if len(found) > 1 and versions == sorted(versions, reverse=True):
        return found[0]
    return max(found, key=lambda one: one.version, default=None) if page.next_token is None else None


def datastore_of(answer: Answer) -> Datastore:
    """Parse the response of GetDatastore."""
    found = _inner(answer, "datastoreProperties")
    status = str(found["datastoreStatus"])
    known = status if status in _STORE_STATUSES else HIDDEN
    return Datastore(str(found["datastoreId"]), known, _text(found, "datastoreName"))
