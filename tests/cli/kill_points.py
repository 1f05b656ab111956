"""Kills the process of a run at a chosen point of a call's life, driven from the service's side.

Used by `test_kill.py` and, for many random instants, by `benchmarks/kills.py`.
"""

from __future__ import annotations

import signal
import textwrap
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from bulkedit import plans
from bulkedit.runs import ledger_frames
from bulkedit.runs.ledger import Ledger
from tests.cli.shell import PATIENT_S, wait_for
from tests.cli.write_faults import WriteFault, library
from tests.runs.journal_check import judge

if TYPE_CHECKING:
    import random
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from bulkedit.emulator.http.server import Server
    from bulkedit.emulator.http.signing import Signed
    from bulkedit.emulator.http.wire import Reply
    from bulkedit.emulator.state.faults import Fault
    from tests.cli.shell import Shell


class Point(StrEnum):
    """Where in a call's life."""

    BEFORE_READ = "before the request is read"
    BEFORE_ANSWER = "after applying and before answering"
    AFTER_ANSWER = "after answering"
    UNLOCK_WAIT = "during the unlock wait"
    COMMIT = "while the ledger commits"
    WRITE = "at a write of ledger, log or anchor"
    RANDOM = "at a random instant"


@dataclass(frozen=True, slots=True)
class Row:
    """One kill and what became of the run."""

    point: Point
    states: dict[str, int]  # of the calls begun, when the process was dead
    versions: int  # that our requests had made by then, or have made since
    calls: int  # planned
    accepted: int  # updates that the service accepted in all
    exit_code: int  # of the resume


class KillAtPoint:
    """Stands at the service's door. Runs on the emulator's thread."""

    def __init__(self, server: Server, process: subprocess.Popen[str], point: Point, nth: int) -> None:
        self._server, self._process, self._point, self._left = server, process, point, nth
        self._carry_out = type(server).answer.__get__(server)
        self._answered = False

    def answer(self, signed: Signed, *, late: bool = False) -> tuple[Reply | None, list[Fault]]:
        """In the place of `Server.answer`."""
        update, look = "updateImageSetMetadata" in signed.path, signed.path.endswith("getImageSet")
        if self._process.poll() is not None:
            return None, []  # nobody is there to ask any more
        if self._point is Point.AFTER_ANSWER and self._answered:
            return self._kill()
        if update and self._point is Point.BEFORE_READ and self._struck():
            return self._kill()
        reply, struck = self._carry_out(signed, late=late)
        if update and self._point is Point.BEFORE_ANSWER and self._struck():
            return self._kill()
        if update and self._point is Point.AFTER_ANSWER and self._struck():
            self._answered = True
        locked = reply is not None and b'"LOCKED"' in reply.body
        if look and locked and self._point is Point.UNLOCK_WAIT and self._struck():
            return self._kill()
        return reply, struck

    def _struck(self) -> bool:
        self._left -= 1
        return self._left == 0

    def _kill(self) -> tuple[None, list[Fault]]:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(PATIENT_S)
        return None, []


# the command, killed by a thread of its own in the middle of its n-th commit
IN_COMMIT = """
    import os, random, signal, sys, threading, time
    from bulkedit.runs.ledger import Ledger

    left, whole = int(sys.argv.pop(1)), Ledger.append

    def append(self, records):
        global left
        left -= 1
        if left == 0:
            def kill():
                time.sleep(random.random() / 500)
                os.kill(os.getpid(), signal.SIGKILL)
            threading.Thread(target=kill).start()
        whole(self, records)
        if left == 0:
            time.sleep(60)

    Ledger.append = append
    from bulkedit.cli.app import app
    app()
"""


HOW: Final = ("before", "half", "after")


def kill_once(shell: Shell, words: tuple[Any, ...], point: Point, nth: int, rng: random.Random) -> bool:
    """Start the command, kill it at the point, and wait until it is dead; False where it had ended before."""
    start = ("-c", textwrap.dedent(IN_COMMIT), str(nth)) if point is Point.COMMIT else ("-m", "bulkedit")
    before = len(shell.requests())
    env = {}
    if point is Point.WRITE:
        fault = WriteFault(nth, rng.choice(HOW), only="ledger").env(shell.folder.resolve())
        env = {**fault, "LD_PRELOAD": library()}
    with shell.started(*words, start=start, env=env) as process:
        if point in {Point.COMMIT, Point.WRITE}:
            process.wait(PATIENT_S)
        elif point is Point.RANDOM:
            wait_for(lambda: len(shell.requests()) > before or process.poll() is not None)
            time.sleep(rng.random() * 0.5)
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENT_S)
        else:
            with _killing_at(shell, KillAtPoint(shell.emulator.server, process, point, nth)):
                process.wait(PATIENT_S)
        return process.returncode == -signal.SIGKILL


@contextmanager
def _killing_at(shell: Shell, executioner: KillAtPoint) -> Iterator[None]:
    server: Any = shell.emulator.server
    shell.emulator.do(lambda _: setattr(server, "answer", executioner.answer))
    try:
        yield
    finally:
        shell.emulator.do(lambda _: delattr(server, "answer"))


def go_on(shell: Shell, run: Path, point: Point) -> Row:
    """What the ledger says after the kill; then resume to the end, and judge."""
    states: dict[str, int] = {}
    with Ledger.read(run / "ledger.sqlite") if (run / "ledger.sqlite").exists() else nullcontext() as ledger:
        if ledger is not None:
            states = dict(ledger_frames.states(ledger).group_by("state").len().iter_rows())
    result = shell.run("resume", run)
    plan = plans.load(run / "plan")
    sheet = shell.emulator.do(lambda _: judge(shell.emulator.server, plan, run / "ledger.sqlite"))
    return Row(point, states, sheet.updated, plan.counts["calls"], sheet.accepted, result.exit_code)
