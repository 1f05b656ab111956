"""`bulkedit demo`: plans and applies an edit list of real DICOM files, in a local HealthImaging."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import polars as pl
import typer
from rich.table import Table

from bulkedit import plans
from bulkedit._files import new_id
from bulkedit._printable import printable
from bulkedit._words import plural
from bulkedit.after import report
from bulkedit.cli._console import command, out
from bulkedit.cli.apply import carry_out
from bulkedit.cli.plan import PlanningMessages, show_plan
from bulkedit.client.connect import Connection, connect
from bulkedit.client.pacing import DOCUMENTED, Operation
from bulkedit.client.responses import Metadata, Outcome
from bulkedit.errors import BulkeditError
from bulkedit.options.listing import ListOptions
from bulkedit.options.running import RunOptions
from bulkedit.options.where import Where
from bulkedit.plans.from_list import plan_list
from bulkedit.runs import folder as runs
from bulkedit.runs.connection import connection_of
from bulkedit.runs.summary import summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit._json import JsonObject
    from bulkedit.cli._parameters import DemoCommand
    from bulkedit.emulator import Emulator
    from bulkedit.runs.summary import RunSummary

_QUOTA: Final = 5.0  # updates per second, so that the run takes long enough to be watched
_BURST: Final = 5.0  # as large as the quota, as AWS documents them
_SHOWN: Final = 3  # image sets
_SHOWN_EACH: Final = 4  # attributes per image set
_LEVELS: Final = ("Patient", "Study", "Series", "Instance")


def demo(options: DemoCommand, _: typer.Context) -> None:
    """Run `bulkedit demo`."""
    with _hospital() as emulator, _without_account(emulator):
        now = datetime.now(UTC)
        folder = options.run or Path("runs") / f"demo-{new_id(now)}"
        out().print(f"Edit list: {_sample().name}")
        plan = plan_list(
            str(_sample()),
            emulator.datastore_id,
            ListOptions(),
            folder=folder.with_name(f"{folder.name}-plan"),
            where=Where(),
            listener=PlanningMessages(),
        )
        show_plan(plan)
        out().print(f"\nThis HealthImaging allows {_QUOTA:g} updates per second. The run is not told, and finds out.")
        started = runs.create(folder, plan, _settings(emulator), now)
        before = anyio.run(_documents, emulator, plan)
        code = anyio.run(_apply, started, emulator)
        _show_throttles(summary(started))
        _show_changes(started, before, anyio.run(_documents, emulator, plan))
    out().print(f"\nTo see more:  {command('status', folder)}\n              {command('report', folder)}")
    out().print("A local HealthImaging for any AWS SDK or the AWS CLI:  bulkedit emulate")
    if code not in {0, 1}:
        raise typer.Exit(code)


async def _apply(run: runs.Run, emulator: Emulator) -> int:
    async with connect(connection_of(run, Where(endpoint_url=str(emulator)))) as client:
        return await carry_out(run, client, as_json=False)


@contextmanager
def _hospital() -> Iterator[Emulator]:
    """A local HealthImaging with the DICOM files that pydicom ships."""
    from bulkedit.emulator import CompletionTime, Settings, serve
    from bulkedit.emulator.dicom_import.importer import demo_files, read_folder

    scale = _QUOTA / DOCUMENTED[Operation.UPDATE].per_second
    quotas = {"UpdateImageSetMetadata": (_QUOTA / scale, _BURST / scale)}
    settings = Settings(scale=scale, quotas=quotas, completion_time=CompletionTime(seconds=0.25))
    with demo_files() as folder, serve(settings) as emulator:
        imported = read_folder(folder)
        for image_set in imported.image_sets:
            emulator.add(image_set.document)
        instances = sum(len(image_set.files) for image_set in imported.image_sets)
        out().print(
            f"A local HealthImaging with {plural(len(imported.image_sets), 'image set')} "
            f"of {plural(instances, 'DICOM file')} ({len(imported.skipped)} unreadable ones skipped), at {emulator}"
        )
        yield emulator


@contextmanager
def _without_account(emulator: Emulator) -> Iterator[None]:
    """Set placeholder credentials in the block, so that the machine's own are neither needed nor used."""
    placeholders = emulator.environment()
    hidden = {name: os.environ.get(name) for name in {*placeholders, "AWS_PROFILE", "AWS_SESSION_TOKEN"}}
    os.environ.update(placeholders)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        os.environ.pop(name, None)
    try:
        yield
    finally:
        for name, value in hidden.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _sample() -> Path:
    """`samples/demo.csv`, from the checkout or from the wheel."""
    places = [Path(__file__).parents[2] / "samples/demo.csv", Path(__file__).parents[1] / "data/demo.csv"]
    for place in places:
        if place.is_file():
            return place
    raise BulkeditError("the demo's edit list is not installed.", hint="Install bulkedit again.")


def _settings(emulator: Emulator) -> runs.RunSettings:
    return {"connection": Where(endpoint_url=str(emulator)).as_settings(), "options": RunOptions().as_settings()}


async def _documents(emulator: Emulator, plan: plans.SavedPlan) -> dict[str, JsonObject]:
    """The metadata documents of the image sets of a plan."""
    ids = plan.calls().select(pl.col("image_set_id").unique()).collect().to_series().to_list()
    async with connect(Connection(datastore_id=emulator.datastore_id, endpoint_url=str(emulator))) as client:
        found = [(image_set_id, await client.get_metadata(image_set_id)) for image_set_id in ids]
    return {image_set_id: reply.document for image_set_id, reply in found if isinstance(reply, Metadata)}


def _show_throttles(numbers: RunSummary) -> None:
    share = numbers["throttled"] / numbers["requests"] if numbers["requests"] else 0.0
    out().print(
        f"Throttled: {numbers['throttled']:,} of {plural(numbers['requests'], 'request')} ({share:.1%}). "
        "A throttled request changes nothing, and is retried."
    )


def _show_changes(run: runs.Run, before: dict[str, JsonObject], after: dict[str, JsonObject]) -> None:
    """Print some attributes of some image sets, before and after."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("image set", "attribute", "before", "after"):
        table.add_column(name, overflow="fold")
    for edit in _shown(run).iter_rows(named=True):
        image_set_id = edit["image_set_id"]
        values = [_value(documents.get(image_set_id, {}), edit) for documents in (before, after)]
        table.add_row(f"{image_set_id[:8]}…", edit["attribute"], *map(printable, values))
    out().print("\nSome of the changes. These are public test files; no other command prints values.")
    out().print(table, soft_wrap=False)


def _shown(run: runs.Run) -> pl.DataFrame:
    """Some applied edits of the image sets with the most edits, Patient level first."""
    applied = report.outcomes(run).filter(pl.col("outcome") == str(Outcome.APPLIED), pl.col("attribute").is_not_null())
    edits = applied.with_columns(pl.len().over("image_set_id").alias("edits")).collect()
    level = pl.col("level").cast(pl.Enum(_LEVELS))
    edits = edits.sort(-pl.col("edits").cast(pl.Int64), "image_set_id", level, "row")
    image_sets = edits.get_column("image_set_id").unique(maintain_order=True).head(_SHOWN)
    few = edits.filter(pl.col("image_set_id").is_in(image_sets.to_list()))
    return few.group_by("image_set_id", maintain_order=True).head(_SHOWN_EACH)


def _value(document: dict[str, Any], edit: dict[str, Any]) -> str:
    node: Any = document
    path = {
        "Patient": ["Patient"],
        "Study": ["Study"],
        "Series": ["Study", "Series", edit["series_uid"]],
        "Instance": ["Study", "Series", edit["series_uid"], "Instances", edit["instance_uid"]],
    }[edit["level"]]
    for key in [*path, "DICOM", edit["attribute"]]:
        node = node.get(key, {}) if isinstance(node, dict) else {}
    return "(absent)" if node == {} else "(empty)" if node is None else str(node)
