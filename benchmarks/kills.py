"""The kill table: `python -m benchmarks.kills [RANDOM]`. Each point of a call's life, and so many random instants.

Every kill is a SIGKILL of a real process at work; every run is then resumed to its end and judged from the service's
side. Runs are killed up to five times before they are finished.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bulkedit.emulator import UNTHROTTLED, Settings, Settle, serve
from tests.cli.executioner import Point, Row, go_on, kill_once
from tests.cli.shell import Shell

IMAGE_SETS, KILLS_A_RUN = 40, 5


def one_run(points: list[Point], rng: random.Random) -> list[Row]:
    """One run, killed at each of the points in turn, then finished."""
    with (
        tempfile.TemporaryDirectory() as name,
        serve(Settings(scale=UNTHROTTLED, settle=Settle(seconds=1.0))) as emulator,
    ):
        shell = Shell(Path(name), emulator)
        image_sets = shell.image_sets(IMAGE_SETS)
        edits, run = shell.descriptions(image_sets), Path(name) / "r"
        words: tuple[str | Path, ...] = ("apply", edits, "--yes", "--run", run, "--rate", "20/s", "--burst", "2")
        kills = 0
        for point in points:
            nth = 1 if point is Point.UNLOCK_WAIT else rng.randint(1, 4)  # the engine looks seldom before it must
            if not kill_once(shell, words, point, nth, rng):
                break  # it had ended before
            kills += 1
            words = ("resume", run)
        rows = [go_on(shell, run, point) for point in points[-1:]]
        assert [shell.stored(one) for one in image_sets] == [(2, f"T{i}") for i in range(IMAGE_SETS)]
        return rows * kills


def main() -> None:
    os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1"}
    instants = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rng = random.Random(7)
    chosen = [[point] * KILLS_A_RUN for point in Point if point is not Point.RANDOM]
    chosen += [[Point.RANDOM] * KILLS_A_RUN] * -(-instants // KILLS_A_RUN)
    table: Counter[tuple[Point, str]] = Counter()
    for points in chosen:
        for row in one_run(points, rng):
            whole = row.exit_code == 0 and row.versions == row.calls == row.accepted
            table[row.point, "finished, each update made once" if whole else "WRONG"] += 1
    print(f"{'killed':40} {'kills':>6}  outcome after resume")
    for (point, outcome), count in table.items():
        print(f"{point:40} {count:6}  {outcome}")
    sys.exit(any(outcome == "WRONG" for _, outcome in table))


if __name__ == "__main__":
    main()
