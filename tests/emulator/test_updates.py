"""What an update does to an image set (update-image-set-metadata; reference sections 2 and 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.emulator.hospital import Json, blob, document, in_instance, in_patient, in_series, in_study, without_instance

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.hospital import Service

UPDATED = ("UPDATED", None)
STALE = "Requested version(s) of ImageSet(s) is not the latest."


class TestStates:
    """The life of an update (event-notifications; the examples of update-image-set-metadata)."""

    def test_an_update_answers_the_next_version_locked(self, service: Service) -> None:
        one = service.add()
        answer = service.update(one, in_study(StudyDescription="X"))
        assert (answer["latestVersionId"], answer["imageSetState"], answer["imageSetWorkflowStatus"]) == (
            "2",
            "LOCKED",
            "UPDATING",
        )

    def test_it_ends_active_and_updated_when_its_time_is_over(self, service: Service) -> None:
        one = service.add()
        service.update(one, in_study(StudyDescription="X"))
        service.wait(0.499)
        assert service.properties(one)["imageSetState"] == "LOCKED"
        service.wait(0.001)
        properties = service.properties(one)
        assert (properties["imageSetState"], properties["imageSetWorkflowStatus"]) == ("ACTIVE", "UPDATED")

    def test_a_failed_update_consumes_a_version_with_a_message_and_the_old_metadata(self, service: Service) -> None:
        # list-image-set-versions shows a failed copy that did; reference section 9, decision 4
        one = service.add()
        status, message = service.outcome(one, in_study(PatientName="X"))
        assert (status, message) == (
            "UPDATE_FAILED",
            "INVALID_REQUEST: PatientName is not an attribute of the Study level",
        )
        assert service.number(one) == 2
        assert service.properties(one)["imageSetState"] == "ACTIVE"
        assert service.metadata(one, 2) == service.metadata(one, 1)
        assert service.outcome(one, in_study(StudyDescription="X"), version=2) == UPDATED

    def test_a_failed_update_may_leave_no_version(self, make_service: Callable[..., Service]) -> None:
        service = make_service(failed_version="kept")
        one = service.add()
        status, _ = service.outcome(one, in_study(PatientName="X"))
        assert (status, service.number(one)) == ("UPDATE_FAILED", 1)

    def test_constraints_may_be_refused_at_once(self, make_service: Callable[..., Service]) -> None:
        service = make_service(constraints="sync")
        one = service.add()
        assert service.update(one, in_study(PatientName="X"))[0] == "ValidationException"
        assert (service.number(one), service.properties(one)["imageSetState"]) == (1, "ACTIVE")

    def test_a_stale_version_is_404_with_the_observed_words(self, service: Service) -> None:
        one = service.add()
        service.outcome(one, in_study(StudyDescription="X"))
        assert service.update(one, in_study(StudyDescription="Y"), version=1) == ("ResourceNotFoundException", STALE)

    def test_a_stale_version_may_be_409(self, make_service: Callable[..., Service]) -> None:
        service = make_service(stale_version="conflict")
        one = service.add()
        assert service.update(one, in_study(StudyDescription="Y"), version=7) == ("ConflictException", STALE)

    @pytest.mark.parametrize("constraints", ["async", "sync"])
    @pytest.mark.parametrize(
        ("first", "refusal"), [("version", "ResourceNotFoundException"), ("content", "ValidationException")]
    )
    def test_version_or_content_is_checked_first(
        self, make_service: Callable[..., Service], first: str, refusal: str, constraints: str
    ) -> None:
        service = make_service(checked_first=first, constraints=constraints)
        one = service.add()
        removal = in_study(StudyDescription="CHEST")
        assert service.outcome(one, removable=removal) == UPDATED
        # the same request once more, as one that was lost and comes late: what it would remove is gone
        assert service.update(one, removable=removal, version=1)[0] == refusal
        assert service.update(one, in_study(PatientName="X"), version=1)[0] == refusal
        assert service.send_update(one, {"revertToVersionId": "2"}, 1)[0] == refusal
        # a content that could be applied
        assert service.update(one, in_study(StudyDescription="Y"), version=1)[0] == "ResourceNotFoundException"

    def test_where_content_is_checked_first_it_is_refused_at_once(self, make_service: Callable[..., Service]) -> None:
        service = make_service(checked_first="content")
        one = service.add()
        assert service.update(one, removable=in_study(StudyDescription="OTHER"))[0] == "ValidationException"
        assert (service.number(one), service.properties(one)["imageSetState"]) == (1, "ACTIVE")

    def test_a_locked_image_set_is_told_before_version_and_content(self, make_service: Callable[..., Service]) -> None:
        service = make_service(checked_first="content")
        one = service.add()
        service.update(one, in_study(StudyDescription="X"))
        assert service.update(one, in_study(PatientName="X"), version=1)[0] == "ConflictException"

    def test_a_locked_image_set_takes_no_write_whatever_the_version(self, service: Service) -> None:
        one = service.add()
        service.update(one, in_study(StudyDescription="X"))
        for version in (1, 2):
            assert service.update(one, in_study(StudyDescription="Y"), version=version)[0] == "ConflictException"

    def test_createdat_stays_and_updatedat_moves(self, service: Service) -> None:
        one = service.add()
        born = service.now
        service.wait(10)
        service.outcome(one, in_study(StudyDescription="X"))
        first, second = reversed(service.versions(one))
        assert (first["createdAt"], second["createdAt"]) == (born, born)
        assert ("updatedAt" in first, second["updatedAt"]) == (False, born + 10.5)

    def test_forced_versions_say_so(self, service: Service) -> None:
        one = service.add()
        service.outcome(one, in_study(StudyDescription="X"), force=True)
        assert [v.get("overrides") for v in service.versions(one)] == [{"forced": True}, None]

    def test_versions_are_listed_newest_first_under_a_capital_i(self, service: Service) -> None:
        one = service.add()
        service.outcome(one, in_study(StudyDescription="X"))
        assert [(v["versionId"], v["ImageSetWorkflowStatus"]) for v in service.versions(one)] == [
            ("2", "UPDATED"),
            ("1", "CREATED"),
        ]

    def test_more_than_100_updates_in_flight_are_402(self, make_service: Callable[..., Service]) -> None:
        service = make_service(concurrent=2)
        ids = [service.add(document(str(n), study=f"1.2.{n}")) for n in range(3)]
        answers = [service.update(one, in_study(StudyDescription="X")) for one in ids]
        assert answers[2][0] == "ServiceQuotaExceededException"
        service.wait()
        assert service.outcome(ids[2], in_study(StudyDescription="X")) == UPDATED


class TestSetting:
    def test_an_attribute_is_added_or_overwritten(self, service: Service) -> None:
        one = service.add()
        assert service.outcome(one, in_study(StudyDescription="X", StudyTime="1200")) == UPDATED
        study = service.metadata(one)["Study"]["DICOM"]
        assert (study["StudyDescription"], study["StudyTime"], study["StudyID"]) == ("X", "1200", "S1")

    @pytest.mark.parametrize(
        ("edit", "read"),
        [
            (in_patient(PatientName="X"), lambda d: d["Patient"]["DICOM"]["PatientName"]),
            (in_series("1.2.3.1", Modality="X"), lambda d: d["Study"]["Series"]["1.2.3.1"]["DICOM"]["Modality"]),
            (
                in_instance("1.2.3.1.2", {"InstanceCreationDate": "20240101"}),
                lambda d: d["Study"]["Series"]["1.2.3.1"]["Instances"]["1.2.3.1.2"]["DICOM"]["InstanceCreationDate"],
            ),
        ],
        ids=["patient", "series", "instance"],
    )
    def test_every_level_can_be_edited(self, service: Service, edit: Json, read: Callable[[Any], Any]) -> None:
        one = service.add()
        before = service.metadata(one)
        assert service.outcome(one, edit) == UPDATED
        assert read(service.metadata(one)) in {"X", "20240101"}
        assert service.metadata(one, 1) == before

    def test_null_empties_an_attribute(self, service: Service) -> None:
        one = service.add()
        assert service.outcome(one, in_study(StudyDescription=None)) == UPDATED
        assert service.metadata(one)["Study"]["DICOM"]["StudyDescription"] is None

    def test_an_update_without_attributes_makes_a_version(self, service: Service) -> None:
        one = service.add()
        assert service.outcome(one, {"SchemaVersion": 1.1}) == UPDATED
        assert (service.number(one), service.metadata(one, 2)) == (2, service.metadata(one, 1))

    @pytest.mark.parametrize("edit", [in_series("9.9", Modality="X"), in_instance("1.2.3.1.9", {"KVP": "1"})], ids=str)
    def test_a_series_or_instance_that_is_not_there_cannot_be_edited(self, service: Service, edit: Json) -> None:
        # dicom-metadata-constraints: the module must exist
        one = service.add()
        assert service.outcome(one, edit)[0] == "UPDATE_FAILED"

    def test_text_beyond_ascii_is_kept(self, service: Service) -> None:
        one = service.add()
        service.outcome(one, in_patient(PatientName="Žižková^Ýý=山田^太郎"))
        assert service.metadata(one)["Patient"]["DICOM"]["PatientName"] == "Žižková^Ýý=山田^太郎"


class TestRemoving:
    def test_an_attribute_goes_when_key_and_value_match(self, service: Service) -> None:
        one = service.add()
        assert service.outcome(one, removable=in_study(StudyDescription="CHEST")) == UPDATED
        assert "StudyDescription" not in service.metadata(one)["Study"]["DICOM"]

    @pytest.mark.parametrize(
        ("match", "good", "bad"),
        [("exact", "CHEST", ["", "CHEST "]), ("empty", "", ["CHEST", None]), ("any", "whatever", [])],
        ids=["exact", "empty", "any"],
    )
    def test_which_value_must_be_named_is_a_switch(
        self, make_service: Callable[..., Service], match: str, good: str, bad: list[Any]
    ) -> None:
        service = make_service(removal_match=match)
        one = service.add()
        for value in bad:
            assert service.outcome(one, removable=in_study(StudyDescription=value))[0] == "UPDATE_FAILED"
        assert service.outcome(one, removable=in_study(StudyDescription=good)) == UPDATED

    def test_padding_is_part_of_the_value(self, service: Service) -> None:
        one = service.add()
        assert service.outcome(one, removable=in_instance("1.2.3.1.1", {"KVP": "120"}))[0] == "UPDATE_FAILED"
        assert service.outcome(one, removable=in_instance("1.2.3.1.1", {"KVP": "120 "})) == UPDATED

    def test_an_attribute_that_is_not_there_cannot_be_removed(self, service: Service) -> None:
        one = service.add()
        assert service.outcome(one, removable=in_study(StudyTime="1200")) == (
            "UPDATE_FAILED",
            "INVALID_REQUEST: StudyTime to remove is not in the metadata",
        )

    def test_one_mismatch_fails_the_whole_request(self, service: Service) -> None:
        one = service.add()
        removable = in_study(StudyDescription="CHEST", StudyTime="1200")
        assert service.outcome(one, in_patient(PatientName="X"), removable)[0] == "UPDATE_FAILED"
        assert service.metadata(one, 2) == service.metadata(one, 1)

    def test_both_blobs_are_applied(self, service: Service) -> None:
        one = service.add()
        assert service.outcome(one, in_patient(PatientName="X"), in_study(StudyDescription="CHEST")) == UPDATED
        after = service.metadata(one)
        assert (after["Patient"]["DICOM"]["PatientName"], "StudyDescription" in after["Study"]["DICOM"]) == ("X", False)

    def test_an_instance_goes_with_force_and_leaves_the_others(self, service: Service) -> None:
        one = service.add()
        assert service.outcome(one, removable=without_instance("1.2.3.1.1"))[0] == "UPDATE_FAILED"
        assert service.outcome(one, removable=without_instance("1.2.3.1.1"), force=True) == UPDATED
        assert list(service.metadata(one)["Study"]["Series"]["1.2.3.1"]["Instances"]) == ["1.2.3.1.2"]

    def test_an_instance_goes_without_force_in_2025(self, make_service: Callable[..., Service]) -> None:
        service = make_service("2025")
        one = service.add()
        assert service.outcome(one, removable=without_instance("1.2.3.1.1")) == UPDATED

    def test_the_last_instance_stays(self, service: Service) -> None:
        one = service.add(document(instances=1))
        assert service.outcome(one, removable=without_instance("1.2.3.1.1"), force=True) == (
            "UPDATE_FAILED",
            "INVALID_REQUEST: The last instance of an image set cannot be removed",
        )

    @pytest.mark.parametrize(("age", "status"), [("2025", "UPDATED"), ("2026", "UPDATE_FAILED")], ids=["2025", "2026"])
    def test_a_series_can_be_removed_in_2025_only(
        self, make_service: Callable[..., Service], age: str, status: str
    ) -> None:
        service = make_service(age)
        content = document()
        content["Study"]["Series"] |= document("2")["Study"]["Series"]
        one = service.add(content)
        removable = {"SchemaVersion": 1.1, "Study": {"Series": {"1.2.3.2": {}}}}
        assert service.outcome(one, removable=removable, force=True)[0] == status
        assert len(service.metadata(one)["Study"]["Series"]) == (1 if status == "UPDATED" else 2)

    def test_an_instance_in_both_blobs_is_gone_before_it_is_edited(self, service: Service) -> None:
        # reference section 9, decision 10: removals first
        one = service.add()
        edit = in_instance("1.2.3.1.1", {"KVP": "80"})
        assert service.outcome(one, edit, without_instance("1.2.3.1.1"), force=True)[0] == "UPDATE_FAILED"


class TestReverting:
    def test_a_revert_makes_a_new_version_with_the_old_content(self, service: Service) -> None:
        # update-image-set-metadata, example 4: version 3 back to 1 gives 4
        one = service.add()
        for text in ("X", "Y"):
            service.outcome(one, in_study(StudyDescription=text))
        answer = service.send_update(one, {"revertToVersionId": "1"})
        assert answer["latestVersionId"] == "4"
        assert service.ending(one) == UPDATED
        assert service.metadata(one, 4) == service.metadata(one, 1)

    @pytest.mark.parametrize("target", ["0", "2", "3", "99999999999999999999"])
    def test_only_an_earlier_version_that_did_not_fail_can_be_gone_back_to(self, service: Service, target: str) -> None:
        one = service.add()
        service.outcome(one, in_study(PatientName="X"))
        service.outcome(one, in_study(StudyDescription="X"))
        assert service.send_update(one, {"revertToVersionId": target})[0] == "ValidationException"
        assert service.number(one) == 3


class TestStudyWide:
    """includeStudyImageSets (update-image-set-metadata since 2026-03-31; reference section 3.4)."""

    @pytest.fixture
    def study(self, service: Service) -> list[str]:
        return [service.add(document(series)) for series in ("1", "2", "3")]

    def test_all_primary_image_sets_of_the_study_change_together(self, service: Service, study: list[str]) -> None:
        other = service.add(document("1", study="9.9"))
        answer = service.update(study[1], in_study(StudyDescription="X"), includeStudyImageSets=True)
        assert (answer["imageSetId"], answer["imageSetWorkflowStatus"]) == (study[1], "UPDATING")
        states = [service.properties(one)["imageSetWorkflowStatus"] for one in study]
        assert states == ["UPDATING_FOR_STUDY_CONSISTENCY", "UPDATING", "UPDATING_FOR_STUDY_CONSISTENCY"]
        service.wait()
        assert {service.metadata(one)["Study"]["DICOM"]["StudyDescription"] for one in study} == {"X"}
        assert [service.number(one) for one in (*study, other)] == [2, 2, 2, 1]

    def test_without_it_such_an_edit_fails_where_the_study_has_several(
        self, service: Service, study: list[str]
    ) -> None:
        assert service.outcome(study[0], in_patient(PatientName="X"))[0] == "UPDATE_FAILED"
        assert service.outcome(study[0], in_series("1.2.3.1", Modality="MR")) == UPDATED

    def test_image_sets_that_are_not_primary_are_left_alone(self, service: Service, study: list[str]) -> None:
        copy = service.add(document("1"), primary=False)
        assert service.outcome(study[0], in_patient(PatientName="X"), includeStudyImageSets=True) == UPDATED
        assert service.number(copy) == 1

    def test_it_fails_for_all_or_for_none(self, service: Service, study: list[str]) -> None:
        odd = service.add(document("4", StudyDescription="HEAD"))
        status = service.outcome(study[0], removable=in_study(StudyDescription="CHEST"), includeStudyImageSets=True)[0]
        assert status == "UPDATE_FAILED"
        assert [(service.number(s), service.properties(s)["imageSetWorkflowStatus"]) for s in (*study, odd)] == [
            (2, "UPDATE_FAILED")
        ] * 4
        assert all(service.metadata(s, 2) == service.metadata(s, 1) for s in (*study, odd))

    def test_a_locked_sibling_refuses_it(self, service: Service, study: list[str]) -> None:
        service.update(study[2], in_series("1.2.3.3", Modality="MR"))
        answer = service.update(study[0], in_patient(PatientName="X"), includeStudyImageSets=True)
        assert answer[0] == "ConflictException"
        assert service.number(study[0]) == 1

    def test_it_is_not_for_reverts(self, service: Service, study: list[str]) -> None:
        answer = service.send_update(study[0], {"revertToVersionId": "1"}, includeStudyImageSets=True)
        assert answer[0] == "ValidationException"

    def test_it_is_not_for_series_and_instances(self, service: Service, study: list[str]) -> None:
        answer = service.update(study[0], in_series("1.2.3.1", Modality="MR"), includeStudyImageSets=True)
        assert answer[0] == "ValidationException"

    def test_it_is_for_primary_image_sets(self, service: Service) -> None:
        copy = service.add(primary=False)
        answer = service.update(copy, in_study(StudyDescription="X"), includeStudyImageSets=True)
        assert answer[0] == "ValidationException"

    def test_a_service_of_2025_does_not_know_it(self, make_service: Callable[..., Service]) -> None:
        service = make_service("2025")
        study = [service.add(document(series)) for series in ("1", "2")]
        assert service.outcome(study[0], in_study(StudyDescription="X"), includeStudyImageSets=True) == UPDATED
        assert [service.number(one) for one in study] == [2, 1]

    def test_it_counts_once_for_the_quota_of_concurrent_updates(self, make_service: Callable[..., Service]) -> None:
        service = make_service(concurrent=1)
        study = [service.add(document(series)) for series in ("1", "2", "3")]
        other = service.add(document(study="9.9"))
        assert service.outcome(study[0], in_study(StudyDescription="X"), includeStudyImageSets=True) == UPDATED
        assert service.outcome(other, in_study(StudyDescription="X")) == UPDATED


class TestBodies:
    """What is malformed is refused at once with 400, and changes nothing (reference section 9, decision 3)."""

    GOOD = blob(in_study(StudyDescription="X"))

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"DICOMUpdates": {}},
            {"DICOMUpdates": {"updatableAttributes": GOOD}, "revertToVersionId": "1"},
            {"somethingElse": {}},
            {"DICOMUpdates": {"updatableAttributes": "not base64!"}},
            {"DICOMUpdates": {"updatableAttributes": GOOD[:-3]}},
            {"DICOMUpdates": {"updatableAttributes": ""}},
            {"DICOMUpdates": {"updatableAttributes": 7}},
            {"DICOMUpdates": {"updatableAttributes": blob(b"{")}},
            {"DICOMUpdates": {"updatableAttributes": blob(b"\xff\xfe")}},
            {"DICOMUpdates": {"updatableAttributes": blob(b"[]")}},
            {"DICOMUpdates": {"updatableAttributes": blob(b"[" * 5000)}},
            {"DICOMUpdates": {"updatableAttributes": blob(b'{"SchemaVersion":1.1,"Patient":{"DICOM":{"X":NaN}}}')}},
            {"DICOMUpdates": {"updatableAttributes": blob(b'{"SchemaVersion":1.1,"Patient":{"DICOM":{"X":1e999}}}')}},
            {"DICOMUpdates": {"updatableAttributes": blob(in_patient(PatientName="\ud800"))}},
            {"DICOMUpdates": {"updatableAttributes": blob({"Study": {"DICOM": {}}})}},
            {"DICOMUpdates": {"updatableAttributes": blob({"SchemaVersion": 1.2})}},
            {"DICOMUpdates": {"updatableAttributes": blob({"SchemaVersion": 1.1, "Series": {}})}},
            {"DICOMUpdates": {"updatableAttributes": blob({"SchemaVersion": 1.1, "DatastoreID": "x"})}},
            {"DICOMUpdates": {"updatableAttributes": blob({"SchemaVersion": 1.1, "Patient": []})}},
            {"DICOMUpdates": {"updatableAttributes": blob({"SchemaVersion": 1.1, "Study": {"1.2.3": {}}})}},
            {"DICOMUpdates": {"updatableAttributes": blob({"SchemaVersion": 1.1, "Study": {"Series": [1]}})}},
            {"DICOMUpdates": {"updatableAttributes": blob(in_patient(PatientComments="x" * 10_000))}},
            {"DICOMUpdates": {"updatableAttributes": GOOD, "removableAttributes": GOOD}},
        ],
        ids=lambda body: str(body)[:60],
    )
    def test_a_malformed_body_is_refused(self, service: Service, body: Json) -> None:
        one = service.add()
        assert service.send_update(one, body)[0] == "ValidationException"
        assert service.number(one) == 1

    @pytest.mark.parametrize("version", [1.1, "1.1"], ids=["number", "string"])
    def test_the_schema_version_may_be_a_number_or_a_string(self, service: Service, version: object) -> None:
        one = service.add()
        assert service.outcome(one, {"SchemaVersion": version}) == UPDATED

    @pytest.mark.parametrize(
        ("switches", "largest"),
        [
            ({}, 10_000),
            ({"payload_limit": 30_000}, 30_000),
            ({"payload_counted": "base64"}, 7_500),
        ],
        ids=["10000", "30000", "base64"],
    )
    def test_a_blob_may_be_as_large_as_the_quota(
        self, make_service: Callable[..., Service], switches: dict[str, Any], largest: int
    ) -> None:
        # endpoints-quotas: 10 KB by default, adjustable; shape DICOMAttribute: 30000
        service = make_service(**switches)
        one = service.add()
        frame = len(b'{"SchemaVersion": 1.1}')
        assert service.outcome(one, b'{"SchemaVersion": 1.1' + b" " * (largest - frame) + b"}") == UPDATED
        too_large = service.update(one, b'{"SchemaVersion": 1.1' + b" " * (largest + 1 - frame) + b"}")
        assert too_large[0] == "ValidationException"


class TestWhatIsNotThere:
    def test_an_unknown_image_set_is_404(self, service: Service) -> None:
        unknown = "f" * 32
        for action in ("GetImageSet", "GetImageSetMetadata", "ListImageSetVersions"):
            assert service.call(action, imageSetId=unknown)[0] == "ResourceNotFoundException"
        answer = service.update(unknown, in_study(StudyDescription="X"), version=1)
        assert answer[0] == "ResourceNotFoundException"

    @pytest.mark.parametrize(
        ("switch", "code"), [("not-found", "ResourceNotFoundException"), ("access-denied", "AccessDeniedException")]
    )
    def test_an_unknown_data_store_is_404_or_403(
        self, make_service: Callable[..., Service], switch: str, code: str
    ) -> None:
        service = make_service(unknown_datastore=switch)
        assert service.call("SearchImageSets", datastoreId="f" * 32)[0] == code
        assert service.call("GetDatastore", datastoreId="f" * 32)[0] == "ResourceNotFoundException"

    def test_an_unknown_version_is_404(self, service: Service) -> None:
        one = service.add()
        assert service.properties(one, 2)[0] == "ResourceNotFoundException"
        assert service.metadata(one, 2)[0] == "ResourceNotFoundException"


class TestReadsDuringAnUpdate:
    """Reference section 9, decision 6."""

    def test_properties_show_the_new_version_locked_and_metadata_the_previous(self, service: Service) -> None:
        one = service.add()
        before = service.metadata(one)
        service.update(one, in_study(StudyDescription="X"))
        properties = service.properties(one)
        assert (properties["versionId"], properties["imageSetState"]) == ("2", "LOCKED")
        assert service.metadata(one) == before
        assert service.metadata(one, 2)[0] == "ConflictException"

    @pytest.mark.parametrize(("switch", "answer"), [("conflict", "ConflictException"), ("new", "X")])
    def test_metadata_may_answer_otherwise(
        self, make_service: Callable[..., Service], switch: str, answer: str
    ) -> None:
        service = make_service(metadata_while_updating=switch)
        one = service.add()
        service.update(one, in_study(StudyDescription="X"))
        read = service.metadata(one)
        assert answer == (read[0] if isinstance(read, tuple) else read["Study"]["DICOM"]["StudyDescription"])
