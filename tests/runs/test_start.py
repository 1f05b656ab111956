"""What the data store answers before a run begins, and a file for messages that cannot be written."""

from __future__ import annotations

import math
import shutil
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio
import pytest

from bulkedit.client.responses import Datastore, Lost, Refusal, Refused
from bulkedit.emulator import DEFAULT_DATASTORE_ID
from bulkedit.errors import AccessError, CredentialsError, DatastoreError, EndpointError, UsageError
from bulkedit.runs import folder
from bulkedit.runs.ledger import Ledger, ProcessState
from bulkedit.runs.start import engine_of, require_datastore
from tests.runs.factories import PassThroughClient, planned
from tests.runs.killable import DirectClient, emulated
from tests.runs.virtual_time import run_virtual

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.errors import BulkeditError


class Answering(PassThroughClient):
    """A client whose data store gives one answer."""

    def __init__(self, answer: Datastore | Refused | Lost) -> None:
        super().__init__(DirectClient(emulated()))
        self._answer = answer

    async def get_datastore(self) -> Datastore | Refused | Lost:
        return self._answer


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Refused(Refusal.UNKNOWN, "HTTP 404"), EndpointError, "the endpoint refused GetDatastore (HTTP 404)."),
        (Refused(Refusal.NOT_FOUND, "N"), DatastoreError, "does not exist in this account and region (N)."),
        (Refused(Refusal.ACCESS_DENIED, "A"), AccessError, "AWS does not let these credentials read data store d (A)."),
        (Refused(Refusal.CREDENTIALS, "E"), CredentialsError, "E"),
        (Lost("HTTP 500"), EndpointError, "the service could not be reached (HTTP 500)."),
        (Datastore("d", "CREATING"), DatastoreError, "is CREATING, not ACTIVE."),
    ],
    ids=["unknown", "missing", "denied", "expired", "lost", "creating"],
)
async def test_each_answer_that_lets_no_call_succeed_is_an_error(
    answer: Datastore | Refused | Lost, error: type[BulkeditError], words: str
) -> None:
    with pytest.raises(error) as caught:
        await require_datastore(Answering(answer), "d")
    assert words in caught.value.what


class Losing(PassThroughClient):
    """A client whose first answers are lost."""

    def __init__(self, lost: Lost, times: float) -> None:
        super().__init__(DirectClient(emulated()))
        self._lost, self._times = lost, times
        self.asked = 0

    async def get_datastore(self) -> Datastore | Refused | Lost:
        self.asked += 1
        return self._lost if self.asked <= self._times else Datastore("d", "ACTIVE")


@pytest.mark.parametrize("times", [1, 5, 20])
def test_the_first_request_is_sent_again_while_the_service_does_not_answer(
    times: int, caplog: pytest.LogCaptureFixture
) -> None:
    client = Losing(Lost("InternalServerException"), times)
    run_virtual(require_datastore(client, "d", retry_for_s=3600.0))
    assert client.asked == times + 1
    assert [text.partition(". The service answers")[0] for text in caplog.messages] == [
        "The service does not answer (InternalServerException). Asking again for 3600 s"
    ]


@pytest.mark.parametrize(
    ("lost", "resumed", "seconds"),
    [
        (Lost("ReadTimeoutError"), False, 600.0),
        (Lost("HostNotFoundError"), False, 30.0),
        (Lost("HostNotFoundError"), True, 600.0),
        (Lost("HTTP 407 without an error type", 407), True, 10.0),
        (Lost("HTTP 403 without an error type", 403), False, 600.0),
    ],
)
def test_the_first_request_is_given_up_in_time(lost: Lost, resumed: bool, seconds: float) -> None:
    async def spent() -> float:
        began = anyio.current_time()
        with pytest.raises(EndpointError):
            await require_datastore(Losing(lost, math.inf), "d", resumed=resumed, retry_for_s=600.0)
        return anyio.current_time() - began

    assert seconds - 31 < run_virtual(spent()) <= seconds


async def test_a_data_store_that_only_throttles_lets_the_run_begin() -> None:
    await require_datastore(Answering(Refused(Refusal.THROTTLED, "T")), "d")
    await require_datastore(Answering(Datastore("d", "ACTIVE")), "d")


async def test_the_ledger_has_the_error_that_ended_a_process(tmp_path: Path) -> None:
    plan = planned(tmp_path / "plan", DEFAULT_DATASTORE_ID, [])
    run = folder.create(tmp_path / "r", plan, {"connection": {}, "options": {}}, datetime.now(UTC))
    client = Answering(Datastore("d", "ACTIVE"))
    for error in (CredentialsError("expired"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            async with engine_of(run, client):
                raise error
    async with engine_of(run, client) as engine:
        await engine.run()
    with Ledger.read(run.ledger) as ledger:
        reasons = [process.reason for process in ledger.processes() if process.state is ProcessState.ENDED]
    assert reasons == ["CredentialsError", "interrupted", "completed"]


async def test_a_file_for_messages_that_cannot_be_written_stops_the_run_before_its_first_request(
    tmp_path: Path,
) -> None:
    plan = planned(tmp_path / "plan", DEFAULT_DATASTORE_ID, [])
    settings: folder.RunSettings = {"connection": {}, "options": {"include_values": True}}
    run = folder.create(tmp_path / "r", plan, settings, datetime.now(UTC))
    shutil.rmtree(run.folder / "plan")
    with pytest.raises(UsageError, match="the file for messages cannot be written"):
        async with engine_of(run, Answering(Lost("not to be asked"))):
            pass
