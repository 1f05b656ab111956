"""Workbooks of tests: styled cells, hidden rows and columns, several sheets, and changed parts."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import xlsxwriter

from bulkedit.edits import ReadOptions, read
from tests.edits.lists import A

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bulkedit.edits import EditList


class Styled(NamedTuple):
    """A value with a number format."""

    value: float | str | bool
    format: str


class Page(NamedTuple):
    """A sheet of a workbook."""

    cells: Sequence[Any]  # rows, each a sequence of cells
    name: str = "edits"
    state: str = "visible"
    hidden_rows: Sequence[int] = ()  # as a spreadsheet numbers them
    hidden_columns: str = ""  # such as B:C


def book(*pages: Page, starts_in_1904: bool = False) -> bytes:
    """A workbook with these sheets; chart sheets have no cells."""
    file = io.BytesIO()
    made = xlsxwriter.Workbook(file, {"date_1904": starts_in_1904, "strings_to_urls": False})
    for page in pages:
        if page.state == "chart":
            chart = made.add_chart({"type": "line"})
            chart.add_series({"values": "=edits!$A$1:$A$2"})
            made.add_chartsheet(page.name).set_chart(chart)
        else:
            _fill(made, page)
    made.close()
    return file.getvalue()


def _fill(made: Any, page: Page) -> None:
    sheet = made.add_worksheet(page.name)
    cells = ((r, c, cell) for r, row in enumerate(page.cells) for c, cell in enumerate(row) if cell is not None)
    for r, c, cell in cells:
        if isinstance(cell, Styled):
            sheet.write(r, c, cell.value, made.add_format({"num_format": cell.format}))
        elif isinstance(cell, str):
            sheet.write_string(r, c, cell)
        else:
            sheet.write(r, c, cell)
    for number in page.hidden_rows:
        sheet.set_row(number - 1, None, None, {"hidden": True})
    if page.hidden_columns:
        sheet.set_column(page.hidden_columns, None, None, {"hidden": True})
    if page.state == "veryHidden":
        sheet.very_hidden()
    elif page.state == "hidden":
        sheet.hide()
    else:
        sheet.activate()  # the first sheet cannot be hidden while it is the active one


Change = Callable[[bytes], bytes]


def changed(data: bytes, parts: Mapping[str, Change | bytes | None]) -> bytes:
    """A workbook with other parts: a change, new content, or None to leave the part out."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name in dict.fromkeys([*source.namelist(), *parts]):
            change = parts[name] if name in parts else source.read(name)
            if change is not None:
                target.writestr(name, change if isinstance(change, bytes) else change(source.read(name)))
    return file.getvalue()


SHEET = "xl/worksheets/sheet1.xml"


def with_xml(*pairs: tuple[bytes, bytes], data: bytes | None = None) -> bytes:
    """A workbook in whose sheet texts are replaced."""

    def replaced(xml: bytes) -> bytes:
        for old, new in pairs:
            assert old in xml
            xml = xml.replace(old, new)
        return xml

    return changed(data or book(Page([["image_set_id", "PatientName"], [A, "x"]])), {SHEET: replaced})


def read_book(data: bytes, **options: Any) -> EditList:
    """Read a workbook, whose numbers are identifiers too."""
    return read(io.BytesIO(data), ReadOptions(format="xlsx", numbers_are_text=True, **options))


def values(done: EditList) -> list[str]:
    """The values of the edits, and the codes of the problems in their place."""
    rows = [*done.edits.select("row", "value").rows(), *done.set_aside.select("row", "code").rows()]
    return [(text or "").strip('"') for _, text in sorted(rows, key=lambda row: row[0])]


def of_cells(*cells: tuple[str, Any], starts_in_1904: bool = False) -> list[str]:
    """What cells are planned with in an attribute each, or the code of their problem."""
    head = ["image_set_id", "series_uid", "instance_uid", "order", "attribute", "value"]
    levels = {"InstanceNumber": ["1.2", "1.2.3"], "AcquisitionDateTime": ["1.2", "1.2.3"]}
    rows = [
        [A, *levels.get(attribute, [None, None]), str(order), attribute, cell]
        for order, (attribute, cell) in enumerate(cells)
    ]
    found = values(read_book(book(Page([head, *rows]), starts_in_1904=starts_in_1904), force=True))
    assert len(found) == len(cells)
    return found
