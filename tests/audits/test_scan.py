"""The scan finds what identified the patient wherever it is left, and nothing where it is gone."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from bulkedit.audits import AuditCounters, AuditFinding, FreeTexts, OriginalKind, References, Risk, risks, scan

SERIES, INSTANCE = "1.2.3.4.5", "1.2.3.4.5.6"


def document(**instance: Any) -> dict[str, Any]:
    """A document with one instance, whose attributes are added."""
    return {
        "SchemaVersion": "1.1",
        "Patient": {
            "DICOM": {
                "PatientName": "RIVERA^ANA^MARIA^DR",
                "PatientID": "MRN-00482913 ",
                "PatientBirthDate": "19620417",
            }
        },
        "Study": {
            "DICOM": {
                "StudyInstanceUID": "1.2.3.4",
                "StudyDate": "20240311",
                "AccessionNumber": "ACC2024",
                "StudyDescription": "CT CHEST",
                "ReferringPhysicianName": "OKAFOR^DANIEL",
            },
            "Series": {
                SERIES: {
                    "DICOM": {"SeriesInstanceUID": SERIES, "Modality": "CT", "SeriesNumber": "3"},
                    "Instances": {
                        INSTANCE: {
                            "DICOM": {
                                "SOPInstanceUID": INSTANCE,
                                "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
                                "InstanceNumber": "1",
                                **instance,
                            }
                        }
                    },
                }
            },
        },
    }


def clean(**instance: Any) -> dict[str, Any]:
    """The same, as a good run leaves it."""
    new = document(**instance)
    new["Patient"]["DICOM"] = {"PatientName": "ANON", "PatientID": "P1", "PatientBirthDate": "19620101"}
    new["Study"]["DICOM"] = {"StudyInstanceUID": "2.25.1", "StudyDate": "20240201", "StudyDescription": "CT CHEST"}
    series = new["Study"]["Series"].pop(SERIES)
    one = series["Instances"].pop(INSTANCE)
    series["DICOM"]["SeriesInstanceUID"] = "2.25.2"
    one["DICOM"]["SOPInstanceUID"] = "2.25.3"
    series["Instances"] = {"2.25.3": one}
    new["Study"]["Series"] = {"2.25.2": series}
    return new


def kinds(findings: list[AuditFinding]) -> set[tuple[str, str, str]]:
    return {(str(each.kind), str(each.match), each.path) for each in findings}


def test_a_good_run_leaves_nothing() -> None:
    assert scan(document(), clean()) == []


def test_a_run_that_did_nothing_is_seen_everywhere() -> None:
    found = {path for _, match, path in kinds(scan(document(), document())) if match == "unchanged"}
    assert found == {
        *("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "StudyDate", "AccessionNumber"),
        *("ReferringPhysicianName", "SeriesInstanceUID", "SOPInstanceUID"),
    }


@pytest.mark.parametrize(
    ("left", "kind"),
    [
        ("seen with Mrs. rivera today", "name"),
        ("Ana Maria RIVERA", "name"),
        ("mrn-00482913", "identifier"),
        ("see MRN-00482913.", "identifier"),
        ("prior ACC2024/2", "identifier"),
        ("born 1962-04-17", "date"),
        ("born 17.04.1962", "date"),
        ("born 4/17/1962", "date"),
        ("born 17 April 1962", "date"),
        ("born Apr 17th, 1962", "date"),
        ("scan of 20240311", "date"),
        ("from study 1.2.3.4 series", "uid"),
        ("from instance 1.2.3.4.5.6, copied", "uid"),
        ("dr okafor", "name"),
    ],
)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_an_original_in_a_text_is_found_at_any_depth(left: str, kind: str, depth: int) -> None:
    inner: Any = {"ImageComments": left}
    for _ in range(depth):
        inner = {"RequestAttributesSequence": [{"CodeMeaning": "nothing"}, inner]}
    (found,) = scan(document(), clean(**inner))
    assert str(found.kind) == kind
    assert found.path.endswith("ImageComments")
    assert found.path.count("[1]") == depth
    assert (found.series_uid, found.instance_uid) == ("2.25.2", "2.25.3")


@pytest.mark.parametrize(
    "left",
    [
        "MARIANNE",  # another name that begins alike
        "1962 images, 04 series, 17 mm",
        "1.2.3.4.55",
        "0.1.2.3.4",
        "AC2024",
        "DR",
        "482913",
        "0020240311999",
    ],
)
def test_what_only_looks_alike_is_left_alone(left: str) -> None:
    assert scan(document(), clean(ImageComments=left)) == []


def test_private_elements_are_read_and_their_binary_values_too() -> None:
    hidden = base64.b64encode(b"\x00\x01RIVERA^ANA\x00").decode()
    found = scan(document(), clean(**{"00091001": hidden, "00091002": "RIVERA"}))
    assert {(str(each.kind), each.path) for each in found} == {("name", "00091001"), ("name", "00091002")}


def test_a_code_is_no_name_by_one_of_its_words() -> None:
    before = document()
    before["Patient"]["DICOM"]["PatientName"] = "HAND^ROSE"
    assert scan(before, clean(BodyPartExamined="HAND")) == []


def test_a_maker_or_a_coding_scheme_is_nobody_by_one_of_its_words() -> None:
    before = document()
    before["Study"]["DICOM"]["InstitutionName"] = "TOSHIBA"
    code = {"ConceptNameCodeSequence": [{"CodingSchemeDesignator": "99_RIVERA_X"}]}
    assert scan(before, clean(Manufacturer="TOSHIBA_MEC", **code)) == []
    (found,) = scan(before, clean(Manufacturer="TOSHIBA"))
    assert (found.kind, found.match) == (OriginalKind.INSTITUTION, "whole")


def test_kinds_that_are_kept_on_purpose_are_not_asked_about() -> None:
    kept = frozenset({OriginalKind.DATE, OriginalKind.UID})
    assert {str(each.kind) for each in scan(document(), document(), kept=kept)} == {"name", "identifier"}


def test_a_shifted_date_that_meets_another_is_no_finding() -> None:
    assert scan(document(), clean(AcquisitionDate="20240311")) == []
    found = scan(document(AcquisitionDate="20240311"), clean(AcquisitionDate="20240311"))
    assert [each.path for each in found] == ["AcquisitionDate"]


def test_a_hundred_levels_are_no_matter() -> None:
    inner: Any = {"ImageComments": "RIVERA"}
    for _ in range(5_000):
        inner = {"ContentSequence": [inner]}
    assert len(scan(document(), clean(**inner))) == 1


@pytest.mark.parametrize("broken", [{}, {"Patient": 1, "Study": []}, {"Study": {"Series": {"1": None}}}])
def test_a_document_of_another_shape_is_read_as_far_as_it_goes(broken: dict[str, Any]) -> None:
    assert scan(broken, broken) == []
    assert scan(document(), broken) == []
    references = References()
    references.add("a", document(), broken)
    assert references.closure().uids == 0


def test_findings_hold_no_value() -> None:
    found = scan(document(), document(ImageComments="RIVERA"))
    assert not any(secret in repr(found) for secret in ("RIVERA", "MRN", "1962", "ACC2024", "OKAFOR"))


def referring(sop: str, referred: str, *, number: str = "1") -> dict[str, Any]:
    new = copy.deepcopy(document(ReferencedImageSequence=[{"ReferencedSOPInstanceUID": referred}]))
    instances = new["Study"]["Series"][SERIES]["Instances"]
    one = instances.pop(INSTANCE)
    one["DICOM"] |= {"SOPInstanceUID": sop, "InstanceNumber": number}
    instances[sop] = one
    return new


def test_references_that_all_lead_where_they_led_are_closed() -> None:
    references = References()
    references.add("a", referring("1.2.10", "1.2.20"), referring("2.25.10", "2.25.20"))
    references.add("b", referring("1.2.20", "1.2.10"), referring("2.25.20", "2.25.10"))
    closure = references.closure()
    assert (closure.parted, closure.joined, closure.image_sets) == (0, 0, ())


def test_a_reference_that_leads_elsewhere_now_is_named_with_its_image_sets() -> None:
    references = References()
    references.add("a", referring("1.2.10", "1.2.20"), referring("2.25.10", "2.25.99"))
    references.add("b", referring("1.2.20", "1.2.10"), referring("2.25.20", "2.25.10"))
    closure = references.closure()
    assert (closure.parted, closure.joined, closure.image_sets) == (1, 0, ("a", "b"))


def test_two_uids_that_became_one_are_found() -> None:
    references = References()
    references.add("a", referring("1.2.10", "1.2.20"), referring("2.25.10", "2.25.10"))
    assert references.closure().joined == 1


def test_instances_in_another_order_are_matched_by_their_number() -> None:
    before, after = document(), document()
    (key,) = before["Study"]["Series"]
    before["Study"]["Series"][key]["Instances"] = {
        f"1.2.{n}": {"DICOM": {"SOPInstanceUID": f"1.2.{n}", "InstanceNumber": str(n)}} for n in (1, 2, 3)
    }
    after["Study"]["Series"][key]["Instances"] = {
        f"2.25.{n}": {"DICOM": {"SOPInstanceUID": f"2.25.{n}", "InstanceNumber": str(n)}} for n in (3, 1, 2)
    }
    references = References()
    references.add("a", before, after)
    references.add("b", referring("1.2.50", "1.2.3"), referring("2.25.50", "2.25.3"))
    assert references.closure().parted == 0


def test_texts_that_are_as_they_were_are_listed_for_a_person() -> None:
    texts = FreeTexts()
    texts.add(document(ImageComments="on the left"), clean(ImageComments="on the left"))
    texts.add(document(), clean())
    assert texts.frame().rows() == [("ImageComments", "on the left", 1), ("StudyDescription", "CT CHEST", 2)]


def test_what_needs_a_look_at_the_pixels_is_named() -> None:
    assert risks(document()) == set()
    assert risks(document(BurnedInAnnotation="YES")) == {Risk.BURNED_IN}
    assert risks(document(SOPClassUID="1.2.840.10008.5.1.4.1.1.7.4")) == {Risk.SCREEN}
    assert risks(document(SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.4")) == {Risk.PHOTOGRAPH}


def test_a_check_adds_up_what_it_finds() -> None:
    check = AuditCounters()
    check.add("a", document(), clean(BurnedInAnnotation="YES"), older=1)
    check.add("b", document(), clean(ImageComments="RIVERA and 1.2.3.4"), older=3)
    assert (check.image_sets, check.with_findings, check.older_versions) == (2, 1, 4)
    assert check.findings().select("image_set_id", "kind", "match", "path").rows() == [
        ("b", "name", "inside", "ImageComments")
    ]
    assert check.risks().rows() == [("a", "BurnedInAnnotation says YES")]
    assert check.closure().parted == 0


def test_findings_and_references_are_packed_every_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, packed = AuditCounters(), AuditCounters()
    add_three(whole)
    monkeypatch.setattr("bulkedit.audits.check._CHUNK", 1)
    monkeypatch.setattr("bulkedit.audits.references._CHUNK", 1)
    add_three(packed)
    assert (packed._waiting, packed._references._new) == ([], [])
    assert packed.findings().height == 2
    assert packed.findings().equals(whole.findings())
    assert packed.closure() == whole.closure()


def add_three(check: AuditCounters) -> None:
    check.add("a", document(), clean())
    for one in ("b", "c"):
        check.add(one, document(), clean(ImageComments="RIVERA"))


def test_further_texts_of_an_attribute_are_only_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkedit.audits.texts._MOST", 1)
    texts = FreeTexts()
    for words in ("ONE", "TWO", "ONE", "THREE"):
        texts.add(document(ImageComments=words), clean(ImageComments=words))
    frame = texts.frame().filter(path="ImageComments")
    assert (frame.select("value", "image_sets").rows(), texts.omitted) == ([("ONE", 2)], 2)


def test_features_by_which_a_face_can_be_known_are_a_risk() -> None:
    assert risks(document(RecognizableVisualFeatures="yes ")) == {Risk.RECOGNIZABLE}
    assert risks(document(RecognizableVisualFeatures="NO")) == set()


def test_a_private_text_that_only_looks_like_base64_is_read_as_it_is() -> None:
    assert scan(document(), clean(**{"00091001": "no Base64 = a text"})) == []
