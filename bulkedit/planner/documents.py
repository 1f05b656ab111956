"""The attribute documents of calls, written from edits by joining text, without a Python object per edit.

The documents have the shape of the metadata document and begin with SchemaVersion, as in every example of the page
update-image-set-metadata. UIDs and attribute names need no escaping: the edit list has let only their characters in.
"""

from __future__ import annotations

import polars as pl

from bulkedit.dicom import SCHEMA_VERSION, Level
from bulkedit.edit import STORED_VALUE, Action

_REMOVALS = [str(Action.REMOVE), str(Action.REMOVE_INSTANCE), str(Action.REMOVE_SERIES)]
_DOCUMENT = ["call", "removal"]


def documents(edits: pl.LazyFrame) -> pl.LazyFrame:
    """The two documents of each call.

    ``edits``: ``call`` UInt32 and the columns of `bulkedit.edit.EDITS` that name action, place, attribute and value;
    no two edits of a call name the same place and attribute. Reverts are passed over.
    Returns call UInt32, updatable String, removable String (null where there is nothing), lookup Boolean
    (``removable`` has a value that is to be read from the store); one row a call that is no revert.
    """
    edits = edits.filter(pl.col("action") != Action.REVERT).with_columns(
        removal=pl.col("action").is_in(_REMOVALS), member=_quoted("attribute") + ":" + pl.col("value")
    )
    text = pl.concat_str(
        pl.lit(f'{{"SchemaVersion":{SCHEMA_VERSION}'),
        _when_any(["patient"], pl.lit(',"Patient":') + _object(dicom="patient")),
        _when_any(["study", "series"], pl.lit(',"Study":') + _object(dicom="study", series="series")),
        pl.lit("}"),
    )
    whole = _tops(edits).join(_series(edits), on=_DOCUMENT, how="full", coalesce=True).select(*_DOCUMENT, text=text)
    lookups = edits.group_by("call").agg(lookup=(pl.col("removal") & (pl.col("value") == STORED_VALUE)).any())
    return (
        whole.group_by("call")
        .agg(
            updatable=pl.col("text").filter(~pl.col("removal")).first(),
            removable=pl.col("text").filter("removal").first(),
        )
        .join(lookups.with_columns(pl.col("lookup").fill_null(value=False)), on="call")
    )


def _tops(edits: pl.LazyFrame) -> pl.LazyFrame:
    """The members of Patient.DICOM and Study.DICOM: call, removal, patient String, study String."""
    here = edits.filter(pl.col("level").is_in([str(Level.PATIENT), str(Level.STUDY)]))
    return (
        here.group_by(_DOCUMENT, maintain_order=True)
        .agg(
            patient=_members(pl.col("member").filter(pl.col("level") == Level.PATIENT)),
            study=_members(pl.col("member").filter(pl.col("level") == Level.STUDY)),
        )
        .with_columns(_filled("patient", "study"))
    )


def _series(edits: pl.LazyFrame) -> pl.LazyFrame:
    """The members of Study.Series: call, removal, series String."""
    place = [*_DOCUMENT, "series_uid"]
    here = edits.filter(pl.col("series_uid").is_not_null() & pl.col("instance_uid").is_null())
    own = here.group_by(place, maintain_order=True).agg(dicom=_members(pl.col("member")))
    own = own.with_columns(_filled("dicom"))
    both = own.join(_instances(edits), on=place, how="full", coalesce=True)
    one = _quoted("series_uid") + ":" + _object(dicom="dicom", instances="instances")
    return both.group_by(_DOCUMENT, maintain_order=True).agg(series=one.str.join(","))


def _instances(edits: pl.LazyFrame) -> pl.LazyFrame:
    """The members of Instances of each series: call, removal, series_uid, instances String."""
    place = [*_DOCUMENT, "series_uid", "instance_uid"]
    here = edits.filter(pl.col("instance_uid").is_not_null())
    own = (
        here.group_by(place, maintain_order=True)
        .agg(
            dicom=_members(pl.col("member")),
            vrs=_members((_quoted("attribute") + ":" + _quoted("vr")).filter(pl.col("action") == Action.SET)),
        )
        .with_columns(_filled("dicom", "vrs"))
    )
    one = _quoted("instance_uid") + ":" + _object(dicom="dicom", vrs="vrs")
    return own.group_by([*_DOCUMENT, "series_uid"], maintain_order=True).agg(instances=one.str.join(","))


def _members(each: pl.Expr) -> pl.Expr:
    """Texts joined by commas; empty where there is none (a removal of an instance has no members): see `_filled`."""
    return each.str.join(",")


def _filled(*columns: str) -> list[pl.Expr]:
    """Null in place of an empty text: asked of all groups at once, which costs a fraction of asking each."""
    return [pl.when(pl.col(name) != "").then(name).alias(name) for name in columns]


def _object(*, dicom: str, series: str | None = None, instances: str | None = None, vrs: str | None = None) -> pl.Expr:
    """A JSON object of the named columns that are not null, each an object of its own."""
    parts = {"DICOM": dicom, "DICOMVRs": vrs, "Instances": instances, "Series": series}
    texts = [
        pl.when(pl.col(column).is_not_null()).then(pl.lit(f'"{name}":{{') + pl.col(column) + "}")
        for name, column in parts.items()
        if column is not None
    ]
    return pl.lit("{") + pl.concat_str(texts, separator=",", ignore_nulls=True) + "}"


def _when_any(columns: list[str], text: pl.Expr) -> pl.Expr:
    return pl.when(pl.any_horizontal(pl.col(columns).is_not_null())).then(text).otherwise(pl.lit(""))


def _quoted(column: str) -> pl.Expr:
    return pl.lit('"') + pl.col(column) + '"'
