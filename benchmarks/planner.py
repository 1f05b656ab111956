"""Measures time and memory of `bulkedit plan`, and of two planners in plain Python.

    python -m benchmarks.planner [--quick] [--repeats 1]

Each row of the table is a process of its own. The least of the repeats counts, in seconds and in CPU seconds (user and
system, all threads). The planners in plain Python are:

*   *dict and json* merges and writes one line per call, without checks and without a record of rows.
*   *dict and json, same work* does the work of `bulkedit plan` for this list, row by row: the checks of rows and
    between rows, the payload limit, calls and edits on disk, and the digests. The facts about an attribute are looked
    up once. It supports only the form, action and selector of this list.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

ATTRIBUTES = {
    "PatientName": "Patient",
    "PatientID": "Patient",
    "StudyDescription": "Study",
    "AccessionNumber": "Study",
    "ReferringPhysicianName": "Study",
}
DATASTORE = "0" * 32
OURS, BARE, SAME = "bulkedit", "dict and json, bare", "dict and json, same work"


def make_list(folder: Path, rows: int) -> dict[str, Path]:
    """Write a tidy list with five rows per image set, as Parquet and CSV."""
    sets = pl.DataFrame({"n": pl.int_range(rows // len(ATTRIBUTES), eager=True)}).with_columns(
        image_set_id=pl.concat_str(pl.col("n").hash(seed).cast(pl.String).str.zfill(20) for seed in (1, 2)).str.head(32)
    )
    names = pl.DataFrame({"attribute": list(ATTRIBUTES)})
    value = (
        pl.when(pl.col("attribute").str.ends_with("Name"))
        .then(pl.format("Family{}^Given", pl.col("n").hash(3) % 90_000))
        .when(pl.col("attribute") == "StudyDescription")
        .then(pl.format("CT abdomen {}", pl.col("n") % 500))
        .otherwise(pl.format("A{}", pl.col("n")))
    )
    table = sets.join(names, how="cross", maintain_order="left").select("image_set_id", "attribute", value=value)
    paths = {suffix: folder / f"{rows}.{suffix}" for suffix in ("parquet", "csv")}
    table.write_parquet(paths["parquet"])
    table.write_csv(paths["csv"])
    return paths


def plain_planner(source: Path, target: Path) -> None:
    """Merge by image set in a dict, and write each call as a line of JSON."""
    calls: dict[str, dict[str, dict[str, str]]] = {}

    def take(image_set_id: str, attribute: str, value: str) -> None:
        levels = calls.setdefault(image_set_id, {})
        levels.setdefault(ATTRIBUTES[attribute], {})[attribute] = value

    if source.suffix == ".csv":
        with source.open(newline="") as file:
            for row in csv.DictReader(file):
                take(row["image_set_id"], row["attribute"], row["value"])
    else:
        for cells in pl.read_parquet(source).iter_rows():
            take(*cells)
    with target.open("w") as out:
        for image_set_id, levels in calls.items():
            document = {"SchemaVersion": 1.1} | {level: {"DICOM": dicom} for level, dicom in levels.items()}
            out.write(json.dumps({"imageSetId": image_set_id, "updatableAttributes": json.dumps(document)}) + "\n")


def measured(words: list[str]) -> tuple[float, float, float]:
    """Return seconds, CPU seconds and peak MiB of a process."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def least(words: list[str], folder: Path, repeats: int) -> tuple[float, float, float, int]:
    """Return seconds, CPU seconds, peak MiB and calls, the least of repeats. {} in the command is a new folder."""
    found, calls = [], 0
    for number in range(repeats):
        target = folder / f"{words[1]}-{number}".replace("/", "-")
        found.append(measured([word.format(target) for word in words]))
        calls = calls_in(target)
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    seconds, cpu, peaks = zip(*found, strict=True)
    return min(seconds), min(cpu), min(peaks), calls


def calls_in(target: Path) -> int:
    """Count the calls that a planner wrote."""
    if target.is_dir() and (target / "calls.jsonl").exists():
        return calls_in(target / "calls.jsonl")
    if target.is_dir():
        return int(pl.scan_parquet(target / "calls.parquet").select(pl.len()).collect().item())
    with target.open("rb") as file:
        return sum(1 for _ in file)


def slope(points: dict[int, float]) -> float:
    """Return the exponent of growth: the slope of the logarithms, by least squares."""
    xs, ys = [math.log(n) for n in points], [math.log(y) for y in points.values()]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)


def main(sizes: list[int], compared: list[int], repeats: int) -> None:
    print(f"load average before: {os.getloadavg()[0]:.1f}\n")
    print("| planner | format | rows | seconds | CPU seconds | peak MiB | calls |\n|---|---|---:|---:|---:|---:|---:|")
    seconds: dict[tuple[str, str], dict[int, float]] = {}
    cpu: dict[tuple[str, str], dict[int, float]] = {}
    peaks: dict[tuple[str, str], dict[int, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for rows in sizes:
            for suffix, path in make_list(folder, rows).items():
                planners = {OURS: ["-m", "bulkedit", "plan", str(path), "-d", DATASTORE, "-o", "{}"]}
                if rows in compared:
                    planners[BARE] = [__file__, "--plain", str(path), "{}"]
                    planners[SAME] = ["-m", "benchmarks.same_work", str(path), "{}"]
                for planner, words in planners.items():
                    took, used, peak, calls = least(words, folder, repeats)
                    key = planner, suffix
                    seconds.setdefault(key, {})[rows] = took
                    cpu.setdefault(key, {})[rows] = used
                    peaks.setdefault(key, {})[rows] = peak
                    figures = f"{took:.1f} | {used:.1f} | {peak:,.0f} | {calls:,}"
                    print(f"| {planner} | {suffix} | {rows:,} | {figures} |", flush=True)
    print()
    for suffix in ("parquet", "csv"):
        times, memory = seconds[OURS, suffix], peaks[OURS, suffix]
        print(f"{suffix}: time grows as rows^{slope(times):.2f}, memory as rows^{slope(memory):.2f}")
        for rows, other in itertools.product(compared, (SAME, BARE)):
            ratio = seconds[other, suffix][rows] / times[rows]
            ratio_cpu = cpu[other, suffix][rows] / cpu[OURS, suffix][rows]
            print(f"{suffix}, {rows:,} rows: {ratio:.1f} times as fast as {other} ({ratio_cpu:.1f} by CPU seconds)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100,000 and 300,000 rows only")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--plain", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plain:
        plain_planner(*given.plain)
    elif given.quick:
        main([100_000, 300_000], [300_000], given.repeats)
    else:
        main([100_000, 1_000_000, 10_000_000], [1_000_000, 10_000_000], given.repeats)
