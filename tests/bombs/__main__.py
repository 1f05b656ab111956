"""Print the peaks of the bombs: `python -m tests.bombs`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tests.bombs.cases import BOMBS

_MEGA = 2**20


def main() -> None:
    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_REGION="us-east-1")
    print("| bomb | peak with something harmless | peak with the bomb | above | exit code | it says |")
    print("|---|---|---|---|---|---|")
    for bomb in BOMBS:
        with tempfile.TemporaryDirectory() as name:
            before = bomb.harmless.carry_out(Path(name, "harmless")).peak
            ended = bomb.trial.carry_out(Path(name, "bomb"))
        above = "killed" if ended.killed else f"{(ended.peak - before) / _MEGA:,.0f} MiB"
        peaks = f"{before / _MEGA:,.0f} MiB | {ended.peak / _MEGA:,.0f} MiB | {above}"
        said = bomb.says if bomb.says in ended.text else "something else"
        print(f"| {bomb} | {peaks} | {ended.exit_code} | {said} |", flush=True)


if __name__ == "__main__":
    main()
