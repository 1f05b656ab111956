"""One lane of calls: a state machine without I/O.

The engine performs `request`. It calls `begin` before it sends the request, and `absorb` with the reply.
`bulkedit.runs.transitions` maps a reply to an event, and the event to the next state and action. This module carries
the actions out. `begin` returns, and `take_events` hands out, the rows to write to the ledger.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from bulkedit._log import utc
from bulkedit.client.pacing import POLL, UNSEEN_LOCK, Operation, unlock_poll_in
from bulkedit.client.responses import (
    Accepted,
    CallState,
    Copied,
    Datastore,
    Deleting,
    ImageSet,
    ImageSetState,
    Lost,
    Metadata,
    Page,
    Refusal,
    Refused,
)
from bulkedit.edits.document import (
    NoSuchPlace,
    fill_stored,
    follows,
    holds,
    no_such_place,
    reads_the_same,
    with_empty_values,
)
from bulkedit.options.running import OnConflict
from bulkedit.plans import parts
from bulkedit.runs import transitions
from bulkedit.runs.copy_transitions import table_of
from bulkedit.runs.ledger import Event, Made, Part
from bulkedit.runs.locks import LOCKED, TOLD_AFTER_S, LockWait
from bulkedit.runs.requests import (
    OF_STUDY,
    READS,
    WRITES,
    GetDatastore,
    GetImageSet,
    GetMetadata,
    PollSibling,
    SearchStudy,
    Update,
)
from bulkedit.runs.retry import Retries
from bulkedit.runs.service_quirks import Removal
from bulkedit.runs.siblings import Siblings
from bulkedit.runs.transitions import FAILURES, PERHAPS_MADE, QUOTA, SURELY_NOT_MADE, CallAction, CallEvent, Machine

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Mapping

    import polars as pl

    from bulkedit._json import JsonObject
    from bulkedit._log import Fields
    from bulkedit.client.contract import UpdateRequest
    from bulkedit.client.pacing import CompletionTimes
    from bulkedit.plans import Lane, PlannedCall
    from bulkedit.runs.budget import RetryBudget
    from bulkedit.runs.options import EngineOptions
    from bulkedit.runs.requests import LaneRequest, Reply
    from bulkedit.runs.service_quirks import ServiceQuirks
    from bulkedit.runs.versions import Versions

Why = tuple[str | None, str | None]  # reason and message for the ledger
_UNDER_WAY: Final = frozenset({CallState.INTENDED, *PERHAPS_MADE})
READS_UNANSWERED: Final = frozenset({CallEvent.READ_THROTTLED, CallEvent.READ_LOST})
_COUNTED_BEFORE: Final = frozenset({CallEvent.AT_EXPECTED, CallEvent.NONE_NEW})  # the fault before them was counted
EARLIER_CONFLICT: Final = "an earlier conflict in this image set"  # reason of calls ended by --on-conflict stop
# reason of study-wide removals without a value
MAY_DIFFER: Final = "nothing to remove in one image set of the study, and another one was reverted and may have it"
BY_EMPTY_VALUE: Final = "refused with the stored value; sent again with the empty one"  # reason
_UNSEEN_MOST: Final = 5  # conflicts in a row: the wait does not grow further
_POLLS_AT_LEAST: Final = 2  # because reads may lag behind writes


@dataclass(slots=True, kw_only=True)
class LaneContext:
    """Shared by all lanes of one process."""

    options: EngineOptions
    rng: random.Random
    key: bytes  # for the ledger's digests
    quirks: ServiceQuirks
    budget: RetryBudget
    completion_times: CompletionTimes
    begun: Mapping[int, dict[str, Any]]  # by call: calls of earlier processes that are not completed (`History.begun`)
    new_call: Callable[[], int]  # a number for a part of a split call
    payload_limit: int  # bytes
    waiting: dict[int, LockWait] = field(default_factory=dict)  # lanes that wait for an unlock, by number


@dataclass(slots=True)
class _CurrentCall:
    """The call that the lane works on."""

    call: PlannedCall
    machine: Machine
    expected: int | None = None
    expected_updated_at: float | None = None  # epoch seconds, from the last poll before the request
    may_still_arrive: bool = False  # a request with this expected version was lost
    attempts: int = 0
    throttles: int = 0
    faults: int = 0
    conflicts: int = 0
    polls: int = 0  # since the last request
    update: UpdateRequest | None = None  # for this expected version, with stored values filled in
    invalid: Refused | None = None  # answer to the last request, which may concern a newer version
    documents: dict[int, JsonObject] | None = None  # by version, while they are compared
    locked_since: float | None = None  # monotonic; also if accepted and still at the expected version
    sent_at: float | None = None  # epoch seconds
    accepted_at: float | None = None  # monotonic; updates only
    locked_at: float | None = None  # seconds from acceptance to the last poll that found the update not completed
    refused_since: float | None = None  # monotonic; conflicts because an image set of the study is locked
    lock_seen: bool = False  # since the last of them, a poll has found the lock
    unseen_locks: int = 0  # such conflicts in a row whose lock no poll has found
    removal: Removal | None = None  # the value that a removal names if its rows name none
    shows_removal: bool = False  # the request would be another one with the other value
    write_retries: Retries | None = None
    read_retries: Retries | None = None  # since the last answered read

    @property
    def state(self) -> CallState:
        """State of the call."""
        return self.machine.state


@dataclass(slots=True)
class _UnlockPolls:
    """The polls of an image set that another writer has locked."""

    wait: LockWait
    began: float  # monotonic
    polls: int = 0
    told: bool = False  # in the ledger


@dataclass(frozen=True, slots=True)
class EventDetails:
    """An event with the data that an action needs."""

    event: CallEvent
    reply: Reply | None
    performed: LaneRequest | None
    why: Why
    version: int | None  # made by the call, or left by its failed update


def meaning(
    reply: Accepted | Copied | Deleting | Datastore | Refused | Lost, performed: LaneRequest | None
) -> CallEvent:
    """The event of a reply without an image set or metadata."""
    if isinstance(reply, Accepted | Copied | Deleting):
        return transitions.of_answer(reply)
    if isinstance(reply, Datastore) or isinstance(performed, GetDatastore):
        return transitions.of_store(reply)
    return transitions.of_answer(reply) if isinstance(performed, WRITES) else transitions.of_failed_read(reply)


def _why(event: CallEvent, reply: Reply | None) -> Why:
    """Reason and message for the ledger, without values."""
    if isinstance(reply, Lost):
        return reply.cause, None
    reason = reply.code if isinstance(reply, Refused) else str(event)
    return reason, (reply.message or None) if isinstance(reply, Refused | ImageSet) else None


def _stopped_by(call: PlannedCall) -> str | None:
    """The image set that a conflict of this call stops (--on-conflict stop); None for the whole study."""
    return None if call.study_wide else call.image_set_id


class LaneRun:
    """A lane while its calls are sent."""

    def __init__(
        self,
        lane: Lane,
        context: LaneContext,
        *,
        versions: Versions,
        conflicted: Collection[PlannedCall] = (),
        now: float,
        epoch: float,
    ) -> None:
        """Open the first call.

        ``versions``: the versions recorded for this lane in the ledger. ``conflicted``: calls of the lane that an
        earlier process ended because of another writer. ``now``: monotonic seconds; ``epoch``: epoch seconds.
        """
        self.number = lane.number
        self.calls_left = len(lane.calls)
        self.edits = {call.call: call.edits for call in lane.calls}
        self.request: LaneRequest | None = None
        self.quota: Operation | None = None  # the operation whose quota the request used
        self.due = now  # monotonic seconds; the request is not sent before
        self.unresolved = False  # the lane ended with calls that are not completed
        self.halted: Refused | None = None  # an answer that stops the whole run
        self.quota_hit: Refused | None = None  # the last answer, if it was a throttle
        self.to_split: PlannedCall | None = None  # a refused call; the lane continues after `split`
        # a refused study-wide call; the lane continues after `know_siblings`
        self.siblings_wanted: PlannedCall | None = None
        self._siblings = Siblings()
        self._misplaced: NoSuchPlace | None = None  # set if the call is split because it names missing places
        self._context = context
        # calls with an unknown outcome first: they decide which versions are ours
        self._rest = sorted(lane.calls, key=lambda call: not self._is_begun(call))[::-1]
        self._sent = now  # when the request was sent
        self._now, self._epoch = now, epoch
        self._seen: dict[str, ImageSet] = {}  # the newest version seen, by image set
        self._versions = versions
        conflicts = conflicted if context.options.on_conflict is OnConflict.STOP else ()
        self._stopped_before = frozenset(_stopped_by(call) for call in conflicts)
        self._stopped: set[str | None] = set()  # image sets stopped by --on-conflict stop; None: the study
        self._current_call: _CurrentCall | None = None
        self._unlock: _UnlockPolls | None = None
        self._events: list[Event | Part | Made] = []
        self._open_until_busy()

    def _is_begun(self, call: PlannedCall) -> bool:
        begun = self._context.begun.get(call.call)
        return begun is not None and begun["state"] != CallState.PLANNED

    # called by the engine

    @property
    def under_way(self) -> bool:
        """Whether a write of this lane may be under way at the service."""
        return self._current_call is not None and self._current_call.state in _UNDER_WAY

    @property
    def in_flight(self) -> bool:
        """Whether the lane counts as in flight between two requests: if intended, all requests were refused."""
        refused = self._current_call is not None and self._current_call.state is CallState.INTENDED
        return self.under_way and not refused

    @property
    def waits_for(self) -> LockWait | None:
        """The unlock that the lane waits for; None if it does not wait for one."""
        return self._unlock.wait if self._unlock else None

    @property
    def call(self) -> PlannedCall | None:
        """The call that the lane works on."""
        return self._current_call.call if self._current_call else None

    def logged(self) -> Fields:
        """Fields of this call for the log."""
        current = self._current_call
        return {} if current is None else {"call": current.call.call, "attempt": current.attempts}

    def take_events(self) -> list[Event | Part | Made]:
        """New rows for the ledger, in order."""
        events, self._events = self._events, []
        return events

    def mark_sent(self, now: float) -> None:
        """The request is sent now (monotonic seconds)."""
        self._sent = now

    def begin(self, epoch: float) -> Event | None:
        """Start the request. Returns the intent of a write, which must be durable before the request is sent."""
        if not isinstance(self.request, WRITES):
            return None
        current = self._current
        self._epoch = current.sent_at = epoch
        current.attempts += 1
        current.polls = 0
        current.invalid = None
        if current.machine.take(CallEvent.SENDING) is CallAction.NOTHING:
            return None
        return self._event(digest=self._digest(self.request.update) if isinstance(self.request, Update) else None)

    def absorb(self, reply: Reply, *, now: float, epoch: float) -> None:
        """Take the reply to the request."""
        self._now = self.due = now
        self._epoch = epoch
        self.quota_hit = None
        performed, self.request = self.request, None
        self._absorb(reply, performed)
        self._open_until_busy()

    def split(self, edits: pl.DataFrame, *, now: float, epoch: float) -> None:
        """Replace the refused call by its parts. ``edits``: its rows, columns `bulkedit.plans.PLANNED_EDITS`."""
        self._now, self._epoch = now, epoch
        call, self.to_split = self.to_split, None
        misplaced, self._misplaced = self._misplaced, None
        if call is None:
            raise LookupError("this lane has nothing to split")
        halves = parts(call, edits, self._context.new_call, guilty=misplaced.has if misplaced else None)
        for part, numbers in halves:
            self.edits[part.call] = part.edits
            self._events.append(Part(part.call, call.call, numbers))
        self._rest += [part for part, _ in reversed(halves)]
        self.calls_left += len(halves)
        self._open_until_busy()

    def know_siblings(self, image_sets: Collection[str]) -> None:
        """Take the image sets that the rows of the call in `siblings_wanted` are about."""
        self.siblings_wanted = None
        self._siblings.learn([*image_sets, *(call.image_set_id for call in self._rest)])
        self._begin_round()

    def withdraw(self, epoch: float, *, denied: bool = False) -> Event | None:
        """The run stops: a call that is surely not under way is planned again.

        ``denied``: access was denied, so a resume opens this lane last.
        """
        self._epoch = epoch
        if self._current_call is None:
            return None
        event = CallEvent.WITHDRAWN_DENIED if denied else CallEvent.WITHDRAWN
        if self._current_call.machine.take(event) is CallAction.NOTHING:
            return None
        if denied and self._current_call.expected is None:
            self._current_call.expected = self._versions.followed(self._current_call.call.image_set_id)
        lock = self._unlock.wait.message if self._unlock and not denied else None
        return self._event(reason=str(CallEvent.DENIED) if denied else "withdrawn", message=lock)

    def unsent(self, found: ImageSet) -> list[PlannedCall]:
        """The calls left to a polled image set; none if a request of this run can have made the polled version."""
        current = self._current_call
        if current is None or current.state not in SURELY_NOT_MADE or current.may_still_arrive or current.faults:
            return []
        of, expected = found.image_set_id, current.expected or 0
        if of != current.call.image_set_id or found.version <= expected or self._versions.has_made(of):
            return []
        left = [call for call in (current.call, *self._rest) if call.image_set_id == of and call.copy_step is None]
        begun = self._context.begun
        return [call for call in left if call.call not in begun or not begun[call.call]["faults"]]

    # opening calls

    @property
    def _current(self) -> _CurrentCall:
        if self._current_call is None:
            raise LookupError("this lane has no open call")
        return self._current_call

    def _open_until_busy(self) -> None:
        while self._current_call is None and self._rest and not self.unresolved and self.to_split is None:
            self._open(self._rest.pop())

    def _open(self, call: PlannedCall) -> None:
        begun = self._context.begun.get(call.call)
        if self._is_stopped(call):
            self._end_unsent(call, CallEvent.EARLIER_CONFLICTED, EARLIER_CONFLICT)
            return
        state = CallState(begun["state"]) if begun else CallState.PLANNED
        current = self._current_call = _CurrentCall(call, Machine(table_of(call.copy_step), state))
        if begun:
            for name in ("attempts", "throttles", "faults", "conflicts"):
                setattr(current, name, begun[name])
            if begun["by_empty_value"]:
                current.removal = Removal.EMPTY
        if begun and state is not CallState.PLANNED:
            current.expected, current.expected_updated_at = (
                begun["expected_version"],
                begun["expected_version_updated_at"],
            )
            current.sent_at = begun["at"]
            current.may_still_arrive = True
            if call.lookup and current.removal is None:
                current.removal = Removal.STORED
        if begun and call.study_wide and LockWait.of(begun["message"]) is not None:
            current.refused_since, current.lock_seen = self._now, True  # an earlier process waited for an unlock
        self._take(CallEvent.OPENED)

    def _end_unsent(self, call: PlannedCall, event: CallEvent, reason: str) -> None:
        """End a call without sending it, because an earlier call of the lane did not succeed."""
        self._current_call = _CurrentCall(call, Machine(table_of(call.copy_step)))
        self._take(event, why=(reason, None))

    # replies

    def _absorb(self, reply: Reply, performed: LaneRequest | None) -> None:
        if isinstance(performed, OF_STUDY):
            self._take_of_study(reply, performed)
        elif isinstance(reply, ImageSet):
            self._polled(reply, performed)
        elif isinstance(reply, Metadata):
            self._read(reply, performed)
        elif not isinstance(reply, Page):
            self._take(meaning(reply, performed), reply, performed)

    def _polled(self, found: ImageSet, performed: LaneRequest | None) -> None:
        self._current.polls += 1
        self._current.read_retries = None
        # reads may lag behind; but if failed updates use no version, the latest may have a lower number than before
        newest = not isinstance(performed, GetImageSet) or performed.version is None
        known = self._latest
        if (
            known is None
            or found.version >= known.version
            or (newest and (found.failed or known.state is ImageSetState.LOCKED))
        ):
            self._seen[self._current.call.image_set_id] = found
        self._examine(found, performed)

    def _examine(self, found: ImageSet, performed: LaneRequest | None = None) -> None:
        current, quirks = self._current, self._context.quirks
        event = self._event_of_poll(found)
        failed, at_expected = event in FAILURES, found.version == current.expected
        accepted = current.state is CallState.ACCEPTED
        if accepted and failed and at_expected:
            quirks.versions_reused = True
        waits = event is CallEvent.LOCKED or (event is CallEvent.AT_EXPECTED and accepted)
        current.locked_since = (current.locked_since or self._now) if waits else None
        locked = found.state is ImageSetState.LOCKED and event is CallEvent.LOCKED and not accepted
        current.lock_seen = current.lock_seen or locked
        self._wait_for(found.image_set_id if locked else None)
        if (failed or event is CallEvent.REACHED) and accepted and current.accepted_at is not None:
            self._context.completion_times.completed(self._sent - current.accepted_at, current.locked_at)
        if event is CallEvent.OTHER_WRITER:
            self._meet_other_writer()
            return
        # until a removal by the stored value succeeds, the service may want the empty value
        other_value = current.removal is Removal.STORED and quirks.removal is not Removal.STORED
        refined = transitions.of_failed_update(
            event,
            current.state,
            several=current.call.units > 1,
            other_value=other_value,
            kept=current.may_still_arrive and at_expected,
        )
        why = _why(event, current.invalid if event is CallEvent.INVALID_AT_EXPECTED else found)
        self._take(refined, found, performed, why=why, version=found.version if failed else None)

    def _event_of_poll(self, found: ImageSet) -> CallEvent:
        current = self._current
        if current.state is CallState.PLANNED:
            # the version that a row names may exist already: reads may lag behind writes
            unseen = found.version < (current.call.version or 0) and current.polls < _POLLS_AT_LEAST
            behind = unseen or self._versions.is_behind(found)
            return transitions.of_first_poll(found, expected=self._is_expected(found), behind=behind)
        event = transitions.of_poll(
            found,
            state=current.state,
            expected=self._expected,
            expected_updated_at=current.expected_updated_at,
            reused=self._context.quirks.versions_reused,
        )
        if current.invalid is None or event is not CallEvent.AT_EXPECTED:
            return event
        return CallEvent.AT_EXPECTED_ONCE if current.polls < _POLLS_AT_LEAST else CallEvent.INVALID_AT_EXPECTED

    def _is_expected(self, found: ImageSet) -> bool:
        """Whether no other writer came before this call."""
        named = self._current.call.version
        if named is not None:
            return self._versions.is_named(self._current.call, named, found)
        since = self._versions.followed(found.image_set_id)
        return since is None or not self._versions.others_since(since, found)

    def _meet_other_writer(self) -> None:
        """Another writer was first: row and policy decide whether the call may follow."""
        current, latest, policy = self._current, self._latest, self._context.options.on_conflict
        named = current.call.version
        if latest is None:
            raise LookupError("another writer's version is known only once the image set was seen")
        # a locked version may still fail, and then the service may drop its number
        current.expected = latest.version if latest.state is ImageSetState.ACTIVE else latest.version - 1
        reason = f"another writer made version {latest.version}"
        if named is not None and latest.version < named:
            reason = f"the image set is at version {latest.version}, which is before the one that the row names"
        elif named is not None and self._versions.is_passed_by_own(named, latest):
            reason = f"this run itself has made version {latest.version}, which is after the one that the row names"
        if policy is OnConflict.STOP:
            self._stopped.add(_stopped_by(current.call))
        may_follow = named is None and policy is OnConflict.RETRY
        self._take(transitions.of_other_writer(may_follow=may_follow), why=(reason, None))

    def _read(self, metadata: Metadata, performed: LaneRequest | None) -> None:
        current = self._current
        current.read_retries = None
        if current.documents is not None and isinstance(performed, GetMetadata):
            current.documents[performed.version] = metadata.document
            self._compare_documents()
            return
        wanted = self._update()
        # if the outcome is unknown, this document was checked before the first request
        misplaced = no_such_place(wanted, metadata.document) if current.state is CallState.PLANNED else None
        if misplaced is not None:
            # a missing series or instance gets no request; the other edits of the call are sent
            several = current.call.units > 1 and not misplaced.alone
            self._misplaced = misplaced if several else None
            self._take(transitions.of_refusal(several=several, other_value=False), why=(misplaced.cause, None))
            return
        current.update = fill_stored(wanted, metadata.document)
        if self._may_leave_values(wanted, current.update):
            several = current.call.units > 1
            self._take(transitions.of_refusal(several=several, other_value=False), why=(MAY_DIFFER, None))
            return
        current.removal = current.removal or self._context.quirks.first_removal
        if current.update is not None:
            emptied = with_empty_values(current.update, wanted)
            current.shows_removal = emptied != current.update
            current.update = emptied if current.removal is Removal.EMPTY else current.update
        if current.update is None:
            self._take(CallEvent.NOTHING_TO_REMOVE, why=("nothing to remove: the attributes are absent", None))
        elif current.call.units > 1 and len((current.update.removable or "").encode()) > self._context.payload_limit:
            too_long = "the stored values are longer than the plan allowed for"
            self._take(CallEvent.REFUSED_SEVERAL, why=(too_long, None))
        else:
            self.request = Update(current.update)

    def _may_leave_values(self, wanted: UpdateRequest, filled: UpdateRequest | None) -> bool:
        """Whether a removal was dropped that other image sets of the study may need: only one of them was read."""
        current = self._current
        if current.state is not CallState.PLANNED or not current.call.study_wide:
            return False
        dropped = filled is None or with_empty_values(filled, wanted) != with_empty_values(wanted, wanted)
        return dropped and self._versions.may_differ(current.call.image_set_id)

    def _take(
        self,
        event: CallEvent,
        reply: Reply | None = None,
        performed: LaneRequest | None = None,
        *,
        why: Why | None = None,
        version: int | None = None,
    ) -> None:
        """Look the event up in the table and carry out the action. ``version``: left by a failed update."""
        current = self._current
        before = current.state
        action = current.machine.take(event)
        current.conflicts += event in {CallEvent.OTHER_WRITER, CallEvent.KEEP_OUT}
        if event in QUOTA and isinstance(reply, Refused):
            self.quota_hit = reply
            current.throttles += isinstance(performed, WRITES)
        invalid = current.invalid if current.state is CallState.REJECTED else None
        details = EventDetails(event, reply, performed, why or _why(event, invalid or reply), version)
        if event is CallEvent.ACCEPTED:
            current.locked_since, current.locked_at = self._now, None
            current.accepted_at = self._now if isinstance(reply, Accepted) else None
            self._note()
        elif event is CallEvent.LOST and before is CallState.INTENDED:
            current.may_still_arrive = True
            current.faults += 1
            self._note(*details.why)
        self._actions()[action](details)

    # actions

    def _actions(self) -> dict[CallAction, Callable[[EventDetails], None]]:
        return {
            CallAction.START: self._start,
            CallAction.START_NOW: self._start_now,
            CallAction.START_LATER: self._start_later,
            CallAction.START_WITH_EMPTY_VALUE: self._start_with_empty_value,
            CallAction.SEND: self._send,
            CallAction.SEND_AGAIN: self._send_again,
            CallAction.RECORD_AND_SEND_AGAIN: self._record_and_send_again,
            CallAction.POLL: self._poll,
            CallAction.POLL_LATER: self._poll_later,
            CallAction.POLL_OWN_VERSION: self._poll_own_version,
            CallAction.COMPARE: self._compare,
            CallAction.ASK_STORE: self._ask_store,
            CallAction.CLAIM: self._claim,
            CallAction.COMPLETE: self._complete,
            CallAction.SPLIT: self._split_up,
            CallAction.LEAVE_UNRESOLVED: self._leave_unresolved,
            CallAction.HALT: self._halt,
        }

    def _start(self, _: EventDetails) -> None:
        """Send, wait for the unlock, or handle another writer's version."""
        if self._latest is None or self._latest.state is not ImageSetState.ACTIVE:
            self.request = self._latest_version()
        else:
            self._examine(self._latest)

    def _start_now(self, details: EventDetails) -> None:
        self._plan_again(details)
        self._start(details)

    def _start_later(self, details: EventDetails) -> None:
        self._plan_again(details)
        if self._may_retry(details):
            self._start(details)

    def _start_with_empty_value(self, details: EventDetails) -> None:
        self._current.removal = Removal.EMPTY
        self._start_now(replace(details, why=(BY_EMPTY_VALUE, details.why[1])))

    def _plan_again(self, details: EventDetails) -> None:
        """Forget the request."""
        current = self._current
        self._note(*details.why, version=details.version)
        current.update = current.documents = None
        if details.version is not None:
            current.expected = details.version

    def _send(self, _: EventDetails) -> None:
        current, latest = self._current, self._latest
        if latest is None:
            raise LookupError("a call is sent only once its image set was seen")
        current.may_still_arrive = current.may_still_arrive and current.expected == latest.version
        current.expected, current.expected_updated_at = latest.version, latest.updated_at
        if current.refused_since is not None:
            self._begin_round()
        else:
            self._prepare()

    def _prepare(self) -> None:
        current = self._current
        if current.call.lookup and current.update is None:
            self.request = GetMetadata(current.call.image_set_id, self._expected)
        else:
            self.request = Update(self._update())

    def _record_and_send_again(self, details: EventDetails) -> None:
        self._note(*details.why, version=details.version)
        self._send_again(details)

    def _send_again(self, details: EventDetails) -> None:
        current = self._current
        if self._latest is not None and self._latest.version == current.expected:
            current.expected_updated_at = self._latest.updated_at
        if details.event is CallEvent.AT_EXPECTED and current.refused_since is not None:
            self._begin_round()
        elif details.event in QUOTA or self._may_retry(details):
            self._prepare()

    def _latest_version(self) -> GetImageSet:
        return GetImageSet(self._current.call.image_set_id, by_list=True)

    def _poll(self, details: EventDetails) -> None:
        current = self._current
        if details.event is CallEvent.INVALID and isinstance(details.reply, Refused):
            current.invalid = details.reply
        conflict = details.event is CallEvent.CONFLICT and current.call.study_wide
        if details.event is not CallEvent.OPENED and not conflict:
            current.refused_since = None
        if conflict:
            current.refused_since = self._now if current.refused_since is None else current.refused_since
            current.unseen_locks = 1 if current.lock_seen else min(current.unseen_locks + 1, _UNSEEN_MOST)
            current.lock_seen = False
        self.request = self._latest_version()

    def _poll_own_version(self, _: EventDetails) -> None:
        self.request = GetImageSet(self._current.call.image_set_id, self._expected + 1)

    def _poll_later(self, details: EventDetails) -> None:
        if details.event is CallEvent.READ_LOST and not self._may_retry(details):
            return
        if self._is_locked_too_long(details.event):
            self._take_locked_too_long(details.reply)
            return
        if details.event not in READS_UNANSWERED:
            self.due = self._now + self._poll_in()
        self.request = details.performed if isinstance(details.performed, READS) else self._latest_version()

    def _take_locked_too_long(self, reply: Reply | None = None) -> None:
        reason = CallEvent.LOCKED_TOO_LONG
        self._take(reason, why=(str(reason), self._lock_message(reply)))

    def _is_locked_too_long(self, event: CallEvent) -> bool:
        since = self._current.locked_since if event not in READS_UNANSWERED else None
        return since is not None and self._now - since > self._context.options.unlock_timeout_s

    def _poll_in(self) -> float:
        """Seconds until the next poll: predicted for our own updates, a backoff for other locks."""
        current, times = self._current, self._context.completion_times
        if current.state is not CallState.ACCEPTED or current.accepted_at is None:
            return self._poll_unlock_in()
        if current.polls == 0:
            return times.first_poll()
        current.locked_at = self._sent - current.accepted_at
        times.still_locked(current.locked_at)
        return times.next_poll(current.polls, current.locked_at, self._context.rng)

    # the other image sets of the study

    def _begin_round(self) -> None:
        """Poll the other image sets of the study: the refused call is sent again once none of them is locked."""
        if not self._siblings.asked:
            self._siblings.asked = True
            self.siblings_wanted = self._current.call
            return
        self._siblings.begin()
        self._continue_round()

    def _continue_round(self) -> None:
        """Poll the next image set; after a round without a lock send the call again, at once or after a wait."""
        current, siblings = self._current, self._siblings
        explained = current.lock_seen or current.unseen_locks == 0 or self._has_waited_for_unseen
        if (poll := siblings.next_poll(current.call.image_set_id)) is not None:
            self.request = poll
        elif siblings.waited:
            self.request = self._latest_version()  # the call's own image set, which begins the next round
        elif not explained and not siblings.searched:
            self.request = siblings.search(current.call.image_set_id, self._expected)
        elif not explained and current.unseen_locks > 1:  # the first lock may have ended before it was seen
            self._wait_for_unseen()
        else:
            self._end_wait()
            self._prepare()

    def _take_of_study(self, reply: Reply, performed: LaneRequest | None) -> None:
        """Take the reply to a read of the study. If the read is refused, the round continues without it."""
        event = transitions.of_failed_read(reply) if isinstance(reply, Refused | Lost) else None
        if event not in {None, CallEvent.GONE, CallEvent.READ_REFUSED}:
            self._take(event, reply, performed)
            return
        self._current.read_retries = None
        if isinstance(performed, PollSibling):
            self._sibling_polled(performed, reply if isinstance(reply, ImageSet) else None, event)
        else:
            self._study_searched(reply, performed)

    def _sibling_polled(self, performed: PollSibling, found: ImageSet | None, event: CallEvent | None) -> None:
        current, siblings = self._current, self._siblings
        gone = event is CallEvent.GONE or (found is not None and found.state is ImageSetState.DELETED)
        if gone or (found is not None and found.primary is False):
            siblings.forget(performed.image_set_id)
        elif found is not None and found.state is ImageSetState.LOCKED:
            current.lock_seen = siblings.waited = True
            current.locked_since = current.refused_since
            self._wait_for(performed.image_set_id)
            self._take(CallEvent.SIBLING_LOCKED, found, performed)
            return
        current.locked_since = None
        self._wait_for(None)
        self._continue_round()

    def _study_searched(self, reply: Reply, performed: LaneRequest | None) -> None:
        siblings, following = self._siblings, None
        if isinstance(reply, Metadata):
            following = siblings.found_study(reply.document)
        elif isinstance(reply, Page) and isinstance(performed, SearchStudy):
            following = siblings.found(reply, performed)
        if following is not None:
            self.request = following
        else:
            siblings.searched = True
            siblings.begin()
            self._continue_round()

    @property
    def _has_waited_for_unseen(self) -> bool:
        return self._unlock is not None and self._unlock.wait.image_set_id is None

    def _wait_for_unseen(self) -> None:
        """The study is refused as locked, but no image set of it is seen locked: begin another round later."""
        current = self._current
        refused = self._now if current.refused_since is None else current.refused_since
        left = self._context.options.unlock_timeout_s - (self._now - refused)
        self._unlock = _UnlockPolls(LockWait(None, self._epoch - (self._now - refused)), refused, told=True)
        if left <= 0:
            self._take_locked_too_long()
            return
        self._note_lock(self._unlock.wait.message)
        self._siblings.searched = False
        self.due = self._now + min(left, UNSEEN_LOCK.wait(current.unseen_locks - 1, self._context.rng))
        self.request = self._latest_version()

    def _poll_unlock_in(self) -> float:
        """Seconds until the next poll of another writer's lock; the last one is when the unlock timeout ends."""
        current, unlock = self._current, self._unlock
        if unlock is None:
            return POLL.wait(current.polls + 1, self._context.rng)
        waited = self._now - unlock.began
        wait = unlock_poll_in(unlock.polls + 1, waited, len(self._context.waiting), self._context.rng)
        return min(wait, max(POLL.first_s, self._context.options.unlock_timeout_s - waited))

    def _ask_store(self, _: EventDetails) -> None:
        self.request = GetDatastore()

    def _compare(self, details: EventDetails) -> None:
        version, performed = self._expected + 1, details.performed
        at_version = self._latest is not None and self._latest.version == version
        if at_version or (isinstance(performed, GetImageSet) and performed.version == version):
            self._current.documents = {}
            self._compare_documents()
        else:
            self._poll_own_version(details)

    def _compare_documents(self) -> None:
        """Decide who made the version after the expected one, or read the next document that this needs."""
        current = self._current
        read = current.documents if current.documents is not None else {}
        target, made, expected = current.call.revert_to, self._expected + 1, self._expected
        wanted = [made, expected] if target is None else [target, made, expected]  # a revert makes a copy of its target
        missing = [version for version in wanted if version not in read]
        update, reverted = self._update(), read.get(target or 0)
        # a revert to the expected version or a later one is not ours
        differs = (target or 0) >= expected or (made in read and not holds(update, read[made], reverted))
        if missing and not differs:
            self.request = GetMetadata(current.call.image_set_id, missing[0])
            return
        current.documents = None
        if differs or not follows(update, read[expected], read[made], reverted):
            self._meet_other_writer()
        else:
            unchanged = reads_the_same(read[expected], read[made])
            self._take(CallEvent.UNCHANGED if unchanged else CallEvent.OURS)

    def _claim(self, details: EventDetails) -> None:
        self._complete(replace(details, why=(None, None), version=self._expected + 1))

    def _complete(self, details: EventDetails) -> None:
        current = self._current
        # a request that may still arrive was perhaps sent with the other value
        if current.state is CallState.APPLIED and current.shows_removal and not current.may_still_arrive:
            self._context.quirks.removal = current.removal
        self._note(*details.why, version=details.version)
        if current.call.study_wide:  # its other image sets have a new version too, so they are polled again
            self._seen = {of: seen for of, seen in self._seen.items() if of == current.call.image_set_id}
        self._unlock = None
        self.calls_left -= 1
        self._current_call = None
        self.request = None

    # waits for the unlock of another writer's lock

    def _wait_for(self, image_set_id: str | None) -> None:
        """A poll has found this image set locked by another writer; None: it has found no lock."""
        if image_set_id is None:
            if not self._has_waited_for_unseen:
                self._end_wait()
            return
        if self._unlock is None or self._unlock.wait.image_set_id != image_set_id:
            self._end_wait()
            self._unlock = _UnlockPolls(LockWait(image_set_id, self._epoch), self._now)
        unlock = self._unlock
        unlock.polls += 1
        if not unlock.told and self._now - unlock.began >= TOLD_AFTER_S:
            unlock.told = True
            self._note_lock(unlock.wait.message)

    def _end_wait(self) -> None:
        if self._unlock is not None and self._unlock.told:
            self._note_lock(self._unlock.wait.ended(self._epoch))
        self._unlock = None

    def _note_lock(self, message: str) -> None:
        """A row that changes nothing but the reason: `bulkedit.runs.history` leaves it out of the versions."""
        current = self._current
        expected = current.expected
        if expected is None and self._latest is not None and not self._is_again(current.call):
            expected = self._latest.version
        self._events.append(replace(self._row(reason=LOCKED, message=message), expected_version=expected))

    def _lock_message(self, reply: Reply | None) -> str:
        """What a call has waited for at the unlock timeout."""
        if self._unlock is not None:
            return self._unlock.wait.message
        polled = reply.image_set_id if isinstance(reply, ImageSet) else self._current.call.image_set_id
        since = utc(self._epoch - (self._now - (self._current.locked_since or self._now)))
        if self._current.state is CallState.ACCEPTED:
            return f"image set {polled}, update under way since {since}"
        return f"image set {polled}, polls have shown an old version since {since}"

    def _split_up(self, details: EventDetails) -> None:
        self.to_split = self._current.call
        self._complete(details)

    def _halt(self, details: EventDetails) -> None:
        gone = Refused(Refusal.NOT_FOUND, details.reply.status) if isinstance(details.reply, Datastore) else None
        self.halted = details.reply if isinstance(details.reply, Refused) else gone
        self.unresolved = True
        if self._current.state is CallState.INTENDED and not isinstance(details.performed, WRITES):
            # its request was refused: a resume must not take a version for its own
            self._current.machine.take(CallEvent.WITHDRAWN)
            self._note("withdrawn")

    def _leave_unresolved(self, details: EventDetails) -> None:
        self.unresolved = True
        self._note(*details.why)
        self.request = None

    def _may_retry(self, details: EventDetails) -> bool:
        """Count a fault and delay the next attempt. If no more are allowed, take that event and return False."""
        current = self._current
        current.faults += details.event not in _COUNTED_BEFORE
        if details.event is CallEvent.READ_LOST:
            retries = current.read_retries = current.read_retries or self._retries(reads=True)
        else:
            retries = current.write_retries = current.write_retries or self._retries(reads=False)
        wait = retries.fault(self._now)
        if wait is None:
            self._take(
                transitions.of_exhaustion(details.event), why=(f"given up after repeated: {details.event}", None)
            )
            return False
        self.due = self._now + wait
        return True

    def _retries(self, *, reads: bool) -> Retries:
        return Retries(self._context.options, self._context.budget, self._context.rng, reads=reads)

    # the image sets of the lane

    @property
    def _latest(self) -> ImageSet | None:
        """The newest version seen of this call's image set."""
        return self._seen.get(self._current.call.image_set_id)

    def _is_stopped(self, call: PlannedCall) -> bool:
        """Whether --on-conflict stop ends the call: its image set conflicted, or for a study any of them."""
        stopped = self._stopped if self._is_again(call) else self._stopped | self._stopped_before
        return bool(stopped) if call.study_wide else not stopped.isdisjoint({None, call.image_set_id})

    def _is_again(self, call: PlannedCall) -> bool:
        """Whether a resume sends the call again that was rejected, conflicted or failed."""
        begun = self._context.begun.get(call.call)
        return begun is not None and begun["state"] == CallState.PLANNED and begun["expected_version"] is None

    # ledger rows

    @property
    def _expected(self) -> int:
        expected = self._current.expected
        if expected is None:
            raise LookupError("this call has no expected version yet")
        return expected

    def _update(self) -> UpdateRequest:
        current = self._current
        return current.update or current.call.as_request(self._expected)

    def _digest(self, update: UpdateRequest) -> str:
        digest = hashlib.blake2b(key=self._context.key, digest_size=16)
        for part in (update.updatable, update.removable, update.revert_to, update.force, update.include_study):
            digest.update(repr(part).encode())
        return digest.hexdigest()

    def _note(self, reason: str | None = None, message: str | None = None, *, version: int | None = None) -> None:
        self._events.append(self._event(reason=reason, message=message, version=version))

    def _event(
        self,
        *,
        reason: str | None = None,
        message: str | None = None,
        version: int | None = None,
        digest: str | None = None,
    ) -> Event:
        current = self._current
        self._versions.take(current.call, current.state, current.expected, version)
        return self._row(reason=reason, message=message, version=version, digest=digest)

    def _row(
        self,
        *,
        reason: str | None = None,
        message: str | None = None,
        version: int | None = None,
        digest: str | None = None,
    ) -> Event:
        current = self._current
        return Event(
            at=self._epoch,
            call=current.call.call,
            state=current.state,
            expected_version=current.expected,
            expected_version_updated_at=current.expected_updated_at,
            version=version,
            attempts=current.attempts,
            throttles=current.throttles,
            faults=current.faults,
            conflicts=current.conflicts,
            reason=reason,
            message=message,
            digest=digest,
        )
