"""Error codes and messages of the service, without values of edits or metadata.

A message can quote a value of the request or of the image set in any form: quoted, escaped, in part, in base64. So
this is an allowlist: documented error codes and known words pass; every other word becomes `…`.
"""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import Final

from bulkedit.dicom import dictionary as dicom

HIDDEN: Final = "…"
_LONGEST: Final = 2048  # characters: the model's limit of `message`
_PUNCTUATION: Final = re.compile(r"""[-'"`().,:;/!?_]+""")

CODES: Final = frozenset({
    # medical-imaging, service model 2023-07-19
    "AccessDeniedException", "ConflictException", "InternalServerException", "ResourceNotFoundException",
    "ServiceQuotaExceededException", "ThrottlingException", "ValidationException",
    # errors common to AWS services, and errors of request signing (developer guides: "Common errors")
    "AuthFailure", "BadRequestException", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature",
    "IncompleteSignatureException", "InternalError", "InternalFailure", "InternalServerError", "InvalidAction",
    "InvalidClientTokenId", "InvalidSignatureException", "MalformedHttpRequestException", "MissingAuthenticationToken",
    "MissingAuthenticationTokenException", "NotAcceptableException", "NotAuthorized", "OptInRequired",
    "RequestAbortedException", "RequestEntityTooLargeException", "RequestExpired", "RequestInTheFuture",
    "RequestLimitExceeded", "RequestTimeout", "RequestTimeoutException", "RequestTimeTooSkewed",
    "ServiceUnavailable", "ServiceUnavailableException", "SignatureDoesNotMatch", "SlowDown", "Throttling",
    "TooManyRequestsException",
    "UnknownOperationException", "UnrecognizedClientException", "ValidationError",
    # `bulkedit emulate`, if it refuses a client
    "HostNotAllowedException", "UnsupportedMediaTypeException",
    # STS, SSO and SSO-OIDC, which issue credentials
    "AccessDenied", "AuthorizationPendingException", "IDPCommunicationError", "IDPRejectedClaim",
    "InvalidAuthorizationMessageException", "InvalidClientException", "InvalidClientMetadataException",
    "InvalidGrantException", "InvalidIdentityToken", "InvalidRedirectUriException", "InvalidRequestException",
    "InvalidRequestRegionException", "InvalidScopeException", "MalformedPolicyDocument", "PackedPolicyTooLarge",
    "RegionDisabledException", "SlowDownException", "UnauthorizedClientException", "UnauthorizedException",
    "UnsupportedGrantTypeException",
})  # fmt: skip


def code_without_values(code: str, status: int) -> str:
    """The error code if it is documented, otherwise the HTTP status: an undocumented code could contain a value."""
    return code if code in CODES else f"HTTP {status}" if status else "no HTTP status"


def message_without_values(message: str) -> str:
    """The known words of a message. Each run of other words becomes one `…`."""
    words: list[str] = []
    for word in message[:_LONGEST].split():
        shown = word if _is_known(word) else HIDDEN
        if shown != HIDDEN or words[-1:] != [HIDDEN]:
            words.append(shown)
    return " ".join(words)


def _is_known(word: str) -> bool:
    """Whether each part of a word is in the vocabulary, a VR, or an attribute's keyword. Digits never are."""
    return all(
        part in _vocabulary() or part in dicom.VRS or dicom.is_keyword(part)
        for part in _PUNCTUATION.split(word)
        if part
    )


@functools.cache
def _vocabulary() -> frozenset[str]:
    """The words of documented messages, of observed messages, and of the emulator's."""
    text = resources.files("bulkedit").joinpath("data/service_messages.txt").read_text("utf-8")
    return frozenset(part for word in text.split() for part in _PUNCTUATION.split(word) if part.isalpha())
