"""Measures time and memory of the result files of a large run.

    python benchmarks/report.py [--rows 10000000] [--per-call 5] [--formats csv,parquet,jsonl] [--shuffled]
    python benchmarks/report.py --quick    a short check that it works

Makes a run without a service: a plan, and a ledger of its calls, nine of ten applied, the others rejected, conflicted,
failed or not begun. Then `bulkedit report RUN --results` writes the result files with values, in a process of its own
per format.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from bulkedit import plans
from bulkedit.client.responses import CallState
from bulkedit.edits import SET_ASIDE
from bulkedit.edits.edit import LEVEL
from bulkedit.plans.build import written
from bulkedit.runs import folder as runs
from bulkedit.runs.ledger import Event, Ledger

ATTRIBUTES = ["PatientName", "PatientID", "StudyDescription", "AccessionNumber", "ReferringPhysicianName"]
ENDS = [*["applied"] * 90, *["rejected"] * 4, *["conflicted"] * 2, *["failed"] * 2, *["planned"] * 2]
NOTHING = ("series_uid", "instance_uid", "vr", "revert_to", "version", "order", "same_as")
_BATCH = 10_000  # events of a commit
MESSAGE = "The value to remove does not match the metadata"


def edits(rows: int, per_call: int, *, shuffled: bool) -> pl.DataFrame:
    """Return the planned edits of a tidy list with this many rows, ``per_call`` in each call."""
    edit = pl.int_range(rows, dtype=pl.UInt32, eager=True)
    frame = pl.DataFrame({"edit": edit})
    if shuffled:  # the rows of an image set are not adjacent
        frame = frame.with_columns(call=(pl.col("edit").shuffle(seed=1) // per_call))
    else:
        frame = frame.with_columns(call=pl.col("edit") // per_call)
    level = pl.Series(["Patient", "Patient", "Study", "Study", "Study"], dtype=LEVEL)
    place = pl.col("edit") % len(ATTRIBUTES)
    image_set_id = pl.col("call").hash(7).cast(pl.String).str.zfill(32)
    return (
        frame.lazy()
        .with_columns(
            unit=pl.col("edit"),
            sent=pl.lit(value=True),
            image_set_id=image_set_id,
            row=pl.col("edit") + 2,
            edit_id=pl.format("e-{}", "edit"),
            action=pl.lit("set"),
            level=pl.lit(level).gather(place),
            attribute=pl.lit(pl.Series(ATTRIBUTES)).gather(place),
            value=pl.format('"VALUE^{}"', "edit"),
            force=pl.lit(value=False),
            unchecked=pl.lit(value=False),
            study_wide=pl.lit(value=False),
            **dict.fromkeys(NOTHING, pl.lit(None)),
        )
        .select(plans.PLANNED_EDITS.names())
        .cast(plans.PLANNED_EDITS)
        .sort("call", "edit")
        .collect()
    )


def calls_of(planned: pl.DataFrame) -> pl.DataFrame:
    """Return the calls of the edits, each in a lane of its own."""
    calls = written(planned, ["image_set_id"]).with_columns(lane=pl.col("call"), copy_step=pl.lit(None, pl.String))
    return calls.select(plans.CALLS.names()).cast(plans.CALLS)


def run_of(folder: Path, rows: int, per_call: int, *, shuffled: bool) -> runs.Run:
    """Make a run that has ended, in ``folder / "run"``."""
    planned = edits(rows, per_call, shuffled=shuffled)
    calls = calls_of(planned)
    plan = plans.Plan(calls, planned, pl.DataFrame(schema=SET_ASIDE))
    counts = {**plans.estimate(plan).as_json(), "rows": rows, "set_aside": 0, "skipped": 0, "empty": 0}
    about: Any = {
        "datastore_id": "bench" + "0" * 27,
        "list": {"name": "edits.csv", "sha256": "0" * 64, "form": "tidy", "rows": rows},
        "settings": {"service_version": "2026", "payload_limit": 10_000, "force": False, "merge": True},
        "counts": counts,
    }
    saved = plans.save(plan, folder / "plan", about)
    settings: runs.RunSettings = {"connection": {}, "options": {"rate": "5/s", "burst": 1}}
    run = runs.create(folder / "run", saved, settings, datetime.now(UTC))
    _fill(run, calls.height)
    return run


def _fill(run: runs.Run, calls: int) -> None:
    """Write intent, acceptance and end of each call, as the engine does."""
    batch: list[Event] = []
    with Ledger.create(run.ledger) as ledger:
        for call in range(calls):
            at, end = 1_700_000_000 + call / 5, CallState(ENDS[call % 100])
            if end is CallState.PLANNED:
                continue
            batch.append(
                Event(at=at, call=call, state=CallState.INTENDED, expected_version=1, attempts=1, digest="d" * 32)
            )
            if end in {CallState.APPLIED, CallState.REJECTED}:
                batch.append(Event(at=at + 0.1, call=call, state=CallState.ACCEPTED, expected_version=1, attempts=1))
            made = 2 if end is CallState.APPLIED else None
            ended = Event(at=at + 1.3, call=call, state=end, expected_version=1, version=made, attempts=1)
            batch.append(
                replace(ended, reason="INVALID_REQUEST", message=MESSAGE) if end is CallState.REJECTED else ended
            )
            if len(batch) > _BATCH:
                ledger.append(batch)
                batch = []
        ledger.append(batch)


def measured(run: runs.Run, format_: str) -> None:
    """Return one line of the table."""
    folder = run.folder.with_name(f"results-{format_}")
    words = ["report", str(run.folder), "--results", str(folder), "--format", format_, "--include-values", "--json"]
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "bulkedit", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [json.loads(line) for line in process.stdout]
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    seconds = time.perf_counter() - started
    files = lines[0]["files"].values()
    assert sum(file["rows"] for file in files) == run.plan.counts["rows"]
    size = sum(file["bytes"] for file in files) / 1e9
    cpu = usage.ru_utime + usage.ru_stime
    print(f"{format_:8} {seconds:8.1f} s {cpu:8.1f} s {usage.ru_maxrss / 2**20:6.1f} GiB {size:6.2f} GB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--per-call", type=int, default=5)
    parser.add_argument("--formats", default="csv,parquet,jsonl")
    parser.add_argument("--shuffled", action="store_true", help="the rows of an image set are not adjacent")
    parser.add_argument("--quick", action="store_true", help="2,000 rows")
    chosen = parser.parse_args()
    rows = 2_000 if chosen.quick else chosen.rows
    with tempfile.TemporaryDirectory() as work:
        run = run_of(Path(work), rows, chosen.per_call, shuffled=chosen.shuffled)
        print(f"{rows:,} rows in {run.plan.counts['calls']:,} calls")
        print("format     seconds   CPU time  peak memory  size")
        for format_ in chosen.formats.split(","):
            measured(run, format_)


if __name__ == "__main__":
    main()
