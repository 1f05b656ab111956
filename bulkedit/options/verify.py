"""What to read back of a run, and what to keep of it."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from bulkedit.client.pacing.rates import AUTO
from bulkedit.errors import UsageError
from bulkedit.options import shared
from bulkedit.options.declaring import Config, Group, Option, check

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkedit._json import JsonObject


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
    raise UsageError("the sample is not understood.", hint="Write it as 1% or as a number of image sets: `sample=500`")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """What to read, and what to keep of it."""

    sample: Annotated[
        Sample | None,
        Option(
            "Read so many of the image sets, or this share of them, chosen at random; all if not given.",
            "N|P%",
            group=Group.READING,
            common=True,
            parse=parse_sample,
        ),
    ] = None
    seed: Annotated[
        int | None,
        Option(
            "Of the random choice; drawn and recorded if not given. The same seed draws the same image sets.",
            "N",
            group=Group.READING,
            least=0,
        ),
    ] = None
    history: Annotated[
        bool,
        Option(
            "Also list the older versions that still have what was replaced or removed: editing does not purge them.",
            group=Group.READING,
            common=True,
        ),
    ] = False
    include_values: Annotated[
        bool,
        Option(
            "Write expected and found values into the files of the verification.",
            group=Group.READING,
            common=True,
            config=Config.NEVER,
        ),
    ] = False
    read_archived: shared.ReadArchived = False
    skip_archived: Annotated[
        bool, Option("Leave archived image sets out for good.", group=Group.READING, common=True)
    ] = False
    fresh: Annotated[
        bool,
        Option(
            "Begin again. Without it, an interrupted verification goes on.",
            group=Group.READING,
            common=True,
            config=Config.NEVER,
        ),
    ] = False
    read_rate: shared.ReadRate = AUTO
    workers: Annotated[int, Option("Requests at once.", "N", group=Group.PACE, least=1, most=1000)] = 32

    def __post_init__(self) -> None:
        check(self)
        if self.read_archived and self.skip_archived:
            raise UsageError("`read_archived` and `skip_archived` do not go together.")

    def as_json(self) -> JsonObject:
        """What a verification has to share with one that it goes on with."""
        return {
            "sample": str(self.sample) if self.sample else None,
            "seed": self.seed,
            "history": self.history,
            "include_values": self.include_values,
        }
