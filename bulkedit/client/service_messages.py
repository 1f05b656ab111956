"""What the service says, without values: error codes that are documented, and of messages the words that are known.

An answer can quote a value of the request or of the image set, in any form: quoted, escaped, in part, in base64. So
nothing is searched for and taken out. Only what is known to hold no value passes; every other word becomes `…`.
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
    # errors common to AWS services, and of request signing (developer guides: "Common errors")
    "BadRequestException", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature",
    "IncompleteSignatureException", "InternalError", "InternalFailure", "InternalServerError", "InvalidAction",
    "InvalidClientTokenId", "InvalidSignatureException", "MalformedHttpRequestException", "MissingAuthenticationToken",
    "MissingAuthenticationTokenException", "NotAcceptableException", "NotAuthorized", "OptInRequired",
    "RequestAbortedException", "RequestEntityTooLargeException", "RequestExpired", "RequestLimitExceeded",
    "RequestTimeout", "RequestTimeoutException", "RequestTimeTooSkewed", "ServiceUnavailable",
    "ServiceUnavailableException", "SignatureDoesNotMatch", "SlowDown", "Throttling", "TooManyRequestsException",
    "UnknownOperationException", "UnrecognizedClientException", "ValidationError",
    # `bulkedit emulate`, to a client that it does not answer
    "HostNotAllowedException", "UnsupportedMediaTypeException",
    # STS, SSO and SSO-OIDC, which give credentials
    "AccessDenied", "AuthorizationPendingException", "IDPCommunicationError", "IDPRejectedClaim",
    "InvalidAuthorizationMessageException", "InvalidClientException", "InvalidClientMetadataException",
    "InvalidGrantException", "InvalidIdentityToken", "InvalidRedirectUriException", "InvalidRequestException",
    "InvalidRequestRegionException", "InvalidScopeException", "MalformedPolicyDocument", "PackedPolicyTooLarge",
    "RegionDisabledException", "SlowDownException", "UnauthorizedClientException", "UnauthorizedException",
    "UnsupportedGrantTypeException",
})  # fmt: skip


def code_without_values(code: str, status: int) -> str:
    """An error code that is documented, or else the HTTP status: another code could be any text."""
    return code if code in CODES else f"HTTP {status}" if status else "no HTTP status"


def message_without_values(message: str) -> str:
    """The words of a message that are known to hold no value; runs of others as one `…`."""
    words: list[str] = []
    for word in message[:_LONGEST].split():
        shown = word if _is_known(word) else HIDDEN
        if shown != HIDDEN or words[-1:] != [HIDDEN]:
            words.append(shown)
    return " ".join(words)


def _is_known(word: str) -> bool:
    """Whether every part of a word is of a known message or an attribute's keyword; digits never are."""
    return all(
        part in _vocabulary() or part in dicom.VRS or dicom.is_keyword(part)
        for part in _PUNCTUATION.split(word)
        if part
    )


@functools.cache
def _vocabulary() -> frozenset[str]:
    """The words of the messages that are documented, that were observed, or that the emulator gives."""
    text = resources.files("bulkedit").joinpath("data/service_messages.txt").read_text("utf-8")
    return frozenset(part for word in text.split() for part in _PUNCTUATION.split(word) if part.isalpha())
