"""Whether image sets are primary is asked of several at once, within the quota of the reader."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import anyio

from bulkedit.client.connect import Connection, connect
from bulkedit.client.pacing import Operation, Rate
from bulkedit.client.reader import Reader
from bulkedit.plans import KNOWN
from bulkedit.plans.look_up import primaries
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from bulkedit.client.contract import Client
    from bulkedit.client.responses import ImageSet, Lost, Refused
    from bulkedit.emulator import Emulator

RATES = {Operation.GET: Rate(1000, 1000)}
ABSENT = "0" * 32


class Together:
    """A client that gives no answer before so many requests are under way."""

    def __init__(self, client: Client, requests: int) -> None:
        self._client = client
        self._awaited = requests
        self._all = anyio.Event()

    async def get_image_set(self, *names: Any) -> ImageSet | Refused | Lost:
        self._awaited -= 1
        if not self._awaited:
            self._all.set()
        await self._all.wait()
        return await self._client.get_image_set(*names)


async def test_several_are_asked_at_once_and_told_in_their_order(emulator: Emulator) -> None:
    asked = [emulator.add(document(study=f"1.2.{n}"), primary=n % 2 == 0) for n in range(6)] + [ABSENT]
    connection = Connection(datastore_id=emulator.datastore_id, endpoint_url=str(emulator))
    async with connect(connection) as client:
        together: Any = Together(client, len(asked))
        with anyio.fail_after(10):
            found = await primaries(Reader(together, RATES, random.Random(1)), asked)
    assert found.schema == KNOWN
    assert found.get_column("image_set_id").to_list() == asked
    assert found.get_column("primary").to_list() == [True, False] * 3 + [None]
