"""Every order of a few troubles, each state once, with the real code of the lane, of its history and of the resume.

What is explored, and what must hold, is in docs/architecture.md. Wider: `python -m tests.runs.model --help`.
"""

from __future__ import annotations

from itertools import cycle

import pytest

from bulkedit.client.responses import CallState
from bulkedit.options.running import OnConflict
from bulkedit.runs.transitions import CALLS, CallAction, CallEvent
from bulkedit.runs.versions import Versions
from tests.runs.model import cases
from tests.runs.model.explore import Found, checked, replay
from tests.runs.model.invariants import outcomes
from tests.runs.model.service import Switches
from tests.runs.model.state import Scope

ONE = Scope(faults=1, writes=1, stops=1, again=1, troubles=1)
TWO = Scope(faults=2, writes=1, stops=2, again=1, troubles=2)
THREE = Scope(faults=2, writes=1, stops=2, again=1, troubles=3)
ALL = Scope(faults=2, writes=1, stops=2)


def _explored(name: str, switches: Switches, policy: OnConflict, scope: Scope) -> Found:
    case = cases.case(name, switches, policy)
    found = checked(case, scope)
    print(f"{name}: {found.line()}")
    assert not found.wrong, found.told()
    return found


# each list, with the next policy and the next combination of switches
IN_TURN = list(zip(cases.NAMES, cycle(OnConflict), cycle(cases.COVERING), strict=False))
# of each kind of list the one with the fewest states: sets, rows that name versions, removals, refusals, merged calls
SMALL = {"two sets", "both name the first", "two removals", "a bad one last", "merged"}
FEW_STATES = [one for one in IN_TURN if one[0] in SMALL]


@pytest.mark.parametrize(("name", "policy", "switches"), IN_TURN, ids=lambda value: str(value)[:30])
def test_one_trouble_at_any_point(name: str, policy: OnConflict, switches: Switches) -> None:
    assert _explored(name, switches, policy, ONE).states > 100


@pytest.mark.parametrize(("name", "policy", "switches"), FEW_STATES, ids=lambda value: str(value)[:30])
def test_two_troubles_in_any_order(name: str, policy: OnConflict, switches: Switches) -> None:
    assert _explored(name, switches, policy, TWO).states > 1_000


@pytest.mark.slow
@pytest.mark.parametrize(("name", "policy", "switches"), IN_TURN, ids=lambda value: str(value)[:30])
def test_two_troubles_in_any_order_of_each_list(name: str, policy: OnConflict, switches: Switches) -> None:
    _explored(name, switches, policy, TWO)


@pytest.mark.slow
@pytest.mark.parametrize("switches", cases.COVERING, ids=str)
@pytest.mark.parametrize("policy", OnConflict)
@pytest.mark.parametrize("name", cases.NAMES)
def test_two_troubles_in_any_order_whatever_the_service(name: str, policy: OnConflict, switches: Switches) -> None:
    _explored(name, switches, policy, TWO)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "policy", "switches"), IN_TURN, ids=lambda value: str(value)[:30])
def test_three_troubles_in_any_order(name: str, policy: OnConflict, switches: Switches) -> None:
    _explored(name, switches, policy, THREE)


@pytest.mark.slow
def test_two_faults_another_writer_and_two_stops_in_any_order() -> None:
    _explored("two sets", Switches(), OnConflict.RETRY, ALL)


# what explorations have found wrong, as the shortest script

REPLAYED = [
    ("two sets", "retry", {}, "lose|write 0 both|answer|answer"),
    ("what holds already", "retry", {}, "lose|write 0 else|answer|answer"),
    ("two sets", "retry", {}, "answer|complete 0|answer|kill 2|resume new|lag"),
    ("named one after the other", "retry", {}, "fail by-service|complete 0|answer|answer|complete 0|kill 1|resume new"),
    ("two removals", "retry", {}, "answer|unknown|answer|kill sending|resume failed|answer|answer|answer|complete 0"),
    ("two sets", "retry", {}, "write 0 else|answer|answer|kill 1|resume new|lag"),
    (
        "two sets",
        "retry",
        {"failed": "kept"},
        "kill sending|resume new|answer|fail by-service|complete 0|answer|arrive 0",
    ),
    ("named and not", "retry", {"failed": "kept"}, "lose|answer|fail by-service|complete 0|answer|arrive 0"),
    (
        "removal and set",
        "retry",
        {"failed": "kept"},
        "answer|lose|answer|fail by-service|complete 0|answer|answer|arrive 0",
    ),
    ("two sets", "retry", {}, "unknown|kill sending|resume failed|answer|arrive 0|complete 0"),
    ("two sets", "stop", {}, "unknown|kill sending|resume failed|answer|arrive 0|complete 0"),
    ("two sets", "retry", {}, "unknown|kill sending|resume failed|answer|answer|complete 0"),
    ("one place twice", "retry", {}, "unknown|answer|complete 0|kill 1|resume failed"),
]


@pytest.mark.parametrize(("name", "policy", "switches", "script"), REPLAYED)
def test_what_was_wrong_once(name: str, policy: str, switches: dict[str, str], script: str) -> None:
    case = cases.case(name, Switches(**switches), OnConflict(policy))
    replay(case, ["resume new", "answer", *script.split("|")])


@pytest.mark.parametrize(
    "script",
    [
        "answer|answer|complete 0|kill 1",
        "answer|answer|complete 0|answer|drain|withdraw",
        "answer|answer|complete 0|answer|kill 3",
    ],
)
def test_a_stop_does_not_keep_a_removal_from_its_second_try(script: str) -> None:
    case = cases.case("removal and set", Switches(removal="empty"))
    state = replay(case, ["resume new", "answer", *script.split("|")])
    assert outcomes(state) == [(CallState.APPLIED, 3, 0), (CallState.APPLIED, 4, 0)]


# the check itself: a lane with a defect is found out


def _finds(name: str, scope: Scope, switches: Switches | None = None) -> str:
    return checked(cases.case(name, switches), scope).told()


def test_a_call_that_is_made_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        CALLS.rows, (CallState.OUTCOME_UNKNOWN, CallEvent.REACHED), (CallState.PLANNED, CallAction.START_NOW)
    )
    assert "carried out 2 times" in _finds("two sets", Scope(faults=1))


def test_a_version_that_is_not_ours_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        CALLS.rows, (CallState.OUTCOME_UNKNOWN, CallEvent.REACHED), (CallState.APPLIED, CallAction.CLAIM)
    )
    assert "its versions are []" in _finds("two sets", Scope(faults=1, writes=1))


def test_an_outcome_that_is_not_true_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        CALLS.rows, (CallState.OUTCOME_UNKNOWN, CallEvent.INVALID), (CallState.REJECTED, CallAction.COMPLETE)
    )
    switches = Switches(checks="content-first")
    assert "it was carried out" in _finds("removal and set", Scope(faults=1), switches)


def test_a_run_that_does_not_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        CALLS.rows,
        (CallState.OUTCOME_UNKNOWN, CallEvent.AT_EXPECTED),
        (CallState.OUTCOME_UNKNOWN, CallAction.POLL_LATER),
    )
    assert "does not end" in _finds("two sets", Scope(faults=1))


def test_a_pair_that_the_table_does_not_have_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(CALLS.rows, (CallState.OUTCOME_UNKNOWN, CallEvent.PASSED))
    assert "cannot meet" in _finds("two sets", Scope(faults=1, writes=1))


def test_what_a_resume_forgets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writer between two calls is no conflict to a process that does not know the first."""
    monkeypatch.setattr("bulkedit.runs.history.History.versions_of", lambda _self, _lane: Versions())
    assert "no run without stops ends so" in _finds("two sets", Scope(writes=1, stops=1))
