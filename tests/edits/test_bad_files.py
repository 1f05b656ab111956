"""A file that cannot be read as a whole is one error that says where and what to do, and quotes nothing of it."""

from __future__ import annotations

import gzip
import io
import json
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from bulkedit._files import reason_of
from bulkedit.edits import ReadOptions, read
from bulkedit.edits.columns import letter, suggestions
from bulkedit.errors import EXIT_USAGE, EditListError, UsageError
from tests.edits.lists import A, Formula, as_csv, as_parquet, edits, read_text, workbook

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "image_set_id,PatientName\n"
CANARY = "Canary^Carla"
ZSTD = b"\x28\xb5\x2f\xfd"  # begins a page that is packed with it


def error_of(data: str | bytes, **options: Any) -> EditListError:
    with pytest.raises(EditListError) as caught:
        read_text(data, **options)
    assert caught.value.exit_code == EXIT_USAGE
    assert "canary" not in str(caught.value).lower()
    assert "canary" not in str(caught.value.__cause__).lower()
    return caught.value


def parquet(rows: int = 1, **columns: Any) -> bytes:
    file = io.BytesIO()
    pl.DataFrame({"image_set_id": [A]} | columns).head(rows).write_parquet(file)
    return file.getvalue()


def with_sheet(put: bytes | None, instead_of: bytes = b"", method: int = zipfile.ZIP_STORED) -> bytes:
    """A workbook whose sheet's XML is changed, or taken out, packed by a method of zipfile."""
    changed = io.BytesIO()
    old = zipfile.ZipFile(io.BytesIO(workbook([["image_set_id", "PatientName"], [A, "x"]])))
    with old, zipfile.ZipFile(changed, "w", method) as new:
        for name in old.namelist():
            content = old.read(name)
            if not name.endswith("sheet1.xml"):
                new.writestr(name, content)
            elif put is not None:
                new.writestr(name, content.replace(instead_of, put))
    return changed.getvalue()


BAD_CSV: dict[str, tuple[str | bytes, str | None, str]] = {
    "empty": (b"", None, "is empty"),
    "blank": (b"\n\n", None, "is empty"),
    "header-only": (HEAD, None, "no rows"),
    "header-and-blank-rows": (HEAD + "\n,\n", None, "no rows"),
    "short-row": (HEAD + f"{A},{CANARY}\n{A}\n", "row 3", "1 cell, and the header has 2"),
    "long-row": (HEAD + f"{A},{CANARY}\n{A},{CANARY},c\n", "row 3", "3 cells, and the header has 2"),
    "short-and-long-row": (HEAD + f"{A}\n{A},{CANARY},c\n", "row 2", "1 cell"),
    "short-row-after-a-cell-of-two-lines": (HEAD + f'{A},"{CANARY},\n,,"\n{A}\n', "row 3", "1 cell"),
    "last-row-cut-short": (HEAD + f"{A},{CANARY}\n{A[:5]}", "row 3", "1 cell"),
    "quote-never-closed": (HEAD + f'{A},{CANARY}\n{A},"{CANARY}\n{A},x\n', "row 3", "not closed"),
    "quote-closed-rows-later": (HEAD + f'{A},"{CANARY}\n{A},"x"\n', "row 2", "quotation mark inside a cell"),
    "quote-inside-a-cell": (HEAD + f'{A},5" {CANARY} 6"\n', "row 2", "quotation mark inside a cell"),
    "text-after-a-quote": (HEAD + f'{A},"x" {CANARY}\n', "row 2", "quotation mark inside a cell"),
    "quote-inside-the-header": (f'image_set_id,Patient"{CANARY}"\n{A},x\n', "row 1", "quotation mark inside a cell"),
    "not-utf-8": (HEAD.encode() + f"{A},x\n{A},Zo\xeb {CANARY}\n".encode("latin-1"), "row 3", "not UTF-8"),
    "not-utf-8-in-the-header": (b"image_set_id,\xff\n", "row 1", "not UTF-8"),
    "utf-16-cut-short": ((HEAD + f"{A},{CANARY}\n").encode("utf-16")[:-1], None, "UTF-16"),
    "utf-16-without-a-mark": ((HEAD + f"{A},{CANARY}\n").encode("utf-16-le"), "row 1", "NUL byte"),
    "another-separator": ("sep=:\n" + HEAD.replace(",", ":"), "row 1", "names a separator"),
    "nul-byte": (HEAD + f"{A},x\n{A},{CANARY}\0\n", "row 3", "NUL byte"),
    "old-macintosh": (HEAD.replace("\n", "\r") + f"{A},{CANARY}\r", "row 1", "carriage return"),
    "two-kinds-of-line-ends": (HEAD + f"{A},x\n{A},{CANARY}\r{A},y\n", "row 3", "carriage return"),
    "no-header": (f"{A},{CANARY}\n{A},x\n", "row 1", "columns A and B have names"),
    "unknown-column": (f"image_set_id,PatientName,{CANARY}\n{A},x,y\n", "row 1", "column C has a name"),
    "no-selector": (f"PatientName,StudyDescription\n{CANARY},x\n", "row 1", "no column says which image sets"),
    "nothing-to-edit": (f"image_set_id,edit_id\n{A},{CANARY}\n", "row 1", "no column says what to edit"),
    "duplicate-columns": (
        f"{HEAD.strip()},PatientName\n{A},{CANARY},x\n",
        "row 1",
        "columns B and C are both PatientName",
    ),
    "two-forms": (f"image_set_id,attribute,value,PatientName\n{A},x,{CANARY},y\n", "row 1", "different forms"),
    "updates-and-attributes": (f"image_set_id,updates,PatientName\n{A},x,{CANARY}\n", "row 1", "different forms"),
    "value-without-attribute": (f"image_set_id,value\n{A},{CANARY}\n", "row 1", "value needs a column attribute"),
    "attribute-without-value": (f"image_set_id,attribute\n{A},PatientName\n", "row 1", "value or action"),
    "version-without-updates": (f"image_set_id,latest_version_id\n{A},1\n", "row 1", "needs a column updates"),
    "two-versions": (f"image_set_id,updates,version,latest_version_id\n{A},x,1,1\n", "row 1", "mean the same"),
    "updates-and-series": (
        f"image_set_id,updates,series_uid\n{A},{CANARY},1\n",
        "row 1",
        "cannot be used with updates",
    ),
    "endless-column-name": (f"image_set_id,{CANARY * 20_000}\n{A},x\n", "row 1", "too long"),
    "many-unknown-columns": ("image_set_id" + f",{CANARY}" * 5_000 + "\n", "row 1", "and others have names"),
    "very-many-columns": ("image_set_id" + f",{CANARY}" * 6_000 + "\n", "row 1", "more than 6,000 columns"),
    "unnamed-column-with-cells": (f"image_set_id,PatientName,\n{A},x,{CANARY}\n", "row 1", "column C has no name"),
    "two-data-stores": (
        "datastore_id,image_set_id,updates\n" + "".join(f"{c * 32},{A},{CANARY}\n" for c in "ab"),
        None,
        "more than one data store",
    ),
    "parquet-under-another-name": (as_parquet([{"image_set_id": A}]), None, "is Parquet, not csv"),
    "gzip-under-another-name": (gzip.compress(HEAD.encode()), None, "is gzip, not csv"),
    "excel-under-another-name": (workbook([["image_set_id"]]), None, "is an Excel workbook"),
    "html": (b"<html><table>", None, "is HTML or XML, not csv"),
    "old-excel": (b"\xd0\xcf\x11\xe0" + b"x" * 600, None, "old kind"),
}


@pytest.mark.parametrize("name", BAD_CSV)
def test_a_bad_csv_file_is_an_error_with_its_place(name: str) -> None:
    data, where, what = BAD_CSV[name]
    error = error_of(data)
    assert error.where == ", ".join(text for text in ("standard input", where) if text)
    assert what in error.what
    assert error.hint or error.likely or where


BAD_FILES: dict[str, tuple[str, bytes, str]] = {
    "csv.gz-of-text": ("csv.gz", as_csv([{"image_set_id": A}]), "is not csv.gz"),
    "csv.gz-cut-short": ("csv.gz", gzip.compress(HEAD.encode() * 99)[:-9], "damaged or cut short"),
    "csv.gz-damaged": ("csv.gz", gzip.compress(HEAD.encode() * 99)[:-4] + b"abcd", "damaged or cut short"),
    "parquet-of-text": ("parquet", HEAD.encode(), "is not parquet"),
    "parquet-cut-short": ("parquet", parquet(PatientName=["x"])[:-20], "damaged or cut short"),
    "parquet-damaged": ("parquet", b"PAR1" + bytes(100) + parquet(PatientName=["x"])[104:], "damaged or cut short"),
    "parquet-of-lists": ("parquet", parquet(OtherPatientNames=[["x"]]), "nested or binary values"),
    "parquet-of-structs": ("parquet", parquet(PatientName=[{CANARY: CANARY}]), "nested or binary values"),
    "parquet-of-bytes": ("parquet", parquet(PatientName=[CANARY.encode()]), "nested or binary values"),
    "parquet-of-numbers-for-ids": ("parquet", parquet(PatientID=[7]), "identifiers are numbers, not text"),
    "parquet-without-rows": ("parquet", parquet(PatientName=["x"], rows=0), "no rows"),
    "parquet-with-a-column-twice": (
        "parquet",
        parquet(PatientName=["x"], XatientName=["y"]).replace(b"XatientName", b"PatientName"),
        "has the column PatientName twice",
    ),
    "parquet-with-an-unknown-column-twice": (
        "parquet",
        as_parquet([{"image_set_id": A, "PatientName": "x", CANARY: "y", CANARY[:-1] + "X": "z"}]).replace(
            (CANARY[:-1] + "X").encode(), CANARY.encode()
        ),
        "two of its columns have the same name",
    ),
    "parquet-with-a-bad-name": (
        "parquet",
        parquet(PatientName=["x"]).replace(b"PatientName", b"\xff" * 11),
        "damaged or cut short",
    ),
    "parquet-with-a-bad-page": ("parquet", parquet(PatientName=["x"]).replace(ZSTD, bytes(4)), "damaged or cut short"),
    "jsonl-of-very-many-keys": (
        "jsonl",
        json.dumps({"image_set_id": A} | {f"{CANARY}{i}": "x" for i in range(6_001)}).encode(),
        "more than 6,000 different keys",
    ),
    "jsonl-of-text": ("jsonl", f"{CANARY}\nx\n".encode(), "no line of the file is a JSON object"),
    "jsonl-of-an-array": ("jsonl", b'[{"image_set_id":"x"}]', "no line of the file is a JSON object"),
    "jsonl-over-several-lines": ("jsonl", b'{\n"image_set_id":\n"x"\n}\n', "no line of the file is a JSON object"),
    "jsonl-blank": ("jsonl", b"\n\n", "is empty"),
    "jsonl-not-utf-8": ("jsonl", b'{"image_set_id":"\xff"}', "not UTF-8"),
    "jsonl-of-unknown-keys": ("jsonl", f'{{"image_set_id":"x","{CANARY}":1}}'.encode(), "column B has a name"),
    "xlsx-of-text": ("xlsx", HEAD.encode(), "is not xlsx"),
    "xlsx-damaged": ("xlsx", b"PK\x03\x04" + CANARY.encode(), "workbook cannot be read"),
    "xlsx-without-references": ("xlsx", with_sheet(b'<c t="e">', b'<c r="A1"'), "workbook cannot be read"),
    "xlsx-without-its-end": ("xlsx", with_sheet(b"", b"</sheetData>"), "workbook cannot be read"),
    "xlsx-with-a-bad-reference": ("xlsx", with_sheet(b"<!-- --><c r='2A' t='s'", b'<c r="A2" t="s"'), "cannot be read"),
    "xlsx-with-a-far-row": ("xlsx", with_sheet(b'<c r="B9000000"', b'<c r="B2"'), "span 9,000,000 rows"),
    "xlsx-packed-in-another-way": ("xlsx", with_sheet(b"", method=zipfile.ZIP_BZIP2), "workbook cannot be read"),
    "xlsx-without-its-sheet": ("xlsx", with_sheet(None), "workbook cannot be read"),
    "xlsx-empty": ("xlsx", workbook([]), "first sheet is empty"),
    "xlsx-header-only": ("xlsx", workbook([["image_set_id", "PatientName"]]), "no rows"),
    "xlsx-unknown-column": ("xlsx", workbook([["image_set_id", CANARY], [A, "x"]], left=1), "column C has a name"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_of_another_format_is_an_error(name: str) -> None:
    format_, data, what = BAD_FILES[name]
    assert what in error_of(data, format=format_).what


class TestFiles:
    """Where the file itself is the trouble."""

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(EditListError, match="there is no such file") as caught:
            read(tmp_path / "edits.csv", ReadOptions())
        assert caught.value.where == str(tmp_path / "edits.csv")

    def test_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "edits.csv").mkdir()
        for options in (ReadOptions(), ReadOptions(format="csv")):
            with pytest.raises(EditListError, match="it is a folder"):
                read(str(tmp_path / "edits.csv"), options)

    @pytest.mark.parametrize("suffix", ["", ".txt", ".xls", ".json"])
    def test_a_suffix_that_tells_no_format(self, suffix: str, tmp_path: Path) -> None:
        (tmp_path / f"edits{suffix}").write_text(HEAD)
        with pytest.raises(EditListError, match="its suffix is unknown"):
            read(tmp_path / f"edits{suffix}", ReadOptions())

    def test_a_pipe_may_give_less_than_is_asked_for(self) -> None:
        class Pipe(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                return super().read(min(size or 1, 7) if size != -1 else -1)

        assert read(Pipe((HEAD + f"{A},x\n").encode()), ReadOptions()).rows == 1

    def test_a_header_over_two_lines(self) -> None:
        assert read_text(f'image_set_id,"my\nnotes",PatientName\n{A},a,x\n', ignore=["my\nnotes"]).rows == 1

    def test_a_parquet_file_of_too_many_columns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bulkedit.edits.parquet.MOST_COLUMNS", 1)
        assert "columns" in error_of(parquet(PatientName=[CANARY]), format="parquet").what

    @pytest.mark.parametrize("text", ["1234567890123456-7", "1234567890123456.."])
    def test_a_long_number_in_a_workbook_that_is_none_is_no_rounded_one(self, text: str) -> None:
        data = with_sheet(f'<c r="B2"><v>{text}</v></c>'.encode(), b'<c r="B2" t="s"><v>3</v></c>')
        assert read_text(data, format="xlsx").set_aside["code"].to_list() == []

    def test_numbers_of_floating_point_are_written_as_whole_ones_if_they_are(self) -> None:
        data = parquet(attribute=["StudyDescription"], value=[7.0])
        assert read_text(data, format="parquet", force=True).edits["value"].to_list() == ['"7"']

    @pytest.mark.parametrize(("text", "reason"), [("(os error 28)", "No space left on device"), ("x", "ComputeError")])
    def test_the_reason_of_a_failed_write_is_the_systems(self, text: str, reason: str) -> None:
        assert reason_of(pl.exceptions.ComputeError(f"{CANARY} {text}")) == reason

    def test_too_many_errors_in_cells(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bulkedit.edits.excel.workbook._MOST_FAULTS", 1)
        cells: list[list[Any]] = [
            ["image_set_id", "PatientName"],
            [A, Formula("=1/0", "#DIV/0!")],
            [A, Formula("=1/0", "#DIV/0!")],
        ]
        assert "more than 1 of its cells" in error_of(workbook(cells), format="xlsx").what

    def test_an_unknown_format(self) -> None:
        with pytest.raises(UsageError, match="the format is unknown"):
            read_text(HEAD, format="ods")

    def test_excel_without_its_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "fastexcel", None)
        with pytest.raises(UsageError) as caught:
            read_text(workbook([["image_set_id"]]), format="xlsx")
        assert caught.value.hint == "pip install 'bulkedit[xlsx]'"


class TestMemory:
    """A file of any length is read in bounded memory."""

    def test_a_cell_without_end_is_an_error_long_before_it_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bulkedit.edits.csv.BLOCK", 1000)
        monkeypatch.setattr("bulkedit.edits.csv.LONGEST", 10_000)

        class Endless(io.RawIOBase):
            given = 0

            def read(self, size: int = -1) -> bytes:
                self.given += size
                return f'{HEAD}{A},x\n{A},"'.encode() if self.given == size else b"Canary\n" * (size // 7)

        stream: Any = Endless()
        with pytest.raises(EditListError, match="is longer than") as caught:
            read(stream, ReadOptions())
        assert caught.value.where == "standard input, row 3"
        assert stream.given < 100_000

    def test_a_line_without_end_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bulkedit.edits.jsonl.BLOCK", 1000)
        monkeypatch.setattr("bulkedit.edits.jsonl.LONGEST", 10_000)
        error = error_of(b'{"image_set_id":"' + b"Canary" * 10_000, format="jsonl")
        assert "is longer than" in error.what


class TestColumns:
    """Mappings, and names that are nearly right."""

    def test_a_mapping_to_a_column_that_is_not_there(self) -> None:
        error = error_of(HEAD + f"{A},x\n", map={"StudyDescription": CANARY})
        assert error.what == "the column that StudyDescription is mapped to is not in the file."

    def test_a_mapping_of_a_name_that_is_none(self) -> None:
        error = error_of(HEAD + f"{A},x\n", map={"Patient_Name": "PatientName"})
        assert error.likely == "Did you mean PatientName?"

    def test_a_column_to_ignore_that_is_not_there(self) -> None:
        assert "is not in the file" in error_of(HEAD + f"{A},x\n", ignore=[CANARY]).what

    def test_a_mapping_onto_a_name_that_the_file_has(self) -> None:
        error = error_of(f"image_set_id,PatientName,x\n{A},a,b\n", map={"PatientName": "x"})
        assert "columns B and C are both PatientName" in error.what

    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("Image Set ID", "image_set_id"),
            ("imageset-id", "image_set_id"),
            ("Patient's Name", None),
            ("patient name", "PatientName"),
            ("PatientNames", "PatientName"),
            ("Study-Description", "StudyDescription"),
            ("edit id", "edit_id"),
            ("Meier", None),
        ],
    )
    def test_a_name_that_is_nearly_right_is_suggested(self, written: str, meant: str | None) -> None:
        likely = error_of(f"accession_number,{written},PatientID\n1,x,y\n").likely
        assert likely == f"Did you mean {meant}?" if meant else likely is None or "Did you mean" in likely

    def test_patient_id_in_capitals_is_the_attribute_and_in_small_letters_the_selector(self) -> None:
        assert edits(read_text("patient_id,PatientID\n1,2\n"), "key", "value") == [("1", '"2"')]

    @pytest.mark.parametrize(("position", "expected"), [(0, "A"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA")])
    def test_columns_have_the_letters_of_a_spreadsheet(self, position: int, expected: str) -> None:
        assert letter(position) == expected

    def test_a_suggestion_for_an_attribute_is_an_attribute(self) -> None:
        assert suggestions("patient_id", columns=False) == ["PatientID"]
