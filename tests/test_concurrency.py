"""Work done abreast gives what the same work gives one piece after another."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from bulkedit._concurrency import abreast

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10])
def test_results_come_in_the_order_of_the_pieces(count: int) -> None:
    assert list(abreast(lambda piece: piece * 2, range(count))) == [piece * 2 for piece in range(count)]


def test_two_pieces_are_worked_on_at_a_time() -> None:
    both = threading.Barrier(2, timeout=10)
    assert list(abreast(lambda _: both.wait() in {0, 1}, range(4))) == [True] * 4


def test_what_fails_is_raised_in_its_place() -> None:
    results = abreast(lambda piece: 1 // piece, [1, 1, 0, 1])
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_pieces_are_not_taken_far_ahead() -> None:
    taken: list[int] = []

    def pieces() -> Iterator[int]:
        for piece in range(100):
            taken.append(piece)
            yield piece

    results = abreast(lambda piece: piece, pieces())
    next(results)
    assert len(taken) == 3
