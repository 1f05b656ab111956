"""What a run says of itself while it runs is true."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bulkedit.cli._progress import line, rate, time_left
from bulkedit.client.responses import Outcome
from bulkedit.runs.counters import RunCounters
from bulkedit.runs.progress import Progress
from bulkedit.runs.scheduler import WaitReason
from bulkedit.runs.waiting import Waiting, WaitingFor

NUMBERS = Progress(
    calls=1000,
    completed=400,
    edits=4000,
    outcomes={Outcome.APPLIED: 1600, Outcome.REJECTED: 2},
    in_flight=5,
    per_second=0.5,
    quota_per_second=1.0,
    searching=False,
    requests=1000,
    throttled=12,
    limited_by=WaitReason.UPDATES,
    seconds_left=600.0,
    completion_p50_s=2.0,
    completion_p95_s=4.5,
)


def test_the_line_says_it() -> None:
    assert line(NUMBERS) == (
        "40% · 1,602/4,000 edits · about 10 min left · 0.50/s of 1.00/s · 2 rejected · 400/1,000 calls · 5 in flight · "
        "1.2% throttled · completed within p50 2.0 s, p95 4.5 s"
    )


def test_a_hundred_per_cent_are_reached_with_the_last_call() -> None:
    done = replace(NUMBERS, outcomes={Outcome.APPLIED: 4000})
    assert (done.percent, replace(done, completed=1000).percent) == (99, 100)


def test_a_run_without_edits_is_done() -> None:
    assert replace(NUMBERS, calls=0, completed=0, edits=0, outcomes={}).percent == 100


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ["about 10 min left"]),
        ({"completed": 1000}, []),
        ({"seconds_left": None}, ["estimating the time left"]),
        (
            {"seconds_left": None, "waiting": (Waiting(WaitingFor.UNLOCK, 725.0, ("a", "b", "c")),)},
            ["waiting for unlock: 3 image sets, longest 12 min 05 s"],
        ),
        (
            {"waiting": (Waiting(WaitingFor.UNLOCK, 60.0, ("a",)),)},
            ["about 10 min left", "waiting for unlock: 1 image set, longest 1 min 00 s"],
        ),
        (
            {"seconds_left": None, "waiting": (Waiting(WaitingFor.CREDENTIALS, 30.0),)},
            ["waiting for credentials for 30 s"],
        ),
        ({"seconds_left": None, "waiting": (Waiting(WaitingFor.SERVICE, 30.0),)}, ["waiting for the service for 30 s"]),
        ({"seconds_left": None, "waiting": (Waiting(WaitingFor.QUOTA, 30.0),)}, ["waiting for the quota for 30 s"]),
        ({"seconds_left": None, "waiting": (Waiting(WaitingFor.LEDGER, 30.0),)}, ["waiting for the ledger for 30 s"]),
    ],
)
def test_it_says_when_the_run_ends_or_what_it_waits_for(changed: dict[str, Any], said: list[str]) -> None:
    assert time_left(replace(NUMBERS, **changed)) == said


def test_while_the_quota_is_searched_for_no_quota_is_shown() -> None:
    assert rate(replace(NUMBERS, searching=True)) == "0.50/s, searching for the quota"


def test_the_bottleneck_is_what_held_calls_back_for_longest() -> None:
    counters = RunCounters(calls=1, edits=1)
    assert counters.bottleneck is None
    counters.waited({WaitReason.READS}, 1.0)
    counters.waited({WaitReason.UPDATES, WaitReason.READS}, 2.0)
    counters.waited({WaitReason.UPDATES}, 0.5)
    assert counters.bottleneck is WaitReason.READS
