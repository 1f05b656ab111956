"""What the SDK asks by itself for credentials goes through the transport too, and endpoints without TLS still work."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.credentials import SSOProvider
from botocore.tokens import SSOTokenProvider
from botocore.utils import ContainerMetadataFetcher

from bulkedit.client.aws import connect
from bulkedit.client.contract import Connection
from bulkedit.client.responses import Datastore
from bulkedit.errors import CredentialsError, UntrustedServerError
from tests.wire.cases import CONFIG, lead_to
from tests.wire.servers import DATASTORE, NAMED, Authority, Certificate, http, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOKEN = "a-token-that-buys-credentials"
SSO = """
[profile sso]
sso_start_url = https://hospital.awsapps.com/start
sso_region = us-east-1
sso_account_id = 123456789012
sso_role_name = editor
[profile sso-session]
sso_session = s
sso_account_id = 123456789012
sso_role_name = editor
[sso-session s]
sso_start_url = https://hospital.awsapps.com/start
sso_region = us-east-1
sso_registration_scopes = sso:account:access
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a test keeps the settings that it makes, and the server that they lead to."""

    folder: Path
    url: str
    patch: pytest.MonkeyPatch

    def config(self, text: str) -> None:
        (self.folder / "config").write_text(text, "utf-8")
        self.patch.setenv("AWS_CONFIG_FILE", str(self.folder / "config"))

    def without_keys(self) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            self.patch.delenv(name)

    def cached(self, key: str, **token: Any) -> None:
        """An SSO token, as `aws sso login` leaves it."""
        path = self.folder / f"{hashlib.sha1(key.encode()).hexdigest()}.json"  # noqa: S324 - the SDK's file names
        path.write_text(json.dumps(token), "utf-8")
        for provider in (SSOProvider, SSOTokenProvider):
            self.patch.setattr(provider, "_SSO_TOKEN_CACHE_DIR", str(self.folder))


def _later(**span: int) -> str:
    return f"{datetime.now(UTC) + timedelta(**span):%Y-%m-%dT%H:%M:%SZ}"


def role(place: Place) -> str:
    place.config(CONFIG)
    return "role"


def web_identity(place: Place) -> None:
    place.without_keys()
    (place.folder / "token").write_text(TOKEN, "utf-8")
    place.patch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(place.folder / "token"))
    place.patch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/editor")


def sso(place: Place) -> str:
    place.config(SSO)
    place.cached("https://hospital.awsapps.com/start", accessToken=TOKEN, expiresAt=_later(hours=1))
    return "sso"


def sso_oidc(place: Place) -> str:
    """A session whose token is about to expire."""
    place.config(SSO)
    secrets = {"refreshToken": TOKEN, "clientId": "c", "clientSecret": TOKEN}
    later = {"registrationExpiresAt": _later(days=1)}
    place.cached("s", accessToken="old", expiresAt=_later(minutes=2), **secrets, **later)
    return "sso-session"


def container(place: Place) -> None:
    place.without_keys()
    place.patch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{place.url}/container")
    place.patch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", TOKEN)


def instance(place: Place) -> None:
    place.without_keys()
    place.patch.delenv("AWS_EC2_METADATA_DISABLED")
    place.patch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", place.url)


# what gives credentials, and the requests that it takes
SOURCES: dict[Callable[[Place], str | None], list[str]] = {
    role: ["Action=AssumeRole"],
    web_identity: ["Action=AssumeRoleWithWebIdentity"],
    sso: ["GET /federation/credentials"],
    sso_oidc: ["POST /token", "GET /federation/credentials"],
    container: ["GET /container"],
    instance: [
        "PUT /latest/api/token",
        "GET /latest/meta-data/iam/security-credentials/",
        "GET /latest/meta-data/iam/security-credentials/role",
    ],
}
of_each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)


async def ask(profile: str | None) -> object:
    async with connect(Connection(datastore_id=DATASTORE, profile=profile, region="us-east-1")) as client:
        return await client.get_datastore()


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)


@of_each_source
@pytest.mark.parametrize("shown", Certificate, ids=str)
async def test_credentials_are_asked_only_of_a_server_that_proves_who_it_is(
    source: Callable[[Place], str | None], shown: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    async with serving(authority.server(shown)) as server:
        profile = source(Place(tmp_path, lead_to(server, "https", monkeypatch), monkeypatch))
        if shown is Certificate.RIGHT:
            assert isinstance(await ask(profile), Datastore)
            assert server.names() == [*SOURCES[source], "/datastore/"]
        else:
            with pytest.raises(UntrustedServerError, match="Nothing was sent"):
                await ask(profile)
            assert server.requests == []


@pytest.mark.parametrize("source", [container, instance], ids=lambda source: source.__name__)
@pytest.mark.parametrize("proxy", [False, True], ids=["no proxy", "proxy"])
async def test_credentials_of_a_container_or_instance_are_read_without_tls_and_past_any_proxy(
    source: Callable[[Place], None], proxy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    async with serving() as endpoint, serving(authority.server(Certificate.RIGHT)) as server, serving() as between:
        lead_to(server, "https", monkeypatch)
        if proxy:
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{between.port}")
        source(Place(tmp_path, f"http://localhost:{endpoint.port}", monkeypatch))
        assert isinstance(await ask(None), Datastore)
    assert endpoint.names() == SOURCES[source]
    assert between.requests == []
    assert NAMED["token"].encode() in server.requests[0]


@of_each_source
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_of_credentials_is_not_followed(
    source: Callable[[Place], str | None], status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    async with serving() as elsewhere:
        away = http(status, "", Location=f"http://localhost:{elsewhere.port}/")
        async with serving(answer=away) as server:
            profile = source(Place(tmp_path, lead_to(server, "http", monkeypatch), monkeypatch))
            with pytest.raises(CredentialsError):
                await ask(profile)
    assert server.requests
    assert elsewhere.requests == []
