"""Measures the cost of durability: `python -m benchmarks.durability`.

1.  Throughput at 500 calls/s with synchronous=FULL and the anchor of the ledger, and with OFF and no anchor, in pairs,
    one process.
2.  Time and memory to resume a run of 1,000,000 calls with three events each in its ledger.
"""

from __future__ import annotations

import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import polars as pl

from benchmarks.instant import Instant
from bulkedit import plans
from bulkedit.client.pacing import Operation, Rate
from bulkedit.client.responses import CallState
from bulkedit.emulator import DEFAULT_DATASTORE_ID
from bulkedit.options.running import Strategy
from bulkedit.runs.engine import Engine
from bulkedit.runs.ledger import Event, Ledger
from bulkedit.runs.options import EngineOptions
from bulkedit.runs.resume import resumption
from tests.runs.factories import FAST, KEY, about_plan, planned, row

if TYPE_CHECKING:
    from bulkedit.client.contract import UpdateRequest
    from bulkedit.client.responses import Accepted, ImageSet, Lost, Refused

RATE, BURST, CALLS, PAIRS = 500.0, 50, 6_000, 3
LEDGER_CALLS = 1_000_000


class Slow(Instant):
    """A service that answers after 20 ms and completes updates at once."""

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        await anyio.sleep(0.02)
        return await super().update(request)

    async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
        await anyio.sleep(0.02)
        return await super().get_image_set(image_set_id, version)


def throughput(plan: plans.SavedPlan, path: Path, *, synchronous: str) -> float:
    """Return the calls per second of one run."""

    async def main() -> float:
        with Ledger.create(path) as ledger:
            ledger._connection.execute(f"PRAGMA synchronous = {synchronous}")
            if synchronous == "OFF":
                ledger._anchor = None  # the anchor is part of the cost
            options = replace(
                EngineOptions(), rates={**FAST, Operation.UPDATE: Rate(RATE, BURST)}, workers=256, max_in_flight=1_000
            )
            engine = Engine(plan, Slow(CALLS), ledger, options, key=KEY, rng=random.Random(1))
            began = time.perf_counter()
            counters = await engine.run()
            assert counters.applied == CALLS
            return CALLS / (time.perf_counter() - began)

    return anyio.run(main)


def compare(folder: Path) -> None:
    rows = [row(f"{n:032d}", "PatientName", "X") for n in range(CALLS)]
    plan = planned(folder / "plan", DEFAULT_DATASTORE_ID, rows)
    rates: dict[str, list[float]] = {"OFF": [], "FULL": []}
    for pair in range(PAIRS):
        for mode in rates if pair % 2 else reversed(rates):
            rates[mode].append(throughput(plan, folder / f"{mode}-{pair}.sqlite", synchronous=mode))
    costs = [1 - full / off for off, full in zip(rates["OFF"], rates["FULL"], strict=True)]
    for mode, found in rates.items():
        print(
            f"synchronous={mode:4}  {statistics.median(found):7.1f} calls/s  ({', '.join(f'{x:.0f}' for x in found)})"
        )
    print(f"durability costs {statistics.median(costs):.1%} of the throughput at {RATE:g} calls/s (at most 10 %)")


def synthesise(folder: Path) -> None:
    """Make a plan of a million calls, and a ledger with all but 100 of them completed."""
    numbers = pl.int_range(LEDGER_CALLS, dtype=pl.UInt32, eager=True)
    ids = numbers.cast(pl.String).str.zfill(32)
    sample = planned(folder / "sample", DEFAULT_DATASTORE_ID, [row(f"{0:032d}", "PatientName", "X")])
    calls = sample.calls().collect().drop("call", "lane", "image_set_id")
    edits = sample.edits().collect().drop("call", "edit", "image_set_id", "unit", "row")
    frame = pl.DataFrame({"call": numbers, "lane": numbers, "image_set_id": ids})
    edit = pl.DataFrame({"edit": numbers, "unit": numbers, "row": numbers + 2, "call": numbers, "image_set_id": ids})
    plan = plans.Plan(
        calls=frame.join(calls, how="cross").select(plans.CALLS.names()),
        edits=edit.join(edits, how="cross").select(plans.PLANNED_EDITS.names()),
        set_aside=sample.set_aside().collect(),
    )
    plans.save(plan, folder / "plan", about_plan(plan, DEFAULT_DATASTORE_ID))
    with Ledger.create(folder / "ledger.sqlite") as ledger:
        ledger._connection.execute("PRAGMA synchronous = OFF")
        for state in (CallState.INTENDED, CallState.ACCEPTED, CallState.APPLIED):
            last = LEDGER_CALLS - (100 if state is CallState.APPLIED else 0)
            for begin in range(0, last, 50_000):
                ledger.append(
                    [
                        Event(
                            at=float(n), call=n, state=state, expected_version=1, version=2, attempts=1, digest="d" * 32
                        )
                        for n in range(begin, min(last, begin + 50_000))
                    ]
                )


def ready(folder: Path) -> None:
    """Open plan and ledger as a resume does, and print time and memory."""
    began = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan = plans.load(folder / "plan")
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        opened = time.perf_counter()
        found = resumption(plan, ledger, Strategy.NEW)
        engine = Engine(plan, Instant(0), ledger, EngineOptions(), key=KEY, rng=random.Random(1))
        assert found.outcome_unknown == 100
        assert engine.counters.applied == LEDGER_CALLS - 100
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = (folder / "ledger.sqlite").stat().st_size / 2**20
    print(
        f"{LEDGER_CALLS:,} calls, {size:,.0f} MiB: ready in {time.perf_counter() - began:.1f} s "
        f"(checked after {opened - began:.1f} s; at most 10 s); peak {after / 1024:,.0f} MiB "
        f"(at most 500 MiB; {before / 1024:,.0f} MiB of it before)"
    )


def main() -> None:
    if len(sys.argv) > 1:
        ready(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        compare(Path(name))
    with tempfile.TemporaryDirectory() as name:
        synthesise(Path(name))
        subprocess.run([sys.executable, "-m", "benchmarks.durability", name], check=True)


if __name__ == "__main__":
    main()
