"""bulkedit and boto3 ask the same server for the data store: with each certificate, way and kind of credentials."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from botocore.exceptions import SSLError

from bulkedit.client.aws import connect
from bulkedit.client.contract import Connection
from bulkedit.client.responses import Datastore, Refusal, Refused
from bulkedit.errors import UntrustedServerError
from tests.wire.servers import DATASTORE, Authority, Certificate, Server, proxying, serving

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CONFIG: Final = """
[profile role]
role_arn = arn:aws:iam::123456789012:role/editor
source_profile = base
region = us-east-1
[profile base]
aws_access_key_id = AKIATESTTESTTESTTEST
aws_secret_access_key = secret
"""


class Way(StrEnum):
    """How requests reach the server."""

    DIRECT = "no proxy"
    PROXY = "CONNECT proxy"


class Verdict(StrEnum):
    """How a client takes a server."""

    ANSWERED = "answered"
    REFUSED = "refused"  # for its certificate


@dataclass(frozen=True, slots=True)
class Case:
    """One cell of the table."""

    certificate: Certificate
    way: Way
    role: bool  # AssumeRole first

    def __str__(self) -> str:
        return f"{self.certificate}, {self.way}, {'AssumeRole' if self.role else 'no role'}"


CASES: Final = [Case(*each) for each in product(Certificate, Way, (False, True))]


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of a case: for each client its verdict, and the requests that reached the server."""

    verdicts: dict[str, Verdict]
    requests: dict[str, list[str]]


async def try_case(case: Case, folder: Path, patch: pytest.MonkeyPatch) -> Seen:
    """Let both clients ask, one after the other."""
    authority = Authority(folder)
    verdicts, requests = {}, {}
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(authority.server(case.certificate)))
        patch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
        patch.setenv("AWS_MAX_ATTEMPTS", "1")  # boto3 would ask STS five times
        if case.way is Way.PROXY:
            proxy = await stack.enter_async_context(proxying(server.port))
            patch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        else:
            lead_to(server, "https", patch)
        profile = None
        if case.role:
            profile = "role"
            config = folder / "config"
            config.write_text(CONFIG, "utf-8")
            patch.setenv("AWS_CONFIG_FILE", str(config))
        for name, ask in CLIENTS.items():
            verdicts[name] = await ask(profile, at_aws=case.way is Way.PROXY)
            requests[name] = server.names()
            server.requests.clear()
    return Seen(verdicts, requests)


def lead_to(server: Server, scheme: str, patch: pytest.MonkeyPatch) -> str:
    """Let the SDKs find all services at the server; its URL."""
    url = f"{scheme}://localhost:{server.port}"
    for service in ("MEDICAL_IMAGING", "STS", "SSO", "SSO_OIDC"):
        patch.setenv(f"AWS_ENDPOINT_URL_{service}", url)
    return url


async def _bulkedit(profile: str | None, *, at_aws: bool) -> Verdict:
    del at_aws  # the endpoint tells
    try:
        async with connect(Connection(datastore_id=DATASTORE, profile=profile, region="us-east-1")) as client:
            found = await client.get_datastore()
    except UntrustedServerError:
        return Verdict.REFUSED
    if isinstance(found, Refused) and found.kind is Refusal.UNTRUSTED:
        return Verdict.REFUSED
    assert isinstance(found, Datastore), found
    return Verdict.ANSWERED


async def _boto3(profile: str | None, *, at_aws: bool) -> Verdict:
    def ask() -> Verdict:
        config = Config(inject_host_prefix=at_aws, retries={"total_max_attempts": 1})
        session = boto3.Session(profile_name=profile, region_name="us-east-1")
        try:
            session.client("medical-imaging", config=config).get_datastore(datastoreId=DATASTORE)
        except SSLError:
            return Verdict.REFUSED
        return Verdict.ANSWERED

    return await asyncio.to_thread(ask)


CLIENTS: Final = {"bulkedit": _bulkedit, "boto3": _boto3}
