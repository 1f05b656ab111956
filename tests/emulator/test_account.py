"""Data stores, tags, quotas, storage tiers, import rules: what is around image sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bulkedit.emulator import DEFAULT_DATASTORE_ID
from bulkedit.emulator.state.image_set import Tier
from bulkedit.emulator.state.quota import LIMITS, Quota
from tests.emulator.hospital import document, in_study

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.hospital import Service

ARN = f"arn:aws:medical-imaging:us-east-1:000000000000:datastore/{DEFAULT_DATASTORE_ID}"


class TestDataStores:
    def test_a_new_one_is_being_created_and_then_active(self, service: Service) -> None:
        answer = service.call("CreateDatastore", datastoreName="clinic", clientToken="t")
        one = answer["datastoreId"]
        assert answer["datastoreStatus"] == "CREATING"
        assert service.call("SearchImageSets", datastoreId=one)[0] == "ResourceNotFoundException"
        service.wait()
        properties = service.call("GetDatastore", datastoreId=one)["datastoreProperties"]
        assert (properties["datastoreName"], properties["datastoreStatus"]) == ("clinic", "ACTIVE")
        assert service.call("SearchImageSets", datastoreId=one)["imageSetsMetadataSummaries"] == []

    def test_the_same_client_token_makes_one_data_store(self, service: Service) -> None:
        first, again, other = (service.call("CreateDatastore", clientToken=token)["datastoreId"] for token in "aab")
        assert first == again != other

    def test_they_are_listed_by_status_and_in_pages(self, service: Service) -> None:
        ids = [DEFAULT_DATASTORE_ID]
        ids += [service.call("CreateDatastore", clientToken=str(number))["datastoreId"] for number in range(3)]
        creating = service.call("ListDatastores", datastoreStatus="CREATING")["datastoreSummaries"]
        assert [item["datastoreId"] for item in creating] == ids[1:]
        first = service.call("ListDatastores", maxResults=3)
        rest = service.call("ListDatastores", maxResults=3, nextToken=first["nextToken"])
        listed = first["datastoreSummaries"] + rest["datastoreSummaries"]
        assert [item["datastoreId"] for item in listed] == ids
        assert "nextToken" not in rest

    def test_one_with_image_sets_cannot_be_deleted(self, service: Service) -> None:
        # DeleteDatastore: all image sets must have been deleted first
        one = service.add()
        assert service.call("DeleteDatastore")[0] == "ConflictException"
        service.call("DeleteImageSet", imageSetId=one)
        service.wait()
        assert service.call("DeleteDatastore")["datastoreStatus"] == "DELETING"
        service.wait()
        assert service.call("GetDatastore")["datastoreProperties"]["datastoreStatus"] == "DELETED"
        assert service.call("SearchImageSets")[0] == "ResourceNotFoundException"


class TestTags:
    @pytest.mark.parametrize("of_image_set", [False, True], ids=["data store", "image set"])
    def test_they_are_set_listed_and_taken_off(self, service: Service, of_image_set: bool) -> None:
        arn = ARN + (f"/imageset/{service.add()}" if of_image_set else "")
        assert service.call("ListTagsForResource", resourceArn=arn) == {"tags": {}}
        service.call("TagResource", resourceArn=arn, tags={"a": "1", "b": "2"})
        service.call("TagResource", resourceArn=arn, tags={"a": "3"})
        assert service.call("ListTagsForResource", resourceArn=arn) == {"tags": {"a": "3", "b": "2"}}
        service.call("UntagResource", resourceArn=arn, tagKeys=["a", "c"])
        assert service.call("ListTagsForResource", resourceArn=arn) == {"tags": {"b": "2"}}

    def test_a_resource_has_at_most_50(self, service: Service) -> None:
        tags = {"k" * number: "v" for number in range(1, 52)}
        assert service.call("TagResource", resourceArn=ARN, tags=tags)[0] == "ValidationException"

    @pytest.mark.parametrize(
        "arn",
        [ARN[:-1] + "9", f"{ARN}/imageset/{'f' * 32}", ARN.replace("us-east-1", "eu-west-1")],
        ids=["data store", "image set", "region"],
    )
    def test_an_unknown_resource_is_404(self, service: Service, arn: str) -> None:
        assert service.call("ListTagsForResource", resourceArn=arn)[0] == "ResourceNotFoundException"


class TestQuotas:
    """throttling-limits; reference section 5.1."""

    def test_an_account_updates_once_in_four_seconds(self, make_service: Callable[..., Service]) -> None:
        service = make_service(scale=1.0)
        ids = [service.add(document(study=f"9.{number}")) for number in range(3)]
        edit = in_study(StudyDescription="X")
        assert "latestVersionId" in service.update(ids[0], edit)
        assert service.update(ids[1], edit) == ("ThrottlingException", "Rate exceeded")
        service.wait(3.99)
        assert service.update(ids[1], edit)[0] == "ThrottlingException"
        service.wait(0.01)
        assert "latestVersionId" in service.update(ids[1], edit)

    def test_a_throttled_request_changes_nothing(self, make_service: Callable[..., Service]) -> None:
        service = make_service(scale=1.0)
        one, other = service.add(), service.add(document(study="9"))
        service.update(one, in_study(StudyDescription="X"))
        service.update(other, in_study(StudyDescription="X"))
        assert (service.number(one), service.number(other)) == (2, 1)

    @pytest.mark.parametrize(("action", "rate", "burst"), [(a, *limit) for a, limit in LIMITS.items()])
    def test_each_action_has_its_own_rate_and_burst(self, action: str, rate: float, burst: float) -> None:
        quota = Quota()
        assert [quota.take(action, 0.0) for _ in range(int(burst) + 1)] == [True] * int(burst) + [False]
        assert [quota.take(action, 0.9 / rate), quota.take(action, 1.0 / rate)] == [False, True]

    def test_at_the_rate_nothing_is_refused_and_above_it_what_is_above(self) -> None:
        quota = Quota()
        assert all(quota.take("UpdateImageSetMetadata", 4.0 * number) for number in range(10_000))
        passed = sum(quota.take("UpdateImageSetMetadata", 1e6 + number) for number in range(4000))
        assert passed == 1000

    def test_the_scale_raises_rates_and_bursts_and_a_burst_is_at_least_one(self) -> None:
        large, small = Quota(10.0), Quota(0.1)
        assert sum(large.take("UpdateImageSetMetadata", 0.0) for _ in range(20)) == 10
        assert sum(small.take("UpdateImageSetMetadata", 0.0) for _ in range(20)) == 1
        assert not small.take("UpdateImageSetMetadata", 39.0)
        assert small.take("UpdateImageSetMetadata", 40.0)

    def test_a_quota_can_be_changed_while_it_is_in_use(self) -> None:
        quota = Quota(100.0)
        assert quota.take("UpdateImageSetMetadata", 0.0)
        quota.rescale(1.0)
        assert [quota.take("UpdateImageSetMetadata", t) for t in (0.0, 1.0, 4.0)] == [True, False, True]


class TestStorageTiers:
    """cost-optimization: reading metadata and updating are an access; search, properties and tags are not."""

    @pytest.fixture
    def archived(self, service: Service) -> str:
        one = service.add(storage_tier=Tier.ARCHIVE)
        service.wait(1000)
        return one

    def tier(self, service: Service, one: str) -> str:
        tier: str = service.properties(one)["storageTier"]
        return tier

    def test_planning_with_search_and_properties_touches_nothing(self, service: Service, archived: str) -> None:
        before = service.properties(archived)
        service.search()
        service.versions(archived)
        service.call("ListTagsForResource", resourceArn=f"{ARN}/imageset/{archived}")
        assert service.properties(archived) == before
        assert before["storageTier"] == "ARCHIVE_INSTANT_ACCESS"

    def test_reading_metadata_moves_it_to_the_frequent_tier(self, service: Service, archived: str) -> None:
        service.metadata(archived)
        assert (self.tier(service, archived), service.properties(archived)["lastAccessedAt"]) == (
            "FREQUENT_ACCESS",
            service.now,
        )

    def test_so_does_an_update(self, service: Service, archived: str) -> None:
        service.update(archived, in_study(StudyDescription="X"))
        assert self.tier(service, archived) == "FREQUENT_ACCESS"

    def test_30_days_without_access_move_it_back(self, service: Service, archived: str) -> None:
        service.metadata(archived)
        service.wait(30 * 86400 - 1)
        assert self.tier(service, archived) == "FREQUENT_ACCESS"
        service.wait(1)
        assert self.tier(service, archived) == "ARCHIVE_INSTANT_ACCESS"


class TestImportRules:
    """understanding-image-sets, understanding-import-jobs; reference sections 2.1 and 2.5."""

    def test_what_agrees_with_the_study_is_primary(self, service: Service) -> None:
        ids = [service.add(document(series)) for series in ("1", "2")]
        assert [service.properties(one)["isPrimary"] for one in ids] == [True, True]

    @pytest.mark.parametrize("change", ["patient", "StudyDate", "AccessionNumber", "StudyID"])
    def test_what_conflicts_with_the_study_is_not(self, service: Service, change: str) -> None:
        service.add(document("1"))
        odd = document("2")
        if change == "patient":
            odd["Patient"]["DICOM"]["PatientID"] = "P9"
        else:
            odd["Study"]["DICOM"][change] = "20200101"
        assert service.properties(service.add(odd))["isPrimary"] is False

    def test_the_same_instances_again_make_a_new_version(self, service: Service) -> None:
        one = service.add(document(instances=2))
        again = document(instances=3)
        again["Study"]["Series"]["1.2.3.1"]["Instances"]["1.2.3.1.1"]["DICOM"]["KVP"] = "80"
        assert service.add(again) == one
        properties = service.properties(one)
        assert (properties["versionId"], properties["imageSetWorkflowStatus"]) == ("2", "IMPORTED")
        instances = service.metadata(one)["Study"]["Series"]["1.2.3.1"]["Instances"]
        assert (list(instances), instances["1.2.3.1.1"]["DICOM"]["KVP"]) == (
            ["1.2.3.1.1", "1.2.3.1.2", "1.2.3.1.3"],
            "80",
        )

    def test_ids_follow_from_the_grouping_keys(self, make_service: Callable[..., Service]) -> None:
        ids = {make_service().add(document(instances=number)) for number in (1, 2)}
        assert len(ids) == 1
        assert make_service().add(document(patient="P2")) not in ids

    def test_image_sets_with_equal_keys_get_ids_of_their_own(self, service: Service) -> None:
        assert len({service.add(), service.add(primary=False), service.add(primary=False)}) == 3
