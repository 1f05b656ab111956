"""Finds rows whose series or instance is in doubt, because the list changes its UID."""

from __future__ import annotations

from typing import Final

import polars as pl

from bulkedit.edits import SET_ASIDE
from bulkedit.plans.conflicts import rows_set_aside
from bulkedit.plans.merge import WHOLE
from bulkedit.plans.renames import epoch, of_uid, renames

_SET: Final = "image_set_id"
_KINDS: Final = {  # by attribute: the place of a series or instance; its last column has the UID
    "SeriesInstanceUID": [_SET, "epoch", "series_uid"],
    "SOPInstanceUID": [_SET, "epoch", "base", "instance_uid"],
}
_UNSET: Final = pl.lit(None, pl.UInt32)


def problems(edits: pl.DataFrame, *, whole_rows: bool, in_doubt: bool) -> pl.DataFrame:
    """Rows whose series or instance is in doubt because of a rename: schema `SET_ASIDE`.

    ``edits``: schema `EDITS` and image_set_id String, in the order of `bulkedit.edits.edit.in_order`. ``whole_rows``: a
    row is one call. ``in_doubt``: also rows that are clear only if the order of the list is meant.
    """
    changing = renames(edits)
    if not changing.height:
        return pl.DataFrame(schema=SET_ASIDE)
    there = edits.join(changing.select(_SET).unique(), on=_SET, how="semi", maintain_order="left")
    found = [_cyclic(changing)]
    related = _related(there)
    found += [_shared(related), _late(related, whole_rows=whole_rows)]
    if in_doubt:
        circles = found[0].select("row").unique()
        found.append(_chained(related.join(circles, on="row", how="anti", maintain_order="left")))
    return pl.concat(found)


def _related(edits: pl.DataFrame) -> pl.DataFrame:
    """Add how edits are related to the renames of their image set.

    Adds at UInt32 (position), epoch UInt32 (reverts before the edit), base String (series_uid before its rename), and
    for each attribute of `_KINDS` the columns of `_named`.
    """
    edits = edits.with_row_index("at").with_columns(epoch=epoch())
    of_series = renames(edits).filter(attribute="SeriesInstanceUID")
    edits = _named(edits, of_series, "SeriesInstanceUID")
    origin = of_series.select(_SET, "epoch", series_uid="new", base="old").unique([_SET, "epoch", "series_uid"])
    edits = edits.join(origin, on=[_SET, "epoch", "series_uid"], how="left", maintain_order="left").with_columns(
        base=pl.when(pl.col("SeriesInstanceUID new").is_null()).then("series_uid").otherwise("base")
    )
    return _named(edits, renames(edits).filter(attribute="SOPInstanceUID"), "SOPInstanceUID")


def _named(edits: pl.DataFrame, changing: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Add the position of the first earlier rename of the UID that the edit names (``kind`` old) and to it (new).

    ``kind`` used: the first edit that names the new UID of the UID that the edit names.
    """
    *within, uid = _KINDS[kind]
    if not changing.height:
        return edits.with_columns(_UNSET.alias(f"{kind} {name}") for name in ("old", "new", "used"))
    for name in ("old", "new"):
        first = changing.group_by(*within, pl.col(name).alias(uid)).agg(pl.col("at").min().alias("first"))
        edits = edits.join(first, on=_KINDS[kind], how="left", maintain_order="left")
        edits = edits.with_columns(pl.when(pl.col("first") < pl.col("at")).then("first").alias(f"{kind} {name}"))
        edits = edits.drop("first")
    uses = edits.drop_nulls(f"{kind} new").group_by(_KINDS[kind]).agg(pl.col("at").min().alias(f"{kind} used"))
    if not uses.height:
        return edits.with_columns(_UNSET.alias(f"{kind} used"))
    uses = changing.select(*within, "old", pl.col("new").alias(uid)).join(uses, on=_KINDS[kind])
    uses = uses.group_by(*within, pl.col("old").alias(uid)).agg(pl.col(f"{kind} used").min())
    return edits.join(uses, on=_KINDS[kind], how="left", maintain_order="left")


def _late(related: pl.DataFrame, *, whole_rows: bool) -> pl.DataFrame:
    """Rows that name an old UID after its rename, and cannot be applied before it."""
    found = [_late_of(related, kind, whole_rows=whole_rows) for kind in _KINDS]
    return pl.concat(found).unique("row", keep="first", maintain_order=True)


def _late_of(related: pl.DataFrame, kind: str, *, whole_rows: bool) -> pl.DataFrame:
    # a row that is one call cannot be before a rename if it changes a UID itself
    fixed = of_uid().any().over(_SET, "row") if whole_rows else pl.lit(value=False)
    late = related.with_columns(fixed=fixed).drop_nulls(f"{kind} old")
    if not late.height:
        return pl.DataFrame(schema=SET_ASIDE)
    several = pl.len().over(_SET, "row") > 1 if whole_rows else pl.lit(value=False)
    by = related.select(pl.col("at").alias(f"{kind} old"), by_row="row", by_version="version", by_several=several)
    late = late.join(by, on=f"{kind} old", maintain_order="left")
    named_new = pl.any_horizontal(pl.col(f"{one} new").is_not_null() for one in _KINDS)
    versioned = pl.col("version").is_not_null() | pl.col("by_version").is_not_null()
    immovable = pl.col("fixed") | pl.col("by_several") | versioned
    doubtful = (
        named_new
        | (pl.col(f"{kind} used") < pl.col("at"))
        | pl.col("action").is_in(WHOLE)
        | (immovable & (pl.col("row") != pl.col("by_row")))
    )
    thing, column = ("a series", "series_uid") if kind == "SeriesInstanceUID" else ("an instance", "instance_uid")
    return rows_set_aside(
        late.filter(doubtful),
        "old-uid",
        pl.when(pl.col("row") == pl.col("by_row"))
        .then(pl.lit(f"names {thing} by a UID that its own cells change."))
        .otherwise(pl.format(f"names {thing} by a UID that row {{}} changes.", "by_row")),
        "At this row the UID is no longer in use, or belongs to something else.",
        "Put this row before the one that changes the UID, or type the new UID.",
        column=column,
    )


def _chained(related: pl.DataFrame) -> pl.DataFrame:
    """Rows that give a UID which a later row changes, and that later row, unless both have an order or a version."""
    ordered = pl.col("order").is_not_null() | pl.col("version").is_not_null()
    placed = related.select("at", first="row", first_ordered=ordered)
    found = []
    for kind in _KINDS:
        later = renames(related.drop_nulls(f"{kind} new")).filter(attribute=kind)
        pairs = later.select("row", at=f"{kind} new", ordered=ordered).join(placed, on="at", maintain_order="left")
        pairs = pairs.filter((pl.col("row") != pl.col("first")) & ~(pl.col("ordered") & pl.col("first_ordered")))
        found += [pairs.select("row", other="first"), pairs.select(row="first", other="row")]
    return rows_set_aside(
        pl.concat(found).sort("row", "other"),
        "chained-rename",
        pl.format("gives or changes a UID that row {} changes or gives.", "other"),
        "Either two series or instances are meant, or one that is changed twice.",
        "If they are two, put the row that frees the UID before the one that gives it. If it is one, keep one row, "
        "with the last UID. To apply both as the list has them, give each an order, or use `on_contradiction=last`",
        column="value",
    )


def _shared(related: pl.DataFrame) -> pl.DataFrame:
    """Rows that leave two series or instances of one image set with the same UID."""
    found = []
    for attribute, (*_, uid) in _KINDS.items():
        place = [_SET, "epoch", *(["base"] if uid == "instance_uid" else []), "old"]
        new = [_SET, "epoch", "new"]
        given = renames(related).filter(attribute=attribute).unique(place, keep="last", maintain_order=True)
        given = given.join(given.select(_SET, "epoch", new="old"), on=new, how="anti", maintain_order="left")  # freed
        given = given.filter(pl.len().over(new) > 1)
        found.append(given.with_columns(first=pl.col("row").min().over(new), last=pl.col("row").max().over(new)))
    rows = pl.concat(found)
    other = pl.when(pl.col("row") == pl.col("first")).then("last").otherwise("first")
    return rows_set_aside(
        rows,
        "same-uid",
        pl.when(pl.col("first") == pl.col("last"))
        .then(pl.format("gives two series or instances the same {}, in its own cells.", "attribute"))
        .otherwise(pl.format("gives the same {} as row {}, to another series or instance.", "attribute", other)),
        "A cell was copied into other rows.",
        "Give each series and each instance a UID of its own.",
        column="value",
    )


def _cyclic(changing: pl.DataFrame) -> pl.DataFrame:
    """Rows that swap the UIDs of series or instances of one image set.

    The first of them would give two series or instances the same UID.
    """
    keys = [_SET, "attribute"]
    # a member of a circle changes a UID that is given, and gives one that is changed
    given = changing.select(*keys, old="new")
    changing = changing.join(given, on=[*keys, "old"], how="semi", maintain_order="left")
    changed = changing.select(*keys, new="old")
    changing = changing.join(changed, on=[*keys, "new"], how="semi", maintain_order="left")
    circles: dict[int, set[int]] = {}  # row -> the rows of its circles
    for _, same in changing.group_by(keys):
        new = dict(same.select("old", "new").iter_rows())
        row_of = dict(same.select("old", "row").iter_rows())
        for row, old in same.select("row", "old").iter_rows():
            if circle := _circle(old, new):
                circles.setdefault(row, set()).update(row_of[uid] for uid in circle)
    alone = [row for row, rows in circles.items() if rows == {row}]
    return rows_set_aside(
        changing.filter(pl.col("row").is_in(list(circles))),
        "cyclic-rename",
        pl.when(pl.col("row").is_in(alone))
        .then(pl.format("exchanges {} between series or instances, in its own cells.", "attribute"))
        .otherwise(pl.format("gives {} a UID that another row of the list changes, in a circle.", "attribute")),
        "Edits are applied one after another, and two series or instances cannot share a UID in between.",
        "Use a new UID that is not in use.",
        column="value",
    )


def _circle(old: str, new: dict[str, str]) -> list[str]:
    """Return the UIDs of the circle of renames that begins with a UID; empty if it does not lead back."""
    at, seen = new[old], {old: None}
    while at in new and at not in seen:
        seen[at] = None
        at = new[at]
    return list(seen) if at == old else []
