"""Reads the selection of image sets: selectors and keys from options, files and standard input."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Final

import polars as pl

from bulkedit._files import reason_of
from bulkedit.errors import UsageError
from bulkedit.options.shared import SELECTORS

_STDIN: Final = "@-"
_HOW: Final = "Put one value on each line. A value that begins with @ must be in a file too: `select=SELECTOR=@FILE`"


def selected(texts: list[str], table: Path | None, standard_input: IO[bytes]) -> pl.DataFrame:
    """Selectors and keys, without duplicates: columns ``selector`` and ``key``, both String.

    ``texts``: SELECTOR=VALUE, SELECTOR=@FILE (one value on each line), or SELECTOR=@- (standard input, likewise).
    ``table``: a CSV file with one column that is named after a selector. Raises UsageError, also if a file has no
    values: an empty selection would mean all image sets.
    """
    pairs: list[tuple[str, str]] = []
    if sum(text.endswith(f"={_STDIN}") for text in texts) > 1:
        raise UsageError("standard input can be read only once.", hint="Give only one `select=SELECTOR=@-`")
    for text in texts:
        selector, found, value = text.partition("=")
        if not found or selector not in SELECTORS or value in {"", "@"}:
            raise UsageError(
                "`select` must be SELECTOR=VALUE, SELECTOR=@FILE or SELECTOR=@-.",
                hint=f"Selectors: {', '.join(SELECTORS)}.",
            )
        values = _values(value, standard_input) if value.startswith("@") else [value]
        pairs += [(selector, one) for one in values]
    if table is not None:
        pairs += _of_table(table)
    schema = {"selector": pl.String, "key": pl.String}
    return pl.DataFrame(pairs, schema=schema, orient="row").unique(maintain_order=True)


def _values(source: str, standard_input: IO[bytes]) -> list[str]:
    """The lines of a file or of standard input, stripped; blank lines are skipped."""
    where = "standard input" if source == _STDIN else source[1:]
    try:
        content = standard_input.read() if source == _STDIN else Path(where).read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError(f"the values of `select` cannot be read ({reason}).", where=where, hint=_HOW) from error
    except UnicodeDecodeError as error:
        raise UsageError("the values of `select` are not UTF-8 text.", where=where, hint="Save it as UTF-8.") from error
    values = [line.strip() for line in text.splitlines() if line.strip()]
    if not values:
        raise UsageError("`select` has no values here.", where=where, hint=_HOW)
    return values


def _of_table(file: Path) -> list[tuple[str, str]]:
    try:
        frame = pl.read_csv(file, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "it is not CSV"
        raise UsageError(f"the selection cannot be read ({reason}).", where=str(file)) from error
    names = [name for name in frame.columns if name in SELECTORS]
    if len(names) != 1:
        raise UsageError(
            "the selection needs exactly one column that is named after a selector.",
            where=str(file),
            hint=f"Selectors: {', '.join(SELECTORS)}.",
        )
    keys = frame.get_column(names[0]).drop_nulls()
    if not keys.len():
        raise UsageError("the selection has no values.", where=str(file), hint="Put one value on each line.")
    return [(names[0], key) for key in keys]
