"""The transition tables of the copies and deletions of --via-copy.

The service refuses some edits of a primary image set in place. With --via-copy the original is copied, the copy is
edited and promoted to a new primary image set, and image sets that are no longer needed are deleted. The edits are
ordinary updates and follow the table of `bulkedit.runs.transitions`. Copies and deletions differ from updates:

1.  A copy makes no version of its source, so the expected version does not prevent a second copy. Before the request
    is sent, the image sets of the series are listed, and the list is as durable as the intent. After a lost answer they
    are listed again. A single new image set with the content of its source, primary as requested, is the copy. If there
    are several new ones, the call is left unresolved and its message names them.
2.  A lost request may still arrive, and a search does not find an unfinished copy. AWS refuses requests with an old
    signature. So the second list is made `REQUEST_LIFETIME_S` after the request was sent, once the source is unlocked.
    If there is no copy then, there never will be, and the request may be sent again. Only this lane waits.
3.  A copy counts as made once its metadata was read and equals that of its source. The promoted image set is read too,
    before its edits count as applied and before anything is deleted.
4.  A deletion names no version. Both image sets are polled right before it is sent, when the quota has room for it. The
    promoted one must be active, and the other must still be at the version that was copied. So a later change of
    another writer is not deleted. To repeat a deletion does no harm.
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
SUCCEEDED: Final = frozenset({CallState.APPLIED, CallState.SKIPPED})
REQUEST_LIFETIME_S: Final = 600.0  # SigV4: a signature is valid for 5 minutes, and clocks may differ by 5 minutes

COPIES: Final = TransitionTable(
    "copy",
    {
        # Each request is recorded, because its lifetime starts when it is sent.
        **move(SENT, {E.SENDING: (S.INTENDED, A.RECORD)}),
        (S.PLANNED, E.LOCKED): (S.PLANNED, A.POLL_LATER),
        (S.PLANNED, E.AT_EXPECTED): (S.PLANNED, A.READ_SOURCE),
        (S.PLANNED, E.OTHER_WRITER): (S.PLANNED, A.START_NOW),  # copy the latest version
        (S.PLANNED, E.KEEP_OUT): (S.CONFLICTED, A.COMPLETE),
        (S.PLANNED, E.REFUSED): (S.REJECTED, A.COMPLETE),  # its series is unknown
        (S.PLANNED, E.ABSENT): (S.REJECTED, A.COMPLETE),
        # A request was sent, and no earlier one of this call can have been carried out.
        (S.INTENDED, E.OPENED): (S.OUTCOME_UNKNOWN, A.WAIT_OUT),
        (S.INTENDED, E.ACCEPTED): (S.ACCEPTED, A.POLL_COPY),
        (S.INTENDED, E.INVALID): (S.REJECTED, A.COMPLETE),
        (S.INTENDED, E.LOST): (S.OUTCOME_UNKNOWN, A.WAIT_OUT),
        **stay((S.INTENDED,), {**NOT_CARRIED_OUT, E.LOCKED: A.POLL_LATER, E.AT_EXPECTED: A.SEND_AGAIN}),
        (S.INTENDED, E.OTHER_WRITER): (S.PLANNED, A.START_NOW),
        (S.INTENDED, E.KEEP_OUT): (S.CONFLICTED, A.COMPLETE),
        (S.INTENDED, E.ABSENT): (S.REJECTED, A.COMPLETE),
        # There may be a copy, or the request may still make one.
        **stay((S.OUTCOME_UNKNOWN,), {E.OPENED: A.WAIT_OUT, E.LOCKED: A.POLL_LATER}),  # perhaps by our own copy
        **stay((S.OUTCOME_UNKNOWN,), {E.AT_EXPECTED: A.LIST, E.PASSED: A.LIST}),
        (S.OUTCOME_UNKNOWN, E.ABSENT): (S.FAILED, A.COMPLETE),
        (S.OUTCOME_UNKNOWN, E.NONE_NEW): (S.OUTCOME_UNKNOWN, A.SEND_AGAIN),
        (S.OUTCOME_UNKNOWN, E.OTHER_WRITER): (S.PLANNED, A.START_NOW),  # and there is no new image set
        (S.OUTCOME_UNKNOWN, E.KEEP_OUT): (S.CONFLICTED, A.COMPLETE),
        (S.OUTCOME_UNKNOWN, E.ONE_NEW): (S.OUTCOME_UNKNOWN, A.POLL_COPY),
        (S.OUTCOME_UNKNOWN, E.SEVERAL_NEW): (S.OUTCOME_UNKNOWN, A.LEAVE_UNRESOLVED),
        # another writer's or ours: a failed copy is empty
        (S.OUTCOME_UNKNOWN, E.COPY_FAILED_REQUEST): (S.OUTCOME_UNKNOWN, A.PASS_OVER),
        (S.OUTCOME_UNKNOWN, E.COPY_FAILED_SERVICE): (S.OUTCOME_UNKNOWN, A.PASS_OVER),
        (S.OUTCOME_UNKNOWN, E.COPY_GONE): (S.OUTCOME_UNKNOWN, A.PASS_OVER),
        # another writer made it, or has changed our copy
        (S.OUTCOME_UNKNOWN, E.DIFFERENT): (S.OUTCOME_UNKNOWN, A.LEAVE_UNRESOLVED),
        # The service has accepted the request and named the new image set.
        (S.ACCEPTED, E.OPENED): (S.ACCEPTED, A.POLL_COPY),
        (S.ACCEPTED, E.COPY_FAILED_REQUEST): (S.REJECTED, A.COMPLETE),
        (S.ACCEPTED, E.COPY_FAILED_SERVICE): (S.PLANNED, A.START_LATER),
        (S.ACCEPTED, E.COPY_GONE): (S.ACCEPTED, A.POLL_LATER),  # a read that lags behind
        (S.ACCEPTED, E.KEEP_OUT): (S.CONFLICTED, A.COMPLETE),  # its content differs from the source
        (S.ACCEPTED, E.ABSENT): (S.FAILED, A.COMPLETE),
        # Both: the new image set is polled.
        **stay(PERHAPS_MADE, {E.COPY_LOCKED: A.POLL_LATER, E.COPY_ENDED: A.COMPARE_COPY}),
        **move(PERHAPS_MADE, {E.SAME: (S.APPLIED, A.CLAIM)}),
        **OF_EVERY_CALL,
    },
)

DELETIONS: Final = TransitionTable(
    "deletion",
    {
        # These polls come right before the deletion, so no request was sent yet.
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
    """The table that a call follows. ``copy_step``: as in `bulkedit.plans.PlannedCall`."""
    if copy_step is None or copy_step == CopyStep.EDIT:
        return transitions.CALLS
    return DELETIONS if copy_step in {CopyStep.DELETE_ORIGINAL, CopyStep.DELETE_COPY} else COPIES


def of_source(found: ImageSet, expected: int | None) -> CallEvent:
    """The event of a poll of the source or of the image set to delete; ``expected``: None if not known yet."""
    if found.state is ImageSetState.DELETED:
        return E.GONE
    if found.state is ImageSetState.LOCKED:
        return E.LOCKED
    return E.AT_EXPECTED if expected is None or found.version == expected else E.PASSED


def of_made(found: ImageSet, *, promoted: bool) -> CallEvent:
    """The event of a poll of the new image set."""
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
    """The event of a list of the series with this number of new image sets."""
    return E.NONE_NEW if new == 0 else E.ONE_NEW if new == 1 else E.SEVERAL_NEW


def of_changed(
    event: CallEvent, table: TransitionTable, state: CallState, *, moved: bool, may_follow: bool
) -> CallEvent:
    """Refine an event that shows another writer's change, so that the call starts again or ends.

    ``moved``: the source has a newer version than the expected one; ``may_follow``: the policy allows copying that.
    """
    if table is DELETIONS:
        return E.KEEP_OUT if event is E.PASSED and state in SENT else event
    if event is E.DIFFERENT and state is S.ACCEPTED:
        return E.KEEP_OUT
    first = (event is E.PASSED and state is not S.OUTCOME_UNKNOWN) or (event is E.NONE_NEW and moved)
    return transitions.of_other_writer(may_follow=may_follow) if first else event


def is_there(promoted: ImageSet) -> bool:
    """Whether the promoted image set is active, primary and without a failed update."""
    return promoted.state is ImageSetState.ACTIVE and not promoted.failed and promoted.primary is not False


def promotions(calls: pl.LazyFrame, parts: Iterable[Part]) -> pl.DataFrame:
    """The promotion that decides the outcome of each call that edits a copy.

    Edits of a copy have no outcome before the copy is promoted. ``calls``: columns `bulkedit.plans.CALLS`. Returns a
    frame with columns call, promote (the call that promotes the copy) and copy (the call that makes it), each UInt32: a
    row for each call that edits a copy, and for each part of a split one, parents first.
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
