"""Measures the overhead of the engine over the SDK: calls per second without a quota.

    python -m benchmarks.engine_overhead [--quick] [--calls 3000] [--rounds 3] [--figure FILE]

Each client sends the same requests (GetImageSet, update, GetImageSet for each image set) from 32 workers: the engine
with its ledger and run.log, the same without run.log, a bare aioboto3 loop, boto3 in threads. The service is
`benchmarks.canned` on the other core, because the emulator, in Python, would be the bottleneck. The clients take turns,
and the best round of each counts, because other processes can only add to a time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aioboto3
import boto3
from aiobotocore.config import AioConfig
from botocore.config import Config

from benchmarks import canned, figures, instant
from benchmarks.growth import OPTIONS
from bulkedit import plans
from bulkedit._log import run_log
from bulkedit.client.connect import Connection, connect
from bulkedit.runs.engine import Engine
from bulkedit.runs.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS = OPTIONS.workers
_UPDATES = {"DICOMUpdates": {"updatableAttributes": instant.UPDATABLE.encode()}}


@dataclass(frozen=True, slots=True)
class Took:
    """One round of one client."""

    updates: int
    looks: int
    seconds: float
    cpu_seconds: float


def engine(url: str, plan: plans.SavedPlan, *, logs: bool = True) -> Took:
    async def run() -> Took:
        with (
            tempfile.TemporaryDirectory() as folder,
            Ledger.create(Path(folder) / "ledger.sqlite") as ledger,
            run_log(Path(folder)) if logs else nullcontext(),
        ):
            async with connect(Connection(datastore_id=instant.DATASTORE, endpoint_url=url)) as client:
                engine = Engine(plan, client, ledger, OPTIONS, key=b"a key", rng=random.Random(7))
                began = _Stopwatch()
                counters = await engine.run()
                assert counters.applied == counters.calls
                return began.took(counters.requests, counters.reads)

    return asyncio.run(run())


def bare_aioboto3(url: str, plan: plans.SavedPlan) -> Took:
    async def run() -> Took:
        config = AioConfig(inject_host_prefix=False, max_pool_connections=WORKERS)
        async with aioboto3.Session().client("medical-imaging", endpoint_url=url, config=config) as api:

            async def worker() -> None:
                for names in image_sets:
                    found = await api.get_image_set(**names)
                    await api.update_image_set_metadata(
                        **names, latestVersionId=found["versionId"], updateImageSetMetadataUpdates=_UPDATES
                    )
                    while (await api.get_image_set(**names))["imageSetState"] != "ACTIVE":
                        pass

            image_sets = iter(_names(plan))
            began = _Stopwatch()
            await asyncio.gather(*(worker() for _ in range(WORKERS)))
            return began.took(plan.counts["calls"], 2 * plan.counts["calls"])

    return asyncio.run(run())


def boto3_threads(url: str, plan: plans.SavedPlan) -> Took:
    config = Config(inject_host_prefix=False, max_pool_connections=WORKERS)
    api = boto3.client("medical-imaging", endpoint_url=url, config=config)

    def apply(names: dict[str, Any]) -> None:
        found = api.get_image_set(**names)
        api.update_image_set_metadata(
            **names, latestVersionId=found["versionId"], updateImageSetMetadataUpdates=_UPDATES
        )
        while api.get_image_set(**names)["imageSetState"] != "ACTIVE":
            pass

    began = _Stopwatch()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(apply, _names(plan)))
    return began.took(plan.counts["calls"], 2 * plan.counts["calls"])


WAYS: dict[str, Callable[[str, plans.SavedPlan], Took]] = {
    "bulkedit's engine": engine,
    "without run.log": partial(engine, logs=False),
    "bare aioboto3 loop": bare_aioboto3,
    "boto3 in threads": boto3_threads,
}


class _Stopwatch:
    def __init__(self) -> None:
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def took(self, updates: int, looks: int) -> Took:
        return Took(updates, looks, time.perf_counter() - self._began, time.process_time() - self._cpu)


def _names(plan: plans.SavedPlan) -> list[dict[str, Any]]:
    ids = plan.calls().select("image_set_id").collect().to_series()
    return [{"datastoreId": instant.DATASTORE, "imageSetId": image_set_id} for image_set_id in ids]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="200 calls, one round")
    parser.add_argument("--figure", type=Path, default=figures.FIGURES / "engine_overhead.png")
    arguments = parser.parse_args()
    calls, rounds = (200, 1) if arguments.quick else (arguments.calls, arguments.rounds)
    os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "us-east-1"}
    found: dict[str, list[Took]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        instant.save_plan(Path(folder) / "plan", calls)
        plan = plans.load(Path(folder) / "plan")
        for _ in range(rounds):
            for way, run in WAYS.items():
                with canned.canned() as url, canned.on_client_cores():
                    found[way].append(run(url, plan))
    show(found, calls, arguments.figure)


def show(found: dict[str, list[Took]], calls: int, figure: Path) -> None:
    best = {way: min(rounds, key=lambda took: took.seconds) for way, rounds in found.items()}
    cpu = {way: min(took.cpu_seconds for took in rounds) for way, rounds in found.items()}
    rates = {way: calls / took.seconds for way, took in best.items()}
    ours, *_ = rates.values()
    rows = [
        [way, took.updates, took.looks, rates[way], cpu[way] / calls * 1e6, f"{ours / rates[way]:.2f}"]
        for way, took in best.items()
    ]
    print(f"{figures.machine()}; {calls} calls, best of {len(next(iter(found.values())))} rounds\n")
    head = ["client", "updates", "looks", "calls/s", "us of CPU a call", "engine, times as fast"]
    print(figures.table(head, rows))
    figures.plot(figure, (7, 2.2), [figures.bars("calls per second, no quota", list(rates), list(rates.values()))])


if __name__ == "__main__":
    main()
