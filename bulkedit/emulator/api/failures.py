"""The errors of the service, as exceptions.

Codes and HTTP statuses are those of the service's model. Messages name attributes, never values.
"""

from __future__ import annotations

from typing import ClassVar


class ServiceError(Exception):
    """The service refuses a request; nothing changes."""

    code: ClassVar[str] = "InternalServerException"
    status: ClassVar[int] = 500
    headers: ClassVar[dict[str, str]] = {}  # additional headers of the response

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class Invalid(ServiceError):  # noqa: N818 - the service's name is ValidationException
    """The request is not valid."""

    code, status = "ValidationException", 400


class Denied(ServiceError):  # noqa: N818
    """The caller may not do this."""

    code, status = "AccessDeniedException", 403


class NotFound(ServiceError):  # noqa: N818
    """The requested resource does not exist."""

    code, status = "ResourceNotFoundException", 404


class Conflict(ServiceError):  # noqa: N818
    """Another action on the resource is in progress."""

    code, status = "ConflictException", 409


class QuotaExceeded(ServiceError):  # noqa: N818
    """Too many resources, or concurrent actions, of one kind."""

    code, status = "ServiceQuotaExceededException", 402


class Throttled(ServiceError):  # noqa: N818
    """The request rate is above the account's quota."""

    code, status = "ThrottlingException", 429


class Broken(Exception):  # noqa: N818 - an outcome, not an error of the emulator
    """An accepted action will fail with this ``message`` of the failed version."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)
