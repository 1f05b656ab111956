"""Tells rows that have the names of columns from rows that have data.

Messages name a column by its text only if the row is certainly a header. In a file without a header the first row is a
patient.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

ROWS_SEARCHED: Final = 20  # below the first one
_LONGEST: Final = 40  # characters of a name
# letters of any script, digits, and the punctuation of names; no more than two digits together
_NAME: Final = re.compile(r"(?=.*[^\W\d_])(?!.*\d{3})[\w .()/#:-]+")
# an id of HealthImaging, the words of the column action, and texts of digits without letters: numbers, dates, UIDs
_DATA: Final = re.compile(r"[0-9a-z]{32}|set|remove|[\W\d_]*\d[\W\d_]*")


def looks_like_a_name(text: str) -> bool:
    """Whether a text looks like the name of a column."""
    return len(text) <= _LONGEST and _NAME.fullmatch(text) is not None


def has_data(row: Sequence[str], known: Callable[[str], str | None]) -> bool:
    """Whether a row has a cell that is no name of a column. ``known``: returns the meaning of a name, or None."""
    return any("^" in text or _DATA.fullmatch(text.strip()[:_LONGEST]) for text in row if not known(text))


def is_header(
    row: Sequence[str],
    known: Callable[[str], str | None],
    own: Collection[str],
    name_of: Callable[[str], str | None] | None = None,
) -> bool:
    """Whether a row certainly has the names of columns. ``name_of``: as ``known``, for texts that may be data too.

    It needs a name in ``own``, the names of bulkedit, or two of DICOM, and no cell with data. A row of data may have
    one name of DICOM, in the column attribute.
    """
    names = [name for text in row if (name := known(text.strip()))]
    return (len(names) > 1 or not set(names).isdisjoint(own)) and not has_data(row, name_of or known)


def header_below(
    rows: Iterable[tuple[int, Sequence[str]]],
    first: Sequence[str],
    known: Callable[[str], str | None],
    own: Collection[str],
) -> int | None:
    """Return the number of the first row that is a header and has more known names than the first row of the file."""

    def names(row: Sequence[str]) -> int:
        return sum(known(text.strip()) is not None for text in row)

    return next((n for n, row in rows if names(row) > names(first) and is_header(row, known, own)), None)
