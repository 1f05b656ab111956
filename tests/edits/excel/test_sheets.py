"""Which sheet of a workbook is read, what a spreadsheet hides in it, and files that are other things than workbooks."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import pytest

from bulkedit.edits import ReadOptions, read
from bulkedit.errors import EditListError, UsageError
from tests.edits.excel.books import SHEET, Page, Styled, book, changed, read_book, values, with_xml
from tests.edits.lists import A, B, workbook

if TYPE_CHECKING:
    from pathlib import Path

HEAD = ["image_set_id", "PatientID", "PatientName"]


def page(text: str, name: str, state: str = "visible") -> Page:
    return Page([HEAD[:2], [A, text]], name, state)


SHEETS = book(
    page("OLD", "old", "hidden"),
    page("OLDER", "older", "veryHidden"),
    Page([], "picture", "chart"),
    page("NEW", "edits"),
    page("MORE", "Mehr"),
)


class TestSheets:
    """The first visible sheet with cells is read, or the one that is named."""

    def test_the_first_visible_sheet_is_read_and_the_others_are_named(self) -> None:
        done = read_book(SHEETS)
        assert values(done) == ["NEW"]
        assert done.notices["code"].to_list() == ["other-sheets"]
        text = done.notices["text"].item()
        assert text == (
            "The list is the sheet 'edits'. The workbook also has 'old' (hidden), 'older' (hidden), "
            "'picture' (a chart), 'Mehr'."
        )

    @pytest.mark.parametrize(
        ("name", "text"), [("old", "OLD"), ("older", "OLDER"), ("Mehr", "MORE"), ("mehr ", "MORE")]
    )
    def test_a_sheet_is_chosen_by_its_name(self, name: str, text: str) -> None:
        assert values(read_book(SHEETS, sheet=name)) == [text]

    def test_a_workbook_of_one_sheet_needs_no_notice(self) -> None:
        assert read_book(book(page("x", "edits"))).notices.is_empty()

    def test_an_unknown_name_lists_the_names(self) -> None:
        with pytest.raises(UsageError, match="no sheet with the name") as caught:
            read_book(SHEETS, sheet="edit")
        assert caught.value.hint == (
            "Its sheets are 'old' (hidden), 'older' (hidden), 'picture' (a chart), 'edits', 'Mehr'. "
            "To choose one: `sheet=NAME`"
        )

    def test_a_name_that_two_sheets_may_mean_is_no_name(self) -> None:
        twice = changed(SHEETS, {"xl/workbook.xml": lambda xml: xml.replace(b'"edits"', b'"MEHR"')})
        assert values(read_book(twice, sheet="MEHR")) == ["NEW"]
        with pytest.raises(UsageError, match="no sheet with the name"):
            read_book(twice, sheet="mehr")

    def test_a_chart_has_no_cells(self) -> None:
        with pytest.raises(UsageError, match="'picture' \\(a chart\\) has no cells"):
            read_book(SHEETS, sheet="picture")

    def test_hidden_sheets_only_are_no_list(self) -> None:
        state = changed(
            book(page("x", "edits")),
            {"xl/workbook.xml": lambda xml: xml.replace(b"sheetId", b'state="hidden" sheetId')},
        )
        with pytest.raises(EditListError, match="all sheets of the workbook are hidden"):
            read_book(state)
        assert values(read_book(state, sheet="edits")) == ["x"]

    def test_an_empty_sheet_is_named(self) -> None:
        with pytest.raises(EditListError, match="the sheet 'b' is empty") as caught:
            read_book(book(page("x", "a", "hidden"), Page([], "b")))
        assert "To choose one: `sheet=NAME`" in str(caught.value.hint)

    def test_many_sheets_are_not_all_named(self) -> None:
        done = read_book(book(*(page("x", f"s{number}") for number in range(30))))
        assert done.notices["text"].item().endswith("'s20' and 9 more.")

    def test_a_csv_file_has_no_sheets(self) -> None:
        with pytest.raises(UsageError, match="only workbooks have sheets"):
            read(io.BytesIO(f"image_set_id,PatientID\n{A},x\n".encode()), ReadOptions(sheet="edits"))


class TestHidden:
    """Rows and columns that a spreadsheet does not show."""

    CELLS = (
        HEAD,
        [A, "keep", "x"],
        [B, "hide", "y"],
        [A, "keep", "z"],
        [None, None, None],
        [B, Styled(7, "#,##0"), "w"],
    )
    HIDDEN = book(Page(CELLS, hidden_rows=[3, 5, 6]))

    def test_hidden_rows_are_refused_until_they_are_spoken_of(self) -> None:
        with pytest.raises(EditListError, match="hides 2 rows of the list; the first is row 3") as caught:
            read_book(self.HIDDEN)
        assert caught.value.hint == "To read them too: `hidden_rows=include`. To leave them out: `hidden_rows=skip`"

    def test_hidden_rows_are_read(self) -> None:
        done = read_book(self.HIDDEN, hidden_rows="include")
        assert done.edits["row"].unique(maintain_order=True).to_list() == [2, 3, 4, 6]
        assert ("hidden-rows", 2, 3) in done.notices.select("code", "rows", "first").rows()

    def test_hidden_rows_are_left_out_with_their_faults(self) -> None:
        data = book(
            Page([*self.CELLS[:2], [B, Styled(0.5, "0%"), "x"], [B, "hide", "y"], [A, "z", "z"]], hidden_rows=[3, 4])
        )
        done = read_book(data, hidden_rows="skip")
        assert (done.edits["row"].unique(maintain_order=True).to_list(), done.set_aside.height, done.rows) == (
            [2, 5],
            0,
            2,
        )
        assert done.notices.select("code", "text", "rows", "first").rows() == [
            ("hidden-rows", "Rows that the spreadsheet hides are left out.", 2, 3)
        ]

    def test_blank_hidden_rows_do_no_harm(self) -> None:
        assert read_book(book(Page(self.CELLS[:5], hidden_rows=[5, 9]))).notices.is_empty()

    @pytest.mark.parametrize("how", [b'hidden="true"', b'ht="0" customHeight="1"', b'ht="0.00" customHeight="1"'])
    def test_a_row_is_hidden_in_several_ways(self, how: bytes) -> None:
        data = with_xml((b'<row r="2" spans="1:2">', b'<row r="2" spans="1:2" x14ac:dyDescent="0.2" ' + how + b">"))
        with pytest.raises(EditListError, match="hides 1 row of the list"):
            read_book(data)

    @pytest.mark.parametrize("how", [b'hidden="0"', b'ht="0.5"', b'ht="15" customHeight="1"', b'collapsed="1"'])
    def test_other_attributes_do_not_hide_a_row(self, how: bytes) -> None:
        assert read_book(with_xml((b'<row r="2" spans="1:2">', b'<row r="2" ' + how + b">"))).rows == 1

    def test_hidden_columns_are_told(self) -> None:
        done = read_book(book(Page(self.CELLS[:2], hidden_columns="B:D")))
        assert done.notices.select("code", "column").rows() == [
            ("hidden-column", "PatientID"),
            ("hidden-column", "PatientName"),
        ]
        assert "Column C is hidden" in done.notices["text"][1]

    def test_a_column_of_no_width_is_hidden(self) -> None:
        data = with_xml((b"<sheetData>", b'<cols><col min="2" max="2" width="0" customWidth="1"/></cols><sheetData>'))
        assert read_book(data).notices["column"].to_list() == ["PatientName"]


class TestMerged:
    """Of merged cells only the first has the text."""

    def test_all_cells_of_a_tall_range_are_refused(self) -> None:
        rows = 12_000
        data = workbook([HEAD[:2], *([A, None] for _ in range(rows))], merged=[f"B2:B{rows + 1}"])
        assert read_book(data).set_aside["row"].to_list() == [*range(2, rows + 2)]

    def test_more_merged_cells_than_a_list_has_are_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bulkedit.edits.excel.workbook._MOST_FAULTS", 2)
        with pytest.raises(EditListError, match="more than 2 of its cells"):
            read_book(workbook([HEAD, [A, "x", "y"], [B, "x", "y"]], merged=["B2:C3"]))

    @pytest.mark.parametrize("ranges", [["B3:B2"], ["B2:B2", "B2:B3"], ["$B$2:$B$3"]])
    def test_ranges_may_overlap_or_be_turned(self, ranges: list[str]) -> None:
        done = read_book(workbook([HEAD[:2], [A, "x"], [B, "y"]], merged=ranges))
        assert done.set_aside.select("row", "code").rows() == [(2, "cell-merged"), (3, "cell-merged")]


def container(*streams: str) -> bytes:
    """The beginning of a container, and the names of its streams."""
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + b"".join(name.encode("utf-16-le") for name in streams)


class TestOtherFiles:
    """A file of another kind is named as what it is."""

    @pytest.mark.parametrize(
        ("data", "what"),
        [
            (container("Root Entry", "EncryptedPackage"), "is encrypted"),
            (container(), "is encrypted"),
            (container("Root Entry", "Workbook"), "an Excel workbook of the old kind"),
            (container("Book"), "an Excel workbook of the old kind"),
        ],
    )
    def test_an_encrypted_workbook_is_told_from_an_old_one(self, data: bytes, what: str) -> None:
        with pytest.raises(EditListError, match=what):
            read_book(data)

    def test_an_encrypted_workbook_is_one_under_any_name(self) -> None:
        with pytest.raises(EditListError, match="is encrypted"):
            read(io.BytesIO(container("EncryptedPackage")), ReadOptions(format="csv"))
        with pytest.raises(EditListError, match="old kind"):
            read(io.BytesIO(container("Workbook")), ReadOptions(format="csv"))

    @pytest.mark.parametrize(
        ("parts", "what"),
        [
            ({"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": "<x/>"}, "OpenDocument"),
            ({"_rels/.rels": "xl/workbook.bin", "xl/workbook.bin": "x"}, "a binary workbook"),
            ({"_rels/.rels": "word/document.xml", "word/document.xml": "<x/>"}, "a document of another Office"),
            ({"readme.txt": "x"}, "is no Excel workbook"),
        ],
    )
    def test_another_archive_is_told(self, parts: dict[str, str], what: str) -> None:
        file = io.BytesIO()
        relation = '<Relationships><Relationship Id="r1" Type="http://x/officeDocument" Target="{}"/></Relationships>'
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, relation.format(content) if name == "_rels/.rels" else content)
        with pytest.raises(EditListError, match=what):
            read_book(file.getvalue())

    @pytest.mark.parametrize(("suffix", "kind"), [(".xls", "old kind"), (".xlsb", "binary"), (".ods", "OpenDocument")])
    def test_the_suffix_of_another_spreadsheet_is_told(self, suffix: str, kind: str, tmp_path: Path) -> None:
        (tmp_path / f"edits{suffix}").write_bytes(b"x")
        with pytest.raises(EditListError, match="its suffix is unknown") as caught:
            read(tmp_path / f"edits{suffix}", ReadOptions())
        assert kind in str(caught.value.likely)

    def test_a_workbook_with_macros_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "edits.xlsm").write_bytes(book(page("x", "edits")))
        assert values(read(tmp_path / "edits.xlsm", ReadOptions())) == ["x"]


def test_parts_are_found_by_their_relationships() -> None:
    """Their paths are up to the program that writes them, and Windows may write them with backslashes."""
    data = book(Page([HEAD[:2], [A, Styled(42, "0000")]]))
    moved = {
        "xl/worksheets/sheet1.xml": "xl/data/first.xml",
        "xl/styles.xml": "xl/look.xml",
        "xl/sharedStrings.xml": "xl\\texts.xml",
    }
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(file, "w") as target:
        for name in source.namelist():
            part = source.read(name)
            for old, new in moved.items():
                old_path, new_path = (path.removeprefix("xl/").removeprefix("xl\\").encode() for path in (old, new))
                part = part.replace(b'Target="' + old_path, b'Target="/xl/' + new_path) if "rels" in name else part
            target.writestr(moved.get(name, name), part)
    assert values(read_book(file.getvalue())) == ["0042"]
    assert SHEET in moved
