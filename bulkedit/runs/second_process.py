"""Notices another process that carries out the plan of this run, with a copy of its ledger.

Each process follows its own ledger, so neither knows what the other has sent. What shows the other one are versions: an
image set to which this run has sent nothing has a version, made since the run began, that is the version before it with
a call of this plan applied and nothing else changed. One such version can be chance, if another writer has made the
same correction. So two image sets have to show it.

A comparison needs two or three reads. Of many image sets that others have changed, the first few are compared, and then
ever fewer, so that busy writers cost little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bulkedit.client.responses import ImageSetState
from bulkedit.edits.document import follows, reads_the_same
from bulkedit.errors import RunHeldError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bulkedit._json import JsonObject
    from bulkedit.client.responses import ImageSet
    from bulkedit.plans import PlannedCall

_COMPARED_FIRST: Final = 16  # image sets; after these the 32nd, 64th, ...
_ENOUGH: Final = 2  # image sets


class SecondProcess:
    """What was seen of another process with this plan."""

    def __init__(self, since: float | None) -> None:
        """``since``: epoch seconds at which the run began; None: look for nothing."""
        self._since = since
        self._changed: set[str] = set()  # image sets that others have changed since
        self._shown_by: list[str] = []  # image sets

    def is_news(self, found: ImageSet) -> bool:
        """Whether the polled version was made since the run began, and its image set was not counted yet."""
        made = found.version > 1 and found.state is ImageSetState.ACTIVE and found.updated_at is not None
        # a read of an archived document would move it to another tier for 30 days
        if self._since is None or not made or found.archived:
            return False
        return (found.updated_at or 0.0) >= self._since and found.image_set_id not in self._changed

    def wants(self, found: ImageSet) -> bool:
        """Count an image set that another writer has changed. Whether to compare its documents."""
        self._changed.add(found.image_set_id)
        count = len(self._changed)
        return count <= _COMPARED_FIRST or count & (count - 1) == 0

    def compare(
        self,
        found: ImageSet,
        calls: Collection[PlannedCall],
        documents: Mapping[int, JsonObject],
    ) -> RunHeldError | None:
        """Take the documents of a wanted image set by version; the error if they are the sign that was missing.

        ``calls``: those of the image set, if this run has sent none of them. ``documents``: the found version, the
        version before it, and the targets of reverts; empty if they could not be read.
        """
        after, before = documents.get(found.version), documents.get(found.version - 1)
        if after is None or before is None or reads_the_same(before, after):
            return None
        if any(follows(call.as_request(0), before, after, documents.get(call.revert_to or 0)) for call in calls):
            self._shown_by.append(found.image_set_id)
        return _error(self._shown_by) if len(self._shown_by) == _ENOUGH else None


def versions_to_read(found: ImageSet, calls: Collection[PlannedCall]) -> list[int]:
    """The versions whose documents `SecondProcess.compare` needs."""
    targets = {call.revert_to for call in calls if call.revert_to is not None}
    return [found.version, found.version - 1, *sorted(targets - {found.version, found.version - 1})]


def _error(image_sets: list[str]) -> RunHeldError:
    return RunHeldError(
        "another process seems to carry out the plan of this run. Image sets were changed exactly as calls of the plan "
        f"change them, after the run began and before this process has sent these calls: {', '.join(image_sets)}.",
        likely="A copy of the run's folder was resumed. The versions cannot show who made them: another run or program "
        "with the same list looks the same.",
        hint="This process has stopped. Find out who applies this list, and let only one process continue. If that is "
        "this run, type: bulkedit resume RUN --assume-unknown\n"
        "It compares each call that has no outcome with its image set, and does not look for another process again.",
    )
