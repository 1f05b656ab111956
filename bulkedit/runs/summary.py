"""The numbers of a run, from its ledger and the index of its calls, without importing polars."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypedDict

from bulkedit.client.responses import CallState, Outcome, outcome_of
from bulkedit.plans import CopyStep
from bulkedit.runs.call_index import STEP
from bulkedit.runs.ledger import Ledger, LedgerState, ProcessState
from bulkedit.runs.locks import LockedImageSet, LockWait, by_image_set
from bulkedit.runs.parts import carriers, roots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.runs.folder import Run
    from bulkedit.runs.ledger import Part, ProcessRecord

_OUTCOMES: Final = [Outcome.UNPROCESSED, *(outcome for outcome in Outcome if outcome is not Outcome.UNPROCESSED)]
_UNPROCESSED: Final = 0
_APPLIED: Final = _OUTCOMES.index(Outcome.APPLIED)
_CODE_OF: Final = {str(state): _OUTCOMES.index(outcome_of(state)) for state in CallState}
_COUNTED: Final = ("call", "state", "attempts", "throttles", "faults", "conflicts", "message")


class _Steps(TypedDict):
    """The steps of image sets that are changed by a copy: numbers of calls."""

    copied: int
    promoted: int
    originals_deleted: int
    copies_deleted: int
    copy_steps_left: int
    copy_steps_failed: int


class RunSummary(_Steps):
    """The JSON line of type ``summary``: edits by outcome, requests, seconds."""

    type: str
    run: str
    ledger: str  # a `LedgerState`
    edits: int
    already_satisfied: int  # edits
    applied: int
    rejected: int
    conflicted: int
    failed: int
    unprocessed: int
    calls: int
    requests: int
    throttled: int
    faults: int
    conflicts: int
    seconds: float


def by_outcome(numbers: RunSummary) -> dict[Outcome, int]:
    """The edits of a run by their outcome."""
    return {
        Outcome.APPLIED: numbers["applied"],
        Outcome.REJECTED: numbers["rejected"],
        Outcome.CONFLICTED: numbers["conflicted"],
        Outcome.FAILED: numbers["failed"],
        Outcome.UNPROCESSED: numbers["unprocessed"],
    }


def summary(run: Run) -> RunSummary:
    """The numbers of a run, as in the JSON line of type ``summary``; ``seconds``: from the first to the last event.

    Raises LedgerError, and ReceivedError if the run's index was changed.
    """
    return RunNumbers(run).as_json()


def absent(run: Run) -> LedgerState:
    """The state of a ledger that does not exist."""
    return LedgerState.MISSING if run.is_begun else LedgerState.NOT_BEGUN


def _last_event(ledger: Ledger, before: float | None = None) -> float | None:
    """When the last event was written; ``before``: the last one before this time (epoch seconds), which reads all."""
    if before is None:
        query = "SELECT at FROM event ORDER BY seq DESC LIMIT 1"
    else:
        query = f"SELECT max(at) FROM event WHERE at < {before!r}"  # noqa: S608 - a number
    return next((at for rows in ledger.batches(query) for (at,) in rows), None)


def _worked_s(ledger: Ledger, processes: list[ProcessRecord]) -> float:
    """Seconds in which processes worked on the run. One that was killed worked until the last event before the next.

    The last process counts only if it has written its end.
    """
    total = 0.0
    for one, following in pairwise(processes):
        if one.state is ProcessState.STARTED:
            killed = following.state is ProcessState.STARTED
            end = _last_event(ledger, following.at) if killed else following.at
            total += max(0.0, (end or one.at) - one.at)
    return total


class RunNumbers:
    """Plan and ledger of a run, joined without frames (`bulkedit.runs.history` joins them with frames)."""

    def __init__(self, run: Run) -> None:
        """Read the ledger. Raises as `summary`."""
        self._run = run
        self._index = run.call_index()
        self._planned = bytearray(len(self._index.edits))  # position in `_OUTCOMES`, by call
        self._of_parts: dict[int, int] = {}  # position in `_OUTCOMES`, by part
        self._parts: list[Part] = []
        self._begun: Counter[str] = Counter()  # by state
        self._begun_planned = 0  # calls of the plan among them
        self._waits: list[LockWait] = []
        self._sums = [0, 0, 0, 0]  # attempts, throttles, faults, conflicts
        self._seconds = 0.0
        self.processes: list[ProcessRecord] = []  # as in the ledger
        self.last_event: float | None = None  # epoch seconds
        self.worked_s = 0.0  # by processes, without one that works on the run now
        self._state = LedgerState.WHOLE
        self.detail = ""  # why the ledger is not whole
        if run.ledger.exists():
            with Ledger.read(run.ledger) as ledger:
                self._read(ledger)
        else:
            self._state = absent(run)
        self._completed = self._after_promotion()

    def as_json(self) -> RunSummary:
        """The JSON line of type ``summary``."""
        counts, edits = self._run.plan.counts, self._edits()
        requests, throttled, faults, conflicts = self._sums
        return {
            "type": "summary",
            "run": str(self._run.folder),
            "ledger": str(self._state),
            "edits": counts["edits"],
            "already_satisfied": counts.get("already_satisfied", 0),
            "applied": edits[_APPLIED],
            "rejected": edits[_OUTCOMES.index(Outcome.REJECTED)],
            "conflicted": edits[_OUTCOMES.index(Outcome.CONFLICTED)],
            "failed": edits[_OUTCOMES.index(Outcome.FAILED)],
            "unprocessed": edits[_UNPROCESSED],
            "calls": counts["calls"],
            "requests": requests,
            "throttled": throttled,
            "faults": faults,
            "conflicts": conflicts,
            "seconds": round(self._seconds, 3),
            **self._steps(),
        }

    def states(self) -> dict[str, int]:
        """Number of calls in each state; the parts of a split call count as calls."""
        begun = Counter(self._begun)
        begun[str(CallState.PLANNED)] += self._run.plan.counts["calls"] - self._begun_planned
        return {state: count for state in map(str, CallState) if (count := begun[state])}

    def _read(self, ledger: Ledger) -> None:
        self._state, self.detail, self._parts = ledger.state, ledger.detail, ledger.parts()
        planned, begun = self._planned, self._begun
        for rows in ledger.last_rows(_COUNTED):
            for call, state, *_ in rows:
                begun[state] += 1
                if call < len(planned):
                    planned[call] = _CODE_OF.get(state, _UNPROCESSED)
                    self._begun_planned += 1
                else:
                    self._of_parts[call] = _CODE_OF.get(state, _UNPROCESSED)
            self._waits += [wait for row in rows if (wait := LockWait.of(row[-1])) is not None]
            for place in range(len(self._sums)):
                self._sums[place] += sum(row[2 + place] or 0 for row in rows)
        self._seconds = ledger.span_s()
        self.processes = ledger.processes()
        self.last_event = _last_event(ledger)
        self.worked_s = _worked_s(ledger, self.processes)

    @property
    def locked(self) -> list[LockedImageSet]:
        """The image sets whose unlock calls wait for, or waited for when the last process ended."""
        return by_image_set(self._waits)

    def _promotions(self) -> Iterator[tuple[int, int]]:
        """Each call that edits a copy, with the call that promotes the copy: the next one in the lane."""
        edit, promote, copy = STEP[CopyStep.EDIT], STEP[CopyStep.PROMOTE], STEP[CopyStep.COPY]
        last: int | None = None
        for call in range(len(self._index.steps) - 1, -1, -1) if any(self._index.steps) else ():
            step = self._index.steps[call]
            if step == promote:
                last = call
            elif step == copy:
                last = None
            elif step == edit and last is not None:
                yield call, last

    def _after_promotion(self) -> bytearray:
        """The outcomes of planned calls. Edits of a copy, also in parts, get the outcome of its promotion."""
        completed = bytearray(self._planned)
        end_of: dict[int, int] = {}
        for call, promotion in self._promotions():
            end_of[call] = self._planned[promotion]
            if completed[call] == _APPLIED:
                completed[call] = end_of[call]
        for part in self._parts if end_of else ():
            if part.parent in end_of:
                end_of[part.call] = end_of[part.parent]
                if self._of_parts.get(part.call) == _APPLIED:
                    self._of_parts[part.call] = end_of[part.call]
        return completed

    def _edits(self) -> list[int]:
        """Edits by outcome, in the order of `_OUTCOMES`; an edit of a split call counts with its last part."""
        totals = [0] * len(_OUTCOMES)
        for code, count in zip(self._completed, self._index.edits, strict=True):
            totals[code] += count
        root = roots(self._parts)
        for call, count in Counter(carriers(self._parts).values()).items():
            if root[call] < len(self._completed):
                totals[self._completed[root[call]]] -= count
                totals[self._of_parts.get(call, _UNPROCESSED)] += count
        return totals

    def _steps(self) -> _Steps:
        """The steps of image sets that are changed by a copy."""
        done: Counter[int] = Counter()
        left = failed = 0
        for step, code in zip(self._index.steps, self._completed, strict=True):
            if step:
                done[step] += code == _APPLIED
                own = step != STEP[CopyStep.EDIT]
                left += own and code == _UNPROCESSED
                failed += own and code not in {_APPLIED, _UNPROCESSED}
        return {
            "copied": done[STEP[CopyStep.COPY]],
            "promoted": done[STEP[CopyStep.PROMOTE]],
            "originals_deleted": done[STEP[CopyStep.DELETE_ORIGINAL]],
            "copies_deleted": done[STEP[CopyStep.DELETE_COPY]],
            "copy_steps_left": left,
            "copy_steps_failed": failed,
        }
