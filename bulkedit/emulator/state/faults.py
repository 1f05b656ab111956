"""Faults: what goes wrong, how often, for whom. Seeded: the same requests meet the same faults.

Whether a fault strikes depends on the seed, the fault, the action, the image set, and how many such requests there
have been; not on how requests of different image sets are interleaved. So a run with many workers is reproducible.
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
    """What goes wrong."""

    DROP_BEFORE = "drop-before"  # the connection is dropped, and nothing was done
    DROP_AFTER = "drop-after"  # the connection is dropped, after it was done
    LATE = "late"  # the connection is dropped, and it is done `seconds` later
    ERROR_BEFORE = "error-before"  # 500, and nothing was done
    ERROR_AFTER = "error-after"  # 500, after it was done
    SLOW = "slow"  # done at once, answered after `seconds`
    THROTTLE = "throttle"  # 429 beside the quota
    CONFLICT = "conflict"  # 409, as for metadata that is still being processed after an import
    FAIL = "fail"  # an accepted update or copy ends as failed, for a reason of the service's own
    HANG = "hang"  # an accepted update, copy or deletion never ends: the image set stays LOCKED
    FOREIGN_BEFORE = "foreign-before"  # another writer was faster: the image set has a version more
    FOREIGN_AFTER = "foreign-after"  # another writer follows at once: a version more, right after ours
    FOREIGN_FAILED = "foreign-failed"  # the same, but the other writer's update failed
    LAGGING = "lagging"  # a read shows the version before the latest, as if the latest were not there yet
    EXPIRED = "expired"  # 403: the credentials have expired
    DENIED = "denied"  # 403: access denied
    CLOCK_SKEW = "clock-skew"  # the service's clock is `seconds` ahead: signatures beyond five minutes are refused
    QUOTA = "quota"  # from then on the quotas have another `scale`


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
    """One thing that goes wrong."""

    kind: FaultKind
    rate: float = 1.0  # the share of matching requests that it strikes
    action: str | None = None  # this action only
    image_set_id: str | None = None  # this image set only
    access_key: str | None = None  # requests signed with this access key only
    skip: int = 0  # so many matching requests pass first
    times: int | None = None  # it strikes at most so often
    start: float = 0.0  # seconds after it was set, from when it strikes
    end: float | None = None  # and until when
    seconds: float = 1.0  # of a slow answer or a late request; of a clock skew
    scale: float = 1.0  # of a quota step

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError("rate is from 0 to 1")
        if self.action is not None and self.action not in LIMITS:
            raise ValueError("action is none of the service's")
        if not self.scale > 0:
            raise ValueError("scale is above 0")

    def matches(self, action: str, image_set_id: str | None, access_key: str | None = None) -> bool:
        """Whether it could strike such a request."""
        if self.action not in (None, action) or self.image_set_id not in (None, image_set_id):
            return False
        if self.access_key not in (None, access_key):
            return False
        return action in _ONLY.get(self.kind, (action,))


def fault(text: str) -> Fault:
    """Read a fault as the command line has it: ``kind`` or ``kind:name=value,name=value``."""
    kind, _, rest = text.partition(":")
    pairs = [pair.partition("=") for pair in rest.split(",") if pair]
    return from_dict({"kind": kind} | {name.strip(): value.strip() for name, _, value in pairs})


def from_dict(given: Mapping[str, Json]) -> Fault:
    """Read a fault as JSON has it; numbers may be text."""
    kinds = {field.name: str(field.type) for field in dataclasses.fields(Fault)}
    if unknown := given.keys() - kinds.keys():
        raise ValueError(f"a fault has no {', '.join(sorted(map(str, unknown)))}; it has {', '.join(kinds)}")
    values: dict[str, Any] = {}
    for name, value in given.items():
        if value is not None and name != "kind":
            values[name] = _number(name, value, kinds[name])
    try:
        return Fault(kind=FaultKind(str(given.get("kind", ""))), **values)
    except ValueError as error:
        if f"is not a valid {FaultKind.__name__}" in str(error):
            raise ValueError(f"the kind of a fault is one of {', '.join(FaultKind)}") from None
        raise


def _number(name: str, value: Json, kind: str) -> float | str:
    if not kind.startswith(("float", "int")):
        return str(value)
    if isinstance(value, str | int | float):
        with contextlib.suppress(ValueError):
            return float(value) if kind.startswith("float") else int(value)
    raise ValueError(f"{name} is a number")


@dataclass(slots=True)
class _Set:
    """A fault that has been set, and what it has done."""

    fault: Fault
    since: float
    seen: int = 0
    struck: int = 0


class Faults:
    """The faults that are set."""

    def __init__(self, seed: int, faults: Iterable[Fault] = (), *, now: float) -> None:
        self._seed = seed
        self._set: list[_Set] = []
        self._counts: Counter[tuple[int, str, str | None]] = Counter()
        self.add(faults, now=now)

    def add(self, faults: Iterable[Fault], *, now: float) -> None:
        """Set more faults, from now on."""
        self._set += [_Set(one, now) for one in faults]

    def clear(self) -> None:
        """Set none."""
        self._set.clear()
        self._counts.clear()

    def as_dicts(self) -> list[JsonObject]:
        """What is set, and how often each has struck."""
        return [dataclasses.asdict(one.fault) | {"struck": one.struck} for one in self._set]

    def strike(self, action: str, image_set_id: str | None, now: float, access_key: str | None = None) -> list[Fault]:
        """The faults that strike a request. Each call counts as one request."""
        if not self._set:
            return []
        return [
            one.fault
            for place, one in enumerate(self._set)
            if one.fault.kind is not FaultKind.QUOTA
            and one.fault.matches(action, image_set_id, access_key)
            and _in_time(one, now)
            and self._strikes(place, one, action, image_set_id)
        ]

    def scale(self, now: float) -> float | None:
        """The scale of quotas that the latest step asks for; None where there is no step."""
        steps = [one.fault.scale for one in self._set if one.fault.kind is FaultKind.QUOTA and _in_time(one, now)]
        return steps[-1] if steps else None

    def _strikes(self, place: int, one: _Set, action: str, image_set_id: str | None) -> bool:
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


def _in_time(one: _Set, now: float) -> bool:
    elapsed = now - one.since
    return one.fault.start <= elapsed and (one.fault.end is None or elapsed < one.fault.end)
