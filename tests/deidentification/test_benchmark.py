"""The benchmark of de-identification runs, and its figures are not off by more than a shared machine explains."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_quick_form_runs_and_stays_in_proportion() -> None:
    script = Path(__file__).parents[2] / "benchmarks/deid.py"
    done = subprocess.run(
        [sys.executable, str(script), "--quick"], capture_output=True, text=True, check=True, timeout=120
    )
    figures = {line[:44].strip(): line[44:].strip() for line in done.stdout.splitlines()}
    assert float(figures["ratio"]) > 5
    assert int(figures["calls"]) <= int(figures["payload bytes"].replace(",", "")) // 10_000 + 2
