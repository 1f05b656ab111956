"""The client over aioboto3, for HealthImaging at AWS or at another endpoint with the same API.

SDK retries are off: after a 500 or a timeout, an update may have been applied, and a retry would fail with a stale
version (healthimaging reference, error table). `bulkedit.client.parsing` maps each response to a record, `Refused` or
`Lost`; callers decide what to do next. This module takes 0.3 s to import, so `bulkedit.client.connect` does it late.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import logging
import platform
import random
import resource
import time
import zlib
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast

import anyio
from aiobotocore.config import AioConfig
from botocore import __version__ as botocore_version
from botocore import exceptions as boto
from botocore.httpsession import ProxyConfiguration
from botocore.parsers import ResponseParserError
from botocore.utils import get_environ_proxies

from bulkedit._concurrency import run_blocking
from bulkedit._version import __version__
from bulkedit.client.aws_session import UnreadableError, open_session
from bulkedit.client.credential_faults import (
    AwsSettings,
    check_files,
    check_keys,
    credential_fault,
    error_code_of,
    is_transient,
    no_credentials,
    setting_fault,
    settings_of,
)
from bulkedit.client.destination import (
    Destination,
    Identity,
    check_endpoint,
    is_default,
    principal,
    source_of,
    without_password,
)
from bulkedit.client.lasting_credentials import CREDENTIAL_FAULTS, FrozenCredentials, LastingCredentials
from bulkedit.client.logged import log_request
from bulkedit.client.pacing import FAULT
from bulkedit.client.parsing import (
    METADATA,
    UNREADABLE,
    WRONG_SHAPE,
    accepted_of,
    copied_of,
    datastore_of,
    deleting_of,
    found_of,
    image_set_of,
    metadata_of,
    parsed,
    refusal_of,
    versions_of,
)
from bulkedit.client.responses import (
    Accepted,
    Copied,
    Datastore,
    Deleting,
    ImageSet,
    Lost,
    Metadata,
    Page,
    Refusal,
    Refused,
)
from bulkedit.client.sent import LOST, NOT_TAKEN, Exchange, SentRequest, add_sent, exchange, result_of
from bulkedit.client.service_clock import ServiceClock
from bulkedit.client.transport import (
    METADATA_BYTES,
    AnswerTooLargeError,
    ProxyAuthenticationError,
    UnverifiedError,
)
from bulkedit.errors import CredentialsError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    import aioboto3

    from bulkedit._json import JsonObject
    from bulkedit.client.contract import Connection, CopyRequest, Criteria, UpdateRequest
    from bulkedit.client.responses import Answer

_LOG: Final = logging.getLogger("bulkedit")
_FEWEST: Final = 4  # connections
_OTHER_FILES: Final = 40  # that a run has open beside its connections: ledger, logs, plan, libraries
_FIRST_S: Final = 60.0  # for which the first credentials are asked for; the SDK asks STS up to five times each time
_STS_S: Final = 5.0  # timeout of GetCallerIdentity; short, because its result is only printed
_OF_METADATA: Final = ("SchemaVersion", "Study")  # keys of a metadata document (reference, get-image-set-metadata)
_THREAD_BYTES: Final = 64 * 1024  # larger documents are unpacked in a thread

_EXPIRED: Final = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_NEVER_SENT: Final = (
    boto.ParamValidationError,
    UnverifiedError,
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.UnauthorizedSSOTokenError,
    boto.SSOError,
)
# errors of STS and SSO beside ClientError: no response, or an unreadable one
_NO_CREDENTIALS: Final = (boto.BotoCoreError, ResponseParserError)
_NO_ANSWER: Final = (*_NO_CREDENTIALS, OSError)
_INVALID_ENDPOINT: Final = "Invalid endpoint"  # start of the text of botocore's ValueError
_Record = TypeVar("_Record")
# OSError: not gzip; ValueError: not JSON, not UTF-8, or a number with too many digits
_BAD_BODY: Final = (AnswerTooLargeError, EOFError, OSError, zlib.error, ValueError)


class _RequestSigner(Protocol):
    _credentials: LastingCredentials


class _Model(Protocol):
    service_name: str


class _Events(Protocol):
    def unregister(self, event_name: str, *, unique_id: str) -> None: ...


class _Meta(Protocol):
    endpoint_url: str
    region_name: str
    service_model: _Model
    method_to_api_mapping: dict[str, str]
    events: _Events


class HealthImaging(Protocol):
    """The SDK's client, for which aioboto3 has no types. Operations are called by name."""

    meta: _Meta
    _request_signer: _RequestSigner


class Body(Protocol):
    """A response body that has not been read yet."""

    async def read(self) -> bytes:
        """Read all of it."""


@contextlib.asynccontextmanager
async def connect(connection: Connection, clock: ServiceClock | None = None) -> AsyncIterator[AwsClient]:
    """Open a client; connections are reused until the context ends. ``clock``: by default that of this machine.

    Raises UsageError for an unknown profile, a missing or invalid region, an unusable endpoint or another setting that
    the SDK does not accept, and CredentialsError if no credentials are found or AWS gives none.
    """
    if connection.endpoint_url is not None:
        check_endpoint(connection.endpoint_url, connection.endpoint_from, allow_http=connection.allow_http)
    async with contextlib.AsyncExitStack() as stack:
        settings, clock = settings_of(connection.profile), clock or ServiceClock()
        with _explained(settings):
            check_files()
            session = open_session(connection, clock)
            credentials = await _require_credentials(session, settings, clock)
            api = await stack.enter_async_context(_api(session, connection, host_prefix=True))
            destination = _destination(session, connection, api)
            if not destination.is_aws:
                # otherwise botocore would call runtime-<host>, which exists only at AWS
                api = await stack.enter_async_context(_api(session, connection, host_prefix=False))
        # botocore's retry handler has nothing to decide, because each request is attempted once
        name = api.meta.service_model.service_name
        api.meta.events.unregister(f"needs-retry.{name}", unique_id=f"retry-config-{name}")
        chain = _Chain(session, api, credentials, settings, clock)
        yield AwsClient(api, connection.datastore_id, chain, destination)


def _destination(session: aioboto3.Session, connection: Connection, api: HealthImaging) -> Destination:
    """The endpoint that requests will go to; logs it if it is not AWS. Raises as `check_endpoint`."""
    url, region = str(api.meta.endpoint_url), api.meta.region_name
    source = None
    if connection.endpoint_url is not None or not is_default(url, region):
        option = connection.endpoint_from if connection.endpoint_url is not None else None
        source = source_of(option, session.profile_name)
    check_endpoint(url, source, allow_http=connection.allow_http)
    destination = Destination(endpoint_url=url, region=region, source=source)
    if not destination.is_aws:
        destination.announce()
    return destination


@contextlib.contextmanager
def _explained(settings: AwsSettings) -> Iterator[None]:
    """Turn botocore's configuration errors into UsageError or CredentialsError."""
    try:
        yield
    except (boto.BotoCoreError, ValueError) as error:
        if str(error).startswith(_INVALID_ENDPOINT):
            raise UsageError(
                "--endpoint-url is not a valid URL.",
                likely="Or the endpoint of a variable AWS_ENDPOINT_URL… or of the profile.",
                hint="Write it as http://127.0.0.1:8086 or https://host.",
            ) from error
        raise setting_fault(error, settings) from error


async def _require_credentials(
    session: aioboto3.Session, settings: AwsSettings, clock: ServiceClock
) -> LastingCredentials:
    """Load the credentials for the first time: a role is assumed only here."""
    try:
        if (found := await session.get_credentials()) is None:
            raise no_credentials(settings)
        credentials = LastingCredentials(found, clock, random.SystemRandom())
        frozen = await _first_credentials(credentials)
    except (boto.ProfileNotFound, boto.NoRegionError):
        raise  # `_explained` handles these
    except CREDENTIAL_FAULTS as error:
        raise credential_fault(error, settings) from error
    check_keys(frozen.access_key, frozen.secret_key, frozen.token, found.method)
    return credentials


async def _first_credentials(credentials: LastingCredentials) -> FrozenCredentials:
    """The credentials, asked for again while their source has a fault that may pass."""
    began, rng, attempts = anyio.current_time(), random.SystemRandom(), 0
    while True:
        try:
            return await credentials.get_frozen_credentials()
        except CREDENTIAL_FAULTS as error:
            attempts += 1
            wait = FAULT.wait(attempts, rng)
            if not is_transient(error) or anyio.current_time() - began + wait > _FIRST_S:
                raise
            if attempts == 1:
                _LOG.warning("No credentials yet (%s). Asking again for %.0f s.", error_code_of(error), _FIRST_S)
        await anyio.sleep(wait)


class _Chain:
    """The credential chain of an open client. It can be loaded again, in case a file or a role has new credentials."""

    def __init__(
        self,
        session: aioboto3.Session,
        api: HealthImaging,
        credentials: LastingCredentials,
        settings: AwsSettings,
        clock: ServiceClock,
    ) -> None:
        self._session = session
        self._region = api.meta.region_name
        self._signer = api._request_signer  # noqa: SLF001 - no public API
        self._signer._credentials = credentials  # noqa: SLF001
        self._settings = settings
        self._clock = clock
        self._loading = anyio.Lock()

    @property
    def clock_offset_s(self) -> float:
        """Seconds by which this machine's clock is known to be behind the service's."""
        return self._clock.offset_s

    def awaited_s(self) -> float:
        """Seconds for which requests have waited for new credentials; 0 if they do not."""
        return self._signer._credentials.awaited_s()  # noqa: SLF001

    async def used(self) -> tuple[str, str | None]:
        """Identifies the credentials in use: access key and session token. Raises `CREDENTIAL_FAULTS`."""
        return await _identifier(self._signer._credentials)  # noqa: SLF001

    def fault(self, error: Exception) -> Refused:
        """The result of a request that there were no credentials for."""
        refused = _not_sent(error)
        if refused.kind is Refusal.CREDENTIALS:
            why = credential_fault(error, self._settings)
            refused = replace(refused, error=why if isinstance(why, CredentialsError) else None)
        return refused

    async def renew(self, expired: tuple[str, str | None]) -> bool:
        """Load the credentials again. Returns whether they differ from the ones that have ``expired``."""
        async with self._loading:
            try:
                if await self.used() != expired:
                    return True  # another request has renewed them
                provider = self._session._session.get_component("credential_provider")  # noqa: SLF001
                if (found := await provider.load_credentials()) is None:
                    return False
                credentials = LastingCredentials(found, self._clock, random.SystemRandom())
                if await _identifier(credentials) == expired:
                    return False
            except CREDENTIAL_FAULTS:
                return False
            self._signer._credentials = credentials  # noqa: SLF001
            return True

    async def identity(self) -> Identity | None:
        """GetCallerIdentity, which needs no permission. None if a policy denies it or STS cannot be reached."""
        config = AioConfig(retries={"total_max_attempts": 1}, connect_timeout=_STS_S, read_timeout=_STS_S)
        try:
            async with self._session.client("sts", region_name=self._region, config=config) as sts:
                found = await sts.get_caller_identity()
        except (*_NO_ANSWER, boto.ClientError, ValueError):  # ValueError: the configured STS endpoint is not a URL
            return None
        return _identity(found)


def _identity(found: Answer) -> Identity | None:
    """Parse the response of GetCallerIdentity; None if a field is missing."""
    try:
        return Identity(str(found["Account"]), principal(str(found["Arn"])))
    except WRONG_SHAPE:
        return None


async def _identifier(credentials: LastingCredentials) -> tuple[str, str | None]:
    frozen = await credentials.get_frozen_credentials()
    return frozen.access_key, frozen.token


def _api(
    session: aioboto3.Session, connection: Connection, *, host_prefix: bool
) -> AbstractAsyncContextManager[HealthImaging]:
    opened: AbstractAsyncContextManager[HealthImaging] = session.client(
        "medical-imaging",
        endpoint_url=connection.endpoint_url,
        config=AioConfig(
            retries={"total_max_attempts": 1},
            inject_host_prefix=host_prefix,
            max_pool_connections=_connections(connection.max_connections),
            # botocore builds its own user agent for each request, which takes a tenth of the request's CPU time
            user_agent=f"bulkedit/{__version__} md/Botocore#{botocore_version} lang/python#{platform.python_version()}",
        ),
    )
    return opened


def _connections(wanted: int) -> int:
    """How many connections to open at most: each is a file, and a process may open only so many."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = wanted if files == resource.RLIM_INFINITY else max(_FEWEST, files - _OTHER_FILES)
    if possible < wanted:
        _LOG.warning(
            "This process may open %d files, so at most %d requests are sent at once. To allow more: ulimit -n 1024",
            files,
            possible,
        )
    return min(wanted, possible)


class AwsClient:
    """`bulkedit.client.contract.Client` over an aioboto3 client."""

    def __init__(self, api: HealthImaging, datastore_id: str, chain: _Chain, destination: Destination) -> None:
        self._api = api
        self._datastore_id = datastore_id
        self._chain = chain
        self._destination = destination
        self._identity_requested = False
        self._proxy = _proxy_of(destination.endpoint_url)

    async def destination(self) -> Destination:
        """The endpoint that requests go to, and their sender, which is requested only if the endpoint is AWS."""
        if self._destination.is_aws and not self._identity_requested:
            self._identity_requested = True
            self._destination = replace(self._destination, identity=await self._chain.identity())
        return self._destination

    def credentials_awaited_s(self) -> float:
        """Seconds for which requests have waited for new credentials; 0 if they do not."""
        return self._chain.awaited_s()

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        """UpdateImageSetMetadata."""
        params: dict[str, object] = {
            "imageSetId": request.image_set_id,
            "latestVersionId": str(request.expected_version),
            "updateImageSetMetadataUpdates": _updates(request),
        }
        if request.force:
            params["force"] = True
        if request.include_study:
            params["includeStudyImageSets"] = True
        return await self._request("update_image_set_metadata", accepted_of, **params)

    async def copy(self, request: CopyRequest) -> Copied | Refused | Lost:
        """CopyImageSet."""
        return await self._request(
            "copy_image_set",
            copied_of,
            sourceImageSetId=request.image_set_id,
            copyImageSetInformation={"sourceImageSet": {"latestVersionId": str(request.expected_version)}},
            **({"promoteToPrimary": True} if request.promote else {}),
        )

    async def delete(self, image_set_id: str) -> Deleting | Refused | Lost:
        """DeleteImageSet."""
        return await self._request("delete_image_set", deleting_of, imageSetId=image_set_id)

    async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
        """GetImageSet."""
        return await self._request("get_image_set", image_set_of, imageSetId=image_set_id, **_version(version))

    async def get_metadata(self, image_set_id: str, version: int | None = None) -> Metadata | Refused | Lost:
        """GetImageSetMetadata, decompressed and parsed."""
        return await self._request("get_image_set_metadata", metadata_of, imageSetId=image_set_id, **_version(version))

    async def list_versions(
        self, image_set_id: str, *, limit: int = 50, next_token: str | None = None
    ) -> Page | Refused | Lost:
        """ListImageSetVersions, one page."""
        more = {"nextToken": next_token} if next_token else {}
        return await self._request(
            "list_image_set_versions", versions_of, imageSetId=image_set_id, maxResults=limit, **more
        )

    async def search(
        self, criteria: Criteria | None = None, *, limit: int = 50, next_token: str | None = None
    ) -> Page | Refused | Lost:
        """SearchImageSets, one page."""
        more: dict[str, object] = {"nextToken": next_token} if next_token else {}
        if criteria:
            more["searchCriteria"] = criteria
        return await self._request("search_image_sets", found_of, maxResults=limit, **more)

    async def get_datastore(self) -> Datastore | Refused | Lost:
        """GetDatastore."""
        return await self._request("get_datastore", datastore_of)

    async def _request(
        self, operation: str, record: Callable[[Answer], _Record], **params: object
    ) -> _Record | Refused | Lost:
        """Send a request; if the credentials have expired and can be renewed, send it once more.

        ``record`` parses the answer.
        """
        try:
            used = await self._chain.used()
        except CREDENTIAL_FAULTS as error:  # renewing them has failed, and the former ones have ended
            return self._chain.fault(error)
        offset = self._chain.clock_offset_s
        answer = await self._send(operation, record, **params)
        # a request whose signature is refused has done nothing
        if isinstance(answer, Refused) and answer.kind is Refusal.CREDENTIALS and offset != self._chain.clock_offset_s:
            answer = await self._send(operation, record, **params)
        # a request with expired credentials has done nothing
        if isinstance(answer, Refused) and answer.code in _EXPIRED and await self._chain.renew(used):
            return await self._send(operation, record, **params)
        return answer

    async def _send(
        self, operation: str, record: Callable[[Answer], _Record], **params: object
    ) -> _Record | Refused | Lost:
        """Send a request once. It is logged, and told with `add_sent`."""
        began = time.perf_counter()
        exchange.set(seen := Exchange())
        name = self._api.meta.method_to_api_mapping[operation]
        result = LOST + NOT_TAKEN
        try:
            answer = parsed(await self._answer(operation, seen, **params), record)
            if isinstance(answer, Lost):
                answer = replace(answer, proxy=self._proxy)
            result = result_of(answer)
        finally:
            if seen.sent:
                add_sent(SentRequest(name, seen.request_id, result))
        image_set_id = params.get("imageSetId", params.get("sourceImageSetId"))
        log_request(
            name,
            None if image_set_id is None else str(image_set_id),
            answer,
            seen,
            seconds=time.perf_counter() - began,
        )
        return answer

    async def _answer(self, operation: str, seen: Exchange, **params: object) -> Answer | Refused | Lost:
        """The answer as the SDK has parsed it; a metadata document is read too."""
        try:
            answer: Answer = await getattr(self._api, operation)(datastoreId=self._datastore_id, **params)
        except boto.ClientError as error:
            return refusal_of(error.response)
        except _NEVER_SENT as error:
            seen.sent = False
            return _not_sent(error)
        except UnreadableError:
            return Lost(UNREADABLE)
        except ProxyAuthenticationError as error:
            return Lost(type(error).__name__, foreign_status=HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)
        except _NO_ANSWER as error:
            return Lost(type(error).__name__)
        return await _with_document(answer) if METADATA in answer else answer


def _proxy_of(url: str) -> str | None:
    """The proxy that requests to a URL go to, without a password: HTTP_PROXY, HTTPS_PROXY and NO_PROXY decide."""
    proxy: str | None = ProxyConfiguration(proxies=get_environ_proxies(url)).proxy_url_for(url)
    return without_password(proxy) if proxy else None


def _not_sent(error: Exception) -> Refused:
    """The result of a request that the SDK did not send. Its error texts quote values, so only their type is kept."""
    if isinstance(error, UnverifiedError):
        return Refused(Refusal.UNTRUSTED, error.what)
    kind = Refusal.INVALID if isinstance(error, boto.ParamValidationError) else Refusal.CREDENTIALS
    return Refused(kind, error_code_of(error))


def _updates(request: UpdateRequest) -> dict[str, object]:
    if request.revert_to is not None:
        return {"revertToVersionId": str(request.revert_to)}
    blobs = {"updatableAttributes": request.updatable, "removableAttributes": request.removable}
    return {"DICOMUpdates": {name: text.encode() for name, text in blobs.items() if text is not None}}


def _version(version: int | None) -> dict[str, str]:
    return {} if version is None else {"versionId": str(version)}


async def _with_document(answer: Answer) -> Answer | Lost:
    """The answer of GetImageSetMetadata with the document in place of its blob. `Lost` if it cannot be read."""
    blob = cast("AbstractAsyncContextManager[Body]", answer[METADATA])  # made by the SDK
    try:
        async with blob as body:
            packed = await body.read()
        large = len(packed) > _THREAD_BYTES
        document = await run_blocking(_unpack, packed) if large else _unpack(packed)
    except (*_NO_ANSWER, *_BAD_BODY) as error:
        return Lost(type(error).__name__)
    except RecursionError:  # deeply nested JSON
        return Lost(UNREADABLE)
    return {**answer, METADATA: document}


def _unpack(packed: bytes) -> JsonObject:
    """Parse the body. It is gzip, whatever the request accepts (get-image-set-metadata); plain JSON is read too."""
    plain = packed
    if packed.startswith(b"\x1f\x8b"):
        # a megabyte of gzip can unpack to a gigabyte
        plain = gzip.GzipFile(fileobj=io.BytesIO(packed)).read(METADATA_BYTES + 1)
        if len(plain) > METADATA_BYTES:
            raise AnswerTooLargeError(METADATA_BYTES)
    document = json.loads(plain)
    # of a proxy that answers with JSON; every document has one of the two
    if not isinstance(document, dict) or document.keys().isdisjoint(_OF_METADATA):
        raise EOFError  # treated like a truncated body
    return document
