"""Bytes that must be UTF-8 text, and text that must be JSON: what is let in, and errors that quote nothing."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Final

from bulkedit.edits.edit import json_text
from bulkedit.errors import EditListError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkedit._json import Json, JsonObject

DEEPEST: Final = 64  # arrays and objects in one another; a sequence of DICOM takes two of them
_TOO_DEEP: Final = "it is nested too deep"


def check_text(block: bytes, row_of: Callable[[int], int]) -> None:
    """Hold a block against UTF-8 and NUL; ``row_of`` tells the row of a position in the block."""
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
            likely="The file may be damaged, or no text at all.",
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
    """JSON that Python would read; the text quotes nothing of it."""


def strict_json(text: str) -> Json:
    """Parse JSON as RFC 8259 has it.

    ValueError, whose text quotes nothing of the JSON, also for NaN, numbers that no float or integer holds, a key
    given twice, half of a surrogate pair (it is no character) and nesting that no document has.
    """
    try:
        value: Json = json.loads(
            text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_no_key_twice
        )
        if _is_deep(text, value):
            raise _RefusedError(_TOO_DEEP)  # noqa: TRY301 - as the parser's own refusals
        if "\\u" in text:
            json_text(value).encode()
    except json.JSONDecodeError as error:
        what = f"{error.msg.lower()} at character {error.pos + 1}"
    except RecursionError:
        what = _TOO_DEEP
    except UnicodeEncodeError:
        what = "it holds half of a character"
    except _RefusedError as error:
        what = str(error)
    except ValueError:
        what = "a number in it is too long"  # Python reads whole numbers of up to 4,300 digits
    else:
        return value
    raise ValueError(what)


def _is_deep(text: str, value: Json) -> bool:
    """Whether it is nested deeper than `DEEPEST`: what writes it again goes down as Python's stack allows."""
    if len(text) < 2 * DEEPEST or text.count("[") + text.count("{") <= DEEPEST:
        return False
    level = [value]
    for _ in range(DEEPEST):
        inner = [item for item in level if isinstance(item, list | dict)]
        if not (level := [inside for item in inner for inside in (item.values() if isinstance(item, dict) else item)]):
            return False
    return any(isinstance(item, list | dict) for item in level)


def _no_constant(_: str) -> None:
    raise _RefusedError("NaN and infinities are no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _RefusedError("a number in it is too large")
    return number


def _no_key_twice(pairs: list[tuple[str, Json]]) -> JsonObject:
    keyed = dict(pairs)
    if len(keyed) < len(pairs):
        raise _RefusedError("a key is given twice")
    return keyed
