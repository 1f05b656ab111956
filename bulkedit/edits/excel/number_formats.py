"""Number formats of a workbook: what a cell with a number shows.

A format such as ``"ACC"00000`` turns the number 7 into ACC00007. Source: ECMA-376 part 1, 18.8.30 (numFmt) and 18.8.31.
Only formats that can be understood in one way are applied; what they show then does not depend on the computer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from bulkedit.edits.excel.xml import elements

if TYPE_CHECKING:
    from collections.abc import Sequence


class CellKind(StrEnum):
    """What a number format makes of a number."""

    GENERAL = "general"  # no format: the number as it is
    NUMBER = "number"
    PERCENT = "percent"
    DATE = "date"
    TIME = "time"
    DATETIME = "datetime"
    DURATION = "duration"
    UNCLEAR = "unclear"  # nothing, or one of several things


class Digits(NamedTuple):
    """How a format shows a number that is not negative: ``prefix``, digits with texts among them, ``suffix``."""

    prefix: str
    zeros: tuple[int, ...]  # digits of each group, from the left; a number with fewer is padded with zeros
    between: tuple[str, ...]  # texts between the groups
    decimals: int
    suffix: str
    grouped: bool  # with separators of thousands


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """A number format, as far as it matters for the value of a cell."""

    kind: CellKind
    digits: Digits | None = None  # None: what is shown is in doubt
    negative: bool = True  # whether a negative number is shown as one
    zero: bool = True  # whether zero is shown as a number, or as the dash of accounting
    like_others: bool = True  # whether zero is shown as positive numbers are
    shows_text: bool = True  # whether a text is shown as it is
    whole: bool = True  # of dates: year (four digits), month and day are shown; of times: hour and minute
    seconds: bool = True
    fraction: int = 0  # digits of fractions of a second


GENERAL: Final = NumberFormat(CellKind.GENERAL)
_UNCLEAR: Final = NumberFormat(CellKind.UNCLEAR)
# ids without a code in the file (18.8.30); those of East Asian and Thai dates depend on the computer, so are unclear
_BUILT_IN: Final = {
    0: "General",
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    12: "# ?/?",
    13: "# ??/??",
    14: "m/d/yyyy",  # the short date of the computer
    15: "d-mmm-yy",
    16: "d-mmm",
    17: "mmm-yy",
    18: "h:mm AM/PM",
    19: "h:mm:ss AM/PM",
    20: "h:mm",
    21: "h:mm:ss",
    22: "m/d/yyyy h:mm",
    37: "#,##0_);(#,##0)",
    38: "#,##0_);(#,##0)",
    39: "#,##0.00_);(#,##0.00)",
    40: "#,##0.00_);(#,##0.00)",
    41: '_(* #,##0_);_(* (#,##0);_(* "-"_);_(@_)',
    42: '_($* #,##0_);_($* (#,##0);_($* "-"_);_(@_)',
    43: '_(* #,##0.00_);_(* (#,##0.00);_(* "-"??_);_(@_)',
    44: '_($* #,##0.00_);_($* (#,##0.00);_($* "-"??_);_(@_)',
    45: "mm:ss",
    46: "[h]:mm:ss",
    47: "mm:ss.0",
    48: "##0.0E+0",
    49: "@",
}
_TOKEN: Final = re.compile(
    r'"(?P<quoted>[^"]*)"'
    r"|\\(?P<escaped>.)"
    r"|(?P<pad>[_*].)"
    r"|\[(?P<bracket>[^\]]*)\]"
    r"|(?P<general>General)"
    r"|(?P<half>AM/PM|A/P)"
    r"|(?P<exponent>E[+-])"
    r"|(?P<part>y+|m+|d+|h+|s+)"
    r"|(?P<digit>[0#?])"
    r"|(?P<point>\.)"
    r"|(?P<comma>,)"
    r"|(?P<percent>%)"
    r"|(?P<text>@)"
    r"|(?P<end>;)"
    r"|(?P<slash>/)"
    r"|(?P<sign>[-+$() :!^&'~{}<>=])"
    r"|(?P<other>.)",
    re.IGNORECASE | re.DOTALL,
)
_COLOUR: Final = re.compile(r"black|blue|cyan|green|magenta|red|white|yellow|color ?[0-9]{1,2}", re.IGNORECASE)
_ELAPSED: Final = re.compile(r"h+|m+|s+", re.IGNORECASE)
_LANGUAGE: Final = re.compile(r"\$-(?:[0-9a-f]{1,4}|[a-z]{2,3}(?:-[a-z]{2,4})*)", re.IGNORECASE)
_CURRENCY: Final = frozenset("$¢£¤¥฿₡₦₨₩₪₫€₱₴₹₺₽₿")  # an amount of money is no identifier
_LITERALS: Final = frozenset({"quoted", "escaped", "sign"})
_Token = tuple[str, str]  # name of a group of _TOKEN, and its text


def formats_of(styles: bytes | None) -> list[NumberFormat]:
    """Return the number format of each cell style, from the XML of the styles; the first is that of unstyled cells.

    Raises EditListError.
    """
    if styles is None:
        return [GENERAL]
    found = elements(
        styles, "numFmt", "cellXfs", "cellStyleXfs", "xf"
    )  # formats of conditions follow, and do not matter
    codes = dict(_BUILT_IN)
    known: dict[int, NumberFormat] = {}
    made: list[NumberFormat] = []
    section = ""
    for name, attributes in found:
        if name == "numFmt":
            codes[_whole(attributes.get("numFmtId"))] = attributes.get("formatCode", "General")
        elif name == "xf":
            if section == "cellXfs":
                number = _whole(attributes.get("numFmtId", "0"))
                if number not in known:
                    known[number] = format_of(codes[number]) if number in codes else _UNCLEAR
                made.append(known[number])
        else:
            section = name
    return made or [GENERAL]


def _whole(text: str | None) -> int:
    return int(text) if text and re.fullmatch("[0-9]{1,9}", text) else -1


def format_of(code: str) -> NumberFormat:
    """Return what a format code makes of a number. A code that is not understood is unclear."""
    sections = _sections(code)
    shows_text = _shows_text(sections)
    if [_names(section) for section in sections] == [["text"]]:
        return NumberFormat(CellKind.GENERAL, shows_text=shows_text)
    numbers = [section for section in sections if "text" not in _names(section)][:3]
    if not numbers or any(_is_conditional(section) for section in numbers):
        return NumberFormat(CellKind.UNCLEAR, shows_text=shows_text)
    first = numbers[0]
    if "part" in _names(first) or any(_is_elapsed(token) for token in first):
        return _date(first, shows_text=shows_text)
    if _names(first) == ["general"] and len(numbers) == 1:
        return NumberFormat(CellKind.GENERAL, shows_text=shows_text)
    return _number(numbers, shows_text=shows_text)


def _sections(code: str) -> list[list[_Token]]:
    sections: list[list[_Token]] = [[]]
    for match in _TOKEN.finditer(code):
        name = match.lastgroup or ""
        text = match[name]
        if name == "end":
            sections.append([])
        elif not (name == "bracket" and _COLOUR.fullmatch(text)):
            sections[-1].append((name, text))
    return sections


def _names(section: Sequence[_Token]) -> list[str]:
    return [name for name, _ in section]


def _shows_text(sections: Sequence[Sequence[_Token]]) -> bool:
    """Whether a text in the cell is shown as it is. The fourth section is for texts, as is any with @."""
    of_text = [section for i, section in enumerate(sections) if i == 3 or "text" in _names(section)]
    return all([name for name in _names(section) if name != "pad"] in (["text"], ["general"]) for section in of_text)


def _is_conditional(section: Sequence[_Token]) -> bool:
    return any(name == "bracket" and text[:1] in {"<", ">", "="} for name, text in section)


def _is_elapsed(token: _Token) -> bool:
    return token[0] == "bracket" and _ELAPSED.fullmatch(token[1]) is not None


# -- dates and times ----------------------------------------------------------------------------------------------


def _date(section: Sequence[_Token], *, shows_text: bool) -> NumberFormat:
    if any(_is_elapsed(token) for token in section):
        return NumberFormat(CellKind.DURATION, shows_text=shows_text)
    brackets = [text for name, text in section if name == "bracket"]
    strange = {"other", "general", "exponent", "percent"} & set(_names(section))
    if strange or not all(_LANGUAGE.fullmatch(text) for text in brackets):
        return NumberFormat(CellKind.UNCLEAR, shows_text=shows_text)
    shown = _parts(section)
    days, hours = shown & {"year", "short year", "month", "day", "weekday"}, shown & {"hour", "minute", "second"}
    kind = CellKind.DATETIME if days and hours else CellKind.DATE if days else CellKind.TIME
    whole = {"year", "month", "day"} <= shown if days else True
    return NumberFormat(
        kind,
        shows_text=shows_text,
        whole=whole and ({"hour", "minute"} <= shown if hours else True),
        seconds="second" in shown,
        fraction=_names(section).count("digit"),
    )


def _parts(section: Sequence[_Token]) -> set[str]:
    """Return the parts of a date or time that a format shows. An m beside hours or seconds means minutes."""
    parts = [text.lower() for name, text in section if name == "part"]
    shown = set()
    for i, part in enumerate(parts):
        before, after = parts[i - 1][0] if i else "", parts[i + 1][0] if i + 1 < len(parts) else ""
        match part[0]:
            case "y":
                shown.add("year" if len(part) > 2 else "short year")
            case "d":
                shown.add("day" if len(part) <= 2 else "weekday")
            case "h":
                shown.add("hour")
            case "s":
                shown.add("second")
            case _ if len(part) <= 2 and (before == "h" or after == "s"):
                shown.add("minute")
            case _:
                shown.add("month")
    return shown


# -- numbers ------------------------------------------------------------------------------------------------------


def _number(sections: Sequence[Sequence[_Token]], *, shows_text: bool) -> NumberFormat:
    first = sections[0]
    if "percent" in _names(first):
        return NumberFormat(CellKind.PERCENT, shows_text=shows_text)
    if not {"digit", "general"} & set(_names(first)) or _is_scaled(first) or "part" in _names(first):
        return NumberFormat(CellKind.UNCLEAR, shows_text=shows_text)
    return NumberFormat(
        CellKind.NUMBER,
        digits=_digits(first),
        negative=len(sections) < 2 or _shows_negative(sections[1]),
        zero=len(sections) < 3 or _shows_zero(sections[2]),
        like_others=len(sections) < 3 or sections[2] == first,
        shows_text=shows_text,
    )


def _shows_negative(section: Sequence[_Token]) -> bool:
    literals = "".join(text for name, text in section if name in _LITERALS or name == "pad")
    return "digit" in _names(section) and ("-" in literals or "(" in literals)


def _shows_zero(section: Sequence[_Token]) -> bool:
    return bool({"digit", "general"} & set(_names(section))) or _literals(section).strip() == "-"


def _literals(section: Sequence[_Token]) -> str:
    return "".join(text for name, text in section if name in _LITERALS)


def _is_scaled(section: Sequence[_Token]) -> bool:
    """Whether a comma after the last digit divides the number by a thousand."""
    names = _names(section)
    last = max((i for i, name in enumerate(names) if name == "digit"), default=len(names))
    point = names.index("point") if "point" in names else last + 1
    return "comma" in names[last + 1 :] or (0 < point <= last and names[point - 1] == "comma")


def _digits(section: Sequence[_Token]) -> Digits | None:
    """Return how a section shows numbers: zeros with texts among them, after optional digits (#)."""
    section = _without_blanks_and_language(section)
    names = _names(section)
    if not set(names) <= _LITERALS | {"digit", "point", "comma"} or _CURRENCY & set(_literals(section)):
        return None
    first = names.index("digit")
    last = len(names) - 1 - names[::-1].index("digit")
    point = names.index("point") if "point" in names else last + 1
    before, after = section[first:point], section[point + 1 : last + 1]
    if point < first or "comma" in names[:first] or any(token != ("digit", "0") for token in after):
        return None
    groups = _groups([token for token in before if token[0] != "comma"])
    if groups is None or (after and not before):
        return None
    return Digits(
        prefix="".join(text for _, text in section[:first]),
        zeros=groups[0],
        between=groups[1],
        decimals=len(after),
        suffix="".join(text for _, text in section[last + 1 :] if text),
        grouped="comma" in names,
    )


def _without_blanks_and_language(section: Sequence[_Token]) -> Sequence[_Token]:
    """Leave out a blank of the width of a sign at the end, and a language, which matters for dates only."""
    end = len(section) - 1 if section[-1][0] == "pad" and section[-1][1][0] == "_" else len(section)
    return [token for token in section[:end] if not (token[0] == "bracket" and _LANGUAGE.fullmatch(token[1]))]


def _groups(tokens: Sequence[_Token]) -> tuple[tuple[int, ...], tuple[str, ...]] | None:
    """Return the lengths of the groups of zeros, and the texts between them; None if one is in doubt."""
    zeros, between = [0], list[str]()
    for token in tokens:
        if token == ("digit", "0"):
            zeros[-1] += 1
        elif token == ("digit", "#"):
            if zeros != [0]:
                return None
        elif token[0] == "digit":  # a question mark: a blank for a digit that the number lacks
            return None
        elif zeros[-1]:
            zeros.append(0)
            between.append(token[1])
        elif between:
            between[-1] += token[1]
        else:
            return None  # a text after optional digits
    return tuple(zeros), tuple(between)
