"""The transition table of a call: from (state, event) to the next state and the action.

UpdateImageSetMetadata is a conditional, asynchronous write. The request names the version that must be the latest (its
*expected version*), and a successful update becomes the next version. Three facts allow exactly-once effect:

1.  The service accepts at most one request for each expected version. So a request whose answer was lost may be sent
    again with the same expected version while that is the latest, even if the lost request arrives late.
2.  A request can only become the version right after its expected version. Once there is a newer version, its content
    shows whether the request made it; afterwards the old request can never succeed.
3.  The intent (call, expected version, digest) is durable before the request is sent. So a crash is handled like a lost
    answer: when a run is resumed, the outcome of an *intended* call is unknown.

Throttles (429, 402) mean that nothing was carried out. A stale version (404 with a known message, perhaps 409) and a
conflict (409: locked) are not failures: the image set is polled. So it is after an invalid request, because a service
that checks the content first may call a stale request invalid. An edit is only at fault if its request is invalid at
the expected version, if its update fails because of the request, or if its image set does not exist.

The table is constant. If a decision needs data (the policy, the number of attempts), a function first turns that into
an event. Only `Machine` sets the state of a call. A pair that is not in the table is a defect, and `Machine.take` names
it. `bulkedit.runs.copy_transitions` has the tables of copies and deletions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bulkedit.client.responses import (
    Accepted,
    CallState,
    Copied,
    Datastore,
    Deleting,
    ImageSet,
    ImageSetState,
    Lost,
    Refusal,
    Refused,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


class CallEvent(StrEnum):
    """Something that has happened to a call, a copy or a deletion."""

    # of this process
    OPENED = "taken up"
    SENDING = "request leaves"
    WITHDRAWN = "run stopped"
    WITHDRAWN_DENIED = "run stopped after a denial"
    EARLIER_CONFLICTED = "earlier call conflicted"
    EARLIER_REJECTED = "earlier step rejected"
    EARLIER_FAILED = "earlier step failed"
    # answers to a write
    ACCEPTED = "accepted"
    THROTTLED = "throttled"
    TOO_MANY = "too many in flight"
    STALE = "stale version"
    CONFLICT = "conflict"
    NOT_FOUND = "not found"
    INVALID = "invalid"  # at its expected version or at a newer one
    DENIED = "access denied"  # to this image set; the engine handles a denial of all
    UNKNOWN = "unknown refusal"
    LOST = "answer lost"
    # polls of the image set that is changed, copied or deleted
    LOCKED = "locked"
    SIBLING_LOCKED = "another image set of the study locked"
    AT_EXPECTED = "at the expected version"
    AT_EXPECTED_ONCE = "at the expected version, after an invalid request"  # polled once: reads may lag behind writes
    INVALID_AT_EXPECTED = "invalid at the expected version"  # confirmed by several polls
    REACHED = "at its own version"  # the version after the expected one; its update succeeded
    REACHED_UNSURE = "at its own version, perhaps another's"  # this service reuses the numbers of failed updates
    FAILED_REQUEST = "update failed by its request"
    FAILED_SERVICE = "update failed by the service"
    FAILED_KEPT = "update failed and used no version"  # a lost request with the same expected version may still succeed
    PASSED = "past its own version"
    GONE = "gone"  # the image set, or the whole data store
    ABSENT = "image set not found"  # in a data store that exists
    STORE_GONE = "its data store is gone"
    # content of the version after the expected one (after a COMPARE)
    OURS = "ours"
    UNCHANGED = "unchanged, and already as asked for"  # so its writer is unknown
    # another writer was first
    OTHER_WRITER = "another writer"  # the call may follow it
    KEEP_OUT = "another writer, to be left alone"  # the row names a version, or --on-conflict is stop
    # the request cannot succeed
    REFUSED = "refused"
    REFUSED_SEVERAL = "refused, of several edits"  # it is split, so that each edit gets its own outcome
    REFUSED_STORED_VALUE = "refused with the stored value"  # a removal: the service may want the empty value
    NOTHING_TO_REMOVE = "nothing to remove"
    # image sets of the series that did not exist before the copy
    NONE_NEW = "nothing new"
    ONE_NEW = "one new image set"
    SEVERAL_NEW = "several new image sets"
    # polls of the copy
    COPY_LOCKED = "copy under way"
    COPY_ENDED = "copy ended"
    COPY_FAILED_REQUEST = "copy failed by its request"
    COPY_FAILED_SERVICE = "copy failed by the service"
    COPY_GONE = "copy not there"
    SAME = "holds what its source holds"
    DIFFERENT = "holds something else"
    # a poll right before a deletion
    UNSAFE = "the promoted image set is not there for good"
    # reads without a result
    READ_THROTTLED = "read throttled"
    READ_LOST = "read lost"
    READ_REFUSED = "read refused"
    # limits of this run
    READS_EXHAUSTED = "reads used up"
    EXHAUSTED = "attempts used up"
    EXHAUSTED_BY_FAILURES = "attempts used up by failed updates"
    LOCKED_TOO_LONG = "unlock timeout"
    # of every request
    SYSTEMIC = "systemic"  # credentials, certificate: no call of this run can succeed


class CallAction(StrEnum):
    """What the lane does after an event."""

    NOTHING = "nothing"
    RECORD = "record"  # write the new state to the ledger before the request is sent
    START = "start"  # with a poll
    SEND = "send"  # with the latest version as the expected version
    SEND_AGAIN = "send again"  # the same request, after a wait: at most one of the two can succeed
    RECORD_AND_SEND_AGAIN = "record and send again"
    START_NOW = "record and start"
    START_LATER = "record and start after a wait"  # the latest version then has the content of the expected one
    START_WITH_EMPTY_VALUE = "record and start with the empty value"
    POLL = "poll"  # GetImageSet, now
    POLL_OWN_VERSION = "poll its own version"  # by number: its workflow status shows whether the update succeeded
    POLL_LATER = "poll later"  # GetImageSet, after a wait that occupies no worker
    COMPARE = "compare"  # read the version after the expected one: did this call make it, or another writer?
    ASK_STORE = "ask for the data store"  # GetDatastore: is the image set gone, or the whole data store?
    CLAIM = "complete"  # with the version that the call made
    COMPLETE = "complete with a reason"
    SPLIT = "split"  # its parts are sent instead
    LEAVE_UNRESOLVED = "leave unresolved"  # the lane ends here; a resume polls again
    HALT = "halt"  # stop the run
    # of copies
    READ_SOURCE = "read the source"  # then list the image sets of the series, then send
    WAIT_OUT = "wait out"  # until the lost request can no longer be carried out; then poll
    LIST = "list"  # the image sets of the series: is one of them new?
    POLL_COPY = "poll the copy"
    COMPARE_COPY = "compare the copy"  # with the metadata of its source
    PASS_OVER = "pass over"  # noqa: S105 - no password; the new image set is not the copy: list again


S, E, A = CallState, CallEvent, CallAction
Rows = dict[tuple[CallState, CallEvent], tuple[CallState, CallAction]]
OPEN: Final = (S.PLANNED, S.INTENDED, S.OUTCOME_UNKNOWN, S.ACCEPTED)
SURELY_NOT_MADE: Final = (S.PLANNED, S.INTENDED)
PERHAPS_MADE: Final = (S.OUTCOME_UNKNOWN, S.ACCEPTED)
SENT: Final = (S.INTENDED, S.OUTCOME_UNKNOWN)  # a request was sent and is not known to be accepted


@dataclass(frozen=True, slots=True, eq=False)
class TransitionTable:
    """From (state, event) to (next state, action)."""

    of: str
    rows: Rows

    def lines(self) -> str:
        """The table as Markdown, for the documentation."""
        lines = ["| state | event | next state | action |", "|---|---|---|---|"]
        for wanted in OPEN:
            found = [(event, *row) for (state, event), row in self.rows.items() if state is wanted]
            lines += [f"| {wanted} | {event} | {following} | {action} |" for event, following, action in found]
        return "\n".join(lines)

    def picture(self) -> str:
        """The changes of state as a Mermaid diagram, for the documentation."""
        changes: dict[tuple[CallState, CallState], list[str]] = {}
        for (state, event), (following, _) in self.rows.items():
            if state is not following:
                changes.setdefault((state, following), []).append(event)
        ends = dict.fromkeys(following for _, following in changes if following not in OPEN)
        lines = ["```mermaid", "stateDiagram-v2"]
        lines += [f'    state "{state}" as {_name(state)}' for state in (*OPEN, *ends) if _name(state) != state]
        lines.append(f"    [*] --> {_name(S.PLANNED)}")
        for (state, following), events in sorted(changes.items(), key=lambda change: OPEN.index(change[0][0])):
            lines.append(f"    {_name(state)} --> {_name(following)} : {'<br>'.join(events)}")
        lines += [f"    {_name(state)} --> [*]" for state in ends]
        return "\n".join([*lines, "```"])


def _name(state: CallState) -> str:
    return state.replace(" ", "_")


class Machine:
    """The state of one call. Nothing else sets it."""

    def __init__(self, table: TransitionTable, state: CallState = S.PLANNED) -> None:
        """``state``: the state in the ledger."""
        self._table = table
        self._state = state

    @property
    def state(self) -> CallState:
        """The state now."""
        return self._state

    def take(self, event: CallEvent) -> CallAction:
        """Change the state; return the action to take. Raises LookupError if the table has no such pair."""
        try:
            self._state, action = self._table.rows[self._state, event]
        except KeyError:
            raise LookupError(f"a {self._table.of} that is {self._state} cannot meet: {event}") from None
        return action


def stay(states: Iterable[CallState], actions: dict[CallEvent, CallAction]) -> Rows:
    """Rows that do not change the state."""
    return {(state, event): (state, action) for state in states for event, action in actions.items()}


def move(states: Iterable[CallState], to: dict[CallEvent, tuple[CallState, CallAction]]) -> Rows:
    """Rows that lead from several states to the same state and action."""
    return {(state, event): row for state in states for event, row in to.items()}


# Rows that all three tables have
OF_EVERY_CALL: Final[Rows] = {
    **stay(
        OPEN,
        {
            E.READ_THROTTLED: A.POLL_LATER,
            E.READ_LOST: A.POLL_LATER,
            E.READS_EXHAUSTED: A.LEAVE_UNRESOLVED,
            E.LOCKED_TOO_LONG: A.LEAVE_UNRESOLVED,
            E.GONE: A.ASK_STORE,
            E.STORE_GONE: A.HALT,
            E.SYSTEMIC: A.HALT,
        },
    ),
    # a call that may have been carried out does not count as failed before its outcome is known
    **move(SURELY_NOT_MADE, {E.READ_REFUSED: (S.FAILED, A.COMPLETE)}),
    **stay(PERHAPS_MADE, {E.READ_REFUSED: A.LEAVE_UNRESOLVED}),
    # the run stops: a call that is surely not under way is planned again
    **stay((S.PLANNED, *PERHAPS_MADE), {E.WITHDRAWN: A.NOTHING}),
    **stay(PERHAPS_MADE, {E.WITHDRAWN_DENIED: A.NOTHING}),
    (S.PLANNED, E.WITHDRAWN_DENIED): (S.PLANNED, A.RECORD),
    (S.INTENDED, E.WITHDRAWN): (S.PLANNED, A.RECORD),
    (S.INTENDED, E.WITHDRAWN_DENIED): (S.PLANNED, A.RECORD),
    (S.PLANNED, E.OPENED): (S.PLANNED, A.START),
    (S.PLANNED, E.SENDING): (S.INTENDED, A.RECORD),
    (S.PLANNED, E.EARLIER_CONFLICTED): (S.CONFLICTED, A.COMPLETE),
    (S.PLANNED, E.EARLIER_REJECTED): (S.REJECTED, A.COMPLETE),
    (S.PLANNED, E.EARLIER_FAILED): (S.FAILED, A.COMPLETE),
    (S.PLANNED, E.EXHAUSTED_BY_FAILURES): (S.FAILED, A.COMPLETE),
    (S.INTENDED, E.DENIED): (S.FAILED, A.COMPLETE),
    (S.INTENDED, E.UNKNOWN): (S.FAILED, A.COMPLETE),
    (S.INTENDED, E.EXHAUSTED): (S.FAILED, A.COMPLETE),
    (S.OUTCOME_UNKNOWN, E.EXHAUSTED): (S.OUTCOME_UNKNOWN, A.LEAVE_UNRESOLVED),
}
# answers to a write that was not carried out
NOT_CARRIED_OUT: Final = {
    E.THROTTLED: A.SEND_AGAIN,
    E.TOO_MANY: A.SEND_AGAIN,
    E.STALE: A.POLL,
    E.CONFLICT: A.POLL,  # locked or stale
    E.NOT_FOUND: A.POLL,  # gone, or stale with another message
}
_ANOTHER_WRITER: Final = {E.OTHER_WRITER: (S.PLANNED, A.START_NOW), E.KEEP_OUT: (S.CONFLICTED, A.COMPLETE)}
_REFUSED: Final = {
    E.REFUSED: (S.REJECTED, A.COMPLETE),
    E.REFUSED_SEVERAL: (S.SPLIT, A.SPLIT),
    E.REFUSED_STORED_VALUE: (S.PLANNED, A.START_WITH_EMPTY_VALUE),
}

CALLS: Final = TransitionTable(
    "call",
    {
        # No request was sent. The image set is polled first, unless its version is known.
        (S.PLANNED, E.LOCKED): (S.PLANNED, A.POLL_LATER),  # by another writer
        (S.PLANNED, E.AT_EXPECTED): (S.PLANNED, A.SEND),
        (S.PLANNED, E.ABSENT): (S.REJECTED, A.COMPLETE),
        # The metadata was read, because a removal names the stored value.
        (S.PLANNED, E.NOTHING_TO_REMOVE): (S.SKIPPED, A.COMPLETE),
        (S.PLANNED, E.REFUSED): (S.REJECTED, A.COMPLETE),  # its series or instance does not exist
        (S.PLANNED, E.REFUSED_SEVERAL): (S.SPLIT, A.SPLIT),
        # A request was sent. If intended, no earlier one with this expected version can have been applied.
        **stay(SENT, {E.SENDING: A.NOTHING, **NOT_CARRIED_OUT}),
        **move(SENT, {E.ACCEPTED: (S.ACCEPTED, A.POLL_LATER)}),  # an earlier, lost one can no longer succeed
        **stay(SENT, {E.INVALID: A.POLL}),  # perhaps because an earlier one was carried out
        **move(SENT, {E.LOST: (S.OUTCOME_UNKNOWN, A.POLL)}),
        **stay(SENT, {E.LOCKED: A.POLL_LATER}),  # perhaps by an earlier one
        # A study-wide call was refused, in this process or in an earlier one.
        **stay((S.PLANNED, *SENT), {E.SIBLING_LOCKED: A.POLL_LATER}),
        **stay(SENT, {E.AT_EXPECTED: A.SEND_AGAIN, E.AT_EXPECTED_ONCE: A.POLL_LATER}),
        **move(SENT, _REFUSED),
        (S.INTENDED, E.OPENED): (S.OUTCOME_UNKNOWN, A.POLL),  # it may have been sent, and may still arrive
        (S.INTENDED, E.ABSENT): (S.REJECTED, A.COMPLETE),
        # A request with this expected version may have been applied, or may still arrive.
        **stay((S.OUTCOME_UNKNOWN,), {E.OPENED: A.POLL, E.DENIED: A.POLL, E.UNKNOWN: A.POLL}),
        **stay((S.OUTCOME_UNKNOWN,), {E.REACHED: A.COMPARE, E.PASSED: A.COMPARE}),
        # another writer's or ours: nothing was applied, and no lost request can succeed any more
        (S.OUTCOME_UNKNOWN, E.FAILED_REQUEST): (S.PLANNED, A.START_LATER),
        (S.OUTCOME_UNKNOWN, E.FAILED_SERVICE): (S.PLANNED, A.START_LATER),
        (S.OUTCOME_UNKNOWN, E.EXHAUSTED_BY_FAILURES): (S.FAILED, A.COMPLETE),
        (S.OUTCOME_UNKNOWN, E.NOTHING_TO_REMOVE): (S.SKIPPED, A.COMPLETE),
        (S.OUTCOME_UNKNOWN, E.ABSENT): (S.FAILED, A.COMPLETE),
        # The service has accepted the request and named the version that it will make.
        **stay((S.ACCEPTED,), {E.OPENED: A.POLL, E.LOCKED: A.POLL_LATER}),
        (S.ACCEPTED, E.AT_EXPECTED): (S.ACCEPTED, A.POLL_LATER),  # a read that lags behind
        (S.ACCEPTED, E.REACHED): (S.APPLIED, A.CLAIM),
        (S.ACCEPTED, E.REACHED_UNSURE): (S.ACCEPTED, A.COMPARE),
        (S.ACCEPTED, E.PASSED): (S.ACCEPTED, A.POLL_OWN_VERSION),
        (S.ACCEPTED, E.FAILED_SERVICE): (S.PLANNED, A.START_LATER),
        **move((S.ACCEPTED,), _REFUSED),
        (S.ACCEPTED, E.ABSENT): (S.FAILED, A.COMPLETE),
        # Both: the version after the expected one was read.
        **move(PERHAPS_MADE, {E.OURS: (S.APPLIED, A.CLAIM)}),
        # no version is claimed: to revert it could undo another writer's change
        **move(PERHAPS_MADE, {E.UNCHANGED: (S.APPLIED, A.COMPLETE)}),
        **move(PERHAPS_MADE, {E.FAILED_KEPT: (S.OUTCOME_UNKNOWN, A.RECORD_AND_SEND_AGAIN)}),
        # If another writer made the version, a lost request can never succeed, and an accepted one has failed.
        **move(OPEN, _ANOTHER_WRITER),
        **OF_EVERY_CALL,
    },
)

QUOTA: Final = frozenset({E.THROTTLED, E.TOO_MANY, E.READ_THROTTLED})
FAILURES: Final = frozenset({E.FAILED_REQUEST, E.FAILED_SERVICE, E.FAILED_KEPT, E.COPY_FAILED_SERVICE})
_ANSWERS: Final = {
    Refusal.THROTTLED: E.THROTTLED,
    Refusal.TOO_MANY: E.TOO_MANY,
    Refusal.STALE: E.STALE,
    Refusal.CONFLICT: E.CONFLICT,
    Refusal.NOT_FOUND: E.NOT_FOUND,
    Refusal.INVALID: E.INVALID,
    Refusal.ACCESS_DENIED: E.DENIED,
    Refusal.CREDENTIALS: E.SYSTEMIC,
    Refusal.UNTRUSTED: E.SYSTEMIC,
    Refusal.UNKNOWN: E.UNKNOWN,
}
_READS: Final = {
    Refusal.THROTTLED: E.READ_THROTTLED,
    Refusal.TOO_MANY: E.READ_THROTTLED,
    Refusal.CONFLICT: E.READ_LOST,  # "metadata is still being processed"
    Refusal.STALE: E.GONE,
    Refusal.NOT_FOUND: E.GONE,
    Refusal.INVALID: E.READ_REFUSED,
    Refusal.ACCESS_DENIED: E.READ_REFUSED,
    Refusal.CREDENTIALS: E.SYSTEMIC,
    Refusal.UNTRUSTED: E.SYSTEMIC,
    Refusal.UNKNOWN: E.READ_REFUSED,
}


def of_answer(reply: Accepted | Copied | Deleting | Refused | Lost) -> CallEvent:
    """The event of an answer to a write."""
    if isinstance(reply, Refused):
        return _ANSWERS[reply.kind]
    return E.LOST if isinstance(reply, Lost) else E.ACCEPTED


def of_failed_read(reply: Refused | Lost) -> CallEvent:
    """The event of a read without a result."""
    return E.READ_LOST if isinstance(reply, Lost) else _READS[reply.kind]


def of_store(found: Datastore | Refused | Lost) -> CallEvent:
    """The event of GetDatastore, which is asked if an image set is gone."""
    if isinstance(found, Datastore):
        return E.ABSENT if found.status == "ACTIVE" else E.STORE_GONE
    event = of_failed_read(found)
    # after any refusal the data store cannot be assumed to exist
    return E.STORE_GONE if event in {E.GONE, E.READ_REFUSED} else event


def of_first_poll(found: ImageSet, *, expected: bool, behind: bool) -> CallEvent:
    """The event of a poll of the latest version before the call's request is sent.

    ``expected``: the poll found the version that the call must follow or that its row names. ``behind``: the run has
    made newer versions, which the poll does not show yet.
    """
    if found.state is ImageSetState.DELETED:
        return E.GONE
    if found.state is ImageSetState.LOCKED or behind:
        return E.LOCKED
    return E.AT_EXPECTED if expected else E.OTHER_WRITER


def of_poll(
    found: ImageSet, *, state: CallState, expected: int, expected_updated_at: float | None = None, reused: bool = False
) -> CallEvent:
    """The event of a poll after a request was sent: of the latest version, or of the call's own version.

    ``expected``: the version that the request named. ``expected_updated_at``: its update time (epoch seconds) in the
    last poll before the request, so that an earlier failed update is not mistaken for ours. ``reused``: the service
    gives the number of a failed update to the next one.
    """
    if found.state is ImageSetState.DELETED:
        return E.GONE
    if found.version == expected:
        return _at_expected(found, state, expected_updated_at)
    if found.version < expected:
        return E.LOCKED  # a read that lags behind
    if state is S.INTENDED:  # all requests were refused, so another writer made the newer version
        return E.LOCKED if found.state is ImageSetState.LOCKED else E.OTHER_WRITER
    return E.PASSED if found.version > expected + 1 else _at_own_version(found, state, reused=reused)


def _at_own_version(found: ImageSet, state: CallState, *, reused: bool) -> CallEvent:
    if found.state is ImageSetState.LOCKED:
        return E.LOCKED
    if found.failed:
        return of_failure(found.message)
    return E.REACHED_UNSURE if reused and state is S.ACCEPTED else E.REACHED


def _at_expected(found: ImageSet, state: CallState, expected_updated_at: float | None) -> CallEvent:
    if found.state is ImageSetState.LOCKED:
        return E.LOCKED
    failed_since = found.failed and (expected_updated_at is None or found.updated_at != expected_updated_at)
    if state is S.ACCEPTED and failed_since:
        return of_failure(found.message)  # failed updates use no version number in this service
    return E.AT_EXPECTED


# list-image-set-versions shows "INVALID_REQUEST:  Series of …" if the request was at fault
_REQUEST_FAULT: Final = "INVALID_REQUEST"


def of_failure(message: str) -> CallEvent:
    """Whether the request or the service caused an UPDATE_FAILED; without a message, the request."""
    ours = not message or message.lstrip().startswith(_REQUEST_FAULT)
    return E.FAILED_REQUEST if ours else E.FAILED_SERVICE


def of_other_writer(*, may_follow: bool) -> CallEvent:
    """Another writer was first. ``may_follow``: row and policy allow the call to follow it."""
    return E.OTHER_WRITER if may_follow else E.KEEP_OUT


def of_refusal(*, several: bool, other_value: bool) -> CallEvent:
    """The request cannot succeed.

    ``several``: it carries several edits; ``other_value``: its removal can be sent with another value.
    """
    if several:
        return E.REFUSED_SEVERAL
    return E.REFUSED_STORED_VALUE if other_value else E.REFUSED


def of_failed_update(event: CallEvent, state: CallState, *, several: bool, other_value: bool, kept: bool) -> CallEvent:
    """Refine the event of a failed update, or of a request that is invalid at its expected version.

    ``kept``: the failed update used no version number, so an earlier request may still arrive and succeed.
    """
    if event is E.INVALID_AT_EXPECTED or (event is E.FAILED_REQUEST and state is S.ACCEPTED):
        return of_refusal(several=several, other_value=other_value)
    return E.FAILED_KEPT if event in FAILURES and kept else event


def of_exhaustion(event: CallEvent) -> CallEvent:
    """The event if no more attempts are allowed."""
    if event is E.READ_LOST:
        return E.READS_EXHAUSTED
    return E.EXHAUSTED_BY_FAILURES if event in FAILURES else E.EXHAUSTED
