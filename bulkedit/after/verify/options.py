"""What a verification is told."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from bulkedit.client.pacing import AUTO
from bulkedit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Sample:
    """How many of the image sets to read: a share of them, or a number."""

    share: float | None = None  # above 0, at most 1
    number: int | None = None

    def of(self, image_sets: Sequence[str], seed: int) -> set[str]:
        """A sample that is the same whenever seed and image sets are, whatever machine draws it."""
        wanted = self.number if self.share is None else math.ceil(self.share * len(image_sets))

        def lot(image_set_id: str) -> bytes:
            return hashlib.blake2b(f"{seed} {image_set_id}".encode(), digest_size=16).digest()

        return set(sorted(image_sets, key=lot)[:wanted])

    def __str__(self) -> str:
        return str(self.number) if self.share is None else f"{self.share * 100:g}%"


def parse_sample(text: str) -> Sample:
    """Read `1%`, `0.1%` or a number of image sets. Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(%?)", text.strip())
    value = float(match[1]) if match else 0.0
    if match and match[2] and 0 < value <= 100:
        return Sample(share=value / 100)
    if match and not match[2] and value >= 1 and value == int(value):
        return Sample(number=int(value))
    raise UsageError("the sample is not understood.", hint="Write it as 1% or as a number of image sets: --sample 500")


class Archived(StrEnum):
    """What to do with archived image sets, which reading moves to the frequent tier for 30 days."""

    LEAVE = "leave"  # read all others, and leave these for another time
    READ = "read"
    SKIP = "skip"  # leave them out for good


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """What to read, and what to keep of it."""

    sample: Sample | None = None  # None: every image set that the run has changed
    seed: int | None = None  # of the sample; None draws one, which is recorded
    history: bool = False  # look for former values in older versions too
    include_values: bool = False  # keep the values that differ
    archived: Archived = Archived.LEAVE
    fresh: bool = False  # begin again, although a verification with these options was interrupted
    read_rate: str = AUTO  # of every read: auto, N/s, N/m or N/h
    workers: int = 32  # image sets under way at once

    def as_json(self) -> dict[str, Any]:
        """What a verification has to share with one that it goes on with."""
        return {
            "sample": str(self.sample) if self.sample else None,
            "seed": self.seed,
            "history": self.history,
            "include_values": self.include_values,
        }
