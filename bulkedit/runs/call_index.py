"""The file `calls.index` of a run: the number of edits of each call, and its step if its image set is copied.

`status` reads it instead of the plan's frames, because importing polars takes longer than the rest of `status`. Five
bytes per call: first the numbers of edits (four bytes each, little endian), then the steps (one byte each, 0: none).
"""

from __future__ import annotations

import hashlib
import os
import sys
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bulkedit import _received as received
from bulkedit._files import open_private
from bulkedit.errors import ReceivedError
from bulkedit.plans import CopyStep

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit.plans import SavedPlan

NAME: Final = "calls.index"
STEP: Final = {step: code for code, step in enumerate(CopyStep, 1)}
_BATCH: Final = 65_536  # calls


@dataclass(frozen=True, slots=True)
class CallIndex:
    """By number of the call: how many edits it carries, and its code in `STEP` (0: the image set is not copied)."""

    edits: array[int]
    steps: bytes


def of_plan(plan: SavedPlan) -> CallIndex:
    """The index of a plan that was loaded with its frames."""
    edits, steps = array("I"), bytearray()
    for part in plan.calls().select("edits", "copy_step").collect().iter_slices(_BATCH):
        edits.extend(part["edits"].to_list())
        steps.extend([0 if step is None else STEP[CopyStep(step)] for step in part["copy_step"].to_list()])
    return CallIndex(edits, bytes(steps))


def write(index: CallIndex, path: Path) -> str:
    """Write a new file. Returns its SHA-256 as 64 hex digits. Raises OSError."""
    content = _swapped(index.edits).tobytes() + index.steps
    with open_private(path) as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()


def read(path: Path, sha256: str, calls: int) -> CallIndex:
    """Read the file. ``calls``: number of calls in the plan. Raises ReceivedError if its digest is another."""
    try:
        with received.opened(path) as file:
            # the size is checked first: the file may be hostile
            content = file.read() if os.fstat(file.fileno()).st_size == 5 * calls else b""
    except OSError as error:
        raise ReceivedError(f"this file cannot be read ({error.strerror}).", where=str(path), hint=_HINT) from error
    if len(content) != 5 * calls or hashlib.sha256(content).hexdigest() != sha256:
        raise ReceivedError("this is not the file that was written.", where=str(path), hint=_HINT)
    edits = array("I", content[: 4 * calls])
    return CallIndex(_swapped(edits), content[4 * calls :])


_HINT: Final = f"Put {NAME} back from a backup of the run."


def _swapped(edits: array[int]) -> array[int]:
    """Convert to or from little endian."""
    if sys.byteorder == "little":
        return edits
    other = array("I", edits)
    other.byteswap()
    return other
