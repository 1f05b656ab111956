"""CSV as RFC 4180 has it, read in blocks of complete records.

polars parses the cells, but fills short rows with nulls and leaves a stray quotation mark where it stands; and the
row that an error is about has to be named. So the blocks are cut here, at newlines outside of quotes, and the
separators and records outside of quotes are counted before polars sees them: counts that agree with what polars made
of the block prove that every row had every cell. Memory is bounded by the block, however long the file.
"""

from __future__ import annotations

import csv
import io
import re
from typing import IO, TYPE_CHECKING, Final, NoReturn

import polars as pl

from bulkedit._words import plural
from bulkedit.edits.bounds import CELLS_AT_ONCE, LONGEST_ROW, MOST_BLANK, MOST_COLUMNS, size_of, too_many_columns
from bulkedit.edits.strict_json import check_text
from bulkedit.edits.table import Table
from bulkedit.errors import EditListError

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK: Final = 16 * 2**20  # bytes; some hundred thousand rows keep polars busy, and larger blocks are new memory each
LONGEST: Final = LONGEST_ROW
_BOM: Final = b"\xef\xbb\xbf"
_EOL: Final = b"\n"
_LONE_RETURN: Final = re.compile(rb"\r(?!\n)")


class Csv(Table):
    """One CSV file: its header, and its rows as batches of text columns c0, c1, … with ``row``."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._row = 1  # of the first record that is not parsed yet
        self._blank = 0  # lines without a cell
        self._blocks = self._records()
        first = next(self._blocks, b"").removeprefix(_BOM)
        self._check_text(first)
        if not first.strip():
            raise EditListError("the file is empty.", hint="An edit list has a header and at least one row.")
        head = first[: _end_of_first_record(first)]
        self._separator = _separator(head)
        # a quotation mark may stand at the start and the end of a cell only
        mark = re.escape(self._separator)
        self._stray = re.compile(rb'[^%b\n"]"|"[^%b\r\n"]' % (mark, mark))
        self._check_quotes(head, _outside_quotes(head))
        self._check_returns(_outside_quotes(head))
        if _outside_quotes(head).count(self._separator) >= MOST_COLUMNS:
            raise too_many_columns("row 1")
        self.header = _cells(head, self._separator)
        self._rest = first[len(head) :]
        self._top = self._separator.join(b"c%d" % i for i in range(len(self.header))) + b"\n"

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
        """Blocks of the file that end where a record ends."""
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
        """One block as a frame; raises where a row has too few or too many cells."""
        outer = _outside_quotes(block)
        self._check_quotes(block, outer)
        self._check_returns(outer)
        records = outer.count(b"\n") + (not outer.endswith(b"\n"))
        if uneven := outer.count(self._separator) != (len(self.header) - 1) * records:
            # Blank rows have no separators, so the counts may differ for no fault: a look at each row tells.
            self._check_widths(outer)
        frame = self._parse(block)
        if frame is None and not uneven:
            self._check_widths(outer)
        if frame is None or frame.height != records:
            raise EditListError(
                "the cells cannot be told apart.",
                where=f"rows {self._row:,} to {self._row + records - 1:,}",
                hint="Save the list as CSV in UTF-8 again, or use Parquet.",
            )
        size_of(frame, self._row.__add__)
        yield from frame.with_row_index("row", self._row).iter_slices(max(1, CELLS_AT_ONCE // len(self.header)))
        self._row += records

    def _parse(self, block: bytes) -> pl.DataFrame | None:
        """What polars makes of a block; None where it finds a row that is too long."""
        # The header is our own: the file's may hold one name twice.
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
                hint="Take them out, for example: grep . FILE",
            )
        for i, line in enumerate(lines):
            found = line.count(self._separator) + 1
            if found != expected and line.rstrip(b"\r"):
                raise EditListError(
                    f"it has {plural(found, 'cell')}, and the header has {expected:,}.",
                    where=f"row {self._row + i:,}",
                    likely="A value with a separator in it may lack its quotation marks." if found > expected else None,
                    hint="Save the list as CSV from a spreadsheet or with a CSV library again, or use Parquet.",
                )

    def _check_returns(self, outer: bytes) -> None:
        """A carriage return ends a line for some readers and not for others, unless a newline follows."""
        if outer.count(b"\r") != outer.count(b"\r\n") and (alone := _LONE_RETURN.search(outer)):
            raise EditListError(
                "it has a carriage return that ends no line.",
                where=f"row {self._row + outer.count(_EOL, 0, alone.start()):,}",
                likely="The lines may end as on an old Macintosh, or in two ways.",
                hint="Save the list as CSV in UTF-8 again, or put a cell of several lines in quotation marks.",
            )

    def _check_quotes(self, block: bytes, outer: bytes) -> None:
        if outer is block:
            return
        if stray := self._stray.search(outer):
            raise EditListError(
                "it has a quotation mark inside a cell that does not begin with one, or text after the closing one.",
                where=f"row {self._row + outer.count(_EOL, 0, stray.start() + 1):,}",
                likely="A quotation mark before this one may lack its partner.",
                hint='Put such a cell in quotation marks and double those inside: "5"" screen".',
            )
        if block.count(b'"') % 2:
            self._row += outer.count(b"\n")
            self._raise_unclosed("a quotation mark in it has no partner")

    def _raise_unclosed(self, what: str) -> NoReturn:
        raise EditListError(
            f"{what}.",
            where=f"row {self._row:,}",
            likely="A quotation mark without a partner takes all that follows into its cell.",
            hint='Put such a cell in quotation marks and double those inside: "5"" screen".',
        )


def _end_of_records(block: bytes) -> int:
    """The length of what ends with the last newline outside of quotes; 0 where there is none."""
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
    """A block without what stands between quotation marks, one mark left for each pair; itself where it has none."""
    return b'"'.join(block.split(b'"')[::2]) if b'"' in block else block


def _separator(head: bytes) -> bytes:
    """The separator of the header: European spreadsheets write semicolons."""
    outer = _outside_quotes(head)
    return max((b",", b";", b"\t"), key=outer.count)


def _cells(head: bytes, separator: bytes) -> list[str]:
    text = head.decode().rstrip("\r\n")
    try:
        return next(csv.reader(io.StringIO(text), delimiter=separator.decode()), [])
    except csv.Error:
        pass
    raise EditListError("a column name is too long to be one.", where="row 1", likely="The file may be no edit list.")
