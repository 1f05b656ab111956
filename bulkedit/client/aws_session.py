"""The SDK's session, set up so that every request that the SDK makes goes through `bulkedit.client.transport`.

That includes the requests that the SDK makes by itself: to STS, SSO and SSO-OIDC, whose clients it opens in the
credential chain, and to the endpoints that give an instance or a container its credentials.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cache, partial
from importlib import resources
from typing import TYPE_CHECKING, Protocol

import aioboto3
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.parsers import AioResponseParserFactory
from aiobotocore.session import AioSession
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError
from botocore.utils import parse_timestamp

from bulkedit.client.parsing import WRONG_SHAPE
from bulkedit.client.transport import SharedTransport, Transport
from bulkedit.errors import UsageError

if TYPE_CHECKING:
    from botocore.model import Shape

    from bulkedit.client.contract import Connection
    from bulkedit.client.responses import Answer


class _Config(AioConfig):  # type: ignore[misc] # aiobotocore has no types
    """Settings for all clients of a session. aiobotocore's own class forgets its HTTP session when it is merged."""

    def merge(self, other_config: AioConfig) -> AioConfig:
        merged = super().merge(other_config)
        merged.http_session_cls = self.http_session_cls
        return merged


class UnreadableError(ResponseParserError):
    """The SDK's parser could not read the answer."""


class _Parsers(AioResponseParserFactory):  # type: ignore[misc] # aiobotocore has no types
    def create_parser(self, protocol_name: str) -> _AnswerParser:
        return _AnswerParser(super().create_parser(protocol_name))


class _SdkParser(Protocol):
    async def parse(self, response: dict[str, object], shape: Shape) -> Answer: ...


class _AnswerParser:
    """The SDK's parser trusts the JSON of an answer; what it raises for other JSON is an `UnreadableError` here."""

    def __init__(self, parser: _SdkParser) -> None:
        self._parser = parser

    async def parse(self, response: dict[str, object], shape: Shape) -> Answer:
        try:
            return await self._parser.parse(response, shape)
        except WRONG_SHAPE as error:
            raise UnreadableError from error


def open_session(connection: Connection) -> aioboto3.Session:
    """Make a session for the connection's profile and region.

    Raises UsageError for a key without its certificate, and botocore's ProfileNotFound.
    """
    core = AioSession()
    transport = partial(Transport, answer_timeout_s=connection.answer_timeout_s, allow_http=connection.allow_http)
    core.set_default_client_config(
        _Config(
            http_session_cls=transport,
            connect_timeout=connection.connect_timeout_s,
            read_timeout=connection.read_timeout_s,
            client_cert=_client_certificate(connection),
        )
    )
    # the other SDKs read AWS_REGION, botocore only AWS_DEFAULT_REGION: people set either
    region = connection.region or os.environ.get("AWS_REGION") or None
    session = aioboto3.Session(region_name=region, profile_name=connection.profile, botocore_session=core)
    core.register_component("data_loader", _models(core.get_config_variable("data_path")))
    # botocore tries dateutil on every timestamp; the service's are epoch seconds (reference, protocol)
    parsers = _Parsers()
    parsers.set_parser_defaults(timestamp_parser=_timestamp)
    core.register_component("response_parser_factory", parsers)
    _secure_credential_endpoints(core, connection.answer_timeout_s)
    return session


@cache
def _models(data_path: str | None) -> Loader:
    """Read the SDK's models of services and endpoints once a process: 2 MB of JSON that each session would read again.

    Arguments:
        data_path: folders with models of the user's own, from AWS_DATA_PATH or the AWS profile.
    """
    loader = create_loader(data_path)
    # the pinned botocore's model predates includeStudyImageSets; botocore merges this file into it
    loader.search_paths.insert(0, str(resources.files("bulkedit").joinpath("data/botocore")))
    return loader


def _secure_credential_endpoints(core: AioSession, answer_timeout_s: float) -> None:
    """Give the readers of container and instance credentials a transport: they are no clients, and take no settings."""
    chain = core.get_component("credential_provider")
    ca_bundle = core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE") or True
    for provider, reader in (("container-role", "_fetcher"), ("iam-role", "_role_fetcher")):
        fetcher: _Fetcher = getattr(chain.get_provider(provider), reader)
        if not isinstance(fetcher._session, AIOHTTPSession):  # noqa: SLF001 - no public way
            raise TypeError(f"aiobotocore's reader of {provider} credentials has another form than bulkedit knows")
        # never through a proxy: the proxy would get the credentials, or give its own
        transport = SharedTransport(answer_timeout_s=answer_timeout_s, timeout=_seconds(fetcher), verify=ca_bundle)
        fetcher._session = transport  # noqa: SLF001


class _Fetcher(Protocol):
    """aiobotocore's reader of container or instance credentials."""

    _session: object
    _timeout: float | None  # the reader of container credentials has none
    TIMEOUT_SECONDS: float  # the reader of instance credentials has none


def _seconds(fetcher: _Fetcher) -> float:
    return float(getattr(fetcher, "_timeout", None) or fetcher.TIMEOUT_SECONDS)


def _client_certificate(connection: Connection) -> str | tuple[str, str] | None:
    if connection.client_key is None:
        return connection.client_cert
    if connection.client_cert is None:
        raise UsageError("--client-key is the key of a certificate.", hint="Give that too: --client-cert FILE")
    return connection.client_cert, connection.client_key


def _timestamp(value: str | float) -> datetime:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else parse_timestamp(value)
