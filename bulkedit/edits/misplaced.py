"""What a cell is that should be an id or a UID, in words, and what to type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from bulkedit.edits.problems import ADVICE, RowCheck, constant

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kind(NamedTuple):
    """What a text is; the first kind whose pattern it matches counts."""

    pattern: str
    what: str  # follows the name of the column; "{}" is the number of characters
    likely: str | None
    hint: str


_HEX: Final = "[0-9a-fA-F]"
_UID: Final = r"(?:urn:oid:|OID\.)?[0-9]+(?:\.[0-9]+){2,}\.?"
_ID: Final = "[0-9a-z]{32}"
_COPY: Final = "Copy the id from HealthImaging, or from an inventory (bulkedit inventory -o FILE)."

IMAGE_SET_ID: Final = (
    Kind("(?i:arn:.*)", "is an ARN, not an id.", "The id is its last part, after imageset/.", "Write the id alone."),
    Kind(r"(?i:https?|s3)://.*", "is an address, not an id.", None, "Write the id alone."),
    Kind(
        _UID,
        "is a UID, not an id of an image set.",
        "The column may have the UIDs of studies or series.",
        "For studies: `map=study_instance_uid=image_set_id`. For series: `map=series_instance_uid=image_set_id`",
    ),
    Kind(
        "[0-9]{1,27}",
        "is a number of {} digits, not an id of an image set.",
        "The column may have patient ids or accession numbers.",
        "For patients: `map=patient_id=image_set_id`. For accession numbers: `map=accession_number=image_set_id`",
    ),
    Kind(
        rf"\{{?{_HEX}{{8}}(?:-{_HEX}{{4,12}}){{4}}\}}?",
        "has dashes, as a UUID; ids of image sets have none.",
        "It may be an id of another system, such as Orthanc.",
        _COPY,
    ),
    Kind(
        rf"[\[\"' ]*{_ID}(?:[\s,;|/+&\"']+{_ID})+[\]\"' ]*",
        "has several ids.",
        None,
        "Write one row for each image set.",
    ),
    Kind(
        "[0-9a-zA-Z]{32}",
        "has capital letters; ids are 32 characters of 0-9 a-z.",
        "An id in capital letters is not the same id.",
        "Copy the id from HealthImaging.",
    ),
    Kind(
        "[0-9a-z]{28,31}",
        "has {} characters; ids are 32 characters of 0-9 a-z.",
        "It was cut, or a spreadsheet has taken zeros from its beginning.",
        "Copy the column again, as text.",
    ),
    Kind(".{32}", "has a character that is not in 0-9 a-z.", None, _COPY),
)
UID: Final = (
    Kind(
        _ID,
        "is an id of an image set, not a UID.",
        None,
        "Use a column image_set_id for ids of image sets.",
    ),
    Kind("urn:oid:.*|OID\\..*", "begins with a word.", None, "Write its digits and dots alone."),
    Kind("[0-9., ]*,[0-9., ]*", "has commas.", "A program has written its dots as commas.", "Write dots."),
    Kind(r"[0-9.]+(?:[\s,;|\\]+[0-9.]+)+", "has several UIDs.", None, "Write one row for each."),
    Kind("[A-Za-z][A-Za-z0-9_-]*", "is a word or an id of another kind, not a UID.", None, str(ADVICE["uid"].hint)),
)


def check(code: str, name: str, when: pl.Expr, kinds: Sequence[Kind], other: pl.Expr) -> RowCheck:
    """Return a check that says what a cell is. ``name``: its column; ``other``: the text if it is of no kind."""
    cell = pl.col(name)
    which = pl.coalesce(
        pl.when(cell.str.contains(f"(?s)^(?:{kind.pattern})$")).then(pl.lit(i, pl.UInt8))
        for i, kind in enumerate(kinds)
    )

    def told(texts: Sequence[str | None], default: str | None) -> pl.Expr:
        return which.replace_strict(list(range(len(kinds))), [*texts], default=default, return_dtype=pl.String)

    length = cell.str.len_chars().cast(pl.String)
    what = told([kind.what for kind in kinds], None).str.replace("{}", length, literal=True)
    text = pl.when(which.is_null()).then(other).otherwise(pl.format("{} {}", constant(name), what))
    likely, hint = told([kind.likely for kind in kinds], None), told([kind.hint for kind in kinds], ADVICE[code].hint)
    return RowCheck(code, when, text, name, likely=likely, hint=hint)
