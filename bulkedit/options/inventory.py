"""How an inventory is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from bulkedit.client.pacing.rates import AUTO
from bulkedit.options import shared
from bulkedit.options.declaring import Config, Option, check


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryOptions:
    """How to take an inventory."""

    read_rate: shared.ReadRate = AUTO
    fresh: Annotated[
        bool,
        Option(
            "Replace an inventory that is there, and begin again if one was interrupted.",
            common=True,
            config=Config.NEVER,
        ),
    ] = False

    def __post_init__(self) -> None:
        check(self)
