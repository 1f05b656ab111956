"""Reading the documents of image sets: which are taken, passed over, and told."""

from __future__ import annotations

import random
from typing import Any

import pytest

from bulkedit.client.pacing import Operation, Rate
from bulkedit.client.reader import ATTEMPTS, Clock, Reader
from bulkedit.client.responses import Metadata, Refusal, Refused
from bulkedit.deidentification.reading import read_all
from bulkedit.errors import AccessError, BulkeditError, DatastoreError, EndpointError

IDS = ["a", "b", "c"]


class Store:
    """Refuses the metadata of some image sets, for ever or a few times."""

    def __init__(self, refusals: dict[str, Refusal], times: int = 1_000_000) -> None:
        self.refusals = refusals
        self.left = dict.fromkeys(refusals, times)
        self.asked = 0

    async def get_metadata(self, image_set_id: str, _version: int | None = None) -> Metadata | Refused:
        self.asked += 1
        if self.left.get(image_set_id, 0):
            self.left[image_set_id] -= 1
            return Refused(self.refusals[image_set_id], "SomeException", "the service quotes CANARY")
        return Metadata({"of": image_set_id})


async def read(store: Any) -> dict[str, Any]:
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    found: dict[str, Any] = {}
    clock = Clock(monotonic=lambda: now, sleep=sleep)
    reader = Reader(store, {Operation.METADATA: Rate(1000, 1000)}, random.Random(1), clock)
    await read_all(reader, IDS, found.__setitem__)
    return found


@pytest.mark.parametrize("kind", [Refusal.THROTTLED, Refusal.TOO_MANY])
async def test_a_throttled_read_is_repeated_for_as_long_as_it_takes(kind: Refusal) -> None:
    assert await read(Store({"a": kind, "b": kind}, 50)) == {one: {"of": one} for one in IDS}


@pytest.mark.parametrize("kind", [Refusal.NOT_FOUND, Refusal.INVALID])
async def test_what_is_gone_is_passed_over_unless_it_is_all(kind: Refusal) -> None:
    assert (await read(Store({"a": kind, "b": kind}))).keys() == {"c"}
    with pytest.raises(DatastoreError, match="none of the image sets"):
        await read(Store(dict.fromkeys(IDS, kind)))


@pytest.mark.parametrize(
    ("kind", "error", "said", "times"),
    [
        (Refusal.ACCESS_DENIED, AccessError, "GetImageSetMetadata, or a policy", 1),
        (Refusal.CONFLICT, EndpointError, f"not ready to be read (SomeException, {ATTEMPTS} times", ATTEMPTS),
        (Refusal.UNKNOWN, EndpointError, "refused GetImageSetMetadata (SomeException)", 1),
    ],
)
async def test_any_other_refusal_ends_with_its_error_and_the_image_set(
    kind: Refusal, error: type[BulkeditError], said: str, times: int
) -> None:
    store = Store({"b": kind})
    with pytest.raises(error) as found:
        await read(store)
    assert said in str(found.value)
    assert found.value.where == "b"
    assert "CANARY" not in str(found.value)
    assert store.asked <= times + 2
