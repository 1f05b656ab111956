"""An inventory file: Parquet with the columns `INVENTORY`, and its data store and time in the key-value metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NotRequired, TypedDict, cast

import polars as pl

from bulkedit import _received as received
from bulkedit.edits.parquet_pages import sizes
from bulkedit.errors import UsageError
from bulkedit.inventories.frame import INVENTORY

if TYPE_CHECKING:
    from pathlib import Path

FORMAT: Final = 1
_ABOUT: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(("id", "datastore_id", "begun"), (str,)),
    **dict.fromkeys(("image_sets", "pages"), (int,)),
}
KEY: Final = "bulkedit.inventory"  # in the Parquet metadata: JSON with the fields of Snapshot.about


class ChangeCounts(TypedDict):
    """What an inventory has beside the common fields if only changes were read."""

    image_sets: int
    new: int  # image sets that the inventory before did not have
    changed: int  # that it had, with another version
    full_begun: str  # ISO time: begin of the last full inventory; image sets deleted since then are still in the file


class InventoryAbout(TypedDict):
    """The description of an inventory in the metadata of its file."""

    format: int
    id: str
    datastore_id: str
    begun: str  # ISO time, as is ``taken``
    taken: NotRequired[str]
    image_sets: int
    pages: int
    new: NotRequired[int]  # this and below as in `ChangeCounts`
    changed: NotRequired[int]
    full_begun: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An inventory on disk of the expected data store."""

    path: Path
    about: InventoryAbout

    @property
    def datastore_id(self) -> str:
        """The data store."""
        return self.about["datastore_id"]

    @property
    def begun(self) -> str:
        """Time of the first request, as ISO text; later changes may be missing."""
        return self.about["begun"]

    @property
    def image_sets(self) -> int:
        """The number of image sets."""
        return self.about["image_sets"]

    @property
    def pages(self) -> int:
        """The number of pages read, over all sessions."""
        return self.about["pages"]

    def scan(self) -> pl.LazyFrame:
        """Scan the file: columns `INVENTORY`, by time of creation."""
        return pl.scan_parquet(self.path, glob=False)


def load(path: Path, datastore_id: str) -> Snapshot:
    """Open an inventory. Raises UsageError if it is not an inventory, or of another data store."""
    about = about_of(path)
    if about["datastore_id"] != datastore_id:
        raise UsageError(
            f"this inventory is of data store {about['datastore_id']}, not of {datastore_id}.",
            where=str(path),
            hint=f"Take one: bulkedit inventory -d {datastore_id} -o FILE",
        )
    return Snapshot(path, about)


def about_of(path: Path) -> InventoryAbout:
    """Read the description of an inventory. Raises UsageError if the file is not an inventory."""
    try:
        growth = sizes(path).above()
        text = pl.read_parquet_metadata(path).get(KEY)
        schema = pl.read_parquet_schema(path)
    except OSError as error:
        raise UsageError(
            f"the inventory cannot be read ({error.strerror or type(error).__name__}).", where=str(path)
        ) from error
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise _not_an_inventory(path, "It is not a Parquet file, or it is damaged.") from error
    if growth is not None:
        raise UsageError(
            f"the inventory unpacks to more than {growth:,} times its size.",
            where=str(path),
            likely="It may be damaged, or made to exhaust the memory of the machine that opens it.",
            hint="Take the inventory again.",
        )
    if text is None:
        raise _not_an_inventory(path, "It is Parquet, but `bulkedit inventory` did not write it.")
    about = received.json_object(text, str(path))
    if about.get("format") != FORMAT or schema != INVENTORY:
        raise UsageError(
            "this inventory was made by another version of bulkedit.", where=str(path), hint="Take the inventory again."
        )
    received.require(about, _ABOUT, str(path))
    return cast("InventoryAbout", about)


def _not_an_inventory(path: Path, likely: str) -> UsageError:
    return UsageError(
        "this is not an inventory.",
        where=str(path),
        likely=likely,
        hint="Take one: bulkedit inventory -d DATASTORE -o FILE",
    )
