"""A pacer sends no more than its rate allows, and no less."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkedit.client.pacing import (
    DOCUMENTED,
    Auto,
    Backoff,
    CompletionTimes,
    Learner,
    Operation,
    Pacer,
    Rate,
    Window,
    parse_pace,
    parse_rate,
)
from bulkedit.client.pacing import pacer as new_pacer
from bulkedit.client.pacing.backoff import LONGEST_RETRY_AFTER_S
from bulkedit.errors import UsageError


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
        held.throttled(0.0, 0.0)
        waits.append(held.wait(0.0))
    assert waits == sorted(waits)
    assert waits[0] >= 1.0
    assert waits[2] >= 4.0


def test_a_throttle_that_names_its_wait_is_obeyed() -> None:
    held = pacer(1)
    held.throttled(0.0, 0.0, retry_after_s=30.0)
    assert 30.0 <= held.wait(0.0) <= 31.0


@pytest.mark.parametrize("seconds", [1e9, math.inf, math.nan, -1e9, 0.0])
@pytest.mark.parametrize("rate", [Rate(1), Auto(Rate(1))], ids=["given", "auto"])
def test_no_answer_stops_a_run_by_the_wait_that_it_names(rate: Rate | Auto, seconds: float) -> None:
    held = new_pacer(rate, random.Random(1))
    held.take(0.0)
    held.throttled(0.1, 0.0, retry_after_s=seconds)
    assert 0.0 <= held.wait(0.1) <= LONGEST_RETRY_AFTER_S + 1.0


def test_throttled_pacers_do_not_come_back_together() -> None:
    """Jitter also at the cap."""
    waits = set()
    for seed in range(50):
        one = pacer(1, seed=seed)
        for _ in range(20):
            one.throttled(0.0, 0.0)
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
    with pytest.raises(UsageError, match="invalid rate"):
        parse_rate(text)


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (-1, 1), (float("nan"), 1), (1, 0.5)])
def test_a_rate_without_any_request_is_refused(per_second: float, burst: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Rate(per_second, burst)


def test_the_documented_quota_of_updates_is_one_every_four_seconds() -> None:
    """throttling-limits."""
    assert DOCUMENTED[Operation.UPDATE] == Rate(0.25, 1)


# -- finding the quota


def learner(
    start: float = 0.25, burst: float = 1, seed: int = 0, most: float = math.inf, remembered: Rate | None = None
) -> Learner:
    return Learner(Auto(Rate(start, burst), most, remembered=remembered), random.Random(seed))


def drive(pacer: Learner, count: int, quota: float, burst: float, start: float = 0.0) -> tuple[list[float], int]:
    """When requests were let through by a bucket, with answers at once, and how many were throttled."""
    now, level, at, throttled = start, burst, start, 0
    times: list[float] = []
    while len(times) < count:
        while (wait := pacer.wait(now)) > 0:
            now += wait
        pacer.take(now)
        level, at = min(burst, level + (now - at) * quota), now
        if level >= 1 - 1e-9:
            level -= 1
            times.append(now)
            pacer.answered(now, now)
        else:
            throttled += 1
            pacer.throttled(now, now)
    return times, throttled


@dataclass(slots=True)
class Bucket:
    """A quota; another tenant takes its part of it evenly, if there is a token."""

    rate: float
    burst: float
    tenant: float = 0.0
    theirs_at: float = 0.0
    at: float = 0.0
    level: float = field(init=False)

    def __post_init__(self) -> None:
        self.level = self.burst

    def take(self, now: float) -> bool:
        while self.tenant and self.theirs_at <= now:
            self._take(self.theirs_at)
            self.theirs_at += 1 / (self.rate * self.tenant)
        return self._take(now)

    def _take(self, now: float) -> bool:
        self.level, self.at = min(self.burst, self.level + (now - self.at) * self.rate), now
        there = self.level >= 1 - 1e-9
        self.level -= there
        return there


def far_away(
    pacer: Learner, count: int, bucket: Bucket, *, latency: tuple[float, float], seed: int = 0
) -> tuple[list[float], int]:
    """When a service let so many requests through, and how many it throttled; each takes its time there and back."""
    rng, number, now, left = random.Random(seed), itertools.count(), 0.0, count
    ways: list[tuple[float, int, float, bool | None]] = []  # when it arrives, order, when it was sent, answer
    times: list[float] = []
    throttled = 0
    while len(times) < count:
        wait = pacer.wait(now) if left else math.inf
        if wait <= 0:
            pacer.take(now)
            left -= 1
            heapq.heappush(ways, (now + rng.uniform(*latency) / 2, next(number), now, None))
        elif not ways or now + wait < ways[0][0]:
            now += wait
        else:
            now, _, sent, answer = heapq.heappop(ways)
            if answer is None:
                let_in = bucket.take(now)
                times += [now] if let_in else []
                heapq.heappush(ways, (now + rng.uniform(*latency) / 2, next(number), sent, let_in))
            elif answer:
                pacer.answered(now, sent)
            else:
                left, throttled = left + 1, throttled + 1
                pacer.throttled(now, sent)
    return times, throttled


@settings(deadline=None, max_examples=50)
@given(quota=st.floats(0.25, 50), share=st.floats(1, 2), seed=st.integers(0, 1000), start=st.floats(0, 1e6))
def test_any_quota_is_found_and_held(quota: float, share: float, seed: int, start: float) -> None:
    """Within 8 %, and few requests are throttled on the way, with bursts as throttling-limits has them."""
    burst = max(1, round(quota * share))
    pacer = learner(seed=seed)
    count = int(600 + quota * 120 + burst)
    times, throttled = drive(pacer, count, quota, burst, start)
    half = times[len(times) // 2 :]
    assert (len(half) - 1) / (half[-1] - half[0]) >= 0.92 * quota
    assert throttled <= 0.05 * count


def test_it_begins_as_fast_as_answers_come() -> None:
    """One request until the first answer, then two at a time, then more."""
    times, throttled = far_away(learner(), 100, Bucket(1000, 1000), latency=(0.1, 0.1))
    assert throttled == 0
    assert times[1] - times[0] == pytest.approx(0.1, abs=0.01)
    assert times[30] - times[0] <= 1.5
    assert times[99] - times[0] <= 3.0


SHORT_RUNS = [(20, 20, 100, 1.5), (20, 20, 1200, 1.05), (0.25, 1, 24, 1.10), (5, 10, 200, 1.10)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("latency_s", [0.003, 0.05, 0.1])
@pytest.mark.parametrize("run", SHORT_RUNS, ids=str)
def test_a_short_run_loses_little_to_the_search(
    run: tuple[float, float, int, float], latency_s: float, seed: int
) -> None:
    """From the first to the last, a quota allows the burst at once and the rest at its rate."""
    rate, burst, calls, most = run
    times, throttled = far_away(learner(seed=seed), calls, Bucket(rate, burst), latency=(latency_s, latency_s))
    assert times[-1] - times[0] <= most * (calls - burst) / rate
    assert throttled <= max(7 if rate == 5 else 5, 0.02 * calls)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tenant", [0.0, 0.5])
@pytest.mark.parametrize(("rate", "burst", "calls", "_"), SHORT_RUNS)
def test_uneven_trips_and_another_tenant_cost_little(
    rate: float, burst: float, calls: int, _: float, tenant: float, seed: int
) -> None:
    times, throttled = far_away(
        learner(seed=seed), calls, Bucket(rate, burst, tenant=tenant), latency=(0.02, 0.5), seed=seed
    )
    shortest_s = (calls - burst) / (rate * (1 - tenant))
    assert times[-1] - times[0] <= (2.0 if shortest_s < 10 else 1.25) * shortest_s
    assert throttled <= max(15, 0.06 * calls)


@pytest.mark.parametrize("seed", range(5))
def test_uneven_trips_are_no_measurement_against_the_documented_quota(seed: int) -> None:
    times, _ = far_away(learner(seed=seed), 24, Bucket(0.25, 1), latency=(0.02, 0.5), seed=seed)
    assert times[-1] - times[0] <= 1.10 * 23 / 0.25


REMEMBERED = {  # times the rate and the burst of the quota
    "right": (1, 1),
    "four times too high": (4, 4),
    "four times too low": (0.25, 0.25),
    "four times too high with the same burst": (4, 1),
    "four times too low with the same burst": (0.25, 1),
    "below the documented": (0.001, 0.001),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("latency_s", [0.003, 0.1])
@pytest.mark.parametrize("kind", REMEMBERED)
@pytest.mark.parametrize("run", SHORT_RUNS, ids=str)
def test_a_remembered_quota_makes_no_run_slower(
    run: tuple[float, float, int, float], kind: str, latency_s: float, seed: int
) -> None:
    rate, burst, calls, _ = run
    known = Rate(REMEMBERED[kind][0] * rate, max(1.0, REMEMBERED[kind][1] * burst))

    def result(remembered: Rate | None) -> tuple[float, int]:
        pacer = learner(seed=seed, remembered=remembered)
        times, throttled = far_away(pacer, calls, Bucket(rate, burst), latency=(latency_s, latency_s))
        return times[-1] - times[0], throttled

    (with_s, throttled), (without_s, _) = result(known), result(None)
    assert with_s <= 1.05 * without_s
    assert throttled <= max(7 if rate == 5 else 5, 0.02 * calls)


@pytest.mark.parametrize("latency", [(0.5, 0.5), (0.02, 0.5)])
def test_a_remembered_quota_shortens_the_search_of_a_service_far_away(latency: tuple[float, float]) -> None:
    def seconds(remembered: Rate | None, seed: int) -> float:
        pacer = learner(seed=seed, remembered=remembered)
        times, throttled = far_away(pacer, 100, Bucket(20, 20), latency=latency, seed=seed)
        assert throttled <= 10
        return times[-1] - times[0]

    seeds = range(5)
    assert sum(seconds(Rate(20, 20), seed) for seed in seeds) <= 0.9 * sum(seconds(None, seed) for seed in seeds)


@pytest.mark.parametrize(
    ("known", "confirmed"), [(Rate(20, 20), True), (Rate(80, 80), False), (Rate(5, 5), False), (Rate(20, 40), False)]
)
def test_the_first_throttle_ends_the_search_if_it_confirms_what_is_remembered(known: Rate, confirmed: bool) -> None:
    pacer, throttled, count = learner(remembered=known), 0, 20
    while not throttled:
        count += 1
        pacer = learner(remembered=known)
        _, throttled = far_away(pacer, count, Bucket(20, 20), latency=(0.05, 0.05))
    assert pacer.searching != confirmed
    assert pacer.measured == (pacer.rate if confirmed else None)
    assert (pacer.rate.per_second == known.per_second) == confirmed


def test_what_an_earlier_run_has_measured_is_confirmed_by_the_next() -> None:
    earlier, later = learner(), learner(seed=1)
    drive(earlier, 1000, 20, 20)
    assert earlier.measured is not None
    assert earlier.measured.per_second == pytest.approx(20, rel=0.02)
    assert later.measured is None


def test_a_limit_and_one_throttle_are_no_measurement() -> None:
    new = learner()
    drive(new, 2, 0.25, 1)
    assert new.measured is None
    for most, found in ((100.0, True), (5.0, False)):
        pacer = learner(most=most)
        for number in range(200):
            now = number * 0.1
            pacer.take(now)
            pacer.throttled(now, now) if number % 50 == 49 else pacer.answered(now, now)
        assert (pacer.measured is not None) == found


def test_what_is_remembered_below_the_documented_quota_is_not_believed() -> None:
    pacer = learner(25, 50, remembered=Rate(24.9, 50))
    far_away(pacer, 60, Bucket(25, 50), latency=(0.003, 0.003))
    assert pacer.rate.per_second >= 25


def test_a_throttle_in_the_first_seconds_is_no_measurement_against_the_documented_quota() -> None:
    """Every account has it."""
    pacer = learner()
    drive(pacer, 5, 0.25, 1)
    assert pacer.rate.per_second == 0.25


def test_what_less_than_the_documented_quota_lets_through_is_followed() -> None:
    pacer = learner()
    drive(pacer, 30, 0.25, 1)
    drive(pacer, 30, 0.15, 1, start=150.0)
    assert 0.125 <= pacer.rate.per_second <= 0.17


def test_it_searches_until_the_first_throttle() -> None:
    new, used = learner(), learner()
    drive(used, 2000, 20, 20)
    assert new.searching
    assert not used.searching
    assert not new_pacer(Rate(1), random.Random(0)).searching


def test_it_never_exceeds_the_rate_that_it_is_given_as_the_most() -> None:
    times, throttled = drive(learner(most=2.0), 300, 1000, 1000)
    assert throttled == 0
    for first in range(len(times) - 1):
        assert times[first + 1] - times[first] >= 0.5 - 1e-6


@pytest.mark.parametrize("most", [2.0, 1 / 120])
def test_throttled_requests_do_not_exceed_the_most_either(most: float) -> None:
    pacer, now = learner(most=most), 0.0
    asked: list[float] = []
    while len(asked) < 100:
        while (wait := pacer.wait(now)) > 0:
            now += wait
        pacer.take(now)
        asked.append(now)
        if len(asked) % 7 == 1:
            pacer.answered(now, now)
        else:
            pacer.throttled(now, now)
    assert min(later - earlier for earlier, later in itertools.pairwise(asked)) >= 1 / most - 1e-6


def test_a_rate_that_nothing_wants_is_not_climbed_from() -> None:
    """Requests that come slower than the rate lets them show nothing of the quota."""
    pacer = learner()
    for number in range(100):
        now = number * 10.0
        assert pacer.wait(now) == 0
        pacer.take(now)
        pacer.answered(now, now)
    assert pacer.rate == Rate(0.25, 1)


def test_the_burst_is_learned() -> None:
    pacer = learner()
    drive(pacer, 5000, 20, 40)
    assert pacer.rate.per_second == pytest.approx(20, rel=0.02)
    assert 20 <= pacer.rate.burst <= 50


def test_throttles_of_requests_that_were_out_together_are_one() -> None:
    one, many = learner(), learner()
    for pacer, count in ((one, 1), (many, 50)):
        drive(pacer, 100, 1000, 1000)
        for _ in range(50):
            pacer.take(100.0)
        for _ in range(count):
            pacer.throttled(101.0, 100.0)
    assert many.rate == one.rate


def test_a_wait_that_the_service_names_is_obeyed() -> None:
    pacer = learner()
    pacer.take(0.0)
    pacer.throttled(0.1, 0.0, retry_after_s=30.0)
    assert pacer.wait(0.1) >= 30.0


def test_nothing_goes_through_and_few_ask() -> None:
    """Five minutes without a quota cost a handful of requests, whatever the rate was, with jitter at the cap too."""
    pacer = learner()
    times, _ = drive(pacer, 2000, 20, 20)
    now = start = times[-1]
    asked = []
    while now < start + 300:
        while (wait := pacer.wait(now)) > 0:
            now += wait
        pacer.take(now)
        asked.append(now)
        now += 0.1
        pacer.throttled(now, asked[-1])
    assert len(asked) <= 30
    assert len({round(later - earlier, 6) for earlier, later in zip(asked[-5:], asked[-4:], strict=False)}) == 4
    back, _ = drive(pacer, 1000, 20, 20, now)
    assert back[-1] - now <= 45 + 20 + 1000 / 20


@pytest.mark.parametrize("text", ["auto", " auto "])
def test_auto_is_a_rate(text: str) -> None:
    assert parse_pace(text, Rate(0.25, 1), most="5/s") == Auto(Rate(0.25, 1), most=5.0)


def test_an_automatic_rate_is_written_as_it_is_read() -> None:
    assert str(parse_pace("auto", Rate(0.25, 1))) == "auto"


def test_the_most_of_a_rate_that_is_given_is_refused() -> None:
    with pytest.raises(UsageError, match="`max_rate`"):
        parse_pace("1/s", Rate(0.25, 1), most="5/s")


# -- in flight, completing


def test_a_window_shrinks_once_for_refusals_that_were_out_together_and_grows_back() -> None:
    window = Window(100)
    for _ in range(10):
        window.refused(1.0, 0.5, 60)
    assert window.size == 60
    window.refused(3.0, 2.0, 60)
    assert window.size == 54
    for _ in range(10_000):
        window.accepted()
        assert window.size <= 100
    assert window.size == 100


@given(st.integers(1, 3), st.lists(st.integers(0, 5), max_size=30))
def test_a_window_never_closes(most: int, in_flight: list[int]) -> None:
    window = Window(most)
    for number, count in enumerate(in_flight):
        window.refused(number + 0.5, float(number), count)
        assert 1 <= window.size <= most


def test_polls_come_when_updates_complete() -> None:
    """Of updates that all take as long, nine in ten are found by their first poll, hardly later than they complete."""
    times, rng, polls, late = CompletionTimes(), random.Random(0), 0, 0.0
    for number in range(1000):
        at, locked, count = times.first_poll(), None, 1
        while at < 7.0:
            times.still_locked(at)
            locked, count, at = at, count + 1, at + times.next_poll(count, at, rng)
        times.completed(at, locked)
        if number >= 500:
            polls, late = polls + count, late + at - 7.0
    assert polls / 500 <= 1.25
    assert late / 500 <= 0.04 * 7.0
    assert times.quantile(0.5) == pytest.approx(7.0, rel=0.03)


def test_polls_that_come_late_for_a_whole_wave_are_early_enough_after_two_more() -> None:
    """Updates in flight that all take 20 s complete together; the first wave is polled when nothing is known."""
    times = CompletionTimes()
    times.still_locked(19.9)
    for _ in range(100):
        times.completed(28.0, locked_s=16.0)
    for _ in range(2):
        first = times.first_poll()
        for _ in range(128):
            times.completed(first, None)
    assert 19.9 < times.first_poll() <= 20.0


def test_before_any_completion_polls_start_at_the_longest_lock_seen() -> None:
    times = CompletionTimes()
    assert times.quantile(0.5) is None
    times.still_locked(12.0)
    assert times.first_poll() == 12.0
