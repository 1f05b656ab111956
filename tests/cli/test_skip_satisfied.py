"""`--skip-satisfied`: what the data store holds already is read, counted, reported, and not sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl
import pytest

from bulkedit.errors import EXIT_OK, EXIT_USAGE
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.emulator import World
    from tests.cli.shell import Shell


@pytest.fixture
def image_sets(shell: Shell) -> list[str]:
    return shell.image_sets(3)


def twice(shell: Shell, image_sets: list[str]) -> Path:
    """A list of which the first two image sets hold all that it asks for, once it was applied to these."""
    edits = shell.descriptions(image_sets)
    lines = edits.read_text().splitlines()
    shell.write("before.csv", "\n".join(lines[:3]) + "\n")
    assert shell.run("apply", "before.csv", "--yes", "--run", "before").exit_code == EXIT_OK
    return edits


def test_what_holds_is_left_out_and_every_row_is_reported(shell: Shell, image_sets: list[str]) -> None:
    edits = twice(shell, image_sets)
    sent = len(shell.requests())
    done = shell.run("plan", edits, "-o", "p", "--skip-satisfied")
    assert done.exit_code == EXIT_OK, done.stderr
    assert "Reading 3 image sets first" in done.stderr
    assert "3 GetImageSet and 3 GetImageSetMetadata" in done.stderr
    assert "already satisfied  2 edits left out" in done.stdout
    asked = sorted(str(entry.action) for entry in shell.requests()[sent:])
    assert asked == ["GetImageSet"] * 3 + ["GetImageSetMetadata"] * 3
    assert shell.run("apply", "p", "--yes", "--run", "r").exit_code == EXIT_OK
    assert len(shell.accepted()) == 3
    summary = shell.run("report", "r", "--json").json[-1]
    assert [summary[name] for name in ("edits", "applied", "already_satisfied", "calls")] == [1, 1, 2, 1]
    for form in ("csv", "parquet", "jsonl"):
        assert shell.run("report", "r", "--results", form, "--format", form, "--include-values").exit_code == EXIT_OK
    lines = pl.read_parquet(shell.folder / "parquet" / "succeeded.parquet")
    assert dict(lines.select("row", "outcome").iter_rows()) == {
        2: "already satisfied",
        3: "already satisfied",
        4: "applied",
    }
    assert lines["value"].to_list() == ["T0", "T1", "T2"]
    assert not lines["superseded"].any()
    assert lines["call"].null_count() == 2
    again = shell.run("plan", "csv/succeeded.csv", "-o", "again")
    assert "this result file has no edits left to plan" in again.stderr
    assert shell.run("verify", "r").exit_code == EXIT_OK
    assert shell.run("revert", "r", "-o", "back").exit_code == EXIT_OK


def test_a_list_of_which_all_holds_sends_nothing_and_ends_well(shell: Shell, image_sets: list[str]) -> None:
    edits = twice(shell, image_sets[:2])
    done = shell.run("apply", edits, "--yes", "--run", "r", "--skip-satisfied")
    assert done.exit_code == EXIT_OK, done.stderr
    assert "Nothing to do: all edits" in done.stdout
    assert len(shell.accepted()) == 2
    summary = shell.run("report", "r", "--json").json[-1]
    assert [summary[name] for name in ("edits", "already_satisfied", "calls", "unprocessed")] == [0, 2, 0, 0]
    assert shell.run("report", "r", "--results", "files").exit_code == EXIT_OK
    manifest = json.loads((shell.folder / "files" / "manifest.json").read_text())
    assert {name: file["rows"] for name, file in manifest["files"].items()}["succeeded.csv"] == 2
    for words in (("status", "r"), ("report", "r"), ("resume", "r")):
        assert shell.run(*words).exit_code == EXIT_OK, words
    asked = shell.run("plan", edits, "--skip-satisfied", "-o", "p", "--json")
    assert [asked.json[-1][name] for name in ("edits", "already_satisfied", "image_sets_read", "calls")] == [0, 2, 2, 0]


def test_a_wide_row_that_holds_in_part_is_one_row_of_one_file(shell: Shell, image_sets: list[str]) -> None:
    one = image_sets[0]
    stored = shell.stored(one)[1]
    shell.write("w.csv", f"image_set_id,StudyDescription,AccessionNumber\n{one},{stored},NEW\n")
    assert shell.run("apply", "w.csv", "--yes", "--run", "r", "--skip-satisfied").exit_code == EXIT_OK
    shell.run("report", "r", "--results", "files", "--format", "parquet")
    lines = pl.read_parquet(shell.folder / "files" / "succeeded.parquet")
    assert sorted(lines.select("row", "attribute", "outcome", "row_edits").iter_rows()) == [
        (2, "AccessionNumber", "applied", 2),
        (2, "StudyDescription", "already satisfied", 2),
    ]


def test_archived_image_sets_and_those_that_are_not_there_are_not_read(shell: Shell) -> None:
    archived = shell.emulator.add(document(study="1.2.7"))

    def archive(world: World) -> None:
        world.image_set(shell.emulator.datastore_id, archived).archived = True

    shell.emulator.do(archive)
    (there,) = shell.image_sets(1)
    edits = shell.descriptions([archived, there, "f" * 32])
    done = shell.run("plan", edits, "-o", "p", "--skip-satisfied", "--json")
    assert done.exit_code == EXIT_OK, done.stderr
    names = ("edits", "already_satisfied", "image_sets_read", "image_sets_not_read")
    assert [done.json[-1][name] for name in names] == [3, 0, 1, 2]
    assert [entry.image_set_id for entry in shell.requests("GetImageSetMetadata")] == [there]
    shown = shell.run("plan", edits, "-o", "q", "--skip-satisfied").stdout
    assert "2 image sets not read (archived, locked or not found): all edits kept" in shown


def test_a_bad_list_is_refused_before_anything_is_read(shell: Shell, image_sets: list[str]) -> None:
    shell.write("bad.csv", f"image_set_id,attribute,value\n{image_sets[0]},NoSuchThing,x\n")
    assert shell.run("plan", "bad.csv", "--skip-satisfied").exit_code == EXIT_USAGE
    assert shell.requests() == []


def test_a_plan_whose_satisfied_edits_were_changed_is_stale(shell: Shell, image_sets: list[str]) -> None:
    edits = twice(shell, image_sets)
    shell.run("plan", edits, "-o", "p", "--skip-satisfied")
    file = shell.folder / "p" / "already_satisfied.parquet"
    file.write_bytes(file.read_bytes() + b"x")
    done = shell.run("apply", "p", "--yes", "--run", "r")
    assert "satisfied.parquet is not the file that was planned" in done.stderr


def test_places_that_do_not_exist_are_told_before_anything_is_sent(shell: Shell, image_sets: list[str]) -> None:
    one, other, third = image_sets
    lines = [
        f"{one},remove,KVP,,1.2.1.1,1.2.1.1.9",
        f"{one},remove,KVP,,1.2.1.1,1.2.1.1.1",
        f"{other},set,Modality,MR,1.2.1.1,",
        f"{third},set,StudyDescription,NEW,,",
    ]
    edits = shell.write(
        "e.csv", "\n".join(["image_set_id,action,attribute,value,series_uid,instance_uid", *lines]) + "\n"
    )
    told = shell.run("apply", edits, "--yes", "--skip-satisfied")
    assert told.exit_code == EXIT_USAGE
    assert "Row 2: names an instance that its image set does not have." in told.stderr
    assert "Row 4: names a series that its image set does not have." in told.stderr
    assert not shell.requests("UpdateImageSetMetadata")
    words = ("--skip-satisfied", "--bad-rows", "bad.csv", "-o", "p", "--json")
    line = shell.run("plan", edits, *words).json[-1]
    assert [line[name] for name in ("edits", "set_aside")] == [2, 2]
    assert (shell.folder / "bad.csv").read_text().count("\n") == 3


def test_a_list_that_removes_or_names_anew_is_told_of_no_place_when_it_comes_again(shell: Shell) -> None:
    one = shell.emulator.add(document(study="1.2.1"), primary=False)
    lines = [
        f"{one},remove,KVP,,1.2.1.1,1.2.1.1.2",
        f"{one},remove-instance,,,1.2.1.1,1.2.1.1.2",
        f"{one},remove,SeriesNumber,,1.2.1.1,",
        f"{one},set,SeriesInstanceUID,1.2.7,1.2.1.1,",
        f"{one},set,Modality,MR,1.2.7,",
    ]
    edits = shell.write(
        "e.csv", "\n".join(["image_set_id,action,attribute,value,series_uid,instance_uid", *lines]) + "\n"
    )
    for run, left in (("r", 5), ("s", 0)):
        done = shell.run("apply", edits, "--yes", "--run", run, "--skip-satisfied", "--force")
        assert done.exit_code == EXIT_OK, done.stderr
        assert shell.run("report", run, "--json").json[-1]["edits"] == left
