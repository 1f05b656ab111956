"""Read an image set that a run has changed, and hold every applied edit against it.

One image set at a time is looked at (GetImageSet), read at its latest version (GetImageSetMetadata), and where an
edit is not as the run left it, read once more at the version that the run made: that tells whether the run's own
update did something else, or a later writer has been there. An archived image set is not read unless that is asked
for, because reading moves it to the frequent tier for 30 days.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import polars as pl
from anyio import to_thread

from bulkedit.edit import Action
from bulkedit.holding import Difference, difference, expected_value, held, keeps_former, value_in
from bulkedit.outcome import Refusal, Refused, State
from bulkedit.readback.saved import KEPT
from bulkedit.reading import siblings_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from bulkedit.client import Client
    from bulkedit.holding import Held
    from bulkedit.outcome import ImageSet
    from bulkedit.pacing import Pacing
    from bulkedit.planner import SavedPlan
    from bulkedit.readback.options import VerifyOptions
    from bulkedit.reading import Reader

ARCHIVED: Final = "ARCHIVE_INSTANT_ACCESS"
_SEEN_BACK: Final = 20  # versions of a sibling that are read to find one that held the edit
_PLACE: Final = [name for name in KEPT if name not in {"image_set_id", "versions", "primary"}]

LATER, OURS, UNKNOWN = "later writer", "run", "unknown"


@dataclass(slots=True)
class Checked:
    """What was found in one image set."""

    matching: int = 0
    superseded: int = 0
    siblings: int = 0  # image sets of the study that the plan does not name
    differences: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)

    def line(self, image_set_id: str) -> dict[str, Any]:
        """As a line of the progress file."""
        return {
            "image_set_id": image_set_id,
            "matching": self.matching,
            "superseded": self.superseded,
            "siblings": self.siblings,
            "differences": self.differences,
            "kept": self.kept,
        }


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image set that was not read."""

    archived: bool = False  # it would have moved to the frequent tier
    reason: str = ""  # error code, or `locked`


class Checker:
    """Checks image sets, any number at once."""

    def __init__(
        self,
        plan: SavedPlan,
        client: Client,
        reader: Reader,
        searches: Pacing,
        options: VerifyOptions,
        *,
        archived: bool,
    ) -> None:
        """``archived``: read archived image sets too."""
        self._plan = plan
        self._client = client
        self._reader = reader
        self._searches = searches
        self._options = options
        self._archived = archived

    async def check(
        self, image_set_id: str, changes: Sequence[Mapping[str, Any]], members: Mapping[int, Collection[str]]
    ) -> Checked | LeftOut:
        """Hold the changes (`bulkedit.changes.CHANGES`) of an image set against it.

        ``members``: of each study-wide call, the image sets that the plan's edits name.
        """
        checked = Checked()
        left_out = await self._one(image_set_id, held(changes), checked)
        if left_out is not None:
            return left_out
        wide = [change for change in changes if change["study_wide"] and change["lead"] == image_set_id]
        if wide and (left_out := await self._siblings(image_set_id, wide, members, checked)) is not None:
            return left_out
        return checked

    async def _one(self, image_set_id: str, edits: list[Held], checked: Checked) -> LeftOut | None:
        found = await self._reader.settled(image_set_id)
        seen = [one for one in edits if not one.superseded]
        if _is_gone(found):
            checked.superseded += len(edits) - len(seen)
            checked.differences += [self._difference(one, image_set_id, Difference.IMAGE_SET, LATER) for one in seen]
            return None
        if isinstance(found, Refused):
            return LeftOut(reason=found.code)
        if found.state is State.LOCKED:
            return LeftOut(reason="locked")
        if found.storage_tier == ARCHIVED and not self._archived:
            return LeftOut(archived=True)
        versions = _Versions(self._reader, image_set_id)
        document = await versions.read(found.version)
        if document is None:
            return LeftOut(reason="the metadata cannot be read")
        checked.superseded += len(edits) - len(seen)
        for one in seen:
            await self._hold(one, found, document, versions, checked)
        if self._options.history:
            checked.kept += await self._history(found, edits, versions)
        return None

    async def _hold(
        self, one: Held, found: ImageSet, document: dict[str, Any], versions: _Versions, checked: Checked
    ) -> None:
        made = _made(one)
        target = await versions.read(one.change["revert_to"]) if one.whole else None
        if one.whole and one.followed and made is not None:
            # what came after it was the run's own: the revert itself is seen in the version that it made
            document = await versions.read(made) or document
        differs = difference(one, document, target)
        if differs is None:
            checked.matching += 1
            return
        origin = await self._origin(one, found, versions, target)
        checked.differences.append(
            self._difference(one, found.image_set_id, differs, origin, latest=found.version, document=document)
        )

    async def _origin(self, one: Held, found: ImageSet, versions: _Versions, target: dict[str, Any] | None) -> str:
        """Whether the run's own update did not do as it was to, or somebody has been there since."""
        if (made := _made(one)) is None:
            return await self._origin_in_sibling(one, found, versions)
        if made >= found.version:
            return OURS
        then = await versions.read(made)
        if then is None:
            return UNKNOWN
        return LATER if difference(one, then, target) is None else OURS

    async def _origin_in_sibling(self, one: Held, found: ImageSet, versions: _Versions) -> str:
        """As `_origin`, where a study-wide call has made a version whose number the ledger does not have."""
        listed = await self._reader.versions(found.image_set_id)
        if isinstance(listed, Refused):
            return UNKNOWN
        older = [version.version for version in listed if version.version < found.version and not version.failed]
        for number in older[:_SEEN_BACK]:
            then = await versions.read(number)
            if then is not None and difference(one, then) is None:
                return LATER
        return OURS

    def _difference(
        self,
        one: Held,
        image_set_id: str,
        differs: Difference,
        origin: str,
        *,
        latest: int | None = None,
        document: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        values = self._options.include_values
        return {
            **{name: one.change[name] for name in _PLACE},
            "image_set_id": image_set_id,
            "difference": str(differs),
            "origin": origin,
            "version": one.change["version"] if one.change["lead"] == image_set_id else None,
            "latest": latest,
            "expected": expected_value(one) if values else None,
            "found": value_in(one, document) if values and document is not None else None,
        }

    async def _history(self, found: ImageSet, edits: list[Held], versions: _Versions) -> list[dict[str, Any]]:
        """The versions before each edit that still have what it has replaced or removed."""
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
                **{name: edits[position].change[name] for name in _PLACE},
                "image_set_id": found.image_set_id,
                "versions": numbers,
                "primary": found.primary,
            }
            for position, numbers in sorted(kept.items())
        ]

    async def _siblings(
        self, lead: str, wide: list[Mapping[str, Any]], members: Mapping[int, Collection[str]], checked: Checked
    ) -> LeftOut | None:
        """Check the image sets of the study that study-wide calls have changed and the plan does not name."""
        named = {other for change in wide for other in members.get(change["call"], ())} | {lead}
        for sibling in await siblings_of(self._client, self._reader, self._searches, lead):
            if sibling in named:
                continue
            touched = await to_thread.run_sync(self._touched, sibling)
            own = [{**change, "image_set_id": sibling} for change in wide if _key(change) not in touched]
            left_out = await self._one(sibling, held(own), checked)
            if left_out is not None:
                return left_out
            checked.siblings += 1
        return None

    def _touched(self, image_set_id: str) -> set[tuple[Any, ...]]:
        """What other rows of the plan change in an image set that study-wide calls change too."""
        own = self._plan.edits().filter(pl.col("image_set_id") == image_set_id)
        return {_key(edit) for edit in own.select("level", "attribute").collect().iter_rows(named=True)}


def _key(edit: Mapping[str, Any]) -> tuple[Any, ...]:
    return edit["level"], edit["attribute"]


def _is_gone(found: ImageSet | Refused) -> bool:
    if isinstance(found, Refused):
        return found.kind in {Refusal.NOT_FOUND, Refusal.STALE}
    return found.state is State.DELETED


def _made(one: Held) -> int | None:
    """The version in which the edit is to be seen first; None in an image set that the call does not name."""
    change = one.change
    if change["lead"] != change["image_set_id"]:
        return None
    made: int | None = change["version"] if change["version"] is not None else change["base"]
    return made


def _has_former(one: Held, number: int, document: dict[str, Any]) -> bool:
    if one.action is Action.REVERT:
        return bool(number > one.change["revert_to"])  # what it took back
    return keeps_former(one, document)


class _Versions:
    """The metadata of versions of one image set, each read once."""

    def __init__(self, reader: Reader, image_set_id: str) -> None:
        self._reader = reader
        self._image_set_id = image_set_id
        self._read: dict[int, dict[str, Any] | None] = {}

    async def read(self, version: int, *, keep: bool = True) -> dict[str, Any] | None:
        """The document of a version; None where the service will not give it."""
        if version in self._read:
            return self._read[version]
        answer = await self._reader.metadata(self._image_set_id, version)
        found = None if isinstance(answer, Refused) else answer
        if keep:
            self._read[version] = found
        return found
