"""The options of a revert."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from bulkedit.client.contract import IMAGE_SET_ID
from bulkedit.client.pacing.rates import AUTO
from bulkedit.errors import UsageError
from bulkedit.options import shared
from bulkedit.options.declaring import Config, Group, Option, check


class OnLaterChange(StrEnum):
    """What to do with an image set that another writer has changed since the run, or between its calls."""

    SKIP = "skip"  # leave it out of the plan, and report it
    FAIL = "fail"  # plan nothing
    OVERWRITE = "overwrite"  # undo the other writer's changes too


def parse_ranges(text: str) -> set[int]:
    """Read `812` or `2-5,9`. Raises UsageError."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise UsageError("invalid row numbers.", hint="Write the row numbers of the edit list as 812 or 2-5,9.")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def parse_image_sets(text: str) -> list[str]:
    """Read image set ids, separated by commas, or a file with one per line. Raises UsageError."""
    path = Path(text)
    if not re.fullmatch(rf"{IMAGE_SET_ID}(,{IMAGE_SET_ID})*", text) and path.is_file():
        words = path.read_text("utf-8").split()
    else:
        words = [word.strip() for word in text.split(",")]
    for word in words:
        if not re.fullmatch(IMAGE_SET_ID, word):
            raise UsageError(
                "`image_sets` must be image set ids, or a file with one id per line.",
                likely="An image set id is 32 characters of 0-9 a-z.",
            )
    return words


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertOptions:
    """The options of a revert."""

    rows: Annotated[
        Collection[int] | None,
        Option(
            "Undo these rows of the edit list only. Refused if other rows would be undone with them.",
            "N,N-N,…",
            group=Group.UNDOING,
            common=True,
            config=Config.NEVER,
            parse=parse_ranges,
        ),
    ] = None
    image_sets: Annotated[
        Collection[str] | None,
        Option(
            "Undo the run in these image sets only. A file has one id per line.",
            "ID,…|FILE",
            group=Group.UNDOING,
            common=True,
            config=Config.NEVER,
            parse=parse_image_sets,
        ),
    ] = None
    whole_image_sets: Annotated[
        bool,
        Option(
            "With --rows, also undo the other rows that changed the same image sets.",
            group=Group.UNDOING,
            common=True,
            config=Config.NEVER,
        ),
    ] = False
    on_later_change: Annotated[
        OnLaterChange,
        Option(
            "If another writer has changed an image set since the run: leave it out, plan nothing, or undo that change "
            "too.",
            variables=("ON_LATER_CHANGE", "REVERT_ON_CONFLICT"),
            group=Group.UNDOING,
            common=True,
        ),
    ] = OnLaterChange.SKIP
    read_rate: shared.ReadRate = AUTO
    workers: Annotated[int, Option("Image sets read at once.", "N", group=Group.PACE, least=1, most=1000)] = 16

    def __post_init__(self) -> None:
        check(self)
        if self.rows is not None and self.image_sets is not None:
            raise UsageError("`rows` and `image_sets` cannot be combined.")
