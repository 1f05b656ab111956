"""Finds studies that a list makes inconsistent: primary image sets that end with different Patient or Study attributes.

HealthImaging keeps these attributes equal in all primary image sets of a study (update-image-set-metadata). A revert of
only some of the image sets makes them differ, because it restores a whole version. So does an edit of only some of
them, with ``--study-wide off`` and a service that accepts it. Nothing is read from the data store: each attribute is
followed from row to row, and the content of older versions is unknown.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from bulkedit._words import plural
from bulkedit.dicom.dictionary import Level
from bulkedit.edits.edit import Action
from bulkedit.plans.counts import WarningRecord

_ID: Final = "image_set_id"
_TOP: Final = [str(Level.PATIENT), str(Level.STUDY)]
_KEY: Final = ["study", "level", "attribute"]
_LATE: Final = 2**32  # rows without a version come after those with one (`bulkedit.edits.edit.IN_ORDER`)
_BEFORE, _REVERTED = "before", "reverted"  # an attribute that no row has changed: at all, or since a revert
SHOWN: Final = 5

# one row per row of the list that makes a study inconsistent
INCONSISTENT_ROWS: Final = pl.Schema(
    {
        "row": pl.UInt32(),
        "study": pl.String(),
        "reverts": pl.Boolean(),  # the row is a revert
        "attribute": pl.String(),  # one that differs afterwards; null if that depends on the older version
        "after": pl.UInt32(),  # the first row of the list that has changed it; null with attribute
        "there": pl.UInt32(),  # primary image sets of the study that are reverted or changed by such rows
        "size": pl.UInt32(),  # all primary image sets of the study
        "missing": pl.List(pl.String()),  # the first `SHOWN` others
    }
)


def is_top() -> pl.Expr:
    """Whether an edit changes one attribute at Patient or Study level."""
    return pl.col("level").is_in(_TOP) & pl.col("attribute").is_not_null()


def inconsistent_rows(edits: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Return the rows after which image sets of a study differ, for certain or possibly: `INCONSISTENT_ROWS`.

    ``edits``: columns edit, row, same_as, study_wide and those of `EDITS`, one row per image set; ``members``: primary
    image sets of studies with several (`bulkedit.plans.study_wide.several_primaries`).
    """
    alone = (pl.col("action") == Action.REVERT) | (is_top() & ~pl.col("study_wide"))
    suspects = edits.filter(alone).select(_ID).unique()
    studies = members.join(suspects, on=_ID, how="semi").select("study").unique()
    if not studies.height:
        return pl.DataFrame(schema=INCONSISTENT_ROWS)
    members = members.join(studies, on="study", how="semi").select(_ID, "study", "size")
    placed = edits.join(members, on=_ID).with_columns(at=_at(pl.col("version").is_null()))
    reverts = placed.filter(pl.col("action") == Action.REVERT)
    reverts = reverts.sort("at").group_by(_ID).agg(reverted_at=pl.col("at").last(), reverted_by=pl.col("row").last())
    ends = _ends(_writes(placed, members), members, reverts)
    differing = ends.filter(pl.col("end").n_unique().over(_KEY) > 1)
    certain = _certain(differing, members)
    possible = _possible(reverts, members, certain)
    return pl.concat([certain, possible]).unique("row", keep="first", maintain_order=True).sort("row")


def _at(late: pl.Expr) -> pl.Expr:
    """Return the position of an edit among those of its image set."""
    return pl.col("edit").cast(pl.UInt64) + pl.when(late).then(_LATE).otherwise(0).cast(pl.UInt64)


def _writes(placed: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Return every write of a Patient or Study attribute; study-wide ones also for image sets that are not named."""
    value = pl.concat_str(pl.col("action", "value", "vr").cast(pl.String).fill_null(""), separator=" ")
    end = pl.when(pl.col("action") == Action.SET).then(value).otherwise(pl.col("action").cast(pl.String))
    writes = placed.filter(is_top()).with_columns(end=end, node=pl.coalesce("same_as", "edit"))
    columns = [_ID, *_KEY, "row", "at", "end", "study_wide"]
    sent = writes.filter(pl.col("study_wide") & (pl.col("edit") == pl.col("node"))).with_columns(
        at=_at(pl.lit(value=True))
    )
    meant = (
        sent.drop(_ID, "size")
        .join(members, on="study")
        .join(writes.filter("study_wide").select(_ID, "node"), on=[_ID, "node"], how="anti")
    )
    return pl.concat([writes.select(columns), meant.select(columns)]).with_columns(pl.col("level").cast(pl.String))


def _ends(writes: pl.DataFrame, members: pl.DataFrame, reverts: pl.DataFrame) -> pl.DataFrame:
    """Return the last write of each changed attribute in each image set of its study: end String, and the rows."""
    last = writes.sort("at").group_by(_ID, *_KEY).agg(pl.col("at", "end", "row", "study_wide").last())
    first = writes.group_by(_KEY).agg(after=pl.col("row").min())
    grid = first.join(members, on="study").join(last, on=[_ID, *_KEY], how="left").join(reverts, on=_ID, how="left")
    taken_back = pl.col("reverted_at").is_not_null() & (pl.col("at").is_null() | (pl.col("reverted_at") > pl.col("at")))
    state = pl.when(taken_back).then(pl.lit(_REVERTED)).otherwise(pl.col("end").fill_null(_BEFORE))
    return grid.with_columns(end=state, reverts=taken_back)


def _certain(differing: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Return rows that leave some image sets without a change that others get. ``differing``: rows of `_ends`."""
    asked = ~pl.col("end").is_in([_BEFORE, _REVERTED])
    known = differing.filter(asked.any().over(_KEY))
    blamed = known.filter(pl.col("reverts") | (asked & ~pl.col("study_wide"))).with_columns(
        by=pl.when("reverts").then("reverted_by").otherwise("row")
    )
    first = blamed.sort("by", "after", "attribute").group_by("by", "study", maintain_order=True)
    rows = first.agg(pl.col("reverts", "attribute", "after", "size").first()).rename({"by": "row"})
    touched = blamed.select("study", "reverts", _ID).unique()
    return _with_counts(rows, touched, members)


def _possible(reverts: pl.DataFrame, members: pl.DataFrame, certain: pl.DataFrame) -> pl.DataFrame:
    """Return reverts of a part of a study, whose older versions may have other Patient or Study attributes."""
    found = reverts.join(members, on=_ID).join(certain, on="study", how="anti")
    part = found.filter(pl.len().over("study") < pl.col("size"))
    rows = part.select(
        "study",
        "size",
        row="reverted_by",
        reverts=pl.lit(value=True),
        attribute=pl.lit(None, pl.String),
        after=pl.lit(None, pl.UInt32),
    ).unique(["row", "study"], maintain_order=True)
    return _with_counts(rows, part.select("study", _ID, reverts=pl.lit(value=True)), members)


def _with_counts(rows: pl.DataFrame, touched: pl.DataFrame, members: pl.DataFrame) -> pl.DataFrame:
    """Add to rows how many image sets of the study are changed, and which are not: schema `INCONSISTENT_ROWS`."""
    kinds = touched.select("study", "reverts").unique()
    others = members.join(kinds, on="study").join(touched, on=["study", "reverts", _ID], how="anti")
    missing = others.sort(_ID).group_by("study", "reverts").agg(missing=pl.col(_ID).head(SHOWN))
    there = touched.group_by("study", "reverts").agg(there=pl.len())
    return (
        rows.join(there, on=["study", "reverts"], how="left")
        .join(missing, on=["study", "reverts"], how="left")
        .with_columns(pl.col("missing").fill_null([]))
        .select(INCONSISTENT_ROWS.names())
        .cast(INCONSISTENT_ROWS)
    )


def listed(first: str, count: pl.Expr) -> pl.Expr:
    """Return the first `SHOWN` names (List of String), and how many of ``count`` are not shown."""
    rest = pl.when(count > SHOWN).then(pl.format(" and {} more", count - SHOWN))
    return pl.col(first).list.join(", ") + rest.otherwise(pl.lit(""))


def warnings(found: pl.DataFrame) -> list[WarningRecord]:
    """Return the warnings for rows that make studies inconsistent. ``found``: `INCONSISTENT_ROWS`."""
    records = []
    for code, rows in (("study-inconsistent", found.drop_nulls("attribute")), ("study-part-reverted", _unknown(found))):
        if not rows.height:
            continue
        studies = rows.get_column("study").n_unique()
        missing = rows.select(names=listed("missing", pl.col("size") - pl.col("there"))).item(0, "names")
        numbers = rows.get_column("row").unique().sort().to_list()
        records.append(
            WarningRecord(
                code=code,
                problem=_PROBLEMS[code].format(
                    studies="the study" if studies == 1 else plural(studies, "study", "studies"),
                    attribute=rows.item(0, "attribute"),
                    there=f"{rows.item(0, 'there'):,}",
                    size=f"{rows.item(0, 'size'):,}",
                    missing=missing or "none",
                ),
                likely=_ALIKE,
                hint=_HINTS[code],
                rows=numbers[:_MOST_ROWS],
                more=max(len(numbers) - _MOST_ROWS, 0),
            )
        )
    return records


def _unknown(found: pl.DataFrame) -> pl.DataFrame:
    return found.filter(pl.col("attribute").is_null())


_MOST_ROWS: Final = 100  # of one warning
_ALIKE: Final = "HealthImaging keeps Patient and Study attributes equal in all primary image sets of a study."
_PROBLEMS: Final = {
    "study-inconsistent": "the primary image sets of {studies} will differ at Patient or Study level: in the first "
    "study, {there} of {size} will have another {attribute} than the rest ({missing}).",
    "study-part-reverted": "only some of the primary image sets of {studies} are reverted: in the first study {there} "
    "of {size}, not {missing}. If their versions differ at Patient or Study level, the image sets will too.",
}
_HINTS: Final = {
    "study-inconsistent": "Revert or edit all image sets of the study, or none.",
    "study-part-reverted": "To keep the study together, revert all of them. After the run, compare Patient and Study "
    "attributes of these image sets.",
}
