r"""Makes untrusted text safe to print: escapes characters that move the cursor, or hide or reorder text.

Names of files, folders and columns, ids, and error codes may come from other people. A control sequence in them could
rewrite the screen, a bidirectional override could reverse text, and a line separator could forge a line of output.
"""

from __future__ import annotations

import os
import re
import shlex
from typing import Final

# C0 and C1 controls, line and paragraph separators, characters with the Unicode property Bidi_Control, and lone
# surrogates, with which Python represents the bytes of a file name that are not UTF-8
_UNSAFE: Final = "\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_ANY: Final = re.compile(f"[{_UNSAFE}]")
_BUT_NEWLINES: Final = re.compile(rf"(?!\n)[{_UNSAFE}]")


def printable(text: object) -> str:
    r"""Escape the unsafe characters of a name or id, newlines included, as ``\x1b`` or ``\u202e``."""
    return _ANY.sub(_escape, str(text))


def printable_lines(text: str) -> str:
    """Like `printable`, but keeps newlines."""
    return _BUT_NEWLINES.sub(_escape, text)


def printable_json(text: str) -> str:
    r"""Escape the unsafe characters of JSON text as ``\uXXXX``. The parsed value stays the same."""
    return _ANY.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def shell_word(word: object) -> str:
    r"""Quote a word for a shell. Unsafe characters are written as bash and zsh read them: ``$'a\x1bb'``."""
    text = str(word)
    if _ANY.search(text) is None:
        return shlex.quote(text)
    inner = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _ANY.sub(lambda found: "".join(f"\\x{byte:02x}" for byte in os.fsencode(found[0])), inner) + "'"


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
