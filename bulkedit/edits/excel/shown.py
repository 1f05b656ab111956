"""The text of cells with numbers: what the cell shows if its number format says that without doubt, else a fault.

A column, or an attribute, takes one of several things (`Takes`). A date cell is the date of DICOM in an attribute of
dates, and a fault in any other. Attributes of numbers take the number itself, whatever its format.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.dicom import dictionary as dicom
from bulkedit.edits.excel.number_formats import CellKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkedit.edits.excel.number_formats import Digits, NumberFormat


class Takes(StrEnum):
    """What a column or an attribute takes."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    TIME = "time"
    DATETIME = "datetime"
    FLAG = "flag"  # true or false


# fault -> code of the row's problem, and what the cell is
FAULTS: Final[dict[str, tuple[str, str]]] = {
    "error": ("cell-error", "is an error of the spreadsheet, such as #N/A."),
    "formula": ("cell-formula", "is a formula without a result."),
    "merged": ("cell-merged", "is merged with others."),
    "date": ("cell-type", "is a date cell: it stores a number, and shows it as a date."),
    "time": ("cell-type", "is a time cell: it stores a number, and shows it as a time."),
    "datetime": ("cell-type", "is a cell of date and time: it stores a number, and shows it as both."),
    "duration": ("cell-type", "is a duration cell: it stores a number of days, and shows hours."),
    "percent": ("cell-type", "is a percentage cell: it shows a hundred times the number that it stores."),
    "boolean": ("cell-type", "is a cell of TRUE or FALSE, not text."),
    "part": ("cell-date", "is a date or time cell whose number format shows only a part of it."),
    "early": ("cell-date", "is a date cell before March 1900, where spreadsheets count days differently."),
    "none": ("cell-date", "is a date or time cell with a number that is neither."),
    "midnight": ("cell-date", "is a time cell that is rounded to midnight, so it is not of that day."),
    "short": ("cell-date", "is a number of fewer than six digits, and a time needs six."),
    "format": ("cell-format", "stores a number, and its number format shows something else."),
    "zero": ("cell-format", "is a zero, and the sheet hides zeros."),
    "rounded": ("cell-format", "stores more digits than it shows."),
    "grouped": ("cell-format", "shows its number with separators of thousands, which differ between computers."),
    "altered": ("cell-format", "stores a text, and its number format shows something else."),
    "escaped": ("cell-format", "has an escaped character, such as _x000D_, that programs read in different ways."),
    "digits": ("damaged-identifier", "is a number of more digits than a spreadsheet stores."),
}
_LOST: Final = 1e15  # Excel stores 15 digits of a number
_DAY: Final = 86_400_000_000  # microseconds
_LAST_DAY: Final = 2_958_465  # 9999-12-31
_BEFORE_1970: Final = 25_569  # days since the day 0 of 1900, for all days from 1900-03-01
_SINCE_1904: Final = 1_462
_FIRST_DAY: Final = 61  # 1900-03-01; Excel has a day 60, 1900-02-29, which no calendar has
_OF_VR: Final = {
    **dict.fromkeys(("DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "US or SS"), Takes.NUMBER),
    "DA": Takes.DATE,
    "TM": Takes.TIME,
    "DT": Takes.DATETIME,
}
_OF_COLUMN: Final = {
    **dict.fromkeys(("version", "latest_version_id", "order"), Takes.NUMBER),
    **dict.fromkeys(("force", "unchecked", "include_study_image_sets"), Takes.FLAG),
}
_SPOKEN_FOR: Final = frozenset({CellKind.DURATION, CellKind.PERCENT})  # faults wherever they are


def taken_by(name: str, vr: str | None = None) -> Takes:
    """Return what a column takes, by its name; ``vr``: of a private element, if the list names it."""
    known = None if name in _OF_COLUMN else dicom.attribute(name)
    if known is None:
        return _OF_COLUMN.get(name, Takes.TEXT)
    return _OF_VR.get((vr or "") if known.private else known.vr, Takes.TEXT)


def shown(cells: pl.DataFrame, formats: Sequence[NumberFormat], *, starts_in_1904: bool) -> pl.DataFrame:
    """Return the cells with ``text`` as shown, and ``fault`` (a key of `FAULTS`, or null).

    ``cells``: ``text`` String as stored, ``kind`` (b, d or n) and ``takes`` String, ``style`` UInt32.
    """
    cells = cells.with_columns(number=pl.col("text").cast(pl.Float64, strict=False))
    pieces = [
        piece.with_columns(_number(_format(formats, style), Takes(takes), starts_in_1904=starts_in_1904))
        if kind == "n"
        else piece.with_columns(_boolean(Takes(takes)) if kind == "b" else _iso(Takes(takes)))
        for (kind, takes, style), piece in cells.partition_by("kind", "takes", "style", as_dict=True).items()
    ]
    return pl.concat([cells.clear().with_columns(fault=pl.lit(None, pl.String)), *pieces]).drop("number")


def _format(formats: Sequence[NumberFormat], style: int) -> NumberFormat | None:
    return formats[style] if style < len(formats) else None


_Columns = dict[str, pl.Expr]  # text and fault


def _fault(name: str | None) -> pl.Expr:
    return pl.lit(name, pl.String)


def _kept(fault: str | None = None) -> _Columns:
    return {"text": pl.col("text"), "fault": _fault(fault)}


def _boolean(takes: Takes) -> list[pl.Expr]:
    return _named(_kept(None if takes is Takes.FLAG else "boolean"))


def _iso(takes: Takes) -> list[pl.Expr]:
    """Return a cell of type d: a date in the form of ISO 8601."""
    parts = pl.col("text").str.extract_groups(
        r"^([0-9]{4})-([0-9]{2})-([0-9]{2})(?:T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.0+)?Z?)?$"
    )
    fields = [parts.struct.field(str(i)) for i in range(1, 7)]
    date, time = pl.concat_str(fields[:3]), pl.concat_str(fields[3:])
    if takes is Takes.DATE:
        fault = pl.when(date.is_null() | (time.fill_null("000000") != "000000")).then(_fault("datetime"))
        return _named({"text": date, "fault": fault})
    if takes is Takes.DATETIME:
        fault = pl.when(date.is_null()).then(_fault("date"))
        return _named({"text": pl.concat_str(date, time.fill_null("")), "fault": fault})
    return _named(_kept("date"))


def _named(columns: _Columns) -> list[pl.Expr]:
    """Return expressions for a frame; the text of a cell with a fault stays."""
    fault = columns["fault"]
    text = pl.when(fault.is_null() & columns["text"].is_not_null()).then(columns["text"]).otherwise("text")
    return [text.alias("text"), fault.alias("fault")]


def _number(form: NumberFormat | None, takes: Takes, *, starts_in_1904: bool) -> list[pl.Expr]:
    if form is None or form.kind is CellKind.UNCLEAR:
        return _named(_kept("format"))
    if form.kind in _SPOKEN_FOR:
        return _named(_kept(str(form.kind)))
    if form.kind in (CellKind.DATE, CellKind.TIME, CellKind.DATETIME):
        return _named(_moment(form, takes, starts_in_1904=starts_in_1904))
    return _named(_plain_number(form, takes))


# -- numbers ------------------------------------------------------------------------------------------------------


def _plain_number(form: NumberFormat, takes: Takes) -> _Columns:
    number = pl.col("number")
    text: pl.Expr = pl.col("text")
    fault: pl.Expr
    if form.kind is CellKind.GENERAL:
        text, fault = text.str.strip_chars().replace("-0", "0"), _fault(None)
    elif takes is Takes.NUMBER:
        hidden = (number < 0) if not form.negative else pl.lit(value=False)
        hidden |= (number == 0) if not form.zero else pl.lit(value=False)
        fault = pl.when(hidden | number.is_null()).then(_fault("format"))
    elif form.digits is None:
        fault = _fault("format")
    else:
        text, fault = _digits(form.digits, zero=form.like_others)
    if takes is Takes.TIME:
        whole = text.str.extract(r"^([0-9]*)")
        fault = pl.coalesce(fault, pl.when(whole.str.len_chars() < 6).then(_fault("short")))
    return {"text": text, "fault": pl.when(number.abs() >= _LOST).then(_fault("digits")).otherwise(fault)}


def _digits(digits: Digits, *, zero: bool) -> tuple[pl.Expr, pl.Expr]:
    """Return the text and the fault of numbers that a format shows digit by digit."""
    parts = pl.col("text").str.extract_groups(r"^([0-9]+)(?:\.([0-9]+))?$")
    whole, rest = parts.struct.field("1"), parts.struct.field("2").fill_null("")
    padded = whole.str.zfill(sum(digits.zeros))
    length = padded.str.len_chars().cast(pl.Int64)
    pieces, end = [], pl.lit(0, pl.Int64)  # from the right; ``end``: digits that are used
    for zeros, between in zip(digits.zeros[:0:-1], digits.between[::-1], strict=True):
        pieces += [padded.str.slice(length - end - zeros, zeros), pl.lit(between)]
        end += zeros
    shown_digits = pl.concat_str([padded.str.slice(0, length - end), *pieces[::-1]])
    point = [pl.lit("."), rest.str.pad_end(digits.decimals, "0")] if digits.decimals else []
    text = pl.concat_str([pl.lit(digits.prefix), shown_digits, *point, pl.lit(digits.suffix)])
    nothing = pl.col("number") == 0 if not zero or not any(digits.zeros) else pl.lit(value=False)
    fault = (
        pl.when(whole.is_null() | nothing)
        .then(_fault("format"))
        .when(rest.str.len_chars() > digits.decimals)
        .then(_fault("rounded"))
        .when(pl.lit(digits.grouped) & (length > 3))
        .then(_fault("grouped"))
    )
    return text, fault


# -- dates and times ----------------------------------------------------------------------------------------------


def _moment(form: NumberFormat, takes: Takes, *, starts_in_1904: bool) -> _Columns:
    """Return dates and times as DICOM writes them, as exactly as the format shows them."""
    fits = {
        CellKind.DATE: (Takes.DATE, Takes.DATETIME),
        CellKind.TIME: (Takes.TIME,),
        CellKind.DATETIME: (Takes.DATETIME, Takes.DATE),
    }
    if takes not in fits[form.kind]:
        return _kept(str(form.kind))
    if not form.whole:
        return _kept("part")
    stored = (pl.col("number").clip(-1, _LAST_DAY + 1) * _DAY).round().cast(pl.Int64, strict=False)
    unit = 10 ** (6 - min(form.fraction, 6)) if form.seconds else 1
    instant = stored if form.kind is CellKind.DATE else (stored + unit // 2) // unit * unit
    days, of_day = instant // _DAY, instant % _DAY
    if form.kind is CellKind.TIME:
        wrong = pl.when(instant.is_null() | (stored < 0)).then(_fault("none"))
        return {"text": _time(of_day, form), "fault": wrong.when(days != stored // _DAY).then(_fault("midnight"))}
    date, fault = _date(days, starts_in_1904=starts_in_1904)
    if form.kind is CellKind.DATE:
        return {"text": date, "fault": fault}
    if takes is Takes.DATE:
        return {"text": date, "fault": pl.coalesce(fault, pl.when(of_day != 0).then(_fault("datetime")))}
    return {"text": pl.concat_str(date, _time(of_day, form)), "fault": fault}


def _date(days: pl.Expr, *, starts_in_1904: bool) -> tuple[pl.Expr, pl.Expr]:
    first = 1 if starts_in_1904 else _FIRST_DAY
    shift = _SINCE_1904 if starts_in_1904 else 0
    last = _LAST_DAY - shift
    early = "none" if starts_in_1904 else "early"
    fault = (
        pl.when(days.is_null() | (days < 0) | (days > last)).then(_fault("none")).when(days < first).then(_fault(early))
    )
    since_1970 = days.clip(first, last) + shift - _BEFORE_1970
    return since_1970.cast(pl.Int32).cast(pl.Date).dt.strftime("%Y%m%d"), fault


def _time(of_day: pl.Expr, form: NumberFormat) -> pl.Expr:
    """Return HHMMSS, with fractions if the format shows them; HHMM if it does not show the seconds that there are."""
    # a thousandth of a second is beyond what the digits of a date and time hold
    rounded = of_day if form.seconds else (of_day + 500) // 1000 * 1000
    seconds = rounded // 1_000_000
    fields = [_two(seconds // 3600), _two(seconds // 60 % 60)]
    if form.seconds:
        fraction = (rounded % 1_000_000).cast(pl.String).str.zfill(6).str.slice(0, min(form.fraction, 6))
        return pl.concat_str([*fields, _two(seconds % 60), *([pl.lit("."), fraction] if form.fraction else [])])
    hidden = pl.when(rounded % 60_000_000 == 0).then(pl.lit("00")).otherwise(pl.lit(""))
    return pl.concat_str([*fields, hidden])


def _two(number: pl.Expr) -> pl.Expr:
    return number.cast(pl.String).str.zfill(2)
