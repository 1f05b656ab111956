"""Rebuilds an incomplete ledger (--assume-unknown): each call without proof is compared with its image set.

Nothing is changed in the data store. A new ledger gets the intact rows of the old one, and what the versions of the
image sets show. Calls of one lane are made in order, so their versions are in the same order. For each lane:

1.  If a version since the run began is the version before it with the call applied, the call made it.
2.  A later call whose effect the image set already has counts as applied, without a version.
3.  The next call was not made, but its request may still arrive. Its expected version can only be the latest one. So
    its outcome is unknown with that expected version, and at most one of the two requests can succeed. The calls after
    it were not sent.
4.  A call without a version, before one with a version, was not made; its outcome was lost, and it counts as failed.
5.  A call that cannot be compared, such as a copy, counts as failed with an unknown outcome and is never sent again.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypedDict

from bulkedit._concurrency import for_each, run_blocking
from bulkedit.client.reader import Reader, read_paces
from bulkedit.client.responses import CallState, ImageSet, ImageSetState, Refusal, Refused
from bulkedit.edits.document import follows, holds, reads_the_same
from bulkedit.plans import part_of, parts
from bulkedit.runs import ledger_frames
from bulkedit.runs.counters import RunCounters
from bulkedit.runs.history import History
from bulkedit.runs.ledger import Event, Part, rebuilt
from bulkedit.runs.parts import roots
from bulkedit.runs.resume import UNKNOWN_REASON

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from bulkedit._json import JsonObject
    from bulkedit.client.contract import Client
    from bulkedit.plans import Lane, PlannedCall
    from bulkedit.runs.folder import Run
    from bulkedit.runs.ledger import Ledger, Record

_SKEW_S: Final = 600.0  # twice the difference of clocks that AWS accepts
_WORKERS: Final = 16
_MADE: Final = "found made in this version, after the ledger was lost"
_ALREADY_THERE: Final = "found in the image set already, after the ledger was lost"
_OUTCOME_UNKNOWN: Final = "not found made, after the ledger was lost; a request may still arrive"
_NOT_MADE: Final = "not found made, after the ledger was lost"
_OVERTAKEN: Final = "not found made, though a later call was; its outcome was lost with the ledger"
_COPY: Final = "the result of a copy cannot be found out from its image set"


@dataclass(slots=True)
class Reconciled:
    """Numbers of calls; parts of split calls count as calls."""

    proven: int = 0  # by intact rows of the old ledger
    made: int = 0  # found in a version of their own
    already_there: int = 0  # found in the image set, without a version of their own
    outcome_unknown: int = 0  # not made, but a request may still arrive
    not_made: int = 0  # and not sent
    overtaken: int = 0  # not made, though a later call was
    unknown: int = 0  # cannot be compared
    stamp: str = ""  # in the name of the old ledger, if there was one


async def reconcile(run: Run, client: Client, read_rate: str) -> Reconciled:
    """Replace an incomplete ledger by a complete one. ``read_rate``: as the option.

    Raises RunHeldError, LedgerError, and what `bulkedit.client.reader.Reader` raises; then the old ledger is unchanged.
    """
    reader = Reader(client, read_paces(read_rate), random.SystemRandom())
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    with rebuilt(run.ledger, run=run.about.get("anchor", ""), stamp=stamp) as (left, ledger):
        return await _Reconciliation(run, reader, left, ledger, stamp).carry_out()


class _Reconciliation:
    def __init__(self, run: Run, reader: Reader, left: Ledger | None, ledger: Ledger, stamp: str) -> None:
        self._plan = run.plan
        self._reader = reader
        self._left = left
        self._ledger = ledger
        self._since = run.begun_at - _SKEW_S  # the run has made no earlier version
        self.found = Reconciled(stamp=stamp if left is not None else "")

    async def carry_out(self) -> Reconciled:
        await run_blocking(self._carry_over)
        counts = self._plan.counts
        history = await run_blocking(
            lambda: History(self._plan, self._ledger, RunCounters(calls=counts["calls"], edits=counts["edits"]))
        )
        claimed = await run_blocking(self._claimed)
        batches = self._plan.lanes()
        while (batch := await run_blocking(lambda: next(batches, None))) is not None:
            lanes = await run_blocking(_left_in, history, batch)
            events = await self._examined([_Examination(lane, left, self, history, claimed) for lane, left in lanes])
            await run_blocking(self._ledger.append, events)
        return self.found

    async def _examined(self, lanes: Sequence[_Examination]) -> list[Event | Part]:
        found: list[list[Event | Part]] = [[] for _ in lanes]

        async def examine(place: int) -> None:
            found[place] = await lanes[place].events()

        await for_each(examine, range(len(lanes)), at_once=_WORKERS)
        return [event for events in found for event in events]

    def _carry_over(self) -> None:
        """Copy the intact rows, except failures of an earlier comparison with an unknown outcome."""
        if self._left is None:
            return
        sound = self._sound_parts(self._left.parts())
        numbers = set(range(self._plan.counts["calls"])) | {part.call for part in sound}
        split = {part.parent for part in sound}
        records: list[Record] = [*sound, *self._left.made(), *self._left.processes(), *self._left.settings()]
        last: dict[int, CallState] = {}
        for event in self._left.intact_events():
            inconsistent = event.state is CallState.SPLIT and event.call not in split
            if event.call in numbers and not inconsistent and not (event.reason or "").startswith(UNKNOWN_REASON):
                records.append(event)
                last[event.call] = event.state
        records += self._left.requests(tolerant=True)
        self._ledger.append(records)
        self.found.proven = sum(state.completed for state in last.values())

    def _sound_parts(self, found: list[Part]) -> list[Part]:
        """The parts of calls whose every edit is in a part; for others it is not known what was sent."""
        split: dict[int, list[Part]] = defaultdict(list)
        for part in found:
            split[part.parent].append(part)
        edits_of = {part.call: set(part.edits) for part in found}
        inconsistent: set[int] = set()
        for parent in sorted(split):
            whole = edits_of.get(parent)
            if whole is None and parent < self._plan.counts["calls"]:
                whole = set(self._plan.edits_of(parent).get_column("edit").to_list())
            if parent in inconsistent or whole != {edit for part in split[parent] for edit in part.edits}:
                inconsistent |= {part.call for part in split[parent]}
        return [part for part in found if part.call not in inconsistent]

    def _claimed(self) -> dict[int, int]:
        """The latest version that each planned call or its parts have made, by the intact rows."""
        frame = ledger_frames.states(self._ledger, ("state", "version"))
        applied = frame.filter((frame["state"] == str(CallState.APPLIED)) & frame["version"].is_not_null())
        by_part: dict[int, int] = dict(applied.select("call", "version").iter_rows())
        planned = roots(self._ledger.parts())
        found: dict[int, int] = {}
        for call, version in by_part.items():
            root = planned.get(call, call)
            found[root] = max(version, found.get(root, 0))
        return found

    @property
    def reader(self) -> Reader:
        """Sends the reads."""
        return self._reader

    @property
    def since(self) -> float:
        """Epoch seconds; the run has made no earlier version."""
        return self._since


def _left_in(history: History, lanes: list[Lane]) -> list[tuple[Lane, Lane]]:
    """Lanes that have calls without proof: each as planned, and with only those calls."""
    return [(lane, left) for lane in lanes if (left := history.left_of(lane))]


@dataclass(slots=True)
class _Seen:
    """An image set as it is now, and its calls without proof in order."""

    calls: list[PlannedCall]
    latest: ImageSet | None = None  # None: it is gone
    versions: list[ImageSet] = field(default_factory=list)  # oldest first, without failed ones
    document: JsonObject | None = None  # of the latest version, if the run can have changed it
    made: dict[int, int] = field(default_factory=dict)  # call -> version
    already_there: set[int] = field(default_factory=set)  # calls without a version that had nothing to change
    failed: set[int] = field(default_factory=set)  # versions left by failed updates of any writer


class _UnknownOutcomeError(Exception):
    """A lane cannot be compared."""


class _VersionFields(TypedDict, total=False):
    expected_version: int
    version: int
    expected_version_updated_at: float | None


class _Examination:
    """The comparison of one lane."""

    def __init__(
        self, planned: Lane, lane: Lane, whole: _Reconciliation, history: History, claimed: dict[int, int]
    ) -> None:
        self._planned = planned.calls
        self._lane = lane
        self._whole = whole
        self._history = history
        self._claimed = claimed
        self._found = whole.found
        self._events: list[Event | Part] = []
        self._documents: dict[tuple[str, int], JsonObject] = {}

    async def events(self) -> list[Event | Part]:
        """The lane's rows for the new ledger."""
        calls = self._lane.calls
        if any(call.copy_step is not None for call in calls):
            return self._unknown(_COPY)
        seen: dict[str, _Seen] = {}
        for call in calls:
            seen.setdefault(call.image_set_id, _Seen([])).calls.append(call)
        try:
            for image_set_id, one in seen.items():
                await self._poll(image_set_id, one)
            await self._decide(seen)
        except _UnknownOutcomeError as reason:
            return self._unknown(str(reason))
        return self._events

    def _unknown(self, reason: str) -> list[Event | Part]:
        self._found.unknown += len(self._lane.calls)
        return [self._event(call, CallState.FAILED, f"{UNKNOWN_REASON}: {reason}") for call in self._lane.calls]

    # reads

    async def _poll(self, image_set_id: str, seen: _Seen) -> None:
        reader = self._whole.reader
        latest = await reader.completed(image_set_id)
        if isinstance(latest, Refused):
            if latest.kind not in {Refusal.NOT_FOUND, Refusal.STALE}:
                raise _UnknownOutcomeError(f"the image set cannot be read ({latest.code})")
            return
        if latest.state is ImageSetState.LOCKED:
            raise _UnknownOutcomeError("the image set stays locked")
        if latest.state is ImageSetState.DELETED:
            return
        seen.latest = latest
        own = [call.call for call in self._planned if call.image_set_id == image_set_id]
        proven = [self._claimed[call] for call in own if call in self._claimed]
        if not self._is_since(latest) or latest.version <= max(proven, default=0):
            return
        seen.document = await self._document(image_set_id, latest.version)
        listed = await reader.versions(image_set_id)
        if isinstance(listed, Refused):
            raise _UnknownOutcomeError(f"its versions cannot be listed ({listed.code})")
        seen.versions = sorted((one for one in listed if not one.failed), key=lambda one: one.version)
        seen.failed = {one.version for one in listed if one.failed}
        await self._match(image_set_id, seen, after=max(proven, default=0))

    def _is_since(self, version: ImageSet) -> bool:
        return version.updated_at is None or version.updated_at >= self._whole.since

    async def _document(self, image_set_id: str, version: int) -> JsonObject:
        key = image_set_id, version
        if key not in self._documents:
            found = await self._whole.reader.metadata(image_set_id, version)
            if isinstance(found, Refused):
                raise _UnknownOutcomeError(f"version {version} cannot be read ({found.code})")
            self._documents[key] = found
        return self._documents[key]

    async def _target(self, call: PlannedCall) -> JsonObject | None:
        return None if call.revert_to is None else await self._document(call.image_set_id, call.revert_to)

    async def _match(self, image_set_id: str, seen: _Seen, *, after: int) -> None:
        """Find each call's version among those since the run began."""
        position = 0
        for before, version in zip(seen.versions, seen.versions[1:], strict=False):
            if version.version <= after or not self._is_since(version):
                continue
            old = await self._document(image_set_id, before.version)
            new = await self._document(image_set_id, version.version)
            if reads_the_same(old, new):
                continue
            for place in range(position, len(seen.calls)):
                call = seen.calls[place]
                if follows(call.as_request(0), old, new, await self._target(call)):
                    seen.made[call.call] = version.version
                    seen.already_there |= {
                        one.call for one in seen.calls[position:place] if await self._is_there(one, old)
                    }
                    position = place + 1
                    break

    async def _is_there(self, call: PlannedCall, document: JsonObject) -> bool:
        return holds(call.as_request(0), document, await self._target(call))

    # decisions

    async def _decide(self, seen: dict[str, _Seen]) -> None:
        calls = self._lane.calls
        last = max((i for i, call in enumerate(calls) if call.call in seen[call.image_set_id].made), default=-1)
        is_open = False  # whether an earlier call was not made
        for place, call in enumerate(calls):
            one = seen[call.image_set_id]
            if (version := one.made.get(call.call)) is not None:
                self._found.made += 1
                self._note(call, CallState.APPLIED, _MADE, expected_version=version - 1, version=version)
            elif place < last:
                await self._passed_over(call, one)
            elif not is_open and one.document is not None and await self._is_there(call, one.document):
                self._note_already_there(call)
            else:
                await self._not_made(call, one, first=not is_open)
                is_open = True

    async def _passed_over(self, call: PlannedCall, seen: _Seen) -> None:
        if call.call in seen.already_there or (
            not seen.made and seen.document is not None and await self._is_there(call, seen.document)
        ):
            self._note_already_there(call)
        else:
            self._found.overtaken += 1
            self._note(call, CallState.FAILED, _OVERTAKEN)

    def _note_already_there(self, call: PlannedCall) -> None:
        self._found.already_there += 1
        self._note(call, CallState.APPLIED, _ALREADY_THERE)

    async def _not_made(self, call: PlannedCall, seen: _Seen, *, first: bool) -> None:
        if first and call.units > 1 and seen.document is not None:
            call = await self._without_what_is_there(call, seen.document)
        latest = seen.latest
        if first and latest is not None and self._may_name(call, seen, latest.version):
            self._found.outcome_unknown += 1
            self._note(
                call,
                CallState.OUTCOME_UNKNOWN,
                _OUTCOME_UNKNOWN,
                expected_version=latest.version,
                expected_version_updated_at=latest.updated_at,
            )
            return
        self._found.not_made += 1
        if call.call in self._history.begun:
            self._note(call, CallState.PLANNED, _NOT_MADE)

    def _may_name(self, call: PlannedCall, seen: _Seen, latest: int) -> bool:
        """Whether a request of the call can have named the latest version: its row may name another one."""
        if call.version is None:
            return True
        beyond = {number for number in seen.failed if call.version < number <= latest}
        return len(beyond) == latest - call.version

    async def _without_what_is_there(self, call: PlannedCall, document: JsonObject) -> PlannedCall:
        """Split a call that was made in parts: one part has the edits that are there. Returns the rest."""
        edits = await run_blocking(self._history.edits_of, call.call)
        there: set[int] = set()
        for unit in edits.get_column("unit").unique(maintain_order=True):
            one = await run_blocking(part_of, call, edits.filter(edits["unit"] == unit), call.call)
            if await self._is_there(one, document):
                there.add(unit)
        if not 0 < len(there) < call.units:
            return call
        (made, its), (left, others) = parts(
            call, edits, self._history.new_call, guilty=lambda edit: edit["unit"] in there
        )
        self._note(call, CallState.SPLIT, _NOT_MADE)
        for part, numbers in ((made, its), (left, others)):
            self._events.append(Part(part.call, call.call, numbers))
        self._note_already_there(made)
        return left

    def _note(self, call: PlannedCall, state: CallState, reason: str, **versions: Unpack[_VersionFields]) -> None:
        self._events.append(self._event(call, state, reason, **versions))

    def _event(self, call: PlannedCall, state: CallState, reason: str, **versions: Unpack[_VersionFields]) -> Event:
        before = self._history.begun.get(call.call, {})
        counters = {name: before.get(name, 0) for name in ("attempts", "throttles", "faults", "conflicts")}
        return Event(at=time.time(), call=call.call, state=state, reason=reason, **counters, **versions)
