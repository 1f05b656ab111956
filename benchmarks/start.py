"""Measures the CPU time of frequent commands against importing typer and rich: `python -m benchmarks.start`.

Each command takes turns with the baseline, so that a busy moment affects both. The figure is the median of user and
system time over many runs.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bulkedit.emulator import UNTHROTTLED, CompletionTime, Settings, serve
from tests.emulator.hospital import document

RUNS = 21
YARDSTICK = ("-c", "import typer, rich")


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0))) as store,
    ):
        image_set = store.add(document())
        (Path(folder) / "edits.csv").write_text(f"image_set_id,StudyDescription\n{image_set},X\n")
        words = ("apply", "edits.csv", "--run", "r", "--yes", "--datastore", store.datastore_id)
        subprocess.run(
            [sys.executable, "-m", "bulkedit", *words, "--endpoint-url", str(store)], cwd=folder, check=True, env=ENV
        )
        cases = {
            "--help": ("-m", "bulkedit", "--help"),
            "--version": ("-m", "bulkedit", "--version"),
            "completion": ("-c", "from bulkedit.cli.app import app; app(prog_name='bulkedit')"),
            "status": ("-m", "bulkedit", "status", "r"),
            "typer's own --help": ("-c", MINIMAL, "--help"),
            "typer, one argument": ("-c", MINIMAL, "r"),
        }
        times: dict[str, list[float]] = {name: [] for name in ("import typer, rich", *cases)}
        for _ in range(RUNS):
            times["import typer, rich"].append(cpu_s(YARDSTICK, folder))
            for name, case in cases.items():
                times[name].append(cpu_s(case, folder, COMPLETING if name == "completion" else {}))
    base = statistics.median(times["import typer, rich"])
    for name, found in times.items():
        print(f"{name:20} {statistics.median(found) * 1000:6.0f} ms  {statistics.median(found) / base:5.2f} x")


# a program with one path argument, to measure typer alone
MINIMAL = """
import typer, pathlib
def take(path: pathlib.Path) -> None: pass
typer.run(take)
"""
ENV = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BULKEDIT_"))},
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
}
COMPLETING = {"_BULKEDIT_COMPLETE": "complete_bash", "COMP_WORDS": "bulkedit sta", "COMP_CWORD": "1"}


def cpu_s(words: tuple[str, ...], folder: str, env: dict[str, str] | None = None) -> float:
    """Return user and system time of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], cwd=folder, env={**ENV, **(env or {})}, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
