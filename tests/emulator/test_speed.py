"""The cost of an update depends on neither the number of image sets nor that of versions; versions share parts.

Held in counts and sizes, never in seconds; the seconds are in ``benchmarks/emulator_load.py``.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.emulator import DEFAULT_DATASTORE_ID, World
from bulkedit.emulator.state.document import dump, parse
from tests.emulator.hospital import NOW, Service, document, in_instance, in_study, settings

if TYPE_CHECKING:
    from collections.abc import Callable


def steps(action: Callable[[], Any]) -> int:
    """How many calls of functions an action makes, Python's and C's."""
    count = 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(counted)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def served(image_sets: int) -> tuple[Service, list[str]]:
    service = Service(settings(concurrent=10**9))
    ids = [service.add(document(study=f"9.{number}", patient=f"P{number}")) for number in range(image_sets)]
    return service, ids


def one_update(service: Service, image_set_id: str) -> int:
    """Steps of an update, from the request to its end."""
    return steps(lambda: service.outcome(image_set_id, in_study(StudyDescription="X"), version=None))


def test_an_update_costs_the_same_among_many_image_sets() -> None:
    costs = []
    for image_sets in (10, 4000):
        service, ids = served(image_sets)
        costs.append(min(one_update(service, ids[number]) for number in (1, 5, 9)))
    assert costs[1] <= costs[0] * 1.05


def test_an_update_costs_the_same_after_many_versions() -> None:
    service, ids = served(3)
    first = min(one_update(service, ids[0]) for _ in range(3))
    for _ in range(500):
        service.outcome(ids[0], in_study(StudyDescription="Y"))
    assert min(one_update(service, ids[0]) for _ in range(3)) <= first * 1.05


def test_many_updates_cost_as_many_times_one() -> None:
    # what is compacted now and then counts too
    service, ids = served(50)
    one = min(one_update(service, ids[number]) for number in range(3))
    all_ = steps(lambda: [service.outcome(ids[n % 50], in_study(StudyDescription="X")) for n in range(2000)])
    assert all_ <= 2000 * one * 1.1


def test_a_page_of_a_search_costs_the_same_among_many_image_sets() -> None:
    costs = []
    for image_sets in (200, 4000):
        service, _ = served(image_sets)
        token = service.call("SearchImageSets", maxResults=50)["nextToken"]
        costs.append(steps(lambda s=service, t=token: s.call("SearchImageSets", maxResults=50, nextToken=t)))  # type: ignore[misc]
    assert costs[1] <= costs[0] * 1.05


@pytest.mark.parametrize(
    "edit", [in_study(StudyDescription="X"), in_instance("1.2.3.1.7", {"KVP": "80"})], ids=["study", "instance"]
)
def test_a_version_shares_what_an_update_did_not_touch(service: Service, edit: Any) -> None:
    one = service.add(document(instances=100))
    service.outcome(one, edit)
    old, new = (v.document for v in service.world.image_set(DEFAULT_DATASTORE_ID, one).versions)
    shared = [new.patient is old.patient, new.study is old.study]
    before, after = old.series["1.2.3.1"], new.series["1.2.3.1"]
    shared += [after.part is before.part, *(after.instances[uid] is part for uid, part in before.instances.items())]
    assert shared.count(False) == 1
    assert parse(old) == document(instances=100)


def test_an_image_set_weighs_little_more_than_its_json() -> None:
    """A million of 5 KB are to fit into 8 GiB: 3,590 bytes for all that is beside the JSON of each."""
    count, filler = 2000, {f"{0x00110010 + n:08X}": "x" * 70 for n in range(40)}
    world = World(settings())
    world.add_default_datastore(NOW)
    contents = []
    for number in range(count):
        content = document(study=f"1.2.826.0.1.3680043.10.{number}", patient=f"P{number:09}", instances=1)
        (series,) = content["Study"]["Series"].values()
        (instance,) = series["Instances"].values()
        instance["DICOM"] |= filler
        contents.append(content)
    size = sum(len(dump(content)) for content in contents) / count
    gc.collect()
    tracemalloc.start()
    for content in contents:
        world.add_image_set(DEFAULT_DATASTORE_ID, content, now=NOW)
    world.changes.clear()
    world.dirty.clear()
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / count < size + 3000
