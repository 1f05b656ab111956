"""The interface to HealthImaging. `bulkedit.client.aws` implements it for AWS and for the emulator.

A client is bound to one data store. Each method sends one request and never waits for a quota. It sends the request
again only if the credentials had expired and new ones were found. Errors of the service or the network are returned,
as `Refused` or `Lost`, never raised. If a method is cancelled, the outcome of its request is unknown, as after `Lost`.
Methods may run concurrently.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from bulkedit.client.destination import Destination
    from bulkedit.client.responses import Accepted, Copied, Datastore, Deleting, ImageSet, Lost, Metadata, Page, Refused

IMAGE_SET_ID: Final = r"[0-9a-z]{32}"  # also of data stores: the service's model, patterns DatastoreId and ImageSetId
# searchCriteria of SearchImageSets: filters and sort; times are datetimes
Criteria: TypeAlias = "dict[str, object]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The data store and how to reach it. If a field is None, the AWS configuration chain decides.

    ``client_cert`` and ``client_key``: paths of a client certificate and its private key (PEM), for a server or proxy
    that requires one. The key may be in the certificate's file. ``read_timeout_s``: the longest pause between two
    chunks of a response. ``answer_timeout_s``: the longest time from a request to the end of its response.
    ``endpoint_from``: the option, variable or file that set ``endpoint_url``. ``allow_http``: requests may go to
    another machine without TLS.
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
    """One UpdateImageSetMetadata request: attribute documents, or a revert. Contains health data: never log it."""

    image_set_id: str
    expected_version: int  # latestVersionId: the call fails if another version is the latest
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
    """HealthImaging: one request per method."""

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        """UpdateImageSetMetadata. After `Lost`, the service may have accepted the update."""

    async def copy(self, request: CopyRequest) -> Copied | Refused | Lost:
        """CopyImageSet. After `Lost`, a new image set may exist, and a retry would create another one."""

    async def delete(self, image_set_id: str) -> Deleting | Refused | Lost:
        """DeleteImageSet, which cannot be undone. After `Lost`, it may be in progress; a retry does no harm."""

    async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
        """GetImageSet: properties of the latest version, or of ``version``."""

    async def get_metadata(self, image_set_id: str, version: int | None = None) -> Metadata | Refused | Lost:
        """GetImageSetMetadata. Counts as access: an archived image set moves to the frequent tier for 30 days."""

    async def list_versions(
        self, image_set_id: str, *, limit: int = 50, next_token: str | None = None
    ) -> Page | Refused | Lost:
        """ListImageSetVersions: one page, newest first. Items are as the service sent them."""

    async def search(
        self, criteria: Criteria | None = None, *, limit: int = 50, next_token: str | None = None
    ) -> Page | Refused | Lost:
        """SearchImageSets: one page. Items are as the service sent them."""

    async def get_datastore(self) -> Datastore | Refused | Lost:
        """GetDatastore of the data store that this client is bound to."""


@runtime_checkable
class RenewsCredentials(Protocol):
    """A client that obtains new credentials by itself."""

    def credentials_awaited_s(self) -> float:
        """Seconds for which requests have waited for new credentials; 0 if they do not."""


@runtime_checkable
class KnowsDestination(Protocol):
    """A client that knows where its requests go, and who signs them."""

    async def destination(self) -> Destination:
        """The endpoint, and the account if AWS has said it."""
