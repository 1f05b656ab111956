"""The column ``unchecked``: which values of a row are planned although they break a rule.

A cell is true or false, or names attributes of the row. A value that cannot be written as its VR requires (text in an
element of numbers, text that is not JSON) is refused all the same.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.dicom import dictionary as dicom
from bulkedit.edits.problems import RowCheck, constant, found

if TYPE_CHECKING:
    from collections.abc import Iterable

_COLUMN: Final = "unchecked"
_TEXTS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_BETWEEN: Final = re.compile(r'[\s,;|"\[\]]+')


class Leniency(IntEnum):
    """Which faults of a value are accepted: those whose `Weight` is below it."""

    NONE = 0
    UNCHECKED = 1  # those of values that can be written as their VR requires
    STORED = 2  # a stored value that is removed: all but text that is not JSON


def with_unchecked(frame: pl.DataFrame, *, everywhere: bool) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """Type the column ``unchecked``, and return problems of its cells as SET_ASIDE frames.

    It becomes Boolean, or if a cell names attributes, String: ``*`` for all attributes of the row, otherwise their
    names between bars, null if the row has none. ``everywhere``: the option, for all rows.
    """
    if _COLUMN not in frame.columns or not frame.get_column(_COLUMN).count():
        return frame.with_columns(pl.lit(everywhere).alias(_COLUMN)), []
    meant = {text: _meant(text) for text in frame.get_column(_COLUMN).drop_nulls().unique()}
    wrong = [text for text, one in meant.items() if one is None]
    problems = found(frame, [_check(wrong)]) if wrong else []
    named = any(isinstance(one, str) for one in meant.values())
    if everywhere or not named:
        true = [text for text, one in meant.items() if one is True]
        return frame.with_columns((pl.col(_COLUMN).is_in(true) | everywhere).fill_null(everywhere)), problems
    texts = {text: "*" if one is True else one or None for text, one in meant.items()}
    return frame.with_columns(pl.col(_COLUMN).replace_strict(texts, default=None, return_dtype=pl.String)), problems


def _meant(text: str) -> bool | str | None:
    """Return true, false, or the attributes that a cell names, between bars; None if it means nothing."""
    if (known := _TEXTS.get(text.lower())) is not None:
        return known
    found = [dicom.attribute(name) for name in _BETWEEN.split(text) if name]
    return f"|{'|'.join(one.name for one in found if one)}|" if found and all(found) else None


def _check(wrong: Iterable[str]) -> RowCheck:
    text = constant("unchecked is neither true nor false, nor the name of an attribute.")
    return RowCheck("unchecked", pl.col(_COLUMN).is_in(list(wrong)), text, _COLUMN)


def is_left_out(frame: pl.DataFrame, attribute: str | pl.Expr) -> pl.Expr:
    """Whether the check of a cell is left out. ``frame``: with `with_unchecked`; ``attribute``: its column of keys."""
    column = pl.col(_COLUMN)
    if frame.schema[_COLUMN] == pl.Boolean:
        return column
    named = column.str.contains(pl.format("|{}|", attribute), literal=True)
    return ((column == "*") | named).fill_null(value=False)


def leaves_out(cell: bool | str | None, attribute: str) -> bool:
    """As `is_left_out`, for one cell of the typed column and the key of its attribute."""
    return cell if isinstance(cell, bool) else cell is not None and (cell == "*" or f"|{attribute}|" in cell)
