"""config.toml fills what the command line and the environment leave, and decides nothing that is agreed to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bulkedit.plans import load
from bulkedit.runs import folder as runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.shell import Shell


@pytest.fixture
def edits(shell: Shell) -> Path:
    (shell.folder / "lists").mkdir()
    return shell.descriptions(shell.image_sets(1), "lists/edits.csv")


def beside(shell: Shell, text: str) -> Path:
    return shell.write("lists/config.toml", text)


def own(shell: Shell, text: str) -> Path:
    folder = shell.folder / "config/bulkedit"
    folder.mkdir(parents=True)
    return shell.write("config/bulkedit/config.toml", text)


def estimated(shell: Shell, edits: Path, *words: str, env: dict[str, str] | None = None) -> float:
    (line,) = shell.run("plan", edits, *words, "--json", env=env).json
    return float(line["rate_per_second"])


def test_the_command_line_goes_before_the_environment_and_that_before_the_files(shell: Shell, edits: Path) -> None:
    own(shell, 'quota = "1/s"\nraised_quota = "9/s"')
    assert estimated(shell, edits) == 1
    beside(shell, 'quota = "2/s"')
    assert estimated(shell, edits) == 2
    assert estimated(shell, edits, env={"BULKEDIT_QUOTA": "3/s"}) == 3
    assert estimated(shell, edits, "--quota", "4/s", env={"BULKEDIT_QUOTA": "3/s"}) == 4


def test_values_of_every_type_arrive(shell: Shell, edits: Path) -> None:
    beside(shell, 'no_merge = true\nretry_for = 5\nmin_sample = 7\nhalt = "now"\nignore_column = ["a b", "c"]\n')
    text = edits.read_text("utf-8").splitlines()
    edits.write_text("\n".join([f"{text[0]},a b,c", f"{text[1]},x,y"]) + "\n", "utf-8")
    assert shell.run("apply", edits, "--yes", "--run", "r").exit_code == 0
    options = runs.load(shell.folder / "r").settings["options"]
    assert (options["retry_for"], options["min_sample"], options["halt"]) == (5, 7, "now")
    assert load(shell.folder / "r/plan").manifest["settings"]["merge"] is False


def test_a_path_is_from_the_folder_of_the_file_on(shell: Shell, edits: Path) -> None:
    shell.run("inventory", "-o", "lists/i.parquet")
    beside(shell, 'inventory = "i.parquet"')
    shell.write("lists/edits.csv", "study_instance_uid,StudyDescription\n1.2.1,A\n")
    assert shell.run("plan", edits).exit_code == 0
    assert shell.run("plan", edits, "--json").json[0]["searches"] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_rat = 'secret'", "unknown option max_rat.\nDid you mean max_rate?"),
        ("max-rate = 'secret'", "unknown option max-rate.\nDid you mean max_rate?"),
        ("quota = 4", "quota must be a text."),
        ("no_merge = 'secret'", "no_merge must be true or false."),
        ("workers = 1.5", "workers must be a whole number."),
        ("workers = true", "workers must be a whole number."),
        ("retry_for = 'secret'", "retry_for must be a number."),
        ("ignore_column = 'secret'", "ignore_column must be a list of texts."),
        ("ignore_column = [1]", "ignore_column must be a list of texts."),
        ("empty = 'secret'", "empty must be keep, null or remove."),
        ("payload_limit = 99", "payload_limit must be at least 100."),
        ("quota = '1/s'\nmap = secret", "not valid TOML.\nSee line 2."),
        ("yes = true", "yes cannot be set in a file."),
        ("delete_originals = true", "delete_originals cannot be set in a file."),
        ("allow_http = true", "allow_http cannot be set in a file."),
        ("endpoint_url = 'https://secret'", "endpoint_url cannot be set beside an edit list."),
        ("x" * 70_000, "the file is larger than 64 KiB."),
    ],
)
def test_what_is_not_understood_or_not_allowed_names_file_and_key_and_no_value(
    shell: Shell, edits: Path, text: str, said: str
) -> None:
    file = beside(shell, text)
    done = shell.run("plan", edits)
    assert (done.exit_code, shell.requests()) == (2, [])
    assert f"{file}: {said}" in done.stderr
    assert "secret" not in done.stderr


def test_the_file_of_the_user_may_say_where_values_are_sent(shell: Shell, edits: Path) -> None:
    own(shell, f'endpoint_url = "{shell.emulator}"')
    words = ("apply", edits, "--yes", "--run", "r")
    assert shell.run(*words, env={"BULKEDIT_ENDPOINT_URL": None}).exit_code == 0
    assert len(shell.accepted()) == 1


def test_what_a_run_was_begun_with_goes_before_the_file(shell: Shell, edits: Path) -> None:
    run = shell.unbegun(edits, "r")
    own(shell, 'endpoint_url = "http://127.0.0.1:1"')
    done = shell.run("resume", run, env={"BULKEDIT_ENDPOINT_URL": None})
    assert (done.exit_code, len(shell.accepted())) == (0, 1)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_said_and_not_waited_for(shell: Shell, edits: Path, make: Callable[[Path], None]) -> None:
    make(edits.parent / "config.toml")
    done = shell.run("plan", edits)
    assert (done.exit_code, shell.requests()) == (2, [])
    assert "lists/config.toml: " in done.stderr


def test_a_file_in_the_working_folder_is_none_of_the_list(shell: Shell, edits: Path) -> None:
    shell.write("config.toml", "nonsense")
    assert shell.run("plan", edits).exit_code == 0


def test_a_plan_that_is_applied_has_no_list(shell: Shell, edits: Path) -> None:
    shell.run("plan", edits, "-o", "lists/p")
    beside(shell, "nonsense")
    assert shell.run("apply", "lists/p", "--dry-run").exit_code == 0


def test_help_is_shown_whatever_the_file_says(shell: Shell) -> None:
    own(shell, "nonsense")
    for word in ("--help", "--help-all"):
        assert shell.run("plan", word).exit_code == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_said(shell: Shell, edits: Path) -> None:
    beside(shell, "").chmod(0)
    assert "the file cannot be read" in shell.run("plan", edits).stderr
