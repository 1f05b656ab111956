"""What happened, from the service's side: every request, and every state that an image set came to.

The journal holds names, ids, numbers and codes. It never holds a value of metadata, of an edit or of a search.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Required, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Unpack

    from bulkedit._json import JsonObject
    from bulkedit.emulator.state.records import StateChange


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the journal."""

    seq: int  # from 1; gaps do not occur
    at: float  # epoch seconds: when the request was carried out, or the state reached
    kind: str  # request, or state
    action: str | None = None  # of a request
    datastore_id: str | None = None
    image_set_id: str | None = None
    expected_version: int | None = None  # the version that the request names
    version: int | None = None  # the version that the answer names, or that reached the state
    status: int | None = None  # HTTP status; None where the connection was dropped
    code: str | None = None  # the error code of a refusal
    force: bool = False
    study_wide: bool = False  # includeStudyImageSets was asked for
    bytes: int = 0  # of the request body
    fault: str | None = None  # the fault that struck the request
    state: str | None = None  # imageSetState
    workflow: str | None = None  # imageSetWorkflowStatus

    def as_dict(self) -> JsonObject:
        """The entry for JSON, without what does not apply."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value not in (None, False)}


class Note(TypedDict, total=False):
    """An `Entry` to be written, as it is filled in."""

    at: Required[float]
    kind: Required[str]
    action: str
    datastore_id: str
    image_set_id: str
    expected_version: int
    version: int
    status: int
    code: str
    force: bool
    study_wide: bool
    bytes: int
    fault: str
    state: str
    workflow: str


class Journal:
    """The entries, oldest first; beyond ``limit`` the oldest are dropped."""

    def __init__(self, limit: int) -> None:
        self._entries: deque[Entry] = deque(maxlen=limit)
        self._last = 0

    @property
    def last(self) -> int:
        """The number of the latest entry."""
        return self._last

    @property
    def dropped(self) -> int:
        """How many entries are gone."""
        return self._last - len(self._entries)

    def add(self, **fields: Unpack[Note]) -> None:
        """Write one entry."""
        self._last += 1
        self._entries.append(Entry(seq=self._last, **fields))

    def add_changes(self, changes: Iterable[StateChange]) -> None:
        """Write the states that image sets came to."""
        for change in changes:
            self.add(
                at=change.at,
                kind="state",
                datastore_id=change.datastore_id,
                image_set_id=change.image_set_id,
                version=change.version,
                state=change.state,
                workflow=change.status,
            )

    def since(self, seq: int = 0) -> list[Entry]:
        """The entries after a number, oldest first."""
        kept = list(self._entries)
        return kept[max(0, seq - self.dropped) :]
