"""Time and memory of `bulkedit plan`, and of what a competent user would write with a dict and json.

    python benchmarks/planner.py [--quick] [--repeats 1]

Each row of the table is a process of its own; of repeats the least counts. The other planner does the same work on
disk (one line a call, with its merged document), and none of the checks.
"""

from __future__ import annotations

import argparse
import csv
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


def make_list(folder: Path, rows: int) -> dict[str, Path]:
    """A tidy list of five rows for each image set, as Parquet and CSV."""
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


def measured(words: list[str]) -> tuple[float, float]:
    """Seconds and peak MiB of a process."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return time.monotonic() - began, usage.ru_maxrss / 1024


def least(words: list[str], folder: Path, repeats: int) -> tuple[float, float, int]:
    """Seconds, peak MiB and calls: the least of repeats. {} in the words is a new place to write to."""
    found, calls = [], 0
    for number in range(repeats):
        target = folder / f"{words[1]}-{number}".replace("/", "-")
        found.append(measured([word.format(target) for word in words]))
        calls = calls_in(target)
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    return min(seconds for seconds, _ in found), min(peak for _, peak in found), calls


def calls_in(target: Path) -> int:
    """The calls that a planner wrote: counted, not believed."""
    if target.is_dir():
        return int(pl.scan_parquet(target / "calls.parquet").select(pl.len()).collect().item())
    with target.open("rb") as file:
        return sum(1 for _ in file)


def slope(points: dict[int, float]) -> float:
    """The exponent of growth: the slope of the logarithms, by least squares."""
    xs, ys = [math.log(n) for n in points], [math.log(y) for y in points.values()]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)


def main(sizes: list[int], compared: int, repeats: int) -> None:
    print("| planner | format | rows | seconds | peak MiB | calls |\n|---|---|---:|---:|---:|---:|")
    seconds: dict[tuple[str, str], dict[int, float]] = {}
    peaks: dict[tuple[str, str], dict[int, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for rows in sizes:
            for suffix, path in make_list(folder, rows).items():
                ours = ["-m", "bulkedit", "plan", str(path), "-d", DATASTORE, "-o", "{}"]
                planners = {"bulkedit": ours}
                if rows == compared:
                    planners["dict and json"] = [__file__, "--plain", str(path), "{}"]
                for planner, words in planners.items():
                    took, peak, calls = least(words, folder, repeats)
                    seconds.setdefault((planner, suffix), {})[rows] = took
                    peaks.setdefault((planner, suffix), {})[rows] = peak
                    print(f"| {planner} | {suffix} | {rows:,} | {took:.1f} | {peak:,.0f} | {calls:,} |", flush=True)
    for suffix in ("parquet", "csv"):
        times, memory = seconds["bulkedit", suffix], peaks["bulkedit", suffix]
        ratio = seconds["dict and json", suffix][compared] / times[compared]
        print(
            f"{suffix}: time grows as rows^{slope(times):.2f}, memory as rows^{slope(memory):.2f}; "
            f"{ratio:.1f} times as fast as dict and json at {compared:,} rows"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100,000 and 300,000 rows only")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--plain", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plain:
        plain_planner(*given.plain)
    elif given.quick:
        main([100_000, 300_000], 300_000, given.repeats)
    else:
        main([100_000, 1_000_000, 10_000_000], 1_000_000, given.repeats)
