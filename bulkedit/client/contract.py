"""The service as bulkedit needs it: a contract, kept by ``aws`` against AWS and against the emulator.

A client is bound to one data store. Each method sends one request, once: it never repeats one by itself, but for one
that was turned away for expired credentials where there are others; it never waits for a quota, and never raises for
what the service or the network did; that comes back as `Refused` or `Lost`. Cancelling a method leaves the request's
fate unknown, as a lost answer does. Methods may run at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from bulkedit.client.responses import Accepted, Copied, Datastore, Deleting, ImageSet, Lost, Metadata, Page, Refused

IMAGE_SET_ID: Final = r"[0-9a-z]{32}"  # also of data stores: the service's model, patterns DatastoreId and ImageSetId
# searchCriteria of SearchImageSets: filters and sort; times are datetimes
Criteria: TypeAlias = "dict[str, object]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where the data store is and how to reach it; None leaves a choice to AWS's own configuration chain.

    ``client_cert`` and ``client_key``: paths of a client certificate and its private key (PEM), for a server or proxy
    that requires one; the key may be in the file of the certificate. ``read_timeout_s`` is the time between two pieces
    of an answer, ``answer_timeout_s`` that from the request to the end of its answer. ``endpoint_from`` says who named
    ``endpoint_url``. ``allow_http``: requests may go to another machine without TLS.
    """

    datastore_id: str
    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    endpoint_from: str = "--endpoint-url"
    allow_http: bool = False
    client_cert: str | None = None
    client_key: str | None = None
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    answer_timeout_s: float = 300.0
    max_connections: int = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRequest:
    """One UpdateImageSetMetadata request: attribute documents, or a revert. Holds health data: never log it."""

    image_set_id: str
    expected_version: int  # latestVersionId: the version that the request takes for the latest
    updatable: str | None = None  # JSON document of attributes to insert or overwrite
    removable: str | None = None  # JSON document of what to remove
    revert_to: int | None = None
    force: bool = False
    include_study: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRequest:
    """One CopyImageSet request, of a whole image set to a new one."""

    image_set_id: str  # of the source
    expected_version: int  # latestVersionId of the source
    promote: bool = False  # promoteToPrimary: the new image set is primary


class Client(Protocol):
    """HealthImaging, one request a method."""

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        """UpdateImageSetMetadata. After `Lost` the update may or may not have been taken."""

    async def copy(self, request: CopyRequest) -> Copied | Refused | Lost:
        """CopyImageSet. After `Lost` there may be a new image set; a repeat would make another."""

    async def delete(self, image_set_id: str) -> Deleting | Refused | Lost:
        """DeleteImageSet, which cannot be undone. After `Lost` it may be under way; a repeat does no harm."""

    async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
        """GetImageSet: properties of the latest version, or of the named one."""

    async def get_metadata(self, image_set_id: str, version: int | None = None) -> Metadata | Refused | Lost:
        """GetImageSetMetadata. Counts as access: an archived image set moves to the frequent tier for 30 days."""

    async def list_versions(
        self, image_set_id: str, *, limit: int = 50, next_token: str | None = None
    ) -> Page | Refused | Lost:
        """ListImageSetVersions: one page, newest first; items are in the wire's form."""

    async def search(
        self, criteria: Criteria | None = None, *, limit: int = 50, next_token: str | None = None
    ) -> Page | Refused | Lost:
        """SearchImageSets: one page; items are in the wire's form."""

    async def get_datastore(self) -> Datastore | Refused | Lost:
        """GetDatastore of the data store that this client is bound to."""
