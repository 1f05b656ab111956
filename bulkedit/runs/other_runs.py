"""Versions of image sets that other runs of this machine have made, as their ledgers prove.

To a run, every version that it has not made is another writer's. If the ledger of another run names the version, it is
known who that writer was. Runs are searched for beside the run, and in `runs/`. What cannot be read proves nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

import polars as pl

from bulkedit._concurrency import run_blocking
from bulkedit.client.responses import CallState, Refused
from bulkedit.errors import BulkeditError
from bulkedit.runs import folder as runs
from bulkedit.runs.ledger import Ledger
from bulkedit.runs.own_versions import made_with
from bulkedit.runs.parts import roots

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from bulkedit.runs.folder import Run
    from bulkedit.runs.own_versions import Versions

_RUNS: Final = Path("runs")
# another run in a text, with its name
NAMED: Final = r"(of yours(?: that reverts this one)?) \(([^()]*)\)"


@dataclass(frozen=True, slots=True)
class OtherRun:
    """Another run, as seen from a run."""

    folder: Path
    later: bool | None  # it was made after the run; None: at the same time
    reverts: bool  # its plan was made by a revert of the run

    def __str__(self) -> str:
        """The run in words: `a later run of yours (runs/b)`."""
        return f"{self.kind} ({self.folder})"

    @property
    def kind(self) -> str:
        """The same without its name."""
        if self.reverts:
            return "the run of yours that reverts this one"
        if self.later is None:
            return "another run of yours"
        return "a later run of yours" if self.later else "an earlier run of yours"


@dataclass(frozen=True, slots=True)
class StudyVersion:
    """A study-wide call of another run that has changed an image set which it does not name."""

    lead: str  # the image set that it names
    version: int  # that it made of that image set
    run: OtherRun


class OtherRuns:
    """The versions that other runs have made of some image sets. Ledgers are read at the first question; blocks."""

    def __init__(self, run: Run, image_sets: Collection[str]) -> None:
        """``image_sets``: those that are asked for."""
        self._run = run
        self._wanted = pl.Series(list(image_sets), dtype=pl.String).unique()
        self._lock = Lock()  # several threads may ask at once
        self._made: dict[tuple[str, int], OtherRun] | None = None
        self._of_study: dict[str, list[StudyVersion]] = defaultdict(list)

    def maker(self, image_set_id: str, version: int) -> OtherRun | None:
        """The run whose ledger proves that it made a version, or that its failed update left it; None if none does."""
        return self._read().get((image_set_id, version))

    def of_study(self, image_set_id: str) -> list[StudyVersion]:
        """Study-wide calls of other runs that changed an image set; their ledgers do not name the version of it."""
        self._read()
        return self._of_study.get(image_set_id, [])

    def _read(self) -> dict[tuple[str, int], OtherRun]:
        with self._lock:
            if self._made is None:
                made: dict[tuple[str, int], OtherRun] = {}
                for other in _beside(self._run) if self._wanted.len() else ():
                    try:
                        self._add(other, made)
                    except (BulkeditError, OSError, pl.exceptions.PolarsError):
                        continue  # an unreadable run proves nothing
                self._made = made
            return self._made

    def _add(self, other: Run, made: dict[tuple[str, int], OtherRun]) -> None:
        wanted = pl.col("image_set_id").is_in(self._wanted.implode())
        updates = pl.col("copy_step").is_null()
        calls = other.plan.calls().filter(wanted & updates).select("call", "image_set_id").collect()
        covered = self._covered(other, wanted)
        if not calls.height and not covered.height:
            return
        ages = other.begun_at, self._run.begun_at
        later = None if ages[0] == ages[1] else ages[0] > ages[1]
        known = OtherRun(other.folder, later, _reverts(other, self._run))
        with Ledger.read(other.ledger) as ledger:
            parts = roots(ledger.parts())
            named = dict(calls.iter_rows())
            leads = {call: (lead, of) for call, lead, of in covered.iter_rows()}
            numbers = {*named, *leads, *(part for part, root in parts.items() if root in named or root in leads)}
            for call, state, _, version, _ in ledger.version_events(numbers, reason=""):
                root = parts.get(call, call)
                if version is None:
                    continue
                if root in named:
                    made[named[root], version] = known
                if root in leads and state == CallState.APPLIED:
                    lead, members = leads[root]
                    for member in members:
                        self._of_study[member].append(StudyVersion(lead, version, known))

    @staticmethod
    def _covered(other: Run, wanted: pl.Expr) -> pl.DataFrame:
        """Study-wide calls of another run: call, lead, and the wanted image sets that they change without naming."""
        wide = other.plan.calls().filter("study_wide").select("call", lead="image_set_id")
        edits = other.plan.edits().filter(wanted).select("call", "image_set_id")
        found = wide.join(edits, on="call").filter(pl.col("lead") != pl.col("image_set_id"))
        return found.group_by("call", "lead").agg(pl.col("image_set_id").unique()).collect()


async def maker_of(others: OtherRuns, image_set_id: str, version: int, versions: Versions) -> OtherRun | None:
    """Which other run has made a version of an image set, also by a study-wide call that does not name the image set.

    ``versions``: reads the versions of an image set. Of such calls it takes the version that is closest in time
    (`bulkedit.runs.own_versions.made_with`). None if nothing proves it.
    """
    maker = await run_blocking(others.maker, image_set_id, version)
    if maker is not None:
        return maker
    for call in await run_blocking(others.of_study, image_set_id):
        listed, lead = await versions(image_set_id), await versions(call.lead)
        if isinstance(listed, Refused) or isinstance(lead, Refused):
            continue
        named = next((one for one in lead if one.version == call.version), None)
        found = None if named is None else made_with(named, listed, ())
        if found is not None and found.version == version:
            return call.run
    return None


def _beside(run: Run) -> Iterator[Run]:
    """The other runs of the same data store, beside a run and in `runs/` of the working folder, by name."""
    seen = {run.folder.resolve()}
    for place in dict.fromkeys((run.folder.parent, _RUNS)):
        try:
            folders = sorted(path.parent for path in place.glob("*/run.json"))
        except OSError:
            continue
        for folder in folders:
            if folder.is_symlink() or (real := folder.resolve()) in seen:
                continue
            seen.add(real)
            try:
                other = runs.load(folder, whole=False)
            except (BulkeditError, OSError):
                continue
            if other.plan.datastore_id == run.plan.datastore_id and other.ledger.exists():
                yield other


def _reverts(other: Run, run: Run) -> bool:
    made_of = other.plan.manifest["list"]
    return made_of["form"] == "revert" and made_of["sha256"] == run.plan.digest
