"""Image sets that are read before planning: those that cannot be read are counted and planned without."""

from __future__ import annotations

import random

from bulkedit.client.reader import Reader
from bulkedit.emulator import DEFAULT_DATASTORE_ID, Fault, FaultKind
from bulkedit.plans.read_first import ReadCounters, _document
from tests.emulator.hospital import document
from tests.runs.factories import FAST_READS
from tests.runs.killable import DirectClient, emulated


async def test_an_image_set_whose_metadata_is_refused_is_unread() -> None:
    server, counters = emulated(), ReadCounters(total=3)
    one = server.world.add_image_set(DEFAULT_DATASTORE_ID, document(), now=server.now())
    reader = Reader(DirectClient(server), FAST_READS, random.Random(7))
    assert await _document(reader, one, counters) is not None
    server.faults.add([Fault(kind=FaultKind.DENIED, action="GetImageSetMetadata")], now=server.now())
    assert await _document(reader, one, counters) is None
    assert await _document(reader, "9" * 32, counters) is None
    assert (counters.read, counters.unread, counters.archived) == (1, 2, 0)
