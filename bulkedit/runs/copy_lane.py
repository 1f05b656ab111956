"""The lane of a primary image set that is changed by a copy (--via-copy).

Its edits are the calls of an ordinary lane, sent to the copy. Its copies and deletions follow the tables of
`bulkedit.runs.copy_transitions`. If a step does not succeed, the lane ends there: later steps are not sent, and the
original is not changed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from bulkedit.client.contract import CopyRequest
from bulkedit.client.pacing import POLL
from bulkedit.client.parsing import primaries_of
from bulkedit.client.responses import CallState, Copied, ImageSet, Metadata, Page
from bulkedit.options.running import OnConflict
from bulkedit.plans import CopyStep
from bulkedit.runs import copy_transitions as copies
from bulkedit.runs.copy_transitions import COPIES, DELETIONS, REQUEST_LIFETIME_S, SUCCEEDED, table_of
from bulkedit.runs.lane import READS_UNANSWERED, LaneRun, meaning
from bulkedit.runs.ledger import Made
from bulkedit.runs.requests import Copy, Delete, GetImageSet, GetMetadata, Search
from bulkedit.runs.transitions import CALLS, CallAction, CallEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from bulkedit.plans import Lane, PlannedCall
    from bulkedit.runs.lane import EventDetails, LaneContext, Why
    from bulkedit.runs.requests import LaneRequest, Reply
    from bulkedit.runs.versions import Versions

# counts that the service may compute again in a copy: they are not compared
_COUNTED: Final = frozenset({"NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"})
_EARLIER: Final = {
    CallState.REJECTED: CallEvent.EARLIER_REJECTED,
    CallState.FAILED: CallEvent.EARLIER_FAILED,
    CallState.CONFLICTED: CallEvent.EARLIER_CONFLICTED,
}


@dataclass(frozen=True, slots=True)
class CopyHistory:
    """The ledger's records of a lane with a copy, and the numbers of its copying calls."""

    original: str
    copy: int  # number of the call that copies the original
    promote: int  # number of the call that promotes the copy
    planned: frozenset[int]  # numbers of the lane's calls in the plan
    made: dict[int, str] = field(default_factory=dict)  # call -> image set that it made
    existing: dict[int, frozenset[str]] = field(default_factory=dict)  # call -> image sets that existed before it
    expected_versions: dict[int, int] = field(default_factory=dict)  # completed copy -> version of its source
    edits_in_copy: int = 0  # edits made in the copy, without an outcome before it is promoted
    ended: CallState | None = None  # the state of all further steps, once a step did not succeed


def unsafe(request: Delete, found: ImageSet) -> bool:
    """Whether a poll right before a deletion forbids it."""
    if found.image_set_id == request.promoted:
        return not copies.is_there(found)
    return copies.of_source(found, request.version) is not CallEvent.AT_EXPECTED


def series_of(document: dict[str, Any]) -> str | None:
    """The SeriesInstanceUID of a metadata document, without padding."""
    series = document.get("Study", {}).get("Series", {})
    return next(iter(series), "").rstrip(" \0") or None


def content_digest(document: dict[str, Any], key: bytes) -> str:
    """A keyed digest of what a copy shares with its source: the attributes at every level, and numbers of frames."""
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
    """A lane with a copy, edits, a promotion and deletions, while its calls are sent."""

    def __init__(
        self,
        history: CopyHistory,
        lane: Lane,
        context: LaneContext,
        *,
        versions: Versions,
        conflicted: Collection[PlannedCall] = (),
        now: float,
        epoch: float,
    ) -> None:
        """``history``: the ledger's records of the lane. Other arguments: as for `LaneRun`."""
        self._history = history
        self._made = dict(history.made)
        self._existing = {call: set(ids) for call, ids in history.existing.items()}
        self._source_versions = dict(history.expected_versions)
        self._edits_in_copy = history.edits_in_copy
        self._ended = history.ended
        self._content: dict[tuple[str, int], str] = {}  # image set and version -> digest of its content
        self._series: str | None = None  # SeriesInstanceUID of the source
        self._made_version: int | None = None  # of the new image set, from its last poll
        self._moved = False  # the last poll of the source showed a newer version than the expected one
        self._new: dict[str, bool | None] = {}  # listed image set -> is it primary?
        self._candidate: str | None = None  # the image set that this call has made, or may have made
        super().__init__(lane, context, versions=versions, conflicted=conflicted, now=now, epoch=epoch)

    # called by the engine

    @property
    def under_way(self) -> bool:
        """As in `LaneRun`, but a lost copy request does not delay a stop: a resume lists the series again."""
        current = self._current_call
        waited_out = (
            current is not None
            and table_of(current.call.copy_step) is COPIES
            and current.state is CallState.OUTCOME_UNKNOWN
        )
        return super().under_way and not waited_out

    # opening calls

    def _open(self, call: PlannedCall) -> None:
        self._series = self._candidate = None
        if call.copy_step == CopyStep.PROMOTE:
            # the promotion decides the outcome of the edits in the copy
            self.edits[call.call], self._edits_in_copy = self._edits_in_copy, 0
        # the parts of a split call are still sent, so that each edit gets its own outcome
        if self._ended is not None and call.call in self._history.planned and not self._is_begun(call):
            reason = "an earlier step of the copy, edit and promote was not made"
            self._end_unsent(call, _EARLIER[self._ended], reason)
        elif call.copy_step in {CopyStep.COPY, CopyStep.DELETE_ORIGINAL}:
            super()._open(replace(call, image_set_id=self._history.original))
        else:
            super()._open(replace(call, image_set_id=self._made[self._history.copy]))

    def _is_stopped(self, call: PlannedCall) -> bool:
        return not _is_own(call) and super()._is_stopped(call)

    def _start(self, details: EventDetails) -> None:
        """Poll the source of a copy first. An image set to delete is polled when the quota has room for it."""
        current = self._current
        if not _is_own(current.call):
            super()._start(details)
        elif table_of(current.call.copy_step) is DELETIONS:
            of = self._history.copy if current.call.copy_step == CopyStep.DELETE_ORIGINAL else self._history.promote
            current.expected = self._source_versions[of]
            self._prepare()
        else:
            current.expected = self._candidate = None
            self._existing.pop(current.call.call, None)
            self._poll(details)

    def _prepare(self) -> None:
        call = self._current.call
        if not _is_own(call):
            super()._prepare()
        elif table_of(call.copy_step) is DELETIONS:
            self.request = Delete(call.image_set_id, self._expected, self._made[self._history.promote])
        else:
            promote = call.copy_step == CopyStep.PROMOTE
            self.request = Copy(
                CopyRequest(image_set_id=call.image_set_id, expected_version=self._expected, promote=promote)
            )

    # replies

    def _absorb(self, reply: Reply, performed: LaneRequest | None) -> None:
        current = self._current
        if not _is_own(current.call):
            super()._absorb(reply, performed)
        elif isinstance(reply, ImageSet):
            self._saw(reply, performed)
        elif isinstance(reply, Metadata):
            self._has_read(reply, performed)
        elif isinstance(reply, Page):
            self._listed(reply, performed)
        else:
            if isinstance(reply, Copied):
                self._candidate = self._made[current.call.call] = reply.image_set_id
                self._events.append(Made(current.call.call, reply.image_set_id))
            event = meaning(reply, performed)
            if event is CallEvent.GONE and self._is_of_candidate(performed):
                event = CallEvent.COPY_GONE
                if current.state is CallState.ACCEPTED:
                    current.locked_since = current.locked_since or self._now
            self._take(event, reply, performed)

    def _is_of_candidate(self, performed: LaneRequest | None) -> bool:
        return isinstance(performed, GetImageSet | GetMetadata) and performed.image_set_id == self._candidate

    def _saw(self, found: ImageSet, performed: LaneRequest | None) -> None:
        current = self._current
        current.polls += 1
        current.read_retries = None
        if isinstance(performed, Delete) and found.image_set_id == performed.promoted:
            locked = copies.of_source(found, None) is CallEvent.LOCKED
            event = CallEvent.LOCKED if locked else CallEvent.UNSAFE
        elif found.image_set_id == self._candidate:
            self._made_version = found.version
            event = copies.of_made(found, promoted=current.call.copy_step == CopyStep.PROMOTE)
        else:
            event = copies.of_source(found, current.expected)
            self._moved = event is CallEvent.PASSED
            if current.expected is None and event is CallEvent.AT_EXPECTED:
                current.expected = found.version
        waits = event in {CallEvent.LOCKED, CallEvent.COPY_LOCKED, CallEvent.COPY_GONE}
        locked = event is CallEvent.LOCKED and current.state is not CallState.ACCEPTED
        self._wait_for(found.image_set_id if locked else None)
        lags = current.state is CallState.ACCEPTED and event in {CallEvent.AT_EXPECTED, CallEvent.PASSED}
        current.locked_since = (current.locked_since or self._now) if waits or lags else None
        self._changed(event, found, performed)

    def _changed(self, event: CallEvent, reply: Reply, performed: LaneRequest | None) -> None:
        """Take an event that may show another writer's change."""
        current = self._current
        table = table_of(current.call.copy_step)
        may_follow = (
            current.call.copy_step != CopyStep.PROMOTE and self._context.options.on_conflict is OnConflict.RETRY
        )
        refined = copies.of_changed(event, table, current.state, moved=self._moved, may_follow=may_follow)
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
        current = self._current
        current.read_retries = None
        digest = content_digest(found.document, self._context.key)
        self._content[performed.image_set_id, performed.version] = digest
        if performed.image_set_id == self._candidate:
            same = self._content.get((current.call.image_set_id, self._expected)) == digest
            self._changed(CallEvent.SAME if same else CallEvent.DIFFERENT, found, performed)
            return
        if self._candidate is not None:  # the source was read again for the comparison with its copy
            self.request = GetImageSet(self._candidate)
            return
        self._series = series_of(found.document)
        if self._series is None:
            reason = "its metadata has no series, so a copy of it could not be found again"
            self._take(CallEvent.REFUSED, why=(reason, None))
            return
        self._search()

    def _listed(self, page: Page, performed: LaneRequest | None) -> None:
        current = self._current
        current.read_retries = None
        self._new |= primaries_of(page)
        if page.next_token is not None and isinstance(performed, Search):
            self.request = Search(performed.series_uid, page.next_token)
            return
        number = current.call.call
        if current.state is CallState.PLANNED:
            self._existing[number] = set(self._new)
            self._events += [Made(number, image_set_id, ours=False) for image_set_id in self._new]
            self._prepare()
            return
        promote = current.call.copy_step == CopyStep.PROMOTE
        existing = self._existing.get(number, set()) | {current.call.image_set_id, self._history.original}
        new = [one for one, primary in self._new.items() if one not in existing and primary in {None, promote}]
        self._candidate = new[0] if len(new) == 1 else None
        event = copies.of_new(len(new))
        if event is CallEvent.SEVERAL_NEW:
            # nothing shows which of them is ours; ids are not health data
            self._take(event, why=("several new image sets may be its copy", ", ".join(sorted(new))))
        else:
            self._changed(event, page, performed)

    # actions

    def _actions(self) -> dict[CallAction, Callable[[EventDetails], None]]:
        return super()._actions() | {
            CallAction.READ_SOURCE: self._read_source,
            CallAction.WAIT_OUT: self._wait_out,
            CallAction.LIST: self._list,
            CallAction.POLL_COPY: self._poll_copy,
            CallAction.COMPARE_COPY: self._compare_copy,
            CallAction.PASS_OVER: self._pass_over,
        }

    def _read_source(self, _: EventDetails) -> None:
        self.request = GetMetadata(self._current.call.image_set_id, self._expected)

    def _wait_out(self, details: EventDetails) -> None:
        """Poll the source once the lost request can no longer be carried out; then list the series."""
        sent = self._current.sent_at
        self.due = self._now + max(0.0, (self._epoch if sent is None else sent) + REQUEST_LIFETIME_S - self._epoch)
        self._poll(details)

    def _list(self, details: EventDetails) -> None:
        if self._series is None:
            self._read_source(details)
        else:
            self._search()

    def _search(self) -> None:
        if self._series is None:
            raise LookupError("the series of the source is not known")
        self._new = {}
        self.request = Search(self._series)

    def _poll_copy(self, details: EventDetails) -> None:
        if details.event is CallEvent.OPENED:
            self._candidate = self._made[self._current.call.call]
        if details.event is CallEvent.ACCEPTED:
            self.due = self._now + POLL.wait(1, self._context.rng)
        if self._candidate is None:
            raise LookupError("there is no new image set to poll")
        self.request = GetImageSet(self._candidate)

    def _compare_copy(self, details: EventDetails) -> None:
        """Read the new image set, and its source first if this process has not read it."""
        if (self._current.call.image_set_id, self._expected) not in self._content:
            self._read_source(details)
        elif isinstance(details.reply, ImageSet):
            self.request = GetMetadata(details.reply.image_set_id, details.reply.version)

    def _poll_later(self, details: EventDetails) -> None:
        """Copies and deletions take longer than updates: the wait grows twice as fast."""
        current = self._current
        super()._poll_later(details)
        if _is_own(current.call) and details.event not in READS_UNANSWERED:
            current.polls += 1

    def _is_locked_too_long(self, event: CallEvent) -> bool:
        """Give a copy up after the unlock timeout, even if its polls are not answered."""
        unanswered = _is_own(self._current.call) and event in READS_UNANSWERED
        return super()._is_locked_too_long(CallEvent.LOCKED if unanswered else event)

    def _pass_over(self, details: EventDetails) -> None:
        if self._candidate is not None:
            self._existing.setdefault(self._current.call.call, set()).add(self._candidate)
        self._candidate = None
        self._list(details)

    def _claim(self, details: EventDetails) -> None:
        """Complete a copy whose content was compared, or a deletion whose image set is gone."""
        table, number = table_of(self._current.call.copy_step), self._current.call.call
        if table is CALLS:
            super()._claim(details)
        elif table is DELETIONS:
            self._complete(replace(details, why=(None, None)))
        else:
            if self._candidate is None:
                raise LookupError("there is no new image set")
            if self._made.get(number) != self._candidate:  # found after a lost answer
                self._made[number] = self._candidate
                self._events.append(Made(number, self._candidate))
            self._source_versions[number] = self._expected
            self._complete(replace(details, why=(None, None), version=self._made_version))

    def _complete(self, details: EventDetails) -> None:
        call, state = self._current.call, self._current.state
        super()._complete(details)
        if call.copy_step == CopyStep.EDIT:
            if state in SUCCEEDED:
                # the edits are in the copy only; its promotion decides their outcome
                self._edits_in_copy += self.edits[call.call]
                self.edits[call.call] = 0
            elif state is not CallState.SPLIT:
                self._ended = self._ended or CallState.FAILED
        elif table_of(call.copy_step) is COPIES and state is not CallState.APPLIED:
            self._ended = state
        self._content.clear()


def _is_own(call: PlannedCall) -> bool:
    """Whether a call is a copy, a promotion or a deletion."""
    return table_of(call.copy_step) is not CALLS
