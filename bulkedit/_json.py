"""Types for parsed JSON."""

from __future__ import annotations

from enum import Enum
from typing import Final, TypeAlias

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
JsonObject: TypeAlias = "dict[str, Json]"


class Absent(Enum):
    """The type of `ABSENT`: no value, not even null."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


def object_in(node: Json, *path: str) -> JsonObject:
    """The object at a path of names below ``node``; empty if not found."""
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}


def object_made(node: JsonObject, name: str) -> JsonObject:
    """The object under ``name`` in ``node``; created if missing. Raises TypeError if it is not an object."""
    found = node.setdefault(name, {})
    if not isinstance(found, dict):
        raise TypeError("a level of a metadata document must be an object")
    return found
