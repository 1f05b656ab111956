"""The column ``value_json`` of a tidy list: values as JSON, exactly as in the metadata document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from bulkedit.dicom import dictionary as dicom
from bulkedit.dicom.faults import as_typed, fault_in, oddities_in
from bulkedit.edits.attributes import label_of
from bulkedit.edits.edit import json_text
from bulkedit.edits.odd_values import ODD_VALUES
from bulkedit.edits.problems import hint_of, lines, one
from bulkedit.edits.strict_json import strict_json
from bulkedit.edits.unchecked import Leniency, leaves_out

if TYPE_CHECKING:
    from bulkedit._json import JsonObject
    from bulkedit.dicom.faults import ValueFault

_COLUMN = "value_json"


def checked(named: pl.DataFrame) -> tuple[pl.DataFrame, list[pl.DataFrame], list[pl.DataFrame]]:
    """Check the cells of ``value_json``, and return them as compact JSON, with problems and odd values.

    Adds ``unfit`` Boolean: the value breaks a rule, and its check is left out.

    ``named``: a batch of the tidy form from `common_columns.common`. The cells are rare, so they are read one by one.
    """
    names = ("row", "action", "attribute", "value", _COLUMN, "vr", "unchecked")
    absent = [pl.lit(None, pl.String).alias(name) for name in names if name not in named.columns]
    filled = named.with_columns(*absent).filter(pl.col(_COLUMN).is_not_null()).select(names)
    texts: dict[int, str] = {}
    unfit: list[int] = []
    odd: list[tuple[int, str, str, str]] = []
    problems: list[JsonObject] = []
    for row, action, attribute, value, text, vr, unchecked in filled.iter_rows():
        if value is not None:
            problems.append(one(row, "extra-cell", "value and value_json are both filled.", _COLUMN))
            continue
        known = dicom.attribute(attribute or "")
        removes = (action or "").lower() == "remove"
        try:
            found = strict_json(text)
        except ValueError as error:
            hint = "Write the value as JSON, text in quotation marks."
            problems.append(one(row, "not-json", f"value_json is not valid JSON: {error}.", _COLUMN, hint=hint))
            continue
        texts[row] = json_text(found)
        if known is None or removes:
            continue
        if (why := fault_in(known, vr, found)) is None:
            odd += [(row, *oddity, label_of(known)) for oddity in oddities_in(known, vr, found)]
        elif why.weight < Leniency.UNCHECKED and leaves_out(unchecked, known.name):
            unfit.append(row)
        else:
            problems.append(_invalid(row, as_typed(known, vr) or known, why))
    new = pl.DataFrame(
        {"row": list(texts), _COLUMN: list(texts.values())}, schema={"row": pl.UInt32, _COLUMN: pl.String}
    )
    compact = named.drop(_COLUMN).join(new, on="row", how="left", maintain_order="left")
    compact = compact.with_columns(unfit=pl.col("row").is_in(pl.Series(unfit, dtype=pl.UInt32).implode()))
    return compact, [lines(problems)] if problems else [], [pl.DataFrame(odd, schema=ODD_VALUES, orient="row")]


def _invalid(row: int, known: dicom.Attribute, why: ValueFault) -> JsonObject:
    text = f"the value of {label_of(known)} is invalid: {why.text}."
    return one(row, why.code, text, _COLUMN, hint=hint_of(why.code, known.vr))
