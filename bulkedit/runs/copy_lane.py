"""The lane of a primary image set that is changed by way of a copy.

Its edits are the calls of an ordinary lane, sent to the copy; its copies and deletions follow the tables of
`bulkedit.runs.copy_transitions`. If a step does not succeed, the lane ends there: what comes after it is not sent, and
the original stays as it is.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from bulkedit.client.contract import CopyRequest
from bulkedit.client.pacing import LOOK
from bulkedit.client.parsing import primaries_of
from bulkedit.client.responses import CallState, Copied, ImageSet, Metadata, Page
from bulkedit.options.running import OnConflict
from bulkedit.plans import CopyStep
from bulkedit.runs import copy_transitions as copies
from bulkedit.runs.copy_transitions import COPIES, DELETIONS, LATEST_S, WELL, table_of
from bulkedit.runs.lane import READS_UNANSWERED, LaneRun, meaning
from bulkedit.runs.ledger import Made
from bulkedit.runs.requests import Copy, Delete, GetImageSet, GetMetadata, Search
from bulkedit.runs.transitions import CALLS, CallAction, CallEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from bulkedit.client.contract import Criteria
    from bulkedit.plans import Lane, PlannedCall
    from bulkedit.runs.lane import Came, LaneContext, Why
    from bulkedit.runs.requests import LaneRequest, Reply
    from bulkedit.runs.versions import Versions

# What the service may count or name anew in a copy is not compared.
_COUNTED: Final = frozenset({"NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"})
_EARLIER: Final = {
    CallState.REJECTED: CallEvent.EARLIER_REJECTED,
    CallState.FAILED: CallEvent.EARLIER_FAILED,
    CallState.CONFLICTED: CallEvent.EARLIER_CONFLICTED,
}


@dataclass(frozen=True, slots=True)
class Past:
    """What earlier processes have left of a change by way of a copy, and which of the plan's calls are its copies."""

    original: str
    copy: int  # number of the call that copies the original
    promote: int  # number of the call that promotes the copy
    planned: frozenset[int]  # numbers of its calls in the plan
    made: dict[int, str] = field(default_factory=dict)  # call -> image set that it made
    there: dict[int, frozenset[str]] = field(default_factory=dict)  # call -> image sets that were there before
    expected_versions: dict[int, int] = field(default_factory=dict)  # completed copy -> version of its source
    owed: int = 0  # edits that are in the copy, and have no outcome before that is promoted
    ended: CallState | None = None  # what its steps from here on are completed as


def series_criteria(series_uid: str) -> Criteria:
    """The search for all image sets of a series."""
    return {"filters": [{"values": [{"DICOMSeriesInstanceUID": series_uid}], "operator": "EQUAL"}]}


def unsafe(request: Delete, found: ImageSet) -> bool:
    """Whether what a poll shows right before a deletion forbids it."""
    if found.image_set_id == request.promoted:
        return not copies.is_there(found)
    return copies.of_source(found, request.version) is not CallEvent.AT_EXPECTED


def series_of(document: dict[str, Any]) -> str | None:
    """The SeriesInstanceUID of a metadata document, without padding."""
    series = document.get("Study", {}).get("Series", {})
    return next(iter(series), "").rstrip(" \0") or None


def content_digest(document: dict[str, Any], key: bytes) -> str:
    """A keyed digest of what copies must have in common: the attributes at every level, and how many image frames."""
    study = document.get("Study", {})
    content = [document.get("Patient", {}).get("DICOM"), _counted(study.get("DICOM"))]
    for uid, series in sorted(study.get("Series", {}).items()):
        content.append([uid, _counted(series.get("DICOM"))])
        for sop, instance in sorted(series.get("Instances", {}).items()):
            frames = len(instance.get("ImageFrames") or [])
            content.append([sop, instance.get("DICOM"), instance.get("DICOMVRs") or {}, frames])
    text = json.dumps(content, sort_keys=True)
    return hashlib.blake2b(text.encode(), key=key, digest_size=16).hexdigest()


def _counted(attributes: dict[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (attributes or {}).items() if name not in _COUNTED}


class ViaCopyRun(LaneRun):
    """A lane with a copy, its edits, a promotion and deletions on its way through its calls."""

    def __init__(
        self,
        past: Past,
        lane: Lane,
        context: LaneContext,
        *,
        versions: Versions,
        conflicted: Collection[PlannedCall] = (),
        now: float,
        epoch: float,
    ) -> None:
        """As of any lane; ``past``: what earlier processes have left of it."""
        self._past = past
        self._made = dict(past.made)
        self._there = {call: set(ids) for call, ids in past.there.items()}
        self._source_versions = dict(past.expected_versions)
        self._owed = past.owed
        self._ended = past.ended
        self._content: dict[tuple[str, int], str] = {}  # image set and version -> digest of what it holds
        self._series: str | None = None  # SeriesInstanceUID of the source of the copy in hand
        self._made_version: int | None = None  # of the new image set, when it was last polled
        self._moved = False  # the source was past its expected version when it was last polled
        self._new: dict[str, bool | None] = {}  # listed so far, and whether each is primary
        self._candidate: str | None = None  # the image set that the copy in hand has made, or may have
        super().__init__(lane, context, versions=versions, conflicted=conflicted, now=now, epoch=epoch)

    # what the shell asks

    @property
    def under_way(self) -> bool:
        """As of any lane; but a copy that is waited out keeps no run from stopping: a resume lists again."""
        books = self._books
        waited_out = (
            books is not None and table_of(books.call.copy_step) is COPIES and books.state is CallState.OUTCOME_UNKNOWN
        )
        return super().under_way and not waited_out

    # opening calls

    def _open(self, call: PlannedCall) -> None:
        self._series = self._candidate = None
        if call.copy_step == CopyStep.PROMOTE:
            # the edits that are in the copy get their outcome with its promotion
            self.edits[call.call], self._owed = self._owed, 0
        # the parts of a call that was split go on: each edit is to have an outcome of its own
        if self._ended is not None and call.call in self._past.planned and not self._is_begun(call):
            reason = "an earlier step of the copy, edit and promote was not made"
            self._end_unsent(call, _EARLIER[self._ended], reason)
        elif call.copy_step in {CopyStep.COPY, CopyStep.DELETE_ORIGINAL}:
            super()._open(replace(call, image_set_id=self._past.original))
        else:
            super()._open(replace(call, image_set_id=self._made[self._past.copy]))

    def _is_stopped(self, call: PlannedCall) -> bool:
        return not _is_own(call) and super()._is_stopped(call)

    def _start(self, came: Came) -> None:
        """What is copied is polled first. What is deleted is polled when the deletion may leave."""
        books = self._held
        if not _is_own(books.call):
            super()._start(came)
        elif table_of(books.call.copy_step) is DELETIONS:
            of = self._past.copy if books.call.copy_step == CopyStep.DELETE_ORIGINAL else self._past.promote
            books.expected = self._source_versions[of]
            self._prepare()
        else:
            books.expected = self._candidate = None
            self._there.pop(books.call.call, None)
            self._poll(came)

    def _prepare(self) -> None:
        call = self._held.call
        if not _is_own(call):
            super()._prepare()
        elif table_of(call.copy_step) is DELETIONS:
            self.request = Delete(call.image_set_id, self._expected, self._made[self._past.promote])
        else:
            promote = call.copy_step == CopyStep.PROMOTE
            self.request = Copy(
                CopyRequest(image_set_id=call.image_set_id, expected_version=self._expected, promote=promote)
            )

    # what came back

    def _absorb(self, reply: Reply, performed: LaneRequest | None) -> None:
        books = self._held
        if not _is_own(books.call):
            super()._absorb(reply, performed)
        elif isinstance(reply, ImageSet):
            self._saw(reply, performed)
        elif isinstance(reply, Metadata):
            self._has_read(reply, performed)
        elif isinstance(reply, Page):
            self._listed(reply, performed)
        else:
            if isinstance(reply, Copied):
                self._candidate = self._made[books.call.call] = reply.image_set_id
                self._events.append(Made(books.call.call, reply.image_set_id))
            event = meaning(reply, performed)
            if event is CallEvent.GONE and self._is_of_candidate(performed):
                event = CallEvent.COPY_GONE
                if books.state is CallState.ACCEPTED:
                    books.locked_since = books.locked_since or self._now
            self._take(event, reply, performed)

    def _is_of_candidate(self, performed: LaneRequest | None) -> bool:
        return isinstance(performed, GetImageSet | GetMetadata) and performed.image_set_id == self._candidate

    def _saw(self, found: ImageSet, performed: LaneRequest | None) -> None:
        books = self._held
        books.polls += 1
        books.read_retries = None
        if isinstance(performed, Delete) and found.image_set_id == performed.promoted:
            locked = copies.of_source(found, None) is CallEvent.LOCKED
            event = CallEvent.LOCKED if locked else CallEvent.UNSAFE
        elif found.image_set_id == self._candidate:
            self._made_version = found.version
            event = copies.of_made(found, promoted=books.call.copy_step == CopyStep.PROMOTE)
        else:
            event = copies.of_source(found, books.expected)
            self._moved = event is CallEvent.PASSED
            if books.expected is None and event is CallEvent.AT_EXPECTED:
                books.expected = found.version
        waits = event in {CallEvent.LOCKED, CallEvent.COPY_LOCKED, CallEvent.COPY_GONE}
        lags = books.state is CallState.ACCEPTED and event in {CallEvent.AT_EXPECTED, CallEvent.PASSED}
        books.locked_since = (books.locked_since or self._now) if waits or lags else None
        self._changed(event, found, performed)

    def _changed(self, event: CallEvent, reply: Reply, performed: LaneRequest | None) -> None:
        """Take an event that may tell of another writer."""
        books = self._held
        table = table_of(books.call.copy_step)
        may_follow = books.call.copy_step != CopyStep.PROMOTE and self._context.options.on_conflict is OnConflict.RETRY
        refined = copies.of_changed(event, table, books.state, moved=self._moved, may_follow=may_follow)
        why: Why | None = None
        if event is CallEvent.DIFFERENT:
            reason = str(event) if refined is event else "the new image set differs from its source"
            why = reason, f"image set {self._candidate}"
        elif refined is not event:
            deletes = "another writer has changed it since it was copied, so it is not deleted"
            why = deletes if table is DELETIONS else "another writer has changed the image set that is copied", None
        self._take(refined, reply, performed, why=why)

    def _has_read(self, found: Metadata, performed: LaneRequest | None) -> None:
        if not isinstance(performed, GetMetadata):
            raise TypeError("metadata came without a request for it")
        books = self._held
        books.read_retries = None
        digest = content_digest(found.document, self._context.key)
        self._content[performed.image_set_id, performed.version] = digest
        if performed.image_set_id == self._candidate:
            same = self._content.get((books.call.image_set_id, self._expected)) == digest
            self._changed(CallEvent.SAME if same else CallEvent.DIFFERENT, found, performed)
            return
        if self._candidate is not None:  # the source, read again to compare its copy with
            self.request = GetImageSet(self._candidate)
            return
        self._series = series_of(found.document)
        if self._series is None:
            reason = "its metadata names no series, so a copy of it could not be found again"
            self._take(CallEvent.REFUSED, why=(reason, None))
            return
        self._search()

    def _listed(self, page: Page, performed: LaneRequest | None) -> None:
        books = self._held
        books.read_retries = None
        self._new |= primaries_of(page)
        if page.next_token is not None and isinstance(performed, Search):
            self.request = Search(performed.series_uid, page.next_token)
            return
        number = books.call.call
        if books.state is CallState.PLANNED:
            self._there[number] = set(self._new)
            self._events += [Made(number, image_set_id, ours=False) for image_set_id in self._new]
            self._prepare()
            return
        promote = books.call.copy_step == CopyStep.PROMOTE
        there = self._there.get(number, set()) | {books.call.image_set_id, self._past.original}
        new = [one for one, primary in self._new.items() if one not in there and primary in {None, promote}]
        self._candidate = new[0] if len(new) == 1 else None
        event = copies.of_new(len(new))
        if event is CallEvent.SEVERAL_NEW:
            # which of them is ours nothing tells; ids are no health data
            self._take(event, why=("several new image sets may be its copy", ", ".join(sorted(new))))
        else:
            self._changed(event, page, performed)

    # actions

    def _actions(self) -> dict[CallAction, Callable[[Came], None]]:
        return super()._actions() | {
            CallAction.READ_SOURCE: self._read_source,
            CallAction.WAIT_OUT: self._wait_out,
            CallAction.LIST: self._list,
            CallAction.POLL_COPY: self._poll_copy,
            CallAction.COMPARE_COPY: self._compare_copy,
            CallAction.PASS_OVER: self._pass_over,
        }

    def _read_source(self, _: Came) -> None:
        self.request = GetMetadata(self._held.call.image_set_id, self._expected)

    def _wait_out(self, came: Came) -> None:
        """Poll once what was sent can no longer be carried out; then the list tells whether there is a new one."""
        sent = self._held.sent_at
        self.due = self._now + max(0.0, (self._epoch if sent is None else sent) + LATEST_S - self._epoch)
        self._poll(came)

    def _list(self, came: Came) -> None:
        if self._series is None:
            self._read_source(came)
        else:
            self._search()

    def _search(self) -> None:
        if self._series is None:
            raise LookupError("the series of the source is not known")
        self._new = {}
        self.request = Search(self._series)

    def _poll_copy(self, came: Came) -> None:
        if came.event is CallEvent.OPENED:
            self._candidate = self._made[self._held.call.call]
        if came.event is CallEvent.ACCEPTED:
            self.due = self._now + LOOK.wait(1, self._context.rng)
        if self._candidate is None:
            raise LookupError("there is no new image set to poll")
        self.request = GetImageSet(self._candidate)

    def _compare_copy(self, came: Came) -> None:
        """Read the new image set, after its source if that was read by an earlier process."""
        if (self._held.call.image_set_id, self._expected) not in self._content:
            self._read_source(came)
        elif isinstance(came.reply, ImageSet):
            self.request = GetMetadata(came.reply.image_set_id, came.reply.version)

    def _poll_later(self, came: Came) -> None:
        """Copies and deletions take longer than updates: the wait grows twice as fast."""
        books = self._held
        super()._poll_later(came)
        if _is_own(books.call) and came.event not in READS_UNANSWERED:
            books.polls += 1

    def _is_locked_too_long(self, event: CallEvent) -> bool:
        """A copy that is under way for too long is also left if polls of it are not answered."""
        unanswered = _is_own(self._held.call) and event in READS_UNANSWERED
        return super()._is_locked_too_long(CallEvent.LOCKED if unanswered else event)

    def _pass_over(self, came: Came) -> None:
        if self._candidate is not None:
            self._there.setdefault(self._held.call.call, set()).add(self._candidate)
        self._candidate = None
        self._list(came)

    def _claim(self, came: Came) -> None:
        """The copy is there and holds what it should; or what was deleted is gone."""
        table, number = table_of(self._held.call.copy_step), self._held.call.call
        if table is CALLS:
            super()._claim(came)
        elif table is DELETIONS:
            self._complete(replace(came, why=(None, None)))
        else:
            if self._candidate is None:
                raise LookupError("there is no new image set")
            if self._made.get(number) != self._candidate:  # it was found, after the answer was lost
                self._made[number] = self._candidate
                self._events.append(Made(number, self._candidate))
            self._source_versions[number] = self._expected
            self._complete(replace(came, why=(None, None), version=self._made_version))

    def _complete(self, came: Came) -> None:
        call, state = self._held.call, self._held.state
        super()._complete(came)
        if call.copy_step == CopyStep.EDIT:
            if state in WELL:
                # in the copy, and only there: what becomes of the edits is known when that is promoted
                self._owed += self.edits[call.call]
                self.edits[call.call] = 0
            elif state is not CallState.SPLIT:
                self._ended = self._ended or CallState.FAILED
        elif table_of(call.copy_step) is COPIES and state is not CallState.APPLIED:
            self._ended = state
        self._content.clear()


def _is_own(call: PlannedCall) -> bool:
    """Whether a call of the lane is a copy, a promotion or a deletion."""
    return table_of(call.copy_step) is not CALLS
