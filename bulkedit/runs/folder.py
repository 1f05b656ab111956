"""A run as a folder: its plan, its ledger, and `run.json` with what a resume needs.

The folder is 0700 and its files are 0600, because the plan contains values of edits.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, NotRequired, TypedDict, cast

from bulkedit import _received as received
from bulkedit import plans
from bulkedit._files import draft_folder, not_written, write_private_json
from bulkedit._json import object_in
from bulkedit._printable import shell_word
from bulkedit._version import __version__
from bulkedit.errors import ReceivedError, StalePlanError, UnprovenLedgerError, UsageError
from bulkedit.runs import anchor as anchors
from bulkedit.runs import call_index

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bulkedit._json import Json, JsonObject
    from bulkedit.plans import SavedPlan
    from bulkedit.runs.call_index import CallIndex

FORMAT: Final = 2
_ABOUT: Final = "run.json"
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(("created", "plan_digest", "key"), (str,)),
    "settings": (dict,),
}
_SETTINGS: Final[dict[str, tuple[type, ...]]] = {"connection": (dict,), "options": (dict,)}


class RunSettings(TypedDict):
    """Settings of a run: fields of `bulkedit.options.where.Where` and of `bulkedit.options.running.RunOptions`."""

    connection: Mapping[str, Json]
    options: Mapping[str, Json]


class RunAbout(TypedDict):
    """The contents of `run.json`."""

    format: int
    tool: NotRequired[str]
    created: str  # ISO time
    plan_digest: str
    anchor: NotRequired[str]  # random name; runs of earlier versions have neither this nor an index
    index: NotRequired[str]  # SHA-256 of the index of calls
    key: str  # Base64
    settings: RunSettings
    list_options: NotRequired[dict[str, str]]  # of `bulkedit.runs.repeat.digests`; only if a list was applied


@dataclass(frozen=True, slots=True)
class Run:
    """One application of one plan."""

    folder: Path
    plan: SavedPlan
    about: RunAbout

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def ledger(self) -> Path:
        """Path of the ledger."""
        return self.folder / "ledger.sqlite"

    @property
    def is_begun(self) -> bool:
        """Whether the run must have a ledger."""
        try:
            anchored = anchors.read(anchors.beside(self.ledger))
        except (ReceivedError, OSError):  # opening the ledger reports what is wrong with its anchor
            return True
        # every run has an anchor from the start, except those of earlier versions
        return anchored is None or anchored.mark.begun or self.ledger.exists()

    @property
    def begun_at(self) -> float:
        """Epoch seconds, rounded down to milliseconds."""
        return datetime.fromisoformat(self.about["created"]).timestamp()

    @property
    def key(self) -> bytes:
        """The key of the ledger's payload digests."""
        return base64.b64decode(self.about["key"])

    def call_index(self) -> CallIndex:
        """The index of the calls. Raises ReceivedError if the file was changed."""
        if (sha256 := self.about.get("index")) is None:  # a run of an earlier version
            return call_index.of_plan(self.plan)
        return call_index.read(self.folder / call_index.NAME, sha256, self.plan.counts["calls"])

    @property
    def settings(self) -> RunSettings:
        """Connection and options, never credentials."""
        return self.about["settings"]


def require_absent(folder: Path) -> None:
    """Raises UsageError if the folder of a new run exists."""
    if folder.exists():
        raise UsageError(
            "this folder exists already.",
            where=str(folder),
            hint=f"To start another run: `run=DIR`\nTo continue that one: bulkedit resume {shell_word(folder)}",
        )


def create(
    folder: Path,
    plan: SavedPlan,
    settings: RunSettings,
    now: datetime,
    list_options: Callable[[bytes], dict[str, str]] | None = None,
) -> Run:
    """Make the folder of a new run, with a copy of the plan.

    ``list_options``: returns the digests of a list's options under the run's key, for `bulkedit.runs.repeat`.

    Raises UsageError if the folder exists or its path cannot be used, StorageError if the disk is full or faulty.
    """
    require_absent(folder)
    try:
        with draft_folder(folder, synced=True) as draft:  # without its plan no resume could continue it
            copied = plans.copy(plan, draft / "plan")
            name = anchors.new_run()
            anchors.Anchor.create(anchors.beside(draft / "ledger.sqlite"), name).close()
            key = secrets.token_bytes(32)
            about: RunAbout = {
                "format": FORMAT,
                "tool": f"bulkedit {__version__}",
                "created": now.isoformat(timespec="milliseconds"),
                "plan_digest": plan.digest,
                "anchor": name,
                "index": call_index.write(call_index.of_plan(copied), draft / call_index.NAME),
                "key": base64.b64encode(key).decode(),
                "settings": settings,
            }
            if list_options is not None:
                about["list_options"] = list_options(key)
            write_private_json(draft / _ABOUT, about)
    except OSError as error:
        raise not_written("the run", folder, error) from error
    return Run(folder, replace(copied, folder=folder / "plan"), about)


def load(folder: Path, *, whole: bool = True) -> Run:
    """Open a run. If not ``whole``, the frames of its plan are not read, unless the run has no index of its calls.

    Raises UsageError if the folder is not a run, ReceivedError if its files are invalid, and what `bulkedit.plans.load`
    raises for its plan.
    """
    path = folder / _ABOUT
    try:
        found = received.read_json(path)
    except OSError as error:
        if not os.path.lexists(folder):
            raise UsageError(
                "the run does not exist.", where=str(folder), hint="To list runs and plans: bulkedit runs"
            ) from error
        raise UsageError(
            f"this is not a run: its {_ABOUT} cannot be read ({error.strerror}).",
            where=str(folder),
            likely="A run is the folder that `bulkedit apply` names when it starts, such as runs/20260102-030405-1a2b.",
        ) from error
    if found.get("format") != FORMAT:
        raise _other_version(found, folder)
    received.require(found, _KINDS, str(path))
    received.require(object_in(found, "settings"), _SETTINGS, str(path))
    received.require({"list_options": {}, **found}, {"list_options": (dict,)}, str(path))
    for name in ("anchor", "index"):
        if not isinstance(found.get(name, ""), str):
            raise ReceivedError(f"{name} is not a text.", where=str(path))
    about = cast("RunAbout", found)
    try:
        base64.b64decode(about["key"], validate=True)
    except (binascii.Error, ValueError):
        raise ReceivedError("key is not Base64.", where=str(path)) from None
    try:
        datetime.fromisoformat(about["created"])
    except ValueError:
        raise ReceivedError("created is not a time.", where=str(path)) from None
    received.require_folder(folder / "plan")
    plan = plans.load(folder / "plan") if whole or "index" not in about else plans.load_manifest(folder / "plan")
    if plan.digest != about["plan_digest"]:
        raise StalePlanError("the plan of this run was changed after the run began.", where=str(folder))
    return Run(folder, plan, about)


def _other_version(about: JsonObject, folder: Path) -> UsageError:
    """The error for a run of a version with other column names, which this version cannot read."""
    tool = re.fullmatch(r"bulkedit \d{1,4}\.\d{1,4}\.\d{1,4}", str(about.get("tool")))
    other = tool[0] if tool else "another version of bulkedit"
    return UsageError(
        f"this run was made by {other}, and this is {__version__}.",
        where=str(folder),
        likely="bulkedit was updated after the run began. The columns of its plan and ledger have other names.",
        hint=f"Nothing was sent. Install {other} in a virtual environment of its own, and type there: "
        f"bulkedit status {shell_word(folder)}",
    )


def may_have_begun(run: Run) -> bool:
    """Whether a request may have been sent for a run: its anchor is gone, says so, or is that of another run."""
    try:
        require_own_anchor(run)
    except UnprovenLedgerError:
        return True
    return run.is_begun


def require_own_anchor(run: Run) -> None:
    """Raises UnprovenLedgerError if the anchor belongs to another run."""
    with contextlib.suppress(ReceivedError, OSError):  # opening the ledger reports other faults
        anchored = anchors.read(path := anchors.beside(run.ledger))
        if anchored is not None and anchored.mark.run != run.about.get("anchor", anchored.mark.run):
            raise UnprovenLedgerError(
                "this anchor belongs to another run.",
                where=str(path),
                likely="Files of two runs were copied into one folder.",
                hint="Nothing was sent. Put back the anchor and the ledger of this run.",
                state="unanchored",
            )
