"""The column ``value_json`` of a tidy list: values as JSON, exactly as in the metadata document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from bulkedit.dicom import dictionary as dicom
from bulkedit.dicom.faults import fault_of
from bulkedit.edits.attributes import label_of
from bulkedit.edits.edit import json_text
from bulkedit.edits.problems import HINT_OF_VR, lines, one
from bulkedit.edits.strict_json import strict_json
from bulkedit.edits.unchecked import Leniency, leaves_out

if TYPE_CHECKING:
    from bulkedit._json import JsonObject
    from bulkedit.dicom.faults import ValueFault

_COLUMN = "value_json"


def checked(named: pl.DataFrame) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """Check the cells of ``value_json`` against JSON and their attribute. Returns them as compact JSON, and problems.

    Adds ``unfit`` Boolean: the value breaks a rule, and its check is left out.

    ``named``: a batch of the tidy form from `common_columns.common`. The cells are rare, so they are read one by one.
    """
    names = ("row", "action", "attribute", "value", _COLUMN, "unchecked")
    absent = [pl.lit(None, pl.String).alias(name) for name in names if name not in named.columns]
    filled = named.with_columns(*absent).filter(pl.col(_COLUMN).is_not_null()).select(names)
    texts: dict[int, str] = {}
    unfit: list[int] = []
    problems: list[JsonObject] = []
    for row, action, attribute, value, text, unchecked in filled.iter_rows():
        if value is not None:
            problems.append(one(row, "extra-cell", "value and value_json are both filled.", _COLUMN))
            continue
        known = dicom.attribute(attribute or "")
        removes = (action or "").lower() == "remove"
        try:
            texts[row], why = _read(text, None if removes else known)
        except ValueError as error:
            hint = "Write the value as JSON, text in quotation marks."
            problems.append(one(row, "not-json", f"value_json is not valid JSON: {error}.", _COLUMN, hint=hint))
            continue
        if why is None or known is None:
            continue
        if why.weight < Leniency.UNCHECKED and leaves_out(unchecked, known.name):
            unfit.append(row)
        else:
            problems.append(_invalid(row, known, why))
    new = pl.DataFrame(
        {"row": list(texts), _COLUMN: list(texts.values())}, schema={"row": pl.UInt32, _COLUMN: pl.String}
    )
    compact = named.drop(_COLUMN).join(new, on="row", how="left", maintain_order="left")
    compact = compact.with_columns(unfit=pl.col("row").is_in(pl.Series(unfit, dtype=pl.UInt32).implode()))
    return compact, [lines(problems)] if problems else []


def _invalid(row: int, known: dicom.Attribute, why: ValueFault) -> JsonObject:
    text = f"the value of {label_of(known)} is invalid: {why.text}."
    return one(row, "value-form", text, _COLUMN, hint=HINT_OF_VR.get(known.vr))


def _read(text: str, known: dicom.Attribute | None) -> tuple[str, ValueFault | None]:
    """Return compact JSON, and why the attribute refuses it. Raises ValueError for invalid JSON."""
    value = strict_json(text)
    return json_text(value), None if known is None or known.private else fault_of(known, value)
