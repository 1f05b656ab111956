"""What is asked often, and needs no frames and no service, starts without the libraries for them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.shell import Env, Shell

HEAVY = {"polars", "pydicom", "aioboto3", "boto3", "botocore", "aiohttp", "numpy"}
PROGRAM = """
import atexit, sys
atexit.register(lambda: print("LOADED", *sys.modules, file=sys.stderr))
from bulkedit.cli.app import app
app(prog_name="bulkedit")
"""


def said_and_loaded(shell: Shell, *words: str, env: Env | None = None) -> tuple[str, set[str]]:
    """What a command shows, and the modules that it has imported by its end."""
    with shell.started(*words, env=env, start=("-c", PROGRAM)) as process:
        stdout, stderr = process.communicate(timeout=60)
    _, _, loaded = stderr.rpartition("LOADED ")
    assert "bulkedit.cli.app" in loaded.split(), stderr
    return stdout, set(loaded.split())


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("--help",), "inventory"),
        (("--version",), "bulkedit 0"),
        (("apply", "--help"), "--max-rate"),
        (("plan", "--help-all"), "--no-merge"),
        ((), "Usage"),
    ],
    ids=["help", "version", "help of apply", "all of plan", "no words"],
)
def test_help_and_version(shell: Shell, words: tuple[str, ...], shown: str) -> None:
    stdout, loaded = said_and_loaded(shell, *words)
    assert shown in stdout
    assert not HEAVY & loaded


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("bulkedit inv", "inventory"),
        ("bulkedit status --w", "--watch"),
        ("bulkedit apply --on-conflict re", "retry"),
        ("bulkedit plan --service-version 2", "2026"),
        ("bulkedit report --only rej", "rejected"),
    ],
    ids=lambda one: one if " " in one else "",
)
def test_completion(shell: Shell, typed: str, offered: str) -> None:
    count = str(len(typed.split()) - 1)
    stdout, loaded = said_and_loaded(
        shell, env={"_BULKEDIT_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": count}
    )
    assert offered in stdout
    assert not HEAVY & loaded


def test_status_of_a_run(shell: Shell) -> None:
    edits = shell.descriptions(shell.image_sets(3))
    assert shell.run("apply", edits, "--run", "r", "--yes").exit_code == 0
    stdout, loaded = said_and_loaded(shell, "status", "r")
    assert "3 applied, 0 rejected" in stdout
    assert "bulkedit.runs.ledger" in loaded
    assert not HEAVY & loaded


def test_an_older_run_has_no_index_and_the_same_numbers(shell: Shell) -> None:
    edits = shell.descriptions(shell.image_sets(3))
    shell.run("apply", edits, "--run", "r", "--yes")
    (line,) = shell.run("status", "r", "--json").json
    (shell.folder / "r/calls.index").unlink()
    assert "Put calls.index back" in shell.run("status", "r").stderr
    about = json.loads((path := shell.folder / "r/run.json").read_text("utf-8"))
    path.write_text(json.dumps({name: value for name, value in about.items() if name != "index"}))
    assert shell.run("status", "r", "--json").json == [line]


def test_an_index_that_was_changed_is_refused(shell: Shell) -> None:
    edits = shell.descriptions(shell.image_sets(1))
    shell.run("apply", edits, "--run", "r", "--yes")
    (shell.folder / "r/calls.index").write_bytes(b"\xff\0\0\0\0")
    result = shell.run("status", "r")
    assert (result.exit_code, "is not the file that was written" in result.stderr) == (2, True)
