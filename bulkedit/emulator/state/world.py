"""The world of one emulator: data stores, image sets, import jobs. A state machine without I/O.

It has no clock: the time (epoch seconds) is an argument, and the random generator is passed in. An action that takes
time is scheduled with its completion time; `advance` completes the actions that are due. The API operations are
functions with a world as argument, called by `api.actions`.

Changes are recorded as `StateChange` for the journal, and in ``dirty`` for the state file.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import replace
from typing import TYPE_CHECKING

from bulkedit.emulator.api.failures import Conflict, Denied, NotFound, QuotaExceeded
from bulkedit.emulator.settings import DEFAULT_DATASTORE_ID, DEFAULT_DATASTORE_NAME, Settings
from bulkedit.emulator.state import document as documents
from bulkedit.emulator.state.document import Document, Keys
from bulkedit.emulator.state.image_set import NEVER, Pending, StoredImageSet, Tier, Version
from bulkedit.emulator.state.quota import Quota
from bulkedit.emulator.state.records import FaultEffect, Job, StateChange, StoredDatastore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bulkedit._json import Json

NOT_LATEST = "Requested version(s) of ImageSet(s) is not the latest."  # the exact text of the real service

OTHER_WRITER_FAILED = "INVALID_REQUEST: The update of another writer could not be completed"
_OTHER_WRITER = "another"  # in the schedule: an update by another writer


class World:
    """The whole state of the emulated service."""

    def __init__(self, settings: Settings | None = None, rng: random.Random | None = None) -> None:
        self.settings = settings or Settings()
        self.profile = self.settings.profile
        self.rng = rng or random.Random(self.settings.seed)  # noqa: S311 - reproducible, not secret
        self.quota = Quota(self.settings.scale, self.settings.quotas)
        self.datastores: dict[str, StoredDatastore] = {}
        self.jobs: dict[str, Job] = {}
        self.tokens: dict[str, str] = {}  # clientToken of a data store or job -> its id
        self.changes: list[StateChange] = []
        self.dirty: dict[int, StoredImageSet | StoredDatastore | Job] = {}
        self._schedule: list[tuple[float, int, StoredImageSet | StoredDatastore, Pending | str | None]] = []
        self._count = itertools.count()

    # -- time

    def advance(self, now: float) -> None:
        """Complete what is due by ``now``, in order."""
        while self._schedule and self._schedule[0][0] <= now:
            due, _, thing, what = heapq.heappop(self._schedule)
            if isinstance(thing, StoredDatastore):
                self._complete_datastore(thing, str(what), due)
            elif what is None:
                self._make_searchable(thing)
            elif what is _OTHER_WRITER:
                self.write_as_another(thing, due)
            elif isinstance(what, Pending) and thing.pending is what:
                self._complete(thing, what)

    # -- data stores

    def add_datastore(self, name: str, *, now: float, datastore_id: str | None = None) -> str:
        """Add a new data store, which is ACTIVE at once. Returns its id."""
        datastore = StoredDatastore(datastore_id or self.new_id(), name, now, now)
        self.enter_datastore(datastore)
        self.mark_changed(datastore)
        return datastore.id

    def enter_datastore(self, datastore: StoredDatastore) -> None:
        """Add an existing data store."""
        self.datastores[datastore.id] = datastore
        if datastore.token:
            self.tokens[datastore.token] = datastore.id

    def add_job(self, job: Job) -> None:
        """Add an import job."""
        self.jobs[job.id] = job
        self.tokens[job.token] = job.id
        self.mark_changed(job)

    def add_default_datastore(self, now: float) -> str:
        """Add the default data store, unless it exists. Returns its id."""
        if DEFAULT_DATASTORE_ID not in self.datastores:
            self.add_datastore(DEFAULT_DATASTORE_NAME, now=now, datastore_id=DEFAULT_DATASTORE_ID)
        return DEFAULT_DATASTORE_ID

    def begin_datastore(self, datastore: StoredDatastore, status: str, *, ends: str, now: float) -> None:
        """Start the creation or deletion of a data store; ``ends`` is its status after completion."""
        datastore.status, datastore.updated_at = status, now
        self.mark_changed(datastore)
        self._push(self.completion_time(0, now, None), datastore, ends)

    def _complete_datastore(self, datastore: StoredDatastore, status: str, now: float) -> None:
        datastore.status, datastore.updated_at = status, now
        self.mark_changed(datastore)

    def datastore(self, datastore_id: str, *, runtime: bool = True) -> StoredDatastore:
        """The data store. Raises NotFound or, for image set operations (``runtime``) by the profile, Denied."""
        found = self.datastores.get(datastore_id)
        if found is not None and (found.status == "ACTIVE" or not runtime):
            return found
        if runtime and self.profile.unknown_datastore == "access-denied":
            raise Denied("You do not have sufficient access to perform this action.")
        raise NotFound("The requested data store does not exist.")

    # -- image sets

    def image_set(self, datastore_id: str, image_set_id: str) -> StoredImageSet:
        """The image set. Raises NotFound."""
        found = self.datastore(datastore_id).image_sets.get(image_set_id)
        if found is None or (found.deleted_at is not None and self.profile.deleted == "gone"):
            raise NotFound("The requested image set does not exist.")
        return found

    def primaries_of(self, datastore_id: str, study_uid: str | None) -> list[StoredImageSet]:
        """The primary image sets of a study."""
        return self.datastores[datastore_id].primaries.get(study_uid) if study_uid is not None else []

    def writable(self, datastore_id: str, image_set_id: str, latest: str) -> StoredImageSet:
        """The image set, if a write with this expected version is possible. Raises NotFound or Conflict.

        The lock is checked before the version (reference section 9, decision 2).
        """
        image_set = self.unlocked(datastore_id, image_set_id)
        self.check_version(image_set, latest)
        return image_set

    def unlocked(self, datastore_id: str, image_set_id: str) -> StoredImageSet:
        """The image set, if it is neither deleted nor locked. Raises NotFound or Conflict."""
        image_set = self.image_set(datastore_id, image_set_id)
        self.check_not_deleted(image_set)
        self.check_unlocked(image_set)
        return image_set

    def check_version(self, image_set: StoredImageSet, latest: str) -> None:
        """A write must name the latest version (update-image-set-metadata)."""
        if latest.lstrip("0") != str(image_set.number):
            raise Conflict(NOT_LATEST) if self.profile.stale_version == "conflict" else NotFound(NOT_LATEST)

    def check_not_deleted(self, image_set: StoredImageSet) -> None:
        """Raises NotFound if the image set is deleted: only its properties remain."""
        if image_set.deleted_at is not None:
            raise NotFound("The requested image set does not exist.")

    def check_unlocked(self, image_set: StoredImageSet) -> None:
        """Raises Conflict if the image set is LOCKED (update-image-set-metadata, copy-image-set)."""
        if image_set.locked:
            raise Conflict("The image set is locked by another action. Updating or deleting it could be inconsistent.")

    def check_concurrency(self, datastore: StoredDatastore, action: str) -> None:
        """Raises QuotaExceeded at the limit of concurrent actions of a data store (endpoints-quotas)."""
        if datastore.in_progress[action] >= self.settings.concurrent:
            raise QuotaExceeded(f"The limit of concurrent {action} requests of the data store is reached.")

    def begin(self, image_set: StoredImageSet, pending: Pending, *, now: float) -> None:
        """Lock an image set for an action."""
        image_set.pending = pending
        self._resume(image_set)
        self.record_state(image_set, now)

    def write_as_another(self, image_set: StoredImageSet, now: float, *, fails: bool = False) -> None:
        """Update an image set as another writer, at once. Does nothing if it is locked or deleted.

        ``fails``: the update fails. Its version, if the profile keeps one, has the document of the version before.
        """
        if image_set.locked or image_set.deleted_at is not None:
            return
        if not fails:
            image_set.versions.append(Version("UPDATED", documents.rewritten(image_set.latest.document), now))
        elif self.profile.failed_version == "consumed":
            image_set.versions.append(Version("UPDATE_FAILED", image_set.latest.document, now, OTHER_WRITER_FAILED))
        else:
            latest = image_set.latest
            latest.status, latest.message, latest.updated_at = "UPDATE_FAILED", OTHER_WRITER_FAILED, now
        image_set.touch(now)
        self.index(image_set, now)
        self.record_state(image_set, now)

    def lock_as_another(self, image_set: StoredImageSet, now: float, seconds: float = NEVER) -> None:
        """Lock an image set as another writer, for as long as the copy of it takes: ``seconds``. No version is made.

        Does nothing if it is locked or deleted.
        """
        if image_set.locked or image_set.deleted_at is not None:
            return
        latest = image_set.latest
        pending = Pending("CopyImageSet", now + seconds, latest.status, latest.message, False, counted=False)
        latest.status, latest.message = "COPYING_WITH_READ_ONLY_ACCESS", None
        self.begin(image_set, pending, now=now)

    def write_as_another_after(self, image_set: StoredImageSet) -> None:
        """Schedule an update by another writer just after the action in progress."""
        if image_set.pending is not None and image_set.pending.due != NEVER:
            self._push(image_set.pending.due, image_set, _OTHER_WRITER)

    def completion_time(self, size: int, now: float, effect: FaultEffect | None) -> float:
        """The epoch seconds at which an action on a document of ``size`` bytes completes."""
        return NEVER if effect and effect.hangs else now + self.settings.completion_time.draw(self.rng, size)

    def _complete(self, image_set: StoredImageSet, pending: Pending) -> None:
        datastore = self.datastores[image_set.datastore_id]
        image_set.pending = None
        if pending.counted:
            datastore.in_progress[pending.action] -= 1
        if pending.drops_version:
            image_set.versions.pop()
        latest = image_set.latest
        latest.status, latest.message = pending.status, pending.message
        if pending.status == "DELETED":
            self._delete(datastore, image_set, pending.due)
        elif pending.makes_version:
            latest.updated_at = pending.due
            self.index(image_set, pending.due)
        self.record_state(image_set, pending.due)

    def _delete(self, datastore: StoredDatastore, image_set: StoredImageSet, now: float) -> None:
        image_set.deleted_at = now
        datastore.catalog.remove(image_set)
        if image_set.primary:
            datastore.primaries.discard(image_set.keys.study_uid, image_set)
        # the metadata is deleted, but the properties of the versions remain
        empty = Document(b"{}", b"{}", {})
        image_set.versions = [replace(version, document=empty) for version in image_set.versions]

    def index(self, image_set: StoredImageSet, now: float) -> None:
        """Index a completed version: at once by study, and after the search lag for SearchImageSets."""
        datastore = self.datastores[image_set.datastore_id]
        keys = self._keys(image_set)
        if image_set.primary and (image_set.listing is None or keys.study_uid != image_set.keys.study_uid):
            datastore.primaries.discard(image_set.keys.study_uid, image_set)
            datastore.primaries.add(keys.study_uid, image_set)
        image_set.keys = keys
        if self.settings.search_lag:
            self._push(now + self.settings.search_lag, image_set, None)
        else:
            self._make_searchable(image_set)

    def _keys(self, image_set: StoredImageSet) -> Keys:
        """The keys of the latest version; unchanged parts are not parsed again."""
        if image_set.number == 1:
            return image_set.keys  # read when the image set was created
        if documents.same_keys(image_set.latest.document, image_set.versions[-2].document):
            return image_set.keys
        return documents.keys_of(image_set.latest.document)

    def _make_searchable(self, image_set: StoredImageSet) -> None:
        if image_set.deleted_at is None:
            self.datastores[image_set.datastore_id].catalog.add(image_set)

    def _push(self, due: float, thing: StoredImageSet | StoredDatastore, what: Pending | str | None) -> None:
        heapq.heappush(self._schedule, (due, next(self._count), thing, what))

    # -- adding image sets

    def add_image_set(
        self,
        datastore_id: str,
        document: Mapping[str, Json] | Document,
        *,
        now: float,
        image_set_id: str | None = None,
        primary: bool | None = None,
        storage_tier: str = Tier.FREQUENT,
    ) -> str:
        """Import a metadata document at once. Returns the image set id.

        ``image_set_id``: None derives it from the grouping keys. ``primary``: None applies the documented rule: a
        document that agrees with the study's primary image sets is primary, and is merged into the one with equal keys.
        Raises ValueError if the id exists, and KeyError if the data store does not exist.
        """
        if not isinstance(document, Document):
            document = documents.split(document)
        keys = documents.keys_of(document)
        siblings = self.primaries_of(datastore_id, keys.study_uid)
        same = next((s for s in siblings if s.keys.grouping == keys.grouping and not s.locked), None)
        if same is not None and image_set_id is None and primary is not False:
            return self._import_onto(same, document, now)
        if primary is None:
            primary = not any(documents.conflicting(s.keys, keys) for s in siblings)
        image_set_id = image_set_id or self._free_id(datastore_id, keys)
        if image_set_id in self.datastores[datastore_id].image_sets:
            raise ValueError("an image set with this id exists already")
        version = Version("CREATED", document)
        image_set = self.place(StoredImageSet(image_set_id, datastore_id, now, primary, now, keys, versions=[version]))
        image_set.archived = storage_tier == Tier.ARCHIVE
        self.index(image_set, now)
        self.record_state(image_set, now)
        return image_set_id

    def place(self, image_set: StoredImageSet) -> StoredImageSet:
        """Add a new image set to its data store, not yet indexed."""
        self.datastores[image_set.datastore_id].image_sets[image_set.id] = image_set
        return image_set

    def _import_onto(self, image_set: StoredImageSet, document: Document, now: float) -> str:
        """Add a version with the new instances; they replace those with equal UIDs (understanding-image-sets)."""
        merged = documents.merged(image_set.latest.document, document)
        image_set.versions.append(Version("IMPORTED", merged, now))
        image_set.touch(now)
        self.index(image_set, now)
        self.record_state(image_set, now)
        return image_set.id

    def _free_id(self, datastore_id: str, keys: Keys) -> str:
        taken = self.datastores[datastore_id].image_sets
        ids = (documents.image_set_id_of(datastore_id, keys, nth) for nth in itertools.count())
        return next(one for one in ids if one not in taken)

    # -- loading a saved world

    def restore(self, image_sets: list[tuple[StoredImageSet, int | None]]) -> None:
        """Index saved image sets, and schedule their actions. The number is the position among updates, if indexed."""
        for datastore in self.datastores.values():
            mine = [(s, order) for s, order in image_sets if s.datastore_id == datastore.id and s.deleted_at is None]
            datastore.catalog.restore([(s, order) for s, order in mine if order is not None])
            for image_set, order in mine:
                if image_set.primary and image_set.completed:
                    datastore.primaries.add(image_set.keys.study_uid, image_set)
                if order is None and image_set.completed:
                    datastore.catalog.add(image_set)
                self._resume(image_set)
            if datastore.status in {"CREATING", "DELETING"}:
                ends = "ACTIVE" if datastore.status == "CREATING" else "DELETED"
                self._push(datastore.updated_at + self.settings.completion_time.seconds, datastore, ends)

    def _resume(self, image_set: StoredImageSet) -> None:
        if (pending := image_set.pending) is None:
            return
        if pending.counted:
            self.datastores[image_set.datastore_id].in_progress[pending.action] += 1
        if pending.due != NEVER:
            self._push(pending.due, image_set, pending)

    # -- recording changes

    def record_state(self, image_set: StoredImageSet, now: float) -> None:
        """Record the state of an image set after a change."""
        self.changes.append(
            StateChange(
                now, image_set.datastore_id, image_set.id, image_set.number, image_set.state, image_set.latest.status
            )
        )
        self.mark_changed(image_set)

    def mark_changed(self, thing: StoredImageSet | StoredDatastore | Job) -> None:
        """Mark a record as changed since the last save."""
        self.dirty[id(thing)] = thing

    def new_id(self) -> str:
        """A new id of 32 characters."""
        while True:
            new = f"{self.rng.getrandbits(128):032x}"
            if not any(new in d.image_sets for d in self.datastores.values()) and new not in self.jobs:
                return new
