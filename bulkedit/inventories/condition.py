"""Conditions on image sets: a boolean expression of SQL over the columns of an inventory (`--where`).

polars parses and evaluates it (`polars.sql_expr`). Before that, its words are checked here: only the columns of
`CONDITION_COLUMNS`, comparisons and a few functions are allowed, so there are no statements, subqueries or files; and
each value is of its column's kind, because polars compares some of different kinds without a word. In polars
``study_date < 2015-01-01`` is a comparison with the number 2013. Here it is the date.

A value of a condition may be health data, so no error quotes it: errors name the place in the text.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.errors import UsageError
from bulkedit.inventories.frame import INVENTORY, PADDED, trimmed

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_CHARACTERS: Final = 10_000


class ConditionKind(StrEnum):
    """The kind of a column, as errors name it."""

    TEXT = "text"
    NUMBER = "a number"
    DATE = "a date"
    TIME = "a time"
    TRUTH = "true or false"


_KINDS: Final = {
    pl.Boolean(): ConditionKind.TRUTH,
    pl.UInt32(): ConditionKind.NUMBER,
    pl.Datetime("us", "UTC"): ConditionKind.TIME,
    pl.String(): ConditionKind.TEXT,
}
# the columns that a condition may name; checks of names and birth dates are no values
CONDITION_COLUMNS: Final[dict[str, ConditionKind]] = {
    name: ConditionKind.DATE if name == "study_date" else _KINDS[kind]
    for name, kind in INVENTORY.items()
    if kind in _KINDS
}

_EXAMPLE: Final = "Example: `condition=\"study_date < 2015-01-01 and modality = 'CT'\"`"
_WORDS: Final = {"and", "or", "not", "in", "like", "ilike", "between", "is", "null", "true", "false"}
_FUNCTIONS: Final = {"lower", "upper", "starts_with", "ends_with"}
_TOKEN: Final = re.compile(
    r"""(?P<blank>\s+)
    |(?P<string>'(?:[^']|'')*')
    |(?P<quoted>"[^"]*")
    |(?P<date>\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?)?(?![\w-]))
    |(?P<number>\d+(?:\.\d+)?(?![\w.-]))
    |(?P<word>[^\W\d]\w*)
    |(?P<sign><=|>=|<>|!=|==|[<>=(),])""",
    re.VERBOSE,
)
_DATES: Final = re.compile(r"\d{4}-\d{2}-\d{2}|\d{8}")
_TIMES: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?)?")
_LITERALS: Final = ("string", "date", "number", "truth")


@dataclass(slots=True)
class _Token:
    kind: str  # a group of _TOKEN; a word is column, function, truth or the word itself
    text: str
    at: int  # from 1

    @property
    def place(self) -> str:
        return f"at character {self.at}"


def condition_of(text: str) -> pl.Expr:
    """Parse a condition to a Boolean expression over `condition_frame`. Raises UsageError, which quotes no value."""
    if len(text) > MOST_CHARACTERS:
        raise UsageError(f"`condition` has more than {MOST_CHARACTERS:,} characters.", hint="Filter in several steps.")
    tokens = list(_tokens(text))
    if not any(token.kind == "column" for token in tokens):
        raise UsageError("`condition` names no column.", hint=f"{_columns()}\n{_EXAMPLE}")
    for part in _comparisons(tokens):
        _check(part)
    try:
        found = pl.sql_expr(" ".join(map(_sql, tokens)))
        kind = condition_frame(pl.LazyFrame(schema=INVENTORY)).select(found).collect_schema().dtypes()
    except (pl.exceptions.PolarsError, ValueError, RecursionError):
        raise _not_understood() from None
    if kind != [pl.Boolean()]:
        raise _not_understood()
    return found


def judged(inventory: pl.LazyFrame, condition: pl.Expr) -> pl.DataFrame:
    """Apply a condition to an inventory (`INVENTORY`), in its order: image_set_id, meets Boolean, null if undecided."""
    try:
        return condition_frame(inventory).select("image_set_id", meets=condition).collect(engine="streaming")
    except pl.exceptions.PolarsError:
        raise _not_understood() from None


def condition_frame(inventory: pl.LazyFrame) -> pl.LazyFrame:
    """The columns of an inventory (`INVENTORY`) as a condition sees them: its ``image_set_id``, and typed values.

    Text is without padding, and null if it is empty; ``study_date`` is a date, and null if it is none; times are UTC.
    """
    return inventory.select(_seen(name, kind).alias(name) for name, kind in CONDITION_COLUMNS.items())


def _seen(name: str, kind: ConditionKind) -> pl.Expr:
    if kind is ConditionKind.DATE:
        return trimmed(name).str.to_date("%Y%m%d", strict=False)
    if kind is ConditionKind.TIME:
        return pl.col(name).dt.replace_time_zone(None)
    if kind is ConditionKind.TEXT:
        return trimmed(pl.col(name).str.strip_chars_start(" ") if name in PADDED else name)
    return pl.col(name)


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:
            raise _unreadable(text, place)
        if match.lastgroup != "blank":
            yield _named(_Token(match.lastgroup, match.group(), place + 1))
        place = match.end()


def _named(token: _Token) -> _Token:
    """Say of a word what it is. Raises UsageError if it is nothing that is allowed."""
    if token.kind not in {"word", "quoted"}:
        return token
    word = token.text.strip('"').lower()
    if word in CONDITION_COLUMNS:
        return _Token("column", word, token.at)
    if token.kind == "word" and word in {"true", "false"}:
        return _Token("truth", word, token.at)
    if token.kind == "word" and word in _WORDS:
        return _Token(word, word, token.at)
    if token.kind == "word" and word in _FUNCTIONS:
        return _Token("function", word, token.at)
    raise _unknown(word, token)


def _unknown(word: str, token: _Token) -> UsageError:
    plain = {name.replace("_", ""): name for name in CONDITION_COLUMNS}
    near = difflib.get_close_matches(word.replace("_", "").removeprefix("dicom"), plain, 1, 0.75)
    likely = f"{plain[near[0]]} may be meant." if near else "A text is written in quotes: 'like this'."
    return UsageError(
        f"`condition` has a word {token.place} that is not a column.", likely=likely, hint=f"{_columns()}\n{_EXAMPLE}"
    )


def _unreadable(text: str, place: int) -> UsageError:
    likely = "Only comparisons, and, or, not, in, like, between, is null and parentheses are allowed."
    if text[place] == "'":
        likely = "A quote is not closed. A quote in a text is written twice: 'like '' this'."
    elif text[place].isdigit():
        likely = "Dates are written as 2015-01-31. A text is written in quotes: 'like this'."
    return UsageError(f"`condition` cannot be read at character {place + 1}.", likely=likely, hint=_EXAMPLE)


def _not_understood() -> UsageError:
    return UsageError(
        "`condition` is not a condition: something is missing, or at a wrong place.",
        likely="A parenthesis is not closed, or two comparisons are not joined by and, or.",
        hint=_EXAMPLE,
    )


def _columns() -> str:
    return f"Columns: {', '.join(CONDITION_COLUMNS)}"


def _comparisons(tokens: list[_Token]) -> Iterator[list[_Token]]:
    """The parts between and, or; not the ``and`` of ``between``."""
    part: list[_Token] = []
    between = False
    for token in tokens:
        if token.kind == "or" or (token.kind == "and" and not between):
            yield part
            part = []
        elif token.kind != "and":
            part.append(token)
        between = token.kind == "between" or (between and token.kind != "and")
    yield part


def _check(part: list[_Token]) -> None:
    """Check the kinds of a comparison's values, and write dates as SQL. Raises UsageError."""
    columns = [token for token in part if token.kind == "column"]
    values = [token for token in part if token.kind in _LITERALS]
    if not columns:
        raise (
            UsageError(f"`condition` compares no column {part[0].place}.", hint=f"{_columns()}\n{_EXAMPLE}")
            if part
            else _not_understood()
        )
    if any(not _negates(part, place) for place, token in enumerate(part) if token.kind == "not"):
        raise _not_understood()
    first = columns[0]
    kind = CONDITION_COLUMNS[first.text]
    for other in columns[1:]:
        if CONDITION_COLUMNS[other.text] is not kind:
            raise UsageError(f"`condition` compares {first.text}, {kind}, with {other.text}.", hint=_EXAMPLE)
    text_only = next((token for token in part if token.kind in {"like", "ilike", "function"}), None)
    if text_only is not None and kind is not ConditionKind.TEXT:
        raise UsageError(
            f"`condition` uses {text_only.text} {text_only.place}, which is for text; {first.text} is {kind}."
        )
    if kind is not ConditionKind.TRUTH and not _compared(part, first):
        raise UsageError(
            f"`condition` does not compare {first.text} {first.place} with anything.",
            likely=f"{first.text} is {kind}, so it is neither true nor false.",
            hint=_EXAMPLE,
        )
    _check_nulls(part, first.text)
    for value in values:
        _check_value(value, first.text, kind)


def _negates(part: list[_Token], place: int) -> bool:
    """Whether a ``not`` is before a comparison, or is part of its operator."""
    leading = all(token.kind == "not" or token.text == "(" for token in part[:place])
    after = part[place + 1].kind if place + 1 < len(part) else ""
    return leading or part[place - 1].kind == "is" or after in {"in", "like", "ilike", "between"}


def _compared(part: list[_Token], column: _Token) -> bool:
    """Whether a comparison is beside a column; polars would take ``not version`` for a question about zero."""
    place = part.index(column)
    before, after = (part[at].kind if 0 <= at < len(part) else "" for at in (place - 1, place + 1))
    if any(token.kind == "function" for token in part[:place]):
        return True
    beside = [part[at] for at in (place - 1, place + 1) if 0 <= at < len(part)]
    signs = any(token.kind == "sign" and token.text not in {"(", ")", ","} for token in beside)
    return signs or after in {"in", "like", "ilike", "between", "is", "not"} or before in {"like", "ilike"}


def _check_nulls(part: list[_Token], column: str) -> None:
    before = ""
    for token in part:
        if token.kind == "null" and before not in {"is", "not"}:
            raise UsageError(
                f"`condition` compares with null {token.place}, which is never true.",
                hint=f"Write: {column} is null",
            )
        before = token.kind


def _check_value(value: _Token, column: str, kind: ConditionKind) -> None:
    plain = value.text[1:-1] if value.kind == "string" else value.text
    fits = {
        ConditionKind.TEXT: value.kind == "string",
        ConditionKind.NUMBER: value.kind == "number",
        ConditionKind.TRUTH: value.kind == "truth",
        ConditionKind.DATE: value.kind != "truth" and _DATES.fullmatch(plain) is not None,
        ConditionKind.TIME: value.kind != "truth" and _TIMES.fullmatch(plain) is not None,
    }[kind]
    if not fits:
        raise UsageError(
            f"`condition` compares {column} with another kind of value {value.place}.",
            likely=f"{column} is {kind}.",
            hint=_WRITTEN[kind],
        )
    if kind in {ConditionKind.DATE, ConditionKind.TIME}:
        value.text = _dated(value, plain, kind)


_WRITTEN: Final = {
    ConditionKind.TEXT: "Write a text in quotes: 'like this'",
    ConditionKind.NUMBER: "Write a number: 2",
    ConditionKind.TRUTH: "Write true or false.",
    ConditionKind.DATE: "Write a date: 2015-01-31",
    ConditionKind.TIME: "Write a date, which is its first moment in UTC, or a time: 2015-01-31, 2015-01-31T14:30",
}


def _dated(value: _Token, text: str, kind: ConditionKind) -> str:
    try:
        if kind is ConditionKind.DATE:
            return f"DATE '{date.fromisoformat(text)}'"
        return f"TIMESTAMP '{datetime.fromisoformat(text)}'"
    except ValueError:
        raise UsageError(f"`condition` has a date {value.place} that is not in the calendar.", hint=_EXAMPLE) from None


def _sql(token: _Token) -> str:
    if token.kind == "column":
        return f'"{token.text}"'
    return "=" if token.text == "==" else token.text
