"""A hundred weeks among surroundings that fail: `python -m benchmarks.week [SEEDS] [--first N] [--days D]`.

Prints a row for each week, and ends with exit code 1 if the books of any are not even.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tests.runs.week import HEAD, draw, play


def week_of(seed: int, days: float) -> tuple[str, list[str]]:
    """The row of a seed, and what is wrong with it."""
    with tempfile.TemporaryDirectory() as folder:
        played = play(draw(seed, days), Path(folder))
    return played.row(), [f"seed {seed}: {one}" for one in played.wrong]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.week", description=__doc__)
    parser.add_argument("seeds", type=int, nargs="?", default=100)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--days", type=float, default=7.0)
    chosen = parser.parse_args()
    began, found = time.perf_counter(), list[str]()
    print(HEAD)
    with ProcessPoolExecutor(2) as processes:
        seeds = range(chosen.first, chosen.first + chosen.seeds)
        for row, wrong in processes.map(partial(week_of, days=chosen.days), seeds):
            print(row, flush=True)
            found += wrong
    print(*found, sep="\n")
    print(f"{chosen.seeds} weeks of {chosen.days:g} days in {(time.perf_counter() - began) / 60:.0f} minutes")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
