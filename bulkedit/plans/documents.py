"""Writes the attribute documents of calls by joining text, without a Python object per edit.

The documents have the shape of the metadata document and begin with SchemaVersion, as in every example of the page
update-image-set-metadata. UIDs and attribute names need no escaping: the edit list admits only their characters.

The members of an object are collected into a list and joined, which takes polars a fifth of the time of an aggregation
to text. The rows are sorted, so that polars finds the groups without a search.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from bulkedit.dicom.dictionary import SCHEMA_VERSION, Level
from bulkedit.edits.edit import STORED_VALUE, Action

_REMOVALS: Final = [str(Action.REMOVE), str(Action.REMOVE_INSTANCE), str(Action.REMOVE_SERIES)]
_LEVEL_MEMBERS: Final = {"patient": Level.PATIENT, "study": Level.STUDY}


def documents(edits: pl.DataFrame) -> pl.DataFrame:
    """Return the two documents of each call that is not a revert, by call number.

    ``edits``: ``call`` UInt32 and the columns of `bulkedit.edits.edit.EDITS` for action, place, attribute and value; no
    two edits of a call name the same place and attribute. Reverts are skipped.

    Returns call UInt32, updatable String and removable String (null if empty), and lookup Boolean: ``removable`` has a
    value that must be read from the data store first.
    """
    edits = in_order_of("call", edits.filter(pl.col("action") != Action.REVERT))
    removal = pl.col("action").is_in(_REMOVALS)
    removals = edits.filter(removal)
    if not removals.height:
        sets = _texts(edits).rename({"text": "updatable"})
        return sets.with_columns(removable=pl.lit(None, pl.String), lookup=pl.lit(value=False))
    updatable = _texts(edits.filter(~removal)).rename({"text": "updatable"})
    calls = edits.select(pl.col("call").unique(maintain_order=True))
    lookups = removals.filter(value=STORED_VALUE).select(pl.col("call").unique(), lookup=pl.lit(value=True))
    return (
        calls.join(updatable, on="call", how="left", maintain_order="left")
        .join(_texts(removals).rename({"text": "removable"}), on="call", how="left", maintain_order="left")
        .join(lookups, on="call", how="left", maintain_order="left")
        .with_columns(pl.col("lookup").fill_null(value=False))
    )


def in_order_of(number: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Sort rows by a column of numbers and mark it as sorted, which makes group_by fast."""
    if rows.get_column(number).is_sorted():
        return rows.with_columns(pl.col(number).set_sorted())
    return rows.sort(number, maintain_order=True)


def _texts(edits: pl.DataFrame) -> pl.DataFrame:
    """Return one document per call, made of all given edits: call, text String."""
    whole = edits.select(pl.col("call").unique(maintain_order=True).set_sorted())
    members = edits.select("call", "level", text=_member("attribute", "value"))
    parts = [_joined(members.filter(level=level), name, ["call"]) for name, level in _LEVEL_MEMBERS.items()]
    for part in [*parts, _series(edits)]:
        whole = whole.join(part, on="call", how="left", maintain_order="left")
    text = _text(
        pl.lit(f'{{"SchemaVersion":{SCHEMA_VERSION}'),
        *_where_any(["patient"], pl.lit(',"Patient":'), *_object(DICOM="patient")),
        *_where_any(["study", "series"], pl.lit(',"Study":'), *_object(DICOM="study", Series="series")),
        pl.lit("}"),
    )
    return whole.select("call", text=text)


def _series(edits: pl.DataFrame) -> pl.DataFrame:
    """Return the members of Study.Series: call, series String."""
    place = ["call", "series_uid"]
    inside = edits.filter(pl.col("series_uid").is_not_null())
    own = inside.filter(pl.col("instance_uid").is_null())
    dicom = _joined(own.select(*place, text=_member("attribute", "value")), "dicom", place)
    both = dicom.join(_instances(inside), on=place, how="full", coalesce=True).sort(place)
    one = _text(_quoted("series_uid"), pl.lit(":"), *_object(DICOM="dicom", Instances="instances"))
    return _joined(both.select("call", text=one), "series", ["call"])


def _instances(edits: pl.DataFrame) -> pl.DataFrame:
    """Return the members of Instances of each series: call, series_uid, instances String."""
    place = ["call", "series_uid", "instance_uid"]
    inside = edits.filter(pl.col("instance_uid").is_not_null())
    vrs = inside.filter(pl.col("vr").is_not_null(), action=Action.SET)
    dicom = _joined(inside.select(*place, text=_member("attribute", "value")), "dicom", place)
    both = dicom.join(
        _joined(vrs.select(*place, text=_member("attribute", _quoted("vr"))), "vrs", place), on=place, how="left"
    )
    one = _text(_quoted("instance_uid"), pl.lit(":"), *_object(DICOM="dicom", DICOMVRs="vrs"))
    return _joined(both.sort(place).select(*place[:2], text=one), "instances", place[:2])


def _joined(members: pl.DataFrame, name: str, place: list[str]) -> pl.DataFrame:
    """Join the texts of each place with commas: the place columns, and ``name`` String, null if there is no text.

    ``members``: the place columns, and ``text`` String, null for the removal of a whole instance or series.
    """
    texts = members.group_by(place, maintain_order=True).agg("text")
    joined = texts.select(*place, pl.col("text").list.join(",").alias(name))
    return joined.with_columns(pl.when(pl.col(name) != "").then(name).alias(name))


def _member(attribute: str, value: str | pl.Expr) -> pl.Expr:
    """Return a member of a JSON object, null if the attribute is null."""
    return pl.format('"{}":{}', attribute, value)


def _text(*parts: pl.Expr) -> pl.Expr:
    """Concatenate the parts that are not null, in one step: each further step would copy the text before it."""
    return pl.concat_str(parts, ignore_nulls=True)


def _object(**columns: str) -> list[pl.Expr]:
    """Return the parts of a JSON object whose members are the columns that are not null, each as an object."""
    parts, before = [pl.lit("{")], list[pl.Expr]()
    for name, column in columns.items():
        there = pl.col(column).is_not_null()
        if before:
            parts.append(pl.when(there & pl.any_horizontal(before)).then(pl.lit(",")))
        parts += [pl.when(there).then(pl.lit(f'"{name}":{{')), pl.col(column), pl.when(there).then(pl.lit("}"))]
        before.append(there)
    return [*parts, pl.lit("}")]


def _where_any(columns: list[str], *parts: pl.Expr) -> list[pl.Expr]:
    """Return the parts, null if all these columns are null."""
    there = pl.any_horizontal(pl.col(columns).is_not_null())
    return [pl.when(there).then(part) for part in parts]


def _quoted(column: str) -> pl.Expr:
    return pl.lit('"') + pl.col(column) + '"'
