"""The tables of what happens next to calls, copies and deletions, and the machine that follows them."""

from __future__ import annotations

import ast
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bulkedit.client.responses import Accepted, CallState, ImageSet, ImageSetState, Lost, Refusal, Refused
from bulkedit.runs import transitions
from bulkedit.runs.copy_transitions import COPIES, DELETIONS, of_changed, of_made
from bulkedit.runs.transitions import CALLS, OPEN, A, CallAction, CallEvent, E, Machine, S, TransitionTable

TABLES = [CALLS, COPIES, DELETIONS]
SENT = (S.INTENDED, S.OUTCOME_UNKNOWN)
RUNS = Path(transitions.__file__).parent
# what a function makes other events of before the table is asked
REFINED = {E.INVALID_AT_EXPECTED}


def image_set(
    version: int,
    state: ImageSetState = ImageSetState.ACTIVE,
    status: str = "UPDATED",
    message: str = "",
    updated_at: float = 0.0,
) -> ImageSet:
    return ImageSet(
        image_set_id="0" * 32, version=version, state=state, status=status, full_message=message, updated_at=updated_at
    )


def takes(state: CallState, event: CallEvent, table: TransitionTable = CALLS) -> CallAction:
    return Machine(table, state).take(event)


def refined(event: CallEvent, state: CallState) -> set[CallEvent]:
    """What the event can come to, whatever the call."""
    every = itertools.product((True, False), repeat=3)
    return {transitions.of_failed_update(event, state, several=s, other_value=o, kept=k) for s, o, k in every}


@pytest.mark.parametrize("state", SENT)
@pytest.mark.parametrize("reply", [Accepted(2), Lost("x"), *(Refused(kind, "x") for kind in Refusal)], ids=repr)
def test_every_answer_to_an_update_has_an_action(state: CallState, reply: Accepted | Refused | Lost) -> None:
    assert takes(state, transitions.of_answer(reply)) in CallAction


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.of)
@pytest.mark.parametrize("state", OPEN)
@pytest.mark.parametrize("reply", [Lost("x"), *(Refused(kind, "x") for kind in Refusal)], ids=repr)
def test_every_failed_read_has_an_action(table: TransitionTable, state: CallState, reply: Refused | Lost) -> None:
    assert takes(state, transitions.of_failed_read(reply), table) in CallAction


@pytest.mark.parametrize("state", OPEN)
@pytest.mark.parametrize("version", [3, 4, 5, 6])
@pytest.mark.parametrize("found_state", ImageSetState)
@pytest.mark.parametrize("status", ["UPDATED", "UPDATE_FAILED"])
def test_every_poll_has_an_action(state: CallState, version: int, found_state: ImageSetState, status: str) -> None:
    found = image_set(version, found_state, status, updated_at=9.0)
    if state is S.PLANNED:
        meanings = {
            transitions.of_first_poll(found, expected=e, behind=b) for e in (True, False) for b in (True, False)
        }
    else:
        chosen: list[Any] = [{"expected_updated_at": at, "reused": r} for at in (None, 0.0) for r in (True, False)]
        meanings = {transitions.of_poll(found, state=state, expected=4, **options) for options in chosen}
    events = {event for meaning in meanings for event in refined(meaning, state)}
    assert all(takes(state, event) in CallAction for event in events)


def test_only_the_service_or_the_edit_completes_a_call() -> None:
    """Throttles, stale versions, conflicts and lost answers never do."""
    ends = {event for (_, event), (following, _) in CALLS.rows.items() if following not in OPEN}
    assert ends.isdisjoint({E.THROTTLED, E.TOO_MANY, E.STALE, E.CONFLICT, E.LOST, E.READ_LOST, E.READ_THROTTLED})


def test_an_unknown_outcome_becomes_applied_only_on_proof_and_rejected_only_on_the_services_word() -> None:
    ends = {s: [e for (of, e), (to, _) in CALLS.rows.items() if of is S.OUTCOME_UNKNOWN and to is s] for s in CallState}
    assert ends[S.APPLIED] == [E.OURS, E.UNCHANGED]
    assert ends[S.REJECTED] == [E.REFUSED]
    assert transitions.of_failed_update(
        E.INVALID_AT_EXPECTED, S.OUTCOME_UNKNOWN, several=False, other_value=False, kept=False
    ) == (E.REFUSED)


def test_a_request_is_sent_again_only_if_nothing_is_newer_than_its_expected_version() -> None:
    again = {event for (_, event), (_, action) in CALLS.rows.items() if action is A.SEND_AGAIN}
    assert again == {E.THROTTLED, E.TOO_MANY, E.AT_EXPECTED}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.of)
def test_a_systemic_answer_halts_whatever_the_state(table: TransitionTable) -> None:
    assert {table.rows[state, E.SYSTEMIC] for state in OPEN} == {(state, A.HALT) for state in OPEN}


def test_a_pair_that_cannot_occur_raises_and_names_both() -> None:
    machine = Machine(CALLS)
    with pytest.raises(LookupError, match="a call that is planned cannot meet: accepted"):
        machine.take(E.ACCEPTED)
    assert machine.state is S.PLANNED


def test_the_machine_goes_where_the_table_says() -> None:
    for table in TABLES:
        for (state, event), (following, action) in table.rows.items():
            machine = Machine(table, state)
            assert (machine.take(event), machine.state) == (action, following)


# only the table sets states


def _targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return [part for target in node.targets for part in ast.walk(target) if isinstance(part, ast.expr)]
    return [node.target] if isinstance(node, ast.AugAssign | ast.AnnAssign) else []


def _is_own(target: ast.Attribute) -> bool:
    return isinstance(target.value, ast.Name) and target.value.id == "self"


def _sets_by_name(node: ast.AST) -> bool:
    """Whether it is a call such as setattr(call, "state", x); elsewhere "state" is the name of a column."""
    if not isinstance(node, ast.Call) or not ast.unparse(node.func).endswith(("setattr", "__setattr__")):
        return False
    return any(isinstance(one, ast.Constant) and one.value == "state" for one in node.args)


def sets_of_states(source: str) -> list[str]:
    """What assigns the state of a call by hand, or reaches into a machine. The ledger file has a state of its own."""
    found = []
    for node in ast.walk(ast.parse(source)):
        by_hand = any(isinstance(t, ast.Attribute) and t.attr == "state" and not _is_own(t) for t in _targets(node))
        by_name = (isinstance(node, ast.Constant) and node.value == "_state") or _sets_by_name(node)
        inside = isinstance(node, ast.Attribute) and node.attr == "_state" and not _is_own(node)
        if by_hand or by_name or inside:
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("module", sorted(RUNS.glob("*.py")), ids=lambda path: path.stem)
def test_no_module_sets_a_state_by_hand(module: Path) -> None:
    assert sets_of_states(module.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "books.state = S.FAILED",
        "books.machine.state = x",
        "books.machine._state = x",
        "a.state, b = 1, 2",
        "setattr(machine, '_state', x)",
        "object.__setattr__(event, 'state', x)",
    ],
)
def test_a_state_that_is_set_by_hand_is_found(line: str) -> None:
    assert sets_of_states(line)


def test_the_machine_sets_its_state_in_one_place() -> None:
    """When it begins, and when it takes an event."""
    tree = ast.parse((RUNS / "transitions.py").read_text("utf-8"))
    (machine,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Machine"]
    setting = {
        method.name
        for method in machine.body
        if isinstance(method, ast.FunctionDef)
        for node in ast.walk(method)
        for target in _targets(node)
        if isinstance(target, ast.Attribute) and target.attr == "_state"
    }
    assert setting == {"__init__", "take"}


# what polls mean

POLLS: list[tuple[CallState, int, ImageSet, CallEvent]] = [
    (S.INTENDED, 4, image_set(5), E.OTHER_WRITER),
    (S.INTENDED, 4, image_set(6), E.OTHER_WRITER),
    (S.INTENDED, 4, image_set(5, status="UPDATE_FAILED"), E.OTHER_WRITER),
    (S.INTENDED, 4, image_set(5, ImageSetState.LOCKED), E.LOCKED),
    (S.INTENDED, 4, image_set(6, ImageSetState.LOCKED), E.LOCKED),
    (S.OUTCOME_UNKNOWN, 4, image_set(3), E.LOCKED),
    (S.OUTCOME_UNKNOWN, 4, image_set(6, ImageSetState.LOCKED), E.PASSED),
    (S.OUTCOME_UNKNOWN, 4, image_set(4), E.AT_EXPECTED),
    (S.OUTCOME_UNKNOWN, 4, image_set(4, ImageSetState.LOCKED), E.LOCKED),
    (S.OUTCOME_UNKNOWN, 4, image_set(5, ImageSetState.LOCKED), E.LOCKED),
    (S.OUTCOME_UNKNOWN, 4, image_set(5), E.REACHED),
    (S.OUTCOME_UNKNOWN, 4, image_set(6), E.PASSED),
    (S.ACCEPTED, 4, image_set(4), E.AT_EXPECTED),
    (S.ACCEPTED, 4, image_set(5, ImageSetState.LOCKED), E.LOCKED),
    (S.ACCEPTED, 4, image_set(5), E.REACHED),
    (S.ACCEPTED, 4, image_set(7), E.PASSED),
    (S.ACCEPTED, 4, image_set(5, status="UPDATE_FAILED", message="INVALID_REQUEST: no"), E.FAILED_REQUEST),
    (S.ACCEPTED, 4, image_set(5, status="UPDATE_FAILED", message="INTERNAL_ERROR: no"), E.FAILED_SERVICE),
    # a service whose failed updates use no version up: told from a read that lags by its time
    (S.ACCEPTED, 4, image_set(4, status="UPDATE_FAILED", updated_at=2.0), E.FAILED_REQUEST),
    (S.ACCEPTED, 4, image_set(4, status="UPDATE_FAILED", updated_at=1.0), E.AT_EXPECTED),
    (S.ACCEPTED, 4, image_set(5, ImageSetState.DELETED), E.GONE),
]


@pytest.mark.parametrize(
    ("state", "expected", "found", "event"),
    POLLS,
    ids=[f"{s}-{b}-{f.version}-{f.state}-{f.status}" for s, b, f, _ in POLLS],
)
def test_what_a_poll_means(state: CallState, expected: int, found: ImageSet, event: CallEvent) -> None:
    assert transitions.of_poll(found, state=state, expected=expected, expected_updated_at=1.0) == event


@pytest.mark.parametrize(
    ("found", "expected", "behind", "event"),
    [
        (image_set(4), True, False, E.AT_EXPECTED),
        (image_set(4), False, False, E.OTHER_WRITER),
        (image_set(4), True, True, E.LOCKED),
        (image_set(4), False, True, E.LOCKED),
        (image_set(4, ImageSetState.LOCKED), True, False, E.LOCKED),
        (image_set(4, ImageSetState.LOCKED), False, False, E.LOCKED),
        (image_set(4, ImageSetState.DELETED), False, False, E.GONE),
    ],
    ids=["free", "another writer's", "lagging", "lagging and another's", "locked", "locked by another", "gone"],
)
def test_what_a_poll_before_the_request_means(found: ImageSet, expected: bool, behind: bool, event: CallEvent) -> None:
    assert transitions.of_first_poll(found, expected=expected, behind=behind) == event


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ("INVALID_REQUEST:  Series don't match.", E.FAILED_REQUEST),
        ("", E.FAILED_REQUEST),
        ("SERVICE_UNAVAILABLE: try again", E.FAILED_SERVICE),
    ],
    ids=["by the request", "without words", "by the service"],
)
def test_whose_fault_a_failed_update_is(message: str, event: CallEvent) -> None:
    assert transitions.of_failure(message) == event


@pytest.mark.parametrize(
    ("event", "state", "facts", "comes_to"),
    [
        (E.INVALID_AT_EXPECTED, S.INTENDED, "", E.REFUSED),
        (E.INVALID_AT_EXPECTED, S.INTENDED, "several other_value", E.REFUSED_SEVERAL),
        (E.INVALID_AT_EXPECTED, S.OUTCOME_UNKNOWN, "other_value", E.REFUSED_STORED_VALUE),
        (E.FAILED_REQUEST, S.ACCEPTED, "kept", E.REFUSED),
        (E.FAILED_REQUEST, S.OUTCOME_UNKNOWN, "several", E.FAILED_REQUEST),
        (E.FAILED_REQUEST, S.OUTCOME_UNKNOWN, "kept", E.FAILED_KEPT),
        (E.FAILED_SERVICE, S.ACCEPTED, "several kept", E.FAILED_KEPT),
        (E.FAILED_SERVICE, S.ACCEPTED, "several", E.FAILED_SERVICE),
        (E.REACHED, S.ACCEPTED, "several other_value kept", E.REACHED),
    ],
)
def test_what_a_failure_comes_to(event: CallEvent, state: CallState, facts: str, comes_to: CallEvent) -> None:
    given = {fact: fact in facts.split() for fact in ("several", "other_value", "kept")}
    assert transitions.of_failed_update(event, state, **given) == comes_to


def test_attempts_that_are_used_up_are_an_event_of_their_own() -> None:
    spent = [transitions.of_exhaustion(event) for event in (E.READ_LOST, E.FAILED_SERVICE, E.AT_EXPECTED)]
    assert spent == [E.READS_EXHAUSTED, E.EXHAUSTED_BY_FAILURES, E.EXHAUSTED]


@pytest.mark.parametrize(
    ("found", "event"),
    [
        (image_set(2, ImageSetState.DELETED), E.COPY_GONE),
        (image_set(2, ImageSetState.LOCKED), E.COPY_LOCKED),
        (replace(image_set(2), primary=False), E.DIFFERENT),
        (replace(image_set(2), primary=True), E.COPY_ENDED),
        (image_set(2), E.COPY_ENDED),
    ],
    ids=["deleted", "locked", "not promoted", "promoted", "not said"],
)
def test_what_a_poll_of_a_promoted_copy_shows(found: ImageSet, event: CallEvent) -> None:
    assert of_made(found, promoted=True) is event


def test_an_accepted_copy_that_differs_ends_the_call() -> None:
    facts = {"moved": True, "may_follow": True}
    assert of_changed(E.DIFFERENT, COPIES, S.ACCEPTED, **facts) is E.KEEP_OUT
    assert of_changed(E.DIFFERENT, COPIES, S.OUTCOME_UNKNOWN, **facts) is E.DIFFERENT


# the tables as documentation


def test_the_lines_and_the_picture_have_the_whole_table() -> None:
    for table in TABLES:
        assert len(table.lines().splitlines()) == 2 + len(table.rows)
    assert "| intended | answer lost | outcome unknown | poll |" in CALLS.lines().splitlines()
    arrows = [line for line in CALLS.picture().splitlines() if " --> " in line and " : " in line]
    assert len(arrows) == len({(of, to) for (of, _), (to, _) in CALLS.rows.items() if of is not to})
    assert "    intended --> outcome_unknown : answer lost<br>taken up" in arrows


def test_every_event_and_every_action_is_used() -> None:
    rows = [(*pair, *row) for table in TABLES for pair, row in table.rows.items()]
    states, events, following, actions = map(set, zip(*rows, strict=True))
    assert events == set(CallEvent) - REFINED
    assert actions == set(CallAction)
    assert states == set(OPEN)
    assert following == set(CallState)
