"""Rows of a file that are no rows of the list: totals, footers of reports, and headers that are repeated."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.edits.problems import RowCheck, constant

if TYPE_CHECKING:
    from collections.abc import Sequence

CODES: Final = ("total-row", "header-row")
_WORDS: Final = (
    "total|totals|sum|count|average|summe|gesamt|gesamtsumme|gesamtzahl|gesamtergebnis|anzahl|zwischensumme|somme|totale"
    "|totaal|suma|total g[eé]n[eé]ral|итого|всего|合计|合計|总计|総計"
)
_MADE: Final = "generated|printed|created|exported|report generated|erstellt|gedruckt|exportiert"
# "Total", "Grand total: 312", "Summe 1.234", "(312 rows affected)", "3 records", "-----"; for re and polars alike
TOTAL: Final = (
    rf"^\W*(?i:grand[ -]|sub[ -]?)?(?i:{_WORDS})\s*(?:[:=]?\s*|[:=\s]+[0-9.,]+)\W*$"
    r"|^\W*[0-9.,]+ (?i:rows?|records?|zeilen?|lignes?)\b.{0,40}$"
    r"|^\W*(?i:rows?|records?|zeilen)\s*[:=]\s*[0-9.,]+\W*$"
    r"|^\W*(?i:end of (?:report|file|list)|ende?|eof)\W*$"
    r"|^\W*(?i:page|seite|pagina|página) [0-9]+(?: ?(?i:of|von|di|de|/) ?[0-9]+)?\W*$"
    rf"|^\W*(?i:{_MADE})(?i: (?:by|on|at|am|um|von)\b|:).{{0,60}}$"
    r"|^[-=_*+]{3,}$"
)
_TOTAL: Final = re.compile(TOTAL)


def checks(frame: pl.DataFrame, selectors: Sequence[str], sound: Sequence[str]) -> list[RowCheck]:
    """Find totals, and headers that are repeated.

    ``frame``: a batch under canonical names; ``selectors``: its columns of selectors; ``sound``: those of valid ids.
    """
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    unsure = [pl.col(name) for name in selectors if name not in sound]
    nothing = pl.all_horizontal(pl.col(name).is_null() for name in selectors)
    # the rows without a selector are few, so all their cells are searched
    empty = frame.filter(nothing)
    of_others = empty.filter(pl.any_horizontal(is_total(pl.col(name)) for name in texts))["row"]
    totals = [is_total(column) for column in unsure] + [pl.col("row").is_in(of_others.implode())] * bool(len(of_others))
    again = [column.str.contains(_spellings(column.meta.output_name())) for column in unsure]
    found = []
    if totals:
        text = constant("looks like a total or a line of a report, not like a row of the list.")
        found.append(RowCheck("total-row", pl.any_horizontal(totals), text))
    if again:
        text = constant("has the names of the columns again.")
        found.append(RowCheck("header-row", pl.any_horizontal(again), text))
    return found


def _spellings(name: str) -> str:
    """Return a pattern of the name of a column in other spellings, such as "Patient ID" for patient_id."""
    return rf"^(?i:{r'[ _-]?'.join(name.split('_'))})$"


def is_total(column: pl.Expr) -> pl.Expr:
    """Whether a text is a word for a total, or a line that reports end with."""
    return column.str.contains(TOTAL)


def is_total_line(line: str) -> bool:
    """Whether a line of a file is a total or a footer: as `is_total`, of its first cell."""
    return any(_TOTAL.search(cell.strip()) for cell in re.split("[,;\t|]", line[:1000]))


def only(problems: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Leave out the other problems of rows that are no rows. ``problems``: SET_ASIDE frames."""
    rows = [found["row"] for found in problems if found.height and found.item(0, "code") in CODES]
    if not rows:
        return problems
    known = pl.col("row").is_in(pl.concat(rows).implode()) & ~pl.col("code").is_in(CODES)
    return [found.filter(~known) for found in problems]
