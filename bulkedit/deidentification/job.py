"""De-identify: selects image sets, reads their metadata, and writes an edit list and its record."""

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

from bulkedit import _received as received
from bulkedit import inventories
from bulkedit._concurrency import run_blocking
from bulkedit._progress import Phase, WorkProgress, ended_by
from bulkedit._words import plural
from bulkedit.client.connect import Connection, connect
from bulkedit.client.reader import Reader, Reads, read_paces
from bulkedit.client.responses import ARCHIVED
from bulkedit.deidentification import keys as key_files
from bulkedit.deidentification import profile as profiles
from bulkedit.deidentification.documents import files_of, read_files
from bulkedit.deidentification.pseudonyms import load_mapping
from bulkedit.deidentification.reading import read_all, selected_by_id
from bulkedit.deidentification.record import SELECTION, DeidRecord
from bulkedit.deidentification.selection import selected
from bulkedit.deidentification.writer import DeidRecipe, DeidWriter
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
MOVES: Final = "will move from the archive tier to frequent access for 30 days if read"
_KEPT: Final = "What was read is kept: the same call continues from there."


@dataclass(frozen=True, slots=True, kw_only=True)
class Deidentified:
    """The result of `deidentify`: where the edit list is, and its counts. It has no values of metadata."""

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
    inventory: Path | None  # the snapshot taken to select all image sets of the data store


@dataclass(slots=True)
class _Deidentification:
    """The inputs of one call of `deidentify`."""

    recipe: DeidRecipe
    keys: pl.DataFrame  # selector String, key String; no rows: all image sets
    files: list[Path]
    options: DeidOptions
    connection: Connection | None  # None: documents are read from files
    agree: Callable[[int], bool] | None
    progress: Callable[[WorkProgress], None]
    reads: Reads = field(default_factory=Reads)

    def asked(self) -> JsonObject:
        """The settings that must not change if an interrupted de-identification is to continue."""
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

    Reads metadata, and writes nothing to the data store. If the call is interrupted, repeat it: it continues with what
    is already in the folder beside ``file``.

    ``file``: the edit list to write, CSV or Parquet by its suffix. ``datastore_id``: None if ``options.source`` names
    files. ``where``: the AWS profile, region and endpoint.
    ``standard_input``: read if ``options.select`` has ``@-``.
    ``agree``: called with the number of archived image sets, and returns whether they may be read. It replaces
    ``options.read_archived``, and may block, because no request is in flight.
    ``progress``: called on the caller's task after every image set; it must not block.
    ``stop``: ends the work early; what was read is kept.

    Raises UsageError for invalid options, ProfileError, KeyFileError and MetadataError for invalid files, StoppedError
    after ``stop``, and the errors of `connect` and `read_all`.

        options = DeidOptions(deid_profile="basic", key=Path("deid.key"))
        result = await deidentify(Path("edits.parquet"), options, datastore_id)
    """
    options.check_for(file, datastore_id)
    recipe, keys, files = await run_blocking(_prepared, options, standard_input or io.BytesIO())
    connection = Connection(datastore_id=datastore_id, **asdict(where or Where())) if datastore_id else None
    work = _Deidentification(recipe, keys, files, options, connection, agree, progress or (lambda _: None))
    former = {"key": recipe.key.former_fingerprint}
    with DeidRecord.open(file, work.asked(), former=former, fresh=options.fresh) as record:
        writer = DeidWriter(recipe, record, map_file=options.reidentification_map, map_key=options.map_key)
        try:
            async with ended_by(stop, kept=_KEPT):
                await (_read_files(work, writer) if files else _read_store(work, record, writer))
        except (BulkeditError, KeyboardInterrupt, anyio.get_cancelled_exc_class()):
            writer.checkpoint()
            raise
        counts = await run_blocking(writer.finish)
        snapshot = record.folder / "inventory.parquet"
        return Deidentified(
            file=record.target,
            record=record.folder,
            profile=recipe.profile.name,
            edition=recipe.profile.edition,
            key=recipe.key.fingerprint,
            **counts,
            findings=await run_blocking(record.findings),
            inventory=snapshot if options.inventory is None and received.there(snapshot) else None,
        )


def _prepared(options: DeidOptions, standard_input: IO[bytes]) -> tuple[DeidRecipe, pl.DataFrame, list[Path]]:
    """Read the input files: recipe, keys of the selection, paths of documents."""
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
    """Warn, as ssh does, of a key file that other users can read or change."""
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


async def _read_files(work: _Deidentification, writer: DeidWriter) -> None:
    documents = read_files(work.files)
    while (found := await run_blocking(next, documents, None)) is not None:
        writer.take(*found)
        work.progress(_reading(work, writer, len(work.files)))


async def _read_store(work: _Deidentification, record: DeidRecord, writer: DeidWriter) -> None:
    assert work.connection is not None  # noqa: S101 - `DeidOptions.check_for` requires it
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
        writer.expect(frozenset() if work.options.via_copy else frozenset(primary))
        ids = left.get_column("image_set_id").to_list()

        def take(image_set_id: str, document: JsonObject) -> None:
            writer.take(image_set_id, document)
            work.progress(_reading(work, writer, len(ids)))

        work.progress(_reading(work, writer, len(ids)))
        await read_all(reader, ids, take)


def _reading(work: _Deidentification, writer: DeidWriter, total: int) -> WorkProgress:
    return WorkProgress(
        phase=Phase.READING,
        done=writer.documents,
        total=total,
        found=writer.edits,
        throttled=work.reads.throttled,
    )


def _require_agreement(left: pl.DataFrame, work: _Deidentification) -> None:
    """Raises UsageError unless archived image sets may be read, which AWS bills as access (AWS: cost-optimization)."""
    count = left.filter(pl.col("storage_tier") == ARCHIVED).height
    if not count:
        return
    if not (work.options.read_archived if work.agree is None else work.agree(count)):
        raise UsageError(
            f"{plural(count, 'image set')} {MOVES}. AWS charges for this, so it needs your consent.",
            hint="To agree: `read_archived=True`",
        )


# -- which image sets -------------------------------------------------------------------------------------------------


async def _selected(reader: Reader, datastore_id: str, work: _Deidentification, record: DeidRecord) -> pl.DataFrame:
    """The image sets to read: the columns of `SELECTION`, and more if they come from an inventory."""
    given = work.options.inventory
    if not work.keys.height:
        path = given or record.folder / "inventory.parquet"
        if given is None and received.there(path):
            received.require_file(path)
        if path.exists():
            snapshot = await run_blocking(inventories.load, path, datastore_id)
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
    """The image sets that match the keys. Raises UsageError if a key matches no image set."""
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
                f"{plural(count, 'key')} of {name} {'has' if count == 1 else 'have'} no image set in the data store.",
                likely="A key is mistyped, belongs to another data store, or is newer than the inventory.",
            )
    return inventory.filter(kept)
