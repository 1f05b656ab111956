"""Concurrent work: on worker threads, in two threads, or in as many tasks as the caller asks for."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, TypeVarTuple

import anyio
from anyio import to_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

# polars releases the GIL and rarely uses two cores fully; more threads would gain little, and each item takes memory
_AT_ONCE: Final = 2

_P = TypeVar("_P")
_R = TypeVar("_R")
_Arguments = TypeVarTuple("_Arguments")


class BlockingRunner(Protocol):
    """Calls a function that blocks."""

    async def __call__(self, work: Callable[[], _R], /) -> _R:
        """Call ``work`` and return its result."""
        ...


async def _on_thread(work: Callable[[], _R], /) -> _R:
    return await to_thread.run_sync(work)


_runner: ContextVar[BlockingRunner] = ContextVar("blocking_runner", default=_on_thread)


async def run_blocking(work: Callable[[*_Arguments], _R], /, *arguments: *_Arguments) -> _R:
    """Call a function that blocks, on a worker thread, and return its result.

    Coroutines leave the event loop only through this function. So a simulation can decide when such work is done
    (`blocking_work_by`), and repeat a run exactly.
    """
    return await _runner.get()(partial(work, *arguments) if arguments else work)


@contextlib.contextmanager
def blocking_work_by(runner: BlockingRunner) -> Iterator[None]:
    """Within the block, and in tasks that it starts, `run_blocking` passes its work to ``runner``."""
    former = _runner.set(runner)
    try:
        yield
    finally:
        _runner.reset(former)


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
