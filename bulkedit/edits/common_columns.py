"""The columns of all forms: selectors, version, order, force, unchecked and UIDs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.client.contract import IMAGE_SET_ID
from bulkedit.edits import no_rows
from bulkedit.edits.edit import SELECTOR
from bulkedit.edits.problems import RowCheck, constant, found, noun_of
from bulkedit.edits.unchecked import with_unchecked
from bulkedit.options.shared import SAME_ATTRIBUTE, SELECTORS

if TYPE_CHECKING:
    from collections.abc import Sequence

# A long number after a spreadsheet, or a date after the reader of Excel files. The plus sign is required, so that an
# identifier such as 12E3 is valid.
DAMAGED: Final = (
    r"^(?:[+-]?[0-9]+(?:[.,][0-9]+)?[eE]\+[0-9]{1,3}|[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})$"
)
# The service's model is looser than PS3.5, and stored UIDs may be too; these only select, so they need not be valid.
UID: Final = r"^[0-9.]{1,256}$"
_VERSION: Final = r"^0*[1-9][0-9]{0,8}$"
_ORDER: Final = r"^[0-9]{1,9}$"
_YES: Final = ("true", "yes", "1")
_NO: Final = ("false", "no", "0")
_UID_COLUMNS: Final = ("study_instance_uid", "series_instance_uid", "series_uid", "instance_uid")
# columns whose text cannot begin or end with spaces
_STRIPPED: Final = (
    *("image_set_id", "datastore_id", *_UID_COLUMNS),
    *("action", "attribute", "level", "vr", "force", "unchecked", "order"),
    *("version", "latest_version_id", "include_study_image_sets"),
)


def common(
    frame: pl.DataFrame, *, force: bool, unchecked: bool = False, version: str = "version"
) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """Check and type the columns that all forms have. Returns the frame, and problems as SET_ASIDE frames.

    ``frame``: ``row`` UInt32, and String columns under canonical names; ``version``: name of the column of versions.
    Adds ``selector`` Enum and ``key`` String (null if the row has no selector), ``force`` Boolean, ``unchecked`` as
    `with_unchecked` types it, ``order`` and ``version`` UInt32, and ``series_uid``, ``instance_uid`` and ``edit_id``
    String (null if the file lacks them).
    """
    selectors = [name for name in SELECTORS if name in frame.columns]
    sound = [name for name in selectors if name == "image_set_id" and _all_are_ids(frame.get_column(name))]
    stripped = [name for name in _STRIPPED if name in frame.columns and name not in sound]
    frame = frame.with_columns(_without_blanks(name) for name in stripped)
    optional = ("series_uid", "instance_uid", "edit_id", "force", "order", version)
    absent = [name for name in optional if name not in frame.columns]
    frame = frame.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
    frame, unclear = with_unchecked(frame, everywhere=unchecked)
    scalars = [yes_no_check("force"), _version_check(version), _order_check()]
    problems = found(frame, no_rows.checks(frame, selectors, sound))
    problems += found(frame, [*_selector_checks(selectors, sound), *_uid_checks(frame), *scalars])
    return (
        frame.with_columns(
            _filled(selectors).alias("selector"),
            pl.coalesce(selectors).alias("key"),
            yes("force") | pl.lit(force),
            pl.col("order").cast(pl.UInt32, strict=False),
            pl.col(version).cast(pl.UInt32, strict=False).alias("version"),
        ).drop(selectors),
        [*problems, *unclear],
    )


def _all_are_ids(cells: pl.Series) -> bool:
    """Whether every filled cell is an id. An id has no sign, so it never matches `DAMAGED`.

    The rows of an image set are mostly adjacent, so only one row of each run is checked.
    """
    heads = cells.filter(cells.ne_missing(cells.shift()))  # the first row too, unless it is null
    return bool(heads.to_frame().select(is_id(pl.first()).all()).item())


def _filled(selectors: Sequence[str]) -> pl.Expr:
    """Return the first selector that is filled in a row."""
    return pl.coalesce(pl.when(pl.col(name).is_not_null()).then(pl.lit(name, SELECTOR)) for name in selectors)


def _without_blanks(name: str) -> pl.Expr:
    stripped = pl.col(name).str.strip_chars()
    return pl.when(stripped != "").then(stripped).alias(name)


def yes(name: str) -> pl.Expr:
    """Whether a cell is true; an empty cell is false."""
    return pl.col(name).str.to_lowercase().is_in(_YES).fill_null(value=False)


def yes_no_check(name: str) -> RowCheck:
    """Check that a cell is true or false."""
    return RowCheck(
        "force",
        ~pl.col(name).str.to_lowercase().is_in([*_YES, *_NO]),
        constant(f"{name} is neither true nor false."),
        name,
        hint=constant(f"Fill the column {name} with true or false, or leave it empty."),
    )


def _version_check(name: str) -> RowCheck:
    return RowCheck("version", ~pl.col(name).str.contains(_VERSION), constant(f"{name} is not a version number."), name)


def _order_check() -> RowCheck:
    return RowCheck("order", ~pl.col("order").str.contains(_ORDER), constant("order is not a whole number."), "order")


def is_id(column: pl.Expr) -> pl.Expr:
    """Whether a text has the form of the service's ids."""
    return column.str.contains(f"^{IMAGE_SET_ID}$")


def is_version(column: pl.Expr) -> pl.Expr:
    """Whether a text is a version number."""
    return column.str.contains(_VERSION)


def is_damaged(column: pl.Expr) -> pl.Expr:
    """Whether a text is a number in the scientific notation of a spreadsheet, or a date."""
    return column.str.contains(DAMAGED)


def _selector_checks(selectors: Sequence[str], sound: Sequence[str]) -> list[RowCheck]:
    """``sound``: selectors whose form is valid already, so that only their number per row is checked."""
    filled = pl.sum_horizontal(pl.col(name).is_not_null() for name in selectors)
    one, many = selectors[0], " and ".join(selectors)
    checks = [
        RowCheck(
            "no-selector",
            filled == 0,
            constant(f"{one} is empty." if len(selectors) == 1 else f"none of {many} is filled."),
            one if len(selectors) == 1 else None,
            hint=constant(f"Fill {' or '.join(selectors)}."),
        )
    ]
    if len(selectors) > 1:
        checks.append(_many_check(selectors, filled, many))
    unsure = [name for name in selectors if name not in sound]
    checks += [_damaged_check(name) for name in unsure]
    if "image_set_id" in unsure:
        checks += _image_set_id_checks()
    return checks


def _many_check(selectors: Sequence[str], filled: pl.Expr, many: str) -> RowCheck:
    """Check that one selector is filled at most. The name of a selector may be mistaken for that of an attribute."""
    text = constant(f"more than one of {many} is filled.")
    alike = [name for name in selectors if name in SAME_ATTRIBUTE]
    if not alike:
        return RowCheck("many-selectors", filled > 1, text)
    name = alike[0]
    attribute = SAME_ATTRIBUTE[name]
    likely = constant(f"{name} says which image sets to edit; to set it, use {attribute}.")
    hint = constant(f"To set it in all rows: `map={attribute}={name}`. Otherwise clear all but one of these columns.")
    return RowCheck("many-selectors", filled > 1, text, likely=likely, hint=hint)


def _image_set_id_checks() -> list[RowCheck]:
    name = "image_set_id"
    column = pl.col(name)
    length = column.str.len_chars()
    sound = is_id(column) | is_damaged(column)
    shape = "ids are 32 characters of 0-9 a-z."
    return [
        RowCheck("image-set-id", ~sound & (length != 32), _characters(name, length, shape), name),
        RowCheck(
            "image-set-id",
            ~sound & (length == 32),
            constant(f"{name} has a character that is not in 0-9 a-z; {shape}"),
            name,
            likely=constant("An id in capital letters is not the same id."),
            hint=constant("Copy the id from HealthImaging."),
        ),
    ]


def _characters(name: str, length: pl.Expr, rest: str) -> pl.Expr:
    return pl.format("{} has {} {}; {}", constant(name), length, noun_of(length, "character"), constant(rest))


def _damaged_check(name: str) -> RowCheck:
    """Check for identifiers that a spreadsheet has turned into scientific notation."""
    return RowCheck(
        "damaged-identifier", is_damaged(pl.col(name)), constant(f"{name} looks damaged by a spreadsheet."), name
    )


def _uid_checks(frame: pl.DataFrame) -> list[RowCheck]:
    return [
        RowCheck(
            "uid",
            ~pl.col(name).str.contains(UID) & ~is_damaged(pl.col(name)),
            constant(f"{name} is not a UID."),
            name,
        )
        for name in _UID_COLUMNS
        if name in frame.columns
    ] + [_damaged_check(name) for name in ("series_uid", "instance_uid")]
