"""The column ``value_json`` of a tidy list: values as JSON, exactly as in the metadata document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from bulkedit.dicom import dictionary as dicom
from bulkedit.edits.attributes import label_of
from bulkedit.edits.edit import json_text
from bulkedit.edits.problems import HINT_OF_VR, lines, one
from bulkedit.edits.strict_json import strict_json

if TYPE_CHECKING:
    from bulkedit._json import JsonObject

_COLUMN = "value_json"


def checked(named: pl.DataFrame) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """Check the cells of ``value_json`` against JSON and their attribute. Returns them as compact JSON, and problems.

    ``named``: a batch of the tidy form from `common_columns.common`. The cells are rare, so they are read one by one.
    """
    names = ("row", "action", "attribute", "value", _COLUMN, "force")
    absent = [pl.lit(None, pl.String).alias(name) for name in names if name not in named.columns]
    filled = named.with_columns(*absent).filter(pl.col(_COLUMN).is_not_null()).select(names)
    texts: dict[int, str] = {}
    problems: list[JsonObject] = []
    for row, action, attribute, value, text, force in filled.iter_rows():
        if value is not None:
            problems.append(one(row, "extra-cell", "value and value_json are both filled.", _COLUMN))
            continue
        lenient = force or (action or "").lower() == "remove"
        try:
            texts[row], why = _read(text, dicom.attribute(attribute or ""), lenient=lenient)
        except ValueError as error:
            hint = "Write the value as JSON, text in quotation marks."
            problems.append(one(row, "not-json", f"value_json is not valid JSON: {error}.", _COLUMN, hint=hint))
            continue
        if why:
            problems.append(one(row, "value-form", why[0], _COLUMN, hint=why[1]))
    new = pl.DataFrame(
        {"row": list(texts), _COLUMN: list(texts.values())}, schema={"row": pl.UInt32, _COLUMN: pl.String}
    )
    compact = named.drop(_COLUMN).join(new, on="row", how="left", maintain_order="left")
    return compact, [lines(problems)] if problems else []


def _read(text: str, known: dicom.Attribute | None, *, lenient: bool) -> tuple[str, tuple[str, str | None] | None]:
    """Return compact JSON, and why the attribute refuses it, with a hint. Raises ValueError for invalid JSON."""
    value = strict_json(text)
    if known is None or known.private or lenient or not (why := dicom.why_unfit(known, value)):
        return json_text(value), None
    return json_text(value), (f"the value of {label_of(known)} is invalid: {why}.", HINT_OF_VR.get(known.vr))
