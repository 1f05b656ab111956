"""What the import makes of DICOM files has the shape, the levels and the value types of the service's own documents."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
)
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from bulkedit._json import object_in
from bulkedit.dicom import dictionary as dicom
from bulkedit.dicom.dictionary import Level, ValueKind
from bulkedit.emulator.dicom_import.importer import GROUPING, Imported, read_folder
from bulkedit.errors import UsageError

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
REFERENCE = Path(__file__).parents[3] / "shared" / "reference"

Json = Any

STUDY, SERIES, SOP = "2.999.1", "2.999.1.1", "2.999.1.1.1"


# ---------------------------------------------------------------- the structural checker


def violations(document: dict[str, Any]) -> list[str]:
    """Where a metadata document departs from reference/healthimaging.md section 4. Paths only, never a value."""
    found = [f"top: {key}" for key in {"SchemaVersion", "Patient", "Study"} - document.keys()]
    found += [f"top: {key}" for key in document.keys() - {*DOCUMENT_KEYS}]
    if document["SchemaVersion"] != "1.1":
        found.append("SchemaVersion")
    found += _level(document["Patient"], Level.PATIENT, {"DICOM"})
    found += _level(document["Study"], Level.STUDY, {"DICOM", "Series"})
    for uid, series in document["Study"]["Series"].items():
        found += _level(series, Level.SERIES, {"DICOM", "Instances"})
        if series["DICOM"].get("SeriesInstanceUID") != uid:
            found.append("Series: key")
        for sop, instance in series["Instances"].items():
            found += _instance(sop, instance)
    return found


DOCUMENT_KEYS = ("SchemaVersion", "DatastoreID", "ImageSetID", "Patient", "Study")
INSTANCE_KEYS = {"DICOM", "DICOMVRs", "StoredTransferSyntaxUID", "ChecksumType", "ImageFrames"}


def _level(part: dict[str, Any], level: Level, keys: set[str]) -> list[str]:
    found = [f"{level}: keys"] if part.keys() != keys else []
    return found + _elements(part["DICOM"], level, {})


def _instance(sop: str, part: dict[str, Any]) -> list[str]:
    found = [f"Instance: {key}" for key in part.keys() - INSTANCE_KEYS]
    found += [f"Instance: {key}" for key in {"DICOM", "DICOMVRs", "ImageFrames"} - part.keys()]
    if part["DICOM"].get("SOPInstanceUID") != sop:
        found.append("Instance: key")
    unnamed = {key for key in part["DICOM"] if re.fullmatch("[0-9A-F]{8}", key) and int(key[:4], 16) % 2}
    if unnamed != {key for key in part["DICOMVRs"] if int(key[:4], 16) % 2}:
        found.append("Instance: DICOMVRs")
    found += _elements(part["DICOM"], Level.INSTANCE, part["DICOMVRs"])
    return found + [f"frame {i}: {why}" for i, frame in enumerate(part["ImageFrames"]) for why in _frame(frame)]


def _elements(elements: dict[str, Any], level: Level | None, vrs: dict[str, str]) -> list[str]:
    found = []
    for key, value in elements.items():
        known = dicom.attribute(key)
        if known is None and key not in vrs:
            found.append(f"{key}: not in the dictionary")
        elif known and level and known.level is not level:
            found.append(f"{key}: belongs to {known.level}")
        elif known and not known.private:
            found += _value(key, known.vr, known.multi, value)
        elif key in vrs:
            found += _value(key, vrs[key], isinstance(value, list), value)
    return found


def _value(key: str, vr: str, multi: bool, value: Json) -> list[str]:
    kind = dicom.VRS[vr].kind
    if value is None:
        return []
    if kind is ValueKind.SEQUENCE:
        if not isinstance(value, list) or not value:
            return [f"{key}: no array of items"]
        return [why for item in value for why in _elements(item, None, {})]
    # a VM of 1 that met several numbers is an array of them, as nothing else can hold them
    several = kind is not ValueKind.STRING or vr == "AT"
    if isinstance(value, list) is not multi and not (several and isinstance(value, list) and len(value) > 1):
        return [f"{key}: array or not"]
    values = value if isinstance(value, list) else [value]
    return [] if all(one is None or _typed(vr, kind, one) for one in values) else [f"{key}: type"]


def _typed(vr: str, kind: ValueKind, value: Json) -> bool:
    if kind is ValueKind.INTEGER:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is ValueKind.FLOAT:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, str):
        return False
    if vr == "AT":
        return bool(re.fullmatch("[0-9A-F]{8}", value))
    return kind is ValueKind.STRING or base64.b64encode(base64.b64decode(value)).decode() == value


def _frame(frame: dict[str, Any]) -> list[str]:
    levels = frame["PixelDataChecksumFromBaseToFullResolution"]
    sizes = [(level["Width"], level["Height"]) for level in levels]
    return [
        why
        for why, wrong in {
            "ID": not re.fullmatch("[0-9a-z]{32}", frame["ID"]),
            "order": not sizes or sizes != sorted(sizes),
            "checksum": not all(0 <= level["Checksum"] < 2**32 for level in levels),
            "range": frame["MinPixelValue"] > frame["MaxPixelValue"],
            "size": frame["FrameSizeInBytes"] < 1,
        }.items()
        if wrong
    ]


def reference(name: str) -> dict[str, Any]:
    path = REFERENCE / name
    if not path.is_file():
        pytest.skip(f"../shared/reference/{name} is not here")
    document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return document


# ---------------------------------------------------------------- files to import


def dataset(**elements: Json) -> Dataset:
    made = Dataset()
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID = STUDY, SERIES, SOP
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def write(path: Path, made: Dataset, syntax: str = ExplicitVRLittleEndian, *more: bytes) -> Path:
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, made, enforce_file_format=True)
    # pydicom writes no bytes that it finds odd, so these are put behind its own; the order of tags is not what matters
    path.write_bytes(path.read_bytes() + b"".join(more))
    return path


def raw(tag: int, vr: str, value: bytes) -> bytes:
    """One element in explicit VR little endian, or in implicit where the VR is empty."""
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if vr in EXPLICIT_VR_LENGTH_32:
        return head + vr.encode() + struct.pack("<HL", 0, len(value)) + value
    return head + vr.encode() + struct.pack("<H" if vr else "<L", len(value)) + value


def image(rows: int, columns: int, pixels: bytes, **elements: Json) -> Dataset:
    about = {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
    }
    made = dataset(**about | elements)
    made.PixelData = pixels
    made["PixelData"].VR = "OB" if made.BitsAllocated == 8 else "OW"
    return made


def only_document(folder: Path) -> dict[str, Any]:
    imported = read_folder(folder)
    assert imported.skipped == []
    (image_set,) = imported.image_sets
    return image_set.document


def only_instance(folder: Path) -> dict[str, Any]:
    (series,) = only_document(folder)["Study"]["Series"].values()
    (instance,) = series["Instances"].values()
    found: dict[str, Any] = instance
    return found


def imported_value(folder: Path, key: str, made: Dataset, *more: bytes, syntax: str = ExplicitVRLittleEndian) -> Json:
    write(folder / "one.dcm", made, syntax, *more)
    return only_instance(folder)["DICOM"][key]


@pytest.fixture(scope="module")
def bundled() -> Imported:
    return read_folder(BUNDLED)


# ---------------------------------------------------------------- structure


@pytest.mark.parametrize("name", ["real-image-set.json", "metadata-example.json"])
def test_the_published_documents_obey_the_checker(name: str) -> None:
    assert violations(reference(name)) == []


def test_every_imported_document_obeys_the_checker(bundled: Imported) -> None:
    assert [why for image_set in bundled.image_sets for why in violations(image_set.document)] == []


def test_an_imported_document_has_the_keys_of_a_real_one_in_its_order(bundled: Imported) -> None:
    real = reference("real-image-set.json")
    for image_set in bundled.image_sets:
        assert list(image_set.document) == [key for key in real if key not in {"DatastoreID", "ImageSetID"}]
        assert list(object_in(image_set.document, "Study")) == ["DICOM", "Series"]


@pytest.mark.parametrize(
    ("path", "wrong", "why"),
    [
        pytest.param(("Patient", "DICOM", "StudyID"), "1", "StudyID: belongs to Study", id="level"),
        pytest.param(("Patient", "DICOM", "PatientName"), ["A"], "PatientName: array or not", id="array"),
        pytest.param(("Study", "DICOM", "PregnancyStatus"), "4", "PregnancyStatus: type", id="type"),
        pytest.param(("Study", "DICOM", "NoSuchKeyword"), "4", "NoSuchKeyword: not in the dictionary", id="keyword"),
        pytest.param(("Study", "DICOM", "ProcedureCodeSequence"), {}, "ProcedureCodeSequence: no array", id="items"),
        pytest.param(("SchemaVersion",), 1.1, "SchemaVersion", id="schema"),
    ],
)
def test_the_checker_finds_a_document_that_departs(path: tuple[str, ...], wrong: Json, why: str) -> None:
    document = reference("metadata-example.json")
    part = document
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = wrong
    assert [found for found in violations(document) if found.startswith(why)]


def test_the_ids_that_the_data_store_gives_are_left_to_it(tmp_path: Path) -> None:
    write(tmp_path / "one.dcm", dataset())
    assert not {"DatastoreID", "ImageSetID"} & only_document(tmp_path).keys()


def test_patient_study_and_series_attributes_are_moved_up_from_the_first_instance(tmp_path: Path) -> None:
    for number, comment in enumerate(["first", "second"]):
        made = dataset(PatientComments=comment, SOPInstanceUID=f"{SOP}.{number}", StudyDescription="D", Modality="CT")
        write(tmp_path / f"{number}.dcm", made)
    document = only_document(tmp_path)
    assert document["Patient"]["DICOM"] == {"PatientComments": "first"}
    assert document["Study"]["DICOM"] == {"StudyDescription": "D", "StudyInstanceUID": STUDY}
    assert document["Study"]["Series"][SERIES]["DICOM"] == {"Modality": "CT", "SeriesInstanceUID": SERIES}


def test_the_files_header_is_in_the_instance_and_other_group_lengths_are_not(tmp_path: Path) -> None:
    write(tmp_path / "one.dcm", dataset(), ExplicitVRLittleEndian, raw(0x00080000, "UL", b"\4\0\0\0"))
    elements = only_instance(tmp_path)["DICOM"]
    assert elements["TransferSyntaxUID"] == "1.2.840.10008.1.2.1"
    assert isinstance(elements["FileMetaInformationGroupLength"], int)
    assert "00080000" not in elements


def test_a_document_is_valid_json(bundled: Imported) -> None:
    for image_set in bundled.image_sets:
        text = json.dumps(image_set.document, allow_nan=False)
        assert json.loads(text.encode("utf-8")) == image_set.document


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("keyword", "vr", "stored", "value"),
    [
        pytest.param("KVP", "DS", b"120 ", "120 ", id="DS keeps its padding"),
        pytest.param("KVP", "DS", b"0120", "0120", id="DS keeps leading zeros"),
        pytest.param("InstanceNumber", "IS", b"1 ", "1 ", id="IS keeps its padding"),
        pytest.param("PixelSpacing", "DS", b"0.5\\0.50 ", ["0.5", "0.50 "], id="DS padding ends the last value"),
        pytest.param("KVP", "DS", b"not a number", "not a number", id="DS is never parsed"),
        pytest.param("ImageComments", "LT", b"note ", "note", id="text loses its padding"),
        pytest.param("InstanceCreationTime", "TM", b"000000.000", "000000.000", id="TM is never parsed"),
        pytest.param("InstanceCreatorUID", "UI", b"2.999.4\0", "2.999.4", id="UI loses its NUL"),
        pytest.param("ImageType", "CS", b"A\\\\B ", ["A", "", "B"], id="an empty value among others stays"),
        pytest.param("ImageType", "CS", b"A ", ["A"], id="one value of a multi-valued element is an array"),
        pytest.param("ImageComments", "LT", b"a\\b ", "a\\b", id="LT may hold a backslash"),
        pytest.param("ContentLabel", "CS", b"A\\B ", "A\\B", id="several texts, VM 1: the backslashes stay"),
        pytest.param("Rows", "US", b"\1\0\2\0", [1, 2], id="several numbers, VM 1: an array"),
        pytest.param("ImageType", "CS", b"", None, id="an empty multi-valued element is null"),
        pytest.param("ContentLabel", "CS", b"  ", None, id="nothing but padding is empty"),
        pytest.param("Rows", "US", b"", None, id="an empty number is null"),
        pytest.param("Rows", "US", b"\1", None, id="half a number is null"),
        pytest.param("RealWorldValueSlope", "FD", struct.pack("<d", 2.5), 2.5, id="FD"),
        pytest.param(
            "RealWorldValueSlope", "FD", struct.pack("<d", 68072048), 68072048, id="a whole FD has no fraction"
        ),
        pytest.param("RealWorldValueSlope", "FD", struct.pack("<d", float("nan")), None, id="NaN is null"),
        pytest.param("RealWorldValueSlope", "FD", struct.pack("<d", float("-inf")), None, id="infinity is null"),
        pytest.param("FrameIncrementPointer", "AT", b"\x18\0\x65\x10", ["00181065"], id="AT, VM 1-n"),
        pytest.param("DimensionIndexPointer", "AT", b"\x18\0\x65\x10", "00181065", id="AT, VM 1"),
        pytest.param("EncapsulatedDocument", "OB", b"\1\2", "AQI=", id="OB is base64"),
        pytest.param("EncapsulatedDocument", "OB", b"", None, id="an empty OB is null"),
        pytest.param("Rows", "UN", b"\7\0", 7, id="UN has the dictionary's VR"),
        pytest.param("Rows", "LO", b"12", 12, id="text where the dictionary has a number"),
        pytest.param("Rows", "LO", b"twelve", None, id="text that is no number, where the dictionary has one"),
        pytest.param("KVP", "US", b"\x78\0", "120", id="a number where the dictionary has text"),
        pytest.param("SourceImageSequence", "LO", b"text", None, id="text where the dictionary has items"),
    ],
)
def test_a_value_is_as_the_service_writes_it(tmp_path: Path, keyword: str, vr: str, stored: bytes, value: Json) -> None:
    known = dicom.attribute(keyword)
    assert known is not None
    assert imported_value(tmp_path, keyword, dataset(), raw(known.tag, vr, stored)) == value


@pytest.mark.parametrize(("representation", "value"), [(0, 63536), (1, -2000)])
def test_us_or_ss_follows_the_pixel_representation(tmp_path: Path, representation: int, value: int) -> None:
    made = dataset(PixelRepresentation=representation)
    more = raw(0x00280106, "", struct.pack("<H", 63536))
    assert imported_value(tmp_path, "SmallestImagePixelValue", made, more, syntax=ImplicitVRLittleEndian) == value


def test_a_sequence_is_an_array_of_items_keyed_like_the_document(tmp_path: Path) -> None:
    inner = Dataset()
    inner.CodeValue = "1 "
    inner.add_new(0x00090010, "LO", "MAKER")
    inner.add_new(0x00091001, "US", 7)
    deeper = Dataset()
    deeper.PurposeOfReferenceCodeSequence = [inner]
    value = imported_value(tmp_path, "SourceImageSequence", dataset(SourceImageSequence=[deeper, Dataset()]))
    assert value == [
        {"PurposeOfReferenceCodeSequence": [{"CodeValue": "1", "00090010": "MAKER", "00091001": 7}]},
        {},
    ]


def test_a_sequence_without_items_is_null(tmp_path: Path) -> None:
    assert imported_value(tmp_path, "SourceImageSequence", dataset(SourceImageSequence=[])) is None


def test_a_known_sequence_sent_as_un_is_read_as_one(tmp_path: Path) -> None:
    item = struct.pack("<HHL", 0xFFFE, 0xE000, 10) + struct.pack("<HHL", 0x0008, 0x0100, 2) + b"A1"
    more = raw(0x00082112, "UN", item)
    assert imported_value(tmp_path, "SourceImageSequence", dataset(), more) == [{"CodeValue": "A1"}]


def test_big_endian_numbers_and_words_are_those_of_the_little_endian_file(tmp_path: Path) -> None:
    found = []
    for syntax in (ExplicitVRLittleEndian, ExplicitVRBigEndian):
        words = b"\1\2" if syntax == ExplicitVRLittleEndian else b"\2\1"
        made = dataset(Rows=258, RealWorldValueSlope=2.5, FrameIncrementPointer=[0x00181065])
        made.add_new(0x00282000, "OW", words)  # ICCProfile is OB; sent as OW its words turn
        write(tmp_path / syntax / "one.dcm", made, syntax)
        elements = only_instance(tmp_path / syntax)["DICOM"]
        found.append({k: v for k, v in elements.items() if not k.startswith(("FileMeta", "Transfer"))})
    assert found[0] == found[1]
    assert found[0]["ICCProfile"] == "AQI="


@pytest.mark.parametrize(
    ("charset", "stored", "value"),
    [
        pytest.param(b"ISO_IR 192", "Müller^Jürgen".encode(), "Müller^Jürgen", id="UTF-8"),
        pytest.param(b"ISO_IR 100", "Müller^Jürgen".encode("latin-1"), "Müller^Jürgen", id="latin-1"),
        pytest.param(
            b"\\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
            id="PS3.5 annex H.3.1",
        ),
        pytest.param(
            b"\\ISO 2022 IR 149",
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
            "Hong^Gildong=洪^吉洞=홍^길동",
            id="PS3.5 annex I.2",
        ),
        pytest.param(
            b"\\ISO 2022 IR 58",
            b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
            "Zhang^XiaoDong=张^小东=",
            id="PS3.5 annex K.2",
        ),
        pytest.param(b"GB18030 ", "王^小东".encode("gb18030"), "王^小东", id="GB18030"),
    ],
)
def test_text_is_decoded_by_the_files_character_set(tmp_path: Path, charset: bytes, stored: bytes, value: str) -> None:
    more = raw(0x00080005, "CS", charset) + raw(0x00100010, "PN", stored)
    write(tmp_path / "one.dcm", dataset(), ExplicitVRLittleEndian, more)
    assert only_document(tmp_path)["Patient"]["DICOM"]["PatientName"] == value


@pytest.mark.parametrize("stored", [b"ISO_IR 100", b"\\ISO 2022 IR 87 "])
def test_the_character_set_is_shown_as_the_file_names_it(tmp_path: Path, stored: bytes) -> None:
    value = imported_value(tmp_path, "SpecificCharacterSet", dataset(), raw(0x00080005, "CS", stored))
    assert value == stored.decode().rstrip().split("\\")


def test_a_sequence_item_may_name_its_own_character_set(tmp_path: Path) -> None:
    item = Dataset()
    item.SpecificCharacterSet, item.CodeMeaning = "ISO_IR 192", "Größe"
    made = dataset(SpecificCharacterSet="ISO_IR 100", SourceImageSequence=[item])
    (found,) = imported_value(tmp_path, "SourceImageSequence", made)
    assert found["CodeMeaning"] == "Größe"


def test_text_that_its_character_set_cannot_decode_is_still_text(tmp_path: Path) -> None:
    more = raw(0x00080005, "CS", b"NO_SUCH_SET ") + raw(0x00204000, "LT", b"\xff\xfe")
    assert isinstance(imported_value(tmp_path, "ImageComments", dataset(), more), str)


# ---------------------------------------------------------------- private elements


def test_private_elements_are_keyed_by_hex_and_their_vrs_are_listed(tmp_path: Path) -> None:
    made = dataset()
    made.add_new(0x00090010, "LO", "MAKER")
    made.add_new(0x000910E7, "SL", -5)
    made.add_new(0x00091013, "FD", [1.5, 2])
    made.add_new(0x0009100A, "LO", "a\\b")
    write(tmp_path / "one.dcm", made)
    instance = only_instance(tmp_path)
    private = {key: value for key, value in instance["DICOM"].items() if key.startswith("0009")}
    assert private == {"00090010": "MAKER", "0009100A": "a\\b", "00091013": [1.5, 2], "000910E7": -5}
    assert instance["DICOMVRs"] == {"00090010": "LO", "0009100A": "LO", "00091013": "FD", "000910E7": "SL"}


def test_private_elements_of_an_implicit_file_are_un_but_their_creators(tmp_path: Path) -> None:
    made = dataset()
    made.add_new(0x00090010, "LO", "MAKER")
    made.add_new(0x00091001, "SH", "0 ")
    write(tmp_path / "one.dcm", made, ImplicitVRLittleEndian)
    instance = only_instance(tmp_path)
    assert instance["DICOMVRs"] == {"00090010": "LO", "00091001": "UN"}
    assert instance["DICOM"]["00091001"] == "MCA="  # as in real-image-set.json


@pytest.mark.parametrize(("length", "value"), [(0, ""), ((1 << 20) + 2, "")], ids=["empty", "over 1 MB"])
def test_private_binary_that_is_not_in_the_document_is_an_empty_string(tmp_path: Path, length: int, value: str) -> None:
    made = dataset()
    made.add_new(0x00091001, "OB", b"\0" * length)
    assert imported_value(tmp_path, "00091001", made) == value


def test_an_instance_without_private_elements_lists_no_vrs(tmp_path: Path) -> None:
    write(tmp_path / "one.dcm", dataset())
    assert only_instance(tmp_path)["DICOMVRs"] == {}


# ---------------------------------------------------------------- grouping


def test_instances_that_agree_in_the_seven_elements_become_one_image_set(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.dcm", dataset(SOPInstanceUID=f"{SOP}.{number}", PatientID="P", SeriesNumber=1))
    (image_set,) = read_folder(tmp_path).image_sets
    assert image_set.key == ("", "", "P", STUDY, "", SERIES, "1")
    assert image_set.files == [tmp_path / f"{number}.dcm" for number in range(3)]
    instances = object_in(image_set.document, "Study", "Series", SERIES, "Instances")
    assert list(instances) == [f"{SOP}.{number}" for number in range(3)]


@pytest.mark.parametrize("keyword", GROUPING)
def test_instances_that_differ_in_one_of_the_seven_elements_become_two(tmp_path: Path, keyword: str) -> None:
    for number, value in enumerate(["20200101", "20200102"]):
        write(tmp_path / f"{number}.dcm", dataset(**{keyword: value, "SOPInstanceUID": f"{SOP}.{number}"}))
    assert len(read_folder(tmp_path).image_sets) == 2


def test_padding_does_not_part_instances(tmp_path: Path) -> None:
    for number, stored in enumerate([b"1 ", b" 1"]):
        made = dataset(SOPInstanceUID=f"{SOP}.{number}")
        write(tmp_path / f"{number}.dcm", made, ExplicitVRLittleEndian, raw(0x00200011, "IS", stored))
    assert len(read_folder(tmp_path).image_sets) == 1


def test_of_two_files_of_one_instance_the_later_stays_and_the_earlier_is_named(tmp_path: Path) -> None:
    first = write(tmp_path / "a.dcm", dataset(ImageComments="earlier"))
    second = write(tmp_path / "b.dcm", dataset(ImageComments="later"))
    imported = read_folder(tmp_path)
    assert imported.overwritten == [(first, second)]
    assert imported.image_sets[0].files == [second]
    assert only_instance(tmp_path)["DICOM"]["ImageComments"] == "later"


def test_one_instance_under_two_grouping_keys_is_in_two_image_sets(tmp_path: Path) -> None:
    write(tmp_path / "a.dcm", dataset(PatientID="A"))
    write(tmp_path / "b.dcm", dataset(PatientID="B"))
    imported = read_folder(tmp_path)
    assert [image_set.key[2] for image_set in imported.image_sets] == ["A", "B"]
    assert imported.overwritten == []


def test_two_reads_of_a_folder_are_equal_and_the_folders_place_does_not_matter(tmp_path: Path) -> None:
    for place in ("here", "there/deeper"):
        for number in range(4):
            made = image(2, 2, bytes(4), SOPInstanceUID=f"{SOP}.{number}", PatientID=str(number % 2))
            write(tmp_path / place / f"sub{number}" / "image", made)
    here, again = read_folder(tmp_path / "here"), read_folder(tmp_path / "here")
    there = read_folder(tmp_path / "there")
    assert here == again
    assert [i.document for i in here.image_sets] == [i.document for i in there.image_sets]


# ---------------------------------------------------------------- what cannot be read


def test_files_that_are_no_image_are_named_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no DICOM")
    (tmp_path / "empty").touch()
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    whole = write(tmp_path / "whole", dataset(PatientName="SECRET" * 10)).read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-20])
    (tmp_path / "whole").unlink()
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        # a UID element that is empty; the header's own, which pydicom insists on, does not stand in for it
        known = dicom.attribute(keyword)
        assert known is not None
        write(tmp_path / f"no-{keyword}", dataset(), ExplicitVRLittleEndian, raw(known.tag, "UI", b""))
    imported = read_folder(tmp_path)
    assert imported.image_sets == []
    assert {path.name: reason for path, reason in imported.skipped} == {
        "DICOMDIR": "a DICOMDIR: it lists files, but is not an image",
        "cut": "truncated: the file ends inside an element",
        "empty": "not a DICOM file: no DICM prefix after the preamble",
        "no-SOPInstanceUID": "it has no SOPInstanceUID",
        "no-SeriesInstanceUID": "it has no SeriesInstanceUID",
        "no-StudyInstanceUID": "it has no StudyInstanceUID",
        "note.txt": "not a DICOM file: no DICM prefix after the preamble",
    }


def test_a_file_cut_anywhere_is_skipped_or_read_but_never_stops_the_import(tmp_path: Path) -> None:
    item = Dataset()
    item.CodeValue = "CODE"
    made = image(4, 4, bytes(range(16)), SourceImageSequence=[item], PatientName="SECRET^NAME")
    made["SourceImageSequence"].is_undefined_length = True
    whole = write(tmp_path / "whole.dcm", made).read_bytes()
    for length in range(len(whole)):
        (tmp_path / f"{length:05}.dcm").write_bytes(whole[:length])
    imported = read_folder(tmp_path)
    assert sum(len(i.files) for i in imported.image_sets) + len(imported.skipped) + len(imported.overwritten) == (
        len(whole) + 1
    )
    assert not [reason for _, reason in imported.skipped if "SECRET" in reason]
    assert tmp_path / "whole.dcm" in imported.image_sets[-1].files


def test_what_pydicom_finds_odd_in_a_file_is_not_told_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    more = raw(0x00080005, "CS", b"SECRET") + raw(0x00280008, "IS", b"SECRET") + raw(0x00100010, "PN", b"\xff\xfe")
    write(tmp_path / "one.dcm", image(2, 2, bytes(4)), ExplicitVRLittleEndian, more)
    read_folder(tmp_path)
    assert "SECRET" not in caplog.text
    assert not recwarn.list


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="folder does not exist"):
        read_folder(tmp_path / "nowhere")


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    assert read_folder(tmp_path) == Imported([], [], [])


def test_each_file_that_pydicom_carries_is_imported_or_named(bundled: Imported) -> None:
    files = {path for path in BUNDLED.rglob("*") if path.is_file()}
    kept = [path for image_set in bundled.image_sets for path in image_set.files]
    named = [path for path, _ in bundled.skipped] + [earlier for earlier, _ in bundled.overwritten]
    assert sorted([*kept, *named]) == sorted(files)
    assert len(bundled.image_sets) >= 30
    assert not [reason for _, reason in bundled.skipped if reason.startswith("damaged")]


# ---------------------------------------------------------------- frames


def checksums(frame: dict[str, Any]) -> list[tuple[int, int, int]]:
    levels = frame["PixelDataChecksumFromBaseToFullResolution"]
    return [(level["Width"], level["Height"], level["Checksum"]) for level in levels]


def test_a_native_frame_has_the_checksum_of_each_resolution_coarsest_first(tmp_path: Path) -> None:
    pixels = bytes((x * y) % 251 for y in range(480) for x in range(640))
    write(tmp_path / "one.dcm", image(480, 640, pixels))
    (frame,) = only_instance(tmp_path)["ImageFrames"]

    def every(step: int) -> bytes:
        return bytes(pixels[y * 640 + x] for y in range(0, 480, step) for x in range(0, 640, step))

    assert checksums(frame) == [
        (160, 120, zlib.crc32(every(4))),
        (320, 240, zlib.crc32(every(2))),
        (640, 480, zlib.crc32(pixels)),
    ]
    assert (frame["MinPixelValue"], frame["MaxPixelValue"], frame["FrameSizeInBytes"]) == (0, 250, 640 * 480)


@pytest.mark.parametrize(
    ("columns", "rows", "widths"),
    [
        pytest.param(640, 480, [160, 320, 640], id="real-image-set.json"),
        pytest.param(320, 240, [160, 320], id="real-image-set.json, the smaller"),
        pytest.param(512, 375, [256, 512], id="get-image-set-metadata"),
        pytest.param(512, 512, [128, 256, 512], id="metadata-example.json"),
        pytest.param(64, 64, [64], id="small"),
    ],
)
def test_the_resolutions_are_those_of_the_published_documents(
    tmp_path: Path, columns: int, rows: int, widths: list[int]
) -> None:
    write(tmp_path / "one.dcm", image(rows, columns, bytes(rows * columns)))
    (frame,) = only_instance(tmp_path)["ImageFrames"]
    assert [width for width, _, _ in checksums(frame)] == widths


@pytest.mark.parametrize("planar", [0, 1])
def test_colour_pixels_are_kept_together_at_each_resolution(tmp_path: Path, planar: int) -> None:
    reds = [(x + y) % 256 for y in range(240) for x in range(240)]
    samples = [(red, 255 - red, 7) for red in reds]
    thin = [samples[y * 240 + x] for y in range(0, 240, 2) for x in range(0, 240, 2)]

    def laid(pixels: list[tuple[int, int, int]]) -> bytes:
        rows = zip(*pixels, strict=True) if planar else pixels
        return bytes(sample for row in rows for sample in row)

    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": planar}
    write(tmp_path / "one.dcm", image(240, 240, laid(samples), **colour))
    (frame,) = only_instance(tmp_path)["ImageFrames"]
    assert checksums(frame) == [(120, 120, zlib.crc32(laid(thin))), (240, 240, zlib.crc32(laid(samples)))]


def test_signed_sixteen_bit_pixels_have_their_range(tmp_path: Path) -> None:
    pixels = struct.pack("<4h", -2000, 0, 7, 2976)
    deep = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1}
    write(tmp_path / "one.dcm", image(2, 2, pixels, **deep))
    (frame,) = only_instance(tmp_path)["ImageFrames"]
    assert (frame["MinPixelValue"], frame["MaxPixelValue"]) == (-2000, 2976)
    assert checksums(frame) == [(2, 2, zlib.crc32(pixels))]


def test_every_frame_of_an_instance_has_an_entry_and_its_own_id(tmp_path: Path) -> None:
    write(tmp_path / "one.dcm", image(2, 2, bytes(range(12)), NumberOfFrames=3))
    frames = only_instance(tmp_path)["ImageFrames"]
    assert [frame["MinPixelValue"] for frame in frames] == [0, 4, 8]
    assert len({frame["ID"] for frame in frames}) == 3


def test_a_frame_that_the_file_does_not_hold_whole_is_not_listed(tmp_path: Path) -> None:
    whole = write(tmp_path / "one.dcm", image(2, 2, bytes(range(12)), NumberOfFrames=3)).read_bytes()
    (tmp_path / "one.dcm").write_bytes(whole[:-2])
    assert len(only_instance(tmp_path)["ImageFrames"]) == 2


def test_an_instance_without_pixels_has_no_frames_and_with_them_no_pixels(tmp_path: Path) -> None:
    write(tmp_path / "report" / "one.dcm", dataset())
    write(tmp_path / "image" / "one.dcm", image(2, 2, bytes(4)))
    assert only_instance(tmp_path / "report")["ImageFrames"] == []
    assert "PixelData" not in only_instance(tmp_path / "report")["DICOM"]
    assert only_instance(tmp_path / "image")["DICOM"]["PixelData"] is None


def test_an_rle_frame_has_the_checksums_of_the_frame_it_encodes(tmp_path: Path) -> None:
    found = []
    for name in ("MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.dcm").write_bytes((BUNDLED / name).read_bytes())
        found.append(only_instance(tmp_path / name)["ImageFrames"])
    assert found[0] == found[1] == found[2] != []


def test_a_frame_that_only_a_codec_can_decode_has_the_checksum_of_its_encoding(tmp_path: Path) -> None:
    encoded = [b"\xff\xd8first frame\xff\xd9", b"\xff\xd8second frame\xff\xd9"]
    made = image(200, 300, b"", NumberOfFrames=2, BitsAllocated=16, BitsStored=12, HighBit=11)
    made.PixelData = encapsulate(encoded)
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    write(tmp_path / "one.dcm", made, JPEGLosslessSV1)
    frames = only_instance(tmp_path)["ImageFrames"]
    # an encoded frame is padded to an even length
    assert [checksums(frame) for frame in frames] == [
        [(300, 200, zlib.crc32(one + b"\0" * (len(one) % 2)))] for one in encoded
    ]
    assert {(frame["MinPixelValue"], frame["MaxPixelValue"]) for frame in frames} == {(0, 4095)}


@pytest.mark.parametrize(
    ("syntax", "stored"),
    [
        pytest.param(ExplicitVRLittleEndian, "1.2.840.10008.1.2.4.202", id="native, transcoded"),
        pytest.param(JPEGLosslessSV1, "1.2.840.10008.1.2.4.202", id="JPEG lossless, transcoded"),
        pytest.param(JPEGBaseline8Bit, "1.2.840.10008.1.2.4.50", id="JPEG baseline, retained"),
        pytest.param(JPEG2000, "1.2.840.10008.1.2.4.91", id="JPEG 2000, retained"),
    ],
)
def test_the_stored_transfer_syntax_is_that_of_the_services_table(tmp_path: Path, syntax: str, stored: str) -> None:
    write(tmp_path / "one.dcm", dataset(), syntax)
    instance = only_instance(tmp_path)
    assert instance["StoredTransferSyntaxUID"] == stored
    assert instance["DICOM"]["TransferSyntaxUID"] == syntax
    assert instance["ChecksumType"] == "DECOMPRESSED"


def test_binary_segmentations_keep_their_transfer_syntax(tmp_path: Path) -> None:
    made = image(8, 8, bytes(8), BitsAllocated=1, BitsStored=1, HighBit=0)
    write(tmp_path / "one.dcm", made)
    instance = only_instance(tmp_path)
    assert instance["StoredTransferSyntaxUID"] == ExplicitVRLittleEndian
    assert checksums(instance["ImageFrames"][0]) == [(8, 8, zlib.crc32(bytes(8)))]


def test_lines_in_ir_58_lose_their_escape_sequences_only(tmp_path: Path) -> None:
    stored = b"1. \x1b$)A\xb5\xda\xd2\xbb\xd0\xd0\r\n2. \x1b$)A\xb5\xda\xb6\xfe\xd0\xd0\r\n3. $)A "
    more = raw(0x00080005, "CS", b"\\ISO 2022 IR 58 ") + raw(0x00204000, "LT", stored)
    assert imported_value(tmp_path, "ImageComments", dataset(), more) == "1. 第一行\r\n2. 第二行\r\n3. $)A"
