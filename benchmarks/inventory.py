"""Pages a second of `bulkedit inventory` at several latencies, against the emulator with the documented quota.

    python -m benchmarks.inventory [--pages 500] [--latencies 0 50 200] [--at-once 1 16] [--quick]

The emulator throttles at 25 searches a second with a burst of 50. Of the quota: the pages beyond the burst, each
counted once, in the time of all. CPU: cores that are used, by emulator and inventory together, which are one process.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from benchmarks import figures
from benchmarks.emulator_load import document
from bulkedit.client.connect import Connection, connect
from bulkedit.client.pacing import DOCUMENTED, Operation, parse_read_pace
from bulkedit.client.reader import Reader
from bulkedit.emulator import Fault, FaultKind, Settings, serve
from bulkedit.inventories import PAGE, SearchCounters, take

if TYPE_CHECKING:
    from bulkedit.emulator import Emulator, World

QUOTA = DOCUMENTED[Operation.SEARCH]
YEAR = 365 * 86_400


def filled(emulator: Emulator, image_sets: int) -> None:
    """Import image sets, created in bursts: on working days, by hours of work, in the last ten years."""
    rng = random.Random(9)
    for number in range(image_sets):
        emulator.add(document(number, 500))
    first = time.time() - 10 * YEAR
    moments = sorted(first + _working_time(rng) for _ in range(image_sets))

    def spread(world: World) -> None:
        stored = world.datastores[emulator.datastore_id].image_sets.values()
        for image_set, moment in zip(stored, moments, strict=True):
            image_set.created_at = moment

    emulator.do(spread)
    gc.freeze()


def _working_time(rng: random.Random) -> float:
    weeks, day = rng.randrange(10 * 52 - 1), rng.choices(range(7), (9, 9, 9, 9, 9, 2, 2))[0]
    return weeks * 7 * 86_400 + day * 86_400 + min(max(rng.gauss(13, 3), 0), 23.9) * 3600


async def timed(emulator: Emulator, path: Path, at_once: int) -> tuple[float, float, SearchCounters, int]:
    """Take the inventory; seconds, CPU seconds of the process, counters, image sets."""
    last = SearchCounters()

    def watch(counters: SearchCounters) -> None:
        nonlocal last
        last = counters

    async with connect(Connection(datastore_id=emulator.datastore_id, endpoint_url=str(emulator))) as client:
        reader = Reader(client, {Operation.SEARCH: parse_read_pace("auto")}, random.Random(1))
        began, cpu = time.monotonic(), time.process_time()
        taken = await take(reader, path, datastore_id=emulator.datastore_id, watch=watch, at_once=at_once)
    return time.monotonic() - began, time.process_time() - cpu, last, taken.image_sets


def main(arguments: list[str]) -> None:
    """Print a row for each latency and number of windows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=500)
    parser.add_argument("--latencies", type=float, nargs="+", default=[0, 50, 200], help="ms")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--quick", action="store_true", help="a tenth of the pages at a hundred times the quota")
    given = parser.parse_args(arguments)
    pages = given.pages // 10 if given.quick else given.pages
    rows = []
    os.environ |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1"}
    with serve(Settings(scale=100 if given.quick else 1)) as emulator, tempfile.TemporaryDirectory() as folder:
        filled(emulator, pages * PAGE)
        for latency in given.latencies:
            emulator.server.faults.clear()
            if latency:
                slow = Fault(kind=FaultKind.SLOW, seconds=latency / 1000, action="SearchImageSets")
                emulator.server.faults.add([slow], now=emulator.server.now())
            for at_once in given.at_once:
                path = Path(folder) / f"{latency}-{at_once}.parquet"
                seconds, cpu, counters, image_sets = anyio.run(timed, emulator, path, at_once)
                if image_sets != pages * PAGE:
                    sys.exit(f"{image_sets} image sets of {pages * PAGE}")
                rate = max(0.0, pages - QUOTA.burst) / seconds if not given.quick else pages / seconds
                rows.append(
                    (
                        latency,
                        at_once,
                        seconds,
                        pages / seconds,
                        rate / QUOTA.per_second,
                        counters.reads.requests,
                        counters.reads.throttled,
                        cpu / seconds,
                    )
                )
                time.sleep(0 if given.quick else QUOTA.burst / QUOTA.per_second)  # the burst is there again
    print(figures.machine())
    head = (
        "latency (ms)",
        "windows",
        "seconds",
        "pages/s",
        "of the quota, without burst",
        "requests",
        "throttled",
        "CPU",
    )
    print(figures.table(head, rows))


if __name__ == "__main__":
    main(sys.argv[1:])
