"""Pieces of work done two at a time in threads: polars lets go of Python while it works, and seldom fills two cores."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_AT_ONCE: Final = 2  # more would gain little, and each piece holds memory

_P = TypeVar("_P")
_R = TypeVar("_R")


def abreast(work: Callable[[_P], _R], pieces: Iterable[_P]) -> Iterator[_R]:
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
