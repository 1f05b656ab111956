"""What can be wrong with a row, as data, and how it is said.

A problem has four slots: what (with the row), why likely, what to do. No slot ever carries what stands in a cell: an
edit list is full of patients' names. A text describes the shape of what is wrong and names columns by their known
names, or by their letter where the name itself is not known (the header of a file without a header is a patient).
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
        "column": pl.String(),  # a name bulkedit knows, or null where the problem is the row's
        "code": pl.String(),  # a key of ADVICE; stable
        "problem": pl.String(),
        "likely": pl.String(),
        "hint": pl.String(),
    }
)


class Advice(NamedTuple):
    """Why a problem likely came about, and what to do; null where there is nothing better than the problem itself."""

    likely: str | None = None
    hint: str | None = None


_FORCE = "Add `force=True`, or a column named force, if that is what you want."
_UIDS = "Fill the columns series_uid and instance_uid."

ADVICE: Final[dict[str, Advice]] = {
    # which image sets
    "no-selector": Advice(None, "Fill image_set_id, or another of the columns that name image sets."),
    "many-selectors": Advice(None, "Leave all but one of these columns empty in this row."),
    "image-set-id": Advice(
        "The column may have lost its leading zeros in a spreadsheet.", "Save the column as text, or use Parquet."
    ),
    "damaged-identifier": Advice(
        "A spreadsheet has turned it into a date, or into scientific notation; the digits are lost.",
        "Export the list again with the column as text.",
    ),
    "uid": Advice(None, "A UID is digits and dots, such as 1.2.840.10008.1.2."),
    # what to do
    "action": Advice(None, "The actions are set, remove, remove-instance, remove-series and revert."),
    "no-attribute": Advice(None, "Fill the column attribute with a DICOM keyword, such as StudyDescription."),
    "extra-cell": Advice(None, "Leave that cell empty, or use another action."),
    "attribute": Advice(None, "Use the keyword of DICOM PS3.6, or the eight hex digits of a private element."),
    "never-editable": Advice("HealthImaging generates it, or it is tied to the pixel data.", "Take the row out."),
    "level": Advice(None, "Leave the column level empty; the level follows from the attribute."),
    "level-name": Advice(None, "The levels are Patient, Study, Series and Instance."),
    "no-series-uid": Advice(None, "Fill the column series_uid."),
    "no-instance-uid": Advice(None, _UIDS),
    "needs-force": Advice("HealthImaging changes it only when the call uses force.", _FORCE),
    "series-removal": Advice(
        "HealthImaging now removes single instances only.", "Name each instance with remove-instance."
    ),
    "vr": Advice(None, "Leave the column vr empty, or fill it with a two-letter VR of DICOM PS3.5."),
    "vr-differs": Advice(None, "The column vr is for private elements only; leave it empty here."),
    "force": Advice(None, "Fill the column force with true or false, or leave it empty."),
    "version": Advice(None, "A version is a whole number from 1."),
    "order": Advice(None, "An order is a whole number from 0 to 999999999; leave it empty where it does not matter."),
    "revert-version": Advice(None, "Fill the column value with the version to go back to, such as 1."),
    # values
    "value-form": Advice(),
    "value-length": Advice(None, "Shorten the value; `force=True` switches the check off."),
    "value-range": Advice(),
    "value-count": Advice(None, "Separate several values by a backslash, or write them as a JSON array."),
    "value-json": Advice(None, 'Write a JSON array, such as ["A","B"].'),
    "value-sequence": Advice(None, 'Write a JSON array of objects, such as [{"CodeValue":"T-04000"}].'),
    # the call form, JSON lines, Excel
    "cell-formula": Advice(
        "The program that wrote the workbook has not computed it.", "Open the workbook in a spreadsheet and save it."
    ),
    "cell-merged": Advice(
        "Of merged cells the first holds the text, though a spreadsheet shows it for all of them.",
        "Unmerge them, and fill in each.",
    ),
    "cell-error": Advice("A formula of the workbook has failed, such as a lookup.", "Correct it, or clear the cell."),
    "datastore-id": Advice(None, "Copy the id from HealthImaging: 32 characters of 0-9 a-z."),
    "study-wide": Advice(None, "Leave include_study_image_sets empty in this row."),
    "not-json": Advice(None, "Copy the JSON exactly as the AWS CLI takes it."),
    "updates": Advice(None, "Copy the JSON exactly as the AWS CLI takes it."),
    "schema-version": Advice(None, 'The only version is 1.1: start with {"SchemaVersion":1.1.'),
    "wrong-level": Advice("HealthImaging refuses an attribute below another level than its own.", None),
    "same-twice": Advice(None, "Use two rows, in the order they are to happen."),
    "no-edit": Advice(None, "Take the row out, or fill it."),
    "not-text": Advice(None, "Write the value as text or as a number."),
    "not-an-object": Advice(None, 'Write one JSON object per line, such as {"image_set_id":"…"}.'),
}

# how DICOM writes what people write otherwise; the hint beside "value-form", by VR
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


@dataclass(frozen=True, slots=True)
class RowCheck:
    """One thing that can be wrong, for all rows at once: where ``when`` is true (null counts as false)."""

    code: str
    when: pl.Expr  # Boolean
    text: pl.Expr  # String, evaluated on the failing rows only
    column: str | pl.Expr | None = None  # its name, where it has one
    likely: pl.Expr | None = None  # in place of the advice of the code
    hint: pl.Expr | None = None


def constant(text: str) -> pl.Expr:
    """A text that is the same for every row."""
    return pl.lit(text, pl.String)


def noun_of(count: pl.Expr, one: str, many: str | None = None) -> pl.Expr:
    """As `bulkedit._words.noun`, for each row."""
    return pl.when(count == 1).then(constant(one)).otherwise(constant(many or f"{one}s"))


def found(frame: pl.DataFrame, checks: Iterable[RowCheck]) -> list[pl.DataFrame]:
    """Run checks over a frame with the column ``row``; one SET_ASIDE frame for each check that fails somewhere."""
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
    """The problems of rows that all fail one check, as a SET_ASIDE frame."""
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
    """One problem as a line of SET_ASIDE, for the parts that work row by row."""
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
    """Problems as a SET_ASIDE frame."""
    return pl.DataFrame(problems, schema=SET_ASIDE, orient="row")


def rows_without_edits(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of a wide list whose cells are all empty, as a SET_ASIDE frame; ``rows`` has row UInt32."""
    text = constant("asks for nothing: it has no cell that is filled.")
    return report(rows, RowCheck("no-edit", pl.lit(value=True), text))


def problem_text(problem: JsonObject) -> str:
    """A line of SET_ASIDE as the text a user reads: what and where, why likely, what to do."""
    head = f"Row {problem['row']:,}: {problem['problem']}"
    return "\n".join(str(text) for text in (head, problem["likely"], problem["hint"]) if text)
