"""A machine whose clock is wrong signs with the service's time, which it learns from the first refusal."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest

from bulkedit.client.aws import connect
from bulkedit.client.contract import Connection
from bulkedit.client.responses import Datastore, Refusal, Refused
from bulkedit.client.service_clock import ServiceClock
from bulkedit.emulator import DEFAULT_DATASTORE_ID, Credentials, Emulator, Fault, FaultKind, Settings, serve
from tests.wire.cases import CONFIG
from tests.wire.servers import ANSWERS, DATASTORE, _listening, _request, http, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS = ("AKIDEXAMPLE", "secret")
HOUR = 3600.0
each_way = pytest.mark.parametrize("off", [HOUR, -HOUR, 61 * 60.0 + 86_400, -400.0], ids=lambda off: f"{off:+.0f} s")


def clock_off(seconds: float) -> ServiceClock:
    """The clock of a machine that is so many seconds ahead."""
    return ServiceClock(lambda: time.time() + seconds)


@pytest.fixture(scope="module")
def locked() -> Iterator[Emulator]:
    """A service that checks signatures and their time."""
    with serve(Settings(credentials=Credentials(*KEYS), scale=1000.0)) as running:
        yield running


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS[1])


def at(emulator: Emulator) -> Connection:
    return Connection(datastore_id=DEFAULT_DATASTORE_ID, endpoint_url=str(emulator))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if text.startswith("This machine's clock")]


@each_way
@pytest.mark.usefixtures("keys")
async def test_a_clock_that_is_off_is_corrected_and_told_once(
    off: float, locked: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    before = len([entry for entry in locked.journal() if entry.kind == "request"])
    async with connect(
        Connection(datastore_id=DEFAULT_DATASTORE_ID, endpoint_url=str(locked)), clock_off(off)
    ) as client:
        found = [await client.get_datastore() for _ in range(3)]
        together = await asyncio.gather(*(client.get_datastore() for _ in range(5)))
    assert [type(one) for one in [*found, *together]] == [Datastore] * 8
    assert len([entry for entry in locked.journal() if entry.kind == "request"]) - before == 9  # one refusal
    (text,) = told(caplog)
    assert re.match(rf"This machine's clock is {round(abs(off) / 60)} min {'ahead of' if off > 0 else 'behind'} ", text)
    assert caplog.records[-1].levelno == logging.WARNING


@pytest.mark.usefixtures("keys")
async def test_several_requests_that_are_refused_together_are_each_sent_again(locked: Emulator) -> None:
    async with connect(
        Connection(datastore_id=DEFAULT_DATASTORE_ID, endpoint_url=str(locked)), clock_off(HOUR)
    ) as client:
        found = await asyncio.gather(*(client.get_datastore() for _ in range(10)))
    assert [type(one) for one in found] == [Datastore] * 10


async def test_a_wrong_key_is_no_reason_to_doubt_the_clock(
    locked: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    async with connect(at(locked)) as client:
        found = await client.get_datastore()
    assert found == Refused(Refusal.CREDENTIALS, "InvalidSignatureException", getattr(found, "full_message", ""))
    assert told(caplog) == []


async def test_a_service_whose_own_date_is_wrong_is_believed(emulator: Emulator) -> None:
    emulator.do(lambda _: emulator.server.faults.add([Fault(kind=FaultKind.CLOCK_SKEW, seconds=HOUR)], now=0.0))
    async with connect(at(emulator)) as client:
        assert isinstance(await client.get_datastore(), Datastore)


@each_way
async def test_sts_is_asked_with_its_own_time_too(off: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text(CONFIG, "utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    async def sts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _request(reader)
        stamp = re.search(rb"(?i)x-amz-date: (\d{8}T\d{6}Z)", request)
        assert stamp is not None
        signed = datetime.strptime(stamp[1].decode(), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        fits = abs(signed.timestamp() - time.time()) <= 300
        refusal = "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>x</Message></Error></ErrorResponse>"
        known = ANSWERS[b"Action=AssumeRole"] if fits else refusal
        writer.write(http(200 if fits else 403, known, Date=formatdate(usegmt=True)))
        await writer.drain()

    async with _listening(sts, None) as port, serving() as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{port}")
        where = Connection(datastore_id=DATASTORE, profile="role", endpoint_url=f"http://127.0.0.1:{service.port}")
        async with connect(where, clock_off(off)) as client:
            assert isinstance(await client.get_datastore(), Datastore)
    assert len(service.requests) == 1


@pytest.mark.usefixtures("keys")
async def test_a_refusal_without_a_date_stays_one() -> None:
    refusal = http(403, "{}", **{"x-amzn-ErrorType": "InvalidSignatureException"})
    async with serving(answer=refusal) as server:
        where = Connection(datastore_id=DATASTORE, endpoint_url=f"http://127.0.0.1:{server.port}")
        async with connect(where, clock_off(HOUR)) as client:
            assert await client.get_datastore() == Refused(Refusal.CREDENTIALS, "InvalidSignatureException")
    assert len(server.requests) == 1


@pytest.mark.parametrize("date", ["", "soon", None, "Fri, 31 Dec 99999 23:59:59 GMT"])
def test_a_date_that_cannot_be_read_changes_nothing(date: str | None) -> None:
    clock = clock_off(0)
    clock.learn(date)
    assert clock.offset_s == 0.0
