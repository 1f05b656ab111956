"""A run comes within a few per cent of what its quota allows, without being told the quota.

The first 60 s or 20 calls, whichever is longer, are the search. The limits: see `tests.runs.simulation`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from bulkedit.runs.scheduler import WaitReason
from tests.runs.simulation import CHANGES, SHORT, STEADY, Result, Scenario, simulate


def named(scenario: Scenario) -> str:
    change = f" steps {scenario.steps[0].factor:g}" if scenario.steps else " tenant" if scenario.tenant else ""
    where = f"{scenario.latency_s:g} s away, completes in {scenario.completion_s:g} s"
    return f"{scenario.rate:g}/{scenario.burst:g} {where}{change}"


def hold(result: Result) -> None:
    """The bounds of a steady quota.

    If updates in flight are the limit, a run begins with as many as may be, and they complete as one wave if each takes
    exactly as long: some polls are too early for all of them at once.
    """
    in_flight = result.scenario.binds == "in flight"
    assert result.ended.left == 0
    assert result.ratio <= (1.06 if in_flight else 1.05)
    assert result.throttled_steady <= 0.02
    assert result.throttled <= 0.05
    assert result.reached >= (0.88 if in_flight else 0.9)
    assert result.longest_gap <= 10
    assert result.reads_an_update <= (1.55 if in_flight else 1.5)


OFTEN = [
    Scenario(rate=0.25, burst=1),
    Scenario(rate=1, burst=2, latency_s=0.02, completion_s=0.2),
    Scenario(rate=1, burst=2, latency_s=1.0),
]
SELDOM = [scenario for scenario in STEADY if scenario not in OFTEN]


@pytest.mark.parametrize("scenario", OFTEN, ids=named)
def test_a_steady_quota_is_used_up(scenario: Scenario) -> None:
    hold(simulate(scenario))


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SELDOM, ids=named)
def test_a_steady_quota_is_used_up_at_length(scenario: Scenario) -> None:
    hold(simulate(scenario))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "burst", "latency", "completion", "seed"),
    [
        (0.5, 2, 0.1, 2.0, 1),
        (0.5, 2, 1.0, 7.0, 2),
        (0.5, 2, 0.02, 20.0, 3),
        (3, 7, 0.1, 7.0, 1),
        (3, 7, 0.3, 2.0, 2),
        (3, 7, 1.0, 20.0, 3),
        (50, 50, 0.05, 0.5, 1),
        (50, 50, 0.5, 7.0, 2),
        (300, 100, 0.1, 2.0, 3),
        (300, 100, 0.1, 7.0, 4),
        (12, 30, 0.2, 4.0, 5),
        (8, 1, 0.1, 2.0, 9),
        (1, 5, 0.4, 10.0, 10),
    ],
)
def test_other_quotas_are_used_up_as_well(
    rate: float, burst: float, latency: float, completion: float, seed: int
) -> None:
    hold(simulate(Scenario(rate=rate, burst=burst, latency_s=latency, completion_s=completion, seed=seed)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("rate", "burst"), [(0.25, 1), (1, 2), (5, 10)], ids=["0.25/1", "1/2", "5/10"])
def test_no_luck_is_needed(rate: float, burst: float, seed: int) -> None:
    hold(simulate(Scenario(rate=rate, burst=burst, seed=seed)))


def hold_short(result: Result, most: float) -> None:
    """The bounds of a run that is over before much can be learned."""
    assert result.ended.left == 0
    assert result.first_to_last <= most
    assert result.updates_throttled <= 5 or result.throttled <= 0.02


def short(scenario: Scenario) -> str:
    return f"{scenario.count} calls at {scenario.rate:g}/{scenario.burst:g}"


@pytest.mark.parametrize(
    ("scenario", "most"),
    [one for one in SHORT if one[0].count < 1000],
    ids=lambda one: short(one) if isinstance(one, Scenario) else "",
)
def test_a_short_run_is_as_quick_as_a_long_one(scenario: Scenario, most: float) -> None:
    hold_short(simulate(scenario), most)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("scenario", "most"), SHORT, ids=lambda one: short(one) if isinstance(one, Scenario) else "")
def test_a_short_run_needs_no_luck(scenario: Scenario, most: float, seed: int) -> None:
    hold_short(simulate(replace(scenario, seed=seed)), most)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tenant", [0.0, 0.5])
@pytest.mark.parametrize("scenario", [one for one, _ in SHORT], ids=short)
def test_a_short_run_bears_uneven_trips_and_another_tenant(scenario: Scenario, tenant: float, seed: int) -> None:
    """Trips of 20 to 500 ms are long for a run of four seconds."""
    result = simulate(replace(scenario, latency_s=0.02, latest_s=0.5, tenant=tenant, seed=seed))
    assert result.ended.left == 0
    assert result.first_to_last <= (2.0 if scenario.shortest_s < 10 else 1.25)
    assert result.throttled <= 0.1


def hold_changing(result: Result) -> None:
    """Everything is done, few requests are throttled, and the new quota is used."""
    assert result.ended.left == 0
    assert result.throttled <= 0.05
    assert result.ratio <= 1.25


@pytest.mark.parametrize("scenario", [one for one in CHANGES if one.rate < 1], ids=named)
def test_a_quota_that_changes_is_followed(scenario: Scenario) -> None:
    hold_changing(simulate(scenario))


@pytest.mark.slow
@pytest.mark.parametrize("scenario", [one for one in CHANGES if one.rate >= 1], ids=named)
def test_a_quota_that_changes_is_followed_at_length(scenario: Scenario) -> None:
    hold_changing(simulate(scenario))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_a_quota_of_one_request_is_shared_without_luck(seed: int) -> None:
    """Where every call of the other tenant takes the only one that is there."""
    hold_changing(simulate(Scenario(rate=0.25, burst=1, tenant=0.5, seed=seed)))


@pytest.mark.slow
def test_reads_are_named_where_they_are_the_bottleneck() -> None:
    result = simulate(Scenario(rate=1000, burst=1000, completion_s=0.2, calls=1500))
    assert result.ended.limited_by is WaitReason.READS
    assert result.ended.quota_per_second > 20


def test_updates_in_flight_are_named_where_they_are_the_bottleneck() -> None:
    result = simulate(Scenario(rate=20, burst=20, completion_s=10.0, concurrent=20, calls=500))
    assert result.ended.limited_by is WaitReason.IN_FLIGHT


def test_a_data_store_that_takes_fewer_at_once_is_heeded() -> None:
    """402 is no throttle: the window shrinks, and the rate stays."""
    result = simulate(Scenario(rate=20, burst=20, completion_s=2.0, concurrent=20, calls=1000))
    assert result.ended.left == 0
    assert result.throttled <= 0.05
    assert result.ratio <= 1.25


def test_a_simulation_tells_a_bad_pacer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a bound of the engine: of the simulation itself, which must be able to fail."""
    monkeypatch.setattr("bulkedit.client.pacing.evidence.Evidence._least", lambda *_: 9.0)
    result = simulate(Scenario(rate=1, burst=2))
    assert result.throttled > 0.05 or result.ratio > 1.05
