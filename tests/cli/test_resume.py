"""A run that ends early goes on where it was: every edit is applied once, whatever ended it.

The invariant: over all processes of a run, the service accepts exactly one update for each call of the plan.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

from bulkedit.client.responses import CallState
from bulkedit.emulator import UNTHROTTLED, CompletionTime, Fault, FaultKind, ManualClock, Settings, serve
from bulkedit.runs.ledger import Event, Ledger, ProcessState
from tests.cli.shell import PATIENT_S, Shell, wait_for
from tests.received.tampering import change

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bulkedit.emulator import Emulator

SLOWLY = ("--rate", "40/s", "--burst", "1")  # so that a kill comes in the middle


@pytest.fixture
def patient() -> Iterator[Emulator]:
    """An emulator whose updates are done only when the test moves its clock."""
    with serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=10)), clock=ManualClock()) as running:
        yield running


@pytest.fixture
def held(tmp_path: Path, patient: Emulator) -> Shell:
    return Shell(tmp_path, patient)


def complete(shell: Shell) -> None:
    """Let every update under way be done."""
    clock = shell.emulator.clock
    assert isinstance(clock, ManualClock)
    shell.emulator.do(lambda _: clock.advance(10))


def all_applied_once(shell: Shell, image_sets: list[str]) -> None:
    assert len(shell.accepted()) == len(image_sets)
    assert [shell.stored(one) for one in image_sets] == [(2, f"T{i}") for i in range(len(image_sets))]


class TestKill:
    def test_a_run_that_is_killed_again_and_again_applies_every_edit_exactly_once(self, shell: Shell) -> None:
        image_sets = shell.image_sets(40)
        edits = shell.descriptions(image_sets)
        words: tuple[str | Path, ...] = ("apply", edits, "--yes", "--run", "r", *SLOWLY)
        for accepted in (1, 20):
            with shell.started(*words) as process:
                wait_for(lambda: len(shell.accepted()) >= accepted or process.poll() is not None)  # noqa: B023
                assert process.poll() is None
                process.send_signal(signal.SIGKILL)
                assert process.wait(PATIENT_S) == -signal.SIGKILL
            words = ("resume", "r")
        result = shell.run("resume", "r", "--json")
        (line,) = result.json
        assert (result.exit_code, line["applied"], line["unprocessed"]) == (0, 40, 0)
        all_applied_once(shell, image_sets)

    def test_a_killed_run_shows_where_it_stands(self, held: Shell) -> None:
        edits = held.descriptions(held.image_sets(3))
        with held.started("apply", edits, "--yes", "--run", "r") as process:
            wait_for(lambda: len(held.accepted()) == 3)
            process.kill()
        (line,) = held.run("status", "r", "--json").json
        assert (line["unprocessed"], line["applied"]) == (3, 0)
        # the answer to the last of them may not have been recorded any more
        assert sum(line["states"].values()) == 3
        assert set(line["states"]) <= {"accepted", "intended"}

    def test_a_run_that_has_not_begun_can_be_begun(self, shell: Shell) -> None:
        image_sets = shell.image_sets(2)
        edits = shell.descriptions(image_sets)
        shell.unbegun(edits, "r")
        assert shell.run("resume", "r").exit_code == 0
        all_applied_once(shell, image_sets)

    def test_a_finished_run_has_nothing_more_to_do(self, shell: Shell) -> None:
        edits = shell.descriptions(shell.image_sets(2))
        shell.run("apply", edits, "--yes", "--run", "r")
        before = len(shell.requests("UpdateImageSetMetadata"))
        assert shell.run("resume", "r").exit_code == 0
        assert len(shell.requests("UpdateImageSetMetadata")) == before


def endings(shell: Shell, run: str) -> list[str | None]:
    """Why the processes of a run have ended, by its ledger."""
    with Ledger.read(shell.folder / run / "ledger.sqlite") as ledger:
        return [process.reason for process in ledger.processes() if process.state is ProcessState.ENDED]


class TestSignals:
    @pytest.mark.parametrize(
        "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)], ids=lambda x: x.name
    )
    def test_the_first_signal_sends_nothing_new_and_waits_for_what_is_under_way(
        self, held: Shell, number: signal.Signals
    ) -> None:
        image_sets = held.image_sets(9)
        edits = held.descriptions(image_sets)
        words = ("apply", edits, "--yes", "--run", "my run", "--json", "--max-in-flight", "4", "--rate", "1000/s")
        with held.started(*words) as process:
            wait_for(lambda: len(held.accepted()) == 4)
            process.send_signal(number)
            said = lines_until(process, "Stopping")
            assert "nothing new is sent; waiting for 4 image sets. Press Ctrl-C again to stop at once." in said[-1]
            complete(held)
            stdout, stderr = process.communicate(timeout=PATIENT_S)
        result = held.run("status", "my run", "--json").json[0]
        assert (process.returncode, result["applied"], result["unprocessed"]) == (130, 4, 5)
        assert result["states"] == {"planned": 5, "applied": 4}
        assert len(held.accepted()) == 4
        assert stdout.count("\n") == 1
        assert "Traceback" not in stderr
        finish(held, "my run")
        all_applied_once(held, image_sets)
        assert endings(held, "my run") == ["interrupted", "completed"]

    def test_a_second_signal_leaves_at_once(self, held: Shell) -> None:
        image_sets = held.image_sets(3)
        edits = held.descriptions(image_sets)
        with held.started("apply", edits, "--yes", "--run", "my run") as process:
            wait_for(lambda: len(held.accepted()) == 3)
            process.send_signal(signal.SIGINT)
            lines_until(process, "Stopping")
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=PATIENT_S)
        assert process.returncode == 130
        # nothing was done by then: no clock moved
        assert "Run my run: 0 edits applied, 3 left" in stdout
        assert stdout.splitlines()[-1] == "To continue:            bulkedit resume 'my run'"
        assert "Traceback" not in stderr
        finish(held, "my run")
        all_applied_once(held, image_sets)
        assert endings(held, "my run") == ["interrupted", "completed"]

    def test_a_signal_when_all_is_done_but_for_the_answers_ends_as_if_there_was_none(self, held: Shell) -> None:
        edits = held.descriptions(held.image_sets(2))
        with held.started("apply", edits, "--yes", "--run", "r") as process:
            wait_for(lambda: len(held.accepted()) == 2)
            process.send_signal(signal.SIGTERM)
            lines_until(process, "Stopping")
            complete(held)
            stdout, _ = process.communicate(timeout=PATIENT_S)
        assert process.returncode == 0
        assert "2 edits applied, 0 left" in stdout


def lines_until(process: subprocess.Popen[str], start: str) -> list[str]:
    """What a process says on standard error, up to the line that begins so."""
    assert process.stderr is not None
    lines = [process.stderr.readline()]
    while lines[-1] and not lines[-1].startswith(start):
        lines.append(process.stderr.readline())
    return lines


def finish(shell: Shell, run: str) -> None:
    """Resume a run to its end, with a clock that goes on."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(0.01):
            complete(shell)

    clock = threading.Thread(target=go_on)
    clock.start()
    try:
        assert shell.run("resume", run, env={"BULKEDIT_ENDPOINT_URL": None}).exit_code == 0
    finally:
        ended.set()
        clock.join()


def damaged(shell: Shell) -> None:
    path = shell.folder / "r/ledger.sqlite"
    path.write_bytes(b"no database " * 50)


def emptied(shell: Shell) -> None:
    (shell.folder / "r/ledger.sqlite").write_bytes(b"")


def of_another_run(shell: Shell) -> None:
    with Ledger.open(shell.folder / "r/ledger.sqlite") as ledger:
        ledger.append([Event(at=0.0, call=99, state=CallState.APPLIED)])


def strange_settings(shell: Shell) -> None:
    change(shell.folder / "r/run.json", settings={"connection": {"plugin": "x"}, "options": {}})


def data_store_is_gone(shell: Shell) -> None:
    shell.emulator.do(lambda world: world.datastores.pop(shell.emulator.datastore_id))


def data_store_is_deleted(shell: Shell) -> None:
    shell.emulator.do(lambda world: setattr(world.datastores[shell.emulator.datastore_id], "status", "DELETING"))


def answered(kind: FaultKind) -> Callable[[Shell], None]:
    def spoil(shell: Shell) -> None:
        faults = [Fault(kind=kind, action="GetDatastore")]
        shell.emulator.do(lambda _: shell.emulator.server.faults.add(faults, now=shell.emulator.server.now()))

    return spoil


REFUSED: dict[str, tuple[Callable[[Shell], None], str]] = {
    "damaged": (damaged, "--assume-unknown"),
    "emptied": (emptied, "--assume-unknown"),
    "ledger of another run": (of_another_run, "--assume-unknown"),
    "strange settings": (strange_settings, "unknown name 'plugin'"),
    "data store is gone": (data_store_is_gone, "It was deleted since the run was begun"),
    "data store is deleted": (data_store_is_deleted, "aws medical-imaging get-datastore --datastore-id"),
}


class TestRefused:
    @pytest.fixture
    def begun(self, shell: Shell) -> Shell:
        """A run `r`."""
        assert shell.run("apply", shell.descriptions(shell.image_sets(2)), "--yes", "--run", "r").exit_code == 0
        return shell

    @pytest.mark.parametrize("kind", REFUSED)
    def test_a_resume_that_fails_says_what_helps_and_does_not_advise_itself(self, begun: Shell, kind: str) -> None:
        spoil, said = REFUSED[kind]
        spoil(begun)
        result = begun.run("resume", "r")
        assert result.exit_code in {2, 4}
        assert said in result.stderr
        assert "bulkedit resume" not in result.stderr.replace("bulkedit resume r --assume-unknown", "")

    def test_a_run_that_is_held_is_waited_for(self, begun: Shell) -> None:
        with Ledger.open(begun.folder / "r/ledger.sqlite"):
            result = begun.run("resume", "r")
        assert (result.exit_code, "Wait until it ends" in result.stderr) == (4, True)
        assert "bulkedit resume" not in result.stderr

    @pytest.mark.parametrize(
        ("kind", "first"), [(FaultKind.DENIED, "Add the permission"), (FaultKind.EXPIRED, "Renew them")], ids=str
    )
    def test_what_has_to_be_done_first_is_said_before_the_resume(
        self, begun: Shell, kind: FaultKind, first: str
    ) -> None:
        answered(kind)(begun)
        result = begun.run("resume", "r")
        assert result.exit_code == 4
        assert first in result.stderr
        assert result.stderr.endswith(", then continue with: bulkedit resume r\n")


class TestUnlockTimeout:
    def test_an_image_set_that_stays_locked_is_left_and_the_run_is_resumable(self, held: Shell) -> None:
        image_sets = held.image_sets(1)
        edits = held.descriptions(image_sets)
        result = held.run("apply", edits, "--yes", "--run", "r", "--unlock-timeout", "1")
        assert result.exit_code == 5
        assert "0 edits applied, 1 left" in result.stdout
        finish(held, "r")
        all_applied_once(held, image_sets)


class TestOneProcess:
    def test_a_run_at_work_refuses_a_second_process_and_can_be_looked_at(self, held: Shell) -> None:
        edits = held.descriptions(held.image_sets(3))
        with held.started("apply", edits, "--yes", "--run", "r") as process:
            wait_for(lambda: len(held.accepted()) == 3)
            second = held.run("resume", "r")
            assert (second.exit_code, f"in use by process {process.pid} on" in second.stderr) == (4, True)
            (status,) = held.run("status", "r", "--json").json
            assert (status["type"], status["edits"], status["unprocessed"]) == ("status", 3, 3)
            (report,) = held.run("report", "r", "--json").json
            assert (report["type"], report["unprocessed"]) == ("summary", 3)
            assert process.poll() is None

    def test_files_that_are_removed_meanwhile_let_no_second_process_begin(self, held: Shell) -> None:
        image_sets = held.image_sets(3)
        edits = held.descriptions(image_sets)
        with held.started("apply", edits, "--yes", "--run", "r") as process:
            wait_for(lambda: len(held.accepted()) == 3)
            anchor, kept = held.folder / "r/ledger.anchor", held.folder / "kept"
            anchor.rename(kept)
            for words in (("resume", "r"), ("resume", "r", "--assume-unknown")):
                second = held.run(*words)
                assert (second.exit_code, f"in use by process {process.pid} on" in second.stderr) == (4, True)
            complete(held)
            _, stderr = process.communicate(timeout=PATIENT_S)
        assert (process.returncode, "not in its folder any more" in stderr) == (4, True)
        kept.rename(anchor)
        finish(held, "r")
        all_applied_once(held, image_sets)
