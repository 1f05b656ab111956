"""The options of an inventory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from bulkedit.client.pacing.rates import AUTO
from bulkedit.options import shared
from bulkedit.options.declaring import Config, Option, check


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryOptions:
    """The options of an inventory."""

    read_rate: shared.ReadRate = AUTO
    fresh: Annotated[
        bool,
        Option(
            "Start again, and replace an existing or unfinished inventory.",
            common=True,
            config=Config.NEVER,
        ),
    ] = False

    def __post_init__(self) -> None:
        check(self)
