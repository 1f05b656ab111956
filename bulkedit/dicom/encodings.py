"""Recognises text that is not the text that was meant, but a form of it in another encoding.

HealthImaging keeps UTF-8. A code extension, an escape of HTML or of mail, or UTF-8 that was read as Latin-1 is stored
as it is, so every later reader shows it. Text that cannot be anything else is refused; other text is only noticed. The
patterns are in the syntax of Rust regex.
"""

from __future__ import annotations

import functools
import re
from typing import Final, NamedTuple

# the bytes 80 to BF as Latin-1 or as Windows-1252 shows them
_HIGH: Final = "\\x{80}-\\x{bf}" + bytes(range(0x80, 0xA0)).decode("cp1252", errors="ignore")
_CONTINUED: Final = f"[{_HIGH}]"
_UTF8: Final = (
    f"(?:[\\x{{c2}}-\\x{{df}}]{_CONTINUED}"
    f"|[\\x{{e0}}-\\x{{ef}}]{_CONTINUED}{_CONTINUED}"
    f"|[\\x{{f0}}-\\x{{f4}}]{_CONTINUED}{_CONTINUED}{_CONTINUED})"
)
_ASCII: Final = "[\\x00-\\x7f]*"
_ENTITY: Final = (
    "&(?:#[0-9]{2,7}|#[xX][0-9A-Fa-f]{2,6}|amp|lt|gt|quot|apos|nbsp|szlig|micro|deg"
    "|[A-Za-z]{1,2}(?:uml|acute|grave|circ|tilde|cedil|ring|slash|caron|lig));"
)
_PERCENT: Final = "%(?:[Cc][2-9A-Fa-f]|[Dd][0-9A-Fa-f]|[Ee][0-9A-Fa-f]%[89ABab][0-9A-Fa-f])%[89ABab][0-9A-Fa-f]"
_QUOTED: Final = "=(?:C[2-9A-F]|D[0-9A-F]|E[0-9A-F]=[89AB][0-9A-F])=[89AB][0-9A-F]"


class Disguise(NamedTuple):
    """A form of text in another encoding."""

    pattern: str
    what: str  # the end of a sentence about the value


# in text of any VR
ALWAYS: Final = (
    Disguise("\\x1b", "has an escape sequence of ISO 2022, which has no meaning in HealthImaging: it keeps UTF-8"),
    Disguise("\\x{fffd}", "has the character U+FFFD, which replaces letters that are lost"),
    Disguise("[\\x7f-\\x{9f}]", "has control characters, as text that was read in another encoding has"),
    Disguise(
        f"^{_ASCII}(?:{_UTF8}{_ASCII})*(?:\\x{{c3}}{_CONTINUED}|[\\x{{e0}}-\\x{{f4}}]{_CONTINUED}{_CONTINUED}"
        f"|{_UTF8}{_ASCII}{_UTF8}){_ASCII}(?:{_UTF8}{_ASCII})*$",
        "is UTF-8 that was read in another encoding",
    ),
)
# in text of one line, which is not meant to hold source text; noticed in longer text
IN_LINES: Final = (
    Disguise(_ENTITY, "has an entity of HTML or XML"),
    Disguise("=\\?[A-Za-z0-9-]+\\?[BbQq]\\?", "is encoded as the subject of a mail"),
    Disguise(_QUOTED, "is encoded as quoted-printable"),
    Disguise(_PERCENT, "is encoded as in a web address"),
    Disguise("~\\{[!-}]{2,}~\\}", "is Chinese in the 7-bit encoding HZ"),
    Disguise("\\$[@B][!-~]{2,}\\([BJ]", "is Japanese in ISO 2022 whose escape characters are lost"),
)
# what may also be meant
NOTICED: Final = (
    Disguise(f"^{_ASCII}(?:{_UTF8}{_ASCII})+$", "may be UTF-8 that was read in another encoding"),
    Disguise("\\+A[MNOP][AEIMQUYcgkosw048]-", "may be encoded as UTF-7"),
    Disguise("[A-Za-z]=[C-F][0-9A-F][a-z]", "may be encoded as quoted-printable"),
    Disguise("\\\\(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2})", "may have escapes of a programming language"),
)

# VRs with text of several lines, which may hold source text such as HTML on purpose
LONG_TEXT: Final = frozenset({"LT", "ST", "UT"})

# Each of these forms has one of these characters, an ESC or a backslash.
SUSPECT: Final = f"\\x7f{_HIGH}\\x{{fffd}}&%~$+="


def refused_in(vr: str | None) -> tuple[Disguise, ...]:
    """Return the forms that are refused in text of a VR; None: a private element of unknown VR."""
    return ALWAYS if vr is None or vr in LONG_TEXT else ALWAYS + IN_LINES


def noticed_in(vr: str | None) -> tuple[Disguise, ...]:
    """Return the forms that are noticed in text of a VR."""
    return NOTICED + IN_LINES if vr is None or vr in LONG_TEXT else NOTICED


def any_of(disguises: tuple[Disguise, ...]) -> str:
    """Return a pattern of all forms."""
    return "|".join(f"(?:{one.pattern})" for one in disguises)


def disguise_of(text: str, disguises: tuple[Disguise, ...]) -> Disguise | None:
    """Return the first form that a text has."""
    if not _compiled(any_of(disguises)).search(text):
        return None
    return next(one for one in disguises if _compiled(one.pattern).search(text))


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    # Python writes the code of a character with a fixed number of digits
    return re.compile(re.sub(r"\\x\{([0-9a-f]+)\}", lambda found: f"\\u{found[1]:>04}", pattern))
