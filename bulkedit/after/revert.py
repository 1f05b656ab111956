"""Plan to undo a run: the plan brings each image set back to its version before the run.

A revert (UpdateImageSetMetadata with revertToVersionId) makes a new version with the content of an old one. So it
undoes every edit of the run in that image set, and every later change. An image set is only planned if the run made its
latest version. The planned call names that version, so the service refuses it after a later change. A study-wide call
is undone image set by image set, because revertToVersionId excludes includeStudyImageSets. This module sends reads
only; `apply` sends the plan.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import polars as pl

from bulkedit import plans
from bulkedit._concurrency import for_each, run_blocking
from bulkedit._files import new_id
from bulkedit._printable import shell_word
from bulkedit._progress import Phase, WorkProgress, ended_by
from bulkedit._version import __version__
from bulkedit._words import noun
from bulkedit.client.connect import connect
from bulkedit.client.reader import Reader, read_paces
from bulkedit.client.responses import FREQUENT, CallState, ImageSetState, Refusal, Refused
from bulkedit.dicom.dictionary import RULES
from bulkedit.edits import SET_ASIDE
from bulkedit.edits.edit import EDITS, Action
from bulkedit.errors import UsageError
from bulkedit.inventories.siblings import siblings_of
from bulkedit.options.revert import OnLaterChange, RevertOptions
from bulkedit.runs.changes import Changes
from bulkedit.runs.connection import connection_of
from bulkedit.runs.other_runs import OtherRuns, maker_of
from bulkedit.runs.own_versions import OwnVersions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from bulkedit._progress import StopSignal
    from bulkedit.client.contract import Client
    from bulkedit.client.pacing import Auto, Operation, Rate
    from bulkedit.client.reader import Clock
    from bulkedit.client.responses import ImageSet
    from bulkedit.options.where import Where
    from bulkedit.plans import SavedPlan
    from bulkedit.plans.counts import PlanAbout, PlanCounts
    from bulkedit.runs.folder import Run
    from bulkedit.runs.other_runs import OtherRun

_NAMED: Final = 5  # in an error
_KEPT_S: Final = 30 * 86_400.0  # cost-optimization: an update keeps an image set in the frequent tier for 30 days


@dataclass(frozen=True, slots=True)
class Target:
    """The revert of one image set."""

    image_set_id: str
    revert_to: int
    latest: int  # expected version of the call


@dataclass(frozen=True, slots=True)
class NotReverted:
    """Why an image set is not reverted."""

    image_set_id: str
    code: str
    problem: str
    hint: str | None = None
    changed: tuple[int, ...] = ()  # versions by other writers, if these are why


@dataclass(slots=True)
class Touched:
    """The run's changes to one image set."""

    own: OwnVersions = field(default_factory=OwnVersions)
    rows: set[int] = field(default_factory=set)
    edit_ids: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Reversal:
    """A plan that undoes a run, and what to know before it is applied."""

    plan: SavedPlan
    left_out: pl.DataFrame  # image sets of the run that are not reverted: image_set_id, code, problem, hint (String)
    study_wide_calls: int  # calls of the run that are undone
    study_wide_reverts: int  # planned calls that undo them
    # reverted image set of a study-wide call -> image sets of the same study that are not reverted
    inconsistent: dict[str, list[str]]
    other_rows: list[int]  # rows that were not chosen and are undone with the chosen ones
    unprocessed: int  # edits that a resume of the run would still apply


def decide(
    image_set_id: str,
    own: OwnVersions,
    listed: Sequence[ImageSet],
    on_later_change: OnLaterChange = OnLaterChange.SKIP,
    makers: Mapping[int, OtherRun | None] | None = None,
) -> Target | NotReverted:
    """Decide what to do with one image set.

    ``own``: the versions that the run made; ``listed``: all versions of the image set, newest first. A version of a
    failed update has the content of the version before, so it is neither a change nor a target, but it can be the
    latest version. Nor is a version a change that the run may have made without changing anything. An image set without
    another version of the run is left out. ``makers``: the other runs of the user that made such versions, as far
    as that is proven.
    """
    latest = listed[0]
    if latest.state is ImageSetState.DELETED:
        return NotReverted(image_set_id, "gone", "has been deleted.")
    if latest.state is ImageSetState.LOCKED:
        return NotReverted(image_set_id, "locked", "is locked by another writer.", "Plan the revert again later.")
    if not own.made:
        return NotReverted(
            image_set_id,
            "unclaimed",
            "was left out: it already had what the run asks for, and the next version can be the run's or another "
            "writer's.",
            "There is nothing to undo: both versions have the same content.",
        )
    expected_version = min(own.made.values())
    others = own.others(listed, expected_version)
    if others and on_later_change is not OnLaterChange.OVERWRITE:
        what = f"version {others[0]}" if len(others) == 1 else f"versions {', '.join(map(str, others))}"
        when = "since" if others[0] > max(own.made) else "while it ran"
        writers = dict.fromkeys((makers or {}).get(version) for version in others)
        who = " and ".join("another writer" if one is None else str(one) for one in writers)
        return NotReverted(
            image_set_id,
            "changed",
            f"has been changed by {who} {when} ({what}).",
            "To revert it anyway, and undo that change too: `on_later_change=overwrite`",
            changed=tuple(others),
        )
    before = next((v.version for v in listed if v.version <= expected_version and not v.failed), None)
    if before is None:
        return NotReverted(image_set_id, "no-version", f"has no version {expected_version} or earlier.")
    return Target(image_set_id, before, latest.version)


def tier_of(latest: ImageSet, epoch: float) -> str | None:
    """The storage tier by the latest version of an image set; None if unknown.

    ListImageSetVersions may omit the tier, but an image set updated in the last 30 days is in the frequent tier.
    """
    if latest.storage_tier is not None:
        return latest.storage_tier
    return FREQUENT if latest.updated_at is not None and epoch - latest.updated_at < _KEPT_S else None


async def revert(
    run: Run,
    client: Client,
    folder: Path,
    *,
    now: datetime,
    rates: Mapping[Operation, Rate | Auto],
    rows: Collection[int] | None = None,
    image_sets: Collection[str] | None = None,
    whole_image_sets: bool = False,
    on_later_change: OnLaterChange = OnLaterChange.SKIP,
    workers: int = 16,
    clock: Clock | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> Reversal:
    """Plan to undo a run, or some of its rows or image sets, and save the plan. Sends reads only.

    Sends ListImageSetVersions once per image set. For study-wide calls it also reads the metadata of the named image
    set and searches for its study.

    ``folder``: new folder for the plan. ``now``: time of planning, with a time zone. ``rates``: requests per second, by
    operation. ``rows``: rows of the edit list to undo. ``image_sets``: ids of the image sets to undo; by default all
    are. ``whole_image_sets``: also undo other rows of these image sets, because a revert undoes a whole version; else
    they raise UsageError. ``on_later_change``: what to do with image sets that another writer has changed since.
    ``workers``: image sets read at once. ``watch``: called with the numbers of image sets done and in total.

    Returns the saved plan; it has no calls if all image sets are left out. Raises UsageError for unknown rows or image
    sets and for ``OnLaterChange.FAIL``, and what `Reader` raises.
    """
    reader = Reader(client, rates, random.Random(), clock)  # noqa: S311 - of waits
    planner = _Reverting(run, reader, workers=workers, watch=watch)
    await run_blocking(planner.read)
    await planner.find_siblings()
    chosen, other_rows = planner.choose(rows, image_sets, whole_image_sets=whole_image_sets)
    decided = await planner.decide_all(chosen, on_later_change)
    return await run_blocking(lambda: planner.plan(decided, folder, now, on_later_change, other_rows))


async def revert_run(
    run: Run,
    options: RevertOptions | None = None,
    *,
    folder: Path | None = None,
    where: Where | None = None,
    progress: Callable[[WorkProgress], None] | None = None,
    stop: StopSignal | None = None,
) -> Reversal:
    """Open a connection and plan to undo a run with `revert`. Sends reads only.

    ``options``: rows, image sets, rates and so on. ``folder``: new folder for the plan, by default `plans/<id>`.
    ``where``: connection settings that differ from the run's. ``progress``: called on the caller's task after every
    image set; it must not block. ``stop``: ends the work. Raises UsageError for invalid options, StoppedError after
    ``stop`` (nothing is planned then), and what `connect` and `revert` raise.

    Example: ``made = await revert_run(run, RevertOptions(rows=[5, 6]))``; then review and apply ``made.plan``.
    """
    options = options or RevertOptions()
    rates = read_paces(options.read_rate)
    now = datetime.now(UTC)
    connection = connection_of(run, where)

    def watch(done: int, of: int) -> None:
        if progress is not None:
            progress(WorkProgress(phase=Phase.READING, done=done, total=of))

    async with ended_by(stop, kept="Nothing was planned."), connect(connection) as client:
        return await revert(
            run,
            client,
            folder or Path("plans") / new_id(now),
            now=now,
            rates=rates,
            rows=options.rows,
            image_sets=options.image_sets,
            whole_image_sets=options.whole_image_sets,
            on_later_change=options.on_later_change,
            workers=options.workers,
            watch=watch,
        )


class _Reverting:
    """Plans one revert."""

    def __init__(self, run: Run, reader: Reader, *, workers: int, watch: Callable[[int, int], None] | None) -> None:
        self._run = run
        self._reader = reader
        self._workers = workers
        self._watch = watch or (lambda _done, _of: None)
        self._touched: dict[str, Touched] = {}
        self._undecided: set[str] = set()
        self._unprocessed = 0
        self._promoted: dict[str, str] = {}  # promoted image set -> its original
        self._wide: list[dict[str, Any]] = []  # rows of `STUDY_WIDE` with two more fields: rows, members
        self._listed: dict[str, list[ImageSet] | Refused] = {}
        self._others = OtherRuns(run, ())

    def read(self) -> None:
        """Read the ledger. Blocks."""
        changes = Changes(self._run)
        self._promoted = changes.promoted
        for image_set_id, row in changes.undecided().iter_rows():
            self._undecided.add(image_set_id)
            self._touched.setdefault(image_set_id, Touched()).rows.add(row)
        self._unprocessed = changes.unprocessed()
        wide = changes.study_wide().rows(named=True)
        calls = {call["completed_by"]: {**call, "rows": set(), "members": {call["lead"]}} for call in wide}
        self._wide = list(calls.values())
        applied = changes.all().filter(pl.col("state") == str(CallState.APPLIED))
        names = ("image_set_id", "lead", "completed_by", "expected_version", "version", "row", "edit_id")
        for row in applied.select(names).unique(maintain_order=True).collect().iter_rows(named=True):
            touched = self._touched.setdefault(row["image_set_id"], Touched())
            touched.rows.add(row["row"])
            if row["edit_id"] is not None:
                touched.edit_ids.add(row["edit_id"])
            if row["lead"] == row["image_set_id"]:
                touched.own.add(row["expected_version"], row["version"])
            if (call := calls.get(row["completed_by"])) is not None:
                call["rows"].add(row["row"])
                call["members"].add(row["image_set_id"])
        for call in self._wide:
            # the call may name an image set that its rows do not name, and has changed it too
            lead = self._touched.setdefault(call["lead"], Touched())
            lead.rows |= call["rows"]
            if call["open"]:
                self._undecided.add(call["lead"])
            else:
                lead.own.add(call["expected_version"], call["version"])

    async def find_siblings(self) -> None:
        """Find the other image sets that study-wide calls have changed, and their versions."""
        reached: dict[str, list[dict[str, Any]]] = {}
        for call in self._wide:
            call["members"] |= set(await siblings_of(self._reader, call["lead"]))
            for sibling in sorted(call["members"] - {call["lead"]}):
                self._touched.setdefault(sibling, Touched()).rows.update(call["rows"])
                if call["open"]:
                    self._undecided.add(sibling)
                else:
                    reached.setdefault(sibling, []).append(call)
        for sibling, calls in reached.items():
            listed = await self._versions(sibling)
            own = self._touched[sibling].own
            await own.add_study_wide([] if isinstance(listed, Refused) else listed, calls, self._versions)

    async def _versions(self, image_set_id: str) -> list[ImageSet] | Refused:
        if image_set_id not in self._listed:
            self._listed[image_set_id] = await self._reader.versions(image_set_id)
        return self._listed[image_set_id]

    def choose(
        self, rows: Collection[int] | None, image_sets: Collection[str] | None, *, whole_image_sets: bool
    ) -> tuple[list[str], list[int]]:
        """The image sets to revert, and the rows that are undone with them without being chosen."""
        if not self._touched:
            raise UsageError(
                "this run has applied nothing that could be undone.",
                where=str(self._run.folder),
                hint=f"To see its state: bulkedit status {shell_word(self._run.folder)}",
            )
        if image_sets is not None:
            unknown = sorted(set(image_sets) - self._touched.keys())
            if unknown:
                raise UsageError(f"the run has not changed {_some(unknown, 'image set')}.")
            return [one for one in self._touched if one in set(image_sets)], []
        if rows is None:
            return list(self._touched), []
        wanted = set(rows)
        chosen = [one for one, touched in self._touched.items() if touched.rows & wanted]
        along = sorted({row for one in chosen for row in self._touched[one].rows} - wanted)
        missing = sorted(wanted - {row for touched in self._touched.values() for row in touched.rows})
        if missing:
            raise UsageError(f"the run has applied nothing of {_some(missing, 'row')}.")
        if along and not whole_image_sets:
            raise UsageError(
                f"{_some(along, 'other row')} changed the same image sets: a revert undoes a whole version, and "
                f"{'it' if len(along) == 1 else 'they'} would be undone too.",
                hint=f"Undo all of them: `rows={ranges(sorted(wanted | set(along)))}`, or `whole_image_sets=True`.\n"
                "To undo only some of them, apply an edit list with the earlier values.",
            )
        return chosen, along

    async def decide_all(self, chosen: Sequence[str], on_later_change: OnLaterChange) -> list[Target | NotReverted]:
        """Decide what to do with each image set."""
        found: dict[str, Target | NotReverted] = {}
        self._others = OtherRuns(self._run, chosen)

        async def one(image_set_id: str) -> None:
            found[image_set_id] = await self._decide(image_set_id, on_later_change)
            self._watch(len(found), len(chosen))

        await for_each(one, chosen, at_once=self._workers)
        return [found[image_set_id] for image_set_id in chosen]

    async def _decide(self, image_set_id: str, on_later_change: OnLaterChange) -> Target | NotReverted:
        if image_set_id in self._undecided:
            return NotReverted(
                image_set_id,
                "outcome-unknown",
                "has a call of the run with an unknown outcome.",
                f"Complete it first: bulkedit resume {shell_word(self._run.folder)}",
            )
        if image_set_id in self._promoted:
            return NotReverted(
                image_set_id,
                "via-copy",
                f"is a promoted copy of {self._promoted[image_set_id]}, so it has no version from before the run.",
                "If the original was kept, delete the new image set; a deleted original cannot be restored.",
            )
        own = self._touched[image_set_id].own
        if own.unidentified:
            return NotReverted(
                image_set_id, "unknown-version", "was changed by a study-wide call in an unknown version."
            )
        listed = await self._versions(image_set_id)
        if not isinstance(listed, Refused) and listed:
            decided = decide(image_set_id, own, listed, on_later_change)
            changed = decided.changed if isinstance(decided, NotReverted) else ()
            makers = {one: await maker_of(self._others, image_set_id, one, self._versions) for one in changed}
            return decide(image_set_id, own, listed, on_later_change, makers) if makers else decided
        if isinstance(listed, Refused) and listed.kind is not Refusal.NOT_FOUND:
            return NotReverted(image_set_id, "unread", f"could not be read ({listed.code}).")
        return NotReverted(image_set_id, "gone", "does not exist any more.")

    def plan(
        self,
        decided: list[Target | NotReverted],
        folder: Path,
        now: datetime,
        on_later_change: OnLaterChange,
        other_rows: list[int],
    ) -> Reversal:
        """Write the plan. Blocks."""
        targets = [one for one in decided if isinstance(one, Target)]
        left_out = [one for one in decided if isinstance(one, NotReverted)]
        changed = [one.image_set_id for one in left_out if one.code == "changed"]
        if changed and on_later_change is OnLaterChange.FAIL:
            raise UsageError(
                f"{_some(changed, 'image set')} {'has' if len(changed) == 1 else 'have'} been changed by another "
                "writer; nothing was planned.",
                hint="To leave them out: `on_later_change=skip`",
            )
        rules = RULES["2026"]
        settings = plans.PlanningSettings(rules=rules, payload_limit=rules.payload_limit)
        made = plans.make(self._edits(targets), settings)
        aside = self._set_aside(left_out)
        about: PlanAbout = {
            "tool": f"bulkedit {__version__}",
            "created": now.isoformat(timespec="seconds"),
            "datastore_id": self._run.plan.datastore_id,
            "list": {
                "name": str(self._run.folder),
                "sha256": self._run.plan.digest,
                "form": "revert",
                "rows": len({row for one in targets for row in self._touched[one.image_set_id].rows}),
            },
            "settings": {
                "service_version": rules.version,
                "payload_limit": settings.payload_limit,
                "force": False,
                "merge": settings.merge,
                "study_wide": str(plans.StudyWide.OFF),  # the service has no study-wide revert
            },
            "counts": cast(
                "PlanCounts",
                {
                    **plans.estimate(made, inventory=self._tiers(targets, now)).as_json(),
                    "rows": len(decided),
                    "set_aside": len(left_out),
                    "skipped": 0,
                    "empty": 0,
                    "searches": 0,
                    "edits_of_unknown_study": 0,
                },
            ),
        }
        saved = plans.save(plans.Plan(made.calls, made.edits, aside), folder, about)
        back = {one.image_set_id for one in targets}
        undone = [call for call in self._wide if not call["open"] and call["members"] & back]
        return Reversal(
            plan=saved,
            left_out=pl.DataFrame(
                [(one.image_set_id, one.code, one.problem, one.hint) for one in left_out],
                schema=dict.fromkeys(("image_set_id", "code", "problem", "hint"), pl.String()),
                orient="row",
            ),
            study_wide_calls=len(undone),
            study_wide_reverts=len({one for call in undone for one in call["members"] & back}),
            inconsistent={
                min(call["members"] & back): sorted(call["members"] - back) for call in undone if call["members"] - back
            },
            other_rows=other_rows,
            unprocessed=self._unprocessed,
        )

    def _tiers(self, targets: list[Target], now: datetime) -> pl.DataFrame:
        """The storage tiers: columns image_set_id and storage_tier, String; null if unknown."""
        epoch, tiers = now.timestamp(), []
        for one in targets:
            listed = self._listed[one.image_set_id]
            tiers.append((one.image_set_id, None if isinstance(listed, Refused) else tier_of(listed[0], epoch)))
        return pl.DataFrame(tiers, schema={"image_set_id": pl.String(), "storage_tier": pl.String()}, orient="row")

    def _edits(self, targets: list[Target]) -> pl.DataFrame:
        """One revert per image set: columns `EDITS` and image_set_id, sorted by the first row that it undoes."""
        edits = []
        for one in targets:
            touched = self._touched[one.image_set_id]
            edits.append(
                {
                    "row": min(touched.rows, default=0),
                    "edit_id": next(iter(touched.edit_ids))
                    if len(touched.rows) == len(touched.edit_ids) == 1
                    else None,
                    "selector": "image_set_id",
                    "key": one.image_set_id,
                    "action": str(Action.REVERT),
                    "revert_to": one.revert_to,
                    "force": False,
                    "unchecked": False,
                    "version": one.latest,
                    "study_wide": False,
                }
            )
        frame = pl.DataFrame(edits, schema=EDITS).with_columns(image_set_id=pl.col("key"))
        return frame.sort("row", "image_set_id")

    def _set_aside(self, left_out: list[NotReverted]) -> pl.DataFrame:
        lines = [
            (
                min(self._touched[one.image_set_id].rows, default=0),
                None,
                one.code,
                f"image set {one.image_set_id} {one.problem}",
                None,
                one.hint,
            )
            for one in left_out
        ]
        return pl.DataFrame(lines, schema=SET_ASIDE, orient="row").sort("row", maintain_order=True)


def _some(things: Sequence[object], one: str) -> str:
    """`row 5`, `rows 5, 6 and 3 more`."""
    shown = ", ".join(map(str, things[:_NAMED]))
    more = f" and {len(things) - _NAMED:,} more" if len(things) > _NAMED else ""
    return f"{noun(len(things), one)} {shown}{more}"


def ranges(numbers: Sequence[int]) -> str:
    """Sorted numbers in the form of --rows: `2-5,9`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)
