"""A run as a folder: its plan, its ledger, and `run.json` with what is needed to go on.

The folder is 0700 and its files are 0600: the plan in it holds values of edits.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from bulkedit import __version__
from bulkedit import planner as plans
from bulkedit.errors import StalePlanError, UsageError
from bulkedit.files import draft_folder, write_private_json
from bulkedit.printable import shell_word

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from bulkedit.planner import SavedPlan

FORMAT: Final = 1
_ABOUT: Final = "run.json"


@dataclass(frozen=True, slots=True)
class Run:
    """One application of one plan."""

    folder: Path
    plan: SavedPlan
    about: dict[str, Any]

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def ledger(self) -> Path:
        """Where the ledger is."""
        return self.folder / "ledger.sqlite"

    @property
    def key(self) -> bytes:
        """The key of the ledger's payload digests."""
        return base64.b64decode(self.about["key"])

    @property
    def settings(self) -> dict[str, Any]:
        """What the run was started with: connection and options, never credentials."""
        return dict(self.about["settings"])


def new_id(now: datetime) -> str:
    """An id that sorts by time and that two runs of one second do not share."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def create(folder: Path, plan: SavedPlan, settings: dict[str, Any], now: datetime) -> Run:
    """Make the folder of a new run, with a copy of the plan. Raises UsageError where there is something already."""
    if folder.exists():
        raise UsageError(
            "there is something there already.",
            where=str(folder),
            hint=f"To go on with that run: bulkedit resume {shell_word(folder)}. To start another: --run DIR",
        )
    try:
        with draft_folder(folder) as draft:
            copied = plans.copy(plan, draft / "plan")
            about = {
                "format": FORMAT,
                "tool": f"bulkedit {__version__}",
                "created": now.isoformat(timespec="seconds"),
                "plan_digest": plan.digest,
                "key": base64.b64encode(secrets.token_bytes(32)).decode(),
                "settings": settings,
            }
            write_private_json(draft / _ABOUT, about)
    except OSError as error:
        raise UsageError(f"the run cannot be written ({error.strerror}).", where=str(folder)) from error
    return Run(folder, replace(copied, folder=folder / "plan"), about)


def load(folder: Path) -> Run:
    """Open a run. Raises UsageError where it is none, StalePlanError where its plan has changed."""
    try:
        about = dict(json.loads((folder / _ABOUT).read_text("utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise UsageError(
            "this is no run: it has no readable run.json.",
            where=str(folder),
            likely="A run is the folder that `bulkedit apply` names when it starts, such as runs/20260102-030405-1a2b.",
        ) from error
    if about.get("format") != FORMAT:
        raise UsageError("this run was made by another version of bulkedit.", where=str(folder))
    plan = plans.load(folder / "plan")
    if plan.digest != about["plan_digest"]:
        raise StalePlanError("the run's plan is not the one that it was started with.", where=str(folder))
    return Run(folder, plan, about)
