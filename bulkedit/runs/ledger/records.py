"""The rows of a ledger as records, and the states in them."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from bulkedit._printable import printable

if TYPE_CHECKING:
    from bulkedit.client.responses import CallState


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of table event: a new state of a call."""

    at: float
    call: int
    state: CallState
    expected_version: int | None = None
    version: int | None = None
    attempts: int = 0
    throttles: int = 0
    faults: int = 0
    conflicts: int = 0
    reason: str | None = None
    message: str | None = None
    digest: str | None = None
    expected_version_updated_at: float | None = None  # epoch seconds


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a split call."""

    call: int
    parent: int
    edits: list[int]


@dataclass(frozen=True, slots=True)
class Pace:
    """The quota of updates that the run assumes from now on."""

    at: float  # epoch seconds
    quota: float  # per second


@dataclass(frozen=True, slots=True)
class Made:
    """An image set that a copying call made; if not ``ours``, one of the same series that existed before."""

    call: int
    image_set_id: str
    ours: bool = True


class ProcessState(StrEnum):
    """What a row of table process tells."""

    STARTED = "started"
    ENDED = "ended"


class Ending(StrEnum):
    """Why a process has ended without an error."""

    COMPLETED = "completed"  # every call has an outcome
    STOPPED = "stopped"  # some calls have none
    INTERRUPTED = "interrupted"  # by a second Ctrl-C or SIGTERM


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """A process that works on the run has started or ended."""

    at: float  # epoch seconds
    process: str  # random name
    state: ProcessState
    pid: int
    host: str
    user: str
    reason: str | None = None  # why it has ended: an `Ending`, or the name of an error's class

    @classmethod
    def of_this_process(cls) -> ProcessRecord:
        """This process has started to work on a run; each record has a random name of its own."""
        return cls(
            at=time.time(),
            process=secrets.token_hex(8),
            state=ProcessState.STARTED,
            pid=os.getpid(),
            host=host_name(),
            user=user_name(),
        )

    def ended(self, reason: str) -> ProcessRecord:
        """The same process has ended."""
        return replace(self, at=time.time(), state=ProcessState.ENDED, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRecord:
    """A setting of the run that a resume changed."""

    at: float  # epoch seconds
    name: str
    before: str  # JSON
    after: str  # JSON
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """A request that was sent for a call."""

    at: float  # epoch seconds
    call: int
    operation: str
    request_id: str | None  # AWS's id of the request; None if no answer came
    result: str  # accepted, answered, an error code, or `lost: CAUSE`


Record = Event | Part | Pace | Made | ProcessRecord | SettingRecord | RequestRecord


def host_name() -> str:
    """The name of this host."""
    return printable(socket.gethostname())


def user_name() -> str:
    """The name of this process's user on this host; the user's number if it has no name."""
    try:
        return printable(getpass.getuser())
    except (ImportError, KeyError, OSError):
        return str(os.getuid())
