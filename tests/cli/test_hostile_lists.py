"""Malformed and hostile lists: a named error with its row, nothing sent, no cell in the text, bounded memory."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from tests.edits.lists import Formula, workbook

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.shell import Shell

ID = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
CANARY = "CANARY"  # in cells; it is in no text
TIDY = "image_set_id,action,attribute,value,level,series_uid,instance_uid,vr,force,version,order"
SERIES, INSTANCE = "1.2.3.1", "1.2.3.1.1"


def row(attribute: str = "PatientName", value: str = CANARY, **cells: str) -> str:
    """One row of the tidy form."""
    given = {"image_set_id": ID, "action": "set", "attribute": attribute, "value": value} | cells
    return ",".join(given.get(name, "") for name in TIDY.split(","))


def tidy(*rows: str) -> bytes:
    """A list whose row 2 is right; the others follow."""
    return "\n".join([TIDY, row("StudyDescription"), *rows, ""]).encode()


def parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pl.DataFrame({"image_set_id": [ID]} | columns).write_parquet(file)
    return file.getvalue()


def lines(*texts: str) -> bytes:
    return "\n".join([json.dumps({"image_set_id": ID, "StudyDescription": CANARY}), *texts, ""]).encode()


def line(**cells: Any) -> str:
    return json.dumps({"image_set_id": ID} | cells)


def call(updates: str) -> bytes:
    doubled = updates.replace('"', '""')
    return f'image_set_id,updates\n{ID},"{doubled}"\n'.encode()


def bomb() -> bytes:
    """A workbook that unpacks to more than a sheet may be; it is said to be so large, and is not."""
    file = io.BytesIO(workbook([["image_set_id", "PatientName"], [ID, CANARY]]))
    with zipfile.ZipFile(file, "a") as archive:
        info = archive.getinfo("xl/worksheets/sheet1.xml")
        offset, size = info.header_offset, info.file_size
    data = bytearray(file.getvalue())
    huge = (2**31).to_bytes(4, "little")
    data[offset + 22 : offset + 26] = huge
    central = data.rindex(b"xl/worksheets/sheet1.xml") - 46
    assert int.from_bytes(data[central + 24 : central + 28], "little") == size
    data[central + 24 : central + 28] = huge
    return bytes(data)


DEEP = "[" * 100_000
REMOVED = {"action": "remove-instance", "series_uid": SERIES, "instance_uid": INSTANCE, "force": "true"}
RENAMES = [
    row("SeriesInstanceUID", new, series_uid=old, force="true")
    for old, new in (("1.2.1", "1.2.2"), ("1.2.2", "1.2.3"), ("1.2.3", "1.2.1"))
]

# name: (file name, content, where, what)
LISTS: dict[str, tuple[str, bytes, str, str]] = {
    # wrong types in every column
    "image_set_id of text": ("e.csv", tidy(row(image_set_id=CANARY)), "Row 3", "image_set_id has 6 characters"),
    "image_set_id of capitals": ("e.csv", tidy(row(image_set_id=ID.upper())), "Row 3", "has capital letters"),
    "image_set_id climbing": ("e.csv", tidy(row(image_set_id="../" * 10 + "ab")), "Row 3", "not in 0-9 a-z"),
    "image_set_id of wide digits": ("e.csv", tidy(row(image_set_id="٣" * 32)), "Row 3", "not in 0-9 a-z"),
    "image_set_id with zero width": ("e.csv", tidy(row(image_set_id=ID + "\u200b")), "Row 3", "cannot be seen"),
    "image_set_id as formula": ("e.csv", tidy(row(image_set_id=f"=cmd|{CANARY}")), "Row 3", "characters"),
    "no image_set_id": ("e.csv", tidy(row(image_set_id=" ")), "Row 3", "image_set_id is empty"),
    "action unknown": ("e.csv", tidy(row(action=CANARY)), "Row 3", "action is unknown"),
    "action as formula": ("e.csv", tidy(row(action="=set")), "Row 3", "action is unknown"),
    "attribute unknown": ("e.csv", tidy(row(CANARY)), "Row 3", "neither a DICOM keyword"),
    "attribute empty": ("e.csv", tidy(row("")), "Row 3", "attribute is empty"),
    "attribute right to left": ("e.csv", tidy(row("\u202ePatientName")), "Row 3", "neither a DICOM keyword"),
    "attribute generated": ("e.csv", tidy(row("Rows", "1")), "Row 3", "Rows"),
    "value of letters for a date": ("e.csv", tidy(row("StudyDate")), "Row 3", "form of VR DA"),
    "value too long": ("e.csv", tidy(row("PatientID", CANARY * 50)), "Row 3", "are allowed"),
    "value damaged": ("e.csv", tidy(row("PatientID", "1.2E+10")), "Row 3", "damaged by a spreadsheet"),
    "level unknown": ("e.csv", tidy(row(level=CANARY)), "Row 3", "level is not a DICOM level"),
    "level wrong": ("e.csv", tidy(row(level="Study")), "Row 3", "at Patient level"),
    "series_uid of text": ("e.csv", tidy(row("Modality", "CT", series_uid=CANARY)), "Row 3", "not a UID"),
    "series_uid empty": ("e.csv", tidy(row("SeriesDescription")), "Row 3", "series_uid is empty"),
    "instance_uid of text": ("e.csv", tidy(row("KVP", "1", series_uid="1.2", instance_uid="x")), "Row 3", "not a UID"),
    "instance_uid empty": ("e.csv", tidy(row("KVP", "1", series_uid="1.2")), "Row 3", "instance_uid is empty"),
    "vr unknown": (
        "e.csv",
        tidy(row("00091001", vr="ZZ", series_uid="1.2", instance_uid="1.3", force="1")),
        "Row 3",
        "vr is not a VR of DICOM",
    ),
    "vr of another": ("e.csv", tidy(row(vr="DA")), "Row 3", "vr is not the VR of"),
    "force of text": ("e.csv", tidy(row(force=CANARY)), "Row 3", "force is neither true nor false"),
    "version of text": ("e.csv", tidy(row(version=CANARY)), "Row 3", "version is not a version number"),
    "version zero": ("e.csv", tidy(row(version="0")), "Row 3", "version is not a version number"),
    "version huge": ("e.csv", tidy(row(version="9" * 400)), "Row 3", "version is not a version number"),
    "version negative": ("e.csv", tidy(row(version="-1")), "Row 3", "version is not a version number"),
    "order of text": ("e.csv", tidy(row(order=CANARY)), "Row 3", "order is not a whole number"),
    "order negative": ("e.csv", tidy(row(order="-1")), "Row 3", "order is not a whole number"),
    "order with a fraction": ("e.csv", tidy(row(order="1.5")), "Row 3", "order is not a whole number"),
    "order huge": ("e.csv", tidy(row(order="4294967296")), "Row 3", "order is not a whole number"),
    "revert to text": ("e.csv", tidy(row("", action="revert")), "Row 3", "not the version to revert to"),
    # rows against each other
    "contradiction": ("e.csv", tidy(row("StudyDescription", "x")), "Row 3", "of this image set otherwise"),
    "contradiction, one with an order": (
        "e.csv",
        tidy(row("StudyDescription", "x", order="1")),
        "Row 3",
        "of this image set otherwise",
    ),
    "versions that contradict": (
        "e.csv",
        tidy(row(version="3"), row("PatientID", "1", version="3")),
        "Row 4",
        "names version 3 of this image set, as row 3 does",
    ),
    "set inside a removed instance": (
        "e.csv",
        tidy(row("", "", **REMOVED), row("KVP", "1", series_uid=SERIES, instance_uid=INSTANCE)),
        "Row 4",
        "that row 3 removes",
    ),
    "renames in a circle": ("e.csv", tidy(*RENAMES), "Rows 3-5", "in a circle"),
    # keys and columns
    "column twice": ("e.csv", f"image_set_id,PatientName,PatientName\n{ID},a,b\n".encode(), "row 1", "are both"),
    "column with blanks": ("e.csv", f"image_set_id,PatientName \n{ID},a\n".encode(), "row 1", "column B has a name"),
    "column right to left": ("e.csv", f"image_set_id,\u202eemaN\n{ID},a\n".encode(), "row 1", "column B has a name"),
    "column zero width": (
        "e.csv",
        f"image_set_id,Patient\u200bName\n{ID},a\n".encode(),
        "row 1",
        "column B has a name",
    ),
    "two byte order marks": (
        "e.csv",
        b"\xef\xbb\xbf\xef\xbb\xbf" + f"image_set_id,PatientName\n{ID},a\n".encode(),
        "row 1",
        "column A has a name",
    ),
    "100,000 columns": ("e.csv", ("image_set_id" + f",{CANARY}" * 100_000 + "\n").encode(), "row 1", "more than 6,000"),
    "keys twice": ("e.jsonl", lines(line()[:-1] + ',"PatientName":"a","PatientName":"b"}'), "Row 2", "duplicate key"),
    # bytes
    "empty": ("e.csv", b"", "e.csv", "the file is empty"),
    "header only": ("e.csv", TIDY.encode(), "e.csv", "a header and no rows"),
    "NUL": ("e.csv", tidy(row(value="\0")), "row 3", "NUL byte"),
    "NUL in JSON lines": ("e.jsonl", lines("\0"), "row 2", "NUL byte"),
    "mixed encodings": ("e.csv", tidy(row(value="é")) + row(value="é").encode("latin-1"), "row 4", "not UTF-8"),
    "UTF-16 without mark": ("e.csv", tidy().decode().encode("utf-16-le"), "row 1", "NUL byte"),
    "lone quote": ("e.csv", tidy(row(value='"' + CANARY)), "row 3", "not closed"),
    "row too short": ("e.csv", tidy(ID), "row 3", "has 1 cell"),
    "row too long": ("e.csv", tidy(row() + ",,"), "row 3", "has 13 cells"),
    "gzip cut short": ("e.csv.gz", gzip.compress(tidy())[:-9], "e.csv.gz", "cut short"),
    # JSON
    "deep nesting": ("e.jsonl", lines(DEEP), "Row 2", "nested too deep"),
    "NaN": ("e.jsonl", lines('{"image_set_id":NaN}'), "Row 2", "NaN and infinities"),
    "infinity": ("e.jsonl", lines('{"PatientName":-Infinity}'), "Row 2", "NaN and infinities"),
    "huge float": ("e.jsonl", lines('{"PatientName":1e999}'), "Row 2", "too large"),
    "huge integer": ("e.jsonl", lines('{"PatientName":' + "9" * 5000 + "}"), "Row 2", "too long"),
    "half a character": ("e.jsonl", lines('{"PatientName":"\\ud800"}'), "Row 2", "half of a surrogate pair"),
    "an array": ("e.jsonl", lines(f'["{CANARY}"]'), "Row 2", "not a JSON object"),
    "true as text": ("e.jsonl", lines(line(PatientName=True)), "Row 2", "true or false"),
    "deep updates": ("e.csv", call(DEEP), "Row 2", "nested too deep"),
    "updates of a file": ("e.csv", call("file://" + CANARY), "Row 2", "not valid JSON"),
    "updates of nothing": ("e.csv", call("{}"), "Row 2", "not an object with either"),
    # Parquet
    "Parquet of lists": ("e.parquet", parquet(PatientName=[[CANARY]]), "e.parquet", "nested or binary values"),
    "Parquet of structs": ("e.parquet", parquet(PatientName=[{"a": CANARY}]), "e.parquet", "nested or binary values"),
    "Parquet of bytes": ("e.parquet", parquet(PatientName=[b"x"]), "e.parquet", "nested or binary values"),
    "Parquet of dates": ("e.parquet", parquet(PatientID=[dt.date(2024, 1, 1)]), "Row 1", "is a date"),
    "Parquet of floating ids": ("e.parquet", parquet(PatientID=[1.5]), "e.parquet", "floating-point"),
    "Parquet cut short": ("e.parquet", parquet(PatientName=[CANARY])[:-9], "e.parquet", "cut short"),
    "Parquet named CSV": ("e.csv", parquet(PatientName=[CANARY]), "e.csv", "is Parquet"),
    # Excel
    "Excel of errors": (
        "e.xlsx",
        workbook([["image_set_id", "PatientName"], [ID, CANARY], [ID, "=NA()"]]),
        "Row 3",
        "B3 is an error",
    ),
    "Excel of formulas without a result": (
        "e.xlsx",
        workbook([["image_set_id", "PatientName"], [ID, CANARY], [ID, Formula("A1", None)]]),
        "Row 3",
        "B3 is a formula without a result",
    ),
    "Excel of merged cells": (
        "e.xlsx",
        workbook([["image_set_id", "PatientName"], [ID, CANARY], [ID[::-1], CANARY]], merged=("B2:B3",)),
        "Row 2",
        "B2 is merged with others",
    ),
    "Excel of a merged sheet": (
        "e.xlsx",
        workbook([["image_set_id", "PatientName"], [ID, CANARY], [ID[::-1], CANARY]], merged=("A2:XFD1048576",)),
        "Row 3",
        "A3 is merged with others",
    ),
    "Excel bomb": ("e.xlsx", bomb(), "e.xlsx", "workbook cannot be read"),
    "Excel cut short": (
        "e.xlsx",
        workbook([["image_set_id", "PatientName"], [ID, CANARY]])[:-60],
        "e.xlsx",
        "cannot be read",
    ),
}


def test_there_are_at_least_sixty() -> None:
    assert len(LISTS) >= 60


@pytest.mark.parametrize("name", LISTS)
def test_a_hostile_list_is_a_named_error_with_its_row_and_nothing_is_sent(shell: Shell, name: str) -> None:
    file, content, where, what = LISTS[name]
    result = shell.run("apply", shell.write(file, content), "--yes")
    assert (result.exit_code, result.stdout, shell.requests()) == (2, "", [])
    assert result.stderr.startswith("error: ")
    assert any(text.lstrip().startswith(where) or f"{where}:" in text for text in result.stderr.splitlines())
    assert what in result.stderr
    assert CANARY not in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr) < 4000
    assert [path.name for path in shell.folder.iterdir()] == [file]


@pytest.mark.parametrize("kind", ["folder", "loop", "fifo"])
def test_what_is_no_file_is_said_at_once(shell: Shell, kind: str) -> None:
    path = shell.folder / "e.csv"
    match kind:
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path)
        case _:
            os.mkfifo(path)
    result = shell.call("apply", path, "--yes")
    assert (result.exit_code, shell.requests()) == (2, [])
    assert result.stderr.startswith(f"error: {path}: ")
    assert "Traceback" not in result.stderr


def peak_of(path: Path, shell: Shell) -> tuple[int, str, int]:
    """Exit code, standard error and peak memory in MiB of a plan in a process of its own.

    The peak is VmHWM of proc(5), counted from exec on. ru_maxrss would do elsewhere, but Linux hands it down
    from the process that started this one: pytest itself, with all that earlier tests have loaded.
    """
    code = (
        "import pathlib, resource, runpy, sys\n"
        "def peak():\n"
        "    status = pathlib.Path('/proc/self/status')\n"
        "    if status.exists():\n"
        "        return int(status.read_text().partition('VmHWM:')[2].split()[0]) // 1024\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**20\n"
        "try:\n    runpy.run_module('bulkedit', run_name='__main__')\n"
        "finally:\n    print('peak', peak(), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "plan", str(path)],
        env={**os.environ, **{k: v for k, v in shell.env.items() if v}},
        cwd=shell.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    text, _, peak = done.stderr.rpartition("peak ")
    return done.returncode, text, int(peak)


@pytest.mark.parametrize("size", [100, pytest.param(1024, marks=pytest.mark.slow)], ids="{} MiB".format)
@pytest.mark.parametrize(
    ("name", "begin"),
    [("e.csv", f'image_set_id,PatientName\n{ID},"'), ("e.jsonl", f'{{"image_set_id":"{ID}","PatientName":"')],
)
def test_a_cell_without_end_costs_no_more_memory_than_a_long_record(
    shell: Shell, name: str, begin: str, size: int
) -> None:
    path = shell.folder / name
    with path.open("wb") as file:
        file.write(begin.encode())
        for _ in range(size):
            file.write(b"x" * 2**20)
    code, text, peak = peak_of(path, shell)
    assert code == 2
    assert "is longer than 16 MiB" in text
    assert peak < 700
