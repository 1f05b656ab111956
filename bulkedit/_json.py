"""JSON as types: what a parsed text can hold."""

from __future__ import annotations

from enum import Enum
from typing import Final, TypeAlias

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
JsonObject: TypeAlias = "dict[str, Json]"


class Absent(Enum):
    """No value, not even null."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


def object_in(node: Json, *path: str) -> JsonObject:
    """The object at the end of a path of names, from ``node``; an empty one if there is none."""
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}


def object_made(node: JsonObject, name: str) -> JsonObject:
    """The object that ``node`` has under ``name``, made if it is not there. Raises TypeError for another value."""
    found = node.setdefault(name, {})
    if not isinstance(found, dict):
        raise TypeError("a level of a metadata document is an object")
    return found
