"""De-identify: image sets are chosen, their metadata is read, and an edit list and its record are written."""

from __future__ import annotations

import hashlib
import io
import logging
import random
import shlex
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import IO, TYPE_CHECKING, Final

import anyio
import polars as pl
from anyio import to_thread

from bulkedit import _received as received
from bulkedit import inventories
from bulkedit._progress import Phase, WorkProgress, ended_by
from bulkedit._words import plural
from bulkedit.client.connect import Connection, connect
from bulkedit.client.reader import Reader, Reads, read_paces
from bulkedit.client.responses import ARCHIVED
from bulkedit.deidentification import keys as key_files
from bulkedit.deidentification import profile as profiles
from bulkedit.deidentification.documents import files_of, read_files
from bulkedit.deidentification.making import DeidRecipe, Making
from bulkedit.deidentification.pseudonyms import load_mapping
from bulkedit.deidentification.reading import read_all, selected_by_id
from bulkedit.deidentification.record import SELECTION, DeidRecord
from bulkedit.deidentification.selection import selected
from bulkedit.dicom.dictionary import RULES
from bulkedit.errors import BulkeditError, UsageError
from bulkedit.options.where import Where

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bulkedit._json import JsonObject
    from bulkedit._progress import StopSignal
    from bulkedit.options.deid import DeidOptions

_log = logging.getLogger(__name__)
MOVES: Final = "will move from the archive tier to frequent access for 30 days by being read"
_KEPT: Final = "What was read is kept: the same call goes on."


@dataclass(frozen=True, slots=True, kw_only=True)
class Deidentified:
    """An edit list that de-identifies, and what is known of it. Without values of metadata."""

    file: Path  # the edit list
    record: Path  # the folder beside it
    profile: str
    edition: str  # of PS3.15 Annex E
    key: str  # fingerprint
    image_sets: int
    changed: int  # image sets with edits
    marked: int  # image sets that had the mark of this key already
    edits: int
    unreachable: int  # attributes that no edit can reach
    findings: pl.DataFrame  # `bulkedit.deidentification.record.FINDINGS`
    inventory: Path | None  # the snapshot that was taken because all of the data store was asked for


@dataclass(slots=True)
class _Deidentification:
    """One de-identification."""

    recipe: DeidRecipe
    keys: pl.DataFrame  # selector String, key String; no rows: all
    files: list[Path]
    options: DeidOptions
    connection: Connection | None  # None: documents come from files
    agree: Callable[[int], bool] | None
    progress: Callable[[WorkProgress], None]
    reads: Reads = field(default_factory=Reads)

    def asked(self) -> JsonObject:
        """What must be the same for an interrupted de-identification to go on."""
        of = self.keys.write_csv() + "".join(map(str, self.files)) + str(self.options.inventory)
        return {
            "profile": self.recipe.profile.digest,
            "key": self.recipe.key.fingerprint,
            "datastore": self.connection.datastore_id if self.connection else None,
            "selection": hashlib.sha256(of.encode()).hexdigest(),
            "payload limit": self.recipe.payload_limit,
            "force": "together" if self.recipe.together else "needed",
            **({"primary image sets": "via copy"} if self.options.via_copy else {}),
        }


async def deidentify(
    file: Path,
    options: DeidOptions,
    datastore_id: str | None = None,
    *,
    where: Where | None = None,
    standard_input: IO[bytes] | None = None,
    agree: Callable[[int], bool] | None = None,
    progress: Callable[[WorkProgress], None] | None = None,
    stop: StopSignal | None = None,
) -> Deidentified:
    """Derive the edits that de-identify image sets, and write them as an edit list.

    Reads metadata, and writes nothing to the data store. Whatever ends it, the same call goes on: what was read is kept
    in the folder beside ``file``. ``standard_input`` is what ``select`` means by ``@-``. ``agree`` is asked, in place
    of ``options.read_archived``, whether so many archived image sets may be read; it may block, as no request is under
    way.
    ``progress`` is called on the caller's task after every image set and must not block.

    Raises UsageError for options, ProfileError, KeyFileError and MetadataError for the files, StoppedError once
    ``stop`` was sent, and what `connect` and `read_all` raise.
    """
    options.check_for(file, datastore_id)
    recipe, keys, files = await to_thread.run_sync(_prepared, options, standard_input or io.BytesIO())
    connection = Connection(datastore_id=datastore_id, **asdict(where or Where())) if datastore_id else None
    work = _Deidentification(recipe, keys, files, options, connection, agree, progress or (lambda _: None))
    former = {"key": recipe.key.former_fingerprint}
    with DeidRecord.open(file, work.asked(), former=former, fresh=options.fresh) as record:
        making = Making(recipe, record, map_file=options.reidentification_map, map_key=options.map_key)
        try:
            async with ended_by(stop, kept=_KEPT):
                await (_read_files(work, making) if files else _read_store(work, record, making))
        except (BulkeditError, KeyboardInterrupt, anyio.get_cancelled_exc_class()):
            making.checkpoint()  # what was read is kept, whatever stopped the rest
            raise
        counts = await to_thread.run_sync(making.finish)
        snapshot = record.folder / "inventory.parquet"
        return Deidentified(
            file=record.target,
            record=record.folder,
            profile=recipe.profile.name,
            edition=recipe.profile.edition,
            key=recipe.key.fingerprint,
            **counts,
            findings=await to_thread.run_sync(record.findings),
            inventory=snapshot if options.inventory is None and received.there(snapshot) else None,
        )


def _prepared(options: DeidOptions, standard_input: IO[bytes]) -> tuple[DeidRecipe, pl.DataFrame, list[Path]]:
    """What is read before anything is done: recipe, keys of the selection, files of documents."""
    recipe = DeidRecipe(
        profile=profiles.load(str(options.deid_profile)),
        key=key_files.load(options.key),
        payload_limit=options.payload_limit or RULES[options.service_version].payload_limit,
        together=not options.force_needed_only,
        mapping=load_mapping(options.mapping) if options.mapping else None,
    )
    read_paces(options.read_rate)
    _warn_of_exposed(options.key, options.map_key)
    keys = selected(list(options.select), options.select_file, standard_input)
    return recipe, keys, files_of(options.source) if options.source else []


def _warn_of_exposed(*files: Path | None) -> None:
    """As ssh does for its keys."""
    for file in filter(None, files):
        if mode := key_files.exposed(file):
            _log.warning(
                "warning: %s: other users of this machine can read or change this key (mode %s).\n"
                "To keep it to yourself:  %s",
                file,
                mode,
                shlex.join(["chmod", "600", str(file)]),
            )


# -- documents --------------------------------------------------------------------------------------------------------


async def _read_files(work: _Deidentification, making: Making) -> None:
    documents = read_files(work.files)
    while (found := await to_thread.run_sync(next, documents, None)) is not None:
        making.take(*found)
        work.progress(_reading(work, making, len(work.files)))


async def _read_store(work: _Deidentification, record: DeidRecord, making: Making) -> None:
    assert work.connection is not None  # noqa: S101 - `DeidOptions.check_for` has seen to it
    async with connect(work.connection) as client:
        reader = Reader(client, read_paces(work.options.read_rate), random.SystemRandom())
        work.reads = reader.reads
        selection = record.selection()
        if selection is None:
            selection = await _selected(reader, work.connection.datastore_id, work, record)
            record.select(selection)
        left = selection.filter(~pl.col("image_set_id").is_in(list(record.done)))
        _require_agreement(left, work)
        primary = selection.filter(pl.col("primary").fill_null(value=False)).get_column("image_set_id")
        making.expect(frozenset() if work.options.via_copy else frozenset(primary))
        ids = left.get_column("image_set_id").to_list()

        def take(image_set_id: str, document: JsonObject) -> None:
            making.take(image_set_id, document)
            work.progress(_reading(work, making, len(ids)))

        work.progress(_reading(work, making, len(ids)))
        await read_all(reader, ids, take)


def _reading(work: _Deidentification, making: Making, total: int) -> WorkProgress:
    return WorkProgress(
        phase=Phase.READING,
        done=making.documents,
        total=total,
        found=making.edits,
        throttled=work.reads.throttled,
    )


def _require_agreement(left: pl.DataFrame, work: _Deidentification) -> None:
    """Raises UsageError unless archived image sets may be read: that counts as access (AWS: cost-optimization)."""
    count = left.filter(pl.col("storage_tier") == ARCHIVED).height
    if not count:
        return
    if not (work.options.read_archived if work.agree is None else work.agree(count)):
        raise UsageError(
            f"{plural(count, 'image set')} {MOVES}: that has its price, so it is asked for.",
            hint="To agree: `read_archived=True`",
        )


# -- which image sets -------------------------------------------------------------------------------------------------


async def _selected(reader: Reader, datastore_id: str, work: _Deidentification, record: DeidRecord) -> pl.DataFrame:
    """The image sets to read, with what is known of them: columns of `SELECTION` and more."""
    given = work.options.inventory
    if not work.keys.height:
        path = given or record.folder / "inventory.parquet"
        if given is None and received.there(path):
            received.require_file(path)
        if path.exists():
            snapshot = await to_thread.run_sync(inventories.load, path, datastore_id)
        else:
            watch = partial(_searched, work.progress)
            snapshot = await inventories.take(reader, path, datastore_id=datastore_id, watch=watch)
        return snapshot.scan().collect()
    ids = work.keys.filter(pl.col("selector") == "image_set_id").get_column("key").to_list()
    found = await inventories.lookup(reader, work.keys, datastore_id=datastore_id, inventory_path=given)
    named = _named(found.inventory, work.keys)
    known = set(named.get_column("image_set_id"))
    unknown = [one for one in ids if one not in known]
    by_id = await selected_by_id(reader, unknown)
    return pl.concat([named.select(SELECTION.names()), by_id])


def _searched(progress: Callable[[WorkProgress], None], counters: inventories.SearchCounters) -> None:
    progress(WorkProgress(phase=Phase.SEARCHING, done=counters.image_sets, throttled=counters.reads.throttled))


def _named(inventory: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """The image sets that keys name. Raises UsageError if one names none."""
    kept = pl.lit(value=False)
    missing: Counter[str] = Counter()
    for (selector,), same in keys.group_by(["selector"]):
        name = str(selector)
        wanted = same.get_column("key").str.strip_chars_end(" \0")
        column = pl.col(name).str.strip_chars_end(" \0")
        kept |= column.is_in(wanted.to_list()).fill_null(value=False)
        if name != "image_set_id":
            there = set(inventory.select(column).to_series())
            missing[name] += sum(key not in there for key in wanted)
    for name, count in missing.items():
        if count:
            raise UsageError(
                f"{plural(count, 'key')} of {name} {'names' if count == 1 else 'name'} no image set of the data store.",
                likely="It is mistyped, of another data store, or newer than the inventory.",
            )
    return inventory.filter(kept)
