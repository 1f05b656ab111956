"""One command that is right to repeat: it starts a run, continues it, or finds it done (`apply --resume-or-start`).

The repeated command must ask for what the run was started with: the same plan, or the same edit list with the same
options. The options of a list are not in its plan, because a condition may name patients. `run.json` has a keyed digest
of each.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from bulkedit._printable import shell_word
from bulkedit.errors import StalePlanError
from bulkedit.runs import folder as runs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bulkedit.options.listing import ListOptions
    from bulkedit.runs.summary import RunSummary

_DIGITS: Final = 32  # of each digest
# these change neither which edits are planned nor how
_FREE: Final = frozenset({"bad_rows", "quota", "raised_quota", "read_rate"})


def begun(folder: Path) -> runs.Run | None:
    """The run in a folder; None if nothing is there. Raises as `bulkedit.runs.folder.load`."""
    return runs.load(folder) if folder.exists() or folder.is_symlink() else None


def is_done(numbers: RunSummary) -> bool:
    """Whether nothing is left to do in a run, and its ledger proves it."""
    return numbers["ledger"] == "whole" and not numbers["unprocessed"] and not numbers["copy_steps_left"]


def digests(listing: ListOptions, key: bytes) -> dict[str, str]:
    """A digest of each option that decides what is planned, by the option's name. ``key``: that of the run."""
    return {
        name: hmac.new(key, json.dumps([name, value], default=str).encode(), hashlib.sha256).hexdigest()[:_DIGITS]
        for name, value in sorted(asdict(listing).items())
        if name not in _FREE
    }


def require_same_plan(run: runs.Run, digest: str, source: Path) -> None:
    """Raises StalePlanError if a run was started with another plan than that of the folder ``source``.

    ``digest``: of that plan.
    """
    if run.plan.digest != digest:
        raise _differs(
            run, source, f"Its digest is {digest[:16]}…, and that of the run's plan {run.plan.short_digest}…."
        )


def require_same_list(run: runs.Run, sha256: str, source: str, datastore_id: str | None, listing: ListOptions) -> None:
    """Raises StalePlanError if a run was not started with this edit list, data store and these options.

    ``sha256``: of the list. The list is not planned again: the rows that it has named are those of the run's plan.
    """
    recorded = run.about.get("list_options")
    if recorded is None:
        raise _differs(run, source, "The run was started with a plan, not with an edit list.")
    if datastore_id not in {None, run.plan.datastore_id}:
        raise _differs(run, source, f"The run is on data store {run.plan.datastore_id}.")
    if run.plan.manifest["list"]["sha256"] != sha256:
        raise _differs(run, source, "The edit list has changed since the run was started, or it is another one.")
    if names := _different(recorded, digests(listing, run.key)):
        options = ", ".join(f"`{name}`" for name in names)
        raise _differs(run, source, f"The run was started with other values of {options}.")


def _different(recorded: Mapping[str, str], present: Mapping[str, str]) -> list[str]:
    """The options with another value. Those that an earlier version did not have are not compared."""
    return [name for name, digest in present.items() if recorded.get(name, digest) != digest]


def _differs(run: runs.Run, source: str | Path, likely: str) -> StalePlanError:
    folder = shell_word(run.folder)
    return StalePlanError(
        f"the run {folder} was started with something else.",
        where=str(source),
        likely=likely,
        hint=f"Nothing was sent. To start another run: `run=DIR`\nTo continue that one: bulkedit resume {folder}",
    )
