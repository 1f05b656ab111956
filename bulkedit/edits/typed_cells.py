"""Cells with a type of their own (numbers, dates, truth values), as text of their attribute, the same in every format.

A number in an attribute of text is its digits. A date is the date of DICOM in an attribute of dates, and nothing in any
other attribute. A number is no identifier: it has lost its leading zeros, and one with a point was never one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.dicom import dictionary as dicom
from bulkedit.edits.columns import is_identifier, is_identifier_column
from bulkedit.edits.excel.shown import Takes, taken_by
from bulkedit.edits.notices import noticed
from bulkedit.edits.problems import SET_ASIDE, RowCheck, report
from bulkedit.errors import EditListError
from bulkedit.options.shared import SAME_ATTRIBUTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkedit.edits.columns import Layout


class CellType(StrEnum):
    """The type of a cell that is not text."""

    INTEGER = "integer"
    FLOAT = "float"  # text as polars writes it, also of a decimal with a scale
    BOOLEAN = "boolean"
    DATE = "date"  # text in the form of ISO 8601, as of the next two
    TIME = "time"
    DATETIME = "datetime"
    DURATION = "duration"


TYPES: Final = pl.Enum([str(one) for one in CellType])
NUMBERS: Final = pl.Schema({"column": pl.String(), "row": pl.UInt32()})  # identifiers that are whole numbers
_CODE: Final = "numbers-are-text"

# fault -> code of the row's problem, and what the cell is
_FAULTS: Final = {
    "float": ("damaged-identifier", "is a floating-point number, not text."),
    "boolean": ("cell-type", "is true or false, not text."),
    "date": ("cell-type", "is a date, not text."),
    "time": ("cell-type", "is a time, not text."),
    "datetime": ("cell-type", "is a date and time, not text."),
    "duration": ("cell-type", "is a duration, not text."),
    "short": ("cell-date", "is a number of fewer than six digits, and a time needs six."),
}
_LIKELY: Final = {
    "boolean": "The program that made the list has a column of truth values.",
    **dict.fromkeys(("date", "time", "datetime", "duration"), "The program that made the list has stored it so."),
    "float": "A missing value has turned whole numbers into floating-point ones; leading zeros are lost.",
    "short": "A number has no leading zeros.",
}
_HINT: Final = {
    "float": "Export the list again, with the column as text from the source.",
    "short": "Write times as text, as DICOM does: HHMMSS.",
    "boolean": "Write the text that is meant.",
    "duration": "Write the value as text.",
    **dict.fromkeys(("date", "time", "datetime"), "Write it as text; in attributes of dates, as DICOM does: YYYYMMDD."),
}


def as_texts(batch: pl.DataFrame, layout: Layout) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return a batch with all cells as text, problems (SET_ASIDE), and identifiers that are whole numbers (NUMBERS).

    ``batch``: ``row``, the columns c0, c1, … of `bulkedit.edits.table.Table.batches`, and for columns with typed cells
    their types (`TYPES`, null for text) as k0, k1, …
    """
    problems, numbers = [SET_ASIDE.to_frame()], [NUMBERS.to_frame()]
    for i, name in enumerate(layout.names):
        if f"k{i}" not in batch.columns or name is None:
            continue
        if _are_digits(batch[f"k{i}"], name):
            numbers.append(_numbers(batch.filter(pl.col(f"k{i}").is_not_null(), pl.col(f"c{i}").is_not_null()), name))
            continue
        cells = _meant(batch, i, name, layout).filter(pl.col("type").is_not_null(), pl.col("text").is_not_null())
        if cells.is_empty():
            continue
        done = pl.concat(
            part.with_columns(_converted(CellType(str(type_))))
            for (type_,), part in cells.partition_by("type", as_dict=True).items()
        )
        changed = batch[f"c{i}"].scatter(done["place"], done["text"])
        batch = batch.with_columns(changed)
        problems += [_problem(faulty, str(fault), name) for (fault,), faulty in _parts(done, "fault")]
        counted = (pl.col("type") == CellType.INTEGER) & pl.col("zeros_matter")
        numbers.append(done.filter(counted).select(pl.col("label").alias("column"), "row"))
    kinds = [name for name in batch.columns if name[0] == "k"]
    return batch.drop(kinds), pl.concat(problems), pl.concat(numbers)


def _are_digits(types: pl.Series, name: str) -> bool:
    """Whether all typed cells of a column are whole numbers, and so their text is what the column takes."""
    if name == "value" or taken_by(name) is Takes.TIME:
        return False
    return set(types.unique().drop_nulls()) <= {str(CellType.INTEGER)}


def _numbers(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return the rows of a column of whole numbers as NUMBERS, if their leading zeros matter."""
    facts = rows.select("row", **_facts(name, None))
    return facts.filter("zeros_matter").select(pl.col("label").alias("column"), "row")


def _parts(cells: pl.DataFrame, name: str) -> Sequence[tuple[tuple[object, ...], pl.DataFrame]]:
    return list(cells.drop_nulls(name).partition_by(name, as_dict=True).items())


def _meant(batch: pl.DataFrame, i: int, name: str, layout: Layout) -> pl.DataFrame:
    """Return the cells of a column with what they take.

    Columns: place, row, text, type; takes String; exact Boolean: an identifier; zeros_matter Boolean: one whose leading
    zeros a number loses; label String: the column or attribute, for texts.
    """
    cells = batch.select(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("place"),
        "row",
        text=f"c{i}",
        type=pl.col(f"k{i}").cast(pl.String),
    )
    if name != "value":
        return cells.with_columns(**_facts(name, None))
    keys = {key: f"c{layout.names.index(key)}" for key in ("attribute", "vr", "action") if key in layout.names}
    named = cells.hstack(batch.select(pl.col(column).str.strip_chars().alias(key) for key, column in keys.items()))
    named = named.with_columns(
        pl.lit(None, pl.String).alias(key) for key in ("attribute", "vr", "action") if key not in keys
    )
    pieces = [
        piece.with_columns(**_facts(attribute or "", vr))
        for (attribute, vr), piece in named.partition_by("attribute", "vr", as_dict=True).items()
    ]
    reverts = pl.col("action").str.to_lowercase() == "revert"
    whole = pl.concat(pieces).with_columns(
        takes=pl.when(reverts).then(pl.lit(str(Takes.NUMBER))).otherwise("takes"),
    )
    return whole.drop("attribute", "vr", "action")


def _facts(name: str, vr: str | None) -> dict[str, pl.Expr]:
    same = SAME_ATTRIBUTE.get(name, name)
    known = dicom.attribute(same)
    exact = is_identifier_column(name) and taken_by(name) is not Takes.NUMBER
    zeros = known is not None and not known.private and is_identifier(known) and known.vr != "UI"
    return {
        "takes": pl.lit(str(taken_by(name, (vr or "").upper()))),
        "exact": pl.lit(exact),
        "zeros_matter": pl.lit(zeros),
        "label": pl.lit(name if known is not None or same != name else "value"),
    }


def _converted(type_: CellType) -> list[pl.Expr]:
    """Return ``text`` and ``fault`` (a key of `_FAULTS`, or null) of the cells of one type."""
    text, takes = pl.col("text"), pl.col("takes")
    fault: pl.Expr = pl.lit(None, pl.String)
    match type_:
        case CellType.INTEGER | CellType.FLOAT:
            number = text
            if type_ is CellType.FLOAT:
                number = text.str.replace(r"(\.[0-9]*?)0+$", "$1").str.replace(r"\.$", "")
                number = number.str.replace("e+", "e", literal=True)
                # NaN is a placeholder, and refused as such
                fault = pl.when(pl.col("exact") & text.str.contains("[0-9]")).then(pl.lit("float"))
            short = number.str.extract("^([0-9]*)").str.len_chars() < 6
            fault = pl.coalesce(fault, pl.when((takes == str(Takes.TIME)) & short).then(pl.lit("short")))
            return [number.alias("text"), fault.alias("fault")]
        case CellType.BOOLEAN:
            return [text, pl.when(takes != str(Takes.FLAG)).then(pl.lit(str(type_))).alias("fault")]
        case _:
            moment = _moment(type_)
            return [
                pl.coalesce(moment, text).alias("text"),
                pl.when(moment.is_null()).then(pl.lit(str(type_))).alias("fault"),
            ]


def _moment(type_: CellType) -> pl.Expr:
    """Return a date or time as its attribute takes it, or null if it takes none."""
    text, takes = pl.col("text"), pl.col("takes")
    date = text.str.slice(0, 10).str.replace_all("-", "", literal=True)
    if type_ is CellType.DATE:
        return pl.when(takes.is_in([str(Takes.DATE), str(Takes.DATETIME)])).then(date)
    if type_ is CellType.TIME:
        return pl.when(takes == str(Takes.TIME)).then(_of_clock(text))
    if type_ is CellType.DURATION:
        return pl.lit(None, pl.String)
    rest = text.str.slice(11)
    clock = _of_clock(rest.str.replace(r"(?:Z|[+-][0-9:]{5})$", ""))
    zone = rest.str.extract("([+-][0-9]{2}:[0-9]{2})$").str.replace(":", "").fill_null("")
    return (
        pl.when(takes == str(Takes.DATETIME))
        .then(pl.concat_str(date, clock, zone))
        .when((takes == str(Takes.DATE)) & (clock == "000000"))
        .then(date)
    )


def _of_clock(time: pl.Expr) -> pl.Expr:
    """Return a time such as 14:25:00.500000 as DICOM has it, without zeros at the end of a fraction."""
    plain = time.str.replace_all(":", "", literal=True)
    return plain.str.replace(r"(\.[0-9]*?)0+$", "$1").str.replace(r"\.$", "")


def _problem(rows: pl.DataFrame, fault: str, name: str) -> pl.DataFrame:
    code, what = _FAULTS[fault]
    subject = pl.format("the value of {}", "label") if name == "value" else pl.col("label")
    likely, hint = _LIKELY.get(fault), _HINT.get(fault)
    return report(
        rows,
        RowCheck(
            code,
            pl.lit(value=True),
            pl.format("{} {}", subject, pl.lit(what)),
            name,
            likely=None if likely is None else pl.lit(likely),
            hint=None if hint is None else pl.lit(hint),
        ),
    )


def notices_of(found: Sequence[pl.DataFrame], *, are_text: bool) -> list[pl.DataFrame]:
    """Return notices of identifiers that are whole numbers (NUMBERS). Raises EditListError unless ``are_text``."""
    numbers = pl.concat(found)
    if numbers.height and not are_text:
        each = numbers.group_by("column", maintain_order=True).agg(pl.len().alias("count"), pl.col("row").min())
        told = [f"{column} has {count:,} of them, the first in row {row:,}" for column, count, row in each.iter_rows()]
        raise EditListError(
            f"identifiers are numbers, not text: {'; '.join(told)}.",
            likely="A number has no leading zeros: if an identifier had some, it may be another patient's.",
            hint="Export these columns as text. If no identifier has leading zeros: `numbers_are_text=True`",
        )
    text = "Identifiers are numbers, and are taken as their digits; leading zeros would be lost."
    return [noticed(numbers, _CODE, pl.lit(value=True), text, column=pl.col("column"))]
