"""Faults: each does what it says, as often as it says, and the same again with the same seed."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, HTTPClientError

from bulkedit.emulator import DEFAULT_DATASTORE_ID, Emulator, Fault, FaultKind, fault, serve
from bulkedit.emulator.state.faults import Faults, from_dict
from tests.emulator.hospital import Json, document, in_study, settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkedit.emulator import ManualClock
    from tests.emulator.hospital import Service

UPDATE = "UpdateImageSetMetadata"


class Hand:
    """Updates one image set through a real client, and says what came of it."""

    def __init__(self, emulator: Emulator, client: Json, clock: ManualClock) -> None:
        self.emulator, self.client, self.clock = emulator, client, clock
        self.image_set_id = emulator.add(document())

    def set(self, **fields: Json) -> None:
        self.emulator.do(lambda _: self.emulator.server.faults.add([Fault(**fields)], now=self.clock.now()))

    def update(self, version: int = 1) -> str:
        """The status, the error code, or that the connection was dropped."""
        try:
            answer = self.client.update_image_set_metadata(
                datastoreId=DEFAULT_DATASTORE_ID,
                imageSetId=self.image_set_id,
                latestVersionId=str(version),
                updateImageSetMetadataUpdates={
                    "DICOMUpdates": {
                        "updatableAttributes": b'{"SchemaVersion":1.1,"Study":{"DICOM":{"StudyTime":"12"}}}'
                    }
                },
            )
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        except (ConnectionClosedError, EndpointConnectionError, HTTPClientError):
            return "dropped"
        return str(answer["imageSetWorkflowStatus"])

    def state(self) -> tuple[int, str]:
        """Version and status, after a second."""
        self.clock.advance(1)
        image_set = self.emulator.do(lambda w: w.image_set(DEFAULT_DATASTORE_ID, self.image_set_id))
        return image_set.number, image_set.latest.status


@pytest.fixture
def hand(emulator: Emulator, client_of: Callable[..., Json], clock: ManualClock) -> Hand:
    return Hand(emulator, client_of(emulator), clock)


@pytest.mark.parametrize(
    ("kind", "seen", "state"),
    [
        (FaultKind.DROP_BEFORE, "dropped", (1, "CREATED")),
        (FaultKind.DROP_AFTER, "dropped", (2, "UPDATED")),
        (FaultKind.ERROR_BEFORE, "InternalServerException", (1, "CREATED")),
        (FaultKind.ERROR_AFTER, "InternalServerException", (2, "UPDATED")),
        (FaultKind.SLOW, "UPDATING", (2, "UPDATED")),
        (FaultKind.THROTTLE, "ThrottlingException", (1, "CREATED")),
        (FaultKind.CONFLICT, "ConflictException", (1, "CREATED")),
        (FaultKind.FAIL, "UPDATING", (2, "UPDATE_FAILED")),
        (FaultKind.HANG, "UPDATING", (2, "UPDATING")),
        (FaultKind.FOREIGN_BEFORE, "ResourceNotFoundException", (2, "UPDATED")),
        (FaultKind.FOREIGN_AFTER, "UPDATING", (3, "UPDATED")),
        (FaultKind.FOREIGN_FAILED, "ResourceNotFoundException", (2, "UPDATE_FAILED")),
        (FaultKind.EXPIRED, "ExpiredTokenException", (1, "CREATED")),
        (FaultKind.DENIED, "AccessDeniedException", (1, "CREATED")),
    ],
)
def test_what_a_client_sees_and_what_has_happened(
    hand: Hand, kind: FaultKind, seen: str, state: tuple[int, str]
) -> None:
    hand.set(kind=kind)
    assert (hand.update(), hand.state()) == (seen, state)
    (request,) = [entry for entry in hand.emulator.journal() if entry.kind == "request"]
    assert (request.action, request.fault, request.status is None) == (UPDATE, kind, seen == "dropped")


def test_an_update_can_be_repeated_after_a_transient_failure(hand: Hand) -> None:
    hand.set(kind=FaultKind.FAIL, times=1)
    assert (hand.update(), hand.state()) == ("UPDATING", (2, "UPDATE_FAILED"))
    assert (hand.update(2), hand.state()) == ("UPDATING", (3, "UPDATED"))


def test_an_image_set_that_hangs_stays_locked(hand: Hand) -> None:
    hand.set(kind=FaultKind.HANG, times=1)
    hand.update()
    hand.clock.advance(1e9)
    assert hand.update(2) == "ConflictException"


def test_a_slow_answer_comes_late(hand: Hand) -> None:
    hand.set(kind=FaultKind.SLOW, seconds=20)
    before = hand.clock.now()
    hand.update()
    assert hand.clock.now() == before + 20


def test_a_late_request_is_carried_out_once_its_connection_is_gone(hand: Hand) -> None:
    hand.set(kind=FaultKind.LATE, seconds=20, times=1)
    before = hand.clock.now()
    assert hand.update() == "dropped"
    while len(hand.emulator.journal()) < 4:  # CREATED, the drop, LOCKED, the late request
        time.sleep(0.001)
    drop, late = [entry for entry in hand.emulator.journal() if entry.kind == "request"]
    assert (drop.status, drop.version, drop.fault, drop.at) == (None, None, "late", before)
    assert (late.status, late.version, late.fault, late.at) == (200, 2, "late", before + 20)
    assert hand.state() == (2, "UPDATED")


def test_a_failure_of_another_writer_may_leave_no_version(make_service: Callable[..., Service]) -> None:
    service = make_service(failed_version="kept")
    one = service.add()
    service.world.write_as_another(service.world.image_set(DEFAULT_DATASTORE_ID, one), service.now, fails=True)
    properties = service.properties(one)
    assert (properties["versionId"], properties["imageSetWorkflowStatus"]) == ("1", "UPDATE_FAILED")
    assert properties["updatedAt"] == service.now


@pytest.mark.parametrize("under_way", [True, False])
def test_a_lagging_read_shows_the_version_before(hand: Hand, under_way: bool) -> None:
    hand.update()
    if not under_way:
        hand.clock.advance(1)
    hand.set(kind=FaultKind.LAGGING)
    names = {"datastoreId": DEFAULT_DATASTORE_ID, "imageSetId": hand.image_set_id}
    seen = hand.client.get_image_set(**names)
    assert (seen["versionId"], seen["imageSetState"]) == ("1", "ACTIVE")
    assert [one["versionId"] for one in hand.client.list_image_set_versions(**names)["imageSetPropertiesList"]] == ["1"]
    assert hand.client.get_image_set(versionId="2", **names)["versionId"] == "2"


def test_what_is_refused_for_its_credentials_does_not_come_late(hand: Hand) -> None:
    hand.set(kind=FaultKind.LATE, seconds=0.0)
    hand.set(kind=FaultKind.DENIED)
    assert hand.update() == "AccessDeniedException"
    time.sleep(0.01)
    assert hand.state() == (1, "CREATED")


def test_another_writer_leaves_content_of_its_own(hand: Hand) -> None:
    hand.set(kind=FaultKind.FOREIGN_BEFORE, times=1)
    hand.update()
    series = hand.emulator.do(
        lambda w: next(iter(w.image_set(DEFAULT_DATASTORE_ID, hand.image_set_id).latest.document.series.values()))
    )
    assert b"WRITTEN BY ANOTHER" in series.part


def test_quotas_step_at_their_time(hand: Hand) -> None:
    hand.set(kind=FaultKind.QUOTA, start=10, scale=0.25)
    hand.set(kind=FaultKind.QUOTA, start=100, scale=1000.0)
    assert (hand.update(), hand.state()[0]) == ("UPDATING", 2)
    hand.clock.advance(10)
    assert (hand.update(2), hand.state()[0]) == ("UPDATING", 3)
    assert hand.update(3) == "ThrottlingException"
    hand.clock.advance(100)
    assert (hand.update(3), hand.state()[0]) == ("UPDATING", 4)


def test_quotas_return_at_the_end_of_their_step(hand: Hand) -> None:
    hand.set(kind=FaultKind.QUOTA, start=10, end=100, scale=0.01)
    hand.clock.advance(10)
    assert (hand.update(), hand.state()[0]) == ("UPDATING", 2)
    hand.clock.advance(5)
    assert hand.update(2) == "ThrottlingException"
    hand.clock.advance(100)
    assert (hand.update(2), hand.state()[0]) == ("UPDATING", 3)
    hand.clock.advance(5)
    assert (hand.update(3), hand.state()[0]) == ("UPDATING", 4)


def test_a_skewed_clock_refuses_signatures_and_tells_its_time(client_of: Callable[..., Json]) -> None:
    # the client's clock is the machine's, so this emulator keeps to that too
    with serve(settings(), clock=None) as emulator:
        emulator.do(lambda _: emulator.server.faults.add([fault("clock-skew:seconds=3600")], now=time.time()))
        with pytest.raises(ClientError, match="InvalidSignatureException") as caught:
            client_of(emulator).list_datastores()
        date = caught.value.response["ResponseMetadata"]["HTTPHeaders"]["date"]
        told = time.mktime(time.strptime(date, "%a, %d %b %Y %H:%M:%S %Z"))
        assert abs(told - time.mktime(time.gmtime()) - 3600) < 60
        emulator.do(lambda _: emulator.server.faults.clear())
        emulator.do(lambda _: emulator.server.faults.add([fault("clock-skew:seconds=60")], now=time.time()))
        assert client_of(emulator).list_datastores()


class TestChoice:
    """Which requests a fault strikes."""

    def strikes(self, *faults: Fault, seed: int = 0, requests: int = 1000, of: str = "abcdefghij") -> list[int]:
        found = Faults(seed, faults, now=0.0)
        return [number for number in range(requests) if found.strike(UPDATE, of[number % len(of)], 0.0)]

    def test_the_same_seed_strikes_the_same_requests(self) -> None:
        one = Fault(kind=FaultKind.DROP_AFTER, rate=0.1)
        assert self.strikes(one, seed=1) == self.strikes(one, seed=1) != self.strikes(one, seed=2)

    def test_a_rate_is_a_share_of_the_requests(self) -> None:
        assert 70 < len(self.strikes(Fault(kind=FaultKind.SLOW, rate=0.1))) < 130

    def test_how_requests_of_different_image_sets_mix_does_not_matter(self) -> None:
        one = Fault(kind=FaultKind.SLOW, rate=0.5)
        first, second = Faults(7, [one], now=0.0), Faults(7, [one], now=0.0)
        apart = [bool(first.strike(UPDATE, name, 0.0)) for name in "ab" for _ in range(50)]
        mixed = [bool(second.strike(UPDATE, name, 0.0)) for _ in range(50) for name in "ab"]
        assert (apart[:50], apart[50:]) == (mixed[::2], mixed[1::2])

    def test_the_first_ones_can_be_spared_and_the_number_limited(self) -> None:
        assert self.strikes(Fault(kind=FaultKind.SLOW, skip=3, times=2)) == [3, 4]

    def test_one_image_set_or_one_action_can_be_meant(self) -> None:
        assert self.strikes(Fault(kind=FaultKind.SLOW, image_set_id="b"), requests=20) == [1, 11]
        assert self.strikes(Fault(kind=FaultKind.SLOW, action="GetImageSet"), requests=20) == []

    def test_the_requests_of_one_access_key_can_be_meant(self) -> None:
        found = Faults(0, [Fault(kind=FaultKind.EXPIRED, access_key="OLD")], now=0.0)
        assert [bool(found.strike(UPDATE, None, 0.0, key)) for key in ("OLD", "NEW", None)] == [True, False, False]

    def test_a_fault_has_its_time(self) -> None:
        found = Faults(0, [Fault(kind=FaultKind.SLOW, start=10, end=20)], now=100.0)
        assert [bool(found.strike(UPDATE, None, t)) for t in (100, 109.9, 110, 119.9, 120)] == [
            *(False, False),
            *(True, True),
            False,
        ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hang", Fault(kind=FaultKind.HANG)),
        ("drop-after:rate=0.05,times=3", Fault(kind=FaultKind.DROP_AFTER, rate=0.05, times=3)),
        ("slow:seconds=2,action=GetImageSet", Fault(kind=FaultKind.SLOW, seconds=2.0, action="GetImageSet")),
    ],
)
def test_a_fault_is_written_on_one_line(text: str, expected: Fault) -> None:
    assert fault(text) == expected


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("nothing", "drop-before"),
        ("slow:colour=red", "colour"),
        ("slow:rate=2", "rate"),
        ("slow:seconds=soon", "seconds"),
        ("slow:action=Update", "action"),
        ("quota:scale=0", "scale"),
    ],
)
def test_a_fault_that_makes_no_sense_is_told_by_name(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        fault(text)


def test_faults_survive_json() -> None:
    given: Json = {"kind": "slow", "rate": 0.5, "image_set_id": None, "times": 3}
    assert from_dict(given) == Fault(kind=FaultKind.SLOW, rate=0.5, times=3)


def test_a_study_wide_update_fails_for_all(hand: Hand) -> None:
    sibling = hand.emulator.add(document("2"))
    hand.set(kind=FaultKind.FAIL)
    hand.client.update_image_set_metadata(
        datastoreId=DEFAULT_DATASTORE_ID,
        imageSetId=sibling,
        latestVersionId="1",
        includeStudyImageSets=True,
        updateImageSetMetadataUpdates={
            "DICOMUpdates": {"updatableAttributes": json.dumps(in_study(StudyTime="12"))},
        },
    )
    assert hand.state() == (2, "UPDATE_FAILED")
