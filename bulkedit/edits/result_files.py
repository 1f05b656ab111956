"""Result files of a run, which can be read as edit lists again: their columns, and how planned values are written.

A result file is a tidy list with the outcome of each edit. Its ``value`` and ``value_json`` are the planned value,
character for character. Text is in ``value``, as a person would type it. Values for which that is ambiguous (empty
text, control characters, values that the VR forbids) are in ``value_json``, as JSON of the metadata document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.dicom import dictionary as dicom
from bulkedit.dicom.dictionary import ValueKind
from bulkedit.edits.edit import STORED_VALUE, Action

if TYPE_CHECKING:
    from collections.abc import Collection

# added to the columns of a tidy list; `outcome` and `version_after` mark a result file
OUTCOME: Final = "outcome"
SATISFIED: Final = "already satisfied"  # outcome of an edit that was left out of the plan
MARKS: Final = frozenset({OUTCOME, "version_after"})
COLUMNS: Final = (
    *("row", OUTCOME, "reason", "message", "call", "made_image_set_id", "version_before", "version_after"),
    *("attempts", "conflicts", "request_id", "superseded", "started_at", "ended_at", "row_edits", "row_applied"),
)
VALUES: Final = ("value", "value_json")

_PLAIN_NUMBER: Final = r"^(?:0|-?[1-9][0-9]*)(?:\.[0-9]+)?$"
_CONTROL: Final = r"[\x00-\x1f\x7f]|\\u00"  # raw, or escaped in JSON
# A spreadsheet takes text that begins so for a formula (OWASP, CSV injection), unless it is a plain number. The four
# fullwidth characters are operators in a Japanese spreadsheet.
_FORMULA: Final = r"^[=+\-@\t\r\n\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}]"
_GUARDED: Final = r"^'*[=+\-@\t\r\n\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}]"


def values(edits: pl.LazyFrame, *, spreadsheet: bool) -> pl.LazyFrame:
    """Write planned values as cells: ``value`` and ``value_json``, String.

    ``edits``: action, attribute, value, vr and revert_to of `bulkedit.edits.edit.EDITS`. With ``spreadsheet``, a text
    that a spreadsheet would take for a formula is written to ``value_json``, where it begins with a quotation mark.
    """
    facts = dicom.dictionary().lazy().select("attribute", "kind", "multi")
    joined = edits.join(facts, on="attribute", how="left", maintain_order="left")
    private = pl.col("vr").replace_strict(
        {name: str(vr.kind) for name, vr in dicom.VRS.items()}, default=str(ValueKind.STRING), return_dtype=pl.String
    )
    # the VR of a removed private element is not stored, but its JSON value shows whether it is text
    kind = pl.coalesce(pl.col("kind").cast(pl.String), private)
    json, many = pl.col("value"), pl.col("multi").fill_null(value=False)
    setting, removing = (pl.col("action") == str(action) for action in (Action.SET, Action.REMOVE))
    empty = (setting & (json == "null")) | (removing & (json == STORED_VALUE))
    text = _text(json)
    is_text = ~many & kind.is_in([str(ValueKind.STRING), str(ValueKind.BINARY)]) & text.is_not_null() & (text != "")
    is_number = ~many & kind.is_in([str(ValueKind.INTEGER), str(ValueKind.FLOAT)]) & json.str.contains(_PLAIN_NUMBER)
    is_list = (many | (kind == str(ValueKind.SEQUENCE))) & json.str.starts_with("[")
    plain: pl.Expr = (
        pl.when(is_text)
        .then(text)
        .when(is_number | is_list)
        .then(json)
        .when(pl.col("action") == str(Action.REVERT))
        .then(pl.col("revert_to").cast(pl.String))
    )
    if spreadsheet:
        formula = plain.str.contains(_FORMULA) & ~plain.str.contains(_PLAIN_NUMBER)
        plain = pl.when(~formula).then(plain)
    exact = pl.when(plain.is_null() & ~empty & (setting | removing)).then(json)
    return joined.with_columns(value=plain, value_json=exact).drop("kind", "multi")


def _text(json: pl.Expr) -> pl.Expr:
    """Return the text of a JSON string; null if the value is not a string, or has control characters."""
    sound = json.str.starts_with('"') & ~json.str.contains(_CONTROL) & ~json.str.contains(r"\\[bfnrt]")
    inner = pl.when(sound).then(json.str.slice(1, json.str.len_chars() - 2))
    # only the escapes of quotation mark, backslash and slash remain
    return (
        pl.when(inner.str.contains("\\", literal=True))
        .then(inner.str.replace_all(r'\\(["\\/])', "$1"))
        .otherwise(inner)
    )


def guarded(lines: pl.LazyFrame, *, but: Collection[str] = ()) -> pl.LazyFrame:
    """Put an apostrophe before each text that a spreadsheet would take for a formula, in all String columns.

    A text with apostrophes before a formula gets another one, so that `unguarded` restores every text. ``but``: columns
    to skip, because they have no such text.
    """
    texts = [name for name, kind in lines.collect_schema().items() if kind == pl.String and name not in but]
    return lines.with_columns(
        pl.when(pl.col(name).str.contains(_GUARDED))
        .then(pl.concat_str(pl.lit("'"), pl.col(name)))
        .otherwise(pl.col(name))
        .alias(name)
        for name in texts
    )


def unguarded(name: str) -> pl.Expr:
    """Return a column of texts as it was before `guarded`."""
    text = pl.col(name)
    is_guarded = text.str.starts_with("'") & text.str.contains(_GUARDED)
    return pl.when(is_guarded).then(text.str.slice(1)).otherwise(text).alias(name)
