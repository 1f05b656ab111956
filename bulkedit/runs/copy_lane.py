"""The lane of a recipe: a primary image set that is changed by way of a copy.

Its edits are the calls of an ordinary lane, sent to the copy; its copies and deletions follow the tables of
`bulkedit.runs.copy_transitions`. A step that does not come to its end ends the recipe there: what comes after it is not
sent, and the original stays as it is.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from bulkedit.client.contract import CopyRequest
from bulkedit.client.pacing import LOOK
from bulkedit.client.responses import Copied, Datastore, Deleting, ImageSet, Lost, Metadata, Page, Refused, Standing
from bulkedit.options.running import OnConflict
from bulkedit.plans import Recipe
from bulkedit.runs import copy_transitions as table
from bulkedit.runs import transitions as verdict
from bulkedit.runs.copy_transitions import LATEST_S, WELL, Finding, Step
from bulkedit.runs.lane import AskStore, Copy, Delete, LaneRun, List, Look, Read, _Books
from bulkedit.runs.ledger import Event, Made

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkedit.plans import Lane, PlannedCall
    from bulkedit.runs.lane import Action, Reply

_QUOTA: Final = frozenset({Finding.THROTTLED, Finding.TOO_MANY, Finding.READ_THROTTLED})
_DELETIONS: Final = frozenset({Recipe.DELETE_ORIGINAL, Recipe.DELETE_COPY})
# What the service may count or name anew in a copy is not compared.
_COUNTED: Final = frozenset({"NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"})


@dataclass(frozen=True, slots=True)
class Past:
    """What earlier processes have left of a recipe, and which of the plan's calls are its copies."""

    original: str
    copy: int  # number of the call that copies the original
    promote: int  # number of the call that promotes the copy
    planned: frozenset[int]  # numbers of its calls in the plan
    made: dict[int, str] = field(default_factory=dict)  # call -> image set that it made
    there: dict[int, frozenset[str]] = field(default_factory=dict)  # call -> image sets that were there before
    bases: dict[int, int] = field(default_factory=dict)  # settled copy -> version of its source
    owed: int = 0  # edits that are in the copy, and have no outcome before that is promoted
    ended: Standing | None = None  # what its steps from here on are to be settled as


def series_criteria(series_uid: str) -> dict[str, Any]:
    """The search for all image sets of a series."""
    return {"filters": [{"values": [{"DICOMSeriesInstanceUID": series_uid}], "operator": "EQUAL"}]}


def unsafe(action: Delete, found: ImageSet) -> bool:
    """Whether what a look shows right before a deletion forbids it."""
    if found.image_set_id == action.promoted:
        return not table.stands(found)
    return table.of_source(found, action.version) is not Finding.UNMOVED


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


class RecipeRun(LaneRun):
    """The lane of a recipe on its way through its calls."""

    def __init__(self, past: Past, lane: Lane, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - those of `LaneRun`
        self._past = past
        self._made = dict(past.made)
        self._there = {call: set(ids) for call, ids in past.there.items()}
        self._bases = dict(past.bases)
        self._owed = past.owed
        self._ended = past.ended
        self._content: dict[tuple[str, int], str] = {}  # image set and version -> digest of what it holds
        self._series: str | None = None  # SeriesInstanceUID of the source of the copy in hand
        self._made_version: int | None = None  # of the new image set, when it was last looked at
        self._moved = False  # the source was past its base when it was last looked at
        self._new: dict[str, bool | None] = {}  # listed so far, and whether each is primary
        self._candidate: str | None = None  # the image set that the copy in hand has made, or may have
        self._sent_at: float | None = None  # epoch seconds when the last copy left
        super().__init__(lane, *args, **kwargs)

    # what the shell asks

    @property
    def under_way(self) -> bool:
        """As of any lane; but a copy in doubt that is waited for keeps nobody from stopping: a resume lists again."""
        books = self._books
        copies = books is not None and _is_own(books.call) and books.call.recipe not in _DELETIONS
        return super().under_way and not (copies and self._held.standing is Standing.IN_DOUBT)

    def begin(self, epoch: float) -> Event | None:
        """Also before a copy is sent again its intent is written: until when it may arrive is counted from there."""
        if not isinstance(self.action, Copy | Delete):
            return super().begin(epoch)
        books = self._held
        self._epoch = self._sent_at = epoch
        books.attempts += 1
        books.looks = 0
        if books.standing is not Standing.PLANNED and isinstance(self.action, Delete):
            return None
        books.standing = Standing.INTENDED
        return self._event()

    def absorb(self, reply: Reply, *, now: float, epoch: float) -> None:
        """Take what came of the action."""
        if self._books is None or not _is_own(self._books.call):
            super().absorb(reply, now=now, epoch=epoch)
            return
        self._now = self.due = now
        self._epoch = epoch
        self.quota_hit = None
        performed, self.action = self.action, None
        self._took(reply, performed)
        self._open_until_busy()

    # opening calls

    def _open(self, call: PlannedCall) -> None:
        # the parts of a call that was split go on: each edit is to have its own truth
        if self._ended is not None and call.call in self._past.planned and not self._under_doubt(call):
            self._books = _Books(call, Standing.PLANNED)
            self._count_owed(call)
            self._settle(self._ended, cause="an earlier step of the copy, edit and promote was not made")
        elif not _is_own(call):
            super()._open(replace(call, image_set_id=self._made[self._past.copy]))
        else:
            self._open_own(call)

    def _under_doubt(self, call: PlannedCall) -> bool:
        begun = self._begun.get(call.call)
        return begun is not None and begun["standing"] != Standing.PLANNED

    def _count_owed(self, call: PlannedCall) -> None:
        """The edits that are in the copy get their outcome with its promotion."""
        if call.recipe == Recipe.PROMOTE:
            self.edits[call.call], self._owed = self._owed, 0

    def _open_own(self, call: PlannedCall) -> None:
        self._count_owed(call)
        source = self._past.original
        if call.recipe in {Recipe.PROMOTE, Recipe.DELETE_COPY}:
            source = self._made[self._past.copy]
        call = replace(call, image_set_id=source)
        books = self._books = _Books(call, Standing.PLANNED)
        self._series = self._candidate = self._sent_at = None
        begun = self._begun.get(call.call)
        if begun is not None:
            for name in ("attempts", "throttles", "faults", "conflicts"):
                setattr(books, name, begun[name])
        if begun is None or begun["standing"] == Standing.PLANNED:
            self._begin_anew()
            return
        was = Standing(begun["standing"])
        books.standing = Standing.IN_DOUBT if was is Standing.INTENDED else was
        books.base = begun["base"]
        self._sent_at = begun["at"]
        if call.recipe in _DELETIONS:
            self.action = self._look()
        elif books.standing is Standing.ACCEPTED:
            self._candidate = self._made[call.call]
            self.action = Look(self._candidate)
        else:
            self._wait_out()

    def _begin_anew(self) -> None:
        """From the first look on. What is deleted is looked at when the deletion may leave."""
        books = self._held
        books.standing = Standing.PLANNED
        if books.call.recipe not in _DELETIONS:
            books.base = self._candidate = None
            self._there.pop(books.call.call, None)
            self.action = self._look()
            return
        of = self._past.copy if books.call.recipe == Recipe.DELETE_ORIGINAL else self._past.promote
        books.base = self._bases[of]
        self._prepare()

    def _prepare(self) -> None:
        call = self._held.call
        if not _is_own(call):
            super()._prepare()
        elif call.recipe in _DELETIONS:
            self.action = Delete(call.image_set_id, self._base, self._made[self._past.promote])
        else:
            promote = call.recipe == Recipe.PROMOTE
            self.action = Copy(CopyRequest(image_set_id=call.image_set_id, base=self._base, promote=promote))

    # what came back

    def _took(self, reply: Reply, performed: Action | None) -> None:
        if isinstance(reply, ImageSet):
            self._saw(reply, performed)
        elif isinstance(reply, Metadata) and isinstance(performed, Read):
            self._has_read(reply, performed)
        elif isinstance(reply, Page) and isinstance(performed, List):
            self._listed(reply, performed)
        elif isinstance(reply, Copied):
            self._candidate = self._made[self._held.call.call] = reply.image_set_id
            self._step(Finding.ACCEPTED, reply, performed)
        elif isinstance(reply, Deleting):
            self._step(Finding.ACCEPTED, reply, performed)
        elif isinstance(reply, Datastore | Refused | Lost):
            self._step(self._finding_of(reply, performed), reply, performed)

    def _finding_of(self, reply: Datastore | Refused | Lost, performed: Action | None) -> Finding:
        if isinstance(performed, AskStore) or isinstance(reply, Datastore):
            return Finding(verdict.of_store(reply))
        if isinstance(performed, Copy | Delete):
            return Finding(verdict.of_answer(reply))
        finding = Finding(verdict.of_failed_read(reply))
        of_made = isinstance(performed, Look | Read) and performed.image_set_id == self._candidate
        return Finding.MADE_GONE if of_made and finding is Finding.GONE else finding

    def _saw(self, found: ImageSet, performed: Action | None) -> None:
        books = self._held
        books.looks += 1
        books.read_repeats = None
        if isinstance(performed, Delete) and found.image_set_id == performed.promoted:
            locked = table.of_source(found, None) is Finding.LOCKED
            finding = Finding.LOCKED if locked else Finding.UNSAFE
        elif found.image_set_id == self._candidate:
            self._made_version = found.version
            finding = table.of_made(found, promoted=books.call.recipe == Recipe.PROMOTE)
        else:
            finding = table.of_source(found, books.base)
            self._moved = finding is Finding.MOVED
            if books.base is None and finding is Finding.UNMOVED:
                books.base = found.version
        waits = finding in {Finding.LOCKED, Finding.MADE_LOCKED, Finding.MADE_GONE}
        waits = waits or (books.standing is Standing.ACCEPTED and finding in {Finding.UNMOVED, Finding.MOVED})
        books.locked_since = (books.locked_since or self._now) if waits else None
        self._step(finding, found, performed)

    def _has_read(self, found: Metadata, performed: Read) -> None:
        books = self._held
        books.read_repeats = None
        digest = content_digest(found.document, self._key)
        self._content[performed.image_set_id, performed.version] = digest
        if performed.image_set_id == self._candidate:
            same = self._content.get((books.call.image_set_id, self._base)) == digest
            self._step(Finding.SAME if same else Finding.DIFFERENT, found, performed)
            return
        if self._candidate is not None:  # the source, read again to compare its copy with
            self.action = Look(self._candidate)
            return
        self._series = series_of(found.document)
        if self._series is None:
            self._settle(Standing.REJECTED, "its metadata names no series, so a copy of it could not be found again")
            return
        self._list()

    def _list(self) -> None:
        if self._series is None:
            self.action = Read(self._held.call.image_set_id, self._base)
            return
        self._new = {}
        self.action = List(self._series)

    def _listed(self, page: Page, performed: List) -> None:
        books = self._held
        books.read_repeats = None
        self._new |= {item["imageSetId"]: item.get("isPrimary") for item in page.items}
        if page.next_token is not None:
            self.action = List(performed.series_uid, page.next_token)
            return
        number = books.call.call
        if books.standing is Standing.PLANNED:
            self._there[number] = set(self._new)
            self._events += [Made(number, image_set_id, ours=False) for image_set_id in self._new]
            self._prepare()
            return
        promote = books.call.recipe == Recipe.PROMOTE
        there = self._there.get(number, set()) | {books.call.image_set_id, self._past.original}
        new = [one for one, primary in self._new.items() if one not in there and primary in {None, promote}]
        self._candidate = new[0] if len(new) == 1 else None
        finding = table.of_new(len(new), moved=self._moved)
        if finding is Finding.SEVERAL_NEW:
            # which of them is ours nothing tells; ids are no health data
            self._park("several new image sets may be its copy", ", ".join(sorted(new)))
            return
        self._step(finding, page, performed)

    # steps

    def _step(self, finding: Finding, reply: Reply, performed: Action | None) -> None:
        """Carry out what the table says."""
        books = self._held
        step = table.next_step(str(books.call.recipe), books.standing, finding)
        if finding in _QUOTA and isinstance(reply, Refused):
            self.quota_hit = reply
            books.throttles += isinstance(performed, Copy | Delete)
        carry_out: dict[Step, Callable[[], None]] = {
            Step.SEND: self._read_source,
            Step.SEND_AGAIN: lambda: self._repeat(finding),
            Step.START_ANEW: lambda: self._start_anew(finding, reply),
            Step.LOOK: lambda: self._look_at_source(finding, reply),
            Step.LOOK_LATER: lambda: self._look_again(finding, reply, performed),
            Step.WAIT_OUT: lambda: self._doubt(reply),
            Step.LIST: self._list,
            Step.LOOK_AT_MADE: lambda: self._look_at_made(reply),
            Step.COMPARE: lambda: self._compare_made(reply),
            Step.PASS_OVER: self._pass_over,
            Step.REBASE: self._copy_anew,
            Step.APPLIED: self._is_made,
            Step.REJECTED: lambda: self._settle(Standing.REJECTED, *self._cause(finding, reply)),
            Step.FAILED: lambda: self._settle(Standing.FAILED, *self._cause(finding, reply)),
            Step.CONFLICTED: lambda: self._conflicted(finding),
            Step.LEAVE_OPEN: lambda: self._park(*self._cause(finding, reply)),
            Step.HALT: lambda: self._halt(reply),
            Step.ASK_STORE: self._ask_store,
        }
        carry_out[step]()

    def _cause(self, finding: Finding, reply: Reply) -> tuple[str, str | None]:
        if isinstance(reply, Lost):
            return reply.cause, None
        if isinstance(reply, Refused):
            return reply.code, reply.message or None
        words = reply.message if isinstance(reply, ImageSet) else ""
        if finding is Finding.DIFFERENT and self._candidate:
            words = f"image set {self._candidate}"
        return str(finding), words or None

    def _read_source(self) -> None:
        self.action = Read(self._held.call.image_set_id, self._base)

    def _repeat(self, finding: Finding) -> None:
        """Send the same again; a copy in doubt is no longer so, because its request can not arrive any more."""
        if finding in _QUOTA or self._wait_for_fault(verdict.Finding.UNMOVED):
            self._prepare()

    def _start_anew(self, finding: Finding, reply: Reply) -> None:
        self._note(*self._cause(finding, reply))
        if self._wait_for_fault(verdict.Finding.FAILED_SERVICE):
            self._begin_anew()

    def _look_at_source(self, finding: Finding, reply: Reply) -> None:
        books = self._held
        if finding in {Finding.LOST, Finding.DENIED, Finding.UNKNOWN} and books.standing is Standing.INTENDED:
            books.standing = Standing.IN_DOUBT
            books.faults += 1
            self._note(*self._cause(finding, reply))
        self.action = self._look()

    def _doubt(self, reply: Reply) -> None:
        """The answer to a copy was lost: the image sets of the series tell whether there is a new one."""
        books = self._held
        books.standing = Standing.IN_DOUBT
        books.faults += 1
        self._note(*self._cause(Finding.LOST, reply))
        self._wait_out()

    def _wait_out(self) -> None:
        """Look once what was sent can no longer be carried out."""
        sent = self._epoch if self._sent_at is None else self._sent_at
        self.due = self._now + max(0.0, sent + LATEST_S - self._epoch)
        self.action = self._look()

    def _look_at_made(self, reply: Reply) -> None:
        books = self._held
        if isinstance(reply, Copied):
            books.standing = Standing.ACCEPTED
            books.accepted_at = books.locked_since = self._now
            self._events.append(Made(books.call.call, reply.image_set_id))
            self._note()
            self.due = self._now + LOOK.wait(1, self._rng)
        if self._candidate is None:
            raise LookupError("there is no new image set to look at")
        self.action = Look(self._candidate)

    def _look_again(self, finding: Finding, reply: Reply, performed: Action | None) -> None:
        books = self._held
        if isinstance(reply, Deleting):
            books.standing = Standing.ACCEPTED
            books.accepted_at = books.locked_since = self._now
            self._note()
        if finding is Finding.MADE_GONE:
            books.locked_since = books.locked_since or self._now
        if finding is Finding.READ_LOST and not self._wait_for_fault(verdict.Finding.READ_LOST):
            return
        if books.locked_since is not None and self._locked_too_long():
            self._park("unlock timeout")
            return
        if finding not in _QUOTA | {Finding.READ_LOST}:
            books.looks += 1
            self.due = self._now + LOOK.wait(books.looks, self._rng)
        self.action = performed if isinstance(performed, Look | Read | AskStore | List) else self._look()

    def _compare_made(self, reply: Reply) -> None:
        """Read the new image set, after its source where that was read by an earlier process."""
        books = self._held
        if (books.call.image_set_id, self._base) not in self._content:
            self.action = Read(books.call.image_set_id, self._base)
        elif isinstance(reply, ImageSet):
            self.action = Read(reply.image_set_id, reply.version)

    def _pass_over(self) -> None:
        books = self._held
        if self._candidate is not None:
            self._there.setdefault(books.call.call, set()).add(self._candidate)
        self._candidate = None
        self._list()

    def _copy_anew(self) -> None:
        """The source has changed since it was looked at, and surely no copy of it was made."""
        books = self._held
        books.conflicts += 1
        if books.call.recipe == Recipe.PROMOTE or self._options.on_conflict is OnConflict.STOP:
            self._settle(Standing.CONFLICTED, "another writer has changed the image set that is copied")
            return
        self._note("another writer has changed the image set that is copied")
        self._begin_anew()

    def _conflicted(self, finding: Finding) -> None:
        books = self._held
        books.conflicts += 1
        if finding is Finding.DIFFERENT:
            which = f"image set {self._candidate}"
            self._settle(Standing.CONFLICTED, "the new image set differs from its source", which)
        else:
            self._settle(Standing.CONFLICTED, "another writer has changed it since it was copied, so it is not deleted")

    def _is_made(self) -> None:
        """The copy is there and holds what it should; or what was deleted is gone."""
        books = self._held
        number = books.call.call
        if books.call.recipe in _DELETIONS:
            self._settle(Standing.APPLIED)
            return
        if self._candidate is None:
            raise LookupError("there is no new image set")
        if books.standing is Standing.IN_DOUBT:
            self._made[number] = self._candidate
            self._events.append(Made(number, self._candidate))
        self._bases[number] = self._base
        self._settle(Standing.APPLIED, version=self._made_version)

    # books

    def _settle(
        self, standing: Standing, cause: str | None = None, message: str | None = None, *, version: int | None = None
    ) -> None:
        call = self._held.call
        super()._settle(standing, cause, message, version=version)
        if call.recipe == Recipe.EDIT:
            if standing in WELL:
                # in the copy, and only there: what becomes of the edits is known when that is promoted
                self._owed += self.edits[call.call]
                self.edits[call.call] = 0
            elif standing is not Standing.SPLIT:
                self._ended = self._ended or Standing.FAILED
        elif call.recipe not in _DELETIONS and standing is not Standing.APPLIED:
            self._ended = standing
        self._content.clear()


def _is_own(call: PlannedCall) -> bool:
    return call.recipe != Recipe.EDIT
