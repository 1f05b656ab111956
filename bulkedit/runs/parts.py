"""Split calls and their parts: the planned call of each part, and the part that carries each edit.

A part can be split again. The ledger lists parents before their parts, and a part has a higher number than its parent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulkedit.runs.ledger import Part


def roots(parts: Iterable[Part]) -> dict[int, int]:
    """The call of the plan that each part comes from."""
    found: dict[int, int] = {}
    for part in parts:
        found[part.call] = found.get(part.parent, part.parent)
    return found


def carriers(parts: Iterable[Part]) -> dict[int, int]:
    """The last part that carries each edit (number in the plan) of a split call."""
    return {edit: part.call for part in parts for edit in part.edits}
