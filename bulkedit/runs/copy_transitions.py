"""What happens next to the copies and deletions of --via-copy: two tables from (state, event) to next state and action.

A primary image set is changed by way of a copy for what the service does not do in place: copy the original, edit the
copy, promote the copy to a new primary image set, delete what is no longer needed. The edits are ordinary updates and
follow the table of `bulkedit.runs.transitions`. Copies and deletions are other writes than updates:

1.  A copy makes no version of its source, so its expected version does not keep a repeat from making a second copy.
    After a lost answer, the image sets that are there tell: those of the series are listed before the request leaves,
    and that list is as durable as the intent. If an image set of the series is new since, holds what the source holds,
    and is primary or not as was asked for, the lost request has made it. If several are new, nothing tells them apart,
    and the call is left unresolved with all of them named.
2.  A lost request may still be on its way, and what it makes is not found by a search before it is whole. AWS refuses a
    request whose signature is older than some minutes, so the list is made once `LATEST_S` have gone by since the
    request left and its source is unlocked: then all is there that will ever be, and what is not there may be sent
    again. It costs a lane some minutes, and no other lane any.
3.  A copy counts as made only when it was read back and holds what its source holds. What is promoted is read back
    so too, before the edits count as applied and before anything is deleted.
4.  A deletion names no version. Right before it leaves (when the quota has room for it, not when it is queued), the
    promoted image set is polled, and the image set that is to be deleted must be at the very version that was copied
    from it: what another writer has changed since is not deleted. A repeat does no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.client.responses import CallState, ImageSet, ImageSetState
from bulkedit.plans import CopyStep
from bulkedit.runs import transitions
from bulkedit.runs.transitions import (
    NOT_CARRIED_OUT,
    OF_EVERY_CALL,
    PERHAPS_MADE,
    SENT,
    A,
    CallEvent,
    E,
    S,
    TransitionTable,
    move,
    stay,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulkedit.runs.ledger import Part

NOT_PROMOTED: Final = "in a copy that is not promoted"
WELL: Final = frozenset({CallState.APPLIED, CallState.SKIPPED})
LATEST_S: Final = 600.0  # SigV4: a signature is good for 5 minutes, and the clocks are apart by 5 at most

COPIES: Final = TransitionTable(
    "copy",
    {
        # Each request of a copy is recorded: until when it may arrive is counted from there.
        **move(SENT, {E.SENDING: (S.INTENDED, A.RECORD)}),
        (S.PLANNED, E.LOCKED): (S.PLANNED, A.POLL_LATER),
        (S.PLANNED, E.AT_EXPECTED): (S.PLANNED, A.READ_SOURCE),
        (S.PLANNED, E.OTHER_WRITER): (S.PLANNED, A.START_NOW),  # copy what the source holds now
        (S.PLANNED, E.KEEP_OUT): (S.CONFLICTED, A.COMPLETE),
        (S.PLANNED, E.REFUSED): (S.REJECTED, A.COMPLETE),  # its series is unknown
        (S.PLANNED, E.ABSENT): (S.REJECTED, A.COMPLETE),
        # A request is out, and no other of this call can have been carried out.
        (S.INTENDED, E.OPENED): (S.OUTCOME_UNKNOWN, A.WAIT_OUT),
        (S.INTENDED, E.ACCEPTED): (S.ACCEPTED, A.POLL_COPY),
        (S.INTENDED, E.INVALID): (S.REJECTED, A.COMPLETE),
        (S.INTENDED, E.LOST): (S.OUTCOME_UNKNOWN, A.WAIT_OUT),
        **stay((S.INTENDED,), {**NOT_CARRIED_OUT, E.LOCKED: A.POLL_LATER, E.AT_EXPECTED: A.SEND_AGAIN}),
        (S.INTENDED, E.OTHER_WRITER): (S.PLANNED, A.START_NOW),
        (S.INTENDED, E.KEEP_OUT): (S.CONFLICTED, A.COMPLETE),
        (S.INTENDED, E.ABSENT): (S.REJECTED, A.COMPLETE),
        # There may be a copy, or it may still be made.
        **stay((S.OUTCOME_UNKNOWN,), {E.OPENED: A.WAIT_OUT, E.LOCKED: A.POLL_LATER}),  # perhaps by our own copy
        **stay((S.OUTCOME_UNKNOWN,), {E.AT_EXPECTED: A.LIST, E.PASSED: A.LIST}),
        (S.OUTCOME_UNKNOWN, E.ABSENT): (S.FAILED, A.COMPLETE),
        (S.OUTCOME_UNKNOWN, E.NONE_NEW): (S.OUTCOME_UNKNOWN, A.SEND_AGAIN),
        (S.OUTCOME_UNKNOWN, E.OTHER_WRITER): (S.PLANNED, A.START_NOW),  # and nothing is new
        (S.OUTCOME_UNKNOWN, E.KEEP_OUT): (S.CONFLICTED, A.COMPLETE),
        (S.OUTCOME_UNKNOWN, E.ONE_NEW): (S.OUTCOME_UNKNOWN, A.POLL_COPY),
        (S.OUTCOME_UNKNOWN, E.SEVERAL_NEW): (S.OUTCOME_UNKNOWN, A.LEAVE_UNRESOLVED),
        (S.OUTCOME_UNKNOWN, E.COPY_FAILED_REQUEST): (
            S.OUTCOME_UNKNOWN,
            A.PASS_OVER,
        ),  # no matter whose it was, it holds nothing
        (S.OUTCOME_UNKNOWN, E.COPY_FAILED_SERVICE): (S.OUTCOME_UNKNOWN, A.PASS_OVER),
        (S.OUTCOME_UNKNOWN, E.COPY_GONE): (S.OUTCOME_UNKNOWN, A.PASS_OVER),
        (S.OUTCOME_UNKNOWN, E.DIFFERENT): (
            S.OUTCOME_UNKNOWN,
            A.LEAVE_UNRESOLVED,
        ),  # another's, or ours and changed by another
        # The service has taken the request and named the new image set.
        (S.ACCEPTED, E.OPENED): (S.ACCEPTED, A.POLL_COPY),
        (S.ACCEPTED, E.COPY_FAILED_REQUEST): (S.REJECTED, A.COMPLETE),
        (S.ACCEPTED, E.COPY_FAILED_SERVICE): (S.PLANNED, A.START_LATER),
        (S.ACCEPTED, E.COPY_GONE): (S.ACCEPTED, A.POLL_LATER),  # a read that lags behind
        (S.ACCEPTED, E.KEEP_OUT): (S.CONFLICTED, A.COMPLETE),  # it holds something else
        (S.ACCEPTED, E.ABSENT): (S.FAILED, A.COMPLETE),
        # Of both: the new image set.
        **stay(PERHAPS_MADE, {E.COPY_LOCKED: A.POLL_LATER, E.COPY_ENDED: A.COMPARE_COPY}),
        **move(PERHAPS_MADE, {E.SAME: (S.APPLIED, A.CLAIM)}),
        **OF_EVERY_CALL,
    },
)

DELETIONS: Final = TransitionTable(
    "deletion",
    {
        # The polls of these two states are those right before the deletion: nothing has left yet.
        (S.INTENDED, E.UNSAFE): (S.FAILED, A.COMPLETE),
        (S.OUTCOME_UNKNOWN, E.UNSAFE): (S.OUTCOME_UNKNOWN, A.LEAVE_UNRESOLVED),
        **stay(SENT, {E.SENDING: A.NOTHING, **NOT_CARRIED_OUT}),
        **move(SENT, {E.ACCEPTED: (S.ACCEPTED, A.POLL_LATER), E.INVALID: (S.REJECTED, A.COMPLETE)}),
        **move(SENT, {E.LOST: (S.OUTCOME_UNKNOWN, A.POLL), E.OPENED: (S.OUTCOME_UNKNOWN, A.POLL)}),
        **stay((S.OUTCOME_UNKNOWN,), {E.DENIED: A.POLL, E.UNKNOWN: A.POLL}),
        **stay(SENT, {E.LOCKED: A.POLL_LATER, E.AT_EXPECTED: A.SEND_AGAIN}),
        **move(SENT, {E.KEEP_OUT: (S.CONFLICTED, A.COMPLETE)}),
        **stay((S.ACCEPTED,), {E.OPENED: A.POLL, E.LOCKED: A.POLL_LATER}),
        **stay((S.ACCEPTED,), {E.AT_EXPECTED: A.POLL_LATER, E.PASSED: A.POLL_LATER}),  # reads that lag behind
        **move((*SENT, S.ACCEPTED), {E.ABSENT: (S.APPLIED, A.CLAIM)}),
        **OF_EVERY_CALL,
    },
)


def table_of(copy_step: str | None) -> TransitionTable:
    """The table that a call follows. ``copy_step``: of `bulkedit.plans.PlannedCall`."""
    if copy_step is None or copy_step == CopyStep.EDIT:
        return transitions.CALLS
    return DELETIONS if copy_step in {CopyStep.DELETE_ORIGINAL, CopyStep.DELETE_COPY} else COPIES


def of_source(found: ImageSet, expected: int | None) -> CallEvent:
    """What a poll of the image set that is copied or deleted means; ``expected`` is None before there is one."""
    if found.state is ImageSetState.DELETED:
        return E.GONE
    if found.state is ImageSetState.LOCKED:
        return E.LOCKED
    return E.AT_EXPECTED if expected is None or found.version == expected else E.PASSED


def of_made(found: ImageSet, *, promoted: bool) -> CallEvent:
    """What a poll of the new image set means."""
    if found.state is ImageSetState.DELETED:
        return E.COPY_GONE
    if found.state is ImageSetState.LOCKED:
        return E.COPY_LOCKED
    if found.failed:
        ours = transitions.of_failure(found.message) is E.FAILED_REQUEST
        return E.COPY_FAILED_REQUEST if ours else E.COPY_FAILED_SERVICE
    if found.primary is not None and found.primary is not promoted:
        return E.DIFFERENT
    return E.COPY_ENDED


def of_new(new: int) -> CallEvent:
    """What a list of the series means with so many new image sets in it."""
    return E.NONE_NEW if new == 0 else E.ONE_NEW if new == 1 else E.SEVERAL_NEW


def of_changed(
    event: CallEvent, table: TransitionTable, state: CallState, *, moved: bool, may_follow: bool
) -> CallEvent:
    """Whether an event says that another writer was first, so that the call has to start again or to end.

    ``moved``: the source is past the version that is copied; ``may_follow``: the policy allows to copy the newer one.
    """
    if table is DELETIONS:
        return E.KEEP_OUT if event is E.PASSED and state in SENT else event
    if event is E.DIFFERENT and state is S.ACCEPTED:
        return E.KEEP_OUT
    first = (event is E.PASSED and state is not S.OUTCOME_UNKNOWN) or (event is E.NONE_NEW and moved)
    return transitions.of_other_writer(may_follow=may_follow) if first else event


def is_there(promoted: ImageSet) -> bool:
    """Whether a poll shows that a promoted image set is there for good."""
    return promoted.state is ImageSetState.ACTIVE and not promoted.failed and promoted.primary is not False


def promotions(calls: pl.LazyFrame, parts: Iterable[Part]) -> pl.DataFrame:
    """The promotion that gives the edits of a call their outcome: call, promote and copy, each UInt32.

    An edit that is in a copy is nobody's before the copy is promoted. ``calls``: `bulkedit.plans.CALLS`; the result
    has a row for each call of a recipe that carries edits, and for each part (parents first) of such a call. ``copy``
    is the call that makes the copy.
    """
    steps = calls.filter(pl.col("copy_step").is_not_null()).select("call", "lane", "copy_step").collect()
    promote = steps.filter(pl.col("copy_step") == CopyStep.PROMOTE).select("lane", promote="call")
    copy = steps.filter(pl.col("copy_step") == CopyStep.COPY).select("lane", copy="call")
    carried = steps.filter(pl.col("copy_step") == CopyStep.EDIT)
    planned = carried.join(promote, on="lane").join(copy, on="lane").select("call", "promote", "copy")
    of = {call: (promotion, copy) for call, promotion, copy in planned.iter_rows()}
    for part in parts if of else ():
        if part.parent in of:
            of[part.call] = of[part.parent]
    rows = [(call, *steps) for call, steps in of.items()]
    return pl.DataFrame(rows, schema=dict.fromkeys(("call", "promote", "copy"), pl.UInt32), orient="row")
