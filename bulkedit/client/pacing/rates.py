"""The operations with their documented quotas, and the parsing of rates."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bulkedit.errors import UsageError


class Operation(StrEnum):
    """The operations; each has its own quota."""

    UPDATE = "update"  # UpdateImageSetMetadata
    GET = "get"  # GetImageSet
    METADATA = "metadata"  # GetImageSetMetadata
    VERSIONS = "versions"  # ListImageSetVersions
    SEARCH = "search"  # SearchImageSets
    COPY = "copy"  # CopyImageSet
    DELETE = "delete"  # DeleteImageSet


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: ``per_second`` requests per second in the long run, ``burst`` at once."""

    per_second: float
    burst: float = 1.0

    def __post_init__(self) -> None:
        if not self.per_second > 0 or self.burst < 1:
            raise ValueError("a rate must be above 0, and its burst at least 1")

    def __str__(self) -> str:
        return f"{self.per_second:g}/s"


@dataclass(frozen=True, slots=True)
class Auto:
    """A quota to be found: starts at ``start``, never exceeds ``most`` requests per second or ``burst`` at once.

    ``remembered``: what an earlier run has measured. It is a guess, not a fact.
    """

    start: Rate
    most: float = math.inf
    burst: float = math.inf
    remembered: Rate | None = None

    @property
    def per_second(self) -> float:
        """The rate at the start."""
        return min(self.start.per_second, self.most)

    def __str__(self) -> str:
        return "auto"


# default quotas of an account (throttling-limits)
DOCUMENTED: Final[dict[Operation, Rate]] = {
    Operation.UPDATE: Rate(0.25, 1),
    Operation.GET: Rate(25, 50),
    Operation.METADATA: Rate(50, 100),
    Operation.VERSIONS: Rate(25, 50),
    Operation.SEARCH: Rate(25, 50),
    Operation.COPY: Rate(0.25, 1),
    Operation.DELETE: Rate(0.25, 1),
}
WRITES: Final = (Operation.UPDATE, Operation.COPY, Operation.DELETE)
AUTO: Final = "auto"

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_rate(text: str, *, burst: float = 1.0) -> Rate:
    """Read ``0.25/s``, ``15/m``, ``900/h`` or a bare number of requests per second.

    Raises UsageError.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(?:/([smh]))?", text.strip())
    if match is None or float(match[1]) <= 0:
        raise UsageError("invalid rate.", hint="Write it as 0.25/s, 15/m or 900/h, or auto.")
    return Rate(float(match[1]) / _UNITS[match[2] or "s"], burst)


def parse_pace(text: str, documented: Rate, *, burst: float | None = None, most: str | None = None) -> Rate | Auto:
    """Read ``auto`` or a rate. ``most``: upper limit for auto. ``burst``: requests that may be sent at once.

    Raises UsageError.
    """
    if text.strip() != AUTO:
        if most is not None:
            raise UsageError("`max_rate` works only with `rate=auto`.", hint="Leave one of them out.")
        return parse_rate(text, burst=burst or 1.0)
    limit = math.inf if most is None else parse_rate(most).per_second
    return Auto(Rate(documented.per_second, min(documented.burst, burst or math.inf)), limit, burst or math.inf)


def parse_read_pace(text: str, operation: Operation = Operation.SEARCH) -> Rate | Auto:
    """Read ``--read-rate`` for an operation: ``auto`` or a rate. Raises UsageError.

    A rate applies to SearchImageSets and GetImageSet. Other reads, and bursts, are scaled like the documented quotas.
    """
    documented = DOCUMENTED[operation]
    given = parse_pace(text, documented)
    if isinstance(given, Auto):
        return given
    factor = given.per_second / DOCUMENTED[Operation.GET].per_second
    return Rate(documented.per_second * factor, max(1.0, documented.burst * factor))
