"""Measures time per call and memory of a run, from a thousand calls to a million; the service answers at once.

    python -m benchmarks.growth [--quick] [--sizes 1000 10000 100000 1000000] [--figure FILE]

Each size is a process of its own. Memory is the resident memory above that of the process after its imports. *resume*
opens the ledger of the ended run again and computes its summary.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import linear_regression
from typing import TYPE_CHECKING, Any

from benchmarks import figures, instant, watch
from bulkedit import plans
from bulkedit.cli._working import short_collections
from bulkedit.client.pacing import Operation, Rate
from bulkedit.runs import folder as runs
from bulkedit.runs.engine import Engine
from bulkedit.runs.ledger import Ledger
from bulkedit.runs.options import EngineOptions
from bulkedit.runs.summary import summary

if TYPE_CHECKING:
    from bulkedit.runs.counters import RunCounters

SIZES = (1_000, 10_000, 100_000, 1_000_000)
# no quota; the in-flight limit is large because completed updates are polled only after a moment
OPTIONS = EngineOptions(rates={operation: Rate(1e7, 1e7) for operation in Operation}, max_in_flight=2_000)


def measure(folder: Path, calls: int) -> dict[str, Any]:
    """Run a plan with this many calls, which another process has written."""
    plan = plans.load(folder / "plan")
    about: Any = {"key": "", "settings": {}}
    run = runs.Run(folder, plan, about)
    idle = watch.resident_mib()
    watch.forget_peak()
    with short_collections(), watch.callbacks() as callbacks, Ledger.create(run.ledger) as ledger:
        began, cpu = time.perf_counter(), time.process_time()
        counters = asyncio.run(_run(run, instant.Instant(calls), ledger))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert counters.applied == calls, counters
    peak = watch.peak_mib() - idle
    watch.forget_peak()
    began = time.perf_counter()
    with Ledger.open(run.ledger) as ledger:
        again = Engine(plan, instant.Instant(1), ledger, OPTIONS, key=b"", rng=random.Random(7))
        assert again.counters.applied == calls
    assert summary(run)["applied"] == calls
    return {
        "calls": calls,
        "us_per_call": seconds / calls * 1e6,
        "cpu_us_per_call": cpu / calls * 1e6,
        "mib": peak,
        "longest_callback_ms": callbacks.longest_s * 1e3,
        "longest_callback_cpu_ms": callbacks.longest_cpu_s * 1e3,
        "callbacks_over_50_ms": callbacks.over_50_ms,
        "ledger_bytes_per_call": run.ledger.stat().st_size / calls,
        "resume_seconds": time.perf_counter() - began,
        "resume_mib": watch.peak_mib() - idle,
    }


async def _run(run: runs.Run, client: instant.Instant, ledger: Ledger) -> RunCounters:
    engine = Engine(run.plan, client, ledger, OPTIONS, key=b"a key of a benchmark", rng=random.Random(7))
    return await engine.run()


def in_process(calls: int) -> dict[str, Any]:
    """Run `measure` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        instant.save_plan(Path(folder) / "plan", calls)
        command = [sys.executable, "-m", "benchmarks.growth", "--one", str(calls), folder]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def slope(rows: list[dict[str, Any]], name: str) -> float:
    """Return the growth of a figure per tenfold of calls, as a share of its mean."""
    values: list[float] = [row[name] for row in rows]
    fitted = linear_regression([math.log10(row["calls"]) for row in rows], values).slope
    return fitted * len(values) / sum(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--quick", action="store_true", help="500, 1,000 and 2,000 calls")
    parser.add_argument("--figure", type=Path, default=figures.FIGURES / "growth.png")
    parser.add_argument("--one", nargs=2, metavar=("CALLS", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(Path(arguments.one[1]), int(arguments.one[0]))))
        return
    sizes = (500, 1_000, 2_000) if arguments.quick else arguments.sizes
    rows = []
    for calls in sizes:
        rows.append(in_process(calls))
        print(f"{calls:,} calls: {json.dumps(rows[-1])}", file=sys.stderr, flush=True)
    print(f"{figures.machine()}\n")
    print(figures.table([name.replace("_", " ") for name in rows[0]], [list(row.values()) for row in rows]))
    print(f"\nper tenfold of calls: time per call {slope(rows, 'cpu_us_per_call'):+.1%} (CPU), memory ", end="")
    print(f"{slope(rows, 'mib'):+.1%}")
    figures.plot(
        arguments.figure,
        (9, 3.2),
        [_panel(rows, "cpu_us_per_call", "µs of CPU per call"), _panel(rows, "mib", "MiB above idle")],
    )


def _panel(rows: list[dict[str, Any]], name: str, title: str) -> Any:
    def draw(axis: Any) -> None:
        axis.plot([row["calls"] for row in rows], [row[name] for row in rows], "o-", color=figures.BLUE)
        axis.set(xscale="log", xlabel="calls", ylim=(0, 1.25 * max(row[name] for row in rows)))
        axis.set_title(title, loc="left", fontsize=10)

    return draw


if __name__ == "__main__":
    main()
