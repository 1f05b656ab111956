"""Edits by reason. Texts that differ only in numbers, ids or times are one group."""

from __future__ import annotations

from typing import Final

import polars as pl

from bulkedit.client.responses import Outcome

# one row per group, the most frequent first
GROUPS: Final = pl.Schema(
    {
        "outcome": pl.String(),
        "reason": pl.String(),  # if texts differ, with `…` for what differs; null if there is none
        "message": pl.String(),  # the same
        "edits": pl.UInt32(),
        "image_sets": pl.UInt32(),
        "rows": pl.UInt32(),
        "first_rows": pl.List(pl.UInt32()),  # sorted
        "first_image_sets": pl.List(pl.String()),  # in the order of the list
    }
)
GAP: Final = "\N{HORIZONTAL ELLIPSIS}"
# unlike other texts with digits, these tell one reason from another: a status, and the name of another run
_KEPT: Final = r"HTTP [1-5]\d\d\b|of yours(?: that reverts this one)? \([^()]*\)"
# a word with a digit, without the full stop after it
_NUMBERED: Final = r"[^\s,;:()'\"]*\d[^\s,;()'\"]*[^\s,;:()'\".]|[^\s,;:()'\"]*\d"
_IMAGE_SET: Final = r"\b[0-9a-f]{32}\b"
_FIRST_ROWS: Final = 1_200  # enough for the ranges that a page shows
_FIRST_IMAGE_SETS: Final = 24
_TEXTS: Final = ("reason", "message")
_LAST: Final = str(Outcome.UNPROCESSED)  # it may still be applied
_KEY: Final = ("outcome", "like_reason", "like_message")


def alike(text: pl.Expr) -> pl.Expr:
    """The text with `…` for each word that has a digit and for each id; equal for texts that mean the same."""
    replaced = text.str.replace_all(f"({_KEPT})|{_IMAGE_SET}|{_NUMBERED}", f"${{1}}{GAP}")
    return replaced.str.replace_all(f"({_KEPT}){GAP}", "${1}").str.replace_all(rf"{GAP}(?:[\s,]*{GAP})+", GAP)


def groups(edits: pl.LazyFrame) -> pl.LazyFrame:
    """Edits by outcome and reason: columns `GROUPS`, the largest group first, and unprocessed edits last.

    ``edits``: row, image_set_id, outcome, reason and message, in the order of the list.
    """
    found = (
        _keyed(edits)
        .group_by(*_KEY, maintain_order=True)
        .agg(
            *(_one_text(name) for name in _TEXTS),
            edits=pl.len(),
            **rows_and_image_sets(),
        )
        .sort(pl.col("outcome") == _LAST, -pl.col("edits").cast(pl.Int64), maintain_order=True)
    )
    return found.select(GROUPS.names()).cast(GROUPS)


def rows_and_image_sets() -> dict[str, pl.Expr]:
    """Columns of a group of edits: how many image sets and rows of the list it has, and the first ones."""
    row, image_set = pl.col("row"), pl.col("image_set_id")
    return {
        "image_sets": image_set.n_unique(),
        "rows": row.n_unique(),
        "first_rows": row.unique().sort().head(_FIRST_ROWS),
        "first_image_sets": image_set.unique(maintain_order=True).head(_FIRST_IMAGE_SETS),
    }


def parts(edits: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Edits by outcome and reason, in the order of `groups`: what the edits have in common, and the edits."""
    found = _keyed(edits.lazy()).collect().partition_by(*_KEY, maintain_order=True)
    found.sort(key=lambda part: (part.item(0, "outcome") == _LAST, -part.height))
    texts = [part.select("outcome", *(_one_text(name).first() for name in _TEXTS)).row(0) for part in found]
    return [(": ".join(filter(None, text)), part) for text, part in zip(texts, found, strict=True)]


def _keyed(edits: pl.LazyFrame) -> pl.LazyFrame:
    return edits.with_columns(alike(pl.col(name)).alias(f"like_{name}") for name in _TEXTS)


def _one_text(name: str) -> pl.Expr:
    """The text of a group, or what its texts have in common."""
    text = pl.col(name)
    return pl.when(text.n_unique() == 1).then(text.first()).otherwise(pl.col(f"like_{name}").first()).alias(name)
