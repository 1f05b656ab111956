"""Converts the text of cells to the JSON of the metadata document, for a whole column at once.

Texts, DS and IS are JSON strings; US, SS, UL, SL, UV, SV, FL and FD are numbers. An attribute whose VM is not 1 is an
array; its values are separated by backslashes. Arrays and sequences may also be JSON text, which is parsed cell by
cell.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.dicom import dictionary as dicom
from bulkedit.dicom.dictionary import ValueKind
from bulkedit.dicom.faults import ValueFault, Weight, fault_of
from bulkedit.edits.edit import json_text
from bulkedit.edits.strict_json import strict_json

if TYPE_CHECKING:
    from bulkedit._json import Json
    from bulkedit.edits.attributes import Spec

_ESCAPES: Final = {chr(i): json.dumps(chr(i))[1:-1] for i in (*range(32), ord('"'), ord("\\"))}
_SPECIAL: Final = r'["\\\x00-\x1f]'
_INTEGER: Final = r" *[+-]?[0-9]{1,38} *"  # always fits into a 128-bit integer
_FLOAT: Final = r" *[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})? *"
_JSON_NUMBER: Final = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$"

# faults of cells: position in the column, a key of ADVICE, the reason, and how bad it is
FAULTS: Final[dict[str, type[pl.DataType]]] = {
    "i": pl.UInt32,
    "code": pl.String,
    "why": pl.String,
    "weight": pl.UInt8,  # `bulkedit.dicom.faults.Weight`
}


@dataclass(frozen=True, slots=True)
class Typed:
    """A column of JSON text, and the faults of its cells."""

    json: pl.Series  # String, one per cell; undefined if the cell is not of the kind of its VR
    faults: list[pl.DataFrame]  # schema FAULTS


def typed(column: pl.DataFrame, spec: Spec) -> Typed:
    """Type the cells of attributes that share a spec.

    ``column``: ``i`` UInt32, ``value`` String without nulls. A cell with a fault is typed too, if it can be written as
    JSON: text in an element of numbers is the stored value of a removal.
    """
    if spec.rule.kind is ValueKind.SEQUENCE:
        return _one_by_one(column, spec)
    if not spec.multi:
        return _single(column, spec)
    as_json = column["value"].str.starts_with("[")
    if not as_json.any():
        return _multi(column, spec)
    split, whole = column.filter(~as_json), column.filter(as_json)
    ways = [_multi(split, spec), _one_by_one(whole, spec)]
    places = pl.concat([split["i"], whole["i"]])
    order = pl.DataFrame({"i": places, "json": pl.concat([way.json for way in ways])}).sort("i")
    return Typed(order["json"], [fault for way in ways for fault in way.faults])


def is_plain(value: str, *, free: pl.Expr, longest: pl.Expr) -> pl.Expr:
    """Whether a text is certainly valid and needs no escaping, so that `typed` can be skipped.

    ``free``, ``longest``: `Spec.free` and `Spec.longest` of each cell. False if one of them is unknown.
    """
    short = (pl.col(value).str.len_chars() <= longest).fill_null(longest.is_null())
    return (free & short & pl.col(value).str.contains(f"^(?:{dicom.PLAIN_TEXT})$")).fill_null(value=False)


def as_strings(texts: pl.Series) -> pl.Series:
    """Return texts that need no escaping as JSON strings; null stays null."""
    return texts.to_frame("").select(pl.format('"{}"', pl.first())).to_series()


def quoted(texts: pl.Series) -> pl.Series:
    """Return texts as JSON strings; only characters that JSON forbids are escaped."""
    if texts.str.contains(_SPECIAL).any():
        texts = texts.str.replace_many(list(_ESCAPES), list(_ESCAPES.values()))
    return as_strings(texts)


def _single(column: pl.DataFrame, spec: Spec) -> Typed:
    """Type cells of one value."""
    if spec.rule.kind in {ValueKind.STRING, ValueKind.BINARY}:
        return Typed(quoted(column["value"]), _faults(column, _text_checks(spec)))
    whole = spec.rule.kind is ValueKind.INTEGER
    form = pl.col("value").str.contains(f"^(?:{_INTEGER if whole else _FLOAT})$")
    number = pl.when(form).then(pl.col("value").str.strip_chars(" "))
    column = column.with_columns((_integer(number) if whole else _float(number)).alias("json"))
    faults = _faults(column, _number_checks(spec))
    if column["json"].has_nulls():
        column = column.with_columns(pl.col("json").fill_null(quoted(column["value"])))
    return Typed(column["json"], faults)


def _integer(text: pl.Expr) -> pl.Expr:
    return text.cast(pl.Int128, strict=False).cast(pl.String)


def _float(text: pl.Expr) -> pl.Expr:
    """Return a number as written if that is valid JSON, else in its shortest form; null if it is not finite."""
    number = text.cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(
        pl.when(text.str.contains(_JSON_NUMBER)).then(text).otherwise(number.cast(pl.String))
    )


def _multi(column: pl.DataFrame, spec: Spec) -> Typed:
    """Type cells of several values, separated by backslashes."""
    parts = column.with_columns(pl.col("value").str.split("\\")).explode("value")
    each = _single(parts, spec)
    joined = parts.select("i", json=each.json).group_by("i", maintain_order=True).agg(pl.col("json").str.join(","))
    json_arrays = joined.select(pl.concat_str(pl.lit("["), "json", pl.lit("]"))).to_series()
    count = pl.col("value").str.count_matches("\\", literal=True) + 1
    return Typed(json_arrays, [*each.faults, *_faults(column, [_count_check(count, spec)])])


# -- checks of cells ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rule:
    code: str
    broken: pl.Expr
    why: pl.Expr
    weight: Weight = Weight.RULE


def _faults(column: pl.DataFrame, rules: list[_Rule]) -> list[pl.DataFrame]:
    """Return the cells that break a rule."""
    faults = []
    for rule in rules:
        broken = column.filter(rule.broken)
        if broken.height:
            faults.append(
                broken.select("i", pl.lit(rule.code).alias("code"), rule.why.alias("why"), _weight(rule.weight))
            )
    return faults


def _weight(weight: Weight) -> pl.Expr:
    return pl.lit(weight, pl.UInt8).alias("weight")


def _text_checks(spec: Spec) -> list[_Rule]:
    rules = []
    value = pl.col("value")
    if spec.longest is not None:
        length = value.str.len_chars()
        why = pl.format("has {} characters, and at most {} are allowed.", length, spec.longest)
        rules.append(_Rule("value-length", length > spec.longest, why))
    if spec.rule.pattern:
        sound = value.str.contains(f"^(?:{spec.rule.pattern})$") | (value == "")
        rules.append(_Rule("value-form", ~sound, pl.lit(f"does not have the form of VR {spec.vr}.")))
    return rules


def _number_checks(spec: Spec) -> list[_Rule]:
    name = "a whole number" if spec.rule.kind is ValueKind.INTEGER else "a number"
    why = pl.lit(f"is not {name}, as VR {spec.vr} requires.")
    rules = [_Rule("value-form", pl.col("json").is_null(), why, Weight.KIND)]
    if spec.rule.bounds:
        low, high = spec.rule.bounds
        number = pl.col("json").cast(pl.Int128)
        outside = ~number.is_between(pl.lit(low, pl.Int128), pl.lit(high, pl.Int128))
        rules.append(_Rule("value-range", outside, pl.lit(f"is not from {low} to {high}, as VR {spec.vr} requires.")))
    return rules


def _count_check(count: pl.Expr, spec: Spec) -> _Rule:
    low, high, step = dicom.multiplicity(spec.vm)
    wrong = (count < low) | ((count - low) % step != 0)
    if high is not None:
        wrong |= count > high
    return _Rule("value-count", wrong, pl.format("has {} values, but its VM is {}.", count, pl.lit(spec.vm)))


# -- values written as JSON ---------------------------------------------------------------------------------------


def _one_by_one(column: pl.DataFrame, spec: Spec) -> Typed:
    read = [_from_json(text, spec) for text in column["value"]]
    code = "value-json" if spec.multi else "value-sequence"
    faults = [
        {"i": i, "code": code, "why": fault.text, "weight": fault.weight}
        for i, (_, fault) in zip(column["i"], read, strict=True)
        if fault is not None
    ]
    found = [pl.DataFrame(faults, schema=FAULTS)] if faults else []
    return Typed(pl.Series([text for text, _ in read], dtype=pl.String), found)


def _from_json(text: str, spec: Spec) -> tuple[str | None, ValueFault | None]:
    """Parse JSON text to compact JSON text, and its fault."""
    try:
        value = strict_json(text)
    except ValueError as error:
        return None, ValueFault(Weight.NOT_JSON, f"is not valid JSON: {error}.")
    if spec.multi and spec.rule.kind in {ValueKind.STRING, ValueKind.BINARY} and isinstance(value, list):
        value = [json_text(item) if type(item) in {int, float} else item for item in value]
    if not spec.multi and not _is_sequence(value):
        return None, ValueFault(Weight.NOT_JSON, "is not a JSON array of objects.")
    attribute = dicom.Attribute("", 0, spec.vr or "UN", spec.vm, dicom.Level.INSTANCE)
    fault = fault_of(attribute, value)
    return json_text(value), fault and ValueFault(fault.weight, f"is invalid: {fault.text}.")


def _is_sequence(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)
