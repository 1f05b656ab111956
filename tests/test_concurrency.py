"""Work done concurrently gives what the same work gives one piece after another."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.lowlevel
import pytest

from bulkedit._concurrency import blocking_work_by, concurrently, first_error, for_each, run_blocking

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator

R = TypeVar("R")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10])
def test_results_come_in_the_order_of_the_pieces(count: int) -> None:
    assert list(concurrently(lambda piece: piece * 2, range(count))) == [piece * 2 for piece in range(count)]


def test_two_pieces_are_worked_on_at_a_time() -> None:
    both = threading.Barrier(2, timeout=10)
    assert list(concurrently(lambda _: both.wait() in {0, 1}, range(4))) == [True] * 4


def test_what_fails_is_raised_in_its_place() -> None:
    results = concurrently(lambda piece: 1 // piece, [1, 1, 0, 1])
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_pieces_are_not_taken_far_ahead() -> None:
    taken: list[int] = []

    def pieces() -> Iterator[int]:
        for piece in range(100):
            taken.append(piece)
            yield piece

    results = concurrently(lambda piece: piece, pieces())
    next(results)
    assert len(taken) == 3


class UnluckyError(Exception):
    pass


def done(pieces: Iterable[int] | AsyncGenerator[int], *, at_once: int = 4) -> list[int]:
    """The pieces that tasks were given, in order."""
    found: list[int] = []

    async def work(piece: int) -> None:
        await anyio.lowlevel.checkpoint()
        found.append(piece)

    anyio.run(functools.partial(for_each, work, pieces, at_once=at_once))
    return sorted(found)


async def counted(count: int) -> AsyncGenerator[int]:
    for piece in range(count):
        await anyio.lowlevel.checkpoint()
        yield piece


@pytest.mark.parametrize("count", [0, 1, 3, 20])
@pytest.mark.parametrize("at_once", [1, 4])
def test_every_piece_is_worked_on_once(count: int, at_once: int) -> None:
    assert done(range(count), at_once=at_once) == list(range(count))
    assert done(counted(count), at_once=at_once) == list(range(count))


def test_no_more_pieces_than_asked_for_are_taken_at_a_time() -> None:
    under_way = [0]
    most = [0]

    async def work(piece: int) -> None:
        most[0] = max(most[0], piece + 1 - under_way[0])
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        under_way[0] += 1

    anyio.run(functools.partial(for_each, work, range(50), at_once=3))
    assert most == [3]


def test_the_first_error_ends_the_others_and_is_raised_as_it_is() -> None:
    ended: list[int] = []

    async def work(piece: int) -> None:
        if piece == 2:
            raise UnluckyError from LookupError()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(piece)

    with pytest.raises(UnluckyError) as caught:
        anyio.run(functools.partial(for_each, work, range(100), at_once=3))
    assert sorted(ended) == [0, 1]
    assert isinstance(caught.value.__cause__, LookupError)


def test_an_error_of_the_pieces_is_raised_as_it_is() -> None:
    async def pieces() -> AsyncGenerator[int]:
        yield 1
        raise UnluckyError

    with pytest.raises(UnluckyError):
        done(pieces())


def test_pieces_that_are_not_taken_any_more_are_closed() -> None:
    closed: list[bool] = []

    async def pieces() -> AsyncGenerator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.append(True)

    async def fails(_: int) -> None:
        raise UnluckyError

    async def run() -> None:
        with pytest.raises(UnluckyError):
            await for_each(fails, pieces(), at_once=1)
        assert closed

    anyio.run(run)


def test_what_ends_nested_groups_is_raised_as_it_is() -> None:
    async def run() -> None:
        with first_error():
            async with anyio.create_task_group() as outer, anyio.create_task_group():
                outer.start_soon(anyio.sleep_forever)
                raise UnluckyError

    with pytest.raises(UnluckyError):
        anyio.run(run)


def test_blocking_work_is_done_on_another_thread() -> None:
    assert anyio.run(run_blocking, threading.get_ident) != threading.get_ident()


def test_blocking_work_goes_to_the_given_runner_in_every_task_of_the_block() -> None:
    seen: list[object] = []

    async def here(work: Callable[[], R], /) -> R:
        seen.append(result := work())
        return result

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_blocking, divmod, 7, 2)
        assert await run_blocking(threading.get_ident) == threading.get_ident()

    with blocking_work_by(here):
        anyio.run(main)
    assert seen == [(3, 1), threading.get_ident()]
    assert anyio.run(run_blocking, threading.get_ident) != threading.get_ident()
