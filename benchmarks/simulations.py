"""Prints a table of simulated runs: how close the engine comes to a quota that it does not know.

    python -m benchmarks.simulations [--only 5/10] [--changes]

Deterministic, on a virtual clock: the real engine against the emulated service (`tests/runs/simulation.py`).
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.runs.simulation import CHANGES, HEAD, STEADY, simulate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="the quota of these scenarios, such as 5/10")
    parser.add_argument("--changes", action="store_true", help="quotas that change, instead of steady ones")
    arguments = parser.parse_args()
    began = time.monotonic()
    print(HEAD)
    for scenario in CHANGES if arguments.changes else STEADY:
        if arguments.only in (None, f"{scenario.rate:g}/{scenario.burst:g}"):
            print(simulate(scenario).row(), flush=True)
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
