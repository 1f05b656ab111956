"""How long an action takes, and the few switches that no other file holds."""

from __future__ import annotations

import random
import statistics
from typing import TYPE_CHECKING

import pytest

from bulkedit.emulator import CompletionTime, Settings
from tests.emulator.hospital import Json, Service, document, in_study

if TYPE_CHECKING:
    from collections.abc import Callable


class TestCompletionTime:
    def test_it_is_fixed(self) -> None:
        assert {CompletionTime(seconds=2.0).draw(random.Random(0), size) for size in (1, 10**6)} == {2.0}

    def test_it_is_spread_around_its_median(self) -> None:
        rng = random.Random(0)
        drawn = [CompletionTime(seconds=2.0, sigma=0.5).draw(rng, 1) for _ in range(2000)]
        assert 1.9 < statistics.median(drawn) < 2.1
        assert min(drawn) < 1.0
        assert max(drawn) > 4.0

    def test_it_grows_with_the_document(self) -> None:
        complete = CompletionTime(seconds=1.0, seconds_per_mb=2.0)
        assert [complete.draw(random.Random(0), size) for size in (0, 10**6)] == [1.0, 3.0]

    def test_the_same_seed_takes_the_same_times(self) -> None:
        def times(seed: int) -> list[float]:
            service = Service(Settings(scale=1000.0, completion_time=CompletionTime(sigma=1.0), seed=seed))
            ids = [service.add(document(study=f"9.{number}")) for number in range(5)]
            for one in ids:
                service.update(one, in_study(StudyDescription="X"))
            service.wait(1000)
            return [service.properties(one)["updatedAt"] for one in ids]

        assert times(1) == times(1) != times(2)

    def test_actions_end_in_the_order_of_their_ends(self) -> None:
        service = Service(Settings(scale=1000.0, completion_time=CompletionTime(sigma=1.0)))
        for number in range(20):
            service.update(service.add(document(study=f"9.{number}")), in_study(StudyDescription="X"))
        service.world.changes.clear()
        service.wait(1000)
        ends = [change.at for change in service.world.changes]
        assert len(ends) == 20
        assert ends == sorted(ends)


@pytest.mark.parametrize(("switch", "status"), [("fail", "UPDATE_FAILED"), ("ignore", "UPDATED")])
def test_removing_what_is_not_there_fails_or_does_not_matter(
    make_service: Callable[..., Service], switch: str, status: str
) -> None:
    service = make_service(removal_absent=switch)
    assert service.outcome(service.add(), removable=in_study(StudyTime="12"))[0] == status


@pytest.mark.parametrize("choice", ["refuse", "single", "allow"])
@pytest.mark.parametrize(
    ("switch", "level"), [("primary_patient", "Patient"), ("primary_study", "Study"), ("primary_series", "Series")]
)
def test_each_level_of_a_primary_set_has_its_switch(
    make_service: Callable[..., Service], switch: str, level: str, choice: str
) -> None:
    service = make_service(**{switch: choice})
    edits: dict[str, Json] = {
        "Patient": {"Patient": {"DICOM": {"PatientName": "X"}}},
        "Study": {"Study": {"DICOM": {"StudyDescription": "X"}}},
        "Series": {"Study": {"Series": {"9.1": {"DICOM": {"Modality": "MR"}}}}},
    }
    edit = {"SchemaVersion": 1.1} | edits[level]
    single = service.add(document(study="9"))
    first = service.outcome(single, edit)[0]
    service.add(document("2", study="9"), primary=True)
    second = service.outcome(single, edit)[0]
    expected = {"refuse": (False, False), "single": (True, False), "allow": (True, True)}[choice]
    assert (first == "UPDATED", second == "UPDATED") == expected


def test_a_search_never_shows_a_version_in_the_making(service: Service) -> None:
    one = service.add()
    service.update(one, in_study(StudyDescription="X"))
    (item,) = service.call("SearchImageSets")["imageSetsMetadataSummaries"]
    assert item["version"] == 1
    service.wait()
    (item,) = service.call("SearchImageSets")["imageSetsMetadataSummaries"]
    assert item["version"] == 2
