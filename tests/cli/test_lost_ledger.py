"""A ledger that is missing, behind, damaged or a copy is told, nothing is sent, and `--assume-unknown` goes on.

The invariant: with it, no edit is made twice and all are made, whatever was left of the ledger.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from bulkedit.client.responses import Outcome
from bulkedit.deidentification import ENVIRONMENT
from bulkedit.emulator import UNTHROTTLED, CompletionTime, Settings, serve
from tests.cli.shell import Shell, wait_for
from tests.cli.test_via_copy import DEID
from tests.deidentification.walkers import KEY
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COUNT = 6


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01))) as emulator:
        yield Shell(tmp_path, emulator)


@pytest.fixture
def finished(shell: Shell) -> list[str]:
    """The image sets of run r, which has ended."""
    image_sets = shell.image_sets(COUNT)
    assert shell.run("apply", shell.descriptions(image_sets), "--yes", "--run", "r").exit_code == 0
    return image_sets


@pytest.fixture
def killed(shell: Shell) -> list[str]:
    """The image sets of run r, killed in its middle with what it wrote in the log."""
    image_sets = shell.image_sets(COUNT)
    words = ("apply", shell.descriptions(image_sets), "--yes", "--run", "r", "--rate", "20/s", "--burst", "1")
    with shell.started(*words) as process:
        wait_for(lambda: len(shell.accepted()) >= COUNT // 2)
        process.kill()
        process.wait()
    assert (shell.folder / "r/ledger.sqlite-wal").stat().st_size
    return image_sets


def missing(run: Path) -> None:
    for file in run.glob("ledger.sqlite*"):
        file.unlink()


def without_anything(run: Path) -> None:
    missing(run)
    (run / "ledger.anchor").unlink()


def emptied(run: Path) -> None:
    os.truncate(run / "ledger.sqlite", 0)


def behind(run: Path) -> None:
    with closing(sqlite3.connect(run / "ledger.sqlite")) as connection:
        connection.execute("DELETE FROM event WHERE seq > 3")
        connection.commit()


def flipped(run: Path) -> None:
    with closing(sqlite3.connect(run / "ledger.sqlite")) as connection:
        connection.execute("UPDATE event SET call = call + 1 WHERE seq > 3")
        connection.commit()


def no_database(run: Path) -> None:
    (run / "ledger.sqlite").write_text("no database " * 50)


def without_anchor(run: Path) -> None:
    (run / "ledger.anchor").unlink()


def illegible_anchor(run: Path) -> None:
    (run / "ledger.anchor").write_bytes(b"\0" * 8192)


def copied(run: Path) -> None:
    shutil.copytree(run, run.with_name("other"))
    shutil.rmtree(run)
    run.with_name("other").rename(run)


LOSSES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "missing": (missing, "missing", "the ledger of this run is missing"),
    "missing with its anchor": (without_anything, "missing", "the ledger of this run is missing"),
    "emptied": (emptied, "damaged", "this file is not a ledger"),
    "behind": (behind, "behind", "the ledger lacks events that were written to it"),
    "flipped": (flipped, "damaged", "the ledger is damaged"),
    "no database": (no_database, "damaged", "the ledger is damaged"),
    "no anchor": (without_anchor, "unanchored", "ledger.anchor"),
    "illegible anchor": (illegible_anchor, "unanchored", "ledger.anchor"),
    "copied": (copied, "copied", "this folder is a copy"),
}


@pytest.mark.parametrize(("lose", "state", "words"), LOSSES.values(), ids=list(LOSSES))
def test_of_a_finished_run_it_is_told_and_with_the_option_nothing_is_sent(
    shell: Shell, finished: list[str], lose: Callable[[Path], None], state: str, words: str
) -> None:
    lose(shell.folder / "r")
    for command in ("status", "report"):
        result = shell.run(command, "r", "--json")
        if lose in {emptied, no_database}:
            assert (result.exit_code, words in result.stderr) == (4, True)
        else:
            assert (result.json[-1]["ledger"], "warning: " in result.stderr) == (state, True)
    result = shell.run("resume", "r")
    assert (result.exit_code, words in result.stderr) == (4, True)
    assert "bulkedit resume r --assume-unknown" in result.stderr
    result = shell.run("resume", "r", "--assume-unknown", "--json")
    assert (result.exit_code, result.json[-1]["applied"]) == (0, COUNT)
    assert result.json[-1]["ledger"] == "whole"
    assert len(shell.requests("UpdateImageSetMetadata")) == COUNT
    assert [shell.stored(one) for one in finished] == [(2, f"T{i}") for i in range(COUNT)]


class TestKilled:
    @pytest.mark.parametrize(
        "lose",
        [pytest.param(missing, marks=pytest.mark.slow), without_anything, pytest.param(copied, marks=pytest.mark.slow)],
        ids=lambda lose: lose.__name__,
    )
    def test_no_edit_is_made_twice_and_all_are_made(
        self, shell: Shell, killed: list[str], lose: Callable[[Path], None]
    ) -> None:
        lose(shell.folder / "r")
        before = len(shell.accepted())
        assert shell.run("resume", "r").exit_code == 4
        assert len(shell.accepted()) == before
        assert shell.run("resume", "r", "--assume-unknown").exit_code == 0
        assert [shell.stored(one) for one in killed] == [(2, f"T{i}") for i in range(COUNT)]
        assert len(shell.accepted()) == COUNT

    @pytest.mark.parametrize(
        "way", ["lost", *(pytest.param(way, marks=pytest.mark.slow) for way in ("cut", "flipped"))]
    )
    def test_a_log_that_is_not_as_it_was_is_told(self, shell: Shell, killed: list[str], way: str) -> None:
        log = shell.folder / "r/ledger.sqlite-wal"
        if way == "lost":
            log.unlink()
            (shell.folder / "r/ledger.sqlite-shm").unlink()
        elif way == "cut":
            os.truncate(log, log.stat().st_size // 2)
        else:
            content = bytearray(log.read_bytes())
            content[len(content) // 2] ^= 0x10
            log.write_bytes(content)
        result = shell.run("resume", "r")
        assert (result.exit_code, "lacks events" in result.stderr) == (4, True)
        assert shell.run("resume", "r", "--assume-unknown").exit_code == 0
        assert [shell.stored(one) for one in killed] == [(2, f"T{i}") for i in range(COUNT)]
        assert len(shell.accepted()) == COUNT

    def test_what_was_left_is_kept_under_another_name(self, shell: Shell, killed: list[str]) -> None:
        behind(run := shell.folder / "r")
        kept = (run / "ledger.sqlite").read_bytes()
        assert shell.run("resume", "r", "--assume-unknown").exit_code == 0
        (aside,) = run.glob("ledger-*.sqlite")
        assert aside.read_bytes() == kept
        assert aside.stat().st_mode & 0o777 == 0o600
        assert len(killed) == COUNT


def test_of_two_copies_the_one_in_the_old_place_goes_on(shell: Shell, killed: list[str]) -> None:
    shutil.copytree(shell.folder / "r", shell.folder / "copy")
    assert shell.run("resume", "copy").exit_code == 4
    assert shell.run("resume", "r").exit_code == 0
    assert [shell.stored(one) for one in killed] == [(2, f"T{i}") for i in range(COUNT)]
    assert shell.run("resume", "copy", "--assume-unknown").exit_code == 0
    assert len(shell.accepted()) == COUNT


def test_a_run_that_is_renamed_is_no_copy(shell: Shell, killed: list[str]) -> None:
    (shell.folder / "r").rename(shell.folder / "moved")
    assert shell.run("resume", "moved").exit_code == 0
    assert len(killed) == COUNT


def test_the_anchor_of_another_run_is_told(shell: Shell, finished: list[str]) -> None:
    edits = shell.descriptions(finished, "again.csv")
    shell.unbegun(edits, "other")
    (shell.folder / "other/ledger.anchor").replace(shell.folder / "r/ledger.anchor")
    result = shell.run("resume", "r")
    assert (result.exit_code, "belongs to another run" in result.stderr) == (4, True)


def test_a_run_that_was_not_begun_needs_no_ledger(shell: Shell) -> None:
    image_sets = shell.image_sets(2)
    run = shell.unbegun(shell.descriptions(image_sets), "u")
    assert shell.run("status", "u", "--json").json[-1]["ledger"] == "not begun"
    assert shell.run("resume", run).exit_code == 0
    assert len(shell.accepted()) == 2
    assert shell.run("status", "u", "--json").json[-1]["ledger"] == "whole"


# -- what the comparison makes of an image set


def listed(shell: Shell, *rows: str) -> Path:
    head = "image_set_id,action,attribute,value,series_uid"
    return shell.write("steps.csv", "\n".join([head, *rows]) + "\n")


def outcomes(shell: Shell, run: str = "r") -> dict[int, tuple[str, int | None, str | None]]:
    """Outcome, version and reason of each row."""
    lines = [shell.run("report", run, "--json", "--only", outcome).json for outcome in Outcome]
    edits = [line for found in lines for line in found if line["type"] == "edit"]
    return {edit["row"]: (edit["outcome"], edit["version_after"], edit["reason"]) for edit in edits}


def applied(shell: Shell, *words: str) -> None:
    assert shell.run("apply", *words, "--yes", "--run", "r").exit_code in {0, 1}


def test_calls_reverts_and_removals_are_found_each_in_its_own_version(shell: Shell) -> None:
    one, other = shell.emulator.add(document()), shell.emulator.add(document(study="1.2.9"))
    rows = [f"{one},set,StudyDescription,A,", f"{one},set,PatientName,B,", f"{one},remove,AccessionNumber,,"]
    applied(shell, str(listed(shell, *rows, f"{other},set,StudyDescription,A,")), "--no-merge")
    before = outcomes(shell)
    missing(shell.folder / "r")
    assert shell.run("resume", "r", "--assume-unknown").exit_code == 0
    assert {row: found[:2] for row, found in outcomes(shell).items()} == {row: f[:2] for row, f in before.items()}
    assert len(shell.accepted()) == 4
    shutil.rmtree(shell.folder / "r")
    applied(shell, str(listed(shell, f"{one},revert,,1,")))
    missing(shell.folder / "r")
    assert shell.run("resume", "r", "--assume-unknown").exit_code == 0
    assert outcomes(shell)[2][:2] == ("applied", 5)
    assert len(shell.accepted()) == 5


def test_what_the_image_set_holds_already_is_applied_and_claims_no_version(shell: Shell) -> None:
    one = shell.emulator.add(document())
    shell.unbegun(listed(shell, f"{one},set,StudyDescription,T,"), "r")
    applied_by_another(shell, one)
    (shell.folder / "r/ledger.anchor").unlink()
    assert shell.run("resume", "r", "--assume-unknown").exit_code == 0
    assert len(shell.accepted()) == 1


def applied_by_another(shell: Shell, image_set_id: str) -> None:
    """Another writer sets the same, together with something else: no version is the call's alone."""
    edits = shell.write(
        "other.csv",
        f"image_set_id,StudyDescription,PatientName\n{image_set_id},T,SOMEBODY\n",
    )
    assert shell.run("apply", edits, "--yes", "--run", "another").exit_code == 0


def test_a_call_that_was_passed_over_is_failed_and_is_sent_again_only_when_asked_for(shell: Shell) -> None:
    one = shell.emulator.add(document())
    rows = [f"{one},set,SeriesDescription,A,1.2.3.404", f"{one},set,StudyDescription,B,"]
    applied(shell, str(listed(shell, *rows)), "--no-merge")
    missing(shell.folder / "r")
    assert shell.run("resume", "r", "--assume-unknown").exit_code == 1
    found = outcomes(shell)
    assert (found[2][0], found[3][:2]) == ("failed", ("applied", 3))
    assert "its outcome was lost" in str(found[2][2])
    assert len(shell.accepted()) == 2


def test_parts_of_a_call_that_was_split_are_told_apart_by_what_is_there(shell: Shell) -> None:
    one = shell.emulator.add(document())
    rows = [f"{one},set,SeriesDescription,A,1.2.3.404", f"{one},set,StudyDescription,B,"]
    applied(shell, str(listed(shell, *rows)))
    before = {row: outcome for row, (outcome, *_) in outcomes(shell).items()}
    name = shell.stored(one)
    assert before == {2: "rejected", 3: "applied"}
    missing(shell.folder / "r")
    assert shell.run("resume", "r", "--assume-unknown").exit_code == 1
    assert {row: outcome for row, (outcome, *_) in outcomes(shell).items()} == before
    assert shell.stored(one)[1] == name[1] == "B"


def test_a_copy_cannot_be_told_and_is_never_sent_again(shell: Shell) -> None:
    shell.env = {**shell.env, ENVIRONMENT: KEY.secret.decode()}
    shell.emulator.add(document(), primary=True)
    assert shell.run(*DEID, "--via-copy").exit_code == 0
    assert shell.run("apply", "plan", "--run", "r", "--yes").exit_code == 0
    missing(shell.folder / "r")
    before = len(shell.requests("CopyImageSet")), len(shell.accepted())
    result = shell.run("resume", "r", "--assume-unknown", "--json")
    assert (result.exit_code, result.json[-1]["applied"]) == (1, 0)
    assert shell.run("resume", "r", "--strategy", "all").exit_code == 1
    assert (len(shell.requests("CopyImageSet")), len(shell.accepted())) == before
