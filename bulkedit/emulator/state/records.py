"""Records of the world: data stores, import jobs, state changes, effects of faults."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bulkedit.emulator.state.catalog import Catalog, Index

if TYPE_CHECKING:
    from bulkedit.emulator.state.image_set import StoredImageSet


@dataclass(frozen=True, slots=True)
class StateChange:
    """A state change of an image set."""

    at: float
    datastore_id: str
    image_set_id: str
    version: int
    state: str
    status: str


@dataclass(frozen=True, slots=True)
class FaultEffect:
    """The effect of faults on one request."""

    fails: bool = False  # the accepted action fails because of an internal error of the service
    hangs: bool = False  # the accepted action never completes
    lags: bool = False  # the response does not show the latest version


@dataclass(slots=True)
class StoredDatastore:
    """A data store with its image sets."""

    id: str
    name: str
    created_at: float
    updated_at: float
    status: str = "ACTIVE"
    tags: dict[str, str] | None = None
    token: str | None = None  # the clientToken of CreateDatastore
    kms_key_arn: str | None = None
    lambda_authorizer_arn: str | None = None
    lossless_storage_format: str | None = None
    image_sets: dict[str, StoredImageSet] = field(default_factory=dict)
    catalog: Catalog = field(default_factory=Catalog)
    primaries: Index = field(default_factory=Index)  # by StudyInstanceUID, always up to date
    in_progress: Counter[str] = field(default_factory=Counter)  # actions by operation, for the concurrency quotas


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
    token: str  # the clientToken of StartDICOMImportJob
    status: str = "SUBMITTED"
    ended_at: float | None = None
    message: str | None = None
