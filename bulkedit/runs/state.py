"""The state of a run: whether it was begun, whether a process works on it, and how the last process has ended.

It is told by three things: the table process of the ledger (when each process has started and ended), the lock, which
the operating system releases if the process dies, and whether edits are left. What they do not tell is unknown.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bulkedit import _received as received
from bulkedit import errors
from bulkedit._files import lock
from bulkedit.errors import EXIT_INTERRUPTED, BulkeditError, ReceivedError
from bulkedit.runs import anchor as anchors
from bulkedit.runs.ledger import Ending, ProcessState, is_held

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bulkedit.runs.ledger import ProcessRecord


class RunState(StrEnum):
    """The state of a run."""

    NOT_STARTED = "not started"  # nothing was sent
    RUNNING = "running"  # a process works on it
    STOPPED = "stopped"  # its last process has ended, and edits are left
    CRASHED = "crashed"  # its last process is dead, has not written its end, and edits are left
    DONE = "done"  # every edit has an outcome
    UNKNOWN = "unknown"  # its last process is on another host, or the ledger does not tell


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a run's state depends on."""

    processes: Sequence[ProcessRecord]  # as in the ledger
    locked: bool | None  # whether a process has locked the run; None: that cannot be found out
    host: str  # of this process
    begun: bool  # whether the run must have a ledger
    left: bool  # whether edits or steps of copies have no outcome
    last_event: float | None  # epoch seconds
    last_sign: float | None  # epoch seconds; of the last process
    alive: bool  # whether this host has a process with the number of the last one


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """The state of a run, and since when; times are epoch seconds."""

    state: RunState
    since: float | None = None
    process: ProcessRecord | None = None  # the last process
    reason: str | None = None  # why the last process has ended: an `Ending`, or the name of an error's class

    @property
    def exit_code(self) -> int | None:
        """The exit code of the last process, if its reason tells."""
        if self.reason == Ending.INTERRUPTED:
            return EXIT_INTERRUPTED
        kind = getattr(errors, self.reason or "", None)
        return kind.exit_code if isinstance(kind, type) and issubclass(kind, BulkeditError) else None


def condition(facts: RunFacts) -> Condition:
    """The state that follows from the facts."""
    last = facts.processes[-1] if facts.processes else None
    if facts.locked:
        return Condition(state=RunState.RUNNING, since=last.at if last else None, process=last)
    if last is None:
        return Condition(state=RunState.UNKNOWN if facts.begun else RunState.NOT_STARTED)
    if last.state is ProcessState.ENDED:
        state = RunState.STOPPED if facts.left else RunState.DONE
        return Condition(state=state, since=last.at, process=last, reason=last.reason)
    seen = max(at for at in (last.at, facts.last_event, facts.last_sign) if at is not None)
    if not facts.left:
        return Condition(state=RunState.DONE, since=seen, process=last)
    # without a lock, a process with this number can be another one, or the lock's file was deleted
    unknown = facts.locked is None or last.host != facts.host or facts.alive
    return Condition(state=RunState.UNKNOWN if unknown else RunState.CRASHED, since=seen, process=last)


def is_locked(ledger: Path) -> bool | None:
    """Whether a process has locked the run of this ledger; None if that cannot be found out."""
    if is_held(ledger):
        return True
    try:
        with received.opened(anchors.beside(ledger)) as file:
            lock(file, shared=True)
    except FileNotFoundError:
        return False
    except (OSError, ReceivedError):  # no permission, or a file system without locks
        return None
    return False


def is_alive(pid: int) -> bool:
    """Whether this host has a process with this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it belongs to another user, or is no number of a process
        return True
    return True


REASONS: Final = {
    str(Ending.STOPPED): "image sets stayed locked, or could not be read",
    str(Ending.INTERRUPTED): "Ctrl-C, SIGTERM or a stop of the library",
    "AccessError": "AWS denied access",
    "BudgetSpentError": "more edits failed than --max-errors allows",
    "CredentialsError": "AWS does not accept the credentials, or there are none",
    "DatastoreError": "the data store is gone",
    "EndpointError": "the service did not answer",
    "LedgerError": "the ledger could not be written",
    "UntrustedServerError": "the server's certificate could not be verified",
}
