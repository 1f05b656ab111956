"""Each benchmark's short form runs, prints its table and draws its plot; counts are held, times are not.

One of them is in the short form of the suite: all take their options, tables and plots from the same module.
"""

from __future__ import annotations

import gc
import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from benchmarks import figures, growth, instant, planner, watch
from bulkedit import plans
from bulkedit.plans.saved import _BATCH
from bulkedit.runs import folder as runs
from bulkedit.runs.engine import Engine
from bulkedit.runs.ledger import Ledger
from bulkedit.runs.options import UPDATES_IN_FLIGHT

ROOT = Path(__file__).parent.parent


def run(name: str, figure: Path) -> str:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--figure", str(figure)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert figure.read_bytes().startswith(b"\x89PNG")
    return done.stdout


def cells(text: str, client: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {client}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.slow
def test_the_engine_sends_what_the_loops_beside_it_send(tmp_path: Path) -> None:
    text = run("engine_overhead", tmp_path / "plot.png")
    for client in ("bulkedit's engine", "bare aioboto3 loop", "boto3 in threads"):
        assert cells(text, client)[1:3] == ["200", "400"]


@pytest.mark.slow
def test_growth_prints_a_row_for_each_size_and_the_slopes(tmp_path: Path) -> None:
    text = run("growth", tmp_path / "plot.png")
    assert [int(cells(text, f"{calls:>5,}")[0].replace(",", "")) for calls in (500, 1_000, 2_000)] == [500, 1000, 2000]
    assert re.search(r"per tenfold of calls: time per call [+-][\d.]+% \(CPU\), memory [+-][\d.]+%", text)


@pytest.mark.slow
def test_bulkedit_leaves_nothing_over_with_a_quarter_of_the_calls(tmp_path: Path) -> None:
    text = run("against_clients", tmp_path / "plot.png")
    (_, _, calls, _, throttled, left, _, _), (_, _, theirs, *_) = (
        cells(text, client) for client in ("bulkedit", "boto3 threads")
    )
    assert (calls, throttled, left, theirs) == ("5", "0", "0", "20")


async def test_only_the_lanes_under_way_are_held(tmp_path: Path) -> None:
    """Of a plan of many calls the engine reads a little ahead, and no callback keeps the loop for 50 ms of CPU."""
    calls, most, options = 3_000, 0, replace(growth.OPTIONS, max_in_flight=UPDATES_IN_FLIGHT)
    instant.save_plan(tmp_path / "plan", calls)
    about: Any = {}
    run = runs.Run(tmp_path, plans.load(tmp_path / "plan"), about)

    async def look() -> None:
        nonlocal most
        while True:
            await anyio.sleep(0.01)
            most = max(most, len(engine._lanes._ready) + len(engine._scheduler) + len(engine._commit._waiting))

    gc.collect()
    gc.freeze()  # what other tests have left is not the engine's to collect
    with Ledger.create(run.ledger) as ledger, watch.callbacks() as callbacks:
        engine = Engine(run.plan, instant.Instant(calls), ledger, options, key=b"key", rng=random.Random(7))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            counters = await engine.run()
            tasks.cancel_scope.cancel()
    gc.unfreeze()
    assert counters.applied == calls
    assert 0 < most < _BATCH + 3 * options.max_in_flight < calls
    assert callbacks.count > calls
    assert callbacks.longest_cpu_s < 0.05


def test_a_table_puts_numbers_to_the_right() -> None:
    assert figures.table(["name", "count"], [["a", 1], ["bcdef", 1234]]).splitlines() == [
        "| name  | count |",
        "| ----- | ----: |",
        "| a     |     1 |",
        "| bcdef | 1,234 |",
    ]


@pytest.mark.slow
def test_all_planners_make_the_same_number_of_calls(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    planner.main([1_000, 2_000], [2_000], 1)
    text = capsys.readouterr().out
    assert re.findall(r"^\| bulkedit \|.* ([\d,]+) \|$", text, re.MULTILINE) == ["200", "200", "400", "400"]
    for other in ("dict and json, bare", "dict and json, same work"):
        assert re.findall(rf"^\| {other} \|.* ([\d,]+) \|$", text, re.MULTILINE) == ["400", "400"]
        assert len(re.findall(rf"times as fast as {other} \([\d.]+ by CPU seconds\)", text)) == 2
    assert len(re.findall(r"time grows as rows\^-?[\d.]+, memory as rows\^-?[\d.]+", text)) == 2


@pytest.mark.slow
def test_the_result_files_of_the_run_that_is_made_up_are_written_in_every_format() -> None:
    command = [sys.executable, "benchmarks/report.py", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    first, _, *lines = done.stdout.splitlines()
    assert first == "2,000 rows in 400 calls"
    assert [line.split()[0] for line in lines] == ["csv", "parquet", "jsonl"]


@pytest.mark.slow
def test_the_inventory_is_whole_at_each_latency() -> None:
    command = [sys.executable, "-m", "benchmarks.inventory", "--quick", "--latencies", "0", "50"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^\| +(?:0|50) \| +(?:1|16) \|", done.stdout, re.MULTILINE)) == 4
