"""SIGKILL at every point of a call's life, and a resume: the documents are those of a run that was never killed.

The invariant: updates applied equal updates planned, and each is the version that the ledger says
(`tests.runs.journal_check`). `benchmarks/kills.py` does the same at many random instants.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from bulkedit.emulator import UNTHROTTLED, CompletionTime, Settings, serve
from tests.cli.kill_points import Point, go_on, kill_once
from tests.cli.shell import Shell
from tests.cli.write_faults import COMPILER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


SELDOM = {Point.AFTER_ANSWER, Point.RANDOM}  # between others, and met by the others at length


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Over a service whose updates take a while, so that there is an unlock to wait for."""
    with serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=1.0))) as emulator:
        yield Shell(tmp_path, emulator)


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, marks=pytest.mark.slow if point in SELDOM else ())
        for point in Point
        if point is not Point.WRITE
    ],
)
def test_a_run_that_is_killed_anywhere_is_finished_by_a_resume_and_nothing_is_done_twice(
    shell: Shell, point: Point
) -> None:
    image_sets = shell.image_sets(8)
    edits = shell.descriptions(image_sets)
    run = shell.folder / "r"
    words = ("apply", edits, "--yes", "--run", run, "--rate", "40/s", "--burst", "4")
    nth = 1 if point is Point.UNLOCK_WAIT else 3  # the engine learns not to look too early
    assert kill_once(shell, words, point, nth, random.Random(1))
    row = go_on(shell, run, point)
    assert (row.exit_code, row.versions, row.calls, row.accepted) == (0, 8, 8, 8)
    assert [shell.stored(one) for one in image_sets] == [(2, f"T{i}") for i in range(8)]


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler (cc) to make what kills at a write")
@pytest.mark.parametrize(
    "nth",
    [pytest.param(2, marks=pytest.mark.slow), 13, pytest.param(29, marks=pytest.mark.slow)],
    ids="write {}".format,
)
def test_a_run_that_is_killed_at_any_write_of_its_ledger_goes_on_without_a_word_of_damage(
    shell: Shell, nth: int
) -> None:
    image_sets = shell.image_sets(8)
    run = shell.folder / "r"
    words = ("apply", shell.descriptions(image_sets), "--yes", "--run", run, "--rate", "40/s", "--burst", "4")
    assert kill_once(shell, words, Point.WRITE, nth, random.Random(nth))
    row = go_on(shell, run, Point.WRITE)
    assert (row.exit_code, row.versions, row.calls, row.accepted) == (0, 8, 8, 8)
