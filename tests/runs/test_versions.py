"""Which versions are the run's own survives failures, other writers and stops.

The outcome of each row, and each version of each image set, is the same whether a run was stopped and resumed or not.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit._json import object_in
from bulkedit.client.responses import CallState, ImageSet, ImageSetState
from bulkedit.emulator import DEFAULT_DATASTORE_ID, CompletionTime, Fault, FaultKind, profile
from bulkedit.emulator.state.document import parse
from bulkedit.errors import CredentialsError
from bulkedit.options.running import OnConflict, Strategy
from bulkedit.plans import PlannedCall
from bulkedit.runs import ledger_frames
from bulkedit.runs.ledger import Ledger
from bulkedit.runs.resume import resumption
from bulkedit.runs.versions import Versions
from tests.covering import short_and_long
from tests.emulator.hospital import document
from tests.runs.factories import PassThroughClient, planned, row
from tests.runs.journal_check import judge
from tests.runs.killable import COMPLETION_S, Emulated, Following, Kill, emulated, process

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit import plans
    from bulkedit.client.contract import Client, UpdateRequest
    from bulkedit.client.responses import Accepted, Lost, Refused
    from bulkedit.runs.engine import Engine

UPDATE, STUDY = "UpdateImageSetMetadata", "1.2.3"
SERIES, INSTANCE = f"{STUDY}.1", f"{STUDY}.1.2"


def failing(times: int = 1, skip: int = 0) -> Fault:
    return Fault(kind=FaultKind.FAIL, action=UPDATE, times=times, skip=skip)


def struck(kind: FaultKind, times: int = 1, skip: int = 0, **fields: Any) -> Fault:
    return Fault(kind=kind, action=UPDATE, times=times, skip=skip, **fields)


@dataclass(slots=True)
class Draining:
    """Asks for a stop when a number of updates has been sent."""

    left: int
    engine: Engine = field(init=False)

    def prepare(self, engine: Engine) -> None:
        self.engine = engine

    def wrap(self, client: Client) -> Client:
        draining = self

        class Counting(PassThroughClient):
            async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
                draining.left -= 1
                if draining.left == 0:
                    draining.engine.stop.drain()
                return await super().update(request)

        return Counting(client)


@dataclass(slots=True)
class Scene:
    """A run whose calls all are of one image set."""

    server: Emulated
    image_set_id: str
    folder: Path
    plan: plans.SavedPlan = field(init=False)

    @classmethod
    def of(
        cls, folder: Path, *rows: dict[str, Any], merge: bool = False, completion_s: float = COMPLETION_S, **rules: str
    ) -> Scene:
        server = emulated(profile=profile(**rules), completion_time=CompletionTime(seconds=completion_s))
        image_set_id = server.world.add_image_set(
            DEFAULT_DATASTORE_ID, document(study=STUDY), now=server.now(), primary=False
        )
        scene = cls(server, image_set_id, folder)
        scene.plan = planned(
            folder / "plan", DEFAULT_DATASTORE_ID, [row(image_set_id, **one) for one in rows], merge=merge
        )
        return scene

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.sqlite"

    def trouble(self, *faults: Fault) -> None:
        self.server.faults.add([replace(one, image_set_id=self.image_set_id) for one in faults], now=self.server.now())

    def stranger(self) -> None:
        image_set = self.server.world.image_set(DEFAULT_DATASTORE_ID, self.image_set_id)
        self.server.world.write_as_another(image_set, self.server.now())
        self.server.catch_up()

    def go(self, kill: Kill | None = None, **options: Any) -> list[str]:
        """One process of the run: where its calls are then."""
        process(self.server, self.plan, self.ledger, kill=kill, **options)
        self.server.wait(30)
        judge(self.server, self.plan, self.ledger)
        return self.states()

    def stop_after(self, updates: int, **options: Any) -> list[str]:
        """One process of the run that is told to stop when so many updates have been sent."""
        draining = Draining(updates)

        return self.go(wrap=draining.wrap, prepare=draining.prepare, **options)

    def again(self, strategy: Strategy = Strategy.FAILED, **options: Any) -> list[str]:
        with Ledger.open(self.ledger) as ledger:
            chosen = resumption(self.plan, ledger, strategy)
            ledger.append(chosen.events(ledger, self.server.now()))
        return self.go(sends_new=chosen.sends_new, **options)

    def rows(self) -> list[dict[str, Any]]:
        with Ledger.read(self.ledger) as ledger:
            return ledger_frames.states(ledger).to_dicts()

    def states(self) -> list[str]:
        return [row["state"] for row in self.rows()]

    def conflicts(self) -> list[int]:
        return [row["conflicts"] for row in self.rows()]

    def versions(self) -> list[str]:
        """Whether each version was updated or has failed."""
        image_set = self.server.world.image_set(DEFAULT_DATASTORE_ID, self.image_set_id)
        return [version.status for version in image_set.versions]

    def name(self) -> Any:
        image_set = self.server.world.image_set(DEFAULT_DATASTORE_ID, self.image_set_id)
        return object_in(parse(image_set.latest.document), "Patient", "DICOM").get("PatientName")


def name(value: str = "NEW^NAME", **fields: Any) -> dict[str, Any]:
    return {"attribute": "PatientName", "value": value, **fields}


def described(value: str = "NEW", **fields: Any) -> dict[str, Any]:
    return {"attribute": "StudyDescription", "value": value, **fields}


FORBIDDEN = {"attribute": "StudyID", "value": "needs force"}


# -- our own failed versions are no other writer's


def test_a_row_that_names_a_version_is_sent_again_after_its_own_failed_updates(tmp_path: Path) -> None:
    scene = Scene.of(tmp_path, name(version=1))
    scene.trouble(failing(times=2))
    assert scene.go(max_attempts=2) == ["failed"]
    assert scene.again() == ["applied"]
    assert scene.versions() == ["CREATED", "UPDATE_FAILED", "UPDATE_FAILED", "UPDATED"]
    assert scene.conflicts() == [0]


def test_a_rejected_row_that_names_a_version_is_rejected_again(tmp_path: Path) -> None:
    scene = Scene.of(tmp_path, {**FORBIDDEN, "version": 1})
    assert scene.go() == ["rejected"]
    assert scene.again() == ["rejected"]
    assert scene.conflicts() == [0]


@pytest.mark.parametrize("at", range(1, 12))
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_rows_of_versions_one_and_two_end_the_same_through_a_kill(tmp_path: Path, at: int, *, done: bool) -> None:
    scene = Scene.of(tmp_path, name(version=1), described(version=2))
    scene.trouble(failing())
    scene.go(Kill(at, done=done))
    assert scene.go() == ["applied", "applied"]
    assert scene.versions() == ["CREATED", "UPDATE_FAILED", "UPDATED", "UPDATED"]
    assert scene.conflicts() == [0, 0]


def test_an_undo_goes_on_after_a_failed_update_and_a_stop(tmp_path: Path) -> None:
    """Each of its calls names the version that the run has left."""
    scene = Scene.of(tmp_path, name("DOE^JANE", version=1), {"action": "revert", "revert_to": 1, "version": 2})
    scene.trouble(failing(skip=1))
    scene.stop_after(1)
    scene.go(Kill(3, done=True))
    assert scene.go() == ["applied", "applied"]


def test_a_stranger_between_our_failed_version_and_the_next_is_still_a_conflict(tmp_path: Path) -> None:
    scene = Scene.of(tmp_path, name(version=1))
    scene.trouble(failing(times=2))
    scene.go(max_attempts=2)
    scene.stranger()
    assert scene.again() == ["conflicted"]
    assert scene.name() == "DOE^JANE"


def test_versions_of_the_run_after_the_named_one_are_not_called_another_writers(tmp_path: Path) -> None:
    scene = Scene.of(tmp_path, name(version=2), FORBIDDEN, described())
    assert scene.go() == ["conflicted", "rejected", "applied"]
    assert scene.again()[0] == "conflicted"
    assert scene.rows()[0]["reason"] == "this run itself has made version 3, which is after the one that the row names"


# -- after a failed update only the version after its base is ours


@pytest.mark.parametrize("policy", OnConflict)
@pytest.mark.parametrize("version", [1, None], ids=["named", ""])
def test_a_strangers_version_right_after_our_failed_one_is_his(
    tmp_path: Path, policy: OnConflict, version: int | None
) -> None:
    scene = Scene.of(tmp_path, name(version=version), described())
    scene.trouble(failing(), struck(FaultKind.FOREIGN_AFTER))
    found = scene.go(on_conflict=policy)
    if policy is OnConflict.STOP:
        assert found == ["conflicted", "conflicted"]
    else:
        assert found == ["applied" if version is None else "conflicted", "applied"]
    assert scene.conflicts() == [1, 0]


def test_a_row_that_follows_a_failed_version_does_not_take_the_strangers_for_it(tmp_path: Path) -> None:
    scene = Scene.of(tmp_path, name(version=1), described(version=2))
    scene.trouble(failing(), struck(FaultKind.FOREIGN_AFTER))
    assert scene.go() == ["conflicted", "conflicted"]


def test_the_version_after_a_rejected_one_is_not_taken_for_ours(tmp_path: Path) -> None:
    scene = Scene.of(tmp_path, FORBIDDEN, name())
    scene.trouble(struck(FaultKind.FOREIGN_AFTER))
    assert scene.go(on_conflict=OnConflict.STOP) == ["rejected", "conflicted"]


# -- a stop changes nothing of it


@pytest.mark.parametrize("policy", OnConflict)
def test_another_writer_during_a_stop_is_counted_as_without_it(tmp_path: Path, policy: OnConflict) -> None:
    scene = Scene.of(tmp_path, name(), described())
    scene.stop_after(1)
    scene.stranger()
    expected = ["applied", "conflicted" if policy is OnConflict.STOP else "applied"]
    assert scene.go(on_conflict=policy) == expected
    assert scene.conflicts() == [0, 1]


def test_what_a_conflict_has_stopped_is_taken_up_again_on_the_version_that_is_there(tmp_path: Path) -> None:
    scene = Scene.of(tmp_path, name(), described())
    scene.stop_after(1)
    scene.stranger()
    assert scene.go(on_conflict=OnConflict.STOP) == ["applied", "conflicted"]
    assert scene.go(on_conflict=OnConflict.STOP) == ["applied", "conflicted"]
    assert scene.again(on_conflict=OnConflict.STOP) == ["applied", "applied"]


@pytest.mark.parametrize("kills", [(5,), (6, 1), (7, 2)])
def test_a_conflict_that_was_met_is_not_counted_again(tmp_path: Path, kills: tuple[int, ...]) -> None:
    scene = Scene.of(tmp_path, name(), described(), {"attribute": "AccessionNumber", "value": "A9"})
    scene.trouble(struck(FaultKind.FOREIGN_BEFORE, skip=1))
    for at in kills:
        scene.go(Kill(at, done=True))
    assert scene.go() == ["applied"] * 3
    assert sum(scene.conflicts()) == 1


def test_reads_that_are_behind_after_a_stop_make_no_other_writer(tmp_path: Path) -> None:
    scene = Scene.of(tmp_path, name(version=1), described(version=2))
    scene.stop_after(1)
    scene.trouble(Fault(kind=FaultKind.LAGGING, action="GetImageSet", times=1))
    assert scene.go(on_conflict=OnConflict.STOP) == ["applied", "applied"]


def test_a_service_that_gives_a_number_twice_is_known_as_such_after_a_stop(tmp_path: Path) -> None:
    scene = Scene.of(tmp_path, name(), described(), failed_version="kept")
    scene.trouble(failing())
    scene.stop_after(1)
    scene.trouble(failing(), struck(FaultKind.FOREIGN_AFTER))
    assert scene.go() == ["applied", "applied"]
    assert scene.conflicts() == [1, 0]


def test_a_request_that_was_refused_before_the_credentials_expired_left_no_failed_version(tmp_path: Path) -> None:
    scene = Scene.of(tmp_path, name(), described())
    scene.trouble(
        struck(FaultKind.FOREIGN_FAILED), Fault(kind=FaultKind.EXPIRED, action="GetImageSet", skip=1, times=1)
    )
    with pytest.raises(CredentialsError):
        scene.go()
    assert scene.go() == ["applied", "applied"]
    assert scene.conflicts() == [1, 0]


# -- a version is ours only if its whole document says so


@pytest.mark.parametrize("loss", [FaultKind.DROP_BEFORE, FaultKind.ERROR_BEFORE])
@pytest.mark.parametrize(
    "edit",
    [name("DOE^JANE"), {"attribute": "StudyDescription", "value": "CHEST"}],
    ids=["patient", "study"],
)
@pytest.mark.parametrize("policy", OnConflict)
def test_a_strangers_version_is_not_claimed_for_a_lost_request_that_would_change_nothing(
    tmp_path: Path, loss: FaultKind, edit: dict[str, Any], policy: OnConflict
) -> None:
    scene = Scene.of(tmp_path, edit)
    scene.trouble(struck(loss))
    follow = lambda client: Following(client, scene.server, {scene.image_set_id})  # noqa: E731
    assert scene.go(wrap=follow, on_conflict=policy) == ["applied" if policy is OnConflict.RETRY else "conflicted"]
    assert scene.conflicts() == [1]


def test_an_edit_that_held_already_is_applied_and_no_version_is_claimed(tmp_path: Path) -> None:
    scene = Scene.of(tmp_path, name("DOE^JANE"))
    scene.trouble(struck(FaultKind.DROP_AFTER))
    assert scene.go() == ["applied"]
    assert scene.versions() == ["CREATED", "UPDATED"]
    assert (scene.rows()[0]["version"], scene.conflicts()) == (None, [0])


# -- the value that a removal must name is learned only from a request that shows it


def removed(attribute: str, **fields: Any) -> dict[str, Any]:
    return {"attribute": attribute, "value": {}, "action": "remove", **fields}


ABSENT_BESIDE_A_SET = [removed("PatientComments"), name(), removed("StudyDescription", force=True)]
STORED_EMPTY = [{"attribute": "AccessionNumber", "value": ""}, removed("AccessionNumber"), removed("StudyDescription")]


@pytest.mark.parametrize(
    ("rows", "merge"), [(ABSENT_BESIDE_A_SET, True), (STORED_EMPTY, False)], ids=["absent", "stored empty"]
)
def test_a_request_that_is_the_same_with_both_values_teaches_none(
    tmp_path: Path, rows: list[dict[str, Any]], *, merge: bool
) -> None:
    scene = Scene.of(tmp_path, *rows, merge=merge, removal_match="empty")
    assert set(scene.go()) == {"applied"}


@pytest.mark.parametrize("at", range(8, 15))
def test_a_request_of_an_earlier_process_teaches_no_value_of_removals(tmp_path: Path, at: int) -> None:
    """The earlier process had learned the empty value, so it sent that at once."""
    rows = [removed(one) for one in ("StudyDescription", "AccessionNumber", "PatientName")]
    scene = Scene.of(tmp_path, *rows, removal_match="empty")
    scene.go(Kill(at, done=True))
    assert scene.go() == ["applied"] * 3


# -- a lost request that is carried out late, on a service that checks the content before the version


REMOVALS: dict[str, list[dict[str, Any]]] = {
    "removal": [{"attribute": "StudyDescription", "value": "CHEST", "action": "remove"}],
    "by the stored value": [{"attribute": "StudyDescription", "value": {}, "action": "remove"}],
    "instance": [{"action": "remove-instance", "series_uid": SERIES, "instance_uid": INSTANCE, "force": True}],
    "beside a set": [{"attribute": "StudyDescription", "value": "CHEST", "action": "remove"}, name()],
}
LATE: dict[str, list[Any]] = {
    "edits": list(REMOVALS),
    "seconds": [0.05, 0.1, 0.2, 0.5, 1.0, 3.0],
    "checked_first": ["version", "content"],
    "constraints": ["sync", "async"],
}


@pytest.mark.parametrize(tuple(LATE), short_and_long(LATE))
def test_a_late_request_is_not_told_rejected(
    tmp_path: Path, edits: str, seconds: float, checked_first: str, constraints: str
) -> None:
    rules = {"checked_first": checked_first, "constraints": constraints}
    # its twin finds it done, not under way
    scene = Scene.of(tmp_path, *REMOVALS[edits], merge=True, completion_s=0.01, **rules)
    scene.trouble(struck(FaultKind.LATE, seconds=seconds))
    assert scene.go() == ["applied"]
    assert scene.versions() == ["CREATED", "UPDATED"]


@pytest.mark.parametrize("checked", ["version", "content"])
def test_another_writer_who_makes_a_request_invalid_is_told_from_an_invalid_request(
    tmp_path: Path, checked: str
) -> None:
    """The value to remove is read, another writer removes it, and the request comes."""
    scene = Scene.of(tmp_path, FORBIDDEN, name(), checked_first=checked, constraints="sync")
    scene.trouble(struck(FaultKind.FOREIGN_BEFORE))
    assert scene.go() == ["rejected", "applied"]
    assert scene.conflicts() == [1, 0]


# -- the fold


def seen(version: int, *, primary: bool | None = None) -> ImageSet:
    return ImageSet(image_set_id="a", version=version, state=ImageSetState.ACTIVE, status="UPDATED", primary=primary)


Told = tuple[str, int | None, int | None]  # state, expected_version, version


def call_of(image_set_id: str = "a", *, study_wide: bool = False, copy_step: str | None = None) -> PlannedCall:
    return PlannedCall(0, 0, image_set_id, None, None, None, None, False, study_wide, False, 1, 1, 1, copy_step)


def fold(*told: Told, call: PlannedCall | None = None) -> Versions:
    versions = Versions()
    for state, expected_version, version in told:
        versions.take(call or call_of(), CallState(state), expected_version, version)
    return versions


FAILED_ONCE: list[Told] = [("intended", 1, None), ("planned", 1, 2)]
MADE_THEN: list[Told] = [*FAILED_ONCE, ("intended", 2, None), ("applied", 2, 3)]


@pytest.mark.parametrize(
    ("told", "found", "named"),
    [
        ([], 4, {4}),
        ([("intended", 1, None), ("applied", 1, 2)], 2, {2}),
        (FAILED_ONCE, 2, {1, 2}),
        (MADE_THEN, 3, {2, 3}),
        (MADE_THEN, 4, {4}),
        ([("intended", 1, None), ("rejected", 1, 2)], 2, {1, 2}),
        ([("intended", 1, None), ("planned", 1, 1)], 1, {1}),
        ([("intended", 1, None), ("planned", 1, 1)], 2, {2}),
        ([("intended", 1, None), ("applied", 1, None)], 2, {2}),
    ],
    ids=[
        "untouched",
        "applied",
        "failed",
        "failed, then applied",
        "another writer after that",
        "rejected by a failed update",
        "failed and left no version",
        "another writer took that number",
        "applied without a claim",
    ],
)
def test_failed_versions_of_ours_move_what_rows_name_and_nothing_else_does(
    told: list[Told], found: int, named: set[int]
) -> None:
    assert {version for version in range(7) if fold(*told).is_named(call_of(), version, seen(found))} == named


def test_the_version_that_a_rejected_call_has_left_is_one_that_other_rows_can_name() -> None:
    versions, other = fold(("intended", 1, None), ("rejected", 1, 2)), replace(call_of(), call=1)
    assert [version for version in range(7) if versions.is_named(other, version, seen(2))] == [2]


@pytest.mark.parametrize(
    ("told", "followed"),
    [
        ([], None),
        (FAILED_ONCE, 2),
        (MADE_THEN, 3),
        ([("skipped", 4, None)], 4),
        ([*MADE_THEN, ("planned", 5, None)], 5),
        ([*MADE_THEN, ("planned", None, None)], None),
        ([*MADE_THEN, ("conflicted", 5, None)], 5),
    ],
    ids=["nothing", "failed", "applied", "nothing to remove", "rebased", "sent again by a resume", "conflicted"],
)
def test_the_next_call_follows_what_was_made_or_named_last(told: list[Told], followed: int | None) -> None:
    versions = fold(*told)
    assert versions.followed("a") == followed
    if followed is not None:
        assert not versions.others_since(followed, seen(followed))
        assert versions.others_since(followed, seen(followed + 1))


def test_a_look_is_behind_if_it_shows_less_than_was_named_or_made() -> None:
    versions = fold(*MADE_THEN)
    assert [versions.is_behind(seen(version)) for version in (1, 2, 3, 4)] == [True, True, False, False]
    assert fold(*MADE_THEN, ("planned", 5, None)).is_behind(seen(4))


@pytest.mark.parametrize("primary", [True, None, False])
def test_a_call_of_the_whole_study_makes_one_version_of_each_primary_image_set(*, primary: bool | None) -> None:
    versions = fold(("applied", 1, 2))
    versions.take(call_of("b", study_wide=True), CallState.APPLIED, 7, 8)
    assert versions.others_since(2, seen(3, primary=primary)) is (primary is False)
    assert versions.others_since(2, seen(4, primary=primary))
    versions.take(call_of(), CallState.INTENDED, 3, None)
    assert versions.others_since(3, seen(4, primary=primary))
    assert not versions.is_named(call_of(), 2, seen(3))


WIDE = call_of("b", study_wide=True)
CONFLICTED_BEFORE: list[Told] = [("conflicted", 1, None), ("planned", None, None)]  # the row names a later version
BY_SIBLINGS: list[Told] = [
    ("planned", 1, 2),  # failed and sent again
    ("applied", 2, 3),
    ("rejected", 3, 4),
]


def with_siblings(first: list[Told], then: list[Told] = BY_SIBLINGS, *last: Told) -> Versions:
    """Events of an image set, then those of study-wide calls that name another one."""
    versions = fold(*first)
    for of, told in ((replace(WIDE, call=7), then), (replace(call_of(), version=3), last)):
        for state, expected_version, version in told:
            versions.take(of, CallState(state), expected_version, version)
    return versions


def named_in(versions: Versions, found: ImageSet) -> set[int]:
    return {version for version in range(9) if versions.is_named(call_of(), version, found)}


@pytest.mark.parametrize("primary", [True, None])
def test_failed_versions_by_calls_of_the_whole_study_move_what_rows_of_siblings_name(*, primary: bool | None) -> None:
    assert named_in(with_siblings(CONFLICTED_BEFORE), seen(4, primary=primary)) == {3, 4}


@pytest.mark.parametrize(
    ("versions", "found"),
    [
        (with_siblings(CONFLICTED_BEFORE), seen(5)),
        (with_siblings(CONFLICTED_BEFORE), seen(3)),
        (with_siblings(CONFLICTED_BEFORE), seen(4, primary=False)),
        (with_siblings([]), seen(4)),
    ],
    ids=["a version of another", "a read that is behind", "not primary", "never seen before"],
)
def test_versions_that_study_wide_calls_may_not_have_made_move_nothing(versions: Versions, found: ImageSet) -> None:
    assert named_in(versions, found) == {found.version}


@pytest.mark.parametrize("first", [CONFLICTED_BEFORE, CONFLICTED_BEFORE[:1]], ids=["resumed", ""])
def test_what_siblings_have_left_is_known_after_the_next_request(first: list[Told]) -> None:
    versions = with_siblings(first, BY_SIBLINGS, ("intended", 4, None), ("planned", 4, 5))
    assert named_in(versions, seen(5)) == {3, 4, 5}


def test_a_failed_call_of_the_study_that_uses_no_version_leaves_none_in_siblings() -> None:
    versions = with_siblings([("applied", 1, 2)], [("planned", 7, 7)])
    assert versions.others_since(2, seen(3))


def test_versions_of_the_run_after_the_named_one_are_told_from_others() -> None:
    versions = with_siblings(CONFLICTED_BEFORE)
    assert [versions.is_passed_by_own(named, seen(4)) for named in range(6)] == [False, True, True, True, False, False]
    assert not versions.is_passed_by_own(2, seen(5))
    own = fold(("intended", 1, None), ("rejected", 1, 2))
    assert [own.is_passed_by_own(named, seen(2)) for named in (0, 1, 2)] == [False, True, False]


def test_image_sets_of_a_study_may_differ_once_one_of_them_was_reverted() -> None:
    versions = fold(*MADE_THEN)
    assert not versions.may_differ("b")
    versions.take(replace(call_of(), revert_to=1), CallState.APPLIED, 3, 4)
    assert (versions.may_differ("b"), versions.may_differ("a")) == (True, False)


def test_a_copy_makes_no_version_of_its_source() -> None:
    assert fold(("applied", 1, 1), call=call_of(copy_step="copy")).followed("a") is None
    assert fold(("applied", 1, 2), call=call_of(copy_step="edit")).followed("a") == 2


def test_a_version_far_away_is_counted_without_counting_up_to_it() -> None:
    versions = fold(*MADE_THEN)
    assert versions.others_since(3, seen(2**32 - 1))
    assert not versions.is_named(call_of(), 3, seen(2**32 - 1))
    versions.take(call_of(), CallState.INTENDED, 2**32 - 1, None)
