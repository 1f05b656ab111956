"""A service in process that answers at once, and plans for it, to measure the engine alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from anyio.lowlevel import checkpoint

from bulkedit import plans
from bulkedit.client.responses import (
    Accepted,
    Copied,
    Datastore,
    Deleting,
    ImageSet,
    ImageSetState,
    Lost,
    Metadata,
    Page,
    Refusal,
    Refused,
)
from bulkedit.edits import SET_ASIDE
from bulkedit.plans import CALLS, PLANNED_EDITS

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.client.contract import CopyRequest, UpdateRequest

DATASTORE = "emulated000000000000000000000001"
UPDATABLE = '{"SchemaVersion":1.1,"Study":{"DICOM":{"StudyDescription":"BENCHMARK"}}}'


class Instant:
    """A `Client` that completes updates at once. Image sets are named by number.

    Each request lets other tasks run once, as a network request does at least.
    """

    def __init__(self, image_sets: int) -> None:
        self._versions = bytearray(b"\x01") * image_sets
        self.updates = 0
        self.looks = 0

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        await checkpoint()
        self.updates += 1
        number = int(request.image_set_id)
        if self._versions[number] != request.expected_version:
            return Refused(Refusal.STALE, "ResourceNotFoundException")
        self._versions[number] += 1
        return Accepted(request.expected_version + 1)

    async def copy(self, request: CopyRequest) -> Copied | Refused | Lost:
        raise NotImplementedError

    async def delete(self, image_set_id: str) -> Deleting | Refused | Lost:
        raise NotImplementedError

    async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
        await checkpoint()
        self.looks += 1
        latest = self._versions[int(image_set_id)]
        status = "UPDATED" if latest > 1 else "CREATED"
        return ImageSet(image_set_id=image_set_id, version=version or latest, state=ImageSetState.ACTIVE, status=status)

    async def get_metadata(self, image_set_id: str, version: int | None = None) -> Metadata | Refused | Lost:
        raise NotImplementedError

    async def list_versions(self, image_set_id: str, **page: Any) -> Page | Refused | Lost:
        raise NotImplementedError

    async def search(self, criteria: dict[str, Any] | None = None, **page: Any) -> Page | Refused | Lost:
        raise NotImplementedError

    async def get_datastore(self) -> Datastore | Refused | Lost:
        return Datastore(DATASTORE, "ACTIVE")


def save_plan(folder: Path, calls: int, *, lane: int = 1) -> None:
    """Make a plan of calls with one edit each, ``lane`` calls per image set."""
    number = pl.int_range(calls, dtype=pl.UInt32)
    image_set = (pl.col("call") // lane).cast(pl.String).str.zfill(32)
    base = pl.select(call=number)
    columns = {
        "lane": pl.col("call") // lane,
        "image_set_id": image_set,
        "updatable": pl.lit(UPDATABLE),
        "force": pl.lit(value=False),
        "study_wide": pl.lit(value=False),
        "lookup": pl.lit(value=False),
        "edits": pl.lit(1),
        "units": pl.lit(1),
        "bytes": pl.lit(len(UPDATABLE)),
    }
    edit = {
        "edit": pl.col("call"),
        "unit": pl.col("call"),
        "row": pl.col("call") + 2,
        "sent": pl.lit(value=True),
        "image_set_id": image_set,
        "action": pl.lit("set"),
        "attribute": pl.lit("StudyDescription"),
        "level": pl.lit("Study"),
        "value": pl.lit('"BENCHMARK"'),
    }
    plan = plans.Plan(_filled(base, columns, CALLS), _filled(base, edit, PLANNED_EDITS), pl.DataFrame(schema=SET_ASIDE))
    about: Any = {
        "datastore_id": DATASTORE,
        "list": {"name": "rows", "sha256": "0" * 64, "form": "tidy", "rows": plan.edits.height},
        "settings": {"payload_limit": 10_000},
        "counts": {**plans.estimate(plan).as_json(), **dict.fromkeys(("rows", "set_aside", "skipped", "empty"), 0)},
    }
    plans.save(plan, folder, about)


def _filled(base: pl.DataFrame, columns: dict[str, pl.Expr], schema: pl.Schema) -> pl.DataFrame:
    """Return the columns of a schema, null unless given."""
    absent = {name: pl.lit(None) for name in schema if name not in columns and name != "call"}
    return base.with_columns(**columns, **absent).select(schema.names()).cast(schema)
