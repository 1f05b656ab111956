"""Finds runs and plans in folders, and tells what they are and what they take."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

from bulkedit import _received as received
from bulkedit import plans
from bulkedit._files import is_draft
from bulkedit._log import iso
from bulkedit.errors import BulkeditError
from bulkedit.plans.saved import FILES
from bulkedit.runs import folder as runs
from bulkedit.runs.status import RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_RUN: Final = "run.json"


class StoredKind(StrEnum):
    """What a folder holds."""

    RUN = "run"
    PLAN = "plan"


class PlanUse(StrEnum):
    """The state of a plan."""

    APPLIED = "applied"  # a run among those that were found has applied it
    NOT_APPLIED = "not applied"  # none has


UNREADABLE: Final = "unreadable"


class StoredLine(TypedDict):
    """The JSON line of type ``stored``."""

    type: str
    kind: str  # a `StoredKind`
    folder: str
    state: str
    since: str | None
    created: str | None
    edits: int | None
    percent: int | None
    bytes: int
    runs: list[str]  # of a plan
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A run or a plan."""

    kind: StoredKind
    folder: Path
    state: str  # a `RunState` or a `PlanUse`, or `UNREADABLE`
    bytes: int  # on the disk
    created: float | None = None  # epoch seconds
    since: float | None = None  # epoch seconds; of the state
    edits: int | None = None
    percent: int | None = None  # of a run: edits that have an outcome
    digest: str | None = None  # of the plan
    runs: tuple[Path, ...] = ()  # of a plan: those among the found ones that apply it
    problem: str | None = None  # why it cannot be read

    @property
    def used(self) -> float | None:
        """When it was last worked on, as far as that is known; epoch seconds."""
        return max((at for at in (self.created, self.since) if at is not None), default=None)

    def as_json(self) -> StoredLine:
        """The line of type ``stored``."""
        return {
            "type": "stored",
            "kind": str(self.kind),
            "folder": str(self.folder),
            "state": self.state,
            "since": None if self.since is None else iso(self.since),
            "created": None if self.created is None else iso(self.created),
            "edits": self.edits,
            "percent": self.percent,
            "bytes": self.bytes,
            "runs": list(map(str, self.runs)),
            "problem": self.problem,
        }


def stored(places: Iterable[Path], now: float, *, below: bool) -> list[Stored]:
    """The runs and plans that are, or are in, these folders; the newest first. Links are not followed.

    ``below``: also in all folders below them. ``now``: epoch seconds. Blocks.
    """
    found = _below(places) if below else _inside(places)
    every = [_read(kind, folder, now) for folder, kind in found.items()]
    every = [_with_runs(one, every) if one.kind is StoredKind.PLAN else one for one in every]
    return sorted(every, key=lambda one: (-(one.used or 0.0), str(one.folder)))


def read_again(run: Stored, now: float) -> Stored:
    """A run as it is now."""
    return _read(run.kind, run.folder, now)


def _below(places: Iterable[Path]) -> dict[Path, StoredKind]:
    found: dict[Path, StoredKind] = {}
    for place in places:
        for name, folders, _ in os.walk(place):
            folder = Path(name)
            if (kind := _kind(folder)) is not None:
                found[folder] = kind
                folders.clear()
            folders[:] = sorted(one for one in folders if not is_draft(one))
    return found


def _inside(places: Iterable[Path]) -> dict[Path, StoredKind]:
    return {folder: kind for folder in _children(places) if (kind := _kind(folder)) is not None}


def _children(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            with os.scandir(place) as entries:
                names = sorted(one.name for one in entries if one.is_dir(follow_symlinks=False))
            yield from (place / name for name in names if not is_draft(name))


def _kind(folder: Path) -> StoredKind | None:
    if received.there(folder / _RUN):
        return StoredKind.RUN
    # result files have a manifest too
    plan = received.there(folder / plans.MANIFEST) and any(received.there(folder / name) for name in FILES)
    return StoredKind.PLAN if plan else None


def _read(kind: StoredKind, folder: Path, now: float) -> Stored:
    size = size_of(folder)
    try:
        return _read_run(folder, size, now) if kind is StoredKind.RUN else _read_plan(folder, size)
    except BulkeditError as error:
        return Stored(kind=kind, folder=folder, state=UNREADABLE, bytes=size, problem=error.what)
    except OSError as error:
        problem = error.strerror or type(error).__name__
        return Stored(kind=kind, folder=folder, state=UNREADABLE, bytes=size, problem=problem)


def _read_run(folder: Path, size: int, now: float) -> Stored:
    status = RunStatus.of(runs.load(folder, whole=False), now)
    return Stored(
        kind=StoredKind.RUN,
        folder=folder,
        state=str(status.condition.state),
        bytes=size,
        created=status.run.begun_at,
        since=status.condition.since,
        edits=status.summary["edits"],
        percent=status.percent,
        digest=status.run.plan.digest,
    )


def _read_plan(folder: Path, size: int) -> Stored:
    plan = plans.load_manifest(folder)
    return Stored(
        kind=StoredKind.PLAN,
        folder=folder,
        state=str(PlanUse.NOT_APPLIED),
        bytes=size,
        created=_epoch(plan.created),
        edits=plan.counts["edits"],
        digest=plan.digest,
    )


def _with_runs(plan: Stored, every: Iterable[Stored]) -> Stored:
    used = [one for one in every if one.kind is StoredKind.RUN and plan.digest and one.digest == plan.digest]
    if not used:
        return plan
    return replace(plan, state=str(PlanUse.APPLIED), runs=tuple(one.folder for one in used))


def _epoch(time: str | None) -> float | None:
    """An ISO time as epoch seconds, in UTC if it has no zone; None for any other text."""
    try:
        found = datetime.fromisoformat(time or "")
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def size_of(folder: Path) -> int:
    """The bytes that a folder takes on the disk, with all folders below it."""
    total = 0
    for name, _, files in os.walk(folder):
        for file in files:
            try:
                total += (Path(name) / file).lstat().st_blocks * 512
            except OSError:  # it was removed in the meantime
                continue
    return total
