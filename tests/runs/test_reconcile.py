"""A run without its ledger: each call is compared with its image set, and what cannot be read stays unknown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.client.contract import UpdateRequest
from bulkedit.client.responses import Accepted, CallState, ImageSet
from bulkedit.emulator import DEFAULT_DATASTORE_ID, Fault, FaultKind
from bulkedit.runs import folder
from bulkedit.runs.ledger import Event, Ledger, Part
from bulkedit.runs.reconcile import Reconciled, reconcile
from bulkedit.runs.resume import UNKNOWN_REASON
from tests.emulator.hospital import document
from tests.runs.factories import planned, row
from tests.runs.killable import DirectClient, emulated, in_place
from tests.runs.virtual_time import run_virtual

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bulkedit.runs.ledger import Record

GET, METADATA, LIST = "GetImageSet", "GetImageSetMetadata", "ListImageSetVersions"
S = CallState


class LostLedger:
    """Image sets, a run of the given edits, and what is left of the run's ledger."""

    def __init__(self, path: Path, count: int = 1) -> None:
        self.server = emulated()
        self.path = path
        self.ids = [
            self.server.world.add_image_set(
                DEFAULT_DATASTORE_ID, document(study=f"1.2.{number}"), now=self.server.now(), primary=False
            )
            for number in range(count)
        ]
        self.events: dict[int, Event] = {}

    def begin(self, rows: list[dict[str, Any]], *, merge: bool = False, later: timedelta = timedelta(0)) -> None:
        """Make the folder of the run. ``later``: how long after the image sets were changed last."""
        plan = planned(self.path / "plan", DEFAULT_DATASTORE_ID, rows, merge=merge)
        now = datetime.fromtimestamp(self.server.now(), UTC) + later
        self.run = folder.create(self.path / "r", plan, {"connection": {}, "options": {}}, now)

    def send(self, image_set_id: str, **values: str) -> None:
        """Make one update, which completes; the ledger of the run does not have it."""
        levels: dict[str, Any] = {}
        for name, value in values.items():
            level = "Patient" if name.startswith("Patient") else "Study"
            levels.setdefault(level, {"DICOM": {}})["DICOM"][name] = value
        updatable = json.dumps({"SchemaVersion": 1.1, **levels})
        client = DirectClient(self.server)

        async def update() -> None:
            latest = await client.get_image_set(image_set_id)
            assert isinstance(latest, ImageSet)
            request = UpdateRequest(image_set_id=image_set_id, expected_version=latest.version, updatable=updatable)
            assert isinstance(await client.update(request), Accepted)

        run_virtual(update())
        self.server.wait(1.0)

    def trouble(self, **fields: Any) -> None:
        self.server.faults.add([Fault(**fields)], now=self.server.now())

    def keep(self, *records: Record) -> None:
        """Write rows that are left of the ledger."""
        with Ledger.create(self.run.ledger) as ledger:
            ledger.append(records)

    def reconcile(self) -> Reconciled:
        with in_place():
            found = run_virtual(reconcile(self.run, DirectClient(self.server), "10000/s"))
        with Ledger.read(self.run.ledger) as ledger:
            self.events = {event.call: event for event in ledger.intact_events()}
        return found

    def states(self) -> dict[int, CallState]:
        return {call: event.state for call, event in self.events.items()}


@pytest.fixture
def lost(tmp_path: Path) -> LostLedger:
    return LostLedger(tmp_path)


def numbers(found: Reconciled) -> dict[str, int]:
    return {name: count for name in Reconciled.__slots__ if name != "stamp" and (count := getattr(found, name))}


def edits(image_sets: Sequence[str]) -> list[dict[str, Any]]:
    return [row(one, "PatientName", "NEW") for one in image_sets]


REFUSED = {
    GET: "the image set cannot be read (ConflictException)",
    LIST: "its versions cannot be listed (ConflictException)",
    METADATA: "version 2 cannot be read (ConflictException)",
}


def test_if_a_read_is_refused_only_its_lane_is_unknown(tmp_path: Path) -> None:
    lost = LostLedger(tmp_path, len(REFUSED) + 1)
    lost.begin(edits(lost.ids))
    for image_set_id in lost.ids:
        lost.send(image_set_id, PatientName="NEW")
    for image_set_id, action in zip(lost.ids, REFUSED, strict=False):
        lost.trouble(kind=FaultKind.CONFLICT, action=action, image_set_id=image_set_id)
    assert numbers(lost.reconcile()) == {"unknown": 3, "made": 1}
    assert list(lost.states().values()) == [*[S.FAILED] * 3, S.APPLIED]
    told = [event.reason for event in lost.events.values()]
    assert told[:3] == [f"{UNKNOWN_REASON}: {reason}" for reason in REFUSED.values()]


def test_an_image_set_that_stays_locked_is_unknown(lost: LostLedger) -> None:
    lost.begin(edits(lost.ids))
    lost.trouble(kind=FaultKind.HANG)
    lost.send(lost.ids[0], PatientName="NEW")
    assert numbers(lost.reconcile()) == {"unknown": 1}
    assert lost.events[0].reason == f"{UNKNOWN_REASON}: the image set stays locked"


def test_calls_of_image_sets_that_are_gone_were_not_made(lost: LostLedger) -> None:
    lost.begin(edits([*lost.ids, "9" * 32]))
    run_virtual(DirectClient(lost.server).delete(lost.ids[0]))
    lost.server.wait(60.0)
    assert numbers(lost.reconcile()) == {"not_made": 2}
    assert lost.states() == {}


def test_a_version_from_before_the_run_is_none_of_its_versions(lost: LostLedger) -> None:
    """The image set had another value in between, so a version before the run looks like one of the call."""
    (one,) = lost.ids
    lost.send(one, PatientName="NEW")
    lost.send(one, PatientName="BETWEEN")
    lost.server.wait(3600.0)
    lost.begin([*edits(lost.ids), row(one, "StudyDescription", "B")])
    assert numbers(lost.reconcile()) == {"outcome_unknown": 1, "not_made": 1}
    assert lost.events[0].expected_version == 3
    lost.send(one, StudyDescription="B")
    (lost.path / "r/ledger.sqlite").unlink()
    assert numbers(lost.reconcile()) == {"overtaken": 1, "made": 1}


def test_what_was_there_before_the_run_was_not_made_by_it(lost: LostLedger) -> None:
    lost.send(lost.ids[0], PatientName="NEW")
    lost.begin(edits(lost.ids), later=timedelta(hours=1))
    assert numbers(lost.reconcile()) == {"outcome_unknown": 1}


def test_versions_of_calls_with_proof_are_not_compared_again(lost: LostLedger) -> None:
    """Both calls ask for the same, so the first version could be of either."""
    lost.begin(edits(lost.ids * 2))
    lost.keep(Event(at=1.0, call=0, state=S.APPLIED, expected_version=1, version=2))
    lost.send(lost.ids[0], PatientName="NEW")
    lost.send(lost.ids[0], StudyDescription="B")
    assert numbers(lost.reconcile()) == {"proven": 1, "already_there": 1}
    assert lost.events[1].version is None


def test_a_version_without_a_change_is_no_call_s(lost: LostLedger) -> None:
    lost.begin(edits(lost.ids * 2))
    lost.send(lost.ids[0], PatientName="NEW")
    lost.send(lost.ids[0], PatientName="NEW")
    assert numbers(lost.reconcile()) == {"made": 1, "already_there": 1}
    assert {call: event.version for call, event in lost.events.items()} == {0: 2, 1: None}


def test_what_another_writer_had_set_before_a_later_call_counts_as_applied(lost: LostLedger) -> None:
    (one,) = lost.ids
    lost.begin([*edits(lost.ids), row(one, "StudyDescription", "B")])
    lost.send(one, PatientName="NEW", PatientID="P")
    lost.send(one, StudyDescription="B")
    assert numbers(lost.reconcile()) == {"already_there": 1, "made": 1}
    assert {call: event.version for call, event in lost.events.items()} == {0: None, 1: 3}


def test_only_the_first_call_that_was_not_made_can_still_arrive(lost: LostLedger) -> None:
    (one,) = lost.ids
    lost.begin([*edits(lost.ids), row(one, "StudyDescription", "B")])
    lost.keep(Event(at=1.0, call=1, state=S.INTENDED, expected_version=1, attempts=3))
    assert numbers(lost.reconcile()) == {"outcome_unknown": 1, "not_made": 1}
    assert lost.states() == {0: S.OUTCOME_UNKNOWN, 1: S.PLANNED}
    assert lost.events[1].attempts == 3


def test_a_row_that_names_another_version_cannot_have_named_the_latest(lost: LostLedger) -> None:
    (one,) = lost.ids
    lost.begin([{**edits(lost.ids)[0], "version": 1}])
    lost.send(one, StudyDescription="B")
    assert numbers(lost.reconcile()) == {"not_made": 1}


def test_a_row_can_have_named_the_version_of_a_failed_update(lost: LostLedger) -> None:
    (one,) = lost.ids
    lost.begin([{**edits(lost.ids)[0], "version": 1}])
    lost.trouble(kind=FaultKind.FAIL)
    lost.send(one, StudyDescription="B")
    assert numbers(lost.reconcile()) == {"outcome_unknown": 1}
    assert lost.events[0].expected_version == 2


def test_a_call_of_several_edits_none_of_which_is_there_is_not_split(lost: LostLedger) -> None:
    (one,) = lost.ids
    several = [*edits(lost.ids), row(one, "PatientID", "P")]
    lost.begin(several, merge=True)
    lost.send(one, StudyDescription="B")
    assert numbers(lost.reconcile()) == {"outcome_unknown": 1}
    assert lost.states() == {0: S.OUTCOME_UNKNOWN}


def test_parts_count_only_if_every_edit_of_their_call_is_in_one(tmp_path: Path) -> None:
    lost = LostLedger(tmp_path, 4)
    names = "PatientName", "PatientID", "StudyDescription"
    lost.begin([row(one, name, "NEW") for one in lost.ids for name in names], merge=True)
    whole = Part(4, 0, [0]), Part(5, 0, [1, 2])
    one_lost = (Part(6, 1, [3]),)
    of_part = Part(7, 2, [6, 7]), Part(8, 2, [8]), Part(9, 7, [6]), Part(10, 7, [7])
    below_one_lost = Part(11, 3, [9]), Part(12, 3, [10]), Part(13, 11, [9])
    parts = [*whole, *one_lost, *of_part, *below_one_lost]
    split = [Event(at=1.0, call=call, state=S.SPLIT) for call in {part.parent for part in parts}]
    lost.keep(*parts, *split, *(Event(at=1.0, call=call, state=S.APPLIED) for call in (5, 6, 9, 13)))
    assert lost.reconcile().proven == 2
    assert {5, 9} <= {call for call, state in lost.states().items() if state is S.APPLIED}
