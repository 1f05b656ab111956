"""CSV (RFC 4180), read in blocks of complete records.

polars parses the cells. But it fills short rows with nulls, accepts stray quotation marks, and does not name the row of
an error. So this module cuts the blocks, at newlines outside of quotes, and counts separators and records outside of
quotes first. If the counts agree with the frame of polars, every row had every cell. Memory is limited by the block.
"""

from __future__ import annotations

import csv
import io
import re
from typing import IO, TYPE_CHECKING, Final, NoReturn

import polars as pl

from bulkedit._words import noun, plural
from bulkedit.edits.bounds import CELLS_AT_ONCE, LONGEST_ROW, MOST_BLANK, MOST_COLUMNS, size_of, too_many_columns
from bulkedit.edits.no_rows import is_total_line
from bulkedit.edits.strict_json import check_text
from bulkedit.edits.table import Table
from bulkedit.errors import EditListError

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK: Final = 16 * 2**20  # bytes: some hundred thousand rows; larger ones only take more memory
LONGEST: Final = LONGEST_ROW
_BOM: Final = b"\xef\xbb\xbf"
_EOL: Final = b"\n"
_SEPARATORS: Final = (b",", b";", b"\t", b"|")
_SEPARATOR_LINE: Final = re.compile(rb'"?(?i:sep)=([^"\r\n])"?\r?(?:\n|$)')
_LONE_RETURN: Final = re.compile(rb"\r(?!\n)")


class Csv(Table):
    """One CSV file: its header, and its rows as batches of text columns c0, c1, … with ``row``."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._row = 1  # number of the first record that is not parsed yet
        self._blank = 0  # lines without a cell
        self._blocks = self._records()
        first = next(self._blocks, b"").removeprefix(_BOM)
        self._check_text(first)
        first, named = _without_separator_line(first)
        if named and not first:
            first = next(self._blocks, b"")
            self._check_text(first)
        if not first.strip():
            raise EditListError("the file is empty.", hint="An edit list has a header and at least one row.")
        head = first[: _end_of_first_record(first)]
        self._separator = named or _separator(head)
        # quotation marks are valid only at the start and the end of a cell
        mark = re.escape(self._separator)
        self._stray = re.compile(rb'[^%b\n"]"|"[^%b\r\n"]' % (mark, mark))
        self._check_quotes(head, _outside_quotes(head))
        self._check_returns(_outside_quotes(head))
        if _outside_quotes(head).count(self._separator) >= MOST_COLUMNS:
            raise too_many_columns("row 1")
        self.header = _cells(head, self._separator)
        self.header_row = 1
        self._rest = first[len(head) :]
        self._top = self._separator.join(b"c%d" % i for i in range(len(self.header))) + b"\n"

    def rows_below_header(self, count: int) -> list[tuple[int, list[str]]]:
        """The first rows below the header, each with its own separator and number of cells."""
        lines = self._rest.splitlines()[:count]
        return [(n, _cells(line, _separator(line))) for n, line in enumerate(lines, 2)]

    def batches(self) -> Iterator[pl.DataFrame]:
        """The rows below the header, numbered as a spreadsheet shows them."""
        self._row = 2
        if self._rest:
            yield from self._batch(self._rest)
            self._rest = b""
        for block in self._blocks:
            self._check_text(block)
            yield from self._batch(block)

    def _records(self) -> Iterator[bytes]:
        """Yield blocks of the file that end at the end of a record."""
        tail = b""
        while data := self._stream.read(BLOCK):
            block = tail + data if tail else data
            cut = _end_of_records(block)
            if not cut and len(block) > LONGEST:
                self._raise_unclosed(f"it is longer than {LONGEST // 2**20} MiB")
            tail = block[cut:]
            if cut:
                yield block[:cut]
        if tail:
            yield tail

    def _batch(self, block: bytes) -> Iterator[pl.DataFrame]:
        """Parse one block. Raises EditListError if a row has too few or too many cells."""
        outer = _outside_quotes(block)
        self._check_quotes(block, outer)
        self._check_returns(outer)
        records = outer.count(b"\n") + (not outer.endswith(b"\n"))
        if uneven := outer.count(self._separator) != (len(self.header) - 1) * records:
            # blank rows have no separators, so the counts may differ without an error: check each row
            self._check_widths(outer)
        frame = self._parse(block)
        if frame is None and not uneven:
            self._check_widths(outer)
        if frame is None or frame.height != records:
            raise EditListError(
                "the cells cannot be separated.",
                where=f"rows {self._row:,} to {self._row + records - 1:,}",
                hint="Save the list as CSV in UTF-8 again, or use Parquet.",
            )
        size_of(frame, self._row.__add__)
        yield from frame.with_row_index("row", self._row).iter_slices(max(1, CELLS_AT_ONCE // len(self.header)))
        self._row += records

    def _parse(self, block: bytes) -> pl.DataFrame | None:
        """Parse a block with polars; None if a row is too long."""
        # with a header of our own, because the file's may have a name twice
        try:
            return pl.read_csv(self._top + block, separator=self._separator.decode(), infer_schema=False)
        except pl.exceptions.PolarsError:
            return None  # its text quotes cells

    def _check_text(self, block: bytes) -> None:
        check_text(block, lambda place: self._row + _outside_quotes(block[:place]).count(_EOL))

    def _check_widths(self, outer: bytes) -> None:
        expected = len(self.header)
        lines = outer.split(b"\n")
        self._blank += lines.count(b"") + lines.count(b"\r")
        if self._blank * expected > MOST_BLANK:
            raise EditListError(
                f"it has more than {MOST_BLANK // expected:,} blank lines.",
                where=f"row {self._row:,}",
                hint="Delete them, for example: grep . FILE",
            )
        cells = ((i, line, line.count(self._separator) + 1) for i, line in enumerate(lines) if line.rstrip(b"\r"))
        if uneven := [(i, line, found) for i, line, found in cells if found != expected]:
            i, line, found = uneven[0]
            raise self._uneven_error(self._row + i, line.decode(), found, more=len(uneven) - 1)

    def _uneven_error(self, row: int, line: str, found: int, *, more: int) -> EditListError:
        """Say that a row has too few or too many cells. ``line``: the row, without the text in quotation marks.

        ``more``: how many rows of the block have too few or too many, too.
        """
        expected = len(self.header)
        hint = "Save the list as CSV from a spreadsheet or with a CSV library again, or use Parquet."
        likely = "A value with a separator in it may lack its quotation marks." if found > expected else None
        if any(line.encode().count(mark) + 1 == expected for mark in _SEPARATORS if mark != self._separator):
            likely = "Its cells are separated by another character than those of the header."
            hint = "Use one separator in the whole file."
        elif is_total_line(line):
            likely, hint = "It looks like a total or a line of a report, not like a row of the list.", "Delete the row."
        also = f"; at least {plural(more, 'more row')} {noun(more, 'differs', 'differ')} too" if more else ""
        what = f"it has {plural(found, 'cell')}, and the header has {expected:,}{also}."
        return EditListError(what, where=f"row {row:,}", likely=likely, hint=hint)

    def _check_returns(self, outer: bytes) -> None:
        """Refuse a carriage return without a newline, because readers disagree whether it ends a line."""
        if outer.count(b"\r") != outer.count(b"\r\n") and (alone := _LONE_RETURN.search(outer)):
            raise EditListError(
                "it has a carriage return without a newline.",
                where=f"row {self._row + outer.count(_EOL, 0, alone.start()):,}",
                likely="The lines may end as on an old Macintosh, or in different ways.",
                hint="Save the list as CSV in UTF-8 again, or put a cell of several lines in quotation marks.",
            )

    def _check_quotes(self, block: bytes, outer: bytes) -> None:
        if outer is block:
            return
        if stray := self._stray.search(outer):
            raise EditListError(
                "it has a quotation mark inside a cell that does not begin with one, or text after the closing one.",
                where=f"row {self._row + outer.count(_EOL, 0, stray.start() + 1):,}",
                likely="An earlier quotation mark may not be closed.",
                hint='Put the cell in quotation marks and double those inside: "5"" screen".',
            )
        if block.count(b'"') % 2:
            self._row += outer.count(b"\n")
            self._raise_unclosed("it has a quotation mark that is not closed")

    def _raise_unclosed(self, what: str) -> NoReturn:
        raise EditListError(
            f"{what}.",
            where=f"row {self._row:,}",
            likely="A quotation mark that is not closed takes all following text into its cell.",
            hint='Put the cell in quotation marks and double those inside: "5"" screen".',
        )


def _end_of_records(block: bytes) -> int:
    """Return the length up to the last newline outside of quotes; 0 if there is none."""
    end = block.rfind(b"\n")
    odd = block.count(b'"', 0, max(end, 0)) % 2
    while odd and end >= 0:
        before = block.rfind(b"\n", 0, end)
        odd ^= block.count(b'"', max(before, 0), end) % 2
        end = before
    return end + 1


def _end_of_first_record(block: bytes) -> int:
    end = block.find(b"\n")
    while end >= 0 and block.count(b'"', 0, end) % 2:
        end = block.find(b"\n", end + 1)
    return end + 1 or len(block)


def _outside_quotes(block: bytes) -> bytes:
    """Return a block without its quoted text, with one mark per pair; the block itself if it has no quotes."""
    return b'"'.join(block.split(b'"')[::2]) if b'"' in block else block


def _separator(head: bytes) -> bytes:
    """Return the most frequent separator of the header; European spreadsheets write semicolons, databases bars."""
    outer = _outside_quotes(head)
    return max(_SEPARATORS, key=outer.count)


def _without_separator_line(first: bytes) -> tuple[bytes, bytes | None]:
    """Return text without the line that tells Excel the separator, such as sep=; and the separator, or None.

    Spreadsheets do not show that line, so it has no row number. Raises EditListError for another separator.
    """
    line = _SEPARATOR_LINE.match(first)
    if line is None:
        return first, None
    if line[1] not in _SEPARATORS:
        raise EditListError(
            "its first line names a separator that bulkedit does not read.",
            where="row 1",
            hint="Save the list with commas, semicolons, tabs or vertical bars between the cells.",
        )
    return first[line.end() :], line[1]


def _cells(head: bytes, separator: bytes) -> list[str]:
    text = head.decode().rstrip("\r\n")
    try:
        return next(csv.reader(io.StringIO(text), delimiter=separator.decode()), [])
    except csv.Error:
        pass
    raise EditListError("a column name is too long.", where="row 1", likely="The file may not be an edit list.")
