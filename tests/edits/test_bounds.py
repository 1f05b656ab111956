"""Bounds refuse what unpacks to far more than its size, and nothing that an honest list may hold."""

from __future__ import annotations

import gzip
import io
import json
import random
import zipfile
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkedit.edits import ReadOptions, bounds, read
from bulkedit.edits.parquet_pages import _chunk_size, _Thrift, sizes
from bulkedit.edits.strict_json import DEEPEST, strict_json
from bulkedit.errors import EditListError
from tests.edits.lists import A, as_csv, as_jsonl, as_parquet, as_xlsx, read_text
from tests.examples import examples

if TYPE_CHECKING:
    from collections.abc import Callable

FILES: dict[str, Callable[[Any], bytes]] = {"csv": as_csv, "jsonl": as_jsonl, "parquet": as_parquet}


def parquet_of(frame: pl.DataFrame, **how: Any) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file, **how)
    return file.getvalue()


def counter(rows: int) -> pl.DataFrame:
    number = pl.int_range(rows, eager=True)
    return pl.DataFrame({"number": number}).select(
        accession_number=pl.format("A{}", pl.col("number") + 10_000_000),
        attribute=pl.lit("StudyDescription"),
        value=pl.lit("CT"),
    )


class TestCells:
    """A cell is as long as a value can be, and longer."""

    @pytest.mark.parametrize("format_", FILES)
    def test_a_cell_of_a_mebibyte_is_read_and_a_longer_one_is_an_error(self, format_: str) -> None:
        def of(length: int) -> bytes:
            short = {"image_set_id": A, "attribute": "StudyDescription", "value": "x"}
            return FILES[format_]([short, short | {"value": "x" * length}])

        assert read_text(of(bounds.LONGEST_CELL), format=format_, force=True).rows == 2
        with pytest.raises(EditListError, match="column C has a cell of more than 1 MiB") as caught:
            read_text(of(bounds.LONGEST_CELL + 1), format=format_, force=True)
        assert caught.value.where == f"standard input, row {3 if format_ == 'csv' else 2}"

    def test_a_category_is_measured_before_it_is_copied_for_each_row(self) -> None:
        one = pl.Series("value", ["x" * (bounds.LONGEST_CELL + 1)], dtype=pl.Categorical)
        frame = pl.DataFrame({"image_set_id": [A], "attribute": ["StudyDescription"]}).with_columns(one)
        with pytest.raises(EditListError, match="more than 1 MiB"):
            read_text(parquet_of(frame), format="parquet")


class TestGrowth:
    """What a list of nothing but a counter, or of equal columns, unpacks to is far from the bound."""

    def test_honest_parquet(self) -> None:
        for frame in (
            counter(200_000),
            counter(2_000).with_columns(*(pl.lit("DOE").alias(f"c{i}") for i in range(300))),
        ):
            found = sizes(parquet_of(frame))
            assert found.pages < found.packed * bounds.GROWTH / 2
            assert found.cells < found.packed * bounds.CELL_GROWTH / 2
            assert found.above() is None

    def test_honest_gzip(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bulkedit.edits.files.TEXT_FLOOR", 0)
        data = gzip.compress(counter(20_000).write_csv().encode())
        assert read(io.BytesIO(data), ReadOptions(format="csv.gz")).rows == 20_000

    def test_text_of_a_dictionary_is_counted_for_each_row(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bulkedit.edits.parquet.FLOOR", 2**20)
        frame = counter(100).with_columns(value=pl.lit("x" * 30_000))
        data = parquet_of(frame, use_pyarrow=False)
        assert sizes(data).above() is None
        with pytest.raises(EditListError, match="more than 1,000 times"):
            read_text(data, format="parquet")

    def test_blank_lines_are_few_or_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = as_csv([{"image_set_id": A, "PatientName": "x"}])
        assert read_text(data + b"\r\n" * 100).rows == 1
        monkeypatch.setattr("bulkedit.edits.csv.MOST_BLANK", 150)
        with pytest.raises(EditListError, match="more than 75 blank lines"):
            read_text(data + b"\r\n" * 100)

    def test_keys_that_lines_do_not_share_make_small_frames_with_the_same_rows(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = ("PatientName", "PatientID", "StudyDescription", "AccessionNumber")
        data = as_jsonl([{"image_set_id": A, names[i % 4]: f"X{i}"} for i in range(100)])
        whole = read_text(data, format="jsonl").edits
        monkeypatch.setattr("bulkedit.edits.jsonl.CELLS_AT_ONCE", 10)
        assert read_text(data, format="jsonl").edits.equals(whole)
        monkeypatch.setattr("bulkedit.edits.jsonl.MOST_EMPTY", -10_000)
        with pytest.raises(EditListError, match="few common keys"):
            read_text(data, format="jsonl")


class TestPages:
    """The headers of pages are read as polars reads them; what is no Parquet is ValueError, and nothing else."""

    @pytest.mark.parametrize("compression", ["zstd", "gzip", "snappy", "lz4", "uncompressed"])
    def test_all_values_of_all_row_groups_count(self, compression: str) -> None:
        found = sizes(parquet_of(counter(5_000), compression=compression, row_group_size=1_000))
        assert (found.columns, found.cells) == (3, 5_000 * 3 * bounds.CELL)
        assert found.pages >= 1_000 * 9

    def test_a_file_and_its_bytes_are_the_same(self, tmp_path: Any) -> None:
        data = parquet_of(counter(100))
        (tmp_path / "e.parquet").write_bytes(data)
        assert sizes(tmp_path / "e.parquet") == sizes(data)

    @examples(60)
    @given(seed=st.integers(0, 2**32))
    def test_damage_is_an_error_in_words(self, seed: int) -> None:
        rng = random.Random(seed)
        data = bytearray(parquet_of(counter(20)))
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        cut = bytes(data[: rng.randint(0, len(data))]) if rng.random() < 0.2 else bytes(data)
        try:
            sizes(cut)
        except ValueError:
            return

    @pytest.mark.parametrize(
        ("data", "error"),
        [
            (b"\x1c" * 19, "too many values"),
            (b"\x19\xf9" + b"\x15" * 40, "too many values"),
            (b"\x15" + b"\xff" * 11, "too long"),
            (b"\x1f\x00", "no such type"),
        ],
    )
    def test_a_header_without_end_is_an_error(self, data: bytes, error: str) -> None:
        with pytest.raises(ValueError, match=error):
            _Thrift(data, 0, 20).value(12)

    def test_a_page_of_a_negative_size_is_an_error(self) -> None:
        page = b"\x25\x01\x15\x02\x00"  # fields 2 and 3 of PageHeader: -1 and 1 byte
        with pytest.raises(ValueError, match="negative size"):
            _chunk_size(page, {9: 0, 7: 5, 5: 1})


class TestWorkbooks:
    """What spreadsheets write is looked at fast, and XML of other programs by parsing it."""

    def changed(self, change: Callable[[bytes], bytes], part: str) -> bytes:
        data = io.BytesIO()
        old = zipfile.ZipFile(io.BytesIO(as_xlsx([{"image_set_id": A, "PatientName": "x"}])))
        with old, zipfile.ZipFile(data, "w") as new:
            for name in old.namelist():
                new.writestr(name, change(old.read(name)) if name == part else old.read(name))
        return data.getvalue()

    @pytest.mark.parametrize(
        ("old", "new"),
        [(b'<c r="A2" t="s">', b"<c t='s' r='A2'>"), (b"<sheetData>", b"<!-- <c> --><sheetData>"), (b"<c ", b"<c\n")],
    )
    def test_a_sheet_in_other_xml_reads_the_same(self, old: bytes, new: bytes) -> None:
        data = self.changed(lambda xml: xml.replace(old, new), "xl/worksheets/sheet1.xml")
        assert read_text(data, format="xlsx").edits["value"].to_list() == ['"x"']

    def test_the_first_sheet_is_told_as_the_reader_of_cells_tells_it(self) -> None:
        """A comment names another sheet, which would be looked at in place of the one that is read."""
        comment = b'<!-- <sheet name="other" r:id="rId9"/> --><sheets>'
        data = self.changed(lambda xml: xml.replace(b"<sheets>", comment), "xl/workbook.xml")
        assert read_text(data, format="xlsx").rows == 1

    def test_two_parts_of_one_name_are_an_error(self) -> None:
        data = io.BytesIO(self.changed(lambda xml: xml, ""))
        with zipfile.ZipFile(data, "a") as archive:
            archive.writestr("xl/Worksheets/sheet1.xml", "<worksheet/>")
        with pytest.raises(EditListError, match="cannot be read"):
            read_text(data.getvalue(), format="xlsx")

    @pytest.mark.parametrize("workbook", [b"<workbook/>", b"<!DOCTYPE x><workbook/>"], ids=["no sheet", "DOCTYPE"])
    def test_a_workbook_without_sheets_or_with_a_doctype_is_an_error(self, workbook: bytes) -> None:
        with pytest.raises(EditListError, match="cannot be read"):
            read_text(self.changed(lambda _: workbook, "xl/workbook.xml"), format="xlsx")

    @pytest.mark.parametrize(
        ("old", "new", "says"),
        [
            (b"<sheetData>", b'<!DOCTYPE x [<!ENTITY a "b">]><sheetData>', "cannot be read"),
            (
                b"</sheetData>",
                b'<row r="900000"><c r="Z900000"><v>1</v></c></row></sheetData>',
                "span 900,000 rows and 26",
            ),
            (b"</sheetData>", b"<row r='900000'><c r='Z900000'><v>1</v></c></row></sheetData>", "ends at Z900000"),
            (
                b"</sheetData>",
                b"<row r='900000'/><row><c r='Z1'/><c><v>1</v></c></row></sheetData>",
                "ends at AA900001",
            ),
        ],
    )
    def test_a_far_cell_is_named(self, old: bytes, new: bytes, says: str) -> None:
        data = self.changed(lambda xml: xml.replace(old, new), "xl/worksheets/sheet1.xml")
        with pytest.raises(EditListError, match=says):
            read_text(data, format="xlsx")

    def test_a_far_cell_that_is_empty_does_no_harm(self) -> None:
        new = b'<row r="900000"><c r="Z900000" s="0"/></row></sheetData>'
        data = self.changed(lambda xml: xml.replace(b"</sheetData>", new), "xl/worksheets/sheet1.xml")
        assert read_text(data, format="xlsx").rows == 1


def test_json_is_as_deep_as_a_document_can_be_and_no_deeper() -> None:
    def nested(depth: int) -> str:
        return '{"a":[' * (depth // 2) + "1" + "]}" * (depth // 2)

    assert json.dumps(strict_json(nested(DEEPEST)), separators=(",", ":")) == nested(DEEPEST)
    for depth in (DEEPEST + 2, 900, 200_000):
        with pytest.raises(ValueError, match="nested too deep"):
            strict_json(nested(depth))
