"""Output is not the work: a run goes on if the readers of its messages go away or their disk is full."""

from __future__ import annotations

import fcntl
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulkedit.cli._streams import takes_more

if TYPE_CHECKING:
    from tests.cli.shell import Shell

FULL = Path("/dev/full")
LOST = {
    "reader gone": "{} 2>errors | true",
    "readers gone": "{} 2>&1 | true",
    "reader of errors gone": "({} 3>&1 1>out 2>&3 3>&-) | true",
    "closed": "{} >&- 2>errors",
    "both closed": "{} >&- 2>&-",
    "all closed": "{} <&- >&- 2>&-",
    **({"disk full": "{} >/dev/full 2>errors", "disks full": "{} >/dev/full 2>/dev/full"} if FULL.exists() else {}),
}

SHORT = {"readers gone", "disk full", "all closed"}


def script(shell: Shell, line: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which {} is the command."""
    text = "set -o pipefail; " + line.format(shlex.join([sys.executable, "-m", "bulkedit", *words]))
    env = {**os.environ, **{name: str(value) for name, value in shell.env.items()}}
    return subprocess.run(["bash", "-c", text], cwd=shell.folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", [pytest.param(one, marks=() if one in SHORT else pytest.mark.slow) for one in LOST])
def test_a_run_without_readers_applies_all_edits(shell: Shell, name: str) -> None:
    image_sets = shell.image_sets(2)
    shell.descriptions(image_sets)
    as_json = ["--json"] if name == "disk full" else []
    done = script(shell, LOST[name], "apply", "edits.csv", "--yes", "-vv", *as_json, "--run", "run")
    errors = shell.folder / "errors"
    assert done.returncode == 0, errors.read_text() if errors.exists() else done
    assert [shell.stored(one)[0] for one in image_sets] == [2, 2]
    if name == "disk full":
        assert errors.read_text().count("Standard output cannot be written (No space left on device)") == 1


@pytest.mark.parametrize(
    ("line", "code", "said"), [("{} >/dev/full", 4, "(No space left on device)"), ("{} | true", 4, "")]
)
def test_a_command_that_only_prints_ends(shell: Shell, line: str, code: int, said: str) -> None:
    shell.descriptions(shell.image_sets(1))
    assert shell.run("apply", "edits.csv", "--yes", "--run", "run").exit_code == 0
    for words in (["status", "run"], ["runs"], ["--version"]):
        done = script(shell, line, *words)
        assert (done.returncode, said in done.stderr, "defect" in done.stderr) == (code, True, False), words


def test_closed_input_is_an_empty_list(shell: Shell) -> None:
    done = script(shell, "{} <&-", "plan", "-", "-o", "plan")
    assert done.returncode == 2
    assert "standard input: the file is empty" in done.stderr


def test_a_pipe_that_is_not_read_takes_no_more() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader), os.fdopen(writer, "w") as pipe:
        assert takes_more(pipe)
        os.write(writer, b"x" * fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ))
        assert not takes_more(pipe)
        os.read(reader, 2**20)
