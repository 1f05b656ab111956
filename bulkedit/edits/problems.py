"""Problems of rows, and their texts.

A problem has a text, a likely cause and a hint. They never contain the text of a cell, because edit lists contain names
of patients. They name columns by their known names, or by letter if the name is unknown: in a file without a header,
the first row is a patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulkedit._json import JsonObject

# One line per problem. `row` is the number of edit.EDITS.
SET_ASIDE: Final = pl.Schema(
    {
        "row": pl.UInt32(),
        "column": pl.String(),  # a known name, or null if the problem is of the whole row
        "code": pl.String(),  # a key of ADVICE; stable
        "problem": pl.String(),
        "likely": pl.String(),
        "hint": pl.String(),
    }
)


class Advice(NamedTuple):
    """The likely cause of a problem, and what to do; None if the text of the problem is enough."""

    likely: str | None = None
    hint: str | None = None


_FORCE = "Add `force=True`, or a column named force, if that is what you want."
_UIDS = "Fill the columns series_uid and instance_uid; add them if the list has none."

ADVICE: Final[dict[str, Advice]] = {
    # no rows of the list
    "total-row": Advice("The program that made the file has added it.", "Delete the row."),
    "header-row": Advice("The file may be joined from several.", "Delete the row."),
    # which image sets
    "no-selector": Advice(None, "Fill image_set_id, or another of the columns that name image sets."),
    "many-selectors": Advice(None, "Clear all but one of these columns in this row."),
    "image-set-id": Advice(None, "Copy the id from HealthImaging, or from an inventory (bulkedit inventory -o FILE)."),
    "damaged-identifier": Advice(
        "A spreadsheet or a program has taken it for a number, a date or a formula.",
        "Export the list again, with the column as text from the source.",
    ),
    "placeholder": Advice("The program that made the list had no value here.", "Write the value, or clear the cell."),
    "printed-object": Advice("A program has written a whole object instead of its text.", "Write the text alone."),
    "hidden-character": Advice("It was copied from a web page or a document.", "Type it again."),
    "uid": Advice(None, "A UID is digits and dots, such as 1.2.840.10008.1.2."),
    # actions and attributes
    "action": Advice(None, "The actions are set, remove, remove-instance, remove-series and revert."),
    "no-attribute": Advice(None, "Fill the column attribute with a DICOM keyword, such as StudyDescription."),
    "extra-cell": Advice(None, "Clear that cell, or use another action."),
    "attribute": Advice(None, "Use the keyword of DICOM PS3.6, or the eight hex digits of a private element."),
    "never-editable": Advice(
        "HealthImaging generates it, it depends on the pixel data, or no data set may have it.",
        "Delete the row, or the column.",
    ),
    "level": Advice(None, "Clear the column level; the attribute determines the level."),
    "level-name": Advice(None, "The levels are Patient, Study, Series and Instance."),
    "no-series-uid": Advice(None, "Fill the column series_uid; add it if the list has none."),
    "no-instance-uid": Advice(None, _UIDS),
    "needs-force": Advice("HealthImaging changes it only when the call uses force.", _FORCE),
    "series-removal": Advice(
        "HealthImaging now removes single instances only.", "Name each instance with remove-instance."
    ),
    "vr": Advice(None, "Clear the column vr, or fill it with a two-letter VR of DICOM PS3.5."),
    "vr-differs": Advice(None, "The column vr is for private elements only; clear it here."),
    "force": Advice(None, "Fill the column force with true or false, or clear it."),
    "unchecked": Advice(None, "Fill the column unchecked with true, false or names of attributes, or clear it."),
    "version": Advice(None, "A version is a whole number from 1."),
    "order": Advice(None, "An order is a whole number from 0 to 999999999; clear it if it does not matter."),
    "revert-version": Advice(None, "Fill the column value with the version to revert to, such as 1."),
    # values
    "value-form": Advice(),
    "value-length": Advice(None, "Shorten the value."),
    "value-range": Advice(),
    "value-count": Advice(None, "Separate several values by a backslash, or write them as a JSON array."),
    "value-empty": Advice(None, "Clear the row, or fill in the UID."),
    "value-encoding": Advice(None, "Export the list again from its source as UTF-8, and compare this value."),
    "value-json": Advice(None, 'Write a JSON array, such as ["A","B"].'),
    "value-sequence": Advice(None, 'Write a JSON array of objects, such as [{"CodeValue":"T-04000"}].'),
    # the call form, JSON lines, Excel
    "cell-formula": Advice(
        "The program that wrote the workbook has not computed it.", "Open the workbook in a spreadsheet and save it."
    ),
    "cell-merged": Advice(
        "In merged cells only the first has the text, but a spreadsheet shows it for all of them.",
        "Unmerge them, and fill in each.",
    ),
    "cell-type": Advice(
        "Spreadsheets store dates, times and percentages as numbers.",
        "Format the column as text, and type the value as it is meant.",
    ),
    "cell-date": Advice(None, "Format the column as text, and type the value as DICOM does: YYYYMMDD, HHMMSS."),
    "cell-format": Advice(
        "A number format changes only what is shown, not what is stored.",
        "Format the column as text, and type what the cell shows.",
    ),
    "cell-error": Advice("A formula of the workbook has failed, such as a lookup.", "Correct it, or clear the cell."),
    "not-an-update": Advice(
        "bulkedit does not run the script; it reads the commands aws medical-imaging update-image-set-metadata.",
        "Delete the line.",
    ),
    "shell-syntax": Advice("bulkedit does not run the script.", "Write the values themselves, in single quotes."),
    "cli-option": Advice(None, "Write the command as for the AWS CLI."),
    "cli-document": Advice(),
    "hl7-form": Advice(None, "Export the message again."),
    "hl7-event": Advice(
        "bulkedit reads ADT^A08 and A31 (changes of a patient), and A18, A30, A34, A36, A40, A46 and A47 (merges).",
        "Delete the message from the file.",
    ),
    "hl7-identifier": Advice(
        "The identifiers are in PID-3, and in MRG-1 of a merge; their types are MR, PI or PT.",
        "Say whose identifiers the images have: `assigning_authority=NAME`",
    ),
    "hl7-charset": Advice(),
    "hl7-value": Advice(),
    "datastore-id": Advice(None, "Copy the id from HealthImaging: 32 characters of 0-9 a-z."),
    "study-wide": Advice(None, "Clear include_study_image_sets in this row."),
    "not-json": Advice(None, "Copy the JSON exactly as for the AWS CLI."),
    "updates": Advice(None, "Copy the JSON exactly as for the AWS CLI."),
    "schema-version": Advice(None, 'The only version is 1.1: start with {"SchemaVersion":1.1.'),
    "wrong-level": Advice("HealthImaging refuses an attribute at another level than its own.", None),
    "same-twice": Advice(None, "Use two rows, in the order of application."),
    "no-edit": Advice(None, "Delete the row, or fill it."),
    "not-an-object": Advice(None, 'Write one JSON object per line, such as {"image_set_id":"…"}.'),
}

# the hints of "value-form", by VR
HINT_OF_VR: Final[dict[str, str]] = {
    "AE": "An AE title is up to 16 characters, without backslash or control characters.",
    "AS": "DICOM writes an age as three digits and D, W, M or Y, for example 042Y.",
    "AT": "DICOM writes a tag as eight hex digits, for example 00100010.",
    "CS": "A code has upper-case letters, digits, blanks and underscores only.",
    "DA": "DICOM writes a date as YYYYMMDD, for example 20240311.",
    "DS": "A decimal number has a point, no thousands separators and no unit, for example 0.5.",
    "DT": "DICOM writes a date and time as YYYYMMDDHHMMSS, for example 20240311142500.",
    "FD": "A number has a decimal point, no thousands separators and no unit, for example 0.5.",
    "FL": "A number has a decimal point, no thousands separators and no unit, for example 0.5.",
    "IS": "A whole number has digits only.",
    "LO": "A line of text has no backslash and no line breaks.",
    "PN": "A name is Family^Given^Middle^Prefix^Suffix, without backslash or line breaks.",
    "SH": "A line of text has no backslash and no line breaks.",
    "TM": "DICOM writes a time as HHMMSS, for example 142500.",
    "UC": "A line of text has no backslash and no line breaks.",
    "UI": "A UID is digits and dots, such as 1.2.840.10008.1.2, without leading zeros in its parts.",
    "UR": "An address has no backslash and does not begin with a blank.",
} | dict.fromkeys(("SL", "SS", "SV", "UL", "US", "UV", "US or SS"), "A whole number has digits only.")


def hint_of(code: str, vr: str | None) -> str | None:
    """Return the hint of a problem of a value."""
    return HINT_OF_VR.get(vr or "") if code == "value-form" else ADVICE[code].hint


@dataclass(frozen=True, slots=True)
class RowCheck:
    """A check of all rows at once; rows fail if ``when`` is true (null is false)."""

    code: str
    when: pl.Expr  # Boolean
    text: pl.Expr  # String, evaluated on the failing rows only
    column: str | pl.Expr | None = None  # name of the column, if it is about one
    likely: pl.Expr | None = None  # replaces the advice of the code
    hint: pl.Expr | None = None  # replaces the advice of the code


def constant(text: str) -> pl.Expr:
    """Return a text as an expression."""
    return pl.lit(text, pl.String)


def noun_of(count: pl.Expr, one: str, many: str | None = None) -> pl.Expr:
    """As `bulkedit._words.noun`, for each row."""
    return pl.when(count == 1).then(constant(one)).otherwise(constant(many or f"{one}s"))


def found(frame: pl.DataFrame, checks: Iterable[RowCheck]) -> list[pl.DataFrame]:
    """Run checks on a frame with the column ``row``. Returns one SET_ASIDE frame per check that fails for any row."""
    checks = list(checks)
    if frame.is_empty() or not checks:
        return []
    masks = frame.select(check.when.fill_null(value=False).alias(str(i)) for i, check in enumerate(checks))
    return [
        report(frame.filter(masks[str(i)]), check)
        for i, (check, count) in enumerate(zip(checks, masks.sum().row(0), strict=True))
        if count
    ]


def report(rows: pl.DataFrame, check: RowCheck) -> pl.DataFrame:
    """Return the problems of rows that all fail one check, as a SET_ASIDE frame."""
    advice = ADVICE[check.code]
    return rows.select(
        pl.col("row"),
        (check.column if isinstance(check.column, pl.Expr) else pl.lit(check.column, pl.String)).alias("column"),
        pl.lit(check.code, pl.String).alias("code"),
        check.text.alias("problem"),
        (pl.lit(advice.likely, pl.String) if check.likely is None else check.likely).alias("likely"),
        (pl.lit(advice.hint, pl.String) if check.hint is None else check.hint).alias("hint"),
    )


def one(row: int, code: str, problem: str, column: str | None = None, *, hint: str | None = None) -> JsonObject:
    """Return one problem as a line of SET_ASIDE, for code that works row by row."""
    advice = ADVICE[code]
    return {
        "row": row,
        "column": column,
        "code": code,
        "problem": problem,
        "likely": advice.likely,
        "hint": hint or advice.hint,
    }


def lines(problems: list[JsonObject]) -> pl.DataFrame:
    """Return problems as a SET_ASIDE frame."""
    return pl.DataFrame(problems, schema=SET_ASIDE, orient="row")


def rows_without_edits(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of a wide list whose cells are all empty, as a SET_ASIDE frame. ``rows``: row UInt32."""
    text = constant("has no edit: all its cells are empty.")
    return report(rows, RowCheck("no-edit", pl.lit(value=True), text))


def problem_text(problem: JsonObject) -> str:
    """Return a line of SET_ASIDE as text for the user: problem with row, likely cause, hint."""
    head = f"Row {problem['row']:,}: {problem['problem']}"
    return "\n".join(str(text) for text in (head, problem["likely"], problem["hint"]) if text)
