"""The kill tables.

`python -m benchmarks.kills [KILLS]`: half of them at writes of the ledger, its log and its anchor.
`python -m benchmarks.kills --every-write [OPERATION …]`: SIGKILL and errors of the disk at every call that writes a
file, of plan, apply, resume and report (`tests/cli/every_write.py`).

Every kill is a SIGKILL of a real process: at a point in a call's life, at a random instant, or at a chosen write
(before it, after half of its bytes, after it). Every run is then resumed to its end and checked against the service.
Runs are killed up to five times.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bulkedit.emulator import UNTHROTTLED, CompletionTime, Settings, serve
from tests.cli.every_write import OPERATIONS, tried, writes_of
from tests.cli.kill_points import Point, Row, go_on, kill_once
from tests.cli.shell import Shell
from tests.cli.write_faults import COMPILER, WriteFault, commands

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


FAULTS = {
    "SIGKILL before it": lambda at: WriteFault(at, "before"),
    "SIGKILL after half": lambda at: WriteFault(at, "half"),
    "ENOSPC from it on": lambda at: WriteFault(at, "ENOSPC", lasts=True),
    "EIO": lambda at: WriteFault(at, "EIO"),
    "EDQUOT": lambda at: WriteFault(at, "EDQUOT"),
}


def every_write(names: list[str]) -> bool:
    """Print a table of every operation, kind of call and fault. Returns whether something is wrong."""
    table: Counter[tuple[str, str, str]] = Counter()
    with (
        serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01))) as emulator,
        commands() as starting,
    ):
        for name in names or OPERATIONS:
            writes = writes_of(OPERATIONS[name], emulator, starting)
            for (how, fault), at in itertools.product(FAULTS.items(), range(1, len(writes) + 1)):
                if how == "SIGKILL after half" and not writes[at - 1].startswith(("write", "pwrite", "sendfile")):
                    continue  # the others are done or not
                trial = tried(OPERATIONS[name], emulator, starting, fault(at))
                table[name, how, trial.outcome if not trial.wrong else "WRONG"] += 1
                if trial.wrong:
                    print(f"{name}, {how}, write {at} ({trial.step}): {trial.outcome}: {trial.wrong}", file=sys.stderr)
    print(f"{'operation':17} {'fault':19} {'writes':>6}  outcome")
    for (name, how, outcome), count in table.items():
        print(f"{name:17} {how:19} {count:6}  {outcome}", flush=True)
    print(f"{'all':37} {sum(table.values()):6}")
    return any(outcome == "WRONG" for _, _, outcome in table)


def main() -> None:
    os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1"}
    if sys.argv[1:2] == ["--every-write"]:
        sys.exit(every_write(sys.argv[2:]))
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
