"""The shorthand syntax of the AWS CLI, as ``--update-image-set-metadata-updates`` takes it: key=value,key={key=value}.

What is read here is read as the AWS CLI reads it (its user guide, "Using shorthand syntax"). Lists, and some spellings
that nothing needs, are refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkedit._json import JsonObject

_KEY: Final = re.compile(r"([A-Za-z]+)[ \t\n]*(@?)[ \t\n]*=[ \t\n]*")
_PLAIN: Final = re.compile(r"[^\s'\"{}\[\],\\=][^\s'\"{}\[\],\\]*")
_QUOTED: Final = re.compile(r"'(?:\\'|[^'])*'|\"(?:\\\"|[^\"])*\"")
_END: Final = re.compile(r"[ \t\n]*(?:,[ \t\n]*|(\}|\Z))")
_DEEPEST: Final = 4


def shorthand(text: str, load: Callable[[str], str]) -> JsonObject:
    """Return the object that a text in shorthand syntax describes.

    ``load``: returns the content of a file by its file:// address, for key@=file://NAME. Raises ValueError, which
    quotes nothing of the text, and what ``load`` raises.
    """
    return _Members(text, load).read(0, 1)[0]


class _Members:
    def __init__(self, text: str, load: Callable[[str], str]) -> None:
        self._text = text
        self._load = load

    def read(self, place: int, depth: int) -> tuple[JsonObject, int]:
        """Read members up to the brace that closes them, or to the end. Returns them, and the position behind it."""
        members: JsonObject = {}
        while True:
            key = _KEY.match(self._text, place)
            if key is None or key[1] in members or depth > _DEEPEST:
                raise ValueError
            if self._text.startswith("{", key.end()):
                members[key[1]], place = self.read(key.end() + 1, depth + 1)
            else:
                value, place = self._value(key.end())
                members[key[1]] = self._load(value) if key[2] else value
            end = _END.match(self._text, place)
            if end is None:
                raise ValueError
            place = end.end()
            if end[1] is not None:
                if (end[1] == "}") != (depth > 1):
                    raise ValueError
                return members, place

    def _value(self, place: int) -> tuple[str, int]:
        if quoted := _QUOTED.match(self._text, place):
            mark, inside = quoted[0][0], quoted[0][1:-1]
            return inside.replace(f"\\{mark}", mark).replace(r"\\", "\\"), quoted.end()
        if plain := _PLAIN.match(self._text, place):
            return plain[0], plain.end()
        raise ValueError
