"""The versions of an image set that a run has made, including those by study-wide calls for other image sets.

The ledger has the version that each call made of the image set that it names. A study-wide call also changes the other
primary image sets of the study. They are found by a search, and their versions by time. `verify` and `revert` both use
this module, so that they agree on what another writer has made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bulkedit.client.responses import CallState, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from bulkedit.client.responses import ImageSet

    Versions = Callable[[str], Awaitable[list[ImageSet] | Refused]]

_TOGETHER_S: Final = 120.0  # the versions made by one study-wide call are at most this far apart


@dataclass(slots=True)
class OwnVersions:
    """The versions of one image set that a run has made."""

    made: dict[int, int] = field(default_factory=dict)  # version made by a call -> its expected version
    # Versions by an applied call or by another writer: after a lost answer, and with the content of the version before,
    # nothing shows which.
    unclaimed: set[int] = field(default_factory=set)
    unidentified: bool = False  # a study-wide call has made an unknown version of the image set

    def add(self, expected_version: int | None, version: int | None) -> None:
        """Add an applied call that names this image set."""
        if version is not None and expected_version is not None:
            self.made[version] = expected_version
        elif expected_version is not None:
            self.unclaimed.add(expected_version + 1)

    def others(self, listed: Iterable[ImageSet], since: int) -> list[int]:
        """Versions after ``since`` by other writers, without those of failed updates, which change nothing."""
        return sorted(
            one.version
            for one in listed
            if one.version > since and not one.failed and one.version not in self.made.keys() | self.unclaimed
        )

    async def add_study_wide(
        self, listed: Sequence[ImageSet], calls: Iterable[Mapping[str, Any]], versions: Versions
    ) -> dict[int, int]:
        """Add applied study-wide calls that name other image sets: rows of `bulkedit.runs.changes.STUDY_WIDE`.

        ``listed``: the versions of this image set; ``versions``: reads those of another. Returns the version made by
        each call, by ``completed_by``, if it can be identified.
        """
        found: dict[int, int] = {}
        for call in calls:
            lead = await versions(call["lead"]) if call["version"] is not None else []
            named = [] if isinstance(lead, Refused) else [one for one in lead if one.version == call["version"]]
            version = made_with(named[0], listed, self.made.keys() | self.unclaimed) if named else None
            if version is None:
                self.unidentified = True
            else:
                self.made[version.version] = version.version - 1
                found[call["completed_by"]] = version.version
        return found


def own_versions(image_set_id: str, changes: Iterable[Mapping[str, Any]]) -> OwnVersions:
    """The versions made by calls that name the image set. ``changes``: rows of `bulkedit.runs.changes.CHANGES`."""
    own = OwnVersions()
    for change in changes:
        if change["lead"] == image_set_id and change["state"] == CallState.APPLIED:
            own.add(change["expected_version"], change["version"])
    return own


def made_with(lead: ImageSet, listed: Sequence[ImageSet], taken: Collection[int]) -> ImageSet | None:
    """The version of a sibling that was made by the same study-wide call as version ``lead``.

    The service changes all image sets of a study at once, so it is the version closest in time. ``taken``: versions
    made by other calls of the run. None if no version is close enough.
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
