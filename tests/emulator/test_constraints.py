"""What may be edited, and what needs force: each item of dicom-metadata-constraints (reference section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bulkedit.dicom import dictionary as dicom
from tests.emulator.hospital import Json, document, in_instance, in_patient, in_series, in_study

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.hospital import Service

UPDATED = ("UPDATED", None)
ONE = "1.2.3.1.1"


def private(service: Service, image_set_id: str) -> tuple[Json, Json]:
    found = service.metadata(image_set_id)["Study"]["Series"]["1.2.3.1"]["Instances"][ONE]
    return ({k: v for k, v in found["DICOM"].items() if k[0].isdigit()}, found["DICOMVRs"])


@pytest.fixture
def copy(service: Service) -> str:
    """An image set that is not primary, where force is documented."""
    return service.add(primary=False)


@pytest.mark.parametrize("name", sorted(dicom.NEVER_EDITABLE - {"SchemaVersion", "DatastoreID", "ImageSetID"}))
def test_what_the_service_generates_is_never_edited(service: Service, copy: str, name: str) -> None:
    # item 2; PixelData is also on the list of what force unlocks, and treated as never
    assert service.outcome(copy, in_instance(ONE, {name: None}), force=True) == (
        "UPDATE_FAILED",
        f"INVALID_REQUEST: {name} cannot be updated",
    )


@pytest.mark.parametrize(
    ("edit", "name"),
    [
        (in_study(StudyInstanceUID="9.9"), "StudyInstanceUID"),
        (in_series("1.2.3.1", SeriesInstanceUID="9.9"), "SeriesInstanceUID"),
        (in_instance(ONE, {"SOPInstanceUID": "9.9"}), "SOPInstanceUID"),
        (in_study(StudyID="9"), "StudyID"),
        (in_study(ProcedureCodeSequence=[{"CodeValue": "C"}]), "ProcedureCodeSequence"),
        (in_study(PhysiciansOfRecord=["DOE^JOHN"]), "PhysiciansOfRecord"),
        (in_instance(ONE, {"00091001": "X"}), "00091001"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_identifiers_sequences_multiple_values_and_private_elements_need_force(
    service: Service, copy: str, edit: Json, name: str
) -> None:
    # items 1, 3, 4 and 5
    status, message = service.outcome(copy, edit)
    assert status == "UPDATE_FAILED"
    assert message is not None
    assert message.startswith(f"INVALID_REQUEST: {name} can be updated only with force")
    assert service.outcome(copy, edit, force=True) == UPDATED


@pytest.mark.parametrize(
    "edit",
    [in_study(StudyDate="11 March"), in_study(StudyDescription=7), in_instance(ONE, {"Rows": "512"})],
    ids=["form", "number for text", "text for number"],
)
def test_values_that_do_not_fit_their_vr_need_force(service: Service, copy: str, edit: Json) -> None:
    # item 6
    assert service.outcome(copy, edit)[0] == "UPDATE_FAILED"
    assert service.outcome(copy, edit, force=True) == UPDATED


def test_attributes_that_the_standard_does_not_have_need_force_and_are_not_named(service: Service, copy: str) -> None:
    # item 7; such a key may hold anything, so the message does not repeat it
    status, message = service.outcome(copy, in_study(JaneDoe="x"))
    assert (status, "Jane" in str(message)) == ("UPDATE_FAILED", False)
    assert service.outcome(copy, in_study(JaneDoe="x"), force=True) == UPDATED


@pytest.mark.parametrize("force", [False, True], ids=["unforced", "forced"])
def test_an_attribute_belongs_to_its_level(service: Service, copy: str, force: bool) -> None:
    # item 8
    status, message = service.outcome(copy, in_study(PatientName="X"), force=force)
    assert (status, message) == (
        "UPDATE_FAILED",
        "INVALID_REQUEST: PatientName is not an attribute of the Study level",
    )


def test_attributes_off_the_normalization_list_are_at_instance_level(service: Service, copy: str) -> None:
    # metadata-normalization: PatientAddress is not on the Patient list
    assert service.outcome(copy, in_patient(PatientAddress="X"))[0] == "UPDATE_FAILED"
    assert service.outcome(copy, in_instance(ONE, {"PatientAddress": "X"})) == UPDATED


@pytest.mark.parametrize("force", [False, True], ids=["unforced", "forced"])
@pytest.mark.parametrize(("name", "longest"), [("PatientID", 256), ("PatientSex", 16)])
def test_the_service_has_lengths_of_its_own(service: Service, copy: str, name: str, longest: int, force: bool) -> None:
    # dicom-element-constraints
    status, _ = service.outcome(copy, in_patient(**{name: "X" * (longest + 1)}), force=force)
    assert status == "UPDATE_FAILED"
    assert service.outcome(copy, in_patient(**{name: "X" * longest}), force=force) == UPDATED


class TestPrivateElements:
    """update-image-set-metadata, examples 5 and 6; reference section 9, decision 20."""

    def test_a_new_one_brings_its_vr(self, service: Service, copy: str) -> None:
        edit = in_instance(ONE, {"001910F9": "97"})
        assert service.outcome(copy, edit, force=True)[0] == "UPDATE_FAILED"
        edit = in_instance(ONE, {"001910F9": "97"}, DICOMVRs={"001910F9": "DS"})
        assert service.outcome(copy, edit, force=True) == UPDATED
        assert private(service, copy) == (
            {"00091001": "GENESIS", "001910F9": "97"},
            {"00091001": "LO", "001910F9": "DS"},
        )

    def test_an_update_keeps_its_vr(self, service: Service, copy: str) -> None:
        assert service.outcome(copy, in_instance(ONE, {"00091001": "X"}), force=True) == UPDATED
        assert private(service, copy) == ({"00091001": "X"}, {"00091001": "LO"})

    def test_its_removal_takes_its_vr_along(self, service: Service, copy: str) -> None:
        assert service.outcome(copy, removable=in_instance(ONE, {"00091001": "GENESIS"}), force=True) == UPDATED
        assert private(service, copy) == ({}, {})

    def test_digits_are_read_in_either_case_and_kept_in_upper_case(self, service: Service, copy: str) -> None:
        edit = in_instance(ONE, {"001910f9": "97"}, DICOMVRs={"001910f9": "DS"})
        assert service.outcome(copy, edit, force=True) == UPDATED
        assert private(service, copy)[1] == {"00091001": "LO", "001910F9": "DS"}

    def test_it_is_at_instance_level_only(self, service: Service, copy: str) -> None:
        assert service.outcome(copy, in_study(**{"00091001": "X"}), force=True)[0] == "UPDATE_FAILED"


class TestChangedUids:
    """update-image-set-metadata, example 7; reference section 9, decision 17."""

    EDIT = in_instance(ONE, {"SOPInstanceUID": "9.9"})

    def test_the_keys_follow(self, service: Service, copy: str) -> None:
        edit = self.EDIT
        edit["Study"]["Series"]["1.2.3.1"]["DICOM"] = {"SeriesInstanceUID": "9"}
        assert service.outcome(copy, edit, force=True) == UPDATED
        series = service.metadata(copy)["Study"]["Series"]
        assert {uid: list(one["Instances"]) for uid, one in series.items()} == {"9": ["9.9", "1.2.3.1.2"]}

    def test_the_keys_may_stay(self, make_service: Callable[..., Service]) -> None:
        service = make_service(uid_keys="kept")
        copy = service.add(primary=False)
        assert service.outcome(copy, in_instance(ONE, {"SOPInstanceUID": "9.9"}), force=True) == UPDATED
        series = service.metadata(copy)["Study"]["Series"]["1.2.3.1"]
        assert series["Instances"][ONE]["DICOM"]["SOPInstanceUID"] == "9.9"

    def test_a_uid_in_use_is_refused(self, service: Service, copy: str) -> None:
        edit = in_instance(ONE, {"SOPInstanceUID": "1.2.3.1.2"})
        assert service.outcome(copy, edit, force=True)[0] == "UPDATE_FAILED"

    def test_a_changed_series_is_found_by_its_new_uid(self, service: Service, copy: str) -> None:
        assert service.outcome(copy, in_series("1.2.3.1", SeriesInstanceUID="9.9"), force=True) == UPDATED
        for uid, found in (("9.9", [copy]), ("1.2.3.1", [])):
            assert service.search({"values": [{"DICOMSeriesInstanceUID": uid}], "operator": "EQUAL"}) == found


class TestPrimaryImageSets:
    """Reference sections 2.5 and 3.2; section 9, decisions 13 to 15."""

    @pytest.mark.parametrize("force", [False, True], ids=["unforced", "forced"])
    def test_the_three_uids_stay(self, service: Service, force: bool) -> None:
        one = service.add()
        for edit in (
            in_study(StudyInstanceUID="9"),
            in_series("1.2.3.1", SeriesInstanceUID="9"),
            in_instance(ONE, {"SOPInstanceUID": "9"}),
        ):
            assert service.outcome(one, edit, force=force)[0] == "UPDATE_FAILED"

    @pytest.mark.parametrize(
        ("switch", "statuses"),
        [
            ("refuse-uids", ["UPDATED", "UPDATED", "UPDATE_FAILED"]),
            ("refuse", ["UPDATED", "UPDATE_FAILED", "UPDATE_FAILED"]),
            ("allow", ["UPDATED", "UPDATED", "UPDATED"]),
        ],
    )
    def test_what_force_unlocks_is_a_switch(
        self, make_service: Callable[..., Service], switch: str, statuses: list[str]
    ) -> None:
        service = make_service(force_on_primary=switch)
        one = service.add()
        edits = [in_study(StudyDescription="X"), in_study(StudyID="9"), in_series("1.2.3.1", SeriesInstanceUID="9")]
        assert [service.outcome(one, edit, force=True)[0] for edit in edits] == statuses

    @pytest.mark.parametrize(
        ("age", "statuses"),
        [("2025", ["UPDATE_FAILED", "UPDATED", "UPDATE_FAILED"]), ("2026", ["UPDATED", "UPDATED", "UPDATED"])],
    )
    def test_in_2025_patient_and_series_of_a_primary_set_could_not_be_edited(
        self, make_service: Callable[..., Service], age: str, statuses: list[str]
    ) -> None:
        service = make_service(age)
        one = service.add()
        edits = [in_patient(PatientName="X"), in_study(StudyDescription="X"), in_series("1.2.3.1", Modality="MR")]
        assert [service.outcome(one, edit)[0] for edit in edits] == statuses

    @pytest.mark.parametrize("age", ["2025", "2026"])
    def test_an_image_set_that_is_not_primary_has_no_such_limits(
        self, make_service: Callable[..., Service], age: str
    ) -> None:
        service = make_service(age)
        copy = service.add(primary=False)
        for edit in (in_patient(PatientName="X"), in_series("1.2.3.1", Modality="MR")):
            assert service.outcome(copy, edit) == UPDATED


@pytest.mark.parametrize(("switch", "status"), [("editable", "UPDATED"), ("refuse", "UPDATE_FAILED")])
def test_file_meta_information_is_editable_or_not(
    make_service: Callable[..., Service], switch: str, status: str
) -> None:
    # on no list of the documentation
    service = make_service(group_2=switch)
    one = service.add()
    assert service.outcome(one, in_instance(ONE, {"SourceApplicationEntityTitle": "X"}))[0] == status


def test_messages_keep_to_the_characters_of_the_model_and_hold_no_value(service: Service) -> None:
    # shape Message: [\w -:`]+
    import re

    secret = "SECRET<>;=@"
    one, copy = service.add(), service.add(document("2"), primary=False)
    edits: list[tuple[str, Json, Json]] = [
        (one, in_study(PatientName=secret), None),
        (one, in_study(**{secret: secret}), None),
        (one, None, in_study(StudyDescription=secret)),
        (one, None, in_study(**{secret: secret})),
        (one, in_study(StudyDate=secret), None),
        (one, in_study(StudyID=secret), None),
        (one, in_series(secret, Modality="MR"), None),
        (copy, in_instance(ONE.replace("3.1.1", "3.2.1"), {"00191001": secret}), None),
        (copy, in_study(AccessionNumber=secret * 30), None),
    ]
    for image_set_id, updatable, removable in edits:
        for force in (False, True):
            _, message = service.outcome(image_set_id, updatable, removable, force=force)
            assert message is None or (re.fullmatch(r"[\w -:`]{1,2048}", message) and "SECRET" not in message)
