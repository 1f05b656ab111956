"""Shows all problems of a list that cannot be planned: as a file, and as JSON for programs."""

from __future__ import annotations

import itertools
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from bulkedit._files import draft_file, new_id
from bulkedit.cli._console import as_flags, json_line
from bulkedit.errors import BadRowsError
from bulkedit.plans.bad_rows import is_shown_whole, kinds

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def problems_in_full(plan: Path | None, *, as_json: bool) -> Iterator[None]:
    """If the block raises BadRowsError, write all problems to a private file and name it, if the text has only some.

    ``plan``: the folder of the plan that was asked for; the file is beside it. With ``as_json``, the file is always
    written, and a line of type ``bad-rows`` has the number of rows of each kind.
    """
    try:
        yield
    except BadRowsError as error:
        if error.problems is not None:
            _report(error, error.problems, plan, as_json=as_json)
        raise


def _report(error: BadRowsError, problems: pl.DataFrame, plan: Path | None, *, as_json: bool) -> None:
    file = None
    if as_json or not is_shown_whole(problems):
        folder = plan or Path("plans") / new_id(datetime.now(UTC))
        file = _free_name(folder)
        error.hint = f"{_written(problems, file)}\n{error.hint}"
    if as_json:
        line = {
            "type": "bad-rows",
            "list": error.where,
            "rows": error.rows,
            "bad_rows": problems.get_column("row").n_unique(),
            "kinds": kinds(problems),
            "problems": str(file) if file is not None and file.exists() else None,
        }
        json_line(line)


def _free_name(plan: Path) -> Path:
    """Return the name of a file beside a plan that does not exist, because the list may be planned again and again."""
    names = (f"{plan.name}-problems{f'-{n}' if n > 1 else ''}.csv" for n in itertools.count(1))
    return next(file for name in names if not os.path.lexists(file := plan.with_name(name)))


def _written(problems: pl.DataFrame, file: Path) -> str:
    """Write all problems to a file, and return a sentence that names it. The list was refused already."""
    flags = {text: as_flags(text) for name in ("likely", "hint") for text in problems[name].unique().drop_nulls()}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with draft_file(file) as target:
            problems.with_columns(pl.col("likely", "hint").replace(flags)).write_csv(target)
    except OSError as reason:
        return f"The file of all problems cannot be written ({reason.strerror}): {file}"
    return f"All problems: {file}"
