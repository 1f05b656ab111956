"""What is said of the rows that cannot be planned: first how many of each kind, then some of each."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, TypedDict

import polars as pl

from bulkedit._words import plural
from bulkedit.errors import BadRowsError

if TYPE_CHECKING:
    from bulkedit.edits import EditList

_RANGES: Final = 5  # of rows, shown per problem
_TEXTS: Final = 5  # problems, shown per group
_GROUPS: Final = 12  # shown
_KINDS: Final = 8  # in the summary
_ALIKE: Final = ("code", "column", "likely", "hint")  # problems of a group


class KindRecord(TypedDict):
    """How many rows have a problem of one kind."""

    code: str
    column: str | None
    rows: int
    first: int  # the first of these rows


def refused(found: EditList, bad: pl.DataFrame, source: str) -> BadRowsError:
    """Return the error for a list with rows that cannot be planned. ``bad``: `SET_ASIDE`; ``source``: its name."""
    rows = f"{plural(bad.get_column('row').n_unique(), 'row')} of {found.rows:,}"
    return BadRowsError(
        f"{rows} cannot be planned; nothing was sent.\n\n{problems_text(bad)}\n",
        where=source,
        hint="Correct the list, or plan it without these rows: `bad_rows=bad.csv`",
        problems=bad,
        rows=found.rows,
    )


def in_columns_of(form: str, bad: pl.DataFrame) -> pl.DataFrame:
    """Return problems (`SET_ASIDE`) without the columns attribute and value, if the list has none.

    The planner knows edits, not the form of their list. ``form``: tidy, wide or call.
    """
    if form == "tidy" or bad.is_empty():
        return bad
    column = pl.col("column")
    own = pl.lit("updates" if form == "call" else None, pl.String)
    return bad.with_columns(pl.when(column.is_in(["attribute", "value"])).then(own).otherwise(column).alias("column"))


def kinds(bad: pl.DataFrame) -> list[KindRecord]:
    """Count the rows of each kind of problem, the most frequent first. ``bad``: `SET_ASIDE`."""
    same = bad.group_by("code", "column", maintain_order=True)
    counted = same.agg(rows=pl.col("row").n_unique(), first=pl.col("row").min())
    return [KindRecord(**one) for one in counted.sort("rows", descending=True, maintain_order=True).to_dicts()]  # type: ignore[typeddict-item]


def problems_text(bad: pl.DataFrame) -> str:
    """Return problems (`SET_ASIDE`) as text: the number of rows of each kind, and the first rows with their advice."""
    found = kinds(bad)
    parts = [] if len(found) == 1 else [_summary(found)]
    groups = bad.group_by(*_ALIKE, maintain_order=True)
    for count, (_, same) in enumerate(groups):
        if count == _GROUPS:
            parts.append("… and problems of other kinds.")
            break
        parts.append(_group_text(same))
    return "\n\n".join(parts)


def is_shown_whole(bad: pl.DataFrame) -> bool:
    """Whether `problems_text` has every problem."""
    groups = bad.group_by(*_ALIKE).agg(texts=pl.col("problem").n_unique())
    if groups.height > _GROUPS or (groups.get_column("texts") > _TEXTS).any():
        return False
    return all(_ranges(same.get_column("row")).height <= _RANGES for _, same in bad.group_by(*_ALIKE, "problem"))


def with_reasons(raw: pl.DataFrame, bad: pl.DataFrame, mapped: set[str]) -> pl.DataFrame:
    """Add code and problem to rows of a list, so that their owner sees what to correct.

    ``raw``: `EditList.raw`; ``mapped``: columns of the file that the list uses under another name, which are kept. The
    columns are left out when the file is read as an edit list again (`bulkedit.edits.columns.REPORTED`).
    """
    reasons = bad.group_by("row").agg(
        code=pl.col("code").unique(maintain_order=True).str.join(" "), problem=pl.col("problem").str.join(" ")
    )
    added = [name for name in ("code", "problem") if name not in mapped]
    kept = raw.drop(added, strict=False)
    return kept.join(reasons.select("row", *added), on="row", how="left", maintain_order="left")


def _summary(found: list[KindRecord]) -> str:
    named = [
        f"{one['rows']:,} {one['code']}" + (f" (column {one['column']})" if one["column"] else "")
        for one in found[:_KINDS]
    ]
    more = [f"{len(found) - _KINDS} more kinds"] if len(found) > _KINDS else []
    return f"By kind: {', '.join([*named, *more])}."


def _group_text(same: pl.DataFrame) -> str:
    """Return the problems of a group, each with its rows, and their advice once."""
    lines, shown = [], 0
    for (problem,), rows in islice(same.group_by("problem", maintain_order=True), _TEXTS):
        lines.append(f"{_rows_text(rows.get_column('row'))}: {problem}")
        shown += rows.height
    if shown < same.height:
        lines.append(f"… and {same.height - shown:,} more like these.")
    lines += [text for text in (same.item(0, "likely"), same.item(0, "hint")) if text]
    return "\n".join(lines)


def _ranges(rows: pl.Series) -> pl.DataFrame:
    """Return ranges of adjacent rows: first, last."""
    numbers = rows.unique().sort().to_frame("row").with_columns(part=(pl.col("row").diff() != 1).fill_null(value=True))
    parts = numbers.group_by(pl.col("part").cum_sum(), maintain_order=True)
    return parts.agg(first=pl.col("row").first(), last=pl.col("row").last()).select("first", "last")


def _rows_text(rows: pl.Series) -> str:
    """Return numbers of rows as text: `Row 4,017`, `Rows 2-6, 9, 12-14`, `Rows 2, 4 and 7 more`."""
    if rows.n_unique() == 1:
        return f"Row {rows[0]:,}"
    ranges = _ranges(rows)
    shown = ranges.head(_RANGES)
    texts = [f"{first}" if first == last else f"{first}-{last}" for first, last in shown.iter_rows()]
    more = rows.n_unique() - int((shown["last"] - shown["first"] + 1).sum())
    return f"Rows {', '.join(texts)}" + (f" and {more:,} more" if more else "")
