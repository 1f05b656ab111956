"""Edits in the fewest calls, and calls in two."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from bulkedit.plans.packing import Piece, Unit, pack
from bulkedit.plans.schema import PLANNED_EDITS
from bulkedit.plans.split import halves


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
