"""The XML of a workbook may be written in many ways, and means the same."""

from __future__ import annotations

import re

import pytest

from bulkedit.errors import EditListError
from tests.edits.excel.books import Change, Page, Styled, book, changed, read_book, values, with_xml
from tests.edits.lists import A, B

HEAD = ["image_set_id", "PatientID", "PatientName"]
DATA = book(
    Page([HEAD, [A, Styled(42, "0000"), "Doe^Jane"], [B, Styled(45362, "yyyymmdd"), "x"]], hidden_columns="C:C")
)
STRICT = {
    b"http://schemas.openxmlformats.org/spreadsheetml/2006/main": b"http://purl.oclc.org/ooxml/spreadsheetml/main",
    b"http://schemas.openxmlformats.org/officeDocument/2006/": b"http://purl.oclc.org/ooxml/officeDocument/",
}


def prefixed(xml: bytes) -> bytes:
    names = re.sub(rb"<(/?)([a-zA-Z])", rb"<\1x:\2", xml)
    return names.replace(b" xmlns=", b" xmlns:x=").replace(b"<?x:xml", b"<?xml")


def strict(xml: bytes) -> bytes:
    for old, new in STRICT.items():
        xml = xml.replace(old, new)
    return xml


FORMS: dict[str, Change] = {
    "prefix": prefixed,
    "strict": strict,
    "single quotes": lambda xml: xml.replace(b'"', b"'"),
    "without references": lambda xml: re.sub(rb'<(c|row) r="[A-Z]*[0-9]+"', rb"<\1", xml),
    "line breaks": lambda xml: xml.replace(b"<", b"\n<").replace(b"\n<?xml", b"<?xml"),
    "type before style": lambda xml: re.sub(rb'( s="1")(>| t="\w+")', rb' t="n"\1>', xml),
    "another order": lambda xml: re.sub(rb'<c (r="[A-Z0-9]+") (s="1")', rb"<c \2 \1", xml),
    "comments": lambda xml: xml.replace(b"<v>", b"<!-- <c r='B2'> --><v>"),
    "UTF-16": lambda xml: xml.decode().replace('"UTF-8"', '"UTF-16"').encode("utf-16"),
    "Latin-1": lambda xml: xml.replace(b'"UTF-8"', b'"ISO-8859-1"'),
    "declared attributes": lambda xml: xml.replace(b't="s">', b't="s" cm="1" ph="1">'),
    "byte order mark": lambda xml: b"\xef\xbb\xbf" + xml,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_sheet_in_other_xml_means_the_same(form: str) -> None:
    done = read_book(changed(DATA, {"xl/worksheets/sheet1.xml": FORMS[form]}))
    assert values(done) == ["0042", "Doe^Jane", "cell-type"]
    assert done.notices["code"].to_list() == ["hidden-column"]


def test_a_whole_workbook_may_be_strict() -> None:
    names = ("xl/workbook.xml", "xl/_rels/workbook.xml.rels", "_rels/.rels", "xl/styles.xml", "xl/sharedStrings.xml")
    done = read_book(changed(DATA, dict.fromkeys([*names, "xl/worksheets/sheet1.xml"], strict)))
    assert values(done) == ["0042", "Doe^Jane", "cell-type"]


@pytest.mark.parametrize("form", ["", "prefix"])
@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (b'<c r="B2" t="inlineStr"><is><t>Doe</t></is></c>', "Doe"),
        (b'<c r="B2" t="inlineStr"><is><t xml:space="preserve"> Doe </t></is></c>', " Doe "),
        (b'<c r="B2" t="inlineStr"><is><r><t>Do</t></r><r><rPr><b/></rPr><t>e&amp;</t></r></is></c>', "Doe&"),
        (b'<c r="B2" t="inlineStr"><is><t>Doe</t><rPh sb="0" eb="1"><t>DO</t></rPh></is></c>', "Doe"),
        (b'<c r="B2" t="str"><f>A1</f><v>Doe</v></c>', "Doe"),
        (b'<c r="B2" t="str"><f t="shared" si="0"/><v>Doe</v></c>', "Doe"),
        (b'<c r="B2"><f t="shared" ref="B2:B9" si="0">A1</f><v>7</v></c>', "7"),
        (b'<c r="B2"><f t="shared" si="0"/></c>', "cell-formula"),
        (b'<c r="B2"><f>A1</f><v></v></c>', "cell-formula"),
        (b'<c r="B2" t="e"><v>#REF!</v></c>', "cell-error"),
        (b'<c r="B2" t="e"><f>1/0</f><v>#DIV/0!</v></c>', "cell-error"),
        (b'<c r="B2" t="b"><v>1</v></c>', "cell-type"),
        (b'<c r="B2" t="s"><v> 3 </v></c>', "x"),
        (b'<c r="B2"><v> 7 </v></c>', "7"),
    ],
)
def test_each_kind_of_cell(cell: bytes, text: str, form: str) -> None:
    data = with_xml((b'<c r="B2" t="s"><v>3</v></c>', cell))
    if form:
        data = changed(data, {"xl/worksheets/sheet1.xml": FORMS[form]})
    assert values(read_book(data)) == [text]


def test_an_escape_that_programs_read_in_different_ways_is_refused() -> None:
    formula = with_xml((b'<c r="B2" t="s"><v>3</v></c>', b'<c r="B2" t="str"><f>A1</f><v>_x0041_</v></c>'))
    assert values(read_book(formula)) == ["cell-format"]
    text = with_xml((b'<c r="B2" t="s"><v>3</v></c>', b'<c r="B2" t="inlineStr"><is><t>_x0041_</t></is></c>'))
    assert values(read_book(text)) == ["A"]


@pytest.mark.parametrize(("text", "flag"), [(b"0", False), (b"1", True), (b"false", False), (b"true", True)])
def test_a_truth_value_may_be_a_word(text: bytes, *, flag: bool) -> None:
    data = book(Page([["image_set_id", "PatientName", "force"], [A, "x", True]]))
    done = read_book(with_xml((b'<c r="C2" t="b"><v>1</v>', b'<c r="C2" t="b"><v>%b</v>' % text), data=data))
    assert done.edits["force"].to_list() == [flag]


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (b"<t>x</t>", b'<r><t>x</t></r><r><rPr><b/></rPr><t xml:space="preserve"> y</t></r>', "x y"),
        (b"<t>x</t>", b'<t>x</t><rPh sb="0" eb="1"><t>PHONETIC</t></rPh><phoneticPr fontId="1"/>', "x"),
        (b"<t>x</t>", b"<t>x_x0041_</t>", "xA"),
        (b"<t>x</t>", b"<t><![CDATA[<x>]]></t>", "<x>"),
        (b"<t>x</t>", b"<t> x </t>", "x"),
    ],
)
def test_each_kind_of_shared_text(old: bytes, new: bytes, text: str) -> None:
    data = book(Page([["image_set_id", "StudyDescription"], [A, "x"]]))
    other = changed(data, {"xl/sharedStrings.xml": lambda xml: xml.replace(old, new)})
    assert values(read_book(other, force=True)) == [text]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'<c r="B2"', b'<c t2="1" r="C9"'),  # of another row
        (b"</row></sheetData>", b"<x:row r='3'/></row></sheetData>"),
        (b"<sheetData>", b"<mergeCells><mergeCell ref='B2:'/></mergeCells><sheetData>"),
        (b"<sheetData>", b"<mergeCells><mergeCell ref='A1:B2:C3'/></mergeCells><sheetData>"),
        (b"<sheetData>", b'<cols><col min="x" max="2" hidden="1"/></cols><sheetData>'),
        (b'<c r="B2" t="s">', b'<c r="B2" t="unknown">'),
        (b"</sheetData>", b"<row r='x'/></sheetData>"),
        (b"</sheetData>", b'<row r="2"><c r="B2" t="s"><v>0</v></c></row></sheetData>'),  # a number twice
        (b"<v>3</v>", b"<v>99</v>"),
        (b"<v>3</v>", b"<v>3.0</v>"),
        (b"<v>3</v>", b"<v>x</v>"),
        (b't="s"><v>3</v>', b't="b"><v>x</v>'),
        (b"<v>3</v>", b"<v>\xff</v>"),
        (b'"UTF-8"', b'"EBCDIC-37-X"'),
    ],
)
def test_a_damaged_sheet_is_an_error(old: bytes, new: bytes) -> None:
    with pytest.raises(EditListError, match="cannot be read"):
        read_book(with_xml((old, new)))


def test_a_sheet_is_looked_at_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [HEAD, *([A, Styled(number, "0000"), "x"] for number in range(50))]
    monkeypatch.setattr("bulkedit.edits.excel.cells._PIECE", 200)
    done = read_book(book(Page(cells)))
    assert values(done)[::2] == [f"{number:04}" for number in range(50)]


COUNTED = b'uniqueCount="99999999999"'  # for each of them, fastexcel would allocate 24 bytes


@pytest.mark.parametrize("form", ["", "prefix", "single quotes", "comments", "UTF-16"])
def test_the_number_of_shared_texts_is_not_believed(form: str) -> None:
    def lying(xml: bytes) -> bytes:
        more = re.sub(rb'uniqueCount="[0-9]+"', COUNTED, xml).replace(
            b"<si>", b"<!-- --><si>" if form == "comments" else b"<si>"
        )
        return FORMS[form](more) if form else more

    assert values(read_book(changed(DATA, {"xl/sharedStrings.xml": lying}))) == ["0042", "Doe^Jane", "cell-type"]


def test_shared_texts_in_other_xml_mean_the_same() -> None:
    texts = {
        "preserve": b'<t xml:space="preserve"> x </t>',
        "runs": b'<r><t>x</t></r><r><t xml:space="preserve"> y</t></r>',
        "phonetic": b'<t>x</t><rPh sb="0" eb="1"><t>PHONETIC</t></rPh>',
        "blanks": b"<t> x </t>",
        "empty": b"<t/>",
        "line": b'<t xml:space="preserve">x&#13;y</t>',
    }
    data = book(Page([["image_set_id", "AdditionalPatientHistory"], *([A, name] for name in texts)]))

    def other(xml: bytes) -> bytes:
        for name, text in texts.items():
            xml = xml.replace(b"<t>%b</t>" % name.encode(), text)
        return xml

    plain = changed(data, {"xl/sharedStrings.xml": other})
    odd = changed(data, {"xl/sharedStrings.xml": lambda xml: prefixed(other(xml))})
    assert values(read_book(odd)) == values(read_book(plain)) == [" x ", "x y", "x", "x", r"x\ry"]


@pytest.mark.parametrize("form", ["", "prefix"])
def test_a_zero_that_the_sheet_hides_is_refused(form: str) -> None:
    data = book(Page([["image_set_id", "PatientWeight"], [A, 0], [B, 7]]))
    assert values(read_book(data)) == ["0", "7"]
    hiding = with_xml((b"<sheetView ", b'<sheetView showZeros="0" '), data=data)
    if form:
        hiding = changed(hiding, {"xl/worksheets/sheet1.xml": FORMS[form]})
    assert values(read_book(hiding)) == ["cell-format", "7"]


def test_a_cell_far_to_the_right_is_named() -> None:
    far = with_xml((b'<c r="B2" t="s">', b'<c r="B2"/><c r="XFD2" t="s">'))
    with pytest.raises(EditListError, match="more than 6,000 columns") as caught:
        read_book(far)
    assert "in column XFD" in str(caught.value.likely)


def test_a_part_that_is_no_sheet_is_an_error() -> None:
    with pytest.raises(EditListError, match="cannot be read"):
        read_book(changed(DATA, {"xl/worksheets/sheet1.xml": b"<theme/>"}))
