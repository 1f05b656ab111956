"""What happens next to a call: one table from (standing, finding) to the next step.

A call of UpdateImageSetMetadata is a conditional, asynchronous write: it names the version that it takes for the
latest (its *base*), and its effect becomes the next version. Three facts make exactly-once effect reachable:

1.  Of all requests with one base, at most one can be accepted. So a request whose answer was lost may be sent again
    with the same base, whenever the image set still stands at that base, even if the lost one arrives late.
2.  A request can only have become the version right after its base. So once the image set has moved on, the content
    of that one version tells whether it was ours; afterwards the old request can never win.
3.  The intent (call, base, digest) is durable before the request leaves. So after a crash the same questions can be
    asked as after a lost answer: a call that stands *intended* when a run is resumed is in doubt.

What the service says is therefore never a guess about what it did. Throttles (429, 402) mean that nothing happened.
A stale version (404 with the observed words, perhaps 409) and a conflict (409: locked) are neither failures nor
reasons to repeat: they lead to a look at the image set. So does an invalid request: a service that checks the content
before the version says so of a request that would be stale, because it was made already or because of what another
writer has made. Only a request that is invalid on its base, an update that failed for a reason in the request, or an
image set that does not exist is the edit's own fault.

A pair that is not in the table cannot be; meeting it is a defect, and `next_step` says which pair it was.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bulkedit.client.responses import Accepted, Datastore, ImageSet, Lost, Refusal, Refused, Standing, State

if TYPE_CHECKING:
    from collections.abc import Iterable


class Finding(StrEnum):
    """What came back, seen from where the call is."""

    # answers to the update itself
    ACCEPTED = "accepted"
    THROTTLED = "throttled"
    TOO_MANY = "too many in flight"
    STALE = "stale version"
    CONFLICT = "conflict"
    NOT_FOUND = "not found"
    INVALID = "invalid"  # on its base, or on a newer version
    DENIED = "access denied"  # of this image set: the engine tells it from a denial of all
    UNKNOWN = "unknown refusal"
    LOST = "answer lost"
    # looks at the image set
    LOCKED = "locked"
    UNMOVED = "at its base"  # nothing newer than the call's base
    UNMOVED_ONCE = "at its base, after an invalid request"  # reads may lag behind writes
    INVALID_ON_BASE = "invalid on its base"  # as the looks after an invalid request have shown
    REACHED = "at its version"  # the version that the call was to make stands, and its update succeeded
    REACHED_UNSURE = "at its version, perhaps another's"  # the same, of a service that gives a number twice
    FAILED_REQUEST = "update failed by its request"
    FAILED_SERVICE = "update failed by the service"
    PASSED = "past its version"  # there are versions beyond the one that the call was to make
    GONE = "gone"  # or the whole data store is
    ABSENT = "gone from a data store that is there"
    STORE_GONE = "its data store is gone"
    # what the version after the base holds (after a COMPARE)
    OURS = "ours"
    UNCHANGED = "as its base, which was as asked for"  # so nobody can tell whose it is
    STRANGERS = "a stranger's"
    # reads that told nothing
    READ_THROTTLED = "read throttled"
    READ_LOST = "read lost"
    READ_REFUSED = "read refused"
    # of every request
    SYSTEMIC = "systemic"  # credentials, certificate: no call of this run can succeed


class Step(StrEnum):
    """The next step of a call."""

    SEND = "send"  # now, with the image set's version as base
    SEND_AGAIN = "send again"  # same base, after a wait: nothing happened, or at most one of the two can win
    LOOK = "look"  # GetImageSet, now
    LOOK_LATER = "look later"  # GetImageSet, after a wait that holds no worker
    COMPARE = "compare"  # the content of the version after the base tells ours from a stranger's
    ASK_STORE = "ask for the data store"  # an image set that is gone is one thing, a data store that is gone another
    SEND_ANEW = "send anew"  # the version that stands now as base, after a wait: its content is that of the old base
    REBASE = "rebase"  # take the new version as base and send, where row and policy allow; conflicted otherwise
    APPLIED = "applied"
    REJECTED = "rejected"
    FAILED = "failed"
    LEAVE_OPEN = "leave open"  # the lane ends here; a later process looks again
    HALT = "halt"  # stop the run; the call stays as it stands


S, F = Standing, Finding
_OPEN: Final = (S.PLANNED, S.INTENDED, S.IN_DOUBT, S.ACCEPTED)

NEXT: Final[dict[tuple[Standing, Finding], Step]] = {
    # Before the first request the image set is looked at, unless its version is known.
    (S.PLANNED, F.LOCKED): Step.LOOK_LATER,  # somebody else is writing
    (S.PLANNED, F.UNMOVED): Step.SEND,
    (S.PLANNED, F.PASSED): Step.REBASE,  # another writer came before it, or the version that the row names is not there
    (S.PLANNED, F.ABSENT): Step.REJECTED,
    # A request is out. No earlier request with this base can have been applied.
    (S.INTENDED, F.ACCEPTED): Step.LOOK_LATER,
    (S.INTENDED, F.THROTTLED): Step.SEND_AGAIN,
    (S.INTENDED, F.TOO_MANY): Step.SEND_AGAIN,
    (S.INTENDED, F.STALE): Step.LOOK,
    (S.INTENDED, F.CONFLICT): Step.LOOK,  # locked, or stale under another name
    (S.INTENDED, F.NOT_FOUND): Step.LOOK,  # gone, or stale with other words
    (S.INTENDED, F.INVALID): Step.LOOK,
    (S.INTENDED, F.DENIED): Step.FAILED,
    (S.INTENDED, F.UNKNOWN): Step.FAILED,
    (S.INTENDED, F.LOST): Step.LOOK,  # and the call is in doubt from here
    (S.INTENDED, F.LOCKED): Step.LOOK_LATER,
    (S.INTENDED, F.UNMOVED): Step.SEND_AGAIN,
    (S.INTENDED, F.UNMOVED_ONCE): Step.LOOK_LATER,
    (S.INTENDED, F.INVALID_ON_BASE): Step.REJECTED,
    (S.INTENDED, F.REACHED): Step.REBASE,  # refused, and yet the version is there: it is a stranger's
    (S.INTENDED, F.FAILED_REQUEST): Step.REBASE,  # so it is if it has failed
    (S.INTENDED, F.FAILED_SERVICE): Step.REBASE,
    (S.INTENDED, F.PASSED): Step.REBASE,
    (S.INTENDED, F.ABSENT): Step.REJECTED,
    # A request with this base may have been applied, or may still arrive.
    (S.IN_DOUBT, F.ACCEPTED): Step.LOOK_LATER,  # this one won, so the other can not
    (S.IN_DOUBT, F.THROTTLED): Step.SEND_AGAIN,
    (S.IN_DOUBT, F.TOO_MANY): Step.SEND_AGAIN,
    (S.IN_DOUBT, F.STALE): Step.LOOK,
    (S.IN_DOUBT, F.CONFLICT): Step.LOOK,
    (S.IN_DOUBT, F.NOT_FOUND): Step.LOOK,
    (S.IN_DOUBT, F.INVALID): Step.LOOK,  # perhaps because the first one was carried out
    (S.IN_DOUBT, F.DENIED): Step.LOOK,
    (S.IN_DOUBT, F.UNKNOWN): Step.LOOK,
    (S.IN_DOUBT, F.LOST): Step.LOOK,
    (S.IN_DOUBT, F.LOCKED): Step.LOOK_LATER,  # perhaps by ourselves
    (S.IN_DOUBT, F.UNMOVED): Step.SEND_AGAIN,
    (S.IN_DOUBT, F.UNMOVED_ONCE): Step.LOOK_LATER,
    (S.IN_DOUBT, F.INVALID_ON_BASE): Step.REJECTED,  # the same request was invalid the first time too
    (S.IN_DOUBT, F.REACHED): Step.COMPARE,
    (S.IN_DOUBT, F.FAILED_REQUEST): Step.SEND_ANEW,  # whoever's it was, nothing was applied, and the base is spent
    (S.IN_DOUBT, F.FAILED_SERVICE): Step.SEND_ANEW,
    (S.IN_DOUBT, F.PASSED): Step.COMPARE,
    (S.IN_DOUBT, F.OURS): Step.APPLIED,
    (S.IN_DOUBT, F.UNCHANGED): Step.APPLIED,  # and no version is claimed
    (S.IN_DOUBT, F.STRANGERS): Step.REBASE,  # the base is spent: the lost request can never win now
    (S.IN_DOUBT, F.ABSENT): Step.FAILED,
    # The service has taken the request; its version is promised.
    (S.ACCEPTED, F.LOCKED): Step.LOOK_LATER,
    (S.ACCEPTED, F.UNMOVED): Step.LOOK_LATER,  # a read that lags behind
    (S.ACCEPTED, F.REACHED): Step.APPLIED,
    (S.ACCEPTED, F.REACHED_UNSURE): Step.COMPARE,
    (S.ACCEPTED, F.OURS): Step.APPLIED,
    (S.ACCEPTED, F.UNCHANGED): Step.APPLIED,
    (S.ACCEPTED, F.STRANGERS): Step.REBASE,  # ours has failed, left no version behind, and was overtaken
    (S.ACCEPTED, F.FAILED_REQUEST): Step.REJECTED,
    (S.ACCEPTED, F.FAILED_SERVICE): Step.SEND_ANEW,
    (S.ACCEPTED, F.PASSED): Step.LOOK,  # at our own version, by its number
    (S.ACCEPTED, F.ABSENT): Step.FAILED,
}
for _standing in _OPEN:
    NEXT[_standing, F.READ_THROTTLED] = Step.LOOK_LATER
    NEXT[_standing, F.READ_LOST] = Step.LOOK_LATER
    # a call that may have been made is not said to have failed before that is known
    NEXT[_standing, F.READ_REFUSED] = Step.FAILED if _standing in {S.PLANNED, S.INTENDED} else Step.LEAVE_OPEN
    NEXT[_standing, F.GONE] = Step.ASK_STORE
    NEXT[_standing, F.STORE_GONE] = Step.HALT
    NEXT[_standing, F.SYSTEMIC] = Step.HALT


def next_step(standing: Standing, finding: Finding) -> Step:
    """Look the table up. Raises LookupError for a pair that cannot be."""
    try:
        return NEXT[standing, finding]
    except KeyError:
        raise LookupError(f"a call that is {standing} cannot find: {finding}") from None


_ANSWERS: Final = {
    Refusal.THROTTLED: Finding.THROTTLED,
    Refusal.TOO_MANY: Finding.TOO_MANY,
    Refusal.STALE: Finding.STALE,
    Refusal.CONFLICT: Finding.CONFLICT,
    Refusal.NOT_FOUND: Finding.NOT_FOUND,
    Refusal.INVALID: Finding.INVALID,
    Refusal.ACCESS_DENIED: Finding.DENIED,
    Refusal.CREDENTIALS: Finding.SYSTEMIC,
    Refusal.UNTRUSTED: Finding.SYSTEMIC,
    Refusal.UNKNOWN: Finding.UNKNOWN,
}
_READS: Final = {
    Refusal.THROTTLED: Finding.READ_THROTTLED,
    Refusal.TOO_MANY: Finding.READ_THROTTLED,
    Refusal.CONFLICT: Finding.READ_LOST,  # "metadata is still being processed": later it is there
    Refusal.STALE: Finding.GONE,
    Refusal.NOT_FOUND: Finding.GONE,
    Refusal.INVALID: Finding.READ_REFUSED,
    Refusal.ACCESS_DENIED: Finding.READ_REFUSED,
    Refusal.CREDENTIALS: Finding.SYSTEMIC,
    Refusal.UNTRUSTED: Finding.SYSTEMIC,
    Refusal.UNKNOWN: Finding.READ_REFUSED,
}


def of_answer(reply: Accepted | Refused | Lost) -> Finding:
    """What an answer to the update itself means."""
    if isinstance(reply, Accepted):
        return Finding.ACCEPTED
    if isinstance(reply, Lost):
        return Finding.LOST
    return _ANSWERS[reply.kind]


def of_failed_read(reply: Refused | Lost) -> Finding:
    """What a read that brought nothing means."""
    return Finding.READ_LOST if isinstance(reply, Lost) else _READS[reply.kind]


def of_store(found: Datastore | Refused | Lost) -> Finding:
    """What the data store of an image set that is gone tells."""
    if isinstance(found, Datastore):
        return Finding.ABSENT if found.status == "ACTIVE" else Finding.STORE_GONE
    finding = of_failed_read(found)
    # a refusal for whatever reason: nothing shows that the data store is there
    return Finding.STORE_GONE if finding in {Finding.GONE, Finding.READ_REFUSED} else finding


def of_first_look(found: ImageSet, *, expected: bool, behind: bool) -> Finding:
    """What a look at the latest version means before the call's request has left.

    ``expected``: it is the version that the call is to follow, or that its row names; ``behind``: the run itself has
    made newer versions, which this look does not show yet.
    """
    if found.state is State.DELETED:
        return Finding.GONE
    if found.state is State.LOCKED or behind:
        return Finding.LOCKED
    return Finding.UNMOVED if expected else Finding.PASSED


def of_look(
    found: ImageSet, *, standing: Standing, base: int, base_updated_at: float | None = None, reused: bool = False
) -> Finding:
    """What a look at the latest version (or, past it, at the call's own version) means once a request has left.

    ``base`` is the version that the request named. ``base_updated_at`` is when that was updated (epoch seconds), as the
    last look before the request showed it, so that an old failure is not taken for ours; ``reused``: this service has
    been seen to give the number of a failed update to the next one.
    """
    if found.state is State.DELETED:
        return Finding.GONE
    if found.version == base:
        return _at_base(found, standing, base_updated_at)
    if found.version < base:
        return Finding.LOCKED  # a read that lags behind
    if found.version > base + 1:
        return Finding.LOCKED if standing is Standing.INTENDED and found.state is State.LOCKED else Finding.PASSED
    return _at_its_version(found, standing, reused=reused)


def _at_its_version(found: ImageSet, standing: Standing, *, reused: bool) -> Finding:
    if found.state is State.LOCKED:
        return Finding.LOCKED
    if found.failed:
        return of_failure(found.message)
    return Finding.REACHED_UNSURE if reused and standing is Standing.ACCEPTED else Finding.REACHED


def _at_base(found: ImageSet, standing: Standing, base_updated_at: float | None) -> Finding:
    if found.state is State.LOCKED:
        return Finding.LOCKED
    failed_since = found.failed and (base_updated_at is None or found.updated_at != base_updated_at)
    if standing is Standing.ACCEPTED and failed_since:
        return of_failure(found.message)  # a service whose failed updates use no version up
    return Finding.UNMOVED


# list-image-set-versions shows "INVALID_REQUEST:  Series of …" for what the request itself made impossible
_REQUEST_FAULT: Final = "INVALID_REQUEST"


def of_failure(message: str) -> Finding:
    """Whose fault an UPDATE_FAILED is; without words, the request's."""
    ours = not message or message.lstrip().startswith(_REQUEST_FAULT)
    return Finding.FAILED_REQUEST if ours else Finding.FAILED_SERVICE


def lifecycle(standings: Iterable[Standing] = _OPEN) -> str:
    """The table as Markdown, for the documentation."""
    lines = ["| standing | finding | next step |", "|---|---|---|"]
    lines += [
        f"| {standing} | {finding} | {step} |"
        for wanted in standings
        for (standing, finding), step in NEXT.items()
        if standing is wanted
    ]
    return "\n".join(lines)
