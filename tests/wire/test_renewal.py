"""Sources of credentials that fail when new ones are due: the present ones are used to their end, and it is told."""

from __future__ import annotations

import sys
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
from botocore.utils import ContainerMetadataFetcher

from bulkedit.client.aws import connect
from bulkedit.client.contract import Connection
from bulkedit.client.parsing import systemic_error
from bulkedit.client.responses import Datastore, Refusal, Refused
from bulkedit.client.service_clock import ServiceClock
from bulkedit.errors import AccessError, CredentialsError
from tests.wire.cases import CONFIG
from tests.wire.servers import ANSWERS, DATASTORE, NAMED, _listening, _request, http

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator
    from pathlib import Path

GOOD_S = 660.0  # the first credentials; so new ones are due at once, and asked for after a minute
REFUSALS = {
    "denied": (403, "AccessDenied"),
    "expired": (403, "ExpiredToken"),
    "throttle": (400, "Throttling"),
    "500": (500, "InternalFailure"),
}


@asynccontextmanager
async def failing(mode: str, *, first: bool = False) -> AsyncIterator[int]:
    """The service, and a server that gives credentials once, as STS or the endpoint of a container, and then fails.

    ``first``: it fails once, and then gives them.
    """
    given = first

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal given
        request = await _request(reader)
        if b"/datastore/" in request:
            writer.write(http(200, ANSWERS[b"/datastore/"]))
        elif not given:
            until = f"{datetime.now(UTC) + timedelta(seconds=GOOD_S):%Y-%m-%dT%H:%M:%SZ}"
            key = b"Action=AssumeRole" if b"AssumeRole" in request else b"GET /container"
            writer.write(http(200, ANSWERS[key].replace(NAMED["until"], until)))
            given = True
        else:
            given = not first
            if mode != "drop":
                status, code = REFUSALS[mode]
                writer.write(http(status, f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>"))
        await writer.drain()

    async with _listening(handle, None) as port:
        yield port


async def lives(where: Connection, caplog: pytest.LogCaptureFixture) -> Refused:
    """Use credentials over their life; what a request after their end is answered."""
    passed = 0.0
    async with connect(where, ServiceClock(lambda: time.time() + passed)) as client:
        for passed in (0.0, 61.0, 300.0, GOOD_S - 30):
            assert isinstance(await client.get_datastore(), Datastore), passed
        assert len([text for text in caplog.messages if text.startswith("New credentials could not")]) == 1
        passed = GOOD_S + 60
        found = await client.get_datastore()
    assert isinstance(found, Refused)
    assert found.kind is Refusal.CREDENTIALS
    return found


def said(found: Refused) -> str:
    error = systemic_error(found, denied=AccessError(), in_run=True)
    assert isinstance(error, CredentialsError)
    assert error.hint is not None
    assert error.hint.endswith("continue with: bulkedit resume RUN")
    assert "defect" not in str(error)
    return str(error)


@pytest.mark.parametrize("mode", [*REFUSALS, "drop"])
async def test_sts_that_says_no_ends_nothing_before_the_credentials_end(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "config").write_text(CONFIG, "utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # otherwise the SDK asks STS five times in a row, with pauses
    async with failing(mode) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{port}")
        where = Connection(datastore_id=DATASTORE, profile="role", endpoint_url=f"http://127.0.0.1:{port}")
        found = await lives(where, caplog)
    words = said(found)
    assert (REFUSALS[mode][1] if mode in REFUSALS else "cannot be reached (ConnectionClosedError)") in words
    assert "AssumeRole" in words or mode == "drop"


@pytest.mark.parametrize("mode", ["throttle", "500", "drop", "denied"])
async def test_the_first_credentials_are_asked_for_again_if_the_fault_may_pass(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "config").write_text(CONFIG, "utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(anyio, "sleep", lambda _: anyio.lowlevel.checkpoint())
    async with failing(mode, first=True) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{port}")
        where = Connection(datastore_id=DATASTORE, profile="role", endpoint_url=f"http://127.0.0.1:{port}")
        if mode == "denied":
            with pytest.raises(CredentialsError, match="AssumeRole"):
                async with connect(where):
                    pass
            return
        async with connect(where) as client:
            assert isinstance(await client.get_datastore(), Datastore)
    assert len([text for text in caplog.messages if text.startswith("No credentials yet")]) == 1


async def test_the_endpoint_of_a_container_that_fails_ends_nothing_before_the_credentials_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    async with failing("500") as port:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://localhost:{port}/container")
        found = await lives(Connection(datastore_id=DATASTORE, endpoint_url=f"http://127.0.0.1:{port}"), caplog)
    assert "the source of credentials of profile default gives none" in said(found)


PROGRAM = """
import json, pathlib, sys
asked = pathlib.Path(sys.argv[1])
if asked.exists():
    sys.exit(3)
asked.touch()
print(json.dumps({"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": sys.argv[2]}))
"""


async def test_a_program_that_fails_ends_nothing_before_the_credentials_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / "program.py").write_text(PROGRAM, "utf-8")
    until = f"{datetime.now(UTC) + timedelta(seconds=GOOD_S):%Y-%m-%dT%H:%M:%SZ}"
    words = f"{sys.executable} {tmp_path}/program.py {tmp_path}/asked {until}"
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {words}\n", "utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    async with failing("500") as port:
        found = await lives(Connection(datastore_id=DATASTORE, endpoint_url=f"http://127.0.0.1:{port}"), caplog)
    assert "ended with code 3" in said(found)
