"""Which versions of the image sets of a lane are the run's own.

The books are a fold over the events of the lane in the order of the ledger, and over nothing else. So a process that
goes on with a run knows what the process before it knew. They are apart from `bulkedit.runs.history`, which reads the
last event of each call: a lane takes every event, in order, and goes on with this fold while it runs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from bulkedit.client.responses import CallState
from bulkedit.plans import CopyStep

if TYPE_CHECKING:
    from bulkedit.client.responses import ImageSet
    from bulkedit.plans import PlannedCall


class Versions:
    """The versions that requests of one lane have named, made, or left when their updates failed."""

    def __init__(self) -> None:
        self._own: dict[str, set[int]] = defaultdict(set)
        # those that failed updates have left, which change nothing; and the call that was rejected with one, if it was
        self._failed: dict[str, dict[int, int | None]] = defaultdict(dict)
        self._newest: dict[str, int] = {}  # that a request has named or made, or that a failed update has left
        self._followed: dict[str, int] = {}  # what is beyond this version of an image set is another writer's
        self._of_study = 0  # calls of the whole study that made versions of its other image sets too
        self._counted: Counter[str] = Counter()  # how many of them are accounted for, by image set

    def take(self, call: PlannedCall, state: CallState, expected_version: int | None, version: int | None) -> None:
        """An event of a call, as the ledger has it."""
        if call.copy_step not in {None, CopyStep.EDIT}:
            return  # copies make no version of their source
        image_set_id = call.image_set_id
        left = None if state is CallState.APPLIED else version  # by a failed update
        if state in {CallState.PLANNED, CallState.CONFLICTED} and left is None:
            self._follow(image_set_id, expected_version)
        elif expected_version is not None:
            self._name(image_set_id, expected_version)
        made = expected_version + 1 if state is CallState.APPLIED and expected_version is not None else left
        if made is None:
            return
        if made != expected_version:  # else the service has kept the number for the next update
            self._own[image_set_id].add(made)
        if left is not None and left != expected_version:
            self._failed[image_set_id][left] = None if state is CallState.PLANNED else call.call
        self._newest[image_set_id] = self._followed[image_set_id] = made
        if call.study_wide:
            self._of_study += 1
            self._counted[image_set_id] += 1

    def _name(self, image_set_id: str, expected_version: int) -> None:
        """A request takes ``expected_version`` for the latest version, or an outcome rests on it."""
        followed, own = self._followed.get(image_set_id, expected_version), self._own[image_set_id]
        of_study = self._of_siblings(image_set_id)
        if expected_version - followed <= of_study + len(own):
            new = set(range(followed + 1, expected_version + 1)) - own
            own.update(new if len(new) <= of_study else ())
        self._newest[image_set_id] = self._followed[image_set_id] = expected_version
        self._counted[image_set_id] = self._of_study

    def _follow(self, image_set_id: str, expected_version: int | None) -> None:
        """A call is to be sent with this expected version; without one, with the version that is the latest then."""
        self._counted[image_set_id] = self._of_study
        if expected_version is None:
            self._followed.pop(image_set_id, None)
        else:
            self._followed[image_set_id] = expected_version

    def _of_siblings(self, image_set_id: str) -> int:
        """Calls of the whole study that named another image set, and have changed this one since it was last named."""
        return self._of_study - self._counted[image_set_id]

    def followed(self, image_set_id: str) -> int | None:
        """The version that the next call builds on if no other writer comes; None if the first look decides."""
        return self._followed.get(image_set_id)

    def is_behind(self, found: ImageSet) -> bool:
        """Whether a look shows less than what the run has named or made: reads may lag behind writes."""
        known = max(self._newest.get(found.image_set_id, 0), self._followed.get(found.image_set_id, 0))
        return found.version < known

    def is_named(self, call: PlannedCall, version: int, found: ImageSet) -> bool:
        """Whether a call whose row names ``version`` may be sent on the one that was found.

        What the row insists on is that no other writer came. A failed update of ours that was sent again moves all
        later versions by one; it does not matter whether the row's author has counted it. The version that a rejected
        call has left is one that other rows can name, so it moves only what that call itself names.
        """
        own, failed = self._own.get(found.image_set_id, ()), self._failed.get(found.image_set_id, {})
        number, moved = found.version, 0
        while number in own:
            moved += failed.get(number, -1) in {None, call.call}
            number -= 1
        return 0 <= found.version - version <= moved

    def others_since(self, version: int, found: ImageSet) -> bool:
        """Whether another writer has made a version beyond ``version``, up to the one that was found."""
        own = sum(version < number <= found.version for number in self._own.get(found.image_set_id, ()))
        # a call of the whole study makes one version of each of its primary image sets
        of_study = 0 if found.primary is False else self._of_siblings(found.image_set_id)
        return found.version - version > own + of_study
