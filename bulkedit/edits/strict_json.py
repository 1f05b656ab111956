"""Strict checks of UTF-8 and JSON, whose errors quote nothing of the text."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Final

from bulkedit.edits.edit import json_text
from bulkedit.errors import EditListError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkedit._json import Json, JsonObject

DEEPEST: Final = 64  # levels of arrays and objects; a DICOM sequence has two
_TOO_DEEP: Final = "it is nested too deep"


def check_text(block: bytes, row_of: Callable[[int], int]) -> None:
    """Raise EditListError if a block is not UTF-8 or has a NUL. ``row_of``: returns the row of a position."""
    bad = _first_not_utf8(block)
    if bad is not None:
        raise EditListError(
            "it is not UTF-8.",
            where=f"row {row_of(bad):,}",
            likely="The list may have been saved in the character set of an older Windows.",
            hint="Save it again in UTF-8; Excel calls that CSV UTF-8.",
        )
    nul = block.find(b"\0")
    if nul >= 0:
        raise EditListError(
            "it has a NUL byte.",
            where=f"row {row_of(nul):,}",
            likely="The file may be damaged, or may not be text.",
            hint="Export the list again.",
        )


def _first_not_utf8(block: bytes) -> int | None:
    if block.isascii():
        return None
    try:
        block.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


class _RefusedError(ValueError):
    """JSON that Python accepts and this module refuses. The text quotes nothing of it."""


def strict_json(text: str) -> Json:
    """Parse JSON by RFC 8259.

    Raises ValueError, with a text that quotes nothing of the JSON. Also for NaN, numbers out of range, duplicate keys,
    half of a surrogate pair (it is not a character) and nesting deeper than `DEEPEST`.
    """
    try:
        value: Json = json.loads(
            text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_no_key_twice
        )
        if _is_deep(text, value):
            raise _RefusedError(_TOO_DEEP)  # noqa: TRY301 - handled like the parser's own errors
        if "\\u" in text:
            json_text(value).encode()
    except json.JSONDecodeError as error:
        what = f"{error.msg.lower()} at character {error.pos + 1}"
    except RecursionError:
        what = _TOO_DEEP
    except UnicodeEncodeError:
        what = "it has half of a surrogate pair"
    except _RefusedError as error:
        what = str(error)
    except ValueError:
        what = "a number in it is too long"  # Python parses whole numbers of up to 4,300 digits
    else:
        return value
    raise ValueError(what)


def _is_deep(text: str, value: Json) -> bool:
    """Whether a value is nested deeper than `DEEPEST`, which could exhaust the stack when it is written again."""
    if len(text) < 2 * DEEPEST or text.count("[") + text.count("{") <= DEEPEST:
        return False
    level = [value]
    for _ in range(DEEPEST):
        inner = [item for item in level if isinstance(item, list | dict)]
        if not (level := [inside for item in inner for inside in (item.values() if isinstance(item, dict) else item)]):
            return False
    return any(isinstance(item, list | dict) for item in level)


def _no_constant(_: str) -> None:
    raise _RefusedError("NaN and infinities are not valid JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _RefusedError("a number in it is too large")
    return number


def _no_key_twice(pairs: list[tuple[str, Json]]) -> JsonObject:
    keyed = dict(pairs)
    if len(keyed) < len(pairs):
        raise _RefusedError("it has a duplicate key")
    return keyed
