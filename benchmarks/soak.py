"""The soak at length: `python -m benchmarks.soak [CALLS]`, 100,000 where not given. Prints the balance sheet.

A run of hours passes on a clock that jumps; a killed process is an engine that is dropped and a ledger opened again.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.runs.soak import soak


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sheet = soak(Path(folder), calls)
    print(sheet.lines())
    print(f"the books are even; {time.perf_counter() - began:,.0f} s")


if __name__ == "__main__":
    main()
