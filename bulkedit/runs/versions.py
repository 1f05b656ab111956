"""The versions of a lane's image sets that the run has made itself.

They are computed from the lane's events in the order of the ledger, and from nothing else. So a resume knows what the
process before it knew, and the lane continues with its own events. `bulkedit.runs.history` reads only the last event
of each call.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from bulkedit.client.responses import CallState
from bulkedit.plans import CopyStep

if TYPE_CHECKING:
    from bulkedit.client.responses import ImageSet
    from bulkedit.plans import PlannedCall

_SUCCEEDED: Final = -1  # the number of no call


class Versions:
    """The versions that requests of one lane have named or made, or that their failed updates have left."""

    def __init__(self) -> None:
        self._own: dict[str, set[int]] = defaultdict(set)
        # version left by a failed update -> the call that was rejected with it, None if the call was sent again;
        # `_SUCCEEDED` if a study-wide call that names another image set has made it
        self._failed: dict[str, dict[int, int | None]] = defaultdict(dict)
        self._newest: dict[str, int] = {}  # named or made by a request, or left by a failed update
        self._followed: dict[str, int] = {}  # versions after this one are another writer's, unless in `_own`
        # of study-wide calls, which make a version of every image set of the study: as the values of `_failed`
        self._of_study: list[int | None] = []
        self._counted: Counter[str] = Counter()  # how many of them each image set has counted
        self._reverted: set[str] = set()
        self._known: dict[str, tuple[int, int]] = {}  # a version that was the latest, and how many of them came before

    def take(self, call: PlannedCall, state: CallState, expected_version: int | None, version: int | None) -> None:
        """Take an event of a call."""
        if call.copy_step not in {None, CopyStep.EDIT}:
            return  # copies make no version of their source
        image_set_id = call.image_set_id
        if call.revert_to is not None and state is CallState.APPLIED:
            self._reverted.add(image_set_id)
        left = None if state is CallState.APPLIED else version  # by a failed update
        if state in {CallState.PLANNED, CallState.CONFLICTED} and left is None:
            self._follow(image_set_id, expected_version)
        elif expected_version is not None:
            self._name(image_set_id, expected_version, named=call.version is not None)
        made = expected_version + 1 if state is CallState.APPLIED and expected_version is not None else left
        if made is None:
            return
        if made != expected_version:  # else the service gives the number to the next update
            self._own[image_set_id].add(made)
        failed = None if state is CallState.PLANNED else call.call
        if left is not None and left != expected_version:
            self._failed[image_set_id][left] = failed
        self._newest[image_set_id] = self._followed[image_set_id] = made
        if call.study_wide and made != expected_version:
            self._of_study.append(_SUCCEEDED if left is None else failed)
            self._counted[image_set_id] += 1
        self._known[image_set_id] = made, len(self._of_study)

    def _name(self, image_set_id: str, expected_version: int, *, named: bool) -> None:
        """A request or an outcome names ``expected_version`` as the latest version. ``named``: so does the row."""
        if named or image_set_id in self._followed:
            by_siblings = self._made_by_siblings(image_set_id, expected_version)
            self._own[image_set_id].update(by_siblings)
            self._failed[image_set_id].update(by_siblings)
        followed, own = self._followed.get(image_set_id, expected_version), self._own[image_set_id]
        of_study = self._of_siblings(image_set_id)
        if expected_version - followed <= of_study + len(own):
            new = set(range(followed + 1, expected_version + 1)) - own
            own.update(new if len(new) <= of_study else ())
        self._newest[image_set_id] = self._followed[image_set_id] = expected_version
        self._counted[image_set_id] = len(self._of_study)
        self._known[image_set_id] = expected_version, len(self._of_study)

    def _follow(self, image_set_id: str, expected_version: int | None) -> None:
        """A call will be sent with this expected version; None: with the latest version at that time."""
        self._counted[image_set_id] = len(self._of_study)
        if expected_version is None:
            self._followed.pop(image_set_id, None)
        else:
            self._followed[image_set_id] = expected_version
            self._known[image_set_id] = expected_version, len(self._of_study)

    def _of_siblings(self, image_set_id: str) -> int:
        """Study-wide calls that named another image set and have changed this one since it was last named."""
        return len(self._of_study) - self._counted[image_set_id]

    def _made_by_siblings(self, image_set_id: str, latest: int) -> dict[int, int | None]:
        """The versions up to ``latest`` that study-wide calls naming other image sets have made, as `_failed` has them.

        Their numbers are in no event. They are certain only if there are as many versions as there were such calls.
        """
        version, counted = self._known.get(image_set_id, (latest, 0))
        calls, own = self._of_study[counted:], self._own[image_set_id]
        if not calls or latest - version > len(calls) + len(own):
            return {}
        new = [number for number in range(version + 1, latest + 1) if number not in own]
        return dict(zip(new, calls, strict=True)) if len(new) == len(calls) else {}

    def followed(self, image_set_id: str) -> int | None:
        """The version that the next call expects unless another writer comes; None: the first poll decides."""
        return self._followed.get(image_set_id)

    def has_made(self, image_set_id: str) -> bool:
        """Whether the run has made or left a version of an image set, or perhaps has with a study-wide call."""
        return bool(self._own.get(image_set_id) or self._of_study)

    def may_differ(self, image_set_id: str) -> bool:
        """Whether the run has reverted another image set of the lane, which may now have other attributes."""
        return not self._reverted <= {image_set_id}

    def is_behind(self, found: ImageSet) -> bool:
        """Whether a poll shows an older version than the run has named or made: reads may lag behind writes."""
        known = max(self._newest.get(found.image_set_id, 0), self._followed.get(found.image_set_id, 0))
        return found.version < known

    def is_named(self, call: PlannedCall, version: int, found: ImageSet) -> bool:
        """Whether a call whose row names ``version`` may be sent with the polled version as its expected version.

        It may if no other writer came. A failed update of ours that was sent again shifts all later versions by one,
        whether or not the row's author has counted it. A version left by a rejected call can be named by other rows, so
        it shifts only the version that the call itself names.
        """
        failed = {**self._failed[found.image_set_id], **self._siblings_made(found)}
        moved = sum(failed.get(number, _SUCCEEDED) in {None, call.call} for number in self._last_own(found))
        return 0 <= found.version - version <= moved

    def is_passed_by_own(self, version: int, found: ImageSet) -> bool:
        """Whether the run has made or left all versions after ``version``, up to the polled one, which is newer."""
        return 0 < found.version - version <= len(self._last_own(found))

    def _last_own(self, found: ImageSet) -> list[int]:
        """The polled version and those before it, back to the first that the run has neither made nor left."""
        own = self._own[found.image_set_id] | self._siblings_made(found).keys()
        return list(itertools.takewhile(own.__contains__, range(found.version, 0, -1)))

    def _siblings_made(self, found: ImageSet) -> dict[int, int | None]:
        return {} if found.primary is False else self._made_by_siblings(found.image_set_id, found.version)

    def others_since(self, version: int, found: ImageSet) -> bool:
        """Whether another writer has made a version after ``version``, up to the polled one."""
        own = sum(version < number <= found.version for number in self._own.get(found.image_set_id, ()))
        # a study-wide call makes one version of each primary image set
        of_study = 0 if found.primary is False else self._of_siblings(found.image_set_id)
        return found.version - version > own + of_study
