"""One lane of calls as a machine that decides and does no I/O.

`request` is what to perform next, `begin` is told when it starts, and `absorb` takes what came of it; `begin` and
`absorb` hand out the rows that the ledger must hold. What a reply means, and which state and action follow, is in
`bulkedit.runs.transitions`; here the actions are carried out on the books of the call in hand.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from bulkedit.client.pacing import LOOK, Operation
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
from bulkedit.runs.requests import READS, WRITES, GetDatastore, GetImageSet, GetMetadata, Update
from bulkedit.runs.retry import Retries
from bulkedit.runs.service_quirks import Removal
from bulkedit.runs.transitions import FAILURES, PERHAPS_MADE, QUOTA, CallAction, CallEvent, Machine

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

Why = tuple[str | None, str | None]  # reason and message, as the ledger has them
_UNDER_WAY: Final = frozenset({CallState.INTENDED, *PERHAPS_MADE})
READS_UNANSWERED: Final = frozenset({CallEvent.READ_THROTTLED, CallEvent.READ_LOST})
_COUNTED_BEFORE: Final = frozenset({CallEvent.AT_EXPECTED, CallEvent.NONE_NEW})  # what led to that poll was a fault
EARLIER_CONFLICT: Final = "an earlier conflict in this image set"  # reason of calls that --on-conflict stop leaves
BY_EMPTY_VALUE: Final = "refused with the stored value; sent anew with the empty one"  # reason
_POLLS_AT_LEAST: Final = 2  # apart, because reads may lag behind writes


@dataclass(slots=True, kw_only=True)
class LaneContext:
    """What the lanes of one process share."""

    options: EngineOptions
    rng: random.Random
    key: bytes  # of the ledger's digests
    quirks: ServiceQuirks
    budget: RetryBudget
    completion_times: CompletionTimes
    begun: Mapping[
        int, dict[str, Any]
    ]  # `bulkedit.runs.history.BEGUN` by call: what an earlier process left unfinished
    new_call: Callable[[], int]  # numbers the parts of a call that is split
    payload_limit: int  # bytes


@dataclass(slots=True)
class _Books:
    """What is known of the call in hand."""

    call: PlannedCall
    machine: Machine
    expected: int | None = None
    expected_updated_at: float | None = None  # epoch seconds, as the last poll before the request told
    doubtful: bool = False  # a request with this expected version was lost, so it may be carried out yet
    attempts: int = 0
    throttles: int = 0
    faults: int = 0
    conflicts: int = 0
    polls: int = 0  # of the image set since the last request
    update: UpdateRequest | None = None  # for the expected version in hand, with stored values filled in
    invalid: Refused | None = None  # the answer to the last request, which may be about a newer version
    documents: dict[int, JsonObject] | None = None  # by version, while they are compared
    locked_since: float | None = None  # or accepted and not seen to move
    sent_at: float | None = None  # epoch seconds
    accepted_at: float | None = None  # monotonic; of updates
    locked_at: float | None = None  # when the last poll left that found the accepted update not complete
    refused_since: float | None = None  # as a conflict, though its own image set is not locked: another of the study is
    removal: Removal | None = None  # what the removal in hand names where its rows name nothing
    repeats: Retries | None = None  # of writes
    read_retries: Retries | None = None  # since the last read that was answered

    @property
    def state(self) -> CallState:
        """Of the call."""
        return self.machine.state


@dataclass(frozen=True, slots=True)
class Came:
    """An event with what an action needs to know of it."""

    event: CallEvent
    reply: Reply | None
    performed: LaneRequest | None
    why: Why
    version: int | None  # that a failed update has left, or that was made


def meaning(
    reply: Accepted | Copied | Deleting | Datastore | Refused | Lost, performed: LaneRequest | None
) -> CallEvent:
    """What a reply means that shows no image set and no metadata."""
    if isinstance(reply, Accepted | Copied | Deleting):
        return transitions.of_answer(reply)
    if isinstance(reply, Datastore) or isinstance(performed, GetDatastore):
        return transitions.of_store(reply)
    return transitions.of_answer(reply) if isinstance(performed, WRITES) else transitions.of_failed_read(reply)


def _why(event: CallEvent, reply: Reply | None) -> Why:
    """Cause and message for the ledger, without values."""
    if isinstance(reply, Lost):
        return reply.cause, None
    reason = reply.code if isinstance(reply, Refused) else str(event)
    return reason, (reply.message or None) if isinstance(reply, Refused | ImageSet) else None


def _stopped_by(call: PlannedCall) -> str | None:
    """The image set that a conflict stops with --on-conflict stop; None if it stops the whole study."""
    return None if call.study_wide else call.image_set_id


class LaneRun:
    """A lane on its way through its calls."""

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
        """Begin with the first call.

        ``versions``: what the lane's rows of the ledger have told so far; ``conflicted``: calls of the lane in which
        an earlier process met another writer, and left it at that; ``now``, ``epoch``: seconds.
        """
        self.number = lane.number
        self.calls_left = len(lane.calls)
        self.edits = {call.call: call.edits for call in lane.calls}
        self.request: LaneRequest | None = None
        self.through: Operation | None = None  # the operation under whose quota the request was let out
        self.due = now  # monotonic seconds; the request waits until then
        self.unresolved = False  # the lane ended with calls that are not completed
        self.halted: Refused | None = None  # the answer that no call of this run can get past
        self.quota_hit: Refused | None = None  # the last answer was about a quota
        self.to_split: PlannedCall | None = None  # a refused call; the lane goes on once `split` is told its edits
        self._misplaced: NoSuchPlace | None = None  # why the call is split, if it names places that are not there
        self._context = context
        # unknown outcomes are found out first: until then nothing tells which versions are ours
        self._rest = sorted(lane.calls, key=lambda call: not self._is_begun(call))[::-1]
        self._sent = now  # when the request left
        self._now, self._epoch = now, epoch
        self._seen: dict[str, ImageSet] = {}  # the newest version that this lane has seen of each image set
        self._versions = versions
        struck = conflicted if context.options.on_conflict is OnConflict.STOP else ()
        self._stopped_before = frozenset(_stopped_by(call) for call in struck)
        self._stopped: set[str | None] = set()  # image sets in which --on-conflict stop has struck; None: the study
        self._books: _Books | None = None
        self._events: list[Event | Part | Made] = []
        self._open_until_busy()

    def _is_begun(self, call: PlannedCall) -> bool:
        begun = self._context.begun.get(call.call)
        return begun is not None and begun["state"] != CallState.PLANNED

    # what the shell asks

    @property
    def under_way(self) -> bool:
        """Whether a write of this lane may be under way at the service."""
        return self._books is not None and self._books.state in _UNDER_WAY

    @property
    def flying(self) -> bool:
        """Whether it counts as in flight: a request that was refused for a quota has left nothing under way."""
        refused = self.quota_hit is not None and self._books is not None and self._books.state is CallState.INTENDED
        return self.under_way and not refused

    @property
    def call(self) -> PlannedCall | None:
        """The call in hand."""
        return self._books.call if self._books else None

    def logged(self) -> Fields:
        """Fields of the call in hand for the log."""
        books = self._books
        return {} if books is None else {"call": books.call.call, "attempt": books.attempts}

    def take_events(self) -> list[Event | Part | Made]:
        """Rows for the ledger that are not handed out yet, in order."""
        events, self._events = self._events, []
        return events

    def leaves(self, now: float) -> None:
        """The request leaves now."""
        self._sent = now

    def begin(self, epoch: float) -> Event | None:
        """The request starts now. What of it has to be durable before it leaves: the intent of a write."""
        if not isinstance(self.request, WRITES):
            return None
        books = self._held
        self._epoch = books.sent_at = epoch
        books.attempts += 1
        books.polls = 0
        books.invalid = None
        if books.machine.take(CallEvent.SENDING) is CallAction.NOTHING:
            return None
        return self._event(digest=self._digest(self.request.update) if isinstance(self.request, Update) else None)

    def absorb(self, reply: Reply, *, now: float, epoch: float) -> None:
        """Take what came of the request."""
        self._now = self.due = now
        self._epoch = epoch
        self.quota_hit = None
        performed, self.request = self.request, None
        self._absorb(reply, performed)
        self._open_until_busy()

    def split(self, edits: pl.DataFrame, *, now: float, epoch: float) -> None:
        """Go on with the parts of the refused call. ``edits``: its rows of `bulkedit.plans.PLANNED_EDITS`."""
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

    def withdraw(self, epoch: float, *, denied: bool = False) -> Event | None:
        """Nothing more is to be sent: a call that is surely not under way is planned again.

        ``denied``: it was denied access, so that a later process of the run takes it up last.
        """
        self._epoch = epoch
        if self._books is None:
            return None
        event = CallEvent.WITHDRAWN_DENIED if denied else CallEvent.WITHDRAWN
        if self._books.machine.take(event) is CallAction.NOTHING:
            return None
        if denied and self._books.expected is None:
            self._books.expected = self._versions.followed(self._books.call.image_set_id)
        return self._event(reason=str(CallEvent.DENIED) if denied else "withdrawn")

    # opening calls

    @property
    def _held(self) -> _Books:
        if self._books is None:
            raise LookupError("this lane has no call in hand")
        return self._books

    def _open_until_busy(self) -> None:
        while self._books is None and self._rest and not self.unresolved and self.to_split is None:
            self._open(self._rest.pop())

    def _open(self, call: PlannedCall) -> None:
        begun = self._context.begun.get(call.call)
        if self._is_stopped(call):
            self._end_unsent(call, CallEvent.EARLIER_CONFLICTED, EARLIER_CONFLICT)
            return
        state = CallState(begun["state"]) if begun else CallState.PLANNED
        books = self._books = _Books(call, Machine(table_of(call.copy_step), state))
        if begun:
            for name in ("attempts", "throttles", "faults", "conflicts"):
                setattr(books, name, begun[name])
            if begun["by_empty_value"]:
                books.removal = Removal.EMPTY
        if begun and state is not CallState.PLANNED:
            books.expected, books.expected_updated_at = begun["expected_version"], begun["expected_version_updated_at"]
            books.sent_at = begun["at"]
            books.doubtful = True
            if call.lookup and books.removal is None:
                books.removal = Removal.STORED
        self._take(CallEvent.OPENED)

    def _end_unsent(self, call: PlannedCall, event: CallEvent, reason: str) -> None:
        """What the call builds on has not been made."""
        self._books = _Books(call, Machine(table_of(call.copy_step)))
        self._take(event, why=(reason, None))

    # what came back

    def _absorb(self, reply: Reply, performed: LaneRequest | None) -> None:
        if isinstance(reply, ImageSet):
            self._polled(reply, performed)
        elif isinstance(reply, Metadata):
            self._read(reply, performed)
        elif not isinstance(reply, Page):
            self._take(meaning(reply, performed), reply, performed)

    def _polled(self, found: ImageSet, performed: LaneRequest | None) -> None:
        self._held.polls += 1
        self._held.read_retries = None
        # reads may lag behind; but where a failed update leaves no version, the latest may have a lower number
        newest = not isinstance(performed, GetImageSet) or performed.version is None
        known = self._latest
        # what was locked may have failed since, and left no version
        if (
            known is None
            or found.version >= known.version
            or (newest and (found.failed or known.state is ImageSetState.LOCKED))
        ):
            self._seen[self._held.call.image_set_id] = found
        self._examine(found, performed)

    def _examine(self, found: ImageSet, performed: LaneRequest | None = None) -> None:
        books, quirks = self._held, self._context.quirks
        event = self._event_of_poll(found)
        failed, at_expected = event in FAILURES, found.version == books.expected
        accepted = books.state is CallState.ACCEPTED
        if accepted and failed and at_expected:
            quirks.versions_reused = True
        waits = event is CallEvent.LOCKED or (event is CallEvent.AT_EXPECTED and accepted)
        books.locked_since = (books.locked_since or self._now) if waits else None
        if (failed or event is CallEvent.REACHED) and accepted and books.accepted_at is not None:
            self._context.completion_times.completed(self._sent - books.accepted_at, books.locked_at)
        if event is CallEvent.OTHER_WRITER:
            self._meet_other_writer()
            return
        # no removal by the stored value has been made yet: the service may want the empty one
        other_value = books.removal is Removal.STORED and quirks.removal is not Removal.STORED
        refined = transitions.of_failed_update(
            event,
            books.state,
            several=books.call.units > 1,
            other_value=other_value,
            kept=books.doubtful and at_expected,
        )
        why = _why(event, books.invalid if event is CallEvent.INVALID_AT_EXPECTED else found)
        self._take(refined, found, performed, why=why, version=found.version if failed else None)

    def _event_of_poll(self, found: ImageSet) -> CallEvent:
        books = self._held
        if books.state is CallState.PLANNED:
            # a version that a row names may be there already: reads may lag behind writes
            unseen = found.version < (books.call.version or 0) and books.polls < _POLLS_AT_LEAST
            behind = unseen or self._versions.is_behind(found)
            return transitions.of_first_poll(found, expected=self._is_expected(found), behind=behind)
        event = transitions.of_poll(
            found,
            state=books.state,
            expected=self._expected,
            expected_updated_at=books.expected_updated_at,
            reused=self._context.quirks.versions_reused,
        )
        if books.invalid is None or event is not CallEvent.AT_EXPECTED:
            return event
        return CallEvent.AT_EXPECTED_ONCE if books.polls < _POLLS_AT_LEAST else CallEvent.INVALID_AT_EXPECTED

    def _is_expected(self, found: ImageSet) -> bool:
        """Whether no other writer has come before the call in hand."""
        named = self._held.call.version
        if named is not None:
            return self._versions.is_named(self._held.call, named, found)
        since = self._versions.followed(found.image_set_id)
        return since is None or not self._versions.others_since(since, found)

    def _meet_other_writer(self) -> None:
        """Another writer was first: row and policy say whether the call may follow."""
        books, latest, policy = self._held, self._latest, self._context.options.on_conflict
        if latest is None:
            raise LookupError("another writer's version is known only once the image set was seen")
        # what is locked may fail yet, and a service may leave no version of that
        books.expected = latest.version if latest.state is ImageSetState.ACTIVE else latest.version - 1
        reason = f"another writer made version {latest.version}"
        if latest.version < (books.call.version or 0):
            reason = f"the image set is at version {latest.version}, which is before the one that the row names"
        if policy is OnConflict.STOP:
            self._stopped.add(_stopped_by(books.call))
        may_follow = books.call.version is None and policy is OnConflict.RETRY
        self._take(transitions.of_other_writer(may_follow=may_follow), why=(reason, None))

    def _read(self, metadata: Metadata, performed: LaneRequest | None) -> None:
        books = self._held
        books.read_retries = None
        if books.documents is not None and isinstance(performed, GetMetadata):
            books.documents[performed.version] = metadata.document
            self._compare_documents()
            return
        wanted = self._update()
        # if the outcome is unknown, the places were there: the document is that of the same expected version
        misplaced = no_such_place(wanted, metadata.document) if books.state is CallState.PLANNED else None
        if misplaced is not None:
            # nothing is sent to a series or instance that is not there; what else the call asks for goes on
            several = books.call.units > 1 and not misplaced.alone
            self._misplaced = misplaced if several else None
            self._take(transitions.of_refusal(several=several, other_value=False), why=(misplaced.cause, None))
            return
        books.update = fill_stored(wanted, metadata.document)
        books.removal = books.removal or self._context.quirks.first_removal
        if books.update is not None and books.removal is Removal.EMPTY:
            books.update = with_empty_values(books.update, wanted)
        if books.update is None:
            self._take(CallEvent.NOTHING_TO_REMOVE, why=("nothing to remove: the attributes are absent", None))
        elif books.call.units > 1 and len((books.update.removable or "").encode()) > self._context.payload_limit:
            too_long = "the stored values are longer than the plan allowed for"
            self._take(CallEvent.REFUSED_SEVERAL, why=(too_long, None))
        else:
            self.request = Update(books.update)

    def _take(
        self,
        event: CallEvent,
        reply: Reply | None = None,
        performed: LaneRequest | None = None,
        *,
        why: Why | None = None,
        version: int | None = None,
    ) -> None:
        """Let the table decide, and do what it says. ``version``: the one that a failed update has left."""
        books = self._held
        before = books.state
        action = books.machine.take(event)
        books.conflicts += event in {CallEvent.OTHER_WRITER, CallEvent.KEEP_OUT}
        if event in QUOTA and isinstance(reply, Refused):
            self.quota_hit = reply
            books.throttles += isinstance(performed, WRITES)
        invalid = books.invalid if books.state is CallState.REJECTED else None
        came = Came(event, reply, performed, why or _why(event, invalid or reply), version)
        if event is CallEvent.ACCEPTED:
            books.locked_since, books.locked_at = self._now, None
            books.accepted_at = self._now if isinstance(reply, Accepted) else None
            self._note()
        elif event is CallEvent.LOST and before is CallState.INTENDED:
            books.doubtful = True
            books.faults += 1
            self._note(*came.why)
        self._actions()[action](came)

    # actions

    def _actions(self) -> dict[CallAction, Callable[[Came], None]]:
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

    def _start(self, _: Came) -> None:
        """Send, wait for the image set to be unlocked, or find that another writer was first."""
        if self._latest is None or self._latest.state is not ImageSetState.ACTIVE:
            self.request = self._latest_version()
        else:
            self._examine(self._latest)

    def _start_now(self, came: Came) -> None:
        self._plan_again(came)
        self._start(came)

    def _start_later(self, came: Came) -> None:
        self._plan_again(came)
        if self._may_retry(came):
            self._start(came)

    def _start_with_empty_value(self, came: Came) -> None:
        self._held.removal = Removal.EMPTY
        self._start_now(replace(came, why=(BY_EMPTY_VALUE, came.why[1])))

    def _plan_again(self, came: Came) -> None:
        """The call has no request any more."""
        books = self._held
        self._note(*came.why, version=came.version)
        books.update = books.documents = None
        if came.version is not None:
            books.expected = came.version

    def _send(self, _: Came) -> None:
        books, latest = self._held, self._latest
        if latest is None:
            raise LookupError("a call is sent only once its image set was seen")
        books.doubtful = books.doubtful and books.expected == latest.version
        books.expected, books.expected_updated_at = latest.version, latest.updated_at
        self._prepare()

    def _prepare(self) -> None:
        books = self._held
        if books.call.lookup and books.update is None:
            self.request = GetMetadata(books.call.image_set_id, self._expected)
        else:
            self.request = Update(self._update())

    def _record_and_send_again(self, came: Came) -> None:
        self._note(*came.why, version=came.version)
        self._send_again(came)

    def _send_again(self, came: Came) -> None:
        books = self._held
        if self._latest is not None and self._latest.version == books.expected:
            books.expected_updated_at = self._latest.updated_at
        if came.event is CallEvent.AT_EXPECTED and books.refused_since is not None:
            self._wait_for_siblings(books.refused_since)
        elif came.event in QUOTA or self._may_retry(came):
            self._prepare()

    def _wait_for_siblings(self, since: float) -> None:
        """Send again after a wait: only the answer tells whether all image sets of the study are unlocked."""
        if self._now - since > self._context.options.unlock_timeout_s:
            self._take(CallEvent.LOCKED_TOO_LONG)
            return
        self.due = self._now + LOOK.wait(self._held.attempts, self._context.rng)
        self._prepare()

    def _latest_version(self) -> GetImageSet:
        return GetImageSet(self._held.call.image_set_id, by_list=True)

    def _poll(self, came: Came) -> None:
        books = self._held
        if came.event is CallEvent.INVALID and isinstance(came.reply, Refused):
            books.invalid = came.reply
        conflict = came.event is CallEvent.CONFLICT and books.call.study_wide
        books.refused_since = (books.refused_since or self._now) if conflict else None
        self.request = self._latest_version()

    def _poll_own_version(self, _: Came) -> None:
        self.request = GetImageSet(self._held.call.image_set_id, self._expected + 1)

    def _poll_later(self, came: Came) -> None:
        if came.event is CallEvent.READ_LOST and not self._may_retry(came):
            return
        if self._is_locked_too_long(came.event):
            self._take(CallEvent.LOCKED_TOO_LONG)
            return
        if came.event not in READS_UNANSWERED:
            self.due = self._now + self._poll_in()
        self.request = came.performed if isinstance(came.performed, READS) else self._latest_version()

    def _is_locked_too_long(self, event: CallEvent) -> bool:
        since = self._held.locked_since if event not in READS_UNANSWERED else None
        return since is not None and self._now - since > self._context.options.unlock_timeout_s

    def _poll_in(self) -> float:
        """Seconds until the next poll: our own updates take as long as others of the run, other locks vary."""
        books, times = self._held, self._context.completion_times
        if books.state is not CallState.ACCEPTED or books.accepted_at is None:
            return LOOK.wait(books.polls + 1, self._context.rng)
        if books.polls == 0:
            return times.first_look()
        books.locked_at = self._sent - books.accepted_at
        times.still_locked(books.locked_at)
        return times.next_look(books.polls, books.locked_at, self._context.rng)

    def _ask_store(self, _: Came) -> None:
        self.request = GetDatastore()

    def _compare(self, came: Came) -> None:
        version, performed = self._expected + 1, came.performed
        at_version = self._latest is not None and self._latest.version == version
        if at_version or (isinstance(performed, GetImageSet) and performed.version == version):
            self._held.documents = {}
            self._compare_documents()
        else:
            self._poll_own_version(came)

    def _compare_documents(self) -> None:
        """Read the next document that is needed to tell who made the version after the expected one, or tell it."""
        books = self._held
        read = books.documents if books.documents is not None else {}
        target, made, expected = books.call.revert_to, self._expected + 1, self._expected
        wanted = [made, expected] if target is None else [target, made, expected]  # what a revert makes is its target
        missing = [version for version in wanted if version not in read]
        update, reverted = self._update(), read.get(target or 0)
        # a version is no target of a revert that is built on it, or on one before it
        told = (target or 0) >= expected or (made in read and not holds(update, read[made], reverted))
        if missing and not told:
            self.request = GetMetadata(books.call.image_set_id, missing[0])
            return
        books.documents = None
        if told or not follows(update, read[expected], read[made], reverted):
            self._meet_other_writer()
        else:
            unchanged = reads_the_same(read[expected], read[made])
            self._take(CallEvent.UNCHANGED if unchanged else CallEvent.OURS)

    def _claim(self, came: Came) -> None:
        self._complete(replace(came, why=(None, None), version=self._expected + 1))

    def _complete(self, came: Came) -> None:
        books = self._held
        if books.state is CallState.APPLIED and books.removal is not None:
            self._context.quirks.removal = books.removal
        self._note(*came.why, version=came.version)
        if books.call.study_wide:  # it has made a version of its other image sets too: they are to be polled again
            self._seen = {of: seen for of, seen in self._seen.items() if of == books.call.image_set_id}
        self.calls_left -= 1
        self._books = None
        self.request = None

    def _split_up(self, came: Came) -> None:
        self.to_split = self._held.call
        self._complete(came)

    def _halt(self, came: Came) -> None:
        gone = Refused(Refusal.NOT_FOUND, came.reply.status) if isinstance(came.reply, Datastore) else None
        self.halted = came.reply if isinstance(came.reply, Refused) else gone
        self.unresolved = True

    def _leave_unresolved(self, came: Came) -> None:
        self.unresolved = True
        self._note(*came.why)
        self.request = None

    def _may_retry(self, came: Came) -> bool:
        """Count a fault and put the next attempt off; False, and the table decides, if no more is allowed."""
        books = self._held
        books.faults += came.event not in _COUNTED_BEFORE
        if came.event is CallEvent.READ_LOST:
            repeats = books.read_retries = books.read_retries or self._retries(reads=True)
        else:
            repeats = books.repeats = books.repeats or self._retries(reads=False)
        wait = repeats.fault(self._now)
        if wait is None:
            self._take(transitions.of_exhaustion(came.event), why=(f"given up after repeated: {came.event}", None))
            return False
        self.due = self._now + wait
        return True

    def _retries(self, *, reads: bool) -> Retries:
        return Retries(self._context.options, self._context.budget, self._context.rng, reads=reads)

    # the image sets of the lane

    @property
    def _latest(self) -> ImageSet | None:
        """The newest version that was seen of the image set of the call in hand."""
        return self._seen.get(self._held.call.image_set_id)

    def _is_stopped(self, call: PlannedCall) -> bool:
        """Whether what the call builds on has conflicted: its image set, or, of a study, any of them."""
        begun = self._context.begun.get(call.call)
        again = begun is not None and begun["state"] == CallState.PLANNED and begun["expected_version"] is None
        stopped = self._stopped if again else self._stopped | self._stopped_before
        return bool(stopped) if call.study_wide else not stopped.isdisjoint({None, call.image_set_id})

    # books

    @property
    def _expected(self) -> int:
        expected = self._held.expected
        if expected is None:
            raise LookupError("this call has no expected version yet")
        return expected

    def _update(self) -> UpdateRequest:
        books = self._held
        return books.update or books.call.as_request(self._expected)

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
        books = self._held
        self._versions.take(books.call, books.state, books.expected, version)
        return Event(
            at=self._epoch,
            call=books.call.call,
            state=books.state,
            expected_version=books.expected,
            expected_version_updated_at=books.expected_updated_at,
            version=version,
            attempts=books.attempts,
            throttles=books.throttles,
            faults=books.faults,
            conflicts=books.conflicts,
            reason=reason,
            message=message,
            digest=digest,
        )
