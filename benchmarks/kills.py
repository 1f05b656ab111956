"""The kill table: `python -m benchmarks.kills [KILLS]`. Half of them at writes of the ledger, its log and its anchor.

Every kill is a SIGKILL of a real process: at a point in a call's life, at a random instant, or at a chosen write
(before it, after half of its bytes, after it). Every run is then resumed to its end and checked against the service.
Runs are killed up to five times.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bulkedit.emulator import UNTHROTTLED, CompletionTime, Settings, serve
from tests.cli.kill_points import COMPILER, Point, Row, go_on, kill_once
from tests.cli.shell import Shell

IMAGE_SETS, KILLS_A_RUN = 40, 5
WRITES = 60  # a process that is not killed makes more


def one_run(points: list[Point], rng: random.Random) -> list[Row]:
    """Run once, killed at each of the points in turn, then resumed to its end."""
    with (
        tempfile.TemporaryDirectory() as name,
        serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=1.0))) as emulator,
    ):
        shell = Shell(Path(name), emulator)
        image_sets = shell.image_sets(IMAGE_SETS)
        edits, run = shell.descriptions(image_sets), Path(name) / "r"
        words: tuple[str | Path, ...] = ("apply", edits, "--yes", "--run", run, "--rate", "20/s", "--burst", "2")
        kills = 0
        for point in points:
            nth = 1 if point is Point.UNLOCK_WAIT else rng.randint(1, 4)  # the engine seldom polls early
            if not kill_once(shell, words, point, rng.randint(1, WRITES) if point is Point.WRITE else nth, rng):
                break  # it ended before the kill
            kills += 1
            words = ("resume", run)
        rows = [go_on(shell, run, point) for point in points[-1:]]
        assert [shell.stored(one) for one in image_sets] == [(2, f"T{i}") for i in range(IMAGE_SETS)]
        return rows * kills


def points(rng: random.Random, kills: int) -> list[list[Point]]:
    """Return the points of each run, in random order."""
    writes = kills // 2 if COMPILER else 0
    if not COMPILER:
        print("There is no C compiler (cc): no kills at writes of the ledger.", file=sys.stderr)
    wanted: dict[Point, int] = dict.fromkeys(
        (point for point in Point if point not in {Point.RANDOM, Point.WRITE}), KILLS_A_RUN
    )
    wanted |= {Point.WRITE: writes, Point.RANDOM: kills - writes - sum(wanted.values())}
    chosen = [[point] * KILLS_A_RUN for point, count in wanted.items() for _ in range(-(-count // KILLS_A_RUN))]
    rng.shuffle(chosen)
    return chosen


def main() -> None:
    os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1"}
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    rng = random.Random(7)
    table: Counter[tuple[Point, str]] = Counter()
    for chosen in points(rng, kills):
        for row in one_run(chosen, rng):
            whole = row.exit_code == 0 and row.versions == row.calls == row.accepted
            table[row.point, "finished, each update made once" if whole else "WRONG"] += 1
    print(f"{'killed':40} {'kills':>6}  outcome after resume")
    for (point, outcome), count in sorted(table.items()):
        print(f"{point:40} {count:6}  {outcome}")
    print(f"{'all':40} {sum(table.values()):6}")
    sys.exit(any(outcome == "WRONG" for _, outcome in table))


if __name__ == "__main__":
    main()
