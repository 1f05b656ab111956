"""Denied access: to one image set, or to all.

The service's answer is the same for both (`bulkedit.client.denials`), so a denied call is set aside until it is clear
which of the two it is. If the same operation is allowed for another image set, the call fails. If several image sets
in a row are denied, the run ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bulkedit.client.denials import all_denied

if TYPE_CHECKING:
    from bulkedit.client.pacing import Operation
    from bulkedit.client.responses import Refused
    from bulkedit.runs.lane import LaneRun


class AccessDenial(NamedTuple):
    """A lane whose request was denied, and the answer."""

    lane: LaneRun
    refused: Refused


class Denials:
    """Denied lanes that are set aside."""

    def __init__(self) -> None:
        self._set_aside: dict[Operation, dict[str, list[AccessDenial]]] = {}  # by image set
        self._allowed: set[Operation] = set()

    def __bool__(self) -> bool:
        return bool(self._set_aside)

    def set_aside(self, operation: Operation, image_set_id: str, denied: AccessDenial) -> bool:
        """Set a denied lane aside. Returns True if enough image sets in a row were denied to end the run."""
        denied_sets = self._set_aside.setdefault(operation, {})
        denied_sets.setdefault(image_set_id, []).append(denied)
        return all_denied(len(denied_sets), allowed_before=operation in self._allowed)

    def allowed(self, operation: Operation) -> list[AccessDenial]:
        """The operation was allowed for another image set. Returns its denied lanes, whose calls fail."""
        self._allowed.add(operation)
        return _flat(self._set_aside.pop(operation, {}))

    def of_all(self) -> AccessDenial | None:
        """At the end of a run: one of several denials of an operation that was never allowed, if any."""
        for operation, denied_sets in self._set_aside.items():
            if operation not in self._allowed and len(denied_sets) > 1:
                return _flat(denied_sets)[0]
        return None

    def take(self) -> list[AccessDenial]:
        """Return and forget all that are set aside."""
        found = [denied for denied_sets in self._set_aside.values() for denied in _flat(denied_sets)]
        self._set_aside.clear()
        return found


def _flat(denied_sets: dict[str, list[AccessDenial]]) -> list[AccessDenial]:
    return [denied for several in denied_sets.values() for denied in several]
