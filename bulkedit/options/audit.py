"""The options of an audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from bulkedit.client.pacing.rates import AUTO
from bulkedit.options import shared
from bulkedit.options.declaring import Option, check


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """The options of an audit."""

    deid_profile: Annotated[
        str | None,
        Option(
            "The de-identification profile that was applied; what it keeps on purpose is not a finding.",
            "NAME|FILE.toml",
            common=True,
        ),
    ] = None
    read_archived: shared.ReadArchived = False
    read_rate: shared.ReadRate = AUTO

    def __post_init__(self) -> None:
        check(self)
