"""Limits how many updates are in flight at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_GROWTH_PER_UPDATE: Final = 0.1  # the window grows by one for every ten accepted updates
_SHRINK: Final = 0.9


@dataclass(slots=True)
class Window:
    """At most ``most`` updates in flight; fewer for a while after a 402 (too many concurrent updates).

    The quota belongs to the data store (endpoints-quotas: 100), so another writer may use part of it.
    """

    most: int
    _size: float = field(init=False)
    _shrunk_at: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        self._size = self.most

    @property
    def size(self) -> int:
        """Updates that may be in flight now; at least 1."""
        return int(self._size)

    def accepted(self) -> None:
        """Record that an update was accepted."""
        self._size = min(float(self.most), self._size + _GROWTH_PER_UPDATE)

    def refused(self, now: float, sent: float, in_flight: int) -> None:
        """Record a 402 for an update that was sent at ``sent``, while ``in_flight`` others were in flight.

        Several 402 for requests that were sent before the window shrank count as one.
        """
        if sent >= self._shrunk_at:
            self._size = max(1.0, min(self._size * _SHRINK, in_flight))
            self._shrunk_at = now
