"""The long soak test: `python -m benchmarks.soak [CALLS]`, by default 100,000. Prints the balance sheet.

The clock is virtual, so a run of hours is short. A kill drops the engine and opens its ledger again.
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
