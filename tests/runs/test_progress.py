"""What a run says of itself while it runs is true."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bulkedit.cli._progress import parts
from bulkedit.client.responses import Outcome
from bulkedit.runs.counters import RunCounters
from bulkedit.runs.progress import Progress
from bulkedit.runs.scheduler import WaitReason

NUMBERS = Progress(
    calls=1000,
    completed=400,
    outcomes={Outcome.APPLIED: 1600, Outcome.REJECTED: 2},
    in_flight=5,
    per_second=0.5,
    quota_per_second=1.0,
    requests=1000,
    throttled=12,
    limited_by=WaitReason.UPDATES,
    longest_lane=3,
    longest_ahead=0,
    completion_p50_s=2.0,
    completion_p95_s=4.5,
)


def test_what_is_left_goes_at_the_quota_where_that_is_what_limits() -> None:
    assert NUMBERS.seconds_left == 600.0


@pytest.mark.parametrize("limited_by", [WaitReason.READS, WaitReason.IN_FLIGHT, None])
def test_and_at_the_rate_that_is_reached_where_something_else_does(limited_by: WaitReason | None) -> None:
    assert replace(NUMBERS, limited_by=limited_by).seconds_left == 1200.0


def test_the_longest_lane_can_be_what_a_run_waits_for() -> None:
    assert replace(NUMBERS, longest_lane=500, completion_p50_s=10.0).seconds_left == 5000.0
    assert replace(NUMBERS, longest_ahead=500, completion_p50_s=10.0).seconds_left == 5000.0


def test_a_run_that_is_done_has_no_time_left() -> None:
    assert replace(NUMBERS, completed=1000).seconds_left == 0.0


def test_without_a_rate_the_time_left_is_unknown() -> None:
    assert replace(NUMBERS, per_second=0.0, quota_per_second=0.0).seconds_left is None


def test_the_line_says_it() -> None:
    assert " · ".join(parts(NUMBERS)) == (
        "400/1,000 calls · 1,600 edits applied · 2 rejected · 5 in flight · 0.50/s of 1.00/s · 1.2% throttled · "
        "completed within p50 2.0 s, p95 4.5 s · 10 min 00 s left"
    )


def test_the_bottleneck_is_what_held_calls_back_for_longest() -> None:
    counters = RunCounters(calls=1, edits=1)
    assert counters.bottleneck is None
    counters.waited({WaitReason.READS}, 1.0)
    counters.waited({WaitReason.UPDATES, WaitReason.READS}, 2.0)
    counters.waited({WaitReason.UPDATES}, 0.5)
    assert counters.bottleneck is WaitReason.READS
