"""Edits of one stage into the fewest calls whose documents stay within the payload limit.

A document's size is that of its compact JSON: what an edit adds depends on which places of the document are there
already, so sizes are counted on a tree of keys, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_ROOT: Final = len('{"SchemaVersion":1.1}')
_EXACT_UNITS: Final = 9  # up to so many units the fewest calls are found by trying
_FIRST_FIT_UNITS: Final = 200  # first fit looks at every call for every unit


@dataclass(frozen=True, slots=True)
class Piece:
    """One member of a document: where it stands and how many bytes its text has."""

    path: tuple[str, ...]  # keys of the objects around it
    name: str
    size: int  # of the value's text; 0 for a place that is named as an empty object


@dataclass(slots=True)
class _Tree:
    """The keys of one document and its size."""

    size: int = _ROOT
    keys: dict[tuple[str, ...], set[str]] = field(default_factory=lambda: {(): {"SchemaVersion"}})

    def size_with(self, pieces: list[Piece]) -> int:
        """The size that the document would have with these pieces too."""
        return self._grow(pieces, {})

    def add(self, pieces: list[Piece]) -> None:
        new: dict[tuple[str, ...], set[str]] = {}
        self.size = self._grow(pieces, new)
        for path, names in new.items():
            self.keys.setdefault(path, set()).update(names)

    def _grow(self, pieces: list[Piece], new: dict[tuple[str, ...], set[str]]) -> int:
        """Collect into ``new`` the keys that the pieces bring."""
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
    """Edits that are not parted, as the pieces of the two documents."""

    number: int
    updates: list[Piece]
    removals: list[Piece]
    # Of a change of UID, after which its path is no longer there: 1 of an instance, 2 of a series, 3 of a study. What
    # is inside goes into the same call or an earlier one.
    renames: int = 0

    @property
    def size(self) -> int:
        """Bytes of the larger of the two documents that hold this unit alone."""
        return _Call().size_with(self)


@dataclass(slots=True)
class _Call:
    """A call being filled: its two documents and the units in it."""

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
    """Units into calls whose documents have at most ``limit`` bytes; each unit alone is within it.

    The fewest calls for up to nine units. For more, the better of two ways: filling calls in the order of places,
    which shares the keys around a value, and (up to 200 units) first fit by size. Where a unit changes a UID, the order
    of places is kept, with that change after all that is inside.
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
    """The order of places, in which an instance ends with its change of UID, and all with those of series and study."""
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
    """Branch and bound: each unit in turn into every call that takes it, or into a new one."""
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
