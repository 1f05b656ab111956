"""The options of the list reader, and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import polars as pl

from bulkedit.dicom.dictionary import RULES, ServiceRules
from bulkedit.edits.edit import EDITS
from bulkedit.edits.notices import NOTICES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """Options for reading an edit list."""

    map: Mapping[str, str] = field(default_factory=dict)  # name -> column of the file
    ignore: Collection[str] = ()  # columns of the file to ignore
    empty: Literal["keep", "null", "remove"] = "keep"  # the meaning of an empty cell of the wide form
    force: bool = False  # every row may use force
    unchecked: bool = False  # the check of every value is left out
    rules: ServiceRules = RULES["2026"]
    keep_rows: Collection[int] = ()  # rows to include in `EditList.raw`, even without a problem
    numbers_are_text: bool = False  # whole numbers are identifiers, so that no leading zeros are lost
    sheet: str | None = None  # of a workbook; None: the first visible one
    hidden_rows: Literal["include", "skip"] | None = None  # of a workbook; None: an error if there are any
    # csv, csv.gz, parquet, jsonl, jsonl.gz, xlsx, aws-cli or hl7; None: by the suffix, csv for a stream
    format: str | None = None
    assigning_authority: str | None = None  # of the identifiers in HL7 messages that are PatientID


@dataclass(frozen=True, slots=True)
class EditList:
    """An edit list: its edits, and the rows with problems. A row is in one of the two only."""

    edits: pl.DataFrame  # schema edit.EDITS, in row order; in the wide form column order inside a row
    set_aside: pl.DataFrame  # schema problems.SET_ASIDE, one line per problem, in row order
    rows: int  # data rows of the file, without blank ones
    form: str  # tidy, wide or call
    digest: str  # SHA-256 of the file's bytes, hex
    source: str  # the name as given
    # The rows set aside: `row` UInt32, and each named column of the file as String. A column "row" with a mapping is
    # called "row of the file". All null for a line of JSON lines that is not valid JSON.
    raw: pl.DataFrame
    datastore_id: str | None = None  # of the column datastore_id of the call form
    idle: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={"row": pl.UInt32}))  # rows without edits
    # of the rows with problems whose selector can be looked up: schema edit.EDITS, perhaps without attribute or value
    of_bad_rows: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=EDITS))
    # skipped lines of a result file:
    applied: int = 0  # their edit is applied
    never_planned: int = 0  # their row was set aside by the planner, so they have no edit
    notices: pl.DataFrame = field(default_factory=NOTICES.to_frame)  # schema notices.NOTICES
