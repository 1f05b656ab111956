"""One run of the engine against an emulator over HTTP, and what it left behind."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from bulkedit import plans
from bulkedit.client.connect import Connection, connect
from bulkedit.client.pacing import WRITES, Auto, Operation, Rate
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits.edit import EDITS, json_text
from bulkedit.runs import ledger_frames
from bulkedit.runs.engine import Engine
from bulkedit.runs.ledger import Ledger, RequestRecord
from bulkedit.runs.options import EngineOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bulkedit.client.contract import Client, CopyRequest, UpdateRequest
    from bulkedit.client.responses import Accepted, Copied, Datastore, Deleting, ImageSet, Lost, Metadata, Page, Refused
    from bulkedit.emulator import Emulator
    from bulkedit.runs.counters import RunCounters

FAST = {operation: Rate(10_000, 10_000) for operation in Operation}
FAST_READS: dict[Operation, Rate | Auto] = {one: rate for one, rate in FAST.items() if one not in WRITES}
KEY = b"a key of a run of the tests"


def row(image_set_id: str, attribute: str | None = None, value: Any = None, **fields: Any) -> dict[str, Any]:
    """One edit of the frame; level derived, `set` unless told otherwise."""
    known = dicom.attribute(attribute) if attribute else None
    return {
        "selector": "image_set_id",
        "key": image_set_id,
        "action": "set",
        "attribute": attribute,
        "level": str(known.level) if known else None,
        "value": json_text(value) if attribute else None,
        "force": False,
        "study_wide": False,
        **fields,
    }


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows numbered as a spreadsheet numbers them."""
    return pl.DataFrame([{"row": number, **one} for number, one in enumerate(rows, 2)], schema=EDITS).with_columns(
        image_set_id=pl.col("key")
    )


def planned(folder: Path, datastore_id: str, rows: list[dict[str, Any]], *, merge: bool = True) -> plans.SavedPlan:
    settings = plans.PlanningSettings(
        rules=dicom.RULES["2026"], payload_limit=10_000, contradictions=plans.Contradictions.LAST, merge=merge
    )
    plan = plans.make(frame(rows), settings)
    assert plan.set_aside.height == 0
    return plans.save(plan, folder, about_plan(plan, datastore_id))


def about_plan(plan: plans.Plan, datastore_id: str, payload_limit: int = 10_000) -> Any:
    """What the manifest of a plan says, that was made of no list."""
    return {
        "datastore_id": datastore_id,
        "list": {"name": "rows", "sha256": "0" * 64, "form": "tidy", "rows": plan.edits.height},
        "settings": {"payload_limit": payload_limit},
        "counts": {
            **plans.estimate(plan).as_json(),
            "rows": plan.edits.height,
            "set_aside": 0,
            "skipped": 0,
            "empty": 0,
        },
    }


class PassThroughClient:
    """A client that passes everything on; a test gives a subclass one habit of its own."""

    def __init__(self, inner: Client) -> None:
        self.inner = inner

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        return await self.inner.update(request)

    async def copy(self, request: CopyRequest) -> Copied | Refused | Lost:
        return await self.inner.copy(request)

    async def delete(self, image_set_id: str) -> Deleting | Refused | Lost:
        return await self.inner.delete(image_set_id)

    async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
        return await self.inner.get_image_set(image_set_id, version)

    async def get_metadata(self, image_set_id: str, version: int | None = None) -> Metadata | Refused | Lost:
        return await self.inner.get_metadata(image_set_id, version)

    async def list_versions(self, image_set_id: str, **page: Any) -> Page | Refused | Lost:
        return await self.inner.list_versions(image_set_id, **page)

    async def search(self, criteria: dict[str, Any] | None = None, **page: Any) -> Page | Refused | Lost:
        return await self.inner.search(criteria, **page)

    async def get_datastore(self) -> Datastore | Refused | Lost:
        return await self.inner.get_datastore()


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended."""

    counters: RunCounters
    states: pl.DataFrame
    events: list[dict[str, Any]]
    requests: list[RequestRecord]

    def standing_of(self) -> list[str]:
        """States of the calls in their order."""
        return self.states["state"].to_list()


async def run(
    emulator: Emulator,
    folder: Path,
    rows: list[dict[str, Any]],
    *,
    wrap: Callable[[Client], Client] = lambda client: client,
    prepare: Callable[[Engine], None] = lambda _: None,
    merge: bool = False,
    **options: Any,
) -> Ended:
    """Plan the rows (or go on with the plan that is in the folder) and run them."""
    plan = (
        plans.load(folder / "plan")
        if (folder / "plan").exists()
        else planned(folder / "plan", emulator.datastore_id, rows, merge=merge)
    )
    path = folder / "ledger.sqlite"
    chosen = replace(EngineOptions(rates=FAST), **options)
    connection = Connection(datastore_id=emulator.datastore_id, endpoint_url=str(emulator))
    async with connect(connection) as client:
        with Ledger.open(path) if path.exists() else Ledger.create(path) as ledger:
            engine = Engine(plan, wrap(client), ledger, chosen, key=KEY, rng=random.Random(7))
            prepare(engine)
            counters = await engine.run()
            return Ended(counters, ledger_frames.states(ledger), list(ledger.events()), list(ledger.requests()))


def updates(emulator: Emulator, *, status: int = 200) -> list[Any]:
    """Journal entries of the update requests that got this status."""
    return [
        entry
        for entry in emulator.journal()
        if entry.kind == "request" and entry.action == "UpdateImageSetMetadata" and entry.status == status
    ]
