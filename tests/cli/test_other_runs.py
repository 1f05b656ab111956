"""A version that another run of the user has made is told from another writer's, if that run's ledger proves it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.emulator.hospital import document

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.cli.shell import Shell


def described(shell: Shell, image_sets: list[str], value: str, version: str = "") -> Path:
    rows = [f"{one},set,StudyDescription,{value}{one[:4]},{version}" for one in image_sets]
    return shell.write(f"{value}.csv", "\n".join(["image_set_id,action,attribute,value,version", *rows]) + "\n")


def apply(shell: Shell, edits: Path, run: str, *words: str) -> None:
    result = shell.run("apply", edits, "--yes", "--run", run, *words)
    assert result.exit_code in {0, 1}, result.stderr


def write_as_another(shell: Shell, image_set_id: str) -> None:
    def write(world: Any) -> None:
        image_set = world.image_set(shell.emulator.datastore_id, image_set_id)
        world.write_as_another(image_set, shell.emulator.clock.now())
        image_set.latest.document = image_set.versions[0].document

    shell.emulator.do(write)


def made(shell: Shell, run: str, at: str) -> None:
    """Say when a run was made."""
    path = shell.folder / run / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "created": at}))


class TestReport:
    @pytest.fixture
    def image_sets(self, shell: Shell) -> list[str]:
        """Run `runs/b` and another writer change two image sets each; then rows of `runs/a` name version 1."""
        found = shell.image_sets(4)
        apply(shell, described(shell, found[:2], "B"), "runs/b")
        for one in found[2:]:
            write_as_another(shell, one)
        apply(shell, described(shell, found, "A", "1"), "runs/a")
        made(shell, "runs/a", "2026-01-01T00:00:00+00:00")
        return found

    def test_conflicts_with_a_run_of_ones_own_and_with_others_are_two_groups(
        self, shell: Shell, image_sets: list[str]
    ) -> None:
        lines = shell.run("report", "runs/a").stdout.splitlines()
        groups = [line for line in lines if line.startswith("2 edits")]
        assert groups == [
            "2 edits conflicted: a later run of yours (runs/b) made version 2",
            "2 edits conflicted: another writer made version 2",
        ]
        edits = shell.run("report", "runs/a", "--json", "--only", "conflicted").json[:-1]
        reasons = {edit["image_set_id"]: edit["reason"] for edit in edits}
        assert [reasons[one].split(" made ")[0] for one in image_sets] == [
            *["a later run of yours (runs/b)"] * 2,
            *["another writer"] * 2,
        ]

    def test_the_page_has_no_name_that_a_person_chose(self, shell: Shell, image_sets: list[str]) -> None:
        assert image_sets
        shell.run("report", "runs/a", "--html", "named.html")
        assert "a later run of yours made version 2" in (shell.folder / "named.html").read_text()
        own = "20260102-030405-1a2b"
        (shell.folder / "runs/b").rename(shell.folder / "runs" / own)
        shell.run("report", "runs/a", "--html", "own.html")
        assert f"a later run of yours ({own}) made version 2" in (shell.folder / "own.html").read_text()

    def test_a_run_that_proves_nothing_is_another_writer(self, shell: Shell, image_sets: list[str]) -> None:
        assert image_sets
        whole, other = shell.folder / "whole", shell.folder / "runs/b"
        other.rename(whole)

        def of_another_datastore() -> None:
            manifest = other / "plan/manifest.json"
            manifest.write_text(manifest.read_text().replace(shell.emulator.datastore_id, "f" * 32))

        losses = [
            lambda: shutil.rmtree(other / "plan"),
            (other / "ledger.sqlite").unlink,
            (other / "run.json").unlink,
            of_another_datastore,
        ]
        for lose in losses:
            shutil.copytree(whole, other)
            lose()
            text = shell.run("report", "runs/a").stdout
            assert "4 edits conflicted: another writer made version 2" in text
            assert "of yours" not in text
            shutil.rmtree(other)
        shutil.copytree(whole, other)
        assert "of yours" in shell.run("report", "runs/a").stdout


class TestVerifyAndRevert:
    @pytest.fixture
    def image_sets(self, shell: Shell) -> list[str]:
        """Three image sets that `runs/a` has changed, and then `runs/b`, another writer, and no one."""
        found = shell.image_sets(3)
        apply(shell, described(shell, found, "A"), "runs/a")
        made(shell, "runs/a", "2026-01-01T00:00:00+00:00")
        apply(shell, described(shell, found[:1], "B"), "runs/b")
        write_as_another(shell, found[1])
        return found

    def test_a_difference_by_a_later_run_is_told_from_another_writers(
        self, shell: Shell, image_sets: list[str]
    ) -> None:
        result = shell.run("verify", "runs/a", "--json")
        assert result.exit_code == 7
        found = {line["image_set_id"]: (line["origin"], line["other_run"]) for line in result.json[:-1]}
        assert found == {
            image_sets[0]: ("later writer", "a later run of yours (runs/b)"),
            image_sets[1]: ("later writer", None),
        }
        text = shell.run("verify", "runs/a", "--fresh").stdout
        assert "1 edit: other value, made by a later run of yours (runs/b)\n" in text
        assert "1 edit: other value, made by a later writer\n" in text

    def test_a_revert_names_the_later_run(self, shell: Shell, image_sets: list[str]) -> None:
        lines = shell.run("revert", "runs/a", "--json").json
        assert {line["image_set_id"]: line["problem"] for line in lines[:-1]} == {
            image_sets[0]: "has been changed by a later run of yours (runs/b) since (version 3).",
            image_sets[1]: "has been changed by another writer since (version 3).",
        }

    def test_the_run_that_reverts_it_is_named_as_such(self, shell: Shell, image_sets: list[str]) -> None:
        shell.run("revert", "runs/a", "-o", "undo")
        assert shell.run("apply", "undo", "--yes", "--run", "runs/undo").exit_code == 0
        (line,) = (
            line for line in shell.run("verify", "runs/a", "--json").json[:-1] if line["image_set_id"] == image_sets[2]
        )
        assert line["other_run"] == "the run of yours that reverts this one (runs/undo)"
        left = {line["image_set_id"]: line["problem"] for line in shell.run("revert", "runs/a", "--json").json[:-1]}
        assert left[image_sets[2]] == (
            "has been changed by the run of yours that reverts this one (runs/undo) since (version 3)."
        )


def test_what_a_study_wide_call_of_a_later_run_changed_without_naming_it_is_that_runs(shell: Shell) -> None:
    study = [shell.emulator.add(document(str(number))) for number in (1, 2, 3)]
    assert shell.run("inventory", "-o", "i.parquet").exit_code == 0
    first = "\n".join(["image_set_id,action,attribute,value", *(f"{one},set,StudyDescription,A" for one in study)])
    apply(shell, shell.write("a.csv", first + "\n"), "runs/a", "--inventory", "i.parquet", "--study-wide", "on")
    made(shell, "runs/a", "2026-01-01T00:00:00+00:00")
    second = first.replace("StudyDescription,A", "StudyDescription,B")
    apply(shell, shell.write("b.csv", second + "\n"), "runs/b", "--inventory", "i.parquet", "--study-wide", "on")
    lines = shell.run("verify", "runs/a", "--json").json[:-1]
    assert {line["image_set_id"] for line in lines} == set(study)
    assert {line["other_run"] for line in lines} == {"a later run of yours (runs/b)"}
    problems = {line["problem"] for line in shell.run("revert", "runs/a", "--json").json[:-1]}
    assert problems == {"has been changed by a later run of yours (runs/b) since (version 3)."}
