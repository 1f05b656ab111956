"""Converts edits in memory to a polars frame: frames of several libraries, and Python lists and dicts.

The edits may contain health data. So error texts contain only names of types and columns, and the libraries' own
texts, which quote values, are dropped. Nothing is written to disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeGuard

import polars as pl

from bulkedit.errors import EditListError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable


class ArrowStream(Protocol):
    """An object with the Arrow PyCapsule interface: frames of pandas, pyarrow, DuckDB and others."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return a capsule with a stream of record batches."""


EditFrame: TypeAlias = (
    "pl.DataFrame | pl.LazyFrame | ArrowStream | Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]"
)

THE_FRAME: Final = "the frame"  # location in errors, if the edits have no name
_ACCEPTED: Final = (
    "Pass a file (str or Path), a frame of polars (eager or lazy), pandas or another library with the Arrow interface "
    "(__arrow_c_stream__), a dict of lists, or a list of dicts."
)
# pandas exports its index under this name, unless the index has a name or is a range
_UNNAMED_INDEX: Final = r"^__index_level_\d+__$"
FROM_TEXT: Final = "Read text first, for example: polars.read_csv(io.StringIO(text), infer_schema=False)."


def frame_of(edits: object) -> pl.DataFrame:
    """Convert edits to a polars frame; a lazy frame is collected. Blocks.

    ``edits``: see `EditFrame`; columns of any plain type. Raises EditListError if the columns are unusable, UsageError
    for an object of another type.

    Example: ``frame_of([{"image_set_id": ID, "attribute": "PatientID", "value": "A1"}])``
    """
    match edits:
        case pl.DataFrame():
            found = edits
        case pl.LazyFrame():
            found = _collected(edits)
        case Mapping():
            found = _of_columns(edits)
        case _ if hasattr(edits, "__arrow_c_stream__"):
            found = _of_arrow(edits)
        case list() | tuple():
            found = _of_rows(edits)
        case _:
            raise UsageError(f"edits cannot be read from {_type_of(edits)}.", hint=_ACCEPTED)
    return _with_plain_columns(found)


def _collected(edits: pl.LazyFrame) -> pl.DataFrame:
    try:
        return edits.collect(engine="streaming")
    except Exception as error:  # noqa: BLE001 - a frame may call functions of its maker; texts of errors quote values
        kind = type(error).__name__
    raise EditListError(
        f"the lazy frame cannot be collected ({kind}).",
        where=THE_FRAME,
        hint="To see the error: edits.collect(). Its text is not repeated here, because it can quote values.",
    )


def _of_arrow(edits: Any) -> pl.DataFrame:  # noqa: ANN401 - no type that polars knows
    try:
        found = pl.DataFrame(edits)
    except ImportError as error:
        missing = error.name
    except Exception as error:  # noqa: BLE001 - code of other libraries, whose texts quote values
        kind = type(error).__name__
        missing = None
    else:
        return found.drop(pl.selectors.matches(_UNNAMED_INDEX))
    if missing is not None:
        raise EditListError(
            f"{_type_of(edits)} needs the package {missing} to export its columns.",
            where=THE_FRAME,
            hint=f"Install it: pip install {missing}",
        )
    raise EditListError(
        f"{_type_of(edits)} cannot export its columns ({kind}).",
        where=THE_FRAME,
        likely="A column has objects of several types.",
        hint="Convert all columns to text first.",
    )


def _of_rows(rows: Sequence[object]) -> pl.DataFrame:
    if not _are_mappings(rows):
        other = next(one for one in rows if not isinstance(one, Mapping))
        raise UsageError(f"edits cannot be read from a {type(rows).__name__} of {_type_of(other)}.", hint=_ACCEPTED)
    names = dict.fromkeys(name for row in rows for name in row)
    return _of_columns({name: [row.get(name) for row in rows] for name in names})


def _are_mappings(rows: Iterable[object]) -> TypeGuard[Sequence[Mapping[Any, Any]]]:
    return all(isinstance(row, Mapping) for row in rows)


def _of_columns(columns: Mapping[Any, Any]) -> pl.DataFrame:
    if not all(isinstance(name, str) for name in columns):
        raise EditListError("the names of columns are not all text.", where=THE_FRAME, hint="Name columns with str.")
    series = [_column(name, cells) for name, cells in columns.items()]
    if len({one.len() for one in series}) > 1:
        raise EditListError(
            "the columns differ in length.", where=THE_FRAME, hint="Pass one value per row in each column."
        )
    return pl.DataFrame(series)


def _column(name: str, cells: Any) -> pl.Series:  # noqa: ANN401 - from the user
    # polars accepts an iterator too, but would consume the user's
    if not isinstance(cells, list | tuple | pl.Series) and not hasattr(cells, "__array__"):
        raise EditListError(
            f"column {name} is {_type_of(cells)}, not a list.",
            where=THE_FRAME,
            hint="Pass a list with one value per row for each column.",
        )
    try:
        return pl.Series(name, cells)
    except Exception as error:  # noqa: BLE001 - polars' text quotes values
        kind = type(error).__name__
    raise EditListError(
        f"the values of column {name} are not all of one type ({kind}).", where=THE_FRAME, hint="Pass text as str."
    )


def _with_plain_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """Convert categories and nulls to text. Raises EditListError for Python objects."""
    odd = next((name for name, dtype in frame.schema.items() if dtype == pl.Object), None)
    if odd is not None:
        raise EditListError(f"column {odd} has Python objects.", where=THE_FRAME, hint="Convert them to text first.")
    named = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Categorical | pl.Enum | pl.Null)]
    return frame.with_columns(pl.col(named).cast(pl.String))


def _type_of(thing: object) -> str:
    """Return the name of an object's type, with the module unless built-in. Not its repr, which has values."""
    kind = type(thing)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
