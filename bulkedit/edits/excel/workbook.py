"""Excel workbooks: one sheet, with every cell as the text that a spreadsheet shows.

fastexcel reads texts and numbers. What it does not tell is found in the XML of the sheet: the number formats, hidden
rows and columns, and cells that it returns as empty although a spreadsheet shows something, such as errors. Used as
edits, these would empty attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit._words import plural
from bulkedit.edits.bounds import MOST_COLUMNS, size_of
from bulkedit.edits.columns import letter
from bulkedit.edits.excel.cells import facts_of
from bulkedit.edits.excel.limits import check_sheet
from bulkedit.edits.excel.package import Workbook, named
from bulkedit.edits.excel.shown import FAULTS, Takes, shown, taken_by
from bulkedit.edits.excel.xml import unreadable
from bulkedit.edits.notices import noticed, of_file
from bulkedit.edits.table import CELL_FAULTS, Table
from bulkedit.edits.typed_cells import TYPES, CellType
from bulkedit.errors import EditListError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.edits.columns import Layout
    from bulkedit.edits.excel.cells import SheetFacts
    from bulkedit.edits.excel.package import Sheet
    from bulkedit.edits.options import ReadOptions

_BATCH: Final = 250_000  # rows
_MOST_FAULTS: Final = 100_000  # errors and formulas without a result; merged ranges, and their cells
_ROWS: Final = 1_048_576  # of a sheet


class Excel(Table):
    """A sheet of a workbook; the first row that is not blank is the header."""

    def __init__(self, data: bytes, options: ReadOptions) -> None:
        super().__init__()
        self._hidden_rows = options.hidden_rows
        book = Workbook.of(data)
        sheet = book.chosen(options.sheet)
        self._facts, cells, offset = _cells_of(book, sheet)
        self._book = book.without_parts()
        self._note_sheets(sheet)
        head = _first_filled(cells)
        if head is None:
            what = "the first sheet" if sheet is self._book.sheets[0] else f"the sheet {sheet.described}"
            one = "An edit list has a header and at least one row."
            raise EditListError(f"{what} is empty.", hint=one if len(book.sheets) == 1 else book.sheets_told())
        # empty columns before the first one keep the letters right
        self.header_row = head + 1
        self.header = [""] * offset + [text or "" for text in cells.row(head)]
        empty = [pl.lit(None, pl.String).alias(f"c{i}") for i in range(offset)]
        texts = [pl.nth(i).alias(f"c{offset + i}") for i in range(cells.width)]
        self._first = head + 2
        self._rows = cells.slice(head + 1).select(*empty, *texts).with_row_index("row", self._first)

    def _note_sheets(self, sheet: Sheet) -> None:
        others = [other for other in self._book.sheets if other is not sheet]
        if others:
            text = f"The list is the sheet {sheet.described}. The workbook also has {named(others)}."
            self.notices.append(of_file("other-sheets", text, hint="To read another sheet: `sheet=NAME`"))

    def learn(self, layout: Layout) -> None:
        """Find the text of each cell that holds no text, and the faults; both depend on what its column takes."""
        self._leave_out_hidden_rows()
        self._note_hidden_columns(layout)
        faults = [self._failed(layout), self._altered(layout), self._escaped(layout), self._covered(layout)]
        numbers = self._facts.cells.filter(pl.col("filled"), pl.col("kind").is_in(["n", "b", "d"]))
        for (position,), cells in numbers.partition_by("position", as_dict=True).items():
            if position < len(layout.names) and layout.names[position]:
                faults.append(self._show(position, cells, layout))
        self.faults = pl.concat(faults).filter(self._is_kept())

    def _is_kept(self) -> pl.Expr:
        """Whether ``row`` is below the header, and not left out."""
        below = pl.col("row") >= self._first
        if self._hidden_rows != "skip":
            return below
        return below & ~pl.col("row").is_in(self._facts.hidden_rows.implode())

    def _leave_out_hidden_rows(self) -> None:
        if self._facts.hidden_rows.is_empty():
            return
        is_hidden = pl.col("row").is_in(self._facts.hidden_rows.implode())
        filled = pl.any_horizontal(pl.col(pl.String).is_not_null())
        hidden = self._rows.filter(is_hidden & filled).select("row")
        if hidden.is_empty():
            return
        if self._hidden_rows is None:
            first, count = hidden["row"].item(0), plural(hidden.height, "row")
            raise EditListError(
                f"the spreadsheet hides {count} of the list; the first is row {first:,}.",
                likely="A filter hides them, or a person has hidden them.",
                hint="To read them too: `hidden_rows=include`. To leave them out: `hidden_rows=skip`",
            )
        skip = self._hidden_rows == "skip"
        text = (
            "Rows that the spreadsheet hides are left out." if skip else "Rows that the spreadsheet hides are read too."
        )
        self.notices.append(noticed(hidden, "hidden-rows", pl.lit(value=True), text))

    def _note_hidden_columns(self, layout: Layout) -> None:
        for position, name in enumerate(layout.names):
            if name and any(position in span for span in self._facts.hidden_columns):
                text = f"Column {letter(position)} is hidden in the spreadsheet, and its cells are read."
                self.notices.append(
                    of_file("hidden-column", text, column=name, hint="To leave it out: `ignore=COLUMN`")
                )

    def _failed(self, layout: Layout) -> pl.DataFrame:
        """Return errors, and formulas without a result."""
        is_error = pl.col("kind") == "e"
        failed = self._facts.cells.filter(
            is_error | (pl.col("formula") & ~pl.col("filled") & (pl.col("kind") != "str"))
        )
        failed = failed.filter(pl.col("position").is_in(_used(layout)))
        _check_count(failed.height)
        fault = pl.when(pl.col("kind") == "e").then(pl.lit("error")).otherwise(pl.lit("formula"))
        return _as_faults(failed.with_columns(fault=fault))

    def _altered(self, layout: Layout) -> pl.DataFrame:
        """Return texts of which the number format shows something else."""
        altered = self._facts.altered_texts.filter(pl.col("position").is_in(_used(layout)))
        return _as_faults(altered.with_columns(fault=pl.lit("altered")))

    def _escaped(self, layout: Layout) -> pl.DataFrame:
        """Return texts with escapes, if fastexcel may not have replaced them."""
        if not self._facts.has_escapes:
            return CELL_FAULTS.to_frame()
        is_escaped = {i: pl.col(f"c{i}").str.contains(r"_x[0-9A-Fa-f]{4}_") for i in _used(layout)}
        found = [
            self._rows.filter(expression).select("row", position=pl.lit(i, pl.UInt32), fault=pl.lit("escaped"))
            for i, expression in is_escaped.items()
        ]
        return _as_faults(pl.concat(found))

    def _covered(self, layout: Layout) -> pl.DataFrame:
        """Return all cells of merged ranges."""
        last = self._first + self._rows.height - 1
        _check_count(self._facts.merged.height)
        merged = self._facts.merged.with_columns(
            pl.col("first").clip(lower_bound=self._first),
            pl.col("last").clip(upper_bound=last),
            pl.col("right").clip(upper_bound=len(layout.names) - 1),
        ).filter(pl.col("first") <= pl.col("last"), pl.col("left") <= pl.col("right"))
        height, width = (
            pl.col(end).cast(pl.Int64) - pl.col(begin) + 1 for begin, end in (("first", "last"), ("left", "right"))
        )
        _check_count(merged.select((height * width).sum()).item() or 0)
        cells = merged.select(
            row=pl.int_ranges("first", pl.col("last") + 1, dtype=pl.UInt32),
            position=pl.int_ranges("left", pl.col("right") + 1, dtype=pl.UInt32),
        )
        cells = cells.explode("row").explode("position").unique(maintain_order=True)
        used = cells.filter(pl.col("position").is_in(_used(layout)))
        return _as_faults(used.with_columns(fault=pl.lit("merged")))

    def _show(self, position: int, cells: pl.DataFrame, layout: Layout) -> pl.DataFrame:
        """Replace the text of cells of a column by what they show. Returns faults (`CELL_FAULTS`)."""
        cells = cells.filter(pl.col("row").is_between(self._first, self._first + self._rows.height - 1))
        places = cells["row"].cast(pl.Int64) - self._first
        column = self._rows[f"c{position}"]
        stored = column.gather(places)
        cells = cells.with_columns(text=stored, stored=stored, takes=self._taken(position, places, layout))
        done = shown(cells, self._book.formats, starts_in_1904=self._book.starts_in_1904)
        never_computed = pl.col("formula") & pl.lit(self._book.recomputed) & (pl.col("text") == "0")
        hidden = pl.lit(self._facts.hides_zeros) & (pl.col("kind") == "n") & (pl.col("stored") == "0")
        done = done.with_columns(
            fault=pl.when(never_computed).then(pl.lit("formula")).when(hidden).then(pl.lit("zero")).otherwise("fault")
        )
        places = done["row"].cast(pl.Int64) - self._first
        types = pl.repeat(None, self._rows.height, dtype=TYPES, eager=True)
        changed = {
            f"c{position}": column.scatter(places, done["text"]),
            f"k{position}": types.scatter(places, done.select(self._type()).to_series()),
        }
        self._rows = self._rows.with_columns(**changed)
        return _as_faults(done.filter(pl.col("fault").is_not_null()))

    def _type(self) -> pl.Expr:
        """Return the type (`TYPES`) of a number that is shown as it is stored, so without leading zeros; else null."""
        padded = [i for i, form in enumerate(self._book.formats) if form.digits and sum(form.digits.zeros) > 1]
        number = pl.when(pl.col("fault").is_null(), pl.col("kind") == "n", ~pl.col("style").is_in(padded)).then("text")
        number = pl.when(pl.col("text") == pl.col("stored").str.strip_chars()).then(number)
        whole = pl.when(number.str.contains("^-?[0-9]+$")).then(pl.lit(str(CellType.INTEGER)))
        return whole.when(number.is_not_null()).then(pl.lit(str(CellType.FLOAT))).cast(TYPES)

    def _taken(self, position: int, places: pl.Series, layout: Layout) -> pl.Series:
        """Return what each cell of a column takes; in the tidy form the value of a row is of its attribute."""
        name = layout.names[position] or ""
        if name != "value":
            return pl.Series([str(taken_by(name))], dtype=pl.String).new_from_index(0, places.len())
        rows = pl.DataFrame(
            {
                key: self._rows[f"c{layout.names.index(key)}"].gather(places)
                if key in layout.names
                else pl.Series([None], dtype=pl.String).new_from_index(0, places.len())
                for key in ("attribute", "vr", "action")
            }
        ).select(pl.all().str.strip_chars())
        kinds = rows.select("attribute", "vr").unique()
        taken = [
            str(taken_by(attribute, (vr or "").upper())) if attribute else str(Takes.TEXT)
            for attribute, vr in kinds.iter_rows()
        ]
        kinds = kinds.with_columns(takes=pl.Series(taken, dtype=pl.String))
        joined = rows.join(kinds, on=["attribute", "vr"], how="left", nulls_equal=True, maintain_order="left")
        reverts = pl.col("action").str.to_lowercase() == "revert"
        return joined.select(pl.when(reverts).then(pl.lit(str(Takes.NUMBER))).otherwise("takes")).to_series()

    def batches(self) -> Iterator[pl.DataFrame]:
        """The rows below the header, numbered as the sheet shows them."""
        for batch in self._rows.iter_slices(_BATCH):
            kept = batch.filter(self._is_kept()) if self._hidden_rows == "skip" else batch
            if kept.is_empty():
                continue
            size_of(kept.select(pl.col(pl.String)), kept["row"].item)
            yield kept


def _used(layout: Layout) -> list[int]:
    return [position for position, name in enumerate(layout.names) if name]


def _as_faults(cells: pl.DataFrame) -> pl.DataFrame:
    """Return faulty cells as a frame `CELL_FAULTS`. ``cells``: row, position and ``fault``, a key of `FAULTS`."""
    codes = {fault: code for fault, (code, _) in FAULTS.items()}
    texts = {fault: text for fault, (_, text) in FAULTS.items()}
    fault = pl.col("fault")
    return cells.select(
        "row",
        "position",
        code=fault.replace_strict(codes, return_dtype=pl.String),
        text=fault.replace_strict(texts, return_dtype=pl.String),
    ).cast(CELL_FAULTS)


def _check_count(count: int) -> None:
    """Raise EditListError if there are more faults than in any list."""
    if count > _MOST_FAULTS:
        raise EditListError(
            f"more than {_MOST_FAULTS:,} of its cells are errors, formulas without a result, or merged.",
            hint="Save the sheet as CSV in UTF-8, and check its content.",
        )


def _first_filled(cells: pl.DataFrame) -> int | None:
    if not cells.width:
        return None
    filled = cells.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    return filled.arg_max() if filled.any() else None


def _cells_of(book: Workbook, sheet: Sheet) -> tuple[SheetFacts, pl.DataFrame, int]:
    """Return what the XML of a sheet tells, and its cells as of `_texts`."""
    altering = [i for i, form in enumerate(book.formats) if not form.shows_text]
    xml, facts = facts_of(book.xml_of(sheet), altering)
    check_sheet(xml, book.shared_texts, size=book.size)
    package = book.package_of(xml)
    del xml  # it may be large
    cells, offset = _texts(package)
    if (width := offset + cells.width) > MOST_COLUMNS:
        raise EditListError(
            f"it has more than {MOST_COLUMNS:,} columns.",
            likely=f"A cell far to the right of the list is filled, in column {letter(width - 1)}.",
            hint="Delete the columns to the right of the list, and save it.",
        )
    return facts, cells, offset


def _texts(package: bytes) -> tuple[pl.DataFrame, int]:
    """Return the cells of the only sheet as text, from its first row, and the number of empty columns before them."""
    try:
        import fastexcel
    except ImportError:
        raise UsageError("reading Excel needs another package.", hint="pip install 'bulkedit[xlsx]'") from None
    try:
        # with these arguments, all rows of the sheet are returned, including blank ones
        sheet = fastexcel.read_excel(package).load_sheet(0, header_row=None, skip_rows=0, dtypes="string")
        columns = sheet.available_columns()
        texts: pl.DataFrame = sheet.to_polars()
    except fastexcel.FastExcelError:
        pass  # its text may quote the workbook
    else:
        return texts, columns[0].absolute_index if columns else 0
    raise unreadable()
