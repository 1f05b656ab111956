"""CSV is read as the csv module of Python writes it, in blocks of any size, or refused."""

from __future__ import annotations

import csv
import io
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkedit.edits import ReadOptions, read
from bulkedit.edits import csv as csvfile
from bulkedit.edits.csv import Csv
from bulkedit.errors import EditListError
from tests.edits.lists import A
from tests.examples import examples

Quoting = Literal[0, 1]
QUOTING: tuple[Quoting, ...] = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
CELL = st.one_of(
    st.text('ab",;\t\n\r é', max_size=6), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
)
ROWS = st.lists(st.tuples(CELL, CELL, CELL), max_size=12)


def read_all(data: bytes, block: int) -> list[tuple[int, list[str]]]:
    """Rows with their numbers; no cell is null."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csvfile, "BLOCK", block)
        table = Csv(io.BytesIO(data))
        assert table.header == ["x", "y", "z"]
        rows = [row for batch in table.batches() for row in batch.rows()]
    return [(number, [cell or "" for cell in cells]) for number, *cells in rows]


@examples(60)
@given(
    rows=ROWS,
    end=st.sampled_from(["\n", "\r\n"]),
    separator=st.sampled_from(",;\t"),
    quoting=st.sampled_from(QUOTING),
    block=st.integers(5, 60),
)
def test_what_csv_writes_is_what_is_read(
    rows: list[tuple[str, str, str]], end: str, separator: str, quoting: Quoting, block: int
) -> None:
    if quoting == csv.QUOTE_MINIMAL:  # some versions of csv leave a lone carriage return unquoted
        rows = [(x.replace("\r", ""), y.replace("\r", ""), z.replace("\r", "")) for x, y, z in rows]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end, delimiter=separator, quoting=quoting)
    writer.writerows([("x", "y", "z"), *rows])
    expected = [(number, list(row)) for number, row in enumerate(rows, 2)]
    assert read_all(text.getvalue().encode(), block) == expected


@examples(60)
@given(text=st.text('a",\n\r', max_size=40), block=st.integers(5, 60))
def test_any_text_is_read_as_csv_reads_it_strictly_or_refused(text: str, block: int) -> None:
    try:
        rows = read_all(f"x,y,z\n{text}".encode(), block)
    except EditListError:
        return
    # what was let in is read so by Python's strict reader as well
    strict = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    filled = [cells for _, cells in rows if any(cells)]
    assert filled == [row for row in strict if any(row)]


LIST = f"image_set_id,PatientName,StudyDescription\n{A},DOE^JÖRG,a\n{A},x,b\n"


@pytest.mark.parametrize(
    "data",
    [
        LIST.encode(),
        LIST.replace(",", "|").encode(),
        LIST.replace(",", "\t").encode("utf-16"),  # "Unicode text" of Excel
        b"\xfe\xff" + LIST.replace("\n", "\r\n").encode("utf-16-be"),
        ("sep=;\r\n" + LIST.replace(",", ";").replace("\n", "\r\n")).encode(),
        ('\ufeff"sep=|"\n' + LIST.replace(",", "|")).encode(),
        ("SEP=,\n" + LIST).encode(),
        LIST.replace("image_set_id,PatientName,StudyDescription", "IMAGE_SET_ID,PATIENTNAME,STUDYDESCRIPTION").encode(),
        LIST.replace("PatientName", "patientname").encode(),
    ],
    ids=["comma", "bar", "utf-16", "utf-16 big", "sep", "sep quoted", "sep capitals", "capitals", "small letters"],
)
def test_lists_of_other_programs_are_the_same_list(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read(io.BytesIO(LIST.encode()), ReadOptions()).edits
    assert expected.height == 4
    for block in (1 << 20, 37):
        monkeypatch.setattr(csvfile, "BLOCK", block)
        assert read(io.BytesIO(data), ReadOptions()).edits.equals(expected)


def test_names_in_another_case_that_are_two_columns_are_refused() -> None:
    for head in ("image_set_id,PatientID,PATIENTID", "image_set_id,patientid,PatientID"):
        with pytest.raises(EditListError, match="columns B and C are both PatientID"):
            read(io.BytesIO(f"{head}\n{A},1,2\n".encode()), ReadOptions())
    # a column of radiology orders is no order of rows, unless all names are in capitals
    with pytest.raises(EditListError, match="column C"):
        read(io.BytesIO(f"image_set_id,PatientID,Order\n{A},1,2\n".encode()), ReadOptions())
    done = read(io.BytesIO(f"IMAGE_SET_ID,ATTRIBUTE,VALUE,ORDER\n{A},PatientID,1,2\n".encode()), ReadOptions())
    assert done.edits.select("attribute", "order").rows() == [("PatientID", 2)]


def test_the_size_of_a_block_does_not_change_where_an_error_is() -> None:
    data = b"x,y,z\n" + b'1,"2\n2",3\n' * 50 + b"1,2\n" + b"1,2,3\n" * 50
    for block in (7, 64, 1 << 20):
        with pytest.raises(EditListError) as caught:
            read_all(data, block)
        assert caught.value.where == "row 52"
