"""The SDK's session, set up so that every request of the SDK goes through `bulkedit.client.transport`.

That includes requests of its credential chain: to STS, SSO and SSO-OIDC, and to the endpoints that serve instance and
container credentials.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from functools import cache, partial
from importlib import resources
from typing import TYPE_CHECKING, Protocol, cast

import aioboto3
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.parsers import AioResponseParserFactory
from aiobotocore.session import AioSession
from botocore.credentials import ProcessProvider
from botocore.exceptions import InvalidRegionError
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError
from botocore.utils import parse_timestamp

from bulkedit.client.credential_faults import MfaNeededError
from bulkedit.client.credential_process import run_credential_process
from bulkedit.client.parsing import WRONG_SHAPE
from bulkedit.client.service_clock import ServiceClock, sign_with
from bulkedit.client.transport import SharedTransport, Transport
from bulkedit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from botocore.model import Shape

    from bulkedit.client.contract import Connection
    from bulkedit.client.responses import Answer


class _Config(AioConfig):  # type: ignore[misc] # aiobotocore has no types
    """Settings for all clients of a session. aiobotocore's own class drops its HTTP session when it is merged."""

    def merge(self, other_config: AioConfig) -> AioConfig:
        merged = super().merge(other_config)
        merged.http_session_cls = self.http_session_cls
        return merged


class UnreadableError(ResponseParserError):
    """The SDK's parser could not read the response."""


class _Parsers(AioResponseParserFactory):  # type: ignore[misc] # aiobotocore has no types
    def create_parser(self, protocol_name: str) -> _AnswerParser:
        return _AnswerParser(super().create_parser(protocol_name))


class _SdkParser(Protocol):
    async def parse(self, response: dict[str, object], shape: Shape) -> Answer: ...


class _AnswerParser:
    """The SDK's parser, which fails with various errors on unexpected JSON; here all become `UnreadableError`."""

    def __init__(self, parser: _SdkParser) -> None:
        self._parser = parser

    async def parse(self, response: dict[str, object], shape: Shape) -> Answer:
        try:
            return await self._parser.parse(response, shape)
        except WRONG_SHAPE as error:
            raise UnreadableError from error


def open_session(connection: Connection, clock: ServiceClock | None = None) -> aioboto3.Session:
    """Make a session for the connection's profile and region. ``clock``: the service's.

    Raises UsageError for a key without its certificate, and botocore's ProfileNotFound and InvalidRegionError.
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
    # botocore reads only AWS_DEFAULT_REGION; the other SDKs read AWS_REGION, so users set either
    region = connection.region or os.environ.get("AWS_REGION") or None
    if region is not None and re.search(r"\s", region):
        raise InvalidRegionError(region_name=region)  # botocore overlooks a line break at the end
    session = aioboto3.Session(region_name=region, profile_name=connection.profile, botocore_session=core)
    core.register_component("data_loader", _models(core.get_config_variable("data_path")))
    # botocore uses dateutil for every timestamp; the service sends epoch seconds (reference, protocol)
    parsers = _Parsers()
    parsers.set_parser_defaults(timestamp_parser=_timestamp)
    core.register_component("response_parser_factory", parsers)
    _secure_credential_endpoints(core, connection.answer_timeout_s)
    _tame_credential_sources(core)
    sign_with(core, clock or ServiceClock())
    return session


@cache
def _models(data_path: str | None) -> Loader:
    """Read the SDK's models of services and endpoints once per process: 2 MB of JSON, otherwise read by each session.

    ``data_path``: folders with the user's own models, from AWS_DATA_PATH or the AWS profile.
    """
    loader = create_loader(data_path)
    # the pinned botocore's model lacks includeStudyImageSets; botocore merges this file into it
    loader.search_paths.insert(0, str(resources.files("bulkedit").joinpath("data/botocore")))
    return loader


def _secure_credential_endpoints(core: AioSession, answer_timeout_s: float) -> None:
    """Give the readers of container and instance credentials a transport: client settings do not reach them."""
    chain = core.get_component("credential_provider")
    ca_bundle = core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE") or True
    for provider, reader in (("container-role", "_fetcher"), ("iam-role", "_role_fetcher")):
        fetcher: _Fetcher = getattr(chain.get_provider(provider), reader)
        if not isinstance(fetcher._session, AIOHTTPSession):  # noqa: SLF001 - no public API
            raise TypeError(f"bulkedit does not support this version of aiobotocore's reader of {provider} credentials")
        # never through a proxy, which could read or replace the credentials
        transport = SharedTransport(answer_timeout_s=answer_timeout_s, timeout=_seconds(fetcher), verify=ca_bundle)
        fetcher._session = transport  # noqa: SLF001


def _tame_credential_sources(core: AioSession) -> None:
    """Let no source of credentials use the terminal, and limit the time and the output of `credential_process`."""
    chain = core.get_component("credential_provider")
    _without_terminal(chain.providers)
    role = chain.get_provider("assume-role")
    role._prompter = _refuse_code  # noqa: SLF001 - no public API
    role._profile_provider_builder = _TamedProviders(role._profile_provider_builder)  # noqa: SLF001


def _without_terminal(providers: Iterable[object]) -> None:
    for provider in providers:
        if isinstance(provider, ProcessProvider):
            cast("_RunsProgram", provider)._popen = run_credential_process  # noqa: SLF001


class _RunsProgram(Protocol):
    _popen: object


class _Providers(Protocol):
    def providers(self, profile_name: str, *, disable_env_vars: bool = False) -> list[object]: ...


class _TamedProviders:
    """Makes the providers of a source profile, as aiobotocore's builder does."""

    def __init__(self, builder: _Providers) -> None:
        self._builder = builder

    def providers(self, profile_name: str, *, disable_env_vars: bool = False) -> list[object]:
        """The providers of one profile."""
        found = self._builder.providers(profile_name, disable_env_vars=disable_env_vars)
        _without_terminal(found)
        return found


def _refuse_code(_: str) -> str:
    raise MfaNeededError


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
        raise UsageError("--client-key needs --client-cert.", hint="Give the certificate too: --client-cert FILE")
    return connection.client_cert, connection.client_key


def _timestamp(value: str | float) -> datetime:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else parse_timestamp(value)
