"""Changes of the UID of a series or instance (*renames*), and their place among the other edits of the image set.

The UID is the key of the path of every edit inside (update-image-set-metadata, example 7). Whether that key changes
with the UID is not documented, so a plan must not depend on it:

*   An edit that names the old UID is made before the rename or in the same call, wherever the list has it. Edits of
    different attributes commute, so the rename can be the last (`last`).
*   An edit that names the new UID is made in a later call (`waiting`).

`bulkedit.plans.rename_problems` finds the rows whose series or instance is in doubt.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from bulkedit.edits.edit import Action

RENAMING: Final = {"SeriesInstanceUID": "series_uid", "SOPInstanceUID": "instance_uid"}  # column with the old UID
_SET: Final = "image_set_id"
# columns of the place of a series or instance, in an image set; the last one has the old UID
INSIDE: Final = {"SOPInstanceUID": ["series_uid", "instance_uid"], "SeriesInstanceUID": ["series_uid"]}
_WAITING: Final = pl.Schema({"edit": pl.UInt32(), "after": pl.UInt32()})


def of_uid() -> pl.Expr:
    """Whether an edit is of the UID of a series or instance."""
    return pl.col("attribute").is_in(list(RENAMING)).fill_null(value=False)


def renames(edits: pl.DataFrame) -> pl.DataFrame:
    """Return the edits that change the UID of a series or instance, with old String and new String.

    An edit that sets the UID that its path names is not a rename.
    """
    old = pl.when(pl.col("attribute") == "SeriesInstanceUID").then("series_uid").otherwise("instance_uid")
    found = edits.filter(of_uid() & (pl.col("action") == Action.SET))
    found = found.with_columns(old=old, new=pl.col("value").str.strip_chars('"'))
    return found.filter(pl.col("old") != pl.col("new"))


def last(edits: pl.DataFrame, *, whole_rows: bool) -> pl.DataFrame:
    """Move each rename behind the edits that name the old UID; a series comes after its instances.

    ``edits``: in the order of `bulkedit.edits.edit.in_order`, without the rows of `rename_problems.problems`, so that
    nothing between a rename and such an edit depends on the rename. ``whole_rows``: a row with several edits is not
    moved, and not divided.
    """
    changing = renames(edits)
    if not changing.height:
        return edits
    there = edits.with_row_index("at").join(changing.select(_SET).unique(), on=_SET, how="semi", maintain_order="left")
    there = there.filter(pl.col("version").is_null()).with_columns(
        epoch=epoch(),
        end=pl.col("at").max().over(_SET, "row") if whole_rows else pl.col("at"),
        movable=(pl.len().over(_SET, "row") == 1) if whole_rows else pl.lit(value=True),
    )
    moved = []
    for rank, (attribute, names) in enumerate(INSIDE.items(), 1):
        place = [_SET, *names, "epoch"]
        uids = there.filter(pl.col("movable") & (pl.col("attribute") == attribute))
        uids = uids.join(renames(uids).select(place).unique(), on=place, how="semi")
        inside = there.join(uids.select(place).unique(), on=place, how="semi")
        ends = inside.group_by(place).agg(pl.col("end").max())
        moved.append(uids.select("at", *place).join(ends, on=place).select("at", turn=pl.col("end") * 3 + rank))
    turns = edits.select(at=pl.int_range(pl.len(), dtype=pl.UInt32)).join(
        pl.concat(moved), on="at", how="left", maintain_order="left"
    )
    turn = turns.select(turn=pl.coalesce("turn", pl.col("at") * 3)).to_series()
    return edits if turn.is_sorted() else edits.with_columns(turn).sort("turn", maintain_order=True).drop("turn")


def as_units(edits: pl.DataFrame) -> pl.DataFrame:
    """Make the changes of one UID a unit: if a split of their call separated them, the first would end their path.

    ``edits``: with ``edit`` and ``unit`` UInt32, of which every edit without a version has its own.
    """
    if not renames(edits).height:
        return edits
    uids = edits.filter(of_uid() | (pl.col("action") == Action.REVERT)).with_columns(epoch=epoch())
    uids = uids.filter(of_uid() & pl.col("version").is_null())
    together = pl.col("edit").min().over(_SET, "epoch", "attribute", "series_uid", "instance_uid")
    joined = edits.join(uids.select("edit", together=together), on="edit", how="left", maintain_order="left")
    return joined.with_columns(unit=pl.coalesce("together", "unit")).drop("together")


def epoch() -> pl.Expr:
    """Count the reverts before the edit: afterwards, UIDs mean what they meant in the older version."""
    return (pl.col("action") == Action.REVERT).cast(pl.UInt32).cum_sum().over(_SET)


def waiting(edits: pl.DataFrame) -> pl.DataFrame:
    """Return the edits that must be in a later call than another edit: edit UInt32, after UInt32 (the latest of them).

    ``edits``: with ``edit`` UInt32, in this order. An edit waits for the rename that makes the UID that it names. A
    rename waits for the edits that name its new UID before it: they mean something else, and may free the UID.
    """
    changing = renames(edits)
    if not changing.height:
        return pl.DataFrame(schema=_WAITING)
    found = []
    for attribute, (*around, uid) in INSIDE.items():
        named = edits.select(_SET, *around, "edit", uid=uid)
        gives = changing.filter(attribute=attribute).select(_SET, *around, "edit", uid="new")
        found += [_latest_before(named, gives), _latest_before(gives, named)]
    return pl.concat(found).group_by("edit").agg(pl.col("after").max()).cast(_WAITING)


def _latest_before(edits: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Return for each edit the latest earlier one of ``others`` with the same place: edit, after."""
    place = [name for name in others.columns if name != "edit"]
    some = edits.join(others.select(place).unique(), on=place, how="semi").sort("edit")
    before = others.select(*place, "edit", after="edit").sort("edit")
    # both are sorted, which polars cannot check by group: it would warn on stderr
    found = some.join_asof(before, on="edit", by=place, allow_exact_matches=False, check_sortedness=False)
    return found.select("edit", "after").drop_nulls()
