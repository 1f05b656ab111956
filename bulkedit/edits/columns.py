"""From a file's header to what its columns mean, and so to the form of the list.

Names are matched exactly. A near miss is suggested, never assumed: a guess that is wrong edits the wrong thing.
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
# what bulkedit itself writes beside the rows of a list, so that its own files can be read as lists again
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
# columns whose text must be kept digit for digit
_EXACT: Final = frozenset({*SELECTORS, *_PLACE, "edit_id", "version", "latest_version_id", "datastore_id"})


@dataclass(frozen=True, slots=True)
class Layout:
    """What the columns of one file mean."""

    form: str  # tidy, wide or call
    names: tuple[str | None, ...]  # of each column: its canonical name, its attribute (wide), or None: to leave out
    attributes: tuple[str, ...]  # of the wide form, in the order of their columns
    unnamed: tuple[int, ...]  # positions of columns without a name; they must be empty throughout
    outcome: int | None = None  # position of the column that says what became of each line, in a result file


def letter(position: int) -> str:
    """The letter that a spreadsheet gives to a column; the first is at 0."""
    text = ""
    number = position + 1
    while number:
        number, digit = divmod(number - 1, 26)
        text = chr(ord("A") + digit) + text
    return text


def layout_of(header: Sequence[str], options: ReadOptions) -> Layout:
    """Recognise the columns of a file and the form of the list, or say what is wrong with them."""
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
    """A set without a value would empty the element, so a result file without values is no edit list."""
    if {"action", "attribute"} & set(names) and not any(name in names for name in results.VALUES):
        raise EditListError(
            "this result file was written without the values of the edits, so it cannot be planned.",
            where="row 1",
            likely="Values are health data; they are written only where asked for.",
            hint="Write it again with them: bulkedit report RUN --results DIR --include-values",
        )


def _named(header: Sequence[str], options: ReadOptions) -> list[str | None]:
    """The name of each column, None where it has none that is known or is to be left out."""
    mapped = _mapping(header, options)
    return [mapped.get(text) or (None if _left_out(text, header, options) else _known(text)) for text in header]


def _left_out(text: str, header: Sequence[str], options: ReadOptions) -> bool:
    of_results = text in results.COLUMNS and set(header) >= results.MARKS
    return text in options.ignore or text in REPORTED or of_results


def _mapping(header: Sequence[str], options: ReadOptions) -> dict[str, str]:
    for name, column in options.map.items():
        if _known(name) is None:
            raise EditListError(
                "a mapping names something that is neither a column of an edit list nor a DICOM keyword.",
                likely=_suggestion([name]),
                hint="A mapping is name=column: the name bulkedit knows, then the column of the file.",
            )
        if column not in header:
            raise EditListError(f"the column that {name} is mapped to is not in the file.", hint=_columns_hint(header))
    for column in options.ignore:
        if column not in header:
            raise EditListError("a column to be ignored is not in the file.", hint=_columns_hint(header))
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
                hint="Take one of them out, or leave it out with `ignore`.",
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
            raise EditListError(f"the column {call[0]} goes with updates, and there is none.", where="row 1")
        if "version" in names and "latest_version_id" in names:
            raise EditListError("the columns version and latest_version_id say the same.", where="row 1")
        if place := [name for name in _PLACE if name in names]:
            raise EditListError(f"the column {place[0]} does not go with updates.", where="row 1")
        return "call"
    if not tidy:
        return "wide"
    if "attribute" not in tidy and "action" not in tidy:
        raise EditListError(f"the column {tidy[0]} goes with attribute, and there is none.", where="row 1")
    if "attribute" in tidy and "value" not in tidy and "action" not in tidy:
        raise EditListError("the column attribute goes with value or action, and there is neither.", where="row 1")
    return "tidy"


def is_identifier(known: dicom.Attribute) -> bool:
    """Whether the value is a number or code that must be kept digit for digit."""
    return known.vr == "UI" or (known.vr in {"LO", "SH"} and known.name.endswith(("ID", "IDs", "Number", "Numbers")))


def is_identifier_column(name: str) -> bool:
    """Whether what stands in a column must be kept digit for digit."""
    known = dicom.attribute(name)
    return name in _EXACT or (known is not None and is_identifier(known))


def _plain(text: str) -> str:
    """A name without what people vary: case, blanks, dashes, apostrophes, brackets."""
    return re.sub(r"[^0-9a-z]", "", text.lower())


@functools.cache
def _by_plain() -> dict[str, str]:
    return {_plain(name): name for name in (*dicom.keywords(), *CLI_KEYS.values(), *NAMES)}


@functools.cache
def _keywords_by_plain() -> dict[str, str]:
    return {_plain(name): name for name in dicom.keywords()}


@functools.lru_cache(maxsize=1024)
def suggestions(text: str, *, columns: bool = True) -> list[str]:
    """Known names that a text may stand for, the likeliest first: keywords, and names of columns too if asked."""
    candidates = _by_plain() if columns else _keywords_by_plain()
    plain = _plain(text[:64])
    if plain in candidates:
        return [candidates[plain]]
    if len(plain) == 8 and re.fullmatch(r"[0-9a-f]{8}", plain):
        keyword = dicom.key_of(int(plain, 16))
        return [keyword] if keyword.lower() != plain else []
    return [candidates[near] for near in difflib.get_close_matches(plain, candidates, n=3, cutoff=0.8)]
