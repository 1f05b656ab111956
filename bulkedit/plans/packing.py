"""Packs the edits of one stage into the fewest calls whose documents stay within the payload limit.

Of packings with equally few calls, the one that divides the fewest rows is taken. A change of a UID ends the path of
the edits inside, so it is in the last call that has any of them.

The size of a document is that of its compact JSON. What an edit adds depends on the keys that the document has already,
so sizes are counted exactly, on a tree of keys.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Final

from bulkedit.plans.renames import RENAMING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT: Final = len('{"SchemaVersion":1.1}')
_EXACT_UNITS: Final = 9  # limit of the exact search
_FIRST_FIT_UNITS: Final = 200  # limit of first fit, which tries every call for every unit
_STEPS: Final = 5_000  # limit of the search for the fewest divided rows


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
    row: int | None = None  # of the edit list; None if it does not matter

    @property
    def pieces(self) -> list[Piece]:
        """The members of both documents."""
        return [*self.updates, *self.removals]

    @property
    def gives(self) -> set[tuple[str, ...]]:
        """Paths of the series and instances whose UID the unit sets."""
        return {piece.path[:-1] for piece in self.updates if piece.name in RENAMING} if self.renames else set()

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

    Up to nine units, the result is the fewest calls, and of those the one that divides the fewest rows (unless that
    takes more than `_STEPS` steps). For more, it is the better of two: next fit in the order of paths, which shares the
    keys around values, and (up to 200 units) first fit by size; whole rows are packed if that needs no more calls.
    """
    calls = _packed(units, limit)
    if len(calls) == 1 or not _divided(calls, {unit.number: unit.row for unit in units}):
        return calls
    rows = _rows(units, limit)
    members = {row[0].number: [unit.number for unit in row] for row in rows}
    whole = [[unit for row in call for unit in members[row]] for call in _packed(list(map(_together, rows)), limit)]
    # rows that wait for each other's UIDs cannot be whole
    if len(whole) <= len(calls) and (in_turn := _sequence(whole, units)) is not None:
        return in_turn
    return _fewest_divided(units, limit, calls) if len(units) <= _EXACT_UNITS else calls


def _rows(units: list[Unit], limit: int) -> list[list[Unit]]:
    """Return the units of each row; those of a row that does not fit into a call are alone."""
    rows: dict[object, list[Unit]] = {}
    for unit in units:
        rows.setdefault((unit.row,) if unit.row is not None else unit.number, []).append(unit)
    parts = (
        [row] if len(row) == 1 or _fits(_together(row), limit) else [[unit] for unit in row] for row in rows.values()
    )
    return [part for row in parts for part in row]


def _fits(unit: Unit, limit: int) -> bool:
    """Whether a call can carry the unit. Mostly it is far from the limit, so that its keys need not be compared."""
    keys = [len(key.encode()) for piece in unit.pieces for key in (*piece.path, piece.name)]
    at_most = _ROOT + sum(keys) + 6 * len(keys) + sum(piece.size for piece in unit.pieces)  # 6: quotes, colon, …
    return at_most <= limit or unit.size <= limit


def _together(row: list[Unit]) -> Unit:
    """Return the units of a row as one, with the number of the first."""
    if len(row) == 1:
        return row[0]
    updates = [piece for unit in row for piece in unit.updates]
    removals = [piece for unit in row for piece in unit.removals]
    return Unit(row[0].number, updates, removals, max(unit.renames for unit in row), row[0].row)


def _packed(units: list[Unit], limit: int) -> list[list[int]]:
    """Distribute units over calls, in the order in which they are sent."""
    renames = any(unit.renames for unit in units)
    if len(units) <= _EXACT_UNITS:
        return _fewest(units, limit, _turned(units, limit) if renames else None)
    if renames:
        return _turned(units, limit)
    in_order = sorted(units, key=_place)
    if len(units) > _FIRST_FIT_UNITS:
        return _next_fit(in_order, limit)
    by_size = sorted(units, key=lambda unit: unit.size, reverse=True)
    return min((_next_fit(in_order, limit), _first_fit(by_size, limit)), key=len)


def _place(unit: Unit) -> list[tuple[tuple[str, ...], str]]:
    return [(piece.path, piece.name) for piece in unit.pieces]


def _turned(units: list[Unit], limit: int) -> list[list[int]]:
    """Fill calls in the order of paths, with the change of a UID after the edits inside its series or instance."""
    found = _sequence(_next_fit(sorted(units, key=_turn), limit), units)
    # the order of the list is always valid; the other one is not if a row of the call form changes several instances
    return found or _next_fit(sorted(units, key=lambda unit: unit.number), limit)


def _turn(unit: Unit) -> tuple[object, ...]:
    """Sort key: order of the deepest path, with the change of a UID after the edits inside."""
    return (
        unit.renames if unit.renames > 1 else 0,
        max((piece.path[:-1] for piece in unit.pieces), key=len, default=()),
        unit.renames,
        _place(unit),
    )


def _sequence(calls: list[list[int]], units: list[Unit]) -> list[list[int]] | None:
    """Return the calls in an order in which no path is used after the change of its UID, None if there is none."""
    by_number = {unit.number: unit for unit in units}
    gives = [{path for number in call for path in by_number[number].gives} for call in calls]
    if not any(gives):
        return calls
    uses = [{piece.path for number in call for piece in by_number[number].pieces} for call in calls]
    giver = {path: at for at, paths in enumerate(gives) for path in paths}
    later: dict[int, set[int]] = {}  # the calls that come after a call
    for at, paths in enumerate(uses):
        inside = {path[:depth] for path in paths for depth in (3, 5) if depth < len(path)}  # series and instances
        later[at] = {giver[path] for path in inside if path in giver} - {at}
    if all(at < min(after, default=len(calls)) for at, after in later.items()):
        return calls
    try:
        order = list(TopologicalSorter(later).static_order())
    except CycleError:
        return None
    return [calls[at] for at in reversed(order)]


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


def _fewest(units: list[Unit], limit: int, known: list[list[int]] | None = None) -> list[list[int]]:
    """Branch and bound: try each unit in every call with room for it, and in a new one.

    ``known``: a valid packing; if it is None, every order of calls is valid.
    """
    order = sorted(units, key=lambda unit: unit.size, reverse=True)
    best = known or _first_fit(order, limit)

    def place(number: int, calls: list[_Call]) -> None:
        nonlocal best
        if len(calls) >= len(best):
            return
        if number == len(order):
            best = _sequence([list(call.units) for call in calls], units) or best
            return
        for more in _placed(calls, order[number], limit):
            place(number + 1, more)

    place(0, [])
    return best


def _placed(calls: list[_Call], unit: Unit, limit: int) -> Iterator[list[_Call]]:
    """Yield the calls with a unit added to each of them that has room for it, and to a new one."""
    for index, call in enumerate([*calls, _Call()]):
        if index == len(calls) or call.size_with(unit) <= limit:
            fuller = call.copy()
            fuller.add(unit)
            yield [*calls[:index], fuller, *calls[index + 1 :]]


def _fewest_divided(units: list[Unit], limit: int, best: list[list[int]]) -> list[list[int]]:
    """Return a packing with as many calls as ``best`` that divides fewer rows, or ``best`` if there is none."""
    row_of = {unit.number: unit.row for unit in units}
    order = sorted(units, key=lambda unit: (-1 if unit.row is None else unit.row, -unit.size))
    most, least, steps = len(best), _divided(best, row_of), 0

    def place(number: int, calls: list[_Call]) -> None:
        nonlocal best, least, steps
        steps += 1
        divided = _divided([call.units for call in calls], row_of)
        if len(calls) > most or divided >= least or steps > _STEPS:
            return
        if number == len(order):
            if found := _sequence([list(call.units) for call in calls], units):
                best, least = found, divided
            return
        for more in _placed(calls, order[number], limit):
            place(number + 1, more)

    place(0, [])
    return best


def _divided(calls: list[list[int]], row_of: dict[int, int | None]) -> int:
    """Count the rows that are in several calls."""
    rows = Counter(row for call in calls for row in {row_of[unit] for unit in call} if row is not None)
    return sum(count > 1 for count in rows.values())
