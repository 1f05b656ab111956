"""What a resume takes up: the truth table of the strategies, and that nothing applied is done again or undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.client.responses import CallState, Outcome
from bulkedit.emulator import DEFAULT_DATASTORE_ID, Fault, FaultKind
from bulkedit.options.running import OnConflict, Strategy
from bulkedit.runs import ledger_frames
from bulkedit.runs.ledger import Event, Ledger, Part
from bulkedit.runs.resume import resumption
from tests.emulator.hospital import document
from tests.runs.factories import planned, row
from tests.runs.journal_check import judge
from tests.runs.killable import emulated, process

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.plans import SavedPlan

S = CallState
IDS = [f"{number:032d}" for number in range(12)]


def plan_of(folder: Path, rows: list[dict[str, Any]], *, merge: bool = True) -> SavedPlan:
    return planned(folder / "plan", DEFAULT_DATASTORE_ID, rows, merge=merge)


@pytest.fixture
def one_each(tmp_path: Path) -> SavedPlan:
    """Twelve calls, in the order of their image sets."""
    return plan_of(tmp_path, [row(one, "PatientName", "X") for one in IDS])


def ledger_of(folder: Path, states: dict[int, CallState], parts: list[Part] | None = None) -> Ledger:
    ledger = Ledger.create(folder / "ledger.sqlite")
    ledger.append([*(parts or []), *(Event(at=0.0, call=call, state=where) for call, where in states.items())])
    return ledger


STATES = dict(
    enumerate(
        [S.PLANNED, S.INTENDED, S.OUTCOME_UNKNOWN, S.ACCEPTED, S.APPLIED, S.SKIPPED, S.REJECTED, S.CONFLICTED, S.FAILED]
    )
)  # and three that were never begun


@pytest.mark.parametrize(
    ("strategy", "again", "sends_new"),
    [(Strategy.NEW, (), True), (Strategy.FAILED, (6, 7, 8), False), (Strategy.ALL, (6, 7, 8), True)],
)
def test_which_calls_each_strategy_takes_up(
    tmp_path: Path, one_each: SavedPlan, strategy: Strategy, again: tuple[int, ...], sends_new: bool
) -> None:
    with ledger_of(tmp_path, STATES) as ledger:
        found = resumption(one_each, ledger, strategy)
    assert (found.outcome_unknown, found.again, found.new, found.sends_new) == (3, again, 4, sends_new)
    assert (found.completed, found.overtaken) == (5 - len(again), 0)


def test_parts_of_split_calls_are_counted_and_their_parent_is_not(tmp_path: Path, one_each: SavedPlan) -> None:
    parts = [Part(12, 0, [0]), Part(13, 0, [1]), Part(14, 12, [0]), Part(15, 12, [2])]
    states = {0: S.SPLIT, 12: S.SPLIT, 13: S.APPLIED, 14: S.REJECTED}
    with ledger_of(tmp_path, states, parts) as ledger:
        found = resumption(one_each, ledger, Strategy.ALL)
    assert (found.again, found.new, found.completed) == ((14,), 12, 1)


SET, REMOVE = row(IDS[0], "StudyDescription", "A"), row(IDS[0], "StudyDescription", {}, action="remove")
OTHER = row(IDS[0], "PatientName", "B")
REVERT = row(IDS[0], action="revert", revert_to=1)
ELSEWHERE = row(IDS[1], "StudyDescription", "A")


def inside(attribute: str, value: str = "A", *uids: str, image_set_id: str = IDS[0]) -> dict[str, Any]:
    """An edit of a series, or of an instance if both UIDs are given."""
    return row(image_set_id, attribute, value, force=True, **_place(uids))


def removal(*uids: str, image_set_id: str = IDS[0]) -> dict[str, Any]:
    action = "remove-instance" if len(uids) > 1 else "remove-series"
    level = "Instance" if len(uids) > 1 else "Series"
    return row(image_set_id, action=action, level=level, force=True, **_place(uids))


def _place(uids: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(("series_uid", "instance_uid"), uids, strict=False))


SERIES, INSTANCE = ("1.1",), ("1.1", "1.1.1")
SAME_SERIES, OTHER_SERIES = ("1.1", "1.1.2"), ("1.2", "1.2.1")
NEW_UIDS = inside("SOPInstanceUID", "9.1", *INSTANCE)
NEW_SERIES = inside("SeriesInstanceUID", "9", *SERIES)


@pytest.mark.parametrize(
    ("failed", "applied", "again"),
    [
        (removal(*INSTANCE), SET, True),
        (removal(*INSTANCE), inside("Modality", "MR", *SERIES), True),
        (removal(*INSTANCE), inside("KVP", "80", *SAME_SERIES), True),
        (removal(*INSTANCE), removal(*SAME_SERIES), True),
        (removal(*INSTANCE), removal("1.2"), True),
        (removal(*INSTANCE), removal(*INSTANCE, image_set_id=IDS[1]), True),
        (removal(*INSTANCE), removal(*SERIES), False),
        (removal(*INSTANCE), REVERT, False),
        (removal(*SERIES), SET, True),
        (removal(*SERIES), inside("KVP", "80", *OTHER_SERIES), True),
        (removal(*SERIES), removal(*OTHER_SERIES), True),
        (removal(*SERIES), removal("1.2"), True),
        (removal(*SERIES), REVERT, False),
        (SET, removal(*INSTANCE), True),
        (SET, removal(*SERIES), True),
        (inside("Modality", "MR", *SERIES), removal(*INSTANCE), True),
        (inside("Modality", "MR", *SERIES), removal(*SERIES), False),
        (inside("KVP", "80", *INSTANCE), removal(*INSTANCE), False),
        (inside("KVP", "80", *INSTANCE), removal(*SAME_SERIES), True),
        (inside("KVP", "80", *INSTANCE), removal(*SERIES), False),
        (inside("KVP", "80", *INSTANCE), removal("1.2"), True),
        (REVERT, removal(*INSTANCE), False),
        (REVERT, removal(*SERIES), False),
    ],
)
def test_a_removal_concerns_what_it_removes_and_a_revert_concerns_all(
    tmp_path: Path, failed: dict[str, Any], applied: dict[str, Any], again: bool
) -> None:
    assert is_sent_again(tmp_path, failed, applied) == again


@pytest.mark.parametrize(
    ("failed", "applied", "again"),
    [
        (inside("KVP", "80", *INSTANCE), NEW_UIDS, False),
        (removal("1.1", "9.1"), NEW_UIDS, False),
        (removal("9"), NEW_SERIES, False),
        (removal(*SAME_SERIES), NEW_UIDS, True),
        (inside("Modality", "MR", *SERIES), NEW_UIDS, True),
        (NEW_UIDS, inside("SOPInstanceUID", "9.2", *SAME_SERIES), True),
        (NEW_UIDS, inside("SOPInstanceUID", "1.1.1", *SAME_SERIES), False),
        (inside("KVP", "80", *INSTANCE), NEW_SERIES, False),
        (removal(*INSTANCE), NEW_SERIES, False),
        (removal("9", "9.1"), NEW_SERIES, False),
        (removal(*OTHER_SERIES), NEW_SERIES, True),
        (SET, NEW_SERIES, True),
    ],
)
def test_a_new_uid_concerns_all_under_the_old_and_the_new(
    tmp_path: Path, failed: dict[str, Any], applied: dict[str, Any], again: bool
) -> None:
    """The old name may be another instance's by now, so a removal of it would remove that one."""
    assert is_sent_again(tmp_path, failed, applied) == again


def test_a_failed_new_uid_is_overtaken_by_edits_under_it(tmp_path: Path) -> None:
    """Edits under the old UID are planned before it."""
    assert not is_sent_again(tmp_path, NEW_UIDS, inside("KVP", "80", "1.1", "9.1"))


def is_sent_again(folder: Path, failed: dict[str, Any], applied: dict[str, Any]) -> bool:
    """Whether a failed call is taken up again that stands before an applied one in the plan."""
    plan = plan_of(folder, [failed, applied], merge=False)
    assert plan.edits().select("row").collect().get_column("row").to_list() == [2, 3]
    with ledger_of(folder, {0: S.FAILED, 1: S.APPLIED}) as ledger:
        return resumption(plan, ledger, Strategy.FAILED).again == (0,)


@pytest.mark.parametrize(
    ("failed", "applied", "again"),
    [
        (SET, OTHER, True),
        (SET, ELSEWHERE, True),
        (SET, SET, False),
        (SET, REMOVE, False),
        (REMOVE, SET, False),
        (SET, REVERT, False),
        (REVERT, OTHER, False),
        (REVERT, ELSEWHERE, True),
    ],
)
def test_a_call_whose_place_was_changed_since_is_left_alone(
    tmp_path: Path, failed: dict[str, Any], applied: dict[str, Any], again: bool
) -> None:
    plan = plan_of(tmp_path, [failed, applied], merge=False)
    with ledger_of(tmp_path, {0: S.FAILED, 1: S.APPLIED}) as ledger:
        found = resumption(plan, ledger, Strategy.FAILED)
    assert (bool(found.again), found.overtaken) == (again, 1 - again)


@pytest.mark.parametrize("earlier", [SET, REVERT], ids=["set", "revert"])
def test_what_was_applied_before_a_failed_call_is_in_nobodys_way(tmp_path: Path, earlier: dict[str, Any]) -> None:
    plan = plan_of(tmp_path, [earlier, SET], merge=False)
    with ledger_of(tmp_path, {0: S.APPLIED, 1: S.FAILED}) as ledger:
        found = resumption(plan, ledger, Strategy.FAILED)
    assert found.again == (1,)


def test_failed_calls_are_made_on_a_resume_and_all_others_are_left(tmp_path: Path) -> None:
    """Rejected by a service that refuses, given up after faults, conflicted under --on-conflict stop."""
    server = emulated()
    ids = [
        server.world.add_image_set(
            DEFAULT_DATASTORE_ID, document(study=f"1.2.{number}"), now=server.now(), primary=False
        )
        for number in range(6)
    ]
    plan = plan_of(tmp_path, [row(one, "PatientName", "X") for one in ids])
    ledger = tmp_path / "ledger.sqlite"
    troubles = {0: FaultKind.FAIL, 1: FaultKind.FOREIGN_BEFORE, 2: FaultKind.FOREIGN_BEFORE}
    faults = [Fault(kind=kind, action="UpdateImageSetMetadata", image_set_id=ids[n]) for n, kind in troubles.items()]
    server.faults.add(faults, now=server.now())
    process(server, plan, ledger, max_attempts=2, on_conflict=OnConflict.STOP)
    assert judge(server, plan, ledger).outcomes == {Outcome.APPLIED: 3, Outcome.FAILED: 1, Outcome.CONFLICTED: 2}

    server.faults.clear()
    with Ledger.open(ledger) as opened:
        found = resumption(plan, opened, Strategy.FAILED)
        opened.append(found.events(opened, server.now()))
    before = judge(server, plan, ledger)
    process(server, plan, ledger, sends_new=False)
    after = judge(server, plan, ledger)
    assert after.outcomes == {Outcome.APPLIED: 6}
    assert after.requests - before.requests == 3
    with Ledger.read(ledger) as read:
        assert ledger_frames.states(read)["attempts"].to_list() == [3, 2, 2, 1, 1, 1]


def test_the_failed_strategy_leaves_what_was_never_begun(tmp_path: Path) -> None:
    server = emulated()
    ids = [
        server.world.add_image_set(
            DEFAULT_DATASTORE_ID, document(study=f"1.2.{number}"), now=server.now(), primary=False
        )
        for number in range(3)
    ]
    plan = plan_of(tmp_path, [row(one, "PatientName", "X") for one in ids])
    call_of = dict(plan.calls().select("image_set_id", "call").collect().iter_rows())
    with ledger_of(tmp_path, {call_of[ids[1]]: S.PLANNED}):
        pass
    process(server, plan, tmp_path / "ledger.sqlite", sends_new=False)
    sheet = judge(server, plan, tmp_path / "ledger.sqlite")
    assert (sheet.outcomes[Outcome.APPLIED], sheet.outcomes[Outcome.UNPROCESSED]) == (1, 2)


def test_calls_in_doubt_come_first(tmp_path: Path) -> None:
    server = emulated()
    ids = [
        server.world.add_image_set(
            DEFAULT_DATASTORE_ID, document(study=f"1.2.{number}"), now=server.now(), primary=False
        )
        for number in range(40)
    ]
    plan = plan_of(tmp_path, [row(one, "PatientName", "X") for one in ids])
    (last,) = [call.image_set_id for lane in plan.lanes_with({39}) for call in lane.calls]
    with Ledger.create(tmp_path / "ledger.sqlite") as ledger:
        ledger.append([Event(at=0.0, call=39, state=S.INTENDED, expected_version=1, attempts=1)])
    process(server, plan, tmp_path / "ledger.sqlite", workers=1)
    asked = [entry.image_set_id for entry in server.journal.since() if entry.kind == "request"]
    assert asked[0] == last
    assert judge(server, plan, tmp_path / "ledger.sqlite").outcomes == {Outcome.APPLIED: 40}
