"""What a reader is asked for and what it hands back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import polars as pl

from bulkedit.dicom.dictionary import RULES, ServiceRules

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How an edit list is to be read."""

    map: Mapping[str, str] = field(default_factory=dict)  # name -> column of the file
    ignore: Collection[str] = ()  # columns of the file to leave out
    empty: Literal["keep", "null", "remove"] = "keep"  # what an empty cell of the wide form means
    force: bool = False  # every row may use force
    rules: ServiceRules = RULES["2026"]
    # csv, csv.gz, parquet, jsonl, jsonl.gz or xlsx; None: what the suffix says, and csv for a stream
    keep_rows: Collection[int] = ()  # rows to have in `EditList.raw` whatever is said of them
    format: str | None = None


@dataclass(frozen=True, slots=True)
class EditList:
    """An edit list as read: its edits, and the rows that could not be understood. A row is in one of the two only."""

    edits: pl.DataFrame  # schema edit.EDITS, in row order; in the wide form column order inside a row
    set_aside: pl.DataFrame  # schema problems.SET_ASIDE, one line per problem, in row order
    rows: int  # data rows of the file; blank ones do not count
    form: str  # tidy, wide or call
    digest: str  # SHA-256 of the file's bytes, hex
    source: str  # the name as given
    # The rows set aside: `row` UInt32, and each column of the file that has a name, as String under that name ("row of
    # the file" where a mapping gives a meaning to one named "row"). All null for a line of JSON lines that is no JSON.
    raw: pl.DataFrame
    datastore_id: str | None = None  # where the rows of a call form name one
    idle: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={"row": pl.UInt32}))  # rows without edits
    # Lines of a result file that are no rows of this list:
    applied: int = 0  # their edit is made
    never_planned: int = 0  # they stand for a row that was not planned, and hold no edit
