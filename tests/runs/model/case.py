"""What is checked: a list of edits, a policy, and a service; and how a process begins, or goes on with a ledger."""

from __future__ import annotations

import json
import random
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bulkedit import plans
from bulkedit.client.pacing import CompletionTimes
from bulkedit.dicom import dictionary as dicom
from bulkedit.options.running import OnConflict, Strategy
from bulkedit.plans import PlannedCall, SavedPlan
from bulkedit.runs.budget import RetryBudget
from bulkedit.runs.counters import RunCounters
from bulkedit.runs.history import History
from bulkedit.runs.lane import LaneContext, LaneRun
from bulkedit.runs.ledger import SETUP, Event, Ledger, Part
from bulkedit.runs.options import EngineOptions
from bulkedit.runs.resume import resumption
from bulkedit.runs.service_quirks import ServiceQuirks
from tests.runs.factories import KEY, about_plan, frame
from tests.runs.model import service
from tests.runs.model.copies import Numbers, clone
from tests.runs.model.service import Store, Stored, Switches, Version

if TYPE_CHECKING:
    import polars as pl

Record = Event | Part
Records = tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class _InMemory(SavedPlan):
    """A plan that is not on disk."""

    frames: plans.Plan

    def calls(self) -> pl.LazyFrame:
        return self.frames.calls.lazy()

    def edits(self) -> pl.LazyFrame:
        return self.frames.edits.lazy()


class Case:
    """A list, a policy and a service: what a check is of."""

    def __init__(
        self,
        name: str,
        rows: list[dict[str, Any]],
        *,
        documents: list[dict[str, Any]],
        writes: dict[str, dict[str, Any]],
        switches: Switches | None = None,
        policy: OnConflict = OnConflict.RETRY,
        known: pl.DataFrame | None = None,
        merge: bool = False,
        wide: tuple[str, ...] = (),
    ) -> None:
        """``documents``: of the image sets, which are called a, b, …; ``writes``: what another writer may set.

        ``wide``: those of them that another writer sets in all image sets of the study.
        """
        self.name = name
        self.switches = switches or Switches()
        self.options = EngineOptions(
            on_conflict=policy, max_attempts=10**6, retry_for_s=float("inf"), unlock_timeout_s=float("inf")
        )
        self.writes = {word: service.changes(json.dumps(sets), None)[0] for word, sets in writes.items()}
        self.wide = wide
        self.places = {letter * 32: number for number, letter in enumerate("abc"[: len(documents)])}
        self.first: Store = tuple(
            Stored((Version(service.changes(json.dumps(one), None)[0], service.FIRST),)) for one in documents
        )
        chosen = plans.PlanningSettings(
            rules=dicom.RULES["2026"], payload_limit=10_000, contradictions=plans.Contradictions.LAST, merge=merge
        )
        made = plans.make(frame(rows), chosen, known)
        if made.set_aside.height:
            raise ValueError(made.set_aside["problem"].to_list())
        self.plan = _InMemory(Path("/dev/null"), about_plan(made, "d"), made)
        (self.lane,) = [lane for batch in self.plan.lanes() for lane in batch]
        self.calls: dict[int, PlannedCall] = {call.call: call for call in self.lane.calls}
        self._opened: dict[tuple[Records, Strategy], tuple[Records, LaneRun | None]] = {}
        self._edits: dict[tuple[Records, int], pl.DataFrame] = {}

    # the one place that knows how a lane is made of the past

    def _history(self, ledger: Records, strategy: Strategy) -> tuple[Records, History]:
        book = Ledger(Path("/dev/null"), sqlite3.connect(":memory:"), None)
        book._connection.executescript(SETUP)
        book.append(ledger)
        again = resumption(self.plan, book, strategy)
        events = tuple(plain(event) for event in again.events(book, 0.0))
        book.append(events)
        counters = RunCounters(calls=self.plan.counts["calls"], edits=self.plan.counts["edits"])
        history = History(self.plan, book, counters, sends_new=again.sends_new)
        book.close()
        return events, history

    def _resume(self, ledger: Records, strategy: Strategy) -> tuple[Records, LaneRun | None]:
        """What a resume writes first, and the lane; None if nothing is left to do."""
        events, history = self._history(ledger, strategy)
        left = history.left_of(self.lane)
        if left is None:
            return events, None
        for call in left.calls:
            self.calls[call.call] = call
        context = LaneContext(
            options=self.options,
            rng=random.Random(1),
            key=KEY,
            quirks=ServiceQuirks(versions_reused=history.versions_reused),
            budget=RetryBudget(),
            completion_times=CompletionTimes(),
            begun=history.begun,
            new_call=Numbers(history.new_call()),
            payload_limit=self.plan.payload_limit,
        )
        versions, conflicted = history.versions_of(left), history.conflicted_in(left)
        run = LaneRun(left, context, versions=versions, conflicted=conflicted, now=0.0, epoch=0.0)
        return events, run

    def resume(self, ledger: Records, strategy: Strategy) -> tuple[Records, LaneRun | None]:
        """As `_resume`; what is the same past is read once."""
        key = ledger, strategy
        if key not in self._opened:
            self._opened[key] = self._resume(ledger, strategy)
        events, run = self._opened[key]
        return events, clone(run) if run else None

    def edits_of(self, records: Records, call: int) -> pl.DataFrame:
        """The edits of a call or part, as the shell reads them of a call that is to be split."""
        key = tuple(record for record in records if isinstance(record, Part)), call
        if key not in self._edits:
            self._edits[key] = self._history(key[0], Strategy.NEW)[1].edits_of(call)
        return self._edits[key]


def plain(record: Record) -> Record:
    """Without what decides nothing: times and counters."""
    if isinstance(record, Part):
        return replace(record, edits=cast("list[int]", tuple(record.edits)))  # so that it can be hashed
    return replace(record, at=0.0, attempts=0, throttles=0, faults=0, digest=None)
