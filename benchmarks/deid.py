"""De-identification: documents per second, against pydicom and dicom-anonymizer; calls of a large CT.

    python benchmarks/deid.py            the figures of the documentation
    python benchmarks/deid.py --quick    a short check that it works

One process, one core. A small document is one CT instance with about 70 attributes, gzip-packed as the service sends
it. Every document has other identifiers, UIDs and dates, so that no cache helps across documents. bulkedit unpacks,
parses, derives the edits and makes columns. The script unpacks and parses the same bytes, makes a pydicom Dataset, runs
dicom-anonymizer on it, and takes the differences as edits.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import time
from typing import TYPE_CHECKING, Any

import polars as pl
from pydicom.dataset import Dataset

from bulkedit import deidentification, plans
from bulkedit.deidentification import documents, keys, record
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits.edit import EDITS, json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = keys.checked(b"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "the benchmark")
LIMIT = 10_000
PATIENT = {"PatientName": "RIVERA^ANA", "PatientID": "MRN", "PatientBirthDate": "19620417", "PatientSex": "F"}
STUDY = {
    "StudyDate": "20240311", "StudyTime": "142205.318", "AccessionNumber": "ACC", "StudyDescription": "CT CHEST",
    "ReferringPhysicianName": "OKAFOR^DANIEL", "StudyID": "S1", "PatientAge": "061Y", "PatientWeight": "68.5",
}  # fmt: skip
SERIES = {
    "Modality": "CT", "SeriesNumber": "3", "SeriesDate": "20240311", "SeriesTime": "142410.552", "Manufacturer": "EX",
    "SeriesDescription": "LUNG", "ProtocolName": "Routine", "BodyPartExamined": "CHEST", "PatientPosition": "FFS",
    "InstitutionName": "Northside", "StationName": "CT02", "ManufacturerModelName": "Example 64",
    "DeviceSerialNumber": "SN0041877",
}  # fmt: skip
INSTANCE = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "AcquisitionDate": "20240311", "AcquisitionTime": "142410.55",
    "ContentDate": "20240311", "ContentTime": "142411.10", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "KVP": "120", "SliceThickness": "1.25", "SpacingBetweenSlices": "1.25", "DataCollectionDiameter": "500",
    "ReconstructionDiameter": "360", "DistanceSourceToDetector": "949.07", "DistanceSourceToPatient": "541",
    "GantryDetectorTilt": "0", "TableHeight": "150", "RotationDirection": "CW", "ExposureTime": "500",
    "XRayTubeCurrent": "200", "Exposure": "100", "FilterType": "BODY FILTER", "GeneratorPower": "24000",
    "FocalSpots": ["0.7"], "ConvolutionKernel": ["LUNG"], "AcquisitionNumber": "1", "InstanceNumber": "1",
    "ImagePositionPatient": ["-180", "-180", "-150.5"], "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    "SliceLocation": "-150.5", "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "Rows": 512,
    "Columns": 512, "PixelSpacing": ["0.703125", "0.703125"], "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
    "PixelRepresentation": 1, "WindowCenter": ["-600"], "WindowWidth": ["1500"], "RescaleIntercept": "-1024",
    "RescaleSlope": "1", "RescaleType": "HU", "PatientAddress": "1 MAIN ST", "ImageComments": "for Dr Okafor",
}  # fmt: skip


def small(number: int) -> dict[str, Any]:
    """Return a document of one instance."""
    study = f"1.2.826.0.1.{number}"
    series, own = f"{study}.1", f"{study}.1.1"
    reference = {"ReferencedSOPClassUID": INSTANCE["SOPClassUID"], "ReferencedSOPInstanceUID": f"{study}.1.9"}
    return {
        "SchemaVersion": "1.1",
        "Patient": {"DICOM": {**PATIENT, "PatientID": f"MRN{number}", "PatientName": f"RIVERA^ANA{number}"}},
        "Study": {
            "DICOM": {**STUDY, "StudyInstanceUID": study, "AccessionNumber": f"ACC{number}"},
            "Series": {
                series: {
                    "DICOM": {**SERIES, "SeriesInstanceUID": series, "FrameOfReferenceUID": f"{study}.7"},
                    "Instances": {
                        own: {
                            "DICOM": {
                                **INSTANCE,
                                "SOPInstanceUID": own,
                                "ReferencedImageSequence": [reference],
                                "00090010": "EX_IDEN",
                                "00091001": f"EXAM {number}",
                            },
                            "DICOMVRs": {"00091001": "LO"},
                        }
                    },
                }
            },
        },
    }


def dataset_of(content: dict[str, Any]) -> Dataset:
    """Convert a document to a pydicom Dataset, element by element."""
    dataset = Dataset()
    study = content["Study"]
    ((_, series),) = study["Series"].items()
    ((_, instance),) = series["Instances"].items()
    for level in (content["Patient"], study, series, instance):
        for name, value in level["DICOM"].items():
            known = dicom.attribute(name)
            assert known is not None
            dataset.add_new(
                known.tag, "LO" if known.private else known.vr, items_of(value) if known.vr == "SQ" else value
            )
    return dataset


def items_of(value: list[dict[str, Any]]) -> list[Dataset]:
    items = []
    for inner in value:
        item = Dataset()
        for name, text in inner.items():
            setattr(item, name, text)
        items.append(item)
    return items


def bulkedit_way(packed: list[bytes]) -> int:
    """Unpack, parse, derive, and make frames of edits as large as the command does. Returns the number of edits."""
    walker = recipe("research-dates-shifted").walker()
    edits: list[tuple[Any, ...]] = []
    found = 0
    for number, data in enumerate(packed):
        edits += walker.derive(f"{number:032d}", documents.parse(data)).rows
        if len(edits) >= record.PART_EDITS:
            found += record.frame(edits, record.EDITS).height
            edits = []
    return found + record.frame(edits, record.EDITS).height


def dataset_way(packed: list[bytes]) -> int:
    """Do the same as a script: convert to a Dataset, run the anonymizer, and take the differences as edits."""
    from dicomanonymizer.simpledicomanonymizer import anonymize_dataset, initialize_actions_2024b

    edits: list[tuple[str, str | None]] = []
    for data in packed:
        content = json.loads(gzip.decompress(data))
        before, after = dataset_of(content), dataset_of(content)
        anonymize_dataset(after, base_rules_gen=initialize_actions_2024b)
        edits += [(element.keyword, None) for element in before if element.tag not in after]
        edits += [
            (new.keyword, str(new.value)) for new in after if new.tag in before and before[new.tag].value != new.value
        ]
    return len(edits)


def recipe(name: str) -> deidentification.DeidRecipe:
    return deidentification.DeidRecipe(profile=deidentification.load_profile(name), key=KEY, payload_limit=LIMIT)


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the CPU seconds of the fastest of several repeats, because the machine may be busy."""
    return min(_timed(work) for _ in range(repeats))


def _timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def speed(count: int, others: int, repeats: int = 3) -> dict[str, float]:
    """Return documents per second of both, and their ratio."""
    packed = [gzip.compress(json_text(small(number)).encode(), 6) for number in range(count)]
    bulkedit_way(packed[:5])
    dataset_way(packed[:2])
    ours = count / seconds(lambda: bulkedit_way(packed), repeats)
    theirs = others / seconds(lambda: dataset_way(packed[:others]), repeats)
    return {"bulkedit": ours, "dicom-anonymizer": theirs, "ratio": ours / theirs}


def large(instances: int) -> dict[str, Any]:
    """Return a CT of many instances, each with private blocks of three creators."""
    content = small(1)
    ((series, inside),) = content["Study"]["Series"].items()
    ((_, first),) = inside["Instances"].items()
    inside["Instances"] = {}
    for number in range(1, instances + 1):
        one = copy.deepcopy(first)
        own = f"{series}.{number}"
        blocks = dict(private_blocks(number))
        one["DICOM"] |= {"SOPInstanceUID": own, "InstanceNumber": str(number)} | {k: v for k, (v, _) in blocks.items()}
        one["DICOMVRs"] |= {key: vr for key, (_, vr) in blocks.items()}
        inside["Instances"][own] = one
    return content


def private_blocks(number: int) -> Iterator[tuple[str, tuple[str, str]]]:
    for group, creator in (("0019", "EX_ACQU_01"), ("0043", "EX_PARM_01"), ("0045", "EX_HELIOS_01")):
        yield f"{group}0010", (creator, "LO")
        for element in range(8):
            yield f"{group}10{element:02X}", (f"{number}.{element}", "DS")


def calls(instances: int) -> dict[str, float]:
    """Return the calls of a large CT, and the least number by bytes of the larger of the two documents."""
    derived = recipe("basic").walker().derive("0" * 32, large(instances))
    rows = [
        {
            "row": row,
            "selector": "image_set_id",
            "key": edit.image_set_id,
            "action": edit.action,
            "level": known.level,
            "series_uid": edit.series_uid,
            "instance_uid": edit.instance_uid,
            "attribute": edit.attribute,
            "value": value_of(known, edit),
            "force": edit.force,
            "study_wide": False,
        }
        for row, edit in enumerate(derived.edits, 2)
        if (known := dicom.attribute(edit.attribute)) is not None
    ]
    frame = pl.DataFrame(rows, schema_overrides=EDITS).with_columns(image_set_id=pl.col("key"))
    missing = [pl.lit(None, kind).alias(name) for name, kind in EDITS.items() if name not in frame.columns]
    edits = frame.with_columns(missing).select(*EDITS, "image_set_id").cast(EDITS)
    plan = plans.make(edits, plans.PlanningSettings(rules=dicom.RULES["2026"], payload_limit=LIMIT))
    assert plan.set_aside.height == 0
    sizes = plan.calls.select(pl.col("updatable", "removable").str.len_bytes().sum())
    payload = max(sizes.row(0))
    count = plan.calls.height
    return {"edits": len(derived.edits), "bytes": payload, "calls": count, "over": count / (payload / LIMIT) - 1}


def value_of(known: dicom.Attribute, edit: deidentification.Edit) -> str:
    """Return a value as JSON text, as the reader of edit lists does."""
    if edit.value is None:
        return "{}" if edit.action == "remove" else "null"
    kind = dicom.VRS[known.vr].kind
    if (
        known.vr == "SQ"
        or known.multi
        or (kind in {dicom.ValueKind.INTEGER, dicom.ValueKind.FLOAT} and not known.private)
    ):
        return edit.value
    return json.dumps(edit.value, ensure_ascii=False)


def main() -> None:
    parser = argparse.ArgumentParser(description="De-identification: speed and calls.")
    parser.add_argument("--quick", action="store_true", help="small figures, in a moment")
    quick = parser.parse_args().quick
    found = speed(500 if quick else 20_000, 10 if quick else 300, 1 if quick else 3)
    print(f"{'documents/s, bulkedit':<44}{found['bulkedit']:>12,.0f}")
    print(f"{'datasets/s, pydicom and dicom-anonymizer':<44}{found['dicom-anonymizer']:>12,.1f}")
    print(f"{'ratio':<44}{found['ratio']:>12,.1f}")
    made = calls(50 if quick else 1_000)
    for name, text in (("edits", "edits of a CT with private blocks"), ("bytes", "payload bytes"), ("calls", "calls")):
        print(f"{text:<44}{made[name]:>12,.0f}")
    print(f"{'over payload bytes / limit':<44}{made['over']:>12.1%}")
    per_study = 1  # of a study with one small image set; see the documentation for others
    print(f"{'10,000 studies at 0.25/s, hours':<44}{(10_000 * per_study - 1) * 4 / 3600:>12.1f}")


if __name__ == "__main__":
    main()
