"""What is known of a request beside its answer: whether it was sent, and the id that the service gave it.

The transport and the client fill an `Exchange`. A task that has called `sent_requests` gets every request that it sends
through a client, also one that was cancelled, or whose answer no record was made of.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bulkedit.client.responses import Accepted, Copied, Deleting, Lost, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

WRITES: Final = ("UpdateImageSetMetadata", "CopyImageSet", "DeleteImageSet")  # operations of the service
ACCEPTED: Final = "accepted"  # result of a write
ANSWERED: Final = "answered"  # result of a read
LOST: Final = "lost: "  # result of a request without a usable answer; followed by the cause
NOT_TAKEN: Final = "answer not taken"  # cause, if the run ended before the answer came
_HEADER: Final = "x-amzn-requestid"
# the service sends UUIDs; the text comes from the wire, so its length and its characters are limited
_REQUEST_ID: Final = re.compile(r"[!-~]{1,128}")


@dataclass(slots=True)
class Exchange:
    """One request on the wire."""

    sent: bool = False
    status: int | None = None  # of HTTP
    request_id: str | None = None

    def begins(self) -> None:
        """A request is sent. Forget an earlier one, such as that of the SDK for new credentials."""
        self.sent, self.status, self.request_id = True, None, None

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """The status and the headers have come. ``headers``: with names in any case."""
        self.status, self.request_id = status, checked_request_id(headers.get(_HEADER))


@dataclass(frozen=True, slots=True)
class SentRequest:
    """One request that was sent."""

    operation: str  # of the service, such as UpdateImageSetMetadata
    request_id: str | None  # given by the service; None without an answer, or for a text that is no id
    result: str  # accepted, answered, the error code, or `lost: CAUSE`


exchange: Final[ContextVar[Exchange]] = ContextVar("exchange")
_requests: Final[ContextVar[list[SentRequest] | None]] = ContextVar("requests", default=None)


def sent_requests() -> list[SentRequest]:
    """A list to which the requests of this task are added from now on. The caller empties it."""
    found: list[SentRequest] = []
    _requests.set(found)
    return found


def add_sent(request: SentRequest) -> None:
    """Add a request to the list of this task, if it has one."""
    if (found := _requests.get()) is not None:
        found.append(request)


def checked_request_id(text: object) -> str | None:
    """A request id of the wire or of a file; None unless it is 1 to 128 characters of printable ASCII."""
    return text if isinstance(text, str) and _REQUEST_ID.fullmatch(text) else None


def result_of(answer: object) -> str:
    """The result of a request for the ledger."""
    if isinstance(answer, Lost):
        return LOST + answer.cause
    if isinstance(answer, Refused):
        return answer.code
    return ACCEPTED if isinstance(answer, Accepted | Copied | Deleting) else ANSWERED
