"""Recognises the columns of a file, and so the form of the list.

Names must match exactly. Similar names are suggested, never assumed, because a wrong guess edits the wrong attribute.
"""

from __future__ import annotations

import difflib
import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bulkedit._printable import shell_word
from bulkedit._words import noun
from bulkedit.dicom import dictionary as dicom
from bulkedit.edits import result_files as results
from bulkedit.edits.headers import has_data, header_below, is_header, looks_like_a_name
from bulkedit.errors import EditListError
from bulkedit.options.shared import SAME_ATTRIBUTE, SELECTORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bulkedit.edits.options import ReadOptions

_SHOWN: Final = 5  # columns in a message
_TAG: Final = re.compile(r"\(?[0-9A-Fa-f]{4}[, ]?[0-9A-Fa-f]{4}\)?")
_PLACE: Final = ("series_uid", "instance_uid")
_TIDY_ONLY: Final = ("action", "attribute", "value", "value_json", "level", "vr")
_CALL_ONLY: Final = ("updates", "latest_version_id", "datastore_id")
_ANY: Final = ("version", "order", "force", "unchecked", "edit_id", "include_study_image_sets")
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
# usual names of columns in plain form -> what they probably mean; suggested, never assumed
_USUAL: Final = {
    **dict.fromkeys(("imageset", "imagesetuid", "imagesets", "ahiid"), "image_set_id"),
    **dict.fromkeys(("studyuid", "studyiuid", "suid"), "study_instance_uid"),
    **dict.fromkeys(("seriesuid", "seriesiuid"), "series_instance_uid"),
    **dict.fromkeys(("sopuid", "sopinstanceuid", "instance"), "instance_uid"),
    **dict.fromkeys(("acc", "accession", "accessionno", "accno", "accnum", "accnumber"), "accession_number"),
    **dict.fromkeys(("mrn", "oldmrn", "currentmrn", "pid", "patid", "patientnumber", "oldpatientid"), "patient_id"),
    **dict.fromkeys(("newmrn", "newpatientid", "newpid", "correctmrn", "correctpatientid"), "PatientID"),
    **dict.fromkeys(("name", "patname", "newname", "newpatientname", "fullname", "correctname"), "PatientName"),
    **dict.fromkeys(("dob", "birthdate", "dateofbirth", "patientdob"), "PatientBirthDate"),
    **dict.fromkeys(("sex", "gender", "patientgender"), "PatientSex"),
    **dict.fromkeys(("tag", "keyword", "field", "element", "dicomtag"), "attribute"),
    **dict.fromkeys(("description", "examdescription", "procedure"), "StudyDescription"),
    **dict.fromkeys(("newvalue", "correctvalue"), "value"),
    **dict.fromkeys(("operation", "op"), "action"),
}
# keywords of identifiers, and not of numbers such as a version or a telephone number, which may have points and blanks
_IDENTIFIER: Final = re.compile(r"(?:IDs?|(?<!Version)(?<!Model)(?<!phone)Numbers?|Identifier|Locator)$|OrderNumber")
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


def row_of_header(rows: Iterable[tuple[int, Sequence[str]]], first: Sequence[str]) -> int | None:
    """Return the row that has the names of columns, if it is not the first one. ``rows``: those below, with numbers."""
    return header_below(rows, first, _known, NAMES)


def layout_of(header: Sequence[str], options: ReadOptions, *, keys: bool = False) -> Layout:
    """Recognise the columns of a file and the form of the list. Raises EditListError.

    ``keys``: the format itself names the columns, so the names cannot be data of the first row.
    """
    names = _named(header, options)
    unnamed = tuple(
        i for i, text in enumerate(header) if not text.strip() and names[i] is None and text not in options.ignore
    )
    _check_unknown(header, names, options, unnamed, keys=keys)
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
    in_capitals = _is_in_capitals(header)
    return [
        mapped.get(text)
        or (
            None
            if _left_out(text, header, options)
            else _known(text) or _in_another_case(text, in_capitals=in_capitals)
        )
        for text in header
    ]


def _is_in_capitals(header: Sequence[str]) -> bool:
    """Whether all names are in capitals, as databases export them."""
    return all(text == text.upper() for text in header)


def _in_another_case(text: str, *, in_capitals: bool) -> str | None:
    """Return the name that a text is if only its case differs, such as PATIENTID or patientid; None if it is none.

    Short words such as Order are names of other things too, so they count only in a header that is all in capitals.
    """
    name = _by_lower().get(text.lower())
    if name is None or in_capitals or name not in NAMES or "_" in name:
        return name
    return None


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


def is_known(text: str) -> bool:
    """Whether a text is the name of a column or a DICOM keyword, so that it can be shown."""
    return _known(text) is not None


def _check_unknown(
    header: Sequence[str],
    names: Sequence[str | None],
    options: ReadOptions,
    unnamed: Sequence[int],
    *,
    keys: bool,
) -> None:
    known = [name is not None or _left_out(header[i], header, options) or i in unnamed for i, name in enumerate(names)]
    unknown = [i for i, is_known in enumerate(known) if not is_known]
    if not unknown:
        return
    have = noun(len(unknown), "has a name", "have names")
    named = keys or is_header(header, _known_or_meant, NAMES, _known_or_tag)
    headless = not named and sum(name is not None for name in names) < 2 and has_data(header, _known_or_tag)
    raise EditListError(
        f"{noun(len(unknown), 'column')} {_labels(header, unknown, named=named)} {have} that bulkedit does not know.",
        where="row 1",
        **(_NO_HEADER if headless else _advice_for_unknown(header, names, unknown, named=named)),
    )


_FIRST_ROW: Final = "Write the names of the columns into the first row, such as image_set_id,PatientName."
_NO_HEADER: Final[dict[str, str | None]] = {
    "likely": "The first row has data, so the file has no header.",
    "hint": _FIRST_ROW,
}


def _labels(header: Sequence[str], unknown: Sequence[int], *, named: bool) -> str:
    """Return the letters of columns, with their names if the row is a header (``named``)."""
    labels = [_label(header[i], i, named=named) for i in unknown[:_SHOWN]]
    return f"{', '.join(labels)} and others" if len(unknown) > _SHOWN else _and(labels)


def _advice_for_unknown(
    header: Sequence[str], names: Sequence[str | None], unknown: Sequence[int], *, named: bool
) -> dict[str, str | None]:
    """Return the likely cause and the hint for unknown columns."""
    texts = [header[i] for i in unknown[:_SHOWN]]
    near = _meanings(texts, names)
    if not any(names) and not near and not named:
        return {"likely": "The file may have no header.", "hint": _FIRST_ROW}
    likely = f"Did you mean {_and(list(dict.fromkeys(near.values())))}?" if near else None
    return {"likely": likely, "hint": _hint_for_unknown(texts, names, near, named=named)}


def _meanings(texts: Sequence[str], names: Sequence[str | None]) -> dict[str, str]:
    """Return the likely meanings of unknown columns. If another column is the selector, Patient ID is the attribute."""
    near = {text: found[0] for text in texts if (found := suggestions(text))}
    first = next((name for name in SELECTORS if name in {*names, *near.values()}), None)
    for text, name in near.items():
        attribute = SAME_ATTRIBUTE.get(name, "")
        if name != first and _plain(text) == attribute.lower():
            near[text] = attribute
    return near


def _hint_for_unknown(
    texts: Sequence[str], names: Sequence[str | None], near: Mapping[str, str], *, named: bool
) -> str:
    """Return what to type for unknown columns: the meaning of some, and that others are left out.

    ``near``: their likely meanings. One column only can say which image sets to edit, so other selectors are left out.
    """
    selectors = [name for name in SELECTORS if name in {*names, *near.values()}][:1]
    quotable = [text for text in texts if named and (looks_like_a_name(text) or _TAG.fullmatch(text.strip()))]
    others = {*SELECTORS} - {*selectors}
    used = {near[text]: text for text in quotable if text in near and near[text] not in others}
    # beside the new value of an attribute, the column with its name has the old one, which is that of a selector
    olds = {selector: name for selector, name in SAME_ATTRIBUTE.items() if name in used and name in names}
    pairs = [*(olds.items() if not selectors else ()), *used.items()]
    mappings = " ".join(f"`map={shell_word(f'{name}={text}')}`" for name, text in pairs) or "`map=name=column`"
    ignored = " ".join(f"`ignore={shell_word(text)}`" for text in quotable if text not in used.values())
    ignoring = ignored or ("" if used else "`ignore=column`")
    using = f"To use a column under another name: {mappings}."
    return f"{using} To leave one out: {ignoring}." if ignoring else using


def _suggestion(texts: Iterable[str]) -> str | None:
    near = list(dict.fromkeys(name for text in texts for name in suggestions(text)[:1]))
    return f"Did you mean {_and(near)}?" if near else None


def _label(text: str, position: int, *, named: bool) -> str:
    """Return the letter of a column, with its name if the row is a header (``named``)."""
    name = text.strip()
    shown = named and name == text and (looks_like_a_name(name) or _TAG.fullmatch(name))
    return f"{letter(position)} ({name})" if shown else letter(position)


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _known_or_meant(text: str) -> str | None:
    """Return the canonical name of a column, or the one that differs in case or punctuation only."""
    return _known(text) or _by_plain().get(_plain(text[:64]))


def _known_or_tag(text: str) -> str | None:
    """As `_known_or_meant`, and for the tag of a standard element, its keyword."""
    found = suggestions(text) if _TAG.fullmatch(text.strip()) else []
    return found[0] if found else _known_or_meant(text)


def _check_duplicates(names: Sequence[str | None]) -> None:
    for i, name in enumerate(names):
        if name is not None and name in names[:i]:
            raise EditListError(
                f"columns {letter(names.index(name))} and {letter(i)} are both {name}.",
                where="row 1",
                hint="Delete one of them, or give it another name and leave it out: `ignore=NAME`",
            )


def _form(names: Sequence[str | None], attributes: Sequence[str]) -> str:
    def has(candidates: Sequence[str]) -> list[str]:
        return [name for name in candidates if name in names]

    tidy, call = has(_TIDY_ONLY), has(_CALL_ONLY)
    if not has(SELECTORS):
        raise EditListError(
            "no column says which image sets to edit.",
            where="row 1",
            likely="The first row may not be a header."
            if not any(names)
            else _sets_only(has(list(SAME_ATTRIBUTE.values()))),
            hint=_selector_hint(has(list(SAME_ATTRIBUTE.values()))),
        )
    kinds = [kind for kind in (tidy, call, list(attributes)) if kind]
    if len(kinds) > 1:
        hint = "Use attribute and value, or one column per attribute, or updates."
        if call and "updates" not in call:
            hint = f"The column {call[0]} is for lists with updates only; to leave it out: `ignore={call[0]}`"
        raise EditListError(
            f"the columns {kinds[0][0]} and {kinds[1][0]} belong to different forms of edit lists.",
            where="row 1",
            hint=hint,
        )
    if not kinds:
        raise EditListError(
            "no column says what to edit.",
            where="row 1",
            likely=_selects_only(has(list(SAME_ATTRIBUTE))),
            hint=_attribute_hint(has(SELECTORS)),
        )
    return _complete(names, tidy, call)


def _sets_only(attributes: Sequence[str]) -> str | None:
    """Say that attributes are not selectors."""
    if not attributes:
        return None
    pairs = {attribute: selector for selector, attribute in SAME_ATTRIBUTE.items()}
    return " ".join(
        f"{name} is an attribute to set; the column {pairs[name]} says which image sets to edit." for name in attributes
    )


def _selector_hint(attributes: Sequence[str]) -> str:
    every = f"Name one column {', '.join(SELECTORS[:-1])} or {SELECTORS[-1]}"
    if not attributes:
        return f"{every}; `map=name=column` renames."
    selector = next(selector for selector, attribute in SAME_ATTRIBUTE.items() if attribute == attributes[0])
    return (
        f"If {attributes[0]} says which image sets to edit: `map={selector}={attributes[0]}`. Otherwise n{every[1:]}."
    )


def _selects_only(selectors: Sequence[str]) -> str | None:
    """Say that selectors are not attributes."""
    if not selectors:
        return None
    return " ".join(
        f"{name} only says which image sets to edit; the attribute to set is {SAME_ATTRIBUTE[name]}."
        for name in selectors
    )


def _attribute_hint(selectors: Sequence[str]) -> str:
    every = "ame columns attribute and value, or give each attribute a column, or use updates."
    if len(selectors) < 2:
        return f"N{every}"
    name = selectors[-1]
    return f"If {name} has values to set: `map={SAME_ATTRIBUTE[name]}={name}`. Otherwise: n{every}"


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
    if "attribute" in tidy and not {"value", "value_json", "action"} & {*tidy}:
        raise EditListError("the column attribute needs a column value or action.", where="row 1")
    return "tidy"


def is_identifier(known: dicom.Attribute) -> bool:
    """Whether the value is an identifier, whose digits must not change."""
    return known.vr == "UI" or (known.vr in {"LO", "SH", "UC"} and _IDENTIFIER.search(known.name) is not None)


def is_identifier_column(name: str) -> bool:
    """Whether the digits in a column must not change."""
    known = dicom.attribute(name)
    return name in _EXACT or (known is not None and is_identifier(known))


def _plain(text: str) -> str:
    """Return a name in lower case, without spaces and punctuation."""
    return re.sub(r"[^0-9a-z]", "", text.lower())


@functools.cache
def _by_lower() -> dict[str, str]:
    """Return names by their lower case; no two of them differ by case only."""
    return {name.lower(): known for name in (*dicom.keywords(), *CLI_KEYS, *NAMES) if (known := _known(name))}


@functools.cache
def _by_plain() -> dict[str, str]:
    return _USUAL | {_plain(name): name for name in (*dicom.keywords(), *CLI_KEYS.values(), *NAMES)}


@functools.cache
def _keywords_by_plain() -> dict[str, str]:
    meant = {plain: SAME_ATTRIBUTE.get(name, name) for plain, name in _USUAL.items()}
    usual = {plain: name for plain, name in meant.items() if name not in NAMES}
    return usual | {_plain(name): name for name in dicom.keywords()}


@functools.lru_cache(maxsize=1024)
def suggestions(text: str, *, columns: bool = True) -> list[str]:
    """Return known names similar to a text, the likeliest first: keywords, and names of columns if ``columns``."""
    candidates = _by_plain() if columns else _keywords_by_plain()
    plain = _plain(text[:64])
    exact = _known(text.strip())
    if exact is not None and (columns or exact not in NAMES):
        return [exact]
    if plain in candidates:
        return [candidates[plain]]
    if len(plain) == 8 and re.fullmatch(r"[0-9a-f]{8}", plain):
        keyword = dicom.key_of(int(plain, 16))
        return [keyword] if keyword.lower() != plain else []
    begun = [name for name in candidates if len(plain) > 4 and name.startswith(plain)]
    near = sorted(begun, key=len) or difflib.get_close_matches(plain, candidates, n=3, cutoff=0.8)
    return [candidates[name] for name in near[:3]]
