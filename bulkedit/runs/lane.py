"""One lane of calls as a machine that decides and does no I/O.

`action` is what to perform next, `begin` is told when it starts, and `absorb` takes what came of it; `begin` and
`absorb` hand out the events that the ledger must hold. What a reply means and which step follows stands in
`bulkedit.runs.transitions`; here the steps are carried out on the books of the call in hand.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bulkedit.client.contract import CopyRequest, UpdateRequest
from bulkedit.client.pacing import LOOK, Operation
from bulkedit.client.responses import (
    Accepted,
    Copied,
    Datastore,
    Deleting,
    ImageSet,
    Lost,
    Metadata,
    Page,
    Refusal,
    Refused,
    Standing,
    State,
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
from bulkedit.runs import transitions as verdict
from bulkedit.runs.ledger import Event, Made, Part
from bulkedit.runs.retry import Repeats
from bulkedit.runs.service_quirks import Removal
from bulkedit.runs.transitions import Finding, Step

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Mapping

    import polars as pl

    from bulkedit._log import Fields
    from bulkedit.client.pacing import SettleTimes
    from bulkedit.plans import Lane, PlannedCall
    from bulkedit.runs.budget import RetryBudget
    from bulkedit.runs.options import Options
    from bulkedit.runs.service_quirks import Learned
    from bulkedit.runs.versions import Versions


@dataclass(frozen=True, slots=True)
class Send:
    """Send the update."""

    request: UpdateRequest
    operation: Operation = Operation.UPDATE


@dataclass(frozen=True, slots=True)
class Look:
    """GetImageSet, of the latest version or of one; ``by_list``: a page of ListImageSetVersions may tell as well."""

    image_set_id: str
    version: int | None = None
    by_list: bool = field(default=False, compare=False)
    operation: Operation = Operation.GET


@dataclass(frozen=True, slots=True)
class Read:
    """GetImageSetMetadata of one version."""

    image_set_id: str
    version: int
    operation: Operation = Operation.METADATA


@dataclass(frozen=True, slots=True)
class AskStore:
    """GetDatastore: is it still there? Asked seldom, so it shares the quota of looks."""

    operation: Operation = Operation.GET


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy an image set to a new one."""

    request: CopyRequest
    operation: Operation = Operation.COPY


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an image set, if ``promoted`` stands and it is at its ``version``; else what was seen is the reply.

    Both are looked at when the quota lets the deletion out: it may have waited for long.
    """

    image_set_id: str
    version: int
    promoted: str
    operation: Operation = Operation.DELETE


@dataclass(frozen=True, slots=True)
class List:
    """SearchImageSets: one page of the image sets of a series. Holds health data: never log it."""

    series_uid: str
    next_token: str | None = None
    operation: Operation = Operation.SEARCH


Action = Send | Look | Read | AskStore | Copy | Delete | List
Reply = Accepted | Copied | Deleting | ImageSet | Metadata | Datastore | Page | Refused | Lost
WRITES: Final = (Send, Copy, Delete)


@dataclass(slots=True)
class _Books:
    """What is known of the call in hand."""

    call: PlannedCall
    standing: Standing
    base: int | None = None
    base_updated_at: float | None = None  # epoch seconds, as the last look before the request told
    doubtful: bool = False  # a request with this base was lost, so it may be carried out yet
    attempts: int = 0
    throttles: int = 0
    faults: int = 0
    conflicts: int = 0
    looks: int = 0  # at the image set since the last request
    request: UpdateRequest | None = None  # for the base in hand, with stored values filled in
    invalid: Refused | None = None  # the answer to the last request, which may be about a newer version
    documents: dict[int, dict[str, Any]] | None = None  # by version, while they are compared
    locked_since: float | None = None  # or accepted and not seen to move
    accepted_at: float | None = None  # monotonic
    locked_at: float | None = None  # when the last look left that found the accepted update not settled
    refused_since: float | None = None  # as a conflict, though its own image set is not locked: another of the study is
    removal: Removal | None = None  # what the removal in hand names where its rows name nothing
    repeats: Repeats | None = None  # of updates
    read_repeats: Repeats | None = None  # since the last read that was answered


_UNDER_WAY: Final = frozenset({Standing.INTENDED, Standing.IN_DOUBT, Standing.ACCEPTED})
_BY_CONTENT: Final = frozenset({Finding.INVALID_ON_BASE, Finding.FAILED_REQUEST})
_FAILURES: Final = frozenset({Finding.FAILED_REQUEST, Finding.FAILED_SERVICE})
_QUOTA: Final = frozenset({Finding.THROTTLED, Finding.TOO_MANY, Finding.READ_THROTTLED})
EARLIER_CONFLICT: Final = "an earlier conflict in this image set"  # cause of calls that --on-conflict stop leaves
BY_EMPTY_VALUE: Final = "refused with the stored value; sent anew with the empty one"  # cause
_LOOKS_AT_LEAST: Final = 2  # apart, because reads may lag behind writes


def _left_by(reply: Reply) -> int | None:
    """The version that a failed update has left, of the look that found it failed."""
    return reply.version if isinstance(reply, ImageSet) else None


def _stopped_by(call: PlannedCall) -> str | None:
    """The image set that a conflict stops with --on-conflict stop; None if it stops the whole study."""
    return None if call.study_wide else call.image_set_id


class LaneRun:
    """A lane on its way through its calls."""

    def __init__(
        self,
        lane: Lane,
        options: Options,
        rng: random.Random,
        *,
        key: bytes,
        learned: Learned,
        budget: RetryBudget,
        begun: Mapping[int, dict[str, Any]],
        new_call: Callable[[], int],
        payload_limit: int,
        settle: SettleTimes,
        now: float,
        epoch: float,
        versions: Versions,
        conflicted: Collection[PlannedCall] = (),
    ) -> None:
        """Begin with the first call.

        ``begun``: rows of `bulkedit.runs.history.BEGUN` by call, for calls that an earlier process left unsettled;
        ``versions``: what the lane's events have told so far; ``conflicted``: calls of the lane in which an earlier
        process met another writer, and left it at that; ``new_call`` numbers the parts of a call that is split.
        """
        self.number = lane.number
        self.calls_left = len(lane.calls)
        self.edits = {call.call: call.edits for call in lane.calls}
        self.action: Action | None = None
        self.through: Operation | None = None  # the operation under whose quota the action was let out
        self.due = now  # monotonic seconds; the action waits until then
        self.parked = False  # the lane ended with calls unsettled
        self.halted: Refused | None = None  # the answer that no call of this run can get past
        self.quota_hit: Refused | None = None  # the last answer was about a quota
        self.to_split: PlannedCall | None = None  # a refused call; the lane goes on once `split` is told its edits
        self._misplaced: NoSuchPlace | None = None  # why the call is split, if it names places that are not there
        # what is in doubt is found out first: until then nobody knows which versions are ours
        in_order = sorted(lane.calls, key=lambda call: not self._is_begun(begun, call))
        self._rest = in_order[::-1]
        self._options = options
        self._rng = rng
        self._key = key
        self._learned = learned
        self._budget = budget
        self._begun = begun
        self._new_call = new_call
        self._payload_limit = payload_limit
        self._settle_times = settle
        self._sent = now  # when the action left
        self._now, self._epoch = now, epoch
        self._seen: dict[str, ImageSet] = {}  # the newest version that this lane has seen of each image set
        self._versions = versions
        struck = conflicted if options.on_conflict is OnConflict.STOP else ()
        self._stopped_before = frozenset(_stopped_by(call) for call in struck)
        self._stopped: set[str | None] = set()  # image sets in which --on-conflict stop has struck; None: the study
        self._books: _Books | None = None
        self._events: list[Event | Part | Made] = []
        self._open_until_busy()

    @staticmethod
    def _is_begun(begun: Mapping[int, dict[str, Any]], call: PlannedCall) -> bool:
        return call.call in begun and begun[call.call]["standing"] != Standing.PLANNED

    # what the shell asks

    @property
    def under_way(self) -> bool:
        """Whether an update of this lane may be under way at the service."""
        return self._books is not None and self._books.standing in _UNDER_WAY

    @property
    def flying(self) -> bool:
        """Whether it counts as in flight: a request that was refused for a quota has left nothing under way."""
        refused = self.quota_hit is not None and self._held.standing is Standing.INTENDED if self._books else False
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
        """Events not handed out yet, in order."""
        events, self._events = self._events, []
        return events

    def leaves(self, now: float) -> None:
        """The request of the action leaves now."""
        self._sent = now

    def begin(self, epoch: float) -> Event | None:
        """The action starts now. For a request with a new base: its intent, to be durable before it leaves."""
        if not isinstance(self.action, Send):
            return None
        books = self._held
        self._epoch = epoch
        books.attempts += 1
        books.looks = 0
        books.invalid = None
        if books.standing is not Standing.PLANNED:
            return None
        books.standing = Standing.INTENDED
        return self._event(digest=self._digest(self.action.request))

    def absorb(self, reply: Reply, *, now: float, epoch: float) -> None:
        """Take what came of the action."""
        self._now = self.due = now
        self._epoch = epoch
        self.quota_hit = None
        performed, self.action = self.action, None
        if isinstance(performed, AskStore) and isinstance(reply, Datastore | Refused | Lost):
            self._follow(verdict.of_store(reply), reply, performed)
        elif isinstance(reply, Refused | Lost):
            of = verdict.of_answer if isinstance(performed, Send) else verdict.of_failed_read
            self._follow(of(reply), reply, performed)
        elif isinstance(reply, Accepted):
            self._follow(Finding.ACCEPTED, reply, performed)
        elif isinstance(reply, ImageSet):
            self._looked(reply, performed)
        elif isinstance(reply, Metadata):
            self._read(reply, performed)
        self._open_until_busy()

    def split(self, edits: pl.DataFrame, *, now: float, epoch: float) -> None:
        """Go on with the parts of the refused call. ``edits``: its rows of `bulkedit.plans.PLANNED_EDITS`."""
        self._now, self._epoch = now, epoch
        call, self.to_split = self.to_split, None
        misplaced, self._misplaced = self._misplaced, None
        if call is None:
            raise LookupError("this lane has nothing to split")
        halves = parts(call, edits, self._new_call, guilty=misplaced.has if misplaced else None)
        for part, numbers in halves:
            self.edits[part.call] = part.edits
            self._events.append(Part(part.call, call.call, numbers))
        self._rest += [part for part, _ in reversed(halves)]
        self.calls_left += len(halves)
        self._open_until_busy()

    def withdraw(self, epoch: float) -> Event | None:
        """Nothing more is to be sent: a call that is surely not under way is planned again."""
        self._epoch = epoch
        if self._books is None or self._books.standing is not Standing.INTENDED:
            return None
        self._books.standing = Standing.PLANNED
        return self._event(cause="withdrawn")

    def withdraw_denied(self, epoch: float) -> Event | None:
        """As `withdraw`, of a call that was denied: a later process of the run takes it up last."""
        self._epoch = epoch
        if self._books is None or self._books.standing not in {Standing.PLANNED, Standing.INTENDED}:
            return None
        self._books.standing = Standing.PLANNED
        if self._books.base is None:
            self._books.base = self._versions.followed(self._books.call.image_set_id)
        return self._event(cause=str(Finding.DENIED))

    # opening calls

    @property
    def _held(self) -> _Books:
        if self._books is None:
            raise LookupError("this lane has no call in hand")
        return self._books

    def _open_until_busy(self) -> None:
        while self._books is None and self._rest and not self.parked and self.to_split is None:
            self._open(self._rest.pop())

    def _open(self, call: PlannedCall) -> None:
        books = self._books = _Books(call, Standing.PLANNED)
        if self._is_stopped(call):
            self._settle(Standing.CONFLICTED, cause=EARLIER_CONFLICT)
            return
        begun = self._begun.get(call.call)
        if begun is not None:
            for name in ("attempts", "throttles", "faults", "conflicts"):
                setattr(books, name, begun[name])
        if begun is not None and self._is_begun(self._begun, call):
            # an intent without an answer: the request may have left, or may still be on its way
            was = Standing(begun["standing"])
            books.standing = Standing.IN_DOUBT if was is Standing.INTENDED else was
            books.base, books.base_updated_at = begun["base"], begun["base_updated_at"]
            books.doubtful = True
            if call.lookup:
                books.removal = Removal.EMPTY if begun["by_empty_value"] else Removal.STORED
            self.action = self._look()
            return
        if begun is not None and begun["by_empty_value"]:
            books.removal = Removal.EMPTY
        if self._latest is None or self._latest.state is not State.ACTIVE:
            self.action = self._look()
        else:
            self._examine(self._latest)

    # what came back

    def _looked(self, found: ImageSet, performed: Action | None) -> None:
        self._held.looks += 1
        self._held.read_repeats = None
        # reads may lag behind; but where a failed update leaves no version, the latest may have a lower number
        newest = not isinstance(performed, Look) or performed.version is None
        known = self._latest
        # what was locked may have failed since, and left no version
        if (
            known is None
            or found.version >= known.version
            or (newest and (found.failed or known.state is State.LOCKED))
        ):
            self._seen[self._held.call.image_set_id] = found
        self._examine(found, performed)

    def _examine(self, found: ImageSet, performed: Action | None = None) -> None:
        books = self._held
        finding = self._finding_of_look(found)
        if books.standing is Standing.ACCEPTED and finding in _FAILURES and found.version == books.base:
            self._learned.versions_reused = True
        waits = finding is Finding.LOCKED or (finding is Finding.UNMOVED and books.standing is Standing.ACCEPTED)
        books.locked_since = (books.locked_since or self._now) if waits else None
        self._settled_by_look(finding)
        self._follow(finding, found, performed)

    def _finding_of_look(self, found: ImageSet) -> Finding:
        books = self._held
        if books.standing is Standing.PLANNED:
            # a version that a row names may be there already: reads may lag behind writes
            unseen = found.version < (books.call.version or 0) and books.looks < _LOOKS_AT_LEAST
            behind = unseen or self._versions.is_behind(found)
            return verdict.of_first_look(found, expected=self._is_expected(found), behind=behind)
        finding = verdict.of_look(
            found,
            standing=books.standing,
            base=self._base,
            base_updated_at=books.base_updated_at,
            reused=self._learned.versions_reused,
        )
        if books.invalid is None or finding is not Finding.UNMOVED:
            return finding
        return Finding.UNMOVED_ONCE if books.looks < _LOOKS_AT_LEAST else Finding.INVALID_ON_BASE

    def _is_expected(self, found: ImageSet) -> bool:
        """Whether no other writer has come before the call in hand."""
        named = self._held.call.version
        if named is not None:
            return self._versions.is_named(self._held.call, named, found)
        since = self._versions.followed(found.image_set_id)
        return since is None or not self._versions.others_since(since, found)

    def _read(self, metadata: Metadata, performed: Action | None) -> None:
        books = self._held
        books.read_repeats = None
        if books.documents is not None and isinstance(performed, Read):
            books.documents[performed.version] = metadata.document
            self._compare_documents(metadata, performed)
            return
        wanted = self._request()
        # of a call in doubt the places were there: the document is that of the same base
        misplaced = no_such_place(wanted, metadata.document) if books.standing is Standing.PLANNED else None
        if misplaced is not None:
            self._reject_misplaced(misplaced)
            return
        books.request = fill_stored(wanted, metadata.document)
        books.removal = books.removal or self._learned.first_removal
        if books.request is not None and books.removal is Removal.EMPTY:
            books.request = with_empty_values(books.request, wanted)
        if books.request is None:
            self._settle(Standing.SKIPPED, cause="nothing to remove: the attributes are absent")
        elif books.call.units > 1 and len((books.request.removable or "").encode()) > self._payload_limit:
            self._split("the stored values are longer than the plan allowed for")
        else:
            self.action = Send(books.request)

    def _follow(self, finding: Finding, reply: Reply, performed: Action | None) -> None:
        """Carry out what the table says."""
        books = self._held
        step = verdict.next_step(books.standing, finding)
        if finding in _QUOTA and isinstance(reply, Refused):
            self.quota_hit = reply
            books.throttles += isinstance(performed, Send)
        carry_out: dict[Step, Callable[[], None]] = {
            Step.SEND: self._send,
            Step.SEND_AGAIN: lambda: self._send_again(finding),
            Step.SEND_ANEW: lambda: self._send_anew(finding, reply),
            Step.LOOK: lambda: self._look_now(finding, reply),
            Step.LOOK_LATER: lambda: self._look_later(finding, reply, performed),
            Step.ASK_STORE: self._ask_store,
            Step.COMPARE: lambda: self._compare(performed),
            Step.REBASE: self._rebase,
            Step.APPLIED: lambda: self._applied(finding),
            Step.REJECTED: lambda: self._reject(finding, books.invalid or reply),
            Step.FAILED: lambda: self._settle(Standing.FAILED, *self._why(finding, reply)),
            Step.LEAVE_OPEN: lambda: self._park(*self._why(finding, reply)),
            Step.HALT: lambda: self._halt(reply),
        }
        carry_out[step]()

    # steps

    def _send(self) -> None:
        books = self._held
        latest = self._latest
        if latest is None:
            raise LookupError("a call is sent only once its image set was seen")
        books.doubtful = books.doubtful and books.base == latest.version
        books.base, books.base_updated_at = latest.version, latest.updated_at
        self._prepare()

    def _prepare(self) -> None:
        books = self._held
        if books.call.lookup and books.request is None:
            self.action = Read(books.call.image_set_id, self._base)
        else:
            self.action = Send(self._request())

    def _send_again(self, finding: Finding) -> None:
        books = self._held
        if self._latest is not None and self._latest.version == books.base:
            books.base_updated_at = self._latest.updated_at
        if finding is Finding.UNMOVED and books.refused_since is not None:
            self._wait_for_siblings(books.refused_since)
        elif finding in _QUOTA or self._wait_for_fault(finding):
            self._prepare()

    def _wait_for_siblings(self, since: float) -> None:
        """Send again after a wait: only the answer tells whether all image sets of the study are unlocked."""
        if self._now - since > self._options.unlock_timeout_s:
            self._park("unlock timeout")
            return
        self.due = self._now + LOOK.wait(self._held.attempts, self._rng)
        self._prepare()

    def _send_anew(self, finding: Finding, reply: Reply) -> None:
        books, left = self._held, _left_by(reply)
        if books.doubtful and left == books.base:
            # the service has kept the number, so the lost request may win yet
            books.standing = Standing.IN_DOUBT
            self._note(*self._why(finding, reply), version=left)
            if self._wait_for_fault(finding):
                self._send_again(Finding.THROTTLED)
            return
        self._plan_anew(*self._why(finding, reply), left=left)
        if self._wait_for_fault(finding):
            self._follow_latest()

    def _plan_anew(self, cause: str, message: str | None = None, *, left: int | None = None) -> None:
        """The call has no request any more. ``left``: the version that its failed update has left."""
        books = self._held
        books.standing = Standing.PLANNED
        self._note(cause, message, version=left)
        books.request = books.documents = None
        if left is not None:
            books.base = left

    def _follow_latest(self) -> None:
        """Send with the newest version as base, wait for it to be unlocked, or find that another writer has made it."""
        if self._latest is None or self._latest.state is not State.ACTIVE:
            self.action = self._look()
        else:
            self._examine(self._latest)

    def _look(self, version: int | None = None) -> Look:
        return Look(self._held.call.image_set_id, version, by_list=version is None)

    def _look_now(self, finding: Finding, reply: Reply) -> None:
        books = self._held
        if finding in {Finding.LOST, Finding.DENIED, Finding.UNKNOWN} and books.standing is Standing.INTENDED:
            books.standing = Standing.IN_DOUBT
            books.doubtful = True
            books.faults += 1
            self._note(*self._why(finding, reply))
        if finding is Finding.INVALID and isinstance(reply, Refused):
            books.invalid = reply
        conflict = finding is Finding.CONFLICT and books.call.study_wide
        books.refused_since = (books.refused_since or self._now) if conflict else None
        # past the version that was promised: its own status tells what became of it
        self.action = self._look(self._base + 1 if finding is Finding.PASSED else None)

    def _look_later(self, finding: Finding, reply: Reply, performed: Action | None) -> None:
        books = self._held
        if isinstance(reply, Accepted):
            books.standing = Standing.ACCEPTED
            books.locked_since = books.accepted_at = self._now
            books.locked_at = None
            self._note()
        if finding is Finding.READ_LOST and not self._wait_for_fault(finding):
            return
        if finding in {Finding.LOCKED, Finding.UNMOVED} and self._locked_too_long():
            self._park("unlock timeout")
            return
        if finding not in _QUOTA | {Finding.READ_LOST}:
            self.due = self._now + self._look_in()
        self.action = performed if isinstance(performed, Look | Read | AskStore) else self._look()

    def _ask_store(self) -> None:
        self.action = AskStore()

    def _look_in(self) -> float:
        """Seconds until the next look: our own updates settle as others of the run have, other locks as they like."""
        books = self._held
        if books.standing is not Standing.ACCEPTED or books.accepted_at is None:
            return LOOK.wait(books.looks + 1, self._rng)
        if books.looks == 0:
            return self._settle_times.first_look()
        books.locked_at = self._sent - books.accepted_at
        self._settle_times.still_locked(books.locked_at)
        return self._settle_times.next_look(books.looks, books.locked_at, self._rng)

    def _settled_by_look(self, finding: Finding) -> None:
        books = self._held
        settled = finding in {Finding.REACHED, Finding.FAILED_REQUEST, Finding.FAILED_SERVICE}
        if settled and books.standing is Standing.ACCEPTED and books.accepted_at is not None:
            self._settle_times.settled(self._sent - books.accepted_at, books.locked_at)

    def _locked_too_long(self) -> bool:
        since = self._held.locked_since
        return since is not None and self._now - since > self._options.unlock_timeout_s

    def _compare(self, performed: Action | None) -> None:
        version = self._base + 1
        at_version = self._latest is not None and self._latest.version == version
        if at_version or (isinstance(performed, Look) and performed.version == version):
            self._held.documents = {}
            self._compare_documents(None, performed)
        else:
            self.action = self._look(version)

    def _compare_documents(self, reply: Metadata | None, performed: Action | None) -> None:
        """Read the next document that is needed to tell whose the version after the base is, or tell it."""
        books = self._held
        read = books.documents if books.documents is not None else {}
        target, made, base = books.call.revert_to, self._base + 1, self._base
        wanted = [made, base] if target is None else [target, made, base]  # what a revert should make is its target
        missing = [version for version in wanted if version not in read]
        request, reverted = self._request(), read.get(target or 0)
        # a version is no target of a revert that is built on it, or on one before it
        told = (target or 0) >= base or (made in read and not holds(request, read[made], reverted))
        if missing and not told:
            self.action = Read(books.call.image_set_id, missing[0])
            return
        books.documents = None
        if told or not follows(request, read[base], read[made], reverted):
            finding = Finding.STRANGERS
        else:
            finding = Finding.UNCHANGED if reads_the_same(read[base], read[made]) else Finding.OURS
        self._follow(finding, reply or Metadata({}), performed)

    def _rebase(self) -> None:
        books = self._held
        latest = self._latest
        if latest is None:
            raise LookupError("another writer's version is known only once the image set was seen")
        books.conflicts += 1
        # what is locked may fail yet, and a service may leave no version of that
        books.base = latest.version if latest.state is State.ACTIVE else latest.version - 1
        cause = f"another writer made version {latest.version}"
        if books.call.version is None and self._options.on_conflict is OnConflict.REBASE:
            self._plan_anew(cause)
            self._follow_latest()
            return
        if self._options.on_conflict is OnConflict.STOP:
            self._stopped.add(_stopped_by(books.call))
        if latest.version < (books.call.version or 0):
            cause = f"the image set is at version {latest.version}, which is before the one that the row names"
        self._settle(Standing.CONFLICTED, cause)

    def _applied(self, finding: Finding) -> None:
        if self._held.removal is not None:
            self._learned.removal = self._held.removal
        if finding is Finding.UNCHANGED:
            self._settle(Standing.APPLIED, str(finding))  # an undo would undo what is not ours, if we claimed it
        else:
            self._settle(Standing.APPLIED, version=self._base + 1)

    def _reject(self, finding: Finding, reply: Reply) -> None:
        """Where several edits share a refused call, some may be innocent: each is to have its own truth."""
        left = _left_by(reply) if finding is Finding.FAILED_REQUEST else None
        if self._held.call.units > 1 and finding in _BY_CONTENT:
            self._split(*self._why(finding, reply), version=left)
        elif finding in _BY_CONTENT and self._may_want_empty_value():
            _, words = self._why(finding, reply)
            self._held.removal = Removal.EMPTY
            self._plan_anew(BY_EMPTY_VALUE, words, left=left)
            self._follow_latest()
        else:
            self._settle(Standing.REJECTED, *self._why(finding, reply), version=left)

    def _reject_misplaced(self, misplaced: NoSuchPlace) -> None:
        """Nothing is sent to a series or instance that is not there; what else the call asks for goes on."""
        if self._held.call.units > 1 and not misplaced.alone:
            self._misplaced = misplaced
            self._split(misplaced.cause)
        else:
            self._settle(Standing.REJECTED, misplaced.cause)

    def _may_want_empty_value(self) -> bool:
        """No removal by the stored value has been made yet: the service may want the empty one."""
        return self._held.removal is Removal.STORED and self._learned.removal is not Removal.STORED

    def _split(self, cause: str, message: str | None = None, *, version: int | None = None) -> None:
        self.to_split = self._held.call
        self._settle(Standing.SPLIT, cause, message, version=version)

    def _halt(self, reply: Reply) -> None:
        gone = Refused(Refusal.NOT_FOUND, reply.status) if isinstance(reply, Datastore) else None
        self.halted = reply if isinstance(reply, Refused) else gone
        self.parked = True
        self.action = None

    def _park(self, cause: str, message: str | None = None) -> None:
        self.parked = True
        self._note(cause, message)
        self.action = None

    def _wait_for_fault(self, finding: Finding) -> bool:
        """Count a fault and put the next attempt off; False where the call was given up instead."""
        books = self._held
        books.faults += finding is not Finding.UNMOVED  # what led to that look has been counted
        if finding is Finding.READ_LOST:
            repeats = books.read_repeats = books.read_repeats or self._repeats(reads=True)
        else:
            repeats = books.repeats = books.repeats or self._repeats(reads=False)
        wait = repeats.fault(self._now)
        if wait is not None:
            self.due = self._now + wait
            return True
        in_doubt = books.standing in {Standing.IN_DOUBT, Standing.ACCEPTED} and finding not in _FAILURES
        if in_doubt or finding is Finding.READ_LOST:
            self._park(f"left open after repeated: {finding}")
        else:
            self._settle(Standing.FAILED, f"given up after repeated: {finding}")
        return False

    # the image sets of the lane

    @property
    def _latest(self) -> ImageSet | None:
        """The newest version that was seen of the image set of the call in hand."""
        return self._seen.get(self._held.call.image_set_id)

    def _is_stopped(self, call: PlannedCall) -> bool:
        """Whether what the call builds on has conflicted: its image set, or, of a study, any of them."""
        begun = self._begun.get(call.call)
        again = begun is not None and begun["standing"] == Standing.PLANNED and begun["base"] is None
        stopped = self._stopped if again else self._stopped | self._stopped_before
        return bool(stopped) if call.study_wide else not stopped.isdisjoint({None, call.image_set_id})

    def _forget_siblings(self, call: PlannedCall) -> None:
        """A call of the whole study has made a version of its other image sets too: they are to be looked at again."""
        if call.study_wide:
            self._seen = {call.image_set_id: seen} if (seen := self._seen.get(call.image_set_id)) else {}

    def _repeats(self, *, reads: bool) -> Repeats:
        return Repeats(self._options, self._budget, self._rng, reads=reads)

    # books

    def _settle(
        self, standing: Standing, cause: str | None = None, message: str | None = None, *, version: int | None = None
    ) -> None:
        self._held.standing = standing
        self._note(cause, message, version=version)
        self._forget_siblings(self._held.call)
        self.calls_left -= 1
        self._books = None
        self.action = None

    @property
    def _base(self) -> int:
        base = self._held.base
        if base is None:
            raise LookupError("this call has no base yet")
        return base

    def _request(self) -> UpdateRequest:
        books = self._held
        call = books.call
        return books.request or UpdateRequest(
            image_set_id=call.image_set_id,
            base=self._base,
            updatable=call.updatable,
            removable=call.removable,
            revert_to=call.revert_to,
            force=call.force,
            include_study=call.study_wide,
        )

    def _digest(self, request: UpdateRequest) -> str:
        digest = hashlib.blake2b(key=self._key, digest_size=16)
        for part in (request.updatable, request.removable, request.revert_to, request.force, request.include_study):
            digest.update(repr(part).encode())
        return digest.hexdigest()

    def _why(self, finding: Finding, reply: Reply) -> tuple[str, str | None]:
        """Cause and message for the ledger, without values."""
        if isinstance(reply, Lost):
            return reply.cause, None
        cause = reply.code if isinstance(reply, Refused) else str(finding)
        message = reply.message if isinstance(reply, Refused | ImageSet) else ""
        return cause, message or None

    def _note(self, cause: str | None = None, message: str | None = None, *, version: int | None = None) -> None:
        self._events.append(self._event(cause=cause, message=message, version=version))

    def _event(
        self,
        *,
        cause: str | None = None,
        message: str | None = None,
        version: int | None = None,
        digest: str | None = None,
    ) -> Event:
        books = self._held
        self._versions.take(books.call, books.standing, books.base, version)
        return Event(
            at=self._epoch,
            call=books.call.call,
            standing=books.standing,
            base=books.base,
            base_updated_at=books.base_updated_at,
            version=version,
            attempts=books.attempts,
            throttles=books.throttles,
            faults=books.faults,
            conflicts=books.conflicts,
            cause=cause,
            message=message,
            digest=digest,
        )
