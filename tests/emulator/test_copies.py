"""Copies, promotion and deletion (copy-image-set, delete-image-set; reference sections 2.2, 2.3 and 2.5)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.emulator.hospital import Json, document, in_patient, in_study

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.hospital import Service


def send_copy(
    service: Service, source: str, destination: str | None = None, *, subset: Json = None, **options: bool
) -> Json:
    information: dict[str, Json] = {"sourceImageSet": {"latestVersionId": str(service.number(source))}}
    if subset is not None:
        information["sourceImageSet"]["DICOMCopies"] = {"copiableAttributes": json.dumps(subset)}
    if destination is not None:
        latest = str(service.number(destination))
        information["destinationImageSet"] = {"imageSetId": destination, "latestVersionId": latest}
    return service.call("CopyImageSet", sourceImageSetId=source, copyImageSetInformation=information, **options)


def copied(service: Service, source: str, destination: str | None = None, **options: Json) -> str:
    """Copy, wait, and answer the destination's id."""
    answer = send_copy(service, source, destination, **options)
    service.wait()
    destination_id: str = answer["destinationImageSetProperties"]["imageSetId"]
    return destination_id


def instances(service: Service, image_set_id: str) -> list[str]:
    series = service.metadata(image_set_id)["Study"]["Series"]
    return [uid for one in series.values() for uid in one["Instances"]]


def subset_of(*uids: str) -> Json:
    return {"SchemaVersion": "1.1", "Study": {"Series": {"1.2.3.1": {"Instances": {uid: {} for uid in uids}}}}}


class TestToANewImageSet:
    def test_source_and_destination_are_locked_and_the_source_stays_readable(self, service: Service) -> None:
        source = service.add()
        answer = send_copy(service, source)
        before, after = answer["sourceImageSetProperties"], answer["destinationImageSetProperties"]
        assert (before["latestVersionId"], before["imageSetWorkflowStatus"]) == ("1", "COPYING_WITH_READ_ONLY_ACCESS")
        assert (after["latestVersionId"], after["imageSetWorkflowStatus"]) == ("1", "COPYING")
        assert service.metadata(source)["ImageSetID"] == source
        assert service.metadata(after["imageSetId"])[0] == "ConflictException"
        assert service.update(source, in_study(StudyDescription="X"))[0] == "ConflictException"

    def test_the_source_goes_back_to_what_it_was(self, service: Service) -> None:
        source = service.add()
        before = service.properties(source)
        copied(service, source)
        after = service.properties(source)
        assert {k: v for k, v in after.items() if k != "lastAccessedAt"} == {
            k: v for k, v in before.items() if k != "lastAccessedAt"
        }

    def test_a_copy_is_not_primary_and_can_be_edited_from_version_1(self, service: Service) -> None:
        copy = copied(service, service.add())
        properties = service.properties(copy)
        assert (properties["imageSetWorkflowStatus"], properties["isPrimary"]) == ("COPIED", False)
        assert service.outcome(copy, in_patient(PatientName="X"), version=1) == ("UPDATED", None)

    def test_a_copy_has_the_content_of_its_source(self, service: Service) -> None:
        source = service.add()
        copy = copied(service, source)
        assert service.metadata(copy) == service.metadata(source) | {"ImageSetID": copy}

    def test_a_subset_holds_the_named_instances(self, service: Service) -> None:
        copy = copied(service, service.add(document(instances=3)), subset=subset_of("1.2.3.1.1", "1.2.3.1.3"))
        assert instances(service, copy) == ["1.2.3.1.1", "1.2.3.1.3"]

    def test_instances_that_are_not_there_fail_the_copy(self, service: Service) -> None:
        copy = copied(service, service.add(), subset=subset_of("9.9"))
        assert service.properties(copy)["imageSetWorkflowStatus"] == "COPY_FAILED"

    @pytest.mark.parametrize(
        "subset", [{}, {"SchemaVersion": "1.1"}, [], {"SchemaVersion": "1.1", "Study": 7}], ids=str
    )
    def test_a_malformed_subset_is_refused(self, service: Service, subset: Json) -> None:
        assert send_copy(service, service.add(), subset=subset)[0] == "ValidationException"

    def test_a_stale_source_is_refused(self, service: Service) -> None:
        source = service.add()
        service.outcome(source, in_study(StudyDescription="X"))
        information = {"sourceImageSet": {"latestVersionId": "1"}}
        answer = service.call("CopyImageSet", sourceImageSetId=source, copyImageSetInformation=information)
        assert answer[0] == "ResourceNotFoundException"

    def test_a_copy_takes_at_most_1000_frames(self, service: Service) -> None:
        # endpoints-quotas
        content = document(instances=1)
        content["Study"]["Series"]["1.2.3.1"]["Instances"]["1.2.3.1.1"]["ImageFrames"] = [{"ID": "x"}] * 1001
        assert send_copy(service, service.add(content))[0] == "ServiceQuotaExceededException"


class TestIntoAnExistingImageSet:
    @pytest.fixture
    def halves(self, service: Service) -> tuple[str, str]:
        source = service.add(document(instances=3))
        return (
            copied(service, source, subset=subset_of("1.2.3.1.1")),
            copied(service, source, subset=subset_of("1.2.3.1.2")),
        )

    def test_the_instances_join_in_a_new_version(self, service: Service, halves: tuple[str, str]) -> None:
        one, other = halves
        assert copied(service, one, other) == other
        assert (service.number(other), service.properties(other)["imageSetWorkflowStatus"]) == (2, "COPIED")
        assert instances(service, other) == ["1.2.3.1.2", "1.2.3.1.1"]

    def test_a_stale_destination_is_refused(self, service: Service, halves: tuple[str, str]) -> None:
        one, other = halves
        service.outcome(other, in_study(StudyDescription="X"))
        information = {
            "sourceImageSet": {"latestVersionId": "1"},
            "destinationImageSet": {"imageSetId": other, "latestVersionId": "1"},
        }
        answer = service.call("CopyImageSet", sourceImageSetId=one, copyImageSetInformation=information)
        assert answer[0] == "ResourceNotFoundException"

    def test_inconsistent_ones_fail_with_the_documented_words_and_consume_a_version(self, service: Service) -> None:
        # list-image-set-versions: v1 COPIED, v2 COPY_FAILED with this message
        one, other = service.add(document("1")), copied(service, service.add(document("2")))
        copied(service, one, other)
        properties = service.properties(other)
        assert (properties["versionId"], properties["imageSetState"], properties["message"]) == (
            "2",
            "ACTIVE",
            "INVALID_REQUEST:  Series of SourceImageSet and DestinationImageSet don't match.",
        )
        assert service.metadata(other, 2) == service.metadata(other, 1)

    def test_force_keeps_the_metadata_of_the_destination(self, service: Service) -> None:
        one, other = service.add(document("1")), copied(service, service.add(document("2")))
        before = service.metadata(other)
        copied(service, one, other, force=True)
        after = service.metadata(other)
        assert (after["Patient"], list(after["Study"]["Series"])) == (before["Patient"], ["1.2.3.2"])
        assert instances(service, other) == ["1.2.3.2.1", "1.2.3.2.2", "1.2.3.1.1", "1.2.3.1.2"]

    def test_an_instance_cannot_be_there_twice(self, service: Service) -> None:
        source = service.add()
        copy = copied(service, source)
        copied(service, source, copy, force=True)
        assert service.properties(copy)["imageSetWorkflowStatus"] == "COPY_FAILED"

    def test_an_image_set_is_not_copied_into_itself(self, service: Service) -> None:
        one = service.add()
        assert send_copy(service, one, one)[0] == "ValidationException"


class TestPromotion:
    def test_the_documented_recipe_edits_a_primary_image_set(self, make_service: Callable[..., Service]) -> None:
        # update-image-set-metadata: copy, update the copy, delete the primary, copy with promotion, delete the copy
        service = make_service("2025")
        primary = service.add()
        copy = copied(service, primary)
        assert service.outcome(copy, in_patient(PatientName="X")) == ("UPDATED", None)
        service.call("DeleteImageSet", imageSetId=primary)
        service.wait()
        promoted = copied(service, copy, promoteToPrimary=True)
        service.call("DeleteImageSet", imageSetId=copy)
        service.wait()
        assert service.search() == [promoted]
        assert promoted not in {primary, copy}
        assert service.properties(promoted)["isPrimary"] is True
        assert service.metadata(promoted)["Patient"]["DICOM"]["PatientName"] == "X"

    def test_what_is_primary_already_cannot_be_promoted_again(self, service: Service) -> None:
        promoted = copied(service, service.add(), promoteToPrimary=True)
        properties = service.properties(promoted)
        assert (properties["imageSetWorkflowStatus"], properties["isPrimary"]) == ("COPY_FAILED", False)

    def test_promotion_makes_a_new_image_set(self, service: Service) -> None:
        one, other = service.add(document("1")), service.add(document("2"))
        assert send_copy(service, one, other, promoteToPrimary=True)[0] == "ValidationException"

    def test_a_promoted_set_belongs_to_its_study(self, service: Service) -> None:
        copy = service.add(document("1"), primary=False)
        service.add(document("2"))
        promoted = copied(service, copy, promoteToPrimary=True)
        assert service.outcome(promoted, in_patient(PatientName="X"))[0] == "UPDATE_FAILED"
        assert service.outcome(promoted, in_patient(PatientName="X"), includeStudyImageSets=True)[0] == "UPDATED"


class TestDeletion:
    def test_a_deleted_image_set_keeps_its_properties_and_loses_its_metadata(self, service: Service) -> None:
        one = service.add()
        answer = service.call("DeleteImageSet", imageSetId=one)
        assert (answer["imageSetState"], answer["imageSetWorkflowStatus"]) == ("LOCKED", "DELETING")
        service.wait()
        properties = service.properties(one)
        assert (properties["imageSetState"], properties["imageSetWorkflowStatus"]) == ("DELETED", "DELETED")
        assert properties["deletedAt"] > properties["createdAt"]
        assert service.metadata(one)[0] == "ResourceNotFoundException"
        assert service.search() == []

    def test_it_may_be_gone_altogether(self, make_service: Callable[..., Service]) -> None:
        service = make_service(deleted="gone")
        one = service.add()
        service.call("DeleteImageSet", imageSetId=one)
        service.wait()
        assert service.properties(one)[0] == "ResourceNotFoundException"

    def test_nothing_more_can_be_done_with_it(self, service: Service) -> None:
        one = service.add()
        service.call("DeleteImageSet", imageSetId=one)
        service.wait()
        assert service.update(one, in_study(StudyDescription="X"))[0] == "ResourceNotFoundException"
        assert service.call("DeleteImageSet", imageSetId=one)[0] == "ResourceNotFoundException"
        assert send_copy(service, one)[0] == "ResourceNotFoundException"

    def test_a_locked_image_set_is_not_deleted(self, service: Service) -> None:
        one = service.add()
        service.update(one, in_study(StudyDescription="X"))
        assert service.call("DeleteImageSet", imageSetId=one)[0] == "ConflictException"

    def test_its_siblings_become_single(self, service: Service) -> None:
        one, other = service.add(document("1")), service.add(document("2"))
        service.call("DeleteImageSet", imageSetId=other)
        service.wait()
        assert service.outcome(one, in_patient(PatientName="X")) == ("UPDATED", None)
