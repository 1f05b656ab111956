"""A run over HTTP: every edit lands, in order, once, and the ledger and the service agree about it."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from bulkedit import plans
from bulkedit.client.contract import UpdateRequest
from bulkedit.client.pacing import Operation, Rate
from bulkedit.client.responses import ImageSetState, Lost, Outcome, Refusal, Refused
from bulkedit.edits.edit import json_text
from bulkedit.emulator import UNTHROTTLED, CompletionTime, Emulator, Settings, World, profile, serve
from bulkedit.emulator.state.document import parse
from bulkedit.emulator.state.faults import fault
from bulkedit.errors import UntrustedServerError
from bulkedit.options.running import OnConflict
from bulkedit.runs.ledger import Event, Ledger, RequestRecord
from tests.emulator.hospital import document, in_study
from tests.runs.factories import FAST, PassThroughClient, row, run, updates

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bulkedit.client.contract import Client
    from bulkedit.client.responses import Accepted, ImageSet
    from bulkedit.runs.engine import Engine

QUICK = Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01))


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with serve(QUICK) as running:
        yield running


def fill(emulator: Emulator, count: int) -> list[str]:
    """Image sets of one series and study each."""
    return [emulator.add(document(study=f"1.2.{number}")) for number in range(1, count + 1)]


def stored(emulator: Emulator, image_set_id: str, version: int | None = None) -> dict[str, Any]:
    def look(world: World) -> dict[str, Any]:
        versions = world.image_set(emulator.datastore_id, image_set_id).versions
        return parse(versions[version - 1 if version else -1].document)

    return emulator.do(look)


SOME = pytest.param(240, 60, id="240 edits on 60 image sets")
MANY = pytest.param(2_000, 500, id="2,000 edits on 500 image sets", marks=pytest.mark.slow)


@pytest.mark.parametrize(("count", "image_sets"), [SOME, MANY])
async def test_edits_end_as_if_applied_one_by_one(
    emulator: Emulator, tmp_path: Path, count: int, image_sets: int
) -> None:
    """Versions strictly consecutive, final metadata equal to a plain sequential application."""
    rng = random.Random(2)
    ids = fill(emulator, image_sets)
    levels = {"PatientName": "Patient", "PatientID": "Patient", "StudyDescription": "Study", "AccessionNumber": "Study"}
    edits = [(rng.choice(ids), rng.choice(list(levels)), f"V{number}") for number in range(count)]
    expected = {image_set_id: stored(emulator, image_set_id) for image_set_id in ids}
    for image_set_id, attribute, value in edits:
        expected[image_set_id][levels[attribute]]["DICOM"][attribute] = value

    ended = await run(emulator, tmp_path, [row(*edit) for edit in edits])

    assert {image_set_id: stored(emulator, image_set_id) for image_set_id in ids} == expected
    assert ended.counters.outcomes[Outcome.APPLIED] == count
    assert len(updates(emulator)) == count
    for image_set_id in ids:
        expected_versions = [
            entry.expected_version for entry in updates(emulator) if entry.image_set_id == image_set_id
        ]
        assert expected_versions == list(range(1, len(expected_versions) + 1))
    assert ended.states["attempts"].sum() == count


async def test_edits_of_one_image_set_run_in_the_order_of_their_versions_then_rows(
    emulator: Emulator, tmp_path: Path
) -> None:
    (image_set_id,) = fill(emulator, 1)
    rows = [
        row(image_set_id, "StudyDescription", "fourth"),
        row(image_set_id, "StudyDescription", "second", version=2),
        row(image_set_id, "StudyDescription", "first", version=1),
        row(image_set_id, "StudyDescription", "third", version=3),
    ]
    await run(emulator, tmp_path, rows)
    history = [stored(emulator, image_set_id, version)["Study"]["DICOM"]["StudyDescription"] for version in range(2, 6)]
    assert history == ["first", "second", "third", "fourth"]


async def test_throttled_calls_are_repeated_until_they_are_accepted(tmp_path: Path) -> None:
    """429 means that nothing happened: it costs a wait, no edit and no fault."""
    with serve(
        Settings(scale=20, completion_time=CompletionTime(seconds=0.01))
    ) as emulator:  # 5 updates per second, 20 at once
        ids = fill(emulator, 40)
        rates = {**FAST, Operation.UPDATE: Rate(25, 25)}
        ended = await run(emulator, tmp_path, [row(one, "PatientName", "X") for one in ids], rates=rates)
        assert ended.counters.outcomes[Outcome.APPLIED] == 40
        assert ended.counters.updates_throttled == len(updates(emulator, status=429)) > 0
        assert ended.counters.faults == 0


async def test_a_rejected_edit_takes_no_other_edit_with_it(emulator: Emulator, tmp_path: Path) -> None:
    (image_set_id,) = fill(emulator, 1)
    rows = [
        row(image_set_id, "PatientName", "BEFORE"),
        row(image_set_id, "StudyDescription", "not what is stored", action="remove"),
        row(image_set_id, "StudyID", "needs force"),
        row(image_set_id, "AccessionNumber", "AFTER"),
    ]
    ended = await run(emulator, tmp_path, rows)
    assert ended.standing_of() == ["applied", "rejected", "rejected", "applied"]
    final = stored(emulator, image_set_id)
    assert final["Study"]["DICOM"]["AccessionNumber"] == "AFTER"
    assert final["Study"]["DICOM"]["StudyDescription"] == "CHEST"
    assert all(event["message"] for event in ended.events if event["state"] == "rejected")


async def test_a_removal_without_value_reads_the_stored_one(emulator: Emulator, tmp_path: Path) -> None:
    """Key and value must match (update-image-set-metadata), padding included."""
    image_set_id = emulator.add(document())
    series = "1.2.3.1"
    rows = [
        row(image_set_id, "StudyDescription", {}, action="remove"),
        row(image_set_id, "SeriesNumber", {}, action="remove", series_uid=series),
        row(image_set_id, "KVP", {}, action="remove", series_uid=series, instance_uid=f"{series}.1"),
    ]
    ended = await run(emulator, tmp_path, rows)
    final = stored(emulator, image_set_id)
    assert ended.standing_of() == ["applied", "applied", "applied"]
    assert "StudyDescription" not in final["Study"]["DICOM"]
    assert "SeriesNumber" not in final["Study"]["Series"][series]["DICOM"]
    assert "KVP" not in final["Study"]["Series"][series]["Instances"][f"{series}.1"]["DICOM"]
    assert "KVP" in final["Study"]["Series"][series]["Instances"][f"{series}.2"]["DICOM"]


async def test_a_removal_of_what_is_absent_sends_nothing(emulator: Emulator, tmp_path: Path) -> None:
    (image_set_id,) = fill(emulator, 1)
    ended = await run(emulator, tmp_path, [row(image_set_id, "PatientComments", {}, action="remove")])
    assert (ended.standing_of(), updates(emulator)) == (["skipped"], [])
    assert ended.counters.outcomes[Outcome.APPLIED] == 1


async def test_a_revert_brings_the_whole_version_back(emulator: Emulator, tmp_path: Path) -> None:
    (image_set_id,) = fill(emulator, 1)
    before = stored(emulator, image_set_id)
    rows = [
        row(image_set_id, "PatientName", "CHANGED"),
        row(image_set_id, "StudyDescription", "CHANGED"),
        row(image_set_id, action="revert", revert_to=1),
    ]
    ended = await run(emulator, tmp_path, rows)
    assert ended.standing_of() == ["applied"] * 3
    assert stored(emulator, image_set_id) == before


@pytest.mark.parametrize("policy", OnConflict)
async def test_a_row_that_names_an_older_version_is_conflicted_whatever_the_policy(
    emulator: Emulator, tmp_path: Path, policy: OnConflict
) -> None:
    (image_set_id,) = fill(emulator, 1)
    rows = [
        row(image_set_id, "PatientName", "first", version=1),
        row(image_set_id, "PatientName", "late", version=1),
    ]
    ended = await run(emulator, tmp_path, rows, on_conflict=policy)
    assert ended.standing_of() == ["applied", "conflicted"]
    assert stored(emulator, image_set_id)["Patient"]["DICOM"]["PatientName"] == "first"


@pytest.mark.parametrize("stale", ["not-found", "conflict"])
@pytest.mark.parametrize(("policy", "state"), [(OnConflict.RETRY, "applied"), (OnConflict.STOP, "conflicted")])
async def test_another_writer_in_between_is_noticed_and_recorded(
    tmp_path: Path, stale: str, policy: OnConflict, state: str
) -> None:
    """Whether the service calls a stale version a 404 or a 409."""
    with serve(
        Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01), profile=profile(stale_version=stale))
    ) as emulator:
        (image_set_id,) = fill(emulator, 1)
        ended = await run(
            emulator,
            tmp_path,
            [row(image_set_id, "PatientName", "OURS")],
            wrap=Overtaken,
            on_conflict=policy,
        )
        assert ended.standing_of() == [state]
        assert ended.states["conflicts"].to_list() == [1]
        assert "another writer made version 2" in {event["reason"] for event in ended.events}


class Overtaken(PassThroughClient):
    """A stranger updates the image set after it was looked at and before the first request arrives."""

    struck = False

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        if not self.struck:
            self.struck = True
            strangers = UpdateRequest(
                image_set_id=request.image_set_id,
                expected_version=request.expected_version,
                updatable=json_text(in_study(StudyDescription="S")),
            )
            await self.inner.update(strangers)
            while (
                getattr(await self.inner.get_image_set(request.image_set_id), "state", None) is not ImageSetState.ACTIVE
            ):
                await anyio.sleep(0.01)
        return await self.inner.update(request)


async def test_an_image_set_that_does_not_exist_rejects_its_edits_only(emulator: Emulator, tmp_path: Path) -> None:
    (image_set_id,) = fill(emulator, 1)
    rows = [row("0" * 32, "PatientName", "NOBODY"), row(image_set_id, "PatientName", "SOMEBODY")]
    ended = await run(emulator, tmp_path, rows)
    assert ended.standing_of() == ["rejected", "applied"]


async def test_a_run_that_is_run_again_sends_nothing(emulator: Emulator, tmp_path: Path) -> None:
    ids = fill(emulator, 5)
    rows = [row(one, "PatientName", "X") for one in ids]
    await run(emulator, tmp_path, rows)
    again = await run(emulator, tmp_path, rows)
    assert (again.counters.requests, again.counters.reads, again.counters.outcomes[Outcome.APPLIED]) == (0, 0, 5)


class Intercepted(PassThroughClient):
    """From the third update on, another server answers the handshake."""

    sent = 0

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        self.sent += 1
        if self.sent > 2:
            return Refused(Refusal.UNTRUSTED, "host.example: self-signed certificate")
        return await self.inner.update(request)


async def test_a_server_that_is_not_the_service_any_more_stops_the_run_which_goes_on_later(
    emulator: Emulator, tmp_path: Path
) -> None:
    rows = [row(one, "PatientName", "X") for one in fill(emulator, 6)]
    with pytest.raises(UntrustedServerError, match="self-signed certificate") as caught:
        await run(emulator, tmp_path, rows, wrap=Intercepted, workers=1)
    assert str(caught.value).endswith("continue with: bulkedit resume RUN")
    assert len(updates(emulator)) == 2
    ended = await run(emulator, tmp_path, rows)
    assert ended.counters.outcomes[Outcome.APPLIED] == 6
    assert len(updates(emulator)) == 6


async def test_a_drained_run_finishes_what_is_under_way_and_goes_on_later(emulator: Emulator, tmp_path: Path) -> None:
    ids = fill(emulator, 50)
    rows = [row(one, "PatientName", "X") for one in ids]

    engines: list[Engine] = []

    class StopAfterTen(PassThroughClient):
        sent = 0

        async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
            self.sent += 1
            if self.sent == 10:
                engines[0].stop.drain()
            return await self.inner.update(request)

    first = await run(emulator, tmp_path, rows, wrap=StopAfterTen, prepare=engines.append, workers=4)
    applied = first.counters.outcomes[Outcome.APPLIED]
    assert 10 <= applied < 50
    assert set(first.standing_of()) <= {"applied", "planned"}
    second = await run(emulator, tmp_path, rows)
    assert second.counters.outcomes[Outcome.APPLIED] == 50
    assert len(updates(emulator)) == 50


async def test_no_more_image_sets_are_in_flight_than_allowed(tmp_path: Path) -> None:
    with serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.05), concurrent=7)) as emulator:
        ids = fill(emulator, 30)
        rows = [row(one, "PatientName", "X") for one in ids]
        ended = await run(emulator, tmp_path, rows, max_in_flight=7)
        assert (ended.counters.outcomes[Outcome.APPLIED], updates(emulator, status=402)) == (30, [])


async def test_workers_bound_the_requests_at_once(emulator: Emulator, tmp_path: Path) -> None:
    ids = fill(emulator, 20)
    under_way: list[int] = []

    class Counting(PassThroughClient):
        now = 0

        async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
            self.now += 1
            under_way.append(self.now)
            await anyio.sleep(0.01)
            self.now -= 1
            return await self.inner.get_image_set(image_set_id, version)

    await run(emulator, tmp_path, [row(one, "PatientName", "X") for one in ids], wrap=Counting, workers=3)
    assert max(under_way) == 3


async def test_the_intent_is_durable_before_the_request_leaves(emulator: Emulator, tmp_path: Path) -> None:
    ids = fill(emulator, 10)
    seen: list[list[tuple[str]]] = []

    class Spying(PassThroughClient):
        async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
            call = ids.index(request.image_set_id)
            with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as reader:
                seen.append(reader.execute("SELECT state FROM event WHERE call = ?", (call,)).fetchall())
            return await self.inner.update(request)

    await run(emulator, tmp_path, [row(one, "PatientName", "X") for one in ids], wrap=Spying)
    assert seen == [[("intended",)]] * 10


async def test_no_value_of_an_edit_is_in_the_ledger(emulator: Emulator, tmp_path: Path) -> None:
    (image_set_id,) = fill(emulator, 1)
    rows = [row(image_set_id, "PatientName", "CANARY^ONE"), row(image_set_id, "StudyID", "CANARY-TWO")]
    await run(emulator, tmp_path, rows)
    for path in tmp_path.glob("ledger.sqlite*"):
        assert b"CANARY" not in path.read_bytes()


@pytest.mark.parametrize("arrives", [True, False], ids=["after it was taken", "before it arrived"])
@pytest.mark.parametrize("stale", ["not-found", "conflict"])
async def test_a_lost_answer_is_settled_by_looking_and_the_edit_is_made_once(
    tmp_path: Path, arrives: bool, stale: str
) -> None:
    class Losing(PassThroughClient):
        lost = 0

        async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
            if self.lost >= 5:
                return await self.inner.update(request)
            self.lost += 1
            if arrives:
                await self.inner.update(request)
            return Lost("connection reset")

    with serve(replace(QUICK, profile=profile(stale_version=stale))) as emulator:
        ids = fill(emulator, 5)
        ended = await run(emulator, tmp_path, [row(one, "PatientName", "X") for one in ids], wrap=Losing)
        assert ended.standing_of() == ["applied"] * 5
        assert sorted(entry.image_set_id for entry in updates(emulator)) == sorted(ids)


@pytest.mark.parametrize("struck", [True, False], ids=["overtaken", "taken"])
async def test_a_revert_whose_answer_was_lost_is_told_from_a_strangers_write(
    emulator: Emulator, tmp_path: Path, struck: bool
) -> None:
    """The version after the base is ours only where it is what the revert goes back to."""
    (image_set_id,) = fill(emulator, 1)
    (tmp_path / "first").mkdir()
    await run(emulator, tmp_path / "first", [row(image_set_id, "PatientName", "CHANGED")])

    class Losing(PassThroughClient):
        lost = False

        async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
            if self.lost:
                return await self.inner.update(request)
            self.lost = True
            theirs = json_text(in_study(StudyDescription="THEIRS"))
            sent = replace(request, revert_to=None, updatable=theirs) if struck else request
            await self.inner.update(sent)
            return Lost("connection reset")

    ended = await run(emulator, tmp_path, [row(image_set_id, action="revert", revert_to=1)], wrap=Losing)
    assert ended.standing_of() == ["applied"]
    assert ended.states["conflicts"].to_list() == [int(struck)]
    assert stored(emulator, image_set_id) == stored(emulator, image_set_id, 1)
    assert len(updates(emulator)) == (3 if struck else 2)


class TestRequestIds:
    async def test_every_request_of_a_run_has_a_row_with_the_id_of_the_service(self, tmp_path: Path) -> None:
        """Throttled, refused and lost ones too. An id is missing only if no answer came."""
        faults = ("throttle:rate=0.2", "error-after:rate=0.1", "drop-after:rate=0.1")
        with serve(replace(QUICK, faults=tuple(map(fault, faults)), seed=3)) as emulator:
            ids = fill(emulator, 25)
            rows = [row(one, "StudyDescription", "X") for one in ids]
            rows.append(row(ids[0], "StudyDescription", {}, action="remove"))
            ended = await run(emulator, tmp_path, rows, retry_for_s=60)
            seen = [entry for entry in emulator.journal() if entry.kind == "request"]
        assert len(ended.requests) == ended.counters.requests + ended.counters.reads == len(seen)
        answered = {entry.request_id: entry for entry in seen if entry.status is not None}
        told = {one.request_id: one for one in ended.requests if one.request_id is not None}
        assert told.keys() == answered.keys()
        image_sets = dict(plans.load(tmp_path / "plan").calls().select("call", "image_set_id").collect().iter_rows())
        for request_id, one in told.items():
            entry = answered[request_id]
            assert (one.operation, image_sets[one.call]) == (entry.action, entry.image_set_id)
            written = one.operation == "UpdateImageSetMetadata"
            result = entry.code or ("accepted" if written else "answered")
            assert one.result == (f"lost: {result}" if entry.status == 500 else result)
        lost = [one for one in ended.requests if one.request_id is None]
        assert 0 < len(lost) == len([entry for entry in seen if entry.status is None])
        assert {one.result.partition(":")[0] for one in lost} == {"lost"}
        assert {"accepted", "answered", "ThrottlingException"} <= {one.result for one in ended.requests}

    async def test_a_write_is_recorded_not_later_than_what_it_caused(
        self, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: list[Any] = []
        append = Ledger.append

        def kept(ledger: Ledger, records: Sequence[Any]) -> None:
            written.extend(records)
            append(ledger, records)

        monkeypatch.setattr(Ledger, "append", kept)
        await run(emulator, tmp_path, [row(one, "StudyDescription", "X") for one in fill(emulator, 10)])
        accepted = [
            (type(one), one.call)
            for one in written
            if (isinstance(one, Event) and one.state == "accepted")
            or (isinstance(one, RequestRecord) and one.result == "accepted")
        ]
        assert sorted(accepted, key=lambda one: one[1]) == [
            (kind, call) for call in range(10) for kind in (RequestRecord, Event)
        ]

    async def test_a_request_of_a_run_that_ends_before_the_answer_is_recorded_as_lost(self, tmp_path: Path) -> None:
        with serve(replace(QUICK, faults=(fault("slow:seconds=30,action=UpdateImageSetMetadata"),))) as emulator:
            edits = [row(fill(emulator, 1)[0], "StudyDescription", "X")]
            with anyio.CancelScope() as scope:
                await run(emulator, tmp_path, edits, wrap=lambda client: EndsTheRun(client, emulator, scope))
        with Ledger.read(tmp_path / "ledger.sqlite") as ledger:
            told = [(one.operation, one.request_id is None, one.result) for one in ledger.requests()]
        assert told == [
            ("GetImageSet", False, "answered"),
            ("UpdateImageSetMetadata", True, "lost: answer not taken"),
        ]


class EndsTheRun(PassThroughClient):
    """Cancels the run once the service has seen an update."""

    def __init__(self, inner: Client, emulator: Emulator, scope: anyio.CancelScope) -> None:
        super().__init__(inner)
        self._emulator = emulator
        self._scope = scope

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cancel)
            reply = await self.inner.update(request)
        return reply  # noqa: RET504 - for mypy a task group may end without it

    async def _cancel(self) -> None:
        while not updates(self._emulator):
            await anyio.sleep(0.001)
        self._scope.cancel()
