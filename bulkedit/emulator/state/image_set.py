"""One image set: its versions, and the action under way."""

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
    """One version. ``document`` is the metadata as of this version; a failed one has that of the version before."""

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
    """An action under way: the image set is LOCKED until ``due``."""

    action: str  # the API action, for the quota of concurrent ones
    due: float  # epoch seconds; NEVER for one that hangs
    status: str  # workflow status at the end
    message: str | None = None  # why it fails
    makes_version: bool = True  # the latest version is the one in the making
    drops_version: bool = False  # a failure that leaves no version behind
    counted: bool = True  # for the quota of concurrent actions; not the siblings of a study-wide update


class Listing(NamedTuple):
    """What SearchImageSets knows of an image set: a completed version."""

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
        """The latest version."""
        return len(self.versions)

    @property
    def latest(self) -> Version:
        """The latest version, which may be under way."""
        return self.versions[-1]

    @property
    def completed(self) -> int:
        """The latest version whose metadata is final; 0 for a copy that is still being made."""
        under_way = self.pending is not None and self.pending.makes_version
        return self.number - 1 if under_way else self.number

    @property
    def locked(self) -> bool:
        """Whether an action is under way."""
        return self.pending is not None

    @property
    def state(self) -> str:
        """The imageSetState of the service's model."""
        if self.pending is not None:
            return LOCKED
        return ACTIVE if self.deleted_at is None else DELETED

    def tier(self, now: float) -> str:
        """storageTier: archived by hand, or for want of access."""
        idle = now - self.accessed_at >= ARCHIVE_AFTER_S
        return Tier.ARCHIVE if self.archived or idle else Tier.FREQUENT

    def touch(self, now: float) -> None:
        """Count an access: an archived image set moves to the frequent tier (cost-optimization)."""
        self.archived = False
        self.accessed_at = now
