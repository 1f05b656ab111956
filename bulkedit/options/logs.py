"""The options of the log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bulkedit.options.declaring import Config, Group, Option


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """The options of the log."""

    verbose: Annotated[
        int,
        Option(
            "Also log to stderr, without values. -vv also logs successful reads, in all logs.",
            flags=("--verbose", "-v"),
            group=Group.FILES,
            count=True,
        ),
    ] = 0
    log_file: Annotated[
        Path | None,
        Option(
            "Also log to this file, without values, as JSON lines.",
            "FILE",
            group=Group.FILES,
            config=Config.OWN,
        ),
    ] = None
