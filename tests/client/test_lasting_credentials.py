"""Credentials are used to their end, and new ones requested with growing pauses."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime

import anyio
import pytest
from botocore.exceptions import ClientError

from bulkedit.client.lasting_credentials import LastingCredentials
from bulkedit.client.service_clock import ServiceClock

START = 1_700_000_000.0
DENIED = ClientError({"Error": {"Code": "AccessDenied"}}, "AssumeRole")
FAULTS = [
    DENIED,
    ClientError({"Error": {"Code": "ExpiredToken"}}, "AssumeRole"),
    ClientError({"Error": {"Code": "Throttling"}}, "AssumeRole"),
    ClientError({"Error": {"Code": "InternalFailure"}}, "AssumeRole"),
    ConnectionResetError(),
    RuntimeError("refreshed credentials are still expired"),
    ValueError("JSON"),
]


@dataclass
class Frozen:
    access_key: str
    secret_key: str = "s"
    token: str | None = None


@dataclass
class Source:
    """Credentials of the SDK. In the script each entry is an error, or the seconds for which new ones are good."""

    now: ServiceClock
    script: list[Exception | float]
    asked: int = 0
    given: list[Frozen] = field(default_factory=list)
    method: str = "assume-role"
    _expiry_time: datetime | None = None
    _time_fetcher: object = None
    pause_s: float = 0.0

    async def get_frozen_credentials(self) -> Frozen:
        self.asked += 1
        if self.pause_s:
            await anyio.sleep(self.pause_s)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        self._expiry_time = datetime.fromtimestamp(self.now.now() + step, UTC)
        self.given.append(Frozen(f"K{len(self.given)}"))
        return self.given[-1]


class Machine:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> float:
        return self.time


@dataclass
class Bench:
    machine: Machine
    source: Source
    lasting: LastingCredentials

    async def at(self, seconds: float) -> str:
        """The access key in use so many seconds after the start."""
        self.machine.time = START + seconds
        return (await self.lasting.get_frozen_credentials()).access_key


def bench(*script: Exception | float) -> Bench:
    machine = Machine()
    clock = ServiceClock(machine)
    source = Source(clock, list(script))
    return Bench(machine, source, LastingCredentials(source, clock, random.Random(1)))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__ + str(fault)[-30:])
async def test_the_old_ones_are_used_to_their_end_and_the_fault_is_told_once(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    tried = bench(3600.0, fault)
    for seconds in range(0, 3590, 1):
        assert await tried.at(seconds) == "K0"
    # from 15 minutes before the end, with pauses up to 30 s: not once a request
    assert 30 < tried.source.asked < 65
    with pytest.raises(type(fault)):
        await tried.at(3591)
    (told,) = [record.getMessage() for record in caplog.records if record.name == "bulkedit"]
    assert "valid until 2023-11-14 23:13:20Z" in told
    assert caplog.records[0].levelno == logging.WARNING


async def test_once_they_have_ended_many_requests_cause_no_storm() -> None:
    tried = bench(3600.0, DENIED)
    await tried.at(0)
    refused = 0
    for _ in range(100):
        try:
            await tried.at(4000)
        except ClientError:
            refused += 1
    assert (refused, tried.source.asked) == (100, 2)


async def test_new_ones_end_the_series_and_the_next_fault_is_told_again(caplog: pytest.LogCaptureFixture) -> None:
    tried = bench(1000.0, DENIED, 1000.0, DENIED)
    assert [await tried.at(0), await tried.at(200), await tried.at(260)] == ["K0", "K0", "K1"]
    assert await tried.at(500) == "K1"
    assert len([record for record in caplog.records if record.name == "bulkedit"]) == 2


async def test_ones_that_are_short_lived_from_the_start_are_not_requested_with_each_request() -> None:
    tried = bench(606.0)
    for seconds in range(60):
        assert await tried.at(seconds) == "K0"
    assert tried.source.asked == 1
    assert await tried.at(61) == "K1"


async def test_the_sdks_own_silence_about_a_fault_counts_as_one() -> None:
    """In the last 15 minutes but ten, botocore hides the error and gives the old ones."""
    tried = bench(3600.0)
    await tried.at(0)
    tried.source.script = [0.0]

    async def same() -> Frozen:
        tried.source.asked += 1
        return tried.source.given[0]

    tried.source.get_frozen_credentials = same  # type: ignore[method-assign]
    for seconds in range(2701, 2761):
        assert await tried.at(seconds) == "K0"
    assert tried.source.asked < 12


async def test_while_one_task_asks_the_others_use_the_old_ones() -> None:
    tried = bench(3600.0, 3600.0)
    await tried.at(0)
    tried.source.pause_s = 0.05
    keys: list[str] = []

    async def use() -> None:
        keys.append(await tried.at(3000))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(use)
    assert sorted(keys) == ["K0"] * 19 + ["K1"]
    assert tried.source.asked == 2


async def test_without_any_the_first_fault_is_raised_and_the_next_call_asks_again() -> None:
    tried = bench(DENIED, 3600.0)
    with pytest.raises(ClientError):
        await tried.at(0)
    assert await tried.at(0) == "K0"


async def test_ones_without_an_end_are_asked_for_once() -> None:
    tried = bench(3600.0)
    await tried.at(0)
    tried.source._expiry_time = None
    assert [await tried.at(seconds) for seconds in (1, 10_000, 10**9)] == ["K0"] * 3
    assert tried.source.asked == 1


async def test_the_end_is_by_the_services_clock() -> None:
    """By this machine's, which is an hour ahead, each new one would have ended already."""
    tried = bench(3600.0)
    tried.lasting._clock.offset_s = -3600.0
    assert [await tried.at(0), await tried.at(60)] == ["K0", "K0"]
    assert tried.source.asked == 1


async def test_a_wait_for_new_ones_is_told_unless_others_are_used_meanwhile() -> None:
    tried = bench(3600.0)
    assert await tried.at(0) == "K0"
    tried.source.pause_s = 0.01

    async def waited_s(seconds: float) -> float:
        """What is told ten seconds after they were asked for."""
        tried.machine.time = START + seconds
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tried.lasting.get_frozen_credentials)
            await anyio.sleep(0.001)
            tried.machine.time += 10
            return tried.lasting.awaited_s()
        raise AssertionError

    assert tried.lasting.awaited_s() == 0.0
    assert await waited_s(3000) == 0.0  # the old ones are good
    tried.source.script = [DENIED]
    await tried.at(3000 + 3000)
    tried.source.script = [3600.0]
    assert await waited_s(3000 + 3600) == 10.0
    assert tried.lasting.awaited_s() == 0.0
