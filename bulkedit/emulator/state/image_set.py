"""One image set: its versions, and the action in progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from bulkedit.emulator.state.document import Document, Keys

ACTIVE: Final = "ACTIVE"
LOCKED: Final = "LOCKED"
DELETED: Final = "DELETED"
ARCHIVE_AFTER_S: Final = 30 * 86400.0  # cost-optimization: 30 consecutive days without access
NEVER: Final = float("inf")


class Tier:
    """storageTier of the service's model."""

    FREQUENT: Final = "FREQUENT_ACCESS"
    ARCHIVE: Final = "ARCHIVE_INSTANT_ACCESS"


@dataclass(slots=True)
class Version:
    """One version. A failed version has the ``document`` of the version before."""

    status: str  # imageSetWorkflowStatus
    document: Document
    updated_at: float | None = None
    message: str | None = None
    forced: bool = False

    @property
    def failed(self) -> bool:
        """Whether the action that made this version failed."""
        return self.status.endswith("_FAILED")


@dataclass(frozen=True, slots=True)
class Pending:
    """An action in progress: the image set is LOCKED until ``due``."""

    action: str  # the API operation, for the quota of concurrent actions
    due: float  # epoch seconds; NEVER if it hangs
    status: str  # imageSetWorkflowStatus after completion
    message: str | None = None  # of a failure
    makes_version: bool = True  # the latest version is the result of this action
    drops_version: bool = False  # it fails, and its version is removed
    counted: bool = True  # for the quota of concurrent actions; False for the other image sets of a study-wide update


class Listing(NamedTuple):
    """The completed version of an image set that SearchImageSets finds."""

    number: int
    keys: Keys
    order: int  # position in the order of updatedAt


@dataclass(slots=True)
class StoredImageSet:
    """An image set with all its versions."""

    id: str
    datastore_id: str
    created_at: float
    primary: bool
    accessed_at: float
    keys: Keys  # of the completed content
    born: int = 0  # position in the order of createdAt
    versions: list[Version] = field(default_factory=list)
    pending: Pending | None = None
    listing: Listing | None = None
    archived: bool = False
    deleted_at: float | None = None
    tags: dict[str, str] | None = None

    @property
    def number(self) -> int:
        """The number of the latest version."""
        return len(self.versions)

    @property
    def latest(self) -> Version:
        """The latest version; its action may be in progress."""
        return self.versions[-1]

    @property
    def completed(self) -> int:
        """The number of the latest completed version; 0 for a copy in progress."""
        in_progress = self.pending is not None and self.pending.makes_version
        return self.number - 1 if in_progress else self.number

    @property
    def locked(self) -> bool:
        """Whether an action is in progress."""
        return self.pending is not None

    @property
    def state(self) -> str:
        """The imageSetState of the service's model."""
        if self.pending is not None:
            return LOCKED
        return ACTIVE if self.deleted_at is None else DELETED

    def tier(self, now: float) -> str:
        """The storageTier: archived when it was added, or because of no access for 30 days."""
        idle = now - self.accessed_at >= ARCHIVE_AFTER_S
        return Tier.ARCHIVE if self.archived or idle else Tier.FREQUENT

    def touch(self, now: float) -> None:
        """Record an access, which moves an archived image set to the frequent tier (cost-optimization)."""
        self.archived = False
        self.accessed_at = now
