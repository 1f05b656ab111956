"""The charts of the report page: axes with round ends, times of the clock, areas that add up, and flat parts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import polars as pl
import pytest

from bulkedit.after.report import charts, ledger_charts
from bulkedit.after.report.charts import HEIGHT, WIDTH, Flat, Span
from bulkedit.runs.ledger import ProcessRecord, ProcessState

if TYPE_CHECKING:
    from collections.abc import Iterator

AT = 1_795_907_261.0  # 2026-11-28 23:07:41 UTC


@pytest.fixture(params=["UTC0", "CET-1CEST,M3.5.0,M10.5.0/3", "<-03>3"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A zone of the machine, as TZ has it."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_a_time_is_that_of_the_machine_with_its_zone(zone: str) -> None:
    found = charts.moment(AT)
    assert found.iso == "2026-11-28T23:07:41+00:00"
    assert (
        found.text
        == {
            "UTC0": "2026-11-28 23:07:41 UTC",
            "CET-1CEST,M3.5.0,M10.5.0/3": "2026-11-29 00:07:41 CET (UTC+01:00)",
            "<-03>3": "2026-11-28 20:07:41 UTC-03:00",
        }[zone]
    )


@pytest.mark.parametrize("zone", ["CET-1CEST,M3.5.0,M10.5.0/3"], indirect=True)
def test_if_the_clocks_are_changed_meanwhile_both_zones_are_named(zone: str) -> None:
    assert zone
    assert Span(AT - 60 * 86_400, AT).zone == "CEST (UTC+02:00), CET (UTC+01:00)"


@pytest.mark.parametrize("zone", ["UTC0"], indirect=True)
@pytest.mark.parametrize(
    ("seconds", "texts"),
    [
        (1.0, ["23:07:41.0", "23:07:41.2", "23:07:41.5", "23:07:41.7", "23:07:42.0"]),
        (240.0, ["23:07:41", "23:08:41", "23:09:41", "23:10:41", "23:11:41"]),
        (7200.0, ["23:07", "23:37", "00:07", "00:37", "01:07"]),
        (4 * 86_400.0, ["11-28 23:07", "11-29 23:07", "11-30 23:07", "12-01 23:07", "12-02 23:07"]),
    ],
)
def test_ticks_are_as_short_as_the_length_allows(zone: str, seconds: float, texts: list[str]) -> None:
    assert zone
    assert [tick.text for tick in Span(AT, AT + seconds).ticks()] == texts


@pytest.mark.parametrize(
    ("value", "whole", "texts"),
    [
        (0.0, True, ["1", "", "0"]),
        (3.0, True, ["5", "", "0"]),
        (4.25, False, ["5", "2.5", "0"]),
        (20.0, True, ["20", "10", "0"]),
        (1_001.0, True, ["2,000", "1,000", "0"]),
        (0.21, False, ["0.25", "0.125", "0"]),
    ],
)
def test_axes_have_round_ends(value: float, whole: bool, texts: list[str]) -> None:
    top = charts.top_of(value, whole=whole)
    assert top >= value
    assert charts.axis(top, whole=whole) == texts


def test_areas_lie_on_each_other_and_end_at_their_share() -> None:
    (applied, first), (rejected, second) = charts.areas({"applied": [1, 2], "failed": [0, 0], "rejected": [0, 1]}, 4)
    assert (applied, rejected) == ("applied", "rejected")
    half, end = f"{WIDTH / 2:g}", f"{WIDTH:g}"
    assert first.split()[:3] == [f"0,{HEIGHT:g}", f"{half},{HEIGHT * 3 / 4:g}", f"{end},{HEIGHT / 4:g}"]
    assert second.split()[:3] == [f"0,{HEIGHT:g}", f"{half},{HEIGHT * 3 / 4:g}", f"{end},0"]
    assert second.split()[3:] == first.split()[2::-1]


def test_bars_of_one_place_are_stacked() -> None:
    low, high = charts.stacked([{"failed": 1.0, "rejected": 3.0}], 4.0, ["then"])
    assert (low.kind, low.y, low.height) == ("failed", HEIGHT * 3 / 4, HEIGHT / 4)
    assert (high.kind, high.y, high.height) == ("rejected", 0.0, HEIGHT * 3 / 4)


def flats(times: list[float], last: float, most: int = 8) -> list[tuple[float, float]]:
    found = charts.flats(pl.Series(times, dtype=pl.Float64), Span(0.0, last), most=most)
    return [(flat.begin, flat.end) for flat in found]


def test_an_outage_is_a_flat_part_and_the_usual_wait_is_not() -> None:
    steady = [float(at) for at in range(0, 80, 4)]
    assert flats(steady, 80.0) == []
    assert flats([*steady, *(at + 600.0 for at in steady)], 680.0) == [(76.0, 600.0)]


def test_the_longest_flat_parts_are_kept_in_their_order() -> None:
    times = [0.0, 1.0, 101.0, 102.0, 402.0, 403.0, 603.0, 604.0, *(604.0 + i / 10 for i in range(20))]
    assert flats(times, 606.0, most=2) == [(102.0, 402.0), (403.0, 603.0)]


def test_a_wait_at_the_end_is_a_flat_part_too() -> None:
    assert flats([0.5, 1.0, 1.5, 2.0], 100.0) == [(2.0, 100.0)]


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ((120, 0, 3), "120 throttled"),
        ((0, 1, 3), "1 lost answer or failed read"),
        ((2, 5, 3), "2 throttled, 5 lost answers or failed reads"),
        ((0, 0, 3), "calls were under way"),
        ((0, 0, 0), "nothing was recorded"),
    ],
)
def test_what_the_ledger_shows_of_a_flat_part_is_said(counts: tuple[int, int, int], text: str) -> None:
    assert charts.cause(throttled=counts[0], faults=counts[1], events=counts[2]) == text


def process(at: float, state: ProcessState, reason: str | None = None) -> ProcessRecord:
    return ProcessRecord(at=at, process="p", state=state, pid=1, host="h", user="u", reason=reason)


STARTED, ENDED = ProcessState.STARTED, ProcessState.ENDED


def test_a_flat_part_says_that_no_process_worked_and_why() -> None:
    processes = [process(0, STARTED), process(100, ENDED, "CredentialsError"), process(700, STARTED)]
    assert ledger_charts.idle(processes, Flat(90.0, 710.0)) == [
        "no process worked on the run for 10 min 00 s (AWS does not accept the credentials, or there are none)"
    ]
    assert ledger_charts.idle(processes, Flat(0.0, 90.0)) == []
    assert charts.cause(idle=["no process"], throttled=0, faults=0, events=0) == "no process"


def test_of_a_process_that_was_killed_it_is_not_said_when() -> None:
    processes = [process(0, STARTED), process(700, STARTED)]
    assert ledger_charts.idle(processes, Flat(90.0, 710.0)) == ["the process before was killed"]
    assert ledger_charts.idle(processes, Flat(710.0, 800.0)) == []
