"""Kinds of cells, and what each of them means in each kind of attribute: the same in every format.

The table is tried by `test_cell_kinds.py`, and is a part of docs/edit-lists.md.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final, NamedTuple

# an attribute of each kind, and what the documentation calls it
ATTRIBUTES: Final = {
    "PatientID": "identifier",
    "PatientName": "name",
    "StudyDescription": "text",
    "StudyDate": "date (DA)",
    "PatientWeight": "number (DS)",
}
FORMATS: Final = ("csv", "xlsx", "jsonl", "parquet", "frame")
SAME: Final = "="  # the text is the value
CONFIRMED: Final = "digits"  # the digits are the value, after --numbers-are-text for an identifier

_FORM, _NUMBER, _DAMAGED, _NOTHING = "value-form", "value-form", "damaged-identifier", "placeholder"


class CellKind(NamedTuple):
    """A kind of cell: what it holds, and the value, `SAME`, or code of the problem for each of `ATTRIBUTES`."""

    name: str
    cell: Any  # text, or a Python value
    meaning: tuple[str, str, str, str, str]
    shown: str = ""  # in the documentation, instead of the cell
    formats: tuple[str, ...] = FORMATS  # that have this kind

    @property
    def typed(self) -> bool:
        """Whether the cell has a type of its own in its format."""
        return not isinstance(self.cell, str)


def _text(name: str, cell: str, *meaning: str, shown: str = "") -> CellKind:
    return CellKind(name, cell, meaning, shown)  # type: ignore[arg-type]


TYPED: Final = ("xlsx", "jsonl", "parquet", "frame")
COLUMNS: Final = ("parquet", "frame")

KINDS: Final = (
    _text("text", "A1B", SAME, SAME, SAME, _FORM, _NUMBER),
    _text("digits", "0042", SAME, SAME, SAME, _FORM, SAME),
    _text("digits of a date", "20240311", SAME, SAME, SAME, SAME, SAME),
    _text("a blank inside", "A 1", SAME, SAME, SAME, _FORM, _NUMBER),
    _text("with decimals", "700123.0", _DAMAGED, SAME, SAME, _FORM, SAME),
    _text("with a decimal comma", "4711,0", _DAMAGED, SAME, SAME, _FORM, _NUMBER),
    _text("grouped thousands", "1,234,567", _DAMAGED, SAME, SAME, _FORM, _NUMBER),
    _text("grouped with points", "1.234.567", _DAMAGED, SAME, SAME, _FORM, _NUMBER),
    _text(
        "grouped with no-break spaces",
        "1\u00a0234\u00a0567",
        _DAMAGED,
        "hidden-character",
        SAME,
        _FORM,
        _NUMBER,
        shown="1 234 567",
    ),
    _text("scientific notation", "1.23E+11", _DAMAGED, SAME, SAME, _FORM, SAME),
    _text("date in text", "2024-03-11", _DAMAGED, SAME, SAME, _FORM, _NUMBER),
    _text("date and time in text", "2024-03-11 00:00:00", _DAMAGED, SAME, SAME, _FORM, _NUMBER),
    _text("percentage in text", "12%", _DAMAGED, SAME, SAME, _FORM, _NUMBER),
    _text("truth value in text", "TRUE", _DAMAGED, _DAMAGED, SAME, _FORM, _NUMBER),
    _text("apostrophe", "'0012345", _DAMAGED, SAME, SAME, _FORM, _NUMBER),
    _text("formula", '="00123"', _DAMAGED, _DAMAGED, _DAMAGED, _FORM, _NUMBER),
    _text("pandas, nothing", "nan", _NOTHING, _NOTHING, _NOTHING, _FORM, _NUMBER),
    _text("pandas, no time", "NaT", _NOTHING, _NOTHING, _NOTHING, _FORM, _NUMBER),
    _text("pandas, no text", "<NA>", _NOTHING, _NOTHING, _NOTHING, _FORM, _NUMBER),
    _text("Python, nothing", "None", _NOTHING, _NOTHING, SAME, _FORM, _NUMBER),
    _text("SQL, nothing", "NULL", _NOTHING, _NOTHING, SAME, _FORM, _NUMBER),
    _text("not available", "N/A", _NOTHING, _NOTHING, SAME, _FORM, _NUMBER),
    _text("error of a spreadsheet", "#N/A", *("cell-error",) * 5),
    _text("error in German", "#BEZUG!", *("cell-error",) * 5),
    _text("dict", "{'Alphabetic': 'DOE^JOHN'}", *("printed-object",) * 3, _FORM, _NUMBER),
    _text("JSON", '{"Alphabetic":"DOE^JOHN"}', "printed-object", "printed-object", SAME, _FORM, _NUMBER),
    _text("bytes", "b'0012'", *("printed-object",) * 3, _FORM, _NUMBER),
    _text(
        "no-break space",
        "12\u00a0",
        "hidden-character",
        "hidden-character",
        SAME,
        _FORM,
        _NUMBER,
        shown="12 and U+00A0",
    ),
    _text(
        "zero width", "12\u200b3", "hidden-character", "hidden-character", SAME, _FORM, _NUMBER, shown="12, U+200B, 3"
    ),
    _text(
        "direction", "12\u202e3", "hidden-character", "hidden-character", SAME, _FORM, _NUMBER, shown="12, U+202E, 3"
    ),
    CellKind("whole number", 20240311, (CONFIRMED, CONFIRMED, CONFIRMED, CONFIRMED, CONFIRMED), "", TYPED),
    CellKind("floating-point number", 12.5, (_DAMAGED, SAME, SAME, _FORM, SAME), "", TYPED),
    CellKind("whole floating-point number", 42.0, (_DAMAGED, "42", "42", _FORM, "42"), "", ("jsonl", *COLUMNS)),
    CellKind("decimal", Decimal("123.0000"), (_DAMAGED, "123", "123", _FORM, "123"), "123.0000", COLUMNS),
    CellKind("not a number", float("nan"), (*(_NOTHING,) * 3, _FORM, _NUMBER), "NaN", COLUMNS),
    CellKind("truth value", True, ("cell-type",) * 5, "true", TYPED),
    CellKind("date", dt.date(2024, 3, 11), (*("cell-type",) * 3, "20240311", "cell-type"), "", ("xlsx", *COLUMNS)),
    CellKind("time", dt.time(14, 25), ("cell-type",) * 5, "14:25", ("xlsx", *COLUMNS)),
    CellKind("date and time", dt.datetime(2024, 3, 11, 14, 25), ("cell-type",) * 5, "", ("xlsx", *COLUMNS)),  # noqa: DTZ001
    CellKind("duration", dt.timedelta(hours=30), ("cell-type",) * 5, "30:00:00", ("xlsx", *COLUMNS)),
)


def table() -> str:
    """Return the kinds as a table of the documentation."""
    names = {"csv": "CSV", "xlsx": "Excel", "jsonl": "JSON lines", "parquet": "Parquet", "frame": "frames"}
    lines = [
        f"| kind of cell | such as | in | {' | '.join(ATTRIBUTES.values())} |",
        "|" + "---|" * (3 + len(ATTRIBUTES)),
    ]
    for kind in KINDS:
        shown = (kind.shown or str(kind.cell)).replace("|", "\\|")
        formats = "all" if kind.formats == FORMATS else ", ".join(names[one] for one in kind.formats)
        meaning = " | ".join(_said(one, identifier=i == 0) for i, one in enumerate(kind.meaning))
        lines.append(f"| {kind.name} | `{shown}` | {formats} | {meaning} |")
    return "\n".join(lines)


def _said(meaning: str, *, identifier: bool) -> str:
    if meaning == SAME:
        return "as it is"
    if meaning == CONFIRMED:
        return "its digits, [confirmed](#numbers-as-identifiers)" if identifier else "its digits"
    return f"refused: `{meaning}`" if "-" in meaning or meaning == _NOTHING else f"`{meaning}`"
