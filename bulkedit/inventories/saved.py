"""An inventory as a file: Parquet with the columns `INVENTORY`, and what it is of in the file's key-value metadata."""

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


class InventoryAbout(TypedDict):
    """What the file of an inventory says that it is of."""

    format: int
    id: str
    datastore_id: str
    begun: str  # ISO time, as the next
    taken: NotRequired[str]
    image_sets: int
    pages: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An inventory on disk, found to be of the right data store."""

    path: Path
    about: InventoryAbout

    @property
    def datastore_id(self) -> str:
        """The data store that it is of."""
        return self.about["datastore_id"]

    @property
    def begun(self) -> str:
        """When its first page was asked for, as ISO text: what changed later may be missing."""
        return self.about["begun"]

    @property
    def image_sets(self) -> int:
        """How many image sets it holds."""
        return self.about["image_sets"]

    @property
    def pages(self) -> int:
        """How many pages it took, of all processes."""
        return self.about["pages"]

    def scan(self) -> pl.LazyFrame:
        """Columns `INVENTORY`, in the order of creation."""
        return pl.scan_parquet(self.path, glob=False)


def load(path: Path, datastore_id: str) -> Snapshot:
    """Open an inventory. Raises UsageError where it is none, or of another data store."""
    about = about_of(path)
    if about["datastore_id"] != datastore_id:
        raise UsageError(
            f"this inventory is of data store {about['datastore_id']}, not of {datastore_id}.",
            where=str(path),
            hint=f"Take one: bulkedit inventory -d {datastore_id} -o FILE",
        )
    return Snapshot(path, about)


def about_of(path: Path) -> InventoryAbout:
    """What a file says that it is of. Raises UsageError where it is no inventory."""
    try:
        growth = sizes(path).above()
        text = pl.read_parquet_metadata(path).get(KEY)
        schema = pl.read_parquet_schema(path)
    except OSError as error:
        raise UsageError(
            f"the inventory cannot be read ({error.strerror or type(error).__name__}).", where=str(path)
        ) from error
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise _not_an_inventory(path, "It is no Parquet file, or it is damaged.") from error
    if growth is not None:
        raise UsageError(
            f"the inventory unpacks to more than {growth:,} times its size.",
            where=str(path),
            likely="It may be damaged, or made to use up the memory of the machine that opens it.",
            hint="Take it again.",
        )
    if text is None:
        raise _not_an_inventory(path, "It is Parquet, but `bulkedit inventory` did not write it.")
    about = received.json_object(text, str(path))
    if about.get("format") != FORMAT or schema != INVENTORY:
        raise UsageError(
            "this inventory was made by another version of bulkedit.", where=str(path), hint="Take it again."
        )
    received.require(about, _ABOUT, str(path))
    return cast("InventoryAbout", about)


def _not_an_inventory(path: Path, likely: str) -> UsageError:
    return UsageError(
        "this is no inventory.",
        where=str(path),
        likely=likely,
        hint="Take one: bulkedit inventory -d DATASTORE -o FILE",
    )
