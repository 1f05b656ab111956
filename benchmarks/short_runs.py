"""How long short runs take whose quota is not told, in real time: the command against an emulator in another process.

    python -m benchmarks.short_runs [--runs 3] [--only 0.25/1] [--quick]

The shortest time from the first to the last accepted update is (calls - burst) / rate: the burst at once, and the rest
when they are refilled. Times and throttles come from the emulator's journal, not from the output of the command.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import figures
from benchmarks.emulator_load import document
from bulkedit.emulator import CompletionTime, Settings, profile, serve

UPDATE = "UpdateImageSetMetadata"


@dataclass(frozen=True, slots=True)
class ShortRun:
    """So many calls, each on its own image set, at a quota."""

    rate: float
    burst: int
    calls: int
    most: float  # times the shortest

    @property
    def quota(self) -> str:
        return f"{self.rate:g}/{self.burst}"

    @property
    def shortest_s(self) -> float:
        return (self.calls - self.burst) / self.rate


RUNS = [
    ShortRun(20, 20, 100, 1.5),
    ShortRun(20, 20, 1200, 1.05),
    ShortRun(0.25, 1, 24, 1.10),
    ShortRun(5, 10, 200, 1.10),
]
QUICK = [ShortRun(20, 20, 40, 3.0)]


def measure(short: ShortRun) -> list[object]:
    """A row of the table."""
    settings = Settings(
        profile=profile("2026"),
        completion_time=CompletionTime(seconds=0.5, sigma=0.3),
        quotas={UPDATE: (short.rate, short.burst)},
    )
    with tempfile.TemporaryDirectory() as folder, serve(settings) as emulator:
        ids = [emulator.add(document(number, 500)) for number in range(short.calls)]
        rows = [f"{one},StudyDescription,EDITED" for one in ids]
        (Path(folder) / "edits.csv").write_text("\n".join(["image_set_id,attribute,value", *rows]))
        command = [
            sys.executable,
            "-m",
            "bulkedit",
            "apply",
            "edits.csv",
            "-d",
            emulator.datastore_id,
            "--yes",
            "--json",
        ]
        environment = {"HOME": folder, "PATH": "/usr/bin:/bin", "AWS_REGION": "us-east-1", **emulator.environment()}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        entries = [entry for entry in emulator.journal() if entry.kind == "request"]
    updates = [entry for entry in entries if entry.action == UPDATE]
    accepted = [entry.at for entry in updates if entry.status == 200]
    assert len(accepted) == short.calls
    seconds, throttled = accepted[-1] - accepted[0], sum(entry.status == 429 for entry in updates)
    times, share = seconds / short.shortest_s, throttled / len(entries)
    good = times <= short.most and (throttled <= 5 or share <= 0.02)
    return [
        f"{short.calls:,} calls at {short.quota}",
        f"{short.shortest_s:.1f}",
        f"{seconds:.1f}",
        f"{times:.3f}",
        f"{short.most:g}",
        throttled,
        f"{share:.1%}",
        "yes" if good else "no",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="of each kind")
    parser.add_argument("--only", help="the quota of these runs, such as 5/10")
    parser.add_argument("--quick", action="store_true", help="one run of two seconds")
    arguments = parser.parse_args()
    print(figures.machine(), flush=True)
    head = ["run", "shortest s", "seconds", "times", "at most", "throttled", "of requests", "as promised"]
    wanted = QUICK if arguments.quick else [one for one in RUNS if arguments.only in {None, one.quota}]
    rows = [measure(short) for short in wanted for _ in range(1 if arguments.quick else arguments.runs)]
    print(figures.table(head, rows))


if __name__ == "__main__":
    main()
