"""What a value looks like that does not have the form of its VR, in words."""

from __future__ import annotations

from typing import Final

import polars as pl

_NUMBERS: Final = ("DS", "IS", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV", "US or SS")
_TEXTS: Final = ("AE", "LO", "PN", "SH", "UC", "UR")
# VRs, a pattern, and what a value with it is; the first that fits counts
_LOOKS: Final[tuple[tuple[tuple[str, ...], str, str], ...]] = (
    (("DA",), r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "It is a date with dashes, as in ISO 8601."),
    (("DA",), r"^[0-9]{4}-?[0-9]{2}-?[0-9]{2}[ T].*[0-9]", "It is a date with a time."),
    (("DA",), r"^[0-9]{8} ?- ?[0-9]{0,8}$", "It is a range of dates."),
    (("DA",), r"^[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{2,4}$", "It is a date that begins with the day or the month."),
    (("DA",), r"^[0-9]{5}$", "It is a number of five digits: spreadsheets count days so."),
    (("DA",), r"^[0-9]{4}(?:[-/.]?[0-9]{2})?$", "It has no day."),
    (("DA",), r"[A-Za-z]", "It has a word, such as the name of a month."),
    (("TM",), r"(?i)[ap]\.?m", "It is a time with am or pm."),
    (("TM",), r":", "It is a time with colons."),
    (("DT",), r"[-:/T ]", "It is a date and time with punctuation."),
    (("AS",), r"^ *[0-9]{1,3} *$", "It lacks the letter D, W, M or Y."),
    (("AS",), r"^[0-9]{1,2}[A-Za-z]$", "It has fewer than three digits."),
    (_NUMBERS, r",", "It has a comma."),
    (_NUMBERS, r"(?i)[a-df-z%°µ]", "It has a unit or another word."),
    (_NUMBERS, r"^ *$", "It has no digit."),
    (("CS",), r"[a-z]", "It has lower-case letters."),
    (("CS",), r"[^A-Z0-9 _\\]", "It has a character that codes do not have, such as a dash or an accent."),
    (("UI",), r"[^0-9.]", "It has characters that are neither digits nor dots."),
    (_TEXTS, r"[\r\n]", "It has a line break."),
    (_TEXTS, r"\\", "It has a backslash."),
)


def look_of(value: pl.Expr, vr: pl.Expr) -> pl.Expr:
    """Return what a value looks like, null if nothing is known. ``vr``: the VR whose form it does not have."""
    return pl.coalesce(
        pl.when(vr.is_in(vrs) & value.str.contains(pattern)).then(pl.lit(text)) for vrs, pattern, text in _LOOKS
    )
