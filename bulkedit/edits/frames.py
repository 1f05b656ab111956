"""Edits that are in memory already: frames of several libraries, and lists and dicts of Python, as one polars frame.

They may hold health data, so no text of an error has anything of them but the names of types and columns: the texts of
the libraries, which quote values, are dropped. Nothing is written to a disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeGuard

import polars as pl

from bulkedit.errors import EditListError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable


class ArrowStream(Protocol):
    """What hands its columns over by the Arrow PyCapsule interface: frames of pandas, pyarrow, DuckDB and others."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """A capsule with a stream of record batches."""


EditFrame: TypeAlias = (
    "pl.DataFrame | pl.LazyFrame | ArrowStream | Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]"
)

THE_FRAME: Final = "the frame"  # where an error is, if the edits have no name
_ACCEPTED: Final = (
    "Give a file (str or Path), a frame of polars (eager or lazy), pandas or another library that speaks Arrow "
    "(__arrow_c_stream__), a dict of lists, or a list of dicts."
)
# pandas hands its index over under such a name, unless it has one of its own or only counts the rows
_UNNAMED_INDEX: Final = r"^__index_level_\d+__$"
FROM_TEXT: Final = "Read text first, for example: polars.read_csv(io.StringIO(text), infer_schema=False)."


def frame_of(edits: object) -> pl.DataFrame:
    """Edits as a frame of polars; those of a lazy frame are collected. Blocks.

    Raises EditListError for what cannot be taken for columns, UsageError for an object of another kind.
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
            raise UsageError(f"edits are not taken from {_type_of(edits)}.", hint=_ACCEPTED)
    return _with_plain_columns(found)


def _collected(edits: pl.LazyFrame) -> pl.DataFrame:
    try:
        return edits.collect(engine="streaming")
    except Exception as error:  # noqa: BLE001 - a frame may call functions of its maker; texts of errors quote values
        kind = type(error).__name__
    raise EditListError(
        f"the lazy frame cannot be collected ({kind}).",
        where=THE_FRAME,
        hint="See why: edits.collect(). The error's own text is not repeated here, as it can quote values.",
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
            f"{_type_of(edits)} needs the package {missing} to hand its columns over.",
            where=THE_FRAME,
            hint=f"Install it: pip install {missing}",
        )
    raise EditListError(
        f"{_type_of(edits)} does not hand its columns over ({kind}).",
        where=THE_FRAME,
        likely="A column holds objects of several types.",
        hint="Make all columns text first.",
    )


def _of_rows(rows: Sequence[object]) -> pl.DataFrame:
    if not _are_mappings(rows):
        other = next(one for one in rows if not isinstance(one, Mapping))
        raise UsageError(f"edits are not taken from a {type(rows).__name__} of {_type_of(other)}.", hint=_ACCEPTED)
    names = dict.fromkeys(name for row in rows for name in row)
    return _of_columns({name: [row.get(name) for row in rows] for name in names})


def _are_mappings(rows: Iterable[object]) -> TypeGuard[Sequence[Mapping[Any, Any]]]:
    return all(isinstance(row, Mapping) for row in rows)


def _of_columns(columns: Mapping[Any, Any]) -> pl.DataFrame:
    if not all(isinstance(name, str) for name in columns):
        raise EditListError("the names of columns are not all text.", where=THE_FRAME, hint="Name columns by str.")
    series = [_column(name, cells) for name, cells in columns.items()]
    if len({one.len() for one in series}) > 1:
        raise EditListError(
            "the columns are not equally long.", where=THE_FRAME, hint="Give each column one value for each row."
        )
    return pl.DataFrame(series)


def _column(name: str, cells: Any) -> pl.Series:  # noqa: ANN401 - what a user has given
    # polars takes an iterator too, and what it has used up of it is gone
    if not isinstance(cells, list | tuple | pl.Series) and not hasattr(cells, "__array__"):
        raise EditListError(
            f"column {name} is {_type_of(cells)}, not a list.",
            where=THE_FRAME,
            hint="Give each column a list with one value for each row.",
        )
    try:
        return pl.Series(name, cells)
    except Exception as error:  # noqa: BLE001 - polars' text quotes values
        kind = type(error).__name__
    raise EditListError(
        f"the values of column {name} are not all of one type ({kind}).", where=THE_FRAME, hint="Give text as str."
    )


def _with_plain_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame in types that its file can have. Raises EditListError for objects of Python."""
    odd = next((name for name, dtype in frame.schema.items() if dtype == pl.Object), None)
    if odd is not None:
        raise EditListError(f"column {odd} holds objects of Python.", where=THE_FRAME, hint="Make them text first.")
    named = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Categorical | pl.Enum | pl.Null)]
    return frame.with_columns(pl.col(named).cast(pl.String))


def _type_of(thing: object) -> str:
    """The type of an object, with its module unless it is Python's own: never its repr, which has values."""
    kind = type(thing)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
