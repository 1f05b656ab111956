"""The options of an inventory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bulkedit.client.pacing.rates import AUTO
from bulkedit.errors import UsageError
from bulkedit.options import shared
from bulkedit.options.declaring import Config, Option, check, require_together


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
    changes: Annotated[
        bool,
        Option(
            "Read only what was created or changed since the file was taken, and put it into the file. Deleted image "
            "sets stay in it.",
            common=True,
            config=Config.NEVER,
        ),
    ] = False
    source: Annotated[
        Path | None,
        Option(
            "Read this inventory, not the data store, and write a list of the image sets that meet --where.",
            "FILE",
            ("--from",),
            ("INVENTORY_FROM",),
            common=True,
            config=Config.NEVER,
        ),
    ] = None
    condition: shared.Condition = None

    def __post_init__(self) -> None:
        check(self)
        require_together(self, ("source", "condition"))
        if self.changes and (self.fresh or self.source):
            other = "fresh" if self.fresh else "source"
            raise UsageError(f"`changes` and `{other}` contradict each other.", hint="Leave one of them out.")
