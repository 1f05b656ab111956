"""Writes the sample edit lists: `python samples/make.py`.

They name image sets of the demo data store: a local HealthImaging with the DICOM files of pydicom. Its ids are derived
from the files, so this script finds them by file name. The lists are checked in; run this again if the import or
pydicom changes the ids. Needs the dependency group "test".
"""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import xlsxwriter

from bulkedit._json import object_in
from bulkedit.emulator import DEFAULT_DATASTORE_ID, serve
from bulkedit.emulator.dicom_import.importer import read_folder

HERE = Path(__file__).parent
Row = dict[str, str]


class Place(NamedTuple):
    """The image set and UIDs of a DICOM file."""

    image_set: str
    series: str
    instance: str


def places() -> dict[str, Place]:
    """Return the files of the demo data store by name."""
    found = {}
    with resources.as_file(resources.files("pydicom").joinpath("data/test_files")) as folder, serve() as emulator:
        for image_set in read_folder(folder).image_sets:
            image_set_id = emulator.add(image_set.document)
            (series_uid, series), *_ = object_in(image_set.document, "Study", "Series").items()
            for file, instance_uid in zip(image_set.files, object_in(series, "Instances"), strict=True):
                found[file.name] = Place(image_set_id, series_uid, instance_uid)
    return found


# -- the rows of demo.csv: cleaning up a data store before a migration --------------------------------------------

# (file, attribute, value); Patient- and Study-level edits only if the study has one image set
CLEAN_UP = [
    # names: capitals, placeholders and trailing carets become Family^Given
    ("CT_small.dcm", "PatientName", "Santos^Marta"),
    ("J2K_pixelrep_mismatch.dcm", "PatientName", "Tanaka^Yui"),
    ("JPEG2000.dcm", "PatientName", "Nowak^Piotr"),
    ("MR_truncated.dcm", "PatientName", "O'Neil^Zoë"),
    ("rtdose_rle_1frame.dcm", "PatientName", "Okafor^Ngozi"),
    ("examples_overlay.dcm", "PatientName", "Singh^Jaspreet"),
    ("examples_palette.dcm", "PatientName", "Obermaier^Berta"),
    ("examples_ybr_color.dcm", "PatientName", "Platt^Lena"),
    ("liver_expb_1frame.dcm", "PatientName", "Janssen^Theo"),
    ("rtplan.dcm", "PatientName", "Last^First^Mid^Prof"),
    ("test-SR.dcm", "PatientName", "Test^Sarah"),
    ("image_dfl.dcm", "PatientName", ""),
    # medical record numbers of the merged hospital
    ("CT_small.dcm", "PatientID", "0000101"),
    ("JPEG2000.dcm", "PatientID", "0000108"),
    ("MR_truncated.dcm", "PatientID", "0000104"),
    ("IM000000", "PatientID", "0345678"),
    ("17106", "PatientID", "0654033"),
    ("waveform_ecg.dcm", "PatientID", "0642341"),
    ("examples_jpeg2k.dcm", "PatientID", "0000113"),
    ("reportsi_with_empty_number_tags.dcm", "PatientSex", "F"),
    # accession numbers of the new numbering
    ("CT_small.dcm", "AccessionNumber", "A2004-000119"),
    ("JPEG2000.dcm", "AccessionNumber", "A2004-000826"),
    ("MR_truncated.dcm", "AccessionNumber", "A2004-000827"),
    ("IM000000", "AccessionNumber", "A2020-000913"),
    ("examples_overlay.dcm", "AccessionNumber", "A2005-001130"),
    ("rtplan.dcm", "AccessionNumber", "A2003-000716"),
    # descriptions that a reading list can show
    ("CT_small.dcm", "StudyDescription", "CT abdomen"),
    ("J2K_pixelrep_mismatch.dcm", "StudyDescription", "CT chest"),
    ("JPEG2000.dcm", "StudyDescription", "Whole-body bone scan"),
    ("MR_truncated.dcm", "StudyDescription", "MR head"),
    ("17106", "StudyDescription", "CT head without contrast"),
    ("examples_overlay.dcm", "StudyDescription", "MR liver"),
    ("GDCMJ2K_TextGBR.dcm", "StudyDescription", "Ultrasound, colour"),
    ("SC_jpeg_no_color_transform.dcm", "StudyDescription", "Secondary capture"),
    ("SC_rgb_jpeg_app14_dcmd.dcm", "StudyDescription", "Secondary capture"),
    ("SC_rgb_jpeg_dcmd.dcm", "StudyDescription", "Secondary capture"),
    ("693_J2KI.dcm", "SeriesDescription", "CT head, 5 mm"),
    ("J2K_pixelrep_mismatch.dcm", "SeriesDescription", "CT chest, axial"),
    ("6154", "SeriesDescription", "Cervical spine, lateral"),
    ("6247", "SeriesDescription", "Cervical spine, oblique 1"),
    ("6278", "SeriesDescription", "Cervical spine, oblique 2"),
    ("6293", "SeriesDescription", "Scout"),
    ("2062", "SeriesDescription", "Calcium score, gated"),
    ("15820", "SeriesDescription", "Carotids, localizer 1"),
    ("15970", "SeriesDescription", "Carotids, localizer 2"),
    ("4919", "SeriesDescription", "Brain, localizer"),
    ("4950", "SeriesDescription", "Brain, three planes"),
    ("5641", "SeriesDescription", "Brain MRA, localizer"),
    ("6273", "SeriesDescription", "Brain MRA, three planes"),
    ("4467", "SeriesDescription", "Brain MRA, projections"),
    # one hospital, one name
    ("JPEG2000.dcm", "InstitutionName", "General Hospital"),
    ("MR_truncated.dcm", "InstitutionName", "General Hospital"),
    ("rtplan.dcm", "InstitutionName", "General Hospital"),
    # people
    ("waveform_ecg.dcm", "ReferringPhysicianName", "Rossi^Lucia"),
    ("SC_rgb_dcmtk_+eb+cr.dcm", "ReferringPhysicianName", "Moriarty^James^^Prof"),
    # a date that is not as DICOM writes it
    ("ExplVR_BigEnd.dcm", "StudyDate", "19970424"),
]


def demo(at: dict[str, Place]) -> list[Row]:
    """Return edits of all image sets of the demo data store; the service refuses the last but one."""
    below = {"SeriesDescription", "InstitutionName"}  # at Series level
    rows = [setting(at[file], attribute, value, series=attribute in below) for file, attribute, value in CLEAN_UP]
    ct, ecg = at["CT_small.dcm"], at["waveform_ecg.dcm"]
    rows += [
        setting(ct, "ImageComments", "Checked before the migration", series=True, instance=True),
        setting(ct, "00091001", "GE_GENESIS_DD", series=True, instance=True) | {"force": "true"},
        removal(at["SC_rgb_dcmtk_+eb+cr.dcm"], "PatientSex"),
        removal(ecg, "StudyDescription", "Electrocardiogram"),  # not the stored value, so the service refuses it
        removal(at["test-SR.dcm"], "StudyDescription", "OFFIS Structured Reporting Test Document"),
    ]
    return [{"edit_id": f"demo-{i:02}"} | row for i, row in enumerate(rows, 1)]


def setting(place: Place, attribute: str, value: str, *, series: bool = False, instance: bool = False) -> Row:
    """Return a tidy row that sets an attribute."""
    row = {"image_set_id": place.image_set, "action": "set", "attribute": attribute, "value": value}
    return (
        row | ({"series_uid": place.series} if series else {}) | ({"instance_uid": place.instance} if instance else {})
    )


def removal(place: Place, attribute: str, value: str = "") -> Row:
    """Return a tidy row that removes an attribute; without a value, it removes any stored value."""
    return {"image_set_id": place.image_set, "action": "remove", "attribute": attribute, "value": value}


# -- one small list per form --------------------------------------------------------------------------------------


def tidy(at: dict[str, Place]) -> list[Row]:
    """Every action once."""
    ct, nm, mr = at["CT_small.dcm"], at["JPEG2000.dcm"], at["MR_truncated.dcm"]
    nuclear = {"series_uid": nm.series, "instance_uid": nm.instance, "force": "true"}
    return [
        setting(ct, "PatientName", "Santos^Marta"),
        setting(ct, "PatientID", "0000101"),
        setting(ct, "ReferringPhysicianName", ""),
        setting(ct, "SeriesDescription", "Abdomen, axial", series=True),
        setting(ct, "ImageComments", 'Says "checked"', series=True, instance=True),
        setting(ct, "001910F9", "97", series=True, instance=True) | {"vr": "DS", "force": "true"},
        removal(nm, "PatientSex"),
        removal(nm, "StudyDescription", "Whole Body Bone"),
        {"image_set_id": nm.image_set, "action": "remove-instance"} | nuclear,
        setting(mr, "PatientName", "Wrong^Person"),
        {"image_set_id": mr.image_set, "action": "revert", "value": "1"},
    ]


def wide(at: dict[str, Place]) -> list[Row]:
    """One column per attribute; an empty cell leaves the attribute alone."""
    cells = {
        "CT_small.dcm": ("Santos^Marta", "0000101", "A2004-000119", "CT abdomen"),
        "JPEG2000.dcm": ("Nowak^Piotr", "0000108", "A2004-000826", ""),
        "MR_truncated.dcm": ("O'Neil^Zoë", "0000104", "", "MR head"),
        "IM000000": ("", "0345678", "A2020-000913", "CT, pilot study"),
    }
    names = ("PatientName", "PatientID", "AccessionNumber", "StudyDescription")
    return [
        {"edit_id": f"w{i}", "image_set_id": at[file].image_set} | dict(zip(names, values, strict=True))
        for i, (file, values) in enumerate(cells.items(), 1)
    ]


def document(**parts: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Return an attributes document."""
    return {"SchemaVersion": 1.1, **parts}


def in_instance(place: Place, **parts: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Return the Study part of a document for one instance."""
    return {"Series": {place.series: {"Instances": {place.instance: parts}}}}


def calls(at: dict[str, Place]) -> list[dict[str, Any]]:
    """Return lines in the form of --cli-input-json."""
    study = {"DICOMUpdates": {"updatableAttributes": document(Patient={"DICOM": {"PatientID": "0890234"}})}}
    name = {"DICOMUpdates": {"updatableAttributes": document(Patient={"DICOM": {"PatientName": "Santos^Marta"}})}}
    bone = {"removableAttributes": json.dumps(document(Study={"DICOM": {"StudyDescription": "Whole Body Bone"}}))}
    lines = [
        ("CT_small.dcm", "1", {}, name),
        ("4467", "1", {"includeStudyImageSets": True}, study),
        ("JPEG2000.dcm", "1", {}, {"DICOMUpdates": bone}),
        ("CT_small.dcm", "2", {}, {"revertToVersionId": "1"}),
    ]
    return [
        {
            "datastoreId": DEFAULT_DATASTORE_ID,
            "imageSetId": at[file].image_set,
            "latestVersionId": version,
            **options,
            "updateImageSetMetadataUpdates": updates,
        }
        for file, version, options, updates in lines
    ]


def aws_examples(at: dict[str, Place]) -> list[Row]:
    """Return the seven examples of the page update-image-set-metadata, with ids and values of the demo data store."""
    ct, nm, us = at["CT_small.dcm"], at["JPEG2000.dcm"], at["examples_jpeg2k.dcm"]
    name = document(Patient={"DICOM": {"PatientName": "MX^MX"}})
    bone = document(Study={"DICOM": {"StudyDescription": "Whole Body Bone"}})
    added = document(Study=in_instance(ct, DICOM={"001910F9": "97"}, DICOMVRs={"001910F9": "DS"}))
    changed = document(Study=in_instance(ct, DICOM={"00091001": "GE_GENESIS_DD"}))
    renamed = document(Study={"Series": {us.series: {"DICOM": {"SeriesInstanceUID": "2.25.7700"}}}})
    examples = [
        ("1-set-an-attribute", ct, "1", "", {"updatableAttributes": name}),
        ("2-remove-an-attribute", nm, "1", "", {"removableAttributes": bone}),
        ("3-remove-an-instance", nm, "2", "true", {"removableAttributes": document(Study=in_instance(nm))}),
        ("4-revert", ct, "2", "", None),
        ("5-add-a-private-element", ct, "3", "true", {"updatableAttributes": added}),
        ("6-change-a-private-element", ct, "4", "true", {"updatableAttributes": changed}),
        ("7-change-the-series-uid", us, "1", "true", {"updatableAttributes": renamed}),
    ]
    return [
        {
            "edit_id": name,
            "image_set_id": place.image_set,
            "latest_version_id": version,
            "force": force,
            # as in the examples, the document is text inside the JSON
            "updates": compact({"DICOMUpdates": {key: compact(blob) for key, blob in updates.items()}})
            if updates
            else compact({"revertToVersionId": "1"}),
        }
        for name, place, version, force, updates in examples
    ]


UPDATE = "aws medical-imaging update-image-set-metadata"


def script(at: dict[str, Place]) -> str:
    """Return a batch of commands of the AWS CLI, as people write it; one names a document in a file."""
    name = '"' + escaped(compact(document(Patient={"DICOM": {"PatientName": "O'Neil^Zoë"}}))) + '"'
    named = f"DICOMUpdates={{updatableAttributes={name}}}".replace("'", "'\\''")
    bone = document(Study={"DICOM": {"StudyDescription": "Whole Body Bone"}})
    emptied = compact({"DICOMUpdates": {"removableAttributes": compact(bone)}})
    calls = [
        ("MR_truncated.dcm", "1", f"'{named}'", ""),
        ("JPEG2000.dcm", "1", f"'{emptied}'", ""),
        ("17106", "1", "file://documents/description.json", ""),
        ("17106", "2", "revertToVersionId=1", " || exit 1"),
    ]
    lines = ["#!/bin/bash", "set -euo pipefail", "", "# corrections before the migration"]
    for file, version, updates, after in calls:
        lines += [
            f"{UPDATE} \\",
            f"    --datastore-id {DEFAULT_DATASTORE_ID} --image-set-id {at[file].image_set} \\",
            f"    --latest-version-id {version} --cli-binary-format raw-in-base64-out \\",
            f"    --update-image-set-metadata-updates {updates} >>updates.log{after}",
            "sleep 1",
        ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return a text for use in double quotes in the shorthand syntax."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def hl7() -> str:
    """Return a batch of HL7 v2 messages about patients of the demo data store."""
    messages = [
        ("A08", "PID|1||1CT1^^^GENERAL^MR||Santos^Marta^^Jr^Dr^^L||19600101|F|||1 Main Street", ""),
        ("A40", "PID|1||0000104^^^GENERAL^MR||O'Neil^Zoë^^^^^L||19720304|F", "MRG|4MR1^^^GENERAL^MR"),
        ("A47", "PID|1||0000108^^^GENERAL^MR~77^^^STATE^SS", "MRG|8NM1^^^GENERAL^MR"),
        ("A31", 'PID|1||642341^^^GENERAL^MR||""', ""),
    ]
    lines = ["BHS|^~\\&|ADT|GENERAL|BULKEDIT|GENERAL|20260101120000"]
    for number, (event, pid, mrg) in enumerate(messages, 1):
        lines += [
            f"MSH|^~\\&|ADT|GENERAL|BULKEDIT|GENERAL|20260101120000||ADT^{event}|{number:04}|P|2.5||||||UNICODE UTF-8",
            f"EVN|{event}|20260101120000",
            pid,
            *([mrg] if mrg else []),
        ]
    return "\r".join([*lines, f"BTS|{len(messages)}"]) + "\r"


# -- writing ------------------------------------------------------------------------------------------------------


def compact(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """JSON text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def frame(rows: list[Row]) -> pl.DataFrame:
    """Return rows as text columns; empty cells are null."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame(
        [{name: row.get(name) or None for name in names} for row in rows], dict.fromkeys(names, pl.String)
    )


def write_lines(file: str, lines: list[Any]) -> None:
    """JSON lines."""
    (HERE / file).write_text("".join(compact(line) + "\n" for line in lines), "utf-8")


def workbook(rows: list[Row]) -> bytes:
    """Return an Excel workbook with text cells only."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    book.set_properties({"created": datetime(2024, 1, 1, tzinfo=UTC)})
    text = book.add_format({"num_format": "@"})
    sheet = book.add_worksheet()
    table = frame(rows)
    for r, cells in enumerate([tuple(table.columns), *table.rows()]):
        for c, cell in enumerate(cells):
            if cell is not None:
                sheet.write_string(r, c, cell, text)
    book.close()
    return file.getvalue()


def main() -> None:
    """Write every sample."""
    at = places()
    frame(demo(at)).write_csv(HERE / "demo.csv")
    frame(tidy(at)).write_csv(HERE / "tidy.csv")
    frame(tidy(at)).write_parquet(HERE / "tidy.parquet")
    write_lines("tidy.jsonl", [{name: cell for name, cell in row.items() if cell} for row in tidy(at)])
    frame(wide(at)).write_csv(HERE / "wide.csv")
    (HERE / "wide.csv.gz").write_bytes(gzip.compress((HERE / "wide.csv").read_bytes(), mtime=0))
    (HERE / "wide.xlsx").write_bytes(workbook(wide(at)))
    write_lines("call.jsonl", calls(at))
    frame(aws_examples(at)).write_csv(HERE / "aws-cli-examples.csv")
    (HERE / "aws-cli.sh").write_text(script(at), "utf-8")
    (HERE / "patients.hl7").write_bytes(hl7().encode())
    described = document(Study={"DICOM": {"StudyDescription": "CT head without contrast"}})
    (HERE / "documents").mkdir(exist_ok=True)
    (HERE / "documents/description.json").write_text(
        json.dumps({"DICOMUpdates": {"updatableAttributes": compact(described)}}, indent=2) + "\n", "utf-8"
    )


if __name__ == "__main__":
    main()
