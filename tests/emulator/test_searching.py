"""SearchImageSets: filters, sort, pages, what it shows (search-image-sets; reference section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.emulator.hospital import NOW, Json, document, in_patient, in_study

if TYPE_CHECKING:
    from tests.emulator.hospital import Service


def equal(**wanted: Json) -> Json:
    return {"values": [{name: value} for name, value in wanted.items()], "operator": "EQUAL"}


def between(name: str, low: Json, high: Json) -> Json:
    return {"values": [{name: low}, {name: high}], "operator": "BETWEEN"}


def day(date: str, time: str | None = None) -> Json:
    return {"DICOMStudyDate": date} | ({} if time is None else {"DICOMStudyTime": time})


@pytest.fixture
def three(service: Service) -> list[str]:
    """Three studies of one series each, a minute apart."""
    ids = []
    for number in (1, 2, 3):
        content = document(study=f"9.{number}", patient=f"P{number}", StudyDate=f"2024010{number}", StudyTime="1200")
        content["Study"]["DICOM"] |= {"AccessionNumber": f"A{number}", "StudyID": f"S{number}"}
        ids.append(service.add(content))
        service.wait(60)
    return ids


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DICOMPatientId", "P2"),
        ("DICOMAccessionNumber", "A2"),
        ("DICOMStudyId", "S2"),
        ("DICOMStudyInstanceUID", "9.2"),
        ("DICOMSeriesInstanceUID", "9.2.1"),
        ("createdAt", NOW + 60),
        ("updatedAt", NOW + 60),
        ("DICOMStudyDateAndTime", day("20240102", "120000")),
    ],
)
def test_each_key_finds_its_image_set(service: Service, three: list[str], name: str, value: Json) -> None:
    assert service.search(equal(**{name: value})) == [three[1]]


@pytest.mark.parametrize("primary", [True, False])
def test_primary_and_other_image_sets_are_found_apart(service: Service, three: list[str], primary: bool) -> None:
    copy = service.add(document(study="9.1"), primary=False)
    assert service.search(equal(isPrimary=primary)) == (three[::-1] if primary else [copy])


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        (between("createdAt", NOW, NOW + 60), [0, 1]),
        (between("updatedAt", NOW + 60, NOW + 999), [1, 2]),
        (between("DICOMStudyDateAndTime", day("20240102"), day("20240103", "115959")), [1]),
        (between("DICOMStudyDateAndTime", day("20240102", "1200"), day("20240103", "12")), [1, 2]),
    ],
    ids=["created", "updated", "from the start of the day", "times of any precision"],
)
def test_ranges_hold_both_ends(service: Service, three: list[str], filter_: Json, found: list[int]) -> None:
    assert sorted(service.search(filter_)) == sorted(three[place] for place in found)


def test_two_filters_must_both_hold(service: Service, three: list[str]) -> None:
    # example 4 of search-image-sets: BETWEEN on updatedAt with EQUAL on the series
    series = equal(DICOMSeriesInstanceUID="9.2.1")
    assert service.search(between("updatedAt", NOW, NOW + 999), series) == [three[1]]
    assert service.search(between("updatedAt", NOW + 90, NOW + 999), series) == []


@pytest.mark.parametrize(
    "criteria",
    [
        {"filters": []},
        {"filters": [equal(isPrimary=True)] * 3},
        {"filters": [{"values": [], "operator": "EQUAL"}]},
        {"filters": [{"values": [{}], "operator": "EQUAL"}]},
        {"filters": [{"values": [{"DICOMPatientId": "1", "isPrimary": True}], "operator": "EQUAL"}]},
        {"filters": [{"values": [{"createdAt": NOW}], "operator": "BETWEEN"}]},
        {"filters": [between("DICOMPatientId", "1", "2")]},
        {"filters": [{"values": [{"createdAt": NOW}], "operator": "LIKE"}]},
        {"filters": [equal(createdAt="yesterday")]},
        {"sort": {"sortField": "PatientName", "sortOrder": "ASC"}},
        {"sort": {"sortField": "createdAt"}},
    ],
    ids=str,
)
def test_malformed_criteria_are_refused(service: Service, criteria: Json) -> None:
    assert service.call("SearchImageSets", searchCriteria=criteria)[0] == "ValidationException"


@pytest.mark.parametrize("order", ["ASC", "DESC"])
@pytest.mark.parametrize("field", ["createdAt", "updatedAt", "DICOMStudyDateAndTime"])
def test_each_sort_works_in_both_directions(service: Service, three: list[str], field: str, order: str) -> None:
    found = service.search(sort={"sortField": field, "sortOrder": order})
    assert found == (three if order == "ASC" else three[::-1])


def test_the_latest_update_comes_first_by_default(service: Service, three: list[str]) -> None:
    service.outcome(three[0], in_study(StudyDescription="X"))
    answer = service.call("SearchImageSets")
    assert [item["imageSetId"] for item in answer["imageSetsMetadataSummaries"]] == [three[0], three[2], three[1]]
    assert answer["sort"] == {"sortField": "updatedAt", "sortOrder": "DESC"}


@pytest.mark.parametrize("filters", [[], [equal(DICOMPatientId="P1")], [equal(isPrimary=True)]], ids=str)
@pytest.mark.parametrize("field", ["createdAt", "updatedAt", "DICOMStudyDateAndTime"])
def test_pages_hold_each_image_set_once(service: Service, filters: list[Json], field: str) -> None:
    ids = [service.add(document(str(number))) for number in range(7)]
    found: list[str] = []
    token: dict[str, str] = {}
    criteria = {"sort": {"sortField": field, "sortOrder": "ASC"}} | ({"filters": filters} if filters else {})
    while True:
        page = service.call("SearchImageSets", searchCriteria=criteria, maxResults=3, **token)
        found += [item["imageSetId"] for item in page["imageSetsMetadataSummaries"]]
        if "nextToken" not in page:
            break
        assert len(page["imageSetsMetadataSummaries"]) == 3
        token = {"nextToken": page["nextToken"]}
    assert found == ids


def test_an_update_between_two_pages_moves_an_image_set_out_of_sight(service: Service, three: list[str]) -> None:
    # reference section 6: do not page by updatedAt while editing
    page = service.call("SearchImageSets", maxResults=1)
    service.outcome(three[0], in_study(StudyDescription="X"))
    rest = service.call("SearchImageSets", nextToken=page["nextToken"])
    assert [item["imageSetId"] for item in rest["imageSetsMetadataSummaries"]] == [three[1]]


@pytest.mark.parametrize("token", ["x", "AAAA", "WzEsMl0=", "W10="])
def test_a_token_that_was_not_given_out_is_refused(service: Service, token: str) -> None:
    assert service.call("SearchImageSets", nextToken=token)[0] == "ValidationException"


def test_a_token_belongs_to_its_criteria(service: Service, three: list[str]) -> None:
    token = service.call("SearchImageSets", maxResults=1)["nextToken"]
    criteria = {"filters": [equal(isPrimary=True)]}
    assert service.call("SearchImageSets", searchCriteria=criteria, nextToken=token)[0] == "ValidationException"
    assert len(three) == 3


def test_an_item_holds_a_whole_number_version_and_the_tags(service: Service) -> None:
    one = service.add()
    service.add(document("2", instances=3))
    service.outcome(one, in_study(StudyDescription="X"), includeStudyImageSets=True)
    criteria = {"filters": [equal(DICOMSeriesInstanceUID="1.2.3.1")]}
    (item,) = service.call("SearchImageSets", searchCriteria=criteria)["imageSetsMetadataSummaries"]
    assert (item["imageSetId"], item["version"], item["isPrimary"], item["storageTier"]) == (
        one,
        2,
        True,
        "FREQUENT_ACCESS",
    )
    assert item["DICOMTags"] == {
        "DICOMPatientId": "P1",
        "DICOMPatientName": "DOE^JANE",
        "DICOMStudyInstanceUID": "1.2.3",
        "DICOMStudyId": "S1",
        "DICOMStudyDate": "20240311",
        "DICOMAccessionNumber": "A1",
        "DICOMStudyDescription": "X",
        "DICOMSeriesInstanceUID": "1.2.3.1",
        "DICOMSeriesModality": "CT",
        "DICOMSeriesNumber": 1,
        "DICOMNumberOfStudyRelatedSeries": 2,
        "DICOMNumberOfStudyRelatedInstances": 5,
    }


def test_a_changed_key_is_found_by_its_new_value_only(service: Service) -> None:
    one = service.add()
    service.update(one, in_patient(PatientID="P9"))
    assert service.search(equal(DICOMPatientId="P1")) == [one]
    service.wait()
    assert service.search(equal(DICOMPatientId="P1")) == []
    assert service.search(equal(DICOMPatientId="P9")) == [one]


def test_search_may_lag_behind(service: Service) -> None:
    import dataclasses

    service.world.settings = dataclasses.replace(service.world.settings, search_lag=5.0)
    one = service.add()
    assert service.search() == []
    service.wait(5)
    assert service.search() == [one]
    service.outcome(one, in_patient(PatientID="P9"))
    assert service.search(equal(DICOMPatientId="P9")) == []
    service.wait(5)
    assert service.search(equal(DICOMPatientId="P9")) == [one]
