"""Concurrent work: in two threads, or in as many tasks as the caller asks for."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

# polars releases the GIL and rarely uses two cores fully; more threads would gain little, and each item takes memory
_AT_ONCE: Final = 2

_P = TypeVar("_P")
_R = TypeVar("_R")


def concurrently(work: Callable[[_P], _R], pieces: Iterable[_P]) -> Iterator[_R]:
    """Map ``work`` over the pieces, in order. An error of ``work`` is raised instead of that piece's result.

    ``work`` runs in threads, on at most two pieces at a time. Pieces are taken in the caller's thread, at most two
    ahead of the yielded result.
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
    """Call ``work`` for every piece, in at most ``at_once`` concurrent tasks. Pieces may finish in any order.

    Pieces are taken one at a time, when a task is free. The first error, of ``work`` or of ``pieces``, cancels the
    other tasks and is raised unchanged.
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
    """Wrap a task group: raises its first error itself instead of an exception group."""
    try:
        yield
    except BaseExceptionGroup as group:
        found: BaseException = group
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        raise found from found.__cause__
