"""Guards identifiers and names by their text: what programs and spreadsheets write in the place of a value.

A wrong identifier is the worst that a list can do: it makes a record of another patient, or of none. So a cell that a
program has most likely made of a number, a formula or nothing is refused, whatever the format of the list. A value that
is meant so can be written with ``unchecked``.
"""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from bulkedit.dicom.dictionary import FREE_TEXT, attribute
from bulkedit.edits.columns import is_identifier
from bulkedit.edits.problems import SET_ASIDE
from bulkedit.edits.strict_json import strict_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bulkedit._json import Json
    from bulkedit.dicom.dictionary import Attribute


class Guard(IntEnum):
    """How much a text is guarded. Each level has the patterns of those below it."""

    ANY = 1  # any value: no error of a spreadsheet
    TEXT = 2  # free text: nothing that no person writes
    NAME = 3  # a person's name: no placeholder, and no printed object
    UID = 4  # digits and dots, so any number with dots is valid
    IDENTIFIER = 5  # an identifier, whose digits must not change
    SELECTOR = 6  # an identifier without a VR, whose form forbids control characters


class Look(NamedTuple):
    """What a text looks like, and why it is refused. A guard without a pattern has that of the next lower one."""

    name: str
    code: str  # a key of `bulkedit.edits.problems.ADVICE`
    what: str  # follows "the cell"
    likely: str
    hint: str
    whole: Mapping[Guard, str] = MappingProxyType({})  # patterns of a whole value
    within: Mapping[Guard, str] = MappingProxyType({})  # patterns of a part of a text


_AS_TEXT: Final = "Export the list again, with the column as text from the source."

# spreadsheets name their errors in the language of the user, such as #BEZUG! or #¿NOMBRE?; LibreOffice writes Err:502
_ERRORS: Final = (
    r"#[¡¿]?[\p{L}\p{M}_/0 ]+[!?]|#\p{L}/\p{L}(?:\s.*)?|#(?i:NV|YOK|NULL|NENÍ_K_DISPOZICI|HIÁNYZIK|GETTING_DATA)"
    r"|#{2,}|Err:[0-9]{3}"
)
# of #N/A, #NUM! and others, as programs get them from Excel
_ERROR_NUMBERS: Final = "-21468262(?:46|52|59|65|73|81|88)"
_NO_TEXT: Final = r"nan|NaN|-nan|NaT|<NA>|(?:np|numpy|pd|pandas|math)\.(?:nan|NaN|NA|NaT)"
_NO_NAME: Final = (
    r"NAN|None|NONE|none|null|NULL|Null|N/A|n/a|N\.A\.|NA|\((?:null|NULL|none|None|NONE|blank|empty)\)"
    r"|\[(?:null|NULL|NONE)\]|<(?:na|null|nil|none|None)>|undefined|\\N"
    r"|(?:nan|None|NULL|null|N/A|<NA>)(?:[\^ ,]+(?:nan|None|NULL|null|N/A|<NA>))+"
)
_NO_IDENTIFIER: Final = (
    r"(?i:[-+]?nan|nat|<na>|none|null|nil|n/a|n\.a\.?|na|\(?(?:null|none|blank|empty|missing)\)?|\[(?:null|none)\]"
    r"|undefined|(?:np|numpy|pd|pandas|math)\.(?:nan|na|nat)|<null>|<nil>|<none>|missing|[-+]?inf(?:inity)?|dbnull|1\.#(?:qnan|ind|inf)0*)|\\?\\N"
)
# parts of texts that a program has put together
_NO_PART: Final = r"nan|NaN|NaT|None|null|<NA>|undefined"
_PART_OF_NAME: Final = rf"[\^=, ](?:{_NO_PART})(?:$|[\^=\\, ])|(?:^|\\)(?:{_NO_PART})[\^=,]"
_PART_OF_ERROR: Final = r"#(?:N/A|NV|REF!|VALUE!|NAME\?|DIV/0!|NULL!|NUM!|WERT!|BEZUG!)"
_PART_OF_IDENTIFIER: Final = rf"[-_:/|;,^= ](?:{_NO_PART})(?:$|[-_:/|;,^= \\])|(?:^|\\)(?:{_NO_PART})[-_:/|;,^= ]"

_BYTES: Final = r"""b'.*'|b".*\""""
_PRINTED_TEXT: Final = rf"""{_BYTES}|\{{ *'.*\}}|\[object .*\]|<[A-Za-z0-9_.]+ object at 0x.*>|<class '.*"""
# what Python prints of objects, such as Decimal('7') or datetime.date(2024, 3, 11); .NET prints their classes
_PRINTED: Final = (
    rf"""{_PRINTED_TEXT}|[\[{{].*[\]}}]|\( *['"].*\)|<.*>|[A-Za-z_][A-Za-z0-9_.]*\( *(?:['"\[{{(]|b['"]).*\)"""
    r"|(?:datetime\.)?(?:datetime|date|time|timedelta)\(.*\)|(?:numpy|np)\.[a-z0-9_]+\(.*\)|System\.[A-Z][A-Za-z.]*(?:\[\])?"
)
_TRUTH: Final = r"TRUE|True|true|FALSE|False|false"
_TRUTHS: Final = "true|false|wahr|falsch|vrai|faux|verdadero|verdadeiro|falso|prawda|waar|onwaar"
# English, German, French, Spanish and Italian, as spreadsheets shorten them
_MONTHS: Final = (
    "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|Mrz|Mai|Okt|Dez|janv|févr|mars|avr|mai|juin|juil|août|sept|oct|nov|déc"
    "|ene|feb|mar|abr|may|jun|jul|ago|sep|dic|gen|apr|mag|giu|lug|ott"
)
# The plus sign is required without decimals, so that an identifier such as 12E3 is valid.
_SCIENTIFIC: Final = r"[+-]?[0-9]+(?:[.,][0-9]+)?[eE][+-][0-9]{1,3}|[+-]?[0-9]+[.,][0-9]+[eE][0-9]{1,3}"
_ISO_DATES: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_DATES: Final = (
    rf"{_ISO_DATES}|[0-9]{{1,2}}/[0-9]{{1,2}}/(?:[0-9]{{4}}|[0-9]{{2}})(?: .*)?"
    r"|[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{4}(?: .*)?"
    rf"|[0-9]{{1,2}}(?:-|\. )(?:{_MONTHS})\.?(?:[- ][0-9]{{2,4}})?|(?:{_MONTHS})\.?[- ][0-9]{{2}}"
    r"|[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?"
    r"|-?[0-9]+ days?,? [0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
)
_GROUPED: Final = (
    r"[+-]?[0-9]{1,3}(?:(?:,[0-9]{3})+|(?:\.[0-9]{3})+|(?:['\x{2019}][0-9]{3})+|(?:[ \x{a0}\x{2009}\x{202f}][0-9]{3})+)"
    r"(?:[.,][0-9]+)?|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}"
)
_MONEY: Final = r"[-+]?\p{Sc} ?[0-9][0-9.,]*|[-+]?[0-9][0-9.,]* ?\p{Sc}"
_TAGS: Final = r"</?(?i:a|b|br|div|em|font|i|p|span|strong|sub|sup|td|tr|u)(?:\s[^>]*)?/?>"  # of HTML
_DECIMAL: Final = r"[+-]?[0-9]+[.,]0*|[+-]?[0-9]*,[0-9]+|[A-Za-z_-]{1,16}[0-9]+\.0"
# NBSP and other blanks that look like one, soft hyphens, signs of direction and of no width, a replaced character
_BIDI: Final = r"\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}-\x{206f}"
_UNSEEN_NAME: Final = rf"\x7f-\x{{a0}}\x{{ad}}\x{{200b}}{_BIDI}\x{{feff}}\x{{fff9}}-\x{{fffd}}"
# blanks and signs of other scripts that print as nothing
_BLANK: Final = r"\x{2000}-\x{200f}\x{202f}\x{205f}\x{2800}\x{3000}\x{3164}\x{fe00}-\x{fe0f}"
_UNSEEN: Final = rf"{_UNSEEN_NAME}\p{{Zl}}\p{{Zp}}\p{{Cf}}{_BLANK}"

LOOKS: Final = (
    Look(
        "error of a spreadsheet",
        "cell-error",
        "is an error of a spreadsheet, such as #N/A.",
        "A formula has failed, such as a lookup.",
        "Correct the formula, or clear the cell.",
        whole={Guard.ANY: _ERRORS, Guard.NAME: f"{_ERRORS}|{_ERROR_NUMBERS}"},
        within={Guard.NAME: _PART_OF_ERROR},
    ),
    Look(
        "placeholder",
        "placeholder",
        "is what a program writes for a missing value, such as nan or NULL.",
        "The program that made the list had no value here.",
        "Write the value, or clear the cell.",
        whole={Guard.TEXT: _NO_TEXT, Guard.NAME: f"{_NO_TEXT}|{_NO_NAME}", Guard.IDENTIFIER: _NO_IDENTIFIER},
        within={Guard.NAME: _PART_OF_NAME, Guard.IDENTIFIER: _PART_OF_IDENTIFIER},
    ),
    Look(
        "formula",
        "damaged-identifier",
        "looks damaged by a spreadsheet: it is a formula of a spreadsheet, not its result.",
        'A program has written ="…" so that a spreadsheet keeps the zeros.',
        "Write the text alone, without the equals sign and quotation marks.",
        whole={Guard.TEXT: '=".*"', Guard.IDENTIFIER: "=.*"},
    ),
    Look(
        "apostrophe",
        "damaged-identifier",
        "looks damaged by a spreadsheet: it begins with an apostrophe.",
        "A spreadsheet keeps text with it, and an export has not removed it.",
        "Write the text alone, without the apostrophe.",
        whole={Guard.IDENTIFIER: r"['`\x{b4}\x{2018}\x{2019}].*"},
    ),
    Look(
        "quotation marks",
        "damaged-identifier",
        "looks damaged by a spreadsheet: it is in quotation marks.",
        "The list was quoted twice.",
        "Write the text alone, without the quotation marks.",
        whole={Guard.IDENTIFIER: r'".*"|[\x{ab}\x{201c}-\x{201e}].*'},
    ),
    Look(
        "printed object",
        "printed-object",
        "is an object that a program has printed, such as a dict, JSON or bytes.",
        "The program has written the whole object instead of its text.",
        "Write the text alone; a name is Family^Given.",
        whole={Guard.TEXT: _PRINTED_TEXT, Guard.NAME: _PRINTED},
        within={Guard.NAME: _TAGS},
    ),
    Look(
        "scientific notation",
        "damaged-identifier",
        "looks damaged by a spreadsheet: it is a number in scientific notation.",
        "A spreadsheet or a program has taken it for a number; the digits are lost.",
        _AS_TEXT,
        whole={Guard.UID: _SCIENTIFIC},
    ),
    Look(
        "date or time",
        "damaged-identifier",
        "looks damaged by a spreadsheet: it is a date or a time.",
        "A spreadsheet or a program has taken it for one.",
        _AS_TEXT,
        whole={Guard.UID: _ISO_DATES, Guard.IDENTIFIER: _DATES},
    ),
    Look(
        "grouped thousands",
        "damaged-identifier",
        "looks damaged by a spreadsheet: it is a number with separated thousands.",
        "A spreadsheet or a program has taken it for a number; leading zeros are lost.",
        _AS_TEXT,
        whole={Guard.IDENTIFIER: _GROUPED},
    ),
    Look(
        "decimals",
        "damaged-identifier",
        "looks damaged by a spreadsheet: it is a number with decimals.",
        "A missing value in the column has turned whole numbers into floating-point ones; leading zeros are lost.",
        _AS_TEXT,
        whole={Guard.IDENTIFIER: _DECIMAL},
    ),
    Look(
        "percentage",
        "damaged-identifier",
        "looks damaged by a spreadsheet: it is a percentage.",
        "A spreadsheet has taken it for a number.",
        _AS_TEXT,
        whole={Guard.IDENTIFIER: "[+-]?[0-9]+(?:[.,][0-9]+)? ?%"},
    ),
    Look(
        "amount of money",
        "damaged-identifier",
        "looks damaged by a spreadsheet: it is an amount of money.",
        "A spreadsheet has taken it for a number; leading zeros are lost.",
        _AS_TEXT,
        whole={Guard.IDENTIFIER: _MONEY},
    ),
    Look(
        "truth value",
        "damaged-identifier",
        "looks damaged by a spreadsheet: it is true or false, not text.",
        "A program or a spreadsheet has taken it for a truth value.",
        "Write the text that is meant.",
        whole={Guard.NAME: _TRUTH, Guard.IDENTIFIER: f"(?i:{_TRUTHS})"},
    ),
    Look(
        "other digits",
        "hidden-character",
        "has digits, letters or dashes that look like 0-9, a-z or a hyphen, and are others.",
        "It was typed in fullwidth or in another script, or a word processor has made a dash of a hyphen.",
        "Type it again in ordinary characters.",
        within={Guard.IDENTIFIER: r"[\x{ff01}-\x{ff5e}\x{2010}-\x{2015}\x{2212}\p{No}\p{Nd}--0-9]"},
    ),
    Look(
        "hidden character",
        "hidden-character",
        "has a character that cannot be seen, such as a no-break space or a line break.",
        "It was copied from a web page, a document or a spreadsheet.",
        "Type it again, or remove the character.",
        within={
            Guard.NAME: f"[{_UNSEEN_NAME}]",
            Guard.IDENTIFIER: f"[{_UNSEEN}]",
            Guard.SELECTOR: rf"[\x00-\x1f{_UNSEEN}]",
        },
    ),
)

_GUARDS: Final = tuple(Guard)


def guard_of(known: Attribute) -> Guard:
    """Return how much the text of an attribute is guarded."""
    if known.private:
        return Guard.ANY
    if known.vr == "UI":
        return Guard.UID
    if is_identifier(known):
        return Guard.IDENTIFIER
    if known.vr == "PN" or known.name.endswith(("PhoneNumber", "TelephoneNumbers")):
        return Guard.NAME
    return Guard.TEXT if known.vr in FREE_TEXT else Guard.ANY


def _of(patterns: Mapping[Guard, str], guard: Guard) -> str | None:
    """Return the pattern for a guard: its own, or that of the next lower one that has any."""
    return next((patterns[one] for one in reversed(_GUARDS) if one <= guard and one in patterns), None)


def _regexes(looks: Sequence[Look], guard: Guard) -> list[str]:
    """Return patterns, one of which a text matches if it has one of these looks.

    A backslash separates values. Patterns of the whole and of parts are kept apart, because together they are many
    times as slow.
    """
    whole = [pattern for look in looks if (pattern := _of(look.whole, guard))]
    within = [pattern for look in looks if (pattern := _of(look.within, guard))]
    found = [rf"(?:^|\\) *(?:{'|'.join(f'(?:{one})' for one in whole)}) *(?:\\|$)"] if whole else []
    return found + (["|".join(within)] if within else [])


_ANY: Final = {guard: _regexes(LOOKS, guard) for guard in _GUARDS}
_EACH: Final = {guard: [_regexes([look], guard) for look in LOOKS] for guard in _GUARDS}


# All that can look wrong has another character than these, or one of these words or forms. Most cells have neither.
_SUSPECT: Final = (
    r"[^0-9A-Za-z^ _-]|(?:^|[-_^ ])(?i:-?nan|nat|none|null|nil|na|undefined|missing|inf|infinity|dbnull)(?:[-_^ ]|$)"
    rf"|-21468262|^ *(?i:{_TRUTHS}) *$|^ *[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}|[0-9][eE]-?[0-9]"
    rf"|(?:{_MONTHS})[- ][0-9]|[0-9]-(?:{_MONTHS})|^ *[-+]?[0-9]{{1,3}}(?: [0-9]{{3}})+ *$"
)


def may_look_wrong(text: pl.Expr) -> pl.Expr:
    """Whether `looks_wrong` may be true for any guard: a cheap test that is false for most texts."""
    return text.str.contains(_SUSPECT)


def _matches(text: pl.Expr, patterns: Sequence[str]) -> pl.Expr:
    return pl.any_horizontal(text.str.contains(pattern) for pattern in patterns) if patterns else pl.lit(value=False)


def looks_wrong(text: pl.Expr, guard: Guard) -> pl.Expr:
    """Whether a text looks like what a program or a spreadsheet writes in the place of a value; null if it is null."""
    return _matches(text, _ANY[guard])


def reported(
    rows: pl.DataFrame, text: pl.Expr, guard: Guard, *, subject: str | pl.Expr, column: str | pl.Expr
) -> pl.DataFrame:
    """Return the problems of rows for which `looks_wrong` is true, as a SET_ASIDE frame.

    ``rows`` has ``row`` UInt32; ``subject``: what the problem begins with, such as "the value of PatientID".
    """
    each = [(i, patterns) for i, patterns in enumerate(_EACH[guard]) if patterns]
    look = pl.coalesce(pl.when(_matches(text, patterns)).then(pl.lit(i, pl.UInt8)) for i, patterns in each)
    names = {"code": "code", "problem": "what", "likely": "likely", "hint": "hint"}
    texts = {
        name: look.replace_strict(
            list(range(len(LOOKS))), [getattr(one, field) for one in LOOKS], return_dtype=pl.String, default=None
        )
        for name, field in names.items()
    }
    before = subject if isinstance(subject, pl.Expr) else pl.lit(subject, pl.String)
    return rows.select(
        "row",
        column=column if isinstance(column, pl.Expr) else pl.lit(column, pl.String),
        **texts | {"problem": pl.format("{} {}", before, texts["problem"])},
    ).select(*SET_ASIDE)


def texts_inside(sequences: pl.DataFrame) -> pl.DataFrame:
    """Return the texts in sequences: ``i`` as given, ``name`` String, ``guard`` UInt8 and ``text`` String.

    ``sequences``: ``i`` UInt32, and ``json`` String. They are rare, so they are parsed one by one.
    """
    lines = [(i, *line) for i, json in sequences.iter_rows() for line in _texts_in(json)]
    return pl.DataFrame(lines, schema=_INSIDE, orient="row")


_INSIDE: Final = pl.Schema({"i": pl.UInt32(), "name": pl.String(), "guard": pl.UInt8(), "text": pl.String()})


def _texts_in(json: str) -> Iterator[tuple[str, int, str]]:
    try:
        waiting: list[Json] = [strict_json(json)]
    except ValueError:
        return  # it is refused for that
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            for name, inner in value.items():
                if (known := attribute(name)) is not None:
                    texts = inner if isinstance(inner, list) else [inner]
                    shown = "an element" if known.private or name[0].isdigit() else known.name
                    yield from ((shown, int(guard_of(known)), text) for text in texts if isinstance(text, str))
