"""What happens next to the copies and deletions of a recipe: two tables from (standing, finding) to the next step.

A recipe changes a primary image set by way of a copy, for what the service does not do in place: copy the original,
edit the copy, promote the copy to a new primary image set, delete what is no longer needed. Its edits are ordinary
updates and follow `bulkedit.runs.transitions`. Copies and deletions are other writes than updates:

1.  A copy makes no version of its source, so its base does not keep a repeat from making a second copy. What tells
    after a lost answer is what there is: the image sets of the series are listed before the request leaves, and that
    list is as durable as the intent. An image set of the series that is new since, holds what the source holds, and is
    primary or not as was asked for, is what the lost request made. Where several are new nothing tells them apart, and
    the call is left open with all of them named.
2.  A lost request may still be on its way, and what it makes is not found by a search before it is whole. AWS refuses a
    request whose signature is older than some minutes, so the list is made once `LATEST_S` have gone by since the
    request left and its source is unlocked: then all is there that will ever be, and what is not there may be sent
    again. It costs a lane some minutes, and nobody else any.
3.  A copy counts as made only when it was read back and holds what its source holds. What is promoted is read back
    so too, before the edits count as applied and before anything is deleted.
4.  A deletion names no version. Right before it leaves (when the quota has room for it, not when it is queued), the
    promoted image set is looked at, and the image set that is to be deleted must stand at the very version that was
    copied from it: what another writer has changed since is not deleted. A repeat does no harm.

A pair that is not in the tables cannot be; meeting it is a defect, and `next_step` says which pair it was.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.client.responses import ImageSet, Standing, State
from bulkedit.plans import Recipe
from bulkedit.runs import transitions as verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bulkedit.runs.ledger import Part

NOT_PROMOTED: Final = "in a copy that is not promoted"
WELL: Final = frozenset({Standing.APPLIED, Standing.SKIPPED})
LATEST_S: Final = 600.0  # SigV4: a signature is good for 5 minutes, and the clocks are apart by 5 at most


class Finding(StrEnum):
    """What came back, seen from where the call is. Names of `bulkedit.runs.transitions.Finding` mean the same."""

    # answers to the copy or the deletion itself
    ACCEPTED = "accepted"
    THROTTLED = "throttled"
    TOO_MANY = "too many in flight"
    STALE = "stale version"
    CONFLICT = "conflict"
    NOT_FOUND = "not found"
    INVALID = "invalid"
    DENIED = "access denied"
    UNKNOWN = "unknown refusal"
    LOST = "answer lost"
    # looks at the image set that is copied or deleted
    LOCKED = "locked"
    UNMOVED = "at its base"
    MOVED = "past its base"
    GONE = "gone"  # or the whole data store is
    ABSENT = "gone from a data store that is there"
    STORE_GONE = "its data store is gone"
    # the image sets of the series that were not there before the copy
    NONE_NEW = "nothing new"
    NONE_NEW_MOVED = "nothing new, and the source past its base"
    ONE_NEW = "one new image set"
    SEVERAL_NEW = "several new image sets"
    # looks at the new image set
    MADE_LOCKED = "copy under way"
    MADE = "copy ended"
    MADE_FAILED_REQUEST = "copy failed by its request"
    MADE_FAILED_SERVICE = "copy failed by the service"
    MADE_GONE = "copy not there"
    SAME = "holds what its source holds"
    DIFFERENT = "holds something else"
    # a look right before a deletion
    UNSAFE = "the promoted image set does not stand"
    # reads that told nothing
    READ_THROTTLED = "read throttled"
    READ_LOST = "read lost"
    READ_REFUSED = "read refused"
    # of every request
    SYSTEMIC = "systemic"


class Step(StrEnum):
    """The next step of a copy or a deletion."""

    SEND = "send"  # of a copy: once its source was read and the image sets of the series are listed
    SEND_AGAIN = "send again"  # the same: nothing happened, or it does no harm
    START_ANEW = "start anew"  # a copy failed on the service's side: from the first look on
    LOOK = "look"  # at the image set that is copied or deleted, now
    LOOK_LATER = "look later"
    WAIT_OUT = "wait out"  # until the request that was lost can no longer be carried out; then look
    LIST = "list"  # the image sets of the series: is one of them new?
    LOOK_AT_MADE = "look at the copy"
    COMPARE = "compare"  # the metadata of the new image set with that of its source
    PASS_OVER = "pass over"  # noqa: S105 - no password; a new image set that is not what the call made; list again
    REBASE = "rebase"  # copy what the source holds now, where the policy allows; conflicted otherwise
    APPLIED = "applied"
    REJECTED = "rejected"
    FAILED = "failed"
    CONFLICTED = "conflicted"
    LEAVE_OPEN = "leave open"
    HALT = "halt"
    ASK_STORE = "ask for the data store"


S, F = Standing, Finding
_OPEN: Final = (S.PLANNED, S.INTENDED, S.IN_DOUBT, S.ACCEPTED)
Table = dict[tuple[Standing, Finding], Step]


def _with_reads(table: Table) -> Table:
    for standing in _OPEN:
        surely_not = standing in {S.PLANNED, S.INTENDED}
        table[standing, F.READ_THROTTLED] = Step.LOOK_LATER
        table[standing, F.READ_LOST] = Step.LOOK_LATER
        table[standing, F.READ_REFUSED] = Step.FAILED if surely_not else Step.LEAVE_OPEN
        table[standing, F.GONE] = Step.ASK_STORE
        table[standing, F.STORE_GONE] = Step.HALT
        table[standing, F.SYSTEMIC] = Step.HALT
    return table


OF_COPY: Final = _with_reads(
    {
        (S.PLANNED, F.LOCKED): Step.LOOK_LATER,
        (S.PLANNED, F.UNMOVED): Step.SEND,
        (S.PLANNED, F.MOVED): Step.REBASE,
        (S.PLANNED, F.ABSENT): Step.REJECTED,
        # A request is out, and no other of this call can have been carried out.
        (S.INTENDED, F.ACCEPTED): Step.LOOK_AT_MADE,
        (S.INTENDED, F.THROTTLED): Step.SEND_AGAIN,
        (S.INTENDED, F.TOO_MANY): Step.SEND_AGAIN,
        (S.INTENDED, F.STALE): Step.LOOK,
        (S.INTENDED, F.CONFLICT): Step.LOOK,
        (S.INTENDED, F.NOT_FOUND): Step.LOOK,
        (S.INTENDED, F.INVALID): Step.REJECTED,
        (S.INTENDED, F.DENIED): Step.FAILED,
        (S.INTENDED, F.UNKNOWN): Step.FAILED,
        (S.INTENDED, F.LOST): Step.WAIT_OUT,  # and the call is in doubt from here
        (S.INTENDED, F.LOCKED): Step.LOOK_LATER,
        (S.INTENDED, F.UNMOVED): Step.SEND_AGAIN,
        (S.INTENDED, F.MOVED): Step.REBASE,
        (S.INTENDED, F.ABSENT): Step.REJECTED,
        # There may be a copy, or it may still be made.
        (S.IN_DOUBT, F.LOCKED): Step.LOOK_LATER,  # perhaps by our own copy
        (S.IN_DOUBT, F.UNMOVED): Step.LIST,
        (S.IN_DOUBT, F.MOVED): Step.LIST,
        (S.IN_DOUBT, F.ABSENT): Step.FAILED,
        (S.IN_DOUBT, F.NONE_NEW): Step.SEND_AGAIN,
        (S.IN_DOUBT, F.NONE_NEW_MOVED): Step.REBASE,
        (S.IN_DOUBT, F.ONE_NEW): Step.LOOK_AT_MADE,
        (S.IN_DOUBT, F.SEVERAL_NEW): Step.LEAVE_OPEN,
        (S.IN_DOUBT, F.MADE_LOCKED): Step.LOOK_LATER,
        (S.IN_DOUBT, F.MADE): Step.COMPARE,
        (S.IN_DOUBT, F.MADE_FAILED_REQUEST): Step.PASS_OVER,  # whoever's it was, it holds nothing
        (S.IN_DOUBT, F.MADE_FAILED_SERVICE): Step.PASS_OVER,
        (S.IN_DOUBT, F.MADE_GONE): Step.PASS_OVER,
        (S.IN_DOUBT, F.SAME): Step.APPLIED,
        (S.IN_DOUBT, F.DIFFERENT): Step.LEAVE_OPEN,  # another's, or ours and changed by another
        # The service has taken the request and named the new image set.
        (S.ACCEPTED, F.MADE_LOCKED): Step.LOOK_LATER,
        (S.ACCEPTED, F.MADE): Step.COMPARE,
        (S.ACCEPTED, F.MADE_FAILED_REQUEST): Step.REJECTED,
        (S.ACCEPTED, F.MADE_FAILED_SERVICE): Step.START_ANEW,
        (S.ACCEPTED, F.MADE_GONE): Step.LOOK_LATER,  # a read that lags behind
        (S.ACCEPTED, F.SAME): Step.APPLIED,
        (S.ACCEPTED, F.DIFFERENT): Step.CONFLICTED,
        (S.ACCEPTED, F.ABSENT): Step.FAILED,
    }
)

OF_DELETION: Final = _with_reads(
    {
        # the looks of these two standings are those right before the deletion: nothing has left yet
        (S.INTENDED, F.UNSAFE): Step.FAILED,
        (S.IN_DOUBT, F.UNSAFE): Step.LEAVE_OPEN,
        (S.INTENDED, F.ACCEPTED): Step.LOOK_LATER,
        (S.INTENDED, F.THROTTLED): Step.SEND_AGAIN,
        (S.INTENDED, F.TOO_MANY): Step.SEND_AGAIN,
        (S.INTENDED, F.STALE): Step.LOOK,
        (S.INTENDED, F.CONFLICT): Step.LOOK,
        (S.INTENDED, F.NOT_FOUND): Step.LOOK,
        (S.INTENDED, F.INVALID): Step.REJECTED,
        (S.INTENDED, F.DENIED): Step.FAILED,
        (S.INTENDED, F.UNKNOWN): Step.FAILED,
        (S.INTENDED, F.LOST): Step.LOOK,
        (S.INTENDED, F.LOCKED): Step.LOOK_LATER,
        (S.INTENDED, F.UNMOVED): Step.SEND_AGAIN,
        (S.INTENDED, F.MOVED): Step.CONFLICTED,
        (S.INTENDED, F.ABSENT): Step.APPLIED,
        (S.IN_DOUBT, F.ACCEPTED): Step.LOOK_LATER,
        (S.IN_DOUBT, F.THROTTLED): Step.SEND_AGAIN,
        (S.IN_DOUBT, F.TOO_MANY): Step.SEND_AGAIN,
        (S.IN_DOUBT, F.STALE): Step.LOOK,
        (S.IN_DOUBT, F.CONFLICT): Step.LOOK,
        (S.IN_DOUBT, F.NOT_FOUND): Step.LOOK,
        (S.IN_DOUBT, F.INVALID): Step.REJECTED,
        (S.IN_DOUBT, F.DENIED): Step.LOOK,
        (S.IN_DOUBT, F.UNKNOWN): Step.LOOK,
        (S.IN_DOUBT, F.LOST): Step.LOOK,
        (S.IN_DOUBT, F.LOCKED): Step.LOOK_LATER,  # perhaps by ourselves
        (S.IN_DOUBT, F.UNMOVED): Step.SEND_AGAIN,
        (S.IN_DOUBT, F.MOVED): Step.CONFLICTED,
        (S.IN_DOUBT, F.ABSENT): Step.APPLIED,
        (S.ACCEPTED, F.LOCKED): Step.LOOK_LATER,
        (S.ACCEPTED, F.UNMOVED): Step.LOOK_LATER,  # a read that lags behind
        (S.ACCEPTED, F.MOVED): Step.LOOK_LATER,
        (S.ACCEPTED, F.ABSENT): Step.APPLIED,
    }
)

TABLES: Final[Mapping[str, Table]] = {
    Recipe.COPY: OF_COPY,
    Recipe.PROMOTE: OF_COPY,
    Recipe.DELETE_ORIGINAL: OF_DELETION,
    Recipe.DELETE_COPY: OF_DELETION,
}


def next_step(recipe: str, standing: Standing, finding: Finding) -> Step:
    """Look the table up. Raises LookupError for a pair that cannot be."""
    try:
        return TABLES[recipe][standing, finding]
    except KeyError:
        raise LookupError(f"a call ({recipe}) that is {standing} cannot find: {finding}") from None


def of_source(found: ImageSet, base: int | None) -> Finding:
    """What a look at the image set that is copied or deleted means; ``base`` is None before there is one."""
    if found.state is State.DELETED:
        return Finding.GONE
    if found.state is State.LOCKED:
        return Finding.LOCKED
    return Finding.UNMOVED if base is None or found.version == base else Finding.MOVED


def of_made(found: ImageSet, *, promoted: bool) -> Finding:
    """What a look at the new image set means."""
    if found.state is State.DELETED:
        return Finding.MADE_GONE
    if found.state is State.LOCKED:
        return Finding.MADE_LOCKED
    if found.failed:
        ours = verdict.of_failure(found.message) is verdict.Finding.FAILED_REQUEST
        return Finding.MADE_FAILED_REQUEST if ours else Finding.MADE_FAILED_SERVICE
    if found.primary is not None and found.primary is not promoted:
        return Finding.DIFFERENT
    return Finding.MADE


def of_new(new: int, *, moved: bool) -> Finding:
    """What a list of the series means with so many new image sets in it; ``moved``: the source is past its base."""
    if new == 0:
        return Finding.NONE_NEW_MOVED if moved else Finding.NONE_NEW
    return Finding.ONE_NEW if new == 1 else Finding.SEVERAL_NEW


def stands(promoted: ImageSet) -> bool:
    """Whether a look shows that a promoted image set is there for good."""
    return promoted.state is State.ACTIVE and not promoted.failed and promoted.primary is not False


def promotions(calls: pl.LazyFrame, parts: Iterable[Part]) -> pl.DataFrame:
    """The promotion that gives the edits of a call their outcome: call, promote and copy, each UInt32.

    An edit that is in a copy is nobody's before the copy is promoted. ``calls``: `bulkedit.plans.CALLS`; the result
    has a row for each call of a recipe that carries edits, and for each part (parents first) of such a call. ``copy``
    is the call that makes the copy.
    """
    recipes = calls.filter(pl.col("recipe").is_not_null()).select("call", "lane", "recipe").collect()
    promote = recipes.filter(pl.col("recipe") == Recipe.PROMOTE).select("lane", promote="call")
    copy = recipes.filter(pl.col("recipe") == Recipe.COPY).select("lane", copy="call")
    carried = recipes.filter(pl.col("recipe") == Recipe.EDIT)
    planned = carried.join(promote, on="lane").join(copy, on="lane").select("call", "promote", "copy")
    of = {call: (promotion, copy) for call, promotion, copy in planned.iter_rows()}
    for part in parts if of else ():
        if part.parent in of:
            of[part.call] = of[part.parent]
    rows = [(call, *steps) for call, steps in of.items()]
    return pl.DataFrame(rows, schema=dict.fromkeys(("call", "promote", "copy"), pl.UInt32), orient="row")


def lifecycle(table: Table) -> str:
    """A table as Markdown, for the documentation."""
    lines = ["| standing | finding | next step |", "|---|---|---|"]
    lines += [
        f"| {standing} | {finding} | {step} |"
        for wanted in _OPEN
        for (standing, finding), step in table.items()
        if standing is wanted
    ]
    return "\n".join(lines)
