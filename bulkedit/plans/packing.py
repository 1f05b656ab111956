"""Packs the edits of one stage into the fewest calls whose documents stay within the payload limit.

The size of a document is that of its compact JSON. What an edit adds depends on the keys that the document has already,
so sizes are counted exactly, on a tree of keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_ROOT: Final = len('{"SchemaVersion":1.1}')
_EXACT_UNITS: Final = 9  # limit of the exact search
_FIRST_FIT_UNITS: Final = 200  # limit of first fit, which tries every call for every unit


@dataclass(frozen=True, slots=True)
class Piece:
    """One member of a document: its path and its size."""

    path: tuple[str, ...]  # keys of the objects around it
    name: str
    size: int  # bytes of the value's text


@dataclass(slots=True)
class _Tree:
    """The keys of one document and its size."""

    size: int = _ROOT
    keys: dict[tuple[str, ...], set[str]] = field(default_factory=lambda: {(): {"SchemaVersion"}})

    def size_with(self, pieces: list[Piece]) -> int:
        """Return the size that the document would have with these pieces added."""
        return self._grow(pieces, {})

    def add(self, pieces: list[Piece]) -> None:
        new: dict[tuple[str, ...], set[str]] = {}
        self.size = self._grow(pieces, new)
        for path, names in new.items():
            self.keys.setdefault(path, set()).update(names)

    def _grow(self, pieces: list[Piece], new: dict[tuple[str, ...], set[str]]) -> int:
        """Return the size with the pieces; add their keys to ``new``."""
        size = self.size
        for piece in pieces:
            steps = [(piece.path[:depth], key, 2) for depth, key in enumerate(piece.path)]  # 2: braces
            for path, key, inner in (*steps, (piece.path, piece.name, piece.size)):
                old, fresh = self.keys.get(path, ()), new.setdefault(path, set())
                if key not in old and key not in fresh:
                    size += len(key.encode()) + 3 + inner + bool(old or fresh)  # quotes, colon, value, comma
                    fresh.add(key)
        return size

    def copy(self) -> _Tree:
        return _Tree(self.size, {path: set(names) for path, names in self.keys.items()})


@dataclass(slots=True)
class Unit:
    """Edits that stay in one call, as pieces of the two documents."""

    number: int
    updates: list[Piece]
    removals: list[Piece]
    # Change of a UID: 1 of an instance, 2 of a series, 3 of a study. The old path is not valid afterwards, so edits
    # inside go into the same call or an earlier one.
    renames: int = 0

    @property
    def size(self) -> int:
        """Bytes of the larger of the two documents, if they contain only this unit."""
        return _Call().size_with(self)


@dataclass(slots=True)
class _Call:
    """A call that is being filled: its two documents and its units."""

    updatable: _Tree = field(default_factory=_Tree)
    removable: _Tree = field(default_factory=_Tree)
    units: list[int] = field(default_factory=list)

    def size_with(self, unit: Unit) -> int:
        return max(self.updatable.size_with(unit.updates), self.removable.size_with(unit.removals))

    def add(self, unit: Unit) -> None:
        self.updatable.add(unit.updates)
        self.removable.add(unit.removals)
        self.units.append(unit.number)

    def copy(self) -> _Call:
        return _Call(self.updatable.copy(), self.removable.copy(), list(self.units))


def pack(units: list[Unit], limit: int) -> list[list[int]]:
    """Distribute units over calls whose documents have at most ``limit`` bytes. Each unit alone must fit.

    Up to nine units, the result is the fewest calls. For more, it is the better of two: next fit in the order of paths,
    which shares the keys around values, and (up to 200 units) first fit by size. If a unit changes a UID, the order of
    paths is kept, with that change after all edits inside.
    """
    if any(unit.renames for unit in units):
        return _next_fit(sorted(units, key=_turn), limit)
    if len(units) <= _EXACT_UNITS:
        return _fewest(units, limit)
    in_order = sorted(units, key=_place)
    if len(units) > _FIRST_FIT_UNITS:
        return _next_fit(in_order, limit)
    by_size = sorted(units, key=lambda unit: unit.size, reverse=True)
    return min((_next_fit(in_order, limit), _first_fit(by_size, limit)), key=len)


def _place(unit: Unit) -> list[tuple[tuple[str, ...], str]]:
    return [(piece.path, piece.name) for piece in (*unit.updates, *unit.removals)]


def _turn(unit: Unit) -> tuple[object, ...]:
    """Sort key: order of paths, with the change of a UID after the edits inside its instance, series or study."""
    return (
        unit.renames if unit.renames > 1 else 0,
        [piece.path for piece in (*unit.updates, *unit.removals)][:1],
        unit.renames,
        _place(unit),
    )


def _first_fit(order: list[Unit], limit: int) -> list[list[int]]:
    calls: list[_Call] = []
    for unit in order:
        call = next((call for call in calls if call.size_with(unit) <= limit), None)
        if call is None:
            calls.append(call := _Call())
        call.add(unit)
    return [call.units for call in calls]


def _next_fit(order: list[Unit], limit: int) -> list[list[int]]:
    calls = [_Call()]
    for unit in order:
        if calls[-1].units and calls[-1].size_with(unit) > limit:
            calls.append(_Call())
        calls[-1].add(unit)
    return [call.units for call in calls]


def _fewest(units: list[Unit], limit: int) -> list[list[int]]:
    """Branch and bound: try each unit in every call with room for it, and in a new one."""
    order = sorted(units, key=lambda unit: unit.size, reverse=True)
    best = _first_fit(order, limit)

    def place(number: int, calls: list[_Call]) -> None:
        nonlocal best
        if len(calls) >= len(best):
            return
        if number == len(order):
            best = [list(call.units) for call in calls]
            return
        for index, call in enumerate(calls):
            if call.size_with(order[number]) <= limit:
                fuller = call.copy()
                fuller.add(order[number])
                place(number + 1, [*calls[:index], fuller, *calls[index + 1 :]])
        fresh = _Call()
        fresh.add(order[number])
        place(number + 1, [*calls, fresh])

    place(0, [])
    return best
