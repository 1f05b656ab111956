"""Saves the world in one SQLite file that survives a kill of the process.

The changes of a request are written in one transaction before its response is sent, so a restart loses nothing that a
client knows. The file, and SQLite's files beside it, are private. Each part of a document is stored once, under its
digest, and versions refer to it. The journal, the faults and the state of the quotas are not saved.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from bulkedit.emulator.dicom_import.files import create_private, remove_others_access
from bulkedit.emulator.state.document import Document, Series, keys_of
from bulkedit.emulator.state.image_set import Pending, StoredImageSet, Version
from bulkedit.emulator.state.records import Job, StoredDatastore
from bulkedit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from bulkedit.emulator.state.world import World

FORMAT: Final = 1
# https://www.sqlite.org/fileformat.html#the_database_header
_MAGIC: Final = b"SQLite format 3\0"
_USER_VERSION: Final = 60
_HEADER_BYTES: Final = 100
_SCHEMA: Final = """
CREATE TABLE part (digest BLOB PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE datastore (id TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE job (id TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE image_set (id TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE version (image_set_id TEXT, number INTEGER, record TEXT NOT NULL,
    patient BLOB NOT NULL, study BLOB NOT NULL, series BLOB NOT NULL, PRIMARY KEY (image_set_id, number));
"""
_DATASTORE: Final = [
    *("id", "name", "created_at", "updated_at", "status", "tags", "token"),
    *("kms_key_arn", "lambda_authorizer_arn", "lossless_storage_format"),
]
_IMAGE_SET: Final = [
    "id",
    "datastore_id",
    "created_at",
    "primary",
    "accessed_at",
    "born",
    "archived",
    "deleted_at",
    "tags",
]
_VERSION: Final = ["status", "updated_at", "message", "forced"]


class StateError(UsageError):
    """The state file cannot be used."""


class StateFile:
    """An open state file, locked for this process. Raises StateError if it cannot be used."""

    def __init__(self, path: Path) -> None:
        self._written: dict[str, int] = {}  # image set id -> versions in the file
        self._series: dict[str, tuple[object, bytes]] = {}  # image set id -> the series last written, and its digest
        try:
            self.was_open_to_others = not create_private(path) and _restrict(path)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        except OSError as error:
            raise _unusable(path, error.strerror) from None
        except sqlite3.Error as error:
            raise _unusable(path, error) from None
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._check_format(path)
            self._db.execute("PRAGMA journal_mode = WAL")  # a kill of the process loses nothing
            self._db.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine may lose the last transactions
        except sqlite3.Error as error:
            self._db.close()
            raise _unusable(path, error) from None
        except StateError:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _check_format(self, path: Path) -> None:
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found == 0:
            if self._db.execute("SELECT name FROM sqlite_master").fetchone():
                raise _unusable(path, "it is the database of another program")
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")
        elif found != FORMAT:
            raise _other_format(path, found)

    # -- writing

    def save(self, things: Iterable[StoredImageSet | StoredDatastore | Job]) -> None:
        """Write changed records in one transaction."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for thing in things:
                self._save(thing)
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            # the rollback makes these caches wrong; the next save writes all versions again
            self._written.clear()
            self._series.clear()
            raise
        self._db.execute("COMMIT")

    def _save(self, thing: StoredImageSet | StoredDatastore | Job) -> None:
        if isinstance(thing, StoredImageSet):
            self._save_image_set(thing)
        elif isinstance(thing, StoredDatastore):
            self._put("datastore", thing.id, _record(thing, _DATASTORE))
        else:
            self._put("job", thing.id, dataclasses.asdict(thing))

    def _put(self, table: str, key: str, record: dict[str, Any]) -> None:
        self._db.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", (key, json.dumps(record)))  # noqa: S608

    def _save_image_set(self, image_set: StoredImageSet) -> None:
        pending = dataclasses.asdict(image_set.pending) if image_set.pending else None
        order = image_set.listing.order if image_set.listing else None
        self._put("image_set", image_set.id, _record(image_set, _IMAGE_SET) | {"pending": pending, "order": order})
        # of the versions in the file, only the latest can have changed or been removed
        first = max(1, min(self._written.get(image_set.id, 0), image_set.number))
        self._db.execute("DELETE FROM version WHERE image_set_id = ? AND number >= ?", (image_set.id, first))
        for number in range(first, image_set.number + 1):
            self._save_version(image_set, number)
        self._written[image_set.id] = image_set.number

    def _save_version(self, image_set: StoredImageSet, number: int) -> None:
        version = image_set.versions[number - 1]
        document = version.document
        parts = (
            self._save_part(document.patient),
            self._save_part(document.study),
            self._save_series(image_set.id, document),
        )
        record = json.dumps(_record(version, _VERSION))
        self._db.execute("INSERT INTO version VALUES (?, ?, ?, ?, ?, ?)", (image_set.id, number, record, *parts))

    def _save_part(self, content: bytes) -> bytes:
        digest = hashlib.blake2b(content, digest_size=16).digest()
        self._db.execute("INSERT OR IGNORE INTO part VALUES (?, ?)", (digest, content))
        return digest

    def _save_series(self, image_set_id: str, document: Document) -> bytes:
        """Save the series as a part with the digests of their parts. Versions that share the series share it."""
        last = self._series.get(image_set_id)
        if last is not None and last[0] is document.series:
            return last[1]
        names = {
            uid: [
                self._save_part(one.part).hex(),
                {sop: self._save_part(part).hex() for sop, part in one.instances.items()},
            ]
            for uid, one in document.series.items()
        }
        digest = self._save_part(json.dumps(names).encode())
        self._series[image_set_id] = (document.series, digest)
        return digest

    # -- reading

    def load(self, world: World) -> None:
        """Load everything in the file into an empty world."""
        for datastore in self._records("datastore"):
            world.enter_datastore(StoredDatastore(**datastore))
        for job in self._records("job"):
            world.add_job(Job(**job))
        image_sets = [self._load_image_set(world, record) for record in self._records("image_set")]
        self._cached_part.cache_clear()
        world.restore(image_sets)
        world.dirty.clear()

    def _records(self, table: str) -> Iterable[dict[str, Any]]:
        for (record,) in self._db.execute(f"SELECT record FROM {table} ORDER BY rowid").fetchall():  # noqa: S608
            yield json.loads(record)

    def _load_image_set(self, world: World, record: dict[str, Any]) -> tuple[StoredImageSet, int | None]:
        pending, order = record.pop("pending"), record.pop("order")
        rows = self._db.execute(
            "SELECT record, patient, study, series FROM version WHERE image_set_id = ? ORDER BY number", (record["id"],)
        )
        versions = [self._load_version(*row) for row in rows]
        self._written[record["id"]] = len(versions)
        image_set = StoredImageSet(**record, keys=keys_of(versions[-1].document), versions=versions)
        image_set.pending = Pending(**pending) if pending else None
        if image_set.completed:
            image_set.keys = keys_of(versions[image_set.completed - 1].document)
        return world.place(image_set), order

    def _load_version(self, record: str, patient: bytes, study: bytes, series: bytes) -> Version:
        document = Document(self._cached_part(patient), self._cached_part(study), self._load_series(series))
        return Version(document=document, **json.loads(record))

    def _load_series(self, digest: bytes) -> Mapping[str, Series]:
        names = json.loads(self._cached_part(digest))
        return {
            uid: Series(
                self._cached_part(bytes.fromhex(part)),
                {sop: self._cached_part(bytes.fromhex(one)) for sop, one in instances.items()},
            )
            for uid, (part, instances) in names.items()
        }

    @functools.lru_cache(maxsize=100_000)  # noqa: B019 - cleared after loading
    def _cached_part(self, digest: bytes) -> bytes:
        """One object for equal parts, which versions and the series of a study share."""
        (content,) = self._db.execute("SELECT content FROM part WHERE digest = ?", (digest,)).fetchone()
        found: bytes = content
        return found


def _restrict(path: Path) -> bool:
    """Make an existing state file private before SQLite opens it; True if others had access.

    SQLite copies the mode of a database to the files beside it, so the mode must be right first. A file that is not a
    state file is refused, and does not change.
    """
    database = path.resolve()
    if not database.is_file():
        raise _unusable(path, "it is not a regular file")
    with database.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if header:
        _check_header(header, path)
    beside = [database.with_name(database.name + ending) for ending in ("-wal", "-shm", "-journal")]
    changed = [remove_others_access(each) for each in (database, *beside)]
    return any(changed)


def _check_header(header: bytes, path: Path) -> None:
    """Raises StateError if this is not a state file's header. Format 0: a new file's format is still in the WAL."""
    if not header.startswith(_MAGIC):
        raise _unusable(path, "it is not an SQLite database")
    version = int.from_bytes(header[_USER_VERSION : _USER_VERSION + 4], "big")
    if version not in {0, FORMAT}:
        raise _other_format(path, version)


def _other_format(path: Path, found: int) -> StateError:
    return _unusable(path, f"it has format {found}, but this version of bulkedit reads only format {FORMAT}")


def _unusable(path: Path, why: object) -> StateError:
    hint = "Name a state file of the emulator, or a new file in an existing folder: --state FILE"
    return StateError(f"The state file cannot be used: {why}.", where=str(path), hint=hint)


def _record(thing: object, names: list[str]) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in names}
