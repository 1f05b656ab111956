"""Reading the documents of image sets: what is repeated, and for how long."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, cast

import pytest

from bulkedit.client.pacing import Pacer, Rate
from bulkedit.client.responses import Metadata, Refusal, Refused
from bulkedit.deid.reading import Reads, read_all
from bulkedit.inventory import Clock

if TYPE_CHECKING:
    from bulkedit.client.contract import Client


class Busy:
    """Refuses the first reads."""

    def __init__(self, kind: Refusal, refusals: int) -> None:
        self.kind = kind
        self.left = refusals

    async def get_metadata(self, image_set_id: str) -> Metadata | Refused:
        if self.left:
            self.left -= 1
            return Refused(self.kind, "")
        return Metadata({"of": image_set_id})


@pytest.mark.parametrize("kind", [Refusal.THROTTLED, Refusal.TOO_MANY])
async def test_a_throttled_read_is_repeated_for_as_long_as_it_takes(kind: Refusal) -> None:
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    found: dict[str, Any] = {}
    reads, pacer = Reads(), Pacer(Rate(10, 1), random.Random(1))
    client = cast("Client", Busy(kind, 50))
    clock = Clock(monotonic=lambda: now, sleep=sleep)
    await read_all(client, ["a", "b"], found.__setitem__, pacer=pacer, clock=clock, reads=reads)
    assert found == {"a": {"of": "a"}, "b": {"of": "b"}}
    assert (reads.documents, reads.throttled, reads.faults) == (2, 50, 0)
