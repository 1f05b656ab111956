"""What fastexcel does not tell of a sheet, from the sheet's XML: cell types, styles, what is hidden, merged or failed.

The cells that hold texts without a style of importance, which are nearly all of most lists, are only counted.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.edits.excel.plain import BEGIN, END, column_number, may_be_plain, rewritten
from bulkedit.edits.excel.xml import elements, is_true, unreadable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_PIECE: Final = 32 * 2**20  # bytes of XML at once
_SHEET_DATA: Final = re.compile(rb"<sheetData\s*/?>")
# fastexcel takes the first shared text if the number of one is anything else than digits
_TEXT: Final = (
    r'<c r="[A-Z]{1,3}[0-9]{1,7}"(?: s="[0-9]{1,5}")? t="(?:inlineStr"'
    + END
    + r'/?>|s"'
    + END
    + r"(?:/>|></c>|>\s*<v>[0-9]{1,9}</v>))"
)
_FORMULA: Final = r"(<f(?:\s[^>]*)?/>|<f(?:\s[^>]*)?>[^<]*</f>)"
_OTHER: Final = (
    BEGIN + r'(?: t="(n|b|e|d|str)")?' + END + r"(?:/>|>\s*" + _FORMULA + r"?\s*(?:<v(?:\s[^>]*)?>([^<]{1,6}))?)"
)
_STYLED: Final = (
    r'<c r="([A-Z]{1,3})([0-9]{1,7})"'
    r'(?: s="(?:STYLES)" t="(?:s|str|inlineStr)"| t="(?:s|str|inlineStr)" s="(?:STYLES)")'
)
_ROW: Final = r'<row r="([0-9]{1,7})"'
_HIDDEN: Final = r'<row r="([0-9]{1,7})"(?: [^>]*)? (?:hidden="(?:1|true)"|ht="0(?:\.0*)?")'
_REFERENCE: Final = re.compile(r"\$?([A-Z]{1,3})\$?([0-9]{1,7})")
_CELLS: Final = ("letters", "row", "style", "kind", "late_style", "formula", "value")
_ESCAPE: Final = re.compile(rb"_x[0-9A-Fa-f]{4}_")


@dataclass(frozen=True, slots=True)
class SheetFacts:
    """What the XML of a sheet tells of its cells. Rows count from 1, positions of columns from 0."""

    # row UInt32, position UInt32, style UInt32, kind String (n, b, e, d or str), formula and filled Boolean:
    # all cells that are not empty, except texts; ``filled``: whether the cell has a value
    cells: pl.DataFrame
    altered_texts: pl.DataFrame  # row, position: texts of which the number format shows something else
    hidden_rows: pl.Series  # UInt32
    hidden_columns: list[range]
    merged: pl.DataFrame  # first, last, left, right UInt32: rows and positions
    hides_zeros: bool  # whether the sheet shows nothing for a number that is zero
    has_escapes: bool  # whether a text in the sheet itself, not a shared one, has an escaped character


def facts_of(xml: bytes, altering: Collection[int]) -> tuple[bytes, SheetFacts]:
    """Return the XML of a sheet in the plain form, and what it tells. Raises EditListError.

    ``altering``: the cell styles whose number format shows something else than the text of a cell.
    """
    facts = _scanned(xml, altering) if may_be_plain(xml) else None
    if facts is None:
        xml = rewritten(xml)
        facts = _scanned(xml, altering)
    if facts is None:
        raise unreadable()
    return xml, facts


def _scanned(xml: bytes, altering: Collection[int]) -> SheetFacts | None:
    """Return what XML in the plain form tells, or None if a cell is not in that form. Raises EditListError."""
    begin = _SHEET_DATA.search(xml)
    end = xml.rfind(b"</sheetData>")
    if begin is None:
        return None
    start, end = (begin.end(), end) if end >= begin.end() else (len(xml), len(xml))  # <sheetData/> has no end
    rest = xml[: begin.start()] + xml[end + len(b"</sheetData>") :] if end < len(xml) else xml
    count = 0
    cells, altered, hidden = [_no_cells()], [_no_places()], [pl.Series(dtype=pl.UInt32)]
    rows = [pl.Series(dtype=pl.UInt32)]
    for piece in _pieces(xml, start, end):
        try:
            text = pl.Series("xml", [piece], dtype=pl.Binary).cast(pl.String).to_frame()
        except pl.exceptions.ComputeError:
            return None  # not UTF-8
        rows.append(_groups(text, _ROW, ["row"])["row"].cast(pl.UInt32))
        others = _cells_in(text)
        if others.filter(pl.col("kind") == "b", ~pl.col("value").is_in(["0", "1"])).height:
            return None  # fastexcel takes all but 0 for true
        count += others.height + int(text.select(pl.col("xml").str.count_matches(_TEXT)).item())
        others = others.filter(pl.col("filled") | pl.col("formula") | (pl.col("kind") == "e")).drop("value")
        cells.append(_placed(others))
        if altering:
            altered.append(_altered_in(text, altering))
        if b' hidden="' in piece or b' ht="0' in piece:
            hidden.append(_groups(text, _HIDDEN, ["row"])["row"].cast(pl.UInt32))
    if count != xml.count(b'<c r="', start, end) or pl.concat(rows).is_duplicated().any():
        return None  # of two rows with one number, fastexcel takes the cells of the last
    found = elements(rest, "col", "mergeCell", "sheetView")
    return SheetFacts(
        cells=pl.concat(cells),
        altered_texts=pl.concat(altered),
        hidden_rows=pl.concat(hidden),
        hidden_columns=[span for name, at in found if name == "col" and (span := _hidden_span(at)) is not None],
        merged=_merged([at.get("ref", "") for name, at in found if name == "mergeCell"]),
        hides_zeros=any(at.get("showZeros") in {"0", "false"} for name, at in found if name == "sheetView"),
        has_escapes=_ESCAPE.search(xml, start, end) is not None,
    )


def _pieces(xml: bytes, start: int, end: int) -> Iterator[bytes]:
    """Yield the XML from ``start`` to ``end`` in pieces that begin with a row."""
    while start < end:
        cut = xml.rfind(b"<row ", start + 1, start + _PIECE) if end - start > _PIECE else end
        if cut <= start:  # a row longer than a piece
            cut = xml.find(b"<row ", start + _PIECE, end)
            cut = end if cut < 0 else cut
        yield xml[start:cut]
        start = cut


def _groups(text: pl.DataFrame, pattern: str, names: list[str]) -> pl.DataFrame:
    """Return what the groups of a pattern match in ``xml``, a row per match."""
    found = text.select(pl.col("xml").str.extract_all(pattern).explode().drop_nulls())
    return found.select(pl.col("xml").str.extract_groups(pattern).struct.rename_fields(names)).unnest("xml")


def _cells_in(text: pl.DataFrame) -> pl.DataFrame:
    found = _groups(text, _OTHER, list(_CELLS))
    return found.with_columns(
        pl.coalesce("style", "late_style", pl.lit("0")).cast(pl.UInt32).alias("style"),
        pl.col("kind").fill_null("n"),
        pl.col("formula").is_not_null(),
        filled=pl.col("value").is_not_null(),
    ).drop("late_style")


def _altered_in(text: pl.DataFrame, altering: Collection[int]) -> pl.DataFrame:
    pattern = _STYLED.replace("STYLES", "|".join(map(str, sorted(altering))))
    return _placed(_groups(text, pattern, ["letters", "row"]))


def _placed(cells: pl.DataFrame) -> pl.DataFrame:
    """Replace the letters of columns by their positions."""
    positions = {name: column_number(name) - 1 for name in cells["letters"].unique()}
    position = pl.col("letters").replace_strict(positions, default=None, return_dtype=pl.UInt32).cast(pl.UInt32)
    return cells.select(pl.col("row").cast(pl.UInt32), position.alias("position"), pl.exclude("row", "letters"))


def _no_places() -> pl.DataFrame:
    return pl.DataFrame(schema={"row": pl.UInt32, "position": pl.UInt32})


def _no_cells() -> pl.DataFrame:
    more = {"style": pl.UInt32, "kind": pl.String, "formula": pl.Boolean, "filled": pl.Boolean}
    return pl.DataFrame(schema={**_no_places().schema, **more})


def _hidden_span(attributes: dict[str, str]) -> range | None:
    """Return the positions of hidden columns, from the attributes of an element col."""
    width = attributes.get("width", "")
    if not is_true(attributes.get("hidden")) and not re.fullmatch(r"0(\.0*)?", width):
        return None
    first, last = attributes.get("min", ""), attributes.get("max", "")
    if not re.fullmatch("[0-9]{1,5}", first) or not re.fullmatch("[0-9]{1,5}", last):
        raise unreadable()
    return range(int(first) - 1, int(last))


def _merged(references: list[str]) -> pl.DataFrame:
    corners = [_corners(reference) for reference in references]
    names = ("first", "last", "left", "right")
    return pl.DataFrame(corners, schema=dict.fromkeys(names, pl.UInt32), orient="row")


def _corners(reference: str) -> tuple[int, int, int, int]:
    """Parse a range such as B2:C3 to its first and last row, and its first and last position."""
    ends = [_REFERENCE.fullmatch(end) for end in itertools.islice(reference.split(":"), 3)]
    if not 1 <= len(ends) <= 2 or None in ends:
        raise unreadable()
    places = sorted((int(end[2]), column_number(end[1]) - 1) for end in ends if end)
    positions = sorted(position for _, position in places)
    return places[0][0], places[-1][0], positions[0], positions[-1]
