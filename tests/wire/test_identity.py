"""As whom requests are sent is asked of STS, of nobody else, and a run goes on without an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bulkedit.client.connect import Connection, destination_of
from bulkedit.client.destination import Identity
from bulkedit.errors import UsageError
from tests.wire.servers import http, serving

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.emulator import Emulator

STORE = "0" * 32


async def test_account_and_role_are_those_of_the_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{sts.port}")
        found = await destination_of(Connection(datastore_id=STORE))
    assert found.identity == Identity("123456789012", "role Editor")
    assert (found.region, found.source, found.is_aws) == ("us-east-1", None, True)
    assert len(sts.requests) == 1
    assert b"Action=GetCallerIdentity" in sts.requests[0]


@pytest.mark.parametrize(
    "answer",
    [http(403, "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"), http(500, ""), b"", b"\0"],
    ids=["denied", "500", "nothing", "no HTTP"],
)
async def test_without_an_answer_of_sts_the_sender_is_not_known(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(answer=answer) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{sts.port}")
        found = await destination_of(Connection(datastore_id=STORE))
    assert (found.identity, found.is_aws) == (None, True)
    assert str(found).startswith("account not known, region us-east-1, endpoint https://medical-imaging.us-east-1.")


async def test_of_another_endpoint_sts_is_not_asked(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{sts.port}")
        monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", str(emulator))
        found = await destination_of(Connection(datastore_id=STORE))
    assert (found.identity, found.is_aws, sts.requests) == (None, False, [])
    assert found.source == "the environment variable AWS_ENDPOINT_URL_MEDICAL_IMAGING"


async def test_an_sts_without_tls_on_another_machine_gets_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    keys = "aws_access_key_id = a\naws_secret_access_key = b"
    role = "role_arn = arn:aws:iam::111122223333:role/r\nsource_profile = keys\nregion = us-east-1"
    config.write_text(f"[profile keys]\n{keys}\n[profile role]\n{role}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://192.0.2.1:8104")
    with pytest.raises(UsageError, match=r"over http, which is not encrypted: 192\.0\.2\.1"):
        await destination_of(Connection(datastore_id=STORE, profile="role"))
