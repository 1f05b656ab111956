"""What comes back from the service, and what became of calls and edits: the record types."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from bulkedit.client.service_messages import message_without_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bulkedit._json import JsonObject

# what the SDK has parsed of an answer, by the names of the service's model; the values are whatever the server sent
Answer: TypeAlias = "Mapping[str, object]"


class Refusal(StrEnum):
    """Why the service refused a request, as far as the answer itself tells."""

    THROTTLED = "throttled"  # 429: more requests than the quota; nothing happened
    TOO_MANY = "too-many"  # 402: more updates in flight than the data store allows; nothing happened
    STALE = "stale"  # the version named is not the latest
    CONFLICT = "conflict"  # 409: locked, or (perhaps) stale: only a look tells
    NOT_FOUND = "not-found"
    INVALID = "invalid"  # 400: this request will never be accepted
    ACCESS_DENIED = "access-denied"
    CREDENTIALS = "credentials"  # none, expired, or not valid
    UNTRUSTED = "untrusted"  # the server's certificate could not be verified: nothing was sent
    UNKNOWN = "unknown"  # a refusal of a kind that the service's model does not name


@dataclass(frozen=True, slots=True)
class Accepted:
    """The service took the update: the image set is locked and will become ``version``, or fail."""

    version: int


@dataclass(frozen=True, slots=True)
class Copied:
    """The service took the copy: this new image set is locked and will hold it, or fail."""

    image_set_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Deleting:
    """The service took the deletion: the image set is locked and will be gone."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The service answered that it did nothing."""

    kind: Refusal
    code: str  # a documented error code, such as ThrottlingException; of UNTRUSTED the host and OpenSSL's reason
    full_message: str = field(default="", repr=False)  # can quote values
    retry_after_s: float | None = None

    @property
    def message(self) -> str:
        """The service's message without values."""
        return message_without_values(self.full_message)

    @property
    def throttled(self) -> bool:
        """Whether a quota is used up for now (429, 402): the same request will be taken later."""
        return self.kind in {Refusal.THROTTLED, Refusal.TOO_MANY}


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer, or one that does not tell (timeout, reset, 5xx): the request may have been carried out."""

    cause: str  # the kind of fault, such as ReadTimeoutError or HTTP 500; never a value


class ImageSetState(StrEnum):
    """imageSetState of the service's model."""

    ACTIVE = "ACTIVE"
    LOCKED = "LOCKED"
    DELETED = "DELETED"


# storageTier of the service's model
FREQUENT: Final = "FREQUENT_ACCESS"
ARCHIVED: Final = "ARCHIVE_INSTANT_ACCESS"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """Properties of one version of an image set (GetImageSet, ListImageSetVersions)."""

    image_set_id: str
    version: int
    state: ImageSetState
    status: str  # imageSetWorkflowStatus
    full_message: str = field(default="", repr=False)  # can quote values
    updated_at: float | None = None  # epoch seconds
    primary: bool | None = None
    storage_tier: str | None = None

    @property
    def message(self) -> str:
        """The service's message without values."""
        return message_without_values(self.full_message)

    @property
    def archived(self) -> bool:
        """Whether reading its metadata moves it to the frequent tier for 30 days (cost-optimization)."""
        return self.storage_tier == ARCHIVED

    @property
    def failed(self) -> bool:
        """Whether the action that made this version failed (its metadata is that of the version before)."""
        return self.status.endswith("_FAILED")


@dataclass(frozen=True, slots=True)
class Metadata:
    """A metadata document, decompressed and parsed. Holds health data: never log it."""

    document: JsonObject


@dataclass(frozen=True, slots=True)
class Datastore:
    """A data store (GetDatastore)."""

    datastore_id: str
    status: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a paginated answer; ``next_token`` is None on the last."""

    items: Sequence[Answer]
    next_token: str | None


class CallState(StrEnum):
    """Where a call is."""

    PLANNED = "planned"  # not touched yet
    INTENDED = "intended"  # its request may be on its way
    ACCEPTED = "accepted"  # the image set is locked and will become the new version, or fail
    APPLIED = "applied"
    REJECTED = "rejected"  # the service will not do this
    CONFLICTED = "conflicted"  # another writer was there, and the row or the policy says stop
    OUTCOME_UNKNOWN = "outcome unknown"  # the answer was lost
    FAILED = "failed"  # given up after faults that were not the edit's
    SKIPPED = "skipped"  # not sent, because it would change nothing
    SPLIT = "split"  # refused as a whole; its parts stand for themselves

    @property
    def completed(self) -> bool:
        """Whether nothing more will happen to the call in this run."""
        return self in _OUTCOMES


class Outcome(StrEnum):
    """What became of an edit."""

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
    """The outcome of the edits of a call that stands so."""
    return _OUTCOMES.get(state, Outcome.UNPROCESSED)
