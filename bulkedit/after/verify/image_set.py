"""Read one image set that a run has changed, and compare it with every applied edit.

The image set is polled (GetImageSet), and its latest version is read (GetImageSetMetadata). If an edit differs, the
versions in between are read too, to find out whether the run or a later writer made the difference. An archived image
set is read only on request, because reading moves it to the frequent tier for 30 days.

A study-wide call also changes image sets that its rows do not name. The plan names them if it was made with the study
known. Otherwise the study is searched for: at the image set that the call names, and at each difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, cast

import polars as pl

from bulkedit._concurrency import run_blocking
from bulkedit.after.verify.folder import KEPT
from bulkedit.client.responses import ImageSetState, Refusal, Refused
from bulkedit.edits.compare import Difference, difference, expected_changes, expected_value, keeps_former, value_in
from bulkedit.edits.edit import Action
from bulkedit.inventories.siblings import in_study_of
from bulkedit.runs.changes import in_study, once
from bulkedit.runs.other_runs import maker_of
from bulkedit.runs.own_versions import OwnVersions, own_versions

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from bulkedit._json import JsonObject
    from bulkedit.after.verify.folder import CheckedLine
    from bulkedit.client.reader import Reader
    from bulkedit.client.responses import ImageSet
    from bulkedit.edits.compare import ExpectedChange
    from bulkedit.options.verify import VerifyOptions
    from bulkedit.runs.changes import ChangeRow, Changes
    from bulkedit.runs.other_runs import OtherRun, OtherRuns

_SEEN_BACK: Final = 20  # versions that are read to find one with the edit, if the run's version is unknown
_PLACE: Final = [name for name in KEPT if name not in {"image_set_id", "versions", "primary"}]

LATER, OURS, UNKNOWN = "later writer", "run", "unknown"


@dataclass(slots=True)
class Checked:
    """The findings of one image set."""

    matching: int = 0
    superseded: int = 0
    siblings: int = 0  # checked image sets of the study that the run's edits do not name
    differences: list[JsonObject] = field(default_factory=list)
    kept: list[JsonObject] = field(default_factory=list)
    document: JsonObject | None = None  # metadata of the image set, for its study; None if it is gone

    def line(self, image_set_id: str) -> CheckedLine:
        """A line of the progress file."""
        return {
            "image_set_id": image_set_id,
            "matching": self.matching,
            "superseded": self.superseded,
            "siblings": self.siblings,
            "differences": self.differences,
            "kept": self.kept,
        }


@dataclass(frozen=True, slots=True)
class NotVerified:
    """An image set that was not read."""

    archived: bool = False  # reading it would move it to the frequent tier
    reason: str = ""  # error code, or `locked`


@dataclass(slots=True)
class _Own:
    """The versions of an image set that the run has made."""

    versions: OwnVersions
    by_call: dict[int, int]  # versions made by study-wide calls for another image set, by `completed_by`
    open: bool  # a call of the run has an unknown outcome

    def origin(self, version: int) -> str:
        """Who made a version."""
        if version in self.versions.made:
            return OURS
        return UNKNOWN if self.versions.unidentified or self.open else LATER

    def one_writer_since(self, version: int) -> str | None:
        """Who made all versions after this one; None if more than one writer may have."""
        several = self.versions.unidentified or self.open or any(made > version for made in self.versions.made)
        return None if several else LATER


class Checker:
    """Checks image sets, any number at once."""

    def __init__(
        self,
        changes: Changes,
        reader: Reader,
        options: VerifyOptions,
        *,
        named: Collection[str],
        chosen: Collection[str],
        undecided: Collection[str],
        archived: bool,
        others: OtherRuns | None = None,
    ) -> None:
        """``named``: the image sets that the run's edits name; ``chosen``: those of them that are checked.

        ``undecided``: those with a call of unknown outcome; ``archived``: also read archived ones; ``others``: other
        runs of the user, which may be the later writers.
        """
        self._changes = changes
        self._reader = reader
        self._options = options
        self._named = named
        self._chosen = chosen
        self._undecided = undecided
        self._archived = archived
        self._others = others
        self._study_wide = changes.study_wide()

    async def check(
        self, image_set_id: str, changes: Sequence[ChangeRow], members: Collection[str]
    ) -> Checked | NotVerified:
        """Compare an image set with its changes (rows of `bulkedit.runs.changes.CHANGES`).

        ``members``: the image sets of its lane, if the lane has study-wide calls.
        """
        checked = Checked()
        left_out = await self._one(_Asked(image_set_id, changes), checked)
        if left_out is not None:
            return left_out
        document, checked.document = checked.document, None
        wide = [change for change in changes if change["study_wide"] and change["lead"] == image_set_id]
        if wide and document is not None:
            study = await in_study_of(self._reader, image_set_id, document)
            others = [sibling for sibling in study if sibling not in members]
            left_out = await self._siblings(image_set_id, wide, others, checked)
        return left_out or checked

    async def _one(self, asked: _Asked, checked: Checked) -> NotVerified | None:
        image_set_id = asked.image_set_id
        found = await self._reader.completed(image_set_id)
        if _is_gone(found):
            edits = asked.edits()
            seen = [one for one in edits if not one.superseded]
            checked.superseded += len(edits) - len(seen)
            checked.differences += [self._difference(one, image_set_id, Difference.IMAGE_SET, LATER) for one in seen]
            return None
        if isinstance(found, Refused):
            return NotVerified(reason=found.code)
        if found.state is ImageSetState.LOCKED:
            return NotVerified(reason="locked")
        if found.archived and not self._archived:
            return NotVerified(archived=True)
        versions = _Versions(self._reader, image_set_id)
        checked.document = document = await versions.read(found.version)
        if document is None:
            return NotVerified(reason="the metadata cannot be read")
        if await self._differing(asked, found, versions):
            asked = await self._with_whole_study(asked, document)
        edits = asked.edits()
        differing = await self._differing(asked, found, versions)
        checked.superseded += sum(one.superseded for one in edits)
        checked.matching += sum(not one.superseded for one in edits) - len(differing)
        if differing:
            own = await self._own(asked)
            for one, differs in differing:
                checked.differences.append(await self._explained(one, differs, found, versions, own))
        if self._options.history:
            checked.kept += await self._history(found, edits, versions)
        return None

    async def _differing(
        self, asked: _Asked, found: ImageSet, versions: _Versions
    ) -> list[tuple[ExpectedChange[ChangeRow], Difference]]:
        """The edits that the image set should have and does not."""
        differing = []
        for one in asked.edits():
            if one.superseded:
                continue
            document = await versions.read(found.version) or {}
            made = _made(one)
            if one.whole and one.followed and made is not None:
                # the run has edited it after the revert, so the revert is compared with the version that it made
                document = await versions.read(made) or document
            if (differs := difference(one, document, await versions.target(one))) is not None:
                differing.append((one, differs))
        return differing

    async def _with_whole_study(self, asked: _Asked, document: JsonObject) -> _Asked:
        """Add the changes of study-wide calls of other lanes, if the plan was made without knowing the study."""
        if asked.calls is not None:
            return asked
        lanes = {change["lane"] for change in asked.changes}
        calls = self._study_wide.filter(pl.col("lane").is_in(list(lanes)))
        if calls.height == self._study_wide.height:
            return replace(asked, calls=calls)
        image_set_id = asked.image_set_id
        study = await in_study_of(self._reader, image_set_id, document)
        calls = self._calls_of([image_set_id, *study], lanes)
        others = calls.filter(~pl.col("open") & ~pl.col("lane").is_in(list(lanes)))
        if not others.height:
            return replace(asked, calls=calls)
        wide = await run_blocking(self._changes.of_calls, others)
        changes = in_study(image_set_id, asked.changes, once(wide))
        return _Asked(image_set_id, changes, {change["completed_by"] for change in asked.changes}, calls)

    def _calls_of(self, study: Collection[str], lanes: Collection[int] = ()) -> pl.DataFrame:
        """The study-wide calls of the run that name an image set of a study, or are in these lanes."""
        return self._study_wide.filter(pl.col("lead").is_in(list(study)) | pl.col("lane").is_in(list(lanes)))

    async def _own(self, asked: _Asked) -> _Own:
        calls = self._study_wide.clear() if asked.calls is None else asked.calls
        own = own_versions(asked.image_set_id, asked.changes)
        others = calls.filter(~pl.col("open") & (pl.col("lead") != asked.image_set_id))
        found: dict[int, int] = {}
        if others.height:
            listed = await self._reader.versions(asked.image_set_id)
            listed = [] if isinstance(listed, Refused) else listed
            found = await own.add_study_wide(listed, others.rows(named=True), self._reader.versions)
        open_ = asked.image_set_id in self._undecided or bool(calls.get_column("open").any())
        return _Own(own, found, open_)

    async def _explained(
        self, one: ExpectedChange[ChangeRow], differs: Difference, found: ImageSet, versions: _Versions, own: _Own
    ) -> JsonObject:
        document = await versions.read(found.version)
        origin, version = await self._origin(one, found, versions, own)
        other: OtherRun | None = None
        if version is not None and origin == LATER and self._others is not None:
            other = await maker_of(self._others, found.image_set_id, version, self._reader.versions)
        made = own.by_call.get(one.change["completed_by"])
        return self._difference(
            one,
            found.image_set_id,
            differs,
            origin,
            made=made,
            latest=found.version,
            document=document,
            other=other,
        )

    async def _origin(
        self, one: ExpectedChange[ChangeRow], found: ImageSet, versions: _Versions, own: _Own
    ) -> tuple[str, int | None]:
        """Who made a difference, the run or a later writer, and the first version with it if it is a later writer's."""
        made, target = _made(one), await versions.target(one)
        if made is None:
            made = own.by_call.get(one.change["completed_by"])
        certain = None
        if made is not None:
            if made >= found.version:
                return OURS, None
            if (then := await versions.read(made)) is None:
                return UNKNOWN, None
            if difference(one, then, target) is not None:
                return OURS, None
            certain = own.one_writer_since(made)
            if certain is not None and not await self._may_be_other_runs(found.image_set_id, made, found.version):
                return certain, None
        oldest = made if made is not None else max(found.version - _SEEN_BACK, 1)
        newer = found.version
        for number in range(found.version - 1, oldest - 1, -1):
            then = await versions.read(number)
            if then is None:
                continue
            if difference(one, then, target) is None:
                return certain or own.origin(newer), newer
            newer = number
        return certain or (OURS if oldest == 1 else UNKNOWN), None

    async def _may_be_other_runs(self, image_set_id: str, made: int, latest: int) -> bool:
        """Whether another run of the user may have made one of the versions after ``made``, up to ``latest``."""
        others = self._others
        if others is None:
            return False
        if await run_blocking(others.of_study, image_set_id):
            return True
        return any(others.maker(image_set_id, version) for version in range(made + 1, latest + 1))

    def _difference(
        self,
        one: ExpectedChange[ChangeRow],
        image_set_id: str,
        differs: Difference,
        origin: str,
        *,
        made: int | None = None,
        latest: int | None = None,
        document: JsonObject | None = None,
        other: OtherRun | None = None,
    ) -> JsonObject:
        values = self._options.include_values
        return {
            **_place_of(one),
            "image_set_id": image_set_id,
            "difference": str(differs),
            "origin": origin,
            "other_run": None if other is None else str(other),
            "version": one.change["version"] if one.change["lead"] == image_set_id else made,
            "latest": latest,
            "expected": expected_value(one) if values else None,
            "found": value_in(one, document) if values and document is not None else None,
        }

    async def _history(
        self, found: ImageSet, edits: list[ExpectedChange[ChangeRow]], versions: _Versions
    ) -> list[JsonObject]:
        """Per edit, the earlier versions that still have the replaced or removed value."""
        listed = await self._reader.versions(found.image_set_id)
        if isinstance(listed, Refused):
            return []
        kept: dict[int, list[int]] = {}
        for number in sorted(version.version for version in listed if version.version < found.version):
            document = await versions.read(number, keep=False)
            for position, one in enumerate(edits):
                made = _made(one)
                before = number < made if made is not None and one.change["version"] is not None else True
                if document is not None and before and _has_former(one, number, document):
                    kept.setdefault(position, []).append(number)
        return [
            {
                **_place_of(edits[position]),
                "image_set_id": found.image_set_id,
                "versions": [*numbers],
                "primary": found.primary,
            }
            for position, numbers in sorted(kept.items())
        ]

    async def _siblings(
        self, lead: str, wide: list[ChangeRow], others: Collection[str], checked: Checked
    ) -> NotVerified | None:
        """Check the image sets of the study that study-wide calls have changed and that are not in the lane.

        ``wide``: the changes by calls that name ``lead``; ``others``: these image sets. If rows of another lane name
        one of them, those rows are checked with that lane.
        """
        if not others:
            return None
        reported = {change["completed_by"] for change in wide}
        calls = self._calls_of([lead, *others], {change["lane"] for change in wide})
        beside = calls.filter(~pl.col("open") & ~pl.col("completed_by").is_in(list(reported)))
        more = await run_blocking(self._changes.of_calls, beside) if beside.height else []
        asked = once(sorted([*wide, *more], key=lambda change: change["edit"]))
        named = [sibling for sibling in others if sibling in self._named]
        own = await run_blocking(self._changes.of_image_sets, named)
        leads = set(calls.filter(~pl.col("open")).get_column("lead").to_list()) & {*self._chosen}
        for sibling in others:
            changes = in_study(sibling, own.get(sibling, ()), asked)
            left_out = await self._one(_Asked(sibling, changes, reported, calls), checked)
            if left_out is not None:
                return left_out
            # it is read for each lead, and counted for the first
            checked.siblings += sibling not in self._named and lead == min(leads, default=lead)
        return None


@dataclass(frozen=True, slots=True)
class _Asked:
    """The changes of one image set, and which of them are checked now. Contains values: never log it."""

    image_set_id: str
    changes: Sequence[ChangeRow]  # rows of `bulkedit.runs.changes.CHANGES`, in the order of the edit list
    reported: Collection[int] | None = None  # the calls whose edits are checked; None: all
    calls: pl.DataFrame | None = None  # the study-wide calls of its study (`STUDY_WIDE`); None: not searched for yet

    def edits(self) -> list[ExpectedChange[ChangeRow]]:
        """The edits that are checked."""
        found = expected_changes(self.changes)
        return [one for one in found if self.reported is None or one.change["completed_by"] in self.reported]


def _is_gone(found: ImageSet | Refused) -> bool:
    if isinstance(found, Refused):
        return found.kind in {Refusal.NOT_FOUND, Refusal.STALE}
    return found.state is ImageSetState.DELETED


def _made(one: ExpectedChange[ChangeRow]) -> int | None:
    """The first version with the edit; None for an image set that the call does not name."""
    change = one.change
    if change["lead"] != change["image_set_id"]:
        return None
    return change["version"] if change["version"] is not None else change["expected_version"]


def _place_of(one: ExpectedChange[ChangeRow]) -> JsonObject:
    """The columns of a change that a finding has too."""
    change = cast("JsonObject", one.change)
    return {name: change[name] for name in _PLACE}


def _has_former(one: ExpectedChange[ChangeRow], number: int, document: JsonObject) -> bool:
    if one.action is Action.REVERT:
        return number > (one.change["revert_to"] or 0)  # versions that the revert undid
    return keeps_former(one, document)


class _Versions:
    """The metadata of versions of one image set, each read once."""

    def __init__(self, reader: Reader, image_set_id: str) -> None:
        self._reader = reader
        self._image_set_id = image_set_id
        self._read: dict[int, JsonObject | None] = {}

    async def target(self, one: ExpectedChange[ChangeRow]) -> JsonObject | None:
        """The document of a revert's target version; None for other edits."""
        target = one.change["revert_to"]
        return await self.read(target) if one.whole and target is not None else None

    async def read(self, version: int, *, keep: bool = True) -> JsonObject | None:
        """The document of a version; None if the service refuses it."""
        if version in self._read:
            return self._read[version]
        answer = await self._reader.metadata(self._image_set_id, version)
        found = None if isinstance(answer, Refused) else answer
        if keep:
            self._read[version] = found
        return found
