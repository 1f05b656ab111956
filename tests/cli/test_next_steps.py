"""`report` and the page say what to type next: commands that are not refused, and no others."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from bulkedit.client.responses import CallState
from tests.cli.test_own_versions import note

if TYPE_CHECKING:
    import pytest

    from tests.cli.shell import Result, Shell


def offered(result: Result) -> list[list[str]]:
    """The commands at the end of a report, in words."""
    return [shlex.split(line)[1:] for line in result.stdout.splitlines() if line.startswith("  bulkedit ")]


def apply(shell: Shell, header: str, *rows: str, words: tuple[str, ...] = ()) -> None:
    path = shell.write("e.csv", "\n".join([header, *rows]) + "\n")
    result = shell.run("apply", path, "--yes", "--run", "r", *words)
    assert result.exit_code in {0, 1}, result.stderr


def write_as_another(shell: Shell, image_set_id: str) -> None:
    def write(world: Any) -> None:
        world.write_as_another(world.image_set(shell.emulator.datastore_id, image_set_id), shell.emulator.clock.now())

    shell.emulator.do(write)


def test_after_rejections_and_conflicts_each_command_can_be_typed(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shell.folder)
    image_sets = shell.image_sets(3)
    write_as_another(shell, image_sets[1])
    rows = [
        f"{image_sets[0]},remove,StudyDescription,WRONG,",
        f"{image_sets[1]},set,StudyDescription,A,1",
        f"{image_sets[2]},set,StudyDescription,A,",
    ]
    apply(shell, "image_set_id,action,attribute,value,version", *rows)
    commands = offered(shell.run("report", "r"))
    assert commands == [
        ["report", "r", "--results", "results", "--include-values"],
        ["plan", "results/failed.csv", "-d", shell.emulator.datastore_id],
        ["plan", "results/conflicted.csv", "-d", shell.emulator.datastore_id],
        ["verify", "r"],
        ["revert", "r"],
    ]
    for words in commands:
        assert shell.run(*words).exit_code == 0, words
    assert offered(shell.run("report", "r"))[0][3] == "results-2"  # the other folder exists now


STOP = ("--no-merge", "--on-conflict", "stop")


def test_a_call_that_conflicted_without_a_version_of_its_own_is_sent_again_by_a_resume(shell: Shell) -> None:
    first, second = shell.image_sets(2)
    rows = [f"{first},set,StudyDescription,A", f"{first},set,StudyTime,1200", f"{second},set,StudyTime,1200"]
    header = "image_set_id,action,attribute,value"
    apply(shell, header, *rows, words=STOP)
    note(shell, 1, CallState.CONFLICTED, expected_version=2, reason="another writer made version 3")
    result = shell.run("report", "r")
    assert offered(result)[0] == ["resume", "r", "--strategy", "failed"]
    assert "To send 1 call again, failed or conflicted:\n" in result.stdout
    assert shell.run(*offered(result)[0]).exit_code == 0
    assert [words[0] for words in offered(shell.run("report", "r"))] == ["verify", "revert"]


def test_no_resume_is_offered_if_a_version_that_a_row_names_would_conflict_again(shell: Shell) -> None:
    (one,) = shell.image_sets(1)
    write_as_another(shell, one)
    rows = [f"{one},set,StudyDescription,A,1", f"{one},set,StudyTime,1200,"]
    apply(shell, "image_set_id,action,attribute,value,version", *rows, words=STOP)
    commands = offered(shell.run("report", "r"))
    assert [words[:2] for words in commands] == [["report", "r"], ["plan", "results/conflicted.csv"]]


def test_a_run_that_is_not_finished_is_continued_and_nothing_else(shell: Shell) -> None:
    shell.unbegun(shell.descriptions(shell.image_sets(2)), "my run")
    assert offered(shell.run("report", "my run")) == [["resume", "my run"]]
    assert shell.run("report", "my run", "--html", "named.html").exit_code == 0
    page = (shell.folder / "named.html").read_text()
    assert "<code>bulkedit resume RUN</code>" in page
    assert "my run" not in page


def test_the_page_names_a_run_that_no_person_has_named(shell: Shell) -> None:
    own = "runs/20260102-030405-1a2b"
    (shell.folder / "runs").mkdir()
    shell.unbegun(shell.descriptions(shell.image_sets(2)), "plain")
    (shell.folder / "plain").rename(shell.folder / own)
    assert shell.run("report", own, "--html", "own.html").exit_code == 0
    assert f"<code>bulkedit resume {own}</code>" in (shell.folder / "own.html").read_text()
