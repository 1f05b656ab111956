"""What happens next to a call: one table from (state, event) to the next state and the action.

A call of UpdateImageSetMetadata is a conditional, asynchronous write: it names the version that it takes for the
latest (its *expected version*), and its effect becomes the next version. Three facts make exactly-once effect
reachable:

1.  Of all requests with one expected version, at most one can be accepted. So a request whose answer was lost may be
    sent again with the same expected version, as long as that is the latest, even if the lost one arrives late.
2.  A request can only have become the version right after the expected one. So once the image set has moved on, the
    content of that one version tells whether it was ours; afterwards the old request can never win.
3.  The intent (call, expected version, digest) is durable before the request leaves. So after a crash the same
    questions can be asked as after a lost answer: if a run is resumed, the outcome of an *intended* call is unknown.

What the service says is therefore never a guess about what it did. Throttles (429, 402) mean that nothing happened.
A stale version (404 with the observed words, perhaps 409) and a conflict (409: locked) are neither failures nor
reasons to repeat: they lead to a poll of the image set. So does an invalid request: a service that checks the content
before the version says so of a request that would be stale, because it was made already or because of what another
writer has made. Only a request that is invalid at its expected version, an update that failed for a reason in the
request, or an image set that does not exist is the edit's own fault.

If a decision needs data (the policy, the number of attempts), a function makes an event of its own of that first. So
the table is constant. Only `Machine` sets the state of a call. A pair that is not in the table cannot occur; meeting it
is a defect, and `Machine.take` says which pair it was. `bulkedit.runs.copy_transitions` has the tables of copies and
deletions.
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
    """What has happened to a call, a copy or a deletion, as seen from its state."""

    # of this process
    OPENED = "taken up"
    SENDING = "request leaves"
    WITHDRAWN = "run stopped"
    WITHDRAWN_DENIED = "run stopped after a denial"
    EARLIER_CONFLICTED = "earlier call conflicted"  # and it builds on that
    EARLIER_REJECTED = "earlier step rejected"
    EARLIER_FAILED = "earlier step failed"
    # answers to the write itself
    ACCEPTED = "accepted"
    THROTTLED = "throttled"
    TOO_MANY = "too many in flight"
    STALE = "stale version"
    CONFLICT = "conflict"
    NOT_FOUND = "not found"
    INVALID = "invalid"  # at its expected version, or at a newer one
    DENIED = "access denied"  # of this image set: the engine tells it from a denial of all
    UNKNOWN = "unknown refusal"
    LOST = "answer lost"
    # polls of the image set that is changed, copied or deleted
    LOCKED = "locked"
    AT_EXPECTED = "at the expected version"  # nothing newer
    AT_EXPECTED_ONCE = "at the expected version, after an invalid request"  # reads may lag behind writes
    INVALID_AT_EXPECTED = "invalid at the expected version"  # as the polls after an invalid request have shown
    REACHED = "at its own version"  # the version that the call was to make is there, and its update succeeded
    REACHED_UNSURE = "at its own version, perhaps another's"  # the same, of a service that gives a number twice
    FAILED_REQUEST = "update failed by its request"
    FAILED_SERVICE = "update failed by the service"
    FAILED_KEPT = "update failed and used no version"  # so a lost request with the same expected version may win yet
    PASSED = "past its own version"  # there are newer versions
    GONE = "gone"  # or the whole data store is
    ABSENT = "gone from a data store that is there"
    STORE_GONE = "its data store is gone"
    # what the version after the expected one holds (after a COMPARE)
    OURS = "ours"
    UNCHANGED = "unchanged, and already as asked for"  # so nobody can tell who made it
    # another writer was first
    OTHER_WRITER = "another writer"  # and the call may go on
    KEEP_OUT = "another writer, to be left alone"  # the row names a version, or the policy says stop
    # the request cannot succeed
    REFUSED = "refused"
    REFUSED_SEVERAL = "refused, of several edits"  # some may be innocent: each is to have an outcome of its own
    REFUSED_STORED_VALUE = "refused with the stored value"  # of a removal: the service may want the empty one
    NOTHING_TO_REMOVE = "nothing to remove"
    # image sets of the series that were not there before the copy
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
    # reads that told nothing
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
    """What to do about an event."""

    NOTHING = "nothing"
    RECORD = "record"  # write the new state to the ledger, before the request leaves
    START = "start"  # from the first poll on
    SEND = "send"  # now, with the latest version as the expected one
    SEND_AGAIN = "send again"  # same request, after a wait: nothing happened, or at most one of the two can win
    RECORD_AND_SEND_AGAIN = "record and send again"
    START_NOW = "record and start"
    START_LATER = "record and start after a wait"  # the version that is the latest then has the content of the old one
    START_WITH_EMPTY_VALUE = "record and start with the empty value"
    POLL = "poll"  # GetImageSet, now
    POLL_OWN_VERSION = "poll its own version"  # by its number: its status tells what became of the update
    POLL_LATER = "poll later"  # GetImageSet, after a wait that holds no worker
    COMPARE = "compare"  # the content of the version after the expected one tells ours from another writer's
    ASK_STORE = "ask for the data store"  # an image set that is gone is one thing, a data store that is gone another
    CLAIM = "complete"  # with the version that was made
    COMPLETE = "complete with a reason"
    SPLIT = "split"  # its parts go on
    LEAVE_UNRESOLVED = "leave unresolved"  # the lane ends here; a later process polls again
    HALT = "halt"  # stop the run
    # of copies
    READ_SOURCE = "read the source"  # then list the image sets of the series, then send
    WAIT_OUT = "wait out"  # until the request that was lost can no longer be carried out; then poll
    LIST = "list"  # the image sets of the series: is one of them new?
    POLL_COPY = "poll the copy"
    COMPARE_COPY = "compare the copy"  # with the metadata of its source
    PASS_OVER = "pass over"  # noqa: S105 - no password; a new image set that is not what the call made; list again


S, E, A = CallState, CallEvent, CallAction
Rows = dict[tuple[CallState, CallEvent], tuple[CallState, CallAction]]
OPEN: Final = (S.PLANNED, S.INTENDED, S.OUTCOME_UNKNOWN, S.ACCEPTED)
SURELY_NOT_MADE: Final = (S.PLANNED, S.INTENDED)
PERHAPS_MADE: Final = (S.OUTCOME_UNKNOWN, S.ACCEPTED)
SENT: Final = (S.INTENDED, S.OUTCOME_UNKNOWN)  # a request is out, or was


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
        """Begin with the state that the ledger has."""
        self._table = table
        self._state = state

    @property
    def state(self) -> CallState:
        """The state now."""
        return self._state

    def take(self, event: CallEvent) -> CallAction:
        """Go to the next state; what to do now. Raises LookupError for a pair that cannot occur."""
        try:
            self._state, action = self._table.rows[self._state, event]
        except KeyError:
            raise LookupError(f"a {self._table.of} that is {self._state} cannot meet: {event}") from None
        return action


def stay(states: Iterable[CallState], actions: dict[CallEvent, CallAction]) -> Rows:
    """Rows that leave the state as it is."""
    return {(state, event): (state, action) for state in states for event, action in actions.items()}


def move(states: Iterable[CallState], to: dict[CallEvent, tuple[CallState, CallAction]]) -> Rows:
    """Rows that are the same for several states."""
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
    # a call that may have been made does not count as failed before that is known
    **move(SURELY_NOT_MADE, {E.READ_REFUSED: (S.FAILED, A.COMPLETE)}),
    **stay(PERHAPS_MADE, {E.READ_REFUSED: A.LEAVE_UNRESOLVED}),
    # nothing more is sent: what is surely not under way is planned again
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
# What an answer to a write means if nothing was carried out
NOT_CARRIED_OUT: Final = {
    E.THROTTLED: A.SEND_AGAIN,
    E.TOO_MANY: A.SEND_AGAIN,
    E.STALE: A.POLL,
    E.CONFLICT: A.POLL,  # locked, or stale under another name
    E.NOT_FOUND: A.POLL,  # gone, or stale with other words
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
        # Before the first request the image set is polled, unless its version is known.
        (S.PLANNED, E.LOCKED): (S.PLANNED, A.POLL_LATER),  # by another writer
        (S.PLANNED, E.AT_EXPECTED): (S.PLANNED, A.SEND),
        (S.PLANNED, E.ABSENT): (S.REJECTED, A.COMPLETE),
        # The metadata was read: for the stored values of what the call removes.
        (S.PLANNED, E.NOTHING_TO_REMOVE): (S.SKIPPED, A.COMPLETE),
        (S.PLANNED, E.REFUSED): (S.REJECTED, A.COMPLETE),  # its series or instance is not there
        (S.PLANNED, E.REFUSED_SEVERAL): (S.SPLIT, A.SPLIT),
        # A request is out. If intended, no earlier one with this expected version can have been applied.
        **stay(SENT, {E.SENDING: A.NOTHING, **NOT_CARRIED_OUT}),
        **move(SENT, {E.ACCEPTED: (S.ACCEPTED, A.POLL_LATER)}),  # if an earlier one was lost, it can not win now
        **stay(SENT, {E.INVALID: A.POLL}),  # perhaps because an earlier one was carried out
        **move(SENT, {E.LOST: (S.OUTCOME_UNKNOWN, A.POLL)}),
        **stay(SENT, {E.LOCKED: A.POLL_LATER}),  # perhaps by an earlier one
        **stay(SENT, {E.AT_EXPECTED: A.SEND_AGAIN, E.AT_EXPECTED_ONCE: A.POLL_LATER}),
        **move(SENT, _REFUSED),
        (S.INTENDED, E.OPENED): (S.OUTCOME_UNKNOWN, A.POLL),  # it may have left, or may still be on its way
        (S.INTENDED, E.ABSENT): (S.REJECTED, A.COMPLETE),
        # A request with this expected version may have been applied, or may still arrive.
        **stay((S.OUTCOME_UNKNOWN,), {E.OPENED: A.POLL, E.DENIED: A.POLL, E.UNKNOWN: A.POLL}),
        **stay((S.OUTCOME_UNKNOWN,), {E.REACHED: A.COMPARE, E.PASSED: A.COMPARE}),
        # no matter whose it was, nothing was applied, and no lost request can win any more
        (S.OUTCOME_UNKNOWN, E.FAILED_REQUEST): (S.PLANNED, A.START_LATER),
        (S.OUTCOME_UNKNOWN, E.FAILED_SERVICE): (S.PLANNED, A.START_LATER),
        (S.OUTCOME_UNKNOWN, E.EXHAUSTED_BY_FAILURES): (S.FAILED, A.COMPLETE),
        (S.OUTCOME_UNKNOWN, E.NOTHING_TO_REMOVE): (S.SKIPPED, A.COMPLETE),
        (S.OUTCOME_UNKNOWN, E.ABSENT): (S.FAILED, A.COMPLETE),
        # The service has taken the request; its version is promised.
        **stay((S.ACCEPTED,), {E.OPENED: A.POLL, E.LOCKED: A.POLL_LATER}),
        (S.ACCEPTED, E.AT_EXPECTED): (S.ACCEPTED, A.POLL_LATER),  # a read that lags behind
        (S.ACCEPTED, E.REACHED): (S.APPLIED, A.CLAIM),
        (S.ACCEPTED, E.REACHED_UNSURE): (S.ACCEPTED, A.COMPARE),
        (S.ACCEPTED, E.PASSED): (S.ACCEPTED, A.POLL_OWN_VERSION),
        (S.ACCEPTED, E.FAILED_SERVICE): (S.PLANNED, A.START_LATER),
        **move((S.ACCEPTED,), _REFUSED),
        (S.ACCEPTED, E.ABSENT): (S.FAILED, A.COMPLETE),
        # Of both: what the version after the expected one tells.
        **move(PERHAPS_MADE, {E.OURS: (S.APPLIED, A.CLAIM)}),
        **move(PERHAPS_MADE, {E.UNCHANGED: (S.APPLIED, A.COMPLETE)}),  # without a version: an undo would undo another's
        **move(PERHAPS_MADE, {E.FAILED_KEPT: (S.OUTCOME_UNKNOWN, A.RECORD_AND_SEND_AGAIN)}),
        # A lost request can never win once there is another writer's version. An accepted one has failed then.
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
    Refusal.CONFLICT: E.READ_LOST,  # "metadata is still being processed": later it is there
    Refusal.STALE: E.GONE,
    Refusal.NOT_FOUND: E.GONE,
    Refusal.INVALID: E.READ_REFUSED,
    Refusal.ACCESS_DENIED: E.READ_REFUSED,
    Refusal.CREDENTIALS: E.SYSTEMIC,
    Refusal.UNTRUSTED: E.SYSTEMIC,
    Refusal.UNKNOWN: E.READ_REFUSED,
}


def of_answer(reply: Accepted | Copied | Deleting | Refused | Lost) -> CallEvent:
    """What an answer to the write itself means."""
    if isinstance(reply, Refused):
        return _ANSWERS[reply.kind]
    return E.LOST if isinstance(reply, Lost) else E.ACCEPTED


def of_failed_read(reply: Refused | Lost) -> CallEvent:
    """What a read that brought nothing means."""
    return E.READ_LOST if isinstance(reply, Lost) else _READS[reply.kind]


def of_store(found: Datastore | Refused | Lost) -> CallEvent:
    """What the data store of an image set that is gone tells."""
    if isinstance(found, Datastore):
        return E.ABSENT if found.status == "ACTIVE" else E.STORE_GONE
    event = of_failed_read(found)
    # a refusal of any kind: nothing shows that the data store is there
    return E.STORE_GONE if event in {E.GONE, E.READ_REFUSED} else event


def of_first_poll(found: ImageSet, *, expected: bool, behind: bool) -> CallEvent:
    """What a poll of the latest version means before the call's request has left.

    ``expected``: it is the version that the call is to follow, or that its row names; ``behind``: the run itself has
    made newer versions, which this poll does not show yet.
    """
    if found.state is ImageSetState.DELETED:
        return E.GONE
    if found.state is ImageSetState.LOCKED or behind:
        return E.LOCKED
    return E.AT_EXPECTED if expected else E.OTHER_WRITER


def of_poll(
    found: ImageSet, *, state: CallState, expected: int, expected_updated_at: float | None = None, reused: bool = False
) -> CallEvent:
    """What a poll of the latest version (or, past it, of the call's own version) means once a request has left.

    ``expected`` is the version that the request named. ``expected_updated_at`` is when that was updated (epoch
    seconds), as the last poll before the request showed it, so that an old failure is not taken for ours; ``reused``:
    this service has been seen to give the number of a failed update to the next one.
    """
    if found.state is ImageSetState.DELETED:
        return E.GONE
    if found.version == expected:
        return _at_expected(found, state, expected_updated_at)
    if found.version < expected:
        return E.LOCKED  # a read that lags behind
    if state is S.INTENDED:  # all requests were refused: what is newer is another writer's, also if it has failed
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
        return of_failure(found.message)  # a service whose failed updates use no version up
    return E.AT_EXPECTED


# list-image-set-versions shows "INVALID_REQUEST:  Series of …" for what the request itself made impossible
_REQUEST_FAULT: Final = "INVALID_REQUEST"


def of_failure(message: str) -> CallEvent:
    """Whose fault an UPDATE_FAILED is; without words, the request's."""
    ours = not message or message.lstrip().startswith(_REQUEST_FAULT)
    return E.FAILED_REQUEST if ours else E.FAILED_SERVICE


def of_other_writer(*, may_follow: bool) -> CallEvent:
    """Another writer was first. ``may_follow``: row and policy allow to go on after it."""
    return E.OTHER_WRITER if may_follow else E.KEEP_OUT


def of_refusal(*, several: bool, other_value: bool) -> CallEvent:
    """The request cannot succeed. ``several``: edits share it; ``other_value``: its removal can be sent otherwise."""
    if several:
        return E.REFUSED_SEVERAL
    return E.REFUSED_STORED_VALUE if other_value else E.REFUSED


def of_failed_update(event: CallEvent, state: CallState, *, several: bool, other_value: bool, kept: bool) -> CallEvent:
    """What a failure, or a request that is invalid at its expected version, comes to.

    ``kept``: the service has kept the number of the version, and an earlier request with it may still arrive.
    """
    if event is E.INVALID_AT_EXPECTED or (event is E.FAILED_REQUEST and state is S.ACCEPTED):
        return of_refusal(several=several, other_value=other_value)
    return E.FAILED_KEPT if event in FAILURES and kept else event


def of_exhaustion(event: CallEvent) -> CallEvent:
    """An event may not be followed by one more attempt."""
    if event is E.READ_LOST:
        return E.READS_EXHAUSTED
    return E.EXHAUSTED_BY_FAILURES if event in FAILURES else E.EXHAUSTED
