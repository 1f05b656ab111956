"""`bulkedit demo`: the main job from end to end, on real DICOM files, in a local HealthImaging."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import polars as pl
import typer
from rich.table import Table

from bulkedit import plans
from bulkedit._files import new_id
from bulkedit._words import plural
from bulkedit.after import report
from bulkedit.cli._console import command, err, out
from bulkedit.cli.apply import carry_out
from bulkedit.cli.plan import PlanningMessages, show_plan
from bulkedit.client.connect import Connection, connect
from bulkedit.client.responses import Metadata, Outcome
from bulkedit.errors import BulkeditError
from bulkedit.options.listing import ListOptions
from bulkedit.options.running import RunOptions
from bulkedit.options.where import Where
from bulkedit.plans.from_list import plan_list
from bulkedit.runs import folder as runs
from bulkedit.runs.connection import connection_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit._json import JsonObject
    from bulkedit.cli._parameters import DemoCommand
    from bulkedit.emulator import Emulator

_QUOTA_SCALE: Final = 8.0  # of the default quota of 0.25/s: 2 updates per second, 8 at once
_RATE: Final = "4/s"  # above it, so that throttling is seen
_SHOWN: Final = 8


def demo(options: DemoCommand, _: typer.Context) -> None:
    """Carry `bulkedit demo` out."""
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
        started = runs.create(folder, plan, _settings(emulator), now)
        before = anyio.run(_documents, emulator, plan)
        code = anyio.run(_carried_out, started, emulator)
        _show_changes(started, before, anyio.run(_documents, emulator, plan))
    out().print(f"\nLook around:  {command('status', folder)}\n              {command('report', folder)}")
    out().print("Your own offline HealthImaging, for any AWS SDK or the AWS CLI:  bulkedit emulate")
    if code not in {0, 1}:
        raise typer.Exit(code)


async def _carried_out(run: runs.Run, emulator: Emulator) -> int:
    async with connect(connection_of(run, Where(endpoint_url=str(emulator)))) as client:
        return await carry_out(run, client, as_json=False)


@contextmanager
def _hospital() -> Iterator[Emulator]:
    """A local HealthImaging that holds the DICOM files which pydicom carries."""
    from bulkedit.emulator import CompletionTime, Settings, serve
    from bulkedit.emulator.dicom_import.importer import read_folder

    files = resources.files("pydicom").joinpath("data/test_files")
    with (
        resources.as_file(files) as folder,
        serve(Settings(scale=_QUOTA_SCALE, completion_time=CompletionTime(seconds=0.4))) as emulator,
    ):
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
    """Words that stand for credentials, so that the machine's own are neither needed nor used."""
    words = emulator.environment()
    hidden = {name: os.environ.get(name) for name in {*words, "AWS_PROFILE", "AWS_SESSION_TOKEN"}}
    os.environ.update(words)
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
    options = RunOptions(rate=_RATE, burst=4, read_rate="100/s", workers=16, unlock_timeout=60)
    return {"connection": Where(endpoint_url=str(emulator)).as_settings(), "options": options.as_settings()}


async def _documents(emulator: Emulator, plan: plans.SavedPlan) -> dict[str, JsonObject]:
    """The metadata documents of the image sets that a plan touches."""
    ids = plan.calls().select(pl.col("image_set_id").unique()).collect().to_series().to_list()
    async with connect(Connection(datastore_id=emulator.datastore_id, endpoint_url=str(emulator))) as client:
        found = [(image_set_id, await client.get_metadata(image_set_id)) for image_set_id in ids]
    return {image_set_id: reply.document for image_set_id, reply in found if isinstance(reply, Metadata)}


def _show_changes(run: runs.Run, before: dict[str, JsonObject], after: dict[str, JsonObject]) -> None:
    """Some attributes before and after. These are public test files: no patient's values are shown."""
    applied = report.outcomes(run).filter(pl.col("outcome") == str(Outcome.APPLIED)).collect()
    table = Table(
        box=None, padding=(0, 2, 0, 0), header_style="bold", title="Some of what changed", title_justify="left"
    )
    for name in ("image set", "attribute", "before", "after"):
        table.add_column(name, overflow="fold")
    edits = applied.filter(pl.col("attribute").is_not_null()).unique("attribute", keep="first", maintain_order=True)
    for edit in edits.head(_SHOWN).iter_rows(named=True):
        image_set_id = edit["image_set_id"]
        values = [_value(documents.get(image_set_id, {}), edit) for documents in (before, after)]
        table.add_row(f"{image_set_id[:8]}…", edit["attribute"], *values)
    err().print()
    out().print()
    out().print(table, soft_wrap=False)


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
