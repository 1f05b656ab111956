"""Recognises the columns of a file, and so the form of the list.

Names must match exactly. Similar names are suggested, never assumed, because a wrong guess edits the wrong attribute.
"""

from __future__ import annotations

import difflib
import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bulkedit.dicom import dictionary as dicom
from bulkedit.edits import result_files as results
from bulkedit.errors import EditListError
from bulkedit.options.shared import SELECTORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bulkedit.edits.options import ReadOptions

_PLACE: Final = ("series_uid", "instance_uid")
_TIDY_ONLY: Final = ("action", "attribute", "value", "value_json", "level", "vr")
_CALL_ONLY: Final = ("updates", "latest_version_id", "datastore_id")
_ANY: Final = ("version", "order", "force", "edit_id", "include_study_image_sets")
# columns that bulkedit adds to the rows of a list, so that its own files can be read as lists again
REPORTED: Final = ("row", "code", "problem", "likely", "hint", "outcome", "reason", "message")
NAMES: Final = (*SELECTORS, *_PLACE, *_TIDY_ONLY, *_CALL_ONLY, *_ANY)

# the keys of `aws medical-imaging update-image-set-metadata --cli-input-json`
CLI_KEYS: Final = {
    "imageSetId": "image_set_id",
    "datastoreId": "datastore_id",
    "latestVersionId": "latest_version_id",
    "includeStudyImageSets": "include_study_image_sets",
    "updateImageSetMetadataUpdates": "updates",
}
# columns whose digits must not change
_EXACT: Final = frozenset({*SELECTORS, *_PLACE, "edit_id", "version", "latest_version_id", "datastore_id"})


@dataclass(frozen=True, slots=True)
class Layout:
    """The meaning of the columns of a file."""

    form: str  # tidy, wide or call
    names: tuple[str | None, ...]  # per column: its canonical name, its attribute (wide), or None if it is ignored
    attributes: tuple[str, ...]  # of the wide form, in column order
    unnamed: tuple[int, ...]  # positions of columns without a name; all their cells must be empty
    outcome: int | None = None  # position of the outcome column of a result file


def letter(position: int) -> str:
    """Return the spreadsheet letter of a column; ``position`` counts from 0."""
    text = ""
    number = position + 1
    while number:
        number, digit = divmod(number - 1, 26)
        text = chr(ord("A") + digit) + text
    return text


def layout_of(header: Sequence[str], options: ReadOptions) -> Layout:
    """Recognise the columns of a file and the form of the list. Raises EditListError."""
    names = _named(header, options)
    unnamed = tuple(i for i, text in enumerate(header) if not text.strip() and names[i] is None)
    _check_unknown(header, names, options, unnamed)
    _check_duplicates(names)
    attributes = tuple(name for name in names if name and name not in NAMES)
    result_file = _is_result_file(header, options)
    if result_file:
        _check_has_values(names)
    form = _form(names, attributes)
    outcome = header.index(results.OUTCOME) if result_file and form == "tidy" else None
    return Layout(form, tuple(names), attributes, unnamed, outcome)


def _is_result_file(header: Sequence[str], options: ReadOptions) -> bool:
    return set(header) >= results.MARKS and results.OUTCOME not in options.ignore


def _check_has_values(names: Sequence[str | None]) -> None:
    """Refuse a result file without values, because a set without a value would empty the element."""
    if {"action", "attribute"} & set(names) and not any(name in names for name in results.VALUES):
        raise EditListError(
            "this result file was written without the values of the edits, so it cannot be planned.",
            where="row 1",
            likely="Values are health data, and are written only on request.",
            hint="Write it again with them: bulkedit report RUN --results DIR --include-values",
        )


def _named(header: Sequence[str], options: ReadOptions) -> list[str | None]:
    """Return the canonical name of each column, None if it is unknown or ignored."""
    mapped = _mapping(header, options)
    return [mapped.get(text) or (None if _left_out(text, header, options) else _known(text)) for text in header]


def _left_out(text: str, header: Sequence[str], options: ReadOptions) -> bool:
    of_results = text in results.COLUMNS and set(header) >= results.MARKS
    return text in options.ignore or text in REPORTED or of_results


def _mapping(header: Sequence[str], options: ReadOptions) -> dict[str, str]:
    for name, column in options.map.items():
        if _known(name) is None:
            raise EditListError(
                "the name in a mapping is neither a column of an edit list nor a DICOM keyword.",
                likely=_suggestion([name]),
                hint="A mapping is name=column: the name for bulkedit, then the column of the file.",
            )
        if column not in header:
            raise EditListError(f"the column that {name} is mapped to is not in the file.", hint=_columns_hint(header))
    for column in options.ignore:
        if column not in header:
            raise EditListError("a column to ignore is not in the file.", hint=_columns_hint(header))
    return {column: known for name, column in options.map.items() if (known := _known(name))}


def _columns_hint(header: Sequence[str]) -> str:
    known = [name for text in header if (name := _known(text))]
    return f"The file has {len(header)} columns; known names among them: {', '.join(known) or 'none'}."


def _known(text: str) -> str | None:
    if text in NAMES:
        return text
    if text in CLI_KEYS:
        return CLI_KEYS[text]
    attribute = dicom.attribute(text)
    return attribute.name if attribute else None


def _check_unknown(
    header: Sequence[str], names: Sequence[str | None], options: ReadOptions, unnamed: Sequence[int]
) -> None:
    known = [name is not None or _left_out(header[i], header, options) or i in unnamed for i, name in enumerate(names)]
    unknown = [i for i, is_known in enumerate(known) if not is_known]
    if not unknown:
        return
    where = " and ".join(letter(i) for i in unknown[:5]) + (" and others" if len(unknown) > 5 else "")
    alone = len(unknown) == 1
    headless = not any(names)
    raise EditListError(
        f"column {where} has a name that bulkedit does not know."
        if alone
        else f"columns {where} have names that bulkedit does not know.",
        where="row 1",
        likely="The file may have no header." if headless else _suggestion([header[i] for i in unknown[:5]]),
        hint="To use a column under another name: `map=name=column`. To leave it out: `ignore`.",
    )


def _suggestion(texts: Iterable[str]) -> str | None:
    near = list(dict.fromkeys(name for text in texts for name in suggestions(text)[:1]))
    return f"Did you mean {' and '.join(near)}?" if near else None


def _check_duplicates(names: Sequence[str | None]) -> None:
    for i, name in enumerate(names):
        if name is not None and name in names[:i]:
            raise EditListError(
                f"columns {letter(names.index(name))} and {letter(i)} are both {name}.",
                where="row 1",
                hint="Delete one of them, or ignore it with `ignore`.",
            )


def _form(names: Sequence[str | None], attributes: Sequence[str]) -> str:
    def has(candidates: Sequence[str]) -> list[str]:
        return [name for name in candidates if name in names]

    tidy, call = has(_TIDY_ONLY), has(_CALL_ONLY)
    if not has(SELECTORS):
        raise EditListError(
            "no column says which image sets to edit.",
            where="row 1",
            likely="The first row may not be a header." if not any(names) else None,
            hint=f"Name one column {', '.join(SELECTORS[:-1])} or {SELECTORS[-1]}; `map=name=column` renames.",
        )
    kinds = [kind for kind in (tidy, call, list(attributes)) if kind]
    if len(kinds) > 1:
        raise EditListError(
            f"the columns {kinds[0][0]} and {kinds[1][0]} belong to different forms of edit lists.",
            where="row 1",
            hint="Use attribute and value, or one column per attribute, or updates.",
        )
    if not kinds:
        raise EditListError(
            "no column says what to edit.",
            where="row 1",
            hint="Name columns attribute and value, or give each attribute a column, or use updates.",
        )
    return _complete(names, tidy, call)


def _complete(names: Sequence[str | None], tidy: Sequence[str], call: Sequence[str]) -> str:
    if call:
        if "updates" not in call:
            raise EditListError(f"the column {call[0]} needs a column updates.", where="row 1")
        if "version" in names and "latest_version_id" in names:
            raise EditListError("the columns version and latest_version_id mean the same.", where="row 1")
        if place := [name for name in _PLACE if name in names]:
            raise EditListError(f"the column {place[0]} cannot be used with updates.", where="row 1")
        return "call"
    if not tidy:
        return "wide"
    if "attribute" not in tidy and "action" not in tidy:
        raise EditListError(f"the column {tidy[0]} needs a column attribute.", where="row 1")
    if "attribute" in tidy and "value" not in tidy and "action" not in tidy:
        raise EditListError("the column attribute needs a column value or action.", where="row 1")
    return "tidy"


def is_identifier(known: dicom.Attribute) -> bool:
    """Whether the value is an identifier, whose digits must not change."""
    return known.vr == "UI" or (known.vr in {"LO", "SH"} and known.name.endswith(("ID", "IDs", "Number", "Numbers")))


def is_identifier_column(name: str) -> bool:
    """Whether the digits in a column must not change."""
    known = dicom.attribute(name)
    return name in _EXACT or (known is not None and is_identifier(known))


def _plain(text: str) -> str:
    """Return a name in lower case, without spaces and punctuation."""
    return re.sub(r"[^0-9a-z]", "", text.lower())


@functools.cache
def _by_plain() -> dict[str, str]:
    return {_plain(name): name for name in (*dicom.keywords(), *CLI_KEYS.values(), *NAMES)}


@functools.cache
def _keywords_by_plain() -> dict[str, str]:
    return {_plain(name): name for name in dicom.keywords()}


@functools.lru_cache(maxsize=1024)
def suggestions(text: str, *, columns: bool = True) -> list[str]:
    """Return known names similar to a text, the likeliest first: keywords, and names of columns if ``columns``."""
    candidates = _by_plain() if columns else _keywords_by_plain()
    plain = _plain(text[:64])
    if plain in candidates:
        return [candidates[plain]]
    if len(plain) == 8 and re.fullmatch(r"[0-9a-f]{8}", plain):
        keyword = dicom.key_of(int(plain, 16))
        return [keyword] if keyword.lower() != plain else []
    return [candidates[near] for near in difflib.get_close_matches(plain, candidates, n=3, cutoff=0.8)]
