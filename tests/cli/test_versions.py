"""Rows that name a version: what one row asks is one write, and two rows cannot both find the same version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulkedit.errors import EXIT_OK, EXIT_USAGE

if TYPE_CHECKING:
    from tests.cli.shell import Shell


def test_a_wide_row_with_a_version_is_one_call(shell: Shell) -> None:
    (one,) = shell.image_sets(1)
    edits = shell.write("w.csv", f"image_set_id,PatientName,StudyDescription,version\n{one},NEW,TEXT,1\n")
    done = shell.run("apply", edits, "--yes", "--run", "r", "--json")
    assert done.exit_code == EXIT_OK, done.stderr
    assert [done.json[-1][name] for name in ("edits", "applied", "calls")] == [2, 2, 1]
    assert shell.stored(one) == (2, "TEXT")


def test_rows_of_two_versions_follow_one_another(shell: Shell) -> None:
    (one,) = shell.image_sets(1)
    rows = f"{one},,TEXT,2\n{one},NEW,,1\n{one},,LAST,\n"
    edits = shell.write("w.csv", f"image_set_id,PatientName,StudyDescription,version\n{rows}")
    done = shell.run("apply", edits, "--yes", "--run", "r", "--json")
    assert done.exit_code == EXIT_OK, done.stderr
    assert shell.stored(one) == (4, "LAST")


def test_the_second_row_of_a_version_is_set_aside_and_nothing_sent(shell: Shell) -> None:
    (one,) = shell.image_sets(1)
    rows = f"{one},PatientName,NEW,1\n{one},StudyDescription,TEXT,1\n"
    edits = shell.write("t.csv", f"image_set_id,attribute,value,version\n{rows}")
    done = shell.run("apply", edits, "--yes", "--run", "r")
    assert done.exit_code == EXIT_USAGE
    assert "Row 3: names version 1 of this image set, as row 2 does." in done.stderr
    assert shell.requests() == []
