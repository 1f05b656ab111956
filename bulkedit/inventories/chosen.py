"""Writes a list of the image sets of an inventory that meet a condition: the selector column of an edit list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit._files import draft_file
from bulkedit.edits.frame_files import writing
from bulkedit.errors import UsageError
from bulkedit.inventories import saved
from bulkedit.inventories.condition import condition_of, judged
from bulkedit.inventories.saved import Snapshot, load

if TYPE_CHECKING:
    from pathlib import Path

_ID: Final = "image_set_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenImageSets:
    """A list of image sets on disk."""

    path: Path
    snapshot: Snapshot
    image_sets: int
    undecided: int  # image sets of the inventory that lack a value that the condition compares; they are not chosen


def choose(
    source: Path, condition: str, path: Path, *, datastore_id: str | None = None, fresh: bool = False
) -> ChosenImageSets:
    """Write the ids of the image sets of the inventory ``source`` that meet ``condition`` to ``path``, in its order.

    ``path``: CSV, or Parquet by its suffix; mode 0600. ``fresh``: replace an existing list. Raises UsageError for the
    condition, the inventory, one of another data store than ``datastore_id`` if that is given, and for the file.

    Example: ``choose(Path("inventory.parquet"), "modality = 'CT'", Path("ct.csv")).image_sets``
    """
    meets = condition_of(condition)
    snapshot = load(source, datastore_id) if datastore_id else Snapshot(source, saved.about_of(source))
    if path.exists() and not (fresh and _is_list(path)):
        raise UsageError(
            "this file exists already.", where=str(path), hint="To replace it, if it is such a list: `fresh=True`"
        )
    decided = judged(snapshot.scan(), meets)
    chosen = decided.filter("meets").select(_ID)
    if chosen.is_empty():
        raise UsageError(
            "no image set of the inventory meets `condition`.",
            where=str(source),
            likely="The condition is mistyped, or the inventory is older than the image sets.",
        )
    with writing("the list", path), draft_file(path, replace=fresh) as file:
        chosen.write_parquet(file) if path.suffix == ".parquet" else chosen.write_csv(file)
    return ChosenImageSets(
        path=path, snapshot=snapshot, image_sets=chosen.height, undecided=decided.get_column("meets").null_count()
    )


def _is_list(path: Path) -> bool:
    """Whether a file has been written by `choose`, or looks like that: ids only."""
    try:
        scan = pl.scan_parquet(path, glob=False) if path.suffix == ".parquet" else pl.scan_csv(path, glob=False)
        return scan.collect_schema().names() == [_ID]
    except (OSError, pl.exceptions.PolarsError):
        return False
