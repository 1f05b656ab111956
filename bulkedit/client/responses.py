"""Record types: responses of the service, the states of calls, and the outcomes of edits."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from bulkedit.client.service_messages import message_without_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bulkedit._json import JsonObject
    from bulkedit.errors import CredentialsError

# a response as the SDK parsed it, with the names of the service's model; values are as sent, so of any type
Answer: TypeAlias = "Mapping[str, object]"


class Refusal(StrEnum):
    """Why the service refused a request, according to the response alone."""

    THROTTLED = "throttled"  # 429: request rate above the quota
    TOO_MANY = "too-many"  # 402: more concurrent updates than the data store allows
    STALE = "stale"  # latestVersionId is not the latest version
    CONFLICT = "conflict"  # 409: the image set is locked, or latestVersionId is stale; GetImageSet shows which
    NOT_FOUND = "not-found"
    INVALID = "invalid"  # 400: this request will never be accepted
    ACCESS_DENIED = "access-denied"
    CREDENTIALS = "credentials"  # missing, expired or invalid
    UNTRUSTED = "untrusted"  # the server's certificate could not be verified, so nothing was sent
    UNKNOWN = "unknown"  # an error that the service's model does not name


@dataclass(frozen=True, slots=True)
class Accepted:
    """The service accepted the update. The image set is locked until ``version`` is made or the update fails."""

    version: int


@dataclass(frozen=True, slots=True)
class Copied:
    """The service accepted the copy. The new image set is locked until the copy completes or fails."""

    image_set_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Deleting:
    """The service accepted the deletion. The image set is locked until it is deleted."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The service refused the request, and did nothing."""

    kind: Refusal
    code: str  # a documented error code, such as ThrottlingException; for UNTRUSTED, the host and OpenSSL's reason
    full_message: str = field(default="", repr=False)  # can quote values
    retry_after_s: float | None = None
    # why there are no credentials, if the request was not sent for want of them
    error: CredentialsError | None = field(default=None, repr=False, compare=False)

    @property
    def message(self) -> str:
        """The service's message without values."""
        return message_without_values(self.full_message)

    @property
    def throttled(self) -> bool:
        """Whether a quota is used up for now (429, 402), so that a retry will succeed later."""
        return self.kind in {Refusal.THROTTLED, Refusal.TOO_MANY}


@dataclass(frozen=True, slots=True)
class Lost:
    """No usable response (timeout, reset, 5xx, unreadable). The request may have been carried out."""

    cause: str  # the kind of fault, such as ReadTimeoutError or InternalServerException; never a value
    # HTTP status of an answer that is not the service's own, such as a proxy's page
    foreign_status: int | None = field(default=None, compare=False)
    proxy: str | None = field(default=None, compare=False)  # URL of the proxy that the request went to, no password


class ImageSetState(StrEnum):
    """imageSetState in the service's model."""

    ACTIVE = "ACTIVE"
    LOCKED = "LOCKED"
    DELETED = "DELETED"


# storageTier in the service's model
FREQUENT: Final = "FREQUENT_ACCESS"
ARCHIVED: Final = "ARCHIVE_INSTANT_ACCESS"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """The properties of one version of an image set (GetImageSet, ListImageSetVersions)."""

    image_set_id: str
    version: int
    state: ImageSetState
    status: str  # imageSetWorkflowStatus
    full_message: str = field(default="", repr=False)  # can quote values
    updated_at: float | None = None  # epoch seconds
    created_at: float | None = None  # the same for all versions
    primary: bool | None = None
    storage_tier: str | None = None

    @property
    def message(self) -> str:
        """The service's message without values."""
        return message_without_values(self.full_message)

    @property
    def archived(self) -> bool:
        """Whether it is archived. A read of its metadata moves it to the frequent tier for 30 days."""
        return self.storage_tier == ARCHIVED

    @property
    def failed(self) -> bool:
        """Whether the action that made this version failed. Its metadata is then that of the previous version."""
        return self.status.endswith("_FAILED")


@dataclass(frozen=True, slots=True)
class Metadata:
    """A metadata document, decompressed and parsed. Contains health data: never log it."""

    document: JsonObject


@dataclass(frozen=True, slots=True)
class Datastore:
    """A data store (GetDatastore)."""

    datastore_id: str
    status: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a paginated response; ``next_token`` is None on the last page."""

    items: Sequence[Answer]
    next_token: str | None


class CallState(StrEnum):
    """The state of a call."""

    PLANNED = "planned"  # no request was sent yet
    INTENDED = "intended"  # its request may have been sent
    ACCEPTED = "accepted"  # the image set is locked until the update completes or fails
    APPLIED = "applied"
    REJECTED = "rejected"  # the service will never accept it
    CONFLICTED = "conflicted"  # another writer changed the image set, and the row or the policy says stop
    OUTCOME_UNKNOWN = "outcome unknown"  # the response was lost
    FAILED = "failed"  # given up after faults that the edits did not cause
    SKIPPED = "skipped"  # not sent, because it would change nothing
    SPLIT = "split"  # refused as a whole, and replaced by smaller calls

    @property
    def completed(self) -> bool:
        """Whether the state is final in this run."""
        return self in _OUTCOMES


class Outcome(StrEnum):
    """The outcome of an edit."""

    APPLIED = "applied"
    REJECTED = "rejected"
    CONFLICTED = "conflicted"
    FAILED = "failed"
    UNPROCESSED = "unprocessed"


_OUTCOMES = {
    CallState.APPLIED: Outcome.APPLIED,
    CallState.SKIPPED: Outcome.APPLIED,
    CallState.REJECTED: Outcome.REJECTED,
    CallState.CONFLICTED: Outcome.CONFLICTED,
    CallState.FAILED: Outcome.FAILED,
}


def outcome_of(state: CallState) -> Outcome:
    """The outcome of the edits of a call in this state."""
    return _OUTCOMES.get(state, Outcome.UNPROCESSED)
