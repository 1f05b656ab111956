"""Tokens for ``nextToken``: opaque to clients, and valid only for the request that they continue."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from typing import TYPE_CHECKING, Final, TypeVar

from bulkedit.emulator.api.failures import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkedit._json import Json
    from bulkedit.emulator.api.request import Request

_T = TypeVar("_T")

LARGEST: Final = 50  # maxResults of every paginated operation


def token_of(position: Json, *, scope: str) -> str:
    """A token for the page after ``position``. It contains a digest of ``scope``, which identifies the request."""
    return base64.urlsafe_b64encode(json.dumps([_digest(scope), position]).encode()).decode()


def position_of(token: str, *, scope: str) -> Json:
    """The position in a token. Raises Invalid if the token is not valid, or has another scope."""
    try:
        content: tuple[int, Json] = json.loads(base64.urlsafe_b64decode(token.encode("ascii")))
        digest, position = content
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise Invalid("nextToken is not valid") from None
    if digest != _digest(scope):
        raise Invalid("nextToken belongs to another request")
    return position


def number_of(token: str | None, *, scope: str, default: int) -> int:
    """The position in a token if it is a number; ``default`` without a token. Raises Invalid."""
    if token is None:
        return default
    position = position_of(token, scope=scope)
    if not isinstance(position, int) or isinstance(position, bool) or position < 0:
        raise Invalid("nextToken is not valid")
    return position


def _digest(scope: str) -> int:
    return zlib.crc32(scope.encode("utf-8", "backslashreplace"))


def page_of(found: Sequence[_T], request: Request, *, scope: str) -> tuple[Sequence[_T], str | None]:
    """The requested page of a list, and the token of the next page."""
    start = number_of(request.optional_text("nextToken"), scope=scope, default=0)
    end = start + request.number("maxResults", LARGEST)
    return found[start:end], token_of(end, scope=scope) if end < len(found) else None
