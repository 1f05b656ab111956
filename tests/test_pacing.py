"""A pacer sends no more than its rate allows, and no less."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkedit.errors import UsageError
from bulkedit.pacing import DOCUMENTED, Backoff, Operation, Pacer, Rate, parse_rate


def pacer(per_second: float, burst: float = 1.0, seed: int = 0) -> Pacer:
    return Pacer(Rate(per_second, burst), random.Random(seed))


def send_times(pacer: Pacer, count: int, start: float = 0.0) -> list[float]:
    """When requests leave that are all ready at the start."""
    now, times = start, []
    for _ in range(count):
        while (wait := pacer.wait(now)) > 0:
            now += wait
        pacer.take(now)
        times.append(now)
    return times


@given(rate=st.floats(0.01, 1000), burst=st.integers(1, 50), count=st.integers(1, 200), start=st.floats(0, 1e6))
def test_no_window_holds_more_than_burst_and_rate_allow(rate: float, burst: int, count: int, start: float) -> None:
    times = send_times(pacer(rate, burst), count, start)
    for first in range(0, len(times), 7):
        for last in range(first, len(times), 5):
            span = times[last] - times[first]
            assert last - first + 1 <= burst + span * rate * (1 + 1e-6) + 1e-3


@given(rate=st.floats(0.01, 1000), burst=st.integers(1, 50), count=st.integers(1, 200))
def test_a_run_takes_no_longer_than_calls_less_burst_over_rate(rate: float, burst: int, count: int) -> None:
    assert send_times(pacer(rate, burst), count)[-1] == pytest.approx(max(0, count - burst) / rate, rel=1e-6, abs=1e-6)


def test_an_idle_pacer_saves_up_no_more_than_its_burst() -> None:
    idle = pacer(1, 3)
    send_times(idle, 3)
    assert send_times(idle, 5, start=1000.0) == [1000.0, 1000.0, 1000.0, 1001.0, 1002.0]


def test_a_throttle_holds_all_requests_back_longer_each_time() -> None:
    held = pacer(1)
    waits = []
    for _ in range(3):
        held.throttled(0.0)
        waits.append(held.wait(0.0))
    assert waits == sorted(waits)
    assert waits[0] >= 1.0
    assert waits[2] >= 4.0


def test_a_throttle_that_names_its_wait_is_obeyed() -> None:
    held = pacer(1)
    held.throttled(0.0, retry_after_s=30.0)
    assert 30.0 <= held.wait(0.0) <= 31.0


def test_throttled_pacers_do_not_come_back_together() -> None:
    """Jitter also at the cap."""
    waits = set()
    for seed in range(50):
        one = pacer(1, seed=seed)
        for _ in range(20):
            one.throttled(0.0)
        waits.add(round(one.wait(0.0), 6))
    assert len(waits) == 50


@given(st.integers(1, 10_000), st.integers())
def test_a_backoff_stays_between_half_its_step_and_its_cap(attempt: int, seed: int) -> None:
    wait = Backoff(0.5, 30.0).wait(attempt, random.Random(seed))
    step = min(30.0, 0.5 * 2 ** min(attempt - 1, 32))
    assert step / 2 <= wait <= step


def test_a_backoff_at_its_cap_still_has_jitter() -> None:
    rng = random.Random(0)
    assert len({Backoff(0.5, 30.0).wait(50, rng) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("text", "per_second"),
    [("0.25/s", 0.25), ("15/m", 0.25), ("900/h", 0.25), ("3", 3.0), (".5/s", 0.5), (" 2/s ", 2.0)],
)
def test_a_rate_is_read_as_written(text: str, per_second: float) -> None:
    assert parse_rate(text).per_second == pytest.approx(per_second)


@pytest.mark.parametrize("text", ["", "fast", "0/s", "-1/s", "1/d", "1 /s", "nan", "inf/s", "1e3/s"])
def test_a_rate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not understood"):
        parse_rate(text)


def test_the_documented_quota_of_updates_is_one_every_four_seconds() -> None:
    """throttling-limits."""
    assert DOCUMENTED[Operation.UPDATE] == Rate(0.25, 1)
