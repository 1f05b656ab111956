"""Denials of access: of one image set, or of all. Pure.

The answer is the same for both (`bulkedit.client.denials`), so a denied call is set aside until it is known which of
the two it is. It is its own image set's failure once the same operation is allowed for another image set. It is the
run's end once several image sets in a row are denied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bulkedit.client.denials import all_denied

if TYPE_CHECKING:
    from bulkedit.client.pacing import Operation
    from bulkedit.client.responses import Refused
    from bulkedit.runs.lane import LaneRun


class AccessDenial(NamedTuple):
    """A lane whose action was denied, and the answer."""

    lane: LaneRun
    refused: Refused


class Denials:
    """The denials that are not judged yet."""

    def __init__(self) -> None:
        self._held: dict[Operation, dict[str, list[AccessDenial]]] = {}  # by image set
        self._allowed: set[Operation] = set()

    def __bool__(self) -> bool:
        return bool(self._held)

    def hold(self, operation: Operation, image_set_id: str, denied: AccessDenial) -> bool:
        """Set a denied lane aside; True if so many in a row were denied that the run has to end."""
        held = self._held.setdefault(operation, {})
        held.setdefault(image_set_id, []).append(denied)
        return all_denied(len(held), allowed_before=operation in self._allowed)

    def allowed(self, operation: Operation) -> list[AccessDenial]:
        """The operation was allowed: the lanes whose denials were those of their own image sets."""
        self._allowed.add(operation)
        return _flat(self._held.pop(operation, {}))

    def of_all(self) -> AccessDenial | None:
        """At the end of a run: one of several denials of an operation that was never allowed."""
        for operation, held in self._held.items():
            if operation not in self._allowed and len(held) > 1:
                return _flat(held)[0]
        return None

    def take(self) -> list[AccessDenial]:
        """All that are set aside, which are no longer."""
        found = [denied for held in self._held.values() for denied in _flat(held)]
        self._held.clear()
        return found


def _flat(held: dict[str, list[AccessDenial]]) -> list[AccessDenial]:
    return [denied for several in held.values() for denied in several]
