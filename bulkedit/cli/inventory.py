"""`bulkedit inventory`: a snapshot of what SearchImageSets tells of a data store."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from bulkedit import inventories
from bulkedit._printable import printable
from bulkedit._words import duration, plural
from bulkedit.cli import _options as o
from bulkedit.cli._console import command, err, json_line, out
from bulkedit.cli._working import worked
from bulkedit.client.connect import Connection, connect
from bulkedit.client.pacing import AUTO, Operation, parse_read_pace
from bulkedit.client.reader import Reader
from bulkedit.errors import EXIT_INTERRUPTED, BulkeditError, UsageError
from bulkedit.inventories import Snapshot, Tally

if TYPE_CHECKING:
    from bulkedit.client.pacing import Auto, Rate

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
    if not datastore:
        raise UsageError("no data store is named.", hint="Give it: --datastore ID (or -d ID)")
    taking = _Taking(
        file=file,
        connection=Connection(
            datastore_id=datastore,
            region=region,
            profile=profile,
            endpoint_url=endpoint_url,
            allow_http=allow_http,
            client_cert=client_cert,
            client_key=client_key,
        ),
        rate=parse_read_pace(read_rate),
        fresh=fresh,
    )
    began = time.monotonic()
    try:
        snapshot = anyio.run(taking.run)
    except BulkeditError as error:
        if inventories.folder_of(file).exists():
            error.hint = "\n".join(filter(None, (error.hint, f"To go on: {_again(taking, read_rate)}")))
        raise
    if snapshot is None and taking.tally.pages and not inventories.folder_of(file).exists():
        snapshot = inventories.load(file, datastore)  # the signal came after the last step
    if snapshot is None:
        kept = plural(taking.tally.image_sets, "image set")
        err().print(f"Interrupted, with {kept} kept. To go on: {_again(taking, read_rate)}")
        raise typer.Exit(EXIT_INTERRUPTED)
    _close(snapshot, taking.tally, time.monotonic() - began, as_json=as_json)


def _again(taking: _Taking, read_rate: str) -> str:
    """The command that goes on: without --fresh, which would begin anew, where there is something to go on with."""
    connection = taking.connection
    given = {
        "--region": connection.region,
        "--profile": connection.profile,
        "--endpoint-url": connection.endpoint_url,
        "--client-cert": connection.client_cert,
        "--client-key": connection.client_key,
        "--read-rate": read_rate if read_rate != AUTO else None,
    }
    words = [word for name, value in given.items() if value is not None for word in (name, value)]
    if connection.allow_http:
        words.append("--allow-http")
    if taking.fresh and not inventories.folder_of(taking.file).exists():
        words.append("--fresh")
    return command("inventory", "-d", connection.datastore_id, "-o", taking.file, *words)


def _close(snapshot: Snapshot, tally: Tally, seconds: float, *, as_json: bool) -> None:
    if as_json:
        json_line(
            {
                "type": "inventory",
                "file": str(snapshot.path),
                "datastore_id": snapshot.datastore_id,
                "image_sets": snapshot.image_sets,
                "pages": snapshot.pages,
                "searches": tally.reads.requests,
                "throttled": tally.reads.throttled,
                "faults": tally.reads.faults,
                "seconds": round(seconds, 3),
            }
        )
        return
    console = out()
    console.print(
        f"{printable(snapshot.path)}: {plural(snapshot.image_sets, 'image set')} of data store "
        f"{printable(snapshot.datastore_id)}, in {plural(snapshot.pages, 'page')} "
        f"({tally.reads.throttled:,} throttled). {duration(seconds)}."
    )
    console.print("It holds patient ids and accession numbers: only you can read it.")


@dataclass(slots=True)
class _Taking:
    """One run of the command."""

    file: Path
    connection: Connection
    rate: Rate | Auto
    fresh: bool
    tally: Tally = field(default_factory=Tally)
    _taken: Snapshot | None = None

    async def run(self) -> Snapshot | None:
        """Take the inventory; None where a signal stopped it."""
        await worked(self._take, self._numbers)
        return self._taken

    async def _take(self) -> None:
        async with connect(self.connection) as client:
            self._taken = await inventories.take(
                Reader(client, {Operation.SEARCH: self.rate}, random.SystemRandom()),
                self.file,
                datastore_id=self.connection.datastore_id,
                watch=self._note,
                fresh=self.fresh,
            )

    def _note(self, tally: Tally) -> None:
        self.tally = tally

    def _numbers(self) -> str:
        """Image sets, pages, throttles, and the day of creation that paging has come to: no search tells how many."""
        tally = self.tally
        parts = [f"{tally.image_sets:,} image sets", f"{tally.pages:,} pages", f"{tally.reads.throttled:,} throttled"]
        if tally.reached is not None:
            day = time.strftime("%Y-%m-%d", time.gmtime(tally.reached / 1e6))
            parts.append(f"created up to {day}")
        return " · ".join(parts)
