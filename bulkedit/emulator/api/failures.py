"""The refusals of the service, as exceptions of the state machine.

Codes and HTTP statuses are those of the service's model. A message names attributes, never values.
"""

from __future__ import annotations

from typing import ClassVar


class ServiceError(Exception):
    """The service refuses a request; nothing has changed."""

    code: ClassVar[str] = "InternalServerException"
    status: ClassVar[int] = 500
    headers: ClassVar[dict[str, str]] = {}  # of the answer, beside those that every refusal has

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class Invalid(ServiceError):  # noqa: N818 - the service's own word is ValidationException
    """The request can never be accepted."""

    code, status = "ValidationException", 400


class Denied(ServiceError):  # noqa: N818
    """The caller may not do this."""

    code, status = "AccessDeniedException", 403


class NotFound(ServiceError):  # noqa: N818
    """What the request names does not exist."""

    code, status = "ResourceNotFoundException", 404


class Conflict(ServiceError):  # noqa: N818
    """Another action is under way on the same thing."""

    code, status = "ConflictException", 409


class QuotaExceeded(ServiceError):  # noqa: N818
    """Too many of these at once."""

    code, status = "ServiceQuotaExceededException", 402


class Throttled(ServiceError):  # noqa: N818
    """Requests come faster than the account's quota."""

    code, status = "ThrottlingException", 429


class Broken(Exception):  # noqa: N818 - not an error of the emulator: an outcome
    """An accepted action will end as failed, for this reason (the ``message`` of the failed version)."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)
