"""The options of a verification."""

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
    """The size of a random sample of image sets: a share or a number."""

    share: float | None = None  # above 0, at most 1
    number: int | None = None

    def of(self, image_sets: Sequence[str], seed: int) -> set[str]:
        """Draw a sample. Depends only on the seed and the image sets, so every machine draws the same."""
        wanted = self.number if self.share is None else math.ceil(self.share * len(image_sets))

        def digest(image_set_id: str) -> bytes:
            return hashlib.blake2b(f"{seed} {image_set_id}".encode(), digest_size=16).digest()

        return set(sorted(image_sets, key=digest)[:wanted])

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
    raise UsageError("invalid sample.", hint="Write it as 1% or as a number of image sets: `sample=500`")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """The options of a verification."""

    sample: Annotated[
        Sample | None,
        Option(
            "Verify a random sample: a number of image sets, or a share. Default: all.",
            "N|P%",
            group=Group.READING,
            common=True,
            parse=parse_sample,
        ),
    ] = None
    seed: Annotated[
        int | None,
        Option(
            "Seed of the sample: the same seed selects the same image sets. Default: random, and recorded.",
            "N",
            group=Group.READING,
            least=0,
        ),
    ] = None
    history: Annotated[
        bool,
        Option(
            "Also list older versions that still contain replaced or removed values. Edits do not purge them.",
            group=Group.READING,
            common=True,
        ),
    ] = False
    include_values: Annotated[
        bool,
        Option(
            "Also write expected and found values, which are health data, to the result files.",
            group=Group.READING,
            common=True,
            config=Config.NEVER,
        ),
    ] = False
    read_archived: shared.ReadArchived = False
    skip_archived: Annotated[bool, Option("Leave out archived image sets.", group=Group.READING, common=True)] = False
    fresh: Annotated[
        bool,
        Option(
            "Start again. By default, an interrupted verification continues.",
            group=Group.READING,
            common=True,
            config=Config.NEVER,
        ),
    ] = False
    read_rate: shared.ReadRate = AUTO
    workers: Annotated[int, Option("Requests in flight at once.", "N", group=Group.PACE, least=1, most=1000)] = 32

    def __post_init__(self) -> None:
        check(self)
        if self.read_archived and self.skip_archived:
            raise UsageError("`read_archived` and `skip_archived` cannot be combined.")

    def as_json(self) -> JsonObject:
        """The options that must be the same when an interrupted verification continues."""
        return {
            "sample": str(self.sample) if self.sample else None,
            "seed": self.seed,
            "history": self.history,
            "include_values": self.include_values,
        }
