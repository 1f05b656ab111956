"""How a de-identification run is audited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from bulkedit.client.pacing.rates import AUTO
from bulkedit.options import shared
from bulkedit.options.declaring import Option, check


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """How to audit a run."""

    deid_profile: Annotated[
        str | None,
        Option(
            "The de-identification profile that was applied: what it keeps on purpose is no finding.",
            "NAME|FILE.toml",
            common=True,
        ),
    ] = None
    read_archived: shared.ReadArchived = False
    read_rate: shared.ReadRate = AUTO

    def __post_init__(self) -> None:
        check(self)
