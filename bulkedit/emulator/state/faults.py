"""Faults that the emulator injects: kind, rate, and the requests that they strike. They are reproducible.

Whether a fault strikes depends on the seed, the fault, the operation, the image set, and the number of earlier requests
of this operation for it. It does not depend on the order in which workers send requests for different image sets.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from bulkedit.emulator.state.quota import LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bulkedit._json import Json, JsonObject


class FaultKind(StrEnum):
    """The effect of a fault."""

    DROP_BEFORE = "drop-before"  # the connection is dropped, and the request is not performed
    DROP_AFTER = "drop-after"  # the connection is dropped after the request is performed
    LATE = "late"  # the connection is dropped, and the request is performed `seconds` later
    ERROR_BEFORE = "error-before"  # 500, and the request is not performed
    ERROR_AFTER = "error-after"  # 500 after the request is performed
    SLOW = "slow"  # performed at once; the response is sent after `seconds`
    THROTTLE = "throttle"  # 429, regardless of the quota
    CONFLICT = "conflict"  # 409, as for metadata that is still being processed after an import
    FAIL = "fail"  # an accepted update or copy fails because of an internal error of the service
    HANG = "hang"  # an accepted update, copy or deletion never completes: the image set stays LOCKED
    FOREIGN_BEFORE = "foreign-before"  # another writer adds a version just before the request
    FOREIGN_AFTER = "foreign-after"  # another writer adds a version just after the request's update completes
    FOREIGN_FAILED = "foreign-failed"  # another writer's update fails just before the request
    LAGGING = "lagging"  # a read shows the version before the latest, as in an eventually consistent read
    EXPIRED = "expired"  # 403: the credentials have expired
    DENIED = "denied"  # 403: access denied
    CLOCK_SKEW = "clock-skew"  # the service's clock is `seconds` ahead: it refuses signatures beyond five minutes
    QUOTA = "quota"  # the quotas change to `scale`


WRITES: Final = frozenset({"UpdateImageSetMetadata", "CopyImageSet", "DeleteImageSet"})
_ONLY: Final[dict[FaultKind, frozenset[str]]] = {
    FaultKind.FAIL: frozenset({"UpdateImageSetMetadata", "CopyImageSet"}),
    FaultKind.HANG: WRITES,
    FaultKind.FOREIGN_BEFORE: frozenset({"UpdateImageSetMetadata"}),
    FaultKind.FOREIGN_AFTER: frozenset({"UpdateImageSetMetadata"}),
    FaultKind.FOREIGN_FAILED: frozenset({"UpdateImageSetMetadata"}),
    FaultKind.LAGGING: frozenset({"GetImageSet", "ListImageSetVersions"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault to inject. Raises ValueError if a field is not valid."""

    kind: FaultKind
    rate: float = 1.0  # the probability that it strikes a matching request, 0 to 1
    action: str | None = None  # only this operation
    image_set_id: str | None = None  # only this image set
    access_key: str | None = None  # only requests signed with this access key
    skip: int = 0  # the number of matching requests to leave alone first
    times: int | None = None  # the maximum number of strikes
    start: float = 0.0  # it begins this many seconds after it was added,
    end: float | None = None  # and ends this many seconds after it was added
    seconds: float = 1.0  # the delay of SLOW and LATE; the offset of CLOCK_SKEW
    scale: float = 1.0  # of QUOTA

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError("rate must be 0 to 1")
        if self.action is not None and self.action not in LIMITS:
            raise ValueError("action must be an operation of the service, such as UpdateImageSetMetadata")
        if not self.scale > 0:
            raise ValueError("scale must be above 0")

    def matches(self, action: str, image_set_id: str | None, access_key: str | None = None) -> bool:
        """Whether it can strike a request for this operation, image set and access key."""
        if self.action not in (None, action) or self.image_set_id not in (None, image_set_id):
            return False
        if self.access_key not in (None, access_key):
            return False
        return action in _ONLY.get(self.kind, (action,))


def fault(text: str) -> Fault:
    """Parse a fault of the command line: ``kind`` or ``kind:name=value,name=value``. Raises ValueError.

    Example: ``fault("throttle:rate=0.1,action=UpdateImageSetMetadata")``.
    """
    kind, _, rest = text.partition(":")
    pairs = [pair.partition("=") for pair in rest.split(",") if pair]
    return from_dict({"kind": kind} | {name.strip(): value.strip() for name, _, value in pairs})


def from_dict(given: Mapping[str, Json]) -> Fault:
    """Parse a fault in JSON form; numbers may be strings. Raises ValueError."""
    kinds = {field.name: str(field.type) for field in dataclasses.fields(Fault)}
    if unknown := given.keys() - kinds.keys():
        raise ValueError(
            f"unknown field: {', '.join(sorted(map(str, unknown)))}. Fields of a fault: {', '.join(kinds)}"
        )
    values: dict[str, Any] = {}
    for name, value in given.items():
        if value is not None and name != "kind":
            values[name] = _number(name, value, kinds[name])
    try:
        return Fault(kind=FaultKind(str(given.get("kind", ""))), **values)
    except ValueError as error:
        if f"is not a valid {FaultKind.__name__}" in str(error):
            raise ValueError(f"the kind of a fault must be one of {', '.join(FaultKind)}") from None
        raise


def _number(name: str, value: Json, kind: str) -> float | str:
    if not kind.startswith(("float", "int")):
        return str(value)
    if isinstance(value, str | int | float):
        with contextlib.suppress(ValueError):
            return float(value) if kind.startswith("float") else int(value)
    raise ValueError(f"{name} must be a number")


@dataclass(slots=True)
class _ActiveFault:
    """A fault with its counters."""

    fault: Fault
    since: float
    seen: int = 0
    struck: int = 0


class Faults:
    """The active faults."""

    def __init__(self, seed: int, faults: Iterable[Fault] = (), *, now: float) -> None:
        self._seed = seed
        self._active: list[_ActiveFault] = []
        self._counts: Counter[tuple[int, str, str | None]] = Counter()
        self.add(faults, now=now)

    def add(self, faults: Iterable[Fault], *, now: float) -> None:
        """Add faults, which are active from now on."""
        self._active += [_ActiveFault(one, now) for one in faults]

    def clear(self) -> None:
        """Remove all faults."""
        self._active.clear()
        self._counts.clear()

    def as_dicts(self) -> list[JsonObject]:
        """The faults as JSON, with the number of strikes (``struck``)."""
        return [dataclasses.asdict(one.fault) | {"struck": one.struck} for one in self._active]

    def strike(self, action: str, image_set_id: str | None, now: float, access_key: str | None = None) -> list[Fault]:
        """The faults that strike a request. Call it once per request, because it counts requests."""
        if not self._active:
            return []
        return [
            one.fault
            for place, one in enumerate(self._active)
            if one.fault.kind is not FaultKind.QUOTA
            and one.fault.matches(action, image_set_id, access_key)
            and _in_time(one, now)
            and self._strikes(place, one, action, image_set_id)
        ]

    def scale(self, now: float, unchanged: float) -> float | None:
        """The scale of the last QUOTA fault that is active; ``unchanged`` after the end of each; None before any."""
        quotas = [one for one in self._active if one.fault.kind is FaultKind.QUOTA]
        active = [one.fault.scale for one in quotas if _in_time(one, now)]
        over = any(now - one.since >= one.fault.start for one in quotas)
        return active[-1] if active else unchanged if over else None

    def _strikes(self, place: int, one: _ActiveFault, action: str, image_set_id: str | None) -> bool:
        one.seen += 1
        if one.seen <= one.fault.skip or (one.fault.times is not None and one.struck >= one.fault.times):
            return False
        key = (place, action, image_set_id)
        self._counts[key] += 1
        hit = one.fault.rate >= 1 or self._chance(key) < one.fault.rate
        one.struck += hit
        return hit

    def _chance(self, key: tuple[int, str, str | None]) -> float:
        text = f"{self._seed}/{key}/{self._counts[key]}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64


def _in_time(one: _ActiveFault, now: float) -> bool:
    elapsed = now - one.since
    return one.fault.start <= elapsed and (one.fault.end is None or elapsed < one.fault.end)
