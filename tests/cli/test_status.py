"""`bulkedit status` tells the state of a run, what its process does, and what to type next only if that is right."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.client.responses import CallState
from bulkedit.runs import sign_of_life
from bulkedit.runs.ledger import Event, Ledger, ProcessRecord, ProcessState, host_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.shell import Shell

DEAD = 2**30  # no process has such a number


def status(shell: Shell) -> dict[str, Any]:
    (line,) = shell.run("status", "r", "--json").json
    found: dict[str, Any] = line
    return found


@pytest.fixture
def run(shell: Shell) -> Path:
    """A run of four edits that was not begun."""
    return shell.unbegun(shell.descriptions(shell.image_sets(4)), "r")


@contextmanager
def begun(run: Path, *states: CallState) -> Iterator[Ledger]:
    """The ledger of the run, whose first calls have these states. It is locked."""
    with Ledger.create(run / "ledger.sqlite") as ledger:
        ledger.append([Event(at=time.time(), call=call, state=state) for call, state in enumerate(states)])
        yield ledger


def process(**fields: Any) -> ProcessRecord:
    """A process of the run beside this one."""
    about: dict[str, Any] = {
        "at": time.time(),
        "process": "b",
        "state": ProcessState.STARTED,
        "pid": DEAD,
        "host": host_name(),
        "user": "ada",
    }
    return ProcessRecord(**{**about, **fields})


def says(run: Path, **changed: Any) -> None:
    """A process of the run has left this sign of life."""
    said = {
        "at": time.time() + 0.1,
        "pid": os.getpid(),
        "host": host_name(),
        "per_second": 0.24,
        "quota_per_second": 0.25,
        "searching": False,
        "seconds_left": 725.0,
        "waiting": [{"for": "unlock", "seconds": 725.0, "count": 1, "image_sets": ["e" * 32]}],
        "image_sets_in_flight": ["a" * 32],
    }
    (run / sign_of_life.NAME).write_text(json.dumps({**said, **changed}), "utf-8")


A = CallState.APPLIED


def test_a_run_that_was_not_started(shell: Shell, run: Path) -> None:
    assert run.is_dir()
    found = status(shell)
    assert (found["state"], found["since"], found["process"], found["elapsed_seconds"]) == (
        "not started",
        None,
        None,
        None,
    )
    assert found["next"] == ["bulkedit resume r"]
    assert shell.run("resume", "r").exit_code == 0  # which is not refused


class TestRunning:
    def test_its_process_and_what_it_says_of_itself_are_shown(self, shell: Shell, run: Path) -> None:
        with begun(run, A):
            says(run)
            found, text = status(shell), shell.run("status", "r").stdout
        assert (found["state"], found["next"], found["reason"]) == ("running", [], None)
        assert (found["process"]["pid"], found["process"]["host"]) == (os.getpid(), host_name())
        assert (found["per_second"], found["quota_per_second"], found["seconds_left"]) == (0.24, 0.25, 725.0)
        assert found["waiting"] == [{"for": "unlock", "seconds": 725.0, "count": 1, "image_sets": ["e" * 32]}]
        assert found["image_sets_in_flight"] == ["a" * 32]
        lines = dict(line.strip().split(maxsplit=1) for line in text.splitlines()[1:])
        assert lines["state"].startswith(f"running: process {os.getpid()} of ")
        assert "last sign of life" in lines["state"]
        assert lines["rate"] == "0.24/s of 0.25/s"
        assert "time left  about 12 min\n" in text
        assert lines["waiting"] == f"for unlock: 1 image set, longest 12 min 05 s: {'e' * 32}"
        assert lines["in"] == f"flight  1 image set: {'a' * 32}"
        assert "To continue" not in text

    def test_a_process_that_has_said_nothing_for_long_tells_nothing_of_now(self, shell: Shell, run: Path) -> None:
        with begun(run, A) as ledger:
            ledger.append([process(at=time.time() - 100, pid=os.getpid())])
            says(run, at=time.time() - 60)
            found, text = status(shell), shell.run("status", "r").stdout
        assert (found["state"], found["seconds_left"], found["waiting"]) == ("running", None, None)
        assert "last sign of life 1 min 00 s ago" in text
        assert "rate" not in text

    def test_what_an_earlier_process_has_said_tells_nothing(self, shell: Shell, run: Path) -> None:
        says(run, at=time.time() - 5)
        with begun(run, A):
            found = status(shell)
        assert (found["state"], found["seconds_left"], found["process"]["last_sign"]) == ("running", None, None)


class TestNotRunning:
    def test_a_run_whose_process_is_dead_has_crashed(self, shell: Shell, run: Path) -> None:
        with begun(run, A) as ledger:
            ledger.append([process()])
        found, text = status(shell), shell.run("status", "r").stdout
        assert (found["state"], found["next"]) == ("crashed", ["bulkedit resume r"])
        assert f"process {DEAD} of ada on {host_name()} is dead" in text
        assert text.endswith("To continue:  bulkedit resume r\n")
        assert shell.run("resume", "r").exit_code == 0

    def test_a_process_on_another_host_cannot_be_checked_from_here(self, shell: Shell, run: Path) -> None:
        with begun(run, A) as ledger:
            ledger.append([process(host="other")])
        says(run, pid=DEAD, host="other")
        found, text = status(shell), shell.run("status", "r").stdout
        assert (found["state"], found["next"], found["per_second"]) == ("unknown", [], 0.24)
        assert f"unknown: process {DEAD} of ada on other has not written its end" in text
        assert "cannot be checked from here" in text

    @pytest.mark.parametrize(
        ("reason", "said", "following"),
        [
            ("interrupted", "Ctrl-C, SIGTERM or a stop of the library (exit code 130)", ["bulkedit resume r"]),
            ("stopped", "image sets stayed locked, or could not be read\n", ["bulkedit resume r"]),
            ("CredentialsError", "there are none (exit code 4)", ["bulkedit resume r"]),
            ("DatastoreError", "the data store is gone (exit code 4)", []),
            ("ZeroDivisionError", "ZeroDivisionError\n", ["bulkedit resume r"]),
        ],
    )
    def test_a_stopped_run_says_why(
        self, shell: Shell, run: Path, reason: str, said: str, following: list[str]
    ) -> None:
        with begun(run, A) as ledger:
            ledger.end(reason)
        found, text = status(shell), shell.run("status", "r").stdout
        assert (found["state"], found["reason"], found["next"]) == ("stopped", reason, following)
        assert said in text

    def test_a_run_that_is_done_needs_nothing(self, shell: Shell, run: Path) -> None:
        with begun(run, A, A, A, A) as ledger:
            ledger.end("completed")
        found, text = status(shell), shell.run("status", "r").stdout
        assert (found["state"], found["reason"], found["next"]) == ("done", "completed", [])
        assert "bulkedit " not in text

    @pytest.mark.parametrize(
        ("outcome", "following"),
        [
            (CallState.REJECTED, ["bulkedit report r"]),
            (CallState.FAILED, ["bulkedit report r", "bulkedit resume r --strategy failed"]),
            (CallState.CONFLICTED, ["bulkedit report r", "bulkedit resume r --strategy failed"]),
        ],
    )
    def test_a_run_that_is_done_names_what_helps_with_the_rest(
        self, shell: Shell, run: Path, outcome: CallState, following: list[str]
    ) -> None:
        with begun(run, A, A, A, outcome) as ledger:
            ledger.end("completed")
        assert status(shell)["next"] == following
        assert "To continue" not in shell.run("status", "r").stdout
        for words in following:
            assert shell.run(*words.split()[1:]).exit_code == 0

    def test_a_ledger_that_a_resume_refuses_is_not_resumed_without_more(self, shell: Shell, run: Path) -> None:
        with begun(run, A) as ledger:
            ledger.end("interrupted")
        for file in run.glob("ledger.sqlite*"):
            file.unlink()
        found = status(shell)
        assert (found["state"], found["next"]) == ("unknown", ["bulkedit resume r --assume-unknown"])


def test_the_time_is_that_since_the_begin_and_that_at_work(shell: Shell, run: Path) -> None:
    """Two processes: one worked for 10 s and was killed, the other one worked for 20 s after 70 s."""
    with begun(run) as ledger:
        at = ledger.processes()[0].at
        records: list[Event | ProcessRecord] = [
            Event(at=at + 10, call=0, state=A),
            process(at=at + 80),
            Event(at=at + 90, call=1, state=A),
            process(at=at + 100, state=ProcessState.ENDED, reason="interrupted"),
        ]
        ledger.append(records)
    found = status(shell)
    assert (found["elapsed_seconds"], found["working_seconds"]) == (100.0, 30.0)
    assert "time       1 min 40 s, 30 s of it at work" in shell.run("status", "r").stdout


def test_a_real_run_says_how_it_has_ended(shell: Shell) -> None:
    edits = shell.descriptions(shell.image_sets(2))
    assert shell.run("apply", edits, "--run", "r", "--yes").exit_code == 0
    found = status(shell)
    assert (found["state"], found["reason"], found["exit_code"], found["next"]) == ("done", "completed", None, [])
    assert not (shell.folder / "r" / sign_of_life.NAME).exists()


def test_watching_ends_with_the_run(shell: Shell, run: Path) -> None:
    with begun(run, A) as ledger:
        ledger.end("interrupted")
    text = shell.run("status", "r", "--watch").stdout
    assert text.startswith("state stopped since ")
    assert text.endswith("To continue:  bulkedit resume r\n")


def test_status_changes_no_file_of_a_run(shell: Shell, run: Path) -> None:
    with begun(run, A) as ledger:
        before = contents(run)
        shell.run("status", "r")
        assert contents(run) == before
        ledger.append([process()])  # which can be written still


def contents(run: Path) -> dict[str, bytes]:
    shared = "-shm"  # SQLite's readers mark their place in it
    return {
        str(path): path.read_bytes() for path in run.rglob("*") if path.is_file() and not path.name.endswith(shared)
    }
