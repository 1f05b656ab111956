"""Measures the updates per second of one emulator process, and the memory of a million image sets.

    python benchmarks/emulator_load.py updates [--image-sets 10000] [--seconds 10] [--state FILE]
    python benchmarks/emulator_load.py memory [--image-sets 1000000] [--bytes 5000]

A process of its own sends prebuilt HTTP over raw sockets, so that the emulator, limited to one core, is the bottleneck.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import json
import multiprocessing
import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkedit.emulator import DEFAULT_DATASTORE_ID, UNTHROTTLED, CompletionTime, Settings, World, serve

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

CONNECTIONS = 32


def document(number: int, size: int = 2000) -> dict[str, Any]:
    """Return a metadata document of about this many bytes: one study, one series, one instance."""
    uid = f"1.2.826.0.1.3680043.10.{number}"
    filler = "x" * 64
    small: dict[str, Any] = {
        "Patient": {"DICOM": {"PatientName": f"LOAD^{number}", "PatientID": f"P{number:09}", "PatientSex": "O"}},
        "Study": {
            "DICOM": {
                "StudyInstanceUID": uid,
                "StudyID": f"S{number}",
                "StudyDate": f"20{number % 25:02}0101",
                "AccessionNumber": f"A{number:012}",
                "StudyDescription": "LOAD",
            },
            "Series": {
                f"{uid}.1": {
                    "DICOM": {"SeriesInstanceUID": f"{uid}.1", "Modality": "CT", "SeriesNumber": "1"},
                    "Instances": {f"{uid}.1.1": {"DICOM": {"SOPInstanceUID": f"{uid}.1.1"}, "DICOMVRs": {}}},
                }
            },
        },
    }
    instance = small["Study"]["Series"][f"{uid}.1"]["Instances"][f"{uid}.1.1"]["DICOM"]
    for place in range((size - len(json.dumps(small))) // 100):
        instance[f"0009{place + 16:04X}"] = f"{number:09}{place:05}{filler}"[:85]
    return small


def request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def update(image_set_id: str, version: int) -> bytes:
    edit = {"SchemaVersion": 1.1, "Study": {"DICOM": {"StudyDescription": f"LOAD {version}"}}}
    blob = base64.b64encode(json.dumps(edit, separators=(",", ":")).encode()).decode()
    path = f"/datastore/{DEFAULT_DATASTORE_ID}/imageSet/{image_set_id}/updateImageSetMetadata?latestVersion={version}"
    return request(path, json.dumps({"DICOMUpdates": {"updatableAttributes": blob}}).encode())


class Loader(asyncio.Protocol):
    """One connection that updates its own image sets in turn, one request at a time."""

    def __init__(self, image_set_ids: list[str], done: asyncio.Future[None], until: float) -> None:
        self.ids, self.done, self.until = image_set_ids, done, until
        self.sent, self.refused, self.buffer = 0, 0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.send()

    def send(self) -> None:
        if time.monotonic() >= self.until:
            self.transport.close()
            self.done.set_result(None)
            return
        turn, place = divmod(self.sent, len(self.ids))
        self.transport.write(update(self.ids[place], turn + 1))
        self.sent += 1

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        at = head.index(b"Content-Length: ") + 16
        if len(body) >= int(head[at:].partition(b"\r\n")[0]):
            self.refused += not head.startswith(b"HTTP/1.1 200")
            self.buffer = b""
            self.send()


async def load(port: int, image_set_ids: list[str], seconds: float) -> tuple[int, int]:
    loop, until = asyncio.get_running_loop(), time.monotonic() + seconds
    loaders = []
    for first in range(CONNECTIONS):
        loader = Loader(image_set_ids[first::CONNECTIONS], loop.create_future(), until)
        await loop.create_connection(lambda loader=loader: loader, "127.0.0.1", port)  # type: ignore[misc]
        loaders.append(loader)
    await asyncio.gather(*(loader.done for loader in loaders))
    return sum(loader.sent for loader in loaders), sum(loader.refused for loader in loaders)


def serve_image_sets(count: int, size: int, state: Path | None, pipe: Connection) -> None:
    """Run the emulator: load image sets, send the port, and send the CPU time on request."""
    os.sched_setaffinity(0, {0})
    settings = Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.0), concurrent=10**6, state=state)
    with serve(settings) as emulator:
        ids = emulator.do(lambda world: fill(world, count, size))
        gc.freeze()
        pipe.send((int(emulator.rpartition(":")[2]), ids))
        while pipe.recv() == "cpu":
            pipe.send(time.process_time())


def fill(world: World, count: int, size: int) -> list[str]:
    now = time.time()
    return [world.add_image_set(DEFAULT_DATASTORE_ID, document(number, size), now=now) for number in range(count)]


def updates(arguments: argparse.Namespace) -> None:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    child = multiprocessing.get_context("spawn").Process(
        target=serve_image_sets, args=(arguments.image_sets, arguments.bytes, arguments.state, theirs)
    )
    child.start()
    port, ids = ours.recv()
    os.sched_setaffinity(0, {1} if (os.cpu_count() or 1) > 1 else {0})
    ours.send("cpu")
    cpu, own, began = ours.recv(), time.process_time(), time.monotonic()
    sent, refused = asyncio.run(load(port, ids, arguments.seconds))
    wall, own = time.monotonic() - began, time.process_time() - own
    ours.send("cpu")
    cpu = ours.recv() - cpu
    ours.send("stop")
    child.join()
    print(
        f"{len(ids)} image sets; {sent} updates in {wall:.1f} s: {sent / wall:.0f}/s, {refused} refused; emulator "
        f"{cpu / sent * 1e6:.0f} us of CPU an update, {cpu / wall:.0%} of its core; load "
        f"generator {own / wall:.0%} of another"
    )


def memory(arguments: argparse.Namespace) -> None:
    world, began = World(), time.monotonic()
    world.add_default_datastore(0.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fill(world, arguments.image_sets, arguments.bytes)
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    size = len(json.dumps(document(7, arguments.bytes), separators=(",", ":")))
    print(
        f"{arguments.image_sets} image sets of {size} bytes: {used / 2**30:.2f} GiB, {used / arguments.image_sets:.0f} "
        f"bytes each, loaded in {time.monotonic() - began:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["updates", "memory"])
    parser.add_argument("--image-sets", type=int, default=10_000)
    parser.add_argument("--bytes", type=int, default=2_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--state", type=Path, help="keep the image sets in this file too")
    arguments = parser.parse_args()
    {"updates": updates, "memory": memory}[arguments.what](arguments)


if __name__ == "__main__":
    main()
