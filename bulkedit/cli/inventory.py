"""`bulkedit inventory`: a snapshot of what SearchImageSets tells of a data store."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer

from bulkedit import inventories
from bulkedit._printable import printable
from bulkedit._words import duration, plural
from bulkedit.cli import _options as o
from bulkedit.cli._console import command, err, json_line, out
from bulkedit.cli._working import Latest, attended
from bulkedit.client.pacing import AUTO
from bulkedit.client.where import Where
from bulkedit.errors import EXIT_INTERRUPTED, BulkeditError, StoppedError
from bulkedit.inventories.job import InventoryOptions, InventoryProgress, TakenInventory, take_inventory

File = Annotated[
    Path,
    typer.Option("--out", "-o", metavar="FILE", envvar="BULKEDIT_INVENTORY_OUT", help="The Parquet file to write."),
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh",
        envvar="BULKEDIT_FRESH",
        help="Replace an inventory that is there, and begin anew where one was interrupted.",
    ),
]


def inventory(
    file: File,
    datastore: o.DatastoreId = None,
    region: o.Region = None,
    profile: o.AwsProfile = None,
    endpoint_url: o.EndpointUrl = None,
    allow_http: o.AllowHttp = False,
    client_cert: o.ClientCert = None,
    client_key: o.ClientKey = None,
    read_rate: o.ReadRate = AUTO,
    fresh: Fresh = False,
    as_json: o.AsJson = False,
) -> None:
    """Take a snapshot of a data store: every image set with its study, patient and accession number.

    Reads through SearchImageSets only, which leaves archived image sets where they are. An edit list that names its
    image sets by study, series, accession number, patient or study id is looked up in it. Ctrl-C, and the same
    command goes on where it stopped.

    Example: bulkedit inventory -d 0123456789abcdef0123456789abcdef -o inventory.parquet
    """
    where = Where(
        region=region,
        profile=profile,
        endpoint_url=endpoint_url,
        allow_http=allow_http,
        client_cert=client_cert,
        client_key=client_key,
    )
    options = InventoryOptions(read_rate=read_rate, fresh=fresh)
    latest = Latest(InventoryProgress())
    began = time.monotonic()
    try:
        taken = anyio.run(attended, partial(take_inventory, datastore, file, options, where=where), _words, latest)
    except StoppedError:
        kept = plural(latest.progress.done, "image set")
        err().print(f"Interrupted, with {kept} kept. To go on: {_again(datastore, file, options, where)}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except BulkeditError as error:
        if inventories.folder_of(file).exists():
            error.hint = "\n".join(filter(None, (error.hint, f"To go on: {_again(datastore, file, options, where)}")))
        raise
    _close(taken, time.monotonic() - began, as_json=as_json)


def _again(datastore: str | None, file: Path, options: InventoryOptions, where: Where) -> str:
    """The command that goes on: without --fresh, which would begin anew, if there is something to go on with."""
    given = {f"--{name.replace('_', '-')}": value for name, value in where.as_settings().items()}
    given["--read-rate"] = options.read_rate if options.read_rate != AUTO else None
    words = [word for name, value in given.items() if value is not None for word in (name, value)]
    if where.allow_http:
        words.append("--allow-http")
    if options.fresh and not inventories.folder_of(file).exists():
        words.append("--fresh")
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
    console.print("It holds patient ids and accession numbers: only you can read it.")


def _words(progress: InventoryProgress) -> str:
    """Image sets, pages, throttles, and the day of creation that paging has come to: no search tells how many."""
    parts = [f"{progress.done:,} image sets", f"{progress.pages:,} pages", f"{progress.throttled:,} throttled"]
    if progress.reached is not None:
        day = time.strftime("%Y-%m-%d", time.gmtime(progress.reached / 1e6))
        parts.append(f"created up to {day}")
    return " · ".join(parts)
