"""JSON as types: what a parsed text can hold."""

from __future__ import annotations

from typing import TypeAlias

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
JsonObject: TypeAlias = "dict[str, Json]"


def object_in(node: Json, *path: str) -> JsonObject:
    """The object at the end of a path of names, from ``node``; an empty one if there is none."""
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}
