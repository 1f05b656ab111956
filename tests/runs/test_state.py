"""The state of a run follows from its processes, its lock and what is left; what they do not tell is unknown."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from bulkedit.runs.ledger import Ending, ProcessRecord, ProcessState
from bulkedit.runs.state import REASONS, Condition, RunFacts, RunState, condition, is_alive

STARTED = ProcessRecord(at=100.0, process="a", state=ProcessState.STARTED, pid=7, host="here", user="ada")
AGAIN = replace(STARTED, at=300.0, process="b", pid=8)
FACTS = RunFacts(
    processes=[STARTED], locked=False, host="here", begun=True, left=True, last_event=150.0, last_sign=None, alive=False
)


def ended(reason: str) -> ProcessRecord:
    return replace(STARTED, at=200.0, state=ProcessState.ENDED, reason=reason)


@pytest.mark.parametrize(
    ("changed", "state", "since"),
    [
        ({"processes": [], "begun": False}, RunState.NOT_STARTED, None),
        ({"processes": [], "begun": True}, RunState.UNKNOWN, None),
        ({"locked": True}, RunState.RUNNING, 100.0),
        ({"locked": True, "left": False}, RunState.RUNNING, 100.0),  # it ends in a moment
        ({"locked": True, "processes": []}, RunState.RUNNING, None),  # it has not written its begin yet
        ({"locked": True, "processes": [STARTED, ended("completed"), AGAIN]}, RunState.RUNNING, 300.0),
        ({"processes": [STARTED, ended("stopped")]}, RunState.STOPPED, 200.0),
        ({"processes": [STARTED, ended("CredentialsError")]}, RunState.STOPPED, 200.0),
        ({"processes": [STARTED, ended("completed")], "left": False}, RunState.DONE, 200.0),
        ({}, RunState.CRASHED, 150.0),
        ({"last_sign": 160.0}, RunState.CRASHED, 160.0),
        ({"last_event": None}, RunState.CRASHED, 100.0),
        ({"processes": [STARTED, AGAIN], "last_event": 350.0}, RunState.CRASHED, 350.0),
        ({"left": False}, RunState.DONE, 150.0),
        # what cannot be told from here
        ({"host": "elsewhere"}, RunState.UNKNOWN, 150.0),
        ({"locked": None}, RunState.UNKNOWN, 150.0),
        ({"alive": True}, RunState.UNKNOWN, 150.0),
    ],
)
def test_the_state_follows_from_the_facts(changed: dict[str, Any], state: RunState, since: float | None) -> None:
    found = condition(replace(FACTS, **changed))
    assert (found.state, found.since) == (state, since)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("interrupted", 130),
        ("CredentialsError", 4),
        ("BudgetSpentError", 3),
        ("StalePlanError", 6),
        ("stopped", None),
        ("ZeroDivisionError", None),
        ("Mapping", None),
        (None, None),
    ],
)
def test_the_reason_tells_the_exit_code_if_it_can(reason: str | None, code: int | None) -> None:
    assert Condition(state=RunState.STOPPED, reason=reason).exit_code == code


def test_every_reason_without_an_error_has_words() -> None:
    assert {str(ending) for ending in Ending} - {"completed"} <= REASONS.keys()


def test_a_process_is_alive_or_not() -> None:
    assert is_alive(os.getpid())
    assert is_alive(1)
    assert not is_alive(2**30)
