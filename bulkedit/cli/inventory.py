"""`bulkedit inventory`: writes what SearchImageSets returns for a data store to a file."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import anyio
import typer

from bulkedit import inventories
from bulkedit._printable import printable
from bulkedit._words import duration, plural
from bulkedit.cli._console import command, err, json_line, out
from bulkedit.cli._parameters import InventoryCommand
from bulkedit.cli._working import Latest, with_progress
from bulkedit.client.pacing import AUTO
from bulkedit.errors import EXIT_INTERRUPTED, BulkeditError, StoppedError
from bulkedit.inventories.chosen import ChosenImageSets, choose
from bulkedit.inventories.job import InventoryProgress, TakenInventory, take_inventory
from bulkedit.options.declaring import all_declared
from bulkedit.options.inventory import InventoryOptions
from bulkedit.options.where import Where


def inventory(options: InventoryCommand, _: typer.Context) -> None:
    """Run `bulkedit inventory`."""
    datastore, file, taking, where = options.datastore_id, options.out, options.taking, options.where
    if taking.source is not None and taking.condition is not None:
        chosen = choose(taking.source, taking.condition, file, datastore_id=datastore, fresh=taking.fresh)
        _close_chosen(chosen, as_json=options.as_json)
        return
    latest = Latest(InventoryProgress())
    began = time.monotonic()
    try:
        taken = anyio.run(
            with_progress, partial(take_inventory, datastore, file, taking, where=where), _progress_line, latest
        )
    except StoppedError:
        kept = plural(latest.progress.done, "image set")
        err().print(f"Interrupted, with {kept} kept. To continue: {_again(datastore, file, taking, where)}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except BulkeditError as error:
        if inventories.folder_of(file).exists():
            error.hint = "\n".join(filter(None, (error.hint, f"To continue: {_again(datastore, file, taking, where)}")))
        raise
    _close(taken, time.monotonic() - began, as_json=options.as_json)


def _close_chosen(chosen: ChosenImageSets, *, as_json: bool) -> None:
    snapshot = chosen.snapshot
    if as_json:
        json_line(
            {
                "type": "list",
                "file": str(chosen.path),
                "datastore_id": snapshot.datastore_id,
                "image_sets": chosen.image_sets,
                "image_sets_of_inventory": snapshot.image_sets,
                "undecided": chosen.undecided,
            }
        )
        return
    console = out()
    console.print(
        f"{printable(chosen.path)}: {plural(chosen.image_sets, 'image set')} of {snapshot.image_sets:,} of data store "
        f"{printable(snapshot.datastore_id)}."
    )
    if chosen.undecided:
        lack = plural(chosen.undecided, "image set lacks", "image sets lack")
        console.print(f"{lack} a value that --where compares, so it does not hold for them.")
    console.print(
        "To make it an edit list, add a column for each attribute to change, such as StudyDescription. Then: "
        f"{command('plan', chosen.path, '-d', snapshot.datastore_id)}"
    )


def _again(datastore: str | None, file: Path, taking: InventoryOptions, where: Where) -> str:
    """The command that continues. Without --fresh, unless there is nothing to continue with."""
    flags = {name: one.flags[0] for name, one in all_declared(InventoryCommand).items()}
    given = {**where.as_settings(), "read_rate": taking.read_rate if taking.read_rate != AUTO else None}
    words = [word for name, value in given.items() if value is not None for word in (flags[name], value)]
    if where.allow_http:
        words.append(flags["allow_http"])
    if not inventories.folder_of(file).exists():
        words += [flags[name] for name in ("fresh", "changes") if getattr(taking, name)]
    return command("inventory", "-d", datastore or "", "-o", file, *words)


def _close(taken: TakenInventory, seconds: float, *, as_json: bool) -> None:
    snapshot = taken.snapshot
    if as_json:
        json_line(
            {
                "type": "inventory",
                "file": str(snapshot.path),
                "datastore_id": snapshot.datastore_id,
                "image_sets": snapshot.image_sets,
                "pages": snapshot.pages,
                "new": snapshot.about.get("new"),
                "changed": snapshot.about.get("changed"),
                "full_begun": snapshot.about.get("full_begun", snapshot.begun),
                "searches": taken.searches,
                "throttled": taken.throttled,
                "faults": taken.faults,
                "seconds": round(seconds, 3),
            }
        )
        return
    console = out()
    console.print(
        f"{printable(snapshot.path)}: {plural(snapshot.image_sets, 'image set')} of data store "
        f"{printable(snapshot.datastore_id)}, in {plural(snapshot.pages, 'page')} "
        f"({taken.throttled:,} throttled). {duration(seconds)}."
    )
    about = snapshot.about
    if "full_begun" in about:
        console.print(
            f"{plural(about['new'], 'image set')} new, {about['changed']:,} changed. Image sets that were deleted "
            f"since {about['full_begun']} are still in it; to leave them out, take it with --fresh."
        )
    console.print("It contains patient ids and accession numbers: only you can read it.")


def _progress_line(progress: InventoryProgress) -> str:
    """Image sets, pages, throttles, and the creation day reached so far; the total is not known."""
    parts = [f"{progress.done:,} image sets", f"{progress.pages:,} pages", f"{progress.throttled:,} throttled"]
    if progress.reached is not None:
        day = time.strftime("%Y-%m-%d", time.gmtime(progress.reached / 1e6))
        parts.append(f"created up to {day}")
    return " · ".join(parts)
