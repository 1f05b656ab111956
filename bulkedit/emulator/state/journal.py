"""The service's journal: all requests, and all state changes of image sets.

It contains names, ids, numbers and codes, but never values of metadata, edits or searches.
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
    """One entry of the journal."""

    seq: int  # 1, 2, 3, … without gaps
    at: float  # epoch seconds of the request or state change
    kind: str  # "request" or "state"
    action: str | None = None  # the operation of a request
    datastore_id: str | None = None
    image_set_id: str | None = None
    expected_version: int | None = None  # the version in the request
    version: int | None = None  # the version in the response, or with the new state
    status: int | None = None  # HTTP status; None if the connection was dropped
    code: str | None = None  # the error code of a refusal
    force: bool = False
    study_wide: bool = False  # the request has includeStudyImageSets
    bytes: int = 0  # of the request body
    fault: str | None = None  # the fault that struck the request
    request_id: str | None = None  # in the header of the response, which may have been dropped
    access_key: str | None = None  # with which the request is signed
    agent: str | None = None  # the product in the request's user agent, such as bulkedit/0.2.0
    state: str | None = None  # imageSetState
    workflow: str | None = None  # imageSetWorkflowStatus

    def as_dict(self) -> JsonObject:
        """The entry as JSON, without null and false fields."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value not in (None, False)}


class Note(TypedDict, total=False):
    """The fields of an `Entry` while the request is performed."""

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
    request_id: str
    access_key: str
    agent: str
    state: str
    workflow: str


class Journal:
    """At most ``limit`` entries; older ones are dropped."""

    def __init__(self, limit: int) -> None:
        self._entries: deque[Entry] = deque(maxlen=limit)
        self._last = 0

    @property
    def last(self) -> int:
        """The number of the latest entry."""
        return self._last

    @property
    def dropped(self) -> int:
        """The number of dropped entries."""
        return self._last - len(self._entries)

    def add(self, **fields: Unpack[Note]) -> None:
        """Add one entry."""
        self._last += 1
        self._entries.append(Entry(seq=self._last, **fields))

    def add_changes(self, changes: Iterable[StateChange]) -> None:
        """Add entries for state changes of image sets."""
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
        """The entries after the number ``seq``, oldest first."""
        kept = list(self._entries)
        return kept[max(0, seq - self.dropped) :]
