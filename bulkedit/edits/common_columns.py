"""The columns of all forms: selectors, version, order, force, unchecked and UIDs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit.client.contract import IMAGE_SET_ID
from bulkedit.edits import misplaced, no_rows
from bulkedit.edits.edit import SELECTOR
from bulkedit.edits.identifiers import Guard, looks_wrong, reported
from bulkedit.edits.problems import RowCheck, constant, found, noun_of
from bulkedit.edits.unchecked import is_left_out, with_unchecked
from bulkedit.options.shared import SAME_ATTRIBUTE, SELECTORS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    wrong, problems = _guarded(frame, [name for name in selectors if name not in sound])
    checks = [*_selector_checks(selectors, sound, wrong), *_uid_checks(frame, wrong), *scalars]
    problems = [*found(frame, no_rows.checks(frame, selectors, sound)), *found(frame, checks), *problems]
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
    """Whether every filled cell is an id, so that no other check is needed.

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


def _guarded(frame: pl.DataFrame, selectors: Sequence[str]) -> tuple[dict[str, pl.Series], list[pl.DataFrame]]:
    """Find cells that a program or a spreadsheet has written in the place of an identifier.

    Returns the columns that have some, with a Boolean for each row, and their problems as SET_ASIDE frames.
    """
    wrong, problems = {}, []
    for name in dict.fromkeys([*selectors, *(name for name in _UID_COLUMNS if name in frame.columns)]):
        guard, text = Guard.SELECTOR, pl.col(name)
        if name in _UID_COLUMNS:
            guard, text = Guard.UID, pl.when(~text.str.contains(UID)).then(text)
        elif name == "image_set_id":
            guard, text = Guard.UID, pl.when(~is_id(text)).then(text)
        if (attribute := SAME_ATTRIBUTE.get(name)) is not None and name not in _UID_COLUMNS:
            text = pl.when(~is_left_out(frame, pl.lit(attribute))).then(text)
        mask = frame.select(looks_wrong(text, guard).fill_null(value=False)).to_series()
        if mask.any():
            wrong[name] = mask
            problems.append(reported(frame.filter(mask), pl.col(name), guard, subject=name, column=name))
    return wrong, problems


def _right(name: str, wrong: Mapping[str, pl.Series]) -> pl.Expr:
    """Whether the guard has found nothing in a cell (`_guarded`), so that its form can be checked."""
    return ~pl.lit(wrong[name]) if name in wrong else pl.lit(value=True)


def _selector_checks(selectors: Sequence[str], sound: Sequence[str], wrong: Mapping[str, pl.Series]) -> list[RowCheck]:
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
    if "image_set_id" in selectors and "image_set_id" not in sound:
        checks += _image_set_id_checks(_right("image_set_id", wrong))
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


def _image_set_id_checks(right: pl.Expr) -> list[RowCheck]:
    name = "image_set_id"
    column = pl.col(name)
    length = column.str.len_chars()
    unfit = ~is_id(column) & right
    other = _characters(name, length, "ids are 32 characters of 0-9 a-z.")
    return [misplaced.check("image-set-id", name, unfit, misplaced.IMAGE_SET_ID, other)]


def _characters(name: str, length: pl.Expr, rest: str) -> pl.Expr:
    return pl.format("{} has {} {}; {}", constant(name), length, noun_of(length, "character"), constant(rest))


def _uid_checks(frame: pl.DataFrame, wrong: Mapping[str, pl.Series]) -> list[RowCheck]:
    return [
        misplaced.check(
            "uid",
            name,
            ~pl.col(name).str.contains(UID) & _right(name, wrong),
            misplaced.UID,
            constant(f"{name} is not a UID."),
        )
        for name in _UID_COLUMNS
        if name in frame.columns
    ]
