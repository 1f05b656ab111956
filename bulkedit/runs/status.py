"""A run as `bulkedit status` and `bulkedit runs` show it: numbers, state, and what its process says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypedDict

from bulkedit._log import iso
from bulkedit._printable import shell_word
from bulkedit.runs import sign_of_life
from bulkedit.runs.ledger import LedgerState, host_name
from bulkedit.runs.state import Condition, RunFacts, RunState, condition, is_alive, is_locked
from bulkedit.runs.summary import RunNumbers, RunSummary

if TYPE_CHECKING:
    from bulkedit._json import JsonObject
    from bulkedit.runs.folder import Run
    from bulkedit.runs.ledger import ProcessRecord
    from bulkedit.runs.sign_of_life import SignOfLife

_FRESH_S: Final = 15.0  # an older sign of life does not tell what a process does now
_UNPROVEN: Final = {LedgerState.MISSING, LedgerState.BEHIND, LedgerState.DAMAGED, LedgerState.UNANCHORED}


class ProcessLine(TypedDict):
    """A process that works, or has worked, on a run."""

    pid: int
    host: str
    user: str
    since: str  # ISO time
    last_sign: str | None  # ISO time of its last sign of life


class StatusLine(RunSummary):
    """The JSON line of type ``status``."""

    states: dict[str, int]  # calls
    state: str  # a `RunState`
    since: str | None  # ISO time; of the state
    process: ProcessLine | None  # the last one
    reason: str | None  # why it has ended
    exit_code: int | None
    elapsed_seconds: float | None
    working_seconds: float | None
    per_second: float | None
    quota_per_second: float | None
    searching: bool | None
    seconds_left: float | None
    waiting: list[JsonObject] | None
    locked: list[JsonObject]
    image_sets_in_flight: list[str] | None
    next: list[str]  # commands


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run as it is now."""

    run: Run
    numbers: RunNumbers
    summary: RunSummary
    condition: Condition
    sign: SignOfLife | None  # of the process that works on the run, or seems to
    now: float  # epoch seconds

    @classmethod
    def of(cls, run: Run, now: float) -> RunStatus:
        """Read a run. Blocks. Raises as `bulkedit.runs.summary.summary`."""
        locked = is_locked(run.ledger)  # before the ledger, so that the last rows of an ended process are seen
        numbers = RunNumbers(run)
        summary = numbers.as_json()
        last = numbers.processes[-1] if numbers.processes else None
        sign = sign_of_life.read(run.folder)
        if sign is not None and (last is None or sign.at < last.at or sign.pid != last.pid):
            sign = None  # of an earlier process
        facts = RunFacts(
            processes=numbers.processes,
            locked=locked,
            host=host_name(),
            begun=run.is_begun,
            left=bool(summary["unprocessed"] or summary["copy_steps_left"]),
            last_event=numbers.last_event,
            last_sign=sign.at if sign else None,
            alive=last is not None and is_alive(last.pid),
        )
        return cls(run, numbers, summary, condition(facts), sign, now)

    @property
    def done(self) -> int:
        """Edits that have an outcome."""
        return self.summary["edits"] - self.summary["unprocessed"]

    @property
    def percent(self) -> int:
        """Edits that have an outcome, in per cent; 100 only if none is left."""
        of = self.summary["edits"]
        share = 100 * self.done // of if of else 100
        return min(share, 99) if self.summary["unprocessed"] or self.summary["copy_steps_left"] else share

    @property
    def fresh(self) -> SignOfLife | None:
        """The sign of life, if it tells what the process does now."""
        working = self.condition.state in {RunState.RUNNING, RunState.UNKNOWN}
        return self.sign if working and self.sign and self.now - self.sign.at <= _FRESH_S else None

    @property
    def elapsed_s(self) -> float | None:
        """Seconds since the first process has started, until now or until the end of the last one."""
        if not self.numbers.processes:
            return None
        return max(0.0, self._end - self.numbers.processes[0].at)

    @property
    def working_s(self) -> float | None:
        """Seconds of that in which a process worked on the run."""
        last = self.condition.process
        if last is None:
            return None
        return self.numbers.worked_s + (0.0 if self.condition.reason is not None else max(0.0, self._end - last.at))

    @property
    def _end(self) -> float:
        running = self.condition.state is RunState.RUNNING or self.condition.since is None
        return self.now if running or self.fresh else self.condition.since or self.now

    @property
    def next_commands(self) -> list[str]:
        """Commands that show what was not applied, or continue the run; none that would be refused."""
        state, found = self.condition.state, self.summary
        if (options := self.resume_options) is not None:
            return [self._command("resume", *options)]
        if state is not RunState.DONE:
            return []
        again = found["conflicted"] + found["failed"] + found["copy_steps_failed"]
        commands = [self._command("report")] if found["rejected"] + again else []
        return [*commands, self._command("resume", "--strategy", "failed")] if again else commands

    @property
    def resume_options(self) -> list[str] | None:
        """Options of the `bulkedit resume` that continues the run; None if none would."""
        ledger, state = self.summary["ledger"], self.condition.state
        left = state in {RunState.STOPPED, RunState.CRASHED, RunState.NOT_STARTED}
        if ledger == LedgerState.COPIED or self.condition.reason == "DatastoreError":
            return None
        if ledger in _UNPROVEN:
            return ["--assume-unknown"]
        return [] if left else None

    def _command(self, name: str, *options: str) -> str:
        return " ".join(["bulkedit", name, shell_word(self.run.folder), *options])

    def as_json(self) -> StatusLine:
        """The JSON line of type ``status``."""
        found, fresh = self.condition, self.fresh
        return {
            **self.summary,
            "type": "status",
            "states": self.numbers.states(),
            "state": str(found.state),
            "since": None if found.since is None else iso(found.since),
            "process": None if found.process is None else self._process(found.process),
            "reason": found.reason,
            "exit_code": found.exit_code,
            "elapsed_seconds": _rounded(self.elapsed_s),
            "working_seconds": _rounded(self.working_s),
            "per_second": None if fresh is None else round(fresh.per_second, 4),
            "quota_per_second": None if fresh is None else round(fresh.quota_per_second, 4),
            "searching": None if fresh is None else fresh.searching,
            "seconds_left": _rounded(fresh.seconds_left) if fresh else None,
            "waiting": None if fresh is None else [one.as_json() for one in fresh.waiting],
            "locked": [one.as_json() for one in self.numbers.locked],
            "image_sets_in_flight": None if fresh is None else list(fresh.image_sets_in_flight),
            "next": self.next_commands,
        }

    def _process(self, last: ProcessRecord) -> ProcessLine:
        begun = next(one.at for one in self.numbers.processes if one.process == last.process)
        return {
            "pid": last.pid,
            "host": last.host,
            "user": last.user,
            "since": iso(begun),
            "last_sign": iso(self.sign.at) if self.sign else None,
        }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
