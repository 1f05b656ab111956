"""Take an inventory in a process that dies, as if by kill -9, at its n-th step on the file system.

    python -m tests.inventories.kill_points FILE N [--fresh]

The steps are Python's own audit events of opening, renaming and removing files in the file's folder, and every page
that is written. FILE.asked grows by a byte for each page that is asked for.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio

from bulkedit.client.pacing import Operation, Rate
from bulkedit.client.reader import Reader
from bulkedit.inventories import folder_of, take
from tests.inventories.memory_client import STORE, MemoryClient, item

if TYPE_CHECKING:
    from bulkedit.client.contract import Client
    from bulkedit.client.responses import Lost, Page, Refused

COUNT = 530
CHECKPOINT_PAGES = 3
_STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def store_of_530() -> MemoryClient:
    return MemoryClient([item(n, second=n // 7) for n in range(COUNT)])


class Counted(MemoryClient):
    """Counts across processes how often it was asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(store_of_530().items)
        self.path = path

    async def search(self, criteria: dict[str, Any] | None = None, **page: Any) -> Page | Refused | Lost:
        with self.path.open("ab") as count:
            count.write(b".")
        return await super().search(criteria, **page)


def dies_at(step: int, near: Path) -> None:
    """Die at this step; 0 is never."""
    count = 0

    def audit(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in _STEPS or not str(args[0]).startswith(str(near)):
            return
        count += 1
        if count == step:
            os._exit(9)

    if step:
        sys.addaudithook(audit)


def main(file: str, step: str, *options: str) -> None:
    path, store = Path(file), Counted(Path(f"{file}.asked"))
    dies_at(int(step), folder_of(path))

    async def run() -> None:
        await take(
            Reader(cast("Client", store), {Operation.SEARCH: Rate(1e6, 1e6)}, random.Random(1)),
            path,
            datastore_id=STORE,
            checkpoint_pages=CHECKPOINT_PAGES,
            fresh="--fresh" in options,
        )

    anyio.run(run)


if __name__ == "__main__":
    main(*sys.argv[1:])
