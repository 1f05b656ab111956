"""Deletes whole runs and plans that are no longer needed.

A folder is deleted only if bulkedit has written all that is in it. It gets the name of a draft first, so a kill leaves
a draft, which the next command or `bulkedit clean` removes, and never half of a run.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bulkedit._files import is_draft, remove_folder
from bulkedit.errors import UsageError
from bulkedit.plans.saved import FILES, MANIFEST, SATISFIED
from bulkedit.runs.stored import UNREADABLE, Stored, StoredKind, read_again

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulkedit.runs.state import RunState

_UNITS: Final = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
_OF_PLAN: Final = "|".join(map(re.escape, (*FILES, SATISFIED, MANIFEST)))
_STAMP: Final = r"(-\d{8}-\d{6})?"
_ID: Final = r"\d{8}-\d{6}-[0-9a-f]{4}"
# paths inside a folder that bulkedit has written
_OURS: Final = {
    StoredKind.PLAN: re.compile(_OF_PLAN),
    StoredKind.RUN: re.compile(
        rf"run\.json|run\.lock|calls\.index|progress\.json|trail\.(csv|json)|run\.log(\.\d+)?"
        rf"|ledger{_STAMP}\.sqlite(-wal|-shm)?|ledger{_STAMP}\.anchor"
        rf"|plan/({_OF_PLAN}|messages\.jsonl)"
        rf"|verifications/{_ID}/(begun\.json|progress\.jsonl|verification\.json|(differences|kept)\.(parquet|csv))"
        rf"|checks/{_ID}/(check\.json|(findings|risks|undone|texts)\.(parquet|csv))"
    ),
}


def parse_age(text: str) -> float:
    """Read ``30d``, ``12h`` or ``2w`` as seconds. Raises UsageError."""
    match = re.fullmatch(r"(\d{1,6}) ?([hdw])", text.strip())
    if match is None:
        raise UsageError("`older_than` is not understood.", hint="Write it as 30d, 12h or 2w.")
    return int(match[1]) * _UNITS[match[2]]


def unneeded(found: Iterable[Stored], state: RunState, before: float) -> tuple[list[Stored], list[tuple[Stored, str]]]:
    """What can be deleted, runs first; and what is as old and cannot be deleted, with the reason.

    These are runs in this state, and plans that no other run applies, if nothing has happened to them since ``before``
    (epoch seconds).
    """
    old = [one for one in found if one.used is not None and one.used <= before and one.state != UNREADABLE]
    runs, kept = _divided(one for one in old if one.kind is StoredKind.RUN and one.state == state)
    gone = {one.folder for one in runs}
    others, also_kept = _divided(one for one in old if one.kind is StoredKind.PLAN and gone.issuperset(one.runs))
    return [*runs, *others], [*kept, *also_kept]


def _divided(found: Iterable[Stored]) -> tuple[list[Stored], list[tuple[Stored, str]]]:
    reasons = [(one, why_kept(one)) for one in found]
    return [one for one, why in reasons if why is None], [(one, why) for one, why in reasons if why is not None]


def not_ours(one: Stored) -> str | None:
    """A path in the folder that bulkedit has not written; None if there is none. Raises OSError."""
    for name, folders, files in os.walk(one.folder, onerror=_raised):
        inside = Path(name).relative_to(one.folder)
        links = [folder for folder in folders if (Path(name) / folder).is_symlink()]
        folders[:] = sorted(folder for folder in folders if not is_draft(folder))
        for file in sorted([*files, *links]):
            path = (inside / file).as_posix()
            linked = (Path(name) / file).is_symlink()
            if linked or not (is_draft(file) or _OURS[one.kind].fullmatch(path)):
                return path
    return None


def _raised(error: OSError) -> None:
    raise error


def why_kept(one: Stored) -> str | None:
    """Why this folder cannot be deleted; None if it can."""
    try:
        other = not_ours(one)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return None if other is None else f"it has a file that bulkedit has not written: {other}"


def delete(one: Stored, deleted: Iterable[Stored], now: float) -> str | None:
    """Delete a run or a plan. Returns why it was kept; None if it is gone.

    ``deleted``: those that are gone already. A plan is kept if a run that applies it was kept.
    """
    if not {other.folder for other in deleted}.issuperset(one.runs):
        return "a run that was kept applies it"
    if one.kind is StoredKind.RUN and read_again(one, now).state != one.state:
        return "its state has changed"
    return why_kept(one) or _deleted(one)


def _deleted(one: Stored) -> str | None:
    try:
        remove_folder(one.folder.absolute())  # which locks it, as a process does that works on a run
    except BlockingIOError:
        return "a process works on it"
    except OSError as error:
        return f"it cannot be deleted ({error.strerror})"
    return None
