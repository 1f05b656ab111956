"""Which versions of an image set a run has made, also by study-wide calls that name another image set of its study.

The ledger has the version that each call made of the image set that it names. A study-wide call changes the other
primary image sets of the study too: they are found by a search, and the versions that it made of them by their times.
Verification and the planning of a revert both ask here, so that they agree on what another writer has made. This is no
fold of events: it joins what `bulkedit.runs.changes` tells with the versions that the service lists.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bulkedit.client.responses import CallState, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from bulkedit.client.responses import ImageSet

    Versions = Callable[[str], Awaitable[list[ImageSet] | Refused]]

_TOGETHER_S: Final = 120.0  # versions that one study-wide call has made are this close in time


@dataclass(slots=True)
class OwnVersions:
    """What a run has made of one image set."""

    made: dict[int, int] = field(default_factory=dict)  # version that a call made -> its expected_version
    # Versions that an applied call or another writer has made, which cannot be told: both hold what the one before
    # holds (`bulkedit.runs`: a lost answer, and an image set that already read as the call would leave it).
    unclaimed: set[int] = field(default_factory=set)
    untold: bool = False  # a study-wide call has changed the image set in a version that cannot be told

    def add(self, expected_version: int | None, version: int | None) -> None:
        """An applied call that names this image set."""
        if version is not None and expected_version is not None:
            self.made[version] = expected_version
        elif expected_version is not None:
            self.unclaimed.add(expected_version + 1)

    def others(self, listed: Iterable[ImageSet], since: int) -> list[int]:
        """Versions after ``since`` that other writers have made. Those of failed updates change nothing."""
        return sorted(
            one.version
            for one in listed
            if one.version > since and not one.failed and one.version not in self.made.keys() | self.unclaimed
        )

    async def add_study_wide(
        self, listed: Sequence[ImageSet], calls: Iterable[Mapping[str, Any]], versions: Versions
    ) -> dict[int, int]:
        """Applied study-wide calls that name other image sets: rows of `bulkedit.runs.changes.STUDY_WIDE`.

        ``listed``: the versions of this image set; ``versions``: reads those of another. Returns the version that each
        call has made, by ``completed_by``, of the calls of which it can be told.
        """
        found: dict[int, int] = {}
        for call in calls:
            lead = await versions(call["lead"]) if call["version"] is not None else []
            named = [] if isinstance(lead, Refused) else [one for one in lead if one.version == call["version"]]
            version = made_with(named[0], listed, self.made.keys() | self.unclaimed) if named else None
            if version is None:
                self.untold = True
            else:
                self.made[version.version] = version.version - 1
                found[call["completed_by"]] = version.version
        return found


def own_versions(image_set_id: str, changes: Iterable[Mapping[str, Any]]) -> OwnVersions:
    """The versions that calls have made which name the image set. ``changes``: rows of `CHANGES`."""
    own = OwnVersions()
    for change in changes:
        if change["lead"] == image_set_id and change["state"] == CallState.APPLIED:
            own.add(change["expected_version"], change["version"])
    return own


def made_with(lead: ImageSet, listed: Sequence[ImageSet], taken: Collection[int]) -> ImageSet | None:
    """The version of a sibling that the study-wide call made which made version ``lead`` of the image set it named.

    The service changes all image sets of a study in one stroke, so it is the version nearest in time; ``taken`` are
    those that calls of the run made otherwise. None if no version is near.
    """
    if lead.updated_at is None:
        return None
    near = [
        (abs(version.updated_at - lead.updated_at), version.version, version)
        for version in listed
        if version.updated_at is not None and not version.failed and version.version > 1
        if version.version not in taken and abs(version.updated_at - lead.updated_at) <= _TOGETHER_S
    ]
    return min(near)[2] if near else None
