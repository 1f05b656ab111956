"""How many image sets may have an update under way at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_GROWTH_PER_UPDATE: Final = 0.1  # a full window of 100 grows by one for every ten updates that it lets through
_SHRINK: Final = 0.9


@dataclass(slots=True)
class Window:
    """At most ``most`` at once; fewer where the service has said 402 (too many concurrent updates), for a while.

    The quota is the data store's (endpoints-quotas: 100), so another writer may use part of it.
    """

    most: int
    _size: float = field(init=False)
    _shrunk_at: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        self._size = self.most

    @property
    def size(self) -> int:
        """Image sets that may be in flight now; at least 1."""
        return int(self._size)

    def accepted(self) -> None:
        """An update was taken."""
        self._size = min(float(self.most), self._size + _GROWTH_PER_UPDATE)

    def refused(self, now: float, sent: float, in_flight: int) -> None:
        """An update that was sent at ``sent`` was one too many, with ``in_flight`` others taken and not completed.

        Refusals of requests that were out together are one.
        """
        if sent >= self._shrunk_at:
            self._size = max(1.0, min(self._size * _SHRINK, in_flight))
            self._shrunk_at = now
