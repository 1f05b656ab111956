"""What the world keeps beside image sets: data stores, import jobs; and what it is told and tells."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bulkedit.emulator.state.catalog import Catalog, Index

if TYPE_CHECKING:
    from bulkedit.emulator.state.image_set import StoredImageSet


@dataclass(frozen=True, slots=True)
class StateChange:
    """A state that an image set has come to."""

    at: float
    datastore_id: str
    image_set_id: str
    version: int
    state: str
    status: str


@dataclass(frozen=True, slots=True)
class Doom:
    """What a fault has decided about a request."""

    fails: bool = False  # the action that it begins ends as failed, for a reason of the service's own
    hangs: bool = False  # that action never ends
    lags: bool = False  # it does not see the latest version


@dataclass(slots=True)
class StoredDatastore:
    """A data store and all that is in it."""

    id: str
    name: str
    created_at: float
    updated_at: float
    status: str = "ACTIVE"
    tags: dict[str, str] | None = None
    token: str | None = None  # the client token that made it
    kms_key_arn: str | None = None
    lambda_authorizer_arn: str | None = None
    lossless_storage_format: str | None = None
    image_sets: dict[str, StoredImageSet] = field(default_factory=dict)
    catalog: Catalog = field(default_factory=Catalog)
    primaries: Index = field(default_factory=Index)  # by StudyInstanceUID, always up to date
    under_way: Counter[str] = field(default_factory=Counter)  # counted actions, for the concurrency quotas


@dataclass(slots=True)
class Job:
    """An import job."""

    id: str
    name: str
    datastore_id: str
    role_arn: str
    input_uri: str
    output_uri: str
    submitted_at: float
    token: str  # the client token that started it
    status: str = "SUBMITTED"
    ended_at: float | None = None
    message: str | None = None
