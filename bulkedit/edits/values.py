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
from bulkedit.dicom.encodings import any_of, noticed_in, refused_in
from bulkedit.dicom.faults import (
    LONG,
    LONGEST_FLOAT,
    LONGEST_GROUP,
    NEARLY,
    NO_EMPTY_PART,
    ValueFault,
    Weight,
    fault_of,
    oddities_of,
)
from bulkedit.edits.edit import json_text
from bulkedit.edits.problems import noun_of
from bulkedit.edits.strict_json import strict_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bulkedit._json import Json
    from bulkedit.edits.attributes import Spec

_ESCAPES: Final = {chr(i): json.dumps(chr(i))[1:-1] for i in (*range(32), ord('"'), ord("\\"))}
_SPECIAL: Final = r'["\\\x00-\x1f]'
_INTEGER: Final = r" *[+-]?[0-9]{1,38} *"  # always fits into a 128-bit integer
_FLOAT: Final = r" *[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})? *"
_LONG_GROUP: Final = f"[^=]{{{LONGEST_GROUP + 1}}}"
_JSON_NUMBER: Final = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$"

# faults of cells: position in the column, a key of ADVICE, the reason, and how bad it is
FAULTS: Final[dict[str, type[pl.DataType]]] = {
    "i": pl.UInt32,
    "code": pl.String,
    "why": pl.String,
    "weight": pl.UInt8,  # `bulkedit.dicom.faults.Weight`
}


# valid cells that may not be meant: position in the column, `bulkedit.dicom.faults.Oddity.code` and ``text``
ODDITIES: Final[dict[str, type[pl.DataType]]] = {"i": pl.UInt32, "code": pl.String, "text": pl.String}


@dataclass(frozen=True, slots=True)
class Typed:
    """A column of JSON text, the faults of its cells, and what may not be meant."""

    json: pl.Series  # String, one per cell; undefined if the cell is not of the kind of its VR
    faults: list[pl.DataFrame]  # schema FAULTS
    oddities: list[pl.DataFrame]  # schema ODDITIES


def typed(column: pl.DataFrame, spec: Spec) -> Typed:
    """Type the cells of attributes that share a spec.

    ``column``: ``i`` UInt32, ``value`` String without nulls. A cell with a fault is typed too, if it can be written as
    JSON: text in an element of numbers is the stored value of a removal.
    """
    if spec.rule.kind is ValueKind.SEQUENCE:
        return _one_by_one(column, spec)
    if spec.private:
        return _private(column, spec)
    if not spec.multi:
        return _single(column, spec)
    return _either(column, column["value"].str.starts_with("["), (_one_by_one, _multi), spec)


def _either(
    column: pl.DataFrame, first: pl.Series, ways: Sequence[Callable[[pl.DataFrame, Spec], Typed]], spec: Spec
) -> Typed:
    """Type cells in one of two ways. ``first``: whether a cell goes the first of them."""
    if not first.any():
        return ways[1](column, spec)
    if first.all():
        return ways[0](column, spec)
    parts = [column.filter(first), column.filter(~first)]
    done = [way(part, spec) for way, part in zip(ways, parts, strict=True)]
    places = pl.concat([part["i"] for part in parts])
    order = pl.DataFrame({"i": places, "json": pl.concat([one.json for one in done])}).sort("i")
    return Typed(order["json"], [f for one in done for f in one.faults], [o for one in done for o in one.oddities])


def _private(column: pl.DataFrame, spec: Spec) -> Typed:
    """Type cells of private elements, whose VM is unknown.

    Several numbers are an array. Several texts stay one text with backslashes, as HealthImaging has them.
    """
    value = column["value"]
    if spec.rule.kind in {ValueKind.INTEGER, ValueKind.FLOAT}:
        return _either(column, value.str.starts_with("["), (_one_by_one, _private_numbers), spec)
    if spec.rule.kind is ValueKind.BINARY or spec.vr is None or spec.vr in dicom.SINGLE_VALUED:
        return _single(column, spec)
    each = _single(column.with_columns(pl.col("value").str.split("\\")).explode("value"), spec)
    return Typed(quoted(value), each.faults, each.oddities)


def _private_numbers(column: pl.DataFrame, spec: Spec) -> Typed:
    several = column["value"].str.contains("\\", literal=True)
    return _either(column, several, (_multi, _single), spec)


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
        return Typed(quoted(column["value"]), _faults(column, _text_checks(spec)), _oddities(column, spec))
    whole = spec.rule.kind is ValueKind.INTEGER
    form = pl.col("value").str.contains(f"^(?:{_INTEGER if whole else _FLOAT})$")
    number = pl.when(form).then(pl.col("value").str.strip_chars(" "))
    column = column.with_columns((_integer(number) if whole else _float(number)).alias("json"))
    faults, oddities = _faults(column, _number_checks(spec)), _oddities(column, spec)
    if column["json"].has_nulls():
        column = column.with_columns(pl.col("json").fill_null(quoted(column["value"])))
    return Typed(column["json"], faults, oddities)


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
    return Typed(json_arrays, [*each.faults, *_faults(column, _multiplicity_checks(spec))], each.oddities)


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
        sound = _matches(spec.rule.pattern) | (value == "")
        rules.append(_Rule("value-form", ~sound, _why_formless(spec)))
    if spec.vr == "PN":
        why = pl.lit(f"has a component group of more than {LONGEST_GROUP} characters.")
        rules.append(_Rule("value-length", value.str.contains(_LONG_GROUP), why))
    if spec.vr == "IS" and spec.rule.bounds:
        whole = value.str.strip_chars(" ").cast(pl.Int64, strict=False)
        rules.append(_range_check(whole, spec.vr, spec.rule.bounds))
    if _is_free_text(spec):
        refused = refused_in(spec.vr)
        why = pl.coalesce(pl.when(value.str.contains(one.pattern)).then(pl.lit(f"{one.what}.")) for one in refused)
        rules.append(_Rule("value-encoding", value.str.contains(any_of(refused)), why))
    return rules


def _matches(pattern: str) -> pl.Expr:
    return pl.col("value").str.contains(f"^(?:{pattern})$")


def _why_formless(spec: Spec) -> pl.Expr:
    why = pl.lit(f"does not have the form of VR {spec.vr}.")
    if spec.vr not in NEARLY:
        return why
    nearly = _matches(dicom.VRS[spec.vr].pattern or "")
    return pl.when(nearly).then(pl.lit(f"{NEARLY[spec.vr]}.")).otherwise(why)


def _is_free_text(spec: Spec) -> bool:
    return spec.vr is None or spec.vr in dicom.FREE_TEXT


def _number_checks(spec: Spec) -> list[_Rule]:
    name = "a whole number" if spec.rule.kind is ValueKind.INTEGER else "a number"
    why = pl.lit(f"is not {name}, as VR {spec.vr} requires.")
    rules = [_Rule("value-form", pl.col("json").is_null(), why, Weight.KIND)]
    if spec.rule.bounds:
        rules.append(_range_check(pl.col("json").cast(pl.Int128), spec.vr, spec.rule.bounds))
    if spec.vr == "FL":
        large = pl.col("json").cast(pl.Float64).abs() > LONGEST_FLOAT
        rules.append(_Rule("value-range", large, pl.lit("is larger than VR FL allows.")))
    return rules


def _range_check(number: pl.Expr, vr: str | None, bounds: tuple[int, int]) -> _Rule:
    low, high = bounds
    outside = ~number.is_between(pl.lit(low, pl.Int128), pl.lit(high, pl.Int128))
    return _Rule("value-range", outside, pl.lit(f"is not from {low} to {high}, as VR {vr} requires."))


def _multiplicity_checks(spec: Spec) -> list[_Rule]:
    """Check the number of values; any number is allowed in a private element, because its VM is unknown."""
    if spec.private:
        return []
    low, high, step = dicom.multiplicity(spec.vm)
    count = pl.col("value").str.count_matches("\\", literal=True) + 1
    wrong = (count < low) | ((count - low) % step != 0)
    if high is not None:
        wrong |= count > high
    why = pl.format("has {} {}, but its VM is {}.", count, noun_of(count, "value"), pl.lit(spec.vm))
    rules = [_Rule("value-count", wrong, why)]
    if spec.vr in NO_EMPTY_PART:
        hole = pl.col("value").str.contains(r"^\\|\\\\|\\$")
        rules.append(_Rule("value-form", hole, pl.lit("has an empty value among others.")))
    return rules


def _oddities(column: pl.DataFrame, spec: Spec) -> list[pl.DataFrame]:
    """Return valid cells that may not be meant; also some that have a fault."""
    value = pl.col("value")
    odd = []
    if spec.dicom_longest is not None:
        odd.append((LONG.code, value.str.len_chars() > spec.dicom_longest, pl.lit(LONG.text)))
    if _is_free_text(spec):
        noticed = noticed_in(spec.vr)
        text = pl.coalesce(pl.when(value.str.contains(one.pattern)).then(pl.lit(f"{one.what}.")) for one in noticed)
        odd.append(("encoded-value", value.str.contains(any_of(noticed)), text))
    if spec.terms is not None:
        term = pl.col("json") if "json" in column.columns else value.str.strip_chars(" ")
        odd.append(("unlisted-term", ~term.is_in(list(spec.terms.values)) & (term != ""), pl.lit(spec.terms.text)))
    found = [(code, column.filter(when), text) for code, when, text in odd]
    return [rows.select("i", code=pl.lit(code), text=text) for code, rows, text in found if rows.height]


# -- values written as JSON ---------------------------------------------------------------------------------------


def _one_by_one(column: pl.DataFrame, spec: Spec) -> Typed:
    read = [_from_json(text, spec) for text in column["value"]]
    code = "value-json" if spec.multi else "value-sequence"
    faults = [
        {"i": i, "code": code, "why": fault.text, "weight": fault.weight}
        for i, (_, fault) in zip(column["i"], read, strict=True)
        if fault is not None
    ]
    oddities = [
        {"i": i, "code": odd.code, "text": odd.text}
        for i, (text, fault) in zip(column["i"], read, strict=True)
        if text is not None and fault is None
        for odd in oddities_of(_attribute_of(spec), json.loads(text), spec.terms)
    ]
    return Typed(
        pl.Series([text for text, _ in read], dtype=pl.String),
        [pl.DataFrame(faults, schema=FAULTS)] if faults else [],
        [pl.DataFrame(oddities, schema=ODDITIES)] if oddities else [],
    )


def _attribute_of(spec: Spec) -> dicom.Attribute:
    """Return an attribute of no name that has these rules."""
    return dicom.Attribute("", 0x00091001 if spec.private else 0, spec.vr or "UN", spec.vm, dicom.Level.INSTANCE)


def _from_json(text: str, spec: Spec) -> tuple[str | None, ValueFault | None]:
    """Parse JSON text to compact JSON text, and its fault."""
    try:
        value = strict_json(text)
    except ValueError as error:
        return None, ValueFault(Weight.NOT_JSON, f"is not valid JSON: {error}.")
    if spec.multi and spec.vr in {"DS", "IS"} and isinstance(value, list):
        value = [json_text(item) if type(item) in {int, float} else item for item in value]
    if spec.rule.kind is ValueKind.SEQUENCE and not _is_sequence(value):
        return None, ValueFault(Weight.NOT_JSON, "is not a JSON array of objects.")
    fault = fault_of(_attribute_of(spec), value)
    return json_text(value), fault and ValueFault(fault.weight, f"is invalid: {fault.text}.")


def _is_sequence(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)
