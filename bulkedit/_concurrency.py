"""Work on several pieces at once: in threads, two at a time, and in tasks, as many as the caller says."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

# polars lets go of Python while it works, and seldom fills two cores; more would gain little, and a piece holds memory
_AT_ONCE: Final = 2

_P = TypeVar("_P")
_R = TypeVar("_R")


def concurrently(work: Callable[[_P], _R], pieces: Iterable[_P]) -> Iterator[_R]:
    """The results of pieces in their order. What ``work`` raises for a piece is raised in its place.

    ``work`` runs in threads, on at most two pieces at a time; pieces are taken in the caller's thread, two ahead of the
    result that it is given.
    """
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        begun: deque[Future[_R]] = deque()
        try:
            for piece in pieces:
                begun.append(threads.submit(work, piece))
                if len(begun) > _AT_ONCE:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for rest in begun:
                rest.cancel()


async def for_each(
    work: Callable[[_P], Awaitable[object]], pieces: Iterable[_P] | AsyncGenerator[_P], *, at_once: int
) -> None:
    """Do ``work`` on every piece, on at most ``at_once`` of them at a time; they end in any order.

    A piece is taken when a task is free for it, never ahead, and one at a time. The first error, of ``work`` or of
    ``pieces``, ends the other tasks and is raised as it is.
    """
    waiting = pieces if isinstance(pieces, AsyncGenerator) else _as_asynchronous(pieces)
    turn = anyio.Lock(fast_acquire=True)

    async def run() -> None:
        while True:
            async with turn:
                try:
                    piece = await anext(waiting)
                except StopAsyncIteration:
                    return
            await work(piece)

    async with contextlib.aclosing(waiting):
        with first_error():
            async with anyio.create_task_group() as tasks:
                for _ in range(at_once):
                    tasks.start_soon(run)


async def _as_asynchronous(pieces: Iterable[_P]) -> AsyncGenerator[_P]:
    for piece in pieces:
        yield piece


@contextlib.contextmanager
def first_error() -> Iterator[None]:
    """Round a group of tasks: what ends the group is raised as it is, in no exception group."""
    try:
        yield
    except BaseExceptionGroup as group:
        found: BaseException = group
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        raise found from found.__cause__
