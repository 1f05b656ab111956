"""`bulkedit runs` lists runs and plans; `bulkedit runs prune` deletes those that are not needed, and nothing else."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.client.responses import CallState
from bulkedit.errors import EXIT_OK, EXIT_USAGE
from bulkedit.runs import prune
from bulkedit.runs.ledger import Event, Ledger
from bulkedit.runs.stored import stored

if TYPE_CHECKING:
    from tests.cli.shell import Shell

NOW = ("--older-than", "0h")


@pytest.fixture
def done(shell: Shell) -> Shell:
    """A plan `plans/p`, and a run `runs/r` of it that is done."""
    shell.run("plan", shell.descriptions(shell.image_sets(2)), "-o", "plans/p")
    assert shell.run("apply", "plans/p", "--yes", "--run", "runs/r").exit_code == EXIT_OK
    return shell


def listed(shell: Shell, *words: str) -> dict[str, dict[str, Any]]:
    """Runs and plans by folder."""
    *lines, last = shell.run("runs", *words, "--json").json
    assert last["type"] == "runs"
    assert last["bytes"] == sum(line["bytes"] for line in lines)
    return {line["folder"]: line for line in lines}


def pruned(shell: Shell, *words: str) -> tuple[dict[str, tuple[str, str | None]], dict[str, Any]]:
    """Outcome and reason by folder, and the last line."""
    *lines, last = shell.run("runs", "prune", "--json", *words).json
    return {line["folder"]: (line["outcome"], line["reason"]) for line in lines}, last


class TestList:
    def test_a_folder_of_result_files_is_no_plan(self, done: Shell) -> None:
        assert done.run("report", "runs/r", "--results", "results").exit_code == EXIT_OK
        assert list(listed(done, ".")) == ["runs/r", "plans/p"]

    def test_a_long_folder_is_in_one_line_of_a_pipe(self, done: Shell) -> None:
        long = "plans/" + "p" * 100
        (done.folder / "plans/p").rename(done.folder / long)
        assert f"{long}  plan  applied" in done.run("runs").stdout

    def test_it_tells_state_edits_and_size(self, done: Shell) -> None:
        found = listed(done)
        assert list(found) == ["runs/r", "plans/p"]  # the newest first
        run, plan = found.values()
        assert (run["kind"], run["state"], run["edits"], run["percent"]) == ("run", "done", 2, 100)
        assert (plan["kind"], plan["state"], plan["edits"], plan["runs"]) == ("plan", "applied", 2, ["runs/r"])
        assert run["bytes"] > plan["bytes"] > 0

    def test_a_person_reads_a_table(self, done: Shell) -> None:
        head, run, plan, _, last = done.run("runs").stdout.splitlines()
        assert head.split() == ["folder", "kind", "state", "edits", "done", "size", "age"]
        assert run.split()[:5] == ["runs/r", "run", "done", "2", "100%"]
        assert plan.split()[:4] == ["plans/p", "plan", "applied", "2"]
        assert last.startswith("1 run and 1 plan (")

    def test_a_plan_that_no_run_applies_is_not_applied(self, done: Shell) -> None:
        shutil.rmtree(done.folder / "runs/r")
        assert listed(done)["plans/p"]["state"] == "not applied"

    def test_folders_are_searched_to_the_bottom_but_not_inside_runs(self, done: Shell) -> None:
        shutil.copytree(done.folder / "runs/r", done.folder / "deep/er/r")
        assert "deep/er/r" not in listed(done)
        assert list(listed(done, "deep")) == ["deep/er/r"]
        assert list(listed(done, "runs/r")) == ["runs/r"]

    def test_links_are_not_followed(self, done: Shell) -> None:
        (done.folder / "runs/link").symlink_to(done.folder / "runs/r")
        assert set(listed(done)) == set(listed(done, ".")) == {"runs/r", "plans/p"}

    def test_what_cannot_be_read_is_told(self, done: Shell) -> None:
        (done.folder / "runs/r/run.json").write_text("{", "utf-8")
        assert listed(done)["runs/r"]["state"] == "unreadable"
        result = done.run("runs")
        assert (result.exit_code, "runs/r cannot be read: not valid JSON" in result.stderr) == (EXIT_OK, True)

    def test_nothing_is_told_too(self, shell: Shell) -> None:
        assert shell.run("runs").stdout.startswith("No runs and no plans in ")
        assert shell.run("runs", "absent").exit_code == EXIT_USAGE


class TestPrune:
    def test_a_run_that_is_done_and_its_plan_are_deleted(self, done: Shell) -> None:
        result = done.run("runs", "prune", *NOW, "--yes")
        assert result.stdout.splitlines()[-1].startswith("Deleted: 1 run and 1 plan (")
        assert listed(done) == {}
        assert [*done.folder.glob("runs/*"), *done.folder.glob("runs/.*"), *done.folder.glob("plans/*")] == []

    def test_what_is_not_old_is_kept(self, done: Shell) -> None:
        found, last = pruned(done, "--yes")
        assert (found, last["runs"], last["plans"]) == ({}, 0, 0)
        assert set(listed(done)) == {"runs/r", "plans/p"}

    def test_a_dry_run_deletes_nothing(self, done: Shell) -> None:
        found, last = pruned(done, *NOW, "--dry-run")
        assert set(found.values()) == {("would be deleted", None)}
        assert (last["runs"], last["plans"], last["dry_run"]) == (1, 1, True)
        assert set(listed(done)) == {"runs/r", "plans/p"}

    def test_without_an_answer_nothing_is_deleted(self, done: Shell) -> None:
        result = done.run("runs", "prune", *NOW)
        assert (result.exit_code, "From a script: --yes" in result.stderr) == (EXIT_USAGE, True)
        assert set(listed(done)) == {"runs/r", "plans/p"}

    def test_a_folder_with_a_file_of_others_is_kept_and_so_is_its_plan(self, done: Shell) -> None:
        (done.folder / "runs/r/notes.txt").write_text("mine", "utf-8")
        found, last = pruned(done, *NOW, "--yes")
        assert found == {"runs/r": ("kept", "it has a file that bulkedit has not written: notes.txt")}
        assert (last["kept"], set(listed(done))) == (1, {"runs/r", "plans/p"})

    def test_the_files_of_trail_do_not_keep_a_run(self, done: Shell) -> None:
        log = {"Records": [{"eventTime": "2026-01-02T03:04:05Z", "eventSource": "medical-imaging.amazonaws.com"}]}
        assert done.run("trail", "runs/r", done.write("log.json", json.dumps(log))).exit_code == 7
        assert {path.name for path in (done.folder / "runs/r").glob("trail.*")} == {"trail.csv", "trail.json"}
        pruned(done, *NOW, "--yes")
        assert listed(done) == {}

    @pytest.mark.parametrize("name", ["plan", "verifications"])
    def test_a_link_inside_is_kept(self, done: Shell, name: str) -> None:
        inside = done.folder / "runs/r" / name
        inside.mkdir(exist_ok=True)
        (inside / "link").symlink_to(done.folder)
        found, _ = pruned(done, *NOW, "--yes")
        assert found == {"runs/r": ("kept", f"it has a file that bulkedit has not written: {name}/link")}
        assert done.folder.is_dir()

    def test_a_run_that_a_process_works_on_is_never_deleted(self, done: Shell) -> None:
        with Ledger.open(done.folder / "runs/r/ledger.sqlite"):
            assert pruned(done, *NOW, "--yes")[0] == {}
        assert set(listed(done)) == {"runs/r", "plans/p"}

    def test_a_process_that_has_begun_meanwhile_is_noticed(self, done: Shell) -> None:
        now = time.time()
        (run,) = stored([done.folder / "runs"], now, below=True)
        with Ledger.open(done.folder / "runs/r/ledger.sqlite"):
            assert prune.delete(run, [], now) == "its state has changed"
        assert (done.folder / "runs/r").is_dir()

    def test_a_file_that_has_come_meanwhile_is_noticed(self, done: Shell) -> None:
        now = time.time()
        (run,) = stored([done.folder / "runs"], now, below=True)
        (run.folder / "notes.txt").write_text("mine", "utf-8")
        assert prune.delete(run, [], now) == "it has a file that bulkedit has not written: notes.txt"
        assert (run.folder / "notes.txt").is_file()

    def test_runs_with_edits_left_are_deleted_only_on_request(self, shell: Shell) -> None:
        run = shell.unbegun(shell.descriptions(shell.image_sets(2)), "r")
        with Ledger.create(run / "ledger.sqlite") as ledger:
            ledger.append([Event(at=time.time(), call=0, state=CallState.APPLIED)])
            ledger.end("interrupted")
        assert pruned(shell, *NOW, "--yes")[0] == {}
        assert pruned(shell, *NOW, "--yes", "--state", "stopped")[0]["r"] == ("deleted", None)

    def test_all_that_bulkedit_writes_into_a_run_is_known(self, done: Shell) -> None:
        assert done.run("verify", "runs/r", "--history").exit_code == EXIT_OK
        assert done.run("report", "runs/r").exit_code == EXIT_OK
        assert done.run("resume", "runs/r").exit_code == EXIT_OK
        shutil.copytree(done.folder / "runs/r", done.folder / "runs/s")
        assert done.run("resume", "runs/s", "--assume-unknown").exit_code == EXIT_OK
        assert {outcome for outcome, _ in pruned(done, *NOW, "--yes")[0].values()} == {"deleted"}
        assert listed(done) == {}

    def test_a_kill_leaves_no_part_of_a_run_and_the_next_command_removes_the_rest(self, done: Shell) -> None:
        code = KILLED_AFTER_RENAME
        with done.started("runs", "prune", *NOW, "--yes", start=("-c", code)) as process:
            assert process.wait(60) == -9
        assert "runs/r" not in listed(done)
        assert [*done.folder.glob("runs/*"), *done.folder.glob("runs/.*")] == []


KILLED_AFTER_RENAME = """
import os, signal, sys

def audit(event, args):
    if event == "shutil.rmtree":
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(audit)
from bulkedit.cli.app import app
app()
"""


@pytest.mark.parametrize(("text", "seconds"), [("30d", 2_592_000.0), ("12h", 43_200.0), ("2w", 1_209_600.0)])
def test_an_age_is_read(text: str, seconds: float) -> None:
    assert prune.parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1m", "1.5d"])
def test_another_age_is_refused(shell: Shell, text: str) -> None:
    result = shell.run("runs", "prune", f"--older-than={text}")
    assert (result.exit_code, "30d, 12h or 2w" in result.stderr) == (EXIT_USAGE, True)
