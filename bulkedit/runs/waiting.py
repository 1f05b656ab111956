"""What a run can wait for, so that its calls cannot be sent although the pacer may let them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bulkedit._json import Json, JsonObject

_SHOWN: Final = 100  # ids of locked image sets in a JSON line


class WaitingFor(StrEnum):
    """What a run can wait for, so that nothing moves."""

    QUOTA = "quota"  # every request is throttled
    UNLOCK = "unlock"  # image sets are locked by another update
    CREDENTIALS = "credentials"
    SERVICE = "service"  # it does not answer
    LEDGER = "ledger"  # another program has locked it


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing that a run waits for."""

    what: WaitingFor
    seconds: float  # so far; the longest of the image sets
    image_sets: tuple[str, ...] = ()  # ids of those that are locked
    more: int = 0  # locked image sets beside those

    @property
    def count(self) -> int:
        """Image sets that are locked."""
        return len(self.image_sets) + self.more

    def as_json(self) -> JsonObject:
        """An object of the field ``waiting``."""
        shown: list[Json] = [*self.image_sets[:_SHOWN]]
        return {"for": str(self.what), "seconds": round(self.seconds, 1), "count": self.count, "image_sets": shown}

    @classmethod
    def of_json(cls, found: Json) -> Waiting:
        """Read what `as_json` has made. Raises ValueError for anything else."""
        match found:
            case {
                "for": str(what),
                "seconds": int() | float() as seconds,
                "count": int(count),
                "image_sets": list(image_sets),
            }:
                return cls(WaitingFor(what), seconds, tuple(map(str, image_sets)), max(0, count - len(image_sets)))
        raise ValueError("this is not what a run waits for")
