"""Edits in the fewest calls, and calls in two."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkedit.plans.packing import Piece, Unit, pack
from bulkedit.plans.schema import PLANNED_EDITS
from bulkedit.plans.split import halves
from tests.examples import examples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def unit(number: int, size: int, *path: str) -> Unit:
    return Unit(number, [Piece(path or ("Patient", "DICOM"), f"{number:04d}", size)], [])


def room(*sizes: int) -> int:
    """Bytes of a document with units of these sizes."""
    return sum(sizes) + sum(len('"0000":,') for _ in sizes) - 1 + len('{"SchemaVersion":1.1,"Patient":{"DICOM":{}}}')


def test_up_to_nine_units_need_the_fewest_calls() -> None:
    """First fit by size needs three calls for these, which fill two to the last byte."""
    sizes = [44, 24, 24, 22, 21, 17, 8, 8, 6]
    calls = pack([unit(number, size) for number, size in enumerate(sizes)], room(*[0] * 5) + 87)
    assert sorted(one for call in calls for one in call) == list(range(9))
    assert len(calls) == 2


def test_beyond_two_hundred_units_they_go_into_calls_in_the_order_of_their_paths() -> None:
    """First fit would put the smaller half of them into calls of two, in a time that grows with their square."""
    units = [unit(number, 50 + 10 * (number % 2)) for number in reversed(range(201))]
    assert pack(units, room(50, 50)) == [[number] for number in range(201)]


def test_rows_that_wait_for_the_uids_of_each_other_are_divided() -> None:
    """Row 1 changes the UID of instance 2 and needs instance 1, row 2 the reverse; one call has no room for both."""
    cells = [(1, "1", "0000"), (1, "2", "SOPInstanceUID"), (2, "1", "SOPInstanceUID"), (2, "2", "0003")]
    units = [
        Unit(number, [Piece(("Study", "Series", "1", "Instances", one, "DICOM"), name, 30)], [], name[0] == "S", row)
        for number, (row, one, name) in enumerate(cells)
    ]
    limit = Unit(0, [piece for unit in units[1:] for piece in unit.updates], []).size
    calls = pack(units, limit)
    assert len(calls) == 2
    assert is_valid(tuple(calls), units, limit)


@st.composite
def units_of_rows(draw: st.DrawFn) -> list[Unit]:
    """Cells of rows, some of which change the UID of one of two instances."""
    found: list[Unit] = []
    for number in range(draw(st.integers(2, 6))):
        instance = ("Study", "Series", "1", "Instances", draw(st.sampled_from(["1", "2"])), "DICOM")
        name = draw(st.sampled_from(["SOPInstanceUID", f"{number:04d}", f"{number:04d}"]))
        made = Unit(number, [Piece(instance, name, draw(st.sampled_from([10, 30, 50, 80])))], [])
        made.row, made.renames = draw(st.integers(1, 3)), int(name == "SOPInstanceUID")
        if not any(one.gives & made.gives for one in found):
            found.append(made)
    return found


def partitions(numbers: list[int]) -> Iterator[list[list[int]]]:
    if not numbers:
        yield []
        return
    for rest in partitions(numbers[1:]):
        yield [[numbers[0]], *rest]
        for at, part in enumerate(rest):
            yield [*rest[:at], [numbers[0], *part], *rest[at + 1 :]]


def is_valid(calls: tuple[list[int], ...], units: list[Unit], limit: int) -> bool:
    """Whether every document is within the limit, and no path is used after a call that changed its UID."""
    ended = set[tuple[str, ...]]()
    for call in calls:
        members = [unit for unit in units if unit.number in call]
        pieces = [piece for unit in members for piece in unit.updates]
        if any(piece.path[:-1] in ended for piece in pieces):
            return False
        if Unit(0, pieces, []).size > limit:
            return False
        ended |= {piece.path[:-1] for piece in pieces if piece.name == "SOPInstanceUID"}
    return True


def cost(calls: Sequence[list[int]], units: list[Unit]) -> tuple[int, int]:
    """Calls, and rows in several of them."""
    row_of = {unit.number: unit.row for unit in units}
    rows = Counter(row for call in calls for row in {row_of[number] for number in call})
    return len(calls), sum(count > 1 for count in rows.values())


@given(units_of_rows(), st.sampled_from([0, 30, 100]))
@examples(10)
def test_no_packing_of_few_cells_has_fewer_calls_or_divides_fewer_rows(units: list[Unit], spare: int) -> None:
    """All partitions of the cells are tried, in every order of calls."""
    limit = max(unit.size for unit in units) + spare
    calls = pack(units, limit)
    assert is_valid(tuple(calls), units, limit)
    best = min(
        cost(parts, units)
        for parts in partitions([unit.number for unit in units])
        if any(is_valid(order, units, limit) for order in itertools.permutations(parts))
    )
    assert cost(calls, units) == best


def test_many_rows_are_not_divided_if_that_needs_no_more_calls() -> None:
    """In the order of their paths, two cells of each row are apart."""
    units = []
    for row in range(20):
        for number, place in enumerate(("Patient", "Study")):
            units.append(unit(2 * row + number, 50, place, "DICOM"))
            units[-1].row = row
    limit = _together_of(units[:8]).size
    calls = pack(units, limit)
    assert cost(calls, units) == (5, 0)


def _together_of(units: list[Unit]) -> Unit:
    return Unit(0, [piece for unit in units for piece in unit.updates], [])


def edits(*units: int, forced: tuple[int, ...] = ()) -> pl.DataFrame:
    rows = [{"edit": number, "unit": one, "force": number in forced} for number, one in enumerate(units)]
    return pl.DataFrame(rows, schema={name: PLANNED_EDITS[name] for name in ("edit", "unit", "force")})


def test_a_call_of_one_unit_cannot_be_split() -> None:
    call: Any = CallOf(force=False)
    with pytest.raises(ValueError, match="call 3 has one unit"):
        halves(call, edits(7, 7))


def test_edits_that_a_forced_removal_supersedes_are_the_first_part() -> None:
    call: Any = CallOf(force=True)
    first, rest = halves(call, edits(0, 1, 2, 3, forced=(1, 2, 3)))
    assert (first["edit"].to_list(), rest["edit"].to_list()) == ([0], [1, 2, 3])


class CallOf:
    """What `halves` reads of a call."""

    call = 3

    def __init__(self, *, force: bool) -> None:
        self.force = force
