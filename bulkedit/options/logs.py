"""What a command logs, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bulkedit.options.declaring import Config, Group, Option


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What a command logs, and where."""

    verbose: Annotated[
        int,
        Option(
            "Log to standard error too, without values; -vv also logs what goes well, and to all logs.",
            flags=("--verbose", "-v"),
            group=Group.FILES,
            count=True,
        ),
    ] = 0
    log_file: Annotated[
        Path | None,
        Option(
            "Append what happens to this file, without values, as lines of JSON.",
            "FILE",
            group=Group.FILES,
            config=Config.OWN,
        ),
    ] = None
