"""Reads the edits of a file, batch by batch, so that memory holds little more than the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, TYPE_CHECKING

import polars as pl

from bulkedit._concurrency import concurrently
from bulkedit.edits import no_rows
from bulkedit.edits.aws_cli.script import AwsCliScript
from bulkedit.edits.columns import layout_of, letter, row_of_header
from bulkedit.edits.csv import Csv
from bulkedit.edits.edit import EDITS
from bulkedit.edits.excel.workbook import Excel
from bulkedit.edits.files import opened
from bulkedit.edits.forms import cells_of
from bulkedit.edits.headers import ROWS_SEARCHED
from bulkedit.edits.hl7.messages import Hl7Messages
from bulkedit.edits.jsonl import JsonLines
from bulkedit.edits.lengths import differing
from bulkedit.edits.notices import summed
from bulkedit.edits.odd_values import ODD_VALUES
from bulkedit.edits.odd_values import notices_of as notices_of_values
from bulkedit.edits.options import EditList
from bulkedit.edits.parquet import Parquet
from bulkedit.edits.problems import SET_ASIDE, RowCheck, lines, report
from bulkedit.edits.result_files import SATISFIED, unguarded
from bulkedit.edits.typed_cells import as_texts, notices_of
from bulkedit.errors import EditListError, UsageError
from bulkedit.options.shared import SELECTORS

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.edits.columns import Layout
    from bulkedit.edits.files import Source
    from bulkedit.edits.options import ReadOptions
    from bulkedit.edits.table import Table
    from bulkedit.edits.validation import Cells

# problems of a row as a whole that leave its selector unclear
_OF_SELECTOR = ("no-selector", "many-selectors", *no_rows.CODES)
# problems of a cell that is empty, which are said of a cell that cannot be read too
_OF_EMPTY = ("no-selector", "no-attribute", "no-series-uid", "no-instance-uid", "revert-version", "no-edit")


def read(source: str | Path | IO[bytes], options: ReadOptions) -> EditList:
    """Read an edit list. ``source``: path of a file, or a binary stream.

    Rows with problems are in ``set_aside`` and make no edits. Raises `EditListError` if the file as a whole cannot be
    read, and `UsageError` for options.
    """
    name = str(source) if isinstance(source, str | PurePath) else "-"
    try:
        with opened(source, options) as file:
            return _Reading(_table(file, options), options).finish(name, file)
    except EditListError as error:
        place = "standard input" if name == "-" else name
        error.where = f"{place}, {error.where}" if error.where else place
        raise


def _table(file: Source, options: ReadOptions) -> Table:
    if options.sheet is not None and file.format != "xlsx":
        raise UsageError("only workbooks have sheets.", hint="Leave out `sheet`.")
    match file.format:
        case "csv" | "csv.gz":
            return Csv(file.text)
        case "jsonl" | "jsonl.gz":
            return JsonLines(file.text)
        case "parquet":
            return Parquet(file.path or file.text.read())
        case "aws-cli":
            return AwsCliScript(file.text, file.path.parent if file.path else None)
        case "hl7":
            return Hl7Messages(file.text, options.assigning_authority)
        case _:
            return Excel(file.text.read(), options)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A batch of a table before its cells are read."""

    batch: pl.DataFrame  # as in the table, with typed cells as text
    broken: pl.DataFrame  # SET_ASIDE: rows with unreadable cells
    filled: pl.DataFrame  # rows that are not blank, under canonical names
    whole: pl.DataFrame  # filled rows that can be read, perhaps with cells that cannot


class _Reading:
    """The edits and problems of a table so far."""

    def __init__(self, table: Table, options: ReadOptions) -> None:
        self._table = table
        self._options = options
        self._layout: Layout = _layout(table, options)
        _check_nested(table, self._layout)
        table.learn(self._layout)
        # a result file that a spreadsheet may have saved
        self._guarded = self._layout.outcome is not None and isinstance(table, Csv | Excel)
        self._kept = pl.Series("row", list(options.keep_rows), dtype=pl.UInt32)
        self._rows = 0
        self._applied = self._never_planned = 0
        self._idle = [pl.DataFrame(schema={"row": pl.UInt32})]
        self._datastores: set[str] = set()
        self._edits = [pl.DataFrame(schema=EDITS)]
        self._problems = [pl.DataFrame(schema=SET_ASIDE)]
        self._of_bad_rows = [pl.DataFrame(schema=EDITS)]
        self._notices: list[pl.DataFrame] = [*table.notices]
        self._names = _names_of_raw(table.header, self._layout)
        self._raw = [pl.DataFrame(schema={"row": pl.UInt32, **dict.fromkeys(self._names, pl.String)})]
        self._numbers: list[pl.DataFrame] = []  # schema typed_cells.NUMBERS
        self._broken = pl.concat([lines(table.problems), _cell_errors(table, self._layout)])

    def finish(self, name: str, file: Source) -> EditList:
        batches = (self._opened(batch) for batch in self._table.batches() if batch.height)
        for piece, done in concurrently(self._with_cells, batches):
            self._take(piece, done)
        if not self._rows:
            raise self._no_rows_error()
        self._notices += notices_of(self._numbers, are_text=self._options.numbers_are_text)
        edits = pl.concat(self._edits, rechunk=True)  # one chunk, or polars copies the pieces again and again
        self._notices.append(differing(edits))
        return EditList(
            edits=edits,
            set_aside=pl.concat(self._problems),
            of_bad_rows=pl.concat(self._of_bad_rows),
            rows=self._rows,
            form=self._layout.form,
            digest=file.hashing.digest(),
            source=name,
            raw=pl.concat(self._raw),
            datastore_id=next(iter(self._datastores), None),
            idle=pl.concat(self._idle),
            applied=self._applied,
            never_planned=self._never_planned,
            notices=summed(self._notices),
        )

    def _no_rows_error(self) -> EditListError:
        if self._applied or self._never_planned:
            return EditListError(
                "this result file has no edits left to plan.",
                likely="Its edits are applied, and its other rows were set aside by the planner and have no edits.",
                hint="To plan the applied edits again: `ignore=outcome`",
            )
        return EditListError("the file has a header and no rows.", hint="An edit list has at least one row.")

    def _opened(self, batch: pl.DataFrame) -> _Opened:
        within = pl.col("row").is_between(batch.item(0, "row"), batch.item(-1, "row"))
        texts, unfit, numbers = as_texts(self._open(batch), self._layout)
        self._numbers.append(numbers)
        broken = pl.concat([self._broken.filter(within), unfit])
        filled = self._filled(texts, broken)
        if self._guarded and "edit_id" in filled.columns:
            filled = filled.with_columns(unguarded("edit_id"))
        self._rows += filled["row"].n_unique() if self._table.several_a_row else filled.height
        whole = filled.filter(~_is_in(broken.filter(pl.col("column").is_null())["row"]))
        self._note_datastores(whole)
        return _Opened(texts, broken, filled, whole)

    def _with_cells(self, opened: _Opened) -> tuple[_Opened, Cells]:
        return opened, cells_of(opened.whole, self._layout, self._options)

    def _take(self, opened: _Opened, done: Cells) -> None:
        problems = pl.concat([opened.broken, *_of_readable_cells(no_rows.only(done.problems), opened.broken)])
        bad = problems["row"].unique()
        if self._layout.form == "wide":  # each row of the other forms makes an edit or has a problem
            self._idle.append(opened.filled.select("row").filter(~_is_in(bad), ~_is_in(done.edits["row"])))
        odd = pl.concat(done.odd) if done.odd else ODD_VALUES.to_frame()
        self._notices += notices_of_values(odd.filter(~_is_in(bad)))
        self._edits.append(done.edits.filter(~_is_in(bad)) if bad.len() else done.edits)
        if bad.len():
            self._problems.append(problems.sort("row", maintain_order=True))
            self._of_bad_rows.append(_with_sound_selector(done.edits.filter(_is_in(bad)), problems))
        kept = pl.concat([bad, self._kept])
        if kept.len():
            self._raw.append(opened.batch.filter(_is_in(kept)).select("row", **self._names))

    def _open(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Return the lines of a result file that are not applied yet; all lines of any other list."""
        if self._layout.outcome is None:
            return batch
        outcome, action = pl.col(f"c{self._layout.outcome}"), pl.lit(None, pl.String)
        if "action" in self._layout.names:
            action = pl.col(f"c{self._layout.names.index('action')}")
        applied = outcome.is_in(["applied", SATISFIED]).fill_null(value=False)
        never_planned = (outcome.fill_null("") != "") & (action.fill_null("") == "")
        kinds = batch.select(applied=applied, never_planned=never_planned & ~applied)
        self._applied += int(kinds["applied"].sum())
        self._never_planned += int(kinds["never_planned"].sum())
        return batch.filter(~(kinds["applied"] | kinds["never_planned"]))

    def _filled(self, batch: pl.DataFrame, broken: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that are not blank, under canonical names; empty text becomes null."""
        texts = pl.col(pl.String)
        batch = batch.with_columns(pl.when(texts != "").then(texts))
        batch = batch.filter(pl.any_horizontal(texts.is_not_null()) | _is_in(broken["row"]))
        for i in self._layout.unnamed:
            if batch[f"c{i}"].count():
                first = batch.filter(pl.col(f"c{i}").is_not_null()).item(0, "row")
                raise EditListError(
                    f"column {letter(i)} has no name, and its cells are filled (the first is in row {first:,}).",
                    where="row 1",
                    likely="Some programs, such as pandas, write numbers of rows so." if i == 0 else None,
                    hint="Name the column, delete it, or leave it out: `ignore=''`",
                )
        return batch.select("row", **{name: f"c{i}" for i, name in enumerate(self._layout.names) if name})

    def _note_datastores(self, rows: pl.DataFrame) -> None:
        if "datastore_id" not in rows.columns:
            return
        self._datastores |= set(rows["datastore_id"].drop_nulls().unique())
        if len(self._datastores) > 1:
            raise EditListError(
                "the rows name more than one data store.", hint="Split the list: a run works on one data store."
            )


def _layout(table: Table, options: ReadOptions) -> Layout:
    """Recognise the columns of a table. Raises EditListError, which names the row that seems to be the header."""
    try:
        return layout_of(table.header, options, keys=table.header_row is None)
    except EditListError as error:
        if error.where != "row 1":
            raise
        if table.header_row is None:
            error.where = None
            raise
        error.where = f"row {table.header_row:,}"
        if (row := row_of_header(table.rows_below_header(ROWS_SEARCHED), table.header)) is None:
            raise
        place = error.where
    raise EditListError(
        f"the header seems to be in row {row:,}.",
        where=place,
        likely="The rows above it look like a title.",
        hint=f"Delete the rows above row {row:,}, so that the names of the columns come first.",
    )


def _of_readable_cells(problems: list[pl.DataFrame], broken: pl.DataFrame) -> list[pl.DataFrame]:
    """Leave out problems of cells that are empty only because they cannot be read. ``broken``: `SET_ASIDE`."""
    if broken.is_empty():
        return problems
    of_empty = pl.col("code").is_in(_OF_EMPTY) & _is_in(broken["row"])
    cells = broken.select("row", "column").drop_nulls()
    return [found.filter(~of_empty).join(cells, on=["row", "column"], how="anti") for found in problems]


def _with_sound_selector(edits: pl.DataFrame, problems: pl.DataFrame) -> pl.DataFrame:
    """Return edits of rows whose selector has no problem."""
    unsure = problems.filter(pl.col("column").is_in(SELECTORS) | pl.col("code").is_in(_OF_SELECTOR))
    return edits.filter(pl.col("key").is_not_null() & ~_is_in(unsure["row"]))


def _names_of_raw(header: list[str], layout: Layout) -> dict[str, str]:
    """Return the columns of `EditList.raw` except ``row``, with their columns in a batch."""
    kept = [i for i, name in enumerate(header) if name and (name != "row" or layout.names[i])]
    return {"row of the file" if header[i] == "row" else header[i]: f"c{i}" for i in kept}


def _is_in(rows: pl.Series) -> pl.Expr:
    return pl.col("row").is_in(rows.implode())


def _check_nested(table: Table, layout: Layout) -> None:
    """Refuse columns whose values have no text."""
    for name in (layout.names[i] for i in table.nested):
        if name is not None:
            raise EditListError(
                f"column {name} has nested or binary values.",
                hint="Write them as text: arrays and objects as JSON.",
            )


def _cell_errors(table: Table, layout: Layout) -> pl.DataFrame:
    """Return the faults of cells as a SET_ASIDE frame."""
    names = {i: name for i, name in enumerate(layout.names) if name}
    faults = table.faults.filter(pl.col("position").is_in(list(names)))
    letters = {i: letter(i) for i in names}
    text = pl.format("cell {}{} {}", pl.col("position").replace_strict(letters, return_dtype=pl.String), "row", "text")
    column = pl.col("position").replace_strict(names, return_dtype=pl.String)
    return pl.concat(
        [
            SET_ASIDE.to_frame(),
            *(
                report(cells, RowCheck(code, pl.lit(value=True), text, column))
                for (code,), cells in faults.partition_by("code", as_dict=True).items()
            ),
        ]
    )
