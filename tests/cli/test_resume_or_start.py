"""`apply --resume-or-start`: one command that is right to repeat, as schedulers do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import bulkedit
from bulkedit.errors import EXIT_FATAL, EXIT_NOT_ALL_APPLIED, EXIT_OK, EXIT_STALE_PLAN, EXIT_USAGE
from bulkedit.runs.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.shell import Shell

REPEATED = ("--run", "r", "--resume-or-start", "--yes")


@pytest.fixture
def image_sets(shell: Shell) -> list[str]:
    return shell.image_sets(3)


@pytest.fixture
def edits(shell: Shell, image_sets: list[str]) -> Path:
    return shell.descriptions(image_sets)


def test_a_list_is_applied_once_however_often_the_command_is_repeated(
    shell: Shell, edits: Path, image_sets: list[str]
) -> None:
    assert shell.run("apply", edits, *REPEATED).exit_code == EXIT_OK
    sent = len(shell.requests())
    again = shell.run("apply", edits, *REPEATED)
    assert (again.exit_code, len(shell.requests())) == (EXIT_OK, sent)
    assert "Run r is done; nothing was sent." in again.stderr
    assert "3 edits applied" in again.stdout
    assert [shell.stored(one) for one in image_sets] == [(2, f"T{i}") for i in range(3)]
    assert len(list((shell.folder / "plans").iterdir())) == 1


def test_a_run_that_has_edits_left_is_continued(shell: Shell, image_sets: list[str]) -> None:
    edits = shell.descriptions(image_sets[:1])
    assert shell.run("plan", edits, "-o", "p").exit_code == EXIT_OK
    shell.unbegun(edits, "r")
    with Ledger.create(shell.folder / "r" / "ledger.sqlite"):
        pass  # a process was killed before it has sent anything
    again = shell.run("apply", "p", *REPEATED)
    assert (again.exit_code, "Resuming" in again.stderr) == (EXIT_OK, True)
    assert shell.stored(image_sets[0]) == (2, "T0")


def test_a_run_that_was_killed_before_it_had_a_ledger_is_started(shell: Shell, image_sets: list[str]) -> None:
    edits = shell.descriptions(image_sets[:1])
    assert shell.run("plan", edits, "-o", "p").exit_code == EXIT_OK
    shell.unbegun(edits, "r")
    assert shell.run("apply", "p", *REPEATED).exit_code == EXIT_OK
    assert shell.stored(image_sets[0]) == (2, "T0")


@pytest.mark.slow
def test_a_run_with_edits_not_applied_is_done_and_says_so_each_time(shell: Shell, edits: Path) -> None:
    with edits.open("a") as file:
        file.write(f"{'0' * 32},set,StudyDescription,lost\n")
    first = shell.run("apply", edits, *REPEATED)
    again = shell.run("apply", edits, *REPEATED, "--json")
    assert (first.exit_code, again.exit_code) == (EXIT_NOT_ALL_APPLIED, EXIT_NOT_ALL_APPLIED)
    (line,) = again.json
    assert (line["type"], line["edits"], line["applied"], line["unprocessed"]) == ("summary", 4, 3, 0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param([], "The edit list has changed since the run was started", id="list"),
        pytest.param(["--empty", "null"], "other values of --empty", id="options"),
        pytest.param(["-d", "0" * 32], "The run is on data store", id="data store", marks=pytest.mark.slow),
    ],
)
def test_another_list_or_other_options_are_refused(shell: Shell, edits: Path, changed: list[str], said: str) -> None:
    assert shell.run("apply", edits, *REPEATED).exit_code == EXIT_OK
    if not changed:
        with edits.open("a") as file:
            file.write("\n")
    sent = len(shell.requests())
    refused = shell.run("apply", edits, *REPEATED, *changed)
    assert refused.exit_code == EXIT_STALE_PLAN
    assert said in refused.stderr
    assert "To continue that one: bulkedit resume r" in refused.stderr
    assert len(shell.requests()) == sent


@pytest.mark.slow
def test_options_that_do_not_change_the_plan_may_differ_and_the_run_keeps_its_own(
    shell: Shell, image_sets: list[str]
) -> None:
    edits = shell.descriptions(image_sets[:1])
    assert shell.run("plan", edits, "-o", "p").exit_code == EXIT_OK
    shell.unbegun(edits, "r")
    again = shell.run("apply", "p", *REPEATED, "--quota", "2/s", "--rate", "auto", "--max-errors", "5")
    assert again.exit_code == EXIT_OK
    kept = "The run keeps its own --burst, --read-rate, --max-errors. To change that: bulkedit resume r --help"
    assert kept in again.stderr


def test_a_plan_is_known_by_its_digest(shell: Shell, edits: Path, image_sets: list[str]) -> None:
    assert shell.run("plan", edits, "-o", "p").exit_code == EXIT_OK
    assert shell.run("apply", "p", *REPEATED).exit_code == EXIT_OK
    assert shell.run("plan", edits, "-o", "same").exit_code == EXIT_OK
    assert shell.run("apply", "same", *REPEATED).exit_code == EXIT_OK
    assert shell.run("plan", shell.descriptions(image_sets[:2], "fewer.csv"), "-o", "q").exit_code == EXIT_OK
    refused = shell.run("apply", "q", *REPEATED)
    assert (refused.exit_code, "was started with something else" in refused.stderr) == (EXIT_STALE_PLAN, True)
    of_a_list = shell.run("apply", edits, *REPEATED)
    assert of_a_list.exit_code == EXIT_STALE_PLAN
    assert "The run was started with a plan, not with an edit list." in of_a_list.stderr


@pytest.mark.slow
def test_a_library_call_can_be_repeated_too(shell: Shell, edits: Path, image_sets: list[str]) -> None:
    assert shell.run("plan", edits, "-o", "p").exit_code == EXIT_OK
    where = bulkedit.Where(endpoint_url=str(shell.emulator))
    options = bulkedit.RunOptions(rate="1000/s", burst=1000)

    async def once() -> bulkedit.Report:
        run = shell.folder / "r"
        return await bulkedit.apply(shell.folder / "p", run=run, resume_or_start=True, options=options, where=where)

    first, again = asyncio.run(once()), asyncio.run(once())
    assert (first.summary["applied"], again.summary["applied"], len(shell.accepted())) == (3, 3, 3)
    assert [shell.stored(one) for one in image_sets] == [(2, f"T{i}") for i in range(3)]


@pytest.mark.slow
def test_a_list_from_standard_input_is_compared_too(shell: Shell, edits: Path) -> None:
    text = edits.read_text("utf-8")
    assert shell.run("apply", "-", *REPEATED, stdin=text).exit_code == EXIT_OK
    assert shell.run("apply", "-", *REPEATED, stdin=text).exit_code == EXIT_OK
    assert shell.run("apply", "-", *REPEATED, stdin=text + "\n").exit_code == EXIT_STALE_PLAN


def test_a_run_on_which_another_process_works_is_refused(shell: Shell, edits: Path) -> None:
    assert shell.run("plan", edits, "-o", "p").exit_code == EXIT_OK
    shell.unbegun(edits, "r")
    with Ledger.create(shell.folder / "r" / "ledger.sqlite"):
        refused = shell.run("apply", "p", *REPEATED)
    assert refused.exit_code == EXIT_FATAL
    assert "this run is in use by process" in refused.stderr
    assert shell.accepted() == []


def test_it_needs_the_name_of_the_run(shell: Shell, edits: Path) -> None:
    refused = shell.run("apply", edits, "--resume-or-start", "--yes")
    assert (refused.exit_code, "--resume-or-start needs --run DIR" in refused.stderr) == (EXIT_USAGE, True)


def test_a_folder_that_is_no_run_is_left_alone(shell: Shell, edits: Path) -> None:
    (shell.folder / "r").mkdir()
    refused = shell.run("apply", edits, *REPEATED)
    assert (refused.exit_code, "this is not a run" in refused.stderr) == (EXIT_USAGE, True)
    assert list((shell.folder / "r").iterdir()) == []
